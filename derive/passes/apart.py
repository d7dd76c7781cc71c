"""Split a total that has terms which are the same at every step: what is summed over the steps gets a name, the rest is added to it."""

from __future__ import annotations

from dataclasses import replace

from derive.equation import Equation, Reason, Term
from derive.language import hadamard
from derive.program import Program

SUMMED = Reason(None, "the sum over the steps")


def apart(program: Program, forward: Program) -> Program:
    """The program with the sums over steps in equations of their own."""
    return program.with_equations([part for equation in program.equations for part in parts_of(equation)])


def parts_of(equation: Equation) -> list[Equation]:
    summed = [term for term in equation.terms if equation.is_summed(term.value)]
    steady = [term for term in equation.terms if term not in summed]
    if not summed or not steady:
        return [equation]
    if equation.factor is not None:
        if equation.is_summed(equation.factor):
            return [equation]
        whole = tuple(Term(hadamard(equation.factor, term.value), term.reason) for term in equation.terms)
        return parts_of(replace(equation, terms=whole, factor=None))
    total = equation.target.marked("summed")
    return [Equation(total, tuple(summed)), replace(equation, terms=(Term(total, SUMMED), *steady))]
