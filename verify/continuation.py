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
    right = [b for b, array in data.flat().items() if b in got and got[b].shape == array.shape and b not in known]
    found = [of_block(kernel, data, block, got[block], seed) for block in right]
    wrong = [finding for finding in found if not finding.passed]
    if wrong:
        alike = f"; so for {', '.join(label_of(finding.block) for finding in wrong[1:])}" if wrong[1:] else ""
        yield replace(wrong[0], said=wrong[0].said + alike)
    else:
        yield next((finding for finding in found if finding.said), Finding("complex", PASS, kind=CONTRACT))


def complex_data(kernel: Kernel, seed: int) -> Data:
    """Ordinary data with imaginary parts, cotangents too."""
    real, other = (draw(kernel.dims, replace(ORDINARY, steps=3, batch=2), one, 0.7) for one in (seed, seed + 53))
    moved = real.with_flat({block: array + 1j * IMAGINARY * other.flat()[block] for block, array in real.flat().items()})
    return replace(moved, cotangents={name: array + 1j * other.cotangents[name] for name, array in real.cotangents.items()})


def of_block(kernel: Kernel, data: Data, block: str, got: Array, seed: int) -> Finding:
    """One block along one random real direction."""
    direction = np.random.default_rng([seed, 59, *block.encode()]).standard_normal(got.shape)
    expected, own = derivative(kernel, data, block, direction)
    along = (got * direction).sum()
    size = max(norm(got), abs(expected))
    if not own <= SHARP * size:
        return Finding("complex", PASS, block, said="" if size == 0 else "undecided on complex data", kind=CONTRACT)
    error, allowed = (abs(along - expected) / size if size else 0.0), CENTRAL.value + (4 * own / size if size else 0.0)
    if error <= allowed:
        return Finding("complex", PASS, block, kind=CONTRACT)
    said = "backward isn't the analytic continuation of the gradient: right for real numbers, wrong for complex ones"
    cause = "a conjugate or a real part is taken in backward"
    where = "along a random direction of complex data"
    return Finding("complex", FAIL, block, where, said, error=error, tolerance=allowed, reason=CENTRAL.reason, cause=cause)


def derivative(kernel: Kernel, data: Data, block: str, direction: Array) -> tuple[complex, float]:
    """(how the loss moves along a direction, the error of that)."""
    blocks = data.flat()

    def run(arrays: dict[str, Array]) -> dict[str, Array]:
        moved = {**blocks, block: blocks[block] + arrays["by"] * direction}
        return kernel.outputs(data.with_flat(moved))

    moves, errors = differences.extrapolated_tangents(run, {"by": np.zeros(())}, {"by": np.ones(())})
    value = sum((data.cotangents[name] * moves[name]).sum() for name in data.cotangents)
    own = sum(float((np.abs(data.cotangents[name]) * errors[name]).sum()) for name in data.cotangents)
    return complex(value), own
