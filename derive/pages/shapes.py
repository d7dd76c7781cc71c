"""The most general dimensions that the equations allow: unification over dimension variables, named after states and inputs at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import sympy as sp

from derive.language import dimension
from derive.pages.core import (
    Add,
    Call,
    Concat,
    Const,
    Core,
    Definition,
    Elementwise,
    Extent,
    MatMul,
    Part,
    Power,
    Ref,
    Several,
    Slice,
    Steps,
    Turned,
    Unit,
    parts_of,
)
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import Kinds
from derive.pages.reductions import TO_A_NUMBER
from derive.pages.relations import MATRIX, NUMBER

Size = tuple[str, ...]
"""A dimension: a sum of variables (`?3`) and given names, sorted."""
LONGEST_SIZE = 1_000
"""Variables in one size: stacks of stacks double it with every equation."""
ONE: Size = ("1",)
"""The size of a number among stacked vectors, where the column of the matrix that meets it is a bias, and of what a column has one of."""
Shape = tuple[Size, Size]
"""(rows, columns), as in the language: of a number both are ONE, of a vector the second is."""
SCALAR: Shape = (ONE, ONE)


class Shapes:
    """The shape of every symbol. Raises PageError where two places contradict each other."""

    def __init__(
        self, source: Source, kinds: Kinds, definitions: Sequence[Definition], dims: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.source, self.kinds = source, kinds
        self.bound: dict[str, Size] = {}
        self.shapes: dict[str, Shape] = {}
        self.places: dict[str, Span] = {}
        self.units: dict[Core, Size] = {}
        self.rests: dict[Core, Size] = {}
        self.given: set[str] = set()  # names of sizes that the equations say
        self.count = 0
        self.here = (0, 0)
        for definition in definitions:
            self.here = definition.span
            target = self.symbol(definition.name, definition.span)
            self.same(target, self.shape(definition.body), definition.span, definition.body.span)
        self.named: dict[str, str] = {}
        for name, sizes in dims.items():
            self.fix(name, sizes)

    def fresh(self) -> Size:
        self.count += 1
        return (f"?{self.count}",)

    def symbol(self, name: str, span: Span) -> Shape:
        if name not in self.shapes:
            self.places[name] = span
            (kind,) = self.kinds.domains[name]
            self.shapes[name] = (ONE if kind == NUMBER else self.fresh(), self.fresh() if kind == MATRIX else ONE)
        return self.shapes[name]

    # ---- unification

    def expand(self, size: Size) -> Size:
        """The size with every bound variable replaced."""
        while any(one in self.bound for one in size):
            size = tuple(sorted(part for one in size for part in self.bound.get(one, (one,))))
            if len(size) > LONGEST_SIZE:
                what = f"stacks of stacks make this vector too long: expected at most {LONGEST_SIZE} parts."
                raise self.source.error(self.here, what, "Stack fewer of them.")
        return size

    def equal(self, a: Size, b: Size) -> bool:
        """Make two sizes one; False where they can't be."""
        a, b = self.expand(a), self.expand(b)
        common = Counter(a) & Counter(b)
        a, b = (tuple(sorted((Counter(size) - common).elements())) for size in (a, b))
        if a == b:
            return True
        for one, other in ((a, b), (b, a)):
            if len(one) == 1 and one[0].startswith("?") and other and other != ONE:
                self.bound[one[0]] = other
                return one[0] not in other
        return len(a) == len(b) > 1 and all(self.equal((x,), (y,)) for x, y in zip(a, b, strict=True))

    def same(self, a: Sequence[Size], b: Sequence[Size], here: Span, there: Span) -> None:
        """Make two shapes one; a number goes with any."""
        if SCALAR in (a, b):
            return
        before = dict(self.bound)
        if not all(self.equal(x, y) for x, y in zip(a, b, strict=True)):
            self.bound = before
            raise self.conflict(a, b, here, there)

    def conflict(self, a: Sequence[Size], b: Sequence[Size], here: Span, there: Span) -> PageError:
        names = Letters()
        first, second = names.text([self.expand(size) for size in a]), names.text([self.expand(size) for size in b])
        written = self.source.written(there)
        what = f"shape conflict: `{written}` has {second}: expected {first}, as `{self.source.written(here)}` has."
        return self.source.error(
            there, what, "Check the factors: matrices turn one size into another.", (here, f"this has {first}:")
        )

    # ---- shapes of formulas

    def shape(self, node: Core) -> Shape:
        match node:
            case Const() | Extent() | Steps():
                return SCALAR
            case Ref():
                return self.symbol(node.name, node.span)
            case Unit():
                size = self.units.setdefault(node, self.fresh())
                return size, size
            case Call():
                inner = self.shape(node.body)
                return SCALAR if node.function in TO_A_NUMBER else (inner[0], inner[0]) if node.function == "diag" else inner
            case Concat():
                return tuple(sorted(one for part in node.parts for one in self.shape(part)[0])), ONE
            case Add() | Elementwise() | Several():
                return self.common(parts_of(node))
            case Power():
                return self.shape(node.body)
            case Turned():
                rows, columns = self.shape(node.body)
                return columns, rows
            case MatMul():
                return self.product(node)
            case Part():
                return self.part(node)
            case Slice():
                return self.slice(node)
        raise TypeError(node)

    def common(self, parts: Sequence[Core]) -> Shape:
        """The shape of what is added or multiplied elementwise."""
        known: tuple[Shape, Span] = (SCALAR, parts[0].span)
        for part in parts:
            shape = self.shape(part)
            self.same(known[0], shape, known[1], part.span)
            known = known if known[0] != SCALAR else (shape, part.span)
        return known[0]

    def part(self, node: Part) -> Shape:
        sizes = [self.symbol(name, node.span)[0] for name in node.names]
        self.same((tuple(one for size in sizes for one in size), ONE), self.shape(node.body), node.span, node.body.span)
        return sizes[node.at], ONE

    def slice(self, node: Slice) -> Shape:
        """As many rows as the range has; without an end, what is left of the vector."""
        whole, _ = self.shape(node.body)
        self.given |= {*node.start, *(node.stop or ())}
        if node.stop is not None:
            return tuple(sorted((Counter(node.stop) - Counter(node.start)).elements())), ONE
        rest = self.rests.setdefault(node, self.fresh())
        self.same((tuple(sorted((*node.start, *rest))), ONE), (whole, ONE), node.span, node.body.span)
        return rest, ONE

    def product(self, node: MatMul) -> Shape:
        """Each factor has as many columns as the one behind it has rows."""
        (rows, columns), span = self.shape(node.items[-1]), node.items[-1].span
        for item in reversed(node.items[:-1]):
            above, inner = self.shape(item)
            self.same((inner,), (rows,), item.span, span)
            rows, span = above, item.span
        return rows, columns

    # ---- names

    def fix(self, name: str, sizes: tuple[str, ...]) -> None:
        """Sizes that the caller names, each a name or a sum of names. Raises PageError where they name nothing, or two different ones."""
        if name not in self.shapes:
            known = ", ".join(f"{one} ({len(self.sizes(one))})" for one in self.shapes)
            what = f"expected a symbol of the page, with the number of its sizes: {known}; got `{name}`. Name the sizes of one of these."
            raise PageError(f"{self.source.name}: dim {name}: {what}")
        own = self.sizes(name)
        if len(own) != len(sizes):
            kind, count, form = FORMS[len(own)]
            what = f"{name} is a {kind}: expected {count}, as in `dim {name} = {form}`, got `{', '.join(sizes)}`."
            raise PageError(f"{self.source.name}: dim {name}: {what} Name {count}.")
        before = [self.expand(size) for size in own]
        if not all(self.equal(size, summands(wanted)) for size, wanted in zip(own, sizes, strict=True)):
            names = Letters()
            place, got = self.places[name], names.text(before)
            raise self.source.error(
                place, f"dim {name} = {', '.join(sizes)} contradicts the equations: expected {got}.", "Take it back."
            )

    def sizes(self, name: str) -> tuple[Size, ...]:
        """None of a number, one of a vector, two of a matrix."""
        rows, columns = self.shapes[name]
        return () if rows == ONE else (rows,) if columns == ONE else (rows, columns)

    def name_all(
        self, states: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], taken: set[str], tokens: Collection[str] = ()
    ) -> None:
        """Names for the sizes that are left: H of the states, V of the tokens, D of the inputs, K of the outputs, N and M of anything else;
        with a symbol where there are several. Vectors come first: a matrix of a step mostly has the sizes of some."""
        vectors = {name for name in self.shapes if len(self.sizes(name)) == 1}
        named = {*states, *inputs, *outputs} & vectors
        words = [name for name in inputs if name in tokens]
        for letter, symbols in (("H", states), ("V", words), ("D", inputs), ("K", outputs)):
            self.name_some([(letter, 0, symbol) for symbol in symbols if symbol in vectors], taken)
        rest = [name for name in self.shapes if name not in named]
        self.name_some([("NM"[at], at, name) for name in rest for at in range(len(self.sizes(name)))], taken)

    def name_some(self, wanted: Sequence[tuple[str, int, str]], taken: set[str]) -> None:
        """Names for what is left of sizes, given as (letter, which of its sizes, symbol)."""
        first: dict[str, tuple[str, str]] = {}
        for letter, at, symbol in wanted:
            for one in self.expand(self.sizes(symbol)[at]):
                if one.startswith("?") and one not in self.named:
                    first.setdefault(one, (letter, symbol))
        for variable, (letter, symbol) in first.items():
            alone = len({name for _, name in first.values()}) == 1
            self.named[variable] = self.free_name(letter if alone else f"{letter}_{symbol}", taken)

    def free_name(self, wanted: str, taken: set[str]) -> str:
        """The name itself, unless a size or a symbol has it; one that the caller gave is meant: `x = H` makes x as long as the state."""
        while wanted in {*self.named.values(), *self.given} or ("_" in wanted and wanted in taken):
            wanted += "_"
        return wanted

    def size(self, size: Size) -> sp.Expr:
        return sp.Add(*[sp.Integer(1) if (one,) == ONE else dimension(self.named.get(one, one)) for one in self.expand(size)])

    def of(self, name: str) -> tuple[sp.Expr, sp.Expr]:
        """(rows, columns) of a symbol."""
        size, columns = self.shapes[name]
        return self.size(size), self.size(columns)


FORMS = (
    ("number", "no size", "()"),
    ("vector", "one size", "N"),
    ("matrix", "two sizes", "N, M"),
)
"""(what has so many sizes, how many, how they are declared)."""


def summands(size: str) -> Size:
    """A size as a sum of names: `2*H + D` -> D, H, H."""
    parts = [part.split("*") for part in size.replace(" ", "").split("+")]
    return tuple(sorted(name for *count, name in parts for _ in range(int(count[0]) if count else 1)))


class Letters:
    """Names for open sizes in messages: n, m, ..."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def one(self, variable: str) -> str:
        if not variable.startswith("?"):
            return variable
        return self.names.setdefault(variable, "nmpqrsuvw"[len(self.names)] if len(self.names) < 9 else f"n{len(self.names)}")

    def text(self, sizes: Sequence[Size]) -> str:
        sizes = [size for size in sizes if size != ONE] or sizes[:1]
        shape = ["+".join(self.one(variable) for variable in size) or "0" for size in sizes]
        return f"size {shape[0]}" if len(shape) == 1 else f"shape ({', '.join(shape)})"
