"""The language of a cell: SymPy matrix expressions that stay as they were written.

SymPy sorts the terms of a sum as soon as `+` is used, so that a cell would not read like its document. The nodes are SymPy's own,
subclassed to keep the written order and to give `*` between two columns its textbook meaning, the elementwise product. Blocks of
rows: `derive.blocks`; reductions over the elements of a vector or matrix: `derive.reductions`; over the steps: `derive.along`.

A number has the shape `(1, 1)`, a vector is a column `(n, 1)`, a matrix `(n, m)`; a symbolic dimension is never 1. The axes along
which a value varies (steps, examples) are no part of its shape.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import sympy as sp
from sympy.core.symbol import Str
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.hadamard import HadamardProduct

from derive.errors import LanguageError as LanguageError
from derive.interned import Interned
from derive.shapes import EXAMPLES, STEPS_AND_EXAMPLES, check_chain, exact, is_matrix, is_scalar, steps_in, widest
from derive.shapes import dimension as dimension

X = sp.Symbol("X")
"""The placeholder of every elementwise function: `Apply(tanh(X), a)` is tanh taken of each element of `a`."""


class Written:
    """Operators that keep what was written: no sorting, no merging.

    `@` is the matrix product; `*` scales by a number, is elementwise between two columns, and the matrix product otherwise; a number
    added to a vector or a matrix is added to each of its elements.

    `operands` are the expressions that a node is made of, `over` makes the same node of others.
    """

    _op_priority = 20.0
    __slots__ = ()

    def __add__(self, other: Any) -> sp.MatrixExpr:
        return add(self, other)

    def __radd__(self, other: Any) -> sp.MatrixExpr:
        return add(other, self)

    def __sub__(self, other: Any) -> sp.MatrixExpr:
        return add(self, scale(-1, other, like=self))

    def __rsub__(self, other: Any) -> sp.MatrixExpr:
        return add(other, scale(-1, self))

    def __neg__(self) -> sp.MatrixExpr:
        return scale(-1, self)

    def __mul__(self, other: Any) -> sp.MatrixExpr:
        return times(self, other)

    def __rmul__(self, other: Any) -> sp.MatrixExpr:
        return times(other, self)

    def __matmul__(self, other: Any) -> sp.MatrixExpr:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> sp.MatrixExpr:
        return matmul(other, self)

    def __pow__(self, exponent: Any) -> sp.MatrixExpr:
        return apply(X ** exact(exponent), self)

    def __truediv__(self, other: Any) -> sp.MatrixExpr:
        return hadamard(self, apply(1 / X, other)) if is_matrix(other) else scale(1 / exact(other), self)

    def __rtruediv__(self, other: Any) -> sp.MatrixExpr:
        return scale(other, apply(1 / X, self))

    @property
    def T(self) -> sp.MatrixExpr:
        return transpose(self)

    @cached_property
    def operands(self) -> list[sp.MatrixExpr]:
        return [part for part in self.args if is_matrix(part)]  # type: ignore[attr-defined]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        raise NotImplementedError(type(self).__name__)


class Leaf(Written):
    """An expression that is made of no others."""

    __slots__ = ()

    @property
    def operands(self) -> list[sp.MatrixExpr]:
        return []

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return self


class Value(Interned, Leaf, sp.MatrixSymbol):  # type: ignore[misc]
    """A named quantity: `Value("h", H)` is h_t, `Value("h", H).prev` is h_{t-1}, `Value("W", H, D, axes=())` a parameter.

    axes: along which it varies; none for parameters.
    marks: what a derivation made of it, the last one last: `cotangent` (dL/dv), `given` (the part of it that the loss gives
    directly), `carry` (the part that comes through the next step), `tangent`, `jacobian:s` (dv/ds_prev). They stack: the tangent of
    a cotangent is `("cotangent", "tangent")`.
    lag: 0 for step t, -1 for step t-1, 1 for step t+1.
    """

    def __new__(cls, name: Any, rows: Any, cols: Any = 1, axes: Any = STEPS_AND_EXAMPLES, marks: Any = (), lag: Any = 0) -> Value:
        sizes = [sp.sympify(part) for part in (rows, cols)]
        words = [part if isinstance(part, sp.Tuple) else sp.Tuple(*map(Str, part)) for part in (axes, marks)]
        return cls.one(name if isinstance(name, Str) else Str(name), *sizes, *words, sp.sympify(lag))

    @cached_property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[1], self.args[2]

    @cached_property
    def axes(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.args[3])

    @cached_property
    def marks(self) -> tuple[str, ...]:
        return tuple(mark.name for mark in self.args[4])

    @property
    def timed(self) -> bool:
        """Whether it varies along any axis."""
        return bool(self.axes)

    @cached_property
    def has_steps(self) -> bool:
        """Whether it differs from step to step, not from example to example alone."""
        return any(axis != EXAMPLES for axis in self.axes)

    @cached_property
    def along(self) -> tuple[str, ...]:
        """The axes of steps along which it varies."""
        return steps_in(self.axes)

    @property
    def axis(self) -> str:
        """The axis along which its lag counts: of steps the first."""
        return (*self.along, "T")[0]

    @cached_property
    def kind(self) -> str:
        """The last mark; `primal` where there is none."""
        return str(self.args[4][-1].name) if len(self.args[4]) else "primal"

    @cached_property
    def lag(self) -> int:
        return int(self.args[5])

    @property
    def prev(self) -> Value:
        """One step earlier."""
        return self.like(lag=self.lag - 1)

    def changed(self, **changes: Any) -> Value:
        """The same value with other `name`, `rows`, `cols`, `axes`, `marks`, `lag`; `kind` for a single mark."""
        if "kind" in changes:
            changes["marks"] = () if (kind := changes.pop("kind")) == "primal" else (kind,)
        return Value(**dict(zip(("name", "rows", "cols", "axes", "marks", "lag"), self.args, strict=True)) | changes)

    def marked(self, mark: str) -> Value:
        """The value that a derivation makes of this one."""
        return self.like(marks=(*self.marks, mark))


class Plus(Written, sp.MatAdd):  # type: ignore[misc]
    """a + b + ..."""

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return add(*parts)


class Times(Written, sp.MatMul):  # type: ignore[misc]
    """A x, with a number in front where there is one."""

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return scale(coefficient(self)[0], matmul(*parts))


class Hadamard(Written, HadamardProduct):  # type: ignore[misc]
    """u ∘ v, element by element; numbers among the factors scale the others and stand in front."""

    def __new__(cls, *factors: sp.MatrixExpr) -> Hadamard:
        return sp.Basic.__new__(cls, *factors)  # type: ignore[no-any-return]

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[-1].shape  # type: ignore[no-any-return]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return hadamard(*parts)


class Transposed(Written, sp.Transpose):  # type: ignore[misc]
    """Aᵀ."""

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return transpose(*parts)


class Apply(Written, ElementwiseApplyFunction):  # type: ignore[misc]
    """f(a) element by element; `scalar` is f as a SymPy expression in `X`."""

    def __new__(cls, function: sp.Lambda, operand: sp.MatrixExpr) -> Apply:
        """SymPy's own would take the function of a (1, 1) matrix as of a number."""
        return sp.Basic.__new__(cls, function, operand)  # type: ignore[no-any-return]

    @property
    def scalar(self) -> sp.Expr:
        return self.args[0].expr

    @property
    def operands(self) -> list[sp.MatrixExpr]:
        return [self.expr]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return apply(self.scalar, *parts)


class Diagonal(Written, sp.MatrixExpr):  # type: ignore[misc]
    """diag(v): the square matrix with v on its diagonal."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape[0], self.args[0].shape[0]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return diagonal(*parts)


class Ones(Leaf, sp.OneMatrix):  # type: ignore[misc]
    """A matrix of ones; as a vector, the 1 of `1 - z`."""


class Zeros(Leaf, sp.ZeroMatrix):  # type: ignore[misc]
    """A matrix of zeros."""


class Identity(Leaf, sp.Identity):  # type: ignore[misc]
    """The identity matrix."""


# ---- constructors: the only places where nodes are made. They flatten, pull numbers to the front, drop ones and zeros, sort nothing.


def coefficient(expression: sp.MatrixExpr) -> tuple[sp.Expr, sp.MatrixExpr]:
    """(number, the rest) with expression = number * rest."""
    if isinstance(expression, Times) and not is_matrix(expression.args[0]):
        rest = expression.args[1:]
        return expression.args[0], rest[0] if len(rest) == 1 else Times(*rest, evaluate=False)
    return sp.S.One, expression


def scale(number: Any, expression: Any, like: Any = None) -> sp.MatrixExpr:
    """number * expression."""
    if not is_matrix(expression):
        expression = Ones(*like.shape) if expression == 1 else scale(expression, Ones(*like.shape))
    factor, rest = coefficient(expression)
    factor = exact(number) * factor
    if factor == 0 or isinstance(rest, Zeros):
        return Zeros(*expression.shape)
    return rest if factor == 1 else Times(factor, *(rest.args if isinstance(rest, Times) else (rest,)), evaluate=False)


def add(*terms: Any) -> sp.MatrixExpr:
    """The sum of the terms, in their order; a number counts for each element."""
    like = widest("sum", [term for term in terms if is_matrix(term)])
    flat: list[sp.MatrixExpr] = []
    for term in terms:
        term = term if is_matrix(term) else scale(term, Ones(*like.shape))
        parts = term.args if isinstance(term, Plus) else [term]
        flat.extend(part if part.shape == like.shape else hadamard(part, Ones(*like.shape)) for part in parts)
    flat = [term for term in flat if not isinstance(term, Zeros)]
    return Zeros(*like.shape) if not flat else flat[0] if len(flat) == 1 else Plus(*flat, evaluate=False)


def times(left: Any, right: Any) -> sp.MatrixExpr:
    """What `*` means: scaling, the elementwise product of two vectors, else the matrix product."""
    if not is_matrix(left):
        return scale(left, right)
    if not is_matrix(right):
        return scale(right, left)
    columns = left.shape[1] == right.shape[1] == 1
    return hadamard(left, right) if columns or is_scalar(left) or is_scalar(right) else matmul(left, right)


def hadamard(*factors: sp.MatrixExpr) -> sp.MatrixExpr:
    """u ∘ v ∘ ..., numbers in front."""
    number: sp.Expr = sp.S.One
    flat: list[sp.MatrixExpr] = []
    shape = widest("elementwise product", list(factors)).shape
    for factor in factors:
        scalar, rest = coefficient(factor)
        number *= scalar
        flat.extend(rest.args if isinstance(rest, Hadamard) else [rest])
    if any(isinstance(factor, Zeros) for factor in flat):
        return Zeros(*shape)
    flat = [factor for factor in flat if not isinstance(factor, Ones)]
    scaling = [factor for factor in flat if is_scalar(factor) and factor.shape != shape]
    wide = [factor for factor in flat if factor.shape == shape] or [Ones(*shape)]
    return scale(number, wide[0] if len(scaling) + len(wide) == 1 else Hadamard(*scaling, *wide))


def matmul(*factors: sp.MatrixExpr) -> sp.MatrixExpr:
    """A B x, numbers in front; a factor that is a number for itself scales the others."""
    scaling = [factor for factor in factors if is_scalar(factor)]
    others = [factor for factor in factors if not is_scalar(factor)]
    if scaling:
        return hadamard(*scaling, matmul(*others)) if others else hadamard(*scaling)
    number: sp.Expr = sp.S.One
    flat: list[sp.MatrixExpr] = []
    for factor in factors:
        scalar, rest = coefficient(factor)
        number *= scalar
        flat.extend(rest.args if isinstance(rest, Times) else [rest])
    check_chain(flat)
    if any(isinstance(factor, Zeros) for factor in flat):
        return Zeros(flat[0].shape[0], flat[-1].shape[1])
    flat = merge_diagonals([factor for factor in flat if not isinstance(factor, Identity)] or flat[:1])
    return scale(number, flat[0] if len(flat) == 1 else Times(*flat, evaluate=False))


def merge_diagonals(factors: list[sp.MatrixExpr]) -> list[sp.MatrixExpr]:
    """diag(u) diag(v) = diag(u ∘ v)."""
    merged: list[sp.MatrixExpr] = []
    for one in factors:
        both = isinstance(one, Diagonal) and bool(merged) and isinstance(merged[-1], Diagonal)
        merged.append(Diagonal(hadamard(merged.pop().args[0], one.args[0])) if both else one)
    return merged


def transpose(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """Aᵀ, with (AB)ᵀ = BᵀAᵀ and Aᵀᵀ = A."""
    match expression:
        case _ if is_scalar(expression) or isinstance(expression, Diagonal | Identity):
            return expression
        case Transposed():
            return expression.args[0]
        case Times():
            return scale(coefficient(expression)[0], matmul(*map(transpose, reversed(expression.operands))))
        case Plus() | Hadamard():
            return expression.over(*[transpose(part) for part in expression.args])
        case Ones() | Zeros():
            return type(expression)(*reversed(expression.shape))
    return Transposed(expression)


def apply(scalar: sp.Expr, expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """f(a) element by element, f a SymPy expression in `X`; a number that f is a multiple of stands in front."""
    scalar = exact(scalar)
    if scalar == X:
        return expression
    if not scalar.has(X):
        return scale(scalar, Ones(*expression.shape))
    number, rest = scalar.as_independent(X, as_Add=False)
    if number != 1:
        return scale(number, apply(rest, expression))
    if isinstance(expression, Zeros) and scalar.subs(X, 0) == 0:
        return expression
    return Apply(sp.Lambda(X, scalar), expression)


def diagonal(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """diag(v)."""
    number, rest = coefficient(vector)
    if isinstance(rest, Zeros):
        return Zeros(rest.shape[0], rest.shape[0])
    return scale(number, Identity(rest.shape[0]) if isinstance(rest, Ones) else Diagonal(rest))


def sequence(name: str, rows: Any = 1, cols: Any = 1) -> Value:
    """What differs from step to step, an input, a state, a gate: a vector, a matrix with `cols`, a number without sizes."""
    return Value(name, rows, cols)


def matrix(name: str, rows: Any, cols: Any) -> Value:
    """A matrix of parameters, `(rows, cols)`."""
    return Value(name, rows, cols, axes=())


def vector(name: str, rows: Any = 1) -> Value:
    """A vector of parameters, `(rows,)`."""
    return Value(name, rows, axes=())


number = vector  # a learned number, a parameter of shape `()`: `number("alpha")`


def Eq(left: Value, right: sp.MatrixExpr) -> sp.Equality:
    """One equation, as SymPy's `Equality`: left is defined to be right."""
    return sp.Equality(left, right, evaluate=False)
