"""The stages of a program, as a kernel computes them: what is fatter than a vector is made and read inside of its loop.

A matrix of each step that a loop makes is read inside of that loop, and one that only a loop reads is made inside of it, so that it
needn't be kept for all steps. A sum over steps that reads such a matrix is added to at each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from derive.equation import Equation
from derive.language import Value
from derive.program import Program
from derive.schedule import Stage, in_order
from derive.schedule import stages as thin_stages
from derive.shapes import rank

STEPS = "T"
"""The axis that loops run along."""
LOOPS = ("forwards", "backwards")


def stages(program: Program) -> tuple[Stage, ...]:
    """The stages of a program in the order in which they are computed. Raises ScheduleError where no order computes them."""
    found = thin_stages(program.equations)
    while pulled := next(fat_ones(found), None):
        found = tuple(with_equation(stage, k, *pulled) for k, stage in enumerate(found))
    return tuple(stage for stage in found if stage.equations)


def is_fat(value: Value) -> bool:
    """Whether a value is a matrix of each step."""
    return STEPS in value.axes and rank(value) == 2


def with_equation(stage: Stage, k: int, equation: Equation, loop: int) -> Stage:
    """A stage without an equation, or, where it is the loop that the equation belongs into, with it."""
    left = [one for one in stage.equations if one != equation]
    return Stage(stage.way, tuple(in_order([*left, equation] if k == loop else left, (0,))) if k == loop else tuple(left))


def fat_ones(found: Sequence[Stage]) -> Iterator[tuple[Equation, int]]:
    """(equation, loop): an equation outside of loops that makes or reads a matrix of each step of a loop."""
    made_in = {equation.target: k for k, stage in enumerate(found) for equation in stage.equations}
    for loop, stage in enumerate(found):
        if stage.way in LOOPS:
            for other in found:
                for equation in other.equations if other.way not in LOOPS else ():
                    if belongs(equation, loop, found, made_in):
                        yield equation, loop


def belongs(equation: Equation, loop: int, found: Sequence[Stage], made_in: dict[Value, int]) -> bool:
    """Whether an equation can be computed in a loop, and reads a matrix that the loop makes, or makes one that only the loop reads."""
    if not equation.terms or not is_possible(equation, loop, made_in):
        return False
    inside = [value for value in equation.reads() if made_in.get(value) == loop]
    readers = [k for k, stage in enumerate(found) for one in stage.equations if equation.target in reads_of(one)]
    makes = is_fat(equation.target) and bool(readers) and all(reader == loop for reader in readers)
    return makes or any(map(is_fat, inside))


def reads_of(equation: Equation) -> list[Value]:
    """What an equation reads, at whatever step."""
    return [value.like(lag=0) for value in equation.reads()]


def is_possible(equation: Equation, loop: int, made_in: dict[Value, int]) -> bool:
    """Whether all that an equation reads is there in a loop, at the step of reading, and it is a value of each step or a sum over them."""
    homes = [(value.lag, made_in.get(value.like(lag=0), -1)) for value in equation.reads()]
    if any(home > loop or (home == loop and lag) for lag, home in homes):
        return False
    return STEPS in equation.target.axes or all(equation.is_summed(term.value) for term in equation.terms)
