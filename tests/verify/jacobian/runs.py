"""Runs for the tests: built-in cells with drawn or given arrays."""

from __future__ import annotations

import functools
import shlex
import types
from typing import Any

import numpy as np

from derive.cells.registry import build
from derive.derivation import derive
from tests.kernels import kernel_of
from verify.jacobian import Run
from verify.jacobian.command import parser, runs_of


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
