"""Kernels whose arrays are a framework's: seen here as kernels of NumPy arrays, so that every check holds them too."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NAME = "FRAMEWORK"
"""The name by which a module says whose arrays it takes: `FRAMEWORK = "torch"`; absent, NumPy's."""


def to_torch() -> tuple[Callable[[Array], Any], Callable[[Any], Any]]:
    """(NumPy array -> tensor, anything -> NumPy array where it is a tensor). Memory is shared, as far as PyTorch can."""
    import torch

    def there(array: Array) -> Any:
        whole = array.flags.writeable and all(stride >= 0 for stride in array.strides)
        return torch.from_numpy(array if whole else array.copy())

    def back(value: Any) -> Any:
        return value.detach().numpy() if isinstance(value, torch.Tensor) else value

    return there, back


def to_jax() -> tuple[Callable[[Array], Any], Callable[[Any], Any]]:
    """(NumPy array -> JAX array of the same precision, anything -> NumPy array where it is one of JAX's). Switches 64 bits on."""
    import jax

    jax.config.update("jax_enable_x64", True)

    def back(value: Any) -> Any:
        return np.array(value) if isinstance(value, jax.Array) else value

    return jax.numpy.array, back


FRAMEWORKS = {"torch": to_torch, "jax": to_jax}
INSTALLED_BY = "python -m pip install {}"


def in_numpy(module: types.ModuleType) -> types.ModuleType:
    """The module with functions that take and return NumPy arrays; the module itself where they do already.

    Raises ValueError on a framework that isn't known, ImportError on one that isn't installed.
    """
    name = getattr(module, NAME, "numpy")
    if name == "numpy":
        return module
    if name not in FRAMEWORKS:
        raise ValueError(f"{NAME}: expected numpy, {' or '.join(FRAMEWORKS)}, got {name!r}. Mend it")
    there, back = FRAMEWORKS[name]()
    seen = types.ModuleType(module.__name__)
    seen.__dict__.update(module.__dict__)
    for function in ("forward", "backward", "jvp", "hvp", "step_jacobian"):
        if callable(getattr(module, function, None)):
            setattr(seen, function, called_in(getattr(module, function), there, back))
    return seen


class Opaque:
    """A tape, handed back as it came whatever it is made of."""

    def __init__(self, tape: Any) -> None:
        self.tape = tape


def called_in(function: Callable[..., Any], there: Callable[[Array], Any], back: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function of the contract, its arguments and results carried over; what is no plain array goes as it came."""

    def carried(value: Any) -> Any:
        if isinstance(value, Opaque):
            return value.tape
        if isinstance(value, Mapping):
            return {key: carried(one) for key, one in value.items()}
        if isinstance(value, np.generic):
            value = np.asarray(value)
        return there(value) if type(value) is np.ndarray and value.dtype.kind in "fciu" else value

    def returned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: back(one) for key, one in value.items()}
        if hasattr(value, "parameters"):
            return types.SimpleNamespace(**{part: returned(getattr(value, part)) for part in ("parameters", "inputs", "state")})
        return back(value)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        found = function(*[carried(one) for one in arguments], **options)
        if isinstance(found, tuple) and len(found) == 2:
            outputs, tape = found
            return returned(outputs), Opaque(tape)
        return returned(found)

    return call
