"""Recurrences on a sheet: the terms that another step hands over, in the place of the name that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sympy import MatrixExpr

from derive.cell import Cell
from derive.equation import Equation, Term
from derive.language import Value, hadamard
from derive.notation import Notation
from derive.shapes import STEPS, in_order, letter_of

LEFT = "what is read of it behind the recurrence"


@dataclass(frozen=True)
class Shifted(Term):
    """A term of another step, shown in the recurrence of step t."""

    shift: int = 1


def shift_of(term: Term) -> int:
    return term.shift if isinstance(term, Shifted) else 0


def spelled_out(equation: Equation, parts: Mapping[Value, Equation]) -> Equation:
    """The equation with the terms of each of the parts in the place of its name."""
    terms: list[Term] = []
    for term in equation.terms:
        part = parts.get(term.value)
        terms += [term] if part is None else [Shifted(times_factor(part, one), one.reason, term.value.lag) for one in part.terms]
    return replace(equation, terms=tuple(terms))


def times_factor(equation: Equation, term: Term) -> MatrixExpr:
    return term.value if equation.factor is None else hadamard(equation.factor, term.value)


# ---- in which order the backward pass takes the steps


def order_of_walk(cell: Cell, notation: Notation) -> str:
    """The ways of all recurrences backward, and what the loss is a sum of."""
    seen = (*cell.states, *cell.outputs)
    along = in_order(axis for value in seen if len(value.along) == 1 for axis in value.along) or (STEPS,)
    loss = notation.loss(any(not value.has_steps for value in cell.outputs), along)
    walks, ends = zip(*[walk_along(axis, cell, notation) for axis in cell.step_axes], strict=True)
    return f"{'; '.join(walks)}; {loss}; at {', or '.join(ends)} all is 0"


def walk_along(axis: str, cell: Cell, notation: Notation) -> tuple[str, str]:
    """(in which order the steps of an axis are taken, the step behind them)."""
    t, names = letter_of(axis), [str(value.name) for value in cell.carried if value.axis == axis]
    leftward = [name for name in names if name in cell.leftward]
    right, left = f"from {t} = {axis} to 1", f"from {t} = 1 to {axis}"
    if not leftward:
        return right, f"{t} = {axis}+1"
    if len(leftward) == len(names):
        return left, f"{t} = 0"
    return f"{right}, that of {', '.join(map(notation.name, leftward))} {left}", f"{t} = {axis}+1, or {t} = 0,"
