"""Write what all terms share in front of them: dz = dh ∘ (h_tilde - h_prev) instead of dh ∘ h_tilde - dh ∘ h_prev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import summands
from derive.language import Hadamard, Ones, Value, add, coefficient, hadamard, scale
from derive.program import Program
from derive.shapes import is_scalar, is_vector


def factor(program: Program, forward: Program) -> Program:
    """Take the elementwise factors that are common to all terms of an equation out of its sum."""
    return program.with_equations([factored(equation) for equation in program.equations])


def factors(term: Term) -> list[sp.MatrixExpr]:
    """The elementwise factors of a term, its number left aside."""
    rest = coefficient(term.value)[1]
    return list(rest.args) if isinstance(rest, Hadamard) else [rest]


def factored(equation: Equation) -> Equation:
    if equation.factor is not None or not is_vector(equation.target):
        return equation
    equation = with_summands(equation)
    if len(equation.terms) < 2:
        return equation
    common = [one for one in factors(equation.terms[0]) if all(one in factors(term) for term in equation.terms[1:])]
    if not common or not all(isinstance(one, (Value, Hadamard)) for one in common):
        return equation
    terms = tuple(Term(without(term, common), term.reason) for term in equation.terms)
    if any(term.value.shape != equation.target.shape for term in terms):
        return equation  # only numbers would be left in the sum
    positive_first = tuple(sorted(terms, key=lambda term: bool(coefficient(term.value)[0] < 0)))
    return replace(equation, terms=positive_first, factor=hadamard(*common))


def with_summands(equation: Equation) -> Equation:
    """The equation with each summand as a term, where all of them are multiples by one number: of a softmax, d (y s − t)."""
    parts = [Term(part, term.reason) for term in equation.terms for part in summands(term.value)]
    if len(parts) > len(equation.terms) and shared_numbers(parts):
        return replace(equation, terms=tuple(parts))
    return replace(equation, terms=tuple(Term(condensed(term), term.reason) for term in equation.terms))


def shared_numbers(parts: Sequence[Term]) -> list[sp.MatrixExpr]:
    """The numbers of each step that scale all of some terms."""
    return [one for one in factors(parts[0]) if is_scalar(one) and all(one in factors(part) for part in parts)]


def condensed(term: Term) -> sp.MatrixExpr:
    """A term that is a sum of multiples by one number as the number times the sum."""
    parts = [Term(part) for part in summands(term.value)]
    shared = shared_numbers(parts) if len(parts) > 1 else []
    left = [without(part, shared) for part in parts] if shared else []
    if not left or any(part.shape != term.value.shape for part in left):
        return term.value
    return hadamard(*shared, add(*sorted(left, key=lambda part: bool(coefficient(part)[0] < 0))))


def without(term: Term, common: list[sp.MatrixExpr]) -> sp.MatrixExpr:
    left = factors(term)
    for one in common:
        left.remove(one)
    return scale(coefficient(term.value)[0], hadamard(*left, Ones(*term.value.shape)))
