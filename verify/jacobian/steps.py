"""Step Jacobians J_t = d S_t / d S_{t-1} from the kernel's contract alone: dense, or as products with vectors.

A `Steps` can push a frame through a step, J_t V, and pull one back, J_tᵀ W. Everything else is written over that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from derive.shapes import STEPS
from verify.jacobian.run import Array, Run, RunError

CHUNK = 2**17
"""How many numbers of J are asked of the kernel at once: what stays in a cache."""

KEPT = 2**26
"""How many numbers of J are kept between sweeps (half a gigabyte); beyond that they are computed again."""


class Steps(Protocol):
    """T step Jacobians of B sequences; t counts from 0, so that step t leads from S_t to S_{t+1}."""

    steps: int
    batch: int
    size: int

    def push(self, t: int, frame: Array) -> Array:
        """J V, (B, S, k)."""

    def pull(self, t: int, frame: Array) -> Array:
        """Jᵀ W, (B, S, k)."""


class Given:
    """Step Jacobians that are there already, (T, B, S, S) or (T, S, S)."""

    def __init__(self, jacobians: Array) -> None:
        self.jacobians = jacobians if jacobians.ndim == 4 else jacobians[:, None]
        self.steps, self.batch, self.size = self.jacobians.shape[:3]

    def push(self, t: int, frame: Array) -> Array:
        out: Array = self.jacobians[t] @ frame
        return out

    def pull(self, t: int, frame: Array) -> Array:
        out: Array = self.jacobians[t].swapaxes(-1, -2) @ frame
        return out


class Dense:
    """The kernel's `step_jacobian`, chunk by chunk over time; where it has none, its `backward` with unit cotangents."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps, self.batch, self.size = run.steps, run.batch, run.size
        self.chunk = max(1, CHUNK // (self.batch * self.size**2))
        self.keep = self.steps * self.batch * self.size**2 <= KEPT
        self.kept: dict[int, Array] = {}

    def jacobian(self, t: int) -> Array:
        """J of one step, (B, S, S)."""
        start = t - t % self.chunk
        if start not in self.kept:
            if not self.keep:
                self.kept.clear()
            self.kept[start] = dense_jacobians(self.run, start, min(start + self.chunk, self.steps))
        one: Array = self.kept[start][t - start]
        return one

    def push(self, t: int, frame: Array) -> Array:
        return self.jacobian(t) @ frame

    def pull(self, t: int, frame: Array) -> Array:
        return self.jacobian(t).swapaxes(-1, -2) @ frame


def dense_jacobians(run: Run, start: int, stop: int) -> Array:
    """J of the steps start <= t < stop, (stop - start, B, S, S)."""
    if not hasattr(run.kernel, "step_jacobian"):
        return checked(run, from_backward(run, start, stop), start, stop)
    state = {name: array[start] for name, array in run.before.items()}
    _, tape = run.forward(run.between(start, stop), state)
    found = run.call("step_jacobian", run.parameters, tape)
    if isinstance(found, Mapping) and len(found) == 1:  # of a recurrence in whose steps another axis is summed over
        (found,) = found.values()
    return checked(run, found, start, stop)


def checked(run: Run, jacobians: Array, start: int, stop: int) -> Array:
    """The step Jacobians, if they have the shape and the numbers that step Jacobians have."""
    expected = (stop - start, run.batch, run.size, run.size)
    if np.shape(jacobians) != expected:
        fault = f"step Jacobians of the wrong shape: expected {expected}, got {np.shape(jacobians)}"
        raise RunError(f"{run.name}: {fault}. Mend the kernel.")
    bad = np.flatnonzero(~np.isfinite(jacobians).all(axis=(1, 2, 3)))
    if bad.size:
        fault = f"the Jacobian of step {start + bad[0] + 1} isn't finite: expected finite numbers, got inf or nan"
        raise RunError(f"{run.name}: {fault}. Use smaller weights or inputs, or mend the kernel.")
    return jacobians


def from_backward(run: Run, start: int, stop: int) -> Array:
    """The same from `backward`: each row of J is the gradient of one component, all rows and steps in one batch of single steps."""
    S = run.size
    rows = np.arange((stop - start) * run.batch * S) % S
    inputs, state = single_steps(run, start, stop, S)
    _, tape = run.forward(inputs, state)
    gradients = run.backward(tape, run.states_of(np.eye(S)[rows][None]))
    return run.joint_of(gradients.state).reshape(stop - start, run.batch, S, S)


def single_steps(run: Run, start: int, stop: int, copies: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Steps start <= t < stop as examples of a batch of single steps, each repeated: (inputs, state)."""

    def examples(array: Array, along: tuple[str, ...] = (STEPS,)) -> Array:
        """The steps of an array as examples, each repeated; what lies along another axis is the same at each of them."""
        behind = len(along) - (along[:1] == (STEPS,))  # how many other axes there are
        array = array if behind < len(along) else np.broadcast_to(array, (stop - start, *array.shape))
        flat = np.moveaxis(array, 0, behind).reshape(*array.shape[1 : 1 + behind], -1, *array.shape[behind + 2 :])
        return np.repeat(flat, copies, axis=behind)

    inputs = {name: examples(array, run.along(name)) for name, array in run.between(start, stop).items()}
    inputs = {name: array[None] if run.along(name)[:1] == (STEPS,) else array for name, array in inputs.items()}
    return inputs, {name: examples(array[start:stop]) for name, array in run.before.items()}


class Products:
    """J V by the kernel's `jvp` and Jᵀ W by its `backward`, each column an example of a batch of single steps: no S × S array.

    A kernel without `jvp` is served by its dense Jacobian, step by step.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps, self.batch, self.size = run.steps, run.batch, run.size

    def push(self, t: int, frame: Array) -> Array:
        run = self.run
        if not hasattr(run.kernel, "jvp"):
            return Given(dense_jacobians(run, t, t + 1)).push(0, frame)
        inputs, state = single_steps(run, t, t + 1, frame.shape[-1])
        tangent = {name: np.ascontiguousarray(part) for name, part in run.states_of(columns_as_examples(frame)).items()}
        moved = run.call("jvp", run.parameters, inputs, state, {}, {}, tangent)
        return self.as_columns(run.joint_of(moved)[0], frame.shape[-1])

    def pull(self, t: int, frame: Array) -> Array:
        run = self.run
        inputs, state = single_steps(run, t, t + 1, frame.shape[-1])
        _, tape = run.forward(inputs, state)
        gradients = run.backward(tape, run.states_of(columns_as_examples(frame)[None]))
        return self.as_columns(run.joint_of(gradients.state), frame.shape[-1])

    def as_columns(self, joint: Array, columns: int) -> Array:
        """(B k, S) as (B, S, k)."""
        return joint.reshape(self.batch, columns, self.size).swapaxes(-1, -2)


def columns_as_examples(frame: Array) -> Array:
    """(B, S, k) as (B k, S)."""
    return frame.swapaxes(-1, -2).reshape(-1, frame.shape[-2])
