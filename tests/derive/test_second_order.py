"""The tangent of the backward program is the derivative of gradients: held to the complex step of the backward program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive.cells.registry import build
from derive.derivation import Derivation, derive
from derive.language import Value
from tests import bounds
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from verify import programs
from verify.interpreter import Environment, Evaluator, floats

T, B = 4, 3
SIZES = {"H": 4, "D": 2, "K": 5, "N": 3, "M": 2}
STEP = 1e-30
KEPT = (
    "rnn",
    "rnn --activation relu",
    "lstm --peephole --candidate-peephole",
    "lstm --peephole diagonal",
    "gru",
    "gru --reset after",
)


class Direction:
    """A cell on random data, and a random direction of all of its arguments."""

    def __init__(self, derivation: Derivation, seed: int = 0) -> None:
        self.derivation, self.rng = derivation, np.random.default_rng(seed)
        cell = derivation.cell
        names = {
            s.name for v in (*cell.parameters, *cell.inputs, *cell.states, *cell.outputs) for d in v.shape for s in d.free_symbols
        }
        self.evaluate = Evaluator(floats(), {name: SIZES.get(name, 2 + len(name) % 4) for name in names})
        arguments = (*cell.parameters, *cell.inputs)
        self.known = {value: self.draw(value) for value in arguments}
        self.starts = {state: self.rng.standard_normal((B, *self.shape(state))) for state in cell.states}
        self.moves = {value.marked("tangent"): self.draw(value) for value in arguments}
        self.start_moves = {state.marked("tangent"): self.rng.standard_normal((B, *self.shape(state))) for state in cell.states}
        results = derivation.forward.results
        self.cotangents = {value.marked("given"): self.draw(value) for value in results}

    def shape(self, value: Value) -> tuple[int, ...]:
        return tuple(self.evaluate.size(size) for size in value.shape)

    def draw(self, value: Value) -> Any:
        lead = (T, B) if value.timed else ()
        return 0.7 * self.rng.standard_normal((*lead, *self.shape(value)))

    def gradients(self, by: complex = 0) -> Environment:
        """The gradients at the arguments moved by so much along the direction."""
        d = self.derivation
        known = {value: array + by * self.moves[value.marked("tangent")] for value, array in self.known.items()}
        starts = {value: array + by * self.start_moves[value.marked("tangent")] for value, array in self.starts.items()}
        equations = (*d.forward.equations, *d.backward.equations)
        return programs.run(equations, self.evaluate, {**known, **self.cotangents}, starts)

    @property
    def limit(self) -> float:
        """How far two routes to a second derivative may part: by the roundings of both programs, about 1e-13."""
        d = self.derivation
        equations = [*d.forward.equations, *d.second.equations]
        return bounds.rounded(bounds.of_program(equations, self.evaluate.size, T, B))

    def second(self) -> Environment:
        d = self.derivation
        equations = (*d.forward.equations, *d.second.equations)
        known = {**self.known, **self.moves, **self.cotangents}
        return programs.run(equations, self.evaluate, known, {**self.starts, **self.start_moves})


@pytest.mark.parametrize("name", [*KEPT, *ODD])
def test_the_tangent_of_the_gradients_is_their_derivative(name: str) -> None:
    """Complex step has no error of cancellation: both sides part by the roundings of the programs, of the largest of a block."""
    derivation = derive(odd_cell(name) if name in ODD else build(name))
    at = Direction(derivation)
    moved, found = at.gradients(1j * STEP), at.second()
    for result in derivation.backward.results:
        expected = moved[result].imag / STEP
        got = found[result.marked("tangent")]
        if result.kind == "carry":
            expected, got = expected[0], got[0]
        assert is_close(got, expected, at.limit), result.name
        if expected.any():
            off = got.copy()
            off.flat[np.abs(expected).argmax()] *= 1 + 1e-9
            assert not is_close(off, expected, at.limit), f"{result.name}: a fault of 1e-9 goes unseen"


def is_close(got: np.ndarray, expected: np.ndarray, limit: float) -> bool:
    """Whether two blocks agree to a part of the largest element; a block that is zero on one side is zero on the other."""
    return bool(np.abs(expected - got).max(initial=0) <= limit * np.abs(expected).max(initial=0))
