"""Write a sum of vectors that are 0 outside different rows as one stack: [ā; 0] + [0; b̄] is [ā; b̄]."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.blocks import Stack, stack
from derive.equation import Equation, Term, joined
from derive.language import Value, Zeros
from derive.program import Program


def gather(program: Program, forward: Program) -> Program:
    """Join the terms of an equation that hold different rows of its target."""
    return program.with_equations([gathered(equation) for equation in program.equations])


def pieces(node: sp.MatrixExpr) -> dict[tuple[sp.Expr, sp.Expr], sp.MatrixExpr] | None:
    """(first row, end) -> what stands there, for a stack whose parts are values and zeros; None for anything else."""
    if not isinstance(node, Stack) or not any(isinstance(part, Zeros) for part in node.args):
        return None
    found, start = {}, sp.S.Zero
    for part in node.args:
        end = sp.expand(start + part.shape[0])
        if not isinstance(part, Zeros):
            found[start, end] = part
        start = end
    return found


def gathered(equation: Equation) -> Equation:
    parts = [pieces(term.value) for term in equation.terms]
    known = [found for found in parts if found is not None]
    if len(known) < 2 or len(known) < len(parts):
        return equation
    spans = {span: part for found in known for span, part in found.items()}
    if len(spans) < sum(len(found) for found in known):
        return equation
    whole = in_order(spans, equation.target)
    why = joined(term.reason for term in equation.terms)
    return equation if whole is None else replace(equation, terms=(Term(whole, why),))


def in_order(spans: dict[tuple[sp.Expr, sp.Expr], sp.MatrixExpr], target: Value) -> sp.MatrixExpr | None:
    """The spans one after the other, if they lie side by side from the first row to the last."""
    start, parts = sp.S.Zero, []
    while start != target.shape[0]:
        following = next((span for span in spans if span[0] == start), None)
        if following is None:
            return None
        parts.append(spans.pop(following))
        start = following[1]
    return stack(*parts) if not spans else None
