"""The gradient itself by lag: what each step contributes to dL_s/dW (JKU slides, 'Backpropagation Through Time'), and dL_s/dx_i.

    dL_s/dW = sum over i <= s of dL_s/dW|_(i),    dL_s/dW|_(i) = dL_s/dS_s  dS_s/dS_i  dS_i/dW (W moved at step i only)

One `backward` a step, each over that step alone; the cotangent of the state is scaled on the way, so that nothing under- or overflows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from verify.jacobian.run import Array, Run, RunError
from verify.jacobian.sweeps import Watch, quiet


@dataclass(frozen=True)
class Lags:
    """Natural logs of Frobenius norms by lag 0..s-1 of step i = s - lag, mean over the batch; minus infinity where it is 0.

    loss_step: s, counted from 1. parameters, inputs: {name: (s,)}. states: {name: (s + 1,)}, dL_s/dS_{s-lag}, lag 0..s.
    """

    loss_step: int
    parameters: Mapping[str, Array]
    inputs: Mapping[str, Array]
    states: Mapping[str, Array]


def gradient_by_lag(
    run: Run, loss_step: int | None = None, cotangents: Mapping[str, Array] | None = None, seed: int = 0, watch: Watch = quiet
) -> Lags:
    """The norms of what each step contributes to the gradient of a loss that is read at one step.

    cotangents: dL_s/d(state or output) at that step, {name: (B, ...)}, missing = zero; by default a random unit vector over all states.
    """
    s = run.steps if loss_step is None else loss_step
    if not 1 <= s <= run.steps:
        raise RunError(f"jacobian: --loss-step: expected a step from 1 to {run.steps}, got {s}. Choose one of them.")
    given = unit_cotangents(run, seed) if cotangents is None else dict(cotangents)
    logs = {
        "parameters": {name: np.full((s, run.batch), -np.inf) for name in run.kernel.PARAMETERS},
        "inputs": {name: np.full((s, run.batch), -np.inf) for name in run.read},
        "states": {name: np.full((s + 1, run.batch), -np.inf) for name in run.kernel.STATES},
    }
    for b in range(run.batch):
        one_sequence(run, s, {name: array[b : b + 1] for name, array in given.items()}, b, logs, watch)
    mean = {kind: {name: array.mean(axis=1) for name, array in table.items()} for kind, table in logs.items()}
    return Lags(s, mean["parameters"], mean["inputs"], mean["states"])


def unit_cotangents(run: Run, seed: int) -> dict[str, Array]:
    """A random unit vector over the joint state, the same for each sequence."""
    vector = np.random.default_rng([seed, 4]).standard_normal(run.size)
    return run.states_of(np.tile(vector / np.linalg.norm(vector), (run.batch, 1)))


def one_sequence(run: Run, s: int, given: dict[str, Array], b: int, logs: dict[str, dict[str, Array]], watch: Watch) -> None:
    """Walk from the loss to the first step; fill column b of the logs."""
    scale = 0.0
    for name in run.kernel.STATES:
        logs["states"][name][0, b] = log_norm(given[name], 0.0) if name in given else -np.inf
    for lag in range(s):
        i = s - lag - 1
        gradients = one_step(run, i, b, given)
        for name in run.kernel.PARAMETERS:
            logs["parameters"][name][lag, b] = log_norm(gradients.parameters[name], scale)
        for name in run.read:
            logs["inputs"][name][lag, b] = log_norm(gradients.inputs[name], scale)
        given = {name: gradients.state[name] for name in run.kernel.STATES}
        for name, array in given.items():
            logs["states"][name][lag + 1, b] = log_norm(array, scale)
        largest = max(float(np.abs(array).max()) for array in given.values())
        if largest == 0:
            return
        given = {name: array / largest for name, array in given.items()}
        scale += float(np.log(largest))
        watch()


def one_step(run: Run, i: int, b: int, cotangents: Mapping[str, Array]) -> Any:
    """`backward` over step i of sequence b alone."""
    inputs = {n: array[(slice(None),) * len(run.along(n)) + (slice(b, b + 1),)] for n, array in run.between(i, i + 1).items()}
    state = {name: array[i, b : b + 1] for name, array in run.before.items()}
    _, tape = run.forward(inputs, state)
    return run.backward(tape, {name: array[None] for name, array in cotangents.items()})


def log_norm(array: Array, scale: float) -> float:
    largest = float(np.abs(array).max()) if array.size else 0.0
    return float(np.log(np.linalg.norm(array / largest)) + np.log(largest) + scale) if largest > 0 else -np.inf
