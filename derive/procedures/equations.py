"""The right side of an equation as one operand: its terms, each summed along the axes that the target doesn't have, and the factor."""

from __future__ import annotations

import sympy as sp

from derive.equation import Equation
from derive.language import coefficient
from derive.procedures.lowering import Lowering, sum_of, summed_up
from derive.procedures.procedure import Number, Operand
from derive.procedures.shaping import elementwise, filled, sizes
from derive.procedures.sums import summed
from derive.procedures.tokens import scaled
from derive.shapes import is_scalar


def right_side(equation: Equation, lower: Lowering) -> Operand:
    """The value of an equation's target along its axes, less those that a loop runs over; of a sum over steps, what one step adds."""
    return filled(value_of(equation, lower), lower.remaining(equation.target.axes), sizes(equation.target))


def value_of(equation: Equation, lower: Lowering) -> Operand:
    """The same with sizes and axes of one element where that counts for all."""
    if equation.factor is not None and equation.is_summed(equation.factor):
        total = term_of(equation, equation.value, lower)
    elif equation.terms:
        total = sum_of_terms(equation, lower)
        if equation.factor is not None:
            total = (
                scaled(lower(equation.factor), total) if is_scalar(equation.factor) else multiplied(equation.factor, total, lower)
            )
    else:
        total = Number(sp.S.Zero)
    return total


def multiplied(factor: sp.MatrixExpr, total: Operand, lower: Lowering) -> Operand:
    return elementwise("multiply", lower(factor), total)


def sum_of_terms(equation: Equation, lower: Lowering) -> Operand:
    """The sum of the terms; one-hot columns among those that aren't summed are added at their elements."""
    if not any(equation.is_summed(one.value) for one in equation.terms):
        return sum_of([one.value for one in equation.terms], lower)
    terms = [(coefficient(one.value)[0], one.value) for one in equation.terms]
    return summed_up(terms, lambda node: term_of(equation, node, lower))


def term_of(equation: Equation, node: sp.MatrixExpr, lower: Lowering) -> Operand:
    """A term, summed along the axes that the target doesn't have."""
    over = tuple(axis for axis in lower.axes(node) if axis not in equation.target.axes)
    return summed(node, over, lower) if over else lower(node)
