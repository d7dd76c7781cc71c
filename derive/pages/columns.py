"""Products as the language has them: every vector a column, every product a matrix product or an elementwise one.

A page that writes rows, `x W`, becomes the same step in columns, Wᵀ x; the outer product kᵀ v of rows is k vᵀ of columns. A row that is
the value of a formula, `x^\\top W`, becomes its column. diag(v) in front of a column is v ∘ the column; elsewhere it stays a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from derive.pages.core import (
    Add,
    Call,
    Core,
    Definition,
    Elementwise,
    Inner,
    MatMul,
    Product,
    Ref,
    Taken,
    Turned,
    is_diagonal,
    parts_of,
    with_parts,
)
from derive.pages.errors import Span
from derive.pages.kinds import Kinds, runs
from derive.pages.relations import LOOSE, MATRIX, NUMBER, ROW, VECTOR, VECTORS, Kind, product_of


def without_names_of_diagonals(definitions: Sequence[Definition]) -> list[Definition]:
    """The definitions with diag(v) in the place of a symbol that the page defines as that."""
    named = {one.name: one.body for one in definitions if is_diagonal(one.body)}
    return [replace(one, body=substituted(one.body, named)) for one in definitions if one.name not in named]


def substituted(node: Core, named: dict[str, Core]) -> Core:
    if isinstance(node, Ref) and node.lag == 0 and node.name in named:
        return replace(named[node.name], span=node.span)
    return with_parts(node, [substituted(part, named) for part in parts_of(node)])


def entries(node: Core) -> Core:
    """The v of diag(v)."""
    assert isinstance(node, (Call, Turned))
    return node.body if isinstance(node, Call) else entries(node.body)


class Columns:
    """Formulas with their products written out. Raises PageError where factors can be multiplied in two ways."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds, self.source, self.row = kinds, kinds.source, bool(kinds.row)

    def definitions(self) -> list[Definition]:
        return [replace(one, body=self.of(one.body)) for one in self.kinds.definitions]

    def of(self, node: Core) -> Core:
        """The formula in columns; a row becomes the column that it is the transpose of."""
        match node:
            case Product():
                return self.product(node)
            case Inner():
                return MatMul((Turned(self.of(node.left), node.left.span), self.of(node.right)), node.span)
            case Taken():
                matrix, token = map(self.of, node.items)
                return MatMul((Turned(matrix, matrix.span) if self.row else matrix, token), node.span)
            case MatMul():
                factors = [self.factor(item) for item in node.items]
                column = self.kinds.kind(node.items[-1]) == VECTOR
                return self.applied(factors, node.span) if column else MatMul(tuple(factors), node.span)
            case Turned() if is_diagonal(node) or self.kinds.kind(node) != MATRIX:
                return self.of(node.body)
        return with_parts(node, [self.of(part) for part in parts_of(node)])

    def factor(self, item: Core) -> Core:
        """A factor of a product that is written out already: a transposed vector stays one."""
        return Turned(self.of(item.body), item.span) if isinstance(item, Turned) else self.of(item)

    # ---- products

    def product(self, node: Product) -> Core:
        """Its runs, each written out, multiplied elementwise, or as an outer product."""
        factors: list[Core] = []
        before: Kind = frozenset({NUMBER})
        for sign, run, kind in zip(("", *self.signs(node)), runs(node), self.kinds.top(node)[0], strict=True):
            more = self.run(node, run)
            if sign == "tensor" and before <= VECTORS and kind <= VECTORS and self.kinds.kind(node) == MATRIX:
                right = Turned(whole(more, node.span), node.span)
                factors, before = [MatMul((whole(factors, node.span), right), node.span)], frozenset({MATRIX})
            else:
                factors, before = [*factors, *more], kind if before == {NUMBER} else before
        return whole(factors, node.span)

    def signs(self, node: Product) -> list[str]:
        return [sign for sign in node.signs if sign not in LOOSE]

    def run(self, node: Product, run: Sequence[Core]) -> list[Core]:
        """The factors, to be multiplied elementwise, of what stands side by side."""
        numbers = [self.of(item) for item in run if self.kinds.kind(item) == NUMBER]
        items = [item for item in run if self.kinds.kind(item) != NUMBER]
        strict = any(self.kinds.kinds(item) == {ROW} for item in items)
        groups = self.cut(items) if strict else self.groups(node, items)
        return [*numbers, *[self.chain(group) for group in groups]]

    def kind(self, item: Core) -> str:
        (kind,) = self.kinds.kinds(item)
        return kind

    def cut(self, items: Sequence[Core]) -> list[list[Core]]:
        """Factors among which a transposed vector stands, cut behind what is a number: `q^\\top k v` is (q^T k) v."""
        groups: list[list[Core]] = [[]]
        kind = NUMBER
        for item in items:
            if kind == NUMBER and groups[-1]:
                groups.append([])
            (kind,) = product_of(kind, self.kind(item), self.row, strict=True)
            groups[-1].append(item)
        return groups

    def groups(self, node: Product, items: list[Core]) -> list[list[Core]]:
        """Factors with those together that a vector ends, in columns, or begins, in rows; groups are multiplied elementwise. Raises
        PageError where that can't be told."""
        vectors = [self.kinds.kind(item) == VECTOR for item in items]
        if all(vectors):
            return [[item] for item in items]
        if not any(vectors) or (sum(vectors) == 1 and (vectors[0] or vectors[-1])):
            return [items]
        between = vectors[0] and vectors[-1] and not (self.kinds.mixed or self.kinds.silent)
        if not between or adjacent(vectors, self.row):
            what = f"ambiguous product: `{self.source.written(node.span)}` can be read in two ways: "
            what += "expected brackets or an elementwise sign."
            todo = "Write which vectors are multiplied first: `U (r \\odot h)` or `(U r) \\odot h`."
            capitals = [
                one.name
                for one, known in zip(items, vectors, strict=True)
                if known and isinstance(one, Ref) and one.name.isupper()
            ]
            if capitals:
                todo += (
                    f" For a product of matrices declare `{'; '.join(f'{name} = matrix' for name in dict.fromkeys(capitals))}`."
                )
            raise self.source.error(node.span, what, todo)
        return split(items, vectors, self.row)

    def chain(self, items: Sequence[Core]) -> Core:
        """A matrix product; where its value is a row, the column that it is the transpose of."""
        if len(items) == 1:
            return self.of(items[0])
        stands = [MATRIX if self.kind(item) == MATRIX else self.kind(item) == (ROW if self.row else VECTOR) for item in items]
        if stands[-1] is False and stands[0] == MATRIX and True not in stands:
            stands[-1] = True  # `U h^\\top`: a column all the same
        span = (items[0].span[0], items[-1].span[1])
        made = [flipped(self.of(item)) if column is False else self.of(item) for item, column in zip(items, stands, strict=True)]
        if stands[0] is False and stands[-1] is not True:
            made = [flipped(item) for item in reversed(made)]
            return self.applied(made, span)
        return self.applied(made, span) if stands[-1] is True else MatMul(tuple(made), span)

    def applied(self, factors: Sequence[Core], span: Span) -> Core:
        """A product that ends in a column, each diagonal matrix applied to all that follows it."""
        value, waiting = factors[-1], list[Core]()
        for factor in reversed(factors[:-1]):
            if any(is_diagonal(one) for one in (factor, *(factor.terms if isinstance(factor, Add) else ()))):
                value, waiting = self.on(factor, joined(waiting, value, span), span), []
            else:
                waiting.insert(0, factor)
        return joined(waiting, value, span)

    def on(self, factor: Core, column: Core, span: Span) -> Core:
        if isinstance(factor, Add):
            return replace(factor, terms=tuple(self.on(term, column, span) for term in factor.terms), span=span)
        if is_diagonal(factor):
            return Elementwise((column, entries(factor)) if self.row else (entries(factor), column), span)
        return joined([factor], column, span)


def joined(matrices: Sequence[Core], column: Core, span: Span) -> Core:
    return MatMul((*matrices, column), span) if matrices else column


def flipped(node: Core) -> Core:
    """The transpose."""
    if isinstance(node, Add) and any(is_diagonal(term) for term in node.terms):
        return with_parts(node, [flipped(term) for term in node.terms])
    return node.body if isinstance(node, Turned) else node if is_diagonal(node) else Turned(node, node.span)


def whole(factors: Sequence[Core], span: Span) -> Core:
    return factors[0] if len(factors) == 1 else Elementwise(tuple(factors), span)


def adjacent(vectors: Sequence[bool], row: bool) -> bool:
    """Whether a matrix meets two vectors on the side on which it acts."""
    order = vectors[::-1] if row else vectors
    return any(not a and b and c for a, b, c in zip(order, order[1:], order[2:], strict=False))


def split(items: Sequence[Core], vectors: Sequence[bool], row: bool) -> list[list[Core]]:
    found: list[list[Core]] = [[]]
    for item, is_vector in zip(items, vectors, strict=True):
        if row and is_vector and found[-1]:
            found.append([])
        found[-1].append(item)
        if not row and is_vector:
            found.append([])
    return [group for group in found if group]
