"""Constants inside a kernel that saturate a unit for good, sigma(z + 100), and derivatives beyond what float64 holds."""

from __future__ import annotations

import numpy as np
import pytest

import verify
from verify.data import NEAR_ZERO, ORDINARY, SUSTAINED
from verify.evidence import EXACT
from verify.examination import Report
from verify.gradients import BELOW, GROWS, Comparison, judged, vanishing
from verify.kernel import Kernel, load_text
from verify.sizes import Trial
from verify.tolerances import Tolerance

GATE = '''
"""h = sigma(U h + b + constant) h + tanh(W x): where the constant is large, no gradient of U and b has a digit."""
from types import SimpleNamespace
import numpy as np

PARAMETERS = {"W": ("H", "D"), "U": ("H", "H"), "b": ("H",)}
INPUTS = {"x": ("D",)}
STATES = {"h": ("H",)}
OUTPUTS = {}


def forward(p, inputs, state=None):
    x = inputs["x"]
    h = [np.zeros((x.shape[1], len(p["b"])), x.dtype) if state is None else state["h"]]
    gates, news = [], []
    for x_t in x:
        gates.append(1 / (1 + np.exp(-(h[-1] @ p["U"].T + p["b"] + CONSTANT))))
        news.append(np.tanh(x_t @ p["W"].T))
        h.append(gates[-1] * h[-1] + news[-1])
    return {"h": np.array(h[1:], x.dtype).reshape(len(x), *h[0].shape)}, (x, h, gates, news)


def backward(p, tape, cotangents):
    x, h, gates, news = tape
    d, d_x, d_h = {name: np.zeros_like(a) for name, a in p.items()}, np.zeros_like(x), np.zeros_like(h[0])
    for t in reversed(range(len(x))):
        d_h = d_h + cotangents["h"][t]
        d_z = d_h * h[t] * gates[t] * (1 - gates[t])
        d_a = d_h * (1 - news[t] ** 2)
        d["W"] += d_a.T @ x[t]
        d["U"] += d_z.T @ h[t]
        d["b"] += d_z.sum(0)
        d_x[t] = d_a @ p["W"]
        d_h = d_h * gates[t] + d_z @ p["U"]
    return SimpleNamespace(parameters=d, inputs={"x": d_x}, state={"h": d_h})
'''


def report(constant: str, *edits: tuple[str, str]) -> Report:
    text = GATE.replace("CONSTANT", constant)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return verify.check(load_text(text, "constant.py"), regimes=[ORDINARY, NEAR_ZERO], quick=True)


def wrong(found: Report) -> set[str]:
    return {finding.block for finding in found.failures() if finding.check == "gradients" and "lags" not in finding.said}


@pytest.mark.parametrize("constant", ["16", "25", "100"])
def test_a_gate_that_a_constant_holds_open_is_decided(constant: str) -> None:
    assert not wrong(report(constant))


def test_the_slope_of_a_gate_that_is_held_open_cannot_be_forgotten_unseen() -> None:
    assert {"U", "b"} <= wrong(report("100", ("h[t] * gates[t] * (1 - gates[t])", "h[t] * gates[t]")))


def test_a_gradient_as_good_as_zero_is_held_to_be_small_beside_the_largest() -> None:
    def one(block: str, apart: float, size: float, decided: bool) -> Comparison:
        tolerance = Tolerance(1e-11, "")
        return Comparison(
            block, "", "", 1.0 if not decided else 0.0, tolerance, decided=decided, why="" if decided else BELOW,
            size=size, apart=apart, doubt=0.0 if decided else 1e-16,
        )  # fmt: skip

    ones = [one("W", 0.0, 1.0, True), one("U", 1e-40, 1e-40, False), one("b", 1e-3, 1e-40, False)]
    assert [(each.decided, each.failed) for each in vanishing(ones, Tolerance(1e-13, ""))] == [
        (True, False),
        (True, False),
        (True, True),
    ]


def test_what_float32_has_no_digits_of_at_small_sizes_is_not_held_against_large_ones() -> None:
    kernel = Kernel(load_text(GATE.replace("CONSTANT", "16"), "constant.py"), "constant")
    trial = Trial(kernel, {"T": 3, "B": 2, **kernel.dims.sizes}, EXACT, 0)
    assert {"U", "b"} <= set(trial.lost_at_small_sizes())
    assert "W" not in trial.lost_at_small_sizes()


def test_nothing_is_decided_where_derivatives_grow_beyond_what_float64_holds() -> None:
    _, decided, why = judged(0.0, 1.0, Tolerance(float("nan"), ""))
    assert (decided, why) == (False, GROWS)
    text = GATE.replace('np.tanh(x_t @ p["W"].T)', 'np.sin(30 * (x_t @ p["W"].T + h[-1]))').replace("CONSTANT", "0")
    text = text.replace("(1 - news[t] ** 2)", '30 * np.cos(30 * (x[t] @ p["W"].T + h[t]))')
    text = text.replace("d_h * gates[t] + d_z", "d_h * gates[t] + d_a + d_z")
    with np.errstate(all="ignore"):
        found = verify.check(load_text(text, "chaotic.py"), regimes=[ORDINARY, SUSTAINED], quick=True)
    assert not [finding for finding in found.findings if finding.verdict == "fail" and finding.check == "gradients"]
