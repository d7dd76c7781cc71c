"""Gradients from one axis of steps to another, in words: from an input at source step 2 to an output at target step 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from derive.shapes import STEPS
from verify.data import vectors

if TYPE_CHECKING:
    from verify.evidence import Evidence


def crossing(block: str, evidence: Evidence, s: int, t: int) -> str:
    """From what to what the gradient of a block at step t is wrong for a cotangent at step s, where that is from one axis to another: of
    the outputs there the one whose part of it is furthest from what it should be. Empty along one axis, where the lag says it, and of
    parameters, which are on none."""
    along, data = evidence.kernel.along, evidence.data
    if not along or block in data.parameters:
        return ""
    kind, _, name = block.partition(" ")

    def apart(output: str) -> float:
        only = {output: data.only_step(s)[output]}
        expected = evidence.per_step(block, only)[s]
        got = evidence.kernel.gradients(data, only)[block]
        one, wanted = (got[t], expected[:, t]) if kind == "input" else (got, expected)
        return float(np.abs(vectors(one, 1)[: evidence.examples] - wanted).max(initial=0.0))

    output = max(data.cotangents, key=apart)
    here, there = along.get(name, (STEPS,)), along.get(output, (STEPS,))
    if here[:1] == there[:1]:
        return ""
    start = name if not here else f"{name} at step {t} of {here[0]}" if kind == "input" else f"the start of {name} on {here[0]}"
    return f"from {start} to {output}" + (f" at step {s} of {there[0]}" if there else "")
