"""Derivatives by difference quotients: complex step and central differences. Imports nothing of the project: an independent route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Loss = Callable[[dict[str, Array]], Any]
Run = Callable[[dict[str, Array]], dict[str, Array]]

COMPLEX_STEP = 1e-30
"""So small that the truncation error h²/6 f''' vanishes beside the rounding of f' itself."""

LADDER = tuple(2.0**-k for k in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 17, 20))
"""Steps from where the rounding of f is worth 1e-15 to where 1e-10: large ones for smooth functions, small ones beside kinks."""
ORDERS = 6
"""How often the ladder is extrapolated: the truncation error of order h**14 is far below rounding then."""

ROUGH = 1e4
"""How many times its own size what an output is summed of may be, where differences tell its rounding from a kink."""


class NotAnalytic(ValueError):
    """The function doesn't take complex numbers, or drops their imaginary part."""


def central_step(dtype: Any) -> float:
    """The step that balances truncation h² and rounding eps/h: eps to the power 1/3."""
    return float(float(np.finfo(dtype).eps) ** (1 / 3))


def moved(arrays: Arrays, direction: Arrays, by: Any) -> dict[str, Array]:
    """arrays + by * direction; a block that the direction doesn't have stays, in the dtype of `by` all the same."""
    kind = np.result_type(type(by), np.float64)
    return {
        name: array.astype(kind) + by * direction[name] if name in direction else array.astype(kind)
        for name, array in arrays.items()
    }


def complex_tangents(run: Run, arrays: Arrays, direction: Arrays, step: float = COMPLEX_STEP) -> dict[str, Array]:
    """How each output of `run` moves along a direction: Im f(a + ih u)/h, exact to rounding wherever f is analytic.

    Raises NotAnalytic where f raises on complex numbers or returns real ones.
    """
    try:
        outputs = run(moved(arrays, direction, 1j * step))
    except Exception as error:
        raise NotAnalytic(f"forward raises {type(error).__name__} on complex arrays") from error
    for name, array in outputs.items():
        if not np.iscomplexobj(array):
            raise NotAnalytic(f"forward returns {name} as {array.dtype} for complex arrays")
    return {name: array.imag / step for name, array in outputs.items()}


def extrapolated_tangents(run: Run, arrays: Arrays, direction: Arrays) -> tuple[dict[str, Array], dict[str, Array]]:
    """(how each output moves along a direction, an estimate of the absolute error): central differences on a ladder of steps."""
    here = run(moved(arrays, direction, 0.0))
    above = [run(moved(arrays, direction, step)) for step in LADDER]
    below = [run(moved(arrays, direction, -step)) for step in LADDER]
    found = {
        name: extrapolated(np.array([one[name] for one in above]), np.array([one[name] for one in below]), array)
        for name, array in here.items()
    }
    return {name: slope for name, (slope, _) in found.items()}, {name: error for name, (_, error) in found.items()}


def extrapolated(above: Array, below: Array, here: Array) -> tuple[Array, Array]:
    """(the slope of each element, an estimate of its absolute error) from f(a + h u) and f(a - h u) for each step of the ladder.

    Neville's extrapolation of (f(a + h) - f(a - h))/2h to h = 0, and of each element the entry of the table whose error is least: what
    neighbours in the table differ by, and rounding over the step. Where a kink lies within a step, the entries that use it disagree
    with the smallest step; where it lies within that too, both sides' slopes differ, and that is the error.
    """
    steps = np.array(LADDER).reshape(-1, *[1] * here.ndim)
    with np.errstate(all="ignore"):
        quotients = (above - below) / (2 * steps)
        noise = rounding_of(above, below, here, quotients)
        smallest, blur = quotients[-1], 4 * noise / LADDER[-1]
        best, least = smallest, np.where(np.isfinite(smallest), np.abs(quotients[-1] - quotients[-2]) + blur, np.inf)
        column = list(quotients)
        for order in range(1, ORDERS + 1):
            refined = [
                low + (low - high) / ((LADDER[k] / LADDER[k + order]) ** 2 - 1) for k, (high, low) in enumerate(pairwise(column))
            ]
            for k, (value, before) in enumerate(zip(refined[1:], refined, strict=False), 1):
                apart = np.maximum(np.abs(value - column[k + 1]), np.maximum(np.abs(value - column[k]), np.abs(value - before)))
                beyond = np.abs(value - smallest)
                error = apart + 4 * noise / LADDER[k + order] + np.where(beyond > blur + 1e-9 * np.abs(value), beyond, 0.0)
                better = error < least
                best, least = np.where(better, value, best), np.where(better, error, least)
            column = refined
        least = least + jump(above, below, here, noise)
        flat = flat_up_to(above, below, here)
        still = np.where(flat > 0, np.finfo(np.float64).eps * np.abs(here) / flat, np.inf)
        return np.where(still < least, 0.0, best), np.minimum(still, least)


def flat_up_to(above: Array, below: Array, here: Array) -> Array:
    """The largest step up to which f is the same number on both sides, 0 where there is none: its slope is below eps f over that."""
    found = np.zeros(here.shape)
    same = np.ones(here.shape, bool)
    for k in reversed(range(len(LADDER))):
        same &= (above[k] == here) & (below[k] == here)
        found = np.where(same, LADDER[k], found)
    return found


def rounding_of(above: Array, below: Array, here: Array, quotients: Array) -> Array:
    """The rounding of f itself, absolute: of its size, or what the quotients at the two smallest steps show of it, if that is more.

    An element may agree by luck, or be small where what it is summed of isn't: its neighbours along the last axis are asked too. What is
    more than ROUGH times the rounding of their size is a kink rather than rounding.
    """
    eps = np.finfo(np.float64).eps
    size = np.maximum(np.abs(here), np.maximum(np.abs(above), np.abs(below))[-3:].max(axis=0))
    shown, among = LADDER[-1] * np.abs(quotients[-1] - quotients[-2]), size
    if shown.ndim and shown.shape[-1]:
        shown = np.maximum(shown, 2 * np.median(shown, axis=-1, keepdims=True))
        among = size.max(axis=-1, keepdims=True)
    return np.asarray(np.maximum(4 * eps * size, np.minimum(shown, ROUGH * eps * among)))


def jump(above: Array, below: Array, here: Array, noise: Array) -> Array:
    """By how much the slopes on both sides differ at the smallest step beyond what rounding explains: a kink within it."""
    ratio = LADDER[-2] / LADDER[-1]
    near, far = ((above[k] - 2 * here + below[k]) / LADDER[k] for k in (-1, -2))
    apart = np.abs(ratio * near - far)
    return np.where(apart > 1e-6 * (np.abs(near) + np.abs(far)) + 8 * ratio * noise / LADDER[-1], apart, 0.0)


def complex_step(loss: Loss, arrays: Arrays, names: list[str] | None = None) -> dict[str, Array]:
    """dL/d(array) for each array by Im L(a + ih)/h, element by element.

    loss maps arrays to a number and must run in complex128. Returns arrays of the shapes of `arrays`.
    """
    shifted = {name: array.astype(np.complex128) for name, array in arrays.items()}
    gradients = {}
    for name in names or list(arrays):
        gradient = np.empty(arrays[name].shape)
        for index in np.ndindex(gradient.shape):
            shifted[name][index] += 1j * COMPLEX_STEP
            gradient[index] = loss(shifted).imag / COMPLEX_STEP
            shifted[name][index] = arrays[name][index]
        gradients[name] = gradient
    return gradients


def central(loss: Loss, arrays: Arrays, step: float | None = None, names: list[str] | None = None) -> dict[str, Array]:
    """dL/d(array) for each array by (L(a + h) - L(a - h)) / 2h, element by element."""
    shifted = {name: array.copy() for name, array in arrays.items()}
    gradients = {}
    for name in names or list(arrays):
        h = step or central_step(arrays[name].dtype)
        gradient = np.empty(arrays[name].shape)
        for index in np.ndindex(gradient.shape):
            before = arrays[name][index]
            shifted[name][index] = before + h
            above = loss(shifted)
            shifted[name][index] = before - h
            below = loss(shifted)
            shifted[name][index] = before
            gradient[index] = (above - below) / (2 * h)
        gradients[name] = gradient
    return gradients


def refined(loss: Loss, arrays: Arrays, name: str) -> tuple[Array, Array]:
    """(dL/d(array) by two central differences, how far that is from the nearer one).

    (4 D(h) - D(2h))/3: the truncation error falls from h² to h⁴ f⁽⁵⁾. What refining changes is what the quotient can't be trusted with.
    """
    h = central_step(arrays[name].dtype)
    near, far = (central(loss, arrays, step, [name])[name] for step in (h, 2 * h))
    return (4 * near - far) / 3, np.abs(near - far) / 3


def bent(loss: Loss, arrays: Arrays, name: str) -> Array:
    """By how much the slopes on both sides of each element differ beyond what a smooth function's do: the jump at a kink near by.

    |2 S(h) - S(2h)| with S(h) = (L(a + h) - 2 L(a) + L(a - h))/h: h f'' cancels, a jump doesn't.
    """
    h, here = central_step(arrays[name].dtype), loss(dict(arrays))
    shifted = {block: array.copy() for block, array in arrays.items()}
    jumps = np.empty(arrays[name].shape)
    for index in np.ndindex(jumps.shape):
        before, second = arrays[name][index], {}
        for step in (h, 2 * h):
            sides = []
            for moved_to in (before - step, before + step):
                shifted[name][index] = moved_to
                sides.append(loss(shifted))
            second[step] = (sum(sides) - 2 * here) / step
        shifted[name][index] = before
        jumps[index] = abs(2 * second[h] - second[2 * h])
    return jumps


def one_sided(loss: Loss, arrays: Arrays, direction: Arrays, step: float) -> tuple[Any, Any]:
    """((L(a) - L(a - hu))/h, (L(a + hu) - L(a))/h): at a kink the two differ however small h is."""
    here = loss(dict(arrays))
    return (here - loss(moved(arrays, direction, -step))) / step, (loss(moved(arrays, direction, step)) - here) / step


def sweep(loss: Loss, arrays: Arrays, direction: Arrays, steps: list[float]) -> list[Any]:
    """The central difference along a direction for each step."""
    return [(loss(moved(arrays, direction, h)) - loss(moved(arrays, direction, -h))) / (2 * h) for h in steps]
