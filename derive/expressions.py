"""Looking at expressions and rebuilding them: what they read, their parts, replacing nodes, taking over SymPy's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct

from derive.along import FirstLargestAlong, LargestAlong, Pick, Place, SoftmaxAlong, Spread, Steps, SumAlong, of_steps
from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Above, AtLeast, Maximum, Minimum
from derive.language import (
    Apply,
    Diagonal,
    Hadamard,
    Identity,
    LanguageError,
    Leaf,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    X,
    Zeros,
    add,
    apply,
    coefficient,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.onehot import OneHot
from derive.reductions import Cumulative, FirstLargest, Largest, LogSoftmax, LogSumExp, Softmax, Total
from derive.shapes import is_number

LEGAL = (
    Value, Plus, Times, Hadamard, Transposed, Apply, Maximum, Minimum, AtLeast, Above, Stack, Rows, Repeat, Diagonal, Ones, Zeros, Identity,
    Total, Largest, FirstLargest, LogSumExp, Softmax, LogSoftmax, Cumulative, OneHot,
    SumAlong, Spread, Pick, Place, LargestAlong, FirstLargestAlong, SoftmaxAlong, Steps,
)  # fmt: skip
"""Every node that a program may hold."""


def values_in(expression: sp.Basic) -> list[Value]:
    """The values that an expression reads, each once, in the order of reading."""
    found: dict[Value, None] = {}

    def visit(node: sp.Basic) -> None:
        if isinstance(node, Value):
            found.setdefault(node)
        elif isinstance(node, OneHot):
            found.setdefault(node.token)
        else:
            for part in node.operands:
                visit(part)

    visit(expression)
    return list(found)


def is_timed(expression: sp.Basic) -> bool:
    """Whether an expression differs from step to step."""
    return any(value.timed for value in values_in(expression))


def summands(expression: sp.MatrixExpr) -> list[sp.MatrixExpr]:
    """The terms of a sum, a number in front of it multiplied in; an expression that is no sum alone."""
    number, rest = coefficient(expression)
    return [scale(number, part) for part in rest.args] if isinstance(rest, Plus) else [expression]


def rebuild(expression: sp.MatrixExpr, parts: Iterable[sp.MatrixExpr]) -> sp.MatrixExpr:
    """The node of `expression` over other matrix parts, through the constructors."""
    return expression.over(*parts)


def matrix_parts(expression: sp.MatrixExpr) -> list[sp.MatrixExpr]:
    """The operands of a node that are themselves matrices; none for a symbol or a constant."""
    return expression.operands  # type: ignore[no-any-return]


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
    if isinstance(expression, Leaf):
        return expression
    if isinstance(expression, LEGAL):
        parts = matrix_parts(expression)
        own = [factor_in_language(part) if isinstance(expression, Times) else in_language(part) for part in parts]
        whole = expression if own == parts else rebuild(expression, own)
        return of_steps(whole) if isinstance(whole, Apply) else without_diagonals(whole)
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
            matrices.append(factor_in_language(factor))
    return without_diagonals(scale(number, matmul(*matrices)))


def factor_in_language(factor: Any) -> sp.MatrixExpr:
    """A factor of a matrix product in this language's nodes, diag(v) kept for the product to apply."""
    return rebuild(factor, [in_language(factor.args[0])]) if isinstance(factor, Diagonal) else in_language(factor)


def without_diagonals(expression: sp.MatrixExpr) -> sp.MatrixExpr:
    """diag(v) x as v ∘ x, diag(v) A as (v 1ᵀ) ∘ A, A diag(v) as A ∘ (1 vᵀ). Not in the constructor: a derived Jacobian keeps diag(v)."""
    factor, rest = coefficient(expression)
    if isinstance(rest, Diagonal):
        return scale(factor, hadamard(widened(rest.args[0], rest), Identity(rest.shape[0])))
    factors = rest.args if isinstance(rest, Times) else ()
    at = next((k for k, part in enumerate(factors) if isinstance(part, Diagonal)), None)
    if at is None:
        return expression
    left, vector, right = factors[:at], factors[at].args[0], factors[at + 1 :]
    if right:
        inside = without_diagonals(matmul(*right))
        return scale(factor, matmul(*left, hadamard(widened(vector, inside), inside)))
    inside = matmul(*left)
    return scale(factor, hadamard(inside, transpose(widened(vector, transpose(inside)))))


def with_diagonal(expression: Hadamard) -> sp.MatrixExpr | None:
    """(v 1ᵀ) ∘ A as diag(v) A, A ∘ (1 vᵀ) as A diag(v): what `without_diagonals` made, as a person writes it; None for anything else."""
    for k, part in enumerate(expression.args):
        if not isinstance(part, Times) or len(part.args) != 2 or len(expression.args) != 2:
            continue
        (left, right), other = part.args, expression.args[1 - k]
        if isinstance(right, Ones):
            return matmul(Diagonal(left), other)
        if isinstance(left, Ones):
            return matmul(other, Diagonal(transpose(right)))
    return None


def widened(vector: sp.MatrixExpr, like: sp.MatrixExpr) -> sp.MatrixExpr:
    """A vector as the columns of a matrix, v 1ᵀ; as it is where one column is asked for."""
    return vector if like.shape[1] == 1 else matmul(vector, Ones(1, like.shape[1]))
