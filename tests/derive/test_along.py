"""The rules of operations along the steps, each against complex steps and by the pairing <ȳ, ẏ> = <x̄, ẋ>, at no step, one and several."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import MatrixExpr as Matrix

from derive import rules
from derive.along import (
    AlongAxis,
    FirstLargestAlong,
    LargestAlong,
    Pick,
    Place,
    SoftmaxAlong,
    Spread,
    Steps,
    SumAlong,
    axes_of,
    binds,
    first_largest_along,
    largest_along,
    mean_along,
    pick,
    place,
    softmax_along,
    spread,
    sum_along,
)
from derive.language import Value, Zeros, add, hadamard, scale
from tests import bounds
from tests.arguments import STEP
from verify.along import number_of
from verify.interpreter import Evaluator, floats

x, y, n = Value("x", 2), Value("y", 3, 2), Value("n", 1)
c, m, k = Value("c", 2, axes=("B",)), Value("m", 3, 2, axes=("B",)), Value("k", 1, axes=("B",))
p = Value("p", 2, axes=())

CASES: dict[type, list[Matrix]] = {
    SumAlong: [sum_along(one, "T") for one in (x, y, n)],
    Spread: [spread(one, "T") for one in (c, m, k)],
    Pick: [pick(one, "T", end) for one in (x, y, n) for end in ("first", "last")],
    Place: [place(one, "T", end) for one in (c, m, k) for end in ("first", "last")],
    LargestAlong: [largest_along(one, "T") for one in (x, y, n)],
    FirstLargestAlong: [first_largest_along(one, "T") for one in (x, y)],
    SoftmaxAlong: [softmax_along(one, "T") for one in (x, y, n)],
}
"""Nodes of each kind, of at least two shapes."""
every = pytest.mark.parametrize("node", [node for nodes in CASES.values() for node in nodes], ids=str)


def shape_of(node: Matrix, steps: int) -> tuple[int, ...]:
    lead = {"T": steps, "B": 4}
    return (*[lead[axis] for axis in sorted(axes_of(node), key="TB".index)], *map(int, node.shape))


class Instance:
    """A node with random numbers for its operand, its cotangent and the operand's tangent."""

    def __init__(self, node: AlongAxis, steps: int) -> None:
        rng = np.random.default_rng(steps)
        self.node, self.operand, self.evaluate = node, node.args[0], Evaluator(floats(), {})
        self.y, self.bar, self.dot = (like(name, one) for name, one in (("y'", node), ("bar", node), ("dot", self.operand)))
        self.known = {number_of("T"): np.full((1, 1), steps), self.operand: rng.standard_normal(shape_of(self.operand, steps))}
        self.known[self.bar] = rng.standard_normal(shape_of(node, steps))
        self.known[self.dot] = rng.standard_normal(shape_of(self.operand, steps))
        self.known[self.y] = self.of(node)

    def of(self, expression: Matrix, **other: np.ndarray) -> np.ndarray:
        found = self.evaluate(expression, {**self.known, **({self.operand: other["at"]} if other else {})})
        return np.asarray(found)

    def moved(self) -> np.ndarray:
        """How the node moves, by its rule."""
        dot = rules.JVP[type(self.node)](self.y, self.node, [self.operand], [self.dot])
        return np.broadcast_to(self.of(dot), self.known[self.bar].shape)

    def back(self) -> np.ndarray:
        (bar,) = rules.VJP[type(self.node)](self.bar, self.y, self.node, self.operand)
        return np.broadcast_to(self.of(bar), self.known[self.dot].shape)


def like(name: str, expression: Matrix) -> Value:
    return Value(name, *expression.shape, axes=axes_of(expression))


@every
@pytest.mark.parametrize("steps", [1, 5])
def test_a_tangent_is_that_of_a_complex_step(node: Matrix, steps: int) -> None:
    one = Instance(node, steps)
    at = one.known[one.operand] + 1j * STEP * one.known[one.dot]
    expected = one.of(node, at=at).imag / STEP
    # sums of at most 5 products of 4 roundings each, and exp to 4 units
    assert np.abs(one.moved() - expected).max() < bounds.rounded(5 * 4 + 16) * max(1.0, np.abs(expected).max())


@every
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_cotangents_and_tangents_pair(node: Matrix, steps: int) -> None:
    one = Instance(node, steps)
    left, right = one.known[one.bar] * one.moved(), one.back() * one.known[one.dot]
    terms = np.abs(left).sum() + np.abs(right).sum()
    # each side is a sum of at most 5 * 4 * 6 products, its terms off by 40 roundings
    lost = bounds.rounded(5 * 4 * 6 + 40) * terms
    assert abs(left.sum() - right.sum()) <= lost


def test_axes_of_what_binds_one() -> None:
    assert axes_of(sum_along(x, "T")) == ("B",)
    assert axes_of(hadamard(x, sum_along(x, "T"))) == ("T", "B")
    assert axes_of(spread(c, "T")) == axes_of(place(c, "T", "last")) == axes_of(softmax_along(x, "T")) == ("T", "B")
    assert binds(softmax_along(x, "T")) == binds(add(c, pick(x, "T", "last"))) == {"T"}
    assert not binds(spread(c, "T"))
    assert not binds(x)


def test_what_does_not_vary_along_an_axis_counts_once_for_each_step() -> None:
    assert sum_along(p, "T") == hadamard(Steps("T"), p)
    assert mean_along(p, "T") == p
    assert pick(c, "T", "last") == c
    assert sum_along(scale(3, x), "T") == scale(3, sum_along(x, "T"))
    assert isinstance(sum_along(Zeros(2, 1), "T"), Zeros)


def test_no_steps_give_zeros() -> None:
    for node in (sum_along(x, "T"), pick(x, "T", "last"), largest_along(x, "T")):
        assert not Instance(node, 0).of(node).any()
    assert Instance(softmax_along(x, "T"), 0).of(softmax_along(x, "T")).shape == (0, 4, 2, 1)
