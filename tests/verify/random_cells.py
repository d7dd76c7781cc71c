"""Random recurrent cells from the legal nodes: several states, shared parameters, gates of gates, stacks, both layouts."""

from __future__ import annotations

from typing import Any

import sympy as sp
from hypothesis import strategies as st

from derive.blocks import rows, stack
from derive.cell import Cell
from derive.comparisons import clip, maximum, minimum
from derive.functions import FUNCTIONS, function
from derive.language import Eq, Value, dimension, matrix, sequence, vector
from derive.reductions import softmax

D, E, H, K = (dimension(name) for name in "DEHK")
ANYWHERE = (
    "sigma", "tanh", "softplus", "sin", "cos", "gelu", "elu", "identity", "relu", "abs", "hardtanh", "hardsigmoid", "silu",
    "leakyrelu", "softsign", "selu", "mish", "arctan", "erf", "gelu_erf",
)  # fmt: skip
GROWING = ("exp", "sinh", "cosh")
assert set(FUNCTIONS) == {*ANYWHERE, *GROWING, "log", "sqrt", "sign"}, "an activation that no random cell has: add it here"


class Builder:
    """Draws expressions; remembers the vectors that can be read and the parameters that can be shared."""

    def __init__(self, draw: Any, inputs: list[Value], states: list[Value]) -> None:
        self.draw, self.parameters = draw, []
        self.readable: list[sp.MatrixExpr] = [*inputs, *[state.prev for state in states]]
        self.equations: list[sp.Equality] = []

    def choose(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def matrix(self, rows_: Any, cols: Any) -> sp.MatrixExpr:
        """A matrix of that shape: a new one, or one that is there already; as written, or transposed (the row convention)."""
        known = [p for p in self.parameters if p.shape in ((rows_, cols), (cols, rows_)) and p.shape[1] != 1]
        if known and self.choose(True, False, False):
            found = self.choose(*known)
            return found if found.shape == (rows_, cols) and self.choose(True, True, False) | (rows_ != cols) else found.T
        name = f"W_{len(self.parameters)}"
        row_layout = self.choose(False, False, True)
        new = matrix(name, cols, rows_) if row_layout else matrix(name, rows_, cols)
        self.parameters.append(new)
        return new.T if row_layout else new

    def vector(self, size: Any, name: str) -> Value:
        known = [p for p in self.parameters if p.shape == (size, 1)]
        if known and self.choose(True, False, False, False):
            return self.choose(*known)
        new = vector(f"{name}_{len(self.parameters)}", size)
        self.parameters.append(new)
        return new

    def activated(self, expression: sp.MatrixExpr) -> sp.MatrixExpr:
        """Any activation, those that aren't defined everywhere on what they are defined on."""
        name = self.choose(*ANYWHERE, *GROWING, "log", "sqrt", "sign", "quotient")
        match name:
            case "exp" | "sinh" | "cosh":
                return function(name)(function("tanh")(expression))
            case "sign":  # has no slope of its own: what it multiplies has one
                return function("sign")(expression) * (expression + 1)
            case "log":
                return function("log")(function("softplus")(expression) + 1)
            case "sqrt":
                return function("sqrt")(expression * expression + 1)
            case "quotient":
                return expression / (1 + expression * expression)
        return function(name)(expression)

    def read(self, size: Any) -> sp.MatrixExpr:
        """A vector of that size that is there, or what a matrix makes of one."""
        same = [value for value in self.readable if value.shape[0] == size]
        if same and self.choose(True, False):
            return self.choose(*same)
        return self.product(size)

    def product(self, size: Any) -> sp.MatrixExpr:
        first = self.choose(*self.readable)
        if self.choose(True, False, False):
            second = self.choose(*self.readable)
            return self.matrix(size, first.shape[0] + second.shape[0]) @ stack(first, second)
        return self.matrix(size, first.shape[0]) @ first

    def term(self, size: Any, depth: int) -> sp.MatrixExpr:
        """One summand."""
        kind = self.choose("read", "product", "hadamard", "diagonal", "complement", "nested", "scaled", "extreme")
        if depth == 0 or kind == "product":
            return self.product(size)
        match kind:
            case "read":
                return self.read(size)
            case "hadamard":
                return self.read(size) * self.read(size)
            case "diagonal":
                return self.vector(size, "p") * self.read(size)
            case "complement":
                return (1 - self.read(size)) * self.read(size)
            case "extreme":
                kind = self.choose(maximum, minimum, clip)
                others = (-1, sp.Rational(1, 2)) if kind is clip else (self.choose(self.vector(size, "p"), self.read(size), 1),)
                return kind(self.read(size), *others)
            case "scaled":
                return self.choose(sp.Rational(1, 2), -2, 3) * self.read(size)
        return self.activated(self.sum(size, depth - 1))

    def sum(self, size: Any, depth: int) -> sp.MatrixExpr:
        total = self.term(size, depth)
        for _ in range(self.draw(st.integers(0, 1))):
            other = self.term(size, depth)
            total = total - other if self.choose(True, False, False) else total + other
        return total + self.vector(size, "b") if self.choose(True, False) else total

    def define(self, target: Value, right: sp.MatrixExpr) -> None:
        self.equations.append(Eq(target, right))
        self.readable.append(target)


@st.composite
def cells(draw: Any) -> Cell:
    """A checked cell of one to three states and one or two inputs, with or without a readout."""
    inputs = [sequence("x", D), sequence("u", E)][: draw(st.integers(1, 2))]
    states = [sequence(name, draw(st.sampled_from([H, H, K]))) for name in ("h", "c", "m")[: draw(st.integers(1, 3))]]
    builder = Builder(draw, inputs, states)
    everything = builder.readable[:]
    size = states[0].shape[0]
    total = builder.matrix(size, everything[0].shape[0]) @ everything[0]
    for value in everything[1:]:
        total = total + builder.matrix(size, value.shape[0]) @ value
    if draw(st.booleans()):
        pre = sequence("z", 2 * size)
        builder.equations.append(Eq(pre, builder.matrix(2 * size, everything[0].shape[0]) @ everything[0]))
        total = total + rows(pre, 0, size) * function("sigma")(rows(pre, size, 2 * size))
    builder.define(sequence("g_0", size), function(builder.choose("sigma", "tanh"))(total))
    for k in range(1, draw(st.integers(1, 3))):
        gate = builder.choose(*[state.shape[0] for state in states])
        builder.define(sequence(f"g_{k}", gate), builder.activated(builder.sum(gate, 1)))
    for state in states:
        builder.define(state, updated(builder, state))
    if draw(st.booleans()):
        y = sequence("y", K)
        logits = builder.matrix(K, states[0].shape[0]) @ states[0] + builder.vector(K, "b")
        builder.equations.append(Eq(y, builder.choose(softmax, function("tanh"))(logits)))
    return Cell.from_equations("random", "random", builder.equations)


def updated(builder: Builder, state: Value) -> sp.MatrixExpr:
    """What a state becomes: a leaky mixture, a gated sum, or anything through a bounded function."""
    size = state.shape[0]
    gates = [value for value in builder.readable if value.shape[0] == size and value.timed]
    gate = builder.choose(*gates)
    kind = builder.choose("mixture", "gated", "bounded", "bounded")
    squash = function(builder.choose("tanh", "sin", "sigma"))
    if kind == "mixture":
        return function("sigma")(gate) * state.prev + (1 - function("sigma")(gate)) * squash(builder.sum(size, 1))
    if kind == "gated":
        return squash(builder.sum(size, 1)) * builder.choose(*gates) + state.prev / 2
    return squash(builder.sum(size, 1))
