"""Slips of what a network has beside its steps, made in a kernel's text: each is caught, and the cause that is named is the slip."""

from __future__ import annotations

import functools

import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import compile_cell
from derive.pages import read
from tests import bounds
from verify.data import ORDINARY, draw
from verify.emitted import compare_text
from verify.examination import check
from verify.gradients import relative
from verify.kernel import Kernel, load_text
from verify.model import model_of

PAGE = r"""
<!-- derive: v = example -->

$$h_t = \tanh(W x_t + U h_{t-1} + b)$$

$$c = h_T$$

$$s = \sum_t h_t$$

$$\hat{y} = \operatorname{softmax}(V c + R s)$$

$$J = -\sum_j v_j \log \hat{y}_j$$
"""
TOKENS = r"""
<!-- derive: w = tokens -->

$$h_t = \tanh(W E w_t + U h_{t-1} + b)$$

$$\hat{y}_t = \operatorname{softmax}(S h_t + c)$$

$$J_t = -\log \hat{y}_{t, w_{t+1}}$$
"""
FAULTS = {
    "a recurrence to the right walked to the right": (
        "rnn --bidirectional", "for t in reversed(range(T)):", "for t in range(T):", "the recurrence of h_right is walked the wrong way"
    ),
    "a recurrence to the left walked to the left": (
        "rnn --bidirectional", "for t in range(T):", "for t in reversed(range(T)):", "the recurrence of h_left is walked the wrong way"
    ),
    "the parameters of the other direction": (
        "rnn --bidirectional", 'U_left = parameters["U_left"]', 'U_left = parameters["U_right"]', "U_right for U_left"
    ),
    "the last value's gradient left out": (PAGE, "carry_h = end_carry_h", "carry_h = np.zeros_like(end_carry_h)", "∂L/∂c"),
    "a mean for the sum": (PAGE, "cotangent_h + d_s + carry_h", "cotangent_h + d_s / T + carry_h", "mean instead of sum over steps"),
    "the sum's gradient left out": (PAGE, "cotangent_h + d_s + carry_h", "cotangent_h + carry_h", "∂L/∂s, seen first in d_x"),
    "the token of this step for the next one": (TOKENS, "w_next_all = tape.w_next", "w_next_all = tape.w", "w for w_next"),
}  # fmt: skip


@functools.cache
def network(said: str) -> Cell:
    return read("page.md", text=said).cells[0].cell if "$$" in said else build(said)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_slip_in_a_network_is_caught_and_named(fault: str) -> None:
    said, old, new, cause = FAULTS[fault]
    head, backward = compile_cell(network(said), ()).split("def backward", 1)
    backward, rest = backward.split("def jvp", 1)
    assert old in backward, backward
    report = compare_text(f"{head}def backward{backward.replace(old, new, 1)}def jvp{rest}", network(said))
    assert not report.passed
    assert cause in report.verdict()


@pytest.mark.parametrize("end", ["T", "1"])
def test_an_end_of_what_no_recurrence_makes_is_interpreted_as_the_kernel_has_it(end: str) -> None:
    """Its gradient is 0 at all steps but one: no value that is the same at each of them."""
    text = PAGE.replace("$$c = h_T$$", f"$$u_t = \\tanh(A x_t)$$\n\n$$c = u_{end}$$")
    model = model_of(network(text))
    kernel = Kernel(load_text(compile_cell(model.cell), "page.py"), "page")
    data = draw(kernel.dims, ORDINARY, 0)
    found, expected = kernel.gradients(data), model.gradients(kernel.dims, data, data.cotangents)
    tolerance = bounds.rounded(bounds.of_recurrence(data.steps, data.batch, kernel.dims.fan_in()))
    assert max(relative(found[block], array) for block, array in expected.items()) < tolerance


def test_a_wrong_parameter_beside_several_axes_is_said_without_a_cell() -> None:
    """It is on no axis, so that no step of one is named."""
    text = compile_cell(network(PAGE), ())
    right = "d_b = d_a_h_all.sum(axis=(0, 1))"
    assert right in text
    report = check(load_text(text.replace(right, right.replace("sum(", "mean(")), "edited.py"), quick=True)
    assert not report.passed
    assert report.diagnosis is not None
    assert report.diagnosis.first == "d_b at lag 0"


@pytest.mark.thorough
@pytest.mark.parametrize("factor", ["", "2 * "])
def test_a_gradient_of_which_rounding_alone_is_left_is_right(factor: str) -> None:
    """What is added to the scores of all steps alike cancels in their softmax: near zero d_R is 1e-22 of the others, none of it digits."""
    page = r"""
<!-- derive: time = s, t -->

$$h_s = \tanh(W x_s + U h_{s-1})$$

$$d_0 = h_S$$

$$d_t = \tanh(A y_t + C d_{t-1})$$

$$p_{t,s} = \operatorname{softmax}_s(v^\top \tanh(V h_s + R d_t))$$
"""
    text = compile_cell(network(page), ())
    right = "d_R = np.tensordot"
    assert right in text
    report = check(load_text(text.replace(right, f"d_R = {factor}np.tensordot"), "edited.py"))
    wrong = {finding.block for finding in report.findings if finding.check == "gradients" and finding.verdict == "fail"}
    assert wrong == ({"R"} if factor else set())
