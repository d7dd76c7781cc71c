"""Operands brought into line: views, ranks and axes for broadcasting, sizes that count for all made whole, sums over sizes and axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sympy as sp

from derive.procedures.procedure import ALL, EACH, NEW, NEW_AXIS, Call, Index, Number, Operand, ProcedureError, View
from derive.shapes import DIRECTIONS, EXAMPLES, STEPS

Dims = tuple[sp.Expr, ...]


def sizes(node: sp.MatrixExpr) -> Dims:
    """The sizes of an expression's array: a row has one, as a column."""
    return tuple(size for size in node.shape if size != 1)


def joined_axes(operands: Sequence[Operand]) -> tuple[str, ...]:
    """The axes along which any of the operands varies, in order."""
    found = {axis for operand in operands for axis in operand.axes if axis != EACH}
    return tuple(sorted(found, key=place))


def place(axis: str) -> tuple[int, str]:
    """The place of an axis in the order of the file: directions, T, other steps, vectors one behind the other, examples."""
    known = (DIRECTIONS, STEPS, "", "", EXAMPLES)
    return (3, "") if axis.isdigit() else (known.index(axis), "") if axis in known and axis else (2, axis)


def in_place(axes: Iterable[str]) -> tuple[str, ...]:
    """Axes in the order of the file."""
    return tuple(sorted(dict.fromkeys(axes), key=place))


def indexed(operand: Operand, *index: Index) -> Operand:
    """A part of an operand, by the indices of its sizes."""
    return operand if all(one == ALL for one in index) else View(operand, (*[ALL] * len(operand.axes), *index))


def with_rank(operand: Operand, rank: int) -> Operand:
    """An operand with sizes of 1 behind its axes: a number of each step beside vectors. What has no axes is broadcast as it is."""
    missing = rank - len(operand.dims)
    if missing <= 0 or not operand.axes:
        return operand
    return indexed(operand, *[NEW] * missing, *[ALL] * len(operand.dims))


def with_axes(operand: Operand, axes: tuple[str, ...], rank: int) -> Operand:
    """An operand that can be broadcast over axes. Those that it lacks in front of its own NumPy adds by itself."""
    operand = with_rank(operand, rank)
    own = operand.axes
    if not own or EACH in own or own == axes[len(axes) - len(own) :]:
        return operand
    first = axes.index(own[0])
    index: list[Index] = [ALL if axis in own else NEW_AXIS for axis in axes[first:]]
    return View(operand, (*index, *[ALL] * len(operand.dims)))


def alike(operands: Sequence[Operand]) -> tuple[tuple[str, ...], Dims, list[Operand]]:
    """(axes, sizes, operands): what an elementwise call of the operands has, and they as it takes them."""
    axes, rank = joined_axes(operands), max(len(operand.dims) for operand in operands)
    padded = [(sp.S.One,) * (rank - len(operand.dims)) + operand.dims for operand in operands]
    dims = tuple(next((size for size in column if size != 1), sp.S.One) for column in zip(*padded, strict=True))
    for column in zip(*padded, strict=True):
        if len({size for size in column if size != 1}) > 1:
            raise ProcedureError(f"emit: elementwise: sizes differ: {' and '.join(map(str, padded))}.")
    return axes, dims, [with_axes(operand, axes, rank) for operand in operands]


def elementwise(operation: str, *operands: Operand, **options: Any) -> Operand:
    """A call of an elementwise operation; a number is broadcast by NumPy."""
    axes, dims, arguments = alike(operands)
    along = [operand.axes for operand in operands if operand.axes]
    if along and all(EACH in one for one in along):  # an axis of one element stays where nothing is broadcast over it
        axes = along[0]
    return Call(operation, tuple(arguments), axes, dims, tuple(options.items()))


def filled(operand: Operand, axes: tuple[str, ...], dims: Dims) -> Operand:
    """An operand with all of its elements, along these axes."""
    if (operand.axes, operand.dims) == (axes, dims):
        return operand
    if operand == Number(sp.S.Zero):
        return Call("zeros", (), axes, dims)
    return Call("full" if is_of_numbers(operand) else "broadcast", (with_axes(operand, axes, len(dims)),), axes, dims)


def is_of_numbers(operand: Operand) -> bool:
    """Whether nothing that an operand is made of has the dtype of the arrays."""
    return isinstance(operand, Number) or (
        isinstance(operand, Call) and bool(operand.arguments) and all(map(is_of_numbers, operand.arguments))
    )


def turned(operand: Operand) -> Operand:
    """An operand with its two sizes exchanged; a vector as it is."""
    if len(operand.dims) < 2:
        return operand
    if isinstance(operand, Call) and operand.operation == "transpose":
        return operand.arguments[0]
    return Call("transpose", (operand,), operand.axes, operand.dims[::-1])


def turned_over(operand: Operand) -> Operand:
    """An array over steps with the last one in front; what has no steps as it is."""
    if isinstance(operand, Call) and operand.operation == "reversed":
        return operand.arguments[0]
    return Call("reversed", (operand,), operand.axes, operand.dims) if operand.axes[:1] == (STEPS,) else operand


def summed_over(operand: Operand, places: tuple[int, ...], keep: bool = False) -> Operand:
    """The sum over sizes, by their places from the end; with `keep` they stay as 1."""
    gone = {len(operand.dims) + place for place in places}
    dims = [sp.S.One if k in gone else size for k, size in enumerate(operand.dims) if keep or k not in gone]
    return Call("sum", (operand,), operand.axes, tuple(dims), (("over", places), ("keep", keep)))


def summed_along(operand: Operand, axes: tuple[str, ...]) -> Operand:
    """The sum along axes."""
    left = tuple(axis for axis in operand.axes if axis not in axes)
    places = tuple(k for k, axis in enumerate(operand.axes) if axis in axes)
    return Call("sum", (operand,), left, operand.dims, (("over", places), ("keep", False)))
