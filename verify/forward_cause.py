"""What is wrong with a forward pass: which slip in the cell's equations gives the outputs that came."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from derive.errors import DeriveError
from verify.edits.edit import Edit
from verify.edits.elsewhere import read_elsewhere
from verify.edits.table import forward_edits
from verify.edits.words import EditNotation, described
from verify.evidence import Array, Evidence
from verify.interpreter import Environment
from verify.kernel import Kernel
from verify.model import Model
from verify.tolerances import FORWARD


@dataclass(frozen=True)
class ForwardFault:
    """The slip that makes a cell's forward pass the kernel's, and what its values are on the data at hand. tried: how many were."""

    edit: Edit
    said: str
    command: str
    tried: int
    environments: list[Environment] = field(repr=False)


def forward_fault(kernel: Kernel, model: Model, evidence: Evidence) -> ForwardFault | None:
    """The first slip of the forward equations that gives the kernel's outputs; None where they are the cell's, or none does."""
    data, evaluate = evidence.data, model.evaluator(kernel.dims)
    outputs = kernel.outputs(data)
    with np.errstate(all="ignore"):
        if same_forward(kernel, model, evidence):
            return None
        fitting = []
        edits = list(forward_edits(model.derivation.forward))
        for edit in edits:
            if read_elsewhere(edit.program.equations):
                continue
            try:
                environments = model.environments(data, evaluate, edit.program)
            except (KeyError, ValueError, DeriveError):
                continue
            if gives(outputs, model.outputs(environments, kernel.dims)):
                fitting.append((edit, environments))
    if not fitting:
        return None
    edit, environments = min(fitting, key=lambda pair: pair[0].places)
    notation = model.derivation.notation(EditNotation)
    said = f"forward: {described(edit, notation)}"
    return ForwardFault(edit, said, model.cell.command, len(edits), environments)


def same_forward(kernel: Kernel, model: Model, evidence: Evidence) -> bool:
    """Whether the kernel's forward pass is the cell's."""
    environments = model.environments(evidence.data, model.evaluator(kernel.dims))
    return gives(kernel.outputs(evidence.data), model.outputs(environments, kernel.dims))


def gives(outputs: dict[str, Array], found: dict[str, Array]) -> bool:
    """Whether a forward pass gives these outputs."""
    return all(name in outputs and np.allclose(outputs[name], a, rtol=FORWARD.value, atol=1e-12) for name, a in found.items())
