"""What an equation defines: one symbol, or those of a column, each with its part of the right side."""

from __future__ import annotations

from collections.abc import Sequence

from derive.pages.core import Core, Definition, Part
from derive.pages.meaning import Meaning
from derive.pages.names import Entry
from derive.pages.stacks import cells_of, first, grid_of, rest
from derive.pages.tree import Bracket, Chain, Grid, Letter, Node, Number, Signed


def definitions_of(meaning: Meaning, entry: Entry) -> list[Definition]:
    """What one equation defines."""
    names = meaning.names
    targets = [names.settle(names.target(target)) for target in entry.targets]
    named = [target.symbol.name for target in targets]
    names.begin(targets[0])
    if len(named) == 1 and not isinstance(entry.targets[0], Grid):
        return [Definition(named[0], meaning.resolve(entry.right), entry.targets[0].span, entry.indices)]
    bodies = stacked(meaning, entry, tuple(named))
    return [Definition(name, body, target.span) for name, body, target in zip(named, bodies, entry.targets, strict=True)]


def stacked(meaning: Meaning, entry: Entry, named: tuple[str, ...]) -> list[Core]:
    """The right sides of `(a b c) = (f g h) W (x y)`: a column of functions, of formulas, or one vector that is cut."""
    right = whole(meaning, entry.right, len(named))
    grid = grid_of(right)
    if grid is not None:
        cells = cells_of(grid)
        same_number(meaning, right, len(cells), len(named))
        return [meaning.resolve(cell) for cell in cells]
    functions: Sequence[Node] = ()
    head = grid_of(first(right))
    if isinstance(right, (Chain, Signed)) and head is not None:
        cells = cells_of(head)
        if all(meaning.function_of(cell) for cell in cells):
            functions = cells
            same_number(meaning, head, len(cells), len(named))
            right = rest(right)
    body = meaning.resolve(right)
    blocks: list[Core] = [Part(body, named, at, body.span) for at in range(len(named))]
    return [meaning.call(function, block) for function, block in zip(functions, blocks, strict=True)] if functions else blocks


def whole(meaning: Meaning, node: Node, count: int) -> Node:
    """What `\\operatorname{split}(...)` cuts, perhaps with the number of its parts."""
    match node:
        case Chain(items=(Letter(name="split", is_function=True), Bracket(parts=(inner,)))):
            return inner
        case Chain(items=(Letter(name="split", is_function=True), Bracket(parts=(inner, Number(value=parts))))):
            same_number(meaning, node, int(parts), count)
            return inner
    return node


def same_number(meaning: Meaning, node: Node, got: int, expected: int) -> None:
    if got != expected:
        what = f"{got} rows against {expected} on the left side: expected one a symbol."
        raise meaning.error(node, what, "Give both sides the same number of rows.")
