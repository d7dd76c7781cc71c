"""Columns: what stands one above the other in a product or on a left side."""

from __future__ import annotations

from derive.pages.tree import Bracket, Chain, Grid, Node, Signed


def grid_of(node: Node) -> Grid | None:
    """The column that a node is, also between brackets of its own: `\\left( \\begin{array}{c} ... \\end{array} \\right)`."""
    while isinstance(node, Bracket) and len(node.parts) == 1:
        node = node.parts[0]
    return node if isinstance(node, Grid) else None


def cells_of(grid: Grid) -> tuple[Node, ...]:
    """The cells of a column or a row."""
    return tuple(cell for row in grid.rows for cell in row)


def first(node: Node) -> Node:
    """The first factor of a product; the node itself where it is none."""
    if not isinstance(node, (Chain, Signed)):
        return node
    return first(node.items[0] if isinstance(node, Chain) else node.parts[0])


def rest(node: Chain | Signed) -> Node:
    """A product without its first factor."""
    if isinstance(node, Chain):
        items = node.items[1:]
        return items[0] if len(items) == 1 else Chain(items, (items[0].span[0], node.span[1]))
    head = node.parts[0]
    parts, signs = node.parts, node.signs
    if isinstance(head, Chain):
        parts = (rest(head), *parts[1:])
    else:
        parts, signs = parts[1:], signs[1:]
    return parts[0] if len(parts) == 1 else Signed(parts, signs, (parts[0].span[0], node.span[1]))
