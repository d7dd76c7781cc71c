"""Nests of loops around elementwise statements: those of one shape that follow each other share one, so that what only they read is
never in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import sympy as sp

from derive.procedures.procedure import Call, Number, Operand
from derive.targets.c.elements import ELEMENTWISE, PLAIN
from derive.targets.c.places import Place, Sizes, broadcast


@dataclass
class Statement:
    """One elementwise statement: places = value, or += with `adds`. name: of the variable that the others of its nest read."""

    comments: list[str]
    places: list[Place]
    name: str
    value: Operand
    adds: bool = False


@dataclass
class Nest:
    """Statements of one shape."""

    sizes: Sizes
    statements: list[Statement] = field(default_factory=list)


class Nests:
    """Which statements share a nest. place: of what is no elementwise call."""

    def __init__(self, place: Callable[[Operand], Place]) -> None:
        self.place = place

    def leaves(self, operand: Operand) -> Iterator[Operand]:
        """What an elementwise operand reads from memory."""
        if isinstance(operand, Number):
            return
        if isinstance(operand, Call) and operand.operation in ELEMENTWISE | PLAIN:
            for one in operand.arguments:
                yield from self.leaves(one)
            return
        yield operand

    def fits(self, nest: Nest, statement: Statement) -> bool:
        """Whether a statement can stand behind those of a nest, element by element."""
        if nest.sizes != statement.places[0].sizes:
            return False
        written = [place for one in nest.statements for place in one.places]
        read = [broadcast(self.place(leaf), nest.sizes) for leaf in self.leaves(statement.value)]
        for before in written:
            if any(before.pointer == place.pointer and not (same(before, place) or apart(before, place)) for place in read):
                return False
        own = [
            broadcast(self.place(leaf), nest.sizes) for one in [*nest.statements, statement] for leaf in self.leaves(one.value)
        ]
        return all(
            target.pointer != place.pointer or same(target, place) or apart(target, place)
            for target in statement.places
            for place in [*own, *written]
        )


def key(place: Place) -> tuple[str, sp.Expr, Sizes]:
    return place.pointer, sp.expand(place.offset), place.strides


def same(a: Place, b: Place) -> bool:
    """Whether two places in one nest are the same elements."""
    return key(a) == key(b)


def apart(a: Place, b: Place) -> bool:
    """Whether two places in the same memory, of one shape and with the same strides, have no element in common, as far as can be seen."""
    if a.strides != b.strides or a.sizes != b.sizes or any(one.could_extract_minus_sign() for one in a.strides if one != 0):
        return False
    ahead = sp.expand(b.offset - a.offset)
    ahead = -ahead if not is_positive(ahead) else ahead
    if not is_positive(ahead):
        return False
    span: sp.Expr = sp.S.One
    for size, stride in zip(reversed(a.sizes), reversed(a.strides), strict=True):
        if stride == 0:
            continue
        # between the end of what lies further in and the next position of this place
        if is_positive(ahead - span, or_zero=True) and is_positive(stride - span - ahead, or_zero=True):
            return True
        span = sp.expand(span + (size - 1) * stride)
    return is_positive(ahead - span, or_zero=True)


def is_positive(value: sp.Expr, or_zero: bool = False) -> bool:
    """Whether a sum of products of sizes is positive, whatever the sizes are."""
    value = sp.expand(value)
    if value == 0:
        return or_zero
    return all(term.as_coeff_Mul()[0] > 0 for term in sp.Add.make_args(value))
