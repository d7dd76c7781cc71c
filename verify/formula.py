"""What a derived cell says where its kernel isn't finite: a fault is one only where the formula itself is finite."""

from __future__ import annotations

import numpy as np

from verify.digits import enlarged
from verify.evidence import Evidence
from verify.findings import FAIL, INCONCLUSIVE, PASS, Finding, label_of
from verify.model import Model
from verify.settle import in_bounds


def of_saturation(finding: Finding, model: Model | None, evidence: Evidence) -> Finding:
    """The failure of a gradient that isn't finite at large arguments; none where the derived formula isn't finite there either."""
    if model is None or not finding.block:
        return finding
    data = enlarged(evidence.data)
    found = model.gradients(evidence.kernel.dims, data, data.cotangents)
    if finding.block in found and np.isfinite(found[finding.block]).all():
        return finding
    return Finding("saturation", PASS, said=f"{label_of(finding.block)} isn't finite at |z| = 1e4, by its formula")


def of_unbounded(model: Model | None, evidence: Evidence) -> Finding:
    """Data on which every draw grows beyond all bounds: left out where the derived cell grows so too, a fault where it doesn't."""
    said = f"regime {evidence.regime.name}: on every draw the outputs grow beyond all bounds"
    if model is None:
        return Finding("data", INCONCLUSIVE, said=f"{said}: expected finite ones, or a cell to ask. Hold it --against one")
    environments = model.environments_at(evidence.kernel.dims, evidence.data)
    if in_bounds(model.outputs(environments, evidence.kernel.dims)):
        return Finding("data", FAIL, said=f"{said}, and those of `{model.cell.command}` don't")
    return Finding("data", PASS, said=f"{said}, by its formula: left out")
