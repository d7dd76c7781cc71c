"""Where operands lie: a pointer, and how far apart the elements of each axis and size are. Views are places in the memory of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derive.procedures.procedure import EACH, At, Call, Cut, Entry, New, Operand, View
from derive.procedures.procedure import Array as Named

Sizes = tuple[sp.Expr, ...]


@dataclass(frozen=True)
class Place:
    """Elements in memory.

    pointer: a C expression; offset: of the first element. sizes, strides: of each axis, then of each dimension; a size of 1 counts for
    all. kind: the C type of the elements. label: (a pointer of the text, where it points to), in the same memory.
    """

    pointer: str
    sizes: Sizes
    strides: Sizes
    offset: sp.Expr = sp.S.Zero
    kind: str = "real"
    label: tuple[str, sp.Expr] | None = None

    @property
    def shown(self) -> tuple[str, sp.Expr]:
        """(the pointer in the text, how far behind it the first element lies)."""
        if self.label is None:
            return self.pointer, self.offset
        return self.label[0], sp.expand(self.offset - self.label[1])

    def stride(self, k: int) -> sp.Expr:
        """How far apart elements are along a place, 0 where one counts for all."""
        return sp.S.Zero if self.sizes[k] == 1 else self.strides[k]

    @property
    def count(self) -> sp.Expr:
        """How many elements there are."""
        return sp.expand(sp.Mul(*self.sizes))

    @property
    def is_dense(self) -> bool:
        """Whether the elements lie one after the other, in order."""
        return self.strides == dense(self.sizes)


def dense(sizes: Sequence[sp.Expr]) -> Sizes:
    """The strides of elements that lie one after the other."""
    found: list[sp.Expr] = []
    step: sp.Expr = sp.S.One
    for size in reversed(sizes):
        found.append(step)
        step = sp.expand(step * size)
    return tuple(reversed(found))


def axis_size(axis: str) -> sp.Expr:
    """How many elements there are along an axis; several axes stand in one with `*` between them."""
    if axis == EACH:
        return sp.S.One
    return sp.Mul(*[sp.Integer(part) if part.isdigit() else sp.Symbol(part) for part in axis.split("*")])


def sizes_of(operand: Operand) -> Sizes:
    """The sizes of an operand's axes and dimensions, with what lies in front of the first step and behind the last one."""
    lead = [axis_size(axis) for axis in operand.axes]
    if isinstance(operand, Named | Entry) and lead:
        lead[0] = lead[0] + operand.front + operand.behind
    if isinstance(operand, Call) and operand.option("more"):
        lead[0] = lead[0] + operand.option("more")
    return (*lead, *map(sp.sympify, operand.dims))


def new_place(pointer: str, sizes: Sizes, kind: str = "real") -> Place:
    """Dense memory."""
    return Place(pointer, sizes, dense(sizes), kind=kind)


def viewed(place: Place, view: View) -> Place:
    """The part of a place that a view is."""
    offset, sizes, strides = place.offset, [], []
    at = 0
    for one in view.index:
        if isinstance(one, New):
            sizes.append(sp.S.One)
            strides.append(sp.S.Zero)
            continue
        size, stride = place.sizes[at], place.strides[at]
        at += 1
        if isinstance(one, At):
            offset += from_front(one.position, size) * stride
        else:
            start, stop = (from_front(end, size) for end in ends(one, size))
            offset += start * stride
            sizes.append(sp.expand(stop - start))
            strides.append(stride)
    sizes += place.sizes[at:]
    strides += place.strides[at:]
    return replace(place, offset=sp.expand(offset), sizes=tuple(sizes), strides=tuple(strides))


def ends(cut: Cut, size: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    return sp.sympify(cut.start or 0), size if cut.stop is None else sp.sympify(cut.stop)


def from_front(position: sp.Expr | int, size: sp.Expr) -> sp.Expr:
    """A position that may be counted from the end."""
    position = sp.sympify(position)
    return position + size if position.is_negative else position


def rearranged(place: Place, call: Call) -> Place | None:
    """The place of a call that is a view; None where it needs memory of its own."""
    match call.operation:
        case "transpose":
            return permuted(place, [*range(len(place.sizes) - 2), len(place.sizes) - 1, len(place.sizes) - 2])
        case "move":
            return permuted(place, list(call.option("order")))
        case "reversed":
            last = place.sizes[0] - 1
            return replace(
                place, offset=sp.expand(place.offset + last * place.strides[0]), strides=(-place.strides[0], *place.strides[1:])
            )
        case "broadcast":
            return broadcast(place, sizes_of(call))
        case "reshape":
            sizes = sizes_of(call)
            return replace(place, sizes=sizes, strides=dense(sizes)) if place.is_dense else None
    return None


def permuted(place: Place, order: list[int]) -> Place:
    return replace(place, sizes=tuple(place.sizes[k] for k in order), strides=tuple(place.strides[k] for k in order))


def broadcast(place: Place, sizes: Sizes) -> Place:
    """A place seen with more elements: from the right, a size of 1 counts for all."""
    missing = len(sizes) - len(place.sizes)
    strides = [sp.S.Zero] * missing + [place.stride(k) for k in range(len(place.sizes))]
    return replace(place, sizes=sizes, strides=tuple(strides))


def collapsed(sizes: Sequence[sp.Expr], strides: Sequence[Sequence[sp.Expr]]) -> list[list[int]]:
    """Groups of places next to each other that are one loop for all of these strides."""
    groups: list[list[int]] = []
    for k in range(len(sizes)):
        if groups and all(sp.expand(one[groups[-1][-1]] - one[k] * sizes[k]) == 0 for one in strides):
            groups[-1].append(k)
        else:
            groups.append([k])
    return groups
