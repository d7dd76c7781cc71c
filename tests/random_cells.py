"""Cells drawn at random, for whatever has to work on equations that nobody has seen."""

from __future__ import annotations

import random
from typing import Any

import sympy as sp

from derive.blocks import stack
from derive.cell import Cell, CellError
from derive.comparisons import clip, maximum, minimum
from derive.functions import function
from derive.language import Eq, Value, dimension, matrix, sequence, vector
from derive.reductions import softmax
from derive.shapes import is_vector

DIMENSIONS = {name: dimension(name) for name in "DEHKM"}
INNER = [DIMENSIONS[name] for name in "HKM"]
FUNCTIONS = ("sigma", "tanh", "relu", "softplus", "gelu", "elu", "sin", "identity")


class Draw:
    """One random cell: up to three states of any sizes, two inputs, gates, outputs, shared, transposed and unread parameters."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.parameters: list[Value] = []
        count = self.random.randint
        self.states = [sequence(name, self.random.choice(INNER)) for name in self.random.sample(["h", "c", "m"], count(1, 3))]
        self.inputs = [sequence(name, self.random.choice([*DIMENSIONS.values()])) for name in ("x", "u")[: count(1, 2)]]
        self.known = [*[state.prev for state in self.states], *self.inputs]

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def new(self, value: Value) -> Value:
        self.parameters.append(value)
        return value

    def matrix(self, rows: Any, columns: Any) -> sp.MatrixExpr:
        """A matrix of that shape: a new one, one that is there, or the transpose of one."""
        old = [p for p in self.parameters if p.shape == (rows, columns)]
        turned = [p.T for p in self.parameters if p.shape == (columns, rows) and not is_vector(p)]
        if (old or turned) and self.chance(0.4):
            return self.random.choice([*old, *turned])
        name = f"W_{len(self.parameters)}"
        return self.new(matrix(name, columns, rows)).T if self.chance(0.2) else self.new(matrix(name, rows, columns))

    def leaf(self, size: Any) -> sp.MatrixExpr:
        """A value, a vector of parameters, or a product with something known."""
        fitting = [value for value in self.known if value.shape[0] == size]
        if fitting and self.chance(0.5):
            return self.random.choice(fitting)
        if self.chance(0.25):
            old = [p for p in self.parameters if p.shape == (size, 1)]
            return self.random.choice(old) if old and self.chance(0.4) else self.new(vector(f"b_{len(self.parameters)}", size))
        value = stack(*self.random.sample(self.known, 2)) if self.chance(0.1) else self.random.choice(self.known)
        return self.matrix(size, value.shape[0]) @ value

    def expression(self, size: Any, depth: int) -> sp.MatrixExpr:
        """A random expression of some size."""
        if depth == 0 or self.chance(0.15):
            return self.leaf(size)
        inner = self.expression(size, depth - 1)
        kinds = {
            "sum": lambda: inner + self.expression(size, depth - 1),
            "difference": lambda: inner - self.expression(size, depth - 1),
            "product": lambda: inner * self.expression(size, depth - 1),
            "gate": lambda: (1 - inner) * self.expression(size, depth - 1),
            "number": lambda: self.random.choice([2, -1, 0.5, sp.Rational(-1, 3)]) * inner,
            "matrix": lambda: self.matrix(size, size) @ inner,
            "softmax": lambda: softmax(inner),
            "larger": lambda: maximum(inner, self.expression(size, depth - 1)),
            "smaller": lambda: minimum(inner, self.expression(size, depth - 1)),
            "clipped": lambda: clip(inner, -0.5, 0.25),
            "function": lambda: function(self.random.choice(FUNCTIONS))(inner),
        }
        return self.random.choices([*kinds.values()], weights=(4, 1, 3, 1, 1, 1, 0.6, 0.5, 0.5, 0.3, 4))[0]()

    def equations(self) -> list[sp.Equality]:
        found = []
        for name in ("z", "r", "g")[: self.random.randint(0, 3)]:
            gate = sequence(name, self.random.choice(INNER))
            found.append(Eq(gate, function("sigma")(self.expression(gate.shape[0], 2))))
            self.known.append(gate)
        for state in self.states:
            right = self.expression(state.shape[0], 3)
            found.append(Eq(state, function("tanh")(right) if self.chance(0.7) else right))
            self.known.append(state)
        for name in ("y", "o")[: self.random.randint(0, 2)]:
            output = sequence(name, self.random.choice([*DIMENSIONS.values()]))
            found.append(Eq(output, self.expression(output.shape[0], 2)))
        return found


def cell(seed: int) -> Cell:
    """The random cell of a seed, one that reads an input; seeds are tried from there on."""
    for attempt in range(100):
        try:
            return Cell.from_equations("own", "own", Draw(1000 * seed + attempt).equations())
        except CellError as error:
            if "no input" not in str(error):
                raise
    raise AssertionError(f"no cell with an input near seed {seed}")
