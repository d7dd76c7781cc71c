"""A size as the cause of wrong gradients: one dimension beyond some size, at 1 only, odd, no multiple of 16; found by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from verify.evidence import Evidence
from verify.gradients import BY_LAG, Comparison
from verify.kernel import Kernel
from verify.sizes import SMALL, Trial

TRIED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 33, 64, 65, 130)
OTHERS = 3
"""How many other draws have to show the edge at the same size: where numbers that grow with a size are clipped it moves with the data."""


@dataclass(frozen=True)
class SizeFault:
    """Where gradients are wrong: `for B > 64`, of the dimension `name`; edge: (a size at which they are right, one at which not)."""

    said: str
    name: str
    holds: Callable[[int], bool]
    edge: tuple[int, int]


def size_fault(
    kernel: Kernel, evidences: Sequence[Evidence], comparisons: Sequence[Comparison], method: str, seed: int
) -> SizeFault | None:
    """The one size that explains where gradients fail and where they don't; None where none does, or several do.

    Steps aren't a size here: a fault of the recurrence shows in long runs alone. Nor is "more than one": a mean for a sum and a missing
    transpose are right at 1.
    """
    failed = [one for one in comparisons if one.failed]
    if len({one.regime for one in failed if one.cotangent != BY_LAG}) == len(evidences):
        return None
    found = [fault for name in ("B", *kernel.dims.sizes) for fault in [along(kernel, name, method, seed)] if fault is not None]
    if len(found) != 1 or not all(accounted(found[0], one, evidences) for one in failed):
        return None
    return found[0] if sharp(kernel, found[0], method, seed) else None


def along(kernel: Kernel, name: str, method: str, seed: int) -> SizeFault | None:
    """What the sizes of one dimension at which gradients are wrong have in common, all others being small."""
    tried = {size: wrong_at(kernel, {name: size}, method, seed) for size in TRIED}
    known = {size: wrong for size, wrong in tried.items() if wrong is not None}
    if len(set(known.values())) < 2:
        return None
    right, wrong = (min(size for size in known if known[size] == value) for value in (False, True))
    above = max(size for size in known if not known[size])
    if right < wrong and above < wrong:
        while wrong - above > 1:  # the edge to the last example, unit or feature
            middle = (above + wrong) // 2
            above, wrong = (above, middle) if wrong_at(kernel, {name: middle}, method, seed) else (middle, wrong)
    for said, holds in patterns(name, above, right):
        if all(holds(size) == value for size, value in known.items()):
            edge = (above, wrong) if above < wrong else (right, wrong)
            return SizeFault(said, name, holds, edge)
    return None


def patterns(name: str, above: int, right: int) -> Iterator[tuple[str, Callable[[int], bool]]]:
    """Kinds of sizes. above: the largest size that is right; right: the smallest."""
    yield f"for {name} = 1 only", lambda size: size == 1
    if above > 1:
        yield f"for {name} > {above}", lambda size: size > above
    if right > 2:
        yield f"for {name} < {right}", lambda size: size < right
    yield f"where {name} is odd", lambda size: size % 2 == 1
    yield f"where {name} is odd, but not 1", lambda size: size % 2 == 1 and size > 1
    yield f"where {name} is even", lambda size: size % 2 == 0
    for by in (4, 8, 16):
        yield f"where {name} is no multiple of {by}", lambda size, by=by: size % by != 0  # type: ignore[misc]
        yield f"where {name} is a multiple of {by}", lambda size, by=by: size % by == 0  # type: ignore[misc]


def wrong_at(kernel: Kernel, sizes: Mapping[str, int], method: str, seed: int) -> bool | None:
    """Whether float64 gradients are wrong there; None where nothing can be said."""
    at = {**SMALL, **kernel.dims.sizes, **sizes}
    trial = Trial(kernel.sized([at[name] for name in kernel.dims.sizes]), at, method, seed)
    trial.run(None)
    if trial.undecided or "" in trial.failing:
        return None
    return any("float32" not in finding.where for finding in trial.failing.values())


def sharp(kernel: Kernel, fault: SizeFault, method: str, seed: int) -> bool:
    """Whether other draws, at other sizes of all other dimensions, are right and wrong on the same sides of the edge."""
    return all(
        wrong_at(kernel, {**grown(kernel, k), fault.name: size}, method, seed + k) == (size == fault.edge[1])
        for k in range(1, OTHERS + 1)
        for size in fault.edge
    )


def grown(kernel: Kernel, by: int) -> dict[str, int]:
    """Larger sizes of all dimensions, each by another number: a fault where D > H has its edge elsewhere there."""
    return {name: size + by * (2 + k) for k, (name, size) in enumerate({**SMALL, **kernel.dims.sizes}.items())}


def accounted(fault: SizeFault, one: Comparison, evidences: Sequence[Evidence]) -> bool:
    """Whether a failure is at such a size: lag by lag the steps lie side by side along the batch, which is larger by their number."""
    evidence = next(evidence for evidence in evidences if evidence.regime.name == one.regime)
    if fault.name != "B":
        return fault.holds(evidence.kernel.dims.sizes[fault.name])
    batch = evidence.data.batch
    return fault.holds(batch) or (one.cotangent == BY_LAG and fault.holds(evidence.examples * evidence.data.steps))
