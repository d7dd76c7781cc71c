"""A kernel whose arrays are put together of a cell's, are batch-first, or whose states are others, is compared in what the two share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import verify
from derive.cells.registry import build
from tests.kernels import kernel_of
from tests.verify.edits import ELMAN, edited
from verify.against import against
from verify.correspondence import Correspondence
from verify.data import ORDINARY, Dims, draw
from verify.evidence import Evidence
from verify.examination import Report
from verify.kernel import Kernel, KernelError, load_text
from verify.model import model_of
from verify.relations import relations, side

GATES = "ifco"


def put(parts: Sequence[np.ndarray], axis: int, turned: bool) -> np.ndarray:
    return np.concatenate([part.T if turned else part for part in parts], axis)


def stacked(axis: int, turned: bool, order: str = GATES, names: tuple[str, str] = ("h", "c")) -> Any:
    """The LSTM's kernel with its gates stacked in Wx, Wh and b, its states renamed."""
    inner, h = kernel_of("lstm"), names[0]
    along, across = ("4*H", "D"), ("H", "4*D")
    if turned:
        along, across = ("4*D", "H"), ("D", "4*H")
    ours = dict(zip(("h", "c"), names, strict=True))

    def split(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {}
        for name, letter in (("Wx", "W"), ("Wh", "U")):
            for gate, part in zip(order, np.split(given[name], 4, axis), strict=True):
                found[f"{letter}_{gate}"] = np.ascontiguousarray(part.T if turned else part)
        return found | {f"b_{gate}": part.copy() for gate, part in zip(order, np.split(given["b"], 4), strict=True)}

    def forward(parameters: Any, inputs: Any, state: Any = None) -> Any:
        state = None if state is None else {name: state[theirs] for name, theirs in ours.items()}
        outputs, tape = inner.forward(split(parameters), inputs, state)
        return {ours[name]: array for name, array in outputs.items()}, tape

    def backward(parameters: Any, tape: Any, cotangents: Any) -> Any:
        back = {theirs: name for name, theirs in ours.items()}
        found = inner.backward(split(parameters), tape, {back[name]: array for name, array in cotangents.items()})
        d = found.parameters
        together = {
            "Wx": put([d[f"W_{gate}"] for gate in order], axis, turned),
            "Wh": put([d[f"U_{gate}"] for gate in order], axis, turned),
            "b": np.concatenate([d[f"b_{gate}"] for gate in order]),
        }
        return SimpleNamespace(parameters=together, inputs=found.inputs, state={ours[n]: a for n, a in found.state.items()})

    tables = {"Wx": (along, across)[axis], "Wh": tuple(dim.replace("D", "H") for dim in (along, across)[axis]), "b": ("4*H",)}
    return SimpleNamespace(
        PARAMETERS=tables, INPUTS={"x": ("D",)}, STATES={h: ("H",), names[1]: ("H",)}, OUTPUTS={}, forward=forward, backward=backward,
        __name__="stacked",
    )  # fmt: skip


def mapped(axis: int, turned: bool, order: str = GATES) -> str:
    sign, mark = "/|"[axis], ".T" * turned
    said = {theirs: sign.join(f"{ours}_{gate}{mark}" for gate in order) for theirs, ours in (("Wx", "W"), ("Wh", "U"))}
    return f"Wx={said['Wx']}, Wh={said['Wh']}, b={'|'.join(f'b_{gate}' for gate in order)}"


def held(kernel: Any, *said: str, against: str = "lstm", **options: Any) -> Report:
    return verify.check(kernel, against=against, names=said, quick=True, **options)


@pytest.mark.parametrize(("axis", "turned"), [*itertools.product((0, 1), (False, True))])
def test_gates_stacked_along_either_axis_transposed_or_not_are_compared(axis: int, turned: bool) -> None:
    report = held(stacked(axis, turned, "oifc"), mapped(axis, turned, "oifc"))
    assert report.passed, report.faults()
    assert "not compared" not in next(finding.said for finding in report.findings if finding.check == "against")


def test_a_wrong_order_of_gates_fails_and_says_which_are_exchanged() -> None:
    text = mapped(0, False).replace("b_f|b_c", "b_c|b_f")
    report = held(stacked(0, False), text)
    (finding,) = report.failures()
    assert finding.check == "against"
    assert "b_f and b_c exchanged" in finding.cause


def test_a_wrong_gradient_is_named_by_the_kernels_own_name() -> None:
    module = stacked(1, True)
    honest = module.backward

    def backward(*given: Any) -> Any:
        found = honest(*given)
        found.parameters["Wx"][0, 0] *= 1.01
        return found

    module.backward = backward
    kernel, model = Kernel(module, "stacked"), model_of(build("lstm"), relations([mapped(1, True)]))
    failing = [
        finding for finding in against(model, [Evidence(kernel, ORDINARY, draw(kernel.dims, ORDINARY))]) if not finding.passed
    ]
    assert [(finding.check, finding.block) for finding in failing] == [("against", "Wx")]
    assert "element (0, 0)" in failing[0].where


def test_states_are_renamed() -> None:
    report = held(stacked(0, False, names=("hidden", "cell")), mapped(0, False), "hidden=h,cell=c")
    assert report.passed, report.faults()


def test_a_row_of_two_arrays_is_one_of_the_cells() -> None:
    """U and W of the kernel are the two halves of the cell's one matrix."""
    sizes = {"H": 3, "D": 2}
    arrays = {"U": np.arange(9.0).reshape(3, 3), "W": np.arange(6.0).reshape(3, 2)}
    whole = side("U|W", "").joined([arrays["U"], arrays["W"]], 2)
    assert whole.shape == (sizes["H"], sizes["H"] + sizes["D"])
    for name, part in zip(("U", "W"), side("U|W", "").cut(whole, [(3, 3), (3, 2)], 2), strict=True):
        np.testing.assert_array_equal(part, arrays[name])


@pytest.mark.parametrize("text", ["A|B", "A/B", "A.T|B.T", "A.T/B", "(A/B).T", "[A|B]'", "A|Bᵀ"])
def test_what_is_put_together_is_taken_apart(text: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    one = side(text, text)
    for got, expected in zip(one.cut(one.joined([a, b], 2), [a.shape, b.shape], 2), (a, b), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (mapped(1, False).split(", ")[0] + ", " + mapped(0, False).split(", ", 1)[1], r"--map Wx=W_i\|W_f\|W_c\|W_o: shape differs from `lstm`: expected what W_i \(H, D\), .* makes, got Wx \(4\*H, D\)\. Write --map Wx=W_i/W_f"),  # noqa: E501
        ("Wx=W_i/W_q", r"--map Wx=W_i/W_q: W_q is no name of the cell: expected one of U_c, "),
        ("Wy=W_i", r"--map Wy=W_i: Wy is no name of the kernel: expected one of Wh, Wx, b, c, h, x\."),
        ("Wx=h", r"expected names of one table, got states, parameters\."),
        ("Wx=W_i|W_f/W_c", r"expected names joined by \| \(side by side\) or by / \(below each other\), .* Write for example"),
        ("Wx", r"expected THEIRS=OURS, got `Wx`\. Write the kernel's name first\."),
        ("Wx=W_i/W_i", r"W_i is mapped twice\. Drop one\."),
        ("Wx=W_i/W_f/W_c/W_o", r"parameters differ from those of `lstm`: nothing stands for .*b_i.* and Wh, b are extra: .* with --map THEIRS=OURS \(several in one as theirs=first/second"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line_that_says_what_would(said: str, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        held(stacked(0, False), said)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_transposed_matrix_that_goes_by_name_is_refused_with_the_way() -> None:
    row = (
        ('"W": ("H", "D")', '"W": ("D", "H")'),
        ("x[t] @ W.T", "x[t] @ W"),
        ("d_a.T @ x[t]", "x[t].T @ d_a"),
        ("= d_a @ W\n", "= d_a @ W.T\n"),
    )
    with pytest.raises(
        KernelError, match=r"W: shape differs from `rnn`: expected what W \(H, D\) makes, got W \(D, H\)\. Write --map .*W\.T"
    ):
        held(edited(*row), against="rnn")
    assert held(edited(*row), "W=W.T", against="rnn").passed


def test_a_square_matrix_that_is_transposed_is_said_to_be() -> None:
    row = (("h @ U.T", "h @ U"), ("d_a.T @ hs[t]", "hs[t].T @ d_a"), ("d_h = d_a @ U\n", "d_h = d_a @ U.T\n"))
    (finding,) = held(edited(*row), against="rnn").failures()
    assert finding.cause.startswith("forward: U transposed, in ")
    assert held(edited(*row), "U=U.T", against="rnn").passed


# ---- other states


def without_c(start: str) -> Any:
    inner = kernel_of("lstm")

    def forward(parameters: Any, inputs: Any, state: Any = None) -> Any:
        if state is not None:
            state = {**state, "c": np.full_like(state["h"], float(start))}
        outputs, tape = inner.forward(parameters, inputs, state)
        return {"h": outputs["h"]}, tape

    def backward(parameters: Any, tape: Any, cotangents: Any) -> Any:
        found = inner.backward(parameters, tape, cotangents)
        return SimpleNamespace(parameters=found.parameters, inputs=found.inputs, state={"h": found.state["h"]})

    return SimpleNamespace(
        PARAMETERS=inner.PARAMETERS, INPUTS=inner.INPUTS, STATES={"h": ("H",)}, OUTPUTS={}, forward=forward, backward=backward,
        __name__="without_c",
    )  # fmt: skip


def test_a_kernel_without_one_of_the_states_is_compared_in_the_rest() -> None:
    report = held(without_c("0"))
    assert report.passed, report.faults()
    said = next(finding.said for finding in report.findings if finding.check == "against")
    assert said == "forward and backward are those of `lstm`; not compared: state c (the kernel hasn't got it)"


def test_a_state_that_a_kernel_starts_at_another_value_is_no_zero() -> None:
    assert {finding.check for finding in held(without_c("1")).failures()} >= {"against"}


def test_a_kernel_with_a_state_more_is_compared_in_the_rest() -> None:
    """The network of one state with a sum of its outputs carried beside it."""
    text = ELMAN.replace('STATES = {"h": ("H",)}', 'STATES = {"h": ("H",), "s": ("H",)}')
    text = text.replace(
        '    return {"h": hs[1:].copy()}',
        '    s = (0 if state is None else state["s"]) + np.cumsum(hs[1:], axis=0)\n    return {"h": hs[1:].copy(), "s": s}',
    )
    text = text.replace(
        "    d_x, d_h = ",
        '    d_s = np.flip(np.cumsum(np.flip(cotangents.get("s", np.zeros_like(hs[1:])), 0), 0), 0)\n    d_x, d_h = ',
    )
    text = text.replace('if "h" in cotangents else 0)', 'if "h" in cotangents else 0) + d_s[t]')
    text = text.replace('state={"h": d_h}', 'state={"h": d_h, "s": d_s[0] if len(x) else np.zeros_like(d_h)}')
    report = held(load_text(text, "summing.py"), against="rnn")
    assert report.passed, report.faults()
    said = next(finding.said for finding in report.findings if finding.check == "against")
    assert said.endswith("not compared: state s (the cell hasn't got it)")


def test_a_kernel_that_shares_no_output_is_refused() -> None:
    with pytest.raises(KernelError, match=r"no state and no output is one of `rnn`: expected some of h, got g\. Say which"):
        held(load_text(ELMAN.replace('"h"', '"g"'), "g.py"), against="rnn")


# ---- batch first

BATCH_FIRST = (
    ('b, x = parameters["W"], parameters["U"], parameters["b"], inputs["x"]', 'b, x = parameters["W"], parameters["U"], parameters["b"], inputs["x"].swapaxes(0, 1)'),  # noqa: E501
    ('{"h": hs[1:].copy()}', '{"h": hs[1:].swapaxes(0, 1).copy()}'),
    ('cotangents["h"][t] if', 'cotangents["h"][:, t] if'),
    ('inputs={"x": d_x}', 'inputs={"x": d_x.swapaxes(0, 1).copy()}'),
)  # fmt: skip


def test_a_batch_first_kernel_passes_where_it_is_said_to_be_one() -> None:
    report = held(edited(*BATCH_FIRST), against="rnn", batch_first=True)
    assert report.passed, report.faults()


def test_a_batch_first_kernel_is_told_from_one_that_raises() -> None:
    with pytest.raises(KernelError, match=r"It runs with \(B, T, n\): add --batch-first\."):
        verify.check(edited(*BATCH_FIRST), quick=True)


def test_a_kernel_that_has_time_first_is_told_so() -> None:
    with pytest.raises(KernelError, match=r"It runs with \(T, B, n\): leave out --batch-first\."):
        verify.check(edited(), quick=True, batch_first=True)


def test_a_fault_of_a_batch_first_kernel_is_found() -> None:
    report = held(edited(*BATCH_FIRST, ('d["b"] += d_a.sum', 'd["b"] += 2 * d_a.sum')), against="rnn", batch_first=True)
    assert {finding.block for finding in report.failures()} == {"b"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    hs = np.zeros(", '    inputs["x"][...] *= 2\n    hs = np.zeros(', r"forward changes inputs['x']"),
        ("    hs = np.zeros(", '    inputs.pop("x")\n    hs = np.zeros(', r"forward changes the mapping inputs"),
    ],
)
def test_an_argument_of_a_batch_first_kernel_that_is_changed_is_named(old: str, new: str, said: str) -> None:
    report = verify.check(edited(*BATCH_FIRST, (old, new)), quick=True, batch_first=True)
    assert any(said in finding.said for finding in report.failures()), report.faults()


def test_data_go_to_the_cell_and_gradients_come_back() -> None:
    """A round trip: what is shaped as the kernel's arrays is, by way of the cell's names, itself."""
    kernel = Kernel(stacked(1, True), "stacked")
    at = Correspondence(build("lstm"), relations([mapped(1, True)])).at(kernel.dims)
    data = draw(kernel.dims, ORDINARY)
    back = at.gradients(at.data(data).flat())
    assert at.sizes == {"H": 3, "D": 2}
    for block, array in data.flat().items():
        np.testing.assert_array_equal(back[block], array)
    assert isinstance(kernel.dims, Dims)


EXAMPLE = Path(__file__).parents[2] / "examples" / "kernels" / "lstm_stacked.py"
DOCUMENTED = Path(__file__).parents[2] / "docs" / "verify.md"


def test_the_example_is_verified_as_the_documentation_says(capsys: pytest.CaptureFixture[str]) -> None:
    wrong, right = re.findall(r'lstm_stacked\.py --against lstm --map "(.+)"', DOCUMENTED.read_text(encoding="utf-8"))
    assert verify.check(EXAMPLE, against="lstm", names=[right], quick=True).passed
    with pytest.raises(KernelError) as caught:
        verify.check(EXAMPLE, against="lstm", names=[wrong], quick=True)
    assert str(caught.value) in DOCUMENTED.read_text(encoding="utf-8")
