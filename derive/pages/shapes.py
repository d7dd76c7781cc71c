"""The most general dimensions that the equations allow: unification over dimension variables, named after states and inputs at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import sympy as sp

from derive.language import dimension
from derive.pages.core import Add, Call, Concat, Const, Core, Definition, Part, Power, Product, Ref, Turned, Unit
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import MATRIX, NUMBER, VECTOR, Kinds, groups

Size = tuple[str, ...]
"""A dimension: a sum of variables (`?3`) and given names, sorted."""
LONGEST_SIZE = 1_000
"""Variables in one size: stacks of stacks double it with every equation."""
ONE: Size = ("1",)
"""The size of a number among stacked vectors: the column of the matrix that meets it is a bias."""
Shape = tuple[Size, ...]
"""() for a number, one size for a vector, two for a matrix."""


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
            self.shapes[name] = (self.fresh(), self.fresh()) if self.kinds.known[name][0] == MATRIX else (self.fresh(),)
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
            if len(one) == 1 and one[0].startswith("?") and other:
                self.bound[one[0]] = other
                return one[0] not in other
        return len(a) == len(b) > 1 and all(self.equal((x,), (y,)) for x, y in zip(a, b, strict=True))

    def same(self, a: Shape, b: Shape, here: Span, there: Span) -> None:
        if not a or not b:
            return
        before = dict(self.bound)
        if len(a) != len(b) or not all(self.equal(x, y) for x, y in zip(a, b, strict=True)):
            self.bound = before
            raise self.conflict(a, b, here, there)

    def conflict(self, a: Shape, b: Shape, here: Span, there: Span) -> PageError:
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
            case Const():
                return ()
            case Ref():
                return self.symbol(node.name, node.span)
            case Unit():
                size = self.units.setdefault(node, self.fresh())
                return size, size
            case Call():
                inner = self.shape(node.body)
                return (inner[0], inner[0]) if node.function == "diag" else inner
            case Concat():
                sizes = [self.shape(part) or (ONE,) for part in node.parts]
                return (tuple(one for size in sizes for one in size[0]),)
            case Add():
                return self.sum_shape(node)
            case Power():
                return self.shape(node.body)
            case Turned():
                inner = self.shape(node.body)
                return (inner[1], inner[0]) if len(inner) == 2 else inner
            case Product():
                return self.product_shape(node)
            case Part():
                return self.part_shape(node)
        raise TypeError(node)

    def sum_shape(self, node: Add) -> Shape:
        known: tuple[Shape, Span] = ((), node.span)
        for term in node.terms:
            shape = self.shape(term)
            if known[0] and shape:
                self.same(known[0], shape, known[1], term.span)
            elif shape:
                known = (shape, term.span)
        return known[0]

    def part_shape(self, node: Part) -> Shape:
        sizes = [self.symbol(name, node.span)[0] for name in node.names]
        self.same((tuple(one for size in sizes for one in size),), self.shape(node.body), node.span, node.body.span)
        return (sizes[node.at],)

    def product_shape(self, node: Product) -> Shape:
        for item in node.items:
            self.shape(item) if self.kinds.kind(item) == NUMBER else None
        known: tuple[Shape, Span] = ((), node.span)
        for group in groups(self.source, self.kinds, node):
            shape = self.group_shape(group)
            if known[0] and shape:
                self.same(known[0], shape, known[1], group[0].span)
            known = known if known[0] else (shape, group[0].span)
        return known[0]

    def group_shape(self, group: list[Core]) -> Shape:
        """Matrices and at most one vector, at the end or, in row convention, at the beginning."""
        if not group:
            return ()
        if self.kinds.kind(group[0]) == VECTOR and len(group) > 1:
            size, span = self.shape(group[0])[0], group[0].span
            for item in group[1:]:
                rows, columns = self.shape(item)
                self.same((rows,), (size,), item.span, span)
                size, span = columns, item.span
            return (size,)
        shape, span = self.shape(group[-1]), group[-1].span
        for item in reversed(group[:-1]):
            rows, columns = self.shape(item)
            self.same((columns,), (shape[0],), item.span, span)
            shape, span = (rows, *shape[1:]), item.span
        return shape

    # ---- names

    def fix(self, name: str, sizes: tuple[str, ...]) -> None:
        """A dimension that the caller names. Raises PageError where it names nothing or two different ones."""
        if name not in self.shapes:
            known = ", ".join(f"{one} ({len(shape)})" for one, shape in self.shapes.items())
            what = f"expected a symbol of the page, with the number of its sizes: {known}; got `{name}`. Name the sizes of one of these."
            raise PageError(f"{self.source.name}: dim {name}: {what}")
        if len(self.shapes[name]) != len(sizes):
            kind, count, form = ("matrix", "two sizes", "N, M") if len(self.shapes[name]) == 2 else ("vector", "one size", "N")
            what = f"{name} is a {kind}: expected {count}, as in `dim {name} = {form}`, got `{', '.join(sizes)}`."
            raise PageError(f"{self.source.name}: dim {name}: {what} Name {count}.")
        before = [self.expand(size) for size in self.shapes[name]]
        if not all(self.equal(size, (wanted,)) for size, wanted in zip(self.shapes[name], sizes, strict=True)):
            names = Letters()
            place, got = self.places[name], names.text(before)
            raise self.source.error(
                place, f"dim {name} = {', '.join(sizes)} contradicts the equations: expected {got}.", "Take it back."
            )

    def name_all(self, states: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], taken: set[str]) -> None:
        """Names for the sizes that are left: H of the states, D of the inputs, K of the outputs; with a symbol where there are several."""
        rest = [name for name in self.shapes if name not in {*states, *inputs, *outputs}]
        for letter, symbols in (("H", states), ("D", inputs), ("K", outputs), ("N", rest)):
            first: dict[str, str] = {}
            for symbol in symbols:
                for size in self.shapes.get(symbol, ()):
                    for one in self.expand(size):
                        if one.startswith("?") and one not in self.named:
                            first.setdefault(one, symbol)
            for variable, symbol in first.items():
                self.named[variable] = self.free_name(letter if len(first) == 1 else f"{letter}_{symbol}", taken)

    def free_name(self, wanted: str, taken: set[str]) -> str:
        """The name itself, unless a size or a symbol has it; one that the caller gave is meant: `x = H` makes x as long as the state."""
        while wanted in self.named.values() or ("_" in wanted and wanted in taken):
            wanted += "_"
        return wanted

    def size(self, size: Size) -> sp.Expr:
        return sp.Add(*[sp.Integer(1) if (one,) == ONE else dimension(self.named.get(one, one)) for one in self.expand(size)])

    def of(self, name: str) -> tuple[sp.Expr, ...]:
        return tuple(self.size(size) for size in self.shapes[name])


class Letters:
    """Names for open sizes in messages: n, m, ..."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def one(self, variable: str) -> str:
        if not variable.startswith("?"):
            return variable
        return self.names.setdefault(variable, "nmpqrsuvw"[len(self.names)] if len(self.names) < 9 else f"n{len(self.names)}")

    def text(self, sizes: Sequence[Size]) -> str:
        shape = ["+".join(self.one(variable) for variable in size) or "0" for size in sizes]
        return f"size {shape[0]}" if len(shape) == 1 else f"shape ({', '.join(shape)})"


__all__ = ["MATRIX", "NUMBER", "VECTOR", "Shapes"]
