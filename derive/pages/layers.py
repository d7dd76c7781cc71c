"""Layers of one network on one page: `H_t^{(l)}` and `H_t^{(l-1)}` are one quantity at two layers, and layers aren't joined."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from derive.pages.errors import PageError, Source
from derive.pages.names import Names
from derive.pages.symbols import Occurrence, Reader, Symbol, shifted_letters, take_apart, walk
from derive.pages.tree import Node, Scripted

ORDER = re.compile(r"([A-Za-z]+)_(?:minus|plus)_[0-9]+")
"""An index that counts from a letter, as it stands in a name: `l_minus_1`."""


def refuse_layers(names: Names) -> None:
    """Raises PageError where a symbol is read at a layer at which nothing defines it, while another layer of it is on the page."""
    for one in names.reads:
        if one.symbol in names.defined or one.symbol.name in names.declared.kinds:
            continue
        other = next(
            (
                found
                for found in names.defined.values()
                if same_stack(one.symbol, found.symbol) and (None not in (one.time, found.time) or is_counted(one, found))
            ),
            None,
        )
        if other is not None:
            raise unjoined(names, one, other)


def same_stack(one: Symbol, other: Symbol) -> bool:
    """Whether two symbols are one but for an index, and those indices are two layers."""
    if one == other or (one.base, one.decorations, one.font) != (other.base, other.decorations, other.font):
        return False
    a, b = (*one.subs, *one.sups), (*other.subs, *other.sups)
    if len(a) != len(b):
        return False
    apart = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    return len(apart) == 1 and are_layers(*apart[0])


def is_counted(*found: Occurrence) -> bool:
    """Whether an index of one of these counts from a letter: `s+1`."""
    return any(ORDER.fullmatch(index) for one in found for index in (*one.symbol.subs, *one.symbol.sups))


def are_layers(a: str, b: str) -> bool:
    """`l` and `l_minus_1`, `l` and `L`, `l` and `0`, `1` and `0`: a letter that counts, what counts from it, its last value, a number."""
    letters = {found[1] if (found := ORDER.fullmatch(one)) else one for one in (a, b)}
    counted = ORDER.fullmatch(a) or ORDER.fullmatch(b)
    if counted and (len(letters) == 1 or any(one.isdigit() or len(one) == 1 for one in letters)):
        return True
    numbers, plain = {one for one in (a, b) if one.isdigit()}, {one for one in (a, b) if one.isalpha() and len(one) <= 3}
    return len(numbers) == 2 or (bool(numbers) and bool(plain)) or (a.lower() == b.lower() and len(a) == 1)


def unjoined(names: Names, one: Occurrence, other: Occurrence) -> PageError:
    a, b, name = names.source.written(one.span), names.source.written(other.span), one.symbol.name
    if is_inner_loop(names, one, other):
        what = f"`{a}` and `{b}` are one quantity at two counts within one step: a loop within a step isn't read."
        h = other.symbol.base
        first, second = f"{h}^{{(1)}}_t", f"{h}^{{(2)}}_t"
        turns = f"`{first} = ...`, `{second} = ... {first} ...`, at last `{h}_t = {second}`"
        todo = f"Write each of its turns out, with a number for the count: {turns}."
        return names.source.error(one.span, what, todo, (other.span, "the other:"))
    what = f"`{a}` and `{b}` are one quantity at two layers: layers aren't joined yet, expected one layer."
    todo = (
        f'Say --let "{name}=input" to read one layer alone, with `{a}` as an input of its own; or write one layer, with a symbol of its '
        "own for what comes from below."
    )
    return names.source.error(one.span, what, todo, (other.span, "the other:"))


def is_inner_loop(names: Names, one: Occurrence, other: Occurrence) -> bool:
    """`h^{(s+1)}_t` of `h^{(s)}_t`, one counted from the other at the same step, where none of them carries a state of its own, as each
    layer does."""
    step = names.steps.get(other.symbol, 0)
    family = [read for read in names.reads if read.symbol == other.symbol or same_stack(read.symbol, other.symbol)]
    counted = is_counted(*family, *[found for found in names.defined.values() if same_stack(one.symbol, found.symbol)])
    return counted and one.time in (None, step) and all(read.time in (None, step) for read in family)


def refuse_two_counters(source: Source, reader: Reader, trees: Sequence[Node]) -> None:
    """`h_t^{l} = f(h_t^{l-1})`, `x_t` beside `h_{s-1}`: raises PageError where the letter of time was found by a shift,
    and t stands beside it."""
    letter = reader.letter
    if letter in (None, "t"):
        return
    alone = next((node for tree in trees for node in walk(tree) if is_at_t(node)), None)
    if alone is not None and isinstance(alone, Scripted):
        raise which_letter(source, alone, letter)
    for node in indexed(trees):
        scripts = (*node.sub, *node.sup)
        plain = Reader("t")
        if any(plain.time(script) == 0 for script in scripts) and any(letter in shifted_letters(script) for script in scripts):
            raise which_letter(source, node, letter)


def is_at_t(node: Node) -> bool:
    """`x_t` with no other index."""
    return (
        isinstance(node, Scripted)
        and take_apart(node) is not None
        and [Reader("t").time(one) for one in (*node.sub, *node.sup)] == [0]
    )


def which_letter(source: Source, node: Scripted, letter: str | None) -> PageError:
    what = f"which letter is the time in `{source.written(node.span)}`, t or {letter}? Expected to know."
    todo = f'Say --let "time=t" or --let "time={letter}", or put `derive: time = t` on the page.'
    return source.error(node.span, what, todo)


def indexed(trees: Sequence[Node]) -> Iterator[Scripted]:
    """Symbols with more than one script."""
    for tree in trees:
        for node in walk(tree):
            if isinstance(node, Scripted) and take_apart(node) and len((*node.sub, *node.sup)) > 1:
                yield node
