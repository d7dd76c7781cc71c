"""Causes that show in the gradient of one block, whatever the cell: a sign, a scale, a transpose, another step, a cut recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from verify.data import Data
from verify.evidence import Array, Evidence
from verify.gradients import norm, relative
from verify.kernel import Kernel

FITS = 1e-6
"""A cause fits where it explains a block to this part of its size."""


def fits(got: Array, expected: Array) -> bool:
    return got.shape == expected.shape and norm(expected) > 0 and relative(got, expected) <= FITS


def simple(got: Array, expected: Array, data: Data) -> str:
    """Sign, scale, mean for sum, transpose, nothing."""
    if got.shape == expected.shape and norm(got) == 0 and norm(expected) > 0:
        return "missing gradient: it is zero everywhere"
    if fits(got, -expected):
        return "sign"
    gone = (got == 0) & (expected != 0) if got.shape == expected.shape else np.zeros(1, bool)
    if gone.any() and not gone.all() and fits(got[~gone], expected[~gone]):
        first = tuple(int(k) for k in np.argwhere(gone)[0])
        return f"missing elements: {gone.sum()} of {gone.size} are zero, {first} the first of them"
    if expected.ndim > 1 and expected.shape[-1] == expected.shape[-2] and fits(got.swapaxes(-1, -2), expected):
        return "transpose"
    if got.shape == expected.shape and norm(expected) > 0:
        factor = float((got * expected).sum() / (expected**2).sum())
        same = relative(got, factor * expected) < min(1e-6, abs(factor - 1) * 1e-3)
        if abs(factor - 1) > 1e-9 and same and (expected.size > 1 or is_round(factor)):
            for name, count in (("steps", data.steps), ("examples", data.batch), ("steps and examples", data.steps * data.batch)):
                if abs(factor * count - 1) < 1e-9:
                    return f"mean instead of sum over {name}"
            return f"scaled by {factor:.9g}"
    return ""


def is_round(factor: float) -> bool:
    """Whether a factor is a whole number or one over one; any number is a multiple of another, so that other factors tell nothing of it."""
    return any(0 < abs(one) < 1e6 and abs(one - round(one)) < 1e-9 * abs(one) for one in (factor, 1 / factor if factor else 0.0))


def shifted(block: str, got: Array, expected: Array) -> str:
    """The gradient of another step."""
    if not block.startswith("input ") or got.shape != expected.shape:
        return ""
    if fits(got[:-1], expected[1:]) or fits(got[1:], expected[:-1]):
        return "time index off by one"
    return "time reversed" if fits(got, expected[::-1]) else ""


def single(got: Array, expected: Array) -> str:
    """Digits lost, or noise."""
    if got.shape != expected.shape:
        return ""
    error = relative(got, expected)
    if error < 1e-6 and np.array_equal(got.astype(np.float32).astype(got.dtype), got):
        return "a cast to float32: every element is a float32 number"
    if error < 3e-7:
        return (
            f"noise or lost digits of relative size {error:.0e} (no term of this size fits); a float32 intermediate loses 6e-08"
        )
    return ""


def truncation(got: Array, expected: Array, block: str) -> str:
    """Where the gradient of a block gets nothing though the evidence says that it should, and all else is right: K steps back, or in
    chunks of K."""
    steps = expected.shape[0]
    if not block.startswith("input "):
        got, expected = got[:, :, None], expected[:, :, None]
        to = np.array([-1])
    else:
        to = np.arange(expected.shape[2])
    lag = np.arange(steps)[:, None] - to[None, :]
    wants = (np.abs(expected) > 0).any(axis=(1, 3)) & (lag >= 0)
    has = (got != 0).any(axis=(1, 3))
    if (has & (lag < 0)).any():
        return ""
    has &= wants
    empty = wants & ~has
    if not empty.any() or not has.any() or not fits(got, np.where(has[:, None, :, None], expected, 0.0)):
        return ""
    reached = [int(k) for k in lag[has]]
    if all(int(k) > max(reached) for k in lag[empty]):
        kept = max(reached) + (1 if to[0] >= 0 else 0)
        return f"truncated recurrence at K = {kept}: nothing goes further back than lag {max(reached)}"
    if to[0] < 0:
        return ""
    farthest = sorted({int(np.argmax(row)) for row in has if row.any()})
    if len(farthest) == 1:
        kept = steps - farthest[0]
        return f"truncated recurrence at K = {kept}: the loop stops {kept} steps before the end"
    pieces = np.diff([*farthest, steps])  # the first and the last may be shorter
    kept = int(pieces.max())
    return f"truncated recurrence at K = {kept}: the carry is cut every {kept} steps" if set(pieces[1:-1]) <= {kept} else ""


def step_parts(kernel: Kernel, evidence: Evidence, block: str) -> Iterator[Array]:
    """What each step contributes to a parameter's gradient, by the forward pass alone: the parameter moves at that step only."""
    data = evidence.data
    shape = data.parameters[block].shape
    states = [data.state]
    outputs = kernel.outputs(data)
    states += [{name: outputs[name][t] for name in data.state} for t in range(data.steps)]
    for t in range(data.steps):
        part = np.zeros(shape)
        rest = segment(data, t + 1, data.steps, states[t + 1])
        for index in np.ndindex(*shape):
            unit = np.zeros(shape)
            unit[index] = 1.0
            part[index] = moved_at(kernel, evidence, segment(data, t, t + 1, states[t]), rest, {block: unit})
        yield part


def moved_at(kernel: Kernel, evidence: Evidence, step: Data, rest: Data, direction: dict[str, Array]) -> float:
    """How the loss moves when a parameter moves during one step only."""
    one = replace(evidence, data=step, known={})
    moves = one.tangents(direction)
    total = float(one.contract(moves, step.cotangents))
    if rest.steps:
        carried = {f"initial {name}": moves.value[name][0].reshape(array.shape) for name, array in step.state.items()}
        total += float(one.contract(replace(one, data=rest).tangents(carried), rest.cotangents))
    return total


def segment(data: Data, start: int, stop: int, state: dict[str, Array]) -> Data:
    """Some steps of a run by themselves, from the state before them."""
    return replace(
        data,
        inputs={name: array[start:stop] for name, array in data.inputs.items()},
        cotangents={name: array[start:stop] for name, array in data.cotangents.items()},
        state=state,
        steps=stop - start,
    )
