"""The numbers of a program's values along a run: the equations evaluated as they stand, for all steps at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from derive.equation import Equation
from derive.language import Value
from derive.shapes import STEPS
from verify.along import number_of
from verify.columns import standing
from verify.interpreter import Evaluator, floats
from verify.jacobian.run import Array, Run


@cache
def functions() -> Evaluator:
    """What evaluates scalar expressions."""
    return Evaluator(floats(), {})


def scalar(expression: sp.Expr, x: Array) -> Array:
    """A SymPy expression in `X`, taken of each element of x."""
    return np.asarray(functions().scalar(sp.sympify(expression))(x))


class Values:
    """Arrays of values: what differs from step to step (T, B, n, m), parameters (n, m), a vector as a column, a number as (1, 1).

    What lies along another axis of steps has that in front, (S, T, B, n, m), or (S, 1, B, n, m) where it is the same at each t.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        cell = run.derivation.cell  # type: ignore[union-attr]
        self.arrays: dict[Value, Array] = {}
        sizes: dict[str, int] = {}
        given = {value: run.parameters[value.name] for value in cell.parameters}
        given |= {value: run.inputs[value.name] for value in (*cell.inputs, *cell.tokens)}
        for state in cell.states:
            given |= {state: run.before[state.name][1:], state.prev: run.before[state.name][:-1]}
        for axis in run.other_axes:
            sizes[axis] = run.dims[axis]
            self.arrays[number_of(axis)] = np.full((1, 1), run.dims[axis])
        for value, array in given.items():
            self.arrays[value] = laid(value, standing(value, array))
            shape = self.arrays[value].shape[-2:]
            sizes |= {dim.name: size for dim, size in zip(value.shape, shape, strict=True) if dim.is_Symbol}
        self.evaluate = Evaluator(floats(), sizes)

    def add(self, equations: Iterable[Equation]) -> None:
        """Evaluate equations in their order; those that are there already are left."""
        for equation in equations:
            if equation.target not in self.arrays:
                self.arrays[equation.target] = self.of(equation.value)

    def size(self, dim: Any) -> int:
        return self.evaluate.size(sp.sympify(dim))

    def exact(self, number: Any) -> sp.Expr:
        """A number in front of an expression, with the sizes of the dimensions in it."""
        return self.evaluate.exact(number)

    def number(self, number: Any) -> float:
        return float(self.exact(number))

    def of(self, node: Any) -> Array:
        """The array of an expression."""
        return self.evaluate(node, self.arrays)


def laid(value: Value, array: Array) -> Array:
    """An array of the kernel's contract with the axis of steps beside T, if there is one, in front of T."""
    if not value.timed or value.along == (STEPS,):
        return array
    return array.swapaxes(0, 1) if STEPS in value.along else np.expand_dims(array, len(value.along))


def evaluated(run: Run) -> Values:
    """The numbers of everything that the forward pass computes."""
    values = Values(run)
    values.add(run.derivation.cell.forward.equations)  # type: ignore[union-attr]
    return values
