"""Operands run as the text that NumPy's target prints of them, and expressions by the verifier's interpreter, on the same random data."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import sympy as sp

from derive.expressions import values_in
from derive.language import Value
from derive.procedures.lowering import Lowering
from derive.procedures.names import Names
from derive.procedures.procedure import Array, Operand
from derive.procedures.shaping import sizes
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.functions import DEFINITIONS
from derive.targets.numpy.layout import flat
from verify.interpreter import Evaluator, floats

EXTENTS = {"T": 5, "B": 7, "directions": 8, "D": 2, "H": 3, "K": 4, "M": 6}
"""The sizes of axes and dimensions: all different, so that no axis is taken for another one."""
evaluate = Evaluator(floats(), EXTENTS)


@functools.cache
def drawn(value: Value) -> Any:
    """Random numbers for a value, (axes, n, m)."""
    rng = np.random.default_rng(sum(map(ord, str(value.name))) + len(value.axes))
    return rng.standard_normal([*[EXTENTS[axis] for axis in value.axes], *map(evaluate.size, value.shape)])


def lies(value: Value, looped: tuple[str, ...] = ()) -> Array:
    """The array that a value is read from, under its own name."""
    return Array(str(value.name), tuple(axis for axis in value.axes if axis not in looped), sizes(value))


def lowered(expression: sp.MatrixExpr, looped: tuple[str, ...] = ()) -> Operand:
    """The operand of an expression with all its sizes."""
    return Lowering(lambda value: lies(value, looped), looped).whole(expression)


def run(operand: Operand, values: list[Value], dtype: Any, looped: tuple[str, ...] = ()) -> Any:
    """What the printed text of an operand gives; of an axis that is looped over its first position."""
    printer = Printer(Names((), EXTENTS))
    text = flat(printer(operand))
    names: dict[str, Any] = {"np": np, "dtype": np.dtype(dtype), **EXTENTS}
    for name in printer.helpers:
        exec(DEFINITIONS[name], names)
    for value in values:
        array = drawn(value)[tuple(0 if axis in looped else slice(None) for axis in value.axes)]
        lead = array.shape[: array.ndim - 2]
        names[str(value.name)] = array.reshape([*lead, *map(evaluate.size, sizes(value))]).astype(dtype)
    return eval(text, names)


def expected(expression: sp.MatrixExpr, axes: tuple[str, ...], looped: tuple[str, ...] = ()) -> Any:
    """What the interpreter gives, along axes; each value brought to them."""
    env: dict[Value, Any] = {}
    for value in values_in(expression):
        array = drawn(value)[tuple(0 if axis in looped else slice(None) for axis in value.axes)]
        own = [axis for axis in value.axes if axis not in looped]
        places = [EXTENTS[axis] if axis in own else 1 for axis in axes]
        env[value] = array.reshape([*places, *array.shape[array.ndim - 2 :]])
    found = evaluate(expression, env)
    lead = [EXTENTS[axis] for axis in axes]
    return np.broadcast_to(found, (*lead, *found.shape[found.ndim - 2 :])).reshape(
        [*lead, *map(evaluate.size, sizes(expression))]
    )
