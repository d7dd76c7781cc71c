"""The stages of a program, as a kernel computes them: what is fatter than a vector is made and read inside of its loop.

A matrix of each step that a loop makes is read inside of that loop, and one that only a loop reads is made inside of it, so that it
needn't be kept for all steps. A sum over steps that reads such a matrix is added to at each step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from derive.along import binds
from derive.equation import Equation
from derive.language import Value
from derive.program import Program
from derive.schedule import LOOPS, Stage, in_order, is_fat
from derive.schedule import stages as thin_stages


def stages(program: Program, fused: bool = True) -> tuple[Stage, ...]:
    """The stages of a program in the order in which they are computed; fused: with as few loops as can be. Raises ScheduleError where no
    order computes them."""
    found = thin_stages(program.equations, fused, program.starts)
    home = {equation.target: k for k, stage in enumerate(found) for equation in stage.equations}
    for loop in [k for k, stage in enumerate(found) if stage.way in LOOPS]:
        pull(loop, found, home)
    whole = [with_home(stage, k, program.equations, home) for k, stage in enumerate(found)]
    return tuple(stage for stage in whole if stage.equations)


def with_home(stage: Stage, k: int, equations: Sequence[Equation], home: dict[Value, int]) -> Stage:
    """A stage with the equations that belong into it now, in order."""
    if all(home[equation.target] == k for equation in stage.equations) and len(stage.equations) == [*home.values()].count(k):
        return stage
    inside = [equation for equation in equations if home[equation.target] == k]
    return Stage(stage.way, tuple(in_order(inside, (0,) if stage.way in LOOPS else (-1, 0, 1))), stage.axis)


def pull(loop: int, found: Sequence[Stage], home: dict[Value, int]) -> None:
    """Move into a loop what reads a matrix that it makes, and what makes a matrix that only the loop reads."""
    outside = [equation for stage in found if stage.way not in LOOPS for equation in stage.equations]
    readers: dict[Value, set[tuple[Value, int]]] = defaultdict(set)
    for equation in (one for stage in found for one in stage.equations):
        for value in equation.reads():
            readers[value.here].add((equation.target, value.lag))
    before = -1
    while before != (before := list(home.values()).count(loop)):
        for equation in outside:
            if reads_fat(equation, loop, home) and is_possible(equation, loop, home, found[loop].axis):
                home[equation.target] = loop
        for equation in reversed(outside):
            places = {(home[reader], lag) for reader, lag in readers[equation.target]}
            only_here = is_fat(equation.target) and places == {(loop, 0)}
            if only_here and is_possible(equation, loop, home, found[loop].axis):
                home[equation.target] = loop


def reads_fat(equation: Equation, loop: int, home: dict[Value, int]) -> bool:
    """Whether an equation reads a matrix that a loop makes, at the same step."""
    return any(home.get(value) == loop and is_fat(value) for value in equation.reads())


def is_possible(equation: Equation, loop: int, home: dict[Value, int], axis: str) -> bool:
    """Whether all that an equation reads is there in a loop, at the step of reading, and it is a value of each step or a sum over them."""
    if any(axis in binds(term.value) for term in equation.terms):
        return False
    homes = [(value.lag, home.get(value.here, -1)) for value in equation.reads()]
    if not equation.terms or any(at > loop or (at == loop and lag) for lag, at in homes):
        return False
    return axis in equation.target.axes or all(axis in equation.summed_in(term.value) for term in equation.terms)
