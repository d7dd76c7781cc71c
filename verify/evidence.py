"""What a kernel's own forward pass says of its gradient at one point, by complex step, or by differences where complex numbers can't run.

Examples don't know of each other, so directions of inputs and states are put side by side along the batch: one forward pass
gives the Jacobian of every output step with respect to every input step and the initial state. Parameters take one pass each.
Differences are taken of single steps and multiplied (`chain`), or of the whole run where it isn't a chain of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import differences
from verify.chain import Chain, Tangents
from verify.data import Data, Regime, vectors
from verify.kernel import Kernel
from verify.tolerances import EPS

Array = NDArray[Any]
OTHER_STEP = 1e-20
"""How much smaller the step of shaken evidence is: what a complex step leaves where the derivative has vanished grows with it."""
EXACT, CHAINED, WHOLE = "complex step", "chained differences", "differences of the whole run"
"""The routes that decide; the first is exact to rounding, the others come with an estimate of their own error."""
EXAMPLES = 2
"""How many examples the lag by lag comparison looks at."""


@dataclass(frozen=True)
class Moved:
    """Tangents of the outputs, each a vector row by row, {name: (T, B, ..., n)}, and an estimate of their absolute error."""

    value: dict[str, Array]
    error: dict[str, Array]


@dataclass
class Evidence:
    """The derivatives of a kernel's forward pass at one point; everything is computed when first asked for.

    method: EXACT, CHAINED or WHOLE; step: of the first. shaken: the same at data that differ in their last bits, with another
    step: what changes there has no more digits than that, and counts as the evidence's own error. digits: what rounding may take of
    the slopes of single steps counts as its error too, since no kernel that makes a slope of an output can know it better.
    """

    kernel: Kernel
    regime: Regime
    data: Data
    seed: int = 0
    method: str = EXACT
    limit: int = EXAMPLES
    step: float = differences.COMPLEX_STEP
    shaken: tuple[Evidence, ...] = ()
    known: dict[str, Moved] = field(default_factory=dict)
    digits: bool = False

    def tangents(self, direction: Mapping[str, Array]) -> Moved:
        """How the outputs move along a direction, given by block."""
        if self.method == CHAINED:
            return Moved(*self.chain.along(direction))
        found = self.whole(self.data, direction)
        return replace(found, error=self.chain.along(direction)[1]) if self.digits else found

    def whole(self, data: Data, direction: Mapping[str, Array]) -> Moved:
        """How the outputs of data move, through the whole run."""

        def run(blocks: dict[str, Array]) -> dict[str, Array]:
            return {name: vectors(array) for name, array in self.kernel.outputs(data.with_flat(blocks)).items()}

        return Moved(*self.quotients(run, data.flat(), direction))

    @property
    def quotients(self) -> Tangents:
        """Derivatives along a direction, with their error, by the route that decides."""
        return partial(exact, step=self.step) if self.method == EXACT else differences.extrapolated_tangents

    @cached_property
    def chain(self) -> Chain:
        """The run as steps; what multiplies their derivatives."""
        return Chain(self.kernel, self.data, self.quotients, self.digits)

    def with_digits(self) -> Evidence:
        """The same evidence that knows what rounding may take of the slopes; itself where the run isn't a chain of steps."""
        return replace(self, digits=True, known={}) if self.chain.holds else self

    def with_shaken(self, times: int = 3) -> Evidence:
        """The same evidence that knows how far its last bits carry."""
        rng = np.random.default_rng([self.seed, 23])
        others = [
            replace(self, data=self.data.moved(4 * EPS, rng), step=self.step * OTHER_STEP, known={}, digits=False)
            for _ in range(times)
        ]
        return replace(self, shaken=tuple(others))

    # ---- parameters

    def direction(self, block: str, k: int) -> Array:
        """The k-th random direction for a block: no element near zero, no two alike, so that nothing cancels by construction."""
        rng = np.random.default_rng([self.seed, k, *block.encode()])
        values = rng.standard_normal(self.data.parameters[block].shape)
        return np.asarray(values + 0.3 * np.sign(values))

    def along(self, block: str, k: int) -> Moved:
        """The tangents along the k-th random direction of a parameter."""
        key = f"{block} {k}"
        if key not in self.known:
            self.known[key] = self.tangents({block: self.direction(block, k)})
        return self.known[key]

    def elements(self, block: str) -> Moved:
        """The tangents along every element of a parameter: {output: (T, B, elements, n)}."""
        if block not in self.known:
            shape = self.data.parameters[block].shape
            units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
            moves = [self.tangents({block: unit}) for unit in units]
            names = list(self.kernel.dims.outputs)
            self.known[block] = Moved(
                {name: np.stack([move.value[name] for move in moves], 2) for name in names},
                {
                    name: np.stack([np.broadcast_to(move.error[name], move.value[name].shape) for move in moves], 2)
                    for name in names
                },
            )
        return self.known[block]

    # ---- inputs and states: (T, examples, columns, n)

    @property
    def examples(self) -> int:
        return min(self.limit, self.data.batch)

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Which columns of the wide batch move which block: (t, j) of an input, j of a state."""
        found, start = {}, 0
        for block in self.data.flat():
            if block.startswith(("input ", "initial ")):
                count = self.data.width(block) * (self.data.steps if block.startswith("input ") else 1)
                found[block] = slice(start, start + count)
                start += count
        return found

    @cached_property
    def wide(self) -> Moved:
        """The tangents of every output along every element of every input step and initial state, of the first examples."""
        steps, count = self.data.steps, sum(one.stop - one.start for one in self.columns.values())
        if count == 0:
            return Moved({}, {})
        if self.method == CHAINED:
            return Moved(*self.chain.wide(self.columns, self.examples))
        data = self.data.repeated(count, self.examples)
        direction = {}
        for block, place in self.columns.items():
            width, shape = data.width(block), data.flat()[block].shape
            units: Any
            if block.startswith("input "):
                units = np.zeros((steps, self.examples, count, width))
                view = units[:, :, place].reshape(steps, self.examples, steps, width, width)
                view[np.arange(steps)[:, None], :, np.arange(steps)[:, None], np.arange(width), np.arange(width)] = 1.0
                units[:, :, place] = view.reshape(steps, self.examples, -1, width)
            else:
                units = np.zeros((self.examples, count, width))
                units[:, place] = np.eye(width)
            direction[block] = units.reshape(shape)
        moves = self.whole(data, direction)

        def split(arrays: dict[str, Array]) -> dict[str, Array]:
            shape = (steps, self.examples, count)
            return {name: np.broadcast_to(a, moves.value[name].shape).reshape(*shape, -1) for name, a in arrays.items()}

        return Moved(split(moves.value), self.chain.wide(self.columns, self.examples)[1] if self.digits else split(moves.error))

    # ---- gradients

    def per_step(self, block: str, cotangents: Mapping[str, Array], error: bool = False, absolute: bool = False) -> Array:
        """The gradient of a block for the cotangent of one step only, for each step s: (S, examples, T, n) or (S, examples, n).

        error: the sum of |cotangent| times the estimated error instead. absolute: the sum of |cotangent| |tangent|, without cancellation.
        """
        total = 0.0
        moves = self.wide.error if error else self.wide.value
        for name, cotangent in cotangents.items():
            part, columns = vectors(cotangent)[:, : self.examples], moves[name][:, :, self.columns[block]]
            if error or absolute:
                part, columns = np.abs(part), np.abs(columns)
            total = total + np.einsum("seco,seo->sec", columns, part)
        found = np.asarray(total)
        if block.startswith("input "):
            found = found.reshape(self.data.steps, self.examples, self.data.steps, -1)
        if error and self.shaken:
            plain = self.per_step(block, cotangents)
            found = found + sum(np.abs(other.per_step(block, cotangents) - plain) for other in self.shaken)
        return found

    def block_gradient(self, block: str, cotangents: Mapping[str, Array], error: bool = False) -> Array:
        """The gradient of an input (T, examples, ...) or state (examples, ...), of the first examples."""
        total = self.per_step(block, cotangents, error).sum(axis=0)
        total = total.transpose(1, 0, 2) if block.startswith("input ") else total
        return np.asarray(total.reshape(*total.shape[:-1], *self.data.own_shape(block)))

    def contract(self, moves: Moved, cotangents: Mapping[str, Array], error: bool = False) -> Array:
        """The sum over outputs, steps and examples of cotangents times tangents (T, B, ..., n)."""
        total: Any = 0.0
        for name, cotangent in cotangents.items():
            part = vectors(np.abs(cotangent) if error else cotangent)
            values = np.broadcast_to((moves.error if error else moves.value)[name], moves.value[name].shape)
            total = total + np.einsum("tb...n,tbn->...", values, part)
        return np.asarray(total)

    def along_gradient(self, block: str, k: int, cotangents: Mapping[str, Array]) -> tuple[float, float]:
        """(the derivative of the loss along the k-th direction of a parameter, its own error)."""
        moves = self.along(block, k)
        value = float(self.contract(moves, cotangents))
        spread = sum(abs(float(other.contract(other.along(block, k), cotangents)) - value) for other in self.shaken)
        return value, float(self.contract(moves, cotangents, True)) + spread

    def element_gradients(self, block: str, cotangents: Mapping[str, Array]) -> tuple[Array, Array]:
        """(the gradient of a parameter, its own error), element by element."""
        moves, shape = self.elements(block), self.data.parameters[block].shape
        value = self.contract(moves, cotangents)
        spread = sum(
            (np.abs(other.contract(other.elements(block), cotangents) - value) for other in self.shaken),
            start=np.zeros_like(value),
        )
        return value.reshape(shape), (self.contract(moves, cotangents, True) + spread).reshape(shape)

    @cached_property
    def growth(self) -> float:
        """The largest norm of d(output at s)/d(input or state at t): how far a rounding error may grow on its way."""
        if not self.wide.value:
            return 0.0
        sizes = [np.sqrt((moves**2).sum(axis=(-2, -1))).max() for moves in self.wide.value.values()]
        return float(max(sizes))


def exact(
    run: differences.Run, arrays: differences.Arrays, direction: differences.Arrays, step: float = differences.COMPLEX_STEP
) -> tuple[dict[str, Array], dict[str, Array]]:
    """A complex step with its error: none but what rounding takes."""
    value = differences.complex_tangents(run, arrays, direction, step)
    return value, {name: np.zeros(()) for name in value}
