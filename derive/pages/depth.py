"""The layers of a page written out: equations with the index of a layer, `h_t^{(l)}` and `h_t^{(l-1)}`, stand for those of L layers.

The layer's number comes last in a name: `h_1`, `W_f_2`. `h^{(0)}` is the input x, or what the page defines it as; `h^{(L)}` is the top.
What comes out is the same equations as a page has that prints every layer, so that nothing behind it knows of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from derive.pages.declarations import Declared
from derive.pages.errors import Source
from derive.pages.layer_doubts import read_names, refuse_later, refuse_letter, refuse_unlayered, unread
from derive.pages.layered import Layered, Read
from derive.pages.layers import LayerIndex, each_layer, letter_of_layers
from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.symbols import Reader, Symbol, take_apart
from derive.pages.timing import reader_of
from derive.pages.tree import Bracket, Letter, Node, Number, Reduced, Scripted, Sum, with_parts


def written_out(
    source: Source, entries: Sequence[Entry], known: Declared, initial: Sequence[Entry] = ()
) -> tuple[list[Entry], Declared]:
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


class Layers(Layered):
    """The equations of a cell with layers, to be written out. initial: what the page says of starts; bottoms: what is the input at layer 0,
    by where it is read first."""

    def __init__(
        self, source: Source, entries: Sequence[Entry], known: Declared, letter: str, reader: Reader, initial: Sequence[Entry]
    ) -> None:
        super().__init__(source, entries, known, letter, reader)
        self.initial, self.bottoms = initial, dict[Symbol, Node]()

    def written_out(self) -> tuple[list[Entry], Declared]:
        """(the equations of every layer, those of one layer together; what is declared)."""
        refuse_unlayered(self)
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
        refuse_later(self, entry, value)
        return changed(entry, lambda tree: self.put(tree, entry, value))

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
            refuse_letter(self, node, read)
            return self.within_scripts(node, entry, value)
        layer = self.number(read.index, self.value(node, read.index, value))
        if read.one.symbol in self.defined and layer not in self.defined[read.one.symbol]:
            return self.undefined(node, read, layer, value)
        number = Bracket("(", (Number(Fraction(layer), node.span),), node.span)
        refuse_letter(self, read.node, read)
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
            raise self.source.error(
                node.span, f"{what}expected {self.indexed.count} = {self.count}, or less.", "Correct its limit."
            )
        values = range(1, last + 1)
        terms = tuple(self.put(node.body, entry, value) for value in values)
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
        what = (
            f"`{written}` is layer {layer}{at} which nothing defines: expected one of the layers {there}; {count} = {self.count}."
        )
        raise self.source.error(node.span, what, "Correct the index, or write the equation of that layer.")

    def times_of(self, node: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        """The scripts of a symbol that hold its time, below and above."""
        parts = take_apart(node)
        below, above = (parts.subs, parts.sups) if parts else ((), ())
        return tuple(one for one in below if self.reader.time(one) is not None), tuple(
            one for one in above if self.reader.time(one) is not None
        )

    def given_at_0(self, node: Node, read: Read) -> Node | None:
        """The e of `h^{(0)} = e`, which stands without a time. Raises PageError where something else is said of layer 0 without one."""
        for entry in self.initial:
            said = self.read(entry.targets[0])
            if said is None or said.index is None or said.one.symbol != read.one.symbol:
                continue
            one = self.reader.read(entry.right)
            if one is None or one.time is not None or one.power is not None or one.transposed:
                left, written = self.source.written(entry.targets[0].span), self.source.written(node.span)
                what = f"`{left}` may be a start, or layer 0, which `{written}` of the first layer reads: expected to know which."
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
        other = unread(self)
        if other is not None and self.input_name(read.one.symbol) not in read_names(self):
            written, said = self.source.written(node.span), self.source.written(other.targets[0].span)
            what = f"`{written}` of the first layer may be {said}, or an input: expected to know which."
            raise self.source.error(node.span, what, "Define layer 0, `h_t^{(0)} = ...`.", (other.span, "nothing reads this:"))

    def declared(self) -> Declared:
        said = {(one.base, one.decorations): axes for one, axes in self.known.axes.items()}
        below = {Symbol(self.input_name(one)): said.get((one.base, one.decorations)) for one in self.bottoms}
        axes = self.known.axes | {one: axes for one, axes in below.items() if axes is not None}
        known = replace(each_layer(self.known, self.letter, self.count), axes=axes)
        return replace(known, depth=self.count, notes=(*self.known.notes, *self.notes()))

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
