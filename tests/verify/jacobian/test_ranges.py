"""What is said of how large values can be is true, and said where it can be proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.functions import relu, sigma, softplus
from derive.language import X
from tests import bounds
from tests.verify.jacobian.runs import run_of, words_run
from verify.jacobian import Run
from verify.jacobian.bounds import bound_of, rounded_up
from verify.jacobian.intervals import extremes, range_of_function
from verify.jacobian.ranges import Ranges
from verify.jacobian.steps import Dense
from verify.jacobian.values import evaluated

BOUNDED: dict[str, tuple[list[str], dict[str, tuple[float, float]]]] = {
    "exp(-softplus)": (
        [r"f_t = \exp(-\mathrm{softplus}(W x_t + U h_{t-1}))", r"h_t = f_t h_{t-1} + (1 - f_t) \tanh(V x_t)"],
        {"f": (0, 1), "h": (-1, 1)},
    ),
    "a convex combination": (
        [r"z_t = \sigma(W x_t + U h_{t-1})", r"h_t = h_{t-1} + z_t \odot (\tanh(V x_t) - h_{t-1})"],
        {"h": (-1, 1)},
    ),
    "a product of gates": (
        [r"f_t = \sigma(W x_t)", r"g_t = \sigma(U x_t)", r"i_t = 1 - f_t g_t", r"h_t = f_t g_t h_{t-1} + i_t \tanh(V x_t)"],
        {"i": (0, 1), "h": (-1, 1)},
    ),
    "a leak": ([r"h_t = 0.9 h_{t-1} + 0.1 \tanh(W x_t + U h_{t-1})"], {"h": (-1, 1)}),
    "clipped": ([r"h_t = \max(-1, \min(1, W x_t + U h_{t-1}))"], {"h": (-1, 1)}),
    "clipped by relu": ([r"a_t = W x_t + U h_{t-1}", r"h_t = ReLU(a_t + 1) - ReLU(a_t - 1) - 1"], {"h": (-1, 1)}),
    "squares": ([r"a_t = \sigma(W x_t + U h_{t-1})", r"h_t = a_t a_t - h_{t-1} a_t (1 - a_t)"], {"h": (-4 / 15, 16 / 15)}),
    "softmax": ([r"s_t = \text{softmax}(W x_t + U h_{t-1})", r"h_t = s_t \tanh(V x_t)"], {"s": (0, 1), "h": (-1, 1)}),
    "two states in turns": (
        [r"h_t = \tanh(W x_t) - 0.5 c_{t-1}", r"c_t = \tanh(V x_t) + 0.5 h_{t-1}"],
        {"h": (-2, 2), "c": (-2, 2)},
    ),
}
OPEN: dict[str, tuple[list[str], str]] = {
    "a sum that may grow": ([r"c_t = \sigma(W x_t + U c_{t-1}) c_{t-1} + \tanh(V x_t)"], "c_t-1"),
    "relu": ([r"g_t = ReLU(W x_t)", r"h_t = \tanh(g_t \odot (U h_{t-1}))"], "g"),
    "not convex": ([r"z_t = \sigma(W x_t)", r"r_t = \sigma(V x_t)", r"h_t = z_t h_{t-1} + (1 - r_t) \tanh(U x_t)"], ""),
}


def run_on(folder: Path, equations: list[str]) -> Run:
    (folder / "cell.md").write_text("\n".join(f"$${equation}$$" for equation in equations))
    return words_run(f"{folder / 'cell.md'} --hidden 3 --inputs 3 --steps 30")


@pytest.mark.parametrize("kind", BOUNDED)
def test_what_can_be_proved_is_said_and_no_run_leaves_it(kind: str, tmp_path: Path) -> None:
    equations, expected = BOUNDED[kind]
    run = run_on(tmp_path, equations)
    found = bound_of(run, evaluated(run))
    assert found.per_step is not None
    ranges = {value.name: Ranges(evaluated(run)).of(value) for value in run.derivation.cell.targets}
    for name, ends in expected.items():
        np.testing.assert_allclose(ranges[name], ends, atol=1e-6)  # intervals are made wider by 1e-9, over some equations
    for scale in (0.1, 3.0, 100.0):
        wild = Run(run.name, run.kernel, run.parameters, {"x": scale * run.inputs["x"]}, {}, run.derivation)
        values = evaluated(wild)
        # a difference of large numbers, as that of two ReLUs is, rounds with them
        rounding = 4 * bounds.EPS * max(float(np.abs(values.of(value)).max()) for value in run.derivation.cell.targets)
        for value in run.derivation.cell.targets:
            low, high = ranges[value.name]
            assert low - rounding <= values.of(value).min() <= values.of(value).max() <= high + rounding
        norms = [np.linalg.norm(Dense(wild).jacobian(t)[0], 2) for t in range(30)]
        assert np.log10(max(max(norms), 1e-300)) <= found.per_step + 1e-12


@pytest.mark.parametrize("kind", OPEN)
def test_what_cannot_be_proved_is_not_said(kind: str, tmp_path: Path) -> None:
    equations, name = OPEN[kind]
    run = run_on(tmp_path, equations)
    found = bound_of(run, evaluated(run))
    assert found.statement.startswith("No bound that holds for every input was found") == bool(name)
    assert f"nothing is known of how large {name}" in found.statement or not name
    if kind == "not convex":
        (state,) = run.derivation.cell.states
        assert not np.isfinite(Ranges(evaluated(run)).of(state)).all()


def test_a_start_outside_is_kept_inside() -> None:
    run = run_of("gru")
    wide = Run(run.name, run.kernel, run.parameters, run.inputs, {"h": np.full((1, 5), 3.0)}, run.derivation)
    assert Ranges(evaluated(wide)).of(run.derivation.cell.states[0]) == (-1.0, 3.0)
    assert "h between -1 and 3" in bound_of(wide, evaluated(wide)).statement


@pytest.mark.parametrize(
    ("function", "ends"),
    [
        (sigma(X) * (1 - sigma(X)), (0, 0.25)),
        (1 - sigma(X), (0, 1)),
        (sp.exp(-softplus(X)), (0, 1)),
        (1 - sp.tanh(X) ** 2, (0, 1)),
        (relu(X + 1) - relu(X - 1) - 1, (-1, 1)),
        (X / (1 + relu(X) + relu(-X)), (-1, 1)),
        (sp.sin(X), (-1, 1)),
        (relu(X), (0, np.inf)),
        (softplus(X), (0, np.inf)),
        (sp.exp(X), (0, np.inf)),
        (sp.log(softplus(X)), (-np.inf, np.inf)),
        (X**2, (0, np.inf)),
    ],
)
def test_the_range_of_a_function_is_its_infimum_and_supremum(function: Any, ends: tuple[float, float]) -> None:
    np.testing.assert_allclose(range_of_function(function), ends, atol=1e-9)


def test_the_range_over_an_interval_has_what_lies_between_the_points_of_the_grid() -> None:
    low, high = extremes(sp.sin(X), (1.0, 5.0))
    assert low == pytest.approx(-1, abs=1e-12)
    assert high == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("number", [1.23456749, 0.1, 1.0, 1174.3300001, 9.999999e-7, 3e8 + 1])
def test_a_number_that_something_is_at_most_is_rounded_up(number: float) -> None:
    assert number <= float(rounded_up(number)) <= number * (1 + 1.01e-5)
    assert number * (1 - 1.01e-5) <= float(rounded_up(number, -1)) <= number
