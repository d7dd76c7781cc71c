"""Products, sums and multiples of one-hot columns as calls by token: none of them makes the column.

A column of a matrix is taken, an element of a vector picked, what is added to a column added at one element; a sum over steps and
examples of outer products with one-hot columns is a sum of vectors by token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from derive.language import Hadamard, coefficient, scale
from derive.language import hadamard as multiplied
from derive.onehot import OneHot
from derive.procedures.procedure import Call, Number, Operand, is_fresh
from derive.procedures.shaping import elementwise, filled, joined_axes, turned, with_axes, with_rank
from derive.reductions import LogSoftmax
from derive.shapes import is_scalar

Lower = Callable[[sp.MatrixExpr], Operand]
IN_PLACE = frozenset({"softmax", "one_hot", "add_at", "scale"})
"""Calls whose result, as large as there are tokens, is scaled where it lies."""


def dense(token: Operand, number: Operand, size: sp.Expr) -> Operand:
    """A number at the token's element, 0 elsewhere."""
    axes = joined_axes([token, number])
    return Call("one_hot", (with_axes(token, axes, 0), with_axes(number, axes, 0)), axes, (size,))


def element(a: Operand, token: Operand) -> Operand:
    """a onehot(w): the column of a matrix, the element of a row."""
    if not a.axes:
        return Call("take", (turned(a), token), token.axes, a.dims[:-1])
    axes, rank = joined_axes([a, token]), len(a.dims)
    return Call("pick", (with_axes(a, axes, rank), with_axes(with_rank(token, rank), axes, rank)), axes, a.dims[:-1])


def element_of(node: sp.MatrixExpr, column: OneHot, lower: Lower, whole: Lower) -> Operand:
    """onehot(w)ᵀ v, or onehot(w)ᵀ A: of a log softmax without the others. whole: lowers with all sizes."""
    token = lower(column.token)
    if isinstance(node, LogSoftmax):
        z = whole(node.args[0])
        if z.axes:
            axes = joined_axes([z, token])
            return Call("log_softmax_at", (with_axes(z, axes, 1), with_axes(token, axes, 0)), axes, ())
    return element(turned(whole(node)), token)


def by_token(a: Operand, column: OneHot, over: tuple[str, ...], lower: Lower) -> Operand | None:
    """Σ onehot(w) aᵀ over steps and examples: rows by token; None where the token doesn't vary along all of them."""
    token = lower(column.token)
    if token.axes != over:
        return None
    return Call("by_token", (filled(a, over, a.dims), token), (), (column.shape[0], *a.dims))


def multiple_of_one_hot(node: sp.MatrixExpr) -> tuple[OneHot, sp.MatrixExpr | sp.Expr] | None:
    """(the column, what it is multiplied by) of numbers times a one-hot column; None for anything else."""
    number, rest = coefficient(node)
    if isinstance(rest, OneHot):
        return rest, number
    if not isinstance(rest, Hadamard):
        return None
    wide = [part for part in rest.args if not is_scalar(part)]
    if len(wide) != 1 or not isinstance(wide[0], OneHot):
        return None
    return wide[0], scale(number, multiplied(*[part for part in rest.args if is_scalar(part)]))


def with_tokens(total: Operand | None, columns: Sequence[sp.MatrixExpr], lower: Lower) -> Operand:
    """The sum of a vector and multiples of one-hot columns: numbers added at single elements."""
    for node in columns:
        found = multiple_of_one_hot(node)
        assert found is not None
        column, by = found
        token, number = lower(column.token), lower(by) if isinstance(by, sp.MatrixExpr) else Number(by)
        if total is None:
            total = dense(token, number, column.shape[0])
            continue
        axes = joined_axes([total, token, number])
        total = filled(total, axes, (column.shape[0],))
        own = total if is_fresh(total) else Call("copy", (total,), total.axes, total.dims)
        total = Call("add_at", (own, with_axes(token, axes, 0), with_axes(number, axes, 0)), axes, own.dims)
    assert total is not None
    return total


def scaled(number: Operand, operand: Operand) -> Operand:
    """A number of each step times a vector, where it lies if it is as large as there are tokens."""
    in_place = isinstance(operand, Call) and operand.operation in IN_PLACE and set(number.axes) <= set(operand.axes)
    if not in_place:
        return elementwise("multiply", number, operand)
    factor = with_axes(with_rank(number, len(operand.dims)), operand.axes, len(operand.dims))
    return Call("scale", (operand, factor), operand.axes, operand.dims)
