"""Recurrences on a sheet: the terms that another step hands over, in the place of the name that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sympy import MatrixExpr

from derive.equation import Equation, Term
from derive.language import Value, hadamard

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
