"""Complex numbers: backward is the analytic continuation of the gradient, without a conjugate, wherever forward is analytic.

At complex parameters, inputs, states and cotangents the loss sum(c * y), without conjugates, is differentiated by differences of forward.
A conjugate in backward is right for real numbers and wrong here.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace

import numpy as np

from verify import differences
from verify.contract import broken
from verify.data import ORDINARY, Data, draw
from verify.evidence import Array
from verify.findings import CONTRACT, FAIL, PASS, Finding, label_of
from verify.gradients import norm
from verify.kernel import Kernel, one_line
from verify.tolerances import CENTRAL

IMAGINARY = 0.3
"""How large imaginary parts are beside real ones: a conjugate too many changes gradients by a tenth and more."""
SHARP = 1e-4
"""Differences decide where their own error is below this part of the block."""


def continuation(kernel: Kernel, seed: int, known: Container[str] = ()) -> Iterator[Finding]:
    """Backward with complex numbers: a promise of the contract where they aren't taken, a failure where they give another function.

    known: blocks that are wrong for real numbers.
    """
    data = complex_data(kernel, seed)
    try:
        outputs, tape = kernel.forward(data)
        got = kernel.backward(data, tape, data.cotangents)
    except Exception as error:
        yield broken("complex", f"it raises {one_line(error)}")
        return
    if not all(np.isfinite(array).all() for array in outputs.values()):
        yield Finding("complex", PASS, said="not finite on complex data", kind=CONTRACT)
        return
    right = {b: got[b] for b, array in data.flat().items() if b in got and got[b].shape == array.shape and b not in known}
    joint = compared(kernel, data, right, seed)
    if joint.passed:
        yield joint
        return
    wrong = [block for block, array in right.items() if not compared(kernel, data, {block: array}, seed).passed]
    alike = f"; so for {', '.join(map(label_of, wrong[1:]))}" if wrong[1:] else ""
    yield replace(joint, block=next(iter(wrong), ""), said=joint.said + alike)


def complex_data(kernel: Kernel, seed: int) -> Data:
    """Ordinary data with imaginary parts, cotangents too."""
    real, other = (draw(kernel.dims, replace(ORDINARY, steps=3, batch=2), one, 0.7) for one in (seed, seed + 53))
    moved = real.with_flat({block: array + 1j * IMAGINARY * other.flat()[block] for block, array in real.flat().items()})
    return replace(moved, cotangents={name: array + 1j * other.cotangents[name] for name, array in real.cotangents.items()})


def compared(kernel: Kernel, data: Data, got: dict[str, Array], seed: int) -> Finding:
    """Some blocks along one random real direction, in which each of them counts alike."""
    rng = np.random.default_rng([seed, 59])
    direction = {block: rng.standard_normal(array.shape) / (norm(array) or 1.0) for block, array in got.items()}
    expected, own = derivative(kernel, data, direction)
    error, allowed = abs(sum((got[block] * move).sum() for block, move in direction.items()) - expected), CENTRAL.value + 4 * own
    if not own <= SHARP:
        return Finding("complex", PASS, said="undecided on complex data: too near to a kink", kind=CONTRACT)
    if error <= allowed:
        return Finding("complex", PASS, kind=CONTRACT)
    said = "backward isn't the analytic continuation of the gradient: right for real numbers, wrong for complex ones"
    cause = "a conjugate or a real part is taken in backward"
    where = "along a random direction of complex data"
    return Finding("complex", FAIL, "", where, said, error=error, tolerance=allowed, reason=CENTRAL.reason, cause=cause)


def derivative(kernel: Kernel, data: Data, direction: dict[str, Array]) -> tuple[complex, float]:
    """(how the loss moves along a direction given by block, the error of that)."""
    blocks = data.flat()
    largest = max((float(np.abs(move).max(initial=0.0)) for move in direction.values()), default=1.0) or 1.0

    def run(arrays: dict[str, Array]) -> dict[str, Array]:
        return kernel.outputs(
            data.with_flat({**blocks, **{b: blocks[b] + arrays["by"] / largest * u for b, u in direction.items()}})
        )

    moves, errors = differences.extrapolated_tangents(run, {"by": np.zeros(())}, {"by": np.ones(())})
    value = sum((data.cotangents[name] * moves[name]).sum() for name in data.cotangents)
    own = sum(float((np.abs(data.cotangents[name]) * errors[name]).sum()) for name in data.cotangents)
    return complex(value * largest), own * largest
