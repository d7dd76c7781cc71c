"""Singular values of a graded triangular matrix to full relative accuracy, over any number of decades: one-sided Jacobi rotations
on unit columns whose lengths are kept as logarithms (Demmel and Veselić 1992); quicker ones with a bound."""

from __future__ import annotations

import numpy as np

from verify.jacobian.run import Array

TOLERANCE = 2e-15
EPS = float(np.finfo(float).eps)
SWEEPS = 40


def log_singular_values(logs: Array, unit: Array) -> tuple[Array, float]:
    """(natural logs of the singular values of diag(exp(logs)) unit, descending; the largest cosine left between two columns).

    logs (n,), unit (n, n). A log of minus infinity is a singular value of 0.
    """
    alive = np.isfinite(logs)
    count = int(alive.sum())
    values = np.full(len(logs), -np.inf)
    if count == 0:
        return values, 0.0
    columns = unit[alive].T
    lengths = np.sqrt((columns**2).sum(axis=0))
    columns, scale = columns / lengths, logs[alive] + np.log(lengths)
    left = 0.0
    for _ in range(SWEEPS if count > 1 else 0):
        left = sweep(columns, scale)
        if left < TOLERANCE * np.sqrt(count):
            break
    values[:count] = np.sort(scale)[::-1]
    return values, left


def estimated_logs(logs: Array, unit: Array, turns: int = 30, sweeps: int = 3) -> tuple[Array, float]:
    """The same where the rotations take too long: (natural logs, descending; a bound on how far off they are).

    The triangle is turned over and decomposed anew, again and again, then rotated a few times. Of columns of unit length with scales,
    each singular value is its scale but for a factor between the roots of the least and the largest eigenvalue of the columns'
    products (Ostrowski 1959, Demmel and Veselić 1992): that is the bound, with what rounding did on the way.
    """
    alive = np.isfinite(logs)
    count = int(alive.sum())
    values = np.full(len(logs), -np.inf)
    if count == 0:
        return values, 0.0
    columns, scale = of_unit_length(unit[alive].T, logs[alive])
    rounding, bound = 0.0, np.inf
    for _ in range(turns):
        columns, scale, least = turned_over(columns, scale)
        rounding += EPS * np.sqrt(count) / least
    for _ in range(sweeps):
        left = sweep(columns, scale) if count > 1 else 0.0
        if left < 1e-7 / count:
            bound = count * left
            break
    else:
        eigenvalues = np.linalg.eigvalsh(columns.T @ columns)
        bound = float(np.abs(np.log(np.maximum(eigenvalues[[0, -1]], 1e-300))).max()) / 2
    values[:count] = np.sort(scale)[::-1]
    return values, bound + rounding


def of_unit_length(columns: Array, scale: Array) -> tuple[Array, Array]:
    lengths = np.sqrt((columns**2).sum(axis=0))
    return columns / lengths, scale + np.log(lengths)


def turned_over(columns: Array, scale: Array) -> tuple[Array, Array, float]:
    """(columns and scales of the transposed triangle of a QR, which has the same singular values; the least of its diagonal).

    Columns of different scales come out nearly orthogonal: this is a step of the QR iteration.
    """
    order = np.argsort(-scale, kind="stable")
    scale = scale[order]
    R: Array = np.linalg.qr(columns[:, order], mode="r")  # type: ignore[assignment]
    lower = R.T * np.exp(np.minimum(scale[:, None] - scale[None, :], 0.0))
    return *of_unit_length(lower, scale), float(np.abs(np.diagonal(R)).min())


def sweep(columns: Array, scale: Array) -> float:
    """Every pair of columns made orthogonal once, n/2 pairs at a time, in place; the largest cosine that was met."""
    worst = 0.0
    for first, second in rounds(len(scale)):
        larger = scale[first] >= scale[second]
        p, q = np.where(larger, first, second), np.where(larger, second, first)
        worst = max(worst, rotate(columns, scale, p, q))
    return worst


def rotate(columns: Array, scale: Array, p: Array, q: Array) -> float:
    """Make the columns p and q orthogonal, pairwise, p being the longer ones; the largest cosine before."""
    u, v = columns[:, p], columns[:, q]
    cosine = np.einsum("ij,ij->j", u, v)
    ratio = np.exp(scale[q] - scale[p])
    below = (1 - ratio**2) + np.sqrt((1 - ratio**2) ** 2 + 4 * (ratio * cosine) ** 2)
    turn = 2 * cosine / np.where(below > 0, below, 1)  # the tangent of the angle, over the ratio: finite for any ratio
    c = 1 / np.sqrt(1 + (turn * ratio) ** 2)
    u, v = c * (u + turn * ratio**2 * v), c * (v - turn * u)
    for index, part in ((p, u), (q, v)):
        length = np.sqrt(np.einsum("ij,ij->j", part, part))
        columns[:, index] = part / length
        scale[index] += np.log(length)
    return float(np.abs(cosine).max())


def rounds(n: int) -> list[tuple[Array, Array]]:
    """A round-robin tournament: in each round disjoint pairs, over all rounds every pair once."""
    players = np.arange(n + n % 2)
    out = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        first, second = players[:half], players[half:][::-1]
        real = (first < n) & (second < n)
        out.append((first[real], second[real]))
        players = np.concatenate([players[:1], players[-1:], players[1:-1]])
    return out
