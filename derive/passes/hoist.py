"""Hoist out of the loop over time what doesn't depend on the carry: it is computed for all steps at once, before the loop."""

from __future__ import annotations

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import matrix_parts, values_in
from derive.language import Plus, Times, Value, add
from derive.program import Program
from derive.shapes import is_matrix


def hoist(program: Program, forward: Program) -> Program:
    """Name the parts of sums that hold a matrix product and need nothing of the loop, so that they are computed for all steps at once."""
    moving = {*program.carried(), *[equation.target for equation in program.at("step")]}
    equations: list[Equation] = []
    for equation in program.equations:
        alone = equation.target not in moving or equation.target.kind == "carry"
        equations += [equation] if alone else split(equation, moving)
    return program.with_equations(equations)


def split(equation: Equation, moving: set[Value]) -> list[Equation]:
    """A sum as the part that can be hoisted, under the name `..._in`, and the rest."""
    summands = [part for term in equation.terms for part in (term.value.args if isinstance(term.value, Plus) else [term.value])]
    still = [part for part in summands if not moving.intersection(values_in(part))]
    if equation.factor is not None or not any(has_product(part) for part in still):
        return [equation]
    part = equation.target.like(name=f"{equation.target.name}_in")
    rest = [summand for summand in summands if summand not in still]
    return [Equation(part, (Term(add(*still)),)), equation.with_value(add(part, *rest))]


def has_product(node: sp.MatrixExpr) -> bool:
    """Whether an expression multiplies matrices."""
    matrices = [part for part in node.args if is_matrix(part)]
    return (isinstance(node, Times) and len(matrices) > 1) or any(has_product(part) for part in matrix_parts(node))
