"""Each kind of check by a kernel that only it can judge: no complex numbers, kinks, futures, mixing, digits, forward mode."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verify
from tests.kernels import kernel_of
from tests.verify.searches import one_search  # noqa: F401  a fixture
from verify import differences
from verify.data import ORDINARY, REACH, SHORT, Dims, draw
from verify.examination import Report
from verify.kernel import load_text
from verify.tolerances import rounding

TEXT = (Path(__file__).parent / "foreign" / "diagonal_peephole.py").read_text(encoding="utf-8")
RETURN = "    return SimpleNamespace(parameters=d,"

LINEAR = """
from types import SimpleNamespace
import numpy as np
PARAMETERS = {"W": ("H", "D"), "U": ("H", "H"), "b": ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}
def forward(parameters, inputs, state=None):
    x, W, U, b = inputs["x"], parameters["W"], parameters["U"], parameters["b"]
    for name, a, dims in (("x", x, 3), ("W", W, 2), ("U", U, 2), ("b", b, 1)):
        if a.ndim != dims or a.dtype.kind not in "fc" or a.dtype != x.dtype:
            raise ValueError(name)
    if set(parameters) != set(PARAMETERS) or set(inputs) != {"x"} or W.shape != (len(b), x.shape[2]) or U.shape != (len(b), len(b)):
        raise ValueError("names or shapes")
    state = {"h": np.zeros((x.shape[1], len(b)), x.dtype)} if state is None else state
    if set(state) != {"h"} or state["h"].shape != (x.shape[1], len(b)) or state["h"].dtype != x.dtype:
        raise ValueError("state")
    h, hs, zs = state["h"], [state["h"]], []
    for t in range(len(x)):
        z = x[t] @ W.T + h @ U.T + b
        h = FORWARD
        hs.append(h)
        zs.append(z)
    return {"h": np.array(hs[1:])}, (x.copy(), hs, zs)
def backward(parameters, tape, cotangents):
    x, hs, zs = tape
    W, U, b = parameters["W"], parameters["U"], parameters["b"]
    if set(cotangents) - {"h"} or any(a.shape != np.shape(hs[1:]) for a in cotangents.values()):
        raise ValueError("cotangents")
    d = {"W": np.zeros_like(W), "U": np.zeros_like(U), "b": np.zeros_like(b)}
    dx, dh = np.zeros_like(x), np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        dh = dh + (cotangents["h"][t] if "h" in cotangents else 0)
        z, h = zs[t], hs[t + 1]
        dz = BACKWARD
        d["W"] += dz.T @ x[t]
        d["U"] += dz.T @ hs[t]
        d["b"] += dz.sum(0)
        dx[t], dh = dz @ W, dz @ U
    return SimpleNamespace(parameters=d, inputs={"x": dx}, state={"h": dh})
"""


def simple(forward: str, backward: str) -> Report:
    return verify.check(load_text(LINEAR.replace("FORWARD", forward).replace("BACKWARD", backward), "simple.py"))


def failing(report: Report, check: str) -> str:
    lines = [finding.line() for finding in report.failures() if finding.check == check]
    assert lines, report.faults() or "everything passes"
    return lines[0]


def test_a_kernel_that_complex_numbers_cannot_run_through_is_decided_by_differences() -> None:
    report = simple("np.tanh(z.real)", "dh * (1 - h**2)")
    assert report.method == "chained differences"
    assert report.passed, report.faults()


def test_a_kernel_that_loses_the_analytic_continuation_is_seen_by_central_differences() -> None:
    report = simple("np.abs(z) / (1 + np.abs(z))", "dh * np.sign(z) / (1 + np.abs(z))**2")
    assert report.method == "chained differences"
    assert "no complex support" in report.note


def test_a_wrong_slope_fails_without_complex_numbers_too() -> None:
    report = simple("np.tanh(z.real)", "dh * (1 - h**2) * 1.00001")
    assert failing(report, "gradients")


def test_a_kink_is_found_and_reported() -> None:
    report = simple("np.where(z.real > 0, z, 0)", "dh * (z > 0)")
    assert report.passed, report.faults()
    (kink,) = [finding for finding in report.findings if finding.check == "kinks"]
    assert "backward takes the left" in kink.said


def test_a_gradient_from_the_future_is_a_failure() -> None:
    text = TEXT.replace(RETURN, f"    d_x[-1] += 1e-9 * d_x[0]\n{RETURN}").replace(
        "d_x[-1] += 1e-9 * d_x[0]", "d_x[-1] += 1e-6 * d_x[0]; d_x[1:] += 0 * d_x[:1]"
    )
    assert not verify.check(load_text(text, "future.py"), quick=True).passed


def test_examples_that_know_of_each_other_are_a_failure() -> None:
    text = TEXT.replace("        h = o * y\n", "        h = o * y + 0 * h\n        h = h + 1e-6 * h.mean(axis=0)\n")
    report = verify.check(load_text(text, "mixing.py"), quick=True)
    assert any(finding.check == "examples independent" for finding in report.failures())


@pytest.mark.parametrize(
    ("old", "new", "check", "said"),
    [
        (RETURN, "    d = {n: a.reshape(-1) for n, a in d.items()}\n" + RETURN, "shapes", "wrong shape"),
        (RETURN, "    d = {n: a.astype(np.float64) for n, a in d.items()}\n" + RETURN, "float32", "wrong dtype"),
        ("    p = SimpleNamespace(**parameters)\n    zero", "    steps.append(steps.pop(0))\n    p = SimpleNamespace(**parameters)\n    zero", "tape", "second backward"),  # noqa: E501
        ("np.zeros((B, H), x.dtype) for name in STATES}", "np.ones((B, H), x.dtype) for name in STATES}", "state=None", "forward differs"),
        ('cotangents.get("c", zero)', 'cotangents.get("c", zero + 1)', "omitted cotangent", "without any cotangent"),
        (" or array.dtype != dtype:\n            raise ValueError(f\"{where}: {name}: exp", ":\n            raise ValueError(f\"{where}: {name}: exp", "refuses mixed dtypes", "not refused: parameters"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_the_contract_says_of_calls_is_held(old: str, new: str, check: str, said: str) -> None:
    assert TEXT.count(old) == 1, old
    assert re.search(
        said, failing(verify.check(load_text(TEXT.replace(old, new), "edited.py"), contract=True, quick=True), check)
    )


def test_a_jvp_that_differs_is_caught() -> None:
    kernel = kernel_of("rnn")
    wrapped = load_text("PARAMETERS = INPUTS = STATES = {}\ndef forward(): ...\ndef backward(): ...\n", "wrapped.py")
    vars(wrapped).update(
        {name: getattr(kernel, name) for name in ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS", "forward", "backward")}
    )
    wrapped.jvp = lambda *arguments: {name: array * 1.0001 for name, array in kernel.jvp(*arguments).items()}
    wrapped.step_jacobian = lambda parameters, tape: kernel.step_jacobian(parameters, tape).swapaxes(2, 3)
    report = verify.check(wrapped)
    assert {finding.check for finding in report.failures()} == {"jvp", "adjoint", "step_jacobian"}


def test_the_bound_stays_below_what_has_to_be_caught() -> None:
    dims = Dims.of(kernel_of("lstm --peephole"))
    assert rounding(ORDINARY.steps, dims.fan_in(), REACH, 2.0).value < 1e-10
    assert rounding(SHORT.steps, dims.fan_in(), REACH, 2.0).value < 1e-9


def test_sizes_differ_from_each_other() -> None:
    dims = Dims.of(kernel_of("lstm"))
    data = draw(dims, ORDINARY)
    sizes = [data.steps, data.batch, *dims.sizes.values()]
    assert len(set(sizes)) == len(sizes)
    assert all(np.abs(array).min() > 0 for array in data.cotangents.values())


def test_a_kink_near_the_data_does_not_take_complex_step_its_word() -> None:
    """At seed 1016 a central difference reaches across the kink of a ReLU: complex step and backward agree, and they decide."""
    report = verify.check(kernel_of("rnn --activation relu"), seed=1016, quick=True)
    assert report.passed, report.faults()
    assert report.method == "complex step"


@pytest.mark.parametrize("against", [None, "lstm --peephole diagonal"])
def test_outputs_that_are_nan_on_long_runs_are_never_left_out_in_silence(against: str | None) -> None:
    """Only a formula that grows so itself excuses data on which nothing can be said."""
    text = TEXT.replace("        y = np.tanh(c)\n", "        y = np.tanh(c) * (np.nan if T > 20 else 1)\n")
    report = verify.check(load_text(text, "edited.py"), against=against)
    assert not report.passed
    assert any("regime short memory" in finding.said for finding in report.failures() if finding.check == "data")


def test_a_right_kernel_passes_the_thorough_run() -> None:
    """Eight seeds, every regime and size, forward mode on all of them."""
    report = verify.check(kernel_of("rnn"), against="rnn", thorough=True)
    assert report.passed, report.faults()
    assert {"jvp", "step_jacobian"} <= {finding.check for finding in report.findings}


def test_a_kink_beside_the_data_is_seen_where_refining_sees_nothing() -> None:
    """Both quotients have half of each slope in them and agree; the slopes of both sides don't."""
    arrays = {"a": np.array([1e-9, 0.7])}

    def kinked(at: dict[str, Any]) -> Any:
        return np.maximum(at["a"], 0.0).sum()

    near, change = differences.refined(kinked, arrays, "a")
    assert abs(near[0] - 1.0) > 0.4
    assert change[0] < 1e-3
    jump = differences.bent(kinked, arrays, "a")
    assert jump[0] > abs(near[0] - 1.0)
    # where it is smooth there is the rounding of the loss over the step, 1e-10, and no more
    assert jump[1] < 1e-9
    assert differences.bent(lambda at: np.exp(at["a"]).sum(), arrays, "a").max() < 1e-9
