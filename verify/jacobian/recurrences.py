"""One recurrence of a network as a cell of its own: what it reads of other recurrences is data, made by the network's forward pass.

A recurrence is a set of equations that need each other across a step (a strongly connected component of what reads what). As a cell
it runs along T from the first step to the last: one from the last step to the first is written with t-1 for t+1 over turned arrays, one
along another axis with T for that axis. Its products are the same, counted along its own walk.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sympy as sp

from derive.along import CONSTRUCTORS, AlongAxis, Steps, axes_of, binds
from derive.cell import Cell
from derive.derivation import Derivation, derive
from derive.equation import Equation, Term
from derive.expressions import rebuild, values_in
from derive.fresh import Fresh
from derive.language import Eq, Value
from derive.onehot import OneHot
from derive.schedule import LOOPS, Stage, stages
from derive.shapes import EXAMPLES, STEPS, STEPS_AND_EXAMPLES, in_order, letter_of
from verify.jacobian.run import RunError


def recurrences_of(cell: Cell) -> list[Stage]:
    """The recurrences of a cell, each behind those that it reads."""
    equations = [Equation(target, (Term(right),)) for target, right in cell.equations]
    return [stage for stage in stages(equations, fused=False, starts=cell.starts) if stage.way in LOOPS]


def is_whole(cell: Cell) -> bool:
    """Whether all states are analysed together: they are all that one step hands to the next, from the first step to the last."""
    return cell.is_chain and not any(counted(right) for _, right in cell.equations)


def counted(right: Any) -> bool:
    """Whether an expression reads how many steps there are."""
    return isinstance(right, Steps) or any(counted(part) for part in right.operands)


def chosen(cell: Cell, name: str | None) -> Stage:
    """The recurrence that carries a state; the only one where no state is named. Raises RunError with the names there are."""
    found = recurrences_of(cell)
    by_name = {str(value.name): stage for stage in found for value in carried_by(cell, stage)}
    said = f"one of {', '.join(by_name)}" if len(by_name) > 1 else "".join(by_name)
    if name is None:
        if len(found) == 1:
            return found[0]
        if not found:
            raise RunError(
                f"jacobian: {cell.name}: the cell has no states, so there is no Jacobian product: expected a recurrence, got none. "
                "Take a recurrent cell, or ask for the gradient of an output with --with-respect-to."
            )
        raise RunError(
            f"jacobian: {cell.name}: {len(found)} recurrences that don't step together: expected one of them, got all. Name a state of "
            f"it: --of with {said}."
        )
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        is_there = any(str(value.name) == name for value in (*cell.targets, *cell.reads))
        fault = f"{name} carries no recurrence" if is_there else f"unknown state {name or '``'}"
        raise RunError(
            f"jacobian: {cell.name}: --of {name}: {fault}: expected {said or 'a state, and there is none'}.{hint} "
            "For the gradient of an output add --with-respect-to."
        )
    return by_name[name]


def carried_by(cell: Cell, stage: Stage) -> list[Value]:
    """The states of a recurrence, in the order of the cell."""
    inside = {equation.target for equation in stage.equations}
    return [value.like(lag=0) for value in cell.carried if value.like(lag=0) in inside]


@dataclass(frozen=True)
class Part:
    """A recurrence of a network as a cell.

    network: the cell that it is of, with outputs for all that the part takes of it. cell: its own. data: what each of its inputs is in
    the network: a value there, perhaps of a neighbouring step, `Steps`, how many there are, or a size, zeros that only tell it. axis,
    leftward: how it runs in the network. carried: its states there.
    """

    network: Cell
    cell: Cell
    data: dict[Value, Any]
    axis: str
    leftward: bool
    carried: tuple[Value, ...]

    @cached_property
    def derivation(self) -> Derivation:
        return derive(self.cell)

    @property
    def idle(self) -> frozenset[str]:
        """The inputs that only tell a size."""
        return frozenset(str(own.name) for own, source in self.data.items() if not isinstance(source, (Value, Steps)))

    @property
    def taken(self) -> list[str]:
        """The names of what other equations of the network compute."""
        defined = set(self.network.targets)
        found = [value for value in self.data.values() if isinstance(value, Value) and value.like(lag=0) in defined]
        return list(dict.fromkeys(str(value.name) for value in found))

    def says(self) -> str:
        turned = f"from the last step to the first, so that step 1 of its walk is {letter_of(self.axis)} = {self.axis}"
        way = turned if self.leftward else "from the first step to the last"
        data = f" As data, computed by the forward pass: {', '.join(self.taken)}." if self.taken else ""
        return f"One recurrence of {self.network.name}, along {self.axis} {way}.{data}"

    def record(self) -> dict[str, Any]:
        return {
            "network": self.network.name,
            "states": [str(state.name) for state in self.cell.states],
            "axis": self.axis,
            "direction": "last to first" if self.leftward else "first to last",
            "data": self.taken,
        }


def part_of(cell: Cell, stage: Stage) -> Part:
    """A recurrence as a cell. Equations that it reads stay equations where they need no other recurrence and no other step."""
    turning = Turning(cell, stage)
    equations = turning.equations()
    data = turning.data
    given = {str(value.name) for value in data.values() if isinstance(value, Value)} | {
        str(start.name) for _, start in cell.starts
    }
    shown = {str(target.name) for target in cell.targets if str(target.name) in given and target.timed}
    network = replace(cell, shown=cell.shown | shown) if shown - outputs_of(cell) else cell
    names = "_".join(str(value.name) for value in carried_by(cell, stage)[:1])
    own = Cell.from_equations(f"{names} of {cell.name}", cell.command, equations)
    return Part(network, replace(own, words=cell.words), data, stage.axis, stage.way == LOOPS[1], tuple(carried_by(cell, stage)))


def outputs_of(cell: Cell) -> set[str]:
    """What its kernel gives."""
    return {str(value.name) for value in (*cell.states, *cell.outputs)}


class Turning:
    """The equations of a recurrence with everything else as data: along T, read at t-1."""

    def __init__(self, cell: Cell, stage: Stage) -> None:
        self.cell, self.stage = cell, stage
        self.defined = dict(cell.equations)
        self.own = {equation.target for equation in stage.equations}
        self.recurrent = {equation.target for one in recurrences_of(cell) for equation in one.equations}
        self.fresh = Fresh(str(value.name) for value in (*cell.targets, *cell.reads))
        self.data: dict[Value, Any] = {}
        self.named: dict[Any, Value] = {}
        self.kept: dict[Value, None] = dict.fromkeys(equation.target for equation in stage.equations)

    def equations(self) -> list[sp.Equality]:
        done: dict[Value, sp.Equality] = {}
        while waiting := [target for target in self.kept if target not in done]:
            for target in waiting:
                done[target] = Eq(self.value(target), self.expression(self.defined[target]))
        found = [done[target] for target in self.cell.targets if target in done]
        return [*found, *[self.telling(size) for size in self.untold(found)]]

    def untold(self, equations: Sequence[sp.Equality]) -> list[Any]:
        """The sizes that no parameter and no input of the equations tells: steps, as a number of each, and parts of stacked dimensions."""
        reads = [value for equation in equations for value in values_in(equation.rhs)]
        dims = dict.fromkeys(size for value in reads for size in value.shape)
        told = {size for value in reads if value in self.data or not value.timed for size in value.shape}
        symbols = sorted({symbol for size in dims for symbol in size.free_symbols} - told, key=str)
        return [sp.S.One] * (not any(STEPS in value.axes for value in self.data)) + symbols

    def telling(self, size: Any) -> sp.Equality:
        """An equation that nothing reads, over an input of zeros of that size."""
        name = self.fresh.name(f"sized_{size}")
        self.data[Value(name, size)] = size
        return Eq(Value(self.fresh.name(f"of_{name}"), size), Value(name, size))

    def expression(self, node: Any) -> Any:
        match node:
            case Value():
                return self.read(node)
            case OneHot():
                return OneHot(self.read(node.token), node.shape[0])
            case Steps() if node.axis == self.stage.axis:
                return self.given(node, "steps")
            case Steps():
                return Steps(self.swapped(node.axis))
            case AlongAxis():
                ends = [one.name for one in node.args[2:]]
                return CONSTRUCTORS[type(node)](self.expression(node.args[0]), self.swapped(node.axis), *ends)
        return rebuild(node, [self.expression(part) for part in node.operands]) if node.operands else node

    def read(self, value: Value) -> Value:
        """What a value that an equation reads is in the cell."""
        target = value.like(lag=0)
        if target in self.own:
            return self.value(value)
        if value.lag:
            return self.given(value, f"{value.name}_{'prev' if value.lag < 0 else 'next'}")
        if target in self.defined and not value.timed and counted(self.defined[target]):
            raise RunError(
                f"jacobian: {self.cell.name}: {value.name}: a parameter made of how many steps there are: expected it of parameters alone. "
                "Write it where it is read."
            )
        if target in self.defined and (not value.timed or self.is_own_business(target)):
            self.kept[target] = None
            return self.value(value)
        return self.given(value) if value.timed else value

    def is_own_business(self, target: Value) -> bool:
        """Whether an equation needs no other recurrence, and nothing of other steps, so that it may stay one."""
        right = self.defined[target]
        return target.along == (self.stage.axis,) == axes_along(right) and target not in self.recurrent and not binds(right)

    def given(self, source: Any, name: str = "") -> Value:
        """The input of the cell that is a value of the network; name: empty where it keeps its own."""
        if source not in self.named:
            axes = self.axes_of(source) if isinstance(source, Value) else STEPS_AND_EXAMPLES
            rows, cols = source.shape
            self.named[source] = Value(self.fresh.name(name) if name else source.name, rows, cols, axes)
            self.data[self.named[source]] = source
        return self.named[source]

    def value(self, value: Value) -> Value:
        """A value of the recurrence itself."""
        lag = -value.lag if self.stage.way == LOOPS[1] else value.lag
        return value.like(axes=self.axes_of(value), lag=lag) if value.timed else value

    def axes_of(self, value: Value) -> tuple[str, ...]:
        """Its axes; what there is one of for each example is the same at each step."""
        return in_order([*map(self.swapped, value.along or (self.stage.axis,)), EXAMPLES])

    def swapped(self, axis: str) -> str:
        return {self.stage.axis: STEPS, STEPS: self.stage.axis}.get(axis, axis)


def axes_along(right: Any) -> tuple[str, ...]:
    """The axes of steps of an expression."""
    return tuple(axis for axis in axes_of(right) if axis != EXAMPLES)
