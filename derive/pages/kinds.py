"""Which undefined symbols are matrices and which are vectors, from how they are used; and in which direction products are read.

Nothing is decided by a name. A symbol beside a vector is a matrix, one that a sign joins to a vector elementwise, or that is added
to one, is a vector; what one place decides holds at every other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from derive.pages.core import Add, Call, Concat, Const, Core, Definition, Part, Power, Product, Ref, Turned, Unit, parts_of
from derive.pages.errors import PageError, Source, Span

MATRIX, VECTOR, NUMBER = "matrix", "vector", "number"
LOOSE = ("side", "dot")
"""Signs that may stand for a matrix product."""


class Kinds:
    """The kind of every symbol of a cell. Raises PageError where two uses contradict each other or nothing decides."""

    def __init__(self, source: Source, definitions: Sequence[Definition], timed: set[str], declared: Mapping[str, str]) -> None:
        self.source, self.definitions, self.timed = source, definitions, timed
        self.known: dict[str, tuple[str, Span | None]] = dict.fromkeys(timed, (VECTOR, None))
        for name, kind in declared.items():
            self.known[name] = (MATRIX if kind == MATRIX else VECTOR, None)
        self.declared = set(declared)
        self.changed = True
        self.ending: set[str] = set()  # symbols that are vectors since a product that has to be one ends in them
        self.any_case = False  # whether a symbol in lower case beside a vector is a matrix too
        self.beside_numbers = self.added_to_numbers()
        self.settle()
        for hint in (self.by_context, self.in_any_case, self.by_default):
            while self.unknown() and hint():
                self.settle()
        self.refuse_open()
        self.refuse_two_uses()
        self.refuse_scalars()
        self.row = self.direction()

    # ---- the kind of a node, and what a use asks of it

    def kind(self, node: Core) -> str | None:
        """matrix, vector, number; None where it isn't known yet."""
        match node:
            case Const():
                return NUMBER
            case Ref():
                return self.known.get(node.name, (None, None))[0]
            case Unit():
                return MATRIX
            case Concat() | Part():
                return VECTOR
            case Call():
                return MATRIX if node.function == "diag" else NUMBER if self.kind(node.body) == NUMBER else VECTOR
            case Add():
                kinds = {self.kind(term) for term in node.terms} - {NUMBER}
                return MATRIX if MATRIX in kinds else VECTOR if VECTOR in kinds else None if kinds else NUMBER
            case Power() | Turned():
                return self.kind(node.body)
            case Product():
                return self.product_kind(node)
        return None

    def product_kind(self, node: Product) -> str | None:
        kinds = [kind for item in node.items if (kind := self.kind(item)) != NUMBER]
        if VECTOR in kinds or ("hadamard" in node.signs and len(kinds) > 1):
            return VECTOR
        return None if None in kinds else MATRIX if kinds else NUMBER

    def need(self, node: Core, kind: str, place: Span) -> None:
        """A use asks for a kind. Raises PageError where another use asked for another."""
        match node:
            case Ref():
                self.need_symbol(node, kind, place)
            case Add():
                for term in node.terms:
                    self.need(term, kind, place)
            case Power() | Turned():
                self.need(node.body, kind, place)
            case Product() if kind == MATRIX:
                for item in node.items:
                    self.need(item, kind, place)
            case _ if self.kind(node) not in (None, kind, NUMBER):
                raise self.conflict(node, kind, place)

    def need_symbol(self, node: Ref, kind: str, place: Span) -> None:
        known, before = self.known.setdefault(node.name, (kind, node.span))
        if known != kind:
            raise self.conflict(node, kind, place, before)
        if before == node.span:
            self.changed = True

    def conflict(self, node: Core, kind: str, place: Span, before: Span | None = None) -> PageError:
        got = self.kind(node)
        written = self.source.written(node.span)
        what = f"shape conflict: `{written}` is a {got}: expected a {kind} in `{self.source.written(place)[:80]}`."
        todo = "Beside a vector a symbol without a time index is a matrix; joined by ⊙ ∘ ⊗ * or added to one, a vector."
        other = (before, f"here it is a {got}:") if before and before != node.span else None
        return self.source.error(node.span, what, todo, other)

    # ---- the walk, repeated until nothing changes

    def settle(self) -> None:
        self.changed = True
        while self.changed:
            self.changed = False
            before = dict(self.known)
            for definition in self.definitions:
                self.equate(definition)
            for definition in self.definitions:
                self.visit(definition.body)
                self.equate(definition)
            self.changed = before != self.known

    def equate(self, definition: Definition) -> None:
        kind = self.kind(definition.body)
        known = self.known.get(definition.name, (None, None))[0]
        if known is None and kind is not None:
            self.known[definition.name] = (VECTOR if kind == NUMBER else kind, definition.span)
        elif known is not None:
            self.need(definition.body, known, definition.span)

    def visit(self, node: Core) -> None:
        for part in parts_of(node):
            self.visit(part)
        match node:
            case Call() | Part() if self.kind(node.body) != NUMBER:
                self.need(node.body, VECTOR, node.span)
            case Concat():
                for part in node.parts:
                    if self.kind(part) != NUMBER:
                        self.need(part, VECTOR, node.span)
            case Add():
                self.visit_sum(node)
            case Product():
                self.visit_product(node)

    def visit_sum(self, node: Add) -> None:
        kind = self.kind(node)
        numbers = [term for term in node.terms if self.kind(term) == NUMBER]
        if kind == MATRIX and numbers:
            what = "a number is added to a matrix: expected a matrix, such as the identity."
            other = next((hint for term in node.terms if (hint := number_or_vector(term))), "")
            raise self.source.error(numbers[0].span, what, f'{other}Write `0.1 I` with --let "I=identity" for the identity.')
        if kind is None and numbers:
            kind = VECTOR
        if kind in (MATRIX, VECTOR):
            for term in node.terms:
                self.need(term, kind or VECTOR, node.span)

    def visit_product(self, node: Product) -> None:
        for at, sign in enumerate(node.signs):
            pair = node.items[at : at + 2]
            if sign == "hadamard" and NUMBER not in (self.kind(pair[0]), self.kind(pair[1])):
                for item in pair:
                    self.need(item, VECTOR, node.span)
        for run in runs(node):
            kinds = [self.kind(item) for item in run]
            for item in run if VECTOR in kinds else ():
                if self.kind(item) is None and (self.any_case or not is_lower(item)):
                    self.need(item, MATRIX, node.span)

    # ---- hints, when the uses alone leave something open

    def unknown(self) -> set[str]:
        return {node.name for node in self.nodes() if isinstance(node, Ref) and node.name not in self.known}

    def nodes(self) -> Iterator[Core]:
        waiting: list[Core] = [definition.body for definition in self.definitions]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(parts_of(node))

    def by_context(self) -> bool:
        """`W x + b` with nothing known of W and x: a product that has to be a vector ends in one."""
        for place, node in self.vectors_needed():
            if isinstance(node, Product) and all(sign in LOOSE for sign in node.signs) and self.product_kind(node) is None:
                open_items = [item for item in node.items if self.kind(item) != NUMBER]
                if len(open_items) > 1 and self.kind(open_items[-1]) is None:
                    self.need(open_items[-1], VECTOR, place)
                    self.ending |= {item.name for item in open_items[-1:] if isinstance(item, Ref)}
                    return True
        return False

    def in_any_case(self) -> bool:
        """`z x`, where no other use says what x is, as `W x` would."""
        before, self.any_case = self.any_case, True
        return not before

    def vectors_needed(self) -> Iterator[tuple[Span, Core]]:
        for definition in self.definitions:
            if self.known.get(definition.name, (VECTOR,))[0] == VECTOR:
                yield from self.terms(definition.body, definition.span)
        for node in self.nodes():
            if isinstance(node, (Call, Part)):
                yield from self.terms(node.body, node.span)
            elif isinstance(node, (Add, Concat)) and self.kind(node) == VECTOR:
                yield from ((node.span, part) for part in parts_of(node))
            elif isinstance(node, Product):
                yield from ((node.span, item) for item in node.items if "hadamard" in node.signs)

    def terms(self, node: Core, place: Span) -> Iterator[tuple[Span, Core]]:
        yield place, node
        for part in node.terms if isinstance(node, Add) else ():
            yield from self.terms(part, place)

    def by_default(self) -> bool:
        """What is defined is a vector, as long as nothing says otherwise."""
        for definition in self.definitions:
            if definition.name not in self.known:
                self.known[definition.name] = (VECTOR, definition.span)
                return True
        return False

    def refuse_open(self) -> None:
        for node in self.nodes():
            if isinstance(node, Ref) and node.name not in self.known:
                what = f"ambiguous product: nothing says whether {node.name} is a matrix or a vector."
                todo = f'Say: --let "{node.name}=matrix" or --let "{node.name}=vector"'
                raise self.source.error(
                    node.span, what, todo + (f', or --let "{node.name}=0.1", a number.' if is_lower(node) else ".")
                )

    def added_to_numbers(self) -> set[str]:
        """Symbols as in `1 - a`: vectors, whatever they stand beside."""
        found: set[str] = set()
        for node in self.nodes():
            if isinstance(node, Add) and any(isinstance(term, Const) for term in node.terms):
                found |= {term.name for term in node.terms if isinstance(term, Ref) and term.name not in self.known}
        self.known |= dict.fromkeys(found, (VECTOR, None))
        return found

    def refuse_two_uses(self) -> None:
        """A symbol that a sign makes a vector and that stands beside a vector, as a matrix would, is undecided."""
        defined = {definition.name for definition in self.definitions}
        for node in self.nodes():
            for run in runs(node) if isinstance(node, Product) else ():
                several = sum(self.kind(item) == VECTOR for item in run) > 1
                for item in run if several else ():
                    name = item.name if isinstance(item, Ref) else ""
                    before = self.known.get(name, (None, None))[1]
                    if (
                        before is not None
                        and self.kind(item) == VECTOR
                        and name not in defined | self.beside_numbers | self.declared | self.ending
                    ):
                        raise self.conflict(item, MATRIX, node.span, before)

    def refuse_scalars(self) -> None:
        """`a^T b` of two vectors is a scalar, `a b^T` a matrix of this step: neither is in the language."""
        for node in self.nodes():
            for run in runs(node) if isinstance(node, Product) else ():
                vectors = [item for item in run if self.kind(item) == VECTOR]
                if len(vectors) > 1 and any(isinstance(item, Turned) for item in vectors):
                    what = f"an inner or outer product, `{self.source.written(node.span)}`: expected vectors and matrices of parameters."
                    raise self.source.error(
                        node.span, what, "Such products aren't read; an elementwise one needs no transposition."
                    )

    # ---- direction

    def direction(self) -> bool:
        """Whether this cell writes `x W`; None is settled as columns. A product of both kinds says nothing."""
        rows, columns = 0, 0
        self.row_shapes = False  # whether a matrix behind a vector stands there as it is, not transposed
        for node in self.nodes():
            for run in runs(node) if isinstance(node, Product) else ():
                kinds = [kind for item in run if (kind := self.kind(item)) != NUMBER]
                if MATRIX in kinds and kinds.count(VECTOR) == 1:
                    rows += kinds[0] == VECTOR
                    plain = any(self.kind(item) == MATRIX and not isinstance(item, Turned) for item in run)
                    self.row_shapes |= kinds[0] == VECTOR and plain
                    columns += kinds[-1] == VECTOR
        self.mixed = bool(rows and columns)
        self.silent = not rows and not columns
        return rows > 0 and columns == 0


def is_lower(node: Core) -> bool:
    return isinstance(node, Ref) and node.name[0].islower()


def number_or_vector(node: Core) -> str:
    """For a symbol that was taken for a matrix, alone or in a power, and is one number, as a time constant: how to say so."""
    names = {one.name for one in (node, *parts_of(node)) if isinstance(one, Ref)}
    if len(names) != 1:
        return ""
    name = names.pop()
    return f'If {name} is no matrix, say what it is: --let "{name}=5" for a number, --let "{name}=vector" for one number a unit. '


def runs(node: Product) -> list[list[Core]]:
    """Factors that juxtaposition or a dot joins."""
    found = [[node.items[0]]]
    for sign, item in zip(node.signs, node.items[1:], strict=True):
        if sign in LOOSE:
            found[-1].append(item)
        else:
            found.append([item])
    return found


def groups(source: Source, kinds: Kinds, node: Product) -> list[list[Core]]:
    """The factors of a product with those together that a vector ends, in column convention, or begins, in row convention.

    A group is matrices and one vector; several groups are multiplied elementwise. Raises PageError where that can't be told.
    """
    items = [item for item in node.items if kinds.kind(item) != NUMBER]
    if not items:
        return []
    vectors = [kinds.kind(item) == VECTOR for item in items]
    if all(vectors) or not any(vectors):
        return [[item] for item in items] if any(vectors) else [items]
    column, row = vectors[-1], vectors[0]
    if sum(vectors) == 1 and (column or row):
        return [items]
    between = column and row and not (kinds.mixed or kinds.silent)
    head = vectors[0] and not adjacent(vectors, kinds.row)
    if not (between and head):
        a = source.written(node.span)
        what = f"ambiguous product: `{a}` can be read in two ways: expected brackets or an elementwise sign."
        raise source.error(node.span, what, "Write which vectors are multiplied first: `U (r \\odot h)` or `(U r) \\odot h`.")
    return split(items, vectors, kinds.row)


def adjacent(vectors: list[bool], row: bool) -> bool:
    """Whether a matrix meets two vectors on the side on which it acts."""
    order = vectors[::-1] if row else vectors
    return any(not a and b and c for a, b, c in zip(order, order[1:], order[2:], strict=False))


def split(items: list[Core], vectors: list[bool], row: bool) -> list[list[Core]]:
    found: list[list[Core]] = [[]]
    for item, is_vector in zip(items, vectors, strict=True):
        if row and is_vector and found[-1]:
            found.append([])
        found[-1].append(item)
        if not row and is_vector:
            found.append([])
    return [group for group in found if group]
