"""Share common terms: an expression that several equations of the loop compute is computed once, under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import sympy as sp

from derive.language import (
    Apply,
    Hadamard,
    Ones,
    Plus,
    Softmax,
    Times,
    Transposed,
    Value,
    coefficient,
    is_timed,
    matrix_parts,
    substitute,
)
from derive.program import Equation, Program, Term


def share(program: Program, forward: Program) -> Program:
    """Name every expression, larger than a value or 1 - value, that stands more than once."""
    taken = {value.name for value in (*program.given, *program.defined())}
    shared: list[str] = []
    while True:
        counts = Counter(node for equation in program.equations for term in parts(equation) for node in worth_sharing(term))
        repeated = [node for node, count in counts.items() if count > 1]
        if not repeated:
            return renumbered(program, shared)
        shared.append(next_name(taken))
        program = with_name(program, max(repeated, key=size), shared[-1])


def parts(equation: Equation) -> list[sp.MatrixExpr]:
    return [equation.factor] * (equation.factor is not None) + [term.value for term in equation.terms]


def worth_sharing(node: sp.MatrixExpr) -> Iterator[sp.MatrixExpr]:
    """The timed subexpressions that cost something."""
    for part in matrix_parts(node):
        yield from worth_sharing(part)
    rest = coefficient(node)[1]
    summands = rest.args if isinstance(rest, Plus) else [rest]
    light = all(isinstance(coefficient(part)[1], (Value, Ones)) for part in summands)
    if not light and isinstance(node, (Apply, Hadamard, Ones, Plus, Softmax, Times)) and is_timed(node) and not outer(node):
        yield node


def outer(node: sp.MatrixExpr) -> bool:
    """Whether the node is the contribution u vᵀ of a step to a matrix of parameters."""
    return isinstance(node, Times) and isinstance(node.args[-1], Transposed)


def size(node: sp.MatrixExpr) -> tuple[int, str]:
    return sum(1 for _ in sp.preorder_traversal(node)), sp.srepr(type(node).__name__)


def next_name(taken: set[str]) -> str:
    """The next free name s_1, s_2, ..., which is then taken."""
    name = next(name for name in (f"s_{k}" for k in range(1, len(taken) + 2)) if name not in taken)
    taken.add(name)
    return name


def renumbered(program: Program, shared: list[str]) -> Program:
    """The program with its shared expressions numbered in the order in which they are computed."""
    found = [equation.target.name for equation in program.equations if equation.target.name in shared]
    new = dict(zip(found, shared, strict=True))

    def rename(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        return node.like(name=new[node.name]) if isinstance(node, Value) and node.name in new else None

    equations = []
    for e in program.equations:
        terms = tuple(Term(substitute(term.value, rename), term.reason) for term in e.terms)
        target = rename(e.target) or e.target
        equations.append(Equation(target, terms, e.factor and substitute(e.factor, rename), e.place, e.accumulate, e.auxiliary))
    return program.with_equations(equations)


def with_name(program: Program, node: sp.MatrixExpr, name: str) -> Program:
    """The program with one expression named, in front of the first equation that reads it."""
    value = Value(name, node.shape[0], node.shape[1])
    equations: list[Equation] = []
    for equation in program.equations:
        terms = tuple(
            Term(substitute(term.value, lambda part: value if part == node else None), term.reason) for term in equation.terms
        )
        factor = equation.factor and substitute(equation.factor, lambda part: value if part == node else None)
        changed = Equation(equation.target, terms, factor, equation.place, equation.accumulate)
        if value in changed.reads() and not any(one.target == value for one in equations):
            equations.append(Equation(value, (Term(node),), place=equation.place))
        equations.append(changed)
    return program.with_equations(equations)
