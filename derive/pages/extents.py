"""Sizes that a page names: in the limits of sums, in ranges, as the number of elements of a set, `|V|`."""

from __future__ import annotations

from collections.abc import Iterator

from derive.pages.symbols import Reader, strip
from derive.pages.tree import Bracket, Chain, Cut, Node, Number, Reduced, Sum


def sizes_of(node: Node) -> Iterator[str]:
    """The names of sizes in the limits of a sum and in a range."""
    limits: tuple[Node | None, ...] = ()
    if isinstance(node, (Reduced, Cut)):
        limits = (node.above,) if isinstance(node, Reduced) else (node.start, node.stop)
    for limit in (one for one in limits if one is not None):
        for term in limit.terms if isinstance(limit, Sum) else (limit,) if counted(limit) is None else ():
            factors: tuple[Node, ...] = term.items if isinstance(term, Chain) else (term,)
            yield from (name for factor in factors if (name := size_name(factor)) is not None)


def sets_of(node: Node) -> Iterator[str]:
    """The V of a limit `|V|`: its number is a size, and V something else, such as a weight."""
    inside = counted(node.above) if isinstance(node, Reduced) and node.above is not None else None
    yield from (name for name in [size_name(inside) if inside is not None else None] if name is not None)


def size_name(node: Node) -> str | None:
    node = counted(node) or node
    one = None if isinstance(node, Number) else Reader(None).read(node)
    return one.symbol.name if one else None


def counted(above: Node) -> Node | None:
    """V of `|V|`, how many elements a set has; None for anything else."""
    inner = strip(above) if isinstance(above, Bracket) and above.opener == "{" else above
    return strip(inner) if isinstance(inner, Bracket) and inner.opener == "|" else None
