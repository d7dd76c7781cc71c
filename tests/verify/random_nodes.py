"""Random cells of numbers, vectors and matrices: matrix memories, learned numbers, reductions, products of quantities of a step."""

from __future__ import annotations

from typing import Any

import sympy as sp
from hypothesis import strategies as st

from derive.along import axes_of
from derive.cell import Cell
from derive.comparisons import maximum, minimum
from derive.functions import function
from derive.language import (
    Eq,
    Identity,
    Value,
    X,
    apply,
    diagonal,
    hadamard,
    matmul,
    matrix,
    number,
    sequence,
    transpose,
    vector,
)
from derive.reductions import (
    cumax,
    cumulative,
    inner,
    largest,
    layer_norm,
    log_softmax,
    logsumexp,
    mean,
    power,
    rms_norm,
    softmax,
    squared_norm,
    total,
    variance,
)
from derive.shapes import is_scalar, is_vector
from tests.verify.random_cells import D, H, K

Expression = sp.MatrixExpr
sigma, tanh, sin, softplus = (function(name) for name in ("sigma", "tanh", "sin", "softplus"))


def root(expression: Expression) -> Expression:
    """sqrt(1 + z), of what is never below 0: a root has no derivative at 0."""
    return apply(sp.sqrt(X + 1), expression)


REDUCTIONS = {
    "total": total, "mean": mean, "variance": variance, "squared norm": squared_norm, "norm": lambda u: root(squared_norm(u)),
    "largest": largest, "logsumexp": logsumexp,
}  # fmt: skip
OF_MATRICES = ("total", "mean", "squared norm", "norm")
ALONG = {
    "softmax": softmax, "cumulative": cumulative, "from the end": lambda u: cumulative(u, backwards=True), "cumax": cumax,
    "layer norm": layer_norm, "rms norm": rms_norm, "log softmax": log_softmax, "tanh": tanh, "sin": sin,
}  # fmt: skip


class Shapes:
    """Draws expressions of any shape from what can be read: inputs, states before, gates so far, parameters that may be shared."""

    def __init__(self, draw: Any, readable: list[Value]) -> None:
        self.draw, self.readable, self.parameters = draw, readable, []
        self.equations: list[sp.Equality] = []

    def choose(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def of_shape(self, *shape: Any) -> list[Value]:
        return [value for value in self.readable if value.shape == shape]

    def learned(self, rows: Any, cols: Any = 1) -> Expression:
        """A parameter of that shape: a new one, one that is there, or the transpose of one."""
        known = [p for p in self.parameters if p.shape == (rows, cols)]
        known += [p.T for p in self.parameters if p.shape == (cols, rows) and cols != 1 != rows]
        if known and self.choose(True, False, False):
            return self.choose(*known)
        name = f"p_{len(self.parameters)}"
        new = number(name) if rows == 1 else vector(name, rows) if cols == 1 else matrix(name, rows, cols)
        self.parameters.append(new)
        return new

    # ---- numbers

    def number(self, depth: int = 1) -> Expression:
        kind = self.choose("read", "weighted", "inner", "reduced", "reduced", "bilinear", "scaled", "sum")
        if depth == 0 and kind in ("bilinear", "scaled", "sum"):
            kind = "inner"
        known = self.of_shape(1, 1)
        match kind:
            case "read" if known:
                return self.choose(*known)
            case "inner":
                size = self.choose(H, K)
                return inner(self.vector(size, 0), self.vector(size, 0))
            case "bilinear":
                return transpose(self.vector(H, 0)) @ self.matrix(0) @ self.vector(K, 0)
            case "scaled":
                return self.learned(1) * self.number(0)
            case "sum":
                return self.number(0) + self.choose(self.learned(1), sp.Rational(1, 2), self.number(0))
            case "reduced":
                return self.reduced()
        size = self.choose(H, K)
        return transpose(self.learned(size)) @ self.vector(size, 0)

    def reduced(self) -> Expression:
        if self.choose(True, False, False) and self.of_shape(H, K):
            return REDUCTIONS[self.choose(*OF_MATRICES)](hadamard(self.matrix(0), self.matrix(0)))
        return REDUCTIONS[self.choose(*REDUCTIONS)](self.vector(self.choose(H, K), 0))

    def gate(self) -> Expression:
        """A number between 0 and 1."""
        return sigma(self.number())

    # ---- vectors

    def vector(self, size: Any, depth: int = 1) -> Expression:
        known = self.of_shape(size, 1)
        kind = self.choose("read", "product", "product", "memory", "along", "scaled", "elementwise", "compared", "power")
        if depth == 0 and kind not in ("read", "memory"):
            kind = "product"
        match kind:
            case "read" if known:
                return self.choose(*known)
            case "memory" if self.of_shape(H, K):
                memory = self.matrix(0)
                return memory @ self.vector(K, 0) if size == H else transpose(memory) @ self.vector(H, 0)
            case "along":
                return ALONG[self.choose(*ALONG)](self.vector(size, 0))
            case "scaled":
                return self.number(0) * self.vector(size, 0)
            case "elementwise":
                return self.vector(size, 0) * self.vector(size, 0) + self.learned(size)
            case "compared":
                return self.choose(maximum, minimum)(self.vector(size, 0), self.vector(size, 0))
            case "power":
                return power(sigma(self.vector(size, 0)), self.choose(self.learned(1), softplus(self.vector(size, 0))))
        read = self.choose(*[value for value in self.readable if is_vector(value)])
        return self.learned(size, read.shape[0]) @ read

    # ---- matrices (H, K)

    def matrix(self, depth: int = 1) -> Expression:
        known = self.of_shape(H, K)
        kind = self.choose("read", "outer", "outer", "scaled", "rows", "products", "erased", "learned")
        if depth == 0 and kind != "learned":
            kind = "read" if known else "outer"
        old = self.choose(*known) if known else self.learned(H, K)
        match kind:
            case "read":
                return old
            case "scaled":
                return self.number(0) * old
            case "rows":
                return diagonal(sigma(self.vector(H, 0))) @ old
            case "products":
                return self.choose(self.learned(H, H) @ old, hadamard(old, self.learned(H, K)))
            case "erased":
                k = softmax(self.vector(K, 0))
                return old @ (Identity(K) - self.gate() * (k @ transpose(k)))
            case "learned":
                return self.learned(H, K)
        return matmul(self.vector(H, 0), transpose(self.vector(K, 0)))

    # ---- equations

    def define(self, target: Value, right: Expression) -> None:
        self.equations.append(Eq(target, right))
        self.readable.append(target)

    def of(self, value: Value) -> Expression:
        """An expression of a value's shape that differs from step to step."""
        found = self.number() if is_scalar(value) else self.vector(value.shape[0]) if is_vector(value) else self.matrix()
        return found if axes_of(found) else self.number(0) * found + transpose(self.learned(D)) @ self.readable[0]

    def updated(self, state: Value) -> Expression:
        """What a state becomes: a mixture by a gate, or anything through a bounded function."""
        squash = self.choose(tanh, sin, sigma)(self.of(state))
        match self.choose("mixture", "decay", "bounded"):
            case "mixture":
                return self.gate() * state.prev + self.gate() * squash
            case "decay":
                return sp.Rational(1, 2) * state.prev + squash
        return squash


@st.composite
def shaped_cells(draw: Any) -> Cell:
    """A checked cell with a vector as input, perhaps a number and a matrix too, and one to three states and outputs of any shape."""
    inputs = [sequence("x", D), *draw(st.sampled_from([[], [sequence("m")], [sequence("A", H, K)]]))]
    states = draw(st.permutations([sequence("C", H, K), sequence("h", H), sequence("s"), sequence("n", K)]))[
        : draw(st.integers(1, 3))
    ]
    shapes = Shapes(draw, [*inputs, *[state.prev for state in states]])
    first = shapes.choose(H, K)
    shapes.define(sequence("k", first), shapes.learned(first, D) @ inputs[0] + shapes.vector(first, 0))
    for name, kind in zip("fg", draw(st.lists(st.sampled_from(["number", "vector", "matrix"]), max_size=2)), strict=False):
        target = {"number": sequence(name), "vector": sequence(name, H), "matrix": sequence(name, H, K)}[kind]
        shapes.define(target, sigma(shapes.of(target)))
    for state in states:
        shapes.define(state, shapes.updated(state))
    if draw(st.booleans()):
        late = sequence(f"{states[0].name}_delayed", *states[0].shape)
        shapes.equations.append(Eq(late, states[0].prev))
        shapes.readable.append(late.prev)
        shapes.define(sequence("d", *states[0].shape), sin(shapes.of(states[0])) + late.prev)
    output = shapes.choose(sequence("y", K), sequence("y"), sequence("y", H, K), None)
    if output is not None:
        shapes.equations.append(Eq(output, tanh(shapes.of(output))))
    return Cell.from_equations("random", "random", shapes.equations)
