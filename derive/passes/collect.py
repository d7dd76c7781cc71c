"""Collect like terms: y = h ∘ h gives 2 dy ∘ h, not dy ∘ h + dy ∘ h."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.equation import Equation, like_terms
from derive.language import Zeros
from derive.program import Program


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
