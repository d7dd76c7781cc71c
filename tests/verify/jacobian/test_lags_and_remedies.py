"""The gradient by lag adds up to the gradient; the documents' remedies do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tests import bounds
from tests.verify.jacobian.runs import rnn, run_of, without
from verify.jacobian import Run, RunError, Wanted, analyse
from verify.jacobian.initial import Init, draw_parameters, recurrent_blocks
from verify.jacobian.lags import gradient_by_lag, one_step, unit_cotangents
from verify.jacobian.opening import carry_biases
from verify.jacobian.remedies import clip_by_norm, compare, forget_bias, identity, orthogonal, remedy_of, with_relu
from verify.jacobian.steps import Dense

LIMIT = bounds.rounded(bounds.of_recurrence(steps=7, batch=1, fan_in=12 * 5))


@pytest.mark.parametrize("words", ["rnn", "lstm --peephole", "gru --reset after"])
def test_contributions_of_the_steps_add_up_to_the_whole_gradient(words: str) -> None:
    """JKU slides: dL^(t)/dW = sum over i of dL^(t)/dW|_(i)."""
    run = run_of(words, steps=7)
    given = unit_cotangents(run, 0)
    _, tape = run.kernel.forward(run.parameters, run.inputs, run.state)
    at_end = {name: np.concatenate([np.zeros((6, 1, 5)), array[None]]) for name, array in given.items()}
    whole = run.kernel.backward(run.parameters, tape, at_end)
    total = {name: np.zeros_like(array) for name, array in run.parameters.items()}
    cotangents = given
    found = gradient_by_lag(run)
    for lag in range(7):
        part = one_step(run, 6 - lag, 0, cotangents)
        for name in total:
            total[name] += part.parameters[name]
            assert np.exp(found.parameters[name][lag]) == pytest.approx(
                np.linalg.norm(part.parameters[name]), rel=LIMIT, abs=1e-300
            )
        assert np.exp(found.inputs["x"][lag]) == pytest.approx(np.linalg.norm(whole.inputs["x"][6 - lag]), rel=LIMIT)
        cotangents = dict(part.state)
    for name in total:
        np.testing.assert_allclose(total[name], whole.parameters[name], rtol=0, atol=LIMIT * abs(whole.parameters[name]).max())


def test_gradient_by_lag_of_an_earlier_loss_and_of_a_long_run() -> None:
    run = rnn(0.5 * np.eye(3), 3000, "identity", x=np.ones((3000, 1, 3)))
    assert len(gradient_by_lag(run, 10).inputs["x"]) == 10
    lags, limit = gradient_by_lag(run), bounds.rounded(3000) * 3000 * np.log(2)  # a sum of 3000 logarithms
    np.testing.assert_allclose(lags.inputs["x"], np.arange(3000) * np.log(0.5), rtol=0, atol=limit)
    np.testing.assert_allclose(lags.states["h"], np.arange(3001) * np.log(0.5), rtol=0, atol=limit)
    with pytest.raises(RunError, match="--loss-step: expected a step from 1 to 3000, got 3001"):
        gradient_by_lag(run, 3001)


def test_clipping_is_algorithm_1() -> None:
    gradients = {"W": np.array([[3.0, 0.0]]), "b": np.array([4.0])}
    clipped = clip_by_norm(gradients, 1.0)
    np.testing.assert_allclose(clipped["W"], [[0.6, 0.0]], rtol=4 * bounds.EPS)
    np.testing.assert_allclose(clipped["b"], [0.8], rtol=4 * bounds.EPS)
    assert clip_by_norm(gradients, 6.0)["b"] == 4.0
    huge = clip_by_norm({"W": np.array([1e200, 1e200])}, 1.0)
    np.testing.assert_allclose(huge["W"], np.sqrt([0.5, 0.5]), rtol=4 * bounds.EPS)
    assert clip_by_norm({"W": np.zeros(2)}, 1.0)["W"].tolist() == [0, 0]


def test_remedies_show_the_same_view_before_and_after() -> None:
    run = run_of("rnn", steps=30, H=8, scale=0.3)
    before, after = compare(run, orthogonal, Wanted(paths=False))
    assert after.exponents[0] > before.exponents[0]
    np.testing.assert_allclose(np.linalg.svd(after.run.parameters["U"])[1], 1, rtol=bounds.rounded(2 * 8))
    _, kept = compare(run, lambda one: with_relu(identity(one)))
    assert kept.run.parameters["U"].tolist() == np.eye(8).tolist()
    assert kept.log10_norms.max() <= 0
    opened = forget_bias(run_of("lstm", steps=30, H=8, scale=0.3), 4.0)
    assert analyse(opened).exponents[0] > -0.1


def test_forget_bias_is_found_by_what_carries_the_state() -> None:
    assert carry_biases(run_of("lstm").derivation) == [("b_f", 1)]
    assert carry_biases(run_of("gru").derivation) == [("b_z", -1)]
    assert carry_biases(run_of("gru --update-gate state").derivation) == [("b_z", 1)]
    with pytest.raises(RunError, match="no bias in a gate that carries"):
        forget_bias(run_of("rnn"), 1.0)


def test_recurrent_matrices_are_found_by_what_they_multiply() -> None:
    run = run_of("lstm --peephole", D=5)
    names = [name for name, _ in recurrent_blocks(run.kernel, run.derivation, run.parameters)]
    assert names == ["U_i", "P_i", "U_f", "P_f", "U_c", "U_o", "P_o"]
    from tests.verify.jacobian.test_steps_and_paths import stacked_run

    stacked = stacked_run()
    found = recurrent_blocks(stacked.kernel, stacked.derivation, stacked.parameters)
    assert found == [("A", slice(3, 7)), ("M", slice(0, 4))]
    M = identity(stacked).parameters["M"]
    assert M[:, :4].tolist() == np.eye(4).tolist()
    np.testing.assert_array_equal(M[:, 4:], stacked.parameters["M"][:, 4:])


def test_weights_are_drawn_by_the_seed() -> None:
    run = run_of("rnn")
    shapes = {"W": (5, 3), "U": (5, 5), "b": (5,)}
    first, second = (draw_parameters(run.kernel, run.derivation, shapes, Init(scale=2.0), 7) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in shapes)
    turned = draw_parameters(run.kernel, run.derivation, shapes, Init(scale=2.0, recurrent="orthogonal"), 7)
    np.testing.assert_allclose(turned["U"] @ turned["U"].T, 4 * np.eye(5), atol=4 * bounds.rounded(2 * 5))
    assert turned["W"].tolist() == first["W"].tolist()


def test_a_kernel_file_is_served_from_its_contract_alone() -> None:
    run = run_of("lstm", steps=9)
    bare = Run("bare", without(run.kernel, "step_jacobian", "jvp"), run.parameters, run.inputs, run.state)
    first, second = analyse(run), analyse(bare)
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(9)])
    np.testing.assert_allclose(first.exponents, second.exponents, rtol=0, atol=bounds.exponents(J))
    np.testing.assert_allclose(first.log10_norms, second.log10_norms, rtol=0, atol=bounds.singular_values(J))
    assert second.paths is None
    assert second.bound.log10(9) is None


def test_an_unknown_remedy_is_refused() -> None:
    with pytest.raises(RunError, match="--remedy: expected identity"):
        remedy_of("prayer")
