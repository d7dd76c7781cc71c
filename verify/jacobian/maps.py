"""A term of the tangent program as linear maps, one after the other, of one tangent: how they push it, and pull a cotangent back.

The tangent of a quantity (n, m) is a column of its n m elements, row by row; k of them side by side are (..., n m, k), the axes in front
those of steps and sequences; of what lies along another axis of steps too, as scores of attention, that axis stands in front of all.
Maps are symbolic, the same for every run of a cell: `At` has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import sympy as sp

from verify.jacobian.run import Array


class At(Protocol):
    """The numbers of a run, at one step or at several."""

    def array(self, expression: Any) -> Array:
        """Of an expression of the cell's values, (..., n, m)."""

    def number(self, expression: Any) -> float:
        """Of a number in front of an expression."""

    def size(self, dimension: Any) -> int:
        """Of a dimension."""


@dataclass(frozen=True)
class Map:
    """shape: (n, m) of the quantity whose tangent goes in."""

    shape: tuple[Any, Any]

    def push(self, frame: Array, at: At) -> Array:
        """The map of each column, (..., p q, k)."""
        raise NotImplementedError(type(self).__name__)

    def pull(self, frame: Array, at: At) -> Array:
        """The transposed map of each column, (..., n m, k)."""
        raise NotImplementedError(type(self).__name__)

    def sizes(self, at: At) -> tuple[int, int]:
        return at.size(self.shape[0]), at.size(self.shape[1])

    @property
    def is_of_columns(self) -> bool:
        """Whether what goes in is a vector, or a number."""
        return self.shape[1] == 1  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Number(Map):
    """k Ẋ."""

    factor: Any

    def push(self, frame: Array, at: At) -> Array:
        return at.number(self.factor) * frame

    pull = push


@dataclass(frozen=True)
class Elementwise(Map):
    """U ∘ Ẋ; U of the same shape, or a number."""

    factor: Any

    def push(self, frame: Array, at: At) -> Array:
        return as_column(at.array(self.factor)) * frame

    pull = push


@dataclass(frozen=True)
class Spread(Map):
    """ẋ U, ẋ the tangent of a number."""

    factor: Any

    def push(self, frame: Array, at: At) -> Array:
        return as_column(at.array(self.factor)) * frame

    def pull(self, frame: Array, at: At) -> Array:
        return as_column(at.array(self.factor)).swapaxes(-1, -2) @ frame


@dataclass(frozen=True)
class Left(Map):
    """A Ẋ."""

    factor: Any

    def push(self, frame: Array, at: At) -> Array:
        return self.times(at.array(self.factor), frame, at)

    def pull(self, frame: Array, at: At) -> Array:
        return self.times(at.array(self.factor).swapaxes(-1, -2), frame, at)

    def times(self, matrix: Array, frame: Array, at: At) -> Array:
        if self.is_of_columns:
            return np.asarray(matrix @ frame)
        return from_rows(matrix @ rows_of(frame, matrix.shape[-1]), frame.shape[-1])


@dataclass(frozen=True)
class Right(Map):
    """Ẋ B."""

    factor: Any

    def push(self, frame: Array, at: At) -> Array:
        return self.times(at.array(self.factor).swapaxes(-1, -2), frame, at)

    def pull(self, frame: Array, at: At) -> Array:
        return self.times(at.array(self.factor), frame, at)

    def times(self, matrix: Array, frame: Array, at: At) -> Array:
        return from_matrices(matrix[..., None, :, :] @ matrices_of(frame, at.size(self.shape[0]), matrix.shape[-1]))


@dataclass(frozen=True)
class Turned(Map):
    """Ẋᵀ."""

    def push(self, frame: Array, at: At) -> Array:
        return self.turned(frame, *self.sizes(at))

    def pull(self, frame: Array, at: At) -> Array:
        return self.turned(frame, *self.sizes(at)[::-1])

    def turned(self, frame: Array, rows: int, columns: int) -> Array:
        return frame if 1 in (rows, columns) else from_matrices(matrices_of(frame, rows, columns).swapaxes(-2, -3))


@dataclass(frozen=True)
class Summed(Map):
    """The sum of all elements of Ẋ."""

    def push(self, frame: Array, at: At) -> Array:
        return np.asarray(frame.sum(axis=-2, keepdims=True))

    def pull(self, frame: Array, at: At) -> Array:
        rows, columns = self.sizes(at)
        return np.repeat(frame, rows * columns, axis=-2)


@dataclass(frozen=True)
class Running(Map):
    """Running sums of the rows of Ẋ, or from the last row on."""

    backwards: bool

    def push(self, frame: Array, at: At) -> Array:
        return self.summed(frame, self.backwards, at)

    def pull(self, frame: Array, at: At) -> Array:
        return self.summed(frame, not self.backwards, at)

    def summed(self, frame: Array, backwards: bool, at: At) -> Array:
        way = slice(None, None, -1 if backwards else 1)
        rows = rows_of(frame, at.size(self.shape[0]))
        return from_rows(rows[..., way, :].cumsum(axis=-2)[..., way, :], frame.shape[-1])


@dataclass(frozen=True)
class Cut(Map):
    """Some rows of Ẋ."""

    start: Any
    stop: Any

    def push(self, frame: Array, at: At) -> Array:
        columns = at.size(self.shape[1])
        return frame[..., at.size(self.start) * columns : at.size(self.stop) * columns, :]

    def pull(self, frame: Array, at: At) -> Array:
        rows, columns = self.sizes(at)
        return padded(frame, at.size(self.start) * columns, (rows - at.size(self.stop)) * columns)


@dataclass(frozen=True)
class Placed(Map):
    """Ẋ between so many rows of zeros before it and after it."""

    before: Any
    after: Any

    def push(self, frame: Array, at: At) -> Array:
        columns = at.size(self.shape[1])
        return padded(frame, at.size(self.before) * columns, at.size(self.after) * columns)

    def pull(self, frame: Array, at: At) -> Array:
        rows, columns = self.sizes(at)
        start = at.size(self.before) * columns
        return frame[..., start : start + rows * columns, :]


@dataclass(frozen=True)
class Repeated(Map):
    """Ẋ several times, one above the other."""

    times: int

    def push(self, frame: Array, at: At) -> Array:
        return np.concatenate([frame] * self.times, axis=-2)

    def pull(self, frame: Array, at: At) -> Array:
        return np.asarray(sum(np.split(frame, self.times, axis=-2)))


# ---- to another axis of steps and back


@dataclass(frozen=True)
class Everywhere(Map):
    """Ẋ at every position of an axis."""

    axis: str

    def push(self, frame: Array, at: At) -> Array:
        return np.broadcast_to(frame, (at.size(sp.Symbol(self.axis)), *frame.shape))

    def pull(self, frame: Array, at: At) -> Array:
        return np.asarray(frame.sum(axis=0))


@dataclass(frozen=True)
class SummedAlong(Everywhere):
    """The sum of Ẋ over an axis."""

    push, pull = Everywhere.pull, Everywhere.push


@dataclass(frozen=True)
class AtEnd(Everywhere):
    """Ẋ at an end of an axis, 0 elsewhere."""

    end: str

    def push(self, frame: Array, at: At) -> Array:
        out = np.zeros((at.size(sp.Symbol(self.axis)), *frame.shape))
        out[self.place] = frame
        return out

    def pull(self, frame: Array, at: At) -> Array:
        return np.asarray(frame[self.place])

    @property
    def place(self) -> int:
        return -1 if self.end == "last" else 0


@dataclass(frozen=True)
class Picked(AtEnd):
    """Ẋ at an end of an axis."""

    push, pull = AtEnd.pull, AtEnd.push


# ---- frames as rows and as matrices


def as_column(matrix: Array) -> Array:
    """(..., n, m) as (..., n m, 1)."""
    return matrix.reshape(*matrix.shape[:-2], -1, 1)


def rows_of(frame: Array, rows: int) -> Array:
    """(..., n m, k) as (..., n, m k)."""
    return frame.reshape(*frame.shape[:-2], rows, -1)


def from_rows(array: Array, count: int) -> Array:
    """(..., n, m k) as (..., n m, k)."""
    return array.reshape(*array.shape[:-2], -1, count)


def matrices_of(frame: Array, rows: int, columns: int) -> Array:
    """(..., n m, k) as (..., n, m, k)."""
    return frame.reshape(*frame.shape[:-2], rows, columns, frame.shape[-1])


def from_matrices(array: Array) -> Array:
    """(..., n, m, k) as (..., n m, k)."""
    return array.reshape(*array.shape[:-3], -1, array.shape[-1])


def padded(frame: Array, before: int, after: int) -> Array:
    """The frame between rows of zeros."""
    return np.pad(frame, [(0, 0)] * (frame.ndim - 2) + [(before, after), (0, 0)])
