"""Step Jacobians as the derived program has them, a sum of terms that keep their reasons: products with vectors, terms cut or kept.

A route is a way through the summands of the tangent program from a state before the step to a state after it; J is the sum over all
routes. A path is a set of marked summands. Cutting it leaves the routes that pass no marked summand; keeping it alone leaves those that
pass one: the two add up to J. Matrix states count row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.expressions import is_timed
from derive.language import Value
from verify.jacobian.run import Array, Run
from verify.jacobian.summands import Chain, Mark, after_step, before_step, summands_of
from verify.jacobian.values import Values, evaluated

Frames = dict[Value, Array]
"""What a tangent, or a cotangent, is for each of several columns, (..., n m, k); one that isn't there is 0."""


@dataclass(frozen=True)
class Step:
    """The numbers of a run at one step, or at several (a slice, its axis in front)."""

    values: Values
    t: int | slice
    kept: dict[Any, Array] = field(default_factory=dict)

    def array(self, expression: Any) -> Array:
        if expression not in self.kept:
            self.kept[expression] = self.values.of(expression)
        array = self.kept[expression]
        if array.ndim < 4:  # made of parameters alone
            return array
        if not is_timed(expression) or array.shape[-4] == 1:  # the same at every step
            return array if isinstance(self.t, slice) or not is_timed(expression) else array[..., 0, :, :, :]
        return array[..., self.t, :, :, :]

    def number(self, expression: Any) -> float:
        return self.values.number(expression)

    def size(self, dimension: Any) -> int:
        return self.values.size(dimension)


class Derived:
    """`Steps` from the derived program. marked: the summands of a path; kept: whether that path alone is kept, or else cut."""

    def __init__(self, run: Run, values: Values | None = None, marked: frozenset[Mark] = frozenset(), kept: bool = False) -> None:
        self.run, self.values = run, values or evaluated(run)
        self.steps, self.batch, self.size = run.steps, run.batch, run.size
        self.marked, self.kept = marked, kept
        self.summands = summands_of(run.derivation)
        states = {state.name: state for state in run.derivation.cell.states}  # type: ignore[union-attr]
        self.before = {name: before_step(states[name]) for name in run.sizes}
        self.after = {name: after_step(states[name]) for name in run.sizes}
        self.coefficients: dict[Any, Array] = {}

    def with_path(self, marked: frozenset[Mark], kept: bool) -> Derived:
        """The same step with a path cut, or kept alone; the values and coefficients are shared."""
        other = Derived(self.run, self.values, marked, kept)
        other.coefficients = self.coefficients
        return other

    def at(self, t: int | slice) -> Step:
        return Step(self.values, t, self.coefficients)

    # ---- J V

    def push(self, t: int, frame: Array) -> Array:
        """J V, (B, S, k)."""
        parts = self.run.split(frame, axis=-2)
        moved = self.pushed(t, {self.before[name]: part for name, part in parts.items()})
        return np.concatenate([moved.get(self.after[name], np.zeros_like(part)) for name, part in parts.items()], axis=-2)

    def dense(self, start: int, stop: int) -> Array:
        """J of the steps start <= t < stop, (stop - start, B, S, S): what each state hands on of the identity, all steps at once."""
        out = np.zeros((stop - start, self.batch, self.size, self.size))
        blocks = {name: self.run.split(rows, axis=-1) for name, rows in self.run.split(out, axis=-2).items()}  # views
        for before, n in self.run.sizes.items():
            identity = np.broadcast_to(np.eye(n), (stop - start, self.batch, n, n))
            moved = self.pushed(slice(start, stop), {self.before[before]: identity})
            for after in self.run.sizes:
                if self.after[after] in moved:
                    blocks[after][before][...] = moved[self.after[after]]
        return out

    def pushed(self, t: int | slice, before: Frames) -> Frames:
        """Every tangent of a step, or of several, whose axis then leads, from those before it; with a path kept, what came by it."""
        at, total = self.at(t), dict(before)
        through: Frames = {}
        for one in self.summands:
            marked = one.mark in self.marked
            if one.read not in total or (marked and not self.kept):
                continue
            whole = chained(one.chain, total[one.read], at)
            gather(total, one.target, whole)
            if self.kept and marked:
                gather(through, one.target, whole)
            elif one.read in through:
                gather(through, one.target, chained(one.chain, through[one.read], at))
        return through if self.kept else total

    # ---- Jᵀ W

    def pull(self, t: int, frame: Array) -> Array:
        """Jᵀ W, (B, S, k)."""
        parts, at = self.run.split(frame, axis=-2), self.at(t)
        passed: Frames = {}  # by the path, where one is kept; else all
        waiting: Frames = {}
        for name, part in parts.items():
            gather(waiting if self.kept else passed, self.after[name], part)
        for one in reversed(self.summands):
            marked = one.mark in self.marked
            if marked and not self.kept:
                continue
            if one.target in passed:
                gather(passed, one.read, chained_back(one.chain, passed[one.target], at))
            if one.target in waiting:
                gather(passed if marked else waiting, one.read, chained_back(one.chain, waiting[one.target], at))
        return np.concatenate([passed.get(self.before[name], np.zeros_like(part)) for name, part in parts.items()], axis=-2)


def chained(chain: Chain, frame: Array, at: Step) -> Array:
    """Maps one after the other."""
    for each in reversed(chain):
        frame = each.push(frame, at)
    return frame


def chained_back(chain: Chain, frame: Array, at: Step) -> Array:
    """The transposed maps one after the other."""
    for each in chain:
        frame = each.pull(frame, at)
    return frame


def gather(frames: Frames, key: Value, piece: Array) -> None:
    frames[key] = frames[key] + piece if key in frames else piece


def dense(steps: Derived) -> Array:
    """All step Jacobians as arrays, (T, B, S, S)."""
    return steps.dense(0, steps.steps)
