"""The rules of operations along the steps."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import MatrixExpr as Matrix

from derive.along import (
    FirstLargestAlong,
    LargestAlong,
    Pick,
    Place,
    SoftmaxAlong,
    Spread,
    SumAlong,
    first_largest_along,
    pick,
    place,
    spread,
    sum_along,
)
from derive.language import Zeros, add, hadamard, scale
from derive.rules.table import jvp, vjp

# ---- cotangents backward


@vjp(SumAlong)
def sum_along_vjp(cotangent: Matrix, y: Matrix, node: SumAlong, operand: Matrix) -> list[Matrix]:
    """y = Σₖ xₖ: x̄ₖ = ȳ."""
    return [spread(cotangent, node.axis)]


@vjp(Spread)
def spread_vjp(cotangent: Matrix, y: Matrix, node: Spread, operand: Matrix) -> list[Matrix]:
    """y = x at every step: x̄ = Σₖ ȳₖ."""
    return [sum_along(cotangent, node.axis)]


@vjp(Pick)
def pick_vjp(cotangent: Matrix, y: Matrix, node: Pick, operand: Matrix) -> list[Matrix]:
    """y = x at one end: x̄ is ȳ there, 0 elsewhere."""
    return [place(cotangent, node.axis, node.end)]


@vjp(Place)
def place_vjp(cotangent: Matrix, y: Matrix, node: Place, operand: Matrix) -> list[Matrix]:
    """y = x at one end, 0 elsewhere: x̄ is ȳ there."""
    return [pick(cotangent, node.axis, node.end)]


@vjp(LargestAlong)
def largest_along_vjp(cotangent: Matrix, y: Matrix, node: LargestAlong, operand: Matrix) -> list[Matrix]:
    """y = maxₖ xₖ: x̄ₖ is ȳ at the first of the largest, 0 elsewhere."""
    return [hadamard(cotangent, first_largest_along(operand, node.axis))]


@vjp(FirstLargestAlong)
def first_largest_along_vjp(cotangent: Matrix, y: Matrix, node: FirstLargestAlong, operand: Matrix) -> list[Matrix]:
    """y = the step at which x is largest: x̄ = 0."""
    return [Zeros(*operand.shape)]


@vjp(SoftmaxAlong)
def softmax_along_vjp(cotangent: Matrix, y: Matrix, node: SoftmaxAlong, operand: Matrix) -> list[Matrix]:
    """y = softmaxₖ(z): z̄ₖ = yₖ ∘ (ȳₖ − Σₖ yₖ ∘ ȳₖ)."""
    return [hadamard(y, add(cotangent, scale(-1, sum_along(hadamard(y, cotangent), node.axis))))]


# ---- tangents forward


@jvp(SumAlong)
def sum_along_jvp(y: Matrix, node: SumAlong, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = Σₖ xₖ: ẏ = Σₖ ẋₖ."""
    return sum_along(tangents[0], node.axis)


@jvp(Spread)
def spread_jvp(y: Matrix, node: Spread, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = x at every step: ẏₖ = ẋ."""
    return spread(tangents[0], node.axis)


@jvp(Pick)
def pick_jvp(y: Matrix, node: Pick, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = x at one end: ẏ is ẋ there."""
    return pick(tangents[0], node.axis, node.end)


@jvp(Place)
def place_jvp(y: Matrix, node: Place, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = x at one end, 0 elsewhere: ẏ is ẋ there."""
    return place(tangents[0], node.axis, node.end)


@jvp(LargestAlong)
def largest_along_jvp(y: Matrix, node: LargestAlong, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = maxₖ xₖ: ẏ is ẋₖ at the first of the largest."""
    return sum_along(hadamard(first_largest_along(operands[0], node.axis), tangents[0]), node.axis)


@jvp(FirstLargestAlong)
def first_largest_along_jvp(
    y: Matrix, node: FirstLargestAlong, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]
) -> Matrix:
    """y = the step at which x is largest: ẏ = 0."""
    return Zeros(*node.shape)


@jvp(SoftmaxAlong)
def softmax_along_jvp(y: Matrix, node: SoftmaxAlong, operands: Sequence[Matrix], tangents: Sequence[Matrix | None]) -> Matrix:
    """y = softmaxₖ(z): ẏₖ = yₖ ∘ (żₖ − Σₖ yₖ ∘ żₖ)."""
    return hadamard(y, add(tangents[0], scale(-1, sum_along(hadamard(y, tangents[0]), node.axis))))
