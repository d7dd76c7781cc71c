"""Each operation that is linear in a tangent, as maps: what they push is the expression's value, what they pull back its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive.along import axes_of, pick, place, spread, sum_along
from derive.blocks import repeat, rows, stack
from derive.equation import Equation, Term
from derive.language import Value, add, dimension, hadamard, matmul, matrix, number, scale, sequence, transpose, vector
from derive.reductions import cumulative, filled, total
from tests import bounds
from verify.along import number_of
from verify.interpreter import Evaluator, floats
from verify.jacobian.derived import chained, chained_back
from verify.jacobian.summands import parts_of_equation

N, K = dimension("N"), dimension("K")
SIZES = {"N": 3, "K": 2, "S": 4}
m, u, s = (value.marked("tangent") for value in (sequence("m", N, K), sequence("u", N), sequence("s")))
P, Q, R, M, p = matrix("P", N, N), matrix("Q", K, K), matrix("R", K, N), matrix("M", N, K), vector("p", N)
a, step = number("a"), sequence("g", N, K)
source = Value("f", N, axes=("T", "S", "B"))
"""Along another axis of steps."""
EXPRESSIONS: dict[str, Any] = {
    "a copy": m,
    "numbers within numbers": scale(2, hadamard(M, scale(-3, m))),
    "a number with dimensions": scale(1 / N, m),
    "elementwise": hadamard(M, m),
    "of a step": hadamard(step, m),
    "scaled by a number": hadamard(a, m),
    "a number spread": hadamard(s, M),
    "from the left": matmul(P, m),
    "from the right twice": matmul(m, Q, R),
    "from both sides": matmul(R, P, m, Q),
    "a vector": matmul(R, u),
    "an inner product": matmul(transpose(u), p),
    "an outer product": matmul(p, transpose(u)),
    "transposed": matmul(transpose(m), p),
    "the whole transposed": transpose(m),
    "a total": total(hadamard(M, m)),
    "a total spread": filled(total(m), M),
    "running sums": cumulative(u),
    "running sums from the end": cumulative(hadamard(p, u), backwards=True),
    "running sums of a matrix": cumulative(m),
    "rows": rows(m, 1, N),
    "a stack": stack(m, scale(2, matmul(P, m)), M),
    "repeated": repeat(m, 3),
    "over another axis": sum_along(hadamard(source, u), "S"),
    "at every position of it": hadamard(source, matmul(P, u)),
    "at every position, as it is": spread(matmul(P, u), "S"),
    "a number spread there": hadamard(s, source),
    "the first there": pick(hadamard(source, u), "S", "first"),
    "the last alone": place(hadamard(s, u), "S", "last"),
    "a softmax over it": hadamard(source, add(hadamard(source, u), scale(-1, sum_along(hadamard(source, u), "S")))),
    "a sum within a product": scale(2, hadamard(M, add(scale(3, m), matmul(P, m)))),
}


class Numbers:
    """`At` of given arrays."""

    def __init__(self, arrays: dict[Value, Any]) -> None:
        self.arrays, self.evaluate = arrays, Evaluator(floats(), SIZES)

    def array(self, expression: Any) -> Any:
        return self.evaluate(expression, self.arrays)

    def number(self, expression: Any) -> float:
        return float(self.evaluate.exact(expression))

    def size(self, dim: Any) -> int:
        return self.evaluate.size(dim)


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_maps_push_as_the_expression_says_and_pull_its_adjoint(kind: str) -> None:
    expression, rng = EXPRESSIONS[kind], np.random.default_rng(0)
    at = Numbers({number_of("S"): np.full((1, 1), SIZES["S"])})
    for value in (m, u, s, P, Q, R, M, p, a, step, source):
        lead = (SIZES["S"], 2) if value is source else (2,) if value.timed else ()
        at.arrays[value] = rng.standard_normal((*lead, *[at.size(size) for size in value.shape]))
    target = Value("y", *expression.shape, axes=axes_of(expression))
    still = dict.fromkeys((m, u, s), 0.0)
    exact = at.array(expression) - at.evaluate(expression, at.arrays | {v: 0 * at.arrays[v] for v in still})
    columns, found = 3, 0.0
    for part in parts_of_equation(Equation(target, (Term(expression),))):
        assert sum(type(one).__name__ == "Number" for one in part.chain) <= 1
        x = at.arrays[part.read].reshape(2, -1, 1) * np.arange(1, columns + 1)
        pushed = chained(part.chain, x, at)
        found = found + pushed
        w = rng.standard_normal(pushed.shape)
        pulled = chained_back(part.chain, w, at)
        assert pulled.shape == x.shape
        assert (pulled * x).sum() == pytest.approx((w * pushed).sum(), rel=1e-12, abs=1e-12)
        assert at.array(part.value).shape == exact.shape
    expected = exact.reshape(*exact.shape[:-2], -1, 1) * np.arange(1, columns + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=columns * 40 * bounds.rounded(20))
