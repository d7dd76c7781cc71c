"""Collect like terms: y = h ∘ h gives 2 dy ∘ h, not dy ∘ h + dy ∘ h."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.language import Hadamard, coefficient, scale
from derive.program import Equation, Program, Reason, Term

Key = tuple[object, Reason | None]


def collect(program: Program, forward: Program) -> Program:
    """Add the terms of an equation that differ in nothing but their numbers and came by the same reason."""
    return program.with_equations([collected(equation) for equation in program.equations])


def collected(equation: Equation) -> Equation:
    found: dict[Key, Term] = {}
    for term in equation.terms:
        known = found.setdefault(key(term), term)
        if known is not term:
            total = coefficient(known.value)[0] + coefficient(term.value)[0]
            found[key(term)] = Term(scale(total, coefficient(known.value)[1]), term.reason)
    return equation if len(found) == len(equation.terms) else replace(equation, terms=tuple(found.values()))


def key(term: Term) -> Key:
    """What like terms have in common: the factors of an elementwise product in any order."""
    rest = coefficient(term.value)[1]
    factors = tuple(sorted(rest.args, key=sp.default_sort_key)) if isinstance(rest, Hadamard) else (rest,)
    return factors, term.reason
