"""Slips of a forward pass: a summand, a parameter, a function, a step, taken for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations, permutations

import sympy as sp

from derive.comparisons import Maximum, Minimum, maximum, minimum
from derive.equation import Term
from derive.functions import FUNCTIONS
from derive.language import Apply, Hadamard, Ones, Plus, Times, Value, add, apply, hadamard, matmul, scale, transpose
from derive.program import Program
from verify.edits.edit import Edit, edited, edits, of_nodes, of_terms, with_term
from verify.edits.reads import gates, old_for_new, parameters, transposes
from verify.edits.terms import dropped, signs
from verify.edits.tokens import other_tokens


def split(forward: Program) -> Program:
    """The forward program with the summands of each equation as terms of their own."""
    return replace(
        forward,
        equations=tuple(
            replace(one, terms=tuple(Term(part) for part in one.value.args)) if isinstance(one.value, Plus) else one
            for one in forward.equations
        ),
    )


def other_functions(program: Program, forward: Program) -> Iterator[Edit]:
    """Another function, or none."""
    for scalar in dict.fromkeys(one.value.scalar for one in program.equations if isinstance(one.value, Apply)):
        for name in ("sigma", "tanh", "relu", "softplus", "identity"):
            other = FUNCTIONS[name]
            if other == scalar:
                continue

            def change(value: sp.MatrixExpr, scalar: sp.Expr = scalar, other: sp.Expr = other) -> sp.MatrixExpr:
                return apply(other, value.expr) if isinstance(value, Apply) and value.scalar == scalar else value

            said = "the function is missing" if name == "identity" else f"another function: {name}"
            yield from edits(of_terms("another function", said, change), program)


def other_extremes(program: Program, forward: Program) -> Iterator[Edit]:
    """min for max, and the reverse."""
    match: dict[str, Callable[[sp.MatrixExpr], sp.MatrixExpr | None]] = {
        "min for max": lambda node: minimum(*node.args) if isinstance(node, Maximum) else None,
        "max for min": lambda node: maximum(*node.args) if isinstance(node, Minimum) else None,
    }
    for said, other in match.items():
        yield from edits(of_nodes("another function", f"another function: {said}", other), program)


def other_factors(program: Program, forward: Program) -> Iterator[Edit]:
    """A factor left out; 1 - z for z and the reverse, at one place or two that change their parts."""
    for equation in program.equations:
        for value in equation.reads():
            if value.timed:
                less = add(Ones(*value.shape), scale(-1, value))
                both = {value: less, less: value}
                for kind, match in (
                    ("1 - {0} for {0}", {value: less}),
                    ("{0} for 1 - {0}", {less: value}),
                    ("{0} and 1 - {0} exchanged", both),
                ):
                    yield from edits(of_nodes("another factor", kind.format(value.name), match.get, reads=value), program)

                def without(node: sp.MatrixExpr, value: Value = value) -> sp.MatrixExpr:
                    if not isinstance(node, Hadamard) or value not in node.args:
                        return node
                    return hadamard(*[part for part in node.args if part != value])

                yield from edits(of_terms("dropped factor", "missing factor", without), program)


def multiples(program: Program, forward: Program) -> Iterator[Edit]:
    """A summand twice, or half of it."""
    for said, by in (("2", sp.Integer(2)), ("1/2", sp.Rational(1, 2))):
        yield from edits(of_terms("factor", f"factor {said}", partial(scale, by)), program)


def product_orders(program: Program, forward: Program) -> Iterator[Edit]:
    """A factor outside of a matrix product for one inside, U (r ∘ h) and r ∘ (U h): a gate before or after the product."""
    parts = {
        one.target: one.value.args for one in forward.equations if isinstance(one.value, Hadamard) and len(one.value.args) == 2
    }
    products = {
        one.target: one.value.args for one in forward.equations if isinstance(one.value, Times) and len(one.value.args) == 2
    }
    for k, equation in enumerate(program.equations):
        for index, term in enumerate(equation.terms):
            for new in moved_factors(term.value, parts, products):
                said = "a factor before the product for one after it, or the reverse"
                yield from edited("product order", said, program, {k: with_term(equation, index, new)}, 1)


def moved_factors(
    value: sp.MatrixExpr,
    parts: Mapping[sp.MatrixExpr, tuple[sp.MatrixExpr, ...]],
    products: Mapping[sp.MatrixExpr, tuple[sp.MatrixExpr, ...]],
) -> Iterator[sp.MatrixExpr]:
    """U (u ∘ v) as u ∘ (U v) and v ∘ (U u); u ∘ (U v) as U (u ∘ v)."""
    if isinstance(value, Times) and len(value.args) == 2:
        matrix, read = value.args
        for one, other in permutations(parts.get(read, getattr(read, "args", ()) if isinstance(read, Hadamard) else ()), 2):
            if one.shape == (matrix * other).shape:
                yield hadamard(one, matmul(matrix, other))
    elif isinstance(value, Hadamard) and len(value.args) == 2:
        for one, other in permutations(value.args):
            matrix, read = products.get(other, other.args if isinstance(other, Times) and len(other.args) == 2 else (None, None))
            if matrix is not None and read.shape == one.shape:
                yield matmul(matrix, hadamard(one, read))


def exchanged(program: Program, forward: Program) -> Iterator[Edit]:
    """Parameters that are transposed, or change places, throughout: a wrong `--map`, gates in another order."""
    for value in forward.given:
        if not value.timed and value.shape[0] == value.shape[1] != 1:
            turned = {value: transpose(value)}
            changes = {k: one.substituted(turned.get) for k, one in enumerate(program.equations) if one.is_reading(value)}
            yield from edited("another parameter", f"{value.name} transposed", program, changes, 1)
    for first, second in combinations([value for value in forward.given if not value.timed], 2):
        if first.shape == second.shape:
            match = {first: second, second: first}.get
            changes = {
                k: one.substituted(match)
                for k, one in enumerate(program.equations)
                if one.is_reading(first) or one.is_reading(second)
            }
            yield from edited("another parameter", f"{first.name} and {second.name} exchanged", program, changes, 1)


CLASSES = (
    dropped,
    signs,
    parameters,
    exchanged,
    old_for_new,
    other_functions,
    other_extremes,
    gates,
    other_factors,
    transposes,
    product_orders,
    multiples,
    other_tokens,
)
