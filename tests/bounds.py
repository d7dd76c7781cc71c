"""How far two right computations of the same numbers may part: the bounds of the tests, each from the count of its roundings.

Rounding errors of either sign add up like the steps of a walk: after n of them a result is off by at most 8 sqrt(n) units of rounding
but for a chance of 2 exp(-32) (Higham and Mary 2019, theorem 2.4 with lambda = 8); two routes, each off by half an eps a rounding,
part by that many eps. A sum of terms of either sign grows like a walk too, and so does its error: relative to the norm of a block
the bound is that of its terms. Nothing here depends on how a library orders its sums, on the width of its vectors or on its threads;
its tanh and exp may be off by a few units each. What is sure to cancel has the size of its terms named where it is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from derive.along import AlongAxis
from derive.cell import Cell
from derive.derivation import derive
from derive.equation import Equation
from derive.language import Apply, Times
from derive.reductions import Cumulative, OverElements, Reduction
from tests.arguments import Call

EPS = float(np.finfo(np.float64).eps)
FUNCTIONS = 16
"""Roundings of one step of a cell beside its sums: six sums and products, a tanh and a sigmoid at up to 4 units each and their slopes."""


def rounded(roundings: float, dtype: Any = np.float64) -> float:
    """How far two routes part, relatively, after so many roundings each."""
    return 8 * float(np.sqrt(roundings)) * float(np.finfo(dtype).eps)


def of_call(call: Call, dtype: Any = np.float64) -> float:
    """Two routes to an output, gradient, tangent or step Jacobian of a cell, relative to its norm, or to the sizes of its terms.

    Arguments are of size 1. A saturated slope loses digits of its own, but in the norm of a block counts as little as it contributes.
    """
    arrays = (*call.inputs.values(), *call.cotangents.values())
    steps, batch = (max((array.shape[axis] for array in arrays if axis < array.ndim), default=1) for axis in (0, 1))
    return rounded(of_recurrence(steps, batch, fan_in(call)), dtype)


def of_recurrence(steps: int, batch: int, fan_in: int) -> int:
    """The roundings on the way from an argument to the loss: sums and functions in each step, at both ends, and of a weight's gradient."""
    return (steps + 2) * (fan_in + FUNCTIONS) + steps * batch


def of_program(equations: Iterable[Equation], size: Callable[[sp.Expr], int], steps: int, batch: int) -> int:
    """The roundings of a program at all steps, and of its sums over steps and examples: no result has more of them on its way.

    A function of numbers is off by up to 4 units; a product with a matrix, and whatever runs over the elements of a vector or matrix or
    over the steps, has a sum and a product for each; anything else one rounding for each operand.
    """

    def of_node(node: sp.MatrixExpr) -> int:
        parts = node.operands
        inside = sum(map(of_node, parts))
        if isinstance(node, Apply):
            return inside + 4 * max(1, sum(1 for _ in sp.preorder_traversal(node.scalar)))
        if isinstance(node, AlongAxis):
            return inside + 2 * steps + 4
        if isinstance(node, Times | OverElements | Reduction | Cumulative):
            return inside + 2 * sum(size(part.shape[0] * part.shape[1]) for part in parts) + 4
        return inside + len(parts)

    every = [*equations]
    nodes = [term.value for one in every for term in one.terms] + [one.factor for one in every if one.factor is not None]
    return steps * (sum(map(of_node, nodes)) + len(nodes)) + steps * batch


def of_second(cell: Cell, call: Call, sizes: Mapping[str, int]) -> float:
    """Two routes to how gradients move, relative to the norm of a block: by the roundings of both programs."""
    derivation = derive(cell)
    equations = [*derivation.forward.equations, *derivation.second.equations]
    steps, batch = next(array.shape[:2] for array in call.inputs.values() if array.ndim > 1)

    def size(dimension: sp.Expr) -> int:
        return int(sp.sympify(dimension).subs({symbol: sizes[symbol.name] for symbol in sp.sympify(dimension).free_symbols}))

    return rounded(of_program(equations, size, steps, batch))


def fan_in(call: Call) -> int:
    """The terms of the widest sum of a step: forward the columns of the matrices that an equation reads, backward their rows."""
    return sum(max(array.shape) for array in call.parameters.values() if array.ndim == 2) or 1


def saturation(tape: Any) -> float:
    """What the most saturated value on a tape has lost of its digits or its slope's: a block may hold nothing else.

    1/(1 - |y|) of what looks like a tanh; of what looks like a sigmoid, (1 + tanh)/2, 1/y too. At most 1e6, as at |z| = 14.
    """
    arrays = [array.real for array in vars(tape).values() if isinstance(array, np.ndarray) and array.size]
    left = [1 - np.abs(array[np.abs(array) <= 1]).max(initial=0) for array in arrays]
    left += [array.min() for array in arrays if array.min() >= 0 and array.max() <= 1]
    return float(1 / max(min(left, default=1), 1e-6))


# ---- products of step Jacobians


def skeel(J: np.ndarray) -> np.ndarray:
    """(...,): the norm of |J^-1| |J|: how much of a change of J's entries, each relative to itself, reaches a singular value."""
    return np.asarray(np.linalg.norm(np.abs(np.linalg.inv(J)) @ np.abs(J), 2, axis=(-2, -1)))


def singular_values(J: np.ndarray) -> float:
    """The relative error of every singular value of J_T ... J_1, (T, n, n).

    Multiplying by one step and turning the frame rounds each entry n times: J_t (1 + E) with |E| <= n eps |J_t^-1| |J_t|, and a factor
    1 + E moves no singular value of a product by more than |E|, relative (Eisenstat and Ipsen 1995, theorem 3.1).
    """
    logarithms = np.abs(np.log(np.linalg.svd(J, compute_uv=False))).max(axis=-1).sum()
    return float(EPS * J.shape[-1] * skeel(J).sum()) + rounded(len(J)) * float(logarithms)  # their sum rounds at each step


def exponents(J: np.ndarray) -> float:
    """The absolute error of the mean over T steps of ln R_kk, at least nine tenths of them: a T-th of the error of their sum."""
    return singular_values(J) / (0.9 * len(J))
