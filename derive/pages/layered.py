"""What stands at which layer on a page with layers, how many layers there are, and for which of them an equation is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from derive.pages.declarations import Declared
from derive.pages.errors import Source, Span
from derive.pages.layer_ranges import Range, is_related, range_behind
from derive.pages.layers import Indexed, LayerIndex, shifted_above
from derive.pages.names import Entry
from derive.pages.symbols import Occurrence, Reader, Symbol, children, strip, take_apart, walk
from derive.pages.tree import Bracket, Letter, Node, Reduced, Scripted

MOST = 64
"""Layers that a page is written out to: each has equations of its own."""


ENDS = re.compile(r"\$\$|\\\]|\\end\{|```|\n[ \t]*\n")
ENDS_PLAIN = re.compile(r"\n")
"""Where a display ends, and where a line of a plain text does."""


@dataclass(frozen=True)
class Read:
    """A symbol that an equation reads: its tree, without the index of its layer, and that index."""

    node: Node
    one: Occurrence
    index: LayerIndex | None


class Layered:
    """The equations of a cell, with what stands at which layer.

    letter: that of the layers; reader: of symbols without them; count: the number of layers; stacked: the symbols, without their layer,
    that equations with the letter define; defined: the layers at which each of them is; values: what the letter runs over in an equation.
    """

    def __init__(self, source: Source, entries: Sequence[Entry], known: Declared, letter: str, reader: Reader) -> None:
        self.source, self.entries, self.known, self.letter, self.reader = source, list(entries), known, letter, reader
        self.forward = forward = [entry for entry in entries if not entry.is_function]
        self.count, self.stacked = 0, set[Symbol]()
        self.ranges = self.ranges_of(forward)
        self.indexed = Indexed(letter, "", below=known.layer == letter)
        self.indexed = replace(self.indexed, count=self.name_of_count(forward))
        self.stacked = {
            read.one.symbol for entry in forward for read in self.targets(entry) if read.index and read.index.of == "letter"
        }
        self.count = self.counted(forward)
        self.known.used |= {self.indexed.count}
        self.gates = {one.letter.name for entry in forward for one in map(take_apart, entry.targets) if one}
        self.values = dict[Span, list[int]]()
        self.defined = self.layers_defined(forward)

    # ---- how many

    def ranges_of(self, forward: Sequence[Entry]) -> dict[Span, Range]:
        """The range behind an equation, by the equation's place."""
        starts = sorted(entry.span[0] for entry in forward)
        found: dict[Span, Range] = {}
        for entry in forward:
            end = next((at for at in starts if at >= entry.span[1]), len(self.source.text))
            behind = (ENDS_PLAIN if self.source.plain else ENDS).split(self.source.text[entry.span[1] : end], maxsplit=1)[0]
            one = range_behind(behind, self.letter)
            if one is not None:
                found[entry.span] = one
            elif is_related(behind, self.letter):
                what = (
                    f"`{' '.join(behind.split())[:60]}` behind this equation isn't read: expected the layers for which it holds."
                )
                raise self.source.error(
                    entry.span, what, f"Write them as `{self.letter} = 1, \\ldots, L` or `{self.letter} > 1`."
                )
        return found

    def name_of_count(self, forward: Sequence[Entry]) -> str:
        """What the number of layers is called: in a range, in a sum over layers, as the index of the top; else L."""
        found = [one.last for one in self.ranges.values() if isinstance(one.last, str)]
        nodes = [node for entry in forward for tree in (*entry.targets, entry.right) for node in walk(tree)]
        limits = [node.above for node in nodes if isinstance(node, Reduced) and node.indices == (self.letter,) and node.above]
        found += [one.name for limit in limits for one in walk(limit) if isinstance(one, Letter)]
        bases = {read.one.symbol.base for entry in forward for read in self.targets(entry) if read.index}
        for node in (one for one in nodes if isinstance(one, Scripted)):
            parts = take_apart(node)
            if parts is not None and parts.letter.name in bases:
                found += capitals(parts.sups if not self.indexed.below else (*parts.sups, *parts.subs))
        usual = [self.letter.upper(), "L"]
        return next((name for name in usual if name in found), None) or next(
            iter([*found, *[name for name in usual if name in self.known.numbers]]), "L"
        )

    def counted(self, forward: Sequence[Entry]) -> int:
        """L. Raises PageError where it is missing, or no number of layers."""
        name = self.indexed.count
        said = self.known.numbers.get(name)
        if said is None:
            last = {one.last for one in self.ranges.values() if isinstance(one.last, int)}
            if len(last) == 1 and not any(isinstance(one.last, str) for one in self.ranges.values()):
                said = Fraction(next(iter(last)))
        place = next(
            (node for entry in forward for tree in (*entry.targets, entry.right) for node in shifted_above(tree, self.indexed)),
            None,
        )
        span = place.span if place is not None else forward[0].span
        if said is None:
            written = self.source.written(span)
            what = f"`{written}` is a layer of several: expected to know how many there are, got no number {name}."
            alone = self.alone(place)
            raise self.source.error(span, what, f'Say --let "{name}=3", or put `derive: {name} = 3` on the page{alone}.')
        if said.denominator != 1 or not 1 <= said <= MOST:
            what = f"{name} = {said} is declared: expected a number of layers from 1 to {MOST}."
            raise self.source.error(span, what, f'Say --let "{name}=3", or put `derive: {name} = 3` on the page.')
        return int(said)

    def alone(self, place: Node | None) -> str:
        """How one layer is read without the others."""
        one = self.reader.read(place) if place is not None else None
        if one is None or place is None:
            return ""
        return f'; --let "{one.symbol.name}=input" reads one layer alone, with `{self.source.written(place.span)}` as an input of its own'

    # ---- what stands at which layer

    def read(self, node: Node) -> Read | None:
        """The symbol that a node is, its layer taken off; numbers are layers of what has a layer's letter on a left side."""
        plain, index = self.indexed.split(node)
        one = self.reader.read(plain)
        if one is None:
            return None
        if index is None and self.stacked:
            plain, index = self.indexed.split(node, numbers=True)
            other = self.reader.read(plain)
            if index is None or other is None or other.symbol not in self.stacked:
                return Read(node, one, None)
            one = other
        return Read(plain, one, index)

    def targets(self, entry: Entry) -> list[Read]:
        return [read for target in entry.targets if (read := self.read(target)) is not None]

    def reads(self, node: Node) -> Iterator[tuple[Node, Read]]:
        """The symbols in a formula; those of a sum over layers apart."""
        if isinstance(node, Letter) and node.is_function:
            return
        read = self.read(node)
        if read is not None:
            yield node, read
            return
        for child in children(node) if not isinstance(node, Scripted) else (node.body,):
            yield from self.reads(child)

    def shift(self, entry: Entry) -> int | None:
        """By how much the letter is shifted on the left side; None where what is defined has no letter. Raises PageError."""
        found = {read.index.shift if read.index and read.index.of == "letter" else None for read in self.targets(entry)}
        if len(found) > 1:
            what = "the symbols of this left side stand at different layers: expected one."
            raise self.source.error(entry.span, what, "Write an equation for each.")
        return next(iter(found), None)

    def number(self, index: LayerIndex, value: int = 0) -> int:
        """The layer that an index names where the letter is a value."""
        return index.shift + {"letter": value, "count": self.count, "number": 0}[index.of]

    def layers_defined(self, forward: Sequence[Entry]) -> dict[Symbol, set[int]]:
        """What is defined at which layers."""
        found: dict[Symbol, set[int]] = {symbol: set() for symbol in self.stacked}
        for entry in forward:
            if self.shift(entry) is None:
                for read in self.targets(entry):
                    if read.index is not None and read.one.symbol in found:
                        found[read.one.symbol].add(self.number(read.index))
        explicit = {symbol: set(layers) for symbol, layers in found.items()}
        for entry in forward:
            shift = self.shift(entry)
            if shift is None:
                continue
            symbols = [read.one.symbol for read in self.targets(entry)]
            own = set.union(*[explicit[symbol] for symbol in symbols])
            self.values[entry.span] = self.values_of(entry, shift, own)
            for symbol in symbols:
                found[symbol] |= {value + shift for value in self.values[entry.span]}
        return found

    def values_of(self, entry: Entry, shift: int, own: set[int]) -> list[int]:
        """What the letter of an equation runs over: the range behind it, else all layers that have no equation of their own."""
        said = self.ranges.get(entry.span)
        if said is None:
            return [n - shift for n in range(1, self.count + 1) if n not in own]
        last = said.last if isinstance(said.last, int) else self.last_of(entry, said.last, said.less)
        values = list(range(said.first, (self.count - shift if last is None else last) + 1))
        if not values or min(values) + shift < 1 or max(values) + shift > self.count:
            what = f"this range makes layers {said.first + shift} to {max(values, default=0) + shift}: "
            what += f"expected layers from 1 to {self.indexed.count} = {self.count}."
            raise self.source.error(entry.span, what, f"Correct the range, or {self.indexed.count}.")
        return values

    def last_of(self, entry: Entry, name: str | None, less: int) -> int | None:
        if name is None:
            return None
        number = self.count if name == self.indexed.count else self.known.numbers.get(name)
        if number is None or Fraction(number).denominator != 1:
            what = f"the range of layers ends at {name}: expected {self.indexed.count}, or a number."
            raise self.source.error(entry.span, what, f'Say --let "{name}=3".')
        return int(number) - less


def capitals(scripts: Sequence[Node]) -> Iterator[str]:
    """`L` of `h^{(L)}`, of `h^{(L-1)}` and of `h_{t,L}`."""
    for script in scripts:
        inner = strip(script)
        for part in inner.parts if isinstance(inner, Bracket) else (inner,):
            letters = [one.name for one in walk(part) if isinstance(one, Letter)]
            if len(letters) == 1 and len(letters[0]) == 1 and letters[0].isupper() and letters[0] != "T":
                yield letters[0]
