"""Name what an equation reads of all steps together, so that the rest of it can be computed step by step."""

from __future__ import annotations

from dataclasses import replace

from derive.along import binds
from derive.equation import Equation, Reason, Term
from derive.language import hadamard
from derive.program import Program

WHOLE = "whole"
"""The mark of the part of a value that all steps together make."""
TOGETHER = Reason(None, "made of all steps together")


def bound(program: Program, forward: Program) -> Program:
    """The program with the terms that need all steps in equations of their own."""
    if not any(binds(term.value) for equation in program.equations for term in equation.terms):
        return program
    return program.with_equations([part for equation in program.equations for part in parts_of(equation)])


def parts_of(equation: Equation) -> list[Equation]:
    factor = equation.factor
    if factor is not None and any(map(binds, (factor, *[term.value for term in equation.terms]))):
        spread_out = tuple(Term(hadamard(factor, term.value), term.reason) for term in equation.terms)
        return parts_of(replace(equation, terms=spread_out, factor=None))
    together = [term for term in equation.terms if binds(term.value)]
    if not equation.target.has_steps or not together or len(together) == len(equation.terms):
        return [equation]
    whole = equation.target.marked(WHOLE)
    terms = tuple(term for term in equation.terms if term not in together)
    return [Equation(whole, tuple(together)), replace(equation, terms=(*terms, Term(whole, TOGETHER)))]
