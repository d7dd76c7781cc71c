"""Arrays of the contract as those of the language, and back: a number is (1, 1), a vector a column (n, 1), a matrix itself.

Axes in front, of time, examples or directions, stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.language import Value

Array = NDArray[Any]


def rank_of(value: Value) -> int:
    """How many dimensions the contract gives a value for one example at one step: 0 a number, 1 a vector, 2 a matrix."""
    rows, cols = value.shape
    return 2 if cols != 1 else 0 if rows == 1 else 1


def standing(value: Value, array: Array) -> Array:
    """(..., n) as (..., n, 1), a number (...) as (..., 1, 1)."""
    return raised(array, 2 - rank_of(value))


def lying(value: Value, array: Array) -> Array:
    """The reverse."""
    return lowered(array, 2 - rank_of(value))


def raised(array: Array, by: int) -> Array:
    """So many axes of length 1 behind."""
    return np.asarray(array).reshape(*np.shape(array), *[1] * by)


def lowered(array: Array, by: int) -> Array:
    """So many axes of length 1 fewer."""
    return array.reshape(array.shape[: array.ndim - by])
