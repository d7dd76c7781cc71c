"""Where the values of a program lie in the fast policy's kernel, as operands: arrays over steps, buffers of one step, rows of either."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy as sp

from derive.blocks import Rows
from derive.language import Value
from derive.procedures.memory import Memory, at_most
from derive.procedures.names import Names
from derive.procedures.procedure import ALL, BUFFERS, PIECE, Array, At, Call, Cut, Entry, Index, Operand, View, part
from derive.procedures.shaping import sizes, turned_over
from derive.program import Program
from derive.shapes import STEPS

WHOLE = STEPS
MANY = 24
"""An array of more parts than this is called by the last value that it is all of."""


@dataclass(frozen=True)
class Key:
    """Rows of the memory of one value, the root."""

    root: Value
    start: sp.Expr
    rows: sp.Expr

    @property
    def is_whole(self) -> bool:
        return bool(self.start == 0 and self.rows == self.root.shape[0])


class Places:
    """The arrays of one function, or of a part of one behind another.

    length: the axis of arrays over steps that aren't only the loop's: all steps, or those of one block. shifted: what somebody outside
    reads at an earlier step.
    """

    against = False
    """Whether the steps here are those of the caller in reversed order."""

    def __init__(
        self,
        program: Program,
        names: Names,
        keep: Iterable[Value],
        length: str,
        shifted: Iterable[Value] = (),
        behind: Places | None = None,
    ) -> None:
        self.program, self.names, self.length = program, names, length
        self.plan = Memory(program, keep, shifted)
        self.buffers: dict[str, Array] = behind.buffers if behind else {}
        self.labels = self.last_names()
        self.array_names: dict[Value, str] = {}
        self.parts: dict[str, int] = {}
        self.free: dict[tuple[object, ...], list[Entry]] = behind.free if behind else {}
        self.busy: list[Entry] = []

    # ---- names

    def last_names(self) -> dict[Key, str]:
        """The name of each range of rows: that of the last value that lies exactly there."""
        return {self.key(value): self.names.of(value) for value in self.plan.homes}

    def key(self, node: sp.MatrixExpr) -> Key:
        base, first = base_of(node)
        root, start = self.plan.find(base)
        return Key(root, sp.expand(start + first), node.shape[0])

    def name_of(self, key: Key) -> str:
        """The name of a range of rows at one step."""
        if key not in self.labels:
            stem = self.array_name(key.root).removesuffix("_all")
            number = self.parts[stem] = self.parts.get(stem, 0) + 1
            self.labels[key] = self.names.new(f"{stem}_part" if number == 1 else f"{stem}_part_{number}")
        return self.labels[key]

    def array_name(self, root: Value) -> str:
        """The name of the array of a root: what it holds in the end."""
        if root not in self.array_names:
            self.array_names[root] = self.held_name(root)
        return self.array_names[root]

    def held_name(self, root: Value) -> str:
        last = self.last_held(root)
        if len(last) == 1:
            return self.names.of(last[0])
        joined = "_".join(self.names.of(value) for value in last)
        return self.names.made(joined if len(joined) <= 24 else f"{self.names.of(root)}_parts")

    def last_held(self, root: Value) -> list[Value]:
        """The values that lie in an array when all is computed, row by row."""
        members = sorted(self.plan.members[root], key=lambda value: self.plan.position[value])
        if len(members) > MANY:
            return [next((value for value in reversed(members) if value.shape == root.shape), root)]
        held: list[Value] = []
        for value in members:
            span = self.plan.span(value)
            if all(is_in(self.plan.span(other), span) or apart(self.plan.span(other), span) for other in held):
                held = [other for other in held if apart(self.plan.span(other), span)] + [value]
        whole = sum(value.shape[0] for value in held)
        if sp.expand(whole - root.shape[0]) != 0:
            return [root]
        return sorted(held, key=lambda value: order_of(self.plan.span(value)[0]))

    # ---- arrays

    def blocks_of(self, key: Key) -> int:
        """How many vectors, one behind the other, a range of rows is; 1 where it lies in rows."""
        size = self.plan.sizes.get(key.root)
        return 1 if size is None else int(sp.cancel(key.rows / size))

    def layout(self, root: Value) -> tuple[tuple[str, ...], tuple[sp.Expr, ...]]:
        """(axes, sizes) of a value at one step."""
        size = self.plan.sizes.get(root)
        axes = tuple(axis for axis in root.axes if axis != STEPS)
        return (axes, sizes(root)) if size is None else ((str(sp.cancel(root.shape[0] / size)), *axes), (size,))

    def is_passing(self, root: Value) -> bool:
        """Whether an array holds the steps of one block only."""
        return self.length == PIECE or root in self.plan.passing

    def sequence(self, root: Value) -> Entry:
        """The array of a root over its steps."""
        axes, dims = self.layout(root)
        front = 1 if root in self.plan.states else 0
        length = PIECE if self.is_passing(root) else WHOLE
        return self.allocated(self.over_time(self.array_name(root)), (length, *axes), dims, front)

    def over_time(self, name: str) -> str:
        """The name of an array over steps: by the order in which they lie."""
        return self.names.made(f"{name}_reversed") if self.against else f"{name}_all"

    def buffer(self, root: Value) -> Entry:
        """The memory of a root at one step."""
        axes, dims = self.layout(root)
        return self.allocated(self.array_name(root), axes, dims)

    def allocated(self, name: str, axes: tuple[str, ...], dims: tuple[sp.Expr, ...], front: int = 0) -> Entry:
        """An array that is made once."""
        self.buffers[name] = Array(name, axes, dims, front)
        seen = (STEPS, *axes[1:]) if axes and axes[0] == PIECE else axes
        return Entry(BUFFERS, name, seen, dims, front)

    def seen(self, operand: Operand) -> Operand:
        """An array over steps as the caller sees it, the first step in front."""
        return turned_over(operand) if self.against else operand

    def rows_of(self, operand: Operand, key: Key) -> Operand:
        """A range of rows of an array of its root."""
        if key.is_whole:
            return operand
        size = self.plan.sizes.get(key.root)
        lead: list[Index] = [ALL] * len(operand.axes)
        if size is None:
            return part(operand, (*lead, of_rows(key.start, key.rows, key.root.shape[0]), *[ALL] * (len(operand.dims) - 1)))
        first, many = sp.cancel(key.start / size), sp.cancel(key.rows / size)
        lead[-2] = At(first) if many == 1 else Cut(first or None, None if first + many == int(operand.axes[-2]) else first + many)
        return part(operand, (*lead, ALL))

    def cut(self, operand: Operand, node: sp.MatrixExpr) -> Operand:
        """The rows of an operand that a node reads."""
        value, start = base_of(node)
        if node == value:
            return operand
        index = of_rows(start, node.shape[0], value.shape[0])
        return View(operand, (*[ALL] * len(operand.axes), index, *[ALL] * (len(operand.dims) - 1)))

    def split(self, operand: Operand, node: sp.MatrixExpr, by: int) -> Operand:
        """An array of one step, rows of one piece, seen block by block."""
        return in_blocks(operand, by, node.shape[0]) if by else operand

    # ---- memory for parts of an equation

    def borrow(self, axes: tuple[str, ...], dims: tuple[sp.Expr, ...]) -> Entry:
        """A buffer, until `release`."""
        pool = self.free.setdefault((axes, dims), [])
        entry = pool.pop() if pool else self.allocated(self.names.made(f"buffer_{self.borrowed() + 1}"), axes, dims)
        self.busy.append(entry)
        return entry

    def borrowed(self) -> int:
        return len(self.busy) + sum(map(len, self.free.values()))

    def release(self) -> None:
        for entry in self.busy:
            axes = self.buffers[entry.name].axes
            self.free.setdefault((axes, entry.dims), []).append(entry)
        self.busy.clear()


def base_of(node: sp.MatrixExpr) -> tuple[Value, sp.Expr]:
    """(the value that a node is rows of, the first of them)."""
    return (node.args[0], node.args[1]) if isinstance(node, Rows) else (node, sp.S.Zero)


def of_rows(start: sp.Expr, rows: sp.Expr, whole: sp.Expr) -> Index:
    """The index of some rows; one row is a number."""
    stop = sp.expand(start + rows)
    return At(start) if rows == 1 else Cut(None if start == 0 else start, None if stop == whole else stop)


def in_blocks(operand: Operand, blocks: int, rows: sp.Expr) -> Operand:
    """An array of rows seen as so many vectors one behind the other."""
    size = sp.cancel(rows / blocks)
    lead = operand.axes
    if not lead:
        return Call("reshape", (operand,), (str(blocks), ""), (size,))
    apart_ = Call("reshape", (operand,), (*lead, str(blocks)), (size,))
    order = (*range(len(lead) - 1), len(lead), len(lead) - 1, len(lead) + 1)
    return Call("move", (apart_,), (*lead[:-1], str(blocks), lead[-1]), (size,), (("order", order),))


Span = tuple[sp.Expr, sp.Expr]


def order_of(size: sp.Expr) -> float:
    """Dimensions in an order: by their value with every symbol one."""
    return float(size.subs(dict.fromkeys(size.free_symbols, 1)))


def is_in(inner: Span, outer: Span) -> bool:
    """Whether rows lie within others, for any sizes."""
    return at_most(outer[0], inner[0]) and at_most(inner[1], outer[1])


def apart(first: Span, second: Span) -> bool:
    """Whether two ranges of rows share none, for any sizes."""
    return at_most(first[1], second[0]) or at_most(second[1], first[0])
