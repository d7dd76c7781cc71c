"""Central differences with a sweep of the step: a plateau and slope 2 are expected; kinks are found and reported, not averaged over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from verify import differences
from verify.data import Data, is_token
from verify.evidence import Array, Evidence
from verify.findings import FAIL, INCONCLUSIVE, PASS, Finding
from verify.gradients import norm
from verify.kernel import Kernel
from verify.tolerances import CENTRAL, EPS

STEPS = [10.0**-k for k in range(1, 9)]
KINK = 1e-3
"""One-sided differences that differ by this part at 1e-6 and 1e-7 alike meet at a kink: on a smooth function they differ by about h."""


@dataclass(frozen=True)
class Sweep:
    """Central differences of a block along one direction at every step. error: of the plateau. slope: of log error over log h."""

    block: str
    values: tuple[float, ...]
    expected: float
    backward: float
    error: float
    slope: float | None
    kink: tuple[float, float] | None


def loss_of(kernel: Kernel, data: Data) -> Callable[[dict[str, Array]], Any]:
    """The scalar sum(cotangents * outputs) as a function of every block."""

    def loss(blocks: dict[str, Array]) -> Any:
        outputs = kernel.outputs(data.with_flat(blocks))
        return sum((data.cotangents[name] * outputs[name]).sum() for name in data.cotangents)

    return loss


def sweeps(kernel: Kernel, evidence: Evidence, gradients: dict[str, Array]) -> Iterator[Sweep]:
    """One sweep a block, held against the evidence, or against backward where the evidence is differences itself."""
    loss, blocks = loss_of(kernel, evidence.data), evidence.data.flat()
    for block, array in blocks.items():
        rng = np.random.default_rng([evidence.seed, 5, *block.encode()])
        direction = {block: rng.choice([-1.0, 1.0], array.shape) / np.sqrt(max(array.size, 1))}
        values = [float(np.real(value)) for value in differences.sweep(loss, blocks, direction, STEPS)]
        got = gradients.get(block)
        backward = float((got * direction[block]).sum().real) if got is not None and got.shape == array.shape else float("nan")
        expected = float(evidence.contract(evidence.tangents(direction), evidence.data.cotangents))
        size = max(norm(got) if got is not None else 0.0, abs(expected), np.finfo(float).tiny)
        blur = rounding_of_loss(evidence) / (np.array(STEPS) * size)
        found = plateau(np.abs(np.array(values) - expected) / size, blur)
        yield Sweep(block, tuple(values), expected, backward, *found, kink_of(loss, blocks, direction))


def rounding_of_loss(evidence: Evidence) -> float:
    """What rounding takes of the loss: a few eps of the sizes that it sums, since each output is rounded."""
    outputs, cotangents = evidence.kernel.outputs(evidence.data), evidence.data.cotangents
    return 4 * EPS * sum(float(np.abs(cotangents[name] * outputs[name]).sum()) for name in cotangents)


def plateau(errors: Array, blur: Array) -> tuple[float, float | None]:
    """(the smallest error over the steps, beyond the rounding of the loss over the step; its slope where truncation rules)."""
    ruled = [(a, b) for a, b in pairwise(errors) if b > 1e3 * errors.min() and 1e-10 < b < a < 0.3]
    slope = float(np.median([np.log10(a / b) for a, b in ruled])) if ruled else None
    return float(np.maximum(errors - blur, 0.0).min()), slope


def kink_of(
    loss: Callable[[dict[str, Array]], Any], blocks: dict[str, Array], direction: dict[str, Array]
) -> tuple[float, float] | None:
    """The slopes on both sides, where they differ however small the step is."""
    found = None
    for step in (1e-6, 1e-7):
        left, right = (float(np.real(side)) for side in differences.one_sided(loss, blocks, direction, step))
        if not abs(left - right) > KINK * max(abs(left), abs(right), 1e-3):
            return None
        found = (left, right)
    return found


def judged(sweep: Sweep, analytic: bool) -> Finding:
    """A sweep as a finding: no plateau on the evidence's value is a failure, unless a kink explains it."""
    if sweep.kink is not None:
        left, right = sweep.kink
        verdict = PASS if analytic else INCONCLUSIVE
        said = f"kink: slope {left:.4g} on the left, {right:.4g} on the right, backward {sweep.backward:.4g}"
        return Finding("central differences", verdict, sweep.block, "on the ordinary data", said)
    if not sweep.error <= CENTRAL.value:
        return Finding(
            "central differences", FAIL, sweep.block, "a random direction", "no plateau at the gradient of the forward pass",
            min(sweep.values, key=lambda v: abs(v - sweep.expected)), sweep.expected, sweep.error, CENTRAL.value, CENTRAL.reason,
        )  # fmt: skip
    slope = "" if sweep.slope is None else f", slope {sweep.slope:.1f}"
    return Finding("central differences", PASS, sweep.block, said=f"plateau {sweep.error:.0e}{slope}")


def kinks_at_origin(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """Kinks where every pre-activation is zero: all but matrices of parameters at zero, each of these moved alone."""
    zero = replace(
        data,
        parameters={name: array * (array.ndim > 1) for name, array in data.parameters.items()},
        inputs={name: array if is_token(array) else array * 0 for name, array in data.inputs.items()},
        state={name: array * 0 for name, array in data.state.items()},
    )
    loss, blocks = loss_of(kernel, zero), zero.flat()
    gradients = kernel.gradients(zero)
    for block, array in blocks.items():
        if array.ndim == 2 and block in data.parameters:
            continue
        direction = {block: np.ones(array.shape) / np.sqrt(max(array.size, 1))}
        kink = kink_of(loss, blocks, direction)
        if kink is not None and block in gradients and gradients[block].shape == array.shape:
            backward = float((gradients[block] * direction[block]).sum())
            near = (
                "the left"
                if abs(backward - kink[0]) < 1e-4 * (1 + abs(kink[0]))
                else "the right"
                if abs(backward - kink[1]) < 1e-4 * (1 + abs(kink[1]))
                else "neither"
            )
            said = f"kink found at zero: slope {kink[0]:.4g} on the left, {kink[1]:.4g} on the right"
            said += f"; backward takes {near} ({backward:.4g})"
            yield Finding("kinks", PASS, block, said=said)
            return
