"""A layer of a network: a cell that runs along the steps, one way or the other, over what the layer below gives."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .named import Array, Named
from .network import Cells
from .refusals import shape_of
from .tables import Table
from .through_time import Case


@dataclass(frozen=True)
class Print:
    """How a page prints a matrix of a cell: its dimensions there, of (H, below), and where the cell's matrix lies in it, a view."""

    dims: Callable[[str, str], tuple[str, ...]]
    view: Callable[[Array], Array]


@dataclass(frozen=True)
class Layer:
    """A cell by the names that it has in a network.

    mark: what stands behind all its names, `_right_2`. names: the cell's names -> the network's, where they differ. below: the dimension
    of what it reads. units: the dimension of its states. prints: how W and U are printed, by their first letter, where they stand in
    other matrices. masked: whether the states stay as they were where the input m is 0.
    """

    cell: Case
    mark: str
    below: str
    units: str
    names: Mapping[str, str] = field(default_factory=dict)
    prints: Mapping[str, Print] = field(default_factory=dict)
    masked: bool = False

    def name(self, name: str) -> str:
        return self.names.get(name, name) + self.mark

    @property
    def h(self) -> str:
        """The network's name of what the layer above reads."""
        return self.name("h")

    @property
    def parameters(self) -> Table:
        """Name -> dimensions; a matrix that holds several of the cell's has its name once."""

        def dims(name: str) -> tuple[str, ...]:
            printed = self.prints.get(name[0])
            return printed.dims(self.units, self.below) if printed else shape_of(name, self.units, self.below)

        return {self.name(name): dims(name) for name in self.cell.parameters}

    @property
    def states(self) -> Table:
        return {self.name(name): (self.units,) for name in self.cell.states}

    def forward(self, p: Named, s: Named, cells: Cells, t: int, before: int, x: Array) -> None:
        """[C(t), h(t)] = cell(C(before), h(before), x), with the states of this layer in s."""
        previous = [s[self.name(state)][before] for state in self.cell.states]
        cell = cells[t, self.mark] = self.cell.step_forward(self.own(p), x, *previous)
        if self.masked:
            cell.m = s.m[t]
        for state in self.cell.states:
            h = cell[state]
            s[self.name(state)][t] = cell.m * h + (1 - cell.m) * cell[f"{state}_prev"] if self.masked else h

    def backward(self, p: Named, cells: Cells, d: Named, t: int, before: int, d_x: Array) -> None:
        """Hand on what came to the states at t: to the states at `before`, to d_x and to the parameters, each in its own memory."""
        kept, cell = cells[t, self.mark], self.own(d)
        for state in self.cell.states:
            d_h = d[self.name(state)][t]
            d_h_prev = cell[f"{state}_prev"] = d[self.name(state)][before]
            if self.masked:
                # invert m h' + (1 - m) h_prev
                d.m[t] += (d_h * (kept[state] - kept[f"{state}_prev"])).sum(axis=0)
                d_h_prev += (1 - kept.m) * d_h
                d_h = kept.m * d_h
            cell[state] = d_h
        cell.x = d_x
        self.cell.step_backward(self.own(p), kept, cell)

    def own(self, values: Named) -> Named:
        """The parameters of this layer, or their gradients, by the names of the cell; the same memory."""

        def part(name: str) -> Array:
            array = values[self.name(name)]
            return self.prints[name[0]].view(array) if name[0] in self.prints else array

        return Named({name: part(name) for name in self.cell.parameters})


def parameters_of(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """The table of the parameters of layers."""
    return {name: dims for layer in layers for name, dims in layer.parameters.items()}


def states_of(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """The table of the states of layers."""
    return {name: dims for layer in layers for name, dims in layer.states.items()}


def inputs_of(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """The table of the inputs of layers that read x, with a number m at each step where they have a mask."""
    return {"x": ("D",)} | ({"m": ()} if any(layer.masked for layer in layers) else {})
