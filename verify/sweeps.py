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
from verify.interpreter import Environment, Evaluator

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
    return Sweeps(pairs, evaluate, known, inputs, steps, starts or {}).run()


def taken_apart(target: Value, right: sp.MatrixExpr) -> list[tuple[Value, sp.MatrixExpr]]:
    """An equation with what it reads of all steps together as equations of their own, in front."""
    inner: dict[sp.MatrixExpr, Value] = {}

    def named(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not isinstance(node, AlongAxis) or isinstance(node, Spread):
            return None
        name = f"{target.name}: {len(inner) + 1}"
        return inner.setdefault(node, Value(name, *node.shape, axes=axes_of(node)))

    rest = right if isinstance(right, AlongAxis) else substitute(right, named)
    return [*[(value, node) for node, value in inner.items()], (target, rest)]


class Sweeps:
    """One run of `forward`."""

    def __init__(
        self,
        pairs: Sequence[tuple[Value, sp.MatrixExpr]],
        evaluate: Evaluator,
        known: Environment,
        inputs: Mapping[Value, Sequence[Array]],
        steps: int,
        starts: Mapping[Value, Value],
    ) -> None:
        self.steps, self.named = steps, dict(starts)
        self.starts = {value: array for value, array in known.items() if value.lag}
        batches = [array.shape[0] for array in self.starts.values()]
        batches += [array.shape[0] for value, array in known.items() if EXAMPLES in value.axes and not value.lag]
        self.lead = (batches[0] if batches else 1,)
        self.once: Environment = {value: array for value, array in known.items() if not value.lag}
        self.once[number_of(STEPS)] = np.full((1, 1), steps)
        self.found: list[Environment] = [
            {**self.once, **{value: arrays[t] for value, arrays in inputs.items()}} for t in range(steps)
        ]
        pairs = [part for target, right in pairs for part in taken_apart(target, right)]
        self.along = {*inputs, *[target for target, _ in pairs if target.has_steps]}
        whole = {target: bool(binds(right)) or not target.has_steps for target, right in pairs}
        reads = [(target, evaluate.run(right), values_in(right)) for target, right in pairs]
        self.at_once = [one for one in reads if whole[one[0]]]
        self.by_steps = [one for one in reads if not whole[one[0]]]

    def run(self) -> list[Environment]:
        turn = 0
        idle = 0
        while (self.at_once or self.by_steps) and idle < 2:
            before = len(self.once) + sum(map(len, self.found))
            self.take_wholes()
            for t in range(self.steps) if turn % 2 == 0 else reversed(range(self.steps)):
                for target, run, read in self.by_steps:
                    if target not in self.found[t] and all(self.is_there(value, t) for value in read):
                        self.found[t][target] = self.filled(target, run(self.found[t]))
            self.by_steps = [one for one in self.by_steps if any(one[0] not in env for env in self.found)]
            idle = 0 if len(self.once) + sum(map(len, self.found)) > before else idle + 1
            turn += 1
        left = [*self.at_once, *self.by_steps]
        if left and self.steps:
            raise ValueError(f"{', '.join(str(target.name) for target, *_ in left)} need each other at one step")
        return self.found or [self.once]

    def filled(self, target: Value, value: Array) -> Array:
        """The same for every example, as a zero is."""
        return np.broadcast_to(value, self.lead + value.shape) if target.timed and value.ndim == 2 else value

    def is_there(self, value: Value, t: int) -> bool:
        """Whether a value that step t reads is known; one of a neighbour is put into the environment of step t."""
        here = self.found[t]
        if value in here:
            return True
        at, plain = t + value.lag, value.like(lag=0)
        if not value.lag:
            return False
        if 0 <= at < self.steps:
            if plain not in self.found[at]:
                return False
            here[value] = self.found[at][plain]
            return True
        if value in self.named and self.named[value] not in self.once:
            return False
        here[value] = self.once[self.named[value]] if value in self.named else self.starts[value]
        return True

    def take_wholes(self) -> None:
        """The values that all steps together make, as far as these are there."""
        for one in list(self.at_once):
            target, run, read = one
            env: Environment = dict(self.once)
            if not all(self.is_whole(value, env) for value in read):
                continue
            value = run(env)
            if target.has_steps:
                for t, here in enumerate(self.found):
                    here[target] = self.filled(target, value[t] if value.ndim == 4 else value)
            else:
                self.once[target] = self.filled(target, value)
                for here in self.found:
                    here[target] = self.once[target]
            self.at_once.remove(one)

    def is_whole(self, value: Value, env: Environment) -> bool:
        """Whether a value is known at all steps; it is put into the environment then, as (T, B, n, m)."""
        if value in self.once:
            return True
        if value.like(lag=0) not in self.along or not all(self.is_there(value, t) for t in range(self.steps)):
            return False
        if self.steps:
            env[value] = np.stack([here[value] for here in self.found])
            return True
        before = value.like(lag=-1), value.like(lag=1)
        for read in before:
            if read in self.named and self.named[read] in self.once:
                env[read] = self.once[self.named[read]]
            elif read in self.starts:
                env[read] = self.starts[read]
        env[value] = np.zeros((0, *self.lead, *[1, 1]))
        return True
