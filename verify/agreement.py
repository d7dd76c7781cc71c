"""Whether arrays of two calls agree: bit by bit, within a bound, in memory; each answer a finding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from verify.data import REACH, Data
from verify.evidence import Array
from verify.findings import FAIL, PASS, Finding
from verify.gradients import relative
from verify.kernel import Kernel
from verify.tolerances import Tolerance, rounding


def bound(kernel: Kernel, data: Data) -> Tolerance:
    return rounding(data.steps, kernel.dims.fan_in(), REACH, 10.0)


def same(first: Mapping[str, Array], second: Mapping[str, Array]) -> str:
    """The first name whose arrays differ by a bit; empty where none does."""
    names = dict.fromkeys([*first, *second])
    return next(
        (n for n in names if n not in first or n not in second or not np.array_equal(first[n], second[n], equal_nan=True)), ""
    )


def verdict(name: str, different: str, said: str, cause: str = "") -> Finding:
    if not different:
        return Finding(name, PASS)
    return Finding(name, FAIL, different, said=said, cause=cause)


def close(
    name: str, got: Mapping[str, Array], expected: Mapping[str, Array], allowed: Tolerance, said: str, cause: str = ""
) -> Finding:
    """All arrays within a tolerance, relative to each one's norm."""
    for block in expected:
        error = relative(got[block], expected[block]) if block in got else float("inf")
        if not error <= allowed.value:
            return Finding(name, FAIL, block, said=said, error=error, tolerance=allowed.value, reason=allowed.reason, cause=cause)
    return Finding(name, PASS)


def overlap(first: Mapping[str, Array], second: Mapping[str, Array]) -> str:
    return next(
        (
            a
            for a, one in first.items()
            for two in second.values()
            if np.may_share_memory(one, two) and np.shares_memory(one, two)
        ),
        "",
    )
