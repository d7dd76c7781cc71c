"""What the hand-written networks keep of the kernel contract: dtypes, shapes, no steps, arguments, memory layouts, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from tests.verify.network_problems import (
    COMMANDS,
    LENGTHS,
    PAGE_OF,
    Problem,
    flat,
    reference,
)
from verify.gradients import relative

every_kind = pytest.mark.parametrize("where", [*PAGE_OF, COMMANDS[0]])


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("lengths", [LENGTHS, {**LENGTHS, "S": 0, "T": 0}, {**LENGTHS, "S": 0}, {**LENGTHS, "T": 0}])
def test_dtype_and_shapes_are_those_of_the_primals(where: str, dtype: str, lengths: dict[str, int]) -> None:
    problem = Problem(reference(where), dtype, lengths)
    outputs, tape = problem.network.forward(problem.parameters, problem.inputs, problem.state)
    shapes = {name: (array.shape, array.dtype.name) for name, array in outputs.items()}
    assert shapes == {name: (array.shape, dtype) for name, array in problem.cotangents.items()}
    gradients = flat(problem.network.backward(problem.parameters, tape, problem.cotangents))
    found = {block: (array.shape, array.dtype.name) for block, array in gradients.items()}
    assert found == {block: (array.shape, dtype) for block, array in problem.primals()}


@pytest.mark.parametrize("where", ["Translation, extension IV", "A posteriori sequence to sequence"])
@pytest.mark.parametrize("axis", ["S", "T"])
def test_gradients_without_a_step_are_those_of_the_start(where: str, axis: str) -> None:
    """Without a source the decoder starts with the initial state; without a translation the encoder is all that there is."""
    problem = Problem(reference(where), lengths={**LENGTHS, axis: 0})
    gradients = problem.gradients()
    for name, array in problem.state.items():
        direction = problem.random.standard_normal(array.shape)
        expected = problem.slope(f"state.{name}", direction)
        found = float((gradients[f"state.{name}"] * direction).sum())
        assert abs(found - expected) < problem.tolerance * np.linalg.norm(gradients[f"state.{name}"]) * np.linalg.norm(direction)
        assert expected != 0


@every_kind
def test_float32_agrees_with_float64(where: str) -> None:
    double = Problem(reference(where))
    single = Problem(reference(where), "float32")
    expected = double.gradients()
    for block, array in single.gradients().items():
        assert relative(array.astype(float), expected[block]) < single.tolerance, block


@every_kind
def test_complex_gradients_are_the_analytic_continuation(where: str) -> None:
    """A conjugate anywhere would show at a truly complex point: differences from four sides of it. They leave h^4 f^(5) / 5! of
    truncation and the roundings of the loss over h, h = 1e-3; a fifth derivative of 1e4 gradients leaves 1e-10, and the rounding less."""
    problem, h = Problem(reference(where), "complex128"), 1e-3
    gradients = problem.gradients()
    for block, array in problem.primals():
        direction, kept, total = problem.random.standard_normal(array.shape), array.copy(), 0
        direction /= np.linalg.norm(direction)
        for side in (1, -1, 1j, -1j):
            array[...] = kept + side * h * direction
            total += problem.loss() / side
        array[...] = kept
        error = abs(total / (4 * h) - (gradients[block] * direction).sum())
        assert error < 1e-9 * np.linalg.norm(gradients[block]), block


@every_kind
def test_calls_leave_alone_what_they_are_given(where: str) -> None:
    """Arguments stay as they are, a tape serves twice, results can be overwritten, a missing cotangent is zero, no state is zeros."""
    problem = Problem(reference(where))
    parts = ("parameters", "inputs", "state", "cotangents")
    before = [{name: array.copy() for name, array in getattr(problem, part).items()} for part in parts]
    outputs, tape = problem.network.forward(problem.parameters, problem.inputs, problem.state)
    first = flat(problem.network.backward(problem.parameters, tape, problem.cotangents))
    kept = {block: array.copy() for block, array in first.items()}
    for array in itertools.chain(outputs.values(), first.values()):
        array[...] = np.nan
    second = flat(problem.network.backward(problem.parameters, tape, problem.cotangents))
    assert all(np.array_equal(second[block], kept[block]) for block in kept)
    for part, arrays in zip(parts, before, strict=True):
        assert all(np.array_equal(getattr(problem, part)[name], array) for name, array in arrays.items())
    assert all(not array.any() for array in flat(problem.network.backward(problem.parameters, tape, {})).values())
    zeros = {name: np.zeros_like(array) for name, array in problem.state.items()}
    without, given = (problem.network.forward(problem.parameters, problem.inputs, state)[0] for state in (None, zeros))
    assert all(np.array_equal(without[name], given[name]) for name in given)


@every_kind
def test_any_memory_layout_is_accepted(where: str) -> None:
    plain, other = Problem(reference(where)), Problem(reference(where))
    for part in (other.parameters, other.inputs, other.state, other.cotangents):
        for name, array in part.items():
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            wide[..., ::2] = array
            part[name] = np.asfortranarray(wide)[..., ::2]
    expected = plain.gradients()
    for block, array in other.gradients().items():
        assert relative(array, expected[block]) < plain.tolerance, block


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda q: q.parameters.pop("E"), "forward: parameters: wrong names: expected W_1.*, got W_1.*Add"),
        (lambda q: q.parameters.update(W_2=np.zeros((6, 4))), r"forward: parameters: W_2: wrong shape: expected \(6, 3\), got \(6, 4\)"),
        (lambda q: q.parameters.update(b_2=np.zeros((6, 1))), r"forward: parameters: b_2: wrong shape: expected \(6,\), got \(6, 1\)"),
        (lambda q: q.parameters.update(E=np.zeros((7, 8), "f4")), "forward: parameters: E: mixed dtypes: expected float64, got float32"),
        (lambda q: q.parameters.update(W_1=np.zeros((4, 3), int)), "forward: W_1: dtype: expected one of .*, got int64"),
        (lambda q: q.inputs.update(x=np.zeros((4, 3))), r"forward: x: wrong shape: expected \(S, B, 4\), got \(4, 3\)"),
        (lambda q: q.inputs.pop("w"), "forward: inputs: wrong names: expected x, w_prev, w, got x, w_prev"),
        (lambda q: q.inputs.update(w=q.inputs["w"] + 8), "forward: w: out of range: expected whole numbers from 0 to 7, got"),
        (lambda q: q.inputs.update(w=q.inputs["w"] - 8), "forward: w: out of range: expected whole numbers from 0 to 7, got -"),
        (lambda q: q.inputs.update(w=q.inputs["w"] * 1.0), "forward: w: dtype: expected whole numbers, got float64"),
        (lambda q: q.inputs.update(w=q.inputs["w"][1:]), r"forward: w: wrong shape: expected \(5, 2\), got \(4, 2\)"),
        (lambda q: q.state.pop("h_2"), "forward: state: wrong names: expected h_1, h_2, d_1, d_2, got h_1, d_1, d_2"),
        (lambda q: q.state.update(h_2=np.zeros((1, 6))), r"forward: state: h_2: wrong shape: expected \(2, 6\), got \(1, 6\)"),
        (lambda q: q.cotangents.update(z=np.zeros(1)), "backward: cotangents: wrong names: expected h_1.*, got .*z"),
        (lambda q: q.cotangents.update(J=np.zeros((5, 2))), r"backward: cotangents: J: wrong shape: expected \(2,\), got \(5, 2\)"),
        (lambda q: q.cotangents.update(h_1=np.zeros((5, 2, 3))), r"backward: cotangents: h_1: wrong shape: expected \(4, 2, 3\), got"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(break_it: Callable[[Problem], object], message: str) -> None:
    problem = Problem(reference("Translation, extension III"))
    break_it(problem)
    with pytest.raises(ValueError, match=message):
        problem.gradients()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"W_z": np.zeros((3, 2))}, r"W_z: wrong shape: expected \(3, 3\), got \(3, 2\)"),  # H alone is more than H + D
        ({"W_r": np.zeros((3, 8))}, r"W_r: wrong shape: expected \(3, 7\), got \(3, 8\)"),
        ({"V": np.zeros((6, 4))}, r"V: wrong shape: expected \(6, 3\), got \(6, 4\)"),
    ],
)
def test_a_dimension_that_stands_in_a_sum_alone_has_one_size(wrong: dict[str, np.ndarray], message: str) -> None:
    problem = Problem(reference("GRU with its readout and loss, equations (11) to (17)"))
    problem.parameters.update(wrong)
    with pytest.raises(ValueError, match=message):
        problem.gradients()
