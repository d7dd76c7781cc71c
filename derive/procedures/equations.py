"""The right side of an equation as one operand: its terms, each summed along the axes that the target doesn't have, and the factor."""

from __future__ import annotations

import sympy as sp

from derive.equation import Equation
from derive.language import coefficient
from derive.procedures.lowering import Lowering, summed_up
from derive.procedures.procedure import Number, Operand
from derive.procedures.shaping import elementwise, filled, sizes
from derive.procedures.sums import summed


def right_side(equation: Equation, lower: Lowering) -> Operand:
    """The value of an equation's target along its axes, less those that a loop runs over; of a sum over steps, what one step adds."""
    return filled(value_of(equation, lower), lower.remaining(equation.target.axes), sizes(equation.target))


def value_of(equation: Equation, lower: Lowering) -> Operand:
    """The same with sizes and axes of one element where that counts for all."""
    if equation.factor is not None and equation.is_summed(equation.factor):
        total = term_of(equation, equation.value, lower)
    elif equation.terms:
        terms = [(coefficient(one.value)[0], one.value) for one in equation.terms]
        total = summed_up(terms, lambda node: term_of(equation, node, lower))
        if equation.factor is not None:
            total = elementwise("multiply", lower(equation.factor), total)
    else:
        total = Number(sp.S.Zero)
    return total


def term_of(equation: Equation, node: sp.MatrixExpr, lower: Lowering) -> Operand:
    """A term, summed along the axes that the target doesn't have."""
    over = tuple(axis for axis in lower.axes(node) if axis not in equation.target.axes)
    return summed(node, over, lower) if over else lower(node)
