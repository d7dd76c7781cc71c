"""A layer of a network: a cell that runs along the steps, one way or the other, over what the layer below gives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .named import Array, Named
from .network import Cells
from .refusals import shape_of
from .tables import Table
from .through_time import Case


@dataclass(frozen=True)
class Layer:
    """A cell by the names that it has in a network.

    mark: what stands behind all its names, `_right_2`. names: the cell's names -> the network's, where they differ. below: the dimension
    of what it reads. units: the dimension of its states.
    """

    cell: Case
    mark: str
    below: str
    units: str
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, name: str) -> str:
        return self.names.get(name, name) + self.mark

    @property
    def h(self) -> str:
        """The network's name of what the layer above reads."""
        return self.name("h")

    @property
    def parameters(self) -> Table:
        return {self.name(name): shape_of(name, self.units, self.below) for name in self.cell.parameters}

    @property
    def states(self) -> Table:
        return {self.name(name): (self.units,) for name in self.cell.states}

    def forward(self, p: Named, s: Named, cells: Cells, t: int, before: int, x: Array) -> None:
        """[C(t), h(t)] = cell(C(before), h(before), x), with the states of this layer in s."""
        previous = [s[self.name(state)][before] for state in self.cell.states]
        cell = cells[t, self.mark] = self.cell.step_forward(self.own(p), x, *previous)
        for state in self.cell.states:
            s[self.name(state)][t] = cell[state]

    def backward(self, p: Named, cells: Cells, d: Named, t: int, before: int, d_x: Array) -> None:
        """Hand on what came to the states at t: to the states at `before`, to d_x and to the parameters, each in its own memory."""
        cell = self.own(d)
        for state in self.cell.states:
            cell[state] = d[self.name(state)][t]
            cell[f"{state}_prev"] = d[self.name(state)][before]
        cell.x = d_x
        self.cell.step_backward(self.own(p), cells[t, self.mark], cell)

    def own(self, values: Named) -> Named:
        """The parameters of this layer, or their gradients, by the names of the cell; the same arrays."""
        return Named({name: values[self.name(name)] for name in self.cell.parameters})


def parameters_of(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """The table of the parameters of layers."""
    return {name: dims for layer in layers for name, dims in layer.parameters.items()}


def states_of(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """The table of the states of layers."""
    return {name: dims for layer in layers for name, dims in layer.states.items()}
