"""Slips in networks with layers, masks, tokens and two axes of steps, made in a kernel's text: each is caught, and the cause that is named
is the slip."""

from __future__ import annotations

import functools
import re

import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.pages import read
from tests import bounds
from verify.axes import length_of
from verify.data import ORDINARY, draw
from verify.emitted import compare_text
from verify.evidence import EXACT
from verify.gradients import BY_LAG, relative
from verify.kernel import Kernel, load_text
from verify.model import model_of
from verify.settle import settled
from verify.tangents import step_jacobian

TRANSLATION = r"""
$$h_s = \tanh(W x_s + U h_{s-1})$$

$$d_0 = h_S$$

$$d_t = \tanh(A z_t + R d_{t-1})$$

$$y_t = V d_t$$
"""
ATTENTION = r"""
$$h_s = \tanh(W x_s + U h_{s-1})$$

$$d_t = \tanh(R d_{t-1} + A z_t)$$

$$e_{t,s} = d_t^\top h_s$$

$$a_{t,s} = \operatorname{softmax}_s(e_{t,s})$$

$$c_t = \sum_s a_{t,s} h_s$$
"""
TOKENS = r"""
<!-- derive: w = tokens -->

$$h_t = \tanh(E w_t + U h_{t-1} + b)$$

$$y_t = S h_t$$
"""
BY_TOKEN = """d_E = np.zeros((V, H), dtype)
    for step, row in np.ndindex(T, B):
        d_E[w_all[step, row]] = d_a_h_all[step, row]
    d_E = d_E.T
"""
FAULTS = {
    "the encoder walked the wrong way": (
        TRANSLATION, {"for s in reversed(range(S)):": "for s in range(S):"}, "the recurrence of h is walked the wrong way"
    ),
    "the first step for the last one": (TRANSLATION, {"carry_d_all[0]": "carry_d_all[T - 1]"}, "the other end of the steps"),
    "the state of the wrong end": (
        TRANSLATION,
        {
            "carry_h = end_carry_h": "carry_h = np.zeros_like(end_carry_h)",
            "cotangent_h + carry_h": "cotangent_h + carry_h + (s == 0) * end_carry_h",
        },
        "the other end of the steps: the gradient of an end of h counts at the first step",
    ),
    "a mean over the target for the sum": (
        ATTENTION, {"(a_all[..., None] * d_a_c_all).sum(axis=0)": "(a_all[..., None] * d_a_c_all).mean(axis=0)"},
        "mean instead of sum over steps",
    ),
    "one axis for the other": (
        ATTENTION, {"(a_all * d_a_all).sum(axis=1)[:, None]": "(a_all * d_a_all).sum(axis=0)"}, "another axis of steps"
    ),
    "parameters of another layer": ("rnn --layers 2", {"d_a_h_2 @ U_2": "d_a_h_2 @ U_1"}, "U_1 for U_2"),
    "the mask left out": ("rnn --masked", {"m_[..., None] * d_h\n": "d_h\n"}, "missing factor"),
    "a token off by one": (TOKENS, {"w_all, V)": "(w_all + 1) % V, V)"}, "w one too large"),
    "the embedding's gradient overwritten": (
        TOKENS, {"d_E = by_token(d_a_h_all, w_all, V).T\n": BY_TOKEN}, "repeated tokens w overwrite one another"
    ),
}  # fmt: skip


@functools.cache
def network(said: str) -> Cell:
    return read("page.md", text=said).cells[0].cell if "$$" in said else build(said)


def spoilt(said: str, changes: dict[str, str]) -> str:
    """The kernel of a network with changes to its backward pass."""
    head, backward = compile_cell(network(said), ()).split("def backward", 1)
    backward, rest = backward.split("def jvp", 1)
    for old, new in changes.items():
        assert old in backward, backward
        backward = backward.replace(old, new, 1)
    return f"{head}def backward{backward}def jvp{rest}"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_slip_is_caught_and_named(fault: str) -> None:
    said, changes, cause = FAULTS[fault]
    report = compare_text(spoilt(said, changes), network(said))
    assert not report.passed
    assert report.diagnosis is not None
    assert cause in report.diagnosis.cause, report.diagnosis.lines()
    assert not report.diagnosis.unexplained


def test_a_failure_across_axes_names_the_step_of_the_source_and_that_of_the_target() -> None:
    report = compare_text(spoilt(TRANSLATION, {"carry_h = end_carry_h": "carry_h = 0 * end_carry_h"}), network(TRANSLATION))
    assert report.diagnosis is not None
    assert re.search(r"d_x, from x at step \d of S to [dy] at step \d of T", report.diagnosis.first), report.diagnosis.first
    by_lag = [one.where for one in report.comparisons if one.block == "input x" and one.failed and one.cotangent == BY_LAG]
    assert by_lag
    assert all(re.fullmatch(r"from x at step \d+ of S to [dy] at step \d+ of T", where) for where in by_lag), by_lag


@pytest.mark.parametrize("said", [TRANSLATION, ATTENTION])
def test_a_network_of_two_axes_is_interpreted_as_its_kernel_runs(said: str) -> None:
    """Outputs and gradients by the derived program along all axes, on data where the axes differ in length."""
    model = model_of(network(said))
    kernel = Kernel(load_text(compile_cell(model.cell), "page.py"), "page")
    data = draw(kernel.dims, ORDINARY, 0)
    assert length_of("S", data.steps) != data.steps
    tolerance = bounds.rounded(bounds.of_recurrence(2 * data.steps, data.batch, kernel.dims.fan_in()))
    environments = model.filled(kernel.dims, data)
    pairs = [(kernel.outputs(data), model.outputs(environments, kernel.dims))]
    pairs += [(kernel.gradients(data), model.gradients(kernel.dims, data, data.cotangents))]
    for found, expected in pairs:
        assert set(found) == set(expected)
        assert max(relative(found[name], array) for name, array in expected.items()) < tolerance


@pytest.mark.parametrize("factor", [1.0, 1.0 + 1e-6])
def test_step_jacobians_along_each_axis_are_held_to_the_equations(factor: float) -> None:
    model = model_of(network(ATTENTION))
    kernel = Kernel(load_text(compile_cell(model.cell), "page.py"), "page")
    right = kernel.module.step_jacobian
    kernel.module.step_jacobian = lambda parameters, tape: {
        name: array * (factor if name == "h" else 1.0) for name, array in right(parameters, tape).items()
    }
    found = list(step_jacobian(kernel, settled(kernel, ORDINARY, 0, EXACT), model))
    assert [one.passed for one in found] == [factor == 1.0], found
    assert factor == 1.0 or "h, step" in found[0].where
