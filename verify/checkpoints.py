"""Backward by segments: what `checkpoint_every` promises, the same gradients up to the order of summation.

Forward keeps the states every k steps only, and backward computes the steps between again. What can go wrong there is in no other
call: the gradient that one segment hands to the one before it, the sum over segments, the last one, which is shorter, the states kept.
So each k stands for a kind: every step a segment, a number that doesn't divide T, one segment, more than there are steps.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from verify.bookkeeping import spoil
from verify.contract import broken
from verify.evidence import Array, Evidence
from verify.findings import FAIL, PASS, Finding
from verify.offers import CHECKPOINT, JACOBIAN, Calls, Case, Raised, copied, jacobians, other_bits, raising
from verify.settle import first_steps


def lengths(steps: int) -> tuple[int, ...]:
    """The segments that are tried: 1, the first that leaves a shorter one at the end, all steps, more than all."""
    return tuple(dict.fromkeys((1, uneven(steps), max(1, steps), steps + 3)))


def uneven(steps: int) -> int:
    """The shortest segments, of several steps, of which the last is shorter."""
    return next((k for k in range(2, steps) if steps % k), 1)


def checkpoints(evidences: Sequence[Evidence]) -> Iterator[Finding]:
    """forward with checkpoint_every gives the outputs and, by backward over its tape, the gradients of a call without"""
    looked, ways = list[str](), list[str]()
    for case in (case for evidence in evidences for case in cases(evidence)):
        if not case.runs:
            continue
        found = {k: failure for k in case.tried if (failure := by_segments(case, k)) is not None}
        if case.said:
            ways.append(case.said.strip())
        else:
            looked.append(f"k = {', '.join(map(str, case.tried))} of {case.data.steps} steps")
        for failure in found.values():
            yield replace(failure, cause=failure.cause or cause(case.data.steps, found, case.tried))
            return
    yield Finding(CHECKPOINT, PASS, said="; ".join(looked) + f"; also {', '.join(dict.fromkeys(ways))}" * bool(ways))


LONG = 10
"""Runs of more steps are held with a few segments and with many, each with a shorter one at the end, and with nothing left out."""


def cases(evidence: Evidence) -> Iterator[Case]:
    """Both precisions; then without a state, with one cotangent alone, and no steps: what a segment may get wrong by itself."""
    kernel, data, growth = evidence.kernel, evidence.data, evidence.growth
    modules = kernel.fresh(), kernel.fresh()
    few = (uneven(data.steps),)
    if data.steps > LONG:
        yield Case(CHECKPOINT, kernel, modules, data, growth, (*few, data.steps - 2))
        return
    yield Case(CHECKPOINT, kernel, modules, data, growth, lengths(data.steps))
    yield Case(CHECKPOINT, kernel, modules, data.astype(np.float32), growth, lengths(data.steps), said=" in float32")
    if data.state and kernel.dims.settled:
        yield Case(CHECKPOINT, kernel, modules, data, growth, few, started=False, said=" with state=None")
    if len(data.cotangents) > 1:
        for name in data.cotangents:
            yield Case(CHECKPOINT, kernel, modules, data, growth, few, names=(name,), said=f" with the cotangent of {name} alone")
    yield Case(CHECKPOINT, kernel, modules, first_steps(data, 0), growth, (1,), said=" with no steps")


def by_segments(case: Case, k: int) -> Finding | None:
    """What is wrong with segments of k steps; None where nothing is."""
    said = f"{CHECKPOINT}={k} of {case.data.steps} steps{case.said}"
    try:
        return next((finding for finding in promises(case, k, said) if finding is not None), None)
    except Raised as error:
        return Finding(CHECKPOINT, FAIL, said=f"{said}: {error}")


def promises(case: Case, k: int, said: str) -> Iterator[Finding | None]:
    """Outputs, gradients, arguments unchanged; of the segments that tell most, a tape that serves any number of calls."""
    calls = case.calls()
    outputs, tape = calls.forward(checkpoint_every=k)
    expected = case.plain
    found = {f"output {name}": array.copy() for name, array in outputs.items()}
    wanted = {name: array for name, array in expected.items() if name in found}
    yield case.apart(found, wanted, f"forward with {said} isn't forward without")
    spoil(outputs)
    first = calls.backward(tape, " over a tape of checkpoints")
    kept = copied(first)
    gradients = {name: array for name, array in expected.items() if name not in found}
    yield case.apart(kept, gradients, f"backward over a tape of {said} doesn't give the gradients of a call without")
    changed = calls.changed()
    if changed:
        cause = "an argument, or a view of it, is written in place"
        yield Finding(CHECKPOINT, FAIL, said=f"calls with {said} change {changed}", cause=cause)
    spoil(first)
    if k == uneven(case.data.steps) and case.data.steps <= LONG:
        yield from of_tape(case, calls, tape, kept, said)


def of_tape(case: Case, calls: Calls, tape: Any, kept: dict[str, Array], said: str) -> Iterator[Finding | None]:
    """A second backward, after calls with other numbers and results that the caller wrote into, and step Jacobians."""
    other = Calls(case.kernel, calls.module, case.other)
    every = uneven(case.data.steps)
    other.backward(other.forward(checkpoint_every=every)[1], " over a tape of checkpoints")
    different = other_bits(kept, calls.backward(tape, " over a tape of checkpoints, again,"))
    if different:
        again = f"a second backward over a tape of {said}, after calls with other numbers, gives other bits"
        yield Finding(CHECKPOINT, FAIL, different, said=again, cause="the tape, or what it refers to, is consumed or written to")
    if case.jacobian is not None:
        yield jacobian(case, calls, tape, said)


def jacobian(case: Case, calls: Calls, tape: Any, said: str) -> Finding | None:
    """step_jacobian over a tape of segments; where it raises, a promise is broken and no number wrong."""
    assert case.jacobian is not None
    try:
        J = raising(JACOBIAN, lambda: jacobians(calls, tape))
    except Raised as error:
        return broken(CHECKPOINT, f"over a tape of {said} {error}")
    wrong = f"step_jacobian over a tape of {said} isn't that of a call without"
    return case.apart(J, case.jacobian, wrong)


def cause(steps: int, failed: Container[int], tried: Sequence[int]) -> str:
    """What the numbers that fail have in common, where others don't."""
    good = [k for k in tried if k not in failed]
    if not good:
        return ""
    if all(k < steps for k in tried if k in failed) and all(k >= steps for k in good):
        return "what one segment hands to another: the state, its gradient, the sum over segments"
    if all(steps % k for k in tried if k in failed) and all(not steps % k for k in good):
        return "the last segment, which is shorter"
    return f"right with {CHECKPOINT}={', '.join(map(str, good))}"
