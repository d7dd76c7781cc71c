"""Data that show every term of a gradient: D != H != B, T >= 3, nonzero states, random signed cotangents on every output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIZES = (3, 2, 5, 6, 8, 7, 9, 10, 11)
"""The first dimension of a kernel (of its first state), its second, ...: all different, and different from B and T."""

BATCH = 4
SIGMA_LIMIT, TANH_LIMIT = 12.0, 6.0
"""How large a pre-activation may be where values are compared: beyond, y (1 - y) and 1 - y**2 have no digits left."""


@dataclass(frozen=True)
class Regime:
    """How data are drawn.

    scale: standard deviation of matrices times sqrt(fan in). shift: added to vectors of parameters, sign: to random ones of their
    elements with either sign, thirds: to every third element, other ones of the next vector, with alternating signs. pattern: of signs
    that whole vectors take, 0 for all plus. orthogonal: square matrices keep lengths. size: of inputs and states.
    """

    name: str
    steps: int
    scale: float
    shift: float = 0.0
    spread: float = 0.5
    size: float = 1.0
    batch: int = BATCH
    either_sign: bool = False
    orthogonal: bool = False
    pattern: int = 0
    thirds: bool = False


ORDINARY = Regime("ordinary", 5, 0.8)
REACH = 3.0
"""|z| of the ordinary data, for the rounding bounds: what more saturated units lose is measured."""
SHORT = Regime("short memory", 42, 0.5, shift=-1.5, spread=0.3)
LONG = Regime("long memory", 42, 0.4, shift=2.0, spread=0.3)
SATURATED = Regime("saturated", 5, 1.0, shift=3.0, spread=0.3, either_sign=True)
FAR = Regime("far saturated", 5, 1.0, shift=9.0, spread=0.3, either_sign=True)
"""Gates with slopes of 1e-4; a tanh there has lost nearly all digits of its slope, which is measured."""
NEAR_ZERO = Regime("near zero", 5, 1e-3, spread=1e-3, size=1e-3)
LARGE_T = Regime("large T", 100, 0.6, spread=0.4, batch=1)
SUSTAINED = Regime("sustained", 42, 0.3, spread=0.1, size=0.3, orthogonal=True)
REGIMES = (ORDINARY, SHORT, LONG, SUSTAINED, SATURATED, FAR, NEAR_ZERO, LARGE_T)
QUICK = (ORDINARY, SHORT, LONG)
BEYOND = Regime("beyond saturation", 4, 0.8, shift=20.0, spread=0.4, batch=3, thirds=True)
"""Some units at |z| = 20 or so, where the slope of a gate is 2e-9: a slope that is cut off beyond some |z| is missed by that much of a
gradient of order one, a thousand times what rounding takes of it. The other units' gates let it be felt; of tanh nothing is left there."""
OTHER_SIZES = (
    (BEYOND, (6, 2, 5, 3, 8, 7, 9, 10, 11)),
    (Regime("wide input", 4, 0.8, batch=3), (4, 9, 7, 6, 5, 8, 10, 3, 2)),
    (Regime("square", 3, 0.8, batch=2), (4,) * 9),
    (Regime("ones", 1, 0.8, batch=1), (1,) * 9),
)
"""Sizes at which other faults show: more inputs than units, all dimensions alike, one step of one example of one unit."""


def drawn_sizes(seed: int) -> tuple[Regime, tuple[int, ...]]:
    """Steps, examples and dimensions that the seed draws."""
    rng = np.random.default_rng([seed, 17])
    regime = replace(ORDINARY, name="drawn sizes", steps=int(rng.integers(6, 20)), batch=int(rng.integers(2, 7)))
    return regime, tuple(int(size) for size in rng.permutation(np.arange(2, 13)))


@dataclass(frozen=True)
class Dims:
    """The tables of a kernel, and a different size for each of its dimensions."""

    parameters: dict[str, tuple[str, ...]]
    inputs: dict[str, tuple[str, ...]]
    states: dict[str, tuple[str, ...]]
    outputs: dict[str, tuple[str, ...]]
    sizes: dict[str, int]
    tokens: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, module: Any, first: Sequence[int] = SIZES) -> Dims:
        """The tables of a module; `first` are the sizes of its first dimensions."""
        tables = [
            {name: tuple(dims) for name, dims in getattr(module, table).items()}
            for table in ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS")
        ]
        parameters, inputs, states, outputs = tables
        tokens = {name: str(size) for name, size in (getattr(module, "TOKENS", None) or {}).items()}
        ordered = (states, inputs, parameters, outputs, {name: (size,) for name, size in tokens.items()})
        names = list(dict.fromkeys(word for table in ordered for dims in table.values() for word in words_of(dims)))
        sizes = dict(zip(names, [*first, *range(12, 12 + len(names))], strict=False))
        if len({*first}) > 1:  # of two tokens one is the other's complement, which hides faults
            for name in (word for size in tokens.values() for word in words_of((size,)) if sizes[word] == 2):
                sizes[name] = 12 + len(names)
        return cls(parameters, inputs, states, {**states, **outputs}, sizes, tokens)

    def size(self, dim: str) -> int:
        """The size of a dimension as tables write it: `H`, `H+D`, `2*H+D`."""
        total = 0
        for term in dim.split("+"):
            times, _, name = term.strip().rpartition("*")
            total += int(times or 1) * (self.sizes[name.strip()] if name.strip() in self.sizes else int(name))
        return total

    def shape(self, dims: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self.size(dim) for dim in dims)

    @property
    def settled(self) -> bool:
        """Whether parameters and inputs have every dimension that states have: else a run can't start without a state."""
        known = {word for table in (self.parameters, self.inputs) for dims in table.values() for word in words_of(dims)}
        return all(set(words_of(dims)) <= known for dims in self.states.values())

    def fan_in(self) -> int:
        """How many products a sum of the kernel has, at most about: everything that a step reads."""
        return sum(math.prod(self.shape(dims)) for table in (self.inputs, self.states) for dims in table.values()) + 1


def words_of(dims: tuple[str, ...]) -> list[str]:
    """The dimensions that `("2*H+D", "K")` is made of."""
    plain = [part.rpartition("*")[2].strip() for dim in dims for part in dim.split("+")]
    return [name for name in plain if not name.isdigit()]


def lead_of(block: str) -> int:
    """How many axes stand in front of a block's own: steps and examples of an input, examples of a state, none of a parameter."""
    kind, space, _ = block.partition(" ")
    return {"input": 2, "initial": 1}[kind] if space else 0


def is_token(array: Array) -> bool:
    """Whether an input holds tokens, whole numbers: nothing moves, scales or differentiates them."""
    return bool(np.issubdtype(np.asarray(array).dtype, np.integer))


def vectors(array: Array, lead: int = 2) -> Array:
    """What one example holds at one step as a vector, a matrix row by row: (T, B, ...) as (T, B, n). lead: how many axes stay."""
    return array.reshape(*array.shape[:lead], math.prod(array.shape[lead:]))


@dataclass(frozen=True)
class Data:
    """The arguments of one call and the cotangents of its outputs, by name. Among the inputs tokens are those of whole numbers."""

    parameters: dict[str, Array]
    inputs: dict[str, Array]
    state: dict[str, Array]
    cotangents: dict[str, Array]
    steps: int = 0
    batch: int = 0

    def flat(self) -> dict[str, Array]:
        """Every differentiable array by the label of its block: `W`, `input x`, `initial h`."""
        blocks = dict(self.parameters)
        blocks |= {f"input {name}": array for name, array in self.numbers.items()}
        return blocks | {f"initial {name}": array for name, array in self.state.items()}

    @property
    def numbers(self) -> dict[str, Array]:
        """The inputs that are numbers."""
        return {name: array for name, array in self.inputs.items() if not is_token(array)}

    @property
    def tokens(self) -> dict[str, Array]:
        """The inputs that are whole numbers."""
        return {name: array for name, array in self.inputs.items() if is_token(array)}

    def own_shape(self, block: str) -> tuple[int, ...]:
        """The shape of a block for one example at one step; of a parameter the whole."""
        return np.shape(self.flat()[block])[lead_of(block) :]

    def width(self, block: str) -> int:
        """How many numbers that are."""
        return math.prod(self.own_shape(block))

    def parts(self, blocks: Mapping[str, Array]) -> list[dict[str, Array]]:
        """What is given by block for parameters, inputs and state apart, in new arrays of the precision of the data."""
        labels = ((self.parameters, "{}"), (self.inputs, "input {}"), (self.state, "initial {}"))
        return [
            {name: np.array(blocks[label.format(name)], a.dtype) for name, a in arrays.items() if label.format(name) in blocks}
            for arrays, label in labels
        ]

    def with_flat(self, blocks: Mapping[str, Array]) -> Data:
        return replace(
            self,
            parameters={name: np.asarray(blocks[name]) for name in self.parameters},
            inputs={name: array if is_token(array) else blocks[f"input {name}"] for name, array in self.inputs.items()},
            state={name: blocks[f"initial {name}"] for name in self.state},
        )

    def dtype(self) -> Any:
        """That of its numbers together: complex where one of them is."""
        return np.result_type(np.float64, *self.flat().values())

    def copy(self) -> Data:
        return self.astype(None)

    def astype(self, dtype: Any) -> Data:
        """The same data in another dtype; None keeps each array's own. Always new arrays."""

        def cast(arrays: dict[str, Array]) -> dict[str, Array]:
            return {n: np.array(a, a.dtype if is_token(a) else dtype or a.dtype, order="C") for n, a in arrays.items()}

        return replace(
            self,
            parameters=cast(self.parameters),
            inputs=cast(self.inputs),
            state=cast(self.state),
            cotangents=cast(self.cotangents),
        )

    def moved(self, eps: float, rng: np.random.Generator) -> Data:
        """The same data with every number but the cotangents moved by eps of its size, up or down."""
        return self.with_flat(
            {block: array * (1 + eps * rng.choice([-1.0, 1.0], array.shape)) for block, array in self.flat().items()}
        )

    def repeated(self, times: int, examples: int | None = None) -> Data:
        """The first examples, each `times` times along the batch, cotangents too."""

        def wide(array: Array, axis: int) -> Array:
            return np.repeat(array.take(range(examples or self.batch), axis), times, axis)

        return replace(
            self,
            inputs={name: wide(array, 1) for name, array in self.inputs.items()},
            state={name: wide(array, 0) for name, array in self.state.items()},
            cotangents={name: wide(array, 1) for name, array in self.cotangents.items()},
            batch=(examples or self.batch) * times,
        )

    def only_step(self, step: int) -> dict[str, Array]:
        """The cotangents at one step, zero elsewhere."""
        masked = {}
        for name, array in self.cotangents.items():
            masked[name] = np.zeros_like(array)
            masked[name][step] = array[step]
        return masked

    def output_shape(self, dims: Dims, name: str) -> tuple[int, ...]:
        return (self.steps, self.batch, *dims.shape(dims.outputs[name]))


def draw(dims: Dims, regime: Regime, seed: int = 0, shrink: float = 1.0, positive: bool = False) -> Data:
    """Random arguments and cotangents for a kernel; the same seed gives the same data.

    shrink scales everything down, positive takes absolute values: for kernels that overflow or are defined for positive numbers only.
    """
    return Drawing(dims, regime, seed, shrink, positive).data()


class Drawing:
    """The random numbers of one set of data, in the order in which they are drawn. place: of a vector among the parameters that are no
    matrices."""

    def __init__(self, dims: Dims, regime: Regime, seed: int, shrink: float, positive: bool) -> None:
        self.dims, self.regime, self.shrink, self.positive = dims, regime, shrink, positive
        self.rng = np.random.default_rng(seed)
        self.signed = np.random.default_rng([seed, 29, regime.pattern])
        self.chosen = np.random.default_rng([seed, 31])
        self.place = {name: k for k, name in enumerate(name for name, names in dims.parameters.items() if len(names) < 2)}

    def data(self) -> Data:
        dims, regime, lead = self.dims, self.regime, (self.regime.steps, self.regime.batch)
        return Data(
            {name: self.parameter(name, names) for name, names in dims.parameters.items()},
            {name: regime.size * self.bounded((*lead, *dims.shape(names))) for name, names in dims.inputs.items()}
            | {name: self.token(size) for name, size in dims.tokens.items()},
            {name: 0.5 * regime.size * self.bounded((regime.batch, *dims.shape(names))) for name, names in dims.states.items()},
            {name: self.cotangent(names) for name, names in dims.outputs.items()},
            *lead,
        )

    def bounded(self, shape: tuple[int, ...]) -> Array:
        """Normal numbers of at most 2."""
        values = np.clip(self.rng.standard_normal(shape), -2.0, 2.0) * self.shrink
        return np.asarray(np.abs(values) + 0.1 if self.positive else values)

    def parameter(self, name: str, names: tuple[str, ...]) -> Array:
        """A matrix over the root of its width, or orthogonal; a vector or a number, shifted as the regime says."""
        regime, array = self.regime, self.bounded(self.dims.shape(names))
        if len(names) == 2 and regime.orthogonal and array.shape[0] == array.shape[1] and not self.positive:
            return np.asarray(self.shrink * np.linalg.qr(array)[0], order="C")
        if len(names) == 2:
            return np.asarray(regime.scale * array / np.sqrt(array.shape[1]))
        shift, signs = regime.shift * self.shrink, self.signs_of(array, self.place[name])
        if self.positive:
            return np.asarray(np.abs(regime.spread * array) + abs(shift))
        return np.asarray(regime.spread * array + shift * signs)

    def signs_of(self, array: Array, place: int) -> Any:
        """What the shift of a vector is multiplied by. No learned number is one of the thirds."""
        if self.regime.thirds:
            unit = np.arange(array.size).reshape(array.shape)
            return np.where((unit + place) % 3 == 0, 1.0 - 2.0 * (unit // 3 % 2), 0.0) * array.ndim
        signs = self.rng.choice([-1.0, 1.0], array.shape) if self.regime.either_sign else 1.0
        return self.signed.choice([-1.0, 1.0]) if self.regime.pattern else signs

    def token(self, size: str) -> Array:
        """Random tokens; of more steps and examples than there are tokens some are repeated."""
        return self.chosen.integers(0, self.dims.size(size), (self.regime.steps, self.regime.batch))

    def cotangent(self, names: tuple[str, ...]) -> Array:
        """Normal numbers of either sign, none near zero."""
        values = self.rng.standard_normal((self.regime.steps, self.regime.batch, *self.dims.shape(names)))
        return values + np.sign(values) * 0.2
