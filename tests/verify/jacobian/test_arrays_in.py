"""From Python: wrong arrays are named before anything is computed, and the result can't be written to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests import bounds
from tests.verify.jacobian.runs import run_of, without
from verify.jacobian import Run, RunError, Wanted, analyse
from verify.jacobian.remedies import clip_by_norm
from verify.jacobian.steps import Dense


@pytest.mark.parametrize(
    ("part", "name", "array", "text"),
    [
        ("inputs", "x", np.zeros((0, 1, 3)), "inputs['x']: expected at least one step and one sequence"),
        ("inputs", "x", np.zeros((4, 3)), "inputs['x']: expected 3 axes, got shape (4, 3)"),
        ("inputs", "y", np.zeros((4, 1, 3)), "inputs: expected x, got `y`"),
        ("state", "k", np.zeros((1, 5)), "state: expected h, got `k`"),
        ("state", "h", np.zeros((1, 5), np.float32), "state['h']: expected an array of float64, got float32"),
        ("inputs", "x", np.zeros((4, 1, 3), np.float32), "inputs['x']: expected an array of float64, got float32"),
        ("parameters", "U", np.zeros((5, 5), np.float32), "parameters['U']: expected an array of float64, got float32"),
        ("parameters", "U", [[1.0]], "parameters['U']: expected an array of float64, got list"),
    ],
)
def test_a_wrong_array_is_named_as_the_caller_passed_it(part: str, name: str, array: Any, text: str) -> None:
    run = run_of("rnn")
    with pytest.raises(RunError) as caught:
        replace(run, **{part: {**getattr(run, part), name: array}})
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_parameter_is_named() -> None:
    run = run_of("rnn")
    with pytest.raises(RunError, match="parameters: expected W, U, b, got no `b`"):
        replace(run, parameters={name: run.parameters[name] for name in "WU"})


def test_no_array_of_a_result_can_be_written_to() -> None:
    result = analyse(run_of("lstm"), Wanted(fan=3))
    assert result.paths
    assert result.gradient
    assert result.fan
    arrays = [result.exponents, result.log10_norms, result.singular_values, result.fan.values, result.paths[0].cut]
    for array in [*arrays, result.gradient.inputs["x"]]:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize("threshold", [-1.0, np.inf, np.nan])
def test_a_threshold_that_is_no_length_is_refused(threshold: float) -> None:
    with pytest.raises(RunError, match="clip_by_norm: threshold: expected a finite number from 0 on"):
        clip_by_norm({"W": np.ones(2)}, threshold)
    with pytest.raises(RunError, match=r"clip_by_norm: gradients\['W'\]: expected finite"):
        clip_by_norm({"W": np.array([np.inf])}, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_a_kernel_without_step_jacobian_agrees_with_its_derived_twin(seed: int) -> None:
    run = run_of("lstm --peephole", steps=20, H=3, D=2, seed=seed)
    bare = Run("bare", without(run.kernel, "step_jacobian", "jvp"), run.parameters, run.inputs, run.state)
    only = Wanted(paths=False, gradient=False)
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(20)])
    np.testing.assert_allclose(analyse(bare, only).exponents, analyse(run, only).exponents, rtol=0, atol=bounds.exponents(J))
