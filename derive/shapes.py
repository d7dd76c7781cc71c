"""What an expression is and how large: matrix, vector or number, its shape as a person reads it, symbolic dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import sympy as sp

from derive.errors import LanguageError

OF_A_CALL = ("T", "B")
"""The sizes that a call brings and a cell doesn't have: steps and batch. No dimension of a cell may be named so."""


def dimension(name: str) -> sp.Symbol:
    """A symbolic dimension such as `H`."""
    return sp.Symbol(name, integer=True, positive=True)


def is_matrix(expression: Any) -> bool:
    return isinstance(expression, sp.MatrixExpr)


def is_vector(expression: Any) -> bool:
    return is_matrix(expression) and expression.shape[1] == 1


def is_number(expression: Any) -> bool:
    return isinstance(expression, (int, float)) or (isinstance(expression, sp.Expr) and bool(expression.is_number))


def exact(number: Any) -> sp.Expr:
    """A number, or an expression, with each float as the decimal that Python prints for it: 0.1 is 1/10."""
    number = sp.sympify(number)
    decimals = {one: sp.Rational(repr(float(one))) for one in number.atoms(sp.Float) if float(one) == one}
    return number.xreplace(decimals)


def shape_text(expression: sp.MatrixExpr) -> str:
    """The shape as a person reads it: `(H, D)`, `(H,)` for a column."""
    rows, cols = expression.shape
    return f"({rows},)" if cols == 1 else f"({rows}, {cols})"


def check_same(what: str, parts: Sequence[sp.MatrixExpr]) -> None:
    """Raises LanguageError unless all parts are of one shape."""
    for part in parts:
        if part.shape != parts[0].shape:
            raise LanguageError(f"{what}: shapes differ: expected {shape_text(parts[0])}, got {shape_text(part)}.")


def check_chain(factors: Sequence[sp.MatrixExpr]) -> None:
    """Raises LanguageError unless each factor of a matrix product has as many rows as the one before it has columns."""
    for left, right in pairwise(factors):
        if left.shape[1] != right.shape[0]:
            raise LanguageError(
                f"matrix product: {shape_text(left)} times {shape_text(right)}: expected {left.shape[1]} rows on the right, "
                f"got {right.shape[0]}."
            )
