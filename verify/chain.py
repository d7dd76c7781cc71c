"""A run as a chain of steps: the derivatives of single steps, exact or by differences, multiplied.

What one step hands to the next are the states, so that all steps of all examples run side by side as runs of one step. Each derivative
of a single step is known with a small error relative to itself or to what a slope of order one would give, and products keep that
however small they are, unlike differences through the whole run. The errors go through the products with the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import differences
from verify.data import Data, is_token, vectors
from verify.kernel import Kernel
from verify.tolerances import EPS
from verify.ways import one_step, unlike

Array = NDArray[Any]
Tangents = Callable[[differences.Run, differences.Arrays, differences.Arrays], tuple[dict[str, Array], dict[str, Array]]]
"""(how outputs move along a direction, the error of that)."""

SLOPE = 32
"""How many eps of a slope of order one a slope may be off by: four roundings in each of a few factors, and a steeper one not found."""
TAMED = tuple(4.0**-k for k in range(6))
"""What arguments are multiplied by to find slopes of order one: a unit at |z| = 1000 has them at |z| = 1."""
SPREAD = tuple(sign * 2.0**k for k in range(2, 10) for sign in (1, -1))
"""How large parameters times inputs are made to find them where a constant saturates a unit, sigma(z + 100)."""
SPREAD_EXAMPLES = 256
"""At least so many examples are tried at each of these: a few of them have a unit that isn't saturated."""


@dataclass
class Chain:
    """The steps of one run; states and outputs are vectors, a matrix row by row. tangents: how derivatives of one step are taken.

    digits: whether what rounding takes of slopes counts as their error: a slope that is made of an output, as 1 - y**2 is, has no digits
    below eps of a slope of order one.
    """

    kernel: Kernel
    data: Data
    tangents: Tangents
    digits: bool = False
    steepest: dict[str, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def single(self) -> Data:
        return one_step(self.data, self.kernel.outputs(self.data), np.random.default_rng(0))

    @cached_property
    def holds(self) -> bool:
        """Whether the steps by themselves give the run: whether the states are all that one step hands to the next."""
        if not self.data.state or self.data.steps == 0:
            return False
        try:
            return not unlike(self.kernel, self.data, self.kernel.outputs(self.data), ())
        except Exception:
            return False

    def at(self, data: Data, blocks: dict[str, Array]) -> dict[str, Array]:
        """The outputs of other data, as vectors."""
        return self.outputs(data.with_flat(blocks))

    def outputs(self, data: Data) -> dict[str, Array]:
        return {name: vectors(array) for name, array in self.kernel.outputs(data).items()}

    # ---- single steps

    def columns(self, block: str) -> tuple[dict[str, Array], dict[str, Array]]:
        """The derivative of each output of a step along each element of an input or state of that step: {name: (T, B, n, columns)}."""
        width = self.single.width(block)
        wide = self.single.repeated(width)
        units = np.tile(np.eye(width), (self.single.batch, 1))
        value, error = self.slopes(wide, {block: units.reshape(wide.flat()[block].shape)})
        return self.split(value, width), self.split(error, width)

    def direct(self, direction: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The same along a direction of parameters and inputs (T, B, ...), as one column."""
        given = {
            block: array.reshape(1, -1, *array.shape[2:]) if block.startswith("input ") else array
            for block, array in direction.items()
            if not block.startswith("initial ")
        }
        if not given:
            zeros = {name: np.zeros((*array.shape, 1)) for name, array in self.outputs(self.data).items()}
            return zeros, zeros
        value, error = self.slopes(self.single, given)
        return self.split(value, 1), self.split(error, 1)

    def split(self, arrays: Mapping[str, Array], count: int) -> dict[str, Array]:
        """(1, T * B * count, n) as (T, B, n, count)."""
        return {
            name: np.moveaxis(array.reshape(self.data.steps, self.data.batch, count, -1), 2, 3) for name, array in arrays.items()
        }

    def slopes(self, data: Data, direction: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """(how the outputs of one step move along a direction, the error of that)."""
        value, error = self.tangents(partial(self.at, data), data.flat(), direction)
        error = {name: np.broadcast_to(error[name], array.shape) for name, array in value.items()}
        if self.digits:
            lost = self.lost(direction)
            error = {name: array + lost[name] for name, array in error.items()}
        return value, error

    def lost(self, direction: Mapping[str, Array]) -> dict[str, float]:
        """What rounding may take of a slope of each output: a few eps of the largest that there is where units aren't saturated."""
        found: dict[str, float] = {}
        for block, array in direction.items():
            for name, size in self.slope_of_order_one(block).items():
                found[name] = found.get(name, 0.0) + SLOPE * EPS * size * float(np.abs(array).max(initial=0.0))
        return found

    def slope_of_order_one(self, block: str) -> dict[str, float]:
        """How steeply each output of a step moves with a block, at most, where the units aren't saturated.

        Such points are looked for where the parameters, and where all but the matrices, are multiplied by smaller and smaller numbers.
        """
        if block not in self.steepest:
            rng = np.random.default_rng([3, *block.encode()])
            direction = {block: rng.choice([-1.0, 1.0], self.single.flat()[block].shape)}
            carried = max((float(np.abs(array).max(initial=0.0)) for array in self.single.state.values()), default=0.0)
            largest: dict[str, float] = {}
            points = [one for by in TAMED for one in (parameters_times(self.single, by), all_but_matrices_times(self.single, by))]
            for point in points:
                for name, array in self.tangents(partial(self.at, point), point.flat(), direction)[0].items():
                    largest[name] = max(largest.get(name, 0.0), largest_finite(array))
            if max(largest.values(), default=0.0) < self.order_one(block) / (2 * SLOPE):
                largest = {name: max(size, self.far_slopes(block)[name]) for name, size in largest.items()}
            self.steepest[block] = {name: size * max(1.0, carried) for name, size in largest.items()}
        return self.steepest[block]

    def order_one(self, block: str) -> float:
        """What multiplies the slope of a unit in the derivative along a block: what a matrix is multiplied with, or matrices."""
        array = self.single.flat()[block]
        if block not in self.single.parameters:
            return self.largest_of(self.single.parameters)
        return self.largest_of(self.single.inputs | self.single.state) if array.ndim > 1 else 1.0

    def far_slopes(self, block: str) -> dict[str, float]:
        """How steeply outputs move with a block where parameters are so large that they undo what a constant does, sigma(z + 100).

        Only where an output isn't much larger than in the run: a slope that grows with it, as that of exp, isn't one of order one.
        """
        rng = np.random.default_rng([5, *block.encode()])
        data, count = self.single, max(SPREAD_EXAMPLES, self.single.batch)
        by, rows = rng.choice([-1.0, 1.0], count) * rng.uniform(0.25, 1.0, count), np.arange(count) % data.batch
        moved = replace(
            data,
            inputs={
                name: array[:, rows] if is_token(array) else (array[:, rows].swapaxes(1, -1) * by).swapaxes(1, -1)
                for name, array in data.inputs.items()
            },
            state={name: (array[rows].swapaxes(0, -1) * by).swapaxes(0, -1) for name, array in data.state.items()},
            cotangents={name: array[:, rows] for name, array in data.cotangents.items()},
            batch=count,
        )
        direction = {block: rng.choice([-1.0, 1.0], moved.flat()[block].shape)}
        here = self.outputs(data)
        found, read = dict.fromkeys(here, 0.0), self.largest_of(data.inputs | data.state) or 1.0
        matrices = self.largest_of({name: array for name, array in data.parameters.items() if array.ndim > 1}) or 1.0
        for size in SPREAD:
            far = replace(moved, parameters={name: sized(array, size, read) for name, array in data.parameters.items()})
            value, _ = self.tangents(partial(self.at, far), far.flat(), direction)
            for name, array in self.outputs(far).items():
                small = np.abs(array) <= 2 * max(1.0, float(np.abs(here[name]).max(initial=0.0)))
                slope = largest_finite(value[name][small]) / (1.0 if block in data.parameters else abs(size) / read / matrices)
                found[name] = max(found[name], slope)
        return found

    def largest_of(self, arrays: Mapping[str, Array]) -> float:
        return max((float(np.abs(array).max(initial=0.0)) for array in arrays.values()), default=0.0)

    @cached_property
    def jacobian(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The derivative of each output of a step along all states before it, in their order: {name: (T, B, n, S)}."""
        found = [self.columns(f"initial {name}") for name in self.data.state]
        value, error = ({name: np.concatenate([one[k][name] for one in found], -1) for name in found[0][k]} for k in (0, 1))
        return value, error

    # ---- products

    def along(self, direction: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """How the outputs move along a direction given by block, (T, B, n), and the error."""
        value, error = self.along_each([direction])
        return {name: array[..., 0] for name, array in value.items()}, {name: array[..., 0] for name, array in error.items()}

    def along_each(self, directions: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The same along several directions, (T, B, n, directions): what the Jacobians between make is found once."""
        direct = [self.direct(direction) for direction in directions]
        value, error = ({name: np.concatenate([one[k][name] for one in direct], -1) for name in direct[0][k]} for k in (0, 1))
        before = [
            np.stack([vectors(direction.get(f"initial {name}", np.zeros(array.shape)), 1) for direction in directions], -1)
            for name, array in self.data.state.items()
        ]
        return self.carried(value, error, np.concatenate(before, 1))

    def wide(self, columns: Mapping[str, slice], examples: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Along every element of every input step and initial state: {name: (T, examples, columns, n)}; columns: block -> which."""
        steps, count = self.data.steps, max((one.stop for one in columns.values()), default=0)
        shapes = {name: array.shape[-2] for name, array in self.jacobian[0].items()}
        value, error = ({name: np.zeros((steps, examples, n, count)) for name, n in shapes.items()} for _ in (0, 1))
        first = []
        for block, place in columns.items():
            if block.startswith("input "):
                for found, parts in zip((value, error), self.columns(block), strict=True):
                    for name, array in parts.items():
                        view = found[name][..., place].reshape(steps, examples, shapes[name], steps, -1)
                        view[np.arange(steps), :, :, np.arange(steps)] = array[:, :examples]
                        found[name][..., place] = view.reshape(steps, examples, shapes[name], -1)
        for name in self.data.state:
            width, place = self.data.width(f"initial {name}"), columns[f"initial {name}"]
            unit = np.zeros((examples, width, count))
            unit[:, :, place] = np.eye(width)
            first.append(unit)
        moved = self.carried(value, error, np.concatenate(first, 1))
        value, error = ({name: array.swapaxes(2, 3) for name, array in one.items()} for one in moved)
        return value, error

    def carried(
        self, direct: Mapping[str, Array], wrong: Mapping[str, Array], before: Array
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """What each step adds (T, B, n, columns), with its error, and what comes from the step before, multiplied through the run.

        before: the tangent of the initial states (B, S, columns). The error that a step brings in, d = E (|s| + e) + what its own part
        is wrong by, reaches a later one through the product of the Jacobians between, as |J ... J| d: through |J| ... |J| it would
        grow beyond use where terms cancel.
        """
        examples = before.shape[0]
        value, error = ({name: np.array(array) for name, array in one.items()} for one in (direct, wrong))
        own: Array = np.zeros(before.shape)
        between: Array = np.zeros((0, *before.shape[:2], before.shape[1]))
        brought: Array = np.zeros((0, *before.shape))
        for t in range(self.data.steps):
            new, ways = {}, {}
            for name in value:
                jacobian, doubt = (one[name][t, :examples] for one in self.jacobian)
                ways[name] = jacobian @ between
                new[name] = error[name][t] + doubt @ (np.abs(before) + own) + EPS * (np.abs(jacobian) @ np.abs(before))
                error[name][t] = new[name] + (np.abs(ways[name]) @ brought).sum(axis=0)
                value[name][t] += jacobian @ before
            before, own = (np.concatenate([one[name][t] for name in self.data.state], 1) for one in (value, error))
            unit = np.broadcast_to(np.eye(before.shape[1]), (1, examples, *between.shape[2:]))
            between = np.concatenate([np.concatenate([ways[name] for name in self.data.state], 2), unit])
            brought = np.concatenate([brought, np.concatenate([new[name] for name in self.data.state], 1)[None]])
        return value, error


def largest_finite(array: Array) -> float:
    """The largest size of an element; 0 where there is none that is finite."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def sized(array: Array, size: float, read: float) -> Array:
    """A parameter so large that it adds `size` or so to a sum: a vector by itself, a matrix times what it reads."""
    largest = float(np.abs(array).max(initial=0.0)) * (read if array.ndim > 1 else 1.0)
    return array * (size / largest) if largest else array


def parameters_times(data: Data, by: float) -> Data:
    return replace(data, parameters={name: by * array for name, array in data.parameters.items()})


def all_but_matrices_times(data: Data, by: float) -> Data:
    return replace(
        data,
        parameters={name: array if array.ndim > 1 else by * array for name, array in data.parameters.items()},
        inputs={name: array if is_token(array) else by * array for name, array in data.inputs.items()},
        state={name: by * array for name, array in data.state.items()},
    )
