"""From comparisons to findings: all regimes and lags of one block as one verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from verify.findings import FAIL, INCONCLUSIVE, PASS, Finding
from verify.gradients import BY_LAG, Comparison
from verify.tolerances import COARSE, RESOLUTION


def worst_of(comparisons: list[Comparison]) -> Comparison | None:
    """The failure furthest beyond its tolerance, nan first."""
    return max(comparisons, key=excess, default=None)


def excess(one: Comparison) -> float:
    """How many times its tolerance an error is; infinite for nan."""
    return float(np.inf if np.isnan(one.error) else one.error / one.tolerance.value)


def of_block(block: str, comparisons: list[Comparison], method: str, far: int = 40) -> Iterator[Finding]:
    """All regimes and lags of one block as one finding; far: up to which lag something has to be decided."""
    if any(one.failed for one in comparisons):
        yield failure(block, comparisons)
        return
    decided = [one for one in comparisons if one.decided]
    if not decided:
        why = next((one.why for one in comparisons if one.why), "no comparison was possible")
        yield Finding("gradients", INCONCLUSIVE, block, said=f"{why} in every regime: a fault of any size would go unseen")
        return
    sharpest = min(one.tolerance.value for one in decided)
    if sharpest > RESOLUTION.value:
        yield Finding("gradients", INCONCLUSIVE, block, said=f"{method} see faults above {sharpest:.0e} of the gradient only")
        return
    lags_seen = {lag for one in comparisons for lag in one.decided_lags}
    by_lag = [one for one in comparisons if one.cotangent == BY_LAG]
    missing = [lag for lag in range(1, far + 1) if lag not in lags_seen]
    if by_lag and missing:
        size = max(min((one.resolutions.get(lag, np.inf) for one in by_lag), default=np.inf) for lag in missing)
        unseen = f"up to {size:.0e} of the gradient there" if size <= COARSE else "of any size"
        said = f"no regime decides lags {spans(missing)}: below the resolution of {method}; a fault {unseen} would go unseen"
        yield Finding("gradients", INCONCLUSIVE, block, said=said)
        return
    worst = worst_of(decided)
    assert worst is not None
    steps = f", lag by lag to {max(lags_seen)}" if lags_seen else ""
    said = f"{len(decided)} comparisons{steps}"
    yield Finding(
        "gradients",
        PASS,
        block,
        f"worst in regime {worst.regime}",
        said,
        error=worst.error,
        tolerance=worst.tolerance.value,
        reason=worst.tolerance.reason,
    )


def failure(block: str, comparisons: list[Comparison]) -> Finding:
    """The failures of a block as one finding, which shows the worst of them, or the first lag by lag where the worst isn't finite."""
    failed = [one for one in comparisons if one.failed]
    shown = max(failed, key=excess)
    by_lag = next((one for one in failed if one.lags), None)
    if by_lag is not None and not np.isfinite(shown.error):
        shown = by_lag
    lags = sorted({lag for one in failed for lag in one.lags})
    return Finding(
        "gradients",
        FAIL,
        block,
        f"regime {shown.regime}, {shown.cotangent}" + (f", {shown.where}" if shown.where else ""),
        f"{len(failed)} of {len(comparisons)} comparisons fail" + (f", lags {spans(lags)}" if lags else ""),
        shown.got,
        shown.expected,
        shown.error,
        shown.tolerance.value,
        shown.tolerance.reason,
    )


def spans(numbers: list[int]) -> str:
    """[1, 2, 3, 7] as `1 to 3, 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts)


def by_differences(method: str, comparisons: Sequence[Comparison], findings: Sequence[Finding]) -> tuple[str, str]:
    """(the routes, how closely they agree) where a kernel takes no complex numbers: differences are the bluntest, and where its equations
    are known, their own derivatives decide every block, exact to rounding."""
    blunt = max((one.error for one in comparisons if one.decided), default=0.0)
    held = [one.error for one in findings if one.check == "against" and one.passed and one.error is not None]
    if not held:
        return method, f"worst {blunt:.0e}"
    return f"{method}, the equations", f"worst {max(held):.0e} by the equations; {method} {blunt:.0e}"
