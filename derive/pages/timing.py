"""The time index of a page: which letter it is, or which words, and where a bracket behind a symbol is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from derive.pages.alphabet import DIFFERENTIALS
from derive.pages.errors import Source
from derive.pages.symbols import NEXT, PREVIOUS, Reader, exponent, offset, shifted_letters, spelled, take_apart, walk
from derive.pages.tree import Bracket, Chain, Letter, Node, Scripted, Sum, with_parts


def reader_of(source: Source, trees: Sequence[Node], lefts: Sequence[Node], declared: str | None) -> Reader:
    """The reader for a page. Raises PageError where two letters could be the time."""
    scripts = [script for tree in trees for script in scripts_of(tree)]
    words = {word for script in scripts if (word := spelled(script))}
    shifted = {letter for script in scripts for letter in shifted_letters(script)}
    letter = declared or time_letter(source, scripts, shifted, lefts)
    named = () if shifted else time_words(words, trees, lefts)
    if not shifted and not named and NEXT[1] in words:
        refuse_new(source, trees, lefts)
    return Reader(letter, named, numbered(lefts) | numbers_as_names(trees, bool(numbered(lefts))))


def time_words(words: set[str], trees: Sequence[Node], lefts: Sequence[Node]) -> tuple[str, ...]:
    """The words that are times on a page that shifts no letter: `prev` and `next`; `new` where all that carries it is defined, and,
    without an old value beside it, where a plain symbol is read and never defined: `W_{new}` is a weight."""
    earlier = bool(words & set(PREVIOUS))
    defined = {one for left in lefts for one in carriers(left, NEXT[1])}
    carried = {one for tree in trees for one in carriers(tree, NEXT[1])}
    plain = {carrier(node) for tree in trees for node in walk(tree)}
    targets = {carrier(left) for left in lefts}
    new = bool(carried) and carried <= defined and (earlier or bool(carried & plain - targets))
    old = PREVIOUS if "old" in words else PREVIOUS[:2]
    later = tuple(word for word, is_time in zip(NEXT, (earlier or NEXT[0] in words, new), strict=True) if is_time)
    return (*(old if earlier else ()), *later)


def refuse_new(source: Source, trees: Sequence[Node], lefts: Sequence[Node]) -> None:
    """Raises PageError where `h_{new}` may be the next value of h, and other symbols carry a `new` that is none."""
    targets, read = {carrier(left) for left in lefts}, {carrier(node) for tree in trees for node in walk(tree)}
    for left in lefts:
        for one in carriers(left, NEXT[1]) & (read - targets):
            written = source.written(left.span)
            what = f"`{written}` can be the next value of {one[0]}, or a symbol of its own: other symbols carry `new` and are no values."
            todo = f"Write `{one[0]}_{{next}}` for the next value; for a symbol of its own give it another name."
            raise source.error(left.span, what, todo)


def carriers(tree: Node, word: str) -> set[tuple[object, ...]]:
    """What carries a word as its only index, without it."""
    scripted = [node for node in walk(tree) if isinstance(node, Scripted)]
    return {
        (*carrier(node.body),) for node in scripted if len(node.sub) == 1 and spelled(node.sub[0]) == word and carrier(node.body)
    }


def carrier(node: Node) -> tuple[object, ...]:
    """A letter with its decorations, as something to compare; nothing for anything else."""
    parts = take_apart(node)
    return (parts.letter.name, parts.letter.glyph, parts.decorations) if parts and not (parts.subs or parts.sups) else ()


def scripts_of(tree: Node) -> Iterable[Node]:
    """Sub- and superscripts, and brackets right behind a symbol, which may hold a time."""
    for node in walk(tree):
        if isinstance(node, Scripted):
            yield from (*node.sub, *node.sup)
        elif isinstance(node, Chain):
            yield from (b for a, b in zip(node.items, node.items[1:], strict=False) if is_call(a, b))


def is_call(left: Node, right: Node) -> bool:
    """`h(t-1)`: a symbol and a bracket that holds a letter, or a letter and a number."""
    if not (isinstance(right, Bracket) and right.opener in "([" and len(right.parts) == 1 and take_apart(left)):
        return False
    inside = right.parts[0]
    return isinstance(inside, Letter) or (
        isinstance(inside, Sum) and bool(shifted_letters(inside)) and isinstance(inside.terms[0], Letter)
    )


def time_letter(source: Source, scripts: Sequence[Node], shifted: set[str], lefts: Sequence[Node]) -> str | None:
    """The letter that indices shift by one; `t` if several are; without any, `t` or the one that every left side carries."""
    if len(shifted) == 1 or "t" in shifted:
        return "t" if "t" in shifted else next(iter(shifted))
    if shifted:
        names = ", ".join(sorted(shifted))
        place = next(script for script in scripts if shifted_letters(script))
        todo = 'Say which: --let "time=k", or put `derive: time = k` on the page.'
        raise source.error(place.span, f"which letter is the time? Expected one, got {names}.", todo)
    plain = {letter for script in scripts for letter in [spelled(script)] if letter and offset(script, letter) == 0}
    if "t" in plain:
        return "t"
    common = [{spelled(script) for script in scripts_of(left)} for left in lefts]
    shared = set.intersection(*common) & plain if common else set()
    return next(iter(shared)) if len(shared) == 1 and len(next(iter(shared)) or "") == 1 else None


def numbered(lefts: Sequence[Node]) -> frozenset[str]:
    """Letters that a left side numbers with a plain superscript: `h^1_t = ...`."""
    parts = [take_apart(left) for left in lefts]
    return frozenset(one.letter.name for one in parts if one and any(exponent(sup) is not None for sup in one.sups))


def numbers_as_names(trees: Sequence[Node], layers: bool) -> frozenset[str]:
    """Letters whose plain numbers above are names: one of them is 1, which no power is; with numbered left sides, every letter that
    carries nothing else."""
    found: set[str] = set()
    for node in (one for tree in trees for one in walk(tree) if isinstance(one, Scripted)):
        parts = take_apart(node)
        numbers = [number for sup in node.sup if (number := exponent(sup)) is not None]
        if parts and numbers and (1 in numbers or (layers and not parts.subs)):
            found.add(parts.letter.name)
    return frozenset(found)


def with_call_indices(node: Node, letter: str | None) -> Node:
    """The tree with `h(t-1)` written as an index."""
    if not isinstance(node, Chain):
        return with_parts(node, lambda part: with_call_indices(part, letter))
    items: list[Node] = []
    for item in node.items:
        if items and is_step(items[-1], item, letter):
            items[-1] = Letter(f"{spelled(items[-1])}{letter}", (items[-1].span[0], item.span[1]))
        elif items and is_call(items[-1], bare(item)) and offset(bare(item), letter) is not None and not is_function(items[-1]):
            above = item.sup if isinstance(item, Scripted) else ()
            items[-1] = Scripted(items[-1], (bare(item),), above, (items[-1].span[0], item.span[1]))
        else:
            items.append(with_call_indices(item, letter))
    return items[0] if len(items) == 1 else replace(node, items=tuple(items))


def bare(node: Node) -> Node:
    """A bracket without what stands above it: `(t)` of `h(t)^2`."""
    return node.body if isinstance(node, Scripted) and isinstance(node.body, Bracket) and not node.sub else node


def is_step(left: Node, right: Node, letter: str | None) -> bool:
    """`dt`: a d in front of the letter of time, without a space between them."""
    return (
        isinstance(left, Letter)
        and left.name in DIFFERENTIALS
        and isinstance(right, Letter)
        and right.name == letter
        and left.span[1] == right.span[0]
    )


def is_function(node: Node) -> bool:
    return isinstance(node, Letter) and node.is_function
