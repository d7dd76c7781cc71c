"""Every node, lowered and printed, against the interpreter of expressions, which shares no code with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.along import AlongAxis, Steps
from derive.blocks import repeat, rows, stack
from derive.comparisons import above, at_least, maximum, minimum
from derive.expressions import LEGAL, values_in
from derive.functions import FUNCTIONS
from derive.language import (
    Diagonal,
    Identity,
    Ones,
    Value,
    X,
    Zeros,
    add,
    apply,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.onehot import OneHot
from derive.procedures.lowering import LOWERING
from derive.procedures.procedure import OPERATIONS, Operand, parts_of
from derive.reductions import (
    LogSoftmax,
    cumulative,
    first_largest,
    largest,
    logsumexp,
    softmax,
    total,
)
from derive.targets.numpy.expressions import PRINTING
from tests.odd_cells import D, H, K, M
from tests.procedures.printed import expected, lowered, run

TIMED = ("T", "B")
x, h, g = Value("x", D), Value("h", H), Value("g", H)
A, C, P = Value("A", H, D), Value("C", H, K), Value("P", H, H)
n, s = Value("n", 1), Value("s", 1)
W, U, V, b, c, a = (Value(name, *shape, axes=()) for name, *shape in (
    ("W", H, D), ("U", H, H), ("V", H, K), ("b", H), ("c", K), ("a", 1),
))  # fmt: skip
of_step, of_example, seed = Value("z", H, axes=("T",)), Value("y", H, axes=("B",)), Value("e", H, axes=("directions",))
ELSEWHERE = (AlongAxis, Steps, OneHot, LogSoftmax)
"""Nodes along the steps, of tokens, and of stable forms: `derive/test_along.py`, `test_tokens.py`, `derive/test_stable.py`."""
NODES: dict[str, tuple[sp.MatrixExpr, type]] = {}


def shown(kind: type, *expressions: sp.MatrixExpr) -> None:
    """Expressions that hold a node of a kind."""
    for k, expression in enumerate(expressions):
        NODES[f"{kind.__name__}-{k}"] = expression, kind


for kind, examples in {
    "Value": [h, C, n, W, b, a],
    "Plus": [add(h, b), add(h, -g, b), add(h, n), add(C, V, a), add(b, b), add(n, s, a), add(C, n), 1 - h, scale(-1, h) - 1],
    "Times": [
        *[matmul(W, x), matmul(A, x), matmul(P, b), matmul(W, b.like(name="q", rows=D)), scale(sp.Rational(1, 3), matmul(W, x))],
        *[matmul(transpose(h), g), matmul(transpose(h), b), matmul(transpose(b), b), matmul(transpose(h), P, g)],
        *[matmul(h, transpose(x)), matmul(b, transpose(x)), matmul(h, transpose(c)), matmul(b, transpose(c))],
        *[
            matmul(transpose(P), C),
            matmul(U, C),
            matmul(C, transpose(V)),
            matmul(U, V),
            matmul(P, U, C),
            matmul(h, transpose(g), C),
        ],
        *[transpose(matmul(transpose(h), C)), transpose(matmul(transpose(b), C)), transpose(matmul(transpose(h), V))],
        *[matmul(Ones(1, H), h), matmul(Ones(H, H), h), matmul(Ones(1, H), C), matmul(Ones(K, H), C), matmul(C, Ones(K, 1))],
        *[matmul(C, Ones(K, M)), matmul(h, Ones(1, K)), hadamard(matmul(h, Ones(1, K)), C), hadamard(matmul(Ones(H, 1), c.T), C)],
        *[matmul(Diagonal(h), C), matmul(C, Diagonal(c)), scale(1 / H, n), scale(1 / sp.sqrt(H), h), scale(H + K, h)],
        *[scale(sp.sqrt(2), h), scale(-1, C), hadamard(n, Ones(H, 1)), scale(2, Ones(H, K)), scale(sp.log(H) / D, h)],
    ],
    "Hadamard": [h * g, h * b, hadamard(n, h), hadamard(a, h), hadamard(n, C), hadamard(n, s, a, C, V), hadamard(n, s)],
    "Transposed": [transpose(C), transpose(V), transpose(A), scale(2, transpose(C))],
    "Stack": [
        stack(h, x),
        stack(h, b),
        stack(b, c),
        stack(C, V),
        stack(n, h, a),
        stack(h, Zeros(K, 1)),
        stack(n, s),
        stack(transpose(h), transpose(P)),
        stack(Ones(D, 1), h),
    ],
    "Rows": [
        rows(h, 1, H),
        rows(C, 0, 2),
        rows(V, 1, 3),
        rows(h, 1, 2),
        rows(b, 0, 1),
        rows(h * g, 0, 2),
        rows(Ones(H, 1) * h, 1, 3),
    ],
    "Repeat": [repeat(h, 2), repeat(b, 3)],
    "Diagonal": [Diagonal(h), Diagonal(b), Diagonal(h * g)],
    "Ones": [Ones(H, 1), Ones(H, K), Ones(1, 1)],
    "Zeros": [Zeros(H, 1), Zeros(H, K), Zeros(1, 1)],
    "Identity": [Identity(H), add(Identity(H), P), scale(2, Identity(H))],
    "Total": [total(h), total(C), total(V), total(h * b), total(hadamard(matmul(h, Ones(1, K)), C))],
    "Largest": [largest(h), largest(b), largest(h * g - b)],
    "FirstLargest": [first_largest(h), first_largest(b)],
    "LogSumExp": [logsumexp(h), logsumexp(b), logsumexp(3 * h)],
    "Softmax": [softmax(h), softmax(b), softmax(matmul(W, x))],
    "Cumulative": [
        cumulative(h),
        cumulative(b, backwards=True),
        cumulative(h, backwards=True),
        cumulative(C),
        cumulative(C, True),
    ],
    "Maximum": [maximum(h, g), maximum(h, b), maximum(b, h), maximum(h, 0.5), maximum(n, h), maximum(n, s), maximum(C, V)],
    "Minimum": [
        minimum(h, g),
        minimum(h, b),
        minimum(0.5, h),
        minimum(h, n),
        minimum(n, 1),
        minimum(C, V),
        minimum(b, b.like(name="q")),
    ],
    "AtLeast": [at_least(h, g), at_least(b, h), at_least(h, scale(0.5, Ones(H, 1))), at_least(C, V)],
    "Above": [above(h, g), above(b, h), above(scale(0.5, Ones(H, 1)), h), above(C, V), above(h, h)],
    "Apply": [
        *[apply(scalar, 0.7 * h) for name, scalar in FUNCTIONS.items() if name not in ("log", "sqrt", "identity")],
        *[apply(f, h * h + 1) for f in (sp.log(X), sp.sqrt(X), 1 / X, X ** sp.Rational(-3, 2), X**-3, 2 / (1 + X) - X / 5)],
        *[apply(f, C) for f in (sp.tanh(X), X**2, 1 - X, -2 * X * (1 - X), (1 + X) ** 3 / 4, sp.pi * X)],
        *[apply(f, v) for v in (n, a, b) for f in (sp.tanh(X), FUNCTIONS["sigma"], FUNCTIONS["relu"], X**2)],
    ],
}.items():
    shown(next(node for node in LEGAL if node.__name__ == kind), *examples)  # fmt: skip


def test_every_node_has_a_lowering_and_an_example() -> None:
    assert set(LOWERING) == set(LEGAL)
    assert {kind for _, kind in NODES.values()} == {kind for kind in LEGAL if not issubclass(kind, ELSEWHERE)}


def test_every_operation_is_printed() -> None:
    assert set(PRINTING) == set(OPERATIONS)


def axes_of(operand: Operand) -> tuple[str, ...]:
    return operand.axes


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("what", NODES)
def test_a_node_gives_what_the_interpreter_gives(what: str, dtype: Any) -> None:
    """A few roundings of sums of at most H K = 12 terms of size 1; the functions of libraries are off by a few units each."""
    expression, kind = NODES[what]
    for looped in ((), ("T",)):
        operand = lowered(expression, looped)
        found = run(operand, values_in(expression), dtype, looped)
        wanted = expected(expression, axes_of(operand), looped)
        assert np.shape(found) == wanted.shape, kind
        size = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=64 * size * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("what", [what for what, (expression, _) in NODES.items() if values_in(expression)])
def test_nothing_widens_float32(what: str) -> None:
    expression, _ = NODES[what]
    assert run(lowered(expression), values_in(expression), np.float32).dtype == np.float32


@pytest.mark.parametrize(
    "expression",
    [
        *[h + of_step, h * of_example, of_step * of_example, add(seed, h), hadamard(seed, n), matmul(P, seed), matmul(U, seed)],
        *[matmul(transpose(seed), h), matmul(seed, transpose(x)), stack(seed, h), matmul(of_step, transpose(of_example))],
        *[add(n, seed), hadamard(total(seed), h), matmul(C.T, of_step), hadamard(n, total(of_step), of_example)],
    ],
    ids=str,
)
def test_values_along_different_axes_are_brought_into_line(expression: sp.MatrixExpr) -> None:
    operand = lowered(expression)
    found = run(operand, values_in(expression), np.float64)
    np.testing.assert_allclose(found, expected(expression, axes_of(operand)), rtol=0, atol=1e-13)


def test_a_parameter_times_a_vector_is_one_product_of_all_examples() -> None:
    for expression in (matmul(W, x), matmul(transpose(U), h), matmul(transpose(b), h)):
        operations = [part.operation for part in parts_of(lowered(expression)) if hasattr(part, "operation")]
        assert operations.count("matmul") == 1
        assert set(operations) <= {"matmul", "transpose"}
