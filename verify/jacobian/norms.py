"""The spectral norm of J_T ... J_{T-l+1} for l = 1..T, as natural logarithms, by pulling frames back from the last step."""

from __future__ import annotations

import numpy as np

from verify.jacobian.frames import orthonormal
from verify.jacobian.run import Array
from verify.jacobian.steps import Steps
from verify.jacobian.sweeps import Watch, quiet

DIRECT = 160
"""Up to this size the norm comes from all singular values; above, from Lanczos steps."""


WITHIN = 1e-8
"""How small what Lanczos steps leave over is, relative to the norm, which is at most so far off: by its square where it stands alone."""


def log_norms(steps: Steps, watch: Watch = quiet, direct: int = DIRECT, within: float = WITHIN) -> Array:
    """Logs of the norms by lag, (T, B). The whole product is carried, scaled at each step so that nothing under- or overflows."""
    pulled = np.broadcast_to(np.eye(steps.size), (steps.batch, steps.size, steps.size)).copy()
    scale = np.zeros(steps.batch)
    logs = np.empty((steps.steps, steps.batch))
    start = np.ones((steps.batch, steps.size))
    for lag in range(1, steps.steps + 1):
        pulled = steps.pull(steps.steps - lag, pulled)
        largest = np.abs(pulled).max(axis=(-1, -2))
        pulled = pulled / np.where(largest > 0, largest, 1)[:, None, None]
        scale = scale + log_or_minus_infinity(largest)
        logs[lag - 1] = scale + norms_of(pulled, start, direct, within)
        watch()
    return logs


def log_or_minus_infinity(values: Array) -> Array:
    out = np.full(np.shape(values), -np.inf)
    np.log(values, out=out, where=values > 0)
    return out


def norms_of(matrices: Array, start: Array, direct: int, within: float) -> Array:
    """Logs of the spectral norms of (B, S, S); `start` (B, S) is where Lanczos begins, and is left where it ended."""
    if matrices.shape[-1] <= direct:
        return log_or_minus_infinity(np.linalg.svd(matrices, compute_uv=False)[..., 0])
    return log_or_minus_infinity(np.array([lanczos(M, s, within) for M, s in zip(matrices, start, strict=True)]))


def lanczos(matrix: Array, start: Array, within: float = WITHIN, most: int = 200) -> float:
    """The spectral norm by Golub-Kahan-Lanczos steps with full reorthogonalisation; `start` becomes the singular vector found."""
    left, right = np.empty((most, len(start))), np.empty((most + 1, len(start)))
    right[0] = start / np.linalg.norm(start)
    upper = np.zeros((most, most))
    for k in range(most):
        u = matrix @ right[k]
        u -= project(left[:k], u)
        alpha = float(np.sqrt(u @ u))
        upper[k, k] = alpha
        if alpha == 0:
            break
        left[k] = u / alpha
        v = left[k] @ matrix
        v -= project(right[: k + 1], v)
        beta = float(np.sqrt(v @ v))
        if k % 3 == 2 or k + 1 == most or beta == 0:
            U, values, Vt = np.linalg.svd(upper[: k + 1, : k + 1])
            if beta * abs(U[k, 0]) <= within * values[0] or k + 1 == most or beta == 0:
                start[:] = Vt[0] @ right[: k + 1] + 1e-6 * np.linalg.norm(Vt[0]) / np.sqrt(len(start))
                return float(values[0])
        upper[k, k + 1 : k + 2] = beta
        right[k + 1] = v / beta
    start[:] = 1.0
    return float(np.linalg.norm(upper[: k + 1, : k + 1], 2))


def project(rows: Array, vector: Array) -> Array:
    """The part of a vector that lies in the span of orthonormal rows."""
    part: Array = (rows @ vector) @ rows
    rest = vector - part
    again: Array = part + (rows @ rest) @ rows
    return again


# ---- without an S × S array


def log_norms_from_frames(steps: Steps, columns: int = 4, seed: int = 0, watch: Watch = quiet) -> Array:
    """The same, (T, B), from frames of a few columns: never above the norm, and close to it.

    At lags 1, 3, 9, ... a frame pulled back and pushed forward again spans the leading directions that the last state
    receives. All of them together are pulled back once through all lags; the norm of that is the figure.
    """
    rng = np.random.default_rng([seed, 3])
    anchors = sorted({min(3**power, steps.steps) for power in range(40) if 3 ** (power - 1) < steps.steps})
    frame = np.broadcast_to(np.linalg.qr(rng.standard_normal((steps.size, columns)))[0], (steps.batch, steps.size, columns))
    spans = []
    for lag in anchors:
        frame = through_and_back(steps, frame, lag)
        spans.append(frame)
    return pulled_norms(steps, np.linalg.qr(np.concatenate(spans, axis=-1))[0], watch)


def through_and_back(steps: Steps, frame: Array, lag: int) -> Array:
    """A frame of the last state pulled back over some steps and pushed forward again: one step of subspace iteration."""
    for t in range(steps.steps - 1, steps.steps - lag - 1, -1):
        frame = safe_frame(steps.pull(t, frame), t % 4 == 0)
    for t in range(steps.steps - lag, steps.steps):
        frame = safe_frame(steps.push(t, frame), t % 4 == 3)
    return safe_frame(frame, True)


def safe_frame(frame: Array, turn: bool) -> Array:
    """The frame, scaled, or made orthonormal."""
    if turn:
        return orthonormal(frame).Q
    largest = np.abs(frame).max(axis=(-1, -2), keepdims=True)
    scaled: Array = frame / np.where(largest > 0, largest, 1)
    return scaled


def pulled_norms(steps: Steps, frame: Array, watch: Watch) -> Array:
    """Logs of the norm of (J_T ... J_{T-l+1})ᵀ W for an orthonormal W, l = 1..T, (T, B)."""
    scale = np.zeros(steps.batch)
    logs = np.empty((steps.steps, steps.batch))
    for lag in range(1, steps.steps + 1):
        frame = steps.pull(steps.steps - lag, frame)
        largest = np.abs(frame).max(axis=(-1, -2))
        frame = frame / np.where(largest > 0, largest, 1)[:, None, None]
        scale = scale + log_or_minus_infinity(largest)
        gram = np.linalg.eigvalsh(frame.swapaxes(-1, -2) @ frame)[..., -1]
        logs[lag - 1] = scale + log_or_minus_infinity(gram) / 2
        watch()
    return logs
