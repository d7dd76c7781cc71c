"""Between what the values of a cell lie, whatever the inputs are: intervals through its equations, and those that its states never leave.

An elementwise polynomial in which no value stands squared takes its extremes at the ends of the intervals, so that z ∘ h' + (1 - z) ∘ n
lies between h' and n where z lies between 0 and 1. What can't be bounded this way counts as unbounded: nothing is claimed of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from derive.along import FirstLargestAlong, LargestAlong, Pick, SoftmaxAlong, Spread
from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Above, AtLeast, Maximum, Minimum
from derive.expressions import is_timed, values_in
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
    coefficient,
    hadamard,
    scale,
    transpose,
)
from derive.onehot import OneHot, one_hot_in
from derive.reductions import Cumulative, FirstLargest, Largest, LogSoftmax, LogSumExp, Softmax, Total
from verify.jacobian.intervals import EVERYWHERE, Range, common, extremes, extremes_of, hull, inside, scaled, times
from verify.jacobian.run import Array
from verify.jacobian.values import Values

ROUNDS, APART = 13, 6
"""How often the states' intervals are pushed through a step before their limit is guessed, from three of them so far apart: states that
read each other take turns in growing, two or three of them. The guess is then proved or dropped."""

CORNERS = 10
"""Of how many values at most an expression's extremes are looked for at all corners: 2^10 of them."""

ROOM = 1e-9
"""How much wider than the guess an interval is made, so that rounding doesn't decide whether a step stays inside it."""


class Ranges:
    """The interval of every value of a cell, for these parameters and this start, all steps and all inputs."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.cell: Any = values.run.derivation.cell  # type: ignore[union-attr]
        cell = self.cell
        self.defined: dict[Any, Any] = {equation.target: equation.value for equation in cell.forward.equations}
        self.states: dict[Any, Range] = {}
        self.known: dict[Any, Range] = {}
        self.leaves: dict[Any, tuple[Any, ...]] = {}
        self.polynomials: dict[Any, tuple[list[Any], Array, Array]] = {}
        starts = {state: extremes_of(values.run.before[state.name][0]) for state in cell.states}
        self.settle(starts)

    def settle(self, starts: Mapping[Any, Range]) -> None:
        """Find intervals that hold the start and that no step leaves: pushed a few rounds, their limit guessed, then proved."""
        self.states = dict(starts)
        history = [self.states]
        for _ in range(ROUNDS):
            self.become({state: hull(self.states[state], after) for state, after in self.stepped().items()})
            history.append(self.states)
        self.become({state: limit([box[state] for box in history]) for state in starts})
        while escaped := [state for state, after in self.stepped().items() if not inside(after, self.states[state])]:
            self.become({**self.states, **dict.fromkeys(escaped, EVERYWHERE)})

    def become(self, states: dict[Any, Range]) -> None:
        self.states, self.known = states, {}

    def stepped(self) -> dict[Any, Range]:
        """The interval of each state after a step from within the present ones."""
        return {state: self.of(state) for state in self.states}

    def of(self, node: Any) -> Range:
        """The interval of a vector expression's elements."""
        if node not in self.known:
            self.known[node] = self.computed(node)
        return self.known[node]

    def computed(self, node: Any) -> Range:
        if is_past(node) and node.like(lag=0) in self.states:
            return self.states[node.like(lag=0)]
        if not is_timed(node):
            return extremes_of(self.values.of(node))
        found = self.by_operation(node)
        for leaves, defined in ((self.bases(node), self.defined), (values_in(node), {})):
            if len(leaves) == 1 and leaves[0] != node and (function := self.as_scalar(node, leaves[0], defined)) is not None:
                found = common(found, extremes(function, self.of(leaves[0])))
        return found

    def by_operation(self, node: Any) -> Range:
        """By what is done last."""
        number, rest = coefficient(node)
        if isinstance(rest, Value):
            found = self.of(self.defined[rest]) if rest in self.defined else EVERYWHERE
        elif isinstance(rest, (Plus, Hadamard)):
            found = self.polynomial(rest)
        else:
            found = self.operation(rest)
        return scaled(self.values.number(number), found)

    def operation(self, node: Any) -> Range:
        """Of a node that is no polynomial."""
        match node:
            case Apply():
                return extremes(node.scalar, self.of(node.expr))
            case Maximum() | Minimum():
                chosen = max if isinstance(node, Maximum) else min
                (low, high), (other_low, other_high) = map(self.of, node.args)
                return (chosen(low, other_low), chosen(high, other_high))
            case Softmax() | SoftmaxAlong() | FirstLargest() | FirstLargestAlong() | AtLeast() | Above() | OneHot():
                return (0.0, 1.0)
            case LogSoftmax():
                return (-np.inf, 0.0)
            case Rows() | Repeat() | Transposed() | Largest() | LargestAlong() | Spread() | Pick():
                return self.of(node.args[0])
            case Ones():
                return (1.0, 1.0)
            case Zeros():
                return (0.0, 0.0)
            case Identity():
                return (0.0, 1.0)
            case Diagonal():
                return hull((0.0, 0.0), self.of(node.args[0]))
            case Stack():
                parts = [self.of(part) for part in node.args]
                return (min(low for low, _ in parts), max(high for _, high in parts))
            case Total():
                return scaled(self.count(node.args[0]), self.of(node.args[0]))
            case Cumulative():
                found = self.of(node.args[0])
                return hull(found, scaled(self.count(node.args[0]), found))
            case LogSumExp():
                low, high = self.of(node.args[0])
                return (low + np.log(self.count(node.args[0])), high + np.log(self.count(node.args[0])))
            case Times():
                return self.product(list(node.args))
        return EVERYWHERE

    def product(self, factors: list[Any]) -> Range:
        """Of a matrix product: sums of as many products as the inner dimension has elements."""
        left, right = factors[0], factors[1] if len(factors) == 2 else Times(*factors[1:], evaluate=False)
        if one_hot_in(left) is not None or one_hot_in(right) is not None:  # some elements of the other one
            return self.of(right if one_hot_in(left) is not None else left)
        if not is_timed(left):
            return weighted(self.values.of(left), self.of(right))
        if not is_timed(right):
            return weighted(self.values.of(right).swapaxes(-1, -2), self.of(left))
        found = times(self.of(left), self.of(right))
        if left == transpose(right):  # of a column with itself: squares
            found = common(found, (0.0, np.inf))
        return scaled(self.values.size(left.shape[1]), found)

    def count(self, node: Any) -> int:
        """How many elements a quantity has."""
        return self.values.size(node.shape[0]) * self.values.size(node.shape[1])

    def states_under(self, node: Any) -> set[Any]:
        """The states before the step that a bounded expression reads as they are, definitions written out."""
        found = {base.like(lag=0) for value in values_in(node) for base in (value, *self.bases(value)) if is_past(base)}
        return found & set(self.states)

    def bases(self, node: Any) -> tuple[Any, ...]:
        """The values in which an elementwise expression ends."""
        if node not in self.leaves:
            self.leaves[node] = tuple(dict.fromkeys(self.bases_below(node)))
        return self.leaves[node]

    def bases_below(self, node: Any) -> Iterable[Any]:
        rest = coefficient(node)[1]
        if isinstance(rest, Value):
            below = self.defined.get(rest)
            written_out = below is not None and isinstance(coefficient(below)[1], (Apply, Plus, Hadamard, Value))
            return self.bases(below) if written_out else [rest]
        if isinstance(rest, Apply):
            return self.bases(rest.expr)
        if isinstance(rest, Plus):
            _, linear, others = affine(rest)
            return [*([linear] if linear is not None else []), *[base for part in others for base in self.bases(part)]]
        if isinstance(rest, Hadamard):
            return [base for part in rest.args for base in self.bases(part)]
        return [] if isinstance(rest, (Ones, Zeros)) else [rest]

    def polynomial(self, node: Any) -> Range:
        """Of sums and products: over all corners where no value is squared; else part by part."""
        if node not in self.polynomials:
            symbols: dict[Any, sp.Symbol] = {}
            expression = self.as_polynomial(node, symbols)
            terms = sp.Poly(expression, *symbols.values()).terms() if symbols else [((), sp.sympify(expression))]
            self.polynomials[node] = [*symbols], np.array([powers for powers, _ in terms]), np.array([float(n) for _, n in terms])
        leaves, powers, numbers = self.polynomials[node]
        if len(leaves) <= CORNERS and powers.max(initial=0) <= 1:
            return corners(powers, numbers, [self.of(leaf) for leaf in leaves])
        if isinstance(node, Plus):
            ends = [self.of(part) for part in node.args]
            return (sum(low for low, _ in ends), sum(high for _, high in ends))
        out: Range = (1.0, 1.0)
        for factors in self.groups(node, self.bases) or self.groups(node, values_in) or [[part] for part in node.args]:
            out = times(out, self.of(factors[0] if len(factors) == 1 else hadamard(*factors)))
        return out

    def groups(self, product: Any, key: Callable[[Any], Iterable[Any]]) -> list[list[Any]]:
        """The factors of a product that are made of the same values taken together, y (1 - y) being at most 1/4; none where all are."""
        found: dict[Any, list[Any]] = {}
        for factor in self.factors(product):
            found.setdefault(tuple(key(factor)), []).append(factor)
        return list(found.values()) if len(found) > 1 else []

    def factors(self, node: Any) -> list[Any]:
        """The factors of a product, definitions that are products written out; numbers stay with theirs."""
        number, rest = coefficient(node)
        below = self.defined.get(rest, rest)
        if not isinstance(coefficient(below)[1], Hadamard):
            return [node]
        inner = coefficient(below)
        out = [factor for part in inner[1].args for factor in self.factors(part)]
        return [scale(number * inner[0], out[0]), *out[1:]]

    def as_scalar(self, node: Any, base: Any, defined: Mapping[Any, Any]) -> sp.Expr | None:
        """An elementwise expression of one value as an expression in `X`, definitions written out; None where it isn't one."""
        number, rest = self.coefficient(node)
        inner: sp.Expr | None
        if rest == base:
            return number * X
        match rest:
            case Value() if rest in defined:
                inner = self.as_scalar(defined[rest], base, defined)
            case Ones():
                inner = sp.S.One
            case Apply():
                below = self.as_scalar(rest.expr, base, defined)
                inner = None if below is None else rest.scalar.subs(X, below)
            case Plus():
                sign, linear, others = affine(rest)
                parts = [self.as_scalar(part, base, defined) for part in others]
                parts += [] if linear is None else [sign * X if linear == base else None]
                inner = None if any(part is None for part in parts) else sp.Add(*parts)
            case Hadamard():
                parts = [self.as_scalar(part, base, defined) for part in rest.args]
                inner = None if any(part is None for part in parts) else sp.Mul(*parts)
            case _:
                inner = None
        return None if inner is None else number * inner

    def coefficient(self, node: Any) -> tuple[sp.Expr, Any]:
        """(number, the rest), dimensions in the number as their sizes."""
        number, rest = coefficient(node)
        return self.values.exact(number), rest

    def as_polynomial(self, node: Any, symbols: dict[Any, sp.Symbol], turned: bool = False) -> sp.Expr:
        """An expression as a polynomial in symbols for what is neither sum nor product, definitions written out; turned: its transpose.

        An element of a column times a row is a product of one element of each.
        """
        number, rest = self.coefficient(node)
        below = self.defined.get(rest) if isinstance(rest, Value) else None
        if below is not None and isinstance(coefficient(below)[1], (Plus, Hadamard, Value)) and not has_matrix(below):
            return number * self.as_polynomial(below, symbols, turned)
        if isinstance(rest, Ones):
            return sp.sympify(number)
        if isinstance(rest, (Plus, Hadamard)):
            parts = [self.as_polynomial(part, symbols, turned) for part in rest.args]
            return number * (sp.Add(*parts) if isinstance(rest, Plus) else sp.Mul(*parts))
        if is_outer(rest):
            column, row = rest.args
            return number * self.as_polynomial(column, symbols, turned) * self.as_polynomial(transpose(row), symbols, not turned)
        return number * symbols.setdefault(transpose(rest) if turned else rest, sp.Symbol(f"v{len(symbols)}"))


def is_past(node: Any) -> bool:
    return isinstance(node, Value) and node.lag == -1


def has_matrix(node: Any) -> bool:
    """Whether a term of a sum is a product with a matrix."""
    rest = coefficient(node)[1]
    return (isinstance(rest, Times) and not is_outer(rest)) or (
        isinstance(rest, Plus) and any(has_matrix(part) for part in rest.args)
    )


def is_outer(node: Any) -> bool:
    """Whether a node is a column times a row."""
    return isinstance(node, Times) and len(node.args) == 2 and bool(node.args[0].shape[1] == 1)


@lru_cache(maxsize=4096)
def affine(node: Plus) -> tuple[int, Any, list[Any]]:
    """(sign, what a sum has of products with matrices and of parameters, in one order and with one sign, the other terms).

    Sums of the same products and another number are functions of one and the same value. None where there is no such product.
    """
    mixed = [part for part in node.args if isinstance(coefficient(part)[1], Times)]
    if not mixed:
        return 1, None, list(node.args)
    still = [part for part in node.args if part in mixed or not (is_timed(part) or isinstance(coefficient(part)[1], Ones))]
    ordered = sorted(still, key=lambda part: str(coefficient(part)[1]))
    sign = -1 if coefficient(ordered[0])[0] < 0 else 1
    return sign, add(*[scale(sign, part) for part in ordered]), [part for part in node.args if part not in still]


def corners(powers: Array, numbers: Array, ranges: list[Range]) -> Range:
    """The extremes of a multilinear polynomial, its terms numbers (n,) times the variables' powers (n, v); everywhere where a variable
    that it reads is unbounded."""
    if any(powers[:, k].any() and not np.isfinite(limits).all() for k, limits in enumerate(ranges)):
        return EVERYWHERE
    points = np.array(list(product(*[limits if np.isfinite(limits).all() else (0.0, 0.0) for limits in ranges])))
    return extremes_of(np.prod(points[:, None] ** powers, axis=-1) @ numbers)


def weighted(matrix: Array, limits: Range) -> Range:
    """Of a matrix times columns whose elements lie between limits."""
    if not np.isfinite(limits).all():
        return EVERYWHERE
    (low, high), up, down = limits, np.maximum(matrix, 0).sum(axis=1), np.minimum(matrix, 0).sum(axis=1)
    return (float((up * low + down * high).min()), float((up * high + down * low).max()))


def limit(boxes: list[Range]) -> Range:
    """Where the ends of growing intervals would stop if they went on as in the last rounds: geometrically, or not at all."""
    low, high = (end_of([sign * box[k] for box in boxes[::-APART][2::-1]]) for k, sign in ((0, -1.0), (1, 1.0)))
    return (-low, high)


def end_of(ends: list[float]) -> float:
    before, last = ends[1] - ends[0], ends[2] - ends[1]
    if last <= 0:
        return ends[2]
    if not np.isfinite(last) or last >= before:
        return np.inf
    stop = ends[2] + last * last / (before - last)
    return stop + ROOM * max(abs(stop), 1.0)


def unbounded_in(node: Any, ranges: Ranges) -> list[Value]:
    """The values of the cell in an expression that nothing is known of; what the derivation named stands for what it is made of."""
    found: dict[Value, None] = {}
    waiting, own = values_in(node), {*ranges.cell.targets, *ranges.cell.inputs, *ranges.cell.tokens}
    while waiting:
        value = waiting.pop(0)
        if not np.isfinite(ranges.of(value)).all():
            if value in own or value not in ranges.defined:
                found.setdefault(value)
            else:
                waiting += values_in(ranges.defined[value])
    return list(found)
