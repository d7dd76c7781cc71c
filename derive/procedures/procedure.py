"""Procedures: what a kernel does, as arrays, calls and loops. A policy builds them from programs, a target prints them.

**Shapes.** Whatever can stand in an argument has `axes` and `dims`, and its shape is the one followed by the other. `axes` are the
axes along which the value varies, in the one order of the file (`("T", "B")`, inside the loop over steps `("B",)`, of a parameter
`()`), and a number as its axis ("4") where so many vectors lie one behind the other; `dims` are the sizes for one example at one step:
`()` of a number, `(n,)` of a vector, a row too, `(n, m)` of a matrix. A size is a SymPy expression in the dimensions, and 1 means *one
element that counts for all* (no dimension of a cell is 1); so does the axis `EACH`. Operands of an elementwise call are broadcast
like NumPy's, from the right, and the lowering sees to it that they can be.

**Operands.** An `Array` is a name. A `View` is a part of an array, with one `Index` for each axis and size of it, and `NEW` where a
size of 1 is added. A `Number` is a SymPy number, which may hold dimensions (`1/H`). An `Entry` is an array of one of the caller's
mappings. A `Call` is an operation of `OPERATIONS` on arguments, which may be calls again; as an argument it has no `out`.

**Statements.** `Assign` gives a name to a value or writes it into a view, `Add` adds to what is there, `Do` is a call that writes into
its `out`: the textbook's policy makes the first two, the fast one the third, with one operation each. A `Loop` binds its `reads`, views
at the position `index`, at the start of each step, and takes step by step what it walks along. Its `invariant` statements are done once,
in front. `Blocks` runs its body over pieces of an axis, between the positions `start` and `stop`, `count` of them.
Positions are SymPy expressions in `Position`s, the variables of the loops, and in sizes.

A `Procedure` is a function of the kernel: its statements, and what it returns. `buffers` are arrays that are made once, before the
first statement or in a workspace; other arrays are made where they are assigned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derive.errors import DeriveError

BUFFERS = "m"
"""The holder of the arrays that are made once."""
PIECE = "block"
"""The axis of the steps of one block, of an array that is made once and used for each."""

EACH = ""
"""The name of an axis with one element that counts for all."""

OPERATIONS: dict[str, str] = {
    # elementwise
    "add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "negative": "-a", "power": "a ** number",
    "function": "an elementwise function by its SymPy class: `function`",
    "maximum": "a where a >= b, else b", "minimum": "a where a <= b, else b",
    "at_least": "1 where a >= b, else 0", "above": "1 where a > b, else 0",
    # products over the last dimensions; a vector (k,) on the left is a row, on the right a column
    "matmul": "a @ b, of matrices and vectors, broadcast over the axes",
    "dot": "a @ b of two arrays with two places each, in one piece of memory",
    "contract": "the sum over `over`, (places in a, places in b), of the products of all other elements, those of a in front",
    # within the last dimensions
    "inner": "the sum over all axes of the elementwise product of two vectors",
    "sum": "the sum over `over`, places of axes from the front, of sizes from the end, as NumPy counts; with `keep` they stay as 1",
    "largest": "the largest element along the last size", "first_largest": "1 at the first of them, else 0",
    "logsumexp": "log(sum(exp)) along the last size", "softmax": "exp / sum(exp) along the last size",
    "largest_along": "the largest along the place `along` of an axis", "first_largest_along": "1 at the first of them, else 0",
    "end_of": "the position `at`, 0 or -1, of the first axis; zeros where it has none",
    "placed": "a at the position `at` of so many, else 0",
    "softmax_along": "exp / sum(exp) along the place `along` of an axis",
    "cumulative": "running sums along the place `along`; with `backwards` from the end",
    "log_softmax": "log(exp / sum(exp)) along the last size", "log_softmax_at": "element w of it, (z, w): no array as large as z",
    # by tokens, whole numbers w
    "take": "rows of a matrix, elements of a vector that are the same for all, (a, w): a[w]",
    "pick": "element w along the last size, (a, w), w with sizes of 1", "by_token": "vectors summed over all axes by token, (a, w)",
    "one_hot": "a number at element w, 0 elsewhere, (w, number)", "add_at": "numbers added at element w, (a, w, number), where a lies",
    "scale": "(a, number): a times a number of each vector, where a lies",
    # arrangement
    "transpose": "the last two sizes exchanged: a view", "reshape": "the same elements in another shape: a view",
    "concatenate": "one behind the other along the place `along`", "broadcast": "the same element many times: a view",
    "copy": "memory of its own", "move": "the axes in another order, `order`: a view", "reversed": "the last step first: a view",
    # new arrays
    "empty": "memory as it comes, with `more` positions along the first axis", "zeros": "zeros, likewise",
    "full": "one number everywhere", "eye": "the identity", "array": "a number as an array without axes",
}  # fmt: skip
"""Every operation that a call may name, and what it is. A target has one entry for each."""

COMPARING = ("maximum", "minimum", "at_least", "above")
"""Elementwise operations that hold two operands against each other, by the real part; nan on either side gives nan."""

VIEWS = frozenset({"transpose", "reshape", "move", "reversed"})
"""Operations whose result is the memory of their argument, each element once."""


class ProcedureError(DeriveError):
    """Operands that don't fit together: a fault of a policy or of the lowering, never of a cell."""


class Position(sp.Symbol):  # type: ignore[misc]
    """A variable of a loop, by its name in the text: a dimension of a cell may have the same one."""


# ---- operands


@dataclass(frozen=True)
class Cut:
    """start <= position < stop along one axis or size; None is the end of it, a negative number counts from there."""

    start: sp.Expr | int | None = None
    stop: sp.Expr | int | None = None


@dataclass(frozen=True)
class At:
    """One position along an axis or size, which is gone afterwards."""

    position: sp.Expr


@dataclass(frozen=True)
class New:
    """One more size of one element; one more axis with `axis`."""

    axis: bool = False


Index = Cut | At | New
ALL, NEW, NEW_AXIS = Cut(), New(), New(axis=True)


@dataclass(frozen=True)
class Array:
    """A named array. front, behind: how many positions it has along its first axis before the first step and after the last one, as
    a state has its initial value in front."""

    name: str
    axes: tuple[str, ...] = ()
    dims: tuple[sp.Expr, ...] = ()
    front: int = 0
    behind: int = 0


@dataclass(frozen=True)
class Number:
    """A number, or an expression in dimensions."""

    value: sp.Expr
    axes: tuple[str, ...] = ()
    dims: tuple[sp.Expr, ...] = ()


@dataclass(frozen=True)
class Entry:
    """An array that another object holds, by its name there: of a mapping of the caller's (`parameters["W"]`), or of the tape."""

    holder: str
    name: str
    axes: tuple[str, ...] = ()
    dims: tuple[sp.Expr, ...] = ()
    front: int = 0
    behind: int = 0


@dataclass(frozen=True)
class View:
    """A part of an operand: one index for each of its axes and sizes, `NEW` between them."""

    of: Operand
    index: tuple[Index, ...]

    @property
    def left(self) -> tuple[list[str], list[sp.Expr]]:
        """(axes, sizes) of the part."""
        sources = iter([*[(axis, True) for axis in self.of.axes], *[(size, False) for size in self.of.dims]])
        axes: list[str] = []
        dims: list[sp.Expr] = []
        for one in self.index:
            if isinstance(one, New):
                (axes if one.axis else dims).append(EACH if one.axis else sp.S.One)
                continue
            source, is_axis = next(sources)
            if not isinstance(one, At):
                (axes if is_axis else dims).append(cut_axis(one, source) if is_axis else cut_size(one, source))
        return axes, dims

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self.left[0])

    @property
    def dims(self) -> tuple[sp.Expr, ...]:
        return tuple(self.left[1])


@dataclass(frozen=True)
class Call:
    """An operation on arguments; `options` are what its line in `OPERATIONS` names beside them. out: where the result is
    written, an array, a part of one, or one seen in another shape."""

    operation: str
    arguments: tuple[Operand, ...]
    axes: tuple[str, ...] = ()
    dims: tuple[sp.Expr, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    out: Operand | None = None

    def option(self, name: str) -> Any:
        return dict(self.options).get(name)

    def into(self, out: Operand) -> Call:
        """The same call, its result written into memory that is there."""
        return replace(self, out=out)


Operand = Array | Number | Entry | View | Call


def part(of: Operand, index: tuple[Index, ...]) -> Operand:
    """A part of an operand; of a part that has all its axes and sizes still, a part of the whole where that is the same."""
    if all(one == ALL for one in index):
        return of
    cuts = isinstance(of, View) and all(isinstance(one, Cut) for one in of.index) and not any(map(is_new, index))
    if isinstance(of, View) and cuts and all(ALL in pair for pair in zip(of.index, index, strict=True)):
        return View(of.of, tuple(new if old == ALL else old for old, new in zip(of.index, index, strict=True)))
    return View(of, index)


def is_new(index: Index) -> bool:
    """Whether an index adds a size or an axis."""
    return isinstance(index, New)


def cut_size(index: Index, size: sp.Expr) -> sp.Expr:
    """How many elements of a size an index leaves."""
    if not isinstance(index, Cut) or index == ALL:
        return size
    start, stop = (sp.sympify(end) for end in (index.start or 0, size if index.stop is None else index.stop))
    ends = [end + size if end.is_negative else end for end in (start, stop)]
    return sp.expand(ends[1] - ends[0])


def cut_axis(index: Index, axis: str) -> str:
    """What an index leaves of an axis: of so many vectors fewer, of steps those at hand."""
    return str(cut_size(index, sp.Integer(axis))) if axis.isdigit() else axis


def shape(operand: Operand) -> tuple[Any, ...]:
    """Axes, then sizes."""
    return (*operand.axes, *operand.dims)


def is_fresh(operand: Operand) -> bool:
    """Whether a value has memory of its own once it is computed: no array, nor a view of one."""
    if isinstance(operand, Call) and operand.operation in VIEWS:
        return is_fresh(operand.arguments[0])
    return isinstance(operand, Call) and operand.operation != "broadcast"


# ---- statements


@dataclass(frozen=True)
class Comment:
    """A formula or a sentence in front of the statements that compute it."""

    text: str


@dataclass(frozen=True)
class Assign:
    """targets = value: an array is a name that is new or bound anew, a view is written in place."""

    targets: tuple[Array | View, ...]
    value: Operand


@dataclass(frozen=True)
class Add:
    """target += value, in place."""

    target: Array | Entry | View
    value: Operand


@dataclass(frozen=True)
class Do:
    """A call that writes into its `out`."""

    call: Call


@dataclass(frozen=True)
class Walk:
    """Views at each step, made once together with the buffers: (the array of a step, the sequence that it is of).

    length: the axis of those sequences, all steps or the `PIECE` of one block.
    """

    name: str
    views: tuple[tuple[Array, Operand], ...]
    length: str


@dataclass(frozen=True)
class Loop:
    """A body for each step, first to last or, `backwards`, last to first.

    walks: views that are there for every step, and which of the steps the loop takes. along: sequences that it takes step by step.
    """

    index: Position
    axis: str
    body: tuple[Statement, ...]
    reads: tuple[tuple[Array, View], ...] = ()
    invariant: tuple[Statement, ...] = ()
    backwards: bool = False
    start: Position | None = None
    stop: Position | None = None
    walks: tuple[tuple[Walk, Cut], ...] = ()
    along: tuple[tuple[Array, Operand], ...] = ()


@dataclass(frozen=True)
class Blocks:
    """A body for each piece of an axis, start <= step < stop, `count` steps of it, as many as `size` says."""

    axis: str
    size: str
    start: Position
    stop: Position
    count: Position
    body: tuple[Statement, ...]
    backwards: bool = False


Statement = Comment | Assign | Add | Do | Loop | Blocks


@dataclass(frozen=True)
class Procedure:
    """One function of a kernel.

    results: what it returns, as mappings by name, in the order of the caller's tables; what a target makes of them is its own matter
    (`outputs`; `parameters`, `inputs` and `state` of gradients; `tape`). buffers: arrays that are made once and kept, an entry of
    `BUFFERS` where they are read. is_blockwise: whether it runs over blocks of steps. lengths: of axes that no array of the caller's has.
    """

    name: str
    statements: tuple[Statement, ...]
    results: tuple[tuple[str, tuple[tuple[str, Operand], ...]], ...]
    buffers: tuple[Array, ...] = ()
    is_blockwise: bool = False
    lengths: tuple[tuple[str, sp.Expr], ...] = ()


# ---- looking at procedures


def parts_of(operand: Operand) -> Iterator[Operand]:
    """An operand and all that it is made of."""
    yield operand
    inner: Sequence[Operand] = ()
    if isinstance(operand, View):
        inner = [operand.of]
    elif isinstance(operand, Call):
        inner = [*operand.arguments, *([operand.out] if operand.out else [])]
    for part in inner:
        yield from parts_of(part)


def operands_of(statement: Statement) -> Iterator[Operand]:
    """The operands that stand in a statement, targets included, those of its body too."""
    match statement:
        case Assign():
            yield from (*statement.targets, statement.value)
        case Add():
            yield from (statement.target, statement.value)
        case Do():
            yield statement.call
        case Loop():
            yield from (one for pair in (*statement.reads, *statement.along) for one in pair)
            yield from (one for walk, _ in statement.walks for pair in walk.views for one in pair)
            for inner in (*statement.invariant, *statement.body):
                yield from operands_of(inner)
        case Blocks():
            for inner in statement.body:
                yield from operands_of(inner)


def walks_of(statements: Sequence[Statement]) -> Iterator[Walk]:
    """The views at each step that the loops take."""
    for statement in statements:
        if isinstance(statement, Loop):
            yield from (walk for walk, _ in statement.walks)
        if isinstance(statement, Loop | Blocks):
            yield from walks_of(statement.body)


def everything_in(procedure: Procedure) -> Iterator[Operand]:
    """Every operand of a procedure, and every part of one."""
    for statement in procedure.statements:
        for operand in operands_of(statement):
            yield from parts_of(operand)
    for _, table in procedure.results:
        for _, operand in table:
            yield from parts_of(operand)
