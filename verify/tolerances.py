"""Every tolerance of the verifier in one table, each with its reason; and the rounding bound that most of them come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS = float(np.finfo(np.float64).eps)
EPS32 = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Tolerance:
    """A bound on |a - b| / |b| in the norm of what is compared, and why it is this large and not larger."""

    value: float
    reason: str


def amplification(reach: float) -> float:
    """What y (1 - y) and 1 - y**2 lose of eps at |z| = reach: 1/(1 - |tanh(z/2)|), of a sigmoid."""
    return float(1.0 / (1.0 - np.tanh(reach / 2)))


def rounding(factors: float, fan_in: int, reach: float, growth: float = 0.0, eps: float = EPS) -> Tolerance:
    """The bound for a gradient that is a product of `factors` Jacobians.

    Each factor is a sum of fan_in products (fan_in eps) of slopes that lose eps/(1 - |y|); roundings of early steps reach later ones
    amplified by at most `growth`, the largest product of Jacobians measured.
    """
    value = 4 * eps * (factors + 2) * fan_in * amplification(reach) * (1 + growth)
    reason = (
        f"4 eps x {factors + 2:.0f} factors x fan-in {fan_in} x 1/(1-|y|) = {amplification(reach):.0f} at |z| = {reach:g}"
        f" x (1 + growth {growth:.1g})"
    )
    return Tolerance(value, reason)


def reordered(own: Tolerance) -> Tolerance:
    """The bound for two results that are sums of the same terms, added in another order: each is within its own of the exact one."""
    return Tolerance(2 * own.value, f"2 x ({own.reason}), the same terms added in another order")


FORWARD = Tolerance(1e-10, "forward passes of one equation differ by rounding only; 1e-10 leaves room for growth over the steps")
CENTRAL = Tolerance(
    1e-6,
    "h = eps**(1/3) = 6e-6: truncation h**2/6 f''' = 6e-12 f''' and rounding eps |L|/h = 4e-11 |L|, "
    "each times the ratio of L or f''' to the block's gradient; the rounding of L is allowed for on top",
)
RESOLUTION = Tolerance(1e-5, "what passes has been looked at this sharply at least: larger faults would have been seen")
COARSE = 0.1
"""A difference beyond a bound is a fault also where the evidence is less sharp than that, up to this part of what is compared."""
VANISHED = 1e-12
"""A gradient of another lag that is below this part of the largest is as good as zero, and so is what no route can resolve of it."""
SEEN = Tolerance(
    1e-9, "a term counts as seen where dropping it changes its sum by more than this, above every rounding bound there"
)
ADJOINT = Tolerance(1e-11, "two sums of products of the same numbers in another order, relative to the sum of their sizes")


def second_order(steps: int) -> Tolerance:
    """The bound for how a gradient moves, by two routes: 1e-12 for five steps, and with each more two factors more."""
    value = 1e-12 * max(1.0, (steps + 2) / 7)
    return Tolerance(
        value,
        f"the same sums of products in another order: 4 eps x 2 x (T + 2) factors x fan-in 50 at T = {max(steps, 5)}; what is lost beyond "
        "it is measured",
    )


UNDERFLOW = 1e-280
"""Below this size products of float64 numbers lose digits to underflow: nothing is decided there."""


def single_precision(factors: float, fan_in: int, reach: float, growth: float) -> Tolerance:
    """The bound of float32 against float64: the same count of operations with eps of float32, never above 1/2."""
    bound = rounding(factors, fan_in, reach, growth, EPS32)
    return Tolerance(min(bound.value, 0.5), bound.reason.replace("4 eps", "4 eps of float32"))


EXACT = Tolerance(
    1e-11,
    "both are exact up to rounding: the bound 4 eps x factors x fan-in x 1/(1-|y|) at the sizes of the ordinary data",
)

PAIRS: dict[frozenset[str], Tolerance] = {
    frozenset({"emitted", "hand-written"}): EXACT,
    frozenset({"emitted", "complex step"}): EXACT,
    frozenset({"hand-written", "complex step"}): EXACT,
    frozenset({"emitted", "central"}): CENTRAL,
    frozenset({"hand-written", "central"}): CENTRAL,
    frozenset({"complex step", "central"}): CENTRAL,
}
"""Pair of routes -> how closely they have to agree on the ordinary data."""


def tolerance(first: str, second: str) -> Tolerance:
    return PAIRS[frozenset({first, second})]
