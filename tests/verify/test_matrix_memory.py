"""A right kernel with a matrix memory, learned numbers and number states passes every check; each fault in it is seen and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import verify
from tests.profiles import thorough
from tests.verify.matrix_memory import MEMORY, cell, matrix_memory
from verify import gradients
from verify.behaviour import shapes
from verify.cause import Inquiry
from verify.data import ORDINARY, SHORT, Regime, draw
from verify.evidence import CHAINED, EXACT, Evidence
from verify.findings import Finding
from verify.kernel import Kernel, load_text
from verify.model import model_of
from verify.second_order import second_order
from verify.tangents import forward_mode, step_jacobian

DOZEN = replace(SHORT, name="a dozen steps", steps=12)
REAL = (
    "def run(parameters, inputs, state):\n",
    "def real(arrays):\n    return arrays and {name: np.real(array) for name, array in arrays.items()}\n\n"
    "def run(parameters, inputs, state):\n    parameters, inputs, state = map(real, (parameters, inputs, state))\n",
)
"""Makes the kernel one of real numbers only."""


# ---- the right kernel


def test_a_right_kernel_of_numbers_and_matrices_passes_every_check_and_is_its_cell_s() -> None:
    report = verify.check(matrix_memory(), quick=True, formula=cell(), regimes=(ORDINARY, DOZEN))
    assert report.passed, report.faults()
    assert report.method == EXACT
    assert {f.check for f in report.findings} >= {"jvp", "hvp", "step_jacobian", "against", "sizes"}
    assert not [promise for promise in report.contract.promises if "refused" not in promise]


@pytest.mark.parametrize("seed", [thorough(seed) for seed in range(5)])
def test_it_passes_on_all_data(seed: int) -> None:
    report = verify.check(matrix_memory(), model_of(cell()), seed=seed)
    assert report.passed, report.faults()


def test_its_derived_backward_pass_is_the_one_by_hand() -> None:
    report = verify.check(matrix_memory(), model_of(cell()), quick=True, regimes=(ORDINARY,), sizes=[{"B": 2}])
    assert report.passed, report.faults()


def test_of_real_numbers_it_is_decided_by_single_steps_multiplied() -> None:
    kernel = Kernel(matrix_memory(REAL), "memory")
    for regime in (ORDINARY, DOZEN):
        evidence = Evidence(kernel, regime, draw(kernel.dims, regime, 0, 0.7), method=CHAINED)
        assert evidence.chain.holds
        found = [*gradients.blocks(kernel, evidence, elementwise=False), *gradients.lags(kernel, evidence)]
        assert not [one for one in found if one.failed]
        assert {one.block for one in found if one.decided} == set(evidence.data.flat())
        assert all(finding.passed for finding in [*forward_mode(kernel, evidence), *step_jacobian(kernel, evidence)])


@pytest.mark.thorough
def test_of_real_numbers_it_passes_every_check() -> None:
    report = verify.check(matrix_memory(REAL), quick=True)
    assert report.passed, report.faults()
    assert report.method == CHAINED


def test_chained_differences_of_a_matrix_state_are_the_complex_step() -> None:
    kernel = Kernel(matrix_memory(), "memory")
    data = draw(kernel.dims, DOZEN, 3, 0.7)
    exact, chained = (Evidence(kernel, DOZEN, data, 3, method) for method in (EXACT, CHAINED))
    for block in ("input A", "input m", "initial C", "initial s"):
        right, found = (one.per_step(block, data.cotangents) for one in (exact, chained))
        error = chained.per_step(block, data.cotangents, error=True)
        # what the complex step itself rounds: a dozen products of fan-in 20 at eps, next to the largest of each step
        assert (np.abs(found - right) <= error + 1e-13 * np.abs(right).max()).all()


# ---- faults

FAULTS = {
    "a transposed outer product": ("C_ = C_ + outer(r_, g.q)\n", "C_ = C_ + outer(g.q, r_).reshape(C_.shape)\n"),
    "the path through the matrix state dropped": ('C_ = c["C"] + later["C"] +', 'C_ = c["C"] +'),
    "a number's gradient as a mean over the batch": ('d["b_i"] += i_.sum()', 'd["b_i"] += i_.mean()'),
    "a number's gradient of the first example only": ('d["b_i"] += i_.sum()', 'd["b_i"] += i_[0]'),
    "a reduction over the batch too": ("inner(n_, g.k)) * g.i", "(n_ * g.k).sum()) * g.i"),
    "a mean over one axis of a matrix": ("both(C_, g.A).sum()", "(C_ * g.A).sum(-1).mean(-1).sum()"),
    "the carry of the memory cut every 3 steps": (
        'later = {"C": each(g.f, C_), "n": each(g.f, n_), "s": p["alpha"] * (f_ + z_)}\n    return',
        'later = {"C": (t % 3 > 0) * each(g.f, C_), "n": each(g.f, n_), "s": p["alpha"] * (f_ + z_)}\n    return',
    ),
    "the first step without its gate": (
        "    return SimpleNamespace(parameters=d, inputs=dx, state=later)",
        '    later["C"] = C_\n    return SimpleNamespace(parameters=d, inputs=dx, state=later)',
    ),
    "one of two paths to a number": ("(f_ * g.s0 + z_ * g.s0).sum()", "(f_ * g.s0).sum()"),
    "the normaliser before for the one after": ("each(a_, g.n)\n        f_ =", "each(a_, g.n0)\n        f_ ="),
    "an input that is a matrix without its number": ('dx["A"][t] = p["beta"] * C_', 'dx["A"][t] = C_'),
}  # fmt: skip


def failing(kernel: Kernel) -> list[gradients.Comparison]:
    """The comparisons of gradients that fail on few steps and on a dozen."""
    found = []
    for regime in (ORDINARY, DOZEN):
        evidence = Evidence(kernel, regime, draw(kernel.dims, regime, 0, 0.7))
        found += [*gradients.blocks(kernel, evidence, elementwise=True), *gradients.lags(kernel, evidence)]
    return [one for one in found if one.failed]


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_backward_is_seen(name: str) -> None:
    assert failing(Kernel(matrix_memory(FAULTS[name]), name))


def test_without_a_fault_nothing_is_seen() -> None:
    assert not failing(Kernel(matrix_memory(), "memory"))


def said_of(name: str, block: str) -> str:
    """What is said to be wrong with a block."""
    kernel = Kernel(matrix_memory(FAULTS[name]), name)
    short, long = (Evidence(kernel, regime, draw(kernel.dims, regime, 0, 0.7)) for regime in (ORDINARY, DOZEN))
    with np.errstate(all="ignore"):
        return Inquiry(short, [long]).cause(block)


@pytest.mark.parametrize(
    ("name", "block", "said"),
    [
        ("the path through the matrix state dropped", "input A", "nothing goes further back than lag 0"),
        ("a number's gradient as a mean over the batch", "b_i", "mean instead of sum over examples"),
        ("a mean over one axis of a matrix", "beta", "scaled by 0.333333333"),
        ("the carry of the memory cut every 3 steps", "input A", "the carry is cut every 3 steps"),
        ("one of two paths to a number", "alpha", ""),
    ],
)
def test_what_is_wrong_is_said(name: str, block: str, said: str) -> None:
    """Of one number no factor is made up: any number is a multiple of another."""
    found = said_of(name, block)
    assert said in found if said else not found


def test_a_gradient_that_is_not_summed_over_the_batch_is_named() -> None:
    kernel = Kernel(matrix_memory(('d["b_i"] += i_.sum()', 'd["b_i"] = d["b_i"] + i_')), "memory")
    first = next(finding for finding in shapes(kernel, draw(kernel.dims, ORDINARY)) if not finding.passed)
    assert first.block == "b_i"
    assert first.said == "wrong shape: expected (), got (4,)"
    assert first.cause == "the gradient isn't summed over the examples"


@pytest.mark.parametrize("name", [thorough("a transposed outer product"), thorough("the carry of the memory cut every 3 steps")])
def test_a_whole_check_fails_and_names_the_gradients(name: str) -> None:
    report = verify.check(matrix_memory(FAULTS[name]), quick=True, regimes=(ORDINARY,), sizes=[{"B": 2}])
    assert not report.passed
    assert {"input A", "initial C", "W_k"} <= report.failed_blocks()


# ---- faults of second order

SECOND = {
    "the slope of tanh held": (" - 2 * s_ * g.s * w.s", "", "along the tangents of W_k, W_q"),
    "the weights' tangent in the input dropped": ("way.T @ g.x + array.T @ w.x", "way.T @ g.x", "right along"),
    "no carry of the normaliser": ('moving["n"] + each(ha, g.q)', "each(ha, g.q)", "differs from the complex step"),
    "a transposed outer product": ("outer(r_, w.q)", "outer(w.q, r_).reshape(C_.shape)", "along the tangents of W_q, x"),
    "a number as a mean over the batch": ('["b_f"] += hf.sum()', '["b_f"] += hf.mean()', "mean instead of sum over examples"),
    "a sign": ("hr = each(1 / g.e, y_), -each(", "hr = each(1 / g.e, y_), each(", "along the tangents of W_k, W_q"),
    "the gradient added": ('hx["m"][t] = hi', 'hx["m"][t] = hi + i_', "not zero along zero tangents"),
    "the gradient for its tangent": ("inputs=hx, state=moving", "inputs=hx, state=later", "d_C_0"),
    "no tangent of the state as the state": ("filled(ds, first)", "filled(ds or first, first)", "not zero"),
    "a recurrence cut after 9 steps": (
        '"C": each(w.f, C_) + each(g.f, hC), "n"', '"C": (len(steps) - t < 10) * (each(w.f, C_) + each(g.f, hC)), "n"', DOZEN.name,
    ),
    "a conjugate": ('hx["m"][t] = hi', 'hx["m"][t] = np.conj(hi)', "complex numbers"),
    "a buffer that is kept": (
        "    d, hx, later, moving = zeros(p)",
        "    global kept\n    kept = globals().get('kept') or zeros(p)\n    d, hx, later, moving = kept",
        "",
    ),
    "the tangents written to": ("    p = parameters\n", '    p = parameters\n    tangent_inputs.get("m", np.zeros(1))[...] *= 1.5\n', ""),
}  # fmt: skip


def of_second_order(module: Any, *regimes: Regime) -> list[Finding]:
    """What fails of hvp."""
    kernel = Kernel(module, "memory")
    evidences = [Evidence(kernel, regime, draw(kernel.dims, regime, 0, 0.7)) for regime in regimes]
    with np.errstate(all="ignore"):
        return [finding for finding in second_order(kernel, evidences) if not finding.passed]


def test_a_right_hvp_passes() -> None:
    assert not of_second_order(matrix_memory(), ORDINARY, DOZEN)


@pytest.mark.parametrize("name", [name for name in SECOND if name != "the tangents written to"])
def test_each_fault_of_hvp_is_seen_and_named(name: str) -> None:
    *edit, said = SECOND[name]
    found = of_second_order(matrix_memory(tuple(edit)), *[ORDINARY, DOZEN][: 1 + (said == DOZEN.name)])
    assert found
    assert any(said in finding.line() for finding in found), [finding.line() for finding in found]


def test_arguments_of_hvp_that_are_written_to_are_named() -> None:
    from verify.bookkeeping import arguments

    kernel = Kernel(matrix_memory(SECOND["the tangents written to"][:2]), "memory")
    found = [finding.said for finding in arguments(kernel, draw(kernel.dims, ORDINARY)) if not finding.passed]
    assert found == ["hvp changes tangent_inputs['m']"]


def test_a_matrix_state_column_by_column_in_step_jacobian_is_seen() -> None:
    kernel = Kernel(matrix_memory(("w.C.reshape(B, -1), w.n", "w.C.swapaxes(1, 2).reshape(B, -1), w.n")), "memory")
    evidence = Evidence(kernel, ORDINARY, draw(kernel.dims, ORDINARY, 0, 0.7))
    assert [finding.said for finding in step_jacobian(kernel, evidence)] == ["differs from complex step"]


def test_a_missing_hvp_is_a_promise_that_is_not_kept() -> None:
    (found,) = second_order(Kernel(load_text(MEMORY.replace("def hvp(", "def other("), "memory.py"), "memory"), [])
    assert found.check == "hvp"
    assert found.said == "absent"
    assert found.kind == "contract"
