"""What an expression is and how large: matrix, vector or number, its shape as a person reads it, symbolic dimensions."""

from __future__ import annotations

from typing import Any

import sympy as sp

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


def shape_text(expression: sp.MatrixExpr) -> str:
    """The shape as a person reads it: `(H, D)`, `(H,)` for a column."""
    rows, cols = expression.shape
    return f"({rows},)" if cols == 1 else f"({rows}, {cols})"
