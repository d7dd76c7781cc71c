"""Several letters of time on a page, `h_s = f(h_{s-1})` beside `d_t = g(d_{t-1})`: each is an axis of steps, as long as its capital says.

What comes out is a page of one letter, the main one: `h_s` is written `h_t` and `\\alpha_{t,s}` as `\\alpha_t`, and the axes of each symbol
are kept beside it. So nothing behind this room but the steps of a quantity has to know of the other letters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from derive.pages.errors import Source, Span
from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.symbols import Reader, Symbol, offset, take_apart, walk
from derive.pages.times import Times, parts_of_index
from derive.pages.tree import Bracket, Chain, Letter, Node, Scripted, with_parts
from derive.shapes import in_order


class Several:
    """The equations of one cell with one letter of time. axes: the axes of steps of each symbol, as it is read then.

    Raises PageError where one symbol stands along different axes, or an index can't be told.
    """

    def __init__(self, source: Source, entries: Sequence[Entry], times: Times) -> None:
        self.source, self.times = source, times
        self.reader = Reader(times.main)
        self.axes: dict[Symbol, tuple[str, ...]] = {}
        self.places: dict[Symbol, Span] = {}
        self.entries = [
            entry if entry.is_function or entry.problem is not None else changed(entry, self.read) for entry in entries
        ]

    def read(self, node: Node) -> Node:
        """A formula with the main letter for the others."""
        if isinstance(node, Letter) and node.is_function:
            return node
        if isinstance(node, Scripted) and take_apart(node) is not None and not self.reader.is_exponential(node):
            return self.symbol(node)
        if isinstance(node, Scripted):
            return replace(node, body=self.read(node.body))
        if isinstance(node, Chain):
            self.refuse_softmax(node.items)
        return with_parts(node, self.read)

    def refuse_softmax(self, items: Sequence[Node]) -> None:
        """Raises PageError on `\\operatorname{softmax}(e_{t,s})`: over the steps of which letter, or over features."""
        for function, behind in pairwise(items):
            inside = behind.parts[0] if isinstance(behind, Bracket) and len(behind.parts) == 1 else behind
            if not (isinstance(function, Letter) and function.name == "softmax" and take_apart(inside) is not None):
                continue
            letters = [one for part in self.indices(inside) for one in self.times.letters if offset(part, one) is not None]
            if len(letters) > 1:
                written = self.source.written((function.span[0], behind.span[1]))
                what = f"`{written}` doesn't say over what: expected the letter of one axis of time, {' or '.join(letters)}."
                todo = f"Write `\\operatorname{{softmax}}_{letters[-1]}`; over the elements of a vector with the index of an element."
                raise self.source.error((function.span[0], behind.span[1]), what, todo)

    def symbol(self, node: Scripted) -> Node:
        """`h_s` as `h_t`, `\\alpha_{t,s}` as `\\alpha_t`; what stands in an index, as a token does, too."""
        node = replace(node, sub=tuple(map(self.inside_index, node.sub)), sup=tuple(map(self.inside_index, node.sup)))
        found = [
            (letter, part) for part in self.indices(node) for letter in self.times.letters if offset(part, letter) is not None
        ]
        if not found:
            return node
        letters = [letter for letter, _ in found]
        if len(letters) > 1 and any(offset(part, letter) for letter, part in found):
            written = self.source.written(node.span)
            what = f"`{written}` lies along {' and '.join(dict.fromkeys(letters))} and is read at another step: expected one at this step."
            raise self.source.error(node.span, what, "Let what a recurrence carries have one letter of time.")
        kept = next((part for letter, part in found if letter == self.times.main), found[0][1])
        made = (
            node if letters == [self.times.main] else self.with_main(node, kept, [part for _, part in found if part is not kept])
        )
        one = self.reader.read(made)
        if one is None or one.time is None:
            return node
        axes = in_order(self.times.axis(letter) for letter in letters)
        before = self.axes.setdefault(one.symbol, axes)
        if before != axes:
            written, other = self.source.written(node.span), self.source.written(self.places[one.symbol])
            what = f"`{written}` and `{other}` are one quantity along different axes of time: expected one."
            todo = "Give what lies along another axis a name of its own."
            raise self.source.error(node.span, what, todo, (self.places[one.symbol], "the other:"))
        self.places.setdefault(one.symbol, node.span)
        return made

    def inside_index(self, script: Node) -> Node:
        """An index with the symbols that stand in it read: `E_{w_s}`."""
        if isinstance(script, Scripted):
            return self.read(script)
        return with_parts(script, self.inside_index) if isinstance(script, Bracket) else script

    def indices(self, node: Node) -> Iterator[Node]:
        parts = take_apart(node)
        for script in (*parts.subs, *parts.sups) if parts else ():
            inner = script.parts[0] if isinstance(script, Bracket) and len(script.parts) == 1 and script.opener == "{" else script
            if isinstance(inner, Bracket) and inner.opener in "(<[" and len(inner.parts) == 1:
                yield inner.parts[0]
            elif isinstance(inner, Chain) and all(isinstance(one, Letter) for one in inner.items):
                yield from inner.items if self.are_times(inner) else (inner,)
            else:
                yield from parts_of_index(script)

    def are_times(self, run: Chain) -> bool:
        """Whether a run of letters, as in `\\alpha_{ts}`, is of times alone."""
        names = [one.name for one in run.items if isinstance(one, Letter)]
        return len(set(names)) == len(names) > 1 and set(names) <= {*self.times.letters}

    def with_main(self, node: Node, kept: Node, gone: Collection[Node]) -> Node:
        """The symbol with the main letter in the place of one index, and without others."""
        if node is kept:
            return moved(node, self.times.letters, self.times.main)
        if isinstance(node, Bracket) and node.opener == "{" and len(node.parts) > 1:
            parts = tuple(self.with_main(part, kept, gone) for part in node.parts if not any(part is one for one in gone))
            return replace(node, parts=parts)
        if (
            isinstance(node, Chain)
            and any(one is kept for one in node.items)
            and all(isinstance(one, Letter) for one in node.items)
        ):
            return self.with_main(kept, kept, ())
        if isinstance(node, Scripted):
            body = self.with_main(node.body, kept, gone)
            sub, sup = (
                tuple(self.with_main(script, kept, gone) for script in side if not any(script is one for one in gone))
                for side in (node.sub, node.sup)
            )
            return Scripted(body, sub, sup, node.span) if sub or sup else body
        return with_parts(node, lambda part: self.with_main(part, kept, gone))


def moved(node: Node, letters: Collection[str], main: str) -> Node:
    """An index with the main letter: `s-1` as `t-1`."""
    if isinstance(node, Letter):
        return replace(node, name=main) if node.name in letters else node
    return with_parts(node, lambda part: moved(part, letters, main))


def lying_along(entries: Sequence[Entry], said: dict[str, tuple[str, ...]], reader: Reader) -> dict[Symbol, tuple[str, ...]]:
    """Symbols that `axis x, h = S` declares, on a page of one letter."""
    trees = [tree for entry in entries if not entry.is_function for tree in (*entry.targets, entry.right)]
    found = (reader.read(node) for tree in trees for node in walk(tree) if isinstance(node, Scripted))
    return {one.symbol: said[one.symbol.name] for one in found if one is not None and one.symbol.name in said}
