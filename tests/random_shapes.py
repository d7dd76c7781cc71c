"""Cells of numbers, vectors and matrices drawn at random: reductions, products of all kinds, states of any shape, delays."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import sympy as sp
from sympy import MatrixExpr as Matrix

from derive.blocks import rows, stack
from derive.cell import Cell, CellError
from derive.comparisons import maximum, minimum
from derive.functions import function
from derive.language import Eq, Identity, Ones, Value, X, apply, diagonal, dimension, hadamard, matmul, scale, transpose
from derive.reductions import (
    cumax,
    cumulative,
    first_largest,
    inner,
    largest,
    layer_norm,
    log_softmax,
    logsumexp,
    mean,
    norm,
    power,
    rms_norm,
    softmax,
    squared_norm,
    total,
    variance,
)

D, H, K = (dimension(name) for name in "DHK")
SIZES = {"D": 2, "H": 3, "K": 4}
Shape = tuple[Any, Any]
NUMBER: Shape = (1, 1)
LENGTHS = (D, H, K)
BOUNDED = ("tanh", "sigma", "sin", "softsign", "hardtanh")
FUNCTIONS = (*BOUNDED, "relu", "softplus", "gelu", "elu", "abs", "silu", "identity")
tanh, sigma = function("tanh"), function("sigma")


class Draw:
    """One random cell: up to three states and two inputs of any shapes, gates, outputs, shared parameters, delayed states."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.parameters: list[Value] = []
        self.equations: list[sp.Equality] = []
        self.inputs = [Value(name, *self.shape()) for name in ("x", "u")[: self.random.randint(1, 2)]]
        self.states = [Value(name, *self.shape()) for name in self.random.sample(["h", "c", "S"], self.random.randint(1, 3))]
        self.known: list[Matrix] = [*[state.prev for state in self.states], *self.inputs]

    # ---- choices

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def shape(self) -> Shape:
        """A number, a vector or a matrix."""
        kind, rows_, cols = self.random.random(), self.random.choice(LENGTHS), self.random.choice(LENGTHS)
        return NUMBER if kind < 0.25 else (rows_, 1) if kind < 0.7 else (rows_, cols)

    def one_of(self, *makers: Callable[[], Matrix]) -> Matrix:
        return self.random.choice(makers)()

    def length(self) -> Any:
        return self.random.choice(LENGTHS)

    # ---- values

    def parameter(self, shape: Shape) -> Matrix:
        """A parameter of that shape: a new one, one that is there, or the transpose of one."""
        rows_, cols = shape
        old = [one for one in self.parameters if one.shape == shape]
        old += [transpose(one) for one in self.parameters if one.shape == (cols, rows_) and 1 not in shape]
        if old and self.chance(0.4):
            return self.random.choice(old)
        if rows_ == 1 and cols != 1:
            return transpose(self.parameter((cols, rows_)))
        self.parameters.append(Value(f"W_{len(self.parameters)}", rows_, cols, axes=()))
        return self.parameters[-1]

    def leaf(self, shape: Shape) -> Matrix:
        """Something of that shape that is known, a parameter, or a product of the two."""
        fitting = [value for value in self.known if value.shape == shape]
        fitting += [transpose(value) for value in self.known if value.shape == shape[::-1] and 1 not in shape]
        if fitting and self.chance(0.6):
            return self.random.choice(fitting)
        if self.chance(0.25):
            return self.parameter(shape)
        value = self.random.choice(self.known)
        if value.shape[1] == 1 == shape[1] and value.shape != NUMBER:
            return matmul(self.parameter((shape[0], value.shape[0])), value)
        return self.reshaped(value, shape)

    def reshaped(self, value: Matrix, shape: Shape) -> Matrix:
        """A value brought to a shape by parameters from both sides; a number scales one."""
        if value.shape == NUMBER or shape == NUMBER:
            return hadamard(value if value.shape == NUMBER else total(value), self.parameter(shape))
        left, right = self.parameter((shape[0], value.shape[0])), self.parameter((value.shape[1], shape[1]))
        return matmul(left, value, right)

    # ---- expressions

    def expression(self, shape: Shape, depth: int) -> Matrix:
        if depth == 0 or self.chance(0.1):
            return self.leaf(shape)
        if self.chance(0.55):
            return self.of_any_shape(shape, depth - 1)
        if shape == NUMBER:
            return self.number(depth - 1)
        return self.vector(shape[0], depth - 1) if shape[1] == 1 else self.matrix(shape, depth - 1)

    def of_any_shape(self, shape: Shape, depth: int) -> Matrix:
        """What numbers, vectors and matrices have in common."""
        a = partial(self.expression, shape, depth)
        number, k = (
            partial(self.expression, NUMBER, depth),
            self.random.choice([2, -1, sp.Rational(-1, 3), 1 / sp.sqrt(shape[0])]),
        )
        activation = function(self.random.choice(FUNCTIONS))
        return self.one_of(
            lambda: a() + a(),
            lambda: a() - a(),
            lambda: hadamard(a(), a()),
            lambda: hadamard(a(), a(), self.leaf(shape)),
            lambda: hadamard(1 - sigma(a()), a()),
            lambda: activation(a()),
            lambda: activation(a()),
            lambda: scale(k, a()),
            lambda: hadamard(number(), a()),
            lambda: a() + number(),
            lambda: self.random.choice([maximum, minimum])(a(), a()),
            lambda: a() / (1 + apply(X**2, a())),
            lambda: power(sigma(a()) + 1, tanh(a())),
            lambda: power(2, tanh(a())),
        )

    def number(self, depth: int) -> Matrix:
        """A number of a vector or a matrix."""
        n = self.length()
        a = partial(self.expression, (n, 1) if self.chance(0.7) else (n, self.length()), depth)
        v, leaf = partial(self.expression, (n, 1), depth), partial(self.leaf, (n, 1))
        return self.one_of(
            lambda: self.random.choice([total, mean, variance, squared_norm])(a()),
            lambda: self.random.choice([largest, logsumexp])(v()),
            lambda: norm(stack(v(), Ones(1, 1))),
            lambda: self.pair(inner, a()),
            lambda: matmul(transpose(v()), leaf()),
            lambda: matmul(transpose(leaf()), self.leaf((n, n)), v()),
            lambda: rows(v(), 0, 1),
        )

    def pair(self, product: Callable[[Matrix, Matrix], Matrix], a: Matrix) -> Matrix:
        return product(a, self.leaf(a.shape))

    def vector(self, n: Any, depth: int) -> Matrix:
        """A vector of matrices, vectors and numbers."""
        m = self.length()
        a, v = partial(self.expression, (n, 1), depth), partial(self.expression, (m, 1), depth)
        along = self.random.choice([softmax, cumulative, layer_norm, rms_norm, log_softmax, cumax])
        return self.one_of(
            lambda: along(a()),
            lambda: along(a()),
            lambda: cumulative(a(), backwards=True),
            lambda: hadamard(first_largest(self.leaf((n, 1))), a()),
            lambda: matmul(self.leaf((n, m)), v()),
            lambda: matmul(self.leaf((n, m)), v()),
            lambda: matmul(transpose(self.leaf((m, n))), self.leaf((m, n)), a()),
            lambda: matmul(a(), transpose(v()), self.leaf((m, 1))),
            lambda: matmul(self.leaf((n, m)), Ones(m, 1)),
            lambda: rows(stack(v(), a(), self.leaf(NUMBER)), m, m + n),
            lambda: matmul(self.parameter((n, m + n)), stack(v(), a())),
            lambda: matmul(Identity(n) - matmul(a(), transpose(self.leaf((n, 1)))), self.leaf((n, 1))),
        )

    def matrix(self, shape: Shape, depth: int) -> Matrix:
        """A matrix of vectors and matrices."""
        n, m = shape
        k = self.length()
        a, b, A = (partial(self.expression, size, depth) for size in ((n, 1), (m, 1), shape))
        return self.one_of(
            lambda: matmul(a(), transpose(b())),
            lambda: matmul(a(), transpose(b())),
            lambda: matmul(self.leaf((n, k)), self.leaf((k, m))),
            lambda: matmul(diagonal(a()), A()),
            lambda: matmul(A(), diagonal(b())),
            lambda: matmul(Identity(n) - self.pair(lambda u, v: matmul(u, transpose(v)), a()), A()),
            lambda: transpose(self.expression((m, n), depth)),
            lambda: cumulative(A()),
            lambda: rows(stack(self.leaf((k, m)), A()), k, k + n),
        )

    # ---- the cell

    def bounded(self, shape: Shape, depth: int) -> Matrix:
        """An expression that stays small from step to step."""
        right = self.expression(shape, depth)
        if shape[1] == 1 and shape != NUMBER and self.chance(0.2):
            return self.random.choice([softmax, layer_norm, rms_norm])(right)
        return function(self.random.choice(BOUNDED))(right)

    def define(self, target: Value, right: Matrix) -> None:
        self.equations.append(Eq(target, right))
        self.known.append(target)

    def delay(self, state: Value) -> None:
        """One or two more steps back: a state of its own behind what it delays."""
        for k in range(1, self.random.randint(2, 3)):
            behind = state.like(name=f"{self.states[0].name}_delayed_{k}")
            self.define(behind, state.prev)
            self.known.append(behind.prev)
            state = behind

    def cell(self) -> Cell:
        if self.chance(0.3):
            self.delay(self.states[0])
        for name in ("z", "r", "g")[: self.random.randint(0, 3)]:
            gate = Value(name, *self.shape())
            self.define(gate, self.bounded(gate.shape, 2) if self.chance(0.6) else self.expression(gate.shape, 2))
        for state in self.states:
            decayed = hadamard(sigma(self.expression(NUMBER, 1)), state.prev) if self.chance(0.3) else None
            new = self.bounded(state.shape, 3)
            self.define(state, new if decayed is None else decayed + new)
        for name in ("y", "J")[: self.random.randint(0, 2)]:
            output = Value(name, *self.shape())
            self.define(output, self.expression(output.shape, 2))
        return Cell.from_equations("own", "own", self.equations)


def cell(seed: int) -> Cell:
    """The random cell of a seed, one that reads an input; seeds are tried from there on."""
    for attempt in range(100):
        try:
            return Draw(1000 * seed + attempt).cell()
        except CellError as error:
            if "no input" not in str(error):
                raise
    raise AssertionError(f"no cell with an input near seed {seed}")
