"""A cell's equations evaluated as they were read, step by step: what both passes of its kernel are held against.

Nothing is derived, flattened, scheduled or printed on the way, so that no fault there can make this route and a kernel err alike. Real
and complex arrays, so that gradients come by complex step; functions that aren't analytic branch on the real part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from derive.shapes import rank
from verify.axes import given, lengths_of, taken
from verify.columns import given_once, initial, lying, standing
from verify.data import Data
from verify.differences import COMPLEX_STEP
from verify.interpreter import Environment, Evaluator, floats
from verify.sweeps import Sweeps

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.language import Value

Array = NDArray[Any]


class Equations:
    """A cell at some sizes of its dimensions, called with data under its own names."""

    def __init__(self, cell: Cell, sizes: Mapping[str, int]) -> None:
        self.cell = cell
        self.evaluate = Evaluator(floats(), sizes)

    def outputs(self, data: Data) -> dict[str, Array]:
        """{state or output: (T, B, ...)}; what lies along other axes, or along none, as `axes` has it. Parameters may have examples in
        front, (B, n, m): each example its own."""
        cell, sweeps = self.cell, self.swept(data)
        found: dict[str, Array] = {}
        for v in (*cell.states, *cell.outputs):
            whole = np.zeros((data.steps, data.batch, *self.shape(v)), data.dtype())
            if data.steps:
                array = np.stack([env[v] for env in sweeps.found[v.axis]]) if v.has_steps else sweeps.once[v]
                whole[:] = given(lying(v, array), v.along, -1, data.steps)
            found[str(v.name)] = whole
        return found

    def swept(self, data: Data) -> Sweeps:
        """A run, with every value at every step."""
        cell = self.cell
        known: Environment = {v: standing(v, data.parameters[v.name]) for v in cell.parameters}
        known |= given_once(cell, data.inputs) | initial(cell, data.state)
        timed = [v for v in (*cell.inputs, *cell.tokens) if v.has_steps]
        inputs = {v: [*standing(v, taken(data.inputs[str(v.name)], v.along, 0))] for v in timed}
        sweeps = Sweeps(cell.equations, self.evaluate, known, inputs, lengths_of(cell.step_axes, data.steps), dict(cell.starts))
        sweeps.run()
        return sweeps

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
