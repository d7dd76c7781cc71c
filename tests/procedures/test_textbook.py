"""Textbook kernels of cells with numbers, vectors and matrices: against their equations and complex steps; no steps, and the contract."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from derive.compiler import compile_cell
from tests import arguments as args
from tests import bounds
from tests.arguments import Call, draw
from tests.kernels import module_of
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from verify.interpreter import Evaluator, floats
from verify.sweeps import forward

every = pytest.mark.parametrize("name", SHAPED)
both = pytest.mark.parametrize("name", [*SHAPED, *ODD])


@functools.cache
def kernel_of(name: str) -> Any:
    cell = shaped_cell(name) if name in SHAPED else odd_cell(name)
    return module_of(compile_cell(cell, ()), name)


def bound(call: Call) -> float:
    """A matrix of each step has rows of sums too, and functions of functions: four times what a cell of vectors has."""
    return 4 * bounds.of_call(call)


def by_equations(name: str, call: Call) -> dict[str, np.ndarray]:
    """Outputs by the interpreter, step by step; a value is (B, n, m) there."""
    cell = shaped_cell(name)
    evaluate = Evaluator(floats(), args.SIZES)
    shape = {v: tuple(map(evaluate.size, v.shape)) for v in (*cell.parameters, *cell.inputs, *cell.states, *cell.outputs)}
    env: Any = {v: call.parameters[v.name].reshape(shape[v]) for v in cell.parameters}
    steps, batch = next(iter(call.inputs.values())).shape[:2]
    env |= {v: call.state[str(v.name)].reshape(batch, *shape[v.like(lag=0)]) for v in cell.carried}
    inputs = {v: [*call.inputs[v.name].reshape(steps, batch, *shape[v])] for v in cell.inputs}
    found = forward(cell.equations, evaluate, env, inputs, steps)
    return {
        str(v.name): np.array([np.broadcast_to(one[v], (batch, *shape[v])) for one in found])
        for v in (*cell.states, *cell.outputs)
    }


SECOND = 1e-12
"""What second order is promised to a block; the roundings of both programs are some 1e-13 (`bounds.of_second`)."""


@every
def test_forward_computes_the_equations(name: str) -> None:
    call = draw(kernel_of(name), T=4)
    found = args.forward(kernel_of(name), call)[0]
    for output, wanted in by_equations(name, call).items():
        assert args.error(found[output], wanted.reshape(found[output].shape)) < bound(call), output


@every
def test_gradients_are_those_of_the_complex_step(name: str) -> None:
    kernel = kernel_of(name)
    call = draw(kernel, T=3, B=2)
    assert args.worst(args.backward(kernel, call), args.by_complex_step(kernel, call))[0] < bound(call)


@both
def test_forward_mode_and_second_order_are_those_of_the_complex_step(name: str) -> None:
    kernel = kernel_of(name)
    call, direction = draw(kernel, T=4), draw(kernel, T=4, seed=1)
    assert args.worst(args.jvp(kernel, call, direction), args.tangents_by_complex_step(kernel, call, direction))[0] < bound(call)
    assert args.worst(args.hvp(kernel, call, direction), args.hvp_by_complex_step(kernel, call, direction))[0] < SECOND


@both
def test_a_step_jacobian_is_the_tangents_of_every_element_of_the_states(name: str) -> None:
    kernel = kernel_of(name)
    call = draw(kernel, T=1)
    J = kernel.step_jacobian(call.parameters, args.forward(kernel, call)[1])
    wanted = np.zeros_like(J)
    column = 0
    for state, array in call.state.items():
        for index in np.ndindex(array.shape[1:]):
            moves = {other: np.zeros_like(one) for other, one in call.state.items()}
            moves[state][(slice(None), *index)] = 1
            tangents = kernel.jvp(*call.groups(), {}, {}, moves)
            wanted[..., column] = np.concatenate([tangents[one].reshape(1, 3, -1) for one in kernel.STATES], axis=-1)
            column += 1
    assert J.shape == (1, 3, column, column)
    assert args.error(J, wanted) < bound(call)


@both
@pytest.mark.parametrize("steps", [0, 1])
def test_few_or_no_steps_are_taken(steps: int, name: str) -> None:
    kernel = kernel_of(name)
    call, direction = draw(kernel, T=steps), draw(kernel, T=steps, seed=1)
    outputs, tape = args.forward(kernel, call)
    gradients = args.backward(kernel, call, tape)
    assert {key: array.shape for key, array in gradients.items()} == {key: array.shape for key, array in call.all().items()}
    second = kernel.hvp(*call.groups(), call.cotangents, *direction.groups())
    tangents = args.jvp(kernel, call, direction)
    assert all(array.shape == tangents[output].shape and len(array) == steps for output, array in outputs.items())
    assert kernel.step_jacobian(call.parameters, tape).shape[:2] == (steps, 3)
    if not steps:
        zero = [*gradients.values(), *second.parameters.values(), *second.state.values()]
        assert not any(array.any() for array in zero)


@every
def test_nothing_is_cast(name: str) -> None:
    kernel = kernel_of(name)
    for dtype in (np.float32, np.complex128):
        call, direction = draw(kernel).astype(dtype), draw(kernel, seed=1).astype(dtype)
        outputs, tape = args.forward(kernel, call)
        second = kernel.hvp(*call.groups(), call.cotangents, *direction.groups())
        groups = (outputs, args.backward(kernel, call, tape), args.jvp(kernel, call, direction), second.parameters, second.inputs)
        arrays = [array for group in groups for array in group.values()]
        assert all(type(array) is np.ndarray and array.dtype == dtype for array in arrays)
        assert kernel.step_jacobian(call.parameters, tape).dtype == dtype


@every
def test_checkpoints_give_the_same_gradients(name: str) -> None:
    kernel = kernel_of(name)
    call = draw(kernel, T=5)
    wanted, tape = args.forward(kernel, call)
    found, segments = kernel.forward(*call.groups(), checkpoint_every=2, workspace=kernel.Workspace())
    assert all((found[output] == array).all() for output, array in wanted.items())
    assert args.worst(args.backward(kernel, call, segments), args.backward(kernel, call, tape))[0] < bound(call)
    J = kernel.step_jacobian(call.parameters, segments)
    assert (kernel.step_jacobian(call.parameters, tape) == J).all()


@every
def test_calls_share_nothing(name: str) -> None:
    """Arguments stay as they are; what a call returns is memory of its own, and may be written to."""
    kernel = kernel_of(name)
    call = draw(kernel)
    before = call.bits()
    outputs, tape = args.forward(kernel, call)
    wanted = args.backward(kernel, call, tape)
    for array in outputs.values():
        array[...] = np.nan
    spoilt = args.backward(kernel, call, tape)
    assert all((spoilt[key] == array).all() for key, array in wanted.items())
    arrays = list(spoilt.values())
    for k, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in (*arrays[:k], *call.every().values()))
        array[...] = np.nan
    again = args.backward(kernel, call, tape)
    assert all((again[key] == array).all() for key, array in wanted.items())
    assert call.bits() == before


@every
def test_strided_and_fortran_ordered_arrays_are_taken(name: str) -> None:
    kernel = kernel_of(name)
    call = draw(kernel)
    strided = call.map(lambda array: np.repeat(array[..., None], 2, axis=-1)[..., 0] if array.ndim else array)
    for other in (strided, call.map(lambda array: np.asarray(array, order="F"))):
        assert args.worst(args.backward(kernel, other), args.backward(kernel, call))[0] < bound(call)


@pytest.mark.parametrize(
    ("group", "name", "array", "said"),
    [
        ("parameters", "rate", np.zeros(1), "parameters['rate']: wrong shape: expected (), got (1,)"),
        ("inputs", "z", np.zeros((4, 3, 1)), "inputs['z']: wrong shape: expected (T, B), got (4, 3, 1)"),
        ("state", "s", np.zeros(4), "state['s']: wrong shape: expected (B = 3,), got (4,)"),
        ("parameters", "gain", 1.5, "parameters['gain'] is no array"),
        ("parameters", "gain", np.float32(1.5), "parameters['gain']: mixed dtypes"),
        ("parameters", "gain", np.zeros((), np.float32), "parameters['gain']: mixed dtypes"),
    ],
)
def test_numbers_of_a_wrong_shape_are_refused(group: str, name: str, array: Any, said: str) -> None:
    kernel = kernel_of("numbers_only")
    call = draw(kernel)
    getattr(call, group)[name] = array
    with pytest.raises(ValueError, match="forward: ") as error:
        args.forward(kernel, call)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_matrix_state_of_a_wrong_shape_is_refused() -> None:
    kernel = kernel_of("mlstm")
    call = draw(kernel)
    call.state["C"] = call.state["C"].swapaxes(1, 2)
    with pytest.raises(ValueError, match=r"state\['C'\]: wrong shape: expected \(B = 3, H = 3, N = 4\), got \(3, 4, 3\)"):
        args.forward(kernel, call)


def test_names_that_a_kernel_uses_itself_stay_the_callers() -> None:
    kernel = kernel_of("names_in_the_way")
    assert {"T", "B", "dtype", "dot_h"} == set(kernel.PARAMETERS)
    assert {"h", "d_h"} == set(kernel.STATES)
    assert "t" in kernel.OUTPUTS
