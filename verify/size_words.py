"""How a finding says at which sizes something holds, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verify.data import lead_of

Sizes = Mapping[str, int]
"""The dimensions that are large in a trial, with their sizes."""


def told(what: str, sets: Sequence[Sizes]) -> str:
    """At which sizes, dimension by dimension."""
    parts = [f"{name} = {', '.join(map(str, some))}" for name, some in alone(sets).items()]
    parts += [", ".join(f"{name} = {size}" for name, size in sizes.items()) for sizes in sets if len(sizes) > 1]
    return f"{what} at {'; '.join(parts)}" if parts else ""


def alone(sets: Sequence[Sizes]) -> dict[str, list[int]]:
    """The sizes of each dimension where it was large alone."""
    found: dict[str, list[int]] = {}
    for sizes in sets:
        if len(sizes) == 1:
            for name, size in sizes.items():
                found.setdefault(name, []).append(size)
    return found


def seen(wrong: Sequence[Sizes], right: Sequence[Sizes]) -> str:
    """Where something fails, and where it doesn't in the same dimensions."""
    near = [sizes for sizes in right if len(sizes) == 1 and set(sizes) & set(alone(wrong))]
    passing = f", {told('right', near)}" if near else ""
    return told("it fails", wrong) + passing


def axes_of(block: str, rank: int) -> list[str]:
    """What each axis of a block is called."""
    lead = lead_of(block)
    vector = {2: "feature", 1: "unit", 0: "row"}[lead]
    return [*["step", "example"][2 - lead :], *(["row", "column"] if rank - lead == 2 else [vector][: rank - lead])]
