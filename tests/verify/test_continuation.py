"""Backward with complex numbers is the analytic continuation of the gradient, or it is said that it isn't."""

from __future__ import annotations

import pytest

import verify
from tests.kernels import kernel_of
from tests.verify.edits import edited
from verify.continuation import continuation
from verify.findings import CONTRACT, FAIL, Finding
from verify.kernel import Kernel


def found(*edits: tuple[str, str]) -> Finding:
    (finding,) = continuation(Kernel(edited(*edits), "edited"), 0)
    return finding


@pytest.mark.parametrize("words", ["lstm --peephole", "gru", "rnn --activation relu"])
def test_emitted_kernels_continue_analytically(words: str) -> None:
    (finding,) = continuation(Kernel(kernel_of(words), words), 0)
    assert finding.passed
    assert not finding.said


def test_a_right_kernel_passes() -> None:
    assert found().passed


CONJUGATES = {
    "of the input": ('d["W"] += d_a.T @ x[t]', 'd["W"] += d_a.T @ x[t].conj()', "W"),
    "of the state": ('d["U"] += d_a.T @ hs[t]', 'd["U"] += d_a.T @ hs[t].conj()', "U"),
    "of the weights": ("d_x[t] = d_a @ W", "d_x[t] = d_a @ W.conj()", "input x"),
    "of a slope": ("(1 - hs[t + 1] ** 2)", "(1 - abs(hs[t + 1]) ** 2)", "W"),
    "of the cotangent": ('cotangents["h"][t] if', 'cotangents["h"][t].conj() if', "W"),
    "a real part": ('d["b"] += d_a.sum(axis=0)', 'd["b"] += d_a.sum(axis=0).real', "b"),
}


@pytest.mark.parametrize("name", CONJUGATES)
def test_a_conjugate_in_backward_is_a_failure_of_its_own(name: str) -> None:
    old, new, block = CONJUGATES[name]
    finding = found((old, new))
    assert (finding.check, finding.verdict, finding.block) == ("complex", FAIL, block)
    assert finding.kind != CONTRACT
    report = verify.check(edited((old, new)), quick=True)
    assert {one.check for one in report.failures()} == {"complex"}


def test_a_kernel_of_real_numbers_only_misses_a_promise_and_passes() -> None:
    report = verify.check(
        edited(("    W, U, b, x = parameters", "    assert parameters['W'].dtype.kind == 'f'\n    W, U, b, x = parameters")),
        quick=True,
    )
    assert report.passed
    assert any("complex" in missing for missing in report.contract.missing)
