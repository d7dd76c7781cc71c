"""Expressions as operands: one function for each node of the language, in `LOWERING`.

A vector, a column or a row, has one size and a matrix two, whatever stands in front of them. What is the same in every row, in every
column or in every element may have the size 1 there; `filled` makes it whole. The axes of an operand are those along which it
varies, in the file's order; `alike` brings operands of different axes and ranks into line where NumPy's broadcasting would not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.expressions import axes_of
from derive.language import (
    Apply,
    Diagonal,
    Hadamard,
    Identity,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    Zeros,
    coefficient,
)
from derive.procedures.procedure import (
    ALL,
    EACH,
    NEW,
    NEW_AXIS,
    At,
    Call,
    Cut,
    Index,
    Number,
    Operand,
    ProcedureError,
    View,
)
from derive.procedures.scalars import scalar_function
from derive.reductions import Cumulative, FirstLargest, Largest, LogSumExp, Softmax, Total
from derive.shapes import STEPS_AND_EXAMPLES

ORDER = ("S", *STEPS_AND_EXAMPLES)
"""The order of the axes in every array of a file; `S` are the seeds of step Jacobians."""

Dims = tuple[sp.Expr, ...]


class Lowering:
    """Brings expressions into operands. read: where a value lies. looped: axes that a loop runs over, so that arrays don't have them."""

    def __init__(self, read: Callable[[Value], Operand], looped: tuple[str, ...] = ()) -> None:
        self.read, self.looped = read, looped

    def remaining(self, axes: Sequence[str]) -> tuple[str, ...]:
        """Axes without those that a loop runs over."""
        return tuple(axis for axis in axes if axis not in self.looped)

    def axes(self, node: sp.MatrixExpr) -> tuple[str, ...]:
        """The axes along which an expression varies, in the order of the file."""
        along = axes_of(node)
        return tuple(axis for axis in ORDER if axis in along and axis not in self.looped)

    def __call__(self, node: sp.MatrixExpr) -> Operand:
        """The operand of an expression; sizes that count for all may be 1."""
        number, rest = coefficient(node)
        if number == 1:
            return LOWERING[type(node)](node, self)
        if isinstance(rest, Ones):
            return Number(number)
        if number == -1:
            return elementwise("negative", self(rest))
        return elementwise("multiply", Number(number), self(rest))

    def whole(self, node: sp.MatrixExpr) -> Operand:
        """The operand of an expression with all its sizes."""
        operand = self(node)
        return filled(operand, operand.axes, sizes(node))


Rule = Callable[[Any, Lowering], Operand]
LOWERING: dict[type, Rule] = {}


def lowers(node: type) -> Callable[[Rule], Rule]:
    """Register the decorated function as what lowers a node."""
    return lambda rule: LOWERING.setdefault(node, rule)


# ---- shapes


def sizes(node: sp.MatrixExpr) -> Dims:
    """The sizes of an expression's array: a row has one, as a column."""
    return tuple(size for size in node.shape if size != 1)


def joined_axes(operands: Sequence[Operand]) -> tuple[str, ...]:
    """The axes along which any of the operands varies, in order."""
    found = {axis for operand in operands for axis in operand.axes if axis != EACH}
    return tuple(sorted(found, key=place))


def place(axis: str) -> int:
    """The place of an axis in the order of the file; vectors one behind the other stand between the steps and the examples."""
    return 2 * ORDER.index(axis) if axis in ORDER else 2 * ORDER.index("T") + 1


def indexed(operand: Operand, *index: Index) -> Operand:
    """A part of an operand, by the indices of its sizes."""
    return operand if all(one == ALL for one in index) else View(operand, (*[ALL] * len(operand.axes), *index))


def with_rank(operand: Operand, rank: int) -> Operand:
    """An operand with sizes of 1 behind its axes: a number of each step beside vectors. What has no axes is broadcast as it is."""
    missing = rank - len(operand.dims)
    if missing <= 0 or not operand.axes:
        return operand
    return indexed(operand, *[NEW] * missing, *[ALL] * len(operand.dims))


def with_axes(operand: Operand, axes: tuple[str, ...], rank: int) -> Operand:
    """An operand that can be broadcast over axes. Those that it lacks in front of its own NumPy adds by itself."""
    operand = with_rank(operand, rank)
    own = operand.axes
    if not own or EACH in own or own == axes[len(axes) - len(own) :]:
        return operand
    first = axes.index(own[0])
    index: list[Index] = [ALL if axis in own else NEW_AXIS for axis in axes[first:]]
    return View(operand, (*index, *[ALL] * len(operand.dims)))


def alike(operands: Sequence[Operand]) -> tuple[tuple[str, ...], Dims, list[Operand]]:
    """(axes, sizes, operands): what an elementwise call of the operands has, and they as it takes them."""
    axes, rank = joined_axes(operands), max(len(operand.dims) for operand in operands)
    padded = [(sp.S.One,) * (rank - len(operand.dims)) + operand.dims for operand in operands]
    dims = tuple(next((size for size in column if size != 1), sp.S.One) for column in zip(*padded, strict=True))
    for column in zip(*padded, strict=True):
        if len({size for size in column if size != 1}) > 1:
            raise ProcedureError(f"emit: elementwise: sizes differ: {' and '.join(map(str, padded))}.")
    return axes, dims, [with_axes(operand, axes, rank) for operand in operands]


def elementwise(operation: str, *operands: Operand, **options: Any) -> Operand:
    """A call of an elementwise operation; a number is broadcast by NumPy."""
    axes, dims, arguments = alike(operands)
    return Call(operation, tuple(arguments), axes, dims, tuple(options.items()))


def filled(operand: Operand, axes: tuple[str, ...], dims: Dims) -> Operand:
    """An operand with all of its elements, along these axes."""
    if (operand.axes, operand.dims) == (axes, dims):
        return operand
    if isinstance(operand, Number):
        return Call("zeros" if operand.value == 0 else "full", () if operand.value == 0 else (operand,), axes, dims)
    return Call("broadcast", (with_axes(operand, axes, len(dims)),), axes, dims)


# ---- leaves


@lowers(Value)
def value(node: Value, lower: Lowering) -> Operand:
    """Where it lies."""
    return lower.read(node)


@lowers(Ones)
def ones(node: Ones, lower: Lowering) -> Operand:
    """1 for all elements."""
    return Number(sp.S.One)


@lowers(Zeros)
def zeros(node: Zeros, lower: Lowering) -> Operand:
    """0 for all elements."""
    return Number(sp.S.Zero)


@lowers(Identity)
def identity(node: Identity, lower: Lowering) -> Operand:
    """1 on the diagonal."""
    return Call("eye", (), (), sizes(node))


# ---- elementwise


@lowers(Plus)
def plus(node: Plus, lower: Lowering) -> Operand:
    """a + b - c, from the left."""
    return summed_up([(coefficient(term)[0], term) for term in node.args], lower)


def summed_up(terms: Sequence[tuple[sp.Expr, sp.MatrixExpr]], lower: Callable[[sp.MatrixExpr], Operand]) -> Operand:
    """The sum of terms, each with the number in front of it; a negative one is taken away."""
    (_, first), *rest = terms
    total = lower(first)
    for number, term in rest:
        negative = bool(number.is_negative)
        total = elementwise("subtract" if negative else "add", total, lower(-term if negative else term))
    return total


@lowers(Hadamard)
def hadamard(node: Hadamard, lower: Lowering) -> Operand:
    """u * v, from the left, numbers first; ones among the factors only say how many elements there are."""
    operands = [lower(factor) for factor in node.args if not isinstance(factor, Ones)]
    scaling = [operand for operand in operands if not operand.dims]
    wide = [operand for operand in operands if operand.dims]
    numbers = [with_rank(multiplied(scaling), len(sizes(node)))] if scaling else []
    return multiplied([*numbers, *wide])


def multiplied(operands: Sequence[Operand]) -> Operand:
    """The elementwise product of operands, from the left."""
    total = operands[0]
    for operand in operands[1:]:
        total = elementwise("multiply", total, operand)
    return total


@lowers(Apply)
def function_of(node: Apply, lower: Lowering) -> Operand:
    """f(a), one call for each operation of f."""
    return scalar_function(node.scalar, lower(node.expr), elementwise)


# ---- products


@lowers(Transposed)
def transposed(node: Transposed, lower: Lowering) -> Operand:
    """Aᵀ; a row is the same array as its column."""
    return turned(lower(node.args[0]))


def turned(operand: Operand) -> Operand:
    """An operand with its two sizes exchanged; a vector as it is."""
    if len(operand.dims) < 2:
        return operand
    if isinstance(operand, Call) and operand.operation == "transpose":
        return operand.arguments[0]
    return Call("transpose", (operand,), operand.axes, operand.dims[::-1])


@lowers(Times)
def times(node: Times, lower: Lowering) -> Operand:
    """A B x: cut at outer products, a row first from the left, anything else from the right."""
    return chain(list(node.args), lower)


def chain(factors: list[sp.MatrixExpr], lower: Lowering) -> Operand:
    """The product of factors, two at a time."""
    if len(factors) == 1:
        return lower(factors[0])
    outer = next((k for k in range(1, len(factors)) if factors[k].shape[0] == 1), None)
    at = outer or (len(factors) - 1 if factors[0].shape[0] == 1 else 1)
    return product(factors[:at], factors[at:], lower)


def product(left: list[sp.MatrixExpr], right: list[sp.MatrixExpr], lower: Lowering) -> Operand:
    """The product of two chains, by the shapes of both."""
    rows, inner, cols = left[0].shape[0], right[0].shape[0], right[-1].shape[1]
    if len(left) == 1 and isinstance(left[0], Ones):
        return of_ones(chain(right, lower), inner, cols, first=True, keep=rows != 1)
    if len(right) == 1 and isinstance(right[0], Ones):
        return of_ones(chain(left, lower), rows, inner, first=False, keep=cols != 1)
    if len(left) == 1 and isinstance(left[0], Diagonal):
        return elementwise("multiply", column(lower(left[0].args[0]), cols), chain(right, lower))
    if len(right) == 1 and isinstance(right[0], Diagonal):
        return elementwise("multiply", chain(left, lower), row(lower(right[0].args[0]), rows))
    return product_of(chain(left, lower), chain(right, lower), rows, inner, cols)


def product_of(a: Operand, b: Operand, rows: sp.Expr, inner: sp.Expr, cols: sp.Expr) -> Operand:
    """(rows, inner) times (inner, cols)."""
    if inner == 1:
        return elementwise("multiply", column(a, cols), row(b, rows))
    a, b = whole(a, rows, inner), whole(b, inner, cols)
    if rows == 1 and cols == 1:
        return dot(a, b)
    if cols == 1:
        return matrix_vector(a, b)
    if rows == 1:
        return matrix_vector(turned(b), a)
    return matmul(a, b, (rows, cols))


def whole(operand: Operand, rows: sp.Expr, cols: sp.Expr) -> Operand:
    """An operand with all the elements that a product runs over."""
    return filled(operand, operand.axes, tuple(size for size in (rows, cols) if size != 1))


def column(operand: Operand, cols: sp.Expr) -> Operand:
    """A vector as the columns of a matrix; as it is where one column is asked for."""
    if cols == 1 or not operand.dims:
        return operand
    return indexed(operand, ALL, NEW)


def row(operand: Operand, rows: sp.Expr) -> Operand:
    """A vector as the rows of a matrix; as it is where one row is asked for, or where nothing stands in front of it."""
    if rows == 1 or not operand.dims or not operand.axes:
        return operand
    return indexed(operand, NEW, ALL)


def of_ones(operand: Operand, rows: sp.Expr, cols: sp.Expr, first: bool, keep: bool) -> Operand:
    """1ᵀ A, the sums of the columns, or A 1, those of the rows; in each row or column of the result where several are asked for.

    rows, cols: of A. first: whether the ones stand on the left. An outer product with ones is a vector seen as a matrix.
    """
    if (rows if first else cols) == 1:  # 1 vᵀ, v 1ᵀ
        return row(operand, sp.oo) if first else column(operand, sp.oo)
    place = -2 if first and cols != 1 else -1
    return summed_over(whole(operand, rows, cols), (place,), keep)


def summed_over(operand: Operand, places: tuple[int, ...], keep: bool = False) -> Operand:
    """The sum over sizes, by their places from the end; with `keep` they stay as 1."""
    gone = {len(operand.dims) + place for place in places}
    dims = [sp.S.One if k in gone else size for k, size in enumerate(operand.dims) if keep or k not in gone]
    return Call("sum", (operand,), operand.axes, tuple(dims), (("over", places), ("keep", keep)))


def summed_along(operand: Operand, axes: tuple[str, ...]) -> Operand:
    """The sum along axes."""
    left = tuple(axis for axis in operand.axes if axis not in axes)
    places = tuple(k for k, axis in enumerate(operand.axes) if axis in axes)
    return Call("sum", (operand,), left, operand.dims, (("over", places), ("keep", False)))


def dot(a: Operand, b: Operand) -> Operand:
    """aᵀ b, a number: a product with the one of the two that is the same for all, or the sum of an elementwise product."""
    if not a.axes or not b.axes:
        still, moving = (a, b) if not a.axes else (b, a)
        return Call("matmul", (moving, still), moving.axes, ())
    return summed_over(elementwise("multiply", a, b), (-1,))


def matrix_vector(A: Operand, v: Operand) -> Operand:
    """A v: v @ Aᵀ where A is the same for all, so that the examples are the rows of one product."""
    axes, size = joined_axes([A, v]), A.dims[0]
    if not A.axes:
        return Call("matmul", (v, turned(A)), axes, (size,))
    if not v.axes:
        return Call("matmul", (A, v), axes, (size,))
    A, v = with_axes(A, axes, 2), with_axes(v, axes, 1)
    found = Call("matmul", (A, indexed(v, ALL, NEW)), axes, (size, sp.S.One))
    return indexed(found, ALL, At(sp.S.Zero))


def matmul(a: Operand, b: Operand, dims: Dims) -> Operand:
    """A B of matrices."""
    axes = joined_axes([a, b])
    return Call("matmul", (with_axes(a, axes, 2), with_axes(b, axes, 2)), axes, dims)


# ---- arrangement


@lowers(Diagonal)
def diagonal(node: Diagonal, lower: Lowering) -> Operand:
    """diag(v): v times the rows of the identity."""
    return elementwise("multiply", column(lower(node.args[0]), node.shape[0]), Call("eye", (), (), sizes(node)))


@lowers(Stack)
def stack(node: Stack, lower: Lowering) -> Operand:
    """Parts one behind the other; the axes and sizes of each are made whole."""
    flat = node.shape[1] == 1
    parts = [(part, lower(part)) for part in node.args]
    axes = joined_axes([operand for _, operand in parts])
    arguments = [filled(standing(part, operand, flat), axes, whole_sizes(part, flat)) for part, operand in parts]
    return Call("concatenate", tuple(arguments), axes, whole_sizes(node, flat), (("along", -1 if flat else -2),))


def whole_sizes(node: sp.MatrixExpr, flat: bool) -> Dims:
    """Of a part of a stack: a number has one element, a row one row."""
    return (node.shape[0],) if flat else tuple(node.shape)


def standing(part: sp.MatrixExpr, operand: Operand, flat: bool) -> Operand:
    """A number as a vector of one element, a row as a matrix of one row."""
    if part.shape[0] != 1 or isinstance(operand, Number):
        return operand
    return indexed(operand, NEW, *[ALL] * len(operand.dims))


@lowers(Rows)
def rows(node: Rows, lower: Lowering) -> Operand:
    """Some rows: a part of a vector or a matrix; one row of a vector is a number."""
    inner, start, stop = node.args
    operand = lower.whole(inner)
    one = At(start) if node.shape[0] == 1 else Cut(None if start == 0 else start, None if stop == inner.shape[0] else stop)
    return indexed(operand, one, *[ALL] * (len(operand.dims) - 1))


@lowers(Repeat)
def repeat(node: Repeat, lower: Lowering) -> Operand:
    """A vector several times, one behind the other."""
    operand = lower.whole(node.args[0])
    return Call("concatenate", (operand,) * int(node.args[1]), operand.axes, sizes(node), (("along", -1),))


# ---- over all elements


@lowers(Total)
def total(node: Total, lower: Lowering) -> Operand:
    """The sum of all elements."""
    operand = lower.whole(node.args[0])
    return summed_over(operand, tuple(range(-len(operand.dims), 0)))


def along_vector(operation: str) -> Rule:
    """A node that is one call along the elements of a vector."""

    def rule(node: Any, lower: Lowering) -> Operand:
        operand = lower.whole(node.args[0])
        return Call(operation, (operand,), operand.axes, sizes(node))

    return rule


LOWERING[Largest] = along_vector("largest")
LOWERING[FirstLargest] = along_vector("first_largest")
LOWERING[LogSumExp] = along_vector("logsumexp")
LOWERING[Softmax] = along_vector("softmax")


@lowers(Cumulative)
def cumulative(node: Cumulative, lower: Lowering) -> Operand:
    """Running sums of a vector, of a matrix down each column."""
    operand = lower.whole(node.args[0])
    options = (("along", -len(operand.dims)), ("backwards", node.backwards))
    return Call("cumulative", (operand,), operand.axes, operand.dims, options)
