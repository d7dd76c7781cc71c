"""A kernel against a cell: forward and backward against its equations as read, then backward against the derived backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from derive.cell import Cell
from verify import forward_cause, gradients
from verify.data import Data, vectors
from verify.equations import Equations
from verify.evidence import EXACT, Array, Evidence, Moved
from verify.findings import FAIL, PASS, Finding
from verify.gradients import Comparison, blocks, bound, cotangents_of, expected_gradient, norm, relative
from verify.interpreter import precise
from verify.kernel import Kernel
from verify.model import Model, model_of
from verify.rounding import lost
from verify.tolerances import FORWARD, Tolerance

DIRECTIONS = 2
"""Random directions of each parameter along which backward is held against the equations."""
SHAKY = 1e-4
"""Disagreements below this are looked at again with the digits that the data themselves carry."""


class Stated:
    """A cell's equations in a kernel's place, under the kernel's names: a forward pass that was never derived or printed."""

    def __init__(self, model: Model, kernel: Kernel) -> None:
        self.at = model.names.at(kernel.dims)
        self.dims, self.name = kernel.dims, kernel.name
        self.equations = Equations(model.cell, self.at.sizes)

    def outputs(self, data: Data) -> dict[str, Array]:
        return self.at.outputs(self.equations.outputs(self.at.data(data)))

    def evidence(self, evidence: Evidence) -> Evidence:
        """The derivatives of the equations at the data of a kernel's, those along all directions of parameters from one run."""
        data = self.at.shared(evidence.data)
        own = replace(evidence, kernel=self, data=data, method=EXACT, shaken=(), known={}, digits=False)  # type: ignore[arg-type]
        keys = [(block, k) for block in data.parameters for k in range(DIRECTIONS)]
        still = {block: np.zeros_like(array) for block, array in data.flat().items()}
        directions = [self.at.data(data.with_flat({**still, block: own.direction(block, k)})).flat() for block, k in keys]
        if directions:
            found = self.equations.tangents(self.at.data(data), directions)
            for index, (block, k) in enumerate(keys):
                moves = self.at.outputs({name: array[:, :, index] for name, array in found.items()})
                flat = {name: vectors(array) for name, array in moves.items()}
                own.known[f"{block} {k}"] = Moved(flat, {name: np.zeros(()) for name in flat})
        return own


def against(model: Model, evidences: list[Evidence], derived: bool = True) -> Iterator[Finding]:
    """Findings, one a block. Both passes on every set of data, against the equations; where derived, backward on the first two against
    the derived backward pass too.
    """
    worst = 0.0
    failed_blocks: dict[str, Finding] = {}
    for k, evidence in enumerate(evidences):
        stated = Stated(model, evidence.kernel)
        own = stated.evidence(evidence)
        failed = forward_fault(evidence.kernel, model, own, evidence.kernel.outputs(own.data), stated.outputs(own.data))
        if failed is not None:
            yield failed
            return
        for one in of_equations(evidence.kernel, own, failed_blocks):
            if one.failed:
                failed_blocks.setdefault(one.block, differing(one, f"the gradient of the equations of `{model.cell.command}`"))
            worst = max(worst, one.error if one.decided else 0.0)
        for one in of_derived(model, evidence.kernel, own) if derived and k < 2 else ():
            if one.failed:
                failed_blocks.setdefault(one.block, differing(one, f"the derived backward pass of `{model.cell.command}`"))
            worst = max(worst, one.error)
    yield from failed_blocks.values()
    left = model.names.at(evidences[0].kernel.dims).uncompared()
    said = f"forward and backward are those of `{model.cell.command}`" + (f"; not compared: {', '.join(left)}" if left else "")
    yield Finding("against", PASS, said=said, error=worst)


def of_equations(kernel: Kernel, own: Evidence, localised: dict[str, Finding]) -> Iterator[Comparison]:
    """Backward block by block against the equations' own derivatives; what only one of the two has is left out."""
    at = own.kernel.at  # type: ignore[attr-defined]
    shared = at.gradients(at.data(own.data).flat())
    found = list(blocks(kernel, own, False, DIRECTIONS, localised))
    if any(one.failed for one in found):
        own = own.with_digits()
        found = list(blocks(kernel, own, False, DIRECTIONS, localised)) if own.digits else found
    if any(one.failed and one.error < SHAKY for one in found):
        found = list(blocks(kernel, own.with_shaken(), False, DIRECTIONS, localised))
    yield from (one for one in found if one.block in shared)


def lags(cell: Cell, evidence: Evidence) -> Iterator[Comparison]:
    """Backward lag by lag against the equations' own derivatives, exact to rounding: few lags are within the reach of differences of a
    whole run."""
    yield from gradients.lags(evidence.kernel, Stated(model_of(cell), evidence.kernel).evidence(evidence))


def of_derived(model: Model, kernel: Kernel, own: Evidence) -> Iterator[Comparison]:
    """Backward block by block against the derived backward pass, interpreted."""
    environments = model.filled(kernel.dims, own.data)
    _, tape = kernel.forward(own.data)
    for name, cotangents in cotangents_of(own):
        found = kernel.backward(own.data, tape, cotangents)
        for block, array in model.gradients(kernel.dims, own.data, cotangents, environments=environments).items():
            error, allowed = relative(found[block], array) if block in found else float("inf"), bound(own)
            allowed = Tolerance(2 * allowed.value, allowed.reason)
            if not error <= allowed.value and block in found and norm(array):
                taken = 8 * norm(expected_gradient(block, own.with_digits(), cotangents)[1]) / norm(array)
                allowed = Tolerance(allowed.value + taken, f"{allowed.reason} + 8 x what saturation takes, {taken / 8:.0e}")
            yield Comparison(block, own.regime.name, name, error, allowed)


def differing(one: Comparison, expected: str) -> Finding:
    where = f"regime {one.regime}, {one.cotangent}" + (f", {one.where}" if one.where else "")
    return Finding(
        "against", FAIL, one.block, where, f"differs from {expected}", one.got, one.expected, one.error, one.tolerance.value,
        one.tolerance.reason,
    )  # fmt: skip


def forward_fault(
    kernel: Kernel, model: Model, evidence: Evidence, outputs: dict[str, Array], expected: dict[str, Array]
) -> Finding | None:
    """The first output, in the order of the equations, that isn't the cell's."""
    for name, array in expected.items():
        errors = [relative(outputs[name][t], array[t]) for t in range(evidence.data.steps)]
        allowed = max(FORWARD, bound(evidence), key=lambda one: one.value)
        steps = [t for t, error in enumerate(errors) if not error <= allowed.value]
        if steps and max(errors[t] for t in steps) < SHAKY:
            steps = beyond_rounding(kernel, model, evidence.data, name, outputs[name], steps)
        step = next(iter(steps), None)
        if step is not None:
            fault = forward_cause.forward_fault(kernel, model, evidence)
            return Finding(
                "against", FAIL, "", f"forward: output {name}, step {step}, regime {evidence.regime.name}",
                f"differs from `{model.cell.command}`", error=errors[step], tolerance=allowed.value, reason=allowed.reason,
                cause=fault.said if fault else "",
            )  # fmt: skip
    return None


def beyond_rounding(kernel: Kernel, model: Model, data: Data, name: str, got: Array, steps: list[int]) -> list[int]:
    """The steps at which an output isn't the one that the equations give with 60 digits, but for what rounding takes of the kernel's own.

    The equations may be what loses digits: log(1 − σ(20)) has seven in float64, a form of it that a kernel computes all.
    """
    evaluate = model.evaluator(kernel.dims, precise())
    exact = model.outputs(model.environments(data, evaluate), kernel.dims)[name].astype(float)
    taken = lost(kernel.outputs, data).get(name, np.zeros(exact.shape))
    allowed = [FORWARD.value + 4 * norm(taken[t]) / (norm(exact[t]) or 1.0) for t in steps]
    return [t for t, limit in zip(steps, allowed, strict=True) if not relative(got[t], exact[t]) <= limit]
