"""Faults in backward by segments and in buffers that are kept: each fails the check of the promise that it breaks, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import verify
from tests.verify.edits import ELMAN, FOLDER, edited
from verify.__main__ import main
from verify.bookkeeping import bookkeeping
from verify.data import LONG, ORDINARY
from verify.evidence import EXACT
from verify.findings import Finding
from verify.kernel import Kernel
from verify.options import options
from verify.settle import settled

EMITTED = (Path(__file__).parents[2] / "generated" / "lstm.py").read_text(encoding="utf-8")
BY_HAND = (FOLDER / "elman_with_options.py").read_text(encoding="utf-8")
TEXTS = {"emitted": EMITTED, "by hand": BY_HAND}

CARRY = """        self.carry_c = np.empty((B, H), dtype)
        self.carry_h = np.empty((B, H), dtype)
        self.cotangent_c_all = np.empty((self.block, B, H), dtype)
        self.cotangent_h_all = np.empty((self.block, B, H), dtype)
        self.d_U_stack"""

Edits = list[tuple[str, str]]


def said(module: object) -> list[Finding]:
    """What is said of both options; plain calls leave nothing behind."""
    kernel = Kernel(module, "edited")
    with np.errstate(all="ignore"):
        evidences = [settled(kernel, regime, 0, EXACT) for regime in (ORDINARY, LONG)]
        books = bookkeeping(kernel, evidences[0].data)
        assert all(finding.passed for finding in books), "the fault shows in plain calls"
        return list(options(kernel, evidences, books, False))


@pytest.mark.parametrize("name", TEXTS)
def test_a_right_kernel_keeps_both_promises(name: str) -> None:
    checkpoint, workspace = said(edited(text=TEXTS[name]))
    assert (checkpoint.check, workspace.check) == ("checkpoint_every", "workspace")
    assert checkpoint.passed, checkpoint.line()
    assert workspace.passed, workspace.line()
    assert "k = 1, 2, 5, 8 of 5 steps; k = 4, 40 of 42 steps; also in float32, with state=None" in checkpoint.said
    assert "of forward and backward" in workspace.said


SEGMENTS: dict[str, tuple[str, Edits, str]] = {
    "no gradient goes from segment to segment": (
        "emitted",
        [("            piece[name][-1] += gradients.state[name]\n", "")],
        r"backward over a tape of checkpoint_every=1 of 5 steps doesn't .*what one segment hands to another",
    ),
    "it goes to the first step of a segment": (
        "emitted",
        [("piece[name][-1] += gradients", "piece[name][0] += gradients")],
        r"backward over a tape of checkpoint_every=2 of 5 steps doesn't .*right with checkpoint_every=1, 5, 8",
    ),
    "the last segment alone counts": (
        "emitted",
        [("            gradients.parameters[name] += array", "            gradients.parameters[name][...] = array")],
        r"what one segment hands to another",
    ),
    "the states of a segment are the last ones": (
        "emitted",
        [("segments.append((start, stop, {name: array.copy() for", "segments.append((start, stop, {name: array for")],
        r"backward over a tape of checkpoint_every=1 of 5 steps",
    ),
    "a segment starts at zero": (
        "emitted",
        [("return forward(parameters, piece, state, workspace=workspace)[1]", "return forward(parameters, piece, None)[1]")],
        r"backward over a tape of checkpoint_every=1 of 5 steps",
    ),
    "the shorter segment is left out": (
        "emitted",
        [("for index in reversed(range(len(tape.segments))):", "for index in reversed(range(tape.sizes['T'] // tape.segments[0][1])):")],
        r"backward over a tape of checkpoint_every=2 of 5 steps",
    ),
    "the gradient of the first states is that of the last": (
        "emitted",
        [("        gradients.state = part.state\n", "        gradients.state = gradients.state if index else part.state\n")],
        r"what one segment hands to another",
    ),
    "the caller's cotangents are added to": (
        "emitted",
        [("            piece[name] = piece[name].copy()\n            piece[name][-1] += gradients.state[name]\n",
          "            if piece[name].flags.writeable:\n                piece[name][-1] += gradients.state[name]\n")],
        r"checkpoint_every=1 of 5 steps",
    ),
    "a tape is consumed": (
        "emitted",
        [("    start, stop, state = tape.segments[index]\n", "    start, stop, state = tape.segments.pop(index)\n")],
        r"checkpoint_every=2 of 5 steps: backward over a tape of checkpoints, again, raises|a second backward over a tape",
    ),
    "gradients are of float64": (
        "emitted",
        [("parameters={name: np.zeros(_shape(dims, sizes), dtype)", "parameters={name: np.zeros(_shape(dims, sizes))")],
        r"in float32.*: expected float32 .*, got float64",
    ),
    "the outputs of all segments are the first's": (
        "emitted",
        [("            outputs[name][start:stop] = array\n        state", "            outputs[name][start:] = array[:1]\n        state")],
        r"forward with checkpoint_every=2 of 5 steps isn't forward without",
    ),
    "step Jacobians are of the first segment": (
        "emitted",
        [("        J[start:stop] = step_jacobian(parameters, _segment(parameters, tape, index, workspace))",
          "        J[start:stop] = step_jacobian(parameters, _segment(parameters, tape, 0, workspace))[:stop - start]")],
        r"step_jacobian over a tape of checkpoint_every=2 of 5 steps isn't that",
    ),
    "by hand: no gradient goes from segment to segment": (
        "by hand",
        [("        d_h = steps(parameters, x[start:stop], piece, given[start:stop], d, d_x[start:stop], d_h)",
          "        d_h = steps(parameters, x[start:stop], piece, given[start:stop], d, d_x[start:stop], 0 * d_h)")],
        r"what one segment hands to another",
    ),
    "by hand: a segment's states are shared": (
        "by hand",
        [("h.copy()))\n", "h))\n"), ("        h = outputs[min(", "        h = outputs[-1] if start else outputs[min(")],
        r"checkpoint_every=1 of 5 steps",
    ),
    "by hand: the state is written over by the caller": (
        "by hand",
        [("h.copy()))\n", "h))\n")],
        r"backward over a tape of checkpoint_every=1 of 5 steps",
    ),
}  # fmt: skip


KEPT: dict[str, tuple[str, Edits, str]] = {
    "a gradient isn't cleared": (
        "emitted",
        [("    m.d_W_stack[...] = 0\n    m.d_U_stack[...] = 0\n    m.d_b_stack[...] = 0\n",
          "    m.d_W_stack[...] = 0\n    m.d_U_stack[...] = 0\n    if workspace is None:\n        m.d_b_stack[...] = 0\n"),
         ("self.d_b_stack = np.empty((4 * H,), dtype)", "self.d_b_stack = np.zeros((4 * H,), dtype)")],
        r"a second backward on one tape with one workspace gives other bits; .*: gradients are added",
    ),
    "the carry of the call before is taken up": (
        "emitted",
        [("    m.carry_c[...] = 0\n    m.d_W_stack", "    if workspace is None:\n        m.carry_c[...] = 0\n    m.d_W_stack"),
         (CARRY, CARRY.replace("carry_c = np.empty", "carry_c = np.zeros"))],
        r"a second backward on one tape with one workspace gives other bits",
    ),
    "outputs lie in the tape": (
        "emitted",
        [("    m.h_out[...] = m.h_all[1:]\n", "    m.h_out = m.h_all[1:]\n    if workspace is None:\n        m.h_out = m.h_out.copy()\n")],
        r"a second backward on one tape .*, after its outputs were written into",
    ),
    "arrays are kept for every size": (
        "emitted",
        [("    wanted = (tuple(sorted(sizes.items())), dtype)\n", "    wanted = (sizes['H'], sizes['D'], dtype)\n")],
        r"more steps and examples",
    ),
    "arrays are kept for other dimensions": (
        "emitted",
        [("    wanted = (tuple(sorted(sizes.items())), dtype)\n", "    wanted = (sizes['T'], sizes['B'], dtype)\n")],
        r"other dimensions",
    ),
    "arrays are kept for every precision": (
        "emitted",
        [("    wanted = (tuple(sorted(sizes.items())), dtype)\n", "    wanted = tuple(sorted(sizes.items()))\n")],
        r"a call in float32, after .*: a buffer of float64 is kept for float32",
    ),
    "all workspaces are one": (
        "emitted",
        [("    def __init__(self):\n        self.kept = {}\n", "    kept = {}\n")],
        r"lent (are|is) overwritten by calls with another workspace",
    ),
    "backward by segments makes use of the workspace": (
        "emitted",
        [("        return _backward_by_segments(parameters, tape, cotangents)",
             "        return _backward_by_segments(parameters, tape, cotangents, workspace)"),
         ("def _backward_by_segments(parameters, tape, cotangents):", "def _backward_by_segments(parameters, tape, cotangents, own=None):"),
         ("    workspace = Workspace()\n    for index in reversed(", "    workspace = own or Workspace()\n    for index in reversed(")],
        r"outputs that a workspace lent are overwritten by backward with it over a tape of checkpoints",
    ),
    "by hand: a gradient isn't cleared": (
        "by hand",
        [("        workspace.arrays[key] = np.empty(", "        workspace.arrays[key] = np.zeros("),
         ("        array[...] = 0\n", "        array[...] = array if workspace else 0\n")],
        r"gradients are added to those of the call before",
    ),
    "by hand: arrays are kept by name": (
        "by hand",
        [("    key = (name, shape, dtype)\n", "    key = name\n")],
        r"(forward|backward) with a workspace raises ValueError|a buffer of .* is kept for",
    ),
    "by hand: arrays are kept by name, large enough": (
        "by hand",
        [("    key = (name, shape, dtype)\n    if key not in workspace.arrays:\n",
          "    key = name\n    if key not in workspace.arrays or workspace.arrays[key].dtype != dtype or "
          "any(a < b for a, b in zip(workspace.arrays[key].shape, shape)):\n")],
        r"the first call, again, after a call with more steps and examples|raises ValueError",
    ),
    "by hand: transposed weights are kept": (
        "by hand",
        [('    W, U, b = parameters["W"], parameters["U"], parameters["b"]\n    hs',
          '    W, U, b = parameters["W"], parameters["U"], parameters["b"]\n    if workspace is not None:\n'
          '        W, U = workspace.arrays.setdefault(("weights", id(W), id(U)), (W, U, W.copy(), U.copy()))[2:]\n    hs')],
        r"after its arrays were changed in place",
    ),
    "by hand: the tape is read from the workspace": (
        "by hand",
        [("    x, hs, starts = tape\n",
          '    x, hs, starts = tape\n    if workspace is not None and hs is not None:\n'
          '        hs = workspace.arrays.get(("hs", hs.shape, hs.dtype), hs)\n')],
        r"backward with it over another tape|backward with a workspace over the tape of forward isn't",
    ),
    "by hand: backward writes its gradients over the outputs": (
        "by hand",
        [('    d_h = np.zeros((x.shape[1], H), x.dtype)\n',
          '    d_h = np.zeros((x.shape[1], H), x.dtype)\n    array_of(workspace, "h", given.shape, x.dtype)[...] = given\n')],
        r"outputs that a workspace lent are overwritten by backward with it: outputs and tape live until the next forward",
    ),
    "by hand: forward clears the gradients": (
        "by hand",
        [('        hs = run(parameters, x, h, workspace)\n',
          '        hs = run(parameters, x, h, workspace)\n        array_of(workspace, "d_x", x.shape, x.dtype)[...] = 0\n')],
        r"gradients that a workspace lent are overwritten by the next forward with it: gradients live until the next backward",
    ),
    "by hand: the workspace is a place in the arguments": (
        "by hand",
        [("    d_h = np.zeros((x.shape[1], H), x.dtype)\n",
          "    d_h = np.zeros((x.shape[1], H), x.dtype)\n    if workspace:\n        given *= 1.5\n")],
        r"calls with a workspace change cotangents\['h'\]|a second backward",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_fault_in_segments_fails_the_promise_of_checkpoints_and_no_other(name: str) -> None:
    text, edits, words = SEGMENTS[name]
    failed = [finding for finding in said(edited(*edits, text=TEXTS[text])) if not finding.passed]
    assert [finding.check for finding in failed] == ["checkpoint_every"], [finding.line() for finding in failed]
    assert re.search(words, failed[0].line()), failed[0].line()


@pytest.mark.parametrize("name", KEPT)
def test_a_fault_in_kept_buffers_fails_the_promise_of_workspaces(name: str) -> None:
    text, edits, words = KEPT[name]
    failed = [finding for finding in said(edited(*edits, text=TEXTS[text])) if not finding.passed]
    assert failed[-1].check == "workspace", [finding.line() for finding in failed]
    assert re.search(words, failed[-1].line()), failed[-1].line()
    segments = text == "emitted"  # which go through a workspace of their own
    assert {finding.check for finding in failed[:-1]} <= ({"checkpoint_every"} if segments else set())


EXIT_1 = [("a tape is consumed", SEGMENTS), ("by hand: forward clears the gradients", KEPT), ("by hand: a gradient isn't cleared", KEPT),
          ("no gradient goes from segment to segment", SEGMENTS)]  # fmt: skip


@pytest.mark.parametrize(("name", "table"), EXIT_1, ids=[name for name, _ in EXIT_1])
def test_the_command_exits_with_1_and_names_the_promise(
    name: str, table: dict[str, tuple[str, Edits, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, edits, words = table[name]
    found = TEXTS[text]
    for old, new in edits:
        found = found.replace(old, new)
    path = tmp_path / "edited.py"
    path.write_text(found, encoding="utf-8")
    assert main([str(path), "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)
    failing = {
        finding["check"] for finding in record["findings"] if finding["verdict"] == "fail" and finding["kind"] == "numbers"
    }
    assert failing <= {"checkpoint_every", "workspace"}
    assert any(re.search(words, " ".join(line.split())) for line in record["faults"]), record["faults"]


# ---- what isn't offered


def test_a_kernel_without_options_is_fine_and_what_was_not_looked_at_is_said() -> None:
    checkpoint, workspace = said(edited())
    assert checkpoint.passed
    assert workspace.passed
    assert (checkpoint.said, workspace.said) == (
        "not looked at: forward takes no checkpoint_every",
        "not looked at: there is no Workspace",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            ELMAN.replace("state=None):", "state=None, workspace=None):"),
            "there is no Workspace to make the workspace that forward may",
        ),
        (ELMAN + "\n\nclass Workspace:\n    pass\n", "neither forward nor backward takes a workspace"),
        (ELMAN.replace("state=None):", "state=None, **more):"), "there is no Workspace"),
    ],
)
def test_half_of_an_offer_is_none(text: str, words: str) -> None:
    checkpoint, workspace = said(edited(text=text))
    assert "forward takes no checkpoint_every" in checkpoint.said
    assert words in workspace.said
    assert checkpoint.passed
    assert workspace.passed


def test_an_option_of_one_function_is_looked_at_there() -> None:
    text = BY_HAND.replace(
        "def backward(parameters, tape, cotangents, *, workspace=None):", "def backward(parameters, tape, cotangents):"
    )
    _, workspace = said(edited(("    x, hs, starts = tape\n", "    x, hs, starts = tape\n    workspace = None\n"), text=text))
    assert workspace.passed, workspace.line()
    assert "of forward:" in workspace.said


def test_an_offer_that_always_raises_is_a_failure() -> None:
    """It isn't taken for one that isn't made."""
    raising = [
        (
            "    if checkpoint_every is None:\n",
            "    if checkpoint_every:\n        raise TypeError('no checkpoints')\n    if True:\n",
        )
    ]
    checkpoint, _ = said(edited(*raising, text=BY_HAND))
    assert not checkpoint.passed
    assert "forward with checkpoint_every=1 raises TypeError: no checkpoints" in checkpoint.said


def test_where_plain_calls_leave_something_behind_nothing_is_said_of_options() -> None:
    text = BY_HAND.replace("class Workspace:", "COUNT = []\n\n\nclass Workspace:")
    edit = (
        "    d_h = np.zeros((x.shape[1], H), x.dtype)\n",
        "    COUNT.append(1)\n    d_h = np.full((x.shape[1], H), len(COUNT), x.dtype)\n",
    )
    report = verify.check(edited(edit, text=text), quick=True)
    assert {finding.check for finding in report.failures()} >= {"repeatable"}
    for finding in report.findings:
        if finding.check in ("checkpoint_every", "workspace"):
            assert finding.said == "not looked at: repeatable fails without it"


def test_a_kernel_of_batch_first_arrays_is_asked_for_its_options_too() -> None:
    module = edited(text=BY_HAND)
    turned = {"x": lambda a: np.swapaxes(a, 0, 1)}["x"]

    def forward(parameters, inputs, state=None, *, workspace=None, checkpoint_every=None):  # type: ignore[no-untyped-def]
        outputs, tape = module.forward(
            parameters, {"x": turned(inputs["x"])}, state, workspace=workspace, checkpoint_every=checkpoint_every
        )
        return {"h": turned(outputs["h"])}, tape

    def backward(parameters, tape, cotangents, *, workspace=None):  # type: ignore[no-untyped-def]
        found = module.backward(parameters, tape, {n: turned(a) for n, a in cotangents.items()}, workspace=workspace)
        return SimpleNamespace(parameters=found.parameters, inputs={"x": turned(found.inputs["x"])}, state=found.state)

    tables = {name: getattr(module, name) for name in ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS", "Workspace")}
    kernel = Kernel(SimpleNamespace(**tables, forward=forward, backward=backward), "turned", batch_first=True)
    with np.errstate(all="ignore"):
        found = list(options(kernel, [settled(kernel, ORDINARY, 0, EXACT)], [], False))
    assert all(finding.passed for finding in found), [finding.line() for finding in found]
    assert not any("not looked at" in finding.said for finding in found)
