"""The numbers of a program's values along a run: the equations evaluated as they stand, for all steps at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from derive.blocks import Rows, Stack
from derive.expressions import matrix_parts
from derive.functions import DEFINITIONS, NUMPY
from derive.language import Apply, Diagonal, Hadamard, Identity, Ones, Plus, Times, Transposed, Value, X, Zeros, coefficient
from derive.reductions import Softmax
from verify.jacobian.run import Array, Run, RunError


@cache
def numpy_functions() -> dict[Any, Callable[[Array], Array]]:
    """SymPy function -> NumPy function, by the table and the helpers that the emitted code is made of."""
    namespace: dict[str, Any] = {"np": np}
    for text in DEFINITIONS.values():
        exec(text, namespace)
    functions = {kind: eval(f"lambda z: {call.format('z')}", namespace) for kind, call in NUMPY.items()}
    return functions | {"softmax": namespace["softmax"]}


def scalar(expression: sp.Expr, x: Array) -> Array:
    """A SymPy expression in `X`, taken of each element of x."""
    match expression:
        case sp.Symbol() if expression == X:
            return x
        case sp.Add():
            return np.asarray(sum(scalar(part, x) for part in expression.args))
        case sp.Mul():
            product: Any = 1.0
            for part in expression.args:
                product = product * scalar(part, x)
            return np.asarray(product)
        case sp.Pow():
            return np.asarray(
                scalar(expression.base, x) ** (int(expression.exp) if expression.exp.is_Integer else float(expression.exp))
            )
        case sp.Function():
            return numpy_functions()[expression.func](scalar(expression.args[0], x))
    return np.asarray(float(expression))


class Values:
    """Arrays of values: timed ones (T, B, n, 1), parameters (n, m), vectors among them as columns."""

    def __init__(self, run: Run) -> None:
        self.run = run
        cell = run.derivation.cell  # type: ignore[union-attr]
        self.arrays: dict[Value, Array] = {}
        self.sizes: dict[sp.Symbol, int] = {}
        for value in cell.parameters:
            array = run.parameters[value.name]
            self.put(value, array[:, None] if array.ndim == 1 else array)
        for value in cell.inputs:
            self.put(value, run.inputs[value.name][..., None])
        for state in cell.states:
            self.put(state, run.before[state.name][1:][..., None])
            self.put(state.prev, run.before[state.name][:-1][..., None])

    def put(self, value: Value, array: Array) -> None:
        self.arrays[value] = array
        for dim, size in zip(value.shape, array.shape[-2:], strict=True):
            if isinstance(dim, sp.Symbol):
                self.sizes[dim] = size

    def add(self, equations: Any) -> None:
        """Evaluate equations in their order; those that are there already are left."""
        for equation in equations:
            if equation.target not in self.arrays:
                self.put(equation.target, self.of(equation.value))

    def size(self, dim: Any) -> int:
        if isinstance(dim, sp.Symbol):
            return self.sizes[dim]
        return int(dim.subs(self.sizes)) if isinstance(dim, sp.Expr) and dim.free_symbols else int(dim)

    def of(self, node: Any) -> Array:
        """The array of an expression without Jacobian blocks."""
        if isinstance(node, Value):
            return self.arrays[node]
        if isinstance(node, (Ones, Zeros, Identity)):
            shape = [self.size(dim) for dim in node.shape]
            return np.eye(shape[0]) if isinstance(node, Identity) else np.full(shape, float(isinstance(node, Ones)))
        number, rest = coefficient(node)
        if number != 1:
            return float(number) * self.of(rest)
        parts = [self.of(part) for part in matrix_parts(node)]
        match node:
            case Plus():
                return sum(parts[1:], parts[0])
            case Hadamard():
                product = parts[0]
                for part in parts[1:]:
                    product = product * part
                return product
            case Times():
                product = parts[-1]
                for part in reversed(parts[:-1]):
                    product = part @ product
                return product
            case Transposed():
                return parts[0].swapaxes(-1, -2)
            case Apply():
                return np.broadcast_to(scalar(node.scalar, parts[0]), parts[0].shape)
            case Stack():
                around = np.broadcast_shapes(*[part.shape[:-2] for part in parts])
                return np.concatenate([np.broadcast_to(part, (*around, *part.shape[-2:])) for part in parts], axis=-2)
            case Rows():
                return parts[0][..., self.size(node.args[1]) : self.size(node.args[2]), :]
            case Softmax():
                return numpy_functions()["softmax"](parts[0])  # type: ignore[index]
            case Diagonal():
                return parts[0] * np.eye(parts[0].shape[-2])
        raise RunError(
            f"{self.run.name}: no value for {type(node).__name__}: expected a node of derive.language. Add it to values.py."
        )
