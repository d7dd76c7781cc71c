"""What a gradient comes to under an assumption that readers of a sheet make: the targets of a cross entropy sum to one."""

from __future__ import annotations

from collections.abc import Collection

from sympy import MatrixExpr

from derive.equation import Equation
from derive.expressions import matrix_parts
from derive.language import Ones, Value
from derive.reductions import LogSoftmax, Total
from derive.rules import VJP, identity_of

OF_LOG_SOFTMAX = identity_of(VJP[LogSoftmax])
"""The rule by which the gradient of a cross entropy comes to that of the logits."""


def of_probabilities(equation: Equation, given: Collection[Value]) -> tuple[Equation, list[MatrixExpr]] | None:
    """(the gradient of logits, ŷ Σ y − y, for targets y that are given and sum to one, ŷ − y; the sums that are taken for 1); None for
    any other equation."""
    rules = [link.rule for term in equation.terms if term.reason is not None for link in term.reason.links()]
    if OF_LOG_SOFTMAX not in rules:
        return None
    sums = dict.fromkeys(one for term in equation.terms for one in sums_of(term.value, given))
    if not sums:
        return None
    return equation.substituted(lambda node: Ones(1, 1) if node in sums else None), list(sums)


def sums_of(node: MatrixExpr, given: Collection[Value]) -> list[MatrixExpr]:
    """The sums over the elements of given values in an expression."""
    if isinstance(node, Total) and node.args[0] in given:
        return [node]
    return [one for part in matrix_parts(node) for one in sums_of(part, given)]
