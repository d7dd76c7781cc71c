"""The gradient of one quantity with respect to another, step by step of both: the norms of dy_t/dx_s over t and s, exactly.

A unit cotangent of y_t gives, by the kernel's `backward`, a row of dy_t/dx_s for every s; a unit tangent of x_s, by its `jvp`, a column
for every t. Many of them side by side are the examples of one batch. What a network computes and doesn't hand out is made an output of
it; what is no input gets one added to it, which is 0: its gradient is that of moving the quantity by itself, at one step.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.derivation import derive
from derive.fresh import Fresh
from derive.language import Value, add
from verify.jacobian.files import Asked, build_run, lead, size_of
from verify.jacobian.recurrences import outputs_of
from verify.jacobian.run import Array, Run, RunError
from verify.jacobian.sweeps import Watch, quiet
from verify.jacobian.within import begun, kernel_of

ROOM = 2**24
"""How many numbers the examples of one batch may take, about."""


@dataclass(frozen=True)
class Question:
    """A run, the output y that is asked about, the quantity x that moves, and the input that moves it: x itself, or what is added to it."""

    run: Run
    of: str
    by: str
    source: str

    @property
    def axes(self) -> tuple[str | None, str | None]:
        """Along which y and x lie; None for one value an example."""
        ends = [self.run.along(name) for name in (self.of, self.source)]
        return (ends[0] or (None,))[0], (ends[1] or (None,))[0]


@dataclass(frozen=True)
class Influence:
    """norms (T, S, B): of each example the Frobenius norm of dy_t/dx_s, over the elements of y and of x. One value an example: one step."""

    question: Question
    norms: Array

    def __post_init__(self) -> None:
        self.norms.setflags(write=False)

    @property
    def mean(self) -> Array:
        """The mean over the examples, (T, S)."""
        return np.asarray(self.norms.mean(axis=-1))


# ---- what is asked


def question(name: str, kernel: Any, derivation: Any, of: str | None, by: str, asked: Asked) -> Question:
    """The run that answers it. Raises RunError on names that aren't there, and on what has no such gradient."""
    inputs, outputs = list(kernel.INPUTS), [*kernel.STATES, *(getattr(kernel, "OUTPUTS", None) or {})]
    inside = [] if derivation is None else [str(value.name) for value in derivation.cell.targets if value.timed]
    by = known(name, "--with-respect-to", by, list(dict.fromkeys([*inputs, *inside])), kernel)
    of = known(name, "--of", of or only(name, kernel, outputs), list(dict.fromkeys([*outputs, *inside])), kernel)
    cell = None if derivation is None else derivation.cell
    for flag, which in (("--of", of), ("--with-respect-to", by)):
        axes = along_in(kernel, cell, which)
        if len(axes) > 1:
            fault = f"{flag} {which}: lies along {' and '.join(axes)}: expected one axis of steps"
            raise RunError(f"jacobian: {name}: {fault}. Name another quantity.")
    run = build_run(name, kernel, derivation, replace(asked, is_network=cell is not None))
    if cell is None:
        return Question(run, of, by, by)
    run = run if asked.weights else begun(run, asked)
    if by in inputs and of in outputs:
        return Question(run, of, by, by)
    own, moved = asking(cell, of, None if by in inputs else by)
    derivation = derive(own)
    kernel = kernel_of(derivation)
    added = {n: np.zeros(shape_in(kernel, n, run.dims)) for n in kernel.INPUTS if n not in inputs}
    return Question(replace(run, kernel=kernel, derivation=derivation, inputs={**run.inputs, **added}), of, by, moved or by)


def along_in(kernel: Any, cell: Cell | None, name: str) -> tuple[str, ...]:
    """The axes of steps of an input, an output or another quantity of a cell."""
    inside = {} if cell is None else {str(value.name): value.along for value in (*cell.inputs, *cell.targets)}
    return inside[name] if name in inside else lead(kernel, name)[:-1]


def shape_in(kernel: Any, name: str, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of the array of an input."""
    return tuple(size_of(dim, dims) for dim in (*lead(kernel, name), *kernel.INPUTS[name]))


def only(name: str, kernel: Any, outputs: Sequence[str]) -> str:
    """The output where there is one alone; else of the states the only one. Raises RunError where it isn't plain which is meant."""
    found: list[str] = list(getattr(kernel, "OUTPUTS", None) or outputs)
    if len(found) != 1:
        raise RunError(
            f"jacobian: {name}: --with-respect-to: the gradient of what: expected --of with one of {', '.join(outputs)}. Name it."
        )
    return found[0]


def known(name: str, flag: str, word: str, names: Sequence[str], kernel: Any) -> str:
    """The word, if it names one of them. Raises RunError that says what it is instead, or the nearest."""
    if word in names:
        return word
    tokens = getattr(kernel, "TOKENS", None) or {}
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
    fault, hint = "unknown quantity", f"Did you mean {near[0]}?" if near else "Name one of them."
    if word in kernel.PARAMETERS:
        fault, hint = "a parameter, the same at every step", "Its gradient by lag is in the --json record of a recurrence."
    elif word in tokens and flag != "--of":
        fault, hint = "tokens", "Tokens are whole numbers and have no gradient: name what is made of them."
    elif word in kernel.INPUTS or word in tokens:
        fault, hint = "an input, which nothing moves", "Name one of them."
    raise RunError(f"jacobian: {name}: {flag} {word or '``'}: {fault}: expected one of {', '.join(names)}. {hint}")


def asking(cell: Cell, of: str, by: str | None) -> tuple[Cell, str]:
    """(the cell with `of` among its outputs and something added to `by`, its name; None: nothing)."""
    shown = cell if of in outputs_of(cell) else replace(cell, shown=cell.shown | {of})
    if by is None:
        return shown, ""
    moved = Fresh(str(value.name) for value in (*cell.targets, *cell.reads)).name(f"{by}_moved")

    def added(target: Value, right: Any) -> Any:
        return add(right, target.like(name=moved)) if target.name == by else right

    return replace(shown, equations=tuple((target, added(target, right)) for target, right in cell.equations)), moved


# ---- the answer


def influence(asked: Question, watch: Watch = quiet) -> Influence:
    """Every norm, by rows or by columns of dy/dx, whichever cost less: a batch of columns takes a forward pass of its own. watch is called
    `amount_of` times. Raises RunError where a gradient isn't finite.
    """
    y, x = (
        Blocks.of(asked.run, asked.of, asked.run.outputs[asked.of]),
        Blocks.of(asked.run, asked.source, asked.run.inputs[asked.source]),
    )
    by_rows = is_by_rows(asked)
    moved, read = (y, x) if by_rows else (x, y)
    copies = min(moved.units, copies_of(asked.run))
    inputs = {name: np.concatenate([array] * copies, axis=len(asked.run.along(name))) for name, array in asked.run.inputs.items()}
    start = {name: np.concatenate([array] * copies) for name, array in asked.run.complete_state(asked.run.state).items()}
    tape = asked.run.forward(inputs, start)[1] if by_rows else None
    norms = np.zeros((moved.steps, read.steps, asked.run.batch))
    for first in range(0, moved.units, copies):
        unit = moved.unit_vectors(first, copies)
        if by_rows:
            found = asked.run.backward(tape, {asked.of: unit}).inputs[asked.source]
        else:
            found = asked.run.call("jvp", asked.run.parameters, inputs, start, {}, {asked.source: unit}, {})[asked.of]
        sizes = np.hypot.reduce(read.apart(found, copies), axis=-1)  # (steps, copies, B); never the square of what is small
        if not np.isfinite(sizes).all():
            fault = f"d{asked.of}/d{asked.by} isn't finite: expected finite numbers, got inf or nan"
            raise RunError(f"jacobian: {asked.run.name}: {fault}. Use smaller weights or inputs.")
        for k in range(min(copies, moved.units - first)):
            t = (first + k) // moved.elements
            norms[t] = np.hypot(norms[t], sizes[:, k])
            watch()
    return Influence(asked, norms if by_rows else norms.swapaxes(0, 1))


def is_by_rows(asked: Question) -> bool:
    """Whether backward answers with less work than jvp, whose every call runs forward too."""
    y, x = asked.run.outputs[asked.of].size, asked.run.inputs[asked.source].size
    return y <= 2 * x or not hasattr(asked.run.kernel, "jvp")


def amount_of(asked: Question) -> int:
    """How often `influence` calls its watch."""
    array = asked.run.outputs[asked.of] if is_by_rows(asked) else asked.run.inputs[asked.source]
    return int(array.size) // asked.run.batch


def copies_of(run: Run) -> int:
    """How many copies of all sequences are run at once: each has some numbers for each row of a parameter at each step."""
    rows = sum(array.shape[0] for array in run.parameters.values() if array.ndim)
    steps = max(array.shape[0] for name, array in run.inputs.items() if run.along(name))
    each: int = sum(array.size for array in (*run.inputs.values(), *run.outputs.values())) + 4 * steps * rows * run.batch
    return max(1, ROOM // each)


@dataclass(frozen=True)
class Blocks:
    """An array as blocks: steps (1 where there is one value an example), sequences, and the elements of one block."""

    along: int
    steps: int
    batch: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, run: Run, name: str, array: Array) -> Blocks:
        along = len(run.along(name))
        return cls(along, array.shape[0] if along else 1, run.batch, array.shape[along + 1 :])

    @property
    def elements(self) -> int:
        return int(math.prod(self.shape))

    @property
    def units(self) -> int:
        """How many elements all steps of a sequence have."""
        return self.steps * self.elements

    def unit_vectors(self, first: int, copies: int) -> Array:
        """An array for so many copies of the sequences, one behind the other: copy k is 1 in element `first` + k alone, if any."""
        out = np.zeros((self.steps, copies, self.batch, self.elements))
        for k in range(min(copies, self.units - first)):
            t, element = divmod(first + k, self.elements)
            out[t, k, :, element] = 1.0
        return out.reshape(*[self.steps] * self.along, copies * self.batch, *self.shape)

    def apart(self, array: Array, copies: int) -> Array:
        """An array of so many copies as (steps, copies, B, elements)."""
        return np.asarray(array).reshape(self.steps, copies, self.batch, self.elements)
