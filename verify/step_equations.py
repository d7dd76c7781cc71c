"""The Jacobian of one step by a cell's equations: what step Jacobians are held against where a step can't be run by itself, as that of a
recurrence along one of several axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.along import binds
from derive.expressions import values_in
from derive.language import Value
from verify.columns import lying
from verify.data import Data, vectors
from verify.differences import COMPLEX_STEP
from verify.equations import Equations
from verify.evidence import Evidence
from verify.findings import FAIL, PASS, Finding
from verify.gradients import bound, norm, relative
from verify.kernel import Kernel
from verify.model import Model
from verify.rounding import lost
from verify.sweeps import Sweeps, taken_apart
from verify.tolerances import RESOLUTION
from verify.ways import arrays_of

Array = NDArray[Any]


def step_jacobians(equations: Equations, data: Data) -> dict[str, Array]:
    """{first state of a way along an axis: (its steps, B, S, S)}, by complex step along each element of the states before a step; what
    runs another way, or along another axis, is held."""
    sweeps, cell = equations.swept(data), equations.cell
    pairs = [part for target, right in cell.equations for part in taken_apart(target, right)]
    found = {}
    for axis in cell.step_axes:
        for lag in (-1, 1):
            way = [read for read in cell.carried if (read.axis, read.lag) == (axis, lag) and read.like(lag=0) in cell.states]
            if not way:
                continue
            own = [(v, right) for v, right in pairs if v.has_steps and sweeps.home(v) == axis and axis not in binds(right)]
            steps = [one_step(equations, sweeps, way, affected(own, way), here) for here in sweeps.found[axis]]
            found[str(way[0].name)] = np.stack(steps)
    return found


def affected(pairs: list[tuple[Value, sp.MatrixExpr]], reads: list[Value]) -> list[tuple[Value, sp.MatrixExpr]]:
    """What a step makes of some values that it reads, in an order in which it can be computed."""
    reached = {*reads}
    while more := {target for target, right in pairs if target not in reached and reached & {*values_in(right)}}:
        reached |= more
    waiting = [(target, right) for target, right in pairs if target in reached]
    found: list[tuple[Value, sp.MatrixExpr]] = []
    while waiting:
        left = {target for target, _ in waiting}
        found += (ready := [pair for pair in waiting if not left & {*values_in(pair[1])}])
        waiting = [pair for pair in waiting if pair not in ready]
    return found


def one_step(
    equations: Equations, sweeps: Sweeps, way: list[Value], pairs: list[tuple[Value, sp.MatrixExpr]], here: dict[Value, Array]
) -> Array:
    """(B, S, S) of one step, from what is there at it."""
    columns = []
    for read in way:
        before = np.broadcast_to(here[read], (*sweeps.lead, *here[read].shape[-2:]))
        for at in np.ndindex(before.shape[1:]):
            moved = before.astype(complex)
            moved[(slice(None), *at)] += 1j * COMPLEX_STEP
            env = {**here, read: moved}
            for target, right in pairs:
                env[target] = equations.evaluate(right, env)
            after = [lying(v, np.broadcast_to(env[v], (*sweeps.lead, *env[v].shape[-2:]))) for v in (r.like(lag=0) for r in way)]
            columns.append(np.concatenate([vectors(a, 1) for a in after], axis=-1).imag / COMPLEX_STEP)
    return np.stack(columns, axis=-1)


def against_equations(model: Model, kernel: Kernel, evidence: Evidence) -> Iterator[Finding]:
    """step_jacobian against the equations of the cell that the kernel is of, with the same names."""
    data = evidence.data
    expected = step_jacobians(Equations(model.cell, model.sizes(kernel.dims)), data)
    wanted = {"step_jacobian": next(iter(expected.values()))} if len(expected) == 1 else expected

    def found(of: Data) -> dict[str, Array]:
        _, tape = kernel.forward(of)
        return arrays_of(kernel.module.step_jacobian(of.copy().parameters, tape))

    got = found(data)
    if set(got) != set(wanted) and expected:
        said = f"expected {'one array' if len(expected) == 1 else 'a mapping of ' + ' and '.join(expected)}, got {', '.join(got)}"
        yield Finding("step_jacobian", FAIL, said=f"wrong kind: {said}")
        return
    allowed = bound(evidence, 1)
    for name, array in wanted.items() if expected else ():
        if got[name].shape != array.shape:
            yield Finding("step_jacobian", FAIL, said=f"{name}: wrong shape: expected {array.shape}, got {got[name].shape}")
            return
        errors = [relative(one, other) for one, other in zip(got[name], array, strict=True)]
        digits = lost(found, data) if not max(errors, default=0.0) <= allowed.value else {}
        for t, error in enumerate(errors):
            own = 4 * norm(digits[name][t]) / norm(array[t]) if digits and norm(array[t]) else 0.0
            if not error <= allowed.value + (own if own < RESOLUTION.value else 0.0):
                where = f"step {t}" if len(expected) == 1 else f"{name}, step {t}"
                yield Finding(
                    "step_jacobian", FAIL, "", where, "differs from the equations' own", error=error, tolerance=allowed.value,
                    reason=allowed.reason,
                )  # fmt: skip
                return
    yield Finding("step_jacobian", PASS)
