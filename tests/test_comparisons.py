"""max, min and clip of two quantities, from the equations to the kernels: values, branches, ties, and who agrees with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive.cell import Cell
from derive.comparisons import clip, maximum, minimum
from derive.compiler import FAST
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.latex import LaTeX
from derive.notation import Notation
from derive.pages import read
from tests import bounds
from tests.kernels import kernel_of_cell
from verify.differences import complex_step
from verify.interpreter import Evaluator, floats

Array = np.ndarray[Any, Any]
D, H = dimension("D"), dimension("H")
h, x, u, y = (sequence(name, H) for name in "hxuy")
z = sequence("z", D)
tanh = function("tanh")

PLAIN = Cell.from_equations(
    "plain", "plain", [Eq(h, maximum(x, h.prev)), Eq(y, minimum(x, u)), Eq(sequence("k", H), clip(u, -1, 2))]
)
"""Nothing but max, min and clip: what they do to numbers is all that there is."""

W, U, b = matrix("W", H, D), matrix("U", H, H), vector("b", H)
MIXED = Cell.from_equations(
    "mixed",
    "mixed",
    [
        Eq(u, maximum(W @ z, U @ h.prev) + b),
        Eq(y, tanh(minimum(2 * u, b))),
        Eq(h, clip(u - y, -1, b) * maximum(h.prev, tanh(U @ y)) + minimum(0.25, u) / 2),
    ],
)
"""All of them among matrices, sums and functions."""

SCHEDULES = pytest.mark.parametrize("passes", [FAST, ()], ids=["fast", "plain"])
BIG = [1e8, 1.0, -1e8, 1.0, -np.inf, 2.0, -np.inf, 3.0]
SMALL = [1.0, 1e8, 1.0, -1e8, 1.0, -np.inf, -np.inf, 3.0]


def run(passes: tuple[str, ...], first: Any, second: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """One step of `PLAIN` with x = u = first, and second as the state before and as what min reads: (outputs, gradients, kernel)."""
    kernel = kernel_of_cell(PLAIN, passes)
    first, second = np.asarray(first, dtype), np.asarray(second, dtype)
    inputs, state = {"x": first[None, None], "u": second[None, None]}, {"h": second[None]}
    outputs, tape = kernel.forward({}, inputs, state)
    ones = {name: np.ones((1, 1, len(first)), dtype) for name in outputs}
    return outputs, kernel.backward({}, tape, ones), kernel


def gradients_of(passes: tuple[str, ...], first: Any, second: Any, output: str) -> list[Array]:
    """d(output)/dx, /du and /dh_0 of one step of `PLAIN`, with x = first and u = h_0 = second."""
    kernel = kernel_of_cell(PLAIN, passes)
    first, second = np.asarray(first, float), np.asarray(second, float)
    _, tape = kernel.forward({}, {"x": first[None, None], "u": second[None, None]}, {"h": second[None]})
    found = kernel.backward({}, tape, {output: np.ones((1, 1, len(first)))})
    return [found.inputs["x"][0, 0], found.inputs["u"][0, 0], found.state["h"][0]]


@SCHEDULES
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_no_digit_is_lost_far_apart_or_at_infinity(passes: tuple[str, ...], dtype: Any) -> None:
    outputs, gradients, _ = run(passes, BIG, SMALL, dtype)
    assert outputs["h"].dtype == outputs["y"].dtype == dtype
    np.testing.assert_array_equal(outputs["h"][0, 0], np.maximum(BIG, SMALL).astype(dtype))
    np.testing.assert_array_equal(outputs["y"][0, 0], np.minimum(BIG, SMALL).astype(dtype))
    np.testing.assert_array_equal(outputs["k"][0, 0], np.clip(SMALL, -1, 2).astype(dtype))
    assert np.isfinite([*gradients.inputs.values(), gradients.state["h"][None]]).all()
    assert gradients.inputs["x"].dtype == dtype


@SCHEDULES
def test_of_equals_the_first_has_the_whole_gradient(passes: tuple[str, ...]) -> None:
    at = [1.0, 0.0, -np.inf, np.inf]
    for output, expected in (("h", (1, 0, 0)), ("y", (1, 0, 0))):
        for found, one in zip(gradients_of(passes, at, at, output), expected, strict=True):
            np.testing.assert_array_equal(found, one)


@SCHEDULES
def test_the_gradient_goes_to_the_side_that_is_taken(passes: tuple[str, ...]) -> None:
    first, second = np.array([3.0, -1.0, 2.0]), np.array([1.0, 4.0, 2.0])
    of_h, of_y = gradients_of(passes, first, second, "h"), gradients_of(passes, first, second, "y")
    np.testing.assert_array_equal(of_h, [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(of_y, [[0, 1, 1], [1, 0, 0], [0, 0, 0]])


@SCHEDULES
def test_the_slope_of_clip_is_1_at_both_ends_and_of_the_hard_functions_0(passes: tuple[str, ...]) -> None:
    ends = np.array([-1.5, -1.0, 0.5, 2.0, 2.5])
    np.testing.assert_array_equal(gradients_of(passes, ends, ends, "k")[1], [0, 1, 1, 1, 0])
    hard = [function("hardtanh")(x) + h.prev, function("hardsigmoid")(x) + h.prev]
    for right, at in zip(hard, (1.0, 3.0), strict=True):
        kernel = kernel_of_cell(Cell.from_equations("hard", "hard", [Eq(h, right)]), passes)
        _, tape = kernel.forward({}, {"x": np.array([[[-at, at]]])}, {"h": np.zeros((1, 2))})
        np.testing.assert_array_equal(kernel.backward({}, tape, {"h": np.ones((1, 1, 2))}).inputs["x"], 0)


@SCHEDULES
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_nan_goes_through_on_either_side(passes: tuple[str, ...], dtype: Any) -> None:
    outputs, gradients, _ = run(passes, [np.nan, 1.0, np.nan], [1.0, np.nan, np.nan], dtype)
    assert np.isnan([outputs["h"], outputs["y"]]).all()
    assert np.isnan(gradients.inputs["x"]).all()
    assert np.isnan(gradients.state["h"]).all()


@SCHEDULES
def test_complex_numbers_are_told_apart_by_their_real_parts(passes: tuple[str, ...]) -> None:
    first, second = np.array([1 + 1j, 2 - 9j, 3 - 4j]), np.array([1 + 5j, 1 + 9j, 7 + 1j])
    outputs, gradients, _ = run(passes, first, second, complex)
    np.testing.assert_array_equal(outputs["h"][0, 0], [1 + 1j, 2 - 9j, 7 + 1j])
    np.testing.assert_array_equal(outputs["y"][0, 0], [1 + 1j, 1 + 9j, 3 - 4j])
    np.testing.assert_array_equal(gradients.state["h"][0], [0, 0, 1])


@SCHEDULES
def test_forward_mode_and_second_order_keep_the_first_of_equals(passes: tuple[str, ...]) -> None:
    kernel, one = kernel_of_cell(PLAIN, passes), np.ones((1, 1, 2))
    inputs, state = {"x": one, "u": one}, {"h": one[0]}
    moves = {"x": 3 * one, "u": 5 * one}, {"h": 7 * one[0]}
    tangents = kernel.jvp({}, inputs, state, {}, *moves)
    np.testing.assert_array_equal([tangents["h"], tangents["y"], tangents["k"]], [3 * one, 3 * one, 5 * one])
    second = kernel.hvp({}, inputs, state, {"h": one, "y": one}, {}, *moves)
    np.testing.assert_array_equal([*second.inputs.values(), second.state["h"][None]], 0)


# ---- among other operations


def drawn(seed: int = 3) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    rng = np.random.default_rng(seed)
    parameters = {"W": rng.standard_normal((4, 3)), "U": rng.standard_normal((4, 4)), "b": rng.standard_normal(4)}
    return parameters, {"z": rng.standard_normal((6, 5, 3))}, {"h": rng.standard_normal((5, 4))}


def cotangents(outputs: dict[str, Array]) -> dict[str, Array]:
    rng = np.random.default_rng(8)
    return {name: rng.standard_normal(array.shape) for name, array in outputs.items()}


LIMIT = bounds.rounded(bounds.of_recurrence(steps=6, batch=5, fan_in=4 * 4))
"""Both sides are float64 and differ in the order of their sums; the branches are the same where no two sides are within rounding."""


@SCHEDULES
def test_gradients_are_those_of_complex_step_and_second_order_is_that_of_the_gradients(passes: tuple[str, ...]) -> None:
    kernel = kernel_of_cell(MIXED, passes)
    parameters, inputs, state = drawn()
    outputs, tape = kernel.forward(parameters, inputs, state)
    weights = cotangents(outputs)
    found = kernel.backward(parameters, tape, weights)

    def split(arrays: dict[str, Array]) -> Any:
        dtype = np.result_type(*arrays.values())
        every = {name: array.astype(dtype) for name, array in arrays.items()}
        return {name: every[name] for name in parameters}, {"z": every["z"]}, {"h": every["h"]}

    def loss(arrays: dict[str, Array]) -> Any:
        after, _ = kernel.forward(*split(arrays))
        return sum((weights[name] * after[name]).sum() for name in weights)

    expected = complex_step(loss, {**parameters, **inputs, **state})
    for name, array in {**found.parameters, **found.inputs, **found.state}.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=LIMIT * np.abs(expected[name]).max())

    along = [{name: np.cos(array) for name, array in part.items()} for part in (parameters, inputs, state)]
    second = kernel.hvp(parameters, inputs, state, weights, *along)
    small = 1e-30
    moved = [
        {name: array + 1j * small * dot[name] for name, array in part.items()}
        for part, dot in zip((parameters, inputs, state), along, strict=True)
    ]
    _, tape = kernel.forward(*moved)
    back = kernel.backward(moved[0], tape, {name: array.astype(complex) for name, array in weights.items()})
    for part in ("parameters", "inputs", "state"):
        for name, array in getattr(second, part).items():
            wanted = getattr(back, part)[name].imag / small
            np.testing.assert_allclose(array, wanted, rtol=0, atol=LIMIT * max(np.abs(wanted).max(), 1.0))


@SCHEDULES
def test_gradients_are_those_of_pytorch(passes: tuple[str, ...]) -> None:
    """Away from ties, that is: at a tie `torch.maximum` gives each side half."""
    torch = pytest.importorskip("torch")
    kernel = kernel_of_cell(MIXED, passes)
    parameters, inputs, state = drawn(5)
    outputs, tape = kernel.forward(parameters, inputs, state)
    weights = cotangents(outputs)
    found = kernel.backward(parameters, tape, weights)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in {**parameters, **inputs, **state}.items()}
    before, total = p["h"], 0.0
    for step in range(6):
        now = torch.maximum(p["z"][step] @ p["W"].T, before @ p["U"].T) + p["b"]
        out = torch.tanh(torch.minimum(2 * now, p["b"]))
        held = torch.minimum(torch.clamp(now - out, min=-1), p["b"])
        after = held * torch.maximum(before, torch.tanh(out @ p["U"].T)) + torch.clamp(now, max=0.25) / 2
        np.testing.assert_allclose(outputs["h"][step], after.detach().numpy(), rtol=0, atol=LIMIT)
        total = total + (torch.tensor(weights["h"][step]) * after).sum()
        before = after
    total.backward()
    for name, array in {**found.parameters, **found.inputs, **found.state}.items():
        expected = p[name].grad.numpy()
        np.testing.assert_allclose(array, expected, rtol=0, atol=LIMIT * np.abs(expected).max())


def test_pytorch_splits_a_tie_where_the_first_has_all_of_it_here() -> None:
    torch = pytest.importorskip("torch")
    a, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    torch.maximum(a, b).sum().backward()
    assert (a.grad.item(), b.grad.item()) == (0.5, 0.5)
    ends = torch.tensor([-1.0, 2.0], requires_grad=True)
    torch.clamp(ends, -1, 2).sum().backward()
    assert ends.grad.tolist() == [1, 1]


def test_the_loop_of_a_fast_kernel_writes_into_memory_that_is_there() -> None:
    """No real array is made in the loop: `maximum` hands its last argument on to NumPy."""
    kernel, out = kernel_of_cell(PLAIN), np.empty(3)
    a, b = np.array([1.0, 5.0, 2.0]), np.array([2.0, 4.0, np.nan])
    for name in ("maximum", "minimum"):
        assert getattr(kernel, name)(a, b, out) is out
        np.testing.assert_array_equal(out, getattr(np, name)(a, b))
        assert getattr(kernel, name)(a.astype(complex), 3, held := np.empty(3, complex)) is held


# ---- what a person reads, and other evaluators


@pytest.mark.parametrize(
    ("formula", "text", "latex"),
    [
        (r"\max(x_t, h_{t-1})", "max(xₜ, hₜ₋₁)", r"\max\left(x_{t}, h_{t-1}\right)"),
        (r"\min(x_t, h_{t-1}) h_{t-1}", "min(xₜ, hₜ₋₁) ∘ hₜ₋₁", r"\min\left(x_{t}, h_{t-1}\right) \circ h_{t-1}"),
        (r"\max(x_t, h_{t-1}, u_t)", "max(max(xₜ, hₜ₋₁), uₜ)", r"\max\left(\max\left(x_{t}, h_{t-1}\right), u_{t}\right)"),
        (r"\operatorname{clip}(x_t + h_{t-1}, 0, 1)", "min(max(xₜ + hₜ₋₁, 0), 1)", None),
        (r"\max(0, x_t) + h_{t-1}", "relu(xₜ) + hₜ₋₁", None),
    ],
)
def test_a_page_is_read_and_printed(formula: str, text: str, latex: str | None) -> None:
    ((_, right),) = read("page.md", text=f"$$h_t = {formula}$$").cells[0].cell.equations
    assert Notation().formula(right) == text
    assert latex is None or LaTeX().formula(right) == latex


def test_the_derivative_says_which_side_it_is_of() -> None:
    (cotangent,) = [e for e in derivation_of(PLAIN).backward.equations if e.target.name == "x"]
    assert Notation().equation(cotangent) == "∂L/∂xₜ = ∂L/∂hₜ ∘ [xₜ ≥ hₜ₋₁] + ∂L/∂yₜ ∘ [uₜ ≥ xₜ]"


def derivation_of(cell: Cell) -> Any:
    from derive.derivation import derive

    return derive(cell)


def test_the_interpreter_takes_the_same_branches() -> None:
    evaluate = Evaluator(floats(), {"H": 8})
    env = {x: np.array(BIG)[None, :, None], u: np.array(SMALL)[None, :, None]}
    np.testing.assert_array_equal(evaluate(maximum(x, u), env)[0, :, 0], np.maximum(BIG, SMALL))
    np.testing.assert_array_equal(evaluate(minimum(x, u), env)[0, :, 0], np.minimum(BIG, SMALL))
    nothing = {x: np.full((1, 8, 1), np.nan), u: np.ones((1, 8, 1))}
    assert np.isnan(evaluate(maximum(x, u), nothing)).all()
    assert np.isnan(evaluate(maximum(u, x), nothing)).all()
