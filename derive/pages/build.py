"""Core -> the project's language: columns throughout, so that a row `x W` becomes Wᵀ x with W shaped as written, (in, out)."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.blocks import rows, stack
from derive.functions import FUNCTIONS
from derive.language import (
    Eq,
    Identity,
    Ones,
    Value,
    X,
    add,
    apply,
    diagonal,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.pages.core import Add, Call, Concat, Const, Core, Definition, Part, Power, Product, Ref, Turned, Unit, parts_of
from derive.pages.errors import Source
from derive.pages.kinds import MATRIX, VECTOR, Kinds, groups, number_or_vector
from derive.pages.shapes import Shapes
from derive.reductions import softmax
from derive.shapes import STEPS_AND_EXAMPLES, is_matrix


class Builder:
    """Equations in the language. `timed`: the names that depend on inputs or states."""

    def __init__(self, source: Source, kinds: Kinds, shapes: Shapes, timed: set[str]) -> None:
        self.source, self.kinds, self.shapes, self.timed = source, kinds, shapes, timed

    def value(self, name: str, lag: int = 0) -> Value:
        sizes = self.shapes.of(name)
        return Value(
            name, sizes[0], sizes[1] if len(sizes) == 2 else 1, axes=STEPS_AND_EXAMPLES if name in self.timed else (), lag=lag
        )

    def equation(self, definition: Definition) -> sp.Equality:
        left = self.value(definition.name)
        right = self.build(definition.body)
        return Eq(left, right if is_matrix(right) else scale(right, Ones(*left.shape)))

    def build(self, node: Core) -> sp.Expr:
        """A number, or an expression of the language."""
        match node:
            case Const():
                return sp.Rational(node.value.numerator, node.value.denominator)
            case Ref():
                return self.value(node.name, node.lag)
            case Unit():
                return Identity(self.shapes.size(self.shapes.shape(node)[0]))
            case Call():
                return self.call(node)
            case Concat():
                parts = [self.build(part) for part in node.parts]
                return stack(*[part if is_matrix(part) else scale(part, Ones(1, 1)) for part in parts])
            case Add():
                return self.sum(node)
            case Product():
                return self.product(node)
            case Power():
                return self.power(node)
            case Turned():
                body = self.build(node.body)
                return transpose(body) if self.kinds.kind(node.body) == MATRIX else body
            case Part():
                return self.part(node)
        raise TypeError(node)

    def call(self, node: Call) -> sp.Expr:
        body = self.build(node.body)
        if not is_matrix(body):
            return FUNCTIONS[node.function].subs(X, body)
        if node.function == "softmax":
            return softmax(body)
        return diagonal(body) if node.function == "diag" else apply(FUNCTIONS[node.function], body)

    def sum(self, node: Add) -> sp.Expr:
        terms = [self.build(term) for term in node.terms]
        terms = [term if factor == 1 else negative(term) for term, factor in zip(terms, node.factors, strict=True)]
        return add(*terms) if any(is_matrix(term) for term in terms) else sp.Add(*terms)

    def product(self, node: Product) -> sp.Expr:
        number = sp.Mul(*[self.build(item) for item in node.items if self.kinds.kind(item) == "number"])
        factors = [self.group(group) for group in groups(self.source, self.kinds, node) if group]
        if not factors:
            return number
        return scale(number, hadamard(*factors) if len(factors) > 1 else factors[0])

    def group(self, group: list[Core]) -> sp.MatrixExpr:
        """Matrices and one vector, or matrices alone."""
        if self.kinds.kind(group[0]) == VECTOR and len(group) > 1:
            return matmul(*[transpose(self.build(item)) for item in reversed(group[1:])], self.build(group[0]))
        return matmul(*[self.build(item) for item in group]) if len(group) > 1 else self.build(group[0])

    def power(self, node: Power) -> sp.Expr:
        body = self.build(node.body)
        exponent = sp.Rational(node.exponent.numerator, node.exponent.denominator)
        if not is_matrix(body):
            return body**exponent
        if self.kinds.kind(node.body) == MATRIX:
            if exponent.is_Integer and 1 < exponent <= 8:
                return matmul(*[body] * int(exponent))
            what = f"the power {exponent} of a matrix isn't read: expected 2, 3, ..."
            raise self.source.error(node.span, what, number_or_vector(node.body).strip() or "Write it out.")
        return apply(X**exponent, body)

    def part(self, node: Part) -> sp.MatrixExpr:
        sizes = [self.shapes.of(name)[0] for name in node.names]
        start = sp.Add(*sizes[: node.at])
        return rows(self.build(node.body), start, start + sizes[node.at])


def negative(term: sp.Expr) -> sp.Expr:
    return scale(-1, term) if is_matrix(term) else -term


def timed_names(definitions: Sequence[Definition], sources: set[str]) -> set[str]:
    """The sources and whatever depends on them."""
    timed = set(sources)
    while True:
        more = {one.name for one in definitions if one.name not in timed and any(name in timed for name in read_names(one.body))}
        if not more:
            return timed
        timed |= more


def read_names(node: Core) -> set[str]:
    if isinstance(node, Ref):
        return {node.name}
    return {name for part in parts_of(node) for name in read_names(part)}
