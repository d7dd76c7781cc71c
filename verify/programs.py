"""Derived backward programs run as they are written, step by step: an independent reading of them, without emitted code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.along import binds
from derive.equation import Equation
from derive.language import Value
from derive.program import Program
from derive.schedule import stages
from derive.shapes import STEPS
from verify.along import number_of
from verify.interpreter import Environment, Evaluator

Array = NDArray[Any]

Record = Callable[[Equation, list[Array], int], None]
"""Called with an equation, the values of its terms (before its factor) and the step."""


def backward(
    program: Program,
    evaluate: Evaluator,
    steps: Sequence[Environment],
    given: Mapping[Value, Sequence[Array]],
    record: Record | None = None,
) -> Environment:
    """A backward program over the environments of the forward pass: the results, those of a step as (T, B, n, 1).

    given: the cotangents that the loss hands to each value, at every step.
    """
    if not is_walk(program):
        found = whole(program, evaluate, steps, given, record)
        return {value: found[value] for value in program.results}
    once: Environment = {value: array for value, array in steps[0].items() if not value.timed}
    for equation in program.at("once"):
        once[equation.target] = right_side(equation, evaluate, once, record, 0)
    carry = nothing_behind(program, steps[0])
    each_step = [equation for equation in program.equations if equation.target.timed or equation.accumulate]
    examples = max(array.shape[0] for value, array in steps[0].items() if value.timed)
    series: dict[Value, list[Array]] = {}
    totals: Environment = {}
    for t in reversed(range(len(steps))):
        env: Environment = {**steps[t], **once, **carry, **{value: arrays[t] for value, arrays in given.items()}}
        for equation in each_step:
            if equation.accumulate:
                add_step(totals, equation, evaluate, env, record, t)
                continue
            value = right_side(equation, evaluate, env, record, t)
            # the same for every example, as a zero is
            env[equation.target] = np.broadcast_to(value, (examples, *value.shape)) if value.ndim == 2 else value
        carry = {read: env[written] for read, written in program.carries}
        for value in program.results:
            if value in env:
                series.setdefault(value, []).append(env[value])
    final: Environment = {**once, **totals}
    for equation in program.equations:
        finish(final, equation, evaluate, record)
    return {
        **{value: np.stack(arrays[::-1]) for value, arrays in series.items()},
        **{v: final[v] for v in program.results if v in final},
    }


def is_walk(program: Program) -> bool:
    """Whether a backward program is one walk from the last step to the first, each step for itself."""
    plain = not program.starts and all(read.lag > 0 for read, _ in program.carries)
    return plain and all(
        (one.target.has_steps or not one.target.timed) and not any(binds(term.value) for term in one.terms)
        for one in program.equations
    )


def whole(
    program: Program,
    evaluate: Evaluator,
    steps: Sequence[Environment],
    given: Mapping[Value, Sequence[Array]],
    record: Record | None = None,
) -> Environment:
    """Every value of a backward program that is no walk: stage by stage, each recurrence the way in which it has to run."""
    known: Environment = {value: array for value, array in steps[0].items() if not value.has_steps}
    known |= {value: for_each_example(np.stack([env[value] for env in steps])) for value in steps[0] if value.has_steps}
    known |= {value: np.stack([*arrays]) if value.has_steps else arrays[-1] for value, arrays in given.items()}
    return run(program.equations, evaluate, known, {}, record, dict(program.starts))


def for_each_example(array: Array) -> Array:
    """A matrix of each step, (T, n, m), as the same one for every example, (T, 1, n, m)."""
    return array[:, None] if array.ndim == 3 else array


def filled(environments: list[Environment], equations: Sequence[Equation], evaluate: Evaluator) -> list[Environment]:
    """The environments with the values of a forward program that aren't in them; of all steps together where that is needed."""
    for equation in equations:
        target = equation.target
        if target in environments[0]:
            continue
        if not target.has_steps or any(binds(term.value) for term in equation.terms):
            together = dict(environments[0])
            together |= {value: np.stack([env[value] for env in environments]) for value in equation.reads() if value.has_steps}
            found = evaluate(equation.value, together)
            arrays = [*found] if target.has_steps and found.ndim == 4 else [found] * len(environments)
        else:
            arrays = [evaluate(equation.value, env) for env in environments]
        for env, array in zip(environments, arrays, strict=True):
            env[target] = array
    return environments


def nothing_behind(program: Program, step: Environment) -> Environment:
    """What the last step reads of the one behind it: zeros."""
    return {read: np.zeros_like(step[read.like(marks=(), lag=0)]) for read, _ in program.carries}


def add_step(
    totals: Environment, equation: Equation, evaluate: Evaluator, env: Environment, record: Record | None, t: int
) -> None:
    """Add what a step gives to a total, summed over the examples; the terms that are the same at every step are left to `finish`."""
    value = right_side(equation.apart[0], evaluate, env, record, t)
    value = value.sum(axis=0) if value.ndim == 3 else value
    totals[equation.target] = totals[equation.target] + value if equation.target in totals else value


def finish(final: Environment, equation: Equation, evaluate: Evaluator, record: Record | None) -> None:
    """What is made of totals, and the terms of a total that are the same at every step."""
    if equation.target.timed or (equation.target in final and not equation.accumulate):
        return
    _, rest = equation.apart
    if not equation.accumulate:
        final[equation.target] = right_side(equation, evaluate, final, record, 0)
    elif rest.terms:
        final[equation.target] = final[equation.target] + right_side(rest, evaluate, final, record, 0)


def right_side(
    equation: Equation, evaluate: Evaluator, env: Mapping[Value, Array], record: Record | None, t: int, in_loop: bool = False
) -> Array:
    """The value of a right side; a timed one over the whole batch. in_loop: at step t of a loop, also of what is spread over all steps."""
    values = [evaluate(term.value, env) for term in equation.terms]
    if in_loop:
        values = [value[t] if value.ndim == 4 else value for value in values]
    if record is not None:
        record(equation, values, t)
    total = sum(values[1:], start=values[0]) if values else evaluate.constant(0, *equation.target.shape)
    if equation.factor is not None:
        total = evaluate(equation.factor, env) * total
    return total


# ---- any program, stage by stage


def run(
    equations: Sequence[Equation],
    evaluate: Evaluator,
    known: Environment,
    edges: Environment,
    record: Record | None = None,
    starts: Mapping[Value, Value] | None = None,
) -> Environment:
    """Every value of a program, those of steps as (T, B, n, m), the others (n, m).

    known: what is given, under a value that is read at t-1 or t+1 too. edges: value -> (B, n, m), what the step in front of the first
    (of a loop backwards, behind the last) is read as. starts: what is read of another step -> the value that it starts with.
    """
    env, edges = dict(known), dict(edges)
    named = {read.like(lag=0): start for read, start in (starts or {}).items()}
    steps, examples = next(array.shape[:2] for value, array in known.items() if value.has_steps)
    env[number_of(STEPS)] = np.full((1, 1), steps)
    for stage in stages(equations, starts=tuple((starts or {}).items())):
        edges |= {value: env[start] for value, start in named.items() if start in env}
        if stage.way in ("once", "steps"):
            for equation in stage.equations:
                env[equation.target] = at_once(equation, evaluate, env, edges, (steps, examples), record)
            continue
        order = range(steps) if stage.way == "forwards" else reversed(range(steps))
        series: dict[Value, list[Array]] = {equation.target: [] for equation in stage.equations}
        last: Environment = {}
        for t in order:
            here = {value: array[t] if value.has_steps else array for value, array in env.items()}
            for equation in stage.equations:
                for read in equation.reads():
                    if read.lag and read not in known:
                        here[read] = read_from(read, t, env, edges, last, evaluate, examples)
                value = right_side(equation, evaluate, here, record, t, in_loop=True)
                here[equation.target] = np.broadcast_to(value, (examples, *value.shape[-2:]))
            last = {target: here[target] for target in series}
            for target, arrays in series.items():
                arrays.append(here[target])
        turned = slice(None, None, 1 if stage.way == "forwards" else -1)
        env |= {target: np.stack(arrays[turned]) for target, arrays in series.items()}
    return env


def read_from(
    value: Value, t: int, env: Environment, edges: Environment, last: Environment, evaluate: Evaluator, examples: int
) -> Array:
    """A value of another step: of the one before in the walk, or of a sequence that is there."""
    plain = value.like(lag=0)
    if plain in env:
        at = t + value.lag
        return env[plain][at] if 0 <= at < len(env[plain]) else edge(plain, edges, evaluate, examples)
    return last[plain] if plain in last else edge(plain, edges, evaluate, examples)


def edge(value: Value, edges: Environment, evaluate: Evaluator, examples: int) -> Array:
    zeros = evaluate.constant(0, *value.shape)
    return np.broadcast_to(edges.get(value, zeros), (examples, *zeros.shape))


def at_once(
    equation: Equation,
    evaluate: Evaluator,
    env: Environment,
    edges: Environment,
    lead: tuple[int, int],
    record: Record | None = None,
) -> Array:
    """An equation for all steps at once; what is summed over steps and examples as a sum."""
    here = dict(env)
    for read in equation.reads():
        if read.lag and read not in here:
            here[read] = shifted(env[read.like(lag=0)], read.lag, edge(read.like(lag=0), edges, evaluate, lead[1]))
    if not equation.accumulate:
        value = right_side(equation, evaluate, here, record, 0)
        along = lead if equation.target.has_steps else lead[1:] if equation.target.timed else ()
        return np.broadcast_to(value, (*along, *value.shape[-2:])) if along else value
    total = evaluate.constant(0, *equation.target.shape)
    for part in equation.apart:
        if part.terms:
            value = right_side(part, evaluate, here, record, 0)
            over = range(value.ndim - 2 - len(equation.target.axes))
            total = total + (value.sum(axis=tuple(over)) if part.terms != () and over else value)
    return total


def shifted(series: Array, lag: int, outside: Array) -> Array:
    """A sequence read one step earlier (lag -1) or later (lag 1)."""
    parts = [outside[None], series[:-1]] if lag < 0 else [series[1:], outside[None]]
    return np.concatenate(parts)
