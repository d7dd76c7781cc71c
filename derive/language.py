"""The language of a cell: SymPy matrix expressions that stay as they were written.

SymPy sorts the terms of a sum as soon as `+` is used, so that a cell would not read like the document that it comes from.
The nodes here are SymPy's own (`MatrixSymbol`, `MatMul`, `MatAdd`, `HadamardProduct`, `Transpose`,
`ElementwiseApplyFunction`), subclassed only to keep the written order and to give `*` between two column vectors its
textbook meaning, the elementwise product. `Stack`, `Rows` and `Softmax` are added: SymPy's block matrices and slices
can't be differentiated.

Vectors are columns `(n, 1)` with a symbolic dimension; the batch is invisible here and appears in the emitted code only.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.core.symbol import Str
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.hadamard import HadamardProduct

from derive.errors import LanguageError as LanguageError
from derive.shapes import check_chain, check_same, exact, is_matrix, is_vector, shape_text
from derive.shapes import dimension as dimension

X = sp.Symbol("X")
"""The placeholder of every elementwise function: `Apply(tanh(X), a)` is tanh taken of each element of `a`."""


class Written:
    """Operators that keep what was written: no sorting, no merging.

    `@` is the matrix product; `*` scales by a number, is elementwise between two column vectors of one length, and the
    matrix product otherwise; a number added to a vector is added to each of its elements.
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
        return times(self, apply(1 / X, other)) if is_matrix(other) else scale(1 / exact(other), self)

    def __rtruediv__(self, other: Any) -> sp.MatrixExpr:
        return scale(other, apply(1 / X, self))

    @property
    def T(self) -> sp.MatrixExpr:
        return transpose(self)


class Value(Written, sp.MatrixSymbol):  # type: ignore[misc]
    """A named quantity: `Value("h", H)` is h_t, `Value("h", H).prev` is h_{t-1}, `Value("W", H, D, timed=False)` a parameter.

    timed: whether it differs from step to step (and from example to example); parameters don't.
    kind: `primal`, or what a derived program adds to it: `cotangent` (dL/dv), `given` (the part of it that the loss gives
    directly), `carry` (the part that comes through the next step), `tangent`, `jacobian:s` (dv/ds_prev).
    lag: 0 for step t, -1 for step t-1.
    """

    def __new__(cls, name: Any, rows: Any, cols: Any = 1, timed: Any = True, kind: Any = "primal", lag: Any = 0) -> Value:
        parts = [Str(part) if isinstance(part, str) else sp.sympify(part) for part in (name, rows, cols, timed, kind, lag)]
        self: Value = sp.Basic.__new__(cls, *parts)
        return self

    @property
    def timed(self) -> bool:
        return bool(self.args[3])

    @property
    def kind(self) -> str:
        return str(self.args[4].name)

    @property
    def lag(self) -> int:
        return int(self.args[5])

    @property
    def prev(self) -> Value:
        """The same quantity one step earlier."""
        return self.like(lag=self.lag - 1)

    def like(self, **changes: Any) -> Value:
        """The same value with some of `name`, `rows`, `cols`, `timed`, `kind`, `lag` changed."""
        fields: dict[str, Any] = dict(zip(("name", "rows", "cols", "timed", "kind", "lag"), self.args, strict=True)) | changes
        return Value(**fields)

    @property
    def is_vector(self) -> bool:
        return bool(self.shape[1] == 1)


class Plus(Written, sp.MatAdd):  # type: ignore[misc]
    """a + b + ..."""


class Times(Written, sp.MatMul):  # type: ignore[misc]
    """A x, with a number in front where there is one."""


class Hadamard(Written, HadamardProduct):  # type: ignore[misc]
    """u ∘ v, element by element."""


class Transposed(Written, sp.Transpose):  # type: ignore[misc]
    """Aᵀ."""


class Apply(Written, ElementwiseApplyFunction):  # type: ignore[misc]
    """f(a) element by element; `scalar` is f as a SymPy expression in `X`."""

    @property
    def scalar(self) -> sp.Expr:
        return self.args[0].expr


class Stack(Written, sp.MatrixExpr):  # type: ignore[misc]
    """[a; b; ...]: parts of one width, one above the other."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return sp.Add(*[part.shape[0] for part in self.args]), self.args[0].shape[1]


class Rows(Written, sp.MatrixExpr):  # type: ignore[misc]
    """Rows start <= r < stop of an expression: `Rows(a, start, stop)`."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[2] - self.args[1], self.args[0].shape[1]


class Repeat(Written, sp.MatrixExpr):  # type: ignore[misc]
    """The same vector several times, one above the other: `Repeat(v, 3)`; only passes make it."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape[0] * self.args[1], self.args[0].shape[1]


class Softmax(Written, sp.MatrixExpr):  # type: ignore[misc]
    """softmax over the features of one vector."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape  # type: ignore[no-any-return]


class Diagonal(Written, sp.MatrixExpr):  # type: ignore[misc]
    """diag(v): the square matrix with v on its diagonal."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape[0], self.args[0].shape[0]


class Ones(Written, sp.OneMatrix):  # type: ignore[misc]
    """A matrix of ones; as a vector, the 1 of `1 - z`."""


class Zeros(Written, sp.ZeroMatrix):  # type: ignore[misc]
    """A matrix of zeros."""


class Identity(Written, sp.Identity):  # type: ignore[misc]
    """The identity matrix."""


LEGAL = (Value, Plus, Times, Hadamard, Transposed, Apply, Stack, Rows, Repeat, Softmax, Diagonal, Ones, Zeros, Identity)
"""Every node that a program may hold."""


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
    if factor == 1:
        return rest
    if factor == 0 or isinstance(rest, Zeros):
        return Zeros(*expression.shape)
    return Times(factor, *(rest.args if isinstance(rest, Times) else (rest,)), evaluate=False)


def add(*terms: Any) -> sp.MatrixExpr:
    """The sum of the terms, in their order; a number counts for each element."""
    like = next(term for term in terms if is_matrix(term))
    flat: list[sp.MatrixExpr] = []
    for term in terms:
        term = term if is_matrix(term) else scale(term, Ones(*like.shape))
        flat.extend(term.args if isinstance(term, Plus) else [term])
    check_same("sum", [like, *flat])
    flat = [term for term in flat if not isinstance(term, Zeros)]
    return Zeros(*like.shape) if not flat else flat[0] if len(flat) == 1 else Plus(*flat, evaluate=False)


def times(left: Any, right: Any) -> sp.MatrixExpr:
    """What `*` means: scaling, the elementwise product of two vectors, else the matrix product."""
    if not is_matrix(left):
        return scale(left, right)
    if not is_matrix(right):
        return scale(right, left)
    return hadamard(left, right) if is_vector(left) and is_vector(right) else matmul(left, right)


def hadamard(*factors: sp.MatrixExpr) -> sp.MatrixExpr:
    """u ∘ v ∘ ..., numbers in front."""
    number: sp.Expr = sp.S.One
    flat: list[sp.MatrixExpr] = []
    check_same("elementwise product", factors)
    for factor in factors:
        scalar, rest = coefficient(factor)
        number *= scalar
        flat.extend(rest.args if isinstance(rest, Hadamard) else [rest])
    if any(isinstance(factor, Zeros) for factor in flat):
        return Zeros(*factors[0].shape)
    flat = [factor for factor in flat if not isinstance(factor, Ones)] or [Ones(*factors[0].shape)]
    return scale(number, flat[0] if len(flat) == 1 else Hadamard(*flat))


def matmul(*factors: sp.MatrixExpr) -> sp.MatrixExpr:
    """A B x, numbers in front."""
    number: sp.Expr = sp.S.One
    flat: list[sp.MatrixExpr] = []
    for factor in factors:
        scalar, rest = coefficient(factor)
        number *= scalar
        flat.extend(rest.args if isinstance(rest, Times) else [rest])
    check_chain(flat)
    if any(isinstance(factor, Zeros) for factor in flat):
        return Zeros(flat[0].shape[0], flat[-1].shape[1])
    flat = [factor for factor in flat if not isinstance(factor, Identity)] or flat[:1]
    flat = merge_diagonals(flat)
    return scale(number, flat[0] if len(flat) == 1 else Times(*flat, evaluate=False))


def merge_diagonals(factors: list[sp.MatrixExpr]) -> list[sp.MatrixExpr]:
    """diag(u) diag(v) = diag(u ∘ v)."""
    merged: list[sp.MatrixExpr] = []
    for factor in factors:
        if merged and isinstance(factor, Diagonal) and isinstance(merged[-1], Diagonal):
            factor = Diagonal(hadamard(merged.pop().args[0], factor.args[0]))
        merged.append(factor)
    return merged


def transpose(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """Aᵀ, with (AB)ᵀ = BᵀAᵀ and Aᵀᵀ = A."""
    match expression:
        case Transposed():
            return expression.args[0]
        case Times():
            number, rest = coefficient(expression)
            parts = rest.args if isinstance(rest, Times) else (rest,)
            return scale(number, matmul(*[transpose(part) for part in reversed(parts)]))
        case Plus():
            return add(*[transpose(part) for part in expression.args])
        case Diagonal() | Identity():
            return expression
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


def stack(*parts: sp.MatrixExpr) -> sp.MatrixExpr:
    """[a; b; ...], nested stacks flattened."""
    flat = [piece for part in parts for piece in (part.args if isinstance(part, Stack) else [part])]
    for part in flat:
        if part.shape[1] != flat[0].shape[1]:
            raise LanguageError(f"stack: widths differ: expected {shape_text(flat[0])}, got {shape_text(part)}.")
    flat = join_rows(flat)
    if all(isinstance(part, Zeros) for part in flat):
        return Zeros(sp.Add(*[part.shape[0] for part in flat]), flat[0].shape[1])
    return flat[0] if len(flat) == 1 else Stack(*flat)


def join_rows(parts: list[sp.MatrixExpr]) -> list[sp.MatrixExpr]:
    """Adjacent rows of one expression become one range of rows."""
    joined: list[sp.MatrixExpr] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Rows) and isinstance(last, Rows) and last.args[0] == part.args[0] and last.args[2] == part.args[1]:
            joined[-1] = rows(part.args[0], last.args[1], part.args[2])
        else:
            joined.append(part)
    return joined


def repeat(vector: sp.MatrixExpr, times_: int) -> sp.MatrixExpr:
    """The vector, `times_` times, one above the other."""
    if isinstance(vector, Zeros):
        return Zeros(vector.shape[0] * times_, vector.shape[1])
    return vector if times_ == 1 else Repeat(vector, sp.Integer(times_))


def rows(expression: sp.MatrixExpr, start: Any, stop: Any) -> sp.MatrixExpr:
    """Rows start <= r < stop."""
    start, stop = sp.sympify(start), sp.sympify(stop)
    if start == 0 and stop == expression.shape[0]:
        return expression
    if isinstance(expression, Zeros):
        return Zeros(stop - start, expression.shape[1])
    if isinstance(expression, Rows):
        return rows(expression.args[0], expression.args[1] + start, expression.args[1] + stop)
    return Rows(expression, start, stop)


def softmax(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """exp(z) / sum(exp(z)) over the features of z."""
    return Softmax(expression)


def diagonal(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """diag(v)."""
    number, rest = coefficient(vector)
    if isinstance(rest, Zeros):
        return Zeros(rest.shape[0], rest.shape[0])
    return scale(number, Identity(rest.shape[0]) if isinstance(rest, Ones) else Diagonal(rest))


# ---- what cells are written with


def sequence(name: str, rows: Any) -> Value:
    """A vector that differs from step to step: an input, a state, a gate."""
    return Value(name, rows)


def matrix(name: str, rows: Any, cols: Any) -> Value:
    """A matrix of parameters, `(rows, cols)`."""
    return Value(name, rows, cols, timed=False)


def vector(name: str, rows: Any) -> Value:
    """A vector of parameters, `(rows,)`."""
    return Value(name, rows, timed=False)


def Eq(left: Value, right: sp.MatrixExpr) -> sp.Equality:
    """One equation, as SymPy's `Equality`: left is defined to be right."""
    return sp.Equality(left, right, evaluate=False)
