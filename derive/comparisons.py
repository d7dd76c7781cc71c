"""Operations on two quantities, element by element, that hold the one against the other: the larger, the smaller, and which it is.

Of equals the first counts: `maximum(a, b)` is a where a ≥ b, and all of its gradient goes to a there. Complex numbers are told apart by
their real parts, as analytic continuation has it. nan on either side gives nan, in the derivatives too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sympy as sp

from derive.language import Ones, Written, coefficient, hadamard, scale
from derive.shapes import is_matrix, widest


class Pairwise(Written, sp.MatrixExpr):  # type: ignore[misc]
    """An elementwise operation on two quantities of one shape. word: what it is called in formulas and in procedures."""

    word: ClassVar[str] = ""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape  # type: ignore[no-any-return]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return type(self)(*alike(self.word, *parts))


class Maximum(Pairwise):
    """max(a, b): a where a ≥ b, else b."""

    word = "max"


class Minimum(Pairwise):
    """min(a, b): a where a ≤ b, else b."""

    word = "min"


class AtLeast(Pairwise):
    """[a ≥ b]: 1 where it holds, else 0; its derivative is 0."""

    word = "≥"


class Above(Pairwise):
    """[a > b]: 1 where it holds, else 0; its derivative is 0."""

    word = ">"


def maximum(left: Any, right: Any) -> sp.MatrixExpr:
    """The larger one, element by element, of equals the first; a number counts for each element."""
    return of_two(Maximum, left, right)


def minimum(left: Any, right: Any) -> sp.MatrixExpr:
    """The smaller one, element by element, of equals the first; a number counts for each element."""
    return of_two(Minimum, left, right)


def clip(value: Any, least: Any, most: Any) -> sp.MatrixExpr:
    """min(max(value, least), most): the value comes first, so that its slope at both ends is 1."""
    return minimum(maximum(value, least), most)


def at_least(left: sp.MatrixExpr, right: sp.MatrixExpr) -> sp.MatrixExpr:
    """1 where left ≥ right, else 0."""
    return of_two(AtLeast, left, right)


def above(left: sp.MatrixExpr, right: sp.MatrixExpr) -> sp.MatrixExpr:
    """1 where left > right, else 0."""
    return of_two(Above, left, right)


def of_two(kind: type[Pairwise], left: Any, right: Any) -> sp.MatrixExpr:
    """The node of two quantities of which one at least is no number."""
    return kind(*alike(kind.word, *[part if is_matrix(part) else scale(part, Ones(1, 1)) for part in (left, right)]))


def alike(what: str, *parts: sp.MatrixExpr) -> list[sp.MatrixExpr]:
    """The parts, a number in every element where another part is none. Raises LanguageError where shapes differ."""
    like = widest(what, list(parts))
    return [part if part.shape == like.shape else hadamard(part, Ones(*like.shape)) for part in parts]


def is_filled(expression: sp.MatrixExpr) -> bool:
    """Whether an expression is a given number in every element."""
    return isinstance(coefficient(expression)[1], Ones)
