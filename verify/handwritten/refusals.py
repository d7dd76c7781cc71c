"""Arguments that do not fit together are refused: where, what is wrong, what was expected, what came, what to do."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from .named import Array

DType: TypeAlias = np.dtype[Any]
Dim = TypeVar("Dim", int, str)
DTYPES = ("float32", "float64", "complex128")


def check_names(where: str, given: Iterable[str], names: tuple[str, ...]) -> None:
    if set(given) != set(names):
        got = ", ".join(given) or "none"
        raise ValueError(f"{where}: wrong names: expected {', '.join(names)}, got {got}. Add, leave out or rename.")


def check_array(where: str, array: Array, shape: tuple[int, ...], dtype: DType) -> None:
    if array.shape != shape:
        raise ValueError(f"{where}: wrong shape: expected {shape}, got {array.shape}. Reshape, or mend its partners.")
    if array.dtype != dtype:
        raise ValueError(f"{where}: mixed dtypes: expected {dtype}, got {array.dtype}. Convert one with astype.")


def check_parameters(where: str, parameters: Mapping[str, Array], names: tuple[str, ...]) -> tuple[int, int, DType]:
    """Return H, D and the dtype. The first name is a W: (H, D); the first letter of each tells its shape."""
    check_names(f"{where}: parameters", parameters, names)
    W = parameters[names[0]]
    if W.dtype.name not in DTYPES:
        raise ValueError(f"{where}: dtype: expected one of {', '.join(DTYPES)}, got {W.dtype}. Convert with astype.")
    if W.ndim != 2:
        raise ValueError(f"{where}: {names[0]}: wrong shape: expected (H, D), got {W.shape}. Reshape it.")
    H, D = W.shape
    for name in names:
        check_array(f"{where}: {name}", parameters[name], shape_of(name, H, D), W.dtype)
    return H, D, W.dtype


def shape_of(name: str, H: Dim, D: Dim) -> tuple[Dim, ...]:
    """The shape of a cell's parameter, which the first letter of its name tells; H and D are sizes, or what they are called."""
    return {"W": (H, D), "U": (H, H), "P": (H, H), "b": (H,), "p": (H,)}[name[0]]


def check_inputs(where: str, inputs: Mapping[str, Array], D: int, dtype: DType) -> tuple[int, int]:
    """Return T and B."""
    check_names(f"{where}: inputs", inputs, ("x",))
    x = inputs["x"]
    if x.ndim != 3:
        raise ValueError(f"{where}: x: wrong shape: expected (T, B, {D}), got {x.shape}. Reshape it.")
    T, B, _ = x.shape
    check_array(f"{where}: x", x, (T, B, D), dtype)
    return T, B


def check_states(where: str, given: Mapping[str, Array], names: tuple[str, ...], shape: tuple[int, ...], dtype: DType) -> None:
    """One array of the same shape for each state: the states themselves, or their cotangents."""
    check_names(where, given, names)
    for name in names:
        check_array(f"{where}: {name}", given[name], shape, dtype)
