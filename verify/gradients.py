"""A backward pass against its own forward pass: block by block, and lag by lag, each relative to its own size."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from verify.crossing import crossing
from verify.data import REACH, Data
from verify.evidence import OTHER_STEP, Array, Evidence
from verify.kernel import Kernel
from verify.rounding import left_without, lost
from verify.tolerances import COARSE, RESOLUTION, UNDERFLOW, VANISHED, Tolerance, rounding

BELOW = "below the resolution of the route"
TINY = "so small that float64 underflows"
GROWS = "derivatives grow beyond what float64 holds"


BY_LAG = "cotangent at one step only"
NOTHING = np.zeros(())
"""What rounding takes where nothing was measured."""
NEARBY = 1e-3
"""How far data are moved to see whether a difference is rounding, relative to themselves."""
NEAR_RUNS = 8
"""How many data nearby tell lost digits from a wrong term."""


@dataclass(frozen=True)
class Comparison:
    """One block, one cotangent (or one lag), one regime: how far backward is from the evidence.

    decided: whether the evidence is sharp enough to say; why, where it isn't. spot: (the only step with a cotangent, None for all;
    the element) of the largest difference. lags: those that fail. resolutions: of lags, the size of the smallest fault that would be
    seen, next to the gradient of that lag; 0 where that has vanished below what float64 has digits for. size, apart, doubt: of the
    gradient by the evidence, of the difference, and four times the error of the evidence, absolute.
    """

    block: str
    regime: str
    cotangent: str
    error: float
    tolerance: Tolerance
    where: str = ""
    got: float | None = None
    expected: float | None = None
    decided: bool = True
    why: str = ""
    spot: tuple[int | None, tuple[int, ...]] | None = None
    lags: tuple[int, ...] = ()
    resolutions: Mapping[int, float] = field(default_factory=dict)
    size: float = 0.0
    apart: float = 0.0
    doubt: float = 0.0

    @property
    def decided_lags(self) -> frozenset[int]:
        """The lags at which a fault large enough to matter would be seen."""
        return frozenset(lag for lag, size in self.resolutions.items() if size <= RESOLUTION.value)

    @property
    def failed(self) -> bool:
        """nan fails."""
        return self.decided and not self.error <= self.tolerance.value


def relative(got: Array, expected: Array) -> float:
    """|a - b| / |b| in the norm of the block; infinite where the shapes differ, or where b is zero and a isn't (but for underflow)."""
    if got.shape != expected.shape:
        return float("inf")
    difference, size = norm(got - expected), norm(expected)
    if size or difference != difference:
        return difference / size if size else difference
    return 0.0 if difference < UNDERFLOW else float("inf")


def norm(array: Array) -> float:
    """The Euclidean norm, safe for numbers whose squares underflow."""
    largest = float(np.max(np.abs(array))) if array.size else 0.0
    return largest * float(np.sqrt((np.abs(array / largest) ** 2).sum())) if 0 < largest < np.inf else largest


def bound(evidence: Evidence, lag: float | None = None) -> Tolerance:
    """The rounding bound for a lag, by default for all steps of the data, of units that aren't saturated.

    What is lost beyond it is measured: the error of the evidence that knows its digits.
    """
    factors = evidence.data.steps if lag is None else lag
    return rounding(factors, evidence.kernel.dims.fan_in(), REACH, evidence.growth)


def cotangents_of(evidence: Evidence) -> Iterator[tuple[str, dict[str, Array]]]:
    """The cotangents that every block is held against: on all steps, and on the last step only."""
    yield "cotangents on every step", evidence.data.cotangents
    yield "cotangent on the last step only", evidence.data.only_step(-1)


def blocks(
    kernel: Kernel, evidence: Evidence, elementwise: bool, directions: int = 2, localised: Container[str] = ()
) -> Iterator[Comparison]:
    """Every block, for each of the cotangents. localised: blocks whose faulty element is known already."""
    _, tape = kernel.forward(evidence.data)
    for name, cotangents in cotangents_of(evidence):
        found = kernel.backward(evidence.data, tape, cotangents)
        each = of_cotangents(kernel, evidence, name, cotangents, found, elementwise, directions, localised)
        yield from vanishing(list(each), bound(evidence))


def vanishing(ones: list[Comparison], rounded: Tolerance) -> Iterator[Comparison]:
    """A gradient of which float64 has no digits, as that of sigma(z + 100), is held to be as good as zero beside the largest one."""
    largest = max((one.size for one in ones if np.isfinite(one.size)), default=0.0)
    limit = max(VANISHED, rounded.value)
    for one in ones:
        blunt = one.why == BELOW if not one.decided else not one.failed and one.tolerance.value > RESOLUTION.value
        unseen = one.size + one.doubt if not one.decided else one.tolerance.value * one.size
        if blunt and one.doubt > 0 and unseen <= limit * largest:
            said = Tolerance(
                limit, "of the largest gradient: this one is as good as zero beside it, and float64 has no digits of it"
            )
            one = replace(one, error=one.apart / largest, tolerance=said, decided=True, why="")
        yield one


def of_cotangents(
    kernel: Kernel,
    evidence: Evidence,
    name: str,
    cotangents: dict[str, Array],
    found: dict[str, Array],
    elementwise: bool,
    directions: int,
    localised: Container[str],
) -> Iterator[Comparison]:
    """Every block for one of the cotangents."""
    primal = evidence.data.flat()

    def run(data: Data) -> dict[str, Array]:
        fitting = kernel.gradients(data)
        return {block: array for block, array in fitting.items() if block in primal and array.shape == primal[block].shape}

    def seen(block: str, array: Array) -> Array:
        return array if block in evidence.data.parameters else crop(array, block, evidence)

    def parts(block: str, at: Evidence) -> tuple[Array, Array]:
        got = run(replace(at.data, cotangents=cotangents))[block]
        return seen(block, got), expected_gradient(block, at, cotangents)[0]

    digits = digits_lost(run, replace(evidence.data, cotangents=cotangents), evidence, parts, seen)
    for block in primal:
        taken = digits.get(block, NOTHING)
        if block not in found or found[block].shape != primal[block].shape:
            continue  # said by the check of shapes
        if block not in evidence.data.parameters:
            yield whole(block, name, crop(found[block], block, evidence), evidence, cotangents, taken)
        elif elementwise:
            yield whole(block, name, found[block], evidence, cotangents, taken)
        else:
            yield screened(block, name, found[block], evidence, cotangents, directions, block not in localised, taken)


Parts = Callable[[str, Evidence], tuple[Array, Array]]
"""(block, evidence) -> (its gradient, what it should be)."""


def digits_lost(
    run: Callable[[Data], dict[str, Array]],
    data: Data,
    evidence: Evidence,
    parts: Parts,
    seen: Callable[[str, Array], Array] = lambda block, array: array,
) -> dict[str, Array]:
    """What rounding takes of each block of a run, as measured, where the evidence is shaken: of what float32 has nothing left, what is
    another number at data nearby. seen: what of a block the evidence looks at.
    """
    digits = lost(run, data) if evidence.shaken else {}
    for block, blind in (left_without(run, data) if digits else {}).items():
        if blind.any() and block in digits:
            other = np.where(seen(block, blind), unsteady(partial(parts, block), evidence), 0.0)
            digits[block] = np.maximum(seen(block, digits[block]), other)
    return digits


def unsteady(parts: Callable[[Evidence], tuple[Array, Array]], evidence: Evidence, times: int = NEAR_RUNS) -> Array:
    """What of the difference between a gradient and the evidence is another at data nearby, element by element: rounding.

    A wrong term moves with the data as the gradient does, a thousandth of them by a few per cent; what lost digits leave is another number
    at each. Four times the spread covers it unless all eight lie within a quarter of its size of it: a chance of 4**-8 = 2e-5 where they
    are evenly spread.
    parts: evidence -> (the gradient, what it should be).
    """
    rng = np.random.default_rng([evidence.seed, 41])
    got, expected = parts(evidence)
    spread = np.zeros(np.shape(expected))
    for _ in range(times):
        near = replace(evidence, data=evidence.data.moved(NEARBY, rng), shaken=(), known={}, digits=False)
        other, wanted = parts(near)
        spread = np.maximum(spread, np.abs((other - wanted) - (got - expected)))
    return np.nan_to_num(spread, posinf=0.0)


def crop(array: Array, block: str, evidence: Evidence) -> Array:
    """The gradient of the examples that the evidence looks at."""
    return array[:, : evidence.examples] if block.startswith("input ") else array[: evidence.examples]


def expected_gradient(block: str, evidence: Evidence, cotangents: Mapping[str, Array]) -> tuple[Array, Array]:
    """(the gradient of a block by the evidence, its estimated error), element by element."""
    if block in evidence.data.parameters:
        return evidence.element_gradients(block, cotangents)
    return evidence.block_gradient(block, cotangents), evidence.block_gradient(block, cotangents, True)


def whole(
    block: str, name: str, got: Array, evidence: Evidence, cotangents: Mapping[str, Array], taken: Array = NOTHING
) -> Comparison:
    """A block compared element by element, relative to the norm of the block. taken: what rounding takes of it, as measured."""
    expected, error = expected_gradient(block, evidence, cotangents)
    lacking = norm(error) + norm(taken)
    allowed, decided, why = judged(lacking, norm(expected), bound(evidence))
    worst = np.unravel_index(worst_element(got, expected), expected.shape) if expected.size else ()
    where = f"element {tuple(int(k) for k in worst)}" if worst else ""
    had, wanted = (float(got[worst].real), float(expected[worst])) if expected.size else (None, None)
    step = evidence.data.steps - 1 if "last step" in name else None
    spot = (step, tuple(int(k) for k in worst))
    apart = norm(got - expected) if got.shape == expected.shape else np.inf
    return Comparison(
        block, evidence.regime.name, name, relative(got, expected), allowed, where, had, wanted, decided, why, spot,
        size=norm(expected), apart=apart, doubt=4 * lacking,
    )  # fmt: skip


def worst_element(got: Array, expected: Array) -> int:
    difference = np.abs(got - expected)
    return int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))


def judged(error: float, size: float, rounding_bound: Tolerance) -> tuple[Tolerance, bool, str]:
    """(tolerance with the evidence's own error added, whether it decides, why not)."""
    if 0 < size < UNDERFLOW:
        return rounding_bound, False, TINY
    if not np.isfinite(rounding_bound.value):
        return rounding_bound, False, GROWS
    if error == 0:
        return rounding_bound, True, ""
    if size == 0 or not 4 * error <= COARSE * size:
        return rounding_bound, False, BELOW
    own = 4 * error / size
    return (
        Tolerance(rounding_bound.value + own, f"{rounding_bound.reason}, + 4 x the error of the evidence, {error / size:.0e}"),
        True,
        "",
    )


def screened(
    block: str,
    name: str,
    got: Array,
    evidence: Evidence,
    cotangents: Mapping[str, Array],
    directions: int,
    localise: bool,
    taken: Array = NOTHING,
) -> Comparison:
    """A parameter along random directions; element by element where that fails."""
    worst = Comparison(block, evidence.regime.name, name, 0.0, bound(evidence))
    undecided = 0
    for k in range(directions):
        expected, own = evidence.along_gradient(block, k, cotangents)
        along = float((got * evidence.direction(block, k)).sum().real)
        size = max(norm(got), abs(expected)) if np.isfinite(norm(got)) else abs(expected)
        error = abs(along - expected) / size if size else abs(along - expected)
        lacking = own + norm(taken * evidence.direction(block, k))
        allowed, decided, why = judged(lacking, size, bound(evidence))
        sizes: Any = {"size": abs(expected), "apart": abs(along - expected), "doubt": 4 * lacking}
        if not decided:
            undecided += 1
            worst = worst if k else Comparison(block, evidence.regime.name, name, error, allowed, decided=False, why=why, **sizes)
        elif not error <= allowed.value:
            found = whole(block, name, got, evidence, cotangents, taken) if localise else None
            along_one = Comparison(block, evidence.regime.name, name, error, allowed, f"random direction {k}", along, expected)
            return found if found is not None and found.failed else along_one
        elif error >= worst.error or not worst.decided:
            worst = Comparison(block, evidence.regime.name, name, error, allowed, f"direction {k}", along, expected, **sizes)
    return worst


# ---- lag by lag


def step_gradients(kernel: Kernel, evidence: Evidence, data: Data | None = None) -> dict[str, Array]:
    """The backward pass for a cotangent at one step s only, all s side by side along the batch: (S, examples, T, n) or (S, examples, n).

    data: others than those of the evidence, of the same sizes.
    """
    steps = evidence.data.steps
    data = (data or evidence.data).repeated(steps, evidence.examples)
    cotangents = {}
    for name, array in data.cotangents.items():
        parts = array.reshape(steps, evidence.examples, steps, -1) * np.eye(steps, dtype=array.dtype)[:, None, :, None]
        cotangents[name] = parts.reshape(array.shape)
    found = kernel.gradients(data, cotangents)
    result: dict[str, Any] = {}
    for block in evidence.columns:
        if block not in found or found[block].shape != data.flat()[block].shape:
            continue
        if block.startswith("input "):
            result[block] = found[block].reshape(steps, evidence.examples, steps, -1).transpose(2, 1, 0, 3)
        else:
            result[block] = found[block].reshape(evidence.examples, steps, -1).transpose(1, 0, 2)
    return result


def within(evidence: Evidence, lag: int, allowed: float) -> Tolerance:
    """The bound of a lag with what cancellation and the evidence's own error add to it."""
    plain = bound(evidence, max(lag, 0))
    extra = (
        f" x {allowed / plain.value:.1f} for terms that cancel and digits that are lost" if allowed > 1.05 * plain.value else ""
    )
    return Tolerance(allowed, plain.reason + extra)


def lags(kernel: Kernel, evidence: Evidence) -> Iterator[Comparison]:
    """Every input and initial state, for a cotangent at one step only, at every earlier step."""

    def run(data: Data) -> dict[str, Array]:
        return step_gradients(kernel, evidence, data)

    def parts(block: str, at: Evidence) -> tuple[Array, Array]:
        return run(at.data)[block], at.per_step(block, at.data.cotangents)

    digits = digits_lost(run, evidence.data, evidence, parts)
    for block, got in step_gradients(kernel, evidence).items():
        cotangents = evidence.data.cotangents
        own, terms = evidence.per_step(block, cotangents, error=True), evidence.per_step(block, cotangents, absolute=True)
        own = own + digits.get(block, 0.0)
        yield lag_by_lag(block, got, evidence.per_step(block, cotangents), own, terms, evidence)


def lag_by_lag(block: str, got: Any, expected: Any, own: Any, terms: Any, evidence: Evidence) -> Comparison:
    """The worst pair (cotangent at s, gradient at t): the initial state counts as step -1, so that its lag is s + 1.

    own: the evidence's error, with what rounding takes. terms: the sum of |cotangent| |tangent|, which the rounding bound is relative
    to where terms cancel.
    """
    steps = evidence.data.steps
    if not block.startswith("input "):
        got, expected, own, terms = (np.expand_dims(array, 2) for array in (got, expected, own, terms))
    to = np.arange(expected.shape[2]) if block.startswith("input ") else np.array([-1])
    lag = np.arange(steps)[:, None] - to[None, :]
    axes = (1, 3)
    scale = np.maximum(np.abs(expected).max(axis=axes), np.finfo(float).tiny)
    size = scale * np.sqrt(((expected / scale[:, None, :, None]) ** 2).sum(axis=axes))
    difference = np.abs(got - expected).max(axis=axes)
    with np.errstate(all="ignore"):
        error = np.where((difference == 0) | ((size == 0) & (difference < UNDERFLOW)), 0.0, difference / size)
        resolution = np.where(np.abs(own).max(axis=axes) == 0, 0.0, 4 * np.abs(own).max(axis=axes) / size)
        cancelled = np.maximum(1.0, np.nan_to_num(terms.max(axis=axes) / size, posinf=1.0))
    one = bound(evidence, 0)
    allowed = one.value * (np.maximum(lag, 0) + 2) / 2 * cancelled + resolution
    decided = np.where(size == 0, resolution == 0, (size > UNDERFLOW) & (resolution <= COARSE)) & np.isfinite(allowed)
    failing = decided & ~(error <= allowed)
    ratio = np.where(decided, np.where(np.isnan(error), np.inf, error) / allowed, -1.0)
    s, t = (int(k) for k in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    e, j = np.unravel_index(worst_element(got[s, :, t], expected[s, :, t]), expected[s, :, t].shape)
    across = crossing(block, evidence, s, t) if failing.any() else ""
    where = across or f"lag {lag[s, t]} (cotangent at step {s}, gradient at {'step ' + str(t) if to[t] >= 0 else 'the start'})"
    limit = VANISHED * size.max(initial=0.0)
    vanished = (size > 0) & (size < UNDERFLOW / (OTHER_STEP if evidence.shaken else 1.0))
    vanished |= ~decided & (size + 4 * np.abs(own).max(axis=axes) <= limit) & (difference <= limit)
    sharp = np.where(vanished, 0.0, np.where(decided, np.where(size == 0, 0.0, allowed), np.inf))
    seen = {int(k): float(sharp[lag == k].min()) for k in np.unique(lag[lag >= 0])}
    element = tuple(int(k) for k in np.unravel_index(j, evidence.data.own_shape(block)))
    wrong = () if across else tuple(sorted({int(k) for k in lag[failing]}))
    return Comparison(
        block, evidence.regime.name, BY_LAG, float(error[s, t]),
        within(evidence, int(lag[s, t]), float(allowed[s, t])), where,
        float(got[s, e, t, j].real), float(expected[s, e, t, j]), bool(decided.any()), "" if decided.any() else BELOW,
        (s, (int(t), int(e), *element) if to[t] >= 0 else (int(e), *element)), wrong, seen,
    )  # fmt: skip
