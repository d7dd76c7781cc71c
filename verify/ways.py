"""Which way the states of a kernel run, found from its own runs, and step Jacobians by way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.data import Data
from verify.kernel import Kernel

Array = NDArray[Any]

SAME = 1e-12
"""Steps run one by one give the run where they differ by less, relative to the size of each output: by rounding."""


def one_step(data: Data, outputs: Mapping[str, Array], rng: np.random.Generator, leftward: Collection[str] = ()) -> Data:
    """Every step as a run of one step by itself, side by side along the batch, from the states that the run has there: of a state
    that runs from the last step to the first that of the step behind."""

    def before(name: str, first: Array) -> Array:
        parts = [outputs[name][1:], first[None]] if name in leftward else [first[None], outputs[name][:-1]]
        return np.concatenate(parts).reshape(-1, *first.shape[1:])

    state = {name: before(name, first) for name, first in data.state.items()}
    inputs = {name: array.reshape(1, -1, *array.shape[2:]) for name, array in data.inputs.items()}
    cotangents = {name: rng.standard_normal((1, data.steps * data.batch, *array.shape[2:])) for name, array in outputs.items()}
    return replace(data, inputs=inputs, state=state, cotangents=cotangents, steps=1, batch=data.steps * data.batch)


def unlike(
    kernel: Kernel, data: Data, whole: Mapping[str, Array], leftward: Collection[str] = (), names: Collection[str] | None = None
) -> int:
    """How many outputs of the run, by default of all, its steps by themselves don't give, were these states those that run to the left."""
    parts = kernel.outputs(one_step(data, whole, np.random.default_rng(0), leftward))
    return sum(
        not np.allclose(parts[name].reshape(array.shape), array, rtol=SAME, atol=SAME * float(np.abs(array).max(initial=0.0)))
        for name, array in whole.items()
        if names is None or name in names
    )


def leftward_of(kernel: Kernel, data: Data) -> frozenset[str] | None:
    """The states that run from the last step to the first; None where no choice of them gives the states step by step.

    States that one step makes of each other run one way. Such a group is turned where fewer are wrong then: those that a wrong way spoils
    are its own and those that read it.
    """
    whole = kernel.outputs(data)
    found: frozenset[str] = frozenset()
    wrong = unlike(kernel, data, whole, found, data.state)
    groups = together(kernel, data, whole) if wrong else []
    for _ in groups:
        tried = {group: unlike(kernel, data, whole, found ^ group, data.state) for group in groups}
        best = min(tried, key=lambda group: tried[group])
        if tried[best] >= wrong:
            break
        found, wrong = found ^ best, tried[best]
    return None if wrong else found


def together(kernel: Kernel, data: Data, whole: Mapping[str, Array]) -> list[frozenset[str]]:
    """The states in groups: those of one are made of each other, by one step or by several."""
    steps = one_step(data, whole, np.random.default_rng(0))
    made = kernel.outputs(steps)
    reads = {name: {name} for name in data.state}
    for name, array in steps.state.items():
        moved = kernel.outputs(replace(steps, state={**steps.state, name: array * 1.5 + 0.25}))
        for other in data.state:
            if not np.array_equal(moved[other], made[other]):
                reads[other].add(name)
    for _ in data.state:
        reads = {name: set().union(*[reads[other] for other in found]) for name, found in reads.items()}
    return list(
        dict.fromkeys(frozenset(other for other in reads if other in reads[name] and name in reads[other]) for name in reads)
    )


def ways_of(kernel: Kernel, leftward: Collection[str]) -> list[list[str]]:
    """The states of each way, in the order of STATES."""
    states = list(kernel.dims.states)
    ways = [[name for name in states if name not in leftward], [name for name in states if name in leftward]]
    return sorted((way for way in ways if way), key=lambda way: states.index(way[0]))


def arrays_of(found: Any) -> dict[str, Array]:
    """What `step_jacobian` returns by name: one array, or one for each way."""
    mapping = found if isinstance(found, Mapping) else {"step_jacobian": found}
    return {str(name): np.asarray(array) for name, array in mapping.items()}
