"""What an expression is and how large: matrix, vector or number, its shape as a person reads it, symbolic dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import sympy as sp

from derive.errors import LanguageError
from derive.letters import dim

STEPS, EXAMPLES = "T", "B"
STEPS_AND_EXAMPLES = (STEPS, EXAMPLES)
"""The axes of what differs from step to step and from example to example. A network may have other axes of steps beside T."""


DIRECTIONS = "directions"
"""The axis of the directions that step Jacobians are made of."""


def steps_in(axes: Iterable[str]) -> tuple[str, ...]:
    """The axes of steps among some."""
    return tuple(axis for axis in axes if axis not in (EXAMPLES, DIRECTIONS))


def in_order(axes: Iterable[str]) -> tuple[str, ...]:
    """Axes in the one order of arrays: directions, T, other steps, examples last."""
    return tuple(sorted(dict.fromkeys(axes), key=lambda axis: (axis == EXAMPLES, axis != DIRECTIONS, axis != STEPS, axis)))


OF_A_CALL = STEPS_AND_EXAMPLES
"""The sizes that a call brings and a cell doesn't have: steps and batch. No dimension of a cell may be named so."""


def letter_of(axis: str) -> str:
    """The letter that counts along an axis of steps: t of T."""
    return axis[:1].lower() + axis[1:]


def dimension(name: str) -> sp.Symbol:
    """A symbolic dimension such as `H`."""
    return sp.Symbol(name, integer=True, positive=True)


def is_matrix(expression: Any) -> bool:
    return isinstance(expression, sp.MatrixExpr)


def is_scalar(expression: Any) -> bool:
    """Whether an expression is a number of each example and step, or a learned one: of the shape (1, 1)."""
    return is_matrix(expression) and expression.shape == (1, 1)


def is_vector(expression: Any) -> bool:
    """Whether an expression is a column of more than one element."""
    return is_matrix(expression) and expression.shape[1] == 1 and expression.shape[0] != 1


def is_number(expression: Any) -> bool:
    return isinstance(expression, (int, float)) or (isinstance(expression, sp.Expr) and bool(expression.is_number))


def exact(number: Any) -> sp.Expr:
    """A number, or an expression, with each float as the decimal that Python prints for it: 0.1 is 1/10."""
    number = sp.sympify(number)
    decimals = {one: sp.Rational(repr(float(one))) for one in number.atoms(sp.Float) if float(one) == one}
    return number.xreplace(decimals)


def rank(expression: Any) -> int:
    """How many dimensions an example has at a step: 0 of a number, 1 of a vector, 2 of a matrix."""
    return 0 if is_scalar(expression) else 1 if expression.shape[1] == 1 else 2


def dims_of(value: Any) -> tuple[str, ...]:
    """The dimensions of a value as the contract names them: `()` of a number, `("H",)` of a vector, `("H", "D")` of a matrix."""
    rows, cols = value.shape
    sizes = () if is_scalar(value) else (rows,) if cols == 1 else (rows, cols)
    return tuple(dim(size) for size in sizes)


def shape_text(expression: sp.MatrixExpr) -> str:
    """The shape as a person reads it: `(H, D)`, `(H,)` for a column, `()` for a number."""
    rows, cols = expression.shape
    return "()" if is_scalar(expression) else f"({rows},)" if cols == 1 else f"({rows}, {cols})"


def widest(what: str, parts: list[sp.MatrixExpr]) -> sp.MatrixExpr:
    """The first part that is no number, the first one where all are. Raises LanguageError where two that are none differ in shape."""
    wide = [part for part in parts if not is_scalar(part)]
    for part in wide:
        if part.shape != wide[0].shape:
            raise LanguageError(f"{what}: shapes differ: expected {shape_text(wide[0])}, got {shape_text(part)}.")
    return (wide or parts)[0]


def check_chain(factors: Sequence[sp.MatrixExpr]) -> None:
    """Raises LanguageError unless each factor of a matrix product has as many rows as the one before it has columns."""
    for left, right in pairwise(factors):
        if left.shape[1] != right.shape[0]:
            raise LanguageError(
                f"matrix product: {shape_text(left)} times {shape_text(right)}: expected {left.shape[1]} rows on the right, "
                f"got {right.shape[0]}."
            )
