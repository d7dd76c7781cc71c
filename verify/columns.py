"""Arrays of the contract as those of the language, and back: a number is (1, 1), a vector a column (n, 1), a matrix itself.

Axes in front, of time, examples or directions, stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.language import Value
from derive.shapes import rank

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
