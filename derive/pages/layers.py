"""The index of a layer: which letter it is on a page, where it stands at a symbol, and pages on which it can't be told.

`h_t^{(l)}` beside `h_t^{(l-1)}`: a letter above that shifts by one and isn't the time. `derive.pages.depth` writes such pages out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from derive.pages.declarations import Declared
from derive.pages.errors import PageError, Source
from derive.pages.names import Names
from derive.pages.shapes import Shapes
from derive.pages.symbols import Occurrence, Reader, Symbol, offset, shifted_letters, strip, take_apart, walk
from derive.pages.tree import Bracket, Chain, Decorated, Letter, Mark, Node, Number, Scripted, with_parts

T = TypeVar("T")

ORDER = re.compile(r"([A-Za-z]+)_(?:minus|plus)_[0-9]+")
"""An index that counts from a letter, as it stands in a name: `l_minus_1`."""


@dataclass(frozen=True)
class LayerIndex:
    """The index of a layer: counted from the letter, from the number of layers, or a number by itself."""

    of: str
    shift: int


@dataclass(frozen=True)
class Indexed:
    """Symbols with a layer. letter: of the layers; count: the name of their number; below: whether the letter stands below, too."""

    letter: str
    count: str
    below: bool

    def index(self, node: Node, numbers: bool = False) -> LayerIndex | None:
        """`l`, `l-1`, `(L)`, `2` as a layer; None for anything else. numbers: whether a plain number is one."""
        for of, name in (("letter", self.letter), ("count", self.count)):
            shift = offset(node, name)
            if shift is not None:
                return LayerIndex(of, shift)
        inner = node
        while isinstance(inner, Bracket) and len(inner.parts) == 1:
            inner = inner.parts[0]
        is_layer = numbers and isinstance(inner, Number) and inner.value.denominator == 1
        return LayerIndex("number", int(inner.value)) if is_layer and isinstance(inner, Number) else None

    def split(self, node: Node, numbers: bool = False) -> tuple[Node, LayerIndex | None]:
        """(a symbol without the index of its layer, that index); the node itself where it has none."""
        if take_apart(node) is None:
            return node, None
        match node:
            case Scripted():
                for at, script in enumerate(node.sup):
                    rest, index = self.within(script, numbers)
                    if index is not None:
                        return bare(replace(node, sup=(*node.sup[:at], *rest, *node.sup[at + 1 :]))), index
                for at, script in enumerate(node.sub if self.below else ()):
                    rest, index = self.within(script, numbers)
                    if index is not None:
                        return bare(replace(node, sub=(*node.sub[:at], *rest, *node.sub[at + 1 :]))), index
                body, index = self.split(node.body, numbers)
                return (replace(node, body=body), index) if index is not None else (node, None)
            case Decorated():
                body, index = self.split(node.body, numbers)
                return (replace(node, body=body), index) if index is not None else (node, None)
            case Bracket(opener="{", parts=(only,)):
                body, index = self.split(only, numbers)
                return (replace(node, parts=(body,)), index) if index is not None else (node, None)
        return node, None

    def within(self, script: Node, numbers: bool) -> tuple[tuple[Node, ...], LayerIndex | None]:
        """(what is left of a script, the layer in it): `l`, the l of `t, l`, of `[l]<t>` and of `(l)\\top`."""
        index = self.index(script, numbers)
        if index is not None:
            return (), index
        inner = strip(script)
        if isinstance(script, Bracket) and len(script.parts) == 1 and isinstance(inner, (Bracket, Chain)):
            rest, index = self.within(inner, numbers)
            return tuple(replace(script, parts=(one,)) for one in rest), index
        parts = script.parts if isinstance(script, Bracket) else marks_side_by_side(script)
        for at, part in enumerate(parts):
            index = self.index(part, numbers)
            if index is not None:
                kept = (*parts[:at], *parts[at + 1 :])
                if len(kept) > 1:
                    kept = (replace(script, parts=kept) if isinstance(script, Bracket) else Chain(kept, script.span),)
                return kept, index
        return (script,), None


def bare(node: Scripted) -> Node:
    """What is left of a symbol whose scripts may be gone."""
    return node if node.sub or node.sup else node.body


def marks_side_by_side(script: Node) -> tuple[Node, ...]:
    """The parts of `[l]<t>` and of `(l)\\top`; none of a run of letters."""
    if not isinstance(script, Chain) or not isinstance(script.items[0], Bracket):
        return ()
    return script.items if all(isinstance(one, (Bracket, Mark, Letter)) for one in script.items) else ()


def letter_of_layers(source: Source, trees: Sequence[Node], known: Declared) -> str | None:
    """The letter that counts layers: the declared one, else one that an index above shifts by one, beside the time. None where there is
    none, where one layer is to be read alone, where the letter counts a loop within a step, which is refused, and where it may be the
    time, which is asked about. Raises PageError."""
    nodes = [node for tree in trees for node in walk(tree) if isinstance(node, Scripted) and take_apart(node)]
    time = known.time or "t"
    scripts = [script for node in nodes for script in (*node.sub, *node.sup)]
    if known.layer is not None:
        return declared_letter(source, trees, nodes, known.layer, time)
    if known.time is None and not any(part_is(script, time) for script in scripts):
        return None
    found: dict[str, Scripted] = {}
    for node in nodes:
        if any(part_is(script, time) for script in (*node.sub, *node.sup)):
            for letter in {one for script in node.sup for one in shifted_letters(script)} - {time}:
                found.setdefault(letter, node)
    found = {
        letter: node
        for letter, node in found.items()
        if not (is_alone(node, time, known) or counts_within_a_step(nodes, letter, time))
    }
    small = {letter: node for letter, node in found.items() if letter.islower()}  # `h^{(L-1)}` counts from the top
    found = small or found
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        what = f"which letter counts the layers, {one} or {other}? Expected one."
        todo = f'Say --let "layer={one}" or --let "layer={other}", or put `derive: layer = {one}` on the page.'
        raise source.error(second.span, what, todo, (first.span, "the other:"))
    moves = any(time in shifted_letters(script) for script in scripts)
    said = known.time is not None or any(len(name) == 1 and name.isupper() for name in known.numbers)
    return next(iter(found), None) if moves or said else None


def declared_letter(source: Source, trees: Sequence[Node], nodes: Sequence[Scripted], letter: str, time: str) -> str:
    """The declared letter. Raises PageError where it is the time's, or where no index shifts it."""
    todo = f"Correct `layer = {letter}`, or leave it out."
    if letter == time:
        raise source.error(trees[0].span, f"`layer = {letter}` is the letter of time, too: expected another.", todo)
    if not any(letter in shifted_letters(script) for node in nodes for script in (*node.sub, *node.sup)):
        what = f"`layer = {letter}` is declared, and no index shifts {letter}: expected a layer that reads the one below it."
        raise source.error(trees[0].span, what, f"Write what comes from below with `{letter}-1`; {todo[0].lower()}{todo[1:]}")
    return letter


def part_is(script: Node, letter: str) -> bool:
    """Whether a script, or a part of it between commas or brackets, is the letter or counts from it."""
    if offset(script, letter) is not None:
        return True
    parts = script.parts if isinstance(script, Bracket) else script.items if isinstance(script, Chain) else ()
    return any(part_is(part, letter) for part in parts)


def is_alone(node: Scripted, time: str, known: Declared) -> bool:
    """Whether what comes from below is declared by its own name, `h_l_minus_1 = input`: one layer is read, and not the others."""
    one = Reader(time).read(node)
    return one is not None and one.symbol.name in known.kinds


def counts_within_a_step(nodes: Sequence[Scripted], letter: str, time: str) -> bool:
    """`h_t^{(s+1)} = f(W h_t^{(s)})`: whether what has the letter stands at one step, and no weight and no state of its own has it, as
    those of layers do."""
    reader = Reader(time)
    indexed = [node for node in nodes if any(part_is(script, letter) for script in (*node.sub, *node.sup))]
    return len({one.time if (one := reader.read(node)) else None for node in indexed}) == 1


def shifted_above(tree: Node, indexed: Indexed) -> Iterator[Node]:
    """The symbols whose layer counts from the letter, not the letter itself."""
    for node in walk(tree):
        index = indexed.split(node)[1] if isinstance(node, Scripted) else None
        if index is not None and index.of == "letter" and index.shift:
            yield node


def without_layers(node: Node, letter: str) -> Node:
    """The tree with symbols of all layers as one: `h^{(l)}`, `h^{(L)}` and `h^{(2)}` as h."""
    if isinstance(node, Scripted) and take_apart(node):
        capitals = [one.name for one in walk(node) if isinstance(one, Letter) and len(one.name) == 1 and one.name.isupper()]
        for count in (*[name for name in capitals if name != "T"], letter.upper()):
            plain, index = Indexed(letter, count, below=False).split(node, numbers=True)
            if index is not None:
                return plain
    return with_parts(node, lambda part: without_layers(part, letter))


def layers_of(names: Names) -> dict[str, tuple[str, int]]:
    """Of a page that was written out, the names that end with the number of a layer -> (the name without it, the number)."""
    symbols = dict.fromkeys(one.symbol for one in (*names.defined.values(), *map(names.settle, names.reads)))
    numbered = [one for one in symbols if one.sups and one.sups[-1].isdigit() and 0 < int(one.sups[-1]) <= names.declared.depth]
    return {one.name: (replace(one, sups=one.sups[:-1]).name, int(one.sups[-1])) for one in numbered}


def share_sizes(shapes: Shapes, layers: Mapping[str, tuple[str, int]], defined: Collection[str], dims: Collection[str]) -> None:
    """Make what the layers define as large in one as in the other, where that can be, unless sizes of some layer are declared."""
    if set(layers) & set(dims):
        return
    first: dict[str, str] = {}
    for name in [name for name in defined if name in layers]:
        other = first.setdefault(layers[name][0], name)
        before = dict(shapes.bound)
        if not all(shapes.equal(a, b) for a, b in zip(shapes.shapes[other], shapes.shapes[name], strict=True)):
            shapes.bound = before


def each_layer(known: Declared, letter: str, count: int) -> Declared:
    """The declarations with those of `W^{(l)}` said of each layer, in sizes too: `dim W^{(l)} = H_l, H_{l-1}`."""
    end = f"_{letter}"
    declared = {name for said in (known.kinds, known.numbers, known.functions, known.dims) for name in said if name.endswith(end)}
    known.used |= declared
    at = {name: {f"{name.removesuffix(end)}_{layer}": layer for layer in range(1, count + 1)} for name in declared}

    def copies(said: Mapping[str, T]) -> dict[str, T]:
        return {copy: value for name, value in said.items() for copy in at.get(name, ())} | dict(said)

    dims = {
        copy: tuple(size_at(size, letter, layer) for size in sizes)
        for name, sizes in known.dims.items()
        for copy, layer in (at.get(name) or {name: 0}).items()
    }
    return replace(known, kinds=copies(known.kinds), numbers=copies(known.numbers), functions=copies(known.functions), dims=dims)


def size_at(size: str, letter: str, layer: int) -> str:
    """`H_l` of layer 2 is H_2, `H_l_minus_1` is H_1."""
    return re.sub(rf"_{letter}(?:_minus_(\d+))?(?!\w)", lambda found: f"_{layer - int(found[1] or 0)}", size)


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
    what = f"`{a}` and `{b}` are one quantity at two layers, and nothing joins them: expected one layer, or an index that shifts by one."
    indices = (*one.symbol.subs, *one.symbol.sups, *other.symbol.subs, *other.symbol.sups)
    letters = [found[1] for index in indices if (found := ORDER.fullmatch(index))]
    joined = f'Say --let "layer={letters[0]}; L=3" for the layers of a network, as many as there are, or' if letters else "Say"
    todo = (
        f'{joined} --let "{name}=input" to read one layer alone, with `{a}` as an input of its own; or write one layer, with a symbol of '
        "its own for what comes from below."
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
