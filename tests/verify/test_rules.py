"""Every rule of the table, proved component by component at two shapes: the VJP is Σ ȳ ∂y/∂x, the JVP is Σ ∂y/∂x ẋ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import functions
from derive.along import AlongAxis
from derive.blocks import Rows, Stack, repeat, rows, stack
from derive.comparisons import above, at_least, maximum, minimum
from derive.functions import FUNCTIONS
from derive.language import Plus, Value, X, add, apply, coefficient, dimension, hadamard, matmul, transpose
from derive.reductions import LogSoftmax, cumulative, first_largest, largest, logsumexp, softmax, total
from derive.rules import JVP, VJP, operation
from verify.interpreter import Evaluator, Numbers

H, D = dimension("H"), dimension("D")
k, m, row = Value("k", 1), Value("m", 1), Value("r", 1, H)
A, U, U2, x, u, v, w = (
    Value("A", H, D),
    Value("U", H, H),
    Value("V", H, H),
    Value("x", D),
    Value("u", H),
    Value("v", H),
    Value("w", H),
)
SHAPES = ({"H": 2, "D": 3}, {"H": 3, "D": 2})

NODES = {
    "sum": add(u, v, w),
    "product of matrix and vector": matmul(A, x),
    "scaled": -2 * A,
    "negated": -u,
    "product of three": matmul(U, U2, A),
    "elementwise product": hadamard(u, v),
    "elementwise product of three": hadamard(u, v, w),
    "transpose": transpose(A),
    "stack": stack(u, x, v),
    "rows": rows(Value("s", 2 * H + D), H, 2 * H),
    "repeat": repeat(u, 3),
    "softmax": softmax(u),
    "inner product": matmul(row, v),
    "outer product": matmul(u, Value("r", 1, D)),
    "row times matrix": matmul(row, A),
    "number times vector": hadamard(k, u),
    "numbers times product of matrices": hadamard(k, m, A, Value("B", H, D)),
    "product of numbers": hadamard(k, m),
    "function of a number": apply(sp.tanh(X), k),
    "total of a vector": total(u),
    "total of a matrix": total(A),
    "largest": largest(u),
    "first largest": first_largest(u),
    "logsumexp": logsumexp(u),
    "maximum": maximum(u, v),
    "minimum": minimum(A, Value("B", H, D)),
    "at least": at_least(u, v),
    "above": above(u, v),
    "running sums": cumulative(u),
    "running sums from the end": cumulative(u, backwards=True),
    "running sums of columns": cumulative(A),
    **{name: coefficient(apply(scalar, u))[1] for name, scalar in FUNCTIONS.items() if scalar != X},
}
BRANCHES = {
    "maximum": lambda a, b: a + functions.relu(b - a),
    "minimum": lambda a, b: a - functions.relu(a - b),
    "atleast": lambda a, b: 1 - functions.step(b - a),
    "above": lambda a, b: functions.step(a - b),
}
"""max, min and comparisons by relu and its slope."""
KNOWN = {one.__name__: one for one in functions.NUMPY} | {"sqrt": sp.sqrt}


class Component(sp.Symbol):  # type: ignore[misc]
    """A free symbol of which it is known which one is larger: of a column the second is the largest."""

    def __gt__(self, other: Component) -> bool:
        first, second = (2 * int(one.name[-2]) % 3 for one in (self, other))
        return first > second


def symbols(value: Value, evaluate: Evaluator) -> Any:
    """A symbol for each component."""
    count, width = (evaluate.size(n) for n in value.shape)
    prefix = f"{value.name}{value.kind}"
    return np.array([[Component(f"{prefix}{r}{c}", real=True) for c in range(width)] for r in range(count)], dtype=object)


def evaluator(sizes: dict[str, int]) -> Evaluator:
    known = {name: np.frompyfunc(f, 1, 1) for name, f in KNOWN.items()} | {
        name: np.frompyfunc(f, 2, 1) for name, f in BRANCHES.items()
    }
    return Evaluator(Numbers(lambda n: n, known, object), sizes)


def zero(expression: Any) -> bool:
    """Whether an expression is identically zero; the logistic function written out where that is needed."""
    if sp.expand(expression) == 0:
        return True
    written = expression.replace(functions.sigma, lambda z: 1 / (1 + sp.exp(-z)))
    return bool(sp.simplify(written) == 0)


def slope(y: Any, by: Any) -> Any:
    return sp.diff(y, by)


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_each_rule_is_the_derivative_by_components(name: str, sizes: dict[str, int]) -> None:
    node, evaluate = NODES[name], evaluator(sizes)
    kind, operands = operation(node)
    y, cotangent = Value("y", *node.shape), Value("y", *node.shape, marks=("cotangent",))
    env = {value: symbols(value, evaluate) for value in (*operands, cotangent, *[o.like(kind="tangent") for o in operands])}
    env[y] = evaluate(node, env)
    pulled = VJP[kind](cotangent, y, node, *operands)
    for operand, part in zip(operands, pulled, strict=True):
        got = np.broadcast_to(evaluate(part, env), env[operand].shape)
        for index, symbol in np.ndenumerate(env[operand]):
            expected = sum(c * slope(one, symbol) for c, one in zip(env[cotangent].flat, env[y].flat, strict=True))
            assert zero(got[index] - expected), (name, operand.name, index)
    pushed = evaluate(JVP[kind](y, node, operands, [o.like(kind="tangent") for o in operands]), env)
    pairs = [(s, d) for o in operands for s, d in zip(env[o].flat, env[o.like(kind="tangent")].flat, strict=True)]
    for index, one in np.ndenumerate(env[y]):
        assert zero(np.broadcast_to(pushed, env[y].shape)[index] - sum(slope(one, s) * d for s, d in pairs)), (name, index)


def test_the_rules_of_every_node_are_proved() -> None:
    proved = {operation(node)[0] for node in NODES.values()}
    here = {kind for kind in VJP if not issubclass(kind, (AlongAxis, LogSoftmax))}  # those: test_along.py and test_stable.py
    assert set(VJP) == set(JVP)
    assert here == proved, here ^ proved
    assert {Plus, Stack, Rows} <= proved
