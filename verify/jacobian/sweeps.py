"""Frames of orthonormal columns carried through time, made orthonormal again as soon as too much of a column is found lost.

Forward: J_t Q = Q' R. The sums of log|diag R| give the Lyapunov exponents (Benettin et al. 1980; natural logarithm, per step), never
the singular values of the multiplied-out product, which are lost beyond sixteen decades. Backward from the last frame, J_tᵀ V = V' R,
and forward again from the first: each sweep starts with the columns that the last one found, in the order of their growth. The product
of the R's, kept as diag(exp(logs)) times a matrix of moderate entries, has the singular values of the whole product; the rotations of
`verify.jacobian.rotations` read them off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from verify.jacobian.frames import LOST, Scaled, by_cholesky, orthonormal, picked
from verify.jacobian.rotations import estimated_logs, log_singular_values
from verify.jacobian.run import Array
from verify.jacobian.steps import Steps

LONGEST = 16
"""How many steps at most a frame goes without being made orthonormal."""

AIMED = 1e3
"""The loss that the next gap is chosen for, by what the last one lost; what counts is the loss that is then measured."""

Watch = Callable[[], None]


def quiet() -> None:
    """A watch that watches nothing."""


@dataclass(frozen=True)
class Swept:
    """A frame after a sweep: frame (B, S, k) orthonormal; logs (B, k), sums of log|diag R|, minus infinity for a column that a singular
    step sent to zero. counted (B, k): the same from step `warmup` on. unit (B, k, k): the product of all R is diag(exp(logs)) unit."""

    frame: Array
    logs: Array
    counted: Array | None = None
    unit: Array | None = None


def forward_sweep(steps: Steps, frame: Array, warmup: int = 0, watch: Watch = quiet, triangles: bool = False) -> Swept:
    """Push a frame through all steps. The `warmup` leading steps only turn the frame: `counted` leaves them out.

    triangles: whether the product of the triangles is kept too, as `unit`.
    """
    B, _, k = frame.shape
    logs, counted = np.zeros((B, k)), np.zeros((B, k))
    unit = np.broadcast_to(np.eye(k), (B, k, k)) if triangles else None
    t, gap = 0, 1
    while t < steps.steps:
        end = warmup if t < warmup else steps.steps
        crossed = cross(steps, t, frame, min(gap, end - t), np.isfinite(logs), end)
        t += crossed.steps
        if crossed.order is not None:
            logs, counted = picked(logs, crossed.order), picked(counted, crossed.order)
            unit = unit if unit is None else np.take_along_axis(unit, crossed.order[..., None], axis=-2)
        if unit is not None:
            unit = times_triangular(crossed.R, crossed.logs, logs, unit)
        logs = logs + crossed.logs
        counted = counted + (crossed.logs if t > warmup else 0.0)
        frame = crossed.frame if np.isfinite(logs).all() else np.where(np.isfinite(logs)[:, None, :], crossed.frame, 0.0)
        gap = next_gap(crossed)
        for _ in range(crossed.steps):
            watch()
    return Swept(frame, logs, np.where(np.isfinite(logs), counted, -np.inf), unit)


@dataclass(frozen=True)
class Crossed:
    """A gap crossed: how many steps, the frame after it, its triangle and the logs of that, the order of its columns (None: as before),
    and the most that a column lost."""

    steps: int
    frame: Array
    R: Array
    logs: Array
    order: Array | None
    lost: float


def cross(steps: Steps, t: int, frame: Array, gap: int, alive: Array, end: int) -> Crossed:
    """Push a frame through up to `gap` steps: where too much of a column is lost, back to the first of them, and only half as far.

    At `end` the sums are read, so that the frame has to be orthonormal to the last digit there.
    """
    while True:
        moved, noise = pushed(steps, t, frame, gap)
        scaled = by_cholesky(moved, alive)
        lost = np.inf if scaled is None else most_lost(scaled, noise)
        if lost <= LOST and scaled is not None and t + gap < end:
            return Crossed(gap, scaled.Q, scaled.R, scaled.logs, None, lost)
        if lost <= LOST or gap == 1:
            turned = orthonormal(moved)
            return Crossed(gap, turned.Q, turned.R, turned.logs, turned.order, lost)
        gap //= 2


def pushed(steps: Steps, t: int, frame: Array, gap: int) -> tuple[Array, Array | None]:
    """(the frame some steps on, what noise of the size of its columns has become that was added at each of them, (B, S, 1)).

    A column may lose its digits to others within a gap and look unharmed at the end of it: the noise doesn't. None for a single step.
    """
    if gap == 1:
        return steps.push(t, frame), None
    k = frame.shape[-1]
    both = np.zeros((*frame.shape[:2], k + 1))
    both[..., :k] = frame
    direction = noise_direction(steps.size)
    for s in range(t, t + gap):
        both = steps.push(s, both)
        flat = both.reshape(len(both), 1, -1)
        size = np.sqrt((flat @ flat.swapaxes(-1, -2))[:, 0, 0] / k)
        both[..., k] += size[:, None] * direction
    return np.ascontiguousarray(both[..., :k]), both[..., k:]


@cache
def noise_direction(size: int) -> Array:
    vector = np.random.default_rng([0, 5]).standard_normal(size)
    direction: Array = vector / np.linalg.norm(vector)
    return direction


def most_lost(scaled: Scaled, noise: Array | None) -> float:
    """The most that a column lost: its length, or the noise in its direction, over what is left of it."""
    lost = float(scaled.lost.max())
    if noise is None:
        return lost
    inside = np.abs(scaled.Q.swapaxes(-1, -2) @ noise)[..., 0] * np.exp(-scaled.logs)
    return max(lost, float(inside.max()))


def next_gap(crossed: Crossed) -> int:
    """How many steps to try next, judged by what the last ones lost."""
    if not np.isfinite(crossed.lost):
        return 1
    apart = max(float(np.log(crossed.lost)), 1e-12) / crossed.steps
    return int(np.clip(np.log(AIMED) / apart, 1, min(2 * crossed.steps, LONGEST)))


SPLIT = 160
"""Up to this size triangles are multiplied as whole matrices."""


def triangular_sweep(
    steps: Steps, frame: Array, watch: Watch = quiet, at: frozenset[int] = frozenset()
) -> tuple[Swept, dict[int, Swept]]:
    """Pull a frame back from the last step to the first, keeping the product of the triangles; also as it is at some lags."""
    B, _, k = frame.shape
    logs, unit = np.zeros((B, k)), np.broadcast_to(np.eye(k), (B, k, k)).copy()
    seen: dict[int, Swept] = {}
    for lag in range(1, steps.steps + 1):
        turned = orthonormal(steps.pull(steps.steps - lag, frame))
        logs = picked(logs, turned.order)
        unit = times_triangular(turned.R, turned.logs, logs, np.take_along_axis(unit, turned.order[..., None], axis=-2))
        logs = logs + turned.logs
        frame = np.where(np.isfinite(logs)[:, None, :], turned.Q, 0.0)
        if lag in at:
            seen[lag] = Swept(frame, logs, unit=unit)
        watch()
    return Swept(frame, logs, unit=unit), seen


def times_triangular(R: Array, grown: Array, logs: Array, unit: Array) -> Array:
    """The unit part of R diag(exp(logs)) unit: row i is divided by R_ii exp(logs_i), dead rows become those of the identity."""
    alive = np.isfinite(grown + logs)
    after = np.where(alive, logs, 0.0)
    exponent = np.where(np.isfinite(logs)[:, None, :], logs[:, None, :], -1e4) - after[..., None]
    diagonal = np.diagonal(R, axis1=-2, axis2=-1)
    safe = np.where(alive, diagonal, 1.0)
    factor = np.triu(R / safe[..., None] * np.exp(np.clip(exponent, -745, 600)), 1)
    factor = np.where(alive[..., None], factor, 0.0) + np.eye(R.shape[-1])
    return product_of_upper(factor, unit)


def product_of_upper(first: Array, second: Array) -> Array:
    """The product of two upper triangles (B, n, n), by halves where they are large: the zeros aren't multiplied."""
    n = first.shape[-1]
    if n <= SPLIT:
        whole: Array = first @ second
        return whole
    half = n // 2
    out = np.zeros(np.broadcast_shapes(first.shape, second.shape))
    out[..., :half, :half] = product_of_upper(first[..., :half, :half], second[..., :half, :half])
    out[..., half:, half:] = product_of_upper(first[..., half:, half:], second[..., half:, half:])
    out[..., :half, half:] = (
        first[..., :half, :half] @ second[..., :half, half:] + first[..., :half, half:] @ second[..., half:, half:]
    )
    return out


class Transposed:
    """The steps of the transposed product: what was the first is the last, push is pull."""

    def __init__(self, steps: Steps) -> None:
        self.inner, self.steps, self.batch, self.size = steps, steps.steps, steps.batch, steps.size

    def push(self, t: int, frame: Array) -> Array:
        return self.inner.pull(self.steps - 1 - t, frame)

    def pull(self, t: int, frame: Array) -> Array:
        return self.inner.push(self.steps - 1 - t, frame)


def singular_sweeps(
    steps: Steps, swept: Swept, watch: Watch = quiet, at: frozenset[int] = frozenset()
) -> tuple[Swept, dict[int, Swept]]:
    """After a forward sweep, one back and one forward, whose triangles hold the singular values; the one back also at some lags.

    The last one goes forward because J V keeps the small rows of a saturated cell as accurate as its large ones; Jᵀ V mixes them.
    """
    back, seen = triangular_sweep(steps, sorted_frame(swept), watch, at)
    return triangular_sweep(Transposed(steps), sorted_frame(back), watch)[0], seen


def sorted_frame(swept: Swept) -> Array:
    """The frame with its columns in the order of how much they grew: the frame to start the next sweep with."""
    order = np.argsort(-swept.logs, axis=-1, kind="stable")
    return np.take_along_axis(swept.frame, order[:, None, :], axis=-1)


def start_frame(steps: Steps, k: int, seed: int = 0) -> Array:
    """The first k columns of the seed's random orthogonal matrix, uniformly distributed (Mezzadri 2007), the same for each sequence.

    Never the coordinate axes: where these span invariant subspaces, as those of independent units, a frame of them can't turn towards the
    directions that grow most, and the exponents converge like 1/T, or not at all. The first k columns are the same for every k.
    """
    normal = np.random.default_rng([seed, 2]).standard_normal((k, steps.size)).T
    Q, R = np.linalg.qr(normal)
    return np.broadcast_to(Q * np.where(np.diag(R) < 0, -1.0, 1.0), (steps.batch, steps.size, k)).copy()


def exponents_of(swept: Swept, steps: int, warmup: int) -> Array:
    """Natural log per step, descending, (B, k)."""
    assert swept.counted is not None
    return -np.sort(-swept.counted / (steps - warmup), axis=-1)


def singular_logs(swept: Swept) -> tuple[Array, float]:
    """(natural logs of the singular values, descending, (B, k); the largest cosine left)."""
    assert swept.unit is not None
    found = [log_singular_values(logs, unit) for logs, unit in zip(swept.logs, swept.unit, strict=True)]
    return np.stack([values for values, _ in found]), max(left for _, left in found)


def estimated_singular_logs(swept: Swept) -> tuple[Array, float]:
    """(the same from the triangle of a first sweep, as near as there is time for; a bound on how far off they are)."""
    assert swept.unit is not None
    found = [estimated_logs(logs, unit) for logs, unit in zip(swept.logs, swept.unit, strict=True)]
    return np.stack([values for values, _ in found]), max(bound for _, bound in found)
