"""Forward equations run as they were written: what is computed when follows from what is there, without a schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.along import AlongAxis, Spread, axes_of, binds
from derive.expressions import substitute, values_in
from derive.language import Value
from derive.shapes import EXAMPLES, STEPS
from verify.along import number_of
from verify.interpreter import Environment, Evaluator, Run

Array = NDArray[Any]


def forward(
    pairs: Sequence[tuple[Value, sp.MatrixExpr]],
    evaluate: Evaluator,
    known: Environment,
    inputs: Mapping[Value, Sequence[Array]],
    steps: int,
    starts: Mapping[Value, Value] | None = None,
) -> list[Environment]:
    """Forward equations at every step: the environment of each, with all its values and what it reads of its neighbours; where there
    are no steps one environment, of what doesn't differ from step to step.

    known: parameters, inputs of an example, and under the value that is read, at t-1 or t+1, the state (B, n, m) before the first step or
    after the last one. inputs: each value's array (B, n, m) at every step. starts: what is read at t-1 or t+1 -> the value that it starts
    with. What is computed when follows from what is there: sweeps over the steps, forwards and backwards in turn, take what they can.
    Raises ValueError where equations need each other at one step.
    """
    sweeps = Sweeps(pairs, evaluate, known, inputs, {STEPS: steps}, starts or {})
    sweeps.run()
    return sweeps.found[STEPS] or [sweeps.once]


def taken_apart(target: Value, right: sp.MatrixExpr) -> list[tuple[Value, sp.MatrixExpr]]:
    """An equation with what it reads of all steps together as equations of their own, in front."""
    inner: dict[sp.MatrixExpr, Value] = {}

    def named(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not isinstance(node, AlongAxis) or isinstance(node, Spread):
            return None
        name = f"{target.name}: {len(inner) + 1}"
        return inner.setdefault(node, Value(name, *node.shape, axes=axes_of(node)))

    outermost = isinstance(right, AlongAxis) and not isinstance(right, Spread)
    rest = right.over(*[substitute(part, named) for part in right.operands]) if outermost else substitute(right, named)
    return [*[pair for node, value in inner.items() for pair in taken_apart(value, node)], (target, rest)]


class Sweeps:
    """One run of `forward`. lengths: of each axis of steps; found: the environments along each.

    A value is computed step by step along its own axis, the first of those of steps along which it varies; along another one it is read as
    a whole, with that axis in front: (S, B, n, m).
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Value, sp.MatrixExpr]],
        evaluate: Evaluator,
        known: Environment,
        inputs: Mapping[Value, Sequence[Array]],
        lengths: Mapping[str, int],
        starts: Mapping[Value, Value],
    ) -> None:
        self.lengths, self.named = dict(lengths), dict(starts)
        self.starts = {value: array for value, array in known.items() if value.lag}
        batches = [array.shape[0] for array in self.starts.values()]
        batches += [array.shape[0] for value, array in known.items() if EXAMPLES in value.axes and not value.lag]
        batches += [array.shape[0] for arrays in inputs.values() for array in arrays[:1]]
        self.lead = (batches[0] if batches else 1,)
        self.once: Environment = {value: array for value, array in known.items() if not value.lag}
        self.once |= {number_of(axis): np.full((1, 1), steps) for axis, steps in lengths.items()}
        self.found: dict[str, list[Environment]] = {
            axis: [
                {**self.once, **{value: arrays[t] for value, arrays in inputs.items() if value.axis == axis}}
                for t in range(steps)
            ]
            for axis, steps in lengths.items()
        }
        pairs = [part for target, right in pairs for part in taken_apart(target, right)]
        self.along = {*inputs, *[target for target, _ in pairs if target.has_steps]}
        self.homes = homes_of(pairs)
        reads = [(target, evaluate.run(right), values_in(right)) for target, right in pairs]
        whole = {target: not target.has_steps or self.home(target) in binds(right) for target, right in pairs}
        self.at_once: list[tuple[Value, Run, list[Value]]] = [one for one in reads if whole[one[0]]]
        self.by_steps: list[tuple[Value, Run, list[Value]]] = [one for one in reads if not whole[one[0]]]

    def home(self, value: Value) -> str:
        """The axis step by step along which a value is computed."""
        return self.homes.get(value.like(lag=0), value.axis)

    def run(self) -> None:
        turn = 0
        idle = 0
        while (self.at_once or self.by_steps) and idle < 2:
            before = self.count()
            self.take_wholes()
            for axis, steps in self.lengths.items():
                own = [one for one in self.by_steps if self.home(one[0]) == axis]
                for t in range(steps) if turn % 2 == 0 else reversed(range(steps)):
                    here = self.found[axis][t]
                    for target, run, read in own:
                        if target not in here and all(self.is_there(value, axis, t) for value in read):
                            here[target] = self.filled(target, run(here))
            self.by_steps = [one for one in self.by_steps if any(one[0] not in env for env in self.found[self.home(one[0])])]
            idle = 0 if self.count() > before else idle + 1
            turn += 1
        left = [*self.at_once, *self.by_steps]
        if left and all(self.lengths.values()):
            raise ValueError(f"{', '.join(str(target.name) for target, *_ in left)} need each other at one step")

    def count(self) -> int:
        """How much is known."""
        return len(self.once) + sum(len(env) for envs in self.found.values() for env in envs)

    def filled(self, target: Value, value: Array) -> Array:
        """A value of one step along its other axes, and for every example: the same for all of them, as a zero is."""
        if not target.timed:
            return value
        lead = (*[self.lengths[axis] for axis in target.along if axis != self.home(target)], *self.lead)
        if value.ndim == 2 + len(lead):
            return value
        return np.broadcast_to(value, lead + value.shape[-2:])

    def is_there(self, value: Value, axis: str, t: int) -> bool:
        """Whether a value that step t of an axis reads is known; one of a neighbour, or of all steps of another axis, is put into the
        environment of step t."""
        here = self.found[axis][t]
        if value in here:
            return True
        if value.has_steps and self.home(value) != axis:
            whole = self.stacked(value)
            if whole is None:
                return False
            order = [self.home(value), *[one for one in value.along if one != self.home(value)]]
            here[value] = whole.take(t, order.index(axis)) if axis in value.along else whole
            return True
        at, plain = t + value.lag, value.like(lag=0)
        if not value.lag:
            return False
        if 0 <= at < self.lengths[axis]:
            if plain not in self.found[axis][at]:
                return False
            here[value] = self.found[axis][at][plain]
            return True
        if value in self.named and self.named[value] not in self.once:
            return False
        here[value] = self.once[self.named[value]] if value in self.named else self.starts[value]
        return True

    def stacked(self, value: Value) -> Array | None:
        """A value at all steps of its axis, that in front; None where some aren't known."""
        home = self.home(value)
        steps = self.lengths[home]
        if not all(self.is_there(value, home, t) for t in range(steps)):
            return None
        if not steps:
            return np.zeros((0, *[self.lengths[axis] for axis in value.along if axis != home], *self.lead, 1, 1))
        return np.stack([here[value] for here in self.found[home]])

    def take_wholes(self) -> None:
        """The values that all steps of an axis together make, as far as these are there."""
        for one in list(self.at_once):
            target, run, read = one
            env: Environment = dict(self.once)
            if not all(self.is_whole(value, env) for value in read):
                continue
            value = run(env)
            if target.has_steps:
                for t, here in enumerate(self.found[self.home(target)]):
                    here[target] = self.filled(target, value[t] if value.ndim == 3 + len(target.along) else value)
            else:
                self.once[target] = self.filled(target, value)
                for here in (here for envs in self.found.values() for here in envs):
                    here[target] = self.once[target]
            self.at_once.remove(one)

    def is_whole(self, value: Value, env: Environment) -> bool:
        """Whether a value is known at all steps; it is put into the environment then, as (T, B, n, m)."""
        if value in self.once:
            return True
        if value.like(lag=0) not in self.along:
            return False
        whole = self.stacked(value)
        if whole is None:
            return False
        env[value] = whole
        if not len(whole):
            for read in (value.like(lag=-1), value.like(lag=1)):
                if read in self.named and self.named[read] in self.once:
                    env[read] = self.once[self.named[read]]
                elif read in self.starts:
                    env[read] = self.starts[read]
        return True


def homes_of(pairs: Sequence[tuple[Value, sp.MatrixExpr]]) -> dict[Value, str]:
    """Values along two axes of steps that a recurrence along the second of them needs -> that axis."""
    reads = {target: {value.like(lag=0) for value in values_in(right)} for target, right in pairs}
    while True:
        more = {target: found.union(*[reads.get(value, set()) for value in found]) for target, found in reads.items()}
        if more == reads:
            break
        reads = more
    found: dict[Value, str] = {}
    for _, right in pairs:
        for read in (value for value in values_in(right) if value.lag):
            plain = read.like(lag=0)
            for target, own in reads.items():
                if len(target.along) > 1 and read.axis in target.along and plain in own and target in reads.get(plain, set()):
                    found[target] = read.axis
    return found
