"""A cell that marks its steps by words or primes, `h_{next}`, with a letter of time, so that a network of another notation can use it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from derive.pages.names import Entry
from derive.pages.primes import changed, with_primes
from derive.pages.symbols import Reader
from derive.pages.tree import Bracket, Decorated, Letter, Node, Number, Scripted, Sum, with_parts

LETTER = "t"


def with_letter_of_time(entries: Sequence[Entry], reader: Reader, values: Collection[str]) -> tuple[list[Entry], Reader]:
    """The equations of a cell without a letter of time, and their reader, with one. values: the names of what it computes and reads at a
    step; everything else is a parameter."""
    equations, reader, _ = with_primes([entry for entry in entries if not entry.is_function], reader)
    functions = [entry for entry in entries if entry.is_function]
    found = (reader.read(target) for entry in equations for target in entry.targets)
    steps = {one.symbol.name: one.time or 0 for one in found if one is not None}
    made = [changed(entry, lambda tree: at_steps(tree, reader, steps, values)) for entry in equations]
    return [*functions, *made], Reader(LETTER, (), reader.numbered)


def at_steps(node: Node, reader: Reader, steps: Mapping[str, int], values: Collection[str]) -> Node:
    one = None if isinstance(node, Letter) and node.is_function else reader.read(node)
    if one is None:
        if isinstance(node, Scripted):
            return Scripted(at_steps(node.body, reader, steps, values), node.sub, node.sup, node.span)
        return with_parts(node, lambda part: at_steps(part, reader, steps, values))
    if one.symbol.name not in values:
        return node
    lag = (one.time or 0) - steps[one.symbol.name] if one.symbol.name in steps else 0
    letter = Letter(LETTER, node.span)
    index = Sum((letter, Number(Fraction(abs(lag)), node.span)), (1, -1 if lag < 0 else 1), node.span) if lag else letter
    return with_index(without_words(node, reader), index)


def with_index(node: Node, index: Node) -> Node:
    """A symbol with one index more, below its powers."""
    if isinstance(node, Scripted):
        return Scripted(node.body, (*node.sub, index), node.sup, node.span)
    return Scripted(node, (index,), (), node.span)


def without_words(node: Node, reader: Reader) -> Node:
    """A symbol without the words that say its step."""
    if isinstance(node, Decorated) or (isinstance(node, Bracket) and len(node.parts) == 1):
        return with_parts(node, lambda part: without_words(part, reader))
    if not isinstance(node, Scripted):
        return node
    below, above = ([one for one in side if reader.time(one) is None] for side in (node.sub, node.sup))
    body = without_words(node.body, reader)
    return Scripted(body, tuple(below), tuple(above), node.span) if below or above else body
