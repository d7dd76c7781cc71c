"""Every tolerance of the comparison in one table, each with its reason. All are relative to the size of the block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Tolerance:
    """A bound on |a - b| / |b| in the norm of a block, and why it is this large and not larger."""

    value: float
    reason: str


EXACT = Tolerance(
    1e-12,
    "both are exact up to rounding: a sum of about T B H = 1e3 products, each factor with a few eps = 2e-16, "
    "and y (1 - y) or 1 - y**2 lose eps/(1 - |y|), 1e-13 at the |z| < 7 that the data keep to",
)
CENTRAL = Tolerance(
    1e-6,
    "h = eps**(1/3) = 6e-6: truncation h**2/6 f''' = 6e-12 f''' and rounding eps |L|/h = 4e-11 |L|, "
    "each times the ratio of L or f''' to the block's gradient, at most 1e4 in the data drawn",
)

PAIRS: dict[frozenset[str], Tolerance] = {
    frozenset({"emitted", "hand-written"}): EXACT,
    frozenset({"emitted", "complex step"}): EXACT,
    frozenset({"hand-written", "complex step"}): EXACT,
    frozenset({"emitted", "central"}): CENTRAL,
    frozenset({"hand-written", "central"}): CENTRAL,
    frozenset({"complex step", "central"}): CENTRAL,
}
"""Pair of routes -> how closely they have to agree."""


def tolerance(first: str, second: str) -> Tolerance:
    return PAIRS[frozenset({first, second})]
