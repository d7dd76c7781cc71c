"""A program cut where one recurrence ends and the next begins.

The layers of a network are recurrences that wait for each other: what one hands to the next is there for all steps before the next one
starts, so that the products between them are one for all steps, and each recurrence has the schedule of a cell by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from derive.blocks import Stack
from derive.equation import Equation, Term
from derive.expressions import summands, values_in
from derive.fresh import Fresh
from derive.language import Value, add
from derive.passes import Pass, run
from derive.passes.hoist import has_product, part_of
from derive.program import Program
from derive.schedule import LOOPS, Stage, stages

EARLIER, LATER = -1, 1
"""The shift at which a step of a recurrence reads another one."""


def parts(program: Program, keep: Collection[Value] = ()) -> list[Program]:
    """A program for each recurrence, in the order in which they are computed; the results of each are those that later ones read, too.

    keep: values that are kept for all steps anyway. What stands between two recurrences goes with the earlier one, unless all that it reads
    is kept; what needs none goes with the first that reads it; what joins recurrences of both ways is a part by itself. A program is left
    whole where a recurrence from the last step to the first reads a neighbour in another one, which has nothing behind the last step.
    """
    in_order = stages(program.equations, fused=False, starts=program.starts)
    loops = [stage for stage in in_order if stage.way in LOOPS]
    if len(loops) < 2:
        return [program]
    ordered = [equation for stage in in_order for equation in stage.equations]
    home = homes(ordered, loops, {*keep, *program.results})
    if program.reverse and any(value.lag and home.get(value.here, k) != k for value, k in reads_of(ordered, home)):
        return [program]
    crossing = {value.here for value, k in reads_of(ordered, home) if home.get(value.here, k) != k}
    found = []
    for k in sorted({*home.values()}):
        own = [equation for equation in program.equations if home[equation.target] == k]
        defined = {equation.target for equation in own}
        read = [value for equation in own for value in equation.reads() if value.here not in defined]
        results = [value for value in program.results if value in defined]
        results += [equation.target for equation in own if equation.target in crossing and equation.target not in results]
        given = dict.fromkeys([*program.given, *read])
        found.append(replace(program, given=tuple(given), results=tuple(results), equations=()).with_equations(own))
    return found


def mirrored(program: Program) -> Program:
    """The program over the steps in reversed order: what a step read of the next one it reads of the one before, and the reverse."""
    given = tuple(mirrored_value(value) for value in program.given)
    starts = tuple((mirrored_value(read), start) for read, start in program.starts)
    return replace(program, given=given, starts=starts, equations=()).with_equations(map(mirrored_equation, program.equations))


def mirrored_equation(equation: Equation) -> Equation:
    return equation.substituted(lambda node: mirrored_value(node) if isinstance(node, Value) and node.lag else None)


def mirrored_value(value: Value) -> Value:
    return value.like(lag=-value.lag) if value.lag else value


def runs(program: Program, lag: int) -> bool:
    """Whether a step of a recurrence reads what the step at this shift hands on."""
    return any(read.lag * lag > 0 for read, _ in program.carries)


def are_apart(program: Program) -> bool:
    """Whether each recurrence stands in a part of its own, runs one way, and reads no neighbouring step of another."""
    found = parts(program)
    home = {target: k for k, part in enumerate(found) for target in part.defined()}
    one_way = all(not (runs(part, EARLIER) and runs(part, LATER)) for part in found)
    return one_way and all(
        home.get(value.here, k) == k
        for k, part in enumerate(found)
        for equation in part.equations
        for value in equation.reads()
        if value.lag
    )


def joined(program: Program, found: Sequence[Program]) -> Program:
    """One program again of those that its parts have become."""
    return program.with_equations([equation for one in found for equation in one.equations])


def handing_on(program: Program) -> Program:
    """The program in which a recurrence hands on its share of a sum: the products with what it made are added up where it ends, so that
    one value is kept for the later one that has the rest of the sum."""
    found = parts(program)
    if len(found) < 2:
        return program
    home = {target: k for k, part in enumerate(found) for target in part.defined()}
    fresh = program.names()
    return program.with_equations([one for equation in program.equations for one in shares(equation, home, fresh)])


def shares(equation: Equation, home: dict[Value, int], fresh: Fresh) -> list[Equation]:
    """A sum of each step as the shares of earlier recurrences, under the name `..._in`, and the rest."""
    if equation.factor is not None or equation.accumulate or not equation.target.timed:
        return [equation]
    summed = [part for term in equation.terms for part in summands(term.value)]
    made_in = [max((home.get(value.here, -1) for value in values_in(part)), default=-1) for part in summed]
    earlier = sorted({k for part, k in zip(summed, made_in, strict=True) if 0 <= k < home[equation.target] and has_product(part)})
    found, left = [], [part for part, k in zip(summed, made_in, strict=True) if k not in earlier]
    for k in earlier:
        name = part_of(equation.target, fresh)
        found.append(Equation(name, (Term(add(*[part for part, at in zip(summed, made_in, strict=True) if at == k])),)))
    return [*found, equation.with_value(add(*[one.target for one in found], *left))] if found and left else [equation]


def reads_of(equations: Sequence[Equation], home: dict[Value, float]) -> list[tuple[Value, float]]:
    """What is read, with the part that reads it."""
    return [(value, home[equation.target]) for equation in equations for value in equation.reads()]


def homes(ordered: Sequence[Equation], loops: Sequence[Stage], keep: set[Value]) -> dict[Value, float]:
    """Target -> the part that it belongs to, by number; what joins both ways behind part k belongs to k + 1/2."""
    inside: dict[Value, float] = {equation.target: k for k, loop in enumerate(loops) for equation in loop.equations}
    home = dict(inside)
    for equation in ordered:
        behind = {home.get(value.here, -1): value.lag for value in equation.reads()}
        ways = {loops[int(k)].way for k in behind if k >= 0}
        is_joining = isinstance(equation.value, Stack) and len(ways) > 1 and not any(behind.values())
        home.setdefault(equation.target, max(behind, default=-1) + (0.5 if is_joining else 0))
    readers: dict[Value, list[Value]] = {}
    for equation in ordered:
        for value in equation.reads():
            readers.setdefault(value.here, []).append(equation.target)
    for equation in reversed(ordered):
        target = equation.target
        if target in inside:
            continue
        first = min((home[reader] for reader in readers.get(target, ())), default=max(home[target], 0))
        read = [value.here for value in equation.reads()]
        is_free = target not in keep and all(value in keep or value not in home or not value.along for value in read)
        if home[target] < 0 or is_free:
            home[target] = first
    return home


def by_recurrence(passes: Sequence[Pass], program: Program, forward: Program, lag: int) -> Program:
    """A program of which each recurrence is scheduled by itself, with names that none of the others has.

    lag: from where the passes expect a recurrence to read, EARLIER steps or LATER ones; one of the other way is scheduled over the
    steps in reversed order.
    """
    done: list[Program] = []
    waiting = parts(program)
    while waiting:
        part = waiting.pop(0)
        taken = [target for one in (*done, *waiting) for target in one.defined()]
        part = replace(part, given=(*part.given, *taken))
        against = runs(part, -lag)
        done.append(mirrored(run(passes, mirrored(part), mirrored(forward))) if against else run(passes, part, forward))
    return done[0] if len(done) == 1 else joined(program, done)
