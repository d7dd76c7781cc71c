"""Share common terms: an expression that several equations of the loop compute is computed once, under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import sympy as sp

from derive.along import axes_of
from derive.comparisons import Pairwise
from derive.equation import Equation, Reason, Term
from derive.expressions import is_timed, matrix_parts, rebuild, substitute
from derive.language import Apply, Hadamard, Ones, Plus, Times, Transposed, Value, coefficient
from derive.program import Program
from derive.reductions import OverElements

SHARED = "shared: it stands more than once"


def share(program: Program, forward: Program) -> Program:
    """Name every expression, larger than a value or 1 - value, that stands more than once."""
    repeated = repeated_in(program)
    if not repeated:
        return program
    fresh = program.names()
    names: dict[sp.MatrixExpr, Value] = {}

    def named(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        return names.get(node) if node in repeated else None

    equations: list[Equation] = []

    def define(node: sp.MatrixExpr) -> None:
        """Give a repeated expression, and those inside it, their names, in front of what reads them."""
        for part in matrix_parts(node):
            define(part)
        if node in repeated and node not in names:
            inside = rebuild_parts(node, named)
            names[node] = Value(fresh.counted("s"), node.shape[0], node.shape[1], axes_of(node))
            equations.append(Equation(names[node], (Term(inside, Reason(None, SHARED)),)))

    for equation in program.equations:
        for part in parts(equation):
            define(part)
        terms = tuple(Term(substitute(term.value, named), term.reason) for term in equation.terms)
        factor = equation.factor and substitute(equation.factor, named)
        equations.append(replace(equation, terms=terms, factor=factor))
    return program.with_equations(equations)


def rebuild_parts(node: sp.MatrixExpr, named: Callable[[sp.MatrixExpr], sp.MatrixExpr | None]) -> sp.MatrixExpr:
    """A node whose parts, but not itself, are replaced by their names."""
    return rebuild(node, [substitute(part, named) for part in matrix_parts(node)]) if matrix_parts(node) else node


def repeated_in(program: Program) -> set[sp.MatrixExpr]:
    """The expressions that stand more than once, larger ones first: what stands only inside a repeated one doesn't count again."""
    counts = Counter(node for equation in program.equations for part in parts(equation) for node in worth_sharing(part))
    found = set()
    for node in sorted((node for node, count in counts.items() if count > 1), key=size, reverse=True):
        if counts[node] > 1:
            found.add(node)
            for inner in worth_sharing(node):
                if inner != node:
                    counts[inner] -= counts[node] - 1
    return found


def parts(equation: Equation) -> list[sp.MatrixExpr]:
    return [equation.factor] * (equation.factor is not None) + [term.value for term in equation.terms]


def worth_sharing(node: sp.MatrixExpr) -> Iterator[sp.MatrixExpr]:
    """The timed subexpressions that cost something."""
    for part in matrix_parts(node):
        yield from worth_sharing(part)
    rest = coefficient(node)[1]
    summands = rest.args if isinstance(rest, Plus) else [rest]
    light = all(isinstance(coefficient(part)[1], (Value, Ones)) for part in summands)
    if (
        not light
        and isinstance(node, (Apply, Hadamard, Ones, OverElements, Pairwise, Plus, Times))
        and is_timed(node)
        and not outer(node)
    ):
        yield node


def outer(node: sp.MatrixExpr) -> bool:
    """Whether the node is the contribution u vᵀ of a step to a matrix of parameters."""
    return isinstance(node, Times) and isinstance(node.args[-1], Transposed)


def size(node: sp.MatrixExpr) -> int:
    return 1 + sum(size(part) for part in matrix_parts(node))
