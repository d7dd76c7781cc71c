"""One name for each value and size of a kernel: the cell's own, except where the target needs a name for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from derive.language import Value

MADE = re.compile(r"^_|_(all|prev|next|size)$")
"""Names that procedures make of others."""


def wanted(value: Value) -> str:
    """The name that a value would have if nothing stood in the way: `d_h`, `dot_h`, `dot_d_h`, `h_prev`."""
    name = str(value.name)
    for mark in value.marks:
        front = {"cotangent": "d_", "given": "cotangent_", "carry": "carry_", "tangent": "dot_", "summed": "sum_"}
        name = f"{front.get(mark, f'{mark}_')}{name}"
    return name + {-1: "_prev", 1: "_next"}.get(value.lag, f"_{value.lag}" if value.lag else "")


class Names:
    """Gives each value a name, the same in every function of a module, and to its array over all steps `NAME_all`.

    reserved: names that the target keeps for itself. axes: of steps, beside T, each with the letter that counts along it.
    """

    def __init__(self, reserved: Iterable[str], dimensions: Iterable[str], axes: Mapping[str, str] | None = None) -> None:
        self.taken = set(reserved)
        self.values: dict[tuple[str, tuple[str, ...], int], str] = {}
        self.sizes: dict[str, str] = {}
        self.own: dict[str, str] = {}
        self.axes: dict[str, str] = {}
        for axis, letter in (axes or {}).items():
            self.axis(axis)
            self.taken.add(letter)
        for dimension in dimensions:
            self.size(dimension)

    def of(self, value: Value) -> str:
        """The name of a value; of other axes, or rows, it is what another function calls so."""
        key = (str(value.name), value.marks, value.lag)
        if key not in self.values:
            self.values[key] = self.new(wanted(value))
        return self.values[key]

    def sequence(self, value: Value) -> str:
        """The name of a value's array over all steps."""
        return f"{self.of(value.like(lag=0))}_all"

    def made(self, wanted: str) -> str:
        """A name that procedures make up, the same for the same purpose in every function: `buffer_1`, `x_flat`."""
        if wanted not in self.own:
            self.own[wanted] = self.new(wanted)
        return self.own[wanted]

    def new(self, name: str) -> str:
        """A name that nothing has, and that leaves `NAME_all` free."""
        name = name.lstrip("_") or "value"
        while name in self.taken or f"{name}_all" in self.taken:
            name += "_"
        self.taken |= {name, f"{name}_all"}
        return name

    def axis(self, axis: str) -> str:
        """The local variable of how many steps an axis has."""
        if axis not in self.axes:
            name = axis
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            self.axes[axis] = name
        return self.axes[axis]

    def size(self, dimension: str) -> str:
        """The local variable of a dimension: its own name, unless that is taken or could be made of another one."""
        if dimension not in self.sizes:
            clashes = dimension in self.taken or MADE.search(dimension)
            name = f"{dimension.lstrip('_')}_size" if clashes else dimension
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            self.sizes[dimension] = name
        return self.sizes[dimension]
