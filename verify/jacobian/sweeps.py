"""Frames of orthonormal columns carried through time, with a QR decomposition where they would lose their angles.

Forward: J_t Q = Q' R. The sums of log|diag R| give the Lyapunov exponents (Benettin et al. 1980; natural logarithm, per step), never
the singular values of the multiplied-out product, which are lost beyond sixteen decades. Backward from the last frame, J_tᵀ V = V' R,
and forward again from the first: each sweep starts with the columns that the last one found, in the order of their growth. The product
of the R's, kept as diag(exp(logs)) times a matrix of moderate entries, has the singular values of the whole product; the rotations of
`verify.jacobian.rotations` read them off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from verify.jacobian.rotations import log_singular_values
from verify.jacobian.run import Array
from verify.jacobian.steps import Steps

ANGLES = np.log(1e5)
"""How far the columns of a frame may grow apart (in logs) before it is made orthonormal again."""

LONGEST = 16
"""How many steps at most a frame goes without."""

NOISE = 16 * float(np.finfo(float).eps)
"""What rounding leaves of a number that should be 0, relative to the numbers that it came from, times the root of how many they are."""

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
    columns = np.sqrt(squares.sum(axis=-2))
    sizes = np.minimum(rows[each, by_size][:, : frame.shape[-1]], columns)
    noise = NOISE * np.sqrt(frame.shape[-2]) * sizes
    logs = np.full(diagonal.shape, -np.inf)
    np.log(np.abs(diagonal), out=logs, where=np.abs(diagonal) > noise)
    return Turned(sorted_back * sign[..., None, :], R * sign[..., None], logs, order)


def forward_sweep(steps: Steps, frame: Array, warmup: int = 0, watch: Watch = quiet) -> Swept:
    """Push a frame through all steps. The `warmup` leading steps only turn the frame: `counted` leaves them out."""
    logs, counted = np.zeros(frame.shape[::2]), np.zeros(frame.shape[::2])
    gap, since = 1, 0
    for t in range(steps.steps):
        frame, since = steps.push(t, frame), since + 1
        if since >= gap or t + 1 in (warmup, steps.steps):
            turned = orthonormal(frame)
            frame = turned.Q
            logs = picked(logs, turned.order) + turned.logs
            counted = picked(counted, turned.order) + (turned.logs if t + 1 > warmup else 0.0)
            frame = np.where(np.isfinite(logs)[:, None, :], frame, 0.0)
            gap, since = next_gap(turned.logs, since), 0
        watch()
    return Swept(frame, logs, np.where(np.isfinite(logs), counted, -np.inf))


def next_gap(grown: Array, since: int) -> int:
    """How many steps the frame may go before the next QR, judged by how far its columns grew apart in the last ones."""
    live = np.isfinite(grown)
    high, low = np.where(live, grown, -np.inf).max(axis=-1), np.where(live, grown, np.inf).min(axis=-1)
    apart = float(np.where(high > low, high - low, 0.0).max()) / since
    return int(np.clip(ANGLES / max(apart, 1e-12), 1, LONGEST))


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
    product: Array = factor @ unit
    return product


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
    """The identity for a full frame; a random one for the leading k columns, since coordinate axes may be invariant."""
    if k == steps.size:
        return np.broadcast_to(np.eye(k), (steps.batch, k, k)).copy()
    normal = np.random.default_rng([seed, 2]).standard_normal((k, steps.size)).T
    return np.broadcast_to(np.linalg.qr(normal)[0], (steps.batch, steps.size, k)).copy()


def exponents_of(swept: Swept, steps: int, warmup: int) -> Array:
    """Natural log per step, descending, (B, k)."""
    assert swept.counted is not None
    return -np.sort(-swept.counted / (steps - warmup), axis=-1)


def singular_logs(swept: Swept) -> tuple[Array, float]:
    """(natural logs of the singular values, descending, (B, k); the largest cosine left)."""
    assert swept.unit is not None
    found = [log_singular_values(logs, unit) for logs, unit in zip(swept.logs, swept.unit, strict=True)]
    return np.stack([values for values, _ in found]), max(left for _, left in found)
