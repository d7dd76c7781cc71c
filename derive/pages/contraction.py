"""Sums over components -> formulas without indices: `\\sum_j W_{ij} x_j` is W x, `\\sum_j x_j y_j` an inner product.

Each formula is taken to what it is without indices and the letters that its rows, and its columns, answer to: none for a number, one for
a vector, two for a matrix. What a sum is taken of is a product of such; the letters that it binds are taken out one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from derive.functions import FUNCTIONS
from derive.pages.columns import Columns
from derive.pages.core import (
    Add,
    At,
    Call,
    Const,
    Core,
    Definition,
    Elementwise,
    Extent,
    Inner,
    MatMul,
    Over,
    Power,
    Product,
    Ref,
    Several,
    Turned,
    parts_of,
    with_parts,
)
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import Kinds
from derive.pages.relations import MATRIX, NUMBER, VECTOR
from derive.pages.shapes import ONE, Shapes

Indexed = tuple[Core, tuple[str, ...]]
"""A formula without indices, and the letters of its rows and columns."""
KEEPING = ("softmax", "logsoftmax", "layernorm", "rmsnorm", "cumsum", "cumax")
"""Functions of all elements that give a vector of as many."""


class Contraction:
    """The equations of a cell without indices, and what the indices say besides.

    kinds: the symbols that are vectors or matrices, as they have components. numbers: what stands in an indexed formula without an
    index, with the letter, and has to be a number. sizes: (a vector or a matrix, 0 for its rows and 1 for its columns, their number).
    """

    def __init__(self, source: Source, definitions: Sequence[Definition]) -> None:
        self.source = source
        self.kinds: dict[str, str] = {}
        self.numbers: list[tuple[Core, str]] = []
        self.sizes: list[tuple[Core, int, str]] = []
        self.definitions = [self.definition(one) for one in definitions]

    def definition(self, one: Definition) -> Definition:
        if not (one.indices or holds_index(one.body)):
            return one
        if one.indices:
            self.note(Ref(one.name, 0, one.span), one.indices)
        body, indices = self.formula(one.body)
        if set(indices) != set(one.indices):
            raise self.unlike(one.span, one.indices, indices)
        return replace(one, body=Turned(body, body.span) if indices != one.indices else body, indices=())

    def unlike(self, span: Span, left: Sequence[str], right: Sequence[str]) -> PageError:
        written = self.source.written(span)
        what = f"`{written}` has {shown_indices(left)}: expected the same on the right side, got {shown_indices(right)}."
        return self.source.error(span, what, "Write the index at every vector, or at none.")

    # ---- formulas

    def formula(self, node: Core) -> Indexed:
        if not holds_index(node):
            return node, ()
        match node:
            case At():
                return self.component(node)
            case Over():
                return self.over(node)
            case Add() | Several():
                made, indices = self.alike(node, [self.formula(part) for part in parts_of(node)])
                return with_parts(node, made), indices
            case Product():
                return self.product([self.formula(item) for item in node.items], node)
            case Power():
                body, indices = self.formula(node.body)
                exponent = Const(node.exponent, node.span)
                return (Several("power", (body, exponent), node.span) if len(indices) > 1 else replace(node, body=body)), indices
            case Call() if node.function in FUNCTIONS or node.function in KEEPING:
                body, indices = self.formula(node.body)
                if len(indices) > 1 and node.function in KEEPING:
                    raise self.unread(node, f"`{node.function}` of a matrix")
                return replace(node, body=body), indices
        parts = [self.formula(part) for part in parts_of(node)]
        if any(indices for _, indices in parts):
            raise self.unread(node, "an index in it")
        return with_parts(node, [part for part, _ in parts]), ()

    def unread(self, node: Core, what: str) -> PageError:
        written = self.source.written(node.span)[:80]
        todo = "Write it without indices, or give its parts names of their own."
        return self.source.error(node.span, f"{what} isn't read, in `{written}`: expected sums and products of components.", todo)

    def component(self, node: At) -> Indexed:
        body, inner = self.formula(node.body)
        if inner or len(node.indices) > 2 or len(set(node.indices)) < len(node.indices):
            raise self.unread(node, f"the index {' '.join(node.indices)}")
        symbol = body.body if isinstance(body, Turned) else body
        self.note(symbol, node.indices)
        return replace(body, span=node.span) if isinstance(body, Ref) else body, node.indices

    def note(self, symbol: Core, indices: tuple[str, ...]) -> None:
        """A symbol with one index is a vector, one with two a matrix."""
        if isinstance(symbol, Ref):
            kind = VECTOR if len(indices) == 1 else MATRIX
            if self.kinds.setdefault(symbol.name, kind) != kind:
                what = f"`{self.source.written(symbol.span)}` stands with one index and with two: expected one or the other."
                raise self.source.error(symbol.span, what, "A vector has one index, a matrix two.")

    def alike(self, node: Core, parts: Sequence[Indexed]) -> tuple[list[Core], tuple[str, ...]]:
        """Parts of one shape: those with an index have the same, the others are numbers."""
        indices = next((indices for _, indices in parts if indices), ())
        made: list[Core] = []
        for part, own in parts:
            if own and set(own) != set(indices):
                raise self.unread(node, f"the index {' '.join(own)} beside {' '.join(indices)}")
            if indices and not own:
                self.require_number(part, indices[0])
            made.append(Turned(part, part.span) if own and own != indices else part)
        return made, indices

    def require_number(self, part: Core, letter: str) -> None:
        if not isinstance(part, (Const, Extent)):
            self.numbers.append((part, letter))

    # ---- products

    def product(self, factors: Sequence[Indexed], node: Product) -> Indexed:
        """Factors that nothing sums over."""
        if not any(indices for _, indices in factors):
            return replace(node, items=tuple(factor for factor, _ in factors)), ()
        return self.combined(factors, node)

    def combined(self, factors: Sequence[Indexed], node: Core) -> Indexed:
        """A number, a vector, or a matrix: rows scaled by what has their index, columns by what has theirs."""
        letters = list(
            dict.fromkeys(letter for _, indices in sorted(factors, key=lambda one: -len(one[1])) for letter in indices)
        )
        numbers = [factor for factor, indices in factors if not indices]
        for number in numbers if letters else ():
            self.require_number(number, letters[0])
        if len(letters) > 2:
            raise self.unread(node, f"a product with the indices {' '.join(letters)}")
        sides = [self.joined([factor for factor, indices in factors if indices == (letter,)], node) for letter in letters]
        matrix = self.joined([oriented(one, letters) for one in factors if len(one[1]) == 2], node)
        return scaled(numbers, placed(matrix, sides, node.span), node.span), tuple(letters)

    def joined(self, factors: Sequence[Core], node: Core) -> Core | None:
        """An elementwise product; None of nothing."""
        if len(factors) < 2:
            return factors[0] if factors else None
        return Elementwise(tuple(factors), node.span)

    # ---- sums and the like

    def over(self, node: Over) -> Indexed:
        if node.function != "sum":
            return self.reduced(node)
        bound: dict[str, str | None] = {}
        body: Core = node
        while isinstance(body, Over) and body.function == "sum":
            bound[body.index] = body.extent
            body = body.body
        if isinstance(body, Add):
            return self.sum_of_sums(body, bound, node)
        return self.contracted(self.factors(body), bound, node)

    def sum_of_sums(self, body: Add, bound: dict[str, str | None], node: Over) -> Indexed:
        """`\\sum_i (x_i - m)^2` is one sum, `\\sum_j (W_{ij} x_j + b_j)` a sum of two."""
        parts = [self.formula(term) for term in body.terms]
        if len(bound) == 1 and all(set(indices) <= set(bound) for _, indices in parts):
            terms, indices = self.alike(body, parts)
            return self.contracted([(replace(body, terms=tuple(terms)), indices)], bound, node)
        sums = [self.contracted(self.factors(term), bound, node) for term in body.terms]
        made, indices = self.alike(node, sums)
        return replace(body, terms=tuple(made)), indices

    def factors(self, node: Core) -> list[Indexed]:
        """The factors of a product, those of its factors too."""
        if isinstance(node, Product) and holds_index(node):
            return [factor for item in node.items for factor in self.factors(item)]
        return [self.formula(node)]

    def reduced(self, node: Over) -> Indexed:
        """`\\max_j x_j`, and `\\operatorname{softmax}_j x_j`, which keeps its index."""
        body, indices = self.formula(node.body)
        if indices != (node.index,):
            raise self.nothing_carries(node, node.index)
        self.measured(body, 0, node.extent)
        return Call(node.function, body, node.span), indices if node.function in KEEPING else ()

    def nothing_carries(self, node: Over, letter: str) -> PageError:
        written = self.source.written(node.span)[:80]
        what = f"`{written}` runs over {letter}: expected components that carry {letter}."
        todo = f"Write the index at each vector, as in `x_{{t,{letter}}}`; without an index a function of all elements is written f(x)."
        return self.source.error(node.span, what, todo)

    def measured(self, body: Core, axis: int, extent: str | None) -> None:
        if extent is not None:
            self.sizes.append((body, axis, extent))

    def contracted(self, factors: list[Indexed], bound: dict[str, str | None], node: Over) -> Indexed:
        """The sum of a product over the letters that are bound, the ones with the fewest matrices first."""
        left = list(factors)
        for number in (factor for factor, indices in factors if not indices):
            self.require_number(number, next(iter(bound)))
        for letter in bound:
            found = [(one, indices) for one, indices in left if letter in indices]
            for one, indices in found[:1]:
                self.measured(one, indices.index(letter), bound[letter])
        waiting = list(bound)
        while waiting:
            letter = min(waiting, key=lambda one: order(one, left))
            waiting.remove(letter)
            held = [one for one in left if letter in one[1]]
            left = [one for one in left if letter not in one[1]] + [self.without(letter, held, bound[letter], node)]
        return self.combined(left, node)

    def without(self, letter: str, factors: Sequence[Indexed], extent: str | None, node: Over) -> Indexed:
        """The sum over one letter of the factors that carry it."""
        if not factors:
            if extent is None:
                raise self.nothing_carries(node, letter)
            return Extent(extent, node.span), ()
        vectors = [factor for factor, indices in factors if len(indices) == 1]
        others = list(dict.fromkeys(one for _, indices in factors for one in indices if one != letter))
        vector = self.joined(vectors, node)
        if not others and vector is not None:
            return Inner(vectors[0], vectors[1], node.span) if len(vectors) == 2 else Call("sum", vector, node.span), ()
        sides = [
            self.joined([oriented(one, order) for one in factors if set(one[1]) == set(order)], node)
            for order in [(other, letter) if at == 0 else (letter, other) for at, other in enumerate(others)]
        ]
        matrices = [side for side in sides if side is not None]
        if len(others) > 2 or (len(others) == 1 and vector is None):
            raise self.unread(node, f"the sum over {letter}")
        if len(others) == 1 and vector is not None:
            return MatMul((matrices[0], vector), node.span), (others[0],)
        middle = [] if vector is None else [Call("diag", vector, vector.span)]
        return MatMul((matrices[0], *middle, matrices[1]), node.span), (others[0], others[1])

    # ---- what the whole cell has to say

    def require_numbers(self, kinds: Kinds) -> None:
        """Raises PageError where what stands without an index in an indexed formula isn't known to be a number."""
        for part, letter in self.numbers:
            if kinds.kind(part) != NUMBER:
                written = self.source.written(part.span)[:80]
                what = f"`{written}` stands without the index {letter} beside what carries it: expected a number, or a component."
                todo = f"Write its index too, or put it in front of the sum; of several vectors, one for each {letter}, write each term."
                raise self.source.error(part.span, what, todo)

    def unify(self, shapes: Shapes, columns: Columns) -> None:
        """Give the sizes their names. Raises PageError where one is another's."""
        for body, axis, name in self.sizes:
            shape = shapes.shape(columns.of(body))
            shapes.same((shape[axis], ONE), ((name,), ONE), body.span, body.span)
            shapes.given.add(name)


def order(letter: str, factors: Sequence[Indexed]) -> tuple[int, bool]:
    """What to sum over first: the letter of the fewest matrices, of their columns before their rows."""
    matrices = [indices for _, indices in factors if letter in indices and len(indices) == 2]
    return len(matrices), any(indices[0] == letter for indices in matrices)


def shown_indices(letters: Sequence[str]) -> str:
    return f"the index {' '.join(letters)}" if letters else "no index"


def holds_index(node: Core) -> bool:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (At, Over)):
            return True
        waiting.extend(parts_of(one))
    return False


def oriented(factor: Indexed, letters: Sequence[str]) -> Core:
    """A matrix with its rows and columns in this order."""
    core, indices = factor
    return Turned(core, core.span) if list(indices) != list(letters) else core


def placed(matrix: Core | None, sides: Sequence[Core | None], span: Span) -> Core | None:
    """A matrix with its rows and columns scaled, the outer product of two vectors, or a vector."""
    present = [side for side in sides if side is not None]
    if matrix is None and len(sides) < 2:
        return present[0] if present else None
    if matrix is None:
        return MatMul((present[0], Turned(present[1], span)), span)
    rows, columns = ([Call("diag", side, side.span)] if side is not None else [] for side in sides)
    return MatMul((*rows, matrix, *columns), span) if present else matrix


def scaled(numbers: Sequence[Core], body: Core | None, span: Span) -> Core:
    """A product with numbers."""
    factors = (*numbers, *([body] if body is not None else []))
    return factors[0] if len(factors) == 1 else Elementwise(factors, span)
