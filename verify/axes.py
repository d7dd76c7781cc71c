"""Axes of steps beside T in data that have T alone: how long they are, and what of an array lies along them.

The data of the verifier are (T, B, ...). What lies along another axis of steps, a source, takes the first of those T steps, fewer than
there are, so that the two lengths differ; what has one value an example takes the first step, or gives the last one. What varies along
two axes is seen as a sum over the second of them with weights that tell its positions apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.shapes import STEPS

Array = NDArray[Any]
Along = tuple[str, ...]


def along_of(module: Any) -> dict[str, Along]:
    """Name -> the axes of steps of what lies otherwise than along T, by the table AXES."""
    axes = getattr(module, "AXES", None) or {}
    found = {name: () if axis is None else (axis,) if isinstance(axis, str) else tuple(axis) for name, axis in axes.items()}
    return {name: along for name, along in found.items() if along != (STEPS,)}


def length_of(axis: str, steps: int) -> int:
    """How many steps an axis has where T has so many: fewer, as soon as there are three."""
    return steps if axis == STEPS else steps - steps // 3


def weights_of(count: int, like: Array) -> Array:
    """Weights of the positions of an axis: all different, none 0; whole numbers for arrays of exact ones."""
    if like.dtype == object:
        return np.arange(1, count + 1).astype(object)
    return np.asarray(1 + 0.37 * np.cos(1 + 2 * np.arange(count))).astype(like.real.dtype)


def taken(array: Array, along: Along, at: int) -> Array:
    """What a call gets of an array (T, B, ...) for what lies along some axes; of none the position `at`."""
    steps = len(array)
    if not along:
        return array[at] if steps else np.zeros(array.shape[1:], array.dtype)
    first = array[: length_of(along[0], steps)]
    for axis in along[1:]:
        weights = weights_of(length_of(axis, steps), array)
        first = first[:, None] * weights.reshape(1, -1, *[1] * (array.ndim - 1))
    return first


def given(array: Array, along: Along, at: int, steps: int) -> Array:
    """What comes of a call as an array (T, B, ...), zeros where nothing lies."""
    array = np.asarray(array)
    for axis in along[1:]:
        weights = weights_of(length_of(axis, steps), array)
        array = (array * weights.reshape(1, -1, *[1] * (array.ndim - 2))).sum(axis=1)
    if not along:
        found = np.zeros((steps, *array.shape), array.dtype)
        if steps:
            found[at] = array
        return found
    found = np.zeros((steps, *array.shape[1:]), array.dtype)
    found[: len(array)] = array
    return found


def lengths_of(axes: Along, steps: int) -> Mapping[str, int]:
    """The length of each axis of a cell."""
    return {axis: length_of(axis, steps) for axis in dict.fromkeys((STEPS, *axes))}
