"""Derivatives by difference quotients: complex step and central differences. Imports nothing of the project: an independent route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Loss = Callable[[dict[str, Array]], Any]
Run = Callable[[dict[str, Array]], dict[str, Array]]

COMPLEX_STEP = 1e-30
"""So small that the truncation error h²/6 f''' vanishes beside the rounding of f' itself."""

FOURTH_ORDER_STEP = 1e-3
"""Near eps**(1/5), where truncation h⁴/30 f⁽⁵⁾ and rounding eps/h of the fourth-order quotient meet."""


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


def central_tangents(
    run: Run, arrays: Arrays, direction: Arrays, step: float = FOURTH_ORDER_STEP
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(how each output moves along a direction, an estimate of the absolute error): fourth-order central differences at two steps."""

    def quotient(h: float) -> dict[str, Array]:
        at = {k: run(moved(arrays, direction, k * h)) for k in (-2.0, -1.0, 1.0, 2.0)}
        return {name: (8 * (at[1.0][name] - at[-1.0][name]) - (at[2.0][name] - at[-2.0][name])) / (12 * h) for name in at[1.0]}

    coarse, fine = quotient(2 * step), quotient(step)
    rounding = 8 * np.finfo(np.float64).eps / step
    size = run(dict(arrays))
    error = {name: np.abs(coarse[name] - fine[name]) + rounding * np.maximum(np.abs(size[name]), 1e-3) for name in fine}
    return fine, error


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
