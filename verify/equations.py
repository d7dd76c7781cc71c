"""A cell's equations evaluated as they were read, step by step: what both passes of its kernel are held against.

Nothing is derived, flattened, scheduled or printed on the way, so that no fault there can make this route and a kernel err alike. Real
and complex arrays, so that gradients come by complex step; functions that aren't analytic branch on the real part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from derive.language import Value
from derive.shapes import rank
from verify.columns import lying, standing
from verify.data import Data
from verify.differences import COMPLEX_STEP
from verify.interpreter import Environment, Evaluator, floats

if TYPE_CHECKING:
    import sympy as sp

    from derive.cell import Cell

Array = NDArray[Any]
Pair = tuple[Value, "sp.MatrixExpr"]


class Equations:
    """A cell at some sizes of its dimensions, called with data under its own names."""

    def __init__(self, cell: Cell, sizes: Mapping[str, int]) -> None:
        self.cell = cell
        self.evaluate = Evaluator(floats(), sizes)
        self.runs = [(target, self.evaluate.run(right)) for target, right in in_order(cell.equations)]

    def outputs(self, data: Data) -> dict[str, Array]:
        """{state or output: (T, B, ...)}. Parameters may have examples in front, (B, n, m): each example its own."""
        shown = (*self.cell.states, *self.cell.outputs)
        found: dict[str, Array] = {v.name: np.zeros((data.steps, data.batch, *self.shape(v)), data.dtype()) for v in shown}
        env: Environment = {v: standing(v, data.parameters[v.name]) for v in self.cell.parameters}
        env |= {v.prev: standing(v, data.state[v.name]) for v in self.cell.states}
        inputs, states = [*self.cell.inputs, *self.cell.tokens], [(v, v.prev) for v in self.cell.states]
        for t in range(data.steps):
            env |= {v: standing(v, data.inputs[v.name][t]) for v in inputs}
            for target, run in self.runs:
                env[target] = run(env)
            for v in shown:
                found[v.name][t] = lying(v, env[v])
            env |= {before: env[v] for v, before in states}
        return found

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape of a value for one example at one step."""
        return tuple(self.evaluate.size(n) for n in value.shape[: rank(value)])

    def tangents(self, data: Data, directions: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """How the outputs move along each of several directions, given by block: {output: (T, B, directions, ...)}, in one run."""
        count, batch = len(directions), data.batch
        wide = data.repeated(count).flat()
        for block, array in data.flat().items():
            moves = np.stack([direction.get(block, np.zeros_like(array)) for direction in directions])
            if block in data.parameters:
                moved = array + 1j * COMPLEX_STEP * moves
                wide[block] = np.tile(moved, (batch, *[1] * array.ndim))
            else:  # the direction runs fastest along the batch
                moves = np.moveaxis(moves, 0, 2 if block.startswith("input ") else 1)
                wide[block] = wide[block] + 1j * COMPLEX_STEP * moves.reshape(wide[block].shape)
        found = self.outputs(data.repeated(count).with_flat(wide))
        return {
            name: array.imag.reshape(data.steps, batch, count, *array.shape[2:]) / COMPLEX_STEP for name, array in found.items()
        }


def in_order(pairs: Sequence[Pair]) -> list[Pair]:
    """The equations in an order in which they can be computed; an equation that reads itself at t, by whatever way, has none."""
    waiting, ordered = list(pairs), []
    while waiting:
        targets = {target for target, _ in waiting}
        ready = [(target, right) for target, right in waiting if not right.atoms(Value) & targets]
        if not ready:
            raise ValueError(f"{', '.join(target.name for target in targets)} need each other at one step")
        ordered += ready
        waiting = [pair for pair in waiting if pair not in ready]
    return ordered
