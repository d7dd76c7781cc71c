"""Expressions as operands: one function for each node of the language, in `LOWERING`.

A vector, a column or a row, has one size and a matrix two, whatever stands in front of them. What is the same in every row, in every
column or in every element may have the size 1 there; `filled` makes it whole. The axes of an operand are those along which it
varies, in the file's order; `alike` brings operands of different axes and ranks into line where NumPy's broadcasting would not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp

from derive.along import (
    AlongAxis,
    FirstLargestAlong,
    LargestAlong,
    Pick,
    Place,
    SoftmaxAlong,
    Spread,
    Steps,
    SumAlong,
    axes_of,
)
from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Above, AtLeast, Maximum, Minimum, Pairwise
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
    X,
    Zeros,
    coefficient,
)
from derive.onehot import OneHot
from derive.procedures.procedure import ALL, NEW, At, Call, Cut, Number, Operand
from derive.procedures.products import chain, column
from derive.procedures.scalars import scalar_function
from derive.procedures.shaping import (
    Dims,
    elementwise,
    filled,
    in_place,
    indexed,
    joined_axes,
    sizes,
    summed_along,
    summed_over,
    turned,
    with_rank,
)
from derive.procedures.tokens import dense, multiple_of_one_hot, scaled, with_tokens
from derive.reductions import Cumulative, FirstLargest, Largest, LogSoftmax, LogSumExp, Softmax, Total


class Lowering:
    """Brings expressions into operands. read: where a value lies. looped: axes that a loop runs over, so that arrays don't have them.
    end: a value at an end of its steps, `first` or `last`, where it lies; what stands in front of them or behind them counts."""

    def __init__(
        self,
        read: Callable[[Value], Operand],
        looped: tuple[str, ...] = (),
        end: Callable[[Value, str], Operand] | None = None,
    ) -> None:
        self.read, self.looped, self.end = read, looped, end

    def remaining(self, axes: Sequence[str]) -> tuple[str, ...]:
        """Axes without those that a loop runs over."""
        return tuple(axis for axis in axes if axis not in self.looped)

    def axes(self, node: sp.MatrixExpr) -> tuple[str, ...]:
        """The axes along which an expression varies, in the order of the file."""
        along = axes_of(node)
        return in_place(axis for axis in along if axis not in self.looped)

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
    """a + b - c, from the left; multiples of one-hot columns last."""
    return sum_of(node.args, lower)


def sum_of(terms: Sequence[sp.MatrixExpr], lower: Lowering) -> Operand:
    """The sum of terms that all vary with their target."""
    columns = [term for term in terms if multiple_of_one_hot(term) is not None]
    wide = [(coefficient(term)[0], term) for term in terms if term not in columns]
    return with_tokens(summed_up(wide, lower) if wide else None, columns, lower)


def summed_up(terms: Sequence[tuple[sp.Expr, sp.MatrixExpr]], lower: Callable[[sp.MatrixExpr], Operand]) -> Operand:
    """The sum of terms, each with the number in front of it; a negative one is taken away, so that none is first where another can be."""
    start = next((k for k, (number, _) in enumerate(terms) if not number.is_negative), 0)
    (_, first), *rest = [terms[start], *terms[:start], *terms[start + 1 :]]
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
    if not scaling:
        return multiplied(wide)
    if len(wide) == 1 and len(sizes(node)) == 1:
        found = multiple_of_one_hot(node)
        return scaled(multiplied(scaling), wide[0]) if found is None else with_tokens(None, [node], lower)
    return multiplied([with_rank(multiplied(scaling), len(sizes(node))), *wide])


def multiplied(operands: Sequence[Operand]) -> Operand:
    """The elementwise product of operands, from the left."""
    total = operands[0]
    for operand in operands[1:]:
        total = elementwise("multiply", total, operand)
    return total


@lowers(Apply)
def function_of(node: Apply, lower: Lowering) -> Operand:
    """f(a), one call for each operation of f."""
    if isinstance(node.expr, Steps):
        return Number(node.scalar.subs(X, sp.Symbol(node.expr.axis)))
    return scalar_function(node.scalar, lower(node.expr), elementwise)


def of_two(operation: str) -> Rule:
    """A node that is one elementwise call of two operands."""

    def rule(node: Pairwise, lower: Lowering) -> Operand:
        return elementwise(operation, *map(lower, node.args))

    return rule


LOWERING[Maximum] = of_two("maximum")
LOWERING[Minimum] = of_two("minimum")
LOWERING[AtLeast] = of_two("at_least")
LOWERING[Above] = of_two("above")


# ---- products


@lowers(Transposed)
def transposed(node: Transposed, lower: Lowering) -> Operand:
    """Aᵀ; a row is the same array as its column."""
    return turned(lower(node.args[0]))


@lowers(Times)
def times(node: Times, lower: Lowering) -> Operand:
    """A B x: cut at outer products, a row first from the left, anything else from the right."""
    return chain(list(node.args), lower)


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


# ---- along axes


@lowers(SumAlong)
def sum_along(node: SumAlong, lower: Lowering) -> Operand:
    """The sum over an axis."""
    return summed_along(over_axis(node, lower), (node.axis,))


def over_axis(node: AlongAxis, lower: Lowering) -> Operand:
    """The operand at each position of the axis."""
    inner = node.args[0]
    return filled(lower(inner), lower.axes(inner), sizes(inner))


@lowers(Spread)
def spread(node: Spread, lower: Lowering) -> Operand:
    """The same at every position; inside a loop over the axis what it is there."""
    return filled(lower(node.args[0]), lower.axes(node), sizes(node))


@lowers(Pick)
def pick(node: Pick, lower: Lowering) -> Operand:
    """A value at an end of an axis."""
    inner = node.args[0]
    if isinstance(inner, Value) and lower.end is not None:
        return lower.end(inner, node.end)
    operand = over_axis(node, lower)
    at = -1 if node.end == "last" else 0
    return Call("end_of", (operand,), operand.axes[1:], operand.dims, (("at", at),))


@lowers(Place)
def place(node: Place, lower: Lowering) -> Operand:
    """Zeros, and the value at an end."""
    inner = node.args[0]
    operand = filled(lower(inner), lower.axes(inner), sizes(inner))
    options = (("at", -1 if node.end == "last" else 0),)
    return Call("placed", (operand, Number(sp.Symbol(node.axis))), lower.axes(node), operand.dims, options)


def along_axis(operation: str) -> Rule:
    """A node that is one call along an axis."""

    def rule(node: Any, lower: Lowering) -> Operand:
        operand = over_axis(node, lower)
        return Call(operation, (operand,), lower.axes(node), operand.dims, (("along", operand.axes.index(node.axis)),))

    return rule


LOWERING[LargestAlong] = along_axis("largest_along")
LOWERING[FirstLargestAlong] = along_axis("first_largest_along")
LOWERING[SoftmaxAlong] = along_axis("softmax_along")


@lowers(Steps)
def steps(node: Steps, lower: Lowering) -> Operand:
    """How many steps there are."""
    return Number(sp.Symbol(node.axis))


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
LOWERING[LogSoftmax] = along_vector("log_softmax")


@lowers(OneHot)
def one_hot(node: OneHot, lower: Lowering) -> Operand:
    """The column itself, where nothing reads a part of it."""
    return dense(lower(node.token), Number(sp.S.One), node.shape[0])


@lowers(Cumulative)
def cumulative(node: Cumulative, lower: Lowering) -> Operand:
    """Running sums of a vector, of a matrix down each column."""
    operand = lower.whole(node.args[0])
    options = (("along", -len(operand.dims)), ("backwards", node.backwards))
    return Call("cumulative", (operand,), operand.axes, operand.dims, options)
