"""Tokens: whole numbers that stand for one element, or one column, of many.

A token `w` of V enters formulas as `OneHot(w)`, the column of V elements that is 1 at w and 0 elsewhere, and only so: `E @ one_hot(w)` is
column w of E, `one_hot(w)ᵀ v` element w of v. The rules of derivatives are those of products, and the column is a constant to them; no
kernel makes it where it stands in a product or a sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp

from derive.errors import LanguageError
from derive.language import Leaf, Transposed, Value
from derive.shapes import is_scalar, shape_text


class OneHot(Leaf, sp.MatrixExpr):  # type: ignore[misc]
    """1 at element w of a column, 0 elsewhere: `OneHot(w, V)`, w a whole number with 0 <= w < V.

    It reads its token, and is made of nothing that could be differentiated or put in its place.
    """

    @property
    def token(self) -> Value:
        return self.args[0]  # type: ignore[no-any-return]

    @property
    def shape(self) -> tuple[sp.Expr, sp.Expr]:
        return self.args[1], sp.S.One

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of its token."""
        return self.token.axes  # type: ignore[no-any-return]


def one_hot(token: sp.MatrixExpr, size: Any) -> OneHot:
    """The column of `size` elements that is 1 at a token. Raises LanguageError unless the token is a value that is given as a number."""
    if not isinstance(token, Value) or not is_scalar(token):
        got = f"{token} {shape_text(token)}" if isinstance(token, sp.MatrixExpr) else f"{token!r}"
        raise LanguageError(f"one_hot: expected an input that is a number of each step, `sequence(name)`, got {got}.")
    return OneHot(token, sp.sympify(size))


def one_hot_in(node: sp.MatrixExpr) -> OneHot | None:
    """The one-hot column that a factor is, as it stands or transposed; None for anything else."""
    inner = node.args[0] if isinstance(node, Transposed) else node
    return inner if isinstance(inner, OneHot) else None


def columns_in(expressions: Iterable[sp.MatrixExpr]) -> list[OneHot]:
    """The one-hot columns in expressions, each once, in the order of reading."""
    found: dict[OneHot, None] = {}
    waiting = list(expressions)[::-1]
    while waiting:
        node = waiting.pop()
        if isinstance(node, OneHot):
            found.setdefault(node)
        waiting.extend(reversed(node.operands))
    return list(found)


def tokens_in(expressions: Iterable[sp.MatrixExpr]) -> dict[Value, sp.Expr]:
    """The tokens that expressions read, each with how many of them there are, in the order of reading."""
    found: dict[Value, sp.Expr] = {}
    for column in columns_in(expressions):
        found.setdefault(column.token, column.shape[0])
    return found
