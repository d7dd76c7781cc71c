"""Hoist out of the loop over time what doesn't depend on the carry: it is computed for all steps at once, before the loop."""

from __future__ import annotations

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import matrix_parts, summands, values_in
from derive.fresh import Fresh
from derive.language import Times, Value, add
from derive.program import Program
from derive.schedule import LOOPS, is_fat, stages
from derive.shapes import is_matrix


def hoist(program: Program, forward: Program) -> Program:
    """Name the parts of sums that hold a matrix product and need nothing of the loop, so that they are computed for all steps at once.

    A matrix of each step isn't: it would take more time to write for all steps and read again than to make it where it is read.
    """
    loops = [{one.target for one in stage.equations} for stage in stages(program.equations, fused=False) if stage.way in LOOPS]
    loop_of = {target: loop for loop in loops for target in loop}
    fresh = program.names()
    equations: list[Equation] = []
    for equation in program.equations:
        alone = equation.target not in loop_of or "carry" in equation.target.marks or is_fat(equation.target)
        equations += [equation] if alone else split(equation, loop_of[equation.target], fresh)
    return program.with_equations(equations)


def split(equation: Equation, loop: set[Value], fresh: Fresh) -> list[Equation]:
    """A sum as the part that can be hoisted, under the name `..._in`, and the rest."""
    parts = [part for term in equation.terms for part in summands(term.value)]
    still = [part for part in parts if not any(value.here in loop for value in values_in(part))]
    if equation.factor is not None or not any(has_product(part) for part in still):
        return [equation]
    hoisted = part_of(equation.target, fresh)
    rest = [part for part in parts if part not in still]
    return [Equation(hoisted, (Term(add(*still)),)), equation.with_value(add(hoisted, *rest))]


def part_of(target: Value, fresh: Fresh) -> Value:
    """A part of a sum, under the name `..._in`: a value of its own step, also where the whole is what the step hands back."""
    marks = tuple("cotangent" if mark == "carry" else mark for mark in target.marks)
    return target.like(name=fresh.name(f"{target.name}_in"), marks=marks)


def has_product(node: sp.MatrixExpr) -> bool:
    """Whether an expression multiplies matrices."""
    matrices = [part for part in node.args if is_matrix(part)]
    return (isinstance(node, Times) and len(matrices) > 1) or any(has_product(part) for part in matrix_parts(node))
