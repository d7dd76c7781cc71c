"""Core -> the project's language, from formulas whose products are written out in columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sympy as sp

from derive.along import Steps as NumberOfSteps
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
from derive.onehot import one_hot
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
from derive.pages.errors import Source
from derive.pages.lying import Along, Axes
from derive.pages.reductions import ALONG, OVER_STEPS, TO_A_NUMBER, of_several, over_steps
from derive.pages.shapes import Shapes
from derive.shapes import is_matrix, rank


class Builder:
    """Equations in the language. `axes`: along which names vary, if along any; `tokens`: those that are whole numbers."""

    def __init__(
        self, source: Source, shapes: Shapes, axes: Mapping[str, Axes], along: Along, tokens: Collection[str] = ()
    ) -> None:
        self.source, self.shapes, self.axes, self.along, self.tokens = source, shapes, axes, along, tokens

    def value(self, name: str, lag: int = 0) -> sp.MatrixExpr:
        count, columns = self.shapes.of(name)
        if name in self.tokens:
            return one_hot(Value(name, 1, axes=self.axes[name]), count)
        return Value(name, count, columns, axes=self.axes.get(name, ()), lag=lag)

    def equation(self, definition: Definition) -> sp.Equality:
        left = self.value(definition.name)
        right = self.build(definition.body)
        return Eq(left, right if is_matrix(right) and right.shape == left.shape else filled(right, left))

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
            case Elementwise():
                return self.elementwise(node)
            case MatMul():
                return matmul(*[self.build(item) for item in node.items])
            case Power():
                return self.power(node)
            case Turned():
                return transpose(self.build(node.body))
            case Part():
                return self.part(node)
            case Slice():
                start = self.shapes.size(node.start)
                return rows(self.build(node.body), start, start + self.shapes.size(self.shapes.shape(node)[0]))
            case Several():
                return of_several(node.function, [self.build(part) for part in node.parts])
            case Extent():
                return self.shapes.size((node.name,))
            case Steps():
                return NumberOfSteps(node.axis)
        raise TypeError(node)

    def call(self, node: Call) -> sp.Expr:
        body = self.build(node.body)
        found = over_steps(node.function)
        if found is not None:
            operation, axis = found
            return OVER_STEPS[operation](
                body if is_matrix(body) else scale(body, Ones(1, 1)), self.along.axis(axis, node.body, self.axes)
            )
        if not is_matrix(body):
            return FUNCTIONS[node.function].subs(X, body)
        reduction = TO_A_NUMBER.get(node.function) or ALONG.get(node.function)
        if reduction is not None:
            return reduction(body)
        return diagonal(body) if node.function == "diag" else apply(FUNCTIONS[node.function], body)

    def sum(self, node: Add) -> sp.Expr:
        terms = [self.build(term) for term in node.terms]
        terms = [term if factor == 1 else negative(term) for term, factor in zip(terms, node.factors, strict=True)]
        return add(*terms) if any(is_matrix(term) for term in terms) else sp.Add(*terms)

    def elementwise(self, node: Elementwise) -> sp.Expr:
        parts = [self.build(item) for item in node.items]
        factors = [part for part in parts if is_matrix(part)]
        number = sp.Mul(*[part for part in parts if not is_matrix(part)])
        return scale(number, hadamard(*factors) if len(factors) > 1 else factors[0]) if factors else number

    def power(self, node: Power) -> sp.Expr:
        body = self.build(node.body)
        exponent = sp.Rational(node.exponent.numerator, node.exponent.denominator)
        if not is_matrix(body):
            return body**exponent
        if rank(body) == 2:
            if exponent.is_Integer and 1 < exponent <= 8:
                return matmul(*[body] * int(exponent))
            what = f"the power {exponent} of a matrix isn't read: expected 2, 3, ..."
            raise self.source.error(node.span, what, number_or_vector(node.body).strip() or "Write it out.")
        return apply(X**exponent, body)

    def part(self, node: Part) -> sp.MatrixExpr:
        sizes = [self.shapes.of(name)[0] for name in node.names]
        start = sp.Add(*sizes[: node.at])
        return rows(self.build(node.body), start, start + sizes[node.at])


def filled(number: sp.Expr, like: Value) -> sp.MatrixExpr:
    """A number in each place of a value."""
    return hadamard(number, Ones(*like.shape)) if is_matrix(number) else scale(number, Ones(*like.shape))


def number_or_vector(node: Core) -> str:
    """For a symbol that was taken for a matrix, alone or in a power, and is one number, as a time constant: how to say so."""
    names = {one.name for one in (node, *parts_of(node)) if isinstance(one, Ref)}
    if len(names) != 1:
        return ""
    name = names.pop()
    return f'If {name} is no matrix, say what it is: --let "{name}=5" for a number, --let "{name}=vector" for one number a unit. '


def negative(term: sp.Expr) -> sp.Expr:
    return scale(-1, term) if is_matrix(term) else -term


def read_names(node: Core) -> set[str]:
    if isinstance(node, Ref):
        return {node.name}
    return {name for part in parts_of(node) for name in read_names(part)}
