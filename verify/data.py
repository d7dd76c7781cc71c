"""Data that show every term of a gradient: D != H != B, T >= 3, nonzero states, random signed cotangents on every output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIZES = (4, 5, 7, 6, 8, 9, 10, 11)
"""The first dimension of a kernel, its second, ...: all different, and different from B and T."""


@dataclass(frozen=True)
class Regime:
    """How data are drawn: steps, examples, the standard deviation of weights times sqrt(fan in), and the shift of vectors."""

    name: str
    steps: int
    batch: int
    scale: float
    shift: float = 0.0


REGIMES = (Regime("ordinary", 6, 3, 1.0), Regime("long", 21, 2, 0.6))


@dataclass(frozen=True)
class Data:
    """The arguments of one call and the cotangents of its outputs, by name."""

    parameters: dict[str, Array]
    inputs: dict[str, Array]
    state: dict[str, Array]
    cotangents: dict[str, Array]

    def flat(self) -> dict[str, Array]:
        """Every differentiable array by the label of its block: `W`, `input x`, `initial h`."""
        blocks = dict(self.parameters)
        blocks |= {f"input {name}": array for name, array in self.inputs.items()}
        return blocks | {f"initial {name}": array for name, array in self.state.items()}

    def with_flat(self, blocks: Mapping[str, Array]) -> Data:
        return replace(
            self,
            parameters={name: blocks[name] for name in self.parameters},
            inputs={name: blocks[f"input {name}"] for name in self.inputs},
            state={name: blocks[f"initial {name}"] for name in self.state},
        )


def size_of(dim: str, sizes: Mapping[str, int]) -> int:
    """The size of a dimension as tables write it: `H`, `H+D`, `2*H+D`."""
    total = 0
    for term in dim.split("+"):
        times, _, name = term.rpartition("*")
        total += int(times or 1) * (sizes[name] if name in sizes else int(name))
    return total


def sizes_for(kernel: Any, regime: Regime) -> dict[str, int]:
    """A different size for each dimension of a kernel."""
    tables = (kernel.STATES, kernel.INPUTS, kernel.PARAMETERS, kernel.OUTPUTS)
    plain = [part.rpartition("*")[2] for table in tables for dims in table.values() for dim in dims for part in dim.split("+")]
    names = [name for name in dict.fromkeys(plain) if not name.isdigit()]
    return {"T": regime.steps, "B": regime.batch, **dict(zip(names, SIZES, strict=False))}


def draw(kernel: Any, regime: Regime, seed: int = 0) -> Data:
    """Random arguments and cotangents for a kernel; the same seed gives the same data."""
    rng = np.random.default_rng(seed)
    sizes = sizes_for(kernel, regime)

    def normal(*dims: str) -> Array:
        return rng.standard_normal([size_of(dim, sizes) for dim in dims])

    def parameter(dims: tuple[str, ...]) -> Array:
        array = normal(*dims)
        return regime.scale * array / np.sqrt(array.shape[1]) if len(dims) == 2 else 0.5 * array + regime.shift

    outputs = {**kernel.STATES, **kernel.OUTPUTS}
    return Data(
        {name: parameter(tuple(dims)) for name, dims in kernel.PARAMETERS.items()},
        {name: normal("T", "B", *dims) for name, dims in kernel.INPUTS.items()},
        {name: 0.5 * normal("B", *dims) for name, dims in kernel.STATES.items()},
        {name: normal("T", "B", *dims) for name, dims in outputs.items()},
    )
