"""Nests of loops as C: one variable an equation, the innermost loop a vector at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sympy as sp

from derive.procedures.procedure import Array, Entry, Operand, View
from derive.shapes import EXAMPLES
from derive.targets.c.elements import PRODUCT, SUM, Elements, Text, element_at
from derive.targets.c.nests import Nest, Nests, Statement, key
from derive.targets.c.places import Place, Sizes, broadcast, collapsed
from derive.targets.c.sizes import SizeText
from derive.targets.numpy.formulas import formula

STEP = "    "
ROWS = ("row", "row_2", "row_3", "row_4", "row_5", "row_6")
"""Variables of loops around the innermost one, `at`, but for examples, `b`."""


class Loops:
    """Loops over the positions of places that have one shape; positions next to each other in all of them are one loop.

    order: of the positions, outermost first. labels: where to put the pointers of steps that the text reads.
    """

    def __init__(
        self, places: Sequence[Place], order: Sequence[int], sizes: SizeText, taken: Collection[str], labels: set[str]
    ) -> None:
        self.sizes, self.labels = sizes, labels
        counts = pick(places[0].sizes, order)
        groups = collapsed(counts, [pick(place.strides, order) for place in places])
        self.order, self.last = order, [group[-1] for group in groups]
        self.counts = [sp.Mul(*[counts[at] for at in group]) for group in groups]
        self.names = variables([counts[group[0]] if len(group) == 1 else None for group in groups], taken)

    @property
    def depth(self) -> int:
        return max(1, len(self.names))

    def head(self, indent: str) -> list[str]:
        """The first lines; the last loop takes a vector at a time."""
        if not self.names:
            return [f"{indent}{{", f"{indent}{STEP}enum {{ count = 1 }};"]
        lines, texts = [], [self.sizes.whole(count) for count in self.counts]
        for k, (name, text) in enumerate(zip(self.names, texts, strict=True)):
            pace = f"{name} += LANES" if k == len(self.names) - 1 else f"{name}++"
            size = f"({text})" if " + " in text else text
            lines.append(f"{indent}{STEP * k}for (ptrdiff_t {name} = 0; {name} < {size}; {pace}) {{")
        return [*lines, f"{indent}{STEP * len(self.names)}const ptrdiff_t count = {texts[-1]} - {self.names[-1]};"]

    def end(self, indent: str) -> list[str]:
        return [f"{indent}{STEP * k}}}" for k in range(self.depth - 1, -1, -1)]

    def pointer(self, place: Place) -> str:
        """The pointer behind which the text looks for a place."""
        if place.label is not None:
            self.labels.add(place.label[0])
        return place.shown[0]

    def index(self, place: Place) -> tuple[str, sp.Expr]:
        """(the index of a place's element behind its pointer, how far apart those of one vector lie)."""
        own = pick(place.strides, self.order)
        strides = [own[at] for at in self.last]
        parts = [] if place.shown[1] == 0 else [self.sizes.whole(place.shown[1])]
        for name, stride in zip(self.names, strides, strict=True):
            if stride == 1:
                parts.append(name)
            elif stride == -1:
                parts.append(f"-{name}")
            elif stride != 0:
                parts.append(f"{name} * {self.sizes.bracketed(stride)}")
        return (" + ".join(parts) or "0").replace("+ -", "- "), strides[-1] if strides else sp.S.Zero

    def read(self, place: Place) -> Text:
        """The elements of a place."""
        text, stride = self.index(place)
        return element_at(self.pointer(place), text, stride, self.sizes)

    def stored(self, place: Place, value: Text) -> str:
        """The statement that writes a value."""
        pointer, (index, stride) = self.pointer(place), self.index(place)
        where = f"{pointer} + {index}" if index != "0" else pointer
        if stride == 1:
            return f"store({where}, {value.as_vector}, count);"
        if stride == 0:
            return f"{pointer}[{index}] = {f'({value.as_vector})[0]' if value.is_vector else value.text};"
        return f"scatter({where}, {self.sizes.whole(stride)}, {value.as_vector}, count);"


class NestText:
    """The lines of one nest. gone: pointers of arrays that nothing reads from memory.

    known: variables by the place whose elements they hold. scalars: those that are one number in all lanes.
    """

    def __init__(
        self, nest: Nest, nests: Nests, sizes: SizeText, gone: Collection[str], taken: Collection[str], labels: set[str]
    ) -> None:
        self.nest, self.nests, self.gone = nest, nests, gone
        places = [place for one in nest.statements for place in one.places]
        places += [self.place(leaf) for one in nest.statements for leaf in nests.leaves(one.value)]
        self.loops = Loops(places, range(len(nest.sizes)), sizes, taken, labels)
        self.known: dict[tuple[str, sp.Expr, Sizes], str] = {}
        self.scalars: set[str] = set()
        self.declared = {*taken, *self.loops.names}
        self.elements = Elements(self.leaf, sizes)

    def place(self, leaf: Operand) -> Place:
        """Where an operand lies, with all positions of the nest."""
        return broadcast(self.nests.place(leaf), self.nest.sizes)

    def leaf(self, operand: Operand) -> Text:
        name = self.known[key(self.place(operand))]
        return Text(name, is_vector=name not in self.scalars)

    def lines(self, indent: str) -> list[str]:
        """The loops, and the statements in them."""
        inner = indent + STEP * self.loops.depth
        body = [line for k, one in enumerate(self.nest.statements) for line in self.statement(one, k, inner)]
        return [*self.loops.head(indent), *body, *self.loops.end(indent)]

    def statement(self, one: Statement, k: int, indent: str) -> list[str]:
        """What a statement reads, its formula, its value, and where that goes."""
        lines = [
            line for leaf in self.nests.leaves(one.value) for line in self.loaded(self.place(leaf), variable_of(leaf), indent)
        ]
        own = {key(place) for place in one.places}
        if one.adds:
            lines += self.loaded(one.places[0], one.name, indent)
        lines += [line for text in one.comments for line in comment(text, indent)]
        value = self.elements(one.value)
        if one.adds:
            value = Text(f"{self.known[key(one.places[0])]} + {value.within(PRODUCT)}", SUM)
        if len(one.places) > 1 or self.is_read_behind(own, k):
            name = self.declare(one.name)
            lines += formula(f"const vec {name} = {value.as_vector};", indent)
            value = Text(name)
            self.known |= dict.fromkeys(own, name)
        else:
            for place in own:
                self.known.pop(place, None)
        stored = [self.loops.stored(place, value) for place in one.places if place.pointer not in self.gone]
        return [*lines, *[line for text in stored for line in formula(text, indent)]]

    def loaded(self, place: Place, name: str, indent: str) -> list[str]:
        """A variable for what is read from memory, unless it is at hand."""
        if key(place) in self.known:
            return []
        value = self.loops.read(place)
        name = self.known[key(place)] = self.declare(name)
        if not value.is_vector:
            self.scalars.add(name)
        return [f"{indent}const {'vec' if value.is_vector else 'real'} {name} = {value.text};"]

    def declare(self, name: str) -> str:
        """A name that no other variable of the nest has."""
        name = next(one for one in (name, f"{name}_out", *(f"{name}_{n}" for n in range(2, 99))) if one not in self.declared)
        self.declared.add(name)
        return name

    def is_read_behind(self, places: Collection[object], k: int) -> bool:
        """Whether a statement behind the k-th reads what it wrote."""
        behind = self.nest.statements[k + 1 :]
        read = [key(self.place(leaf)) for one in behind for leaf in self.nests.leaves(one.value)]
        return any(one in places for one in [*read, *[key(one.places[0]) for one in behind if one.adds]])


def sum_lines(target: Place, value: Operand, order: Sequence[int], nests: Nests, sizes: SizeText, labels: set[str]) -> list[str]:
    """The loops that add the elements of a value to a place, which counts for all along some of its positions. order: of the loops."""

    def place(leaf: Operand) -> Place:
        return broadcast(nests.place(leaf), target.sizes)

    loops = Loops([target, *map(place, nests.leaves(value))], order, sizes, (), labels)
    found = Elements(lambda leaf: loops.read(place(leaf)), sizes)(value)
    before, (index, stride) = loops.read(target), loops.index(target)
    if stride == 0:
        line = f"{loops.pointer(target)}[{index}] += across({found.as_vector}, count);"
    else:
        line = loops.stored(target, Text(f"{before.text} + {found.within(SUM)}", SUM))
    return [*loops.head(""), STEP * loops.depth + line, *loops.end("")]


def pick(of: Sizes, order: Sequence[int]) -> Sizes:
    return tuple(of[k] for k in order)


def variables(sizes: list[sp.Expr | None], taken: Collection[str]) -> list[str]:
    """Names for the variables of nested loops: b along examples, `at` the last."""
    free = [name for name in ROWS if name not in taken]
    found = []
    for at, size in enumerate(sizes):
        if at == len(sizes) - 1:
            found.append("at")
        elif size == sp.Symbol(EXAMPLES) and "b" not in found:
            found.append("b")
        else:
            found.append(free.pop(0))
    return found


def variable_of(operand: Operand) -> str:
    """A name for what is read from memory."""
    while not isinstance(operand, Array | Entry):
        operand = operand.of if isinstance(operand, View) else operand.arguments[0]  # type: ignore[union-attr]
    return operand.name.removesuffix("_all")


def comment(text: str, indent: str) -> list[str]:
    """A formula as a comment."""
    return formula(f"/* {text} */", indent)
