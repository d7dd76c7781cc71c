"""Values that only an edited program reads: those of another step, and weights of steps, filled in from a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.along import axes_of
from derive.equation import Equation
from derive.language import Value
from derive.shapes import EXAMPLES, steps_in
from verify.along import count
from verify.interpreter import Environment, Evaluator
from verify.several import AllAxes

Array = NDArray[Any]

STEPS: dict[str, Callable[[int, int], int | None]] = {
    "earlier": lambda t, T: t - 1 if t else None,
    "wrapped": lambda t, T: t - 1,
    "later": lambda t, T: t + 1 if t + 1 < T else None,
    "first": lambda t, T: 0,
    "final": lambda t, T: T - 1,
}
"""kind -> the step that is read at step t of T; None: zeros. `wrapped` is what x[t - 1] reads at t = 0."""

WEIGHTS: dict[str, Callable[[int, int, int], sp.Expr]] = {
    "first only": lambda t, T, B: sp.Integer(t == 0),
    "last only": lambda t, T, B: sp.Integer(t == T - 1),
    "not first": lambda t, T, B: sp.Integer(t > 0),
    "not last": lambda t, T, B: sp.Integer(t < T - 1),
    "mean over steps": lambda t, T, B: sp.Rational(1, T),
    "mean over examples": lambda t, T, B: sp.Rational(1, B),
    "mean over steps and examples": lambda t, T, B: sp.Rational(1, T * B),
}
"""What a weight is at step t of T with B examples; besides these those of `CUTS` and `STOPS`, `first times F` and `last times F`."""

CUTS: dict[str, Callable[[int, int], int]] = {
    "keep": lambda t, T: T - 1 - t,
    "hand": lambda t, T: T - t,
    "keep from start": lambda t, T: t + 1,
    "hand from start": lambda t, T: t,
}
"""Where a recurrence is cut -> how many steps lie between the cut at step t of T and where the pieces are counted from."""

STOPS: dict[str, Callable[[int, int, int], bool]] = {
    "stop": lambda t, T, K: t >= T - K,
    "past": lambda t, T, K: t < T - K,
    "from": lambda t, T, K: t >= K,
    "before": lambda t, T, K: t < K,
}
"""Where a loop stops -> whether it has step t of T."""

LAST, LAST_OF_STEP = "last of token", "last within a step of token"
"""Weights of examples that are 1 where a token of that name stands for the last time, in the run or in a step, else 0."""


def weight(kind: str, like: sp.MatrixExpr) -> Value:
    """A value of that shape which is one number at each step: of the first axis of steps along which it varies, of none that of all."""
    rows, cols = like.shape
    return Value("weight", rows, cols, axes=(*steps_in(axes_of(like))[:1], EXAMPLES), marks=(f"weight:{kind}",))


def is_elsewhere(value: Value) -> bool:
    return value.kind in STEPS or value.kind.startswith("weight:")


def number(kind: str, t: int, steps: int, examples: int) -> sp.Expr:
    """The weight of a step. `keep K`: 0 where what comes from the next step is dropped, every K steps from the end. `hand K`: 0 where
    nothing is handed on to the step before, every K steps; `keep from start K`, `hand from start K`: in pieces of K steps from the first
    one on; `keep K+r`, `hand from start K+r`: the piece that is counted from has r steps, the others K. `stop K`: 1 on the last K steps,
    `past K`: 1 on those before them; `from K`: 1 behind the first K steps, `before K`: 1 on these. `first times F`, `last times F`: F at
    that step, else 1.
    """
    if kind in WEIGHTS:
        return WEIGHTS[kind](t, steps, examples)
    what, _, by = kind.rpartition(" ")
    if what in ("first times", "last times"):
        return sp.Float(by) if t == (0 if what == "first times" else steps - 1) else sp.S.One
    if what in CUTS:
        length, _, first = by.partition("+")
        return sp.Integer((CUTS[what](t, steps) - int(first or 0)) % int(length) != 0)
    return sp.Integer(STOPS[what](t, steps, int(by)))


def read_elsewhere(equations: Sequence[Equation]) -> list[Value]:
    """The values of that kind that equations read."""
    return list(dict.fromkeys(value for equation in equations for value in equation.reads() if is_elsewhere(value)))


def filled(values: Sequence[Value], environments: list[Environment], evaluate: Evaluator) -> list[Environment]:
    """The environments with the values of other steps and the weights that are read."""
    if not values:
        return environments
    steps = len(environments)
    examples = max(array.shape[0] for value, array in environments[0].items() if value.timed)
    found = []
    for t, env in enumerate(environments):
        step: dict[Value, Array] = {}
        for value in values:
            kind = value.kind.removeprefix("weight:")
            if kind.startswith((LAST, LAST_OF_STEP)):
                step[value] = last_ones(kind, t, environments, evaluate)
            elif value.kind in STEPS:
                at, plain = STEPS[value.kind](t, steps), value.like(kind="primal")
                step[value] = 0 * env[plain] if at is None else environments[at][plain]
            else:
                one = evaluate.number(number(kind, t, steps, examples))
                step[value] = np.full((1, 1), one, evaluate.numbers.dtype)
        found.append(env | step)
    return found


def filled_along(values: Sequence[Value], env: Environment, evaluate: AllAxes) -> Environment:
    """The same of an environment of all steps: see `several`."""
    found: Environment = {}
    for value in values:
        kind, axis = value.kind.removeprefix("weight:"), value.axis
        steps = range(count(env, axis) if value.has_steps else 1)
        if kind.startswith((LAST, LAST_OF_STEP)):
            token = token_of(kind, env)
            by_step = [{token: evaluate.part(env[token], axis, t)} for t in steps]
            arrays = [last_ones(kind, t, by_step, evaluate) for t in steps]
        elif value.kind in STEPS:
            plain = env[value.like(kind="primal")]
            where = [STEPS[value.kind](t, len(steps)) for t in steps]
            parts = [0 * plain if at is None else evaluate.part(plain, axis, at % len(steps)) for at in where]
            found[value] = np.concatenate([evaluate.part(one, axis, 0) for one in parts], axis=evaluate.at(axis))
            continue
        else:
            numbers = [evaluate.number(number(kind, t, count(env, axis), count(env, EXAMPLES))) for t in steps]
            arrays = [np.full((1, 1, 1), one, evaluate.numbers.dtype) for one in numbers]
        found[value] = evaluate.standing(value, np.stack(arrays) if value.has_steps else arrays[0])
    return {**env, **found}


def token_of(kind: str, env: Environment) -> Value:
    """The token whose last ones a weight tells."""
    name = kind.removeprefix(f"{LAST_OF_STEP if kind.startswith(LAST_OF_STEP) else LAST} ")
    return next(value for value in env if isinstance(value, Value) and value.name == name and not value.marks)


def last_ones(kind: str, t: int, environments: list[Environment], evaluate: Evaluator) -> Array:
    """1 for each example whose token of a step stands for the last time there, 0 for the others: (B, 1, 1)."""
    token = token_of(kind, environments[0])
    series = [np.real(env[token]).astype(int).ravel() for env in environments]
    in_step = kind.startswith(LAST_OF_STEP) or not token.has_steps
    later = set() if in_step else {int(w) for row in series[t + 1 :] for w in row}
    row = series[t]
    last = [int(w) not in later and int(w) not in {int(other) for other in row[b + 1 :]} for b, w in enumerate(row)]
    one, zero = evaluate.number(1), evaluate.number(0)
    return np.array([one if is_last else zero for is_last in last], evaluate.numbers.dtype).reshape(-1, 1, 1)
