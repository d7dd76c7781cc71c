"""What calls leave behind is one finding, the right one; the gradients keep a verdict of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import verify
from tests.verify.edits import edited
from verify.bookkeeping import UNWRITTEN, WRITTEN, bookkeeping, tapes
from verify.data import ORDINARY, draw
from verify.findings import Finding
from verify.kernel import Kernel, load

START = "    W, U, b, x = parameters"
ENTER = "    x, hs = tape\n"
TAPE = '    return {"h": hs[1:].copy()}, (x.copy(), hs)'
ZEROS = 'd = {"W": np.zeros_like(W), "U": np.zeros_like(U), "b": np.zeros_like(b)}'
RETURN = "    return SimpleNamespace(parameters=d"
RUN = '    h = np.zeros((x.shape[1], len(b)), x.dtype) if state is None else state["h"]\n'
NONE = "np.zeros((x.shape[1], len(b)), x.dtype) if state is None"


def found(*edits: tuple[str, str]) -> list[Finding]:
    """What fails."""
    kernel = Kernel(edited(*edits), "edited")
    return [finding for finding in bookkeeping(kernel, draw(kernel.dims, ORDINARY)) if not finding.passed]


def test_a_right_kernel_leaves_nothing_behind() -> None:
    assert found() == []


FAULTS = {
    "gradients are added to a kept buffer": (
        [
            (
                ZEROS,
                'd = KEPT.setdefault((W.shape, W.dtype), {"W": np.zeros_like(W), "U": np.zeros_like(U), "b": np.zeros_like(b)})',
            )
        ],
        "repeatable",
        r"backward gives other bits when called again; from it follows: tape .*aliasing",
    ),
    "one buffer is added to and copied": (
        [(RETURN, '    KEPT[W.shape] = KEPT.get(W.shape, 0) + d["b"]\n    d["b"] = KEPT[W.shape].copy()\n' + RETURN)],
        "repeatable",
        r"backward gives other bits when called again",
    ),
    "a step counter": (
        [(RUN, RUN + '    KEPT["n"] = KEPT.get("n", 0) + 1\n    h = h / KEPT["n"]\n')],
        "repeatable",
        r"forward gives other bits when called again",
    ),
    "a state is carried over": (
        [
            (NONE, 'KEPT.get("h", np.zeros((x.shape[1], len(b)), x.dtype)) if state is None'),
            (TAPE, '    KEPT["h"] = hs[-1].copy()\n' + TAPE),
        ],
        "repeatable",
        r"forward with state=None gives other bits than in a freshly loaded module",
    ),
    "transposed weights are kept by shape": (
        [("x[t] @ W.T", "x[t] @ KEPT.setdefault((W.shape, W.dtype), W.T.copy())")],
        "repeatable",
        r"forward gives other bits than in a freshly loaded module, after a call with other numbers of the same sizes",
    ),
    "weights are kept by the identity of their mapping": (
        [("x[t] @ W.T", "x[t] @ KEPT.setdefault(id(parameters), [parameters, W.T.copy()])[1]")],
        "repeatable",
        r"forward gives other bits than in a freshly loaded module, after its arrays were changed in place",
    ),
    "a mask is drawn once for all": (
        [(RUN, RUN + "    h = h * KEPT.setdefault(h.shape, np.random.default_rng().random(h.shape) > 0.5)\n")],
        "repeatable",
        r"forward gives other bits in another freshly loaded module",
    ),
    "a mask is drawn anew for other sizes": (
        [
            ("KEPT = {}", 'KEPT = {"rng": np.random.default_rng(0)}'),
            (
                RUN,
                RUN
                + '    if KEPT.get("shape") != h.shape:\n        KEPT["shape"], KEPT["mask"] = h.shape, KEPT["rng"].random(h.shape)\n'
                '    h = h * KEPT["mask"]\n',
            ),
        ],
        "repeatable",
        r"gives other bits after a call of other sizes",
    ),
    "a buffer keeps the precision of the first call": (
        [
            (
                "hs = np.zeros((len(x) + 1, *h.shape), x.dtype)",
                'hs = np.zeros((len(x) + 1, *h.shape), KEPT.get("dtype", x.dtype))\n    KEPT["dtype"] = x.dtype',
            )
        ],
        "repeatable",
        r"gives other bits after a call in float32",
    ),
    "the tape is popped": (
        [(TAPE, '    return {"h": hs[1:].copy()}, [hs, x.copy()]'), (ENTER, "    x, hs = tape.pop(), tape.pop()\n")],
        "tape",
        r"a second backward on one tape raises IndexError",
    ),
    "backward writes into the tape": (
        [("        d_h = d_a @ U\n", "        d_h = d_a @ U\n        hs[t + 1] = d_a\n")],
        "tape",
        r"a second backward on one tape gives other bits",
    ),
    "the tape is a buffer": (
        [
            (
                "hs = np.zeros((len(x) + 1, *h.shape), x.dtype)",
                "hs = KEPT.setdefault((len(x), h.shape, x.dtype), np.zeros((len(x) + 1, *h.shape), x.dtype))",
            )
        ],
        "tape",
        r"backward after a later forward gives other bits",
    ),
    "outputs are views of the tape": ([("hs[1:].copy()", "hs[1:]")], "aliasing", r"changing the outputs changes the gradients"),
    "a workspace is the gradient": (
        [
            (
                RETURN,
                "    for n, a in d.items():\n        w = KEPT.setdefault((n, a.shape, a.dtype), np.zeros_like(a))\n"
                "        w[...] = a\n        d[n] = w\n" + RETURN,
            )
        ],
        "aliasing",
        r"two backward calls return the same memory",
    ),
    "an argument is written in place": (
        [
            (
                "        d_h = d_h + (",
                '        if t == 0 and "h" in cotangents:\n            cotangents["h"][t] *= 2\n        d_h = d_h + (',
            )
        ],
        "arguments unchanged",
        r"backward changes cotangents\['h'\]",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_first_broken_promise_is_the_only_finding(name: str) -> None:
    edits, check, said = FAULTS[name]
    (finding,) = found(*edits)
    assert finding.check == check
    assert re.search(said, finding.line()), finding.line()
    assert finding.cause


@pytest.mark.parametrize(
    "name", ["gradients are added to a kept buffer", "the tape is popped", "a step counter", "the tape is a buffer"]
)
def test_gradients_are_judged_in_fresh_modules_where_something_is_left_behind(name: str) -> None:
    edits, check, _ = FAULTS[name]
    report = verify.check(edited(*edits), quick=True)
    assert {finding.check for finding in report.failures()} == {check}


def test_a_wrong_gradient_beside_a_consumed_tape_is_a_finding_of_its_own() -> None:
    edits, _, _ = FAULTS["the tape is popped"]
    report = verify.check(edited(*edits, ('d["b"] += d_a', 'd["b"] += 2 * d_a')), quick=True)
    assert {(finding.check, finding.block) for finding in report.failures()} >= {("tape", ""), ("gradients", "b")}
    assert {finding.block for finding in report.failures()} == {"", "b"}


def test_a_neighbour_that_keeps_something_is_loaded_anew_too(tmp_path: Path) -> None:
    (tmp_path / "neighbour_with_a_memory.py").write_text("CALLS = []\n")
    text = (Path(__file__).parent / "foreign" / "elman.py").read_text(encoding="utf-8")
    text = text.replace("import numpy as np\n", "import neighbour_with_a_memory as memory\nimport numpy as np\n", 1)
    text = text.replace(RUN, RUN + "    memory.CALLS.append(1)\n    h = h / len(memory.CALLS)\n")
    (tmp_path / "remembering.py").write_text(text)
    report = verify.check(load(tmp_path / "remembering.py"), quick=True)
    assert {finding.check for finding in report.failures()} == {"repeatable"}


def test_gradients_that_a_written_tape_makes_wrong_are_said_to_follow_from_it() -> None:
    """The slope is made of what the step before in the loop has overwritten."""
    write = ("        d_h = d_a @ U\n", "        d_h = d_a @ U\n        hs[t] *= hs[t]\n")
    failures = verify.check(edited(write), quick=True).failures()
    assert failures[0].check == "tape"
    causes = {finding.cause for finding in failures if finding.check == "gradients"}
    assert causes
    assert all("from the tape" in cause for cause in causes), causes


def test_gradients_that_are_never_the_same_are_not_blamed_on_the_tape() -> None:
    """As those of memory that nothing was written to are, which a kernel may get back as it left it, so that nothing else shows."""
    noise = (RETURN, '    d["b"] = d["b"] + np.random.default_rng().standard_normal()\n' + RETURN)
    writes = ("        d_h = d_a @ U\n", "        d_h = d_a @ U\n        hs[t + 1] = d_a\n")
    for edit, cause in ((noise, UNWRITTEN), (writes, WRITTEN)):
        kernel = Kernel(edited(edit), "edited")
        assert next(tapes(kernel, draw(kernel.dims, ORDINARY))).cause == cause
