"""What an equation is read into: a tree that still says how it was written. Every node has its place on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from derive.pages.errors import Span


@dataclass(frozen=True)
class Number:
    value: Fraction
    span: Span


@dataclass(frozen=True)
class Letter:
    """A letter or a word as the name of something; `is_function` where it can be nothing but a function.

    glyph: what tells apart letters of one name: `xi` for ξ, `` for x and i; `phi` and `varphi`.
    """

    name: str
    span: Span
    is_function: bool = False
    glyph: str = ""


@dataclass(frozen=True)
class Mark:
    """What stands alone in a script: T for a transposed matrix, a prime, a star."""

    name: str
    span: Span


@dataclass(frozen=True)
class Decorated:
    """A tilde, a hat, a font (`font` set) over something."""

    mark: str
    body: Node
    span: Span
    font: bool = False


@dataclass(frozen=True)
class Scripted:
    body: Node
    sub: tuple[Node, ...]
    sup: tuple[Node, ...]
    span: Span


@dataclass(frozen=True)
class Bracket:
    """What stands in brackets: `{`, `(`, `[` or `<`; several parts where commas or semicolons separate them."""

    opener: str
    parts: tuple[Node, ...]
    span: Span


@dataclass(frozen=True)
class Ratio:
    above: Node
    below: Node
    span: Span


@dataclass(frozen=True)
class Root:
    body: Node
    span: Span


@dataclass(frozen=True)
class Grid:
    """A matrix environment."""

    rows: tuple[tuple[Node, ...], ...]
    span: Span


@dataclass(frozen=True)
class Chain:
    """Things side by side."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True)
class Signed:
    """Chains joined by written signs: `signs[i]` stands between part i and part i + 1."""

    parts: tuple[Node, ...]
    signs: tuple[str, ...]
    span: Span


@dataclass(frozen=True)
class Sum:
    """`factors[i]` is 1 or -1."""

    terms: tuple[Node, ...]
    factors: tuple[int, ...]
    span: Span


@dataclass(frozen=True)
class Operator:
    """`\\sum_{j=1}^{H}`, `\\max_j`: what is reduced, in front of what it is applied to. below: the letters; start: the first value, where
    one is written; above: the last."""

    name: str
    below: tuple[Node, ...]
    start: Node | None
    above: Node | None
    span: Span


@dataclass(frozen=True)
class Reduced:
    """An operator and the formula that it is applied to, over the components that `indices` name; from_zero: counted from 0; without: the
    `first` one, or the `last`, where its limits leave one out."""

    name: str
    indices: tuple[str, ...]
    above: Node | None
    body: Node
    span: Span
    from_zero: bool = False
    without: str = ""


@dataclass(frozen=True)
class Component:
    """`x_{t,j}`: one component of what stands inside, by its index or indices."""

    body: Node
    indices: tuple[str, ...]
    span: Span


@dataclass(frozen=True)
class Raised:
    """A power whose exponent is a formula; `elementwise` where a sign above says so: `A^{\\odot 2}`."""

    body: Node
    exponent: Node
    span: Span
    elementwise: bool = False


@dataclass(frozen=True)
class Dimension:
    """The name of a size, where a number is meant: `1/H`."""

    name: str
    span: Span


@dataclass(frozen=True)
class Cut:
    """`x[0:H]`: the rows of a vector from `start`, the first without one, up to `stop`, the last without one."""

    body: Node
    start: Node | None
    stop: Node | None
    span: Span


@dataclass(frozen=True)
class Picked:
    """`E_{w_t}`, `\\hat{y}_{t, w_{t+1}}`: the column of a matrix, or the element of a vector, that a token picks."""

    body: Node
    token: Node
    span: Span


@dataclass(frozen=True)
class OverSteps:
    """`\\sum_{t=1}^{T}`, `\\max_t` of what stands inside, which is read at each step; name: `sum`, `mean`, `max`, `min`, `softmax`; axis:
    of the steps."""

    name: str
    body: Node
    axis: str
    span: Span


@dataclass(frozen=True)
class AtEnd:
    """`h_T`, `h_1`: the value at the `last` or the `first` step of what stands inside, which is written at this one."""

    body: Node
    end: str
    span: Span


@dataclass(frozen=True)
class Length:
    """How many steps an axis has: the T of `1/T`."""

    axis: str
    span: Span


Node = (
    Number
    | Letter
    | Mark
    | Decorated
    | Scripted
    | Bracket
    | Ratio
    | Root
    | Grid
    | Chain
    | Signed
    | Sum
    | Operator
    | Reduced
    | Component
    | Raised
    | Dimension
    | Cut
    | Picked
    | OverSteps
    | AtEnd
    | Length
)


def with_parts(node: Node, change: Callable[[Node], Node]) -> Node:
    """The node with each of its parts changed."""
    match node:
        case Chain():
            return replace(node, items=tuple(map(change, node.items)))
        case Sum():
            return replace(node, terms=tuple(map(change, node.terms)))
        case Signed() | Bracket():
            return replace(node, parts=tuple(map(change, node.parts)))
        case Decorated() | Root() | Reduced() | Component() | Cut() | OverSteps() | AtEnd():
            return replace(node, body=change(node.body))
        case Raised():
            return replace(node, body=change(node.body), exponent=change(node.exponent))
        case Picked():
            return replace(node, body=change(node.body), token=change(node.token))
        case Scripted():
            return replace(node, body=change(node.body), sub=tuple(map(change, node.sub)), sup=tuple(map(change, node.sup)))
        case Ratio():
            return replace(node, above=change(node.above), below=change(node.below))
        case Grid():
            return replace(node, rows=tuple(tuple(map(change, row)) for row in node.rows))
    return node
