"""Derived backward programs run as they are written, step by step: an independent reading of them, without emitted code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.along import axes_of
from derive.equation import Equation
from derive.language import Value
from derive.program import Program
from derive.schedule import stages
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
    if any(read.lag < 0 for read, _ in program.carries):
        return both_ways(program, evaluate, steps, given, record)
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


def both_ways(
    program: Program,
    evaluate: Evaluator,
    steps: Sequence[Environment],
    given: Mapping[Value, Sequence[Array]],
    record: Record | None,
) -> Environment:
    """The same where recurrences run to the left too: loop by loop, each the way in which it has to run."""
    known: Environment = {value: array for value, array in steps[0].items() if not value.timed}
    known |= {value: np.stack([env[value] for env in steps]) for value in steps[0] if value.timed}
    known |= {value: np.stack([*arrays]) for value, arrays in given.items()}
    found = run(program.equations, evaluate, known, {}, record)
    return {value: found[value] for value in program.results}


def nothing_behind(program: Program, step: Environment) -> Environment:
    """What the last step reads of the one behind it: zeros."""
    return {read: np.zeros_like(step[read.like(marks=(), lag=0)]) for read, _ in program.carries}


def add_step(
    totals: Environment, equation: Equation, evaluate: Evaluator, env: Environment, record: Record | None, t: int
) -> None:
    """Add what a step gives to a total, summed over the examples; the terms that are the same at every step are left to `finish`."""
    value = right_side(with_terms(equation, summed=True), evaluate, env, record, t)
    value = value.sum(axis=0) if value.ndim == 3 else value
    totals[equation.target] = totals[equation.target] + value if equation.target in totals else value


def finish(final: Environment, equation: Equation, evaluate: Evaluator, record: Record | None) -> None:
    """What is made of totals, and the terms of a total that are the same at every step."""
    if equation.target.timed or (equation.target in final and not equation.accumulate):
        return
    rest = with_terms(equation, summed=False)
    if not equation.accumulate:
        final[equation.target] = right_side(equation, evaluate, final, record, 0)
    elif rest.terms:
        final[equation.target] = final[equation.target] + right_side(rest, evaluate, final, record, 0)


def with_terms(equation: Equation, summed: bool) -> Equation:
    """A total with the terms alone that are summed over the steps, or with the others; all are where its factor is."""
    if equation.factor is not None and axes_of(equation.factor):
        return equation if summed else replace(equation, terms=())
    terms = tuple(term for term in equation.terms if equation.is_summed(term.value) == summed)
    return equation if len(terms) == len(equation.terms) else replace(equation, terms=terms)


def right_side(equation: Equation, evaluate: Evaluator, env: Mapping[Value, Array], record: Record | None, t: int) -> Array:
    """The value of a right side; a timed one over the whole batch."""
    values = [evaluate(term.value, env) for term in equation.terms]
    if record is not None:
        record(equation, values, t)
    total = sum(values[1:], start=values[0]) if values else evaluate.constant(0, *equation.target.shape)
    if equation.factor is not None:
        total = evaluate(equation.factor, env) * total
    return total


# ---- any program, stage by stage


def run(
    equations: Sequence[Equation], evaluate: Evaluator, known: Environment, edges: Environment, record: Record | None = None
) -> Environment:
    """Every value of a program, those of steps as (T, B, n, m), the others (n, m).

    known: what is given, under a value that is read at t-1 or t+1 too. edges: value -> (B, n, m), what the step in front of the first
    (of a loop backwards, behind the last) is read as.
    """
    env = dict(known)
    steps, examples = next(array.shape[:2] for value, array in known.items() if value.timed)
    for stage in stages(equations):
        if stage.way in ("once", "steps"):
            for equation in stage.equations:
                env[equation.target] = at_once(equation, evaluate, env, edges, (steps, examples), record)
            continue
        order = range(steps) if stage.way == "forwards" else reversed(range(steps))
        series: dict[Value, list[Array]] = {equation.target: [] for equation in stage.equations}
        last: Environment = {}
        for t in order:
            here = {value: array[t] if value.timed else array for value, array in env.items()}
            for equation in stage.equations:
                for read in equation.reads():
                    if read.lag and read not in known:
                        here[read] = read_from(read, t, env, edges, last, evaluate, examples)
                value = right_side(equation, evaluate, here, record, t)
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
    return last.get(plain, edge(plain, edges, evaluate, examples))


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
        return np.broadcast_to(value, (*lead, *value.shape[-2:])) if equation.target.timed else value
    total = evaluate.constant(0, *equation.target.shape)
    for part in (with_terms(equation, summed=True), with_terms(equation, summed=False)):
        if part.terms:
            value = right_side(part, evaluate, here, record, 0)
            total = total + (value.sum(axis=(0, 1)) if value.ndim == 4 else value)
    return total


def shifted(series: Array, lag: int, outside: Array) -> Array:
    """A sequence read one step earlier (lag -1) or later (lag 1)."""
    parts = [outside[None], series[:-1]] if lag < 0 else [series[1:], outside[None]]
    return np.concatenate(parts)
