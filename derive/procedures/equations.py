"""The right side of an equation as one operand: its terms, each summed along the axes that the target doesn't have, and the factor."""

from __future__ import annotations

import sympy as sp

from derive.expressions import axes_of
from derive.language import coefficient
from derive.procedures.lowering import Lowering, elementwise, filled, sizes, summed_up
from derive.procedures.procedure import Number, Operand
from derive.procedures.sums import summed
from derive.program import Equation


def right_side(equation: Equation, lower: Lowering, axes: tuple[str, ...]) -> Operand:
    """The value of an equation's target along axes: its own, less those that a loop runs over."""
    target = equation.target

    def term(node: sp.MatrixExpr) -> Operand:
        over = tuple(axis for axis in axes_of(node) if axis not in target.axes)
        return summed(node, over, lower) if over else lower(node)

    terms = [(coefficient(one.value)[0], one.value) for one in equation.terms]
    total = summed_up(terms, term) if terms else Number(sp.S.Zero)
    if equation.factor is not None and terms:
        total = elementwise("multiply", lower(equation.factor), total)
    return filled(total, axes, sizes(target))
