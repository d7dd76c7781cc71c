"""Recurrences from the last step to the first, alone and beside others: every function of the kernel against complex steps, what is
refused, and how the sheet says it."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell, CellError
from derive.compiler import compile_cell
from derive.derivation import derive
from derive.language import Value, X, apply, dimension
from derive.pages import PageError, read
from derive.sheet import text
from tests import arguments as args
from tests import bounds
from tests.arguments import Call
from tests.kernels import module_of

PAGES = {
    "one": r"$$h_t = \tanh(W x_t + U h_{t+1} + b)$$ $$y_t = V h_t$$",
    "both": r"$$\overrightarrow{h}_t = \tanh(A x_t + B_r \overrightarrow{h}_{t-1})$$"
    r"$$\overleftarrow{h}_t = \sigma(C x_t + B_l \overleftarrow{h}_{t+1})$$"
    r"$$\hat{y}_t = \tanh(U [\overrightarrow{h}_t; \overleftarrow{h}_t] + c)$$",
    # the second recurrence reads the first one, which runs the other way, and a gate of it at its neighbour
    "after": r"$$g_t = \tanh(A x_t + U g_{t+1})$$ $$h_t = \sigma(W g_t) \odot h_{t-1} + \tanh(V g_{t+1} + Q x_t)$$ $$y_t = R h_{t-1}$$",
    # a delay to the left, which no recurrence holds
    "delay": r"$$m_t = W x_t$$ $$h_t = \tanh(V m_{t+1} + U h_{t-1})$$",
    "numbers": r"$$n_t = \sigma(w^\top x_t) n_{t+1} + v^\top x_t$$ $$h_t = n_t \, (U h_{t-1}) + W x_t$$",
}
every = pytest.mark.parametrize("page", PAGES)


@functools.cache
def cell_of(page: str) -> Cell:
    return read(f"{page}.md", text=PAGES[page]).cells[0].cell


@functools.cache
def kernel_of(page: str) -> ModuleType:
    return module_of(compile_cell(cell_of(page)), page)


SIZES = {**args.SIZES, "H_h_right": 3, "H_h_left": 5, "H_h": 3, "H_g": 5, "H_m_delayed": 5, "H_m": 5}
"""The states of the two ways are of different sizes."""


def draw(kernel: ModuleType, steps: int = 4, seed: int = 0) -> Call:
    """Random arguments."""
    return args.draw(kernel, steps, seed=seed, sizes=SIZES)


@every
@pytest.mark.parametrize("steps", [1, 4])
def test_gradients_tangents_and_second_order_are_those_of_complex_steps(page: str, steps: int) -> None:
    kernel = kernel_of(page)
    call, direction = draw(kernel, steps), draw(kernel, steps, seed=1)
    allowed = bounds.of_call(call)
    assert args.worst(args.backward(kernel, call), args.by_complex_step(kernel, call))[0] < allowed
    found = args.jvp(kernel, call, direction)
    assert args.worst(found, args.tangents_by_complex_step(kernel, call, direction))[0] < allowed
    found, expected = args.hvp(kernel, call, direction), args.hvp_by_complex_step(kernel, call, direction)
    assert args.worst(found, expected)[0] < bounds.of_second(cell_of(page), call, SIZES)


@every
def test_a_recurrence_to_the_left_is_one_to_the_right_over_reversed_steps(page: str) -> None:
    """Where all equations are turned, all arrays of steps are; h_t = f(h_{t+1}) becomes h_t = f(h_{t-1}) and the reverse."""
    turned = module_of(compile_cell(reversed_in_time(cell_of(page))), "turned")
    kernel = kernel_of(page)
    call = draw(kernel)
    back = replace(
        call,
        inputs={name: array[::-1] for name, array in call.inputs.items()},
        cotangents={name: array[::-1] for name, array in call.cotangents.items()},
    )
    outputs, others = args.forward(kernel, call)[0], args.forward(turned, back)[0]
    assert args.worst(outputs, {name: others[name][::-1] for name in outputs})[0] < bounds.of_call(call)
    gradients, theirs = args.backward(kernel, call), args.backward(turned, back)
    theirs = {key: array[::-1] if key[0] == 1 else array for key, array in theirs.items()}
    assert args.worst(gradients, {key: theirs[key] for key in gradients})[0] < bounds.of_call(call)


def reversed_in_time(cell: Cell) -> Cell:
    def turn(expression):
        return expression.xreplace({value: value.like(lag=-value.lag) for value in expression.atoms(Value) if value.lag})

    found = Cell("turned", "turned", tuple((target, turn(right)) for target, right in cell.equations))
    found.check()
    return found


@every
def test_no_steps_checkpoints_and_tapes_that_are_used_twice(page: str) -> None:
    kernel = kernel_of(page)
    call = draw(kernel)
    outputs, tape = args.forward(kernel, call)
    first, again = args.backward(kernel, call, tape), args.backward(kernel, call, tape)
    kept, lean = kernel.forward(*call.groups(), checkpoint_every=2)
    assert all(np.array_equal(outputs[name], kept[name]) for name in outputs)
    for other in (again, args.backward(kernel, call, lean)):
        assert {key: array.tobytes() for key, array in first.items()} == {key: array.tobytes() for key, array in other.items()}
    with pytest.raises(ValueError, match="checkpoint_every: expected a number of steps >= 1"):
        kernel.forward(*call.groups(), checkpoint_every=0)
    none = draw(kernel, 0)
    assert all(array.shape[0] == 0 for array in args.forward(kernel, none)[0].values())
    assert all(not array.any() for array in args.backward(kernel, none).values())


def test_step_jacobians_of_both_ways() -> None:
    kernel = kernel_of("both")
    call = draw(kernel)
    outputs, tape = args.forward(kernel, call)
    found = kernel.step_jacobian(call.parameters, tape)
    h, g = outputs["h_right"], outputs["h_left"]
    assert set(found) == {"h_right", "h_left"}
    right = (1 - h**2)[..., None] * call.parameters["B_r"]
    left = (g * (1 - g))[..., None] * call.parameters["B_l"]
    assert args.error(found["h_right"], right) < bounds.of_call(call)
    assert args.error(found["h_left"], left) < bounds.of_call(call)
    assert isinstance(kernel_of("one").step_jacobian(*one_tape("one")), np.ndarray)


def one_tape(page: str):
    kernel = kernel_of(page)
    call = draw(kernel)
    return call.parameters, args.forward(kernel, call)[1]


def test_the_sheet_reads_what_comes_from_the_step_before() -> None:
    sheet = text(derive(cell_of("both")))
    assert "from t = T to 1, that of h⃖ from t = 1 to T; L = Σₜ Lₜ; at t = T+1, or t = 0, all is 0" in sheet
    assert "+ B_lᵀ ∂L/∂a⃖_hₜ₋₁" in sheet
    assert "+ B_rᵀ ∂L/∂a⃗_hₜ₊₁" in sheet
    assert "∂h⃖ₜ/∂h⃖ₜ₊₁ = " in sheet
    assert "∂L/∂h⃖ₜ₊₁|ₜ = B_lᵀ ∂L/∂a⃖_hₜ" in sheet
    assert "(from t = 1 to T; L = Σₜ Lₜ; at t = 0 all is 0)" in text(derive(cell_of("one")))


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (r"$$h_t = \tanh(W x_t + U h_{t-1} + V h_{t+1})$$", r"h is read both at t-1 and at t\+1: expected one way"),
        (r"$$h_t = \tanh(W x_t + U h_{t-1})$$ $$y_t = V h_{t+1}$$", r"h is read both at t-1 and at t\+1: expected one way"),
        (r"$$h_t = W x_t + U g_{t-1}$$ $$g_t = V x_t + Q h_{t+1}$$", "h, g: need both an earlier and a later step"),
        (r"$$h_t = \tanh(W x_t + U h_{t+2})$$", r"`h_{t\+2}` isn't known yet at this step"),
        (r"$$h_t = \tanh(W x_{t+1} + U h_{t+1})$$", "an input of the step after: expected to know which"),
    ],
)
def test_both_ways_at_once_are_refused_by_name(page: str, said: str) -> None:
    with pytest.raises(PageError, match=said):
        read("page.md", text=page)


def test_a_page_that_runs_to_the_left_says_so() -> None:
    notes = read("page.md", text=PAGES["one"]).cells[0].reading.notes
    assert any(
        "`h_{t+1}` runs from the last step to the first: its initial state is the one after the last step" in one for one in notes
    )


def test_a_cell_of_equations_that_need_both_ways_is_refused() -> None:
    H, D = dimension("H"), dimension("D")
    x, h, g = Value("x", D), Value("h", H), Value("g", H)
    W = Value("W", H, D, axes=())
    cell = Cell("c", "c", ((h, W @ x + g.like(lag=1)), (g, apply(X**2, h.prev))))
    with pytest.raises(CellError, match="h, g: need both an earlier and a later step"):
        cell.check()
