"""All of it at once: a run in, one frozen result out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from verify.jacobian.bounds import Bound, bound_of
from verify.jacobian.derived import Derived
from verify.jacobian.lags import Lags, gradient_by_lag
from verify.jacobian.norms import log_norms, log_norms_from_frames
from verify.jacobian.paths import Approximation, approximations, described, path_norms, paths_of
from verify.jacobian.rows import row_scaled
from verify.jacobian.run import Array, Run, RunError
from verify.jacobian.steps import Dense, Products, Steps
from verify.jacobian.sweeps import (
    Swept,
    Watch,
    estimated_singular_logs,
    exponents_of,
    forward_sweep,
    quiet,
    singular_logs,
    singular_sweeps,
    sorted_frame,
    start_frame,
    triangular_sweep,
)
from verify.jacobian.values import evaluated

LN10 = float(np.log(10))
FULL_ROTATIONS = 320
"""Up to this size of the joint state the singular values are swept back and forth through all steps; above, the first sweep's triangle
is worked on until it is near enough, or the time for it is over: the bound on what is left is theirs then."""

DENSE = 512
"""Above this size, when only leading exponents are asked for, nothing of size S × S is formed."""

LARGE, LEADING = 1024, 16
"""Above this size only so many exponents are computed where nobody asks for another number: a matrix memory of 64 × 64 has S = 4,096."""

SPARE = 8
"""How many columns more than asked for a leading frame has."""


@dataclass(frozen=True)
class Wanted:
    """exponents: the leading k, None for all S, or the leading few where S is large. threshold: of the verdict. paths, gradient: whether
    they are computed. loss_step: of the gradient by lag, None for T. fan: at how many lags the singular values are kept for a picture.
    """

    exponents: int | None = None
    threshold: float = 0.01
    paths: bool = True
    gradient: bool = True
    loss_step: int | None = None
    fan: int = 0
    seed: int = 0


@dataclass(frozen=True)
class PathResult:
    """log10 of the norm by lag of the product with a path cut, and with it alone, (T,) mean over the batch; its terms and reasons."""

    name: str
    kind: str
    terms: tuple[dict[str, str], ...]
    cut: Array
    kept: Array


@dataclass(frozen=True)
class Fan:
    """log10 singular values of the product at some lags, (len(lags), S), of the batch's mean."""

    lags: Array
    values: Array


@dataclass(frozen=True)
class Analysis:
    """What a run's Jacobian products say. Means over the batch, with the standard deviation over it as the spread.

    columns: of the frame. exponents (k,): natural log per step, descending, over the steps after `warmup`. log10_norms (T,): element
    l-1 is log10 of the
    spectral norm of J_T ... J_{T-l+1}. singular_values (k,): log10, descending, of the product over all steps;
    singular_values_error: how far off they may be, log10. Minus infinity where a Jacobian is singular.
    """

    run: Run
    wanted: Wanted
    warmup: int
    columns: int
    bound: Bound
    paths: tuple[PathResult, ...] | None
    approximations: tuple[Approximation, ...]
    gradient: Lags | None
    exponents: Array
    exponents_spread: Array
    log10_norms: Array
    log10_norms_spread: Array
    norms_method: str
    singular_values: Array
    singular_values_spread: Array
    singular_values_error: float
    fan: Fan | None

    def __post_init__(self) -> None:
        for part in (self, *(self.paths or ()), self.fan):
            freeze(vars(part) if part is not None else {})
        for table in (self.gradient.parameters, self.gradient.inputs, self.gradient.states) if self.gradient else ():
            freeze(table)

    @property
    def which(self) -> str:
        """Which exponents and singular values were computed."""
        S, k = self.run.size, len(self.exponents)
        return f"all {S}" if k == S else f"the leading {k} of {S}"

    @property
    def verdict(self) -> str:
        """`vanishing`, `stable` or `exploding`, by the largest exponent."""
        largest = float(self.exponents[0])
        return "vanishing" if largest < -self.wanted.threshold else "exploding" if largest > self.wanted.threshold else "stable"


def freeze(arrays: Mapping[str, Any]) -> None:
    """A frozen result holds figures that stay what they were."""
    for array in arrays.values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)


def analyse(run: Run, wanted: Wanted | None = None, watch: Watch = quiet) -> Analysis:
    """Every figure of a run. Raises RunError on numbers that aren't finite, and on what can't be asked of it.

    watch is called once for each step of each long pass, see `amount_of`.
    """
    wanted = wanted or Wanted()
    if not run.kernel.STATES:
        fault = "the cell has no states, so there is no Jacobian product: expected a value that is read at t-1, got none"
        raise RunError(f"jacobian: {run.name}: {fault}. Take a recurrent cell.")
    k = count_of(run, wanted)
    if not 1 <= k <= run.size:
        raise RunError(
            f"jacobian: --exponents: expected 1 to S = {run.size}, the size of the joint state, got {k}. Choose one of them."
        )
    run.outputs  # noqa: B018  refuses a run that overflows, before anything long
    warmup = run.steps // 10
    values = evaluated(run) if run.has_terms else None
    leading = is_leading(run, k)
    if leading:
        figures = leading_figures(run, values, k, warmup, wanted, watch)
    else:
        figures = dense_figures(run, row_scaled(run, values) or Dense(run), k, warmup, wanted, watch)
    paths, approximate = path_results(run, values, wanted, watch)
    gradient = gradient_by_lag(run, wanted.loss_step, seed=wanted.seed, watch=watch) if wanted.gradient else None
    return Analysis(
        run, wanted, warmup, k + SPARE if leading else run.size, bound_of(run, values), paths, approximate, gradient, **figures
    )


def count_of(run: Run, wanted: Wanted) -> int:
    """How many exponents are computed."""
    if wanted.exponents is not None:
        return wanted.exponents
    return LEADING if run.size > LARGE else run.size


def is_leading(run: Run, count: int) -> bool:
    """Whether the figures come from a frame of a few columns, without any S × S array."""
    return run.size > DENSE and count + SPARE < run.size // 2


def amount_of(run: Run, wanted: Wanted) -> int:
    """How often `analyse` calls its watch, about: once a step of each pass."""
    if not run.kernel.STATES:
        return 1
    passes = 4 if run.size <= FULL_ROTATIONS else 2
    paths = 2 * len(paths_of(run)) if run.has_terms and wanted.paths else 0
    return run.steps * (passes + paths + (run.batch if wanted.gradient else 0))


def dense_figures(run: Run, steps: Steps, k: int, warmup: int, wanted: Wanted, watch: Watch) -> dict[str, Any]:
    """Exponents, norms and singular values from whole step Jacobians."""
    full = run.size <= FULL_ROTATIONS
    swept = forward_sweep(steps, start_frame(steps, run.size, wanted.seed), warmup, watch, triangles=not full)
    exponents = exponents_of(swept, run.steps, warmup)[:, :k]
    norms = log_norms(steps, watch)
    fan = None
    if full:
        lags = fan_lags(run.steps, wanted.fan)
        last, seen = singular_sweeps(steps, swept, watch, frozenset(lags))
        singular, error = singular_logs(last)
        fan = fan_of(seen) if lags else None
    else:
        singular, error = estimated_singular_logs(swept)
    error = error / LN10
    method = "spectral norm of the whole product"
    return figures(exponents, norms, singular[:, :k], error, fan, method)


def leading_figures(run: Run, values: Any, k: int, warmup: int, wanted: Wanted, watch: Watch) -> dict[str, Any]:
    """The same without any S × S array, from the derived products or the kernel's `jvp` and `backward`."""
    steps: Steps = Derived(run, values) if values is not None else Products(run)
    swept = forward_sweep(steps, start_frame(steps, k + SPARE, wanted.seed), warmup, watch)
    exponents = exponents_of(swept, run.steps, warmup)[:, :k]
    back, _ = triangular_sweep(steps, sorted_frame(swept), watch)
    singular, _ = singular_logs(back)
    total = -np.sort(-back.logs, axis=-1)
    error = float(np.abs(total - singular)[:, :k].max()) / LN10 if np.isfinite(total).all() else float("inf")
    norms = log_norms_from_frames(steps, seed=wanted.seed, watch=watch)
    method = "from frames of a few columns: never above the spectral norm, close to it at long lags"
    return figures(exponents, norms, singular[:, :k], error, None, method)


def figures(exponents: Array, norms: Array, singular: Array, error: float, fan: Fan | None, method: str) -> dict[str, Any]:
    """The figures as `Analysis` holds them: means over the batch, and spreads."""
    return {
        "exponents": -np.sort(-mean(exponents, 0)),
        "exponents_spread": spread(exponents, 0),
        "log10_norms": mean(norms, 1) / LN10,
        "log10_norms_spread": spread(norms, 1) / LN10,
        "norms_method": method,
        "singular_values": mean(singular, 0) / LN10,
        "singular_values_spread": spread(singular, 0) / LN10,
        "singular_values_error": error,
        "fan": fan,
    }


def mean(values: Array, axis: int) -> Array:
    return np.asarray(values.mean(axis=axis))


def spread(values: Array, axis: int) -> Array:
    """The standard deviation over the batch; 0 where all are minus infinity, infinity where some are."""
    dead = ~np.isfinite(values)
    out = np.where(dead, 0.0, values).std(axis=axis)
    return np.where(dead.any(axis=axis) & ~dead.all(axis=axis), np.inf, np.where(dead.all(axis=axis), 0.0, out))


def fan_lags(steps: int, count: int) -> list[int]:
    """Lags at even distances, the first and the last among them."""
    return sorted({int(lag) for lag in np.linspace(1, steps, count).round()}) if count else []


def fan_of(seen: dict[int, Swept]) -> Fan:
    values = np.stack([singular_logs(swept)[0].mean(axis=0) for _, swept in sorted(seen.items())])
    return Fan(np.array(sorted(seen)), values / LN10)


def path_results(
    run: Run, values: Any, wanted: Wanted, watch: Watch
) -> tuple[tuple[PathResult, ...] | None, tuple[Approximation, ...]]:
    """The paths of a derived cell; None where there are no terms with reasons, as in a kernel file."""
    if not run.has_terms or not wanted.paths:
        return None, ()
    steps = Derived(run, values)
    paths = paths_of(run)
    norms = path_norms(steps, paths, wanted.seed, watch)
    results = [
        PathResult(n.path.name, n.path.kind, tuple(described(run, n.path)), mean(n.cut, 1) / LN10, mean(n.kept, 1) / LN10)
        for n in norms
    ]
    return tuple(results), tuple(approximations(run, steps, paths)) if run.size <= DENSE else ()
