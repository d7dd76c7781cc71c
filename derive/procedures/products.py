"""Matrix products as calls: chains of factors two at a time, each pair by the shapes of both."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.language import Diagonal, Ones
from derive.onehot import OneHot, one_hot_in
from derive.procedures.procedure import ALL, NEW, At, Call, Operand
from derive.procedures.shaping import Dims, elementwise, filled, indexed, joined_axes, sizes, summed_over, turned, with_axes
from derive.procedures.tokens import element, element_of

Lower = Callable[[sp.MatrixExpr], Operand]


def chain(factors: list[sp.MatrixExpr], lower: Lower) -> Operand:
    """The product of factors, two at a time."""
    if len(factors) == 1:
        return lower(factors[0])
    outer = next((k for k in range(1, len(factors)) if factors[k].shape[0] == 1), None)
    at = outer or (len(factors) - 1 if factors[0].shape[0] == 1 else 1)
    return product(factors[:at], factors[at:], lower)


def product(left: list[sp.MatrixExpr], right: list[sp.MatrixExpr], lower: Lower) -> Operand:
    """The product of two chains, by the shapes of both."""
    rows, inner, cols = left[0].shape[0], right[0].shape[0], right[-1].shape[1]
    if len(left) == 1 and isinstance(left[0], Ones):
        return of_ones(chain(right, lower), inner, cols, first=True, keep=rows != 1)
    if len(right) == 1 and isinstance(right[0], Ones):
        return of_ones(chain(left, lower), rows, inner, first=False, keep=cols != 1)
    if len(right) == 1 and isinstance(right[0], OneHot):
        return element(whole(chain(left, lower), rows, inner), lower(right[0].token))
    if len(left) == 1 and rows == 1 and (token := one_hot_in(left[0])) is not None:
        if len(right) == 1:
            return element_of(right[0], token, lower, lambda node: filled_whole(lower(node), node))
        return element(turned(whole(chain(right, lower), inner, cols)), lower(token.token))
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


def filled_whole(operand: Operand, node: sp.MatrixExpr) -> Operand:
    """The operand of an expression with all its sizes."""
    return filled(operand, operand.axes, sizes(node))


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
