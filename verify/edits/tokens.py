"""Slips with tokens: the one beside it, that of another step, and repeated tokens whose gradients overwrite one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sympy as sp

from derive.blocks import rows, stack
from derive.expressions import matrix_parts
from derive.language import Times, Value, coefficient, hadamard
from derive.onehot import OneHot, one_hot_in, tokens_in
from derive.program import Program
from verify.edits.edit import Edit, edits, of_nodes, of_terms
from verify.edits.elsewhere import LAST, LAST_OF_STEP, STEPS
from verify.edits.reads import WHEN

Match = Callable[[sp.MatrixExpr], sp.MatrixExpr | None]


def other_tokens(program: Program, forward: Program) -> Iterator[Edit]:
    """Another token; the column one further, or one before, as where tokens are counted from 1; the token of another step."""
    known = {**tokens_in(e.value for e in forward.equations), **tokens_in(e.value for e in program.equations)}
    for token, size in known.items():
        others = [one for one, count in known.items() if count == size and one != token]
        found = {f"{other.name} for {token.name}": instead(token, OneHot(other, size)) for other in others}
        found |= {f"{token.name} one too large": beside(token, 1), f"{token.name} one too small": beside(token, -1)}
        found |= {f"{token.name} {WHEN[kind]}": instead(token, OneHot(token.like(kind=kind), size)) for kind in STEPS}
        for said, match in found.items():
            yield from edits(of_nodes("token", f"token: {said}", match), program)


def beside(token: Value, by: int) -> Match:
    """The column of the token next to one; of the last one that of the first."""

    def match(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not (isinstance(node, OneHot) and node.token == token):
            return None
        size = node.shape[0]
        at = size - 1 if by == 1 else sp.S.One
        return stack(rows(node, at, size), rows(node, sp.S.Zero, at))

    return match


def instead(token: Value, column: OneHot) -> Match:
    """Another column in the place of a token's."""

    def match(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        return column if isinstance(node, OneHot) and node.token == token else None

    return match


def overwritten(program: Program, forward: Program) -> Iterator[Edit]:
    """`=` for `+=` where a gradient is gathered by token: of a token that stands more than once the last one counts."""
    for token in tokens_in(equation.value for equation in program.equations):
        for kind, where in ((LAST, ""), (LAST_OF_STEP, " within a step")):
            weight = Value("weight", 1, axes=token.axes, marks=(f"weight:{kind} {token.name}",))
            said = f"repeated tokens {token.name}{where} overwrite one another, = for +="
            slip = of_terms("overwritten", said, gathered(token, weight), within=lambda equation: equation.accumulate)
            yield from edits(slip, program)


def gathered(token: Value, weight: Value) -> Callable[[sp.MatrixExpr], sp.MatrixExpr]:
    def change(value: sp.MatrixExpr) -> sp.MatrixExpr:
        rest = coefficient(value)[1]
        parts = matrix_parts(rest) if isinstance(rest, Times) else []
        columns = [one_hot_in(part) for part in (parts[:1] + parts[-1:])]
        is_gathered = len(parts) > 1 and any(column is not None and column.token == token for column in columns)
        return hadamard(weight, value) if is_gathered else value

    return change
