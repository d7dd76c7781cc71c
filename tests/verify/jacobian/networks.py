"""Networks for the tests: cells by words or as equations, runs with random arrays, derivatives by complex steps of their forward pass."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.derivation import derive
from derive.sources import cells_of
from verify.jacobian import Run
from verify.jacobian.files import lead, size_of
from verify.jacobian.recurrences import Part, chosen, part_of
from verify.jacobian.within import kernel_of, run_of

TINY = 1e-30
"""A complex step: the square of it is nothing beside the rounding of the derivative."""

LENGTHS = {"T": 5, "S": 4, "J": 4, "I": 4, "B": 2}
WIDTHS = (3, 6, 7, *range(8, 20))


@functools.cache
def network(words: str) -> Cell:
    (cell,) = cells_of(shlex.split(words))
    return cell


@functools.cache
def emitted(cell: Cell) -> tuple[Any, Any]:
    """(what is derived of a cell, its kernel)."""
    derivation = derive(cell)
    return derivation, kernel_of(derivation)


def drawn_network(cell: Cell, seed: int = 0, **lengths: int) -> Run:
    """A network's run with random arrays and initial states; every dimension, axis and the batch of another size."""
    (derivation, kernel), rng = emitted(cell), np.random.default_rng(seed)
    every = (*cell.parameters, *cell.inputs, *cell.states, *cell.outputs)
    symbols = sorted({str(s) for value in every for size in value.shape for s in size.free_symbols})
    symbols += [str(size) for size in cell.tokens.values() if str(size) not in symbols]
    sizes: Mapping[str, int] = {**dict(zip(symbols, WIDTHS, strict=False)), **LENGTHS, **lengths}

    def shape(dims: Any) -> list[int]:
        return [size_of(str(dim), sizes) for dim in dims]

    def normal(dims: Any, scale: float = 1.0) -> Any:
        return scale * rng.standard_normal(shape(dims))

    parameters = {name: normal(dims, 0.6) for name, dims in kernel.PARAMETERS.items()}
    inputs = {name: normal((*lead(kernel, name), *dims)) for name, dims in kernel.INPUTS.items()}
    tokens = getattr(kernel, "TOKENS", None) or {}
    inputs |= {name: rng.integers(0, size_of(dim, sizes), shape(lead(kernel, name))) for name, dim in tokens.items()}
    state = {name: normal(("B", *dims), 0.5) for name, dims in kernel.STATES.items()}
    return Run(cell.name, kernel, parameters, inputs, state, derivation)


def recurrence(words: str, state: str, **lengths: int) -> tuple[Part, Run, Run]:
    """(a recurrence, its run, that of its network)."""
    cell = network(words)
    part = part_of(cell, chosen(cell, state))
    whole = drawn_network(part.network, **lengths)
    return part, run_of(part, whole, state), whole


def complexes(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array if array.dtype.kind == "i" else array.astype(complex) for name, array in arrays.items()}


def by_initial_states(part: Part, whole: Run) -> Any:
    """d(the recurrence's states after each step of its walk)/d(those that it starts with), (T, B, S, S), by complex steps of the whole
    network's forward pass. Starts that are computed become arguments of the same value, so that they can move."""
    cell = replace(part.network, starts=())
    _, kernel = emitted(cell)
    arrays = {**whole.parameters, **whole.inputs, **whole.outputs, **whole.complete_state(whole.state)}
    start = {str(read.name): arrays[str(one.name)] for read, one in part.network.starts}
    state = complexes({**whole.complete_state(whole.state), **start})
    columns = []
    names = [str(value.name) for value in part.cell.states]
    for name in names:
        for index in np.ndindex(state[name].shape[1:]):
            moved = {n: array.copy() for n, array in state.items()}
            moved[name][(slice(None), *index)] += TINY * 1j
            outputs, _ = kernel.forward(complexes(whole.parameters), complexes(whole.inputs), moved)
            flat = [outputs[n].imag.reshape(*outputs[n].shape[:2], -1) for n in names]
            columns.append(np.concatenate(flat, axis=-1)[:: -1 if part.leftward else 1] / TINY)
    return np.stack(columns, axis=-1)
