"""Hoist out of the loop over time what doesn't depend on the carry: it is computed for all steps at once, before the loop."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.expressions import matrix_parts, values_in
from derive.language import Plus, Times, Value, add
from derive.program import Equation, Program, Term
from derive.shapes import is_matrix


def hoist(program: Program, forward: Program) -> Program:
    """Move equations, and the parts of sums that hold a matrix product, in front of the loop where they don't need the carry."""
    moving = set(program.carried())
    written = {value for _, value in program.carries}
    equations: list[Equation] = []
    for equation in program.equations:
        if equation.place != "step":
            equations.append(equation)
        elif equation.accumulate or equation.target in written or moving.intersection(equation.reads()):
            moving.add(equation.target)
            equations += [equation] if equation.target.kind == "carry" else split(equation, moving)
        else:
            equations.append(replace(equation, place="before"))
    return program.with_equations(equations)


def split(equation: Equation, moving: set[Value]) -> list[Equation]:
    """A sum as the part that can be hoisted, under the name `..._in`, and the rest."""
    summands = [part for term in equation.terms for part in (term.value.args if isinstance(term.value, Plus) else [term.value])]
    still = [part for part in summands if not moving.intersection(values_in(part))]
    if equation.accumulate or equation.factor is not None or not any(has_product(part) for part in still):
        return [equation]
    part = equation.target.like(name=f"{equation.target.name}_in")
    rest = [summand for summand in summands if summand not in still]
    return [Equation(part, (Term(add(*still)),), place="before"), equation.with_value(add(part, *rest))]


def has_product(node: sp.MatrixExpr) -> bool:
    """Whether an expression multiplies matrices."""
    matrices = [part for part in node.args if is_matrix(part)]
    return (isinstance(node, Times) and len(matrices) > 1) or any(has_product(part) for part in matrix_parts(node))
