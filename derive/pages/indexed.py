"""Steps as pages write them, in one notation: `h(s)` along several letters as `h_s`, `T_x` as the length of the axis that it counts.

Of one letter of time `h(t)` is read where symbols are; with several, which letters are times is told by the indices alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.symbols import offset, spelled, strip, take_apart, walk
from derive.pages.times import carrier_of, indices_of, letters_of, recurrent
from derive.pages.tree import Bracket, Chain, Length, Letter, Mark, Node, Number, Reduced, Scripted, with_parts


def in_one_notation(entries: Sequence[Entry]) -> list[Entry]:
    """The equations of a page, those that can be read, with indices for calls and lengths for names of lengths."""
    letters, times = called_letters(entries), recurrent(entries)
    if len({*letters, *times}) > 1:
        entries = [each(entry, lambda node: with_indices(node, letters, times)) for entry in entries]
    lengths = lengths_of(entries)
    return [each(entry, lambda node: with_lengths(node, lengths)) for entry in entries] if lengths else list(entries)


def each(entry: Entry, change: Callable[[Node], Node]) -> Entry:
    return entry if entry.problem is not None else changed(entry, change)


# ---- `h(s)`


def called_letters(entries: Sequence[Entry]) -> set[str]:
    """Letters in brackets behind a symbol of a left side that stand shifted by one behind the same symbol on a right side."""
    found: set[str] = set()
    for entry in entries:
        calls = [call for node in walk(entry.right) if isinstance(node, Chain) for call in calls_in(node)]
        for head, parts in (call for target in entry.targets if isinstance(target, Chain) for call in calls_in(target)):
            for at, part in enumerate(parts):
                if isinstance(part, Letter) and len(part.name) == 1 and part.name.islower():
                    alike = (
                        other[at] for one, other in calls if carrier_of(one) == carrier_of(head) and len(other) == len(parts)
                    )
                    found |= {part.name for one in alike if offset(one, part.name) in (-1, 1)}
    return found


def calls_in(node: Chain) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """(symbol, what stands in the brackets behind it)."""
    for head, behind in zip(node.items, node.items[1:], strict=False):
        bracket = behind.body if isinstance(behind, Scripted) and not behind.sub else behind
        is_symbol = take_apart(head) is not None and not (isinstance(head, Letter) and head.is_function)
        if is_symbol and isinstance(bracket, Bracket) and bracket.opener in "([":
            yield head, bracket.parts


def with_indices(node: Node, letters: Collection[str], times: Collection[str]) -> Node:
    """The formula with `h_s` for `h(s)`, `e_{t,s}` for `e(t, s)`, `h_S` for `h(S)`; `a_{t,s}` for `a_t(s)`, of all letters of time."""
    if not isinstance(node, Chain):
        return with_parts(node, lambda part: with_indices(part, letters, times))
    items: list[Node] = []
    for item in node.items:
        pair = Chain((items[-1], item), (items[-1].span[0], item.span[1])) if items else None
        call = next(calls_in(pair), None) if pair is not None else None
        known = {*letters, *times} if call is not None and {*letters_of(call[0])} & {*times} else letters
        if call is not None and pair is not None and all(is_step(part, known) for part in call[1]):
            parts = call[1]
            below = parts[0] if len(parts) == 1 else Bracket("{", parts, item.span)
            items[-1] = Scripted(call[0], (below,), item.sup if isinstance(item, Scripted) else (), pair.span)
        else:
            items.append(with_indices(item, letters, times))
    return items[0] if len(items) == 1 else Chain(tuple(items), node.span)


def is_step(node: Node, letters: Collection[str]) -> bool:
    """`s`, `s-1`, `S`, 0 or 1."""
    if isinstance(node, Number):
        return node.value in (0, 1)
    ends = isinstance(node, Letter) and node.name in {letter.upper() for letter in letters}
    return ends or any(offset(node, letter) is not None for letter in letters)


# ---- `T_x`


def lengths_of(entries: Sequence[Entry]) -> dict[str, str]:
    """The names of lengths, `T_x` as it is spelled -> the letter whose steps it counts: as the limit of a sum over that letter, or as the
    last index of what runs along it, but for a number, `b_{T_1}`, which is a name. What would count two letters counts none."""
    letters = recurrent(entries)
    along = {carrier_of(target): {*letters_of(target)} & {*letters} for entry in entries for target in entry.targets}
    found: dict[str, set[str]] = {}
    for node in (node for entry in entries if entry.problem is None for node in walk(entry.right)):
        if (
            isinstance(node, Reduced)
            and node.above is not None
            and node.indices[0] in letters
            and (name := length_in(node.above))
        ):
            found.setdefault(name, set()).add(node.indices[0])
        elif isinstance(node, Scripted) and len(along.get(carrier_of(node), ())) == 1:
            for name in (name for name in map(length_in, indices_of(node)) if name and not name[-1].isdigit()):
                found.setdefault(name, set()).update(along[carrier_of(node)])
    return {name: next(iter(counted)) for name, counted in found.items() if len(counted) == 1}


def length_in(node: Node) -> str | None:
    """`T_x`, `T'` as it is spelled; None for anything else."""
    node = strip(node)
    if not (isinstance(node, Scripted) and isinstance(node.body, Letter) and node.body.name == "T"):
        return None
    words = [
        one.name if isinstance(one, Mark) and one.name.startswith("prime") else spelled(one) for one in (*node.sub, *node.sup)
    ]
    return "_".join(["T", *[word for word in words if word]]) if len(words) == 1 and all(words) else None


def with_lengths(node: Node, lengths: Mapping[str, str]) -> Node:
    """The formula with sums over all steps of a letter, its capital as the last index, and how many steps there are elsewhere."""
    if isinstance(node, Reduced) and node.above is not None and (name := length_in(node.above)) in lengths:
        body = with_lengths(node.body, lengths)
        over = lengths[name or ""]
        is_own = node.indices[0] == over
        above = None if is_own else Letter(over.upper(), node.above.span)
        return Reduced(node.name, node.indices, above, body, node.span, node.from_zero, node.without)
    if (name := length_in(node)) in lengths:
        return Length(lengths[name or ""], node.span)
    if isinstance(node, Scripted):
        body = with_lengths(node.body, lengths)
        scripts = [as_index(one, lengths) for one in (*node.sub, *node.sup)]
        return Scripted(body, tuple(scripts[: len(node.sub)]), tuple(scripts[len(node.sub) :]), node.span)
    return with_parts(node, lambda part: with_lengths(part, lengths))


def as_index(script: Node, lengths: Mapping[str, str]) -> Node:
    """A script with the capital of a letter for the name of its length."""
    name = length_in(script)
    if name in lengths:
        return Letter(lengths[name or ""].upper(), script.span)
    return with_parts(script, lambda part: as_index(part, lengths)) if isinstance(script, Bracket) else script
