"""Functions of all elements and functions of several quantities, in the language: page's name -> constructor."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.along import largest_along, mean_along, pick, softmax_along, sum_along
from derive.comparisons import maximum, minimum
from derive.language import X, apply, scale
from derive.reductions import (
    cumax,
    cumulative,
    largest,
    layer_norm,
    log_softmax,
    logsumexp,
    mean,
    norm,
    power,
    rms_norm,
    softmax,
    squared_norm,
    total,
    variance,
)
from derive.shapes import is_matrix

TO_A_NUMBER: dict[str, Callable[[sp.MatrixExpr], sp.MatrixExpr]] = {
    "sum": total,
    "mean": mean,
    "var": variance,
    "norm": norm,
    "squarednorm": squared_norm,
    "max": largest,
    "min": lambda vector: scale(-1, largest(scale(-1, vector))),
    "logsumexp": logsumexp,
}
"""Of a vector one number."""
ALONG: dict[str, Callable[[sp.MatrixExpr], sp.MatrixExpr]] = {
    "softmax": softmax,
    "logsoftmax": log_softmax,
    "layernorm": layer_norm,
    "rmsnorm": rms_norm,
    "cumsum": cumulative,
    "cumax": cumax,
}
"""Of a vector one of its length."""
OVER_STEPS: dict[str, Callable[[sp.MatrixExpr, str], sp.MatrixExpr]] = {
    "sum": sum_along,
    "mean": mean_along,
    "max": largest_along,
    "min": lambda node, axis: scale(-1, largest_along(scale(-1, node), axis)),
    "softmax": softmax_along,
    "last": lambda node, axis: pick(node, axis, "last"),
    "first": lambda node, axis: pick(node, axis, "first"),
}
"""Of what differs from step to step one value for all of them, of each element; of a softmax as many."""


def over_steps(function: str) -> tuple[str, str] | None:
    """(operation, axis) of `sum over T`; None for a function of one step."""
    operation, _, axis = function.partition(" over ")
    return (operation, axis) if axis else None


NUMBERS = {"max": sp.Max, "min": sp.Min, "power": sp.Pow}
"""Functions of several quantities, where all of them are numbers that are given."""


def of_several(function: str, parts: list[sp.Expr]) -> sp.Expr:
    """max, min or power of two, of which at least one is an expression of the language."""
    left, right = parts
    if not is_matrix(left) and not is_matrix(right):
        return NUMBERS[function](left, right)
    if function != "power":
        return (maximum if function == "max" else minimum)(left, right)
    return power(left, right) if is_matrix(right) else apply(X**right, left)
