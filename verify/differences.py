"""Gradients by difference quotients: complex step and central differences. Imports nothing of the project: an independent route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Loss = Callable[[dict[str, Array]], Any]

COMPLEX_STEP = 1e-30
"""So small that the truncation error h²/6 f''' vanishes beside the rounding of f' itself."""


def central_step(dtype: Any) -> float:
    """The step that balances truncation h² and rounding eps/h: eps to the power 1/3."""
    return float(np.finfo(dtype).eps) ** (1 / 3)


def complex_step(loss: Loss, arrays: Arrays, names: list[str] | None = None) -> dict[str, Array]:
    """dL/d(array) for each array by Im L(a + ih)/h, exact to rounding wherever L is analytic.

    loss maps arrays to a number and must run in complex128. Returns arrays of the shapes of `arrays`.
    """
    moved = {name: array.astype(np.complex128) for name, array in arrays.items()}
    gradients = {}
    for name in names or list(arrays):
        gradient = np.empty(arrays[name].shape)
        for index in np.ndindex(gradient.shape):
            moved[name][index] += 1j * COMPLEX_STEP
            gradient[index] = loss(moved).imag / COMPLEX_STEP
            moved[name][index] = arrays[name][index]
        gradients[name] = gradient
    return gradients


def central(loss: Loss, arrays: Arrays, step: float | None = None, names: list[str] | None = None) -> dict[str, Array]:
    """dL/d(array) for each array by (L(a + h) - L(a - h)) / 2h."""
    moved = {name: array.copy() for name, array in arrays.items()}
    gradients = {}
    for name in names or list(arrays):
        h = step or central_step(arrays[name].dtype)
        gradient = np.empty(arrays[name].shape)
        for index in np.ndindex(gradient.shape):
            before = arrays[name][index]
            moved[name][index] = before + h
            above = loss(moved)
            moved[name][index] = before - h
            below = loss(moved)
            moved[name][index] = before
            gradient[index] = (above - below) / (2 * h)
        gradients[name] = gradient
    return gradients
