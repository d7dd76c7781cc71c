"""What an equation says once its symbols are known: numbers, values at a time, functions, sums, products whose kind is still open."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from derive.pages.errors import Span


@dataclass(frozen=True, eq=False)
class Const:
    value: Fraction
    span: Span


@dataclass(frozen=True, eq=False)
class Ref:
    """A value by its name, at step t + lag."""

    name: str
    lag: int
    span: Span


@dataclass(frozen=True, eq=False)
class Call:
    """A function of the project's table, or `softmax`, `diag`."""

    function: str
    body: Core
    span: Span


@dataclass(frozen=True, eq=False)
class Concat:
    parts: tuple[Core, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Add:
    terms: tuple[Core, ...]
    factors: tuple[int, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Product:
    """`signs[i]` stands between item i and i + 1: side (juxtaposition), dot, hadamard."""

    items: tuple[Core, ...]
    signs: tuple[str, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Power:
    body: Core
    exponent: Fraction
    span: Span


@dataclass(frozen=True, eq=False)
class Turned:
    """Transposed."""

    body: Core
    span: Span


@dataclass(frozen=True, eq=False)
class Unit:
    """The identity matrix."""

    span: Span


@dataclass(frozen=True, eq=False)
class Part:
    """Block `at` of a vector that is cut like the vectors of `names`, one above the other."""

    body: Core
    names: tuple[str, ...]
    at: int
    span: Span


Core = Const | Ref | Call | Concat | Add | Product | Power | Turned | Unit | Part


@dataclass(frozen=True, eq=False)
class Definition:
    """name = body."""

    name: str
    body: Core
    span: Span


def parts_of(node: Core) -> tuple[Core, ...]:
    match node:
        case Call() | Power() | Turned() | Part():
            return (node.body,)
        case Concat():
            return node.parts
        case Add():
            return node.terms
        case Product():
            return node.items
    return ()
