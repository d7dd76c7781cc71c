"""What an equation says once its symbols are known: numbers, values at a time, functions, sums, products whose kind is still open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    """`signs[i]` stands between item i and i + 1: side (juxtaposition), dot, hadamard, tensor."""

    items: tuple[Core, ...]
    signs: tuple[str, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Inner:
    """The inner product of two vectors, `\\langle x, y \\rangle`."""

    left: Core
    right: Core
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


@dataclass(frozen=True, eq=False)
class MatMul:
    """A matrix product, its vectors columns and transposed where a row is meant: what `derive.pages.columns` makes of products."""

    items: tuple[Core, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Taken(MatMul):
    """The column of a matrix that a token picks, (E, w); on a page of rows its row."""


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A product of each element; numbers scale."""

    items: tuple[Core, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Several:
    """A function of several quantities, of each element: max, min, or power."""

    function: str
    parts: tuple[Core, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Extent:
    """A size, as a number."""

    name: str
    span: Span


@dataclass(frozen=True, eq=False)
class Steps:
    """How many steps an axis has."""

    axis: str
    span: Span


@dataclass(frozen=True, eq=False)
class Slice:
    """The rows of a vector from one place to another, each a sum of sizes; the last row where `stop` is None."""

    body: Core
    start: tuple[str, ...]
    stop: tuple[str, ...] | None
    span: Span


@dataclass(frozen=True, eq=False)
class At:
    """One component of a vector or a matrix, by the letters that index it. Gone once sums are contracted."""

    body: Core
    indices: tuple[str, ...]
    span: Span


@dataclass(frozen=True, eq=False)
class Over:
    """A sum, or another function of all elements, over the components that a letter indexes; extent: their number, where it has a name.
    Gone once sums are contracted."""

    function: str
    index: str
    extent: str | None
    body: Core
    span: Span


Core = (
    Const | Ref | Call | Concat | Add | Product | Inner | Power | Turned | Unit | Part | MatMul | Elementwise
    | Several | Extent | Steps | Slice | At | Over
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Definition:
    """name = body; with indices, its component that they index is that of the body."""

    name: str
    body: Core
    span: Span
    indices: tuple[str, ...] = ()


def parts_of(node: Core) -> tuple[Core, ...]:
    match node:
        case Call() | Power() | Turned() | Part() | Slice() | At() | Over():
            return (node.body,)
        case Concat() | Several():
            return node.parts
        case Add():
            return node.terms
        case Product() | MatMul() | Elementwise():
            return node.items
        case Inner():
            return node.left, node.right
    return ()


def with_parts(node: Core, parts: Sequence[Core]) -> Core:
    """The node with other parts."""
    match node:
        case Call() | Power() | Turned() | Part() | Slice() | At() | Over():
            return replace(node, body=parts[0])
        case Concat() | Several():
            return replace(node, parts=tuple(parts))
        case Add():
            return replace(node, terms=tuple(parts))
        case Product() | MatMul() | Elementwise():
            return replace(node, items=tuple(parts))
        case Inner():
            return replace(node, left=parts[0], right=parts[1])
    return node


def every(node: Core) -> Iterator[Core]:
    """The formula and all its parts, outermost first, left to right."""
    waiting = [node]
    while waiting:
        yield (one := waiting.pop())
        waiting.extend(reversed(parts_of(one)))


def refs(node: Core) -> Iterator[Ref]:
    return (one for one in every(node) if isinstance(one, Ref))


def is_diagonal(node: Core) -> bool:
    """diag(v), also transposed, which changes nothing."""
    return (isinstance(node, Call) and node.function == "diag") or (isinstance(node, Turned) and is_diagonal(node.body))


def summands(node: Core) -> Iterator[Product]:
    """The products that are added to others or assigned, also behind numbers: where \\otimes may be an outer product."""
    if isinstance(node, Add):
        for term in node.terms:
            yield from summands(term)
    elif isinstance(node, Product):
        yield node
        inner = [item for item in node.items if not isinstance(item, (Const, Ref))]
        if len(inner) == 1:
            yield from summands(inner[0])
