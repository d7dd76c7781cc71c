"""Sums over steps and examples: what the interpreter sums, and as one product wherever there is one."""

from __future__ import annotations

import numpy as np
import pytest

from derive.expressions import values_in
from derive.language import Ones, Value, add, hadamard, matmul, scale, transpose
from derive.procedures.lowering import Lowering
from derive.procedures.procedure import Call, parts_of
from derive.procedures.sums import summed
from derive.reductions import inner, softmax, total
from tests.odd_cells import D, H, K
from tests.procedures.printed import EXTENTS, expected, lies, run

TIMED = ("T", "B")
x, h, g, k = Value("x", D), Value("h", H), Value("g", H), Value("k", K)
C, P, n, s = Value("C", H, K), Value("P", H, H), Value("n", 1), Value("s", 1)
U, V, b = (Value(name, *shape, axes=()) for name, *shape in (("U", H, H), ("V", H, K), ("b", H)))

PRODUCTS = {
    "outer": matmul(h, transpose(x)),
    "scaled": scale(-2, matmul(h, transpose(x))),
    "matrices": matmul(C, transpose(C)),
    "inner": matmul(transpose(h), g),
    "parameters outside": matmul(U, h, transpose(k), transpose(V)),
    "a parameter between": matmul(h, transpose(h), U, g, transpose(x)),
    "number times vector": hadamard(n, h),
    "numbers times matrix": hadamard(n, s, C),
    "parameter times number and vector": hadamard(b, hadamard(n, h)),
    "matrix times vector": matmul(transpose(P), U, h),
    "difference": add(matmul(h, transpose(x)), scale(-1, matmul(g, transpose(x)))),
}
OTHERS = {
    "alone": h,
    "matrix": C,
    "number": n,
    "elementwise": h * g,
    "parameter and elementwise": b * h * g,
    "numbers": hadamard(n, s),
    "with ones": matmul(Ones(H, H), h),
    "rows of ones": matmul(h, Ones(1, K)),
    "reduction": hadamard(total(h), softmax(g)),
    "frobenius": inner(C, C),
    "constant beside": add(h, b),
    "parameter times sum": matmul(U, h),
}


@pytest.mark.parametrize("what", [*PRODUCTS, *OTHERS])
def test_the_sum_is_that_of_the_interpreter(what: str) -> None:
    """Sums of 35 terms of size 1, H of them times H: some 40 roundings each."""
    expression = (PRODUCTS | OTHERS)[what]
    for over, looped in ((TIMED, ()), (("B",), ("T",)), (("T",), ())):
        operand = summed(expression, over, Lowering(lambda value, looped=looped: lies(value, looped), looped))
        assert operand.axes == tuple(axis for axis in TIMED if axis not in (*over, *looped))
        found = run(operand, values_in(expression), np.float64, looped)
        each = expected(expression, tuple(axis for axis in TIMED if axis not in looped), looped)
        places = tuple(k for k, axis in enumerate(axis for axis in TIMED if axis not in looped) if axis in over)
        wanted = each.sum(axis=places)
        assert np.shape(found) == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14 * 64 * np.abs(each).max())


@pytest.mark.parametrize("what", PRODUCTS)
def test_a_product_is_one_call_over_all_steps_and_examples(what: str) -> None:
    operand = summed(PRODUCTS[what], TIMED, Lowering(lies))
    calls = [part for part in parts_of(operand) if isinstance(part, Call)]
    assert any(call.operation == "contract" for call in calls)
    assert not any(call.operation == "sum" and not call.axes for call in calls)


def test_no_two_sizes_are_alike() -> None:
    """An axis that is taken for another one would not be seen otherwise."""
    assert len(set(EXTENTS.values())) == len(EXTENTS)
