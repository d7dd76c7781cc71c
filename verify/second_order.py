"""Second order: hvp against how the kernel's own backward pass moves, by complex step, or by differences where that can't run.

The backward pass is held against forward elsewhere, so that its derivative is what hvp has to be: d/de of backward at the arguments
moved by i e along the tangents, the cotangents held. Each block of arguments is moved alone, for cotangents on every step and
on the last one only, and each gradient is compared relative to its own size there, that of an input step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from verify import differences, tolerances
from verify.agreement import overlap, same, verdict
from verify.block_cause import simple
from verify.continuation import IMAGINARY, complex_data
from verify.contract import broken
from verify.data import Data
from verify.evidence import EXACT, Array, Evidence, exact
from verify.findings import FAIL, INCONCLUSIVE, PASS, Finding, label_of
from verify.gradients import NEAR_RUNS, NEARBY, cotangents_of, crop, norm, relative
from verify.kernel import Kernel, one_line
from verify.rounding import left_without, lost
from verify.tangents import direction_of
from verify.tolerances import CENTRAL, COARSE, EPS

Gradients = dict[str, Array]
Cotangents = Mapping[str, Array]
PLAIN = 1e-6
"""Where something is wrong already, others are named that are wrong by more than this: what rounding takes isn't measured again."""
DIFFERENCES, TOGETHER = "differences", "all blocks"
SHOWN = 4
"""How many gradients or tangents a line names."""


def second_order(kernel: Kernel, evidences: Sequence[Evidence]) -> Iterator[Finding]:
    """The numbers of hvp on every set of data; on the first what the contract says of a call."""
    if not kernel.has("hvp"):
        yield broken("hvp", "absent")
        return
    first = evidences[0]
    found = list(misshapen(kernel, first.data))
    if found:
        yield from found
        return
    found = list(compared(evidences))
    yield from found
    yield from of_calls(kernel, first.data, {block: direction_of(first, block) for block in first.data.flat()})
    if first.method == EXACT and not found:
        yield from continued(kernel)
    yield Finding("hvp", PASS)


def misshapen(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """Each gradient moves in the shape and precision of its primal, also where there are no steps."""
    none = replace(
        data,
        inputs={name: array[:0] for name, array in data.inputs.items()},
        cotangents={name: array[:0] for name, array in data.cotangents.items()},
        steps=0,
    )
    for some, said in ((data, ""), (none, "T = 0: "), (data.astype(np.float32), "float32: ")):
        found = kernel.second(some, some.cotangents, some.flat())
        for block, primal in some.flat().items():
            if block not in found:
                yield Finding("hvp", FAIL, block, said=f"{said}hvp doesn't return this gradient", cause="missing gradient")
            elif found[block].shape != primal.shape:
                yield Finding("hvp", FAIL, block, said=f"{said}wrong shape: expected {primal.shape}, got {found[block].shape}")
            elif found[block].dtype != primal.dtype:
                yield Finding("hvp", FAIL, block, said=f"{said}wrong dtype: expected {primal.dtype}, got {found[block].dtype}")
            elif not some.steps and found[block].any():
                yield Finding("hvp", FAIL, block, said=f"{said}not zero where there are no steps")


# ---- numbers


@dataclass(frozen=True)
class Slopes:
    """How the gradients of a kernel on some data move along a direction given by block, with the error of that, by one route."""

    kernel: Kernel
    data: Data
    cotangents: Cotangents
    method: str = EXACT
    step: float = differences.COMPLEX_STEP

    @property
    def underflow(self) -> float:
        """The largest derivative that the step makes too small for a number."""
        return float(np.finfo(float).tiny) / self.step if self.method == EXACT else 0.0

    def gradients(self, blocks: dict[str, Array]) -> Gradients:
        moved = self.data.with_flat(blocks)
        kind = moved.dtype()
        return self.kernel.gradients(moved, {name: array.astype(kind) for name, array in self.cotangents.items()})

    def along(self, direction: Mapping[str, Array]) -> tuple[Gradients, Gradients]:
        tangents = partial(exact, step=self.step) if self.method == EXACT else differences.extrapolated_tangents
        return tangents(self.gradients, self.data.flat(), direction)


@dataclass
class Difference:
    """One gradient along the tangents of one block, where hvp is off by more than it may be."""

    block: str
    along: str
    where: str
    got: Array
    expected: Array
    error: float
    tolerance: float


@dataclass
class Held:
    """What was compared: where hvp differs, whether it is right along a block, which gradients are decided nowhere."""

    wrong: list[Difference] = field(default_factory=list)
    right: dict[str, bool] = field(default_factory=dict)
    undecided: dict[str, bool] = field(default_factory=dict)


def compared(evidences: Sequence[Evidence]) -> Iterator[Finding]:
    """hvp along each block alone, to the first data on which it differs: one finding says how; else one each gradient of which the route
    has no digits on any. Differences, which are slow, take all blocks together on all data but the first.
    """
    method = method_of(evidences[0])
    undecided: dict[str, bool] = {}
    for evidence in evidences:
        held = Held(undecided=undecided)
        for name, cotangents in cotangents_of(evidence):
            slopes = Slopes(evidence.kernel, evidence.data, cotangents, method)
            each = {block: direction_of(evidence, block) for block in evidence.data.flat()}
            alone = {block: {block: array} for block, array in each.items()}
            for along, direction in alone.items() if method == EXACT or evidence is evidences[0] else [(TOGETHER, each)]:
                hold(slopes, along, direction, name, evidence, held)
        if held.wrong:
            yield told(held, method, evidence)
            return
    for block in (block for block, blunt in undecided.items() if blunt):
        yield Finding("hvp", INCONCLUSIVE, block, said=f"no tangent moves it by as much as the {method} of backward resolves")


def hold(slopes: Slopes, along: str, direction: Mapping[str, Array], name: str, evidence: Evidence, held: Held) -> None:
    """hvp along one direction against the route; what rounding takes is measured where they differ. along: what to call it."""
    kernel, data, cotangents = slopes.kernel, slopes.data, slopes.cotangents
    bound = tolerances.second_order(data.steps).value
    got = kernel.second(data, cotangents, direction)
    expected, error = slopes.along(direction)
    known: Gradients | None = None
    gradients: Gradients = {}
    blur: Callable[[str, Any], float] | None = None
    for block, array in expected.items():
        if block not in got or got[block].shape != array.shape:
            continue
        for where, part in parts_of(block, data.steps):
            one, right = got[block][part], array[part]
            size, apart = norm(right), norm(one - right)
            doubt = 4 * norm(np.broadcast_to(error[block], array.shape)[part]) + slopes.underflow * right.size
            if held.wrong:
                doubt += PLAIN * size
            elif not apart <= bound * size + doubt:
                if known is None or blur is None:
                    known, blur = worth(slopes, direction, expected, evidence.seed), saturated(evidence, cotangents)
                    gradients = slopes.gradients(data.flat())
                # along tangents of the size of the data what is below the gradient's own last bit moves nothing that float64 has
                doubt += EPS * norm(gradients[block][part])
                doubt += 4 * norm(known[block][part]) + 4 * size * (blur(block, part) + max(blur(one, ...) for one in direction))
            blunt = doubt > COARSE * size > 0
            held.undecided[block] = held.undecided.get(block, True) and blunt
            if not blunt and not apart <= bound * size + doubt:
                spot, allowed = ", ".join(filter(None, (name, where))), bound + (doubt / size if size else 0.0)
                held.wrong.append(Difference(block, along, spot, one, right, relative(one, right), allowed))
    held.right[along] = not any(one.along == along for one in held.wrong)


def parts_of(block: str, steps: int) -> Iterator[tuple[str, Any]]:
    """What of a gradient is compared by itself: of an input each step."""
    if not block.startswith("input "):
        yield "", ...
    for t in range(steps) if block.startswith("input ") else ():
        yield f"step {t}", t


def worth(slopes: Slopes, direction: Mapping[str, Array], expected: Gradients, seed: int) -> Gradients:
    """What rounding takes of each element: what float32 loses of hvp, in proportion, and what the last bits of the data are worth; of what
    float32 has nothing left of, what of the difference is another number at data nearby (`gradients.unsteady` says why).
    """
    kernel, rng = slopes.kernel, np.random.default_rng([seed, 61])
    held = replace(slopes.data, cotangents=dict(slopes.cotangents))

    def moves(data: Data) -> Gradients:
        return kernel.second(data, data.cotangents, direction)

    found = lost(moves, held)
    blind = {block: where for block, where in left_without(moves, held).items() if where.any() and block in expected}
    got = moves(held) if blind else {}
    for _ in range(NEAR_RUNS if blind else 0):
        near = held.moved(NEARBY, rng)
        other, wanted = moves(near), replace(slopes, data=near).along(direction)[0]
        for block, where in blind.items():
            spread = np.abs((other[block] - wanted[block]) - (got[block] - expected[block]))
            found[block] = np.maximum(found[block], np.where(where, np.nan_to_num(spread, posinf=0.0), 0.0))
    found = {block: found[block] if block in found else np.zeros(array.shape) for block, array in expected.items()}
    for _ in range(3):
        moved = replace(slopes, data=slopes.data.moved(4 * EPS, rng)).along(direction)[0]
        found = {block: array + np.abs(moved[block] - expected[block]) for block, array in found.items()}
    return found


def saturated(evidence: Evidence, cotangents: Cotangents) -> Callable[[str, Any], float]:
    """What of a part of a gradient float64 has no digits, where units are saturated, relative to it: how it moves is known no better.

    A slope that is made of an output, as 1 - y**2 is, has lost them for good, alike in every run and in float32.
    """
    known, gradients = evidence.with_digits(), evidence.kernel.gradients(evidence.data, cotangents)

    def missing(block: str, part: Any) -> float:
        if not known.digits or block not in gradients:
            return 0.0
        if block in evidence.data.parameters:
            error, array = np.asarray(known.along_gradient(block, 0, cotangents)[1]), gradients[block]
        else:
            error, array = known.block_gradient(block, cotangents, True)[part], crop(gradients[block], block, evidence)[part]
        return norm(error) / norm(array) if norm(array) else 0.0

    return missing


def method_of(evidence: Evidence) -> str:
    """The route: complex step of backward where complex numbers run and agree with differences, else differences."""
    if evidence.method != EXACT:
        return DIFFERENCES
    slopes = Slopes(evidence.kernel, evidence.data, evidence.data.cotangents)
    direction = {block: direction_of(evidence, block) for block in evidence.data.flat()}
    try:
        found = slopes.along(direction)[0]
    except Exception:
        return DIFFERENCES
    near, errors = replace(slopes, method=DIFFERENCES).along(direction)
    apart = {block: norm(found[block] - array) for block, array in near.items()}
    agree = all(apart[b] <= CENTRAL.value * norm(array) + 10 * norm(errors[b]) for b, array in near.items())
    return EXACT if agree else DIFFERENCES


def told(held: Held, method: str, evidence: Evidence) -> Finding:
    """What differs as one finding: the worst pair, which other gradients, along which tangents it is wrong and along which right."""
    worst = max(held.wrong, key=lambda one: np.inf if np.isnan(one.error) else min(one.error, 1e300) / one.tolerance)
    blocks, along = ([*dict.fromkeys(getattr(one, what) for one in held.wrong)] for what in ("block", "along"))
    said = f"differs from the {method} of backward along the tangents of {listed(along)}"
    right = [block for block, is_right in held.right.items() if is_right]
    said += f", right along {listed(right)}" if right else ""
    others = [label_of(block) for block in blocks if block != worst.block]
    said += f"; so {'do' if len(others) > 1 else 'does'} {listed(others)}" if others else ""
    where = f"regime {evidence.regime.name}, {worst.where}, tangent of {named(worst.along)}"
    cause = simple(worst.got, worst.expected, evidence.data)
    return Finding(
        "hvp",
        FAIL,
        worst.block,
        where,
        said,
        error=worst.error,
        tolerance=worst.tolerance,
        cause=cause,
        reason=tolerances.second_order(evidence.data.steps).reason,
    )


def named(block: str) -> str:
    """A block as the argument it is: `W`, `x`, `h_0`."""
    return block if block == TOGETHER else label_of(block).removeprefix("d_")


def listed(names: list[str]) -> str:
    shown = [named(name) if not name.startswith("d_") else name for name in names[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


# ---- calls


def of_calls(kernel: Kernel, data: Data, direction: dict[str, Array]) -> Iterator[Finding]:
    """Linear in the tangents and in the cotangents; what is missing is zero; the same bits and no shared memory when called again."""
    second = partial(kernel.second, data)
    whole, again = second(data.cotangents, direction), second(data.cotangents, direction)
    yield verdict("hvp", same(whole, again), "gives other bits when called again", "it keeps something between calls")
    yield verdict("hvp", overlap(whole, again), "two calls return the same memory", "a buffer is kept and returned")
    still = {block: np.zeros(array.shape) for block, array in direction.items()}
    for given, tangents, said in (
        (data.cotangents, still, "along zero tangents"),
        (data.cotangents, {}, "without any tangent"),
        ({}, direction, "without any cotangent"),
    ):
        wrong = next((block for block, array in second(given, tangents).items() if array.any()), "")
        yield verdict("hvp", wrong, f"not zero {said}", "something is added that doesn't move")
    digits = Digits(kernel, data, direction)
    yield from linear(kernel, data, direction, whole, digits)
    for block, array in direction.items():
        said = f"leaving out all tangents but that of {named(block)} differs from zeros"
        got, expected = second(data.cotangents, {block: array}), second(data.cotangents, {**still, block: array})
        yield digits.alike(got, expected, said)
    for name, array in data.cotangents.items():
        given = {other: one for other, one in data.cotangents.items() if other != name}
        expected = second({**given, name: np.zeros_like(array)}, direction)
        yield digits.alike(second(given, direction), expected, f"leaving out the cotangent of {name} differs from zeros")
    if kernel.dims.settled:
        yield from of_state(kernel, data, direction, digits)


@dataclass(frozen=True)
class Digits:
    """What float64 has of hvp along a direction, measured where two calls differ: a gradient may be what is left of terms that cancel."""

    kernel: Kernel
    data: Data
    direction: dict[str, Array]

    @cached_property
    def lost(self) -> Gradients:
        return lost(lambda moved: self.kernel.second(moved, moved.cotangents, self.direction), self.data)

    def alike(self, got: Gradients, expected: Gradients, said: str, sizes: Mapping[str, float] | None = None) -> Finding:
        """Whether two calls agree, relative to each gradient's size or to those given."""
        bound = tolerances.second_order(self.data.steps)
        for block, array in expected.items():
            apart, size = norm(got[block] - array), (sizes or {}).get(block, norm(array))
            allowed = bound.value * size
            if not apart <= allowed and not apart <= allowed + 8 * norm(self.lost.get(block, np.zeros(1))):
                error = apart / size if size else np.inf
                return Finding("hvp", FAIL, block, said=said, error=error, tolerance=bound.value, reason=bound.reason)
        return Finding("hvp", PASS)


def linear(kernel: Kernel, data: Data, direction: dict[str, Array], whole: Gradients, digits: Digits) -> Iterator[Finding]:
    for power in (30, -200):
        scaled = {block: array * 2.0**power for block, array in direction.items()}
        got = {block: array * 2.0**-power for block, array in kernel.second(data, data.cotangents, scaled).items()}
        yield digits.alike(got, whole, f"tangents times 2**{power} don't give 2**{power} times as much")
    parts = [kernel.second(data, data.cotangents, {block: array}) for block, array in direction.items()]
    together = {block: np.asarray(sum(part[block] for part in parts)) for block in whole}
    sizes = {block: sum(norm(part[block]) for part in parts) for block in whole}
    yield digits.alike(whole, together, "along all tangents isn't the sum of those along each", sizes)


def of_state(kernel: Kernel, data: Data, direction: dict[str, Array], digits: Digits) -> Iterator[Finding]:
    """state=None is zeros."""
    zeros = replace(data, state={name: np.zeros_like(array) for name, array in data.state.items()})
    expected = kernel.second(zeros, data.cotangents, direction)
    try:
        got = kernel.second(data, data.cotangents, direction, started=False)
    except Exception as error:
        yield broken("state=None", f"hvp raises {one_line(error)}")
        return
    yield digits.alike(got, expected, "state=None differs from zeros")


def continued(kernel: Kernel) -> Iterator[Finding]:
    """hvp with complex numbers is the derivative of backward with complex numbers, by differences along a real direction."""
    data = complex_data(kernel, 0)
    rng = np.random.default_rng(67)
    moves = {block: rng.standard_normal(array.shape) * IMAGINARY for block, array in data.flat().items()}

    def run(arrays: dict[str, Array]) -> Gradients:
        return kernel.gradients(data.with_flat({b: array + arrays["by"] * moves[b] for b, array in data.flat().items()}))

    try:
        got = kernel.second(data, data.cotangents, moves)
        expected, errors = differences.extrapolated_tangents(run, {"by": np.zeros(())}, {"by": np.ones(())})
    except Exception as error:
        yield broken("complex", f"hvp or backward raises {one_line(error)}")
        return
    for block, array in expected.items():
        size, own = norm(array), 4 * norm(errors[block])
        if array.shape == got[block].shape and own <= 1e-4 * size and not norm(got[block] - array) <= CENTRAL.value * size + own:
            said = "with complex numbers isn't the derivative of backward with complex numbers"
            cause = "a conjugate or a real part is taken in hvp"
            yield Finding("hvp", FAIL, block, said=said, error=relative(got[block], array), tolerance=CENTRAL.value, cause=cause)
            return
