"""Operations along an axis: sums over the steps, the first and the last value, the largest, softmax over the steps.

Each binds its axis: what it gives varies along the others only, so that it is the same at every step (`Softmax` over steps and `Spread`
have the axis again). Nothing in them can be computed before all steps are there.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sympy as sp
from sympy.core.symbol import Str

from derive.language import Apply, Leaf, Ones, Plus, Written, X, Zeros, apply, coefficient, hadamard, scale
from derive.shapes import in_order

Axes = tuple[str, ...]


class AlongAxis(Written, sp.MatrixExpr):  # type: ignore[misc]
    """An operation on the values at all positions of an axis. args: the operand, the axis.

    keeps: whether what it gives varies along the axis, too.
    """

    keeps: ClassVar[bool] = False

    def __new__(cls, operand: sp.MatrixExpr, axis: Any, *more: Any) -> AlongAxis:
        rest = [one if isinstance(one, sp.Basic) else Str(one) for one in (axis, *more)]
        self: AlongAxis = sp.Basic.__new__(cls, operand, *rest)
        return self

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape  # type: ignore[no-any-return]

    @property
    def axis(self) -> str:
        return str(self.args[1].name)

    @property
    def operands(self) -> list[sp.MatrixExpr]:
        return [self.args[0]]

    def axes_from(self, axes: Axes) -> Axes:
        """The axes along which it varies, from those of its operand."""
        without = tuple(axis for axis in axes if axis != self.axis)
        return (self.axis, *without) if self.keeps else without

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return CONSTRUCTORS[type(self)](*parts, *[one.name for one in self.args[1:]])


class SumAlong(AlongAxis):
    """Σₜ x: the sum over an axis."""


class Spread(AlongAxis):
    """The same at every position of an axis: what a sum over it hands back."""

    keeps = True


class Pick(AlongAxis):
    """x_T or x_1: the value at an end of an axis, `last` or `first`. Of a state the last one is what the last step leaves."""

    @property
    def end(self) -> str:
        return str(self.args[2].name)


class Place(AlongAxis):
    """A value at an end of an axis, 0 elsewhere: what `Pick` hands back."""

    keeps = True

    @property
    def end(self) -> str:
        return str(self.args[2].name)


class LargestAlong(AlongAxis):
    """maxₜ x, element by element."""


class FirstLargestAlong(AlongAxis):
    """1 at the first of the largest along an axis, 0 elsewhere, element by element: the derivative of `LargestAlong`."""

    keeps = True


class SoftmaxAlong(AlongAxis):
    """exp(x) / Σₜ exp(x), element by element."""

    keeps = True


class Steps(Leaf, sp.MatrixExpr):  # type: ignore[misc]
    """How many positions an axis has, a number: the T of (1/T) Σₜ."""

    def __new__(cls, axis: Any) -> Steps:
        self: Steps = sp.Basic.__new__(cls, axis if isinstance(axis, Str) else Str(axis))
        return self

    @property
    def axis(self) -> str:
        return str(self.args[0].name)

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return sp.S.One, sp.S.One


def binds(expression: sp.Basic) -> frozenset[str]:
    """The axes along which an expression needs all values before it has any."""
    inner = frozenset(axis for part in expression.operands for axis in binds(part))
    return inner | {expression.axis} if isinstance(expression, AlongAxis) and not isinstance(expression, Spread) else inner


def bound_values(expression: sp.Basic, axis: str) -> set[Any]:
    """The values of which an expression needs all steps of an axis."""
    inner = {value for part in expression.operands for value in bound_values(part, axis)}
    if isinstance(expression, AlongAxis) and not isinstance(expression, Spread) and expression.axis == axis:
        return inner | leaves(expression)
    return inner


def leaves(expression: sp.Basic) -> set[Any]:
    """What an expression is made of in the end."""
    return {leaf for part in expression.operands for leaf in leaves(part)} if expression.operands else {expression}


# ---- constructors


def bound(kind: type[AlongAxis], expression: sp.MatrixExpr, axis: str, *more: str) -> sp.MatrixExpr:
    """A node whose numbers stand in front of it."""
    factor, rest = coefficient(expression)
    return Zeros(*expression.shape) if isinstance(rest, Zeros) else scale(factor, kind(rest, axis, *more))


def sum_along(expression: sp.MatrixExpr, axis: str) -> sp.MatrixExpr:
    """The sum over an axis; of what doesn't vary along it as many times that."""
    if axis not in axes_of(expression) and not isinstance(expression, Zeros):
        return hadamard(Steps(axis), expression)
    return bound(SumAlong, expression, axis)


def of_steps(function: Apply) -> Apply:
    """1/(T - 1) as one function of T."""
    found = counted(function.expr)
    if found is None or len(found[1]) != 1:
        return function
    return Apply(sp.Lambda(X, function.scalar.subs(X, found[0])), next(iter(found[1])))


def counted(node: sp.MatrixExpr) -> tuple[sp.Expr, set[Steps]] | None:
    """(a number that is made of how many steps there are, as an expression in X, of which axes); None of anything else."""
    number, rest = coefficient(node)
    if isinstance(rest, Steps):
        return number * X, {rest}
    if isinstance(rest, Ones) and rest.shape == (1, 1):
        return number, set()
    parts = [counted(part) for part in rest.args] if isinstance(rest, Plus) else [None]
    if any(part is None for part in parts):
        return None
    return number * sum(part[0] for part in parts if part), {axis for part in parts if part for axis in part[1]}


def mean_along(expression: sp.MatrixExpr, axis: str) -> sp.MatrixExpr:
    """The mean over an axis."""
    if axis not in axes_of(expression):
        return expression
    return hadamard(apply(1 / X, Steps(axis)), sum_along(expression, axis))


def spread(expression: sp.MatrixExpr, axis: str) -> sp.MatrixExpr:
    return expression if axis in axes_of(expression) else bound(Spread, expression, axis)


def pick(expression: sp.MatrixExpr, axis: str, end: str) -> sp.MatrixExpr:
    return bound(Pick, expression, axis, end) if axis in axes_of(expression) else expression


def place(expression: sp.MatrixExpr, axis: str, end: str) -> sp.MatrixExpr:
    return bound(Place, expression, axis, end)


def largest_along(expression: sp.MatrixExpr, axis: str) -> sp.MatrixExpr:
    return LargestAlong(expression, axis) if axis in axes_of(expression) else expression


def first_largest_along(expression: sp.MatrixExpr, axis: str) -> sp.MatrixExpr:
    return FirstLargestAlong(expression, axis)


def softmax_along(expression: sp.MatrixExpr, axis: str) -> sp.MatrixExpr:
    return SoftmaxAlong(expression, axis)


CONSTRUCTORS: dict[type, Any] = {
    SumAlong: sum_along, Spread: spread, Pick: pick, Place: place, LargestAlong: largest_along,
    FirstLargestAlong: first_largest_along, SoftmaxAlong: softmax_along,
}  # fmt: skip


# ---- axes of expressions


def axes_of(expression: sp.Basic) -> Axes:
    """The axes along which an expression varies, in the order of arrays."""
    return in_order(varies(expression))


def varies(node: sp.Basic) -> Axes:
    """The axes of an expression, some of them perhaps named twice."""
    own = getattr(node, "axes", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    inner = tuple(axis for part in node.operands for axis in varies(part))
    return node.axes_from(inner) if isinstance(node, AlongAxis) else inner
