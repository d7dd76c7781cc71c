"""Relations between the kinds of the factors of a product and the kind of their product, and what a relation leaves of its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from derive.pages.reductions import ALONG, TO_A_NUMBER

MATRIX, VECTOR, NUMBER = "matrix", "vector", "number"
ROW = "row"
"""A vector that stands transposed; only formulas are rows, never symbols."""
Kind = frozenset[str]
ANY, VECTORS = frozenset({NUMBER, VECTOR, MATRIX}), frozenset({VECTOR, ROW})
LOOSE = ("side", "dot")
"""Signs that may stand for a matrix product."""

SIGNATURES: dict[str, tuple[Kind, Kind]] = {
    **dict.fromkeys(TO_A_NUMBER, (VECTORS, frozenset({NUMBER}))),
    **dict.fromkeys(ALONG, (VECTORS, frozenset({VECTOR}))),
    "diag": (VECTORS, frozenset({MATRIX})),
}
"""Functions that aren't taken of each element: (the kinds of the argument, the kind of the value)."""

Table = Callable[[str, str], Kind]


def none_or(kind: str | None) -> Kind:
    return frozenset() if kind is None else frozenset({kind})


def product_of(left: str, right: str, row: bool | None, strict: bool) -> Kind:
    """The kinds of `left right` side by side. row: the page writes rows, None where that isn't known; strict: a transposed vector stands
    in the product, so that no two vectors are multiplied elementwise."""
    if NUMBER in (left, right):
        return frozenset({right if left == NUMBER else left})
    if {left, right} == {VECTOR, ROW}:
        outer = (left == VECTOR) != bool(row)
        return frozenset({NUMBER, MATRIX}) if row is None else frozenset({MATRIX if outer else NUMBER})
    if left == right:
        return frozenset() if strict and left == VECTOR else frozenset({left})
    return frozenset({right if left == MATRIX else left})


def elementwise(left: str, right: str) -> Kind:
    """The kinds of `left ⊙ right`."""
    if NUMBER in (left, right):
        return frozenset({right if left == NUMBER else left})
    if MATRIX in (left, right):
        return none_or(MATRIX if left == right else None)
    return frozenset({ROW if left == right == ROW else VECTOR})


def tensor(left: str, right: str) -> Kind:
    """The kinds of `left ⊗ right`."""
    return elementwise(left, right) | none_or(MATRIX if {left, right} <= VECTORS else None)


def turned(kinds: Kind) -> Kind:
    """The kinds of what is transposed; a number never is."""
    return frozenset({VECTOR: ROW, ROW: VECTOR}.get(kind, kind) for kind in kinds)


def folded(parts: Sequence[Kind], tables: Sequence[Table]) -> Kind:
    """The kinds that a product of such parts can have."""
    found = parts[0]
    for part, table in zip(parts[1:], tables, strict=True):
        found = frozenset(kind for a in found for b in part for kind in table(a, b))
    return found


def solutions(parts: Sequence[Kind], tables: Sequence[Table], allowed: Kind) -> list[Kind] | None:
    """For each part of a product the kinds that some solution with an allowed result has; None where there is none."""
    ahead = [parts[0]]
    for part, table in zip(parts[1:], tables, strict=True):
        ahead.append(frozenset(found for a in ahead[-1] for b in part for found in table(a, b)))
    needed, kept = ahead[-1] & allowed, []
    if not needed:
        return None
    for before, part, table in zip(ahead[-2::-1], parts[:0:-1], tables[::-1], strict=True):
        kept.append(frozenset(b for b in part if any(table(a, b) & needed for a in before)))
        needed = frozenset(a for a in before if any(table(a, b) & needed for b in part))
    return [needed, *reversed(kept)]
