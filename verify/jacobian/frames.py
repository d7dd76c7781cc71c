"""Frames of columns made orthonormal: by Householder reflections, which keep small rows, or by Cholesky, which is quick and measures what
a few steps have cost. What a column has lost is its length over what is left of it beside the columns before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verify.jacobian.run import Array

NOISE = 16 * float(np.finfo(float).eps)
"""What rounding leaves of a number that should be 0, relative to the numbers that it came from, times the root of how many they are."""

NEAR_ZERO = 1e-8
"""Where less than this is left of a column, it is asked how much of it is rounding."""

LOST = 1e4
"""How much a column may lose before it is made orthonormal again: rounding leaves LOST eps of it, 2e-12, far below the 1e-10 wanted."""

SHORTEST = 1e-140
"""A column whose length is below this is left to Householder reflections: the squares of its elements underflow."""

HALVED = 48
"""Above this size a triangle is inverted by halves, most of it as matrix products."""


@dataclass(frozen=True)
class Turned:
    """frame[:, order] = Q R with diag R >= 0; logs = log diag R, minus infinity where that is noise: such dead columns stand last."""

    Q: Array
    R: Array
    logs: Array
    order: Array


def orthonormal(frame: Array) -> Turned:
    """The frame made orthonormal, its columns in their order unless some are dead: those would take directions from the live ones after
    them, and are moved to the end."""
    B, _, k = frame.shape
    turned = householder(frame, np.broadcast_to(np.arange(k), (B, k)))
    for _ in range(k):
        dead = ~np.isfinite(turned.logs)
        if not dead.any():
            break
        live = np.where(dead.any(axis=-1), dead.argmax(axis=-1), k)[:, None]
        below = np.where(np.arange(k)[None, :, None] >= live[..., None], turned.R, 0.0)
        left = np.sqrt((below**2).sum(axis=-2))
        noise = NOISE * np.sqrt(frame.shape[-2]) * np.sqrt((turned.R**2).sum(axis=-2))
        left = np.where(np.arange(k) < live, np.inf, np.where(left > noise, left, 0.0))
        again = np.argsort(-left, axis=-1, kind="stable")
        if (again == np.arange(k)).all():
            break
        turned = householder(frame, picked(turned.order, again))
    return turned


def picked(values: Array, order: Array) -> Array:
    return np.take_along_axis(values, order, axis=-1)


def householder(frame: Array, order: Array) -> Turned:
    """QR of the columns in an order; rows sorted by size first, which keeps small ones as accurate as large ones (Cox and Higham 1998)."""
    if (order != np.arange(order.shape[-1])).any():
        frame = np.take_along_axis(frame, order[:, None, :], axis=-1)
    squares = frame**2
    rows = np.sqrt(squares.sum(axis=-1))
    by_size = np.argsort(-rows, axis=-1, kind="stable")
    each = np.arange(len(frame))[:, None]
    Q, R = np.linalg.qr(frame[each, by_size])
    sorted_back = np.empty_like(Q)
    sorted_back[each, by_size] = Q
    diagonal = np.diagonal(R, axis1=-2, axis2=-1)
    sign = np.where(diagonal < 0, -1.0, 1.0)
    before = rows[each, by_size][:, : frame.shape[-1]]
    noise = NOISE * np.sqrt(frame.shape[-2]) * subtracted(R, before, np.sqrt(squares.sum(axis=-2)))
    logs = np.full(diagonal.shape, -np.inf)
    np.log(np.abs(diagonal), out=logs, where=np.abs(diagonal) > noise)
    return Turned(sorted_back * sign[..., None, :], R * sign[..., None], logs, order)


def subtracted(R: Array, rows: Array, columns: Array) -> Array:
    """(B, k), the size of what each element of R's diagonal is a difference of: of the row or of the columns, whichever is less.

    The columns before one are taken from it with the coefficients R[:j, :j]⁻¹ R[:j, j], which are large where those are nearly dependent.
    """
    diagonal = np.abs(np.diagonal(R, axis1=-2, axis2=-1))
    gone = diagonal <= NEAR_ZERO * np.minimum(rows, columns)
    if not gone.any():
        return np.asarray(np.minimum(rows, columns))
    whole = np.where(gone, np.where(columns > 0, columns, 1.0), diagonal)
    scaled = np.triu(R, 1) / whole[..., None] + np.eye(R.shape[-1])
    coefficients = np.triu(np.abs(np.linalg.inv(scaled)) * whole[:, None, :] / whole[..., None], 1) * gone[:, None, :]
    by_columns = columns + (coefficients * columns[..., None]).sum(axis=-2)
    return np.asarray(np.minimum(rows * (1 + coefficients.sum(axis=-2)), by_columns))


# ---- quickly, where little is lost


@dataclass(frozen=True)
class Scaled:
    """frame = Q R, R upper triangular, Q orthonormal but for LOST² eps; logs = log diag R, 0 for columns that were dead before;
    lost (B, k): of each column, how many times longer it was than what is left of it."""

    Q: Array
    R: Array
    logs: Array
    lost: Array


def by_cholesky(frame: Array, alive: Array) -> Scaled | None:
    """The frame times the inverse of a triangle that makes it nearly orthonormal; None where a column has lost more than LOST.

    alive (B, k): the columns that aren't zero already. frame = Q R holds to rounding for whatever R the Cholesky factor is, and
    triangles multiply, so that the sums of log diag R are right as soon as the last frame of all is made orthonormal by `orthonormal`.
    """
    gram = frame.swapaxes(-1, -2) @ frame
    lengths = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    if not (np.isfinite(lengths) & (lengths > SHORTEST) | ~alive).all():
        return None
    if not alive.all():
        lengths = np.where(alive, lengths, 1.0)
        gram += np.where(alive, 0.0, 1.0)[..., None] * np.eye(frame.shape[-1])
    gram /= lengths[:, None, :] * lengths[..., None]
    try:
        triangle = np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        return None
    left = np.diagonal(triangle, axis1=-2, axis2=-1)
    if left.min() * LOST < 1:
        return None
    logs = np.where(alive, np.log(left * lengths), 0.0)
    Q = frame @ (inverse_of_lower(triangle) / lengths[:, None, :]).swapaxes(-1, -2)
    return Scaled(Q, triangle.swapaxes(-1, -2) * lengths[:, None, :], logs, 1 / left)


def inverse_of_lower(triangle: Array) -> Array:
    """The inverse of lower triangles (B, n, n), by halves where they are large."""
    n = triangle.shape[-1]
    if n <= HALVED:
        inverse: Array = np.linalg.inv(triangle)
        return inverse
    half = n // 2
    first, last = inverse_of_lower(triangle[..., :half, :half]), inverse_of_lower(triangle[..., half:, half:])
    out = np.zeros_like(triangle)
    out[..., :half, :half], out[..., half:, half:] = first, last
    out[..., half:, :half] = -last @ (triangle[..., half:, :half] @ first)
    return out
