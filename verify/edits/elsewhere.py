"""Values that only an edited program reads: those of another step, and weights of steps, filled in from a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.equation import Equation
from derive.language import Value
from verify.interpreter import Environment, Evaluator

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
"""What a weight is at step t of T with B examples; besides these `keep K`, `hand K`, `stop K`, `past K`, `first times F`, `last times F`."""


LAST, LAST_OF_STEP = "last of token", "last within a step of token"
"""Weights of examples that are 1 where a token of that name stands for the last time, in the run or in a step, else 0."""


def weight(kind: str, like: sp.MatrixExpr) -> Value:
    """A value of that shape which is one number at each step."""
    rows, cols = like.shape
    return Value("weight", rows, cols, marks=(f"weight:{kind}",))


def is_elsewhere(value: Value) -> bool:
    return value.kind in STEPS or value.kind.startswith("weight:")


def number(kind: str, t: int, steps: int, examples: int) -> sp.Expr:
    """The weight of a step. `keep K`: 0 where what comes from the next step is dropped, every K steps from the end. `hand K`: 0 where
    nothing is handed on to the step before, every K steps. `stop K`: 1 on the last K steps, `past K`: 1 on those before them.
    `first times F`, `last times F`: F at that step, else 1.
    """
    if kind in WEIGHTS:
        return WEIGHTS[kind](t, steps, examples)
    what, _, by = kind.rpartition(" ")
    if what in ("first times", "last times"):
        return sp.Float(by) if t == (0 if what == "first times" else steps - 1) else sp.S.One
    if what == "keep":
        return sp.Integer((steps - 1 - t) % int(by) != 0)
    if what == "hand":
        return sp.Integer((steps - t) % int(by) != 0)
    return sp.Integer((t >= steps - int(by)) == (what == "stop"))


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


def last_ones(kind: str, t: int, environments: list[Environment], evaluate: Evaluator) -> Array:
    """1 for each example whose token of a step stands for the last time there, 0 for the others: (B, 1, 1)."""
    what = LAST_OF_STEP if kind.startswith(LAST_OF_STEP) else LAST
    name = kind.removeprefix(f"{what} ")
    token = next(value for value in environments[0] if isinstance(value, Value) and value.name == name and not value.marks)
    series = [np.real(env[token]).astype(int).ravel() for env in environments]
    later = set() if what == LAST_OF_STEP else {int(w) for row in series[t + 1 :] for w in row}
    row = series[t]
    last = [int(w) not in later and int(w) not in {int(other) for other in row[b + 1 :]} for b, w in enumerate(row)]
    one, zero = evaluate.number(1), evaluate.number(0)
    return np.array([one if is_last else zero for is_last in last], evaluate.numbers.dtype).reshape(-1, 1, 1)
