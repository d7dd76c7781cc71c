"""Singular values of a graded triangular matrix to full relative accuracy, over any number of decades: one-sided Jacobi rotations
on unit columns whose lengths are kept as logarithms (Demmel and Veselić 1992)."""

from __future__ import annotations

import numpy as np

from verify.jacobian.run import Array

TOLERANCE = 2e-15
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
