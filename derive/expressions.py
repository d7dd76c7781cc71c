"""Looking at expressions and rebuilding them: what they read, their parts, replacing nodes, taking over SymPy's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct

from derive.language import (
    LEGAL,
    Apply,
    Diagonal,
    Hadamard,
    Identity,
    LanguageError,
    Ones,
    Plus,
    Repeat,
    Rows,
    Softmax,
    Stack,
    Times,
    Transposed,
    Value,
    X,
    Zeros,
    add,
    apply,
    coefficient,
    diagonal,
    hadamard,
    matmul,
    repeat,
    rows,
    scale,
    softmax,
    stack,
    transpose,
)
from derive.shapes import is_matrix, is_number, is_vector


def values_in(expression: sp.Basic) -> list[Value]:
    """The values that an expression reads, each once, in the order of reading."""
    found: dict[Value, None] = {}

    def visit(node: sp.Basic) -> None:
        if isinstance(node, Value):
            found.setdefault(node)
        elif isinstance(node, Apply):
            visit(node.expr)
        else:
            for part in node.args:
                visit(part)

    visit(expression)
    return list(found)


def is_timed(expression: sp.Basic) -> bool:
    """Whether an expression differs from step to step."""
    return any(value.timed for value in values_in(expression))


def rebuild(expression: sp.MatrixExpr, parts: Iterable[sp.MatrixExpr]) -> sp.MatrixExpr:
    """The node of `expression` over other matrix parts, through the constructors."""
    new = list(parts)
    match expression:
        case Plus():
            return add(*new)
        case Times():
            return scale(coefficient(expression)[0], matmul(*new))
        case Hadamard():
            return hadamard(*new)
        case Transposed():
            return transpose(new[0])
        case Apply():
            return apply(expression.scalar, new[0])
        case Stack():
            return stack(*new)
        case Rows():
            return rows(new[0], *expression.args[1:])
        case Repeat():
            return repeat(new[0], int(expression.args[1]))
        case Softmax():
            return softmax(new[0])
        case Diagonal():
            return diagonal(new[0])
    return expression


def matrix_parts(expression: sp.MatrixExpr) -> list[sp.MatrixExpr]:
    """The operands of a node that are themselves matrices; none for a symbol or a constant."""
    if isinstance(expression, (Value, Ones, Zeros, Identity)):
        return []
    return [expression.expr] if isinstance(expression, Apply) else [part for part in expression.args if is_matrix(part)]


def substitute(expression: sp.MatrixExpr, replace: Callable[[sp.MatrixExpr], sp.MatrixExpr | None]) -> sp.MatrixExpr:
    """The expression with every node for which `replace` answers replaced, outermost first."""
    new = replace(expression)
    if new is not None:
        return new
    parts = matrix_parts(expression)
    changed = [substitute(part, replace) for part in parts]
    return expression if changed == parts else rebuild(expression, changed)


def in_language(expression: Any) -> sp.MatrixExpr:
    """The expression in this language's nodes; SymPy's own nodes are taken over, anything else is refused by name."""
    if isinstance(expression, (Value, Ones, Zeros, Identity)):
        return expression
    if isinstance(expression, LEGAL):
        parts = matrix_parts(expression)
        own = [in_language(part) for part in parts]
        return without_diagonals(expression if own == parts else rebuild(expression, own))
    match expression:
        case sp.MatAdd():
            return add(*[in_language(part) for part in expression.args])
        case sp.MatMul():
            return matmul_of(expression.args)
        case HadamardProduct():
            return hadamard(*[in_language(part) for part in expression.args])
        case HadamardPower():
            return apply(X ** expression.args[1], in_language(expression.args[0]))
        case sp.Transpose():
            return transpose(in_language(expression.args[0]))
        case ElementwiseApplyFunction():
            return apply(expression.function(X), in_language(expression.expr))
        case sp.OneMatrix():
            return Ones(*expression.shape)
        case sp.ZeroMatrix():
            return Zeros(*expression.shape)
        case sp.Identity():
            return Identity(expression.shape[0])
    legal = ", ".join(node.__name__ for node in LEGAL)
    raise LanguageError(f"illegal node {type(expression).__name__} in `{expression}`: legal are {legal}.")


def matmul_of(factors: Iterable[Any]) -> sp.MatrixExpr:
    """The product of numbers and matrices, SymPy's or ours."""
    number, matrices = sp.S.One, []
    for factor in factors:
        if is_number(factor):
            number *= factor
        else:
            matrices.append(in_language(factor))
    return without_diagonals(scale(number, matmul(*matrices)))


def without_diagonals(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """diag(v) x as v ∘ x. Not in the constructor: a Jacobian with respect to a state of one element looks like a vector and isn't."""
    number, rest = coefficient(expression)
    factors = rest.args if isinstance(rest, Times) and is_vector(rest) else ()
    at = next((k for k, factor in enumerate(factors) if isinstance(factor, Diagonal)), None)
    if at is None:
        return expression
    scaled = hadamard(factors[at].args[0], without_diagonals(matmul(*factors[at + 1 :])))
    return scale(number, matmul(*factors[:at], scaled))
