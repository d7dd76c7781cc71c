"""Collect like terms: y = h ∘ h gives 2 dy ∘ h, not dy ∘ h + dy ∘ h."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import sympy as sp

from derive.equation import Equation, Reason, Term
from derive.language import Hadamard, Zeros, coefficient, scale
from derive.program import Program

Key = tuple[object, Reason | None]


def collect(program: Program, forward: Program) -> Program:
    """Add the terms of an equation that differ in nothing but their numbers and came by the same reason; what is 0 then is read as 0."""
    gone: dict[sp.MatrixExpr, sp.MatrixExpr] = {}
    out = []
    for equation in program.equations:
        left = collected(equation.substituted(gone.get) if any(value in gone for value in equation.reads()) else equation)
        if equation.terms and not left.terms:
            gone[equation.target] = Zeros(*equation.target.shape)
        out.append(left)
    return program.with_equations(out)


def collected(equation: Equation) -> Equation:
    terms = tuple(like_terms(equation.terms))
    return equation if terms == equation.terms else replace(equation, terms=terms)


def like_terms(terms: Iterable[Term]) -> list[Term]:
    """The terms with like ones added; those that come to nothing are gone."""
    groups: dict[Key, list[Term]] = defaultdict(list)
    for term in terms:
        groups[key(term)].append(term)
    added = [same[0] if len(same) == 1 else total(same) for same in groups.values()]
    return [term for term in added if not isinstance(term.value, Zeros)]


def total(terms: list[Term]) -> Term:
    """The sum of terms that differ in nothing but their numbers."""
    number = sp.Add(*[coefficient(term.value)[0] for term in terms])
    return Term(scale(number, coefficient(terms[0].value)[1]), terms[0].reason)


def key(term: Term) -> Key:
    """What like terms have in common: the factors of an elementwise product in any order."""
    rest = coefficient(term.value)[1]
    factors = tuple(sorted(rest.args, key=sp.default_sort_key)) if isinstance(rest, Hadamard) else (rest,)
    return factors, term.reason
