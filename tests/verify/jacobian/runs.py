"""Runs for the tests: built-in cells with drawn or given arrays."""

from __future__ import annotations

import functools
import shlex
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.cell import Cell, ordered
from derive.cells.registry import build
from derive.derivation import derive
from tests.kernels import kernel_of, kernel_of_cell
from verify.jacobian import Run
from verify.jacobian.command import parser, runs_of
from verify.jacobian.files import size_of
from verify.jacobian.values import Values


@functools.cache
def derivation_of(words: str) -> Any:
    return derive(build(words))


def run_of(
    words: str, steps: int = 12, H: int = 5, D: int = 3, B: int = 1, scale: float = 1.0, seed: int = 0, **given: Any
) -> Run:
    """A built-in cell with random weights, inputs and states; `given` replaces parameters by name."""
    kernel, rng = kernel_of(words), np.random.default_rng(seed)
    sizes = {"H": H, "D": D}
    parameters = {n: scale * rng.standard_normal([sizes[d] for d in dims]) / np.sqrt(H) for n, dims in kernel.PARAMETERS.items()}
    inputs = {n: rng.standard_normal((steps, B, sizes[d[0]])) for n, d in kernel.INPUTS.items()}
    state = {n: 0.5 * rng.standard_normal((B, sizes[d[0]])) for n, d in kernel.STATES.items()}
    return Run(words, kernel, {**parameters, **given}, inputs, state, derivation_of(words))


def rnn(U: Any, steps: int, activation: str = "tanh", x: Any = None, h: Any = None) -> Run:
    """h = f(x + U h'), with the inputs as they are; x (T, 1, n), default 0."""
    n = len(U)
    words = "rnn --no-bias" + (f" --activation {activation}" if activation != "tanh" else "")
    inputs = {"x": np.zeros((steps, 1, n)) if x is None else x}
    parameters = {"W": np.eye(n), "U": np.asarray(U, float)}
    return Run(words, kernel_of(words), parameters, inputs, {} if h is None else {"h": h}, derivation_of(words))


def orthogonal(n: int, seed: int = 0) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def without(kernel: Any, *names: str) -> Any:
    """The kernel with some functions of the contract missing."""
    out = types.SimpleNamespace(**{name: value for name, value in vars(kernel).items() if name not in names})
    return out


def words_run(words: str) -> Run:
    """The run that the words of a call make."""
    options, cell = parser().parse_known_args(shlex.split(words))
    (run,) = runs_of(options, cell)
    return run


def benettin(J: Any, frame: Any) -> Any:
    """Lyapunov exponents of step Jacobians (T, n, n) by a QR at each step from a frame (n, k), the first tenth left out, descending."""
    Q, total = frame, np.zeros(frame.shape[1])
    for t, one in enumerate(J):
        Q, R = np.linalg.qr(one @ Q)
        if t >= len(J) // 10:
            total += np.log(np.abs(np.diag(R)))
    return -np.sort(-total / (len(J) - len(J) // 10))


def drawn_run(cell: Cell, steps: int = 3, B: int = 2, sizes: Mapping[str, int] | None = None, seed: int = 0, **given: Any) -> Run:
    """Any cell with random arrays; `given` replaces some by name."""
    kernel, rng = kernel_of_cell(cell), np.random.default_rng(seed)
    sizes = sizes or {dim.name: size for dim, size in zip(sorted(dimensions_of(cell), key=str), (2, 4, 3, 5), strict=False)}

    def drawn(name: str, *shape: int) -> Any:
        return np.asarray(given[name], float) if name in given else np.asarray(rng.standard_normal(shape))

    parameters = {n: drawn(n, *[size_of(d, sizes) for d in dims]) for n, dims in kernel.PARAMETERS.items()}
    inputs = {n: drawn(n, steps, B, *[size_of(d, sizes) for d in dims]) for n, dims in kernel.INPUTS.items()}
    state = {n: drawn(n, B, *[size_of(d, sizes) for d in dims]) for n, dims in kernel.STATES.items()}
    return Run(cell.name, kernel, parameters, inputs, state, derive(cell))


def dimensions_of(cell: Cell) -> set[Any]:
    return {symbol for value in (*cell.targets, *cell.reads) for size in value.shape for symbol in size.free_symbols}


def by_complex_step(run: Run) -> Any:
    """The step Jacobians of a run's equations, (T, B, S, S), by a complex step of each component of the states."""
    values, cell, shape = Values(run), run.derivation.cell, (run.steps, run.batch)
    env = dict(values.arrays)
    units = run.split(np.eye(run.size) * 1e-30j)
    for state in cell.states:
        direction = units[state.name].reshape(run.size, 1, 1, *values.arrays[state].shape[2:])
        env[state.prev] = values.arrays[state.prev] + direction
        del env[state]
    for target, right in ordered(cell.equations, cell.name):
        env[target] = values.evaluate(right, env)
    moved = [np.broadcast_to(env[state], (run.size, *shape, *env[state].shape[-2:])) for state in cell.states]
    by_name = {state.name: array.reshape(run.size, *shape, -1) for state, array in zip(cell.states, moved, strict=True)}
    return np.moveaxis(np.concatenate([by_name[name] for name in run.sizes], axis=-1).imag / 1e-30, 0, -1)
