"""What a step costs: matrix products, multiply-adds, elementwise operations, and numbers saved for the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp

from derive.language import Apply, Hadamard, Ones, Plus, Softmax, Times, Transposed, Value, coefficient, matrix_parts
from derive.program import Program

if TYPE_CHECKING:
    from derive.compiler import Derivation


def products(node: sp.MatrixExpr) -> list[sp.Expr]:
    """The multiply-adds of each matrix product in an expression."""
    found = [size for part in matrix_parts(node) for size in products(part)]
    rest = coefficient(node)[1]
    if isinstance(rest, Times) and not isinstance(rest.args[0], Ones):
        for left, right in zip(rest.args, rest.args[1:], strict=False):
            found.append(left.shape[0] * left.shape[1] * right.shape[1])
    return found


def elementwise(node: sp.MatrixExpr) -> sp.Expr:
    """Elementwise operations of an expression: one per sum, product or function of two elements."""
    inner = sp.Add(*[elementwise(part) for part in matrix_parts(node)])
    number, rest = coefficient(node)
    size = node.shape[0] * node.shape[1]
    if isinstance(rest, Transposed):
        return inner
    if isinstance(node, (Plus, Hadamard)):
        return inner + (len(node.args) - 1) * size
    if isinstance(node, (Apply, Softmax)):
        return inner + size * (max(1, int(node.scalar.count_ops())) if isinstance(node, Apply) else 4)
    return inner + (size if number not in (1, -1) else 0)


def step_cost(program: Program) -> tuple[int, sp.Expr, sp.Expr]:
    """(matrix products, multiply-adds, elementwise operations) of one step and one example."""
    values = [term.value for equation in program.equations if equation.place not in ("once", "finish") for term in equation.terms]
    joins = sum(
        (max(0, len(equation.terms) - 1) * equation.target.shape[0] for equation in program.equations if equation.target.timed),
        sp.S.Zero,
    )
    sizes = [size for value in values for size in products(value)]
    return len(sizes), sp.expand(sp.Add(*sizes)), sp.expand(sp.Add(*[elementwise(v) for v in values]) + joins)


def saved(tape: list[Value]) -> sp.Expr:
    """Numbers saved per step and example."""
    return sp.Add(*[value.shape[0] for value in tape if value.timed])


def cost_lines(derivation: Derivation, tape: list[Value]) -> list[str]:
    """The cost of a step as the header of a kernel states it."""
    lines = ["per step and example:"]
    for program in (derivation.forward, derivation.backward):
        count, adds, flat = step_cost(program)
        lines.append(
            f"    {program.name:9}{count} matrix products ({polynomial(adds)} multiply-adds), {polynomial(flat)} elementwise operations"
        )
    names = ", ".join(value.name for value in tape if value.timed)
    lines.append(f"    saved    {polynomial(saved(tape))} numbers: {names}")
    return lines


def polynomial(size: sp.Expr) -> str:
    """A polynomial in the dimensions, in one order on every machine."""
    terms = sorted(
        sp.Add.make_args(sp.expand(size)),
        key=lambda term: (-sum(sp.Poly(term).monoms()[0]) if term.free_symbols else 0, str(term)),
    )
    return " + ".join(str(term).replace("**", "^").replace("*", " ") for term in terms)
