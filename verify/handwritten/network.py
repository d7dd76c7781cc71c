"""What all networks have around their loops: arguments that are checked, and arrays laid out as a lecturer writes.

A network brings two functions.

    run(p, s, cells)           the forward pass: s has the inputs and the starts, and gets everything that is computed
    invert(p, s, cells, d)     the backward pass: d has the cotangents of the outputs, and everything adds its share to it

Inside they read as the documents do. Every example is a column: `s.x[t]` is (D, B), a bias (H, 1), tokens `s.w[t]` (B,), a
number that an example has once (B,). States and outputs of a step are arrays of T + 1 of them, whose last place holds what a
recurrence starts with: the state in front of the first step is `s.h[-1]`, the one behind the last step `s.h[T]`, and both are
that place. So `d.h[t - 1] += ...` hands a gradient back to the step before, and of the first step to the initial state.
`cells` keeps the local variables of the cell of each step and layer, LSTM_cell(t, l) of the slides.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .named import Array, Named
from .refusals import DType, check_names
from .tables import Sizes, Table, dtype_of
from .through_time import Gradients

Cells = dict[tuple[int, str], Named]


@dataclass(frozen=True)
class Tape:
    """What backward needs: all values, the local variables of the cells, and the sizes of everything."""

    values: Named
    cells: Cells
    sizes: Sizes


@dataclass(frozen=True)
class Network:
    """A network with its gradient, written by hand: the tables and functions of the kernel contract.

    In PARAMETERS all dimensions of a sum but one stand before it, or alone in the same array. AXES: of what doesn't lie along "T", None
    has one value an example.
    """

    source: str
    run: Callable[[Named, Named, Cells], None]
    invert: Callable[[Named, Named, Cells, Named], None]
    PARAMETERS: Table
    STATES: Table
    INPUTS: Table = field(default_factory=lambda: {"x": ("D",)})
    OUTPUTS: Table = field(default_factory=dict)
    AXES: Mapping[str, str | None] = field(default_factory=dict)
    TOKENS: Mapping[str, str] = field(default_factory=dict)

    def forward(
        self, parameters: Mapping[str, Array], inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], Tape]:
        """Run the network over its sequences.

        parameters: as the table says; inputs: {name: (T, B, n)}, tokens (T, B); state: {name: (B, n)}, None = zeros.
        Returns ({name of a state or output: (T, B, n), (T, B) of a number, (B,) of one that an example has once}, tape).
        Raises ValueError on a wrong name, shape, dtype or token.
        """
        sizes, dtype = Sizes(), dtype_of("forward", parameters)
        sizes.check_all("forward: parameters", parameters, self.PARAMETERS, dtype)
        check_names("forward: inputs", inputs, (*self.INPUTS, *self.TOKENS))
        for name, dims in self.INPUTS.items():
            sizes.check(f"forward: {name}", inputs[name], (*self.lead(name), *dims), dtype)
        for name, size in self.TOKENS.items():
            sizes.check_tokens(f"forward: {name}", inputs[name], self.lead(name), size)
        starts = {name: ("B", *dims) for name, dims in self.STATES.items()}
        if state is None:
            state = {name: np.zeros([sizes.of(dim) for dim in dims], dtype) for name, dims in starts.items()}
        sizes.check_all("forward: state", state, starts, dtype)

        s = Named({name: self.inside(name, array) for name, array in inputs.items()})
        s |= self.places(sizes, dtype)
        for name in self.STATES:
            s[name][-1] = state[name].T
        cells: Cells = {}
        self.run(columns(parameters), s, cells)
        return {name: self.outside(name, s[name], sizes) for name in self.outputs}, Tape(s, cells, sizes)

    def backward(self, parameters: Mapping[str, Array], tape: Tape, cotangents: Mapping[str, Array]) -> Gradients:
        """Gradients of sum(cotangents * outputs).

        cotangents: {name of a state or output: an array like it}; a missing one counts as zero.
        Raises ValueError on a wrong name, shape or dtype.
        """
        sizes, dtype = Sizes(tape.sizes), dtype_of("backward", parameters)
        sizes.check_all("backward: parameters", parameters, self.PARAMETERS, dtype)
        tables = {name: (*self.lead(name), *dims) for name, dims in self.outputs.items()}
        zeros = {name: np.zeros([sizes.of(dim) for dim in dims], dtype) for name, dims in tables.items()}
        cotangents = zeros | dict(cotangents)
        sizes.check_all("backward: cotangents", cotangents, tables, dtype)

        p = columns(parameters)
        d = Named({name: np.zeros_like(array) for name, array in p.items()})
        d |= {name: np.zeros_like(tape.values[name]) for name in self.INPUTS}
        d |= self.places(sizes, dtype)
        for name in self.outputs:
            own = d[name][:-1] if self.axis(name) else d[name]
            own[...] = self.inside(name, cotangents[name])
        self.invert(p, tape.values, tape.cells, d)
        return Gradients(
            parameters={name: d[name].reshape(array.shape) for name, array in parameters.items()},
            inputs={name: self.outside(name, d[name], sizes) for name in self.INPUTS},
            state={name: d[name][-1].T.copy() for name in self.STATES},
        )

    @property
    def outputs(self) -> Table:
        """What forward returns: the states and the outputs."""
        return {**self.STATES, **self.OUTPUTS}

    def axis(self, name: str) -> str | None:
        return self.AXES.get(name, "T")

    def lead(self, name: str) -> tuple[str, ...]:
        """What stands in front of the shape of one example at one step."""
        axis = self.axis(name)
        return ("B",) if axis is None else (axis, "B")

    def places(self, sizes: Sizes, dtype: DType) -> dict[str, Array]:
        """Zeros for all states and outputs, of what has steps T + 1 of them."""
        places = {}
        for name, dims in self.outputs.items():
            axis = self.axis(name)
            steps = () if axis is None else (sizes[axis] + 1,)
            places[name] = np.zeros((*steps, *map(sizes.of, dims), sizes["B"]), dtype)
        return places

    def inside(self, name: str, array: Array) -> Array:
        """An argument with its examples as columns: (T, B, n) as (T, n, B)."""
        return np.moveaxis(array, len(self.lead(name)) - 1, -1)

    def outside(self, name: str, array: Array, sizes: Sizes) -> Array:
        """The reverse, without what a recurrence starts with, in memory of its own."""
        axis = self.axis(name)
        return np.moveaxis(array if axis is None else array[: sizes[axis]], -1, len(self.lead(name)) - 1).copy()


def columns(parameters: Mapping[str, Array]) -> Named:
    """Vectors (n,) as columns (n, 1), so that they add to every example."""
    return Named({name: a[:, np.newaxis] if a.ndim == 1 else a for name, a in parameters.items()})
