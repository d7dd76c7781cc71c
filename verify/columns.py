"""Arrays of the contract as those of the language, and back: a number is (1, 1), a vector a column (n, 1), a matrix itself.

Axes in front, of time, examples or directions, stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from derive.language import Value
from derive.shapes import rank

if TYPE_CHECKING:
    from derive.cell import Cell

Array = NDArray[Any]


def standing(value: Value, array: Array) -> Array:
    """(..., n) as (..., n, 1), a number (...) as (..., 1, 1)."""
    return raised(array, 2 - rank(value))


def lying(value: Value, array: Array) -> Array:
    """The reverse."""
    return lowered(array, 2 - rank(value))


def raised(array: Array, by: int) -> Array:
    """So many axes of length 1 behind."""
    return np.asarray(array).reshape(*np.shape(array), *[1] * by)


def lowered(array: Array, by: int) -> Array:
    """So many axes of length 1 fewer."""
    return array.reshape(array.shape[: array.ndim - by])


def initial(cell: Cell, state: Mapping[str, Array], cast: Callable[[Array], Array] = np.asarray) -> dict[Any, Array]:
    """What the first step reads of the one before, or the last one of the one behind, by the value that is read: of the states."""
    return {v: standing(v, cast(state[str(v.name)])) for v in cell.carried if str(v.name) in state}


def given_once(cell: Cell, inputs: Mapping[str, Array], cast: Callable[[Array], Array] = np.asarray) -> dict[Any, Array]:
    """The inputs that have one value an example: the first step of their array, zeros where there is none."""
    found = {v: cast(inputs[str(v.name)]) for v in cell.inputs if not v.has_steps}
    found |= {v: inputs[str(v.name)] for v in cell.tokens if not v.has_steps}
    return {v: standing(v, a[0] if len(a) else np.zeros(a.shape[1:], a.dtype)) for v, a in found.items()}
