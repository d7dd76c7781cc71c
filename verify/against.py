"""A kernel against the derived cell, as interpreted: forward by name, then backward block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np

from derive.errors import DeriveError
from derive.language import Plus, scale
from derive.program import Equation, Program, Term
from derive.program import check as well_formed
from verify.data import Data
from verify.evidence import Array, Evidence
from verify.findings import FAIL, PASS, Finding
from verify.gradients import bound, cotangents_of, relative
from verify.kernel import Kernel
from verify.model import Model
from verify.mutants import made, time_shifts
from verify.tolerances import FORWARD


def against(model: Model, evidences: list[Evidence]) -> Iterator[Finding]:
    """Findings, one a block. The forward pass on every set of data: a backward pass of another function says nothing. The backward
    pass on the first two, since the evidence of the forward pass has judged it everywhere.
    """
    worst = 0.0
    failed_blocks: dict[str, Finding] = {}
    for k, evidence in enumerate(evidences):
        kernel = evidence.kernel
        fill = model.filled if k < 2 else model.environments_at
        environments = fill(kernel.dims, evidence.data)
        outputs, tape = kernel.forward(evidence.data)
        expected = model.outputs(environments)
        failed = forward_fault(kernel, model, evidence, outputs, expected)
        if failed is not None:
            yield failed
            return
        for name, cotangents in cotangents_of(evidence) if k < 2 else ():
            found = kernel.backward(evidence.data, tape, cotangents)
            derived = model.gradients(kernel.dims, evidence.data, cotangents, environments=environments)
            for block, array in derived.items():
                error = relative(found[block], array) if block in found else float("inf")
                allowed = bound(evidence)
                if not error <= 2 * allowed.value:
                    failed_blocks.setdefault(block, Finding(
                        "against", FAIL, block, f"regime {evidence.regime.name}, {name}",
                        f"differs from the derived backward pass of `{model.cell.command}`",
                        error=error, tolerance=2 * allowed.value, reason=allowed.reason,
                    ))  # fmt: skip
                worst = max(worst, error)
    yield from failed_blocks.values()
    yield Finding("against", PASS, said=f"forward and backward are those of `{model.cell.command}`", error=worst)


def forward_fault(
    kernel: Kernel, model: Model, evidence: Evidence, outputs: dict[str, Array], expected: dict[str, Array]
) -> Finding | None:
    """The first output, in the order of the equations, that isn't the cell's."""
    for name, array in expected.items():
        errors = [relative(outputs[name][t], array[t]) for t in range(evidence.data.steps)]
        step = next((t for t, error in enumerate(errors) if not error <= FORWARD.value), None)
        if step is not None:
            return Finding(
                "against", FAIL, "", f"forward: output {name}, step {step}, regime {evidence.regime.name}",
                f"differs from `{model.cell.command}`", error=errors[step], tolerance=FORWARD.value, reason=FORWARD.reason,
                cause=forward_cause(kernel, model, evidence.data, outputs),
            )  # fmt: skip
    return None


def forward_cause(kernel: Kernel, model: Model, data: Data, outputs: dict[str, Array]) -> str:
    """The term of the forward equations that, dropped or with its sign flipped, gives these outputs."""
    forward, notation = model.derivation.forward, model.derivation.notation()
    for k, equation in enumerate(forward.equations):
        summands = equation.value.args if isinstance(equation.value, Plus) else [equation.value]
        split = Equation(
            equation.target, tuple(Term(part) for part in summands), place=equation.place, auxiliary=equation.auxiliary
        )
        equations = (*forward.equations[:k], split, *forward.equations[k + 1 :])
        program = Program(forward.name, equations, forward.given, forward.carries, forward.results)
        for index, part in enumerate(summands):
            shifts = [(said, value) for _, said, value in time_shifts(part, equation, forward, forward)]
            for said, value in (("missing term", None), ("sign flipped", scale(-1, part)), *shifts):
                try:
                    mutant = next(made(well_formed(program), k, index, "forward", said, value), None)
                except DeriveError:
                    continue
                if mutant is not None and gives(kernel, model, mutant.program, data, outputs):
                    return f"{said} in forward: {notation.formula(part)}, in {notation.equation(equation)}"
    return exchanged(kernel, model, data, outputs)


def exchanged(kernel: Kernel, model: Model, data: Data, outputs: dict[str, Array]) -> str:
    """The two parameters of one shape that, exchanged throughout, give these outputs: a wrong `--map`, gates in another order."""
    for first, second in combinations(model.cell.parameters, 2):
        if first.shape == second.shape:
            names = model.name(first), model.name(second)
            other = {names[0]: data.parameters[names[1]], names[1]: data.parameters[names[0]]}
            if gives(kernel, model, model.derivation.forward, replace(data, parameters=data.parameters | other), outputs):
                return f"{names[0]} and {names[1]} exchanged"
    return ""


def gives(kernel: Kernel, model: Model, program: Program, data: Data, outputs: dict[str, Array]) -> bool:
    """Whether a changed forward program gives these outputs."""
    evaluate = model.evaluator(kernel.dims)
    found = model.outputs(model.environments(data, evaluate, program))
    return all(np.allclose(outputs[name], array, rtol=1e-9, atol=1e-12) for name, array in found.items())
