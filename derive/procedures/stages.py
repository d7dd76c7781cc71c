"""When the equations of a program are computed: stages, in order, found from what reads what.

Equations that need each other across a shift of the steps are a recurrence, a loop whose way follows from the sign of the shift. All
else is computed for all steps at once, as early as it can be, but for what is fatter than a vector: a matrix of each step that a loop
makes is read inside of that loop, and one that only a loop reads is made inside of it, so that it needn't be kept for all steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from derive.equation import Equation
from derive.language import Value
from derive.program import Program
from derive.schedule import ScheduleError, Stage
from derive.shapes import rank

STEPS = "T"
"""The axis that loops run along."""


def stages(program: Program) -> tuple[Stage, ...]:
    """The stages of a program. Raises ScheduleError where steps need each other in both directions."""
    loops = recurrences(program.equations)
    home = {equation.target: k for k, loop in enumerate(loops) for equation in loop}
    while pulled := next(fat_ones(program.equations, home, len(loops)), None):
        home[pulled[0]] = pulled[1]
    return tuple(in_order(program.equations, home))


def recurrences(equations: Sequence[Equation]) -> list[list[Equation]]:
    """The groups of equations that need each other across a shift."""
    found = [group for group in components(equations) if any(shifts(group))]
    for group in found:
        if len({shift > 0 for shift in shifts(group)}) > 1:
            names = ", ".join(equation.target.name for equation in group)
            raise ScheduleError(
                f"schedule: {names}: each needs an earlier and a later step of the others: no order computes them."
            )
    return found


def shifts(group: Sequence[Equation]) -> list[int]:
    """The shifts across which equations of a group read each other."""
    targets = {equation.target for equation in group}
    return [value.lag for equation in group for value in equation.reads() if value.lag and value.like(lag=0) in targets]


def components(equations: Sequence[Equation]) -> list[list[Equation]]:
    """Strongly connected components of what reads what, at any step (Tarjan 1972), each in the order of the program."""
    defined = {equation.target: equation for equation in equations}
    below = {e.target: [v for read in e.reads() if (v := read.like(lag=0)) in defined] for e in equations}
    number: dict[Value, int] = {}
    low: dict[Value, int] = {}
    open_ones: list[Value] = []
    found: list[set[Value]] = []

    def visit(root: Value) -> None:
        waiting = [(root, iter(below[root]))]
        number[root] = low[root] = len(number)
        open_ones.append(root)
        while waiting:
            value, reads = waiting[-1]
            read = next((one for one in reads if one not in number or one in open_set), None)
            if read is None:
                waiting.pop()
                if waiting:
                    low[waiting[-1][0]] = min(low[waiting[-1][0]], low[value])
                if low[value] == number[value]:
                    at = open_ones.index(value)
                    found.append(set(open_ones[at:]))
                    open_set.difference_update(open_ones[at:])
                    del open_ones[at:]
            elif read in number:
                low[value] = min(low[value], number[read])
            else:
                number[read] = low[read] = len(number)
                open_ones.append(read)
                open_set.add(read)
                waiting.append((read, iter(below[read])))

    open_set: set[Value] = set()
    for target in defined:
        if target not in number:
            open_set.add(target)
            visit(target)
    return [[equation for equation in equations if equation.target in group] for group in found]


# ---- what is fatter than a vector


def is_fat(value: Value) -> bool:
    """Whether a value is a matrix of each step."""
    return STEPS in value.axes and rank(value) == 2


def fat_ones(equations: Sequence[Equation], home: dict[Value, int], loops: int) -> Iterator[tuple[Value, int]]:
    """(target, loop): an equation outside of loops that belongs into one, since it reads or makes a matrix of each step of that loop."""
    for equation in equations:
        if equation.target not in home:
            for loop in range(loops):
                if belongs(equation, loop, equations, home):
                    yield equation.target, loop


def belongs(equation: Equation, loop: int, equations: Sequence[Equation], home: dict[Value, int]) -> bool:
    """Whether an equation can be computed in a loop, and reads or makes a matrix there."""
    after = downstream(equations, home, loop)
    inside = [value for value in equation.reads() if home.get(value.like(lag=0)) == loop]
    if any(value.like(lag=0) in after for value in equation.reads()) or any(value.lag for value in inside):
        return False
    readers = [home.get(one.target) for one in equations if equation.target in [value.like(lag=0) for value in one.reads()]]
    makes = is_fat(equation.target) and bool(readers) and all(reader == loop for reader in readers)
    reads = any(map(is_fat, inside))
    every = all(equation.is_summed(term.value) for term in equation.terms) if STEPS not in equation.target.axes else True
    return bool(equation.terms) and every and (makes or reads)


def downstream(equations: Sequence[Equation], home: dict[Value, int], loop: int) -> set[Value]:
    """What is computed after a loop, from what it makes."""
    found = {target for target, at in home.items() if at == loop}
    inside, size = set(found), -1
    while size != len(found):
        size = len(found)
        for equation in equations:
            if any(value.like(lag=0) in found for value in equation.reads()):
                found.add(equation.target)
    return found - inside


# ---- order


def in_order(equations: Sequence[Equation], home: dict[Value, int]) -> Iterator[Stage]:
    """What is outside of loops as soon as it can be computed, a loop where nothing else can."""
    waiting = list(equations)
    while waiting:
        left = {equation.target for equation in waiting}
        ready = [one for one in waiting if one.target not in home and not any(v.like(lag=0) in left for v in one.reads())]
        if ready:
            yield Stage("steps" if any(STEPS in one.target.axes or one.accumulate for one in ready) else "once", tuple(ready))
        else:
            way, ready = next_loop(waiting, home)
            yield Stage(way, tuple(ready))
        waiting = [one for one in waiting if one not in ready]


def next_loop(waiting: Sequence[Equation], home: dict[Value, int]) -> tuple[str, list[Equation]]:
    """The first loop that can run, with those of its way that read nothing else that is still to be computed."""
    left = {one.target for one in waiting}
    chosen: list[Equation] = []
    way = ""
    for loop in dict.fromkeys(home[one.target] for one in waiting if one.target in home):
        inside = [one for one in waiting if home.get(one.target) == loop]
        own = "backwards" if any(shift > 0 for shift in shifts(inside)) else "forwards"
        if own in (way, way or own) and is_ready(inside, left, {one.target for one in chosen}, own):
            chosen, way = [*chosen, *inside], own
    return way, [one for one in waiting if one in chosen]


def is_ready(loop: Sequence[Equation], left: set[Value], beside: set[Value], way: str) -> bool:
    """Whether a loop reads nothing that is still to be computed; of what runs beside it, nothing of steps to come."""
    inside = {one.target for one in loop} | beside
    reads = [value for one in loop for value in one.reads()]
    later = [value for value in reads if value.like(lag=0) in beside and (value.lag < 0 if way == "backwards" else value.lag > 0)]
    return not later and not any(value.like(lag=0) in left - inside for value in reads)
