"""Every VJP and every JVP rule, proved by components at two shapes; the tables of `derive.rules` say what there is to prove.

For y = f(a, b, ...) with free components, SymPy's `diff` gives J = dy/d(a, b, ...). The JVP rule must be J applied to free tangents, the
VJP rule Jᵀ applied to a free cotangent, and <ȳ, ẏ> the same from both sides: all as polynomials, see `tests.derive.exact`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
import sympy as sp
from sympy import MatrixExpr as Matrix

from derive import rules
from derive.along import AlongAxis, Steps
from derive.blocks import Repeat, Rows, Stack, repeat, rows, stack
from derive.comparisons import Above, AtLeast, Maximum, Minimum, above, at_least, maximum, minimum
from derive.expressions import LEGAL
from derive.functions import FUNCTIONS, absolute, derivative, elu, hardtanh, relu, sigma, sign, softplus, softsign, step
from derive.language import (
    Apply,
    Diagonal,
    Hadamard,
    Identity,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    X,
    Zeros,
    add,
    apply,
    coefficient,
    hadamard,
    matmul,
    matrix,
    number,
    scale,
    transpose,
    vector,
)
from derive.onehot import OneHot
from derive.reductions import (
    Cumulative,
    FirstLargest,
    Largest,
    LogSoftmax,
    LogSumExp,
    Softmax,
    Total,
    cumulative,
    first_largest,
    largest,
    log_softmax,
    logsumexp,
    softmax,
    total,
)
from tests.derive.exact import Array, Components, Scalars, derivatives, free, function_of

u, v, w = vector("u", 2), vector("v", 2), vector("w", 2)
p, q, r = vector("p", 3), vector("q", 3), vector("r", 3)
A, B, C = matrix("A", 2, 3), matrix("B", 3, 2), matrix("C", 2, 3)
k, m = number("k"), number("m")

CASES: dict[type, list[Matrix]] = {
    Plus: [add(u, v), add(A, C, scale(-1, transpose(B))), add(k, m), add(u, k), add(k, A)],
    Times: [
        matmul(A, p),
        matmul(transpose(B), B, A, p),
        matmul(u, transpose(p)),
        matmul(A, B),
        matmul(transpose(u), v),
        matmul(transpose(u), A, p),
        matmul(A, p, transpose(u)),
        matmul(transpose(p), B),
        matmul(A, Identity(3), p),
    ],
    rules.Scaled: [scale(sp.Rational(-3, 2), matmul(A, p)), scale(5, A), scale(2, k), scale(sp.Rational(1, 3), transpose(p))],
    rules.Negated: [scale(-1, u), scale(-1, A), scale(-1, k)],
    Hadamard: [
        hadamard(u, v),
        hadamard(p, q, r, p),
        hadamard(A, C),
        hadamard(k, m),
        hadamard(k, u),
        hadamard(k, A),
        hadamard(u, k, v, m),
        hadamard(k, A, C),
        hadamard(k, Ones(2, 1)),
        hadamard(m, k, Ones(2, 3)),
        hadamard(k, matmul(transpose(u), v)),
        hadamard(k, transpose(p)),
    ],
    Apply: [
        coefficient(apply(scalar, a))[1]
        for scalar in [*FUNCTIONS.values(), 1 / X, X**3 - 2 * X]
        if scalar != X
        for a in (u, A, k)
    ],
    Maximum: [maximum(u, v), maximum(A, C), maximum(k, m), maximum(p, 2), maximum(k, u)],
    Minimum: [minimum(u, v), minimum(A, C), minimum(k, m), minimum(p, 2), minimum(u, k)],
    AtLeast: [at_least(u, v), at_least(A, C)],
    Above: [above(u, v), above(A, C)],
    Transposed: [transpose(A), transpose(p)],
    Stack: [stack(u, p), stack(A, C, transpose(B)), stack(u, u), stack(k, u, m), stack(transpose(u), B)],
    Rows: [rows(u, 1, 2), rows(p, 0, 2), rows(B, 1, 3), rows(vector("long", 5), 1, 4)],
    Repeat: [repeat(u, 2), repeat(p, 3)],
    Softmax: [softmax(u), softmax(p)],
    Total: [total(u), total(p), total(A), total(matmul(A, p))],
    Largest: [largest(u), largest(p), largest(matmul(A, p))],
    FirstLargest: [first_largest(u), first_largest(p)],
    LogSumExp: [logsumexp(u), logsumexp(p)],
    LogSoftmax: [log_softmax(u), log_softmax(p)],
    Cumulative: [cumulative(u), cumulative(p), cumulative(p, backwards=True), cumulative(B)],
}
"""Nodes of each kind, of at least two shapes, with operands that are values or expressions of values."""

ALONG = {kind for kind in LEGAL if issubclass(kind, AlongAxis)}
"""Nodes along the steps: `test_along.py`."""
CONSTANT = {Value, Ones, Zeros, Identity, Steps, OneHot}
"""Nodes that need no rule: a value is where a sweep ends, the others have no operand that could vary."""

DERIVED_ONLY = {Diagonal}
"""Nodes that stand in Jacobians only, which nothing differentiates again."""


# ---- the tables


def test_every_node_of_the_language_has_rules_or_needs_none() -> None:
    assert set(rules.VJP) == set(rules.JVP) == set(LEGAL) - CONSTANT - DERIVED_ONLY | {rules.Scaled, rules.Negated}


@pytest.mark.parametrize("kind", [kind for kind in (*rules.VJP, *rules.JVP) if kind not in ALONG])
def test_every_rule_has_cases_of_two_shapes(kind: type) -> None:
    shapes = {(node.shape, *[part.shape for part in rules.operation(node)[1]]) for node in CASES[kind]}
    assert len(shapes) >= 2, f"add cases of {kind.__name__} to CASES"
    assert all(rules.operation(node)[0] is kind for node in CASES[kind])


@pytest.mark.parametrize("rule", [*rules.VJP.values(), *rules.JVP.values()])
def test_every_rule_states_its_identity(rule: rules.Rule) -> None:
    assert rules.identity_of(rule).startswith("y = ")


# ---- components


def constant(name: str, like: Matrix) -> Value:
    """A value of the shape of another expression."""
    return Value(name, like.shape[0], like.shape[1], axes=())


class Instance:
    """One node with a free symbol for each component of each operand; operands are taken as independent.

    y, the cotangent and the tangents are values of their own, as the engine has them.
    """

    def __init__(self, node: Matrix) -> None:
        self.kind = rules.operation(node)[0]
        self.operands = [constant(f"a{k}", part) for k, part in enumerate(rules.operation(node)[1])]
        self.node = self.with_operands(node)
        self.y, self.cotangent = (constant(name, node) for name in ("y", "bar y"))
        self.tangents = [constant(f"dot {a.name}", a) for a in self.operands]
        self.value = self.components(self.node)

    def with_operands(self, node: Matrix) -> Matrix:
        """The node over the operands; made past the constructors, which would simplify."""
        if self.kind in (rules.Scaled, rules.Negated):
            return scale(coefficient(node)[0], self.operands[0])
        rest = iter(self.operands)
        parts = [next(rest) if isinstance(part, Matrix) else part for part in node.args]
        return type(node)(*parts, **({"evaluate": False} if isinstance(node, (Plus, Times)) else {}))  # type: ignore[no-any-return]

    def components(self, expression: Matrix) -> Array:
        """As SymPy scalars."""
        return Components(lambda a: self.value if a == self.y else free(a, None, {}), function_of, {})(expression)

    def slopes(self, operand: Value) -> Array:
        """dy/da, with the two indices of y first and those of a last."""
        return np.array([[derivatives(part, free(operand, None, {})) for part in row] for row in self.value], dtype=object)

    def vjp(self) -> Sequence[Matrix]:
        return rules.VJP[self.kind](self.cotangent, self.y, self.node, *self.operands)  # type: ignore[no-any-return]

    def jvp(self, moving: tuple[Value, ...]) -> Matrix:
        tangents = [dot if a in moving else None for a, dot in zip(self.operands, self.tangents, strict=True)]
        return rules.JVP[self.kind](self.y, self.node, self.operands, tangents)


def equal(found: Array, expected: Array) -> bool:
    """Whether two arrays of SymPy scalars are the same polynomials."""
    scalars = Scalars()
    pairs = zip(found.flat, expected.flat, strict=True)
    return found.shape == expected.shape and all(scalars(a) == scalars(b) for a, b in pairs)


EVERY_CASE = pytest.mark.parametrize(("kind", "k"), [(kind, k) for kind in rules.VJP for k in range(len(CASES.get(kind, [])))])


@EVERY_CASE
def test_vjp_is_the_transposed_jacobian(kind: type, k: int) -> None:
    instance = Instance(CASES[kind][k])
    cotangent = instance.components(instance.cotangent)
    for operand, found in zip(instance.operands, instance.vjp(), strict=True):
        assert equal(instance.components(found), np.tensordot(cotangent, instance.slopes(operand), 2))


@EVERY_CASE
def test_jvp_is_the_jacobian_whatever_moves(kind: type, k: int) -> None:
    instance = Instance(CASES[kind][k])
    images = {
        operand: np.tensordot(instance.slopes(operand), instance.components(dot), 2)
        for operand, dot in zip(instance.operands, instance.tangents, strict=True)
    }
    for count in range(1, len(images) + 1):
        for moving in combinations(images, count):
            assert equal(instance.components(instance.jvp(moving)), np.sum([images[operand] for operand in moving], axis=0))


@EVERY_CASE
def test_vjp_and_jvp_are_adjoint(kind: type, k: int) -> None:
    instance = Instance(CASES[kind][k])
    forward = instance.components(instance.cotangent) * instance.components(instance.jvp(tuple(instance.operands)))
    pairs = zip(instance.vjp(), instance.tangents, strict=True)
    back = sum((instance.components(bar) * instance.components(dot)).sum() for bar, dot in pairs)
    assert equal(np.array(forward.sum()), np.array(back))


# ---- the slopes of the functions


CLOSED: Mapping[type, Callable[[sp.Expr], sp.Expr]] = {
    sigma: lambda a: 1 / (1 + sp.exp(-a)),
    softplus: lambda a: sp.log(1 + sp.exp(a)),
    relu: lambda a: a if a.is_positive else sp.S.Zero,
    step: lambda a: sp.Piecewise((1, a > 0), (0, True)),
    elu: lambda a: a if a.is_positive else sp.exp(a) - 1,
    absolute: lambda a: a if a.is_positive else -a,
    sign: lambda a: sp.S.One if a.is_positive else -sp.S.One,
    hardtanh: lambda a: sp.Piecewise((-1, a <= -1), (1, a >= 1), (a, True)),
    softsign: lambda a: a / (1 + a) if a.is_positive else a / (1 - a),
}
"""What our own functions stand for."""


def closed(scalar: sp.Expr, argument: sp.Expr) -> sp.Expr:
    """The function of an argument whose sign is known, in SymPy's own functions."""
    if scalar == X:
        return argument
    parts = [closed(part, argument) for part in scalar.args]
    return CLOSED.get(type(scalar), scalar.func)(*parts) if parts else scalar


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivative_of_every_function_is_that_of_its_closed_form(name: str, side: int) -> None:
    t = sp.Symbol("t", positive=True)
    argument = side * t
    slope = sp.diff(closed(FUNCTIONS[name], argument), t) / sp.diff(argument, t)
    assert sp.simplify(sp.piecewise_fold((slope - closed(derivative(FUNCTIONS[name]), argument)).rewrite(sp.exp))) == 0
