"""Vectors and matrices one above the other, and some of their rows: SymPy's block matrices and slices can't be differentiated."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import LanguageError
from derive.language import Written, Zeros
from derive.shapes import shape_text


class Stack(Written, sp.MatrixExpr):  # type: ignore[misc]
    """[a; b; ...]: parts of one width, one above the other."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return sp.Add(*[part.shape[0] for part in self.args]), self.args[0].shape[1]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return stack(*parts)


class Rows(Written, sp.MatrixExpr):  # type: ignore[misc]
    """Rows start <= r < stop of an expression: `Rows(a, start, stop)`."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[2] - self.args[1], self.args[0].shape[1]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return rows(parts[0], *self.args[1:])


class Repeat(Written, sp.MatrixExpr):  # type: ignore[misc]
    """The same vector several times, one above the other: `Repeat(v, 3)`; only passes make it."""

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[0].shape[0] * self.args[1], self.args[0].shape[1]

    def over(self, *parts: sp.MatrixExpr) -> sp.MatrixExpr:
        return repeat(parts[0], int(self.args[1]))


# ---- constructors


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
