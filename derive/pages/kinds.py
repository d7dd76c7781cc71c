"""What every symbol of a page is: a number, a vector or a matrix, from how it is used.

A symbol starts with all kinds that it could have; each formula is a relation between the kinds of its parts, and what no solution of a
relation has goes (arc consistency, repeated until nothing changes):

    n x, x n -> x          a number scales anything
    M x -> vector          M N -> matrix          x M -> vector, a row in front of a matrix
    x^T y -> number        x y^T -> matrix        on a page that writes columns; the other way round where rows are written
    x y -> vector          elementwise, but never beside a transposed vector
    a ⊙ b                  of one kind            a ⊗ b -> of one kind, or a matrix of two vectors
    a + b                  of one kind; a number counts for each element of a vector, a plain one of a matrix too
    f(a)                   the kind of a          softmax(v) -> vector          diag(v) -> matrix

What the relations leave open is settled by steps, each of which looks at uses again: a transposed letter in lower case is a vector, and
so is its neighbour; what is given at a step is a vector; a parameter in upper case beside a vector is a matrix; the terms of a sum are
alike; what stands beside an elementwise sign is a vector. Letters count by their case alone. A parameter in lower case that is still
open then is asked about in `derive.pages.doubts`, never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from derive.pages.alphabet import IDENTITIES, STEPS
from derive.pages.core import (
    Add,
    Call,
    Concat,
    Const,
    Core,
    Definition,
    Elementwise,
    Extent,
    Inner,
    MatMul,
    Part,
    Power,
    Product,
    Ref,
    Several,
    Slice,
    Steps,
    Turned,
    Unit,
    every,
    parts_of,
    refs,
    summands,
)
from derive.pages.errors import PageError, Source, Span
from derive.pages.numbers import value
from derive.pages.relations import (
    ANY,
    LOOSE,
    MATRIX,
    NUMBER,
    ROW,
    SIGNATURES,
    VECTOR,
    VECTORS,
    Kind,
    Table,
    elementwise,
    folded,
    none_or,
    product_of,
    solutions,
    tensor,
    turned,
)


class Kinds:
    """The kind of every symbol of a cell. Raises PageError where two uses contradict each other or nothing decides.

    row: products are written `x W`; None where that isn't known, or says nothing. open: the symbols of which the uses leave several
    kinds, before anything is taken for granted; tensors: products with ⊗ that may be vectors or matrices then. mixed, silent: `x W` stands
    beside `U h`, neither of them stands anywhere. elsewhere: what other equations define; places: where uses say what a
    symbol is. row_shapes: a matrix stands as it is behind a row; turned: a transposed vector is a factor.
    """

    mixed = silent = row_shapes = turned = False

    def __init__(
        self,
        source: Source,
        definitions: Sequence[Definition],
        timed: Collection[str],
        declared: Mapping[str, str],
        row: bool | None = None,
        elsewhere: Collection[str] = (),
        places: Mapping[str, Span] | None = None,
    ) -> None:
        self.source, self.definitions, self.timed = source, definitions, set(timed)
        self.declared, self.row = dict(declared), row
        self.defined = {one.name for one in definitions} | {*elsewhere}
        self.open: dict[str, Kind] = {}
        self.constants = self.find_constants()
        self.assigned = {product for one in definitions for product in summands(one.body)}
        self.tensors: frozenset[Core] = frozenset()
        self.domains: dict[str, Kind] = {}
        self.places: dict[str, Span] = dict(places or {})
        self.plain: dict[Core, bool] = {}
        self.left: dict[Core, Kind] = {}  # of a product, what its surroundings leave
        self.readers: dict[str, list[Definition]] = {}
        self.waiting: dict[Definition, None] = dict.fromkeys(definitions)
        self.divisors = {name for one in definitions for node in every(one.body) for name in divisors(source, node)}
        for definition in definitions:
            for name in dict.fromkeys([definition.name, *(ref.name for ref in refs(definition.body))]):
                self.readers.setdefault(name, []).append(definition)
                self.domains.setdefault(name, self.first(name))
        self.settle()

    def first(self, name: str) -> Kind:
        """The kinds that a symbol could have."""
        said = self.declared.get(name)
        if said in (NUMBER, VECTOR, MATRIX) or (said == "parameter" and is_small(name)):
            return frozenset({VECTOR if said == "parameter" else said})
        if name in self.defined:
            return ANY
        if name in self.divisors and self.is_parameter(name):
            return frozenset({NUMBER, VECTOR})
        upper = frozenset({VECTOR, MATRIX})
        if name in self.timed or said == "input":
            return frozenset({NUMBER, VECTOR}) if is_small(name) else upper
        return ANY if is_small(name) else upper

    def find_constants(self) -> set[str]:
        """What is defined from parameters alone, on a page whose inputs carry a time."""
        found: set[str] = set()
        for _ in self.definitions if self.timed - self.defined else ():
            before = set(found)
            for one in self.definitions:
                if all(self.is_parameter(ref.name) or ref.name in found for ref in refs(one.body)):
                    found.add(one.name)
            if found == before:
                break
        return found - self.timed

    def is_parameter(self, name: str) -> bool:
        return name not in self.defined | self.timed and self.declared.get(name) != "input"

    # ---- the kinds of a formula

    def kinds(self, node: Core) -> Kind:
        """All kinds that a formula can have."""
        match node:
            case Ref():
                return self.domains[node.name]
            case Const() | Inner() | Extent() | Steps():
                return frozenset({NUMBER})
            case Unit():
                return frozenset({MATRIX})
            case Concat() | Part() | Slice():
                return frozenset({VECTOR})
            case Call():
                return SIGNATURES[node.function][1] if node.function in SIGNATURES else self.kinds(node.body)
            case Power():
                return self.kinds(node.body)
            case Turned():
                return turned(self.kinds(node.body))
            case Add() | Several():
                return self.sum_kinds(node)
            case MatMul() | Elementwise():
                return folded(*self.written_out(node))
            case Product():
                return folded(*self.top(node)) & self.left.get(node, ANY | VECTORS)
        raise TypeError(node)

    def kind(self, node: Core) -> str | None:
        """matrix, vector (also a row), number; None where that isn't known yet."""
        found = {VECTOR if one == ROW else one for one in self.kinds(node)}
        return found.pop() if len(found) == 1 else None

    def sum_kinds(self, node: Add | Several) -> Kind:
        terms = [self.kinds(term) for term in parts_of(node)]
        found = {NUMBER} if all(NUMBER in term for term in terms) else set()
        if any(term & VECTORS for term in terms) and all(term - {MATRIX} for term in terms):
            found |= {VECTOR} if any(VECTOR in term for term in terms) else {ROW}
        plain = [self.is_plain(term) for term in parts_of(node)]
        if not all(plain) and all(MATRIX in term or is_plain for term, is_plain in zip(terms, plain, strict=True)):
            found.add(MATRIX)
        return frozenset(found)

    def is_plain(self, node: Core) -> bool:
        """Whether a formula is a number by itself: no symbol stands in it."""
        if node not in self.plain:
            self.plain[node] = value(node) is not None
        return self.plain[node]

    def run_tables(self, run: Sequence[Core]) -> tuple[list[Kind], list[Table]]:
        """(the kinds of each factor, the relations between them) of what stands side by side. Beside a vector a parameter in upper case is
        a matrix, and beside it what is given at a step is no number."""
        kinds = [self.kinds(item) for item in run]
        strict = frozenset({ROW}) in kinds
        weights = [self.is_weight(item) for item in run]
        if any(weights):
            kinds = [found - {NUMBER} if self.is_given(item) else found for item, found in zip(run, kinds, strict=True)]
            vectors = sum(found <= VECTORS for found in kinds)
            sure = [weight and vectors > (found <= VECTORS) for weight, found in zip(weights, kinds, strict=True)]
            kinds = [found & {MATRIX} if weight else found for found, weight in zip(kinds, sure, strict=True)]
        return kinds, [lambda a, b: product_of(a, b, self.row, strict)] * (len(run) - 1)

    def is_weight(self, item: Core) -> bool:
        """Whether a factor is a parameter in upper case of which nothing is said, also transposed."""
        item = item.body if isinstance(item, Turned) else item
        name = item.name if isinstance(item, Ref) else ""
        said = self.declared.get(name, "parameter") != "parameter" or name in (*self.divisors, *IDENTITIES)
        return bool(name) and not said and not is_small(name) and self.is_parameter(name)

    def is_given(self, item: Core) -> bool:
        """Whether a factor is a symbol that is given at a step, and of which nothing is said."""
        return isinstance(item, Ref) and item.name in self.timed - self.defined and item.name not in self.declared

    def top(self, node: Product) -> tuple[list[Kind], list[Table]]:
        """(the kinds of each run, the relations between them) of a product."""
        found = [folded(*self.run_tables(run)) for run in runs(node)]
        tables = {"tensor": tensor if node in self.assigned else elementwise}
        return found, [tables.get(sign, elementwise) for sign in node.signs if sign not in LOOSE]

    def written_out(self, node: MatMul | Elementwise) -> tuple[list[Kind], list[Table]]:
        """Factors of a product whose vectors are columns, however the page writes its own."""
        table: Table = elementwise if isinstance(node, Elementwise) else lambda a, b: product_of(a, b, False, True)
        return [self.kinds(item) for item in node.items], [table] * (len(node.items) - 1)

    # ---- what a use leaves

    def narrow(self, node: Core, allowed: Kind, place: Span) -> None:
        """Leave the parts of a formula the kinds with which it has an allowed one. Raises PageError where there are none."""
        if not self.kinds(node) & allowed:
            raise self.conflict(node, allowed, place)
        match node:
            case Ref():
                self.set(node, self.domains[node.name] & allowed)
            case Call():
                wanted = SIGNATURES.get(node.function, (allowed,))[0]
                if node.function in SIGNATURES and self.kinds(node.body) and not self.kinds(node.body) & wanted:
                    raise self.of_no_vector(node)
                self.narrow(node.body, wanted, node.span)
            case Part() | Slice():
                self.narrow(node.body, VECTORS, node.span)
            case Power():
                self.narrow(node.body, allowed, place)
            case Turned():
                self.narrow(node.body, turned(allowed), place)
            case Concat() | Inner():
                for part in parts_of(node):
                    self.narrow(part, VECTORS | (none_or(NUMBER if isinstance(node, Concat) else None)), node.span)
            case Add() | Several():
                self.narrow_sum(node, allowed)
            case MatMul() | Elementwise():
                kept = solutions(*self.written_out(node), self.kinds(node) & allowed)
                for item, left in zip(node.items, kept or (), strict=True):
                    self.narrow(item, left, node.span)
            case Product():
                self.narrow_product(node, allowed)

    def narrow_sum(self, node: Add | Several, allowed: Kind) -> None:
        found = self.sum_kinds(node) & allowed
        able = [bool(self.kinds(term) & VECTORS) for term in parts_of(node)]
        for term, vector in zip(parts_of(node), able, strict=True):
            left = frozenset({NUMBER}) if NUMBER in found or self.is_plain(term) else frozenset()
            if found & VECTORS:
                left |= VECTORS if vector and sum(able) == 1 else VECTORS | {NUMBER}
            self.narrow(term, left | (found & {MATRIX}), node.span)

    def narrow_product(self, node: Product, allowed: Kind) -> None:
        parts, tables = self.top(node)
        self.left[node] = self.kinds(node) & allowed
        kept = solutions(parts, tables, self.left[node])
        assert kept is not None
        for run, left in zip(runs(node), kept, strict=True):
            items = solutions(*self.run_tables(run), left)
            assert items is not None
            for item, kinds in zip(run, items, strict=True):
                self.narrow(item, kinds, node.span)

    def set(self, node: Ref, kinds: Kind) -> None:
        if kinds != self.domains[node.name]:
            self.domains[node.name] = kinds
            if len(kinds) == 1:
                self.places.setdefault(node.name, node.span)
            self.waiting |= dict.fromkeys(self.readers[node.name])

    def settle(self) -> None:
        """Apply every relation until nothing changes."""
        while self.waiting:
            definition = next(iter(self.waiting))
            del self.waiting[definition]
            name, body, place = definition.name, definition.body, definition.span
            if self.is_plain(body):
                continue
            allowed = self.domains[name] | (VECTORS if VECTOR in self.domains[name] else frozenset())
            self.narrow(body, allowed, place)
            if not self.kinds(body) & allowed:  # what was left at one place contradicts another
                raise self.conflict(body, allowed, place)
            found = frozenset(VECTOR if kind == ROW else kind for kind in self.kinds(body))
            self.set(Ref(name, 0, place), self.domains[name] & found)

    def conflict(self, node: Core, allowed: Kind, place: Span) -> PageError:
        """The error for a formula that can't be what is asked of it, or whose parts can't stand together."""
        while (part := next((one for one in parts_of(node) if not self.kinds(one)), None)) is not None:
            node, place = part, node.span
        got, wanted = named(self.kinds(node)), named(allowed)
        if (
            not got and isinstance(node, Product) and node in self.left
        ):  # what it is by itself, and what its surroundings leave it
            got, wanted = named(folded(*self.top(node))), named(self.left[node])
        if not got and (odd := self.odd_one(node)) is not None:
            inside = (part for part in parts_of(node) if part is not odd and any(one is odd for one in every(part)))
            node, place = odd, next(inside, node).span
            got = named(self.kinds(node))
            wanted = VECTOR if got == MATRIX else MATRIX
        written, shown = self.source.written(node.span), self.source.written(place)[:80]
        if not got and isinstance(node, Add):
            terms = ", ".join(f"`{self.source.written(one.span)[:40]}` a {named(self.kinds(one))}" for one in node.terms)
            what = f"shape conflict: the terms of `{written[:80]}` are {terms}: expected what can be added."
            todo = "Add what is alike; w^\\top x is a number, W x a vector, v k^\\top a matrix."
            return self.source.error(node.span, what, todo)
        if not got:
            what = f"shape conflict: the parts of `{written}` don't fit: expected numbers, vectors and matrices that do."
            todo = "Beside a transposed vector, vectors are multiplied as matrices are; write \\odot for an elementwise product."
            return self.source.error(node.span, what, todo + self.hints(node))
        what = f"shape conflict: `{written}` is a {got}: expected a {wanted} in `{shown}`."
        todo = "Beside a vector a symbol without a time index is a matrix; joined by ⊙ ∘ ⊗ * or added to one, a vector."
        if not isinstance(node, Ref):
            todo = "A number scales a vector or a matrix, as w^\\top x does and W x doesn't; rows are scaled by \\operatorname{diag}(a)."
        name = next((one.name for one in self.definitions if node in (one.body, *parts_of(one.body))), "").rstrip("'")
        if name and is_small(name) and got == MATRIX and name not in self.declared:
            todo = f'If {name} is a matrix, say --let "{name}=matrix". {todo}'
        if isinstance(node, Ref) and node.name in self.defined:
            todo = (
                "Change one of the two, or give one a symbol of its own: w^\\top x is a number, W x a vector, v k^\\top a matrix."
            )
        return self.source.error(node.span, what, todo, self.said_before(node, got))

    def of_no_vector(self, node: Call) -> PageError:
        """The error for `softmax(S)` with S a matrix, and for one of a number."""
        written, whole, got = (
            self.source.written(node.body.span),
            self.source.written(node.span)[:80],
            named(self.kinds(node.body)),
        )
        what = f"shape conflict: `{written}` is a {got}: expected a vector in `{whole}`."
        todo = "A function of all elements is read of one vector; neither of a number, nor of a matrix, as a whole or row by row."
        return self.source.error(node.body.span, what, todo, self.said_before(node.body, got))

    def said_before(self, node: Core, got: str) -> tuple[Span, str] | None:
        """Where an earlier use says what a symbol is."""
        before = self.places.get(node.name) if isinstance(node, Ref) else None
        return (before, f"here it is a {got}:") if before and before != node.span else None

    def odd_one(self, node: Core) -> Core | None:
        """In a product or a sum whose parts don't fit, the weight that is a vector, or what alone is a matrix beside vectors."""
        found = [one for one in every(node) if isinstance(one, Ref)]
        weights = [one for one in found if self.is_weight(one) and self.kind(one) == VECTOR]
        matrices: list[Core] = [one for one in found if self.kind(one) == MATRIX]
        matrices = matrices or [part for part in parts_of(node) if self.kind(part) == MATRIX]
        vectors = any(MATRIX not in self.kinds(part) and self.kinds(part) & VECTORS for part in parts_of(node))
        return weights[0] if weights else matrices[0] if vectors and len(matrices) == 1 else None

    def hints(self, node: Core) -> str:
        vectors = [ref.name for ref in refs(node) if self.kind(ref) == VECTOR and is_small(ref.name)]
        return f" If {vectors[0]} is one number, write its equation as one: w^\\top x is, W x isn't." if vectors else ""


def is_small(name: str) -> bool:
    """Whether a letter is written in lower case; a step of time, `\\Delta t`, is."""
    return name[0].islower() or name in STEPS


def is_lower(node: Core) -> bool:
    return isinstance(node, Ref) and is_small(node.name)


def is_quotient(source: Source, node: Core) -> bool:
    """`1 / \\tau`, and no `W^{-1}`."""
    return isinstance(node, Power) and node.exponent < 0 and "^" not in source.written(node.span)


def named(kinds: Kind) -> str:
    return " or ".join(sorted({VECTOR if kind == ROW else kind for kind in kinds}))


def divisors(source: Source, node: Core) -> set[str]:
    """The symbols by which something is divided: `\\tau` of `1 / (2 \\tau)`."""
    below = node.body if isinstance(node, Power) and is_quotient(source, node) else None
    return {one.name for one in (below, *(below.items if isinstance(below, Product) else ())) if isinstance(one, Ref)}


def runs(node: Product) -> list[list[Core]]:
    """Factors that juxtaposition or a dot joins."""
    found = [[node.items[0]]]
    for sign, item in zip(node.signs, node.items[1:], strict=True):
        if sign in LOOSE:
            found[-1].append(item)
        else:
            found.append([item])
    return found
