"""Operations over the elements of one vector or matrix: sums, the largest element, running sums, softmax, and what is made of them.

The nodes are a few; means, norms and normalisations are compositions of them that need no rule of their own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sympy as sp

from derive.errors import LanguageError
from derive.language import (
    Hadamard,
    Ones,
    Written,
    X,
    Zeros,
    add,
    apply,
    coefficient,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.onehot import OneHot
from derive.shapes import is_scalar, shape_text

EPSILON = sp.Rational(1, 100000)
"""What layer and RMS normalisation add inside the root: PyTorch's default of LayerNorm."""


class OverElements(Written, sp.MatrixExpr):  # type: ignore[misc]
    """An operation over the elements of one vector or matrix.

    word: its name in formulas. work: operations for each element that it reads. kept: its rules read the result, which then needs a
    name in the forward program.
    """

    word: ClassVar[str] = ""
    work: ClassVar[int] = 1
    kept: ClassVar[bool] = False


class Reduction(OverElements):
    """One number of all elements."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return sp.S.One, sp.S.One


class Total(Reduction):
    """The sum of all elements."""

    word = "sum"

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return total(*parts)


class Largest(Reduction):
    """The largest element of a vector."""

    word = "max"

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return largest(*parts)


class LogSumExp(Reduction):
    """log(sum(exp(z))) of a vector, in a form that can't overflow."""

    word, work = "logsumexp", 4

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return logsumexp(*parts)


class AlongVector(OverElements):
    """A vector of all elements of another one of its length."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape  # type: ignore[no-any-return]


class FirstLargest(AlongVector):
    """1 at the first of the largest elements of a vector, 0 elsewhere: the derivative of `Largest`."""

    word, work = "first max", 2

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return first_largest(*parts)


class Softmax(AlongVector):
    """exp(z) / sum(exp(z)) over the elements of one vector."""

    word, work, kept = "softmax", 4, True

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return softmax(*parts)


class LogSoftmax(AlongVector):
    """log(softmax(z)) over the elements of one vector, z - log(sum(exp(z))), in a form that is finite wherever z is."""

    word, work = "logsoftmax", 4

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return log_softmax(*parts)


class Cumulative(AlongVector):
    """Running sums of a vector: `Cumulative(x, False)` from its start, `Cumulative(x, True)` from its end."""

    @property
    def word(self) -> str:  # type: ignore[override]
        return "cumsum from the end" if self.backwards else "cumsum"

    @property
    def backwards(self) -> bool:
        return bool(self.args[1])

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return cumulative(parts[0], self.backwards)


# ---- constructors


def check_column(what: str, expression: sp.MatrixExpr) -> None:
    """Raises LanguageError unless an expression is a vector or a number."""
    if expression.shape[1] != 1:
        raise LanguageError(
            f"{what}: expected a vector, got {shape_text(expression)}. Take it of the rows, as vectors of their own."
        )


def without_numbers(expression: sp.MatrixExpr) -> tuple[list[sp.MatrixExpr], sp.MatrixExpr]:
    """(the numbers that scale an expression, the rest), of an expression that is no number itself."""
    factor, rest = coefficient(expression)
    parts = list(rest.args) if isinstance(rest, Hadamard) else [rest]
    scaling = [part for part in parts if is_scalar(part)]
    wide = hadamard(*[part for part in parts if not is_scalar(part)])
    return ([scale(factor, Ones(1, 1))] if factor != 1 else []) + scaling, wide


def total(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """The sum of all elements; of a number the number itself."""
    if is_scalar(expression) or isinstance(expression, Zeros):
        return expression if is_scalar(expression) else Zeros(1, 1)
    scaling, wide = without_numbers(expression)
    if isinstance(wide, Ones | OneHot):
        return hadamard(*scaling, scale(wide.shape[0] * wide.shape[1] if isinstance(wide, Ones) else 1, Ones(1, 1)))
    column = next((part for part in wide.args if isinstance(part, OneHot)), None) if isinstance(wide, Hadamard) else None
    if column is not None:
        rest = [part for part in wide.args if part is not column]
        return hadamard(*scaling, matmul(transpose(column), hadamard(*rest)))
    return hadamard(*scaling, Total(wide))


def inner(left: sp.MatrixExpr, right: sp.MatrixExpr) -> sp.MatrixExpr:
    """The sum of the elementwise product: uᵀ v of two vectors."""
    if is_scalar(left) or left.shape[1] != 1:
        return total(hadamard(left, right))
    (first, u), (second, v) = without_numbers(left), without_numbers(right)
    plain = isinstance(u, Ones) or isinstance(v, Ones)
    return hadamard(*first, *second, total(hadamard(u, v)) if plain else matmul(transpose(u), v))


def filled(number: sp.MatrixExpr, like: sp.MatrixExpr) -> sp.MatrixExpr:
    """A number in every element."""
    return hadamard(number, Ones(*like.shape))


def largest(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """max over the elements; its gradient goes to the first of the largest."""
    check_column("max over the elements", vector)
    return vector if is_scalar(vector) else Largest(vector)


def first_largest(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """1 at the first of the largest elements, else 0."""
    return Ones(1, 1) if is_scalar(vector) else FirstLargest(vector)


def logsumexp(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """log(sum(exp(z)))."""
    check_column("logsumexp", vector)
    return vector if is_scalar(vector) else LogSumExp(vector)


def softmax(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """exp(z) / sum(exp(z)) over the elements of z."""
    check_column("softmax", vector)
    return Softmax(vector)


def log_softmax(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """z − log(sum(exp(z)))."""
    check_column("log(softmax)", vector)
    return LogSoftmax(vector)


def cumulative(vector: sp.MatrixExpr, backwards: bool = False) -> sp.MatrixExpr:
    """x_1, x_1 + x_2, ..., or the sums from the other end; of a matrix down each column."""
    factor, rest = coefficient(vector)
    if is_scalar(rest) or isinstance(rest, Zeros):
        return vector
    return scale(factor, Cumulative(rest, sp.true if backwards else sp.false))


# ---- compositions


def mean(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """The mean of all elements."""
    return scale(1 / (expression.shape[0] * expression.shape[1]), total(expression))


def centred(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """x less its mean."""
    return add(expression, scale(-1, mean(expression)))


def variance(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """The mean squared distance from the mean: divided by n."""
    return mean(apply(X**2, centred(expression)))


def squared_norm(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """‖x‖²."""
    return inner(expression, expression)


def norm(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """‖x‖, the Euclidean (of a matrix the Frobenius) norm; it has no derivative at 0."""
    return apply(sp.sqrt(X), squared_norm(expression))


def layer_norm(expression: sp.MatrixExpr, epsilon: Any = EPSILON) -> sp.MatrixExpr:
    """(x − mean) / √(variance + ε), Ba, Kiros and Hinton 2016, equation 4, without gain and offset."""
    return hadamard(centred(expression), apply(1 / sp.sqrt(X + epsilon), variance(expression)))


def rms_norm(expression: sp.MatrixExpr, epsilon: Any = EPSILON) -> sp.MatrixExpr:
    """x / √(mean of squares + ε), Zhang and Sennrich 2019, equation 4, without gain."""
    return hadamard(expression, apply(1 / sp.sqrt(X + epsilon), mean(apply(X**2, expression))))


def cumax(vector: sp.MatrixExpr) -> sp.MatrixExpr:
    """Running sums of the softmax, Shen et al. 2019, equation 2."""
    return cumulative(softmax(vector))


def power(base: Any, exponent: sp.MatrixExpr) -> sp.MatrixExpr:
    """base^exponent, exp(exponent log base): of a base above 0, a number or an expression."""
    logarithm = apply(sp.log(X), base) if isinstance(base, sp.MatrixExpr) else sp.log(sp.sympify(base))
    factors = hadamard(logarithm, exponent) if isinstance(base, sp.MatrixExpr) else scale(logarithm, exponent)
    return apply(sp.exp(X), factors)
