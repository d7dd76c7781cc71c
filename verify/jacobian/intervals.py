"""Intervals of numbers, and those of a function's values over one: the extremes of a fine grid, refined where they are."""

from __future__ import annotations

from functools import cache

import numpy as np
import sympy as sp

from verify.jacobian.run import Array
from verify.jacobian.values import scalar

Range = tuple[float, float]
EVERYWHERE: Range = (-np.inf, np.inf)

REFINED = 30
"""How often an extreme's place is narrowed to two thirds: from a cell of the grid to 1e-5 of it, where the value is right to its square."""


def times(first: Range, second: Range) -> Range:
    """Of a product; 0 times anything is 0, since infinity is never reached."""
    ends = [0.0 if a == 0 or b == 0 else a * b for a in first for b in second]
    return (min(ends), max(ends))


def scaled(number: float, limits: Range) -> Range:
    return times((float(number), float(number)), limits)


def extremes_of(array: Array) -> Range:
    return (float(array.min()), float(array.max()))


def hull(first: Range, second: Range) -> Range:
    return (min(first[0], second[0]), max(first[1], second[1]))


def common(first: Range, second: Range) -> Range:
    """Of what lies in both."""
    return (max(first[0], second[0]), min(first[1], second[1]))


def inside(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


# ---- functions of one number


def range_of_function(function: sp.Expr) -> Range:
    """(infimum, supremum) of a function over all numbers."""
    return extremes(function, EVERYWHERE)


def supremum(function: sp.Expr, limits: Range) -> float:
    """sup |f| over a range."""
    return max(abs(end) for end in extremes(function, limits))


@cache
def extremes(function: sp.Expr, limits: Range) -> Range:
    """(infimum, supremum) of a function over a range: the extremes of a fine grid, refined where they are; infinite where it still grows
    at the ends of the grid, or isn't defined somewhere."""
    x = grid(limits)
    y = evaluated(function, x)
    if np.isnan(y).any():
        return EVERYWHERE
    return (-highest(-sp.sympify(function), limits, x, -y), highest(sp.sympify(function), limits, x, y))


def highest(function: sp.Expr, limits: Range, x: Array, y: Array) -> float:
    if grows(y, x, limits):
        return np.inf
    if np.isfinite(limits).all() and (np.all(y[1:] >= y[:-1]) or np.all(y[1:] <= y[:-1])):
        return float(y.max())
    k = int(y.argmax())
    low, high = float(x[max(k - 1, 0)]), float(x[min(k + 1, len(x) - 1)])
    best = float(y[k])
    for _ in range(REFINED):
        third = (high - low) / 3
        left, right = evaluated(function, np.array([low + third, high - third])).tolist()
        best = max(best, left, right)
        low, high = (low + third, high) if left < right else (low, high - third)
    return best


def grid(limits: Range) -> Array:
    """Points of a range, its ends and 0 among them; an infinite end is approached as far as 1e100."""
    if np.isfinite(limits).all():
        inner = [0.0] if limits[0] < 0 < limits[1] else []
        return np.unique(np.concatenate([np.linspace(*limits, 4001), inner]))
    far = np.concatenate([np.logspace(np.log10(51), 6, 60), np.logspace(7, 100, 94)])
    x = np.concatenate([-far[::-1], np.linspace(-50, 50, 20001), far])
    ends = [end for end in limits if np.isfinite(end)]
    return np.unique(np.concatenate([x[(x >= limits[0]) & (x <= limits[1])], ends]))


def evaluated(function: sp.Expr, x: Array) -> Array:
    """The function's values; nan where it isn't defined."""
    with np.errstate(all="ignore"):
        return np.asarray(np.broadcast_to(scalar(function, x), x.shape), float)


def grows(y: Array, x: Array, limits: Range) -> bool:
    """Whether a function is still growing at the infinite ends of a grid, or is infinite at a finite one."""
    if not np.isfinite(y.max()):
        return True
    near = y[np.abs(x) <= max(1e3, *(2 * abs(end) for end in limits if np.isfinite(end)), 1e3)].max()
    return bool(float(y.max()) > near + 0.1 + abs(near) * 1e-3)
