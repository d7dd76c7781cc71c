"""Primes that say the next value, `h' = f(x, h)`, on pages without an index of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from derive.pages.names import Entry
from derive.pages.symbols import NEXT, Reader, Symbol, children
from derive.pages.tree import Letter, Mark, Node, Scripted, with_parts


def changed(entry: Entry, change: Callable[[Node], Node]) -> Entry:
    return replace(entry, targets=tuple(change(target) for target in entry.targets), right=change(entry.right))


def with_primes(forward: list[Entry], reader: Reader) -> tuple[list[Entry], Reader, list[str]]:
    """The equations with `h'` as the next value where that is what the prime says, their reader, and notes."""
    symbols = primed(reader, [target for entry in forward for target in entry.targets], [entry.right for entry in forward])
    if not symbols:
        return forward, reader, []
    notes = [
        f"{new.name} is read as the next value of {old.name}, as {old.name} is never defined" for new, old in symbols.items()
    ]
    entries = [changed(entry, lambda tree: with_next(tree, reader, symbols)) for entry in forward]
    return entries, Reader(None, NEXT[:1], reader.numbered), notes


def primed(reader: Reader, lefts: Sequence[Node], rights: Sequence[Node]) -> dict[Symbol, Symbol]:
    """The symbols of a page without a time whose prime says the next value, `h' = f(h)`, with what they are the next value of: a left
    side carries the prime, and the plain symbol is read and never defined."""
    if reader.letter is not None or reader.words:
        return {}
    defined = {one.symbol for left in lefts if (one := reader.read(left))}
    read = {symbol for right in rights for symbol in symbols_in(reader, right)}
    plain = {one: replace(one, decorations=one.decorations[:-1]) for one in defined if one.decorations[-1:] == ("prime",)}
    return {one: old for one, old in plain.items() if old in read - defined}


def symbols_in(reader: Reader, node: Node) -> Iterator[Symbol]:
    one = reader.read(node)
    if one is not None:
        yield one.symbol
        return
    for child in children(node):
        yield from symbols_in(reader, child)


def with_next(node: Node, reader: Reader, symbols: Mapping[Symbol, Symbol]) -> Node:
    """The tree with `h_{next}` for the `h'` of these symbols."""
    one = reader.read(node) if isinstance(node, Scripted) else None
    if isinstance(node, Scripted) and one is not None and one.symbol in symbols:
        primes = [mark for mark in node.sup if isinstance(mark, Mark) and mark.name == "prime"]
        sup = tuple(above for above in node.sup if above not in primes)
        return replace(node, sub=(*node.sub, *[Letter(NEXT[0], mark.span) for mark in primes]), sup=sup)
    return with_parts(node, lambda part: with_next(part, reader, symbols))
