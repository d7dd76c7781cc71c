"""The layers of a page written out: equations with the index of a layer, `h_t^{(l)}` and `h_t^{(l-1)}`, stand for those of L layers.

The layer's number comes last in a name: `h_1`, `W_f_2`. `h^{(0)}` is the input x, or what the page defines it as; `h^{(L)}` is the top.
What comes out is the same equations as a page has that prints every layer, so that nothing behind it knows of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from derive.pages.declarations import Declared
from derive.pages.errors import Source, Span
from derive.pages.layers import Indexed, LayerIndex, each_layer, letter_of_layers, shifted_above
from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.ranges import Range, range_behind
from derive.pages.symbols import Occurrence, Reader, Symbol, children, take_apart, walk
from derive.pages.timing import reader_of
from derive.pages.tree import Bracket, Letter, Node, Number, Reduced, Scripted, Sum, with_parts

MOST = 64
"""Layers that a page is written out to: each has equations of its own."""


class Copied(tuple[int, int]):
    """The place of a formula that is printed once and stands for several: copies of it are equal only where their numbers are."""

    copy: object

    def __new__(cls, span: Span, copy: object) -> Copied:
        made = super().__new__(cls, span)
        made.copy = copy
        return made

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and self.copy == getattr(other, "copy", None)

    def __hash__(self) -> int:
        return hash((tuple(self), self.copy))


def copied(node: Node, copy: object) -> Node:
    """The tree as one of several copies of what is printed there."""
    made = with_parts(node, lambda part: copied(part, copy))
    return replace(made, span=Copied(made.span, copy))


def written_out(source: Source, entries: Sequence[Entry], known: Declared, initial: Sequence[Entry] = ()) -> tuple[list[Entry], Declared]:
    """The equations of all layers, and what is declared of them, each layer by its own name; both as they are on a page without layers.

    initial: what the page says of starts, of which `h^{(0)} = x` may be layer 0.

    Raises PageError where the number of layers is missing, and where a layer is read that isn't there.
    """
    trees = [tree for entry in entries if not entry.is_function for tree in (*entry.targets, entry.right)]
    letter = letter_of_layers(source, trees, known)
    if letter is None:
        return list(entries), known
    entries = [entry for entry in entries if not is_bound(entry, letter)]
    lefts = [target for entry in entries if not entry.is_function for target in entry.targets]
    reader = reader_of(source, [tree for tree in trees if not is_letter(tree, letter)], lefts, known.time or "t")
    return Layers(source, entries, known, letter, reader, initial).written_out()


def is_bound(entry: Entry, letter: str) -> bool:
    """The `l = 1` of a range behind an equation, `l = 1, ..., L`."""
    return not entry.is_function and len(entry.targets) == 1 and is_letter(entry.targets[0], letter)


def is_letter(node: Node, letter: str) -> bool:
    return isinstance(node, Letter) and node.name == letter


@dataclass(frozen=True)
class Read:
    """A symbol that an equation reads: its tree, without the index of its layer, and that index."""

    node: Node
    one: Occurrence
    index: LayerIndex | None


class Layers:
    """The equations of a cell with layers. letter: that of the layers; reader: of symbols without them."""

    def __init__(self, source: Source, entries: Sequence[Entry], known: Declared, letter: str, reader: Reader, initial: Sequence[Entry]) -> None:
        self.initial = initial
        self.source, self.entries, self.known, self.letter, self.reader = source, list(entries), known, letter, reader
        self.forward = forward = [entry for entry in entries if not entry.is_function]
        self.count, self.stacked, self.bottoms = 0, set[Symbol](), dict[Symbol, Node]()
        self.ranges = self.ranges_of(forward)
        self.indexed = Indexed(letter, self.name_of_count(forward), below=known.layer == letter)
        self.stacked = {read.one.symbol for entry in forward for read in self.targets(entry) if read.index and read.index.of == "letter"}
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
            one = range_behind(self.source.text[entry.span[1] : end], self.letter)
            if one is not None:
                found[entry.span] = one
        return found

    def name_of_count(self, forward: Sequence[Entry]) -> str:
        """What the number of layers is called: in a range, in a sum over layers, as the index of the top; else L."""
        ends = [one.last for one in self.ranges.values() if isinstance(one.last, str)]
        nodes = [node for entry in forward for tree in (*entry.targets, entry.right) for node in walk(tree)]
        limits = [node.above for node in nodes if isinstance(node, Reduced) and node.indices == (self.letter,) and node.above]
        ends += [one.name for limit in limits for one in walk(limit) if isinstance(one, Letter)]
        ends += [name for node in nodes if isinstance(node, Scripted) for name in capitals_above(node) if name != "T"]
        usual = [name for name in (self.letter.upper(), "L") if name in ends or name in self.known.numbers]
        return next(iter([*usual, *ends]), "L")

    def counted(self, forward: Sequence[Entry]) -> int:
        """L. Raises PageError where it is missing, or no number of layers."""
        name = self.indexed.count
        said = self.known.numbers.get(name)
        if said is None:
            last = {one.last for one in self.ranges.values() if isinstance(one.last, int)}
            if len(last) == 1 and not any(isinstance(one.last, str) for one in self.ranges.values()):
                said = Fraction(next(iter(last)))
        place = next((node for entry in forward for tree in (*entry.targets, entry.right) for node in shifted_above(tree, self.indexed)), None)
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

    # ---- writing out

    def written_out(self) -> tuple[list[Entry], Declared]:
        """(the equations of every layer, those of one layer together; what is declared)."""
        self.refuse_unlayered()
        made: list[tuple[int | None, Entry]] = []
        for entry in self.entries:
            if entry.is_function:
                made.append((None, entry))
                continue
            shift = self.shift(entry)
            values: Sequence[int | None] = (None,) if shift is None else self.values[entry.span]
            for value in values:
                made.append((self.layer(entry, value), self.at(entry, value)))
        return [entry for _, entry in by_layer(made)], self.declared()

    def layer(self, entry: Entry, value: int | None) -> int | None:
        index = next((read.index for read in self.targets(entry)), None)
        return None if index is None else self.number(index, value or 0)

    def at(self, entry: Entry, value: int | None) -> Entry:
        """The equation where the letter is a value; None for one that has no letter."""
        self.refuse_later(entry, value)
        made = changed(entry, lambda tree: self.put(tree, entry, value))
        return made if value is None else changed(made, lambda tree: copied(tree, ("layer", value)))

    def put(self, node: Node, entry: Entry, value: int | None) -> Node:
        """The formula with the layers of its symbols as numbers."""
        if isinstance(node, Letter) and node.is_function:
            return node
        if isinstance(node, Reduced) and self.letter in node.indices:
            return self.sum(node, entry)
        read = self.read(node)
        if read is None:
            if isinstance(node, Scripted):
                return replace(node, body=self.put(node.body, entry, value), sub=node.sub, sup=node.sup)
            return with_parts(node, lambda part: self.put(part, entry, value))
        if read.index is None:
            self.refuse_letter(node, read)
            return self.within_scripts(node, entry, value)
        layer = self.number(read.index, self.value(node, read.index, value))
        if read.one.symbol in self.defined and layer not in self.defined[read.one.symbol]:
            return self.undefined(node, read, layer, value)
        number = Bracket("(", (Number(Fraction(layer), node.span),), node.span)
        self.refuse_letter(read.node, read)
        plain = self.within_scripts(read.node, entry, value)
        return Scripted(plain, (), (number,), node.span)

    def value(self, node: Node, index: LayerIndex, value: int | None) -> int:
        """The letter's value. Raises PageError where nothing says over which layers it runs."""
        if value is None and index.of == "letter":
            written = self.source.written(node.span)
            what = f"`{written}` carries the layer's letter {self.letter}, and what is defined here has no layer: expected one layer."
            top = f"the top is written with {self.indexed.count}, `^{{({self.indexed.count})}}`"
            raise self.source.error(node.span, what, f"Write the number of the layer; {top}.")
        return value or 0

    def within_scripts(self, node: Node, entry: Entry, value: int | None) -> Node:
        """The symbol with the layers of the symbols in its own indices as numbers: `W_{h^{l-1} h^l}`."""
        if not isinstance(node, Scripted) or value is None:
            return node
        below = tuple(self.in_script(script, value) for script in node.sub)
        above = tuple(self.in_script(script, value) for script in node.sup)
        return replace(node, body=self.within_scripts(node.body, entry, value), sub=below, sup=above)

    def in_script(self, script: Node, value: int) -> Node:
        if isinstance(script, Scripted):
            plain, index = self.indexed.split(script)
            if index is not None:
                number = Bracket("(", (Number(Fraction(self.number(index, value)), script.span),), script.span)
                return Scripted(plain, (), (number,), script.span)
        return with_parts(script, lambda part: self.in_script(part, value))

    def sum(self, node: Reduced, entry: Entry) -> Node:
        """`\\sum_{l=1}^{L} V^{(l)} h_t^{(l)}` as the sum of its terms."""
        if node.name != "sum" or node.indices != (self.letter,):
            what = f"`{self.source.written(node.span)}` runs over layers: expected a sum."
            raise self.source.error(node.span, what, "Write its terms out.")
        last = self.count
        if node.above is not None:
            index = self.indexed.index(node.above, numbers=True)
            last = self.number(index) if index is not None else 0
        if not 1 <= last <= self.count:
            what = f"this sum over layers ends at `{self.source.written(node.above.span if node.above else node.span)}`: "
            raise self.source.error(node.span, f"{what}expected {self.indexed.count} = {self.count}, or less.", "Correct its limit.")
        values = range(1, last + 1)
        terms = tuple(copied(self.put(node.body, entry, value), ("term", value)) for value in values)
        return Bracket("(", (Sum(terms, (1,) * len(terms), node.span),), node.span)

    # ---- layer 0, and layers that aren't there

    def undefined(self, node: Node, read: Read, layer: int, value: int | None) -> Node:
        """What is read at a layer that has no equation: at layer 0 the input. Raises PageError at any other."""
        if layer == 0:
            below = self.given_at_0(node, read)
            if below is None:
                self.refuse_two_inputs(node, read)
                below = Letter(self.input_name(read.one.symbol), node.span)
            return Scripted(below, *self.times_of(read.node), node.span)
        written, count = self.source.written(node.span), self.indexed.count
        there = ", ".join(map(str, sorted(self.defined[read.one.symbol])))
        at = "" if value is None else f", where {self.letter} = {value},"
        what = f"`{written}` is layer {layer}{at} which nothing defines: expected one of the layers {there}; {count} = {self.count}."
        raise self.source.error(node.span, what, "Correct the index, or write the equation of that layer.")

    def times_of(self, node: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """The scripts of a symbol that hold its time, below and above."""
        parts = take_apart(node)
        below, above = (parts.subs, parts.sups) if parts else ((), ())
        return tuple(one for one in below if self.reader.time(one) is not None), tuple(one for one in above if self.reader.time(one) is not None)

    def given_at_0(self, node: Node, read: Read) -> Node | None:
        """The e of `h^{(0)} = e`, which stands without a time. Raises PageError where something else is said of layer 0 without one."""
        for entry in self.initial:
            said = self.read(entry.targets[0])
            if said is None or said.index is None or said.one.symbol != read.one.symbol:
                continue
            one = self.reader.read(entry.right)
            if one is None or one.time is not None or one.power is not None or one.transposed:
                left, written = self.source.written(entry.targets[0].span), self.source.written(node.span)
                what = f"`{left}` without a time may be a state at the start, or layer 0, which `{written}` of the first layer reads: expected to know which."
                raise self.source.error(entry.span, what, "Write layer 0 with the index of time; a start is left out.")
            self.known.bottoms.add(entry.span)
            return entry.right
        return None

    def input_name(self, symbol: Symbol) -> str:
        """The input of the first layer, in the case of what it stands for."""
        return "X" if symbol.base.isupper() and len(symbol.base) == 1 else "x"

    def refuse_two_inputs(self, node: Node, read: Read) -> None:
        """Raises PageError where different quantities would be the input x at layer 0, or where another definition may be meant."""
        self.bottoms.setdefault(read.one.symbol, node)
        first = next(iter(self.bottoms))
        if first.base != read.one.symbol.base:
            a, b = self.source.written(node.span), self.source.written(self.bottoms[first].span)
            what = f"`{a}` and `{b}` would both be the input at layer 0: expected one."
            place = self.bottoms[first].span, "the other:"
            raise self.source.error(node.span, what, "Define them at layer 0, `h_t^{(0)} = ...`.", place)
        other = self.unread()
        if other is not None and self.input_name(read.one.symbol) not in self.bases():
            written, said = self.source.written(node.span), self.source.written(other.targets[0].span)
            what = f"`{written}` of the first layer may be {said}, or an input: expected to know which."
            raise self.source.error(node.span, what, "Define layer 0, `h_t^{(0)} = ...`.", (other.span, "nothing reads this:"))

    def bases(self) -> set[str]:
        found = [read for entry in self.entries if not entry.is_function for _, read in self.reads(entry.right)]
        return {read.one.symbol.name for read in found}

    def unread(self) -> Entry | None:
        """An equation without a layer that nothing reads and that reads nothing of a layer."""
        forward = [entry for entry in self.entries if not entry.is_function]
        read = {entry.span: {one.one.symbol for _, one in self.reads(entry.right)} for entry in forward}
        layered = set(self.stacked)
        plain = [entry for entry in forward if self.shift(entry) is None and not any(r.index for r in self.targets(entry))]
        while more := [e for e in plain if read[e.span] & layered and not {t.one.symbol for t in self.targets(e)} <= layered]:
            layered |= {target.one.symbol for entry in more for target in self.targets(entry)}
        every = set().union(*read.values())
        for entry in plain:
            symbols = {target.one.symbol for target in self.targets(entry)}
            timed = any(target.one.time is not None for target in self.targets(entry))
            if timed and not symbols & (every | layered):
                return entry
        return None

    # ---- what may be meant otherwise

    def refuse_later(self, entry: Entry, value: int | None) -> None:
        """Raises PageError where a layer reads a later one at the same step."""
        left = next((read for read in self.targets(entry) if read.index), None)
        if left is None or left.index is None or value is None:
            return
        own = self.number(left.index, value)
        for node, read in self.reads(entry.right):
            if read.index is None or read.one.symbol not in self.stacked or read.one.time is None:
                continue
            later = read.index.of == "letter" and self.number(read.index, value) > own
            if later and read.one.time >= (left.one.time or 0):
                a, b = self.source.written(node.span), self.source.written(entry.targets[0].span)
                what = f"`{a}` is a later layer than `{b}`, at the same step: expected this layer, or one below."
                raise self.source.error(node.span, what, "Read it at the step before, or count the layers from below.")

    def refuse_unlayered(self) -> None:
        """Raises PageError where `h_t` stands beside `h_t^{(l)}`."""
        plain = {t.one.symbol for e in self.entries if not e.is_function for t in self.targets(e) if t.index is None}
        for entry in self.entries:
            for node, read in self.reads(entry.right) if not entry.is_function else ():
                if read.index is None and read.one.symbol in self.stacked - plain and read.one.time is not None:
                    written, count = self.source.written(node.span), self.indexed.count
                    what = f"`{written}` stands without a layer, and {read.one.symbol.name} has one elsewhere: expected to know which."
                    raise self.source.error(node.span, what, f"Write the layer; the top is `^{{({count})}}`.")

    def refuse_letter(self, node: Node, read: Read) -> None:
        """Raises PageError where the layer's letter stands in an index that isn't read as a layer: `W_l` beside `h^{(l)}`."""
        if self.letter in self.gates:
            return
        parts = take_apart(node)
        for script in (*parts.subs, *parts.sups) if parts else ():
            if ends_with(script, self.letter):
                written = self.source.written(node.span)
                what = f"`{written}` carries the layer's letter {self.letter} where no layer is read: expected to know whether it is one."
                todo = f"Write `^{{({self.letter})}}` for one for each layer; --let \"layer={self.letter}\" reads {self.letter} below as the layer, too."
                raise self.source.error(node.span, what, todo)

    def declared(self) -> Declared:
        return replace(each_layer(self.known, self.letter, self.count), depth=self.count, notes=(*self.known.notes, *self.notes()))

    def notes(self) -> Iterator[str]:
        yield f"the layers {self.letter} = 1, ..., {self.count} are written out; the number of a layer comes last in a name"
        for symbol, node in self.bottoms.items():
            yield f"`{self.source.written(node.span)}` of the first layer is the input {self.input_name(symbol)}"


def by_layer(made: Sequence[tuple[int | None, Entry]]) -> Iterator[tuple[int | None, Entry]]:
    """Equations that follow one another in the order of their layers; one without a layer ends such a run."""
    run: list[tuple[int, Entry]] = []
    for layer, entry in made:
        if layer is not None:
            run.append((layer, entry))
            continue
        yield from sorted(run, key=lambda pair: pair[0])
        run = []
        yield None, entry
    yield from sorted(run, key=lambda pair: pair[0])


def capitals_above(node: Scripted) -> Iterator[str]:
    """`L` of `h^{(L)}` and of `h^{(L-1)}`."""
    for script in node.sup:
        letters = [one for one in walk(script) if isinstance(one, Letter)]
        if len(letters) == 1 and len(letters[0].name) == 1 and letters[0].name.isupper():
            yield letters[0].name


def ends_with(script: Node, letter: str) -> bool:
    """Whether an index is the letter, or a run that ends with it."""
    items = [one for one in walk(script) if isinstance(one, (Letter, Number))]
    return bool(items) and is_letter(items[-1], letter) and not isinstance(script, Scripted)
