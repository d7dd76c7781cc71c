"""The rules of operations within one value: sums, products, functions, blocks of rows, reductions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import sympy as sp
from sympy import MatrixExpr as Matrix

from derive.blocks import Repeat, Rows, Stack, repeat, rows, stack
from derive.comparisons import Above, AtLeast, Maximum, Minimum, above, at_least
from derive.functions import derivative
from derive.language import (
    Apply,
    Hadamard,
    Ones,
    Plus,
    Times,
    Transposed,
    Zeros,
    add,
    apply,
    coefficient,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.reductions import (
    Cumulative,
    FirstLargest,
    Largest,
    LogSoftmax,
    LogSumExp,
    Softmax,
    Total,
    cumulative,
    filled,
    first_largest,
    inner,
    softmax,
    total,
)
from derive.rules.table import Negated, Scaled, jvp, present, vjp

# ---- cotangents backward


@vjp(Plus)
def plus_vjp(cotangent: Matrix, y: Matrix, node: Matrix, *terms: Matrix) -> list[Matrix]:
    """y = a + b: ā = ȳ."""
    return [cotangent for _ in terms]


@vjp(Negated)
def negated_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = a − b: b̄ = −ȳ."""
    return [scale(-1, cotangent)]


@vjp(Scaled)
def scaled_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = k a: ā = k ȳ."""
    return [scale(coefficient(node)[0], cotangent)]


@vjp(Times)
def times_vjp(cotangent: Matrix, y: Matrix, node: Matrix, *factors: Matrix) -> list[Matrix]:
    """y = A x: Ā = ȳ xᵀ, x̄ = Aᵀ ȳ."""
    sides = [(factors[:k], factors[k + 1 :]) for k in range(len(factors))]
    return [matmul(*map(transpose, reversed(left)), cotangent, *map(transpose, reversed(right))) for left, right in sides]


@vjp(Hadamard)
def hadamard_vjp(cotangent: Matrix, y: Matrix, node: Matrix, *factors: Matrix) -> list[Matrix]:
    """y = u ∘ v: ū = ȳ ∘ v."""
    others = [[*factors[:k], *factors[k + 1 :]] for k in range(len(factors))]
    return [
        hadamard(cotangent, *rest) if factor.shape == node.shape else inner(cotangent, filled(hadamard(*rest), node))
        for factor, rest in zip(factors, others, strict=True)
    ]


@vjp(Apply)
def apply_vjp(cotangent: Matrix, y: Matrix, node: Apply, operand: Matrix) -> list[Matrix]:
    """y = f(a): ā = ȳ ∘ f'(a)."""
    return [hadamard(cotangent, apply(derivative(node.scalar), operand))]


@vjp(Maximum)
def maximum_vjp(cotangent: Matrix, y: Matrix, node: Matrix, a: Matrix, b: Matrix) -> list[Matrix]:
    """y = max(a, b): ā = ȳ ∘ [a ≥ b], b̄ = ȳ ∘ [b > a], [ ] being 1 where that holds, else 0."""
    return [hadamard(cotangent, at_least(a, b)), hadamard(cotangent, above(b, a))]


@vjp(Minimum)
def minimum_vjp(cotangent: Matrix, y: Matrix, node: Matrix, a: Matrix, b: Matrix) -> list[Matrix]:
    """y = min(a, b): ā = ȳ ∘ [b ≥ a], b̄ = ȳ ∘ [a > b], [ ] being 1 where that holds, else 0."""
    return [hadamard(cotangent, at_least(b, a)), hadamard(cotangent, above(a, b))]


@vjp(AtLeast)
@vjp(Above)
def comparison_vjp(cotangent: Matrix, y: Matrix, node: Matrix, a: Matrix, b: Matrix) -> list[Matrix]:
    """y = where a is at least, or above, b: ā = b̄ = 0."""
    return [Zeros(*node.shape), Zeros(*node.shape)]


@vjp(Transposed)
def transposed_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = Aᵀ: Ā = ȳᵀ."""
    return [transpose(cotangent)]


@vjp(Stack)
def stack_vjp(cotangent: Matrix, y: Matrix, node: Matrix, *parts: Matrix) -> list[Matrix]:
    """y = [a; b]: ā and b̄ are the rows of ȳ."""
    starts = [sp.Add(*[part.shape[0] for part in parts[:k]]) for k in range(len(parts) + 1)]
    return [rows(cotangent, start, stop) for start, stop in pairwise(starts)]


@vjp(Rows)
def rows_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = some rows of a: ā is ȳ in those rows, 0 elsewhere."""
    _, start, stop = node.args
    size, width = operand.shape
    padding = [Zeros(n, width) for n in (start, size - stop)]
    return [stack(*[part for part in (padding[0], cotangent, padding[1]) if part.shape[0] != 0])]


@vjp(Repeat)
def repeat_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = [a; a]: ā is the sum of the blocks of rows of ȳ."""
    size = operand.shape[0]
    return [add(*[rows(cotangent, k * size, (k + 1) * size) for k in range(int(node.args[1]))])]


@vjp(Softmax)
def softmax_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = softmax(z): z̄ = y ∘ (ȳ − 1 1ᵀ(y ∘ ȳ))."""
    n = operand.shape[0]
    return [hadamard(y, cotangent - matmul(Ones(n, n), hadamard(y, cotangent)))]


@vjp(LogSoftmax)
def log_softmax_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = log softmax(z): z̄ = ȳ − softmax(z) Σ ȳ."""
    return [cotangent - hadamard(total(cotangent), softmax(operand))]


@vjp(Total)
def total_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = Σ x: x̄ = ȳ 1."""
    return [filled(cotangent, operand)]


@vjp(Largest)
def largest_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = max x: x̄ is ȳ at the first of the largest elements, 0 elsewhere."""
    return [hadamard(cotangent, first_largest(operand))]


@vjp(FirstLargest)
def first_largest_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = where x is largest: x̄ = 0."""
    return [Zeros(*operand.shape)]


@vjp(LogSumExp)
def logsumexp_vjp(cotangent: Matrix, y: Matrix, node: Matrix, operand: Matrix) -> list[Matrix]:
    """y = logsumexp(z): z̄ = ȳ softmax(z)."""
    return [hadamard(cotangent, softmax(operand))]


@vjp(Cumulative)
def cumulative_vjp(cotangent: Matrix, y: Matrix, node: Cumulative, operand: Matrix) -> list[Matrix]:
    """y = running sums of x: x̄ is the running sums of ȳ from the other end."""
    return [cumulative(cotangent, backwards=not node.backwards)]


# ---- tangents forward


@jvp(Plus)
def plus_jvp(y: Matrix, node: Matrix, terms: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = a + b: ẏ = ȧ + ḃ."""
    return add(*present(tangents))


@jvp(Negated)
def negated_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = a − b: ẏ = ȧ − ḃ."""
    return scale(-1, tangents[0])


@jvp(Scaled)
def scaled_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = k a: ẏ = k ȧ."""
    return scale(coefficient(node)[0], tangents[0])


@jvp(Times)
def times_jvp(y: Matrix, node: Matrix, factors: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = A x: ẏ = Ȧ x + A ẋ."""
    return add(*[matmul(*factors[:k], dot, *factors[k + 1 :]) for k, dot in enumerate(tangents) if dot is not None])


@jvp(Hadamard)
def hadamard_jvp(y: Matrix, node: Matrix, factors: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = u ∘ v: ẏ = u̇ ∘ v + u ∘ v̇."""
    return add(*[hadamard(*factors[:k], dot, *factors[k + 1 :]) for k, dot in enumerate(tangents) if dot is not None])


@jvp(Apply)
def apply_jvp(y: Matrix, node: Apply, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = f(a): ẏ = f'(a) ∘ ȧ."""
    return hadamard(apply(derivative(node.scalar), operands[0]), tangents[0])


@jvp(Maximum)
def maximum_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = max(a, b): ẏ = [a ≥ b] ∘ ȧ + [b > a] ∘ ḃ, [ ] being 1 where that holds, else 0."""
    a, b = operands
    return chosen((at_least(a, b), above(b, a)), tangents)


@jvp(Minimum)
def minimum_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = min(a, b): ẏ = [b ≥ a] ∘ ȧ + [a > b] ∘ ḃ, [ ] being 1 where that holds, else 0."""
    a, b = operands
    return chosen((at_least(b, a), above(a, b)), tangents)


def chosen(slopes: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """The tangents of what moves, each times its slope."""
    return add(*[hadamard(slope, dot) for slope, dot in zip(slopes, tangents, strict=True) if dot is not None])


@jvp(AtLeast)
@jvp(Above)
def comparison_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = where a is at least, or above, b: ẏ = 0."""
    return Zeros(*node.shape)


@jvp(Transposed)
def transposed_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = Aᵀ: ẏ = Ȧᵀ."""
    return transpose(tangents[0])


@jvp(Stack)
def stack_jvp(y: Matrix, node: Matrix, parts: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = [a; b]: ẏ = [ȧ; ḃ]."""
    return stack(*[Zeros(*part.shape) if dot is None else dot for part, dot in zip(parts, tangents, strict=True)])


@jvp(Rows)
def rows_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = some rows of a: ẏ is the same rows of ȧ."""
    return rows(tangents[0], *node.args[1:])


@jvp(Repeat)
def repeat_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = [a; a]: ẏ = [ȧ; ȧ]."""
    return repeat(tangents[0], int(node.args[1]))


@jvp(Softmax)
def softmax_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = softmax(z): ẏ = y ∘ (ż − 1 1ᵀ(y ∘ ż))."""
    n = operands[0].shape[0]
    return hadamard(y, tangents[0] - matmul(Ones(n, n), hadamard(y, tangents[0])))


@jvp(LogSoftmax)
def log_softmax_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = log softmax(z): ẏ = ż − 1 softmax(z)ᵀ ż."""
    return tangents[0] - filled(inner(softmax(operands[0]), tangents[0]), node)


@jvp(Total)
def total_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = Σ x: ẏ = Σ ẋ."""
    return total(tangents[0])


@jvp(Largest)
def largest_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = max x: ẏ is ẋ at the first of the largest elements."""
    return inner(first_largest(operands[0]), tangents[0])


@jvp(FirstLargest)
def first_largest_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = where x is largest: ẏ = 0."""
    return Zeros(*node.shape)


@jvp(LogSumExp)
def logsumexp_jvp(y: Matrix, node: Matrix, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = logsumexp(z): ẏ = softmax(z)ᵀ ż."""
    return inner(softmax(operands[0]), tangents[0])


@jvp(Cumulative)
def cumulative_jvp(y: Matrix, node: Cumulative, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = running sums of x: ẏ is the running sums of ẋ."""
    return cumulative(tangents[0], backwards=node.backwards)
