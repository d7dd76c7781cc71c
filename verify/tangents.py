"""Forward mode and the Jacobian of one step, against complex step, and against backward by the adjoint identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.contract import broken
from verify.data import Data, vectors
from verify.evidence import EXACT, Array, Evidence, Moved
from verify.findings import FAIL, PASS, Finding
from verify.gradients import bound, norm, relative
from verify.kernel import Kernel
from verify.rounding import lost
from verify.step_equations import against_equations
from verify.tolerances import ADJOINT, RESOLUTION
from verify.ways import arrays_of, leftward_of, one_step, ways_of

if TYPE_CHECKING:
    from verify.model import Model

BESIDE = 1e-9
"""How far beside a state its slope is looked at on both sides."""
KINK = 1e-4
"""Slopes there that differ by more belong to a kink: on a smooth function they differ by about BESIDE."""


def direction_of(evidence: Evidence, block: str) -> Array:
    """A direction for a block; of a parameter the one whose tangents are known."""
    if block in evidence.data.parameters:
        return evidence.direction(block, 0)
    rng = np.random.default_rng([evidence.seed, 11, *block.encode()])
    return np.asarray(rng.standard_normal(evidence.data.flat()[block].shape))


def pushed(kernel: Kernel, data: Data, direction: dict[str, Array]) -> dict[str, Array]:
    """The kernel's own jvp along a direction given by block; what it leaves out is left out of the call."""
    moved, parts = data.copy(), data.parts(direction)
    found = kernel.module.jvp(moved.parameters, moved.inputs, moved.state, parts[0], parts[1], parts[2] or None)
    return {name: np.asarray(found[name]) for name in kernel.dims.outputs}


def along(kernel: Kernel, data: Data, block: str, direction: Array) -> dict[str, Array]:
    """The kernel's jvp along a direction of one block, in the precision of the data."""
    return pushed(kernel, data, {block: direction})


def forward_mode(kernel: Kernel, evidence: Evidence) -> Iterator[Finding]:
    """jvp block by block against the evidence, and <J u, v> = <u, Jᵀ v> with backward."""
    if not kernel.has("jvp"):
        yield broken("jvp", "absent")
        return
    data = evidence.data
    gradients = kernel.gradients(data)
    for block in data.flat():
        direction = {block: direction_of(evidence, block)}
        got = pushed(kernel, data, direction)
        found = list(against_evidence(block, got, evidence, direction))
        yield from against_evidence(block, got, evidence.with_digits().with_shaken(), direction) if found else ()
        yield from adjoint(kernel, block, got, gradients, direction[block], data)
    yield from together(kernel, evidence)
    yield Finding("jvp", PASS)
    yield Finding("adjoint", PASS)


def together(kernel: Kernel, evidence: Evidence) -> Iterator[Finding]:
    """All tangents at once are the sum of each alone; a second call gives the same bits; state None is zeros."""
    data = evidence.data
    directions = {block: direction_of(evidence, block) for block in data.flat()}
    whole, again = pushed(kernel, data, directions), pushed(kernel, data, directions)
    if any(not np.array_equal(whole[name], again[name], equal_nan=True) for name in whole):
        yield Finding("jvp", FAIL, said="gives other bits when called again")
    allowed = bound(evidence)
    parts = [pushed(kernel, data, {block: array}) for block, array in directions.items()]
    for name, array in whole.items():
        size = sum(norm(part[name]) for part in parts)
        error = norm(array - sum(part[name] for part in parts)) / size if size else norm(array)
        if not error <= allowed.value:
            said = "the tangent along all blocks isn't the sum of those along each"
            yield Finding("jvp", FAIL, "", f"output {name}", said, error=error, tolerance=allowed.value, reason=allowed.reason)
    if not kernel.dims.settled:
        return
    zeros = replace(data, state={name: np.zeros_like(array) for name, array in data.state.items()})
    expected, moved = pushed(kernel, zeros, directions), data.copy()
    found = kernel.module.jvp(moved.parameters, moved.inputs, None, *data.parts(directions))
    for name, array in expected.items():
        if not relative(np.asarray(found[name]), array) <= allowed.value:
            yield Finding("jvp", FAIL, "", f"output {name}", "state=None differs from zeros", tolerance=allowed.value)


def against_evidence(block: str, got: dict[str, Array], evidence: Evidence, direction: dict[str, Array]) -> Iterator[Finding]:
    """The tangent of each output at each step, relative to its own size there.

    Of shaken evidence the spread is its own error, and what rounding takes of the kernel's tangent comes on top.
    """

    def moved(one: Evidence) -> Moved:
        return one.along(block, 0) if block in one.data.parameters else one.tangents(direction)

    moves, others = moved(evidence), [moved(other) for other in evidence.shaken]
    digits = lost(lambda data: along(evidence.kernel, data, block, direction[block]), evidence.data) if evidence.shaken else {}
    for name, expected in moves.value.items():
        own = moves.error[name] + sum((np.abs(other.value[name] - expected) for other in others), start=np.zeros(expected.shape))
        own = own + (vectors(digits[name]) if name in digits else 0.0)
        tangent = vectors(got[name])
        for t in range(evidence.data.steps):
            size = norm(expected[t])
            resolution = 4 * norm(own[t]) / size if size else (np.inf if own.any() else 0.0)
            allowed = bound(evidence, t + 1)
            error = relative(tangent[t], expected[t])
            if resolution < RESOLUTION.value and not error <= allowed.value + resolution:
                where = f"output {name} at step {t}"
                yield Finding(
                    "jvp",
                    FAIL,
                    block,
                    where,
                    "tangent differs from the evidence",
                    error=error,
                    tolerance=allowed.value,
                    reason=allowed.reason,
                )
                return


def adjoint(
    kernel: Kernel, block: str, tangents: dict[str, Array], gradients: dict[str, Array], direction: Array, data: Data
) -> Iterator[Finding]:
    """<J u, v> against <u, Jᵀ v> for one block."""
    products = [tangents[name] * data.cotangents[name] for name in data.cotangents]
    left, size = sum(float(p.sum()) for p in products), sum(float(np.abs(p).sum()) for p in products)
    if block not in gradients or gradients[block].shape != direction.shape:
        return
    right = gradients[block] * direction
    size = max(size, float(np.abs(right).sum()), np.finfo(float).tiny)
    error = abs(left - float(right.sum())) / size
    if not error <= ADJOINT.value and not error <= ADJOINT.value + 4 * taken(kernel, block, direction, data) / size:
        yield Finding(
            "adjoint", FAIL, block, "<J u, v> against <u, Jᵀ v>", "jvp and backward aren't adjoint", float(right.sum()), left, error,
            ADJOINT.value, ADJOINT.reason,
        )  # fmt: skip


def taken(kernel: Kernel, block: str, direction: Array, data: Data) -> float:
    """What rounding takes of both sides of the adjoint identity, as measured."""
    tangents, gradients = lost(lambda moved: along(kernel, moved, block, direction), data), lost(kernel.gradients, data)
    left = sum(float(np.abs(array * data.cotangents[name]).sum()) for name, array in tangents.items())
    return left + (float(np.abs(gradients[block] * direction).sum()) if block in gradients else 0.0)


# ---- the Jacobian of one step


def jacobians_of(kernel: Kernel, data: Data) -> dict[str, Array]:
    _, tape = kernel.forward(data)
    return arrays_of(kernel.module.step_jacobian(data.copy().parameters, tape))


def step_jacobian(kernel: Kernel, evidence: Evidence, model: Model | None = None) -> Iterator[Finding]:
    """d(states after)/d(states before) against complex step over one step, and vᵀ J against backward over one step; of each way. Where a
    step can't be run by itself against the equations of the cell that the kernel is of, if that is known."""
    if not kernel.has("step_jacobian"):
        yield broken("step_jacobian", "absent")
        return
    data = evidence.data
    found = jacobians_of(kernel, data)
    leftward = leftward_of(kernel, data)
    if leftward is None and model is not None and not model.names.said:
        yield from against_equations(model, kernel, evidence)
        return
    if leftward is None:
        yield Finding("step_jacobian", PASS, said="not looked at: the states aren't all that one step hands to the next")
        return
    ways = ways_of(kernel, leftward) or [[]]
    wanted = [way[0] for way in ways] if len(ways) > 1 else ["step_jacobian"]
    if set(found) != set(wanted):
        expected = f"a mapping of {' and '.join(wanted)}" if len(ways) > 1 else "one array"
        got = "one array" if "step_jacobian" in found else f"a mapping of {', '.join(found) or 'nothing'}"
        yield Finding(
            "step_jacobian", FAIL, said=f"wrong kind: expected {expected}, one for each way in which states run, got {got}"
        )
        return
    single = one_step(data, kernel.outputs(data), np.random.default_rng(evidence.seed), leftward)
    for name, way in zip(wanted, ways, strict=True):
        yield from OneWay(kernel, evidence, single, name, way).judged(found[name])


@dataclass(frozen=True)
class OneWay:
    """The step Jacobians of the states that run one way. single: every step as a run by itself; name: under which they are returned."""

    kernel: Kernel
    evidence: Evidence
    single: Data
    name: str
    states: list[str]

    def judged(self, got: Array) -> Iterator[Finding]:
        evidence, data = self.evidence, self.evidence.data
        width = sum(data.width(f"initial {name}") for name in self.states)
        if got.shape != (data.steps, data.batch, width, width):
            shape = (data.steps, data.batch, width, width)
            yield Finding("step_jacobian", FAIL, said=f"wrong shape: expected {shape}, got {got.shape}")
            return
        if not self.states:
            yield Finding("step_jacobian", PASS, said="no states")
            return
        wide = Evidence(self.kernel, evidence.regime, self.single, evidence.seed, evidence.method, limit=self.single.batch)
        expected = joint_jacobian(wide, self.states).reshape(got.shape)
        allowed = bound(evidence, 1)
        tolerance = allowed.value if evidence.method == EXACT else 1e-7
        if not relative(got, expected) <= tolerance:
            expected = at_kinks(wide, got, expected, self.states)
        wrong = self.wrong_step(got, expected, wide, tolerance)
        if wrong is not None:
            step, error = wrong
            yield Finding(
                "step_jacobian", FAIL, "", f"step {step}", "differs from complex step", error=error, tolerance=tolerance,
                reason=allowed.reason,
            )  # fmt: skip
            return
        yield from against_backward(self.kernel, got.reshape(-1, width, width), self.single, tolerance, self.states)

    def wrong_step(self, got: Array, expected: Array, wide: Evidence, tolerance: float) -> tuple[int, float] | None:
        """The first step whose Jacobian is wrong, beyond what rounding takes of it, and by how much."""
        data, worth = self.evidence.data, list[float]()
        digits: dict[str, Array] = {}
        for t in range(data.steps):
            error = relative(got[t], expected[t])
            if error <= tolerance:
                continue
            worth = worth or slopes_worth(wide, got.shape, self.states)
            digits = digits or lost(lambda moved: jacobians_of(self.kernel, moved), data)
            own = 4 * norm(digits[self.name][t]) / norm(expected[t]) if digits and norm(expected[t]) else 0.0
            own = own if own < RESOLUTION.value else 0.0
            if not error <= tolerance + own and not norm(got[t] - expected[t]) <= 4 * worth[t]:
                return t, error
        return None


def slopes_worth(wide: Evidence, shape: tuple[int, ...], states: Sequence[str]) -> list[float]:
    """What rounding may take of the Jacobian of each step, where units are saturated."""
    known_to = wide.with_digits()
    if not known_to.digits or list(wide.kernel.dims.states) != [*states]:
        return [0.0] * shape[0]
    errors = known_to.chain.jacobian[1]
    whole = np.concatenate([errors[name][0] for name in states], 1).reshape(shape)
    return [norm(step) for step in whole]


def at_kinks(wide: Evidence, got: Array, expected: Array, states: Sequence[str]) -> Array:
    """The Jacobian that is expected where a state stands at a kink, as one that a ReLU made 0 does: any slope between both sides'."""
    sides = []
    for by in (-BESIDE, BESIDE):
        data = replace(wide.data, state={name: array + by for name, array in wide.data.state.items()})
        sides.append(joint_jacobian(replace(wide, data=data, known={}), states).reshape(got.shape))
    low, high = np.minimum(*sides), np.maximum(*sides)
    return np.where(high - low > KINK, np.clip(got, low, high), expected)


def joint_jacobian(wide: Evidence, states: Sequence[str]) -> Array:
    """d(states after)/d(states before) of runs of one step, by the evidence, (examples, S, S)."""
    blocks = [wide.wide.value[name][0][:, wide.columns[f"initial {other}"]].swapaxes(1, 2) for name in states for other in states]
    rows = [np.concatenate(blocks[k : k + len(states)], axis=2) for k in range(0, len(blocks), len(states))]
    return np.concatenate(rows, axis=1)


def against_backward(
    kernel: Kernel, jacobians: Array, single: Data, tolerance: float, states: Sequence[str]
) -> Iterator[Finding]:
    """vᵀ J against backward over runs of one step, of the states of one way."""
    only = {name: single.cotangents[name] for name in states}
    v = np.concatenate([vectors(only[name])[0] for name in states], axis=-1)
    expected = np.einsum("bij,bi->bj", jacobians, v)
    found = kernel.gradients(single, only)
    if all(f"initial {name}" in found for name in states):
        got = np.concatenate([vectors(found[f"initial {name}"], 1) for name in states], axis=-1)
        error = relative(got, expected)
        if not error <= tolerance:
            yield Finding(
                "step_jacobian", FAIL, said="vᵀ J differs from backward over one step", error=error, tolerance=tolerance
            )
            return
    yield Finding("step_jacobian", PASS)
