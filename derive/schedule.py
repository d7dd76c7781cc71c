"""When the equations of a program are computed, found from what reads what.

Equations that need each other across a shift of the steps form a recurrence, computed in a loop whose way follows from the sign of the
shift. Everything outside is computed for all steps at once, in front of the loop or behind it: products with inputs, weight
gradients, right-to-left recurrences follow from that.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from derive.along import binds, bound_values
from derive.equation import Equation
from derive.errors import DeriveError
from derive.language import Value
from derive.shapes import STEPS

PLACES = ("once", "before", "step", "after", "finish")
"""Once from the parameters; for all steps at once in front of the loop; in the loop; for all steps at once behind it; at the end."""


LOOPS = ("forwards", "backwards")
"""The ways of loops over the steps."""


class ScheduleError(DeriveError):
    """Equations that no order of the steps computes."""


@dataclass(frozen=True)
class Stage:
    """Equations that are computed together, in their order.

    way: `once` (they vary along no axis), `steps` (for all steps at once), `forwards` or `backwards` (step by step in a loop). axis: along
    which a loop runs.
    """

    way: str
    equations: tuple[Equation, ...]
    axis: str = STEPS


# ---- the places around one loop


def places(equations: Sequence[Equation]) -> dict[Value, str]:
    """Target -> place, where all that is computed step by step stands in one loop."""
    readers = readers_of(equations)
    loop = in_loop(equations, readers)
    behind = reached(equations, loop, shifted=True)
    totals = {one.target for one in equations if one.accumulate}
    made_of_totals = {target for value in totals | followed(readers, totals) for target in readers.get(value, ())}
    found = {}
    for equation in equations:
        target = equation.target
        if target in loop:
            found[target] = "step"
        elif target in totals and target not in made_of_totals:
            found[target] = "after"
        elif target.axes:
            found[target] = "after" if target in behind else "before"
        else:
            found[target] = "finish" if target in made_of_totals else "once"
    pull(equations, found)
    return found


def is_fat(value: Value) -> bool:
    """Whether a value is a matrix of each step."""
    return STEPS in value.axes and 1 not in value.shape


def pull(equations: Sequence[Equation], place: dict[Value, str]) -> None:
    """Move into the loop what reads a matrix that it makes, and what makes a matrix that only the loop reads, so that neither is kept for
    many steps."""
    fat = {equation.target for equation in equations if is_fat(equation.target)}
    if not fat:
        return
    readers: dict[Value, list[tuple[Value, int]]] = {}
    for equation in equations:
        for value in equation.reads():
            readers.setdefault(value.here, []).append((equation.target, value.lag))
    before = -1
    while before != (before := list(place.values()).count("step")):
        for equation in equations:
            made = [value for value in equation.reads() if value in fat and place[value] == "step"]
            if place[equation.target] == "after" and made and is_ready(equation, place):
                place[equation.target] = "step"
        for equation in reversed(equations):
            target = equation.target
            used = {(place[reader], lag) for reader, lag in readers.get(target, ())}
            if place[target] == "before" and target in fat and used == {("step", 0)}:
                place[target] = "step"


def is_ready(equation: Equation, place: dict[Value, str]) -> bool:
    """Whether all that an equation reads is there at its step of the loop, and each of its terms is of the step."""
    reads = [place.get(value.here, "before") for value in equation.reads()]
    is_of_steps = STEPS in equation.target.axes or all(equation.is_summed(term.value) for term in equation.terms)
    return bool(equation.terms) and is_of_steps and not {"after", "finish"} & {*reads}


def in_loop(equations: Sequence[Equation], readers: Mapping[Value, Sequence[Value]]) -> set[Value]:
    """What is computed step by step: what another step reads, what reads a later step, and what lies between.

    readers: value -> the targets that read it.

    What later steps hand back is kept for no step but the next, so that it is read in the loop; a total that reads something else of a
    later step can wait.
    """
    targets = {equation.target for equation in equations}
    reads = [(one.target, value) for one in equations for value in one.reads() if value.lag and value.here in targets]
    ends = {value.here for _, value in reads}
    ends |= {target for target, value in reads if value.lag > 0 and (target.timed or "carry" in value.marks)}
    starts = ends | {target for target, _ in reads}
    return ((followed(readers, starts) | starts) & sources(equations, ends)) | ends


def reached(equations: Sequence[Equation], start: set[Value], shifted: bool = False) -> set[Value]:
    """What reads some values at the same step, or at any step too, directly or not."""
    return followed(readers_of(equations, shifted), start)


def readers_of(equations: Sequence[Equation], shifted: bool = False) -> dict[Value, list[Value]]:
    """Value -> the targets of the equations that read it; with `shifted` at any step."""
    readers: dict[Value, list[Value]] = {}
    for equation in equations:
        for value in equation.reads():
            readers.setdefault(value.here if shifted else value, []).append(equation.target)
    return readers


def followed(readers: Mapping[Value, Sequence[Value]], start: set[Value]) -> set[Value]:
    """What reads some values, directly or not, those themselves not among it."""
    waiting, found = list(start), set(start)
    while waiting:
        new = [target for target in readers.get(waiting.pop(), ()) if target not in found]
        found.update(new)
        waiting += new
    return found - start


def sources(equations: Sequence[Equation], ends: set[Value]) -> set[Value]:
    """What some values are made of at the same step, directly or not, themselves among it."""
    defined = {equation.target: equation for equation in equations}
    waiting, found = list(ends), set[Value]()
    while waiting:
        value = waiting.pop()
        if value in defined and value not in found:
            found.add(value)
            waiting += defined[value].reads()
    return found


# ---- the stages of any program


def stages(equations: Sequence[Equation], fused: bool = True, starts: Sequence[tuple[Value, Value]] = ()) -> tuple[Stage, ...]:
    """The equations in the order in which they are computed.

    starts: (what is read of another step, the value that it starts with), which has to be there before the recurrence. fused: as few
    loops as can be: those of one way that don't wait for one of the other way are one loop, with what lies between them; else each
    recurrence is a loop of its own. Raises ScheduleError where equations need both an earlier and a later step of each other, each
    other at the same step, or all steps of each other.
    """
    defined = {equation.target: equation for equation in equations}
    started = dict(starts)
    parts = components(equations, started)
    ways = [way_of(part, defined) for part in parts]
    axes = [axis_of(part, defined) for part in parts]
    home = {target: k for k, part in enumerate(parts) for target in part}
    needs = [
        {home[read] for target in part for read in reads(defined[target], defined, started)} - {k} for k, part in enumerate(parts)
    ]
    done: set[int] = set()
    found: list[Stage] = []
    while len(done) < len(parts):
        chosen = ready(ways, axes, needs, done, fused, [[defined[target] for target in part] for part in parts])
        targets = {target for k in chosen for target in parts[k]}
        done |= chosen
        inside = [equation for equation in equations if equation.target in targets]
        loop, axis = next(((ways[k], axes[k]) for k in chosen if ways[k]), ("", ""))
        found += [Stage(loop, tuple(in_order(inside, (0,))), axis)] if loop else apart_from_steps(in_order(inside, (-1, 0, 1)))
    return tuple(found)


def bound_in(equation: Equation, axis: str) -> set[Value]:
    """The values of which an equation needs all steps of an axis."""
    return {value for term in equation.terms for value in bound_values(term.value, axis)}


def is_of_all_steps(equation: Equation, axis: str) -> bool:
    """Whether an equation needs all steps of an axis before it gives anything, so that no loop along it can hold it."""
    return axis not in equation.target.axes or any(axis in binds(term.value) for term in equation.terms)


def ready(
    ways: list[str], axes: list[str], needs: list[set[int]], done: set[int], fused: bool, parts: list[list[Equation]]
) -> set[int]:
    """The components that come next: all outside loops that wait for none, else a loop, or all of one way along one axis with what they
    need.

    parts: the equations of each component.
    """
    chosen: set[int] = set()
    for k, way in enumerate(ways):
        if k not in done and not way and needs[k] <= done | chosen:
            chosen.add(k)
    if chosen:
        return chosen
    first = next(k for k in range(len(ways)) if k not in done and ways[k] and needs[k] <= done)
    way, axis = ways[first], axes[first]
    if not fused:
        return {first}

    def is_inside(k: int) -> bool:
        mine = ways[k] == "" or (ways[k], axes[k]) == (way, axis)
        return mine and not any(is_of_all_steps(equation, axis) for equation in parts[k])

    for k in range(len(ways)):
        behind = ancestors(k, needs) - done if (ways[k], axes[k]) == (way, axis) and k not in done else {-1}
        if all(other >= 0 and is_inside(other) for other in behind):
            chosen |= behind | {k}
    return chosen


def axis_of(part: Sequence[Value], defined: dict[Value, Equation]) -> str:
    """The axis along which the loop that a component is runs; T where it is none. Raises ScheduleError on a recurrence along two."""
    inside = set(part)
    found = {value.axis for target in part for value in defined[target].reads() if value.lag and value.here in inside}
    if len(found) > 1:
        names = ", ".join(dict.fromkeys(target.name for target in part))
        raise ScheduleError(
            f"{names}: a recurrence along {' and '.join(sorted(found))}: expected one axis of steps. Split it into two recurrences."
        )
    return next(iter(found), STEPS)


def ancestors(k: int, needs: list[set[int]]) -> set[int]:
    """The components that one needs, directly or not."""
    waiting, found = [*needs[k]], set[int]()
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += needs[one]
    return found


def apart_from_steps(equations: Sequence[Equation]) -> list[Stage]:
    """Equations outside loops: those without axes, and those for all steps at once, each kind as long as it isn't interrupted."""
    found: list[Stage] = []
    for equation in equations:
        way = "steps" if equation.target.axes or equation.accumulate else "once"
        if found and found[-1].way == way:
            found[-1] = Stage(way, (*found[-1].equations, equation))
        else:
            found.append(Stage(way, (equation,)))
    return found


def reads(equation: Equation, defined: dict[Value, Equation], started: Mapping[Value, Value]) -> list[Value]:
    """The values of a program that an equation reads, at any step, and those that what it reads starts with."""
    found = [value.here for value in equation.reads()]
    found += [started[value] for value in equation.reads() if value in started]
    return [value for value in found if value in defined]


def way_of(part: Sequence[Value], defined: dict[Value, Equation]) -> str:
    """The way of the loop that a component is; empty where it is none."""
    inside = set(part)
    lags = {value.lag for target in part for value in defined[target].reads() if value.here in inside}
    names = ", ".join(dict.fromkeys(target.name for target in part))
    axis = axis_of(part, defined)
    whole = next((target.name for target in part if axis not in target.axes or inside & bound_in(defined[target], axis)), None)
    if whole is not None and (len(part) > 1 or lags):
        raise ScheduleError(
            f"{names}: {whole} is made of all steps of a recurrence and read in it: expected a recurrence that reads its neighbours. "
            + instead_of_whole(part, whole, axis),
            whole,
        )
    if not lags - {0}:
        if len(part) > 1 or 0 in lags:
            raise ScheduleError(
                f"{names}: need each other at the same step: expected an earlier or a later one. Read one of them at t-1."
            )
        return ""
    if min(lags) < 0 < max(lags):
        raise ScheduleError(f"{names}: need both an earlier and a later step: expected one way. Split them into two recurrences.")
    return "forwards" if min(lags) < 0 else "backwards"


def instead_of_whole(part: Sequence[Value], whole: str, axis: str) -> str:
    """What to do where a recurrence reads what all of its steps make: its mean, its own first value, a start made of its last value."""
    made = next(target for target in part if target.name == whole)
    if axis in made.axes:
        return f"No step of {whole} is known before all of them are: read its neighbour, or an end of another recurrence in front of this."
    others = ", ".join(dict.fromkeys(target.name for target in part if target.name != whole))
    return (
        f"No step of {others} is known before {whole} is, and {whole} needs all of them: read {whole} behind the recurrence; "
        f"make a sum up to each step a state; start with what is known before the first step."
    )


def in_order(equations: Sequence[Equation], lags: Collection[int]) -> list[Equation]:
    """Equations in an order in which they can be computed, otherwise as they stand.

    lags: the shifts at which one needs another: in a loop those of the same step, else any.
    """
    defined = {equation.target: equation for equation in equations}
    placed: dict[Value, Equation] = {}
    waiting = list(reversed(equations))
    while waiting:
        equation = waiting[-1]
        read = [value.here for value in equation.reads() if value.lag in lags]
        missing = [value for value in read if value in defined and value not in placed]
        if missing:
            waiting += [defined[value] for value in reversed(missing)]
        else:
            placed.setdefault(equation.target, waiting.pop())
    return list(placed.values())


def handed_on_last(equations: Sequence[Equation], carried: Collection[Value]) -> tuple[list[Equation], list[Value]]:
    """(equations of one step of a loop, ordered so that what hands on a value stands behind what reads the one handed on before; those of
    the carried values that no order puts there, since they hand on to each other), otherwise as they stand.

    carried: what a step hands on, read with a shift by the next one.
    """
    place = {equation.target: k for k, equation in enumerate(equations)}
    first: list[set[int]] = [set() for _ in equations]
    later: list[set[int]] = [set() for _ in equations]
    for k, equation in enumerate(equations):
        for value in equation.reads():
            other = place.get(value.here, k)
            if other != k and not value.lag:
                first[k].add(other)
            elif other != k and value.here in carried:
                later[other].add(k)
    waiting = dict.fromkeys(range(len(equations)))
    readers: list[list[int]] = [[] for _ in equations]
    for k, needed in enumerate(first):
        for other in needed | later[k]:
            readers[other].append(k)
    ready = [k for k in waiting if not first[k] | later[k]]
    found: list[Equation] = []
    crossed: list[Value] = []
    while waiting:
        if not ready:
            ready = [next(k for k in waiting if not first[k])]
            crossed.append(equations[ready[0]].target)
        k = heapq.heappop(ready)
        del waiting[k]
        found.append(equations[k])
        for other in readers[k]:
            first[other].discard(k)
            later[other].discard(k)
            if other in waiting and other not in ready and not first[other] | later[other]:
                heapq.heappush(ready, other)
    return found, crossed


def components(equations: Sequence[Equation], started: Mapping[Value, Value]) -> list[list[Value]]:
    """The sets of equations that need each other, at whatever step, each behind those that it needs (Tarjan 1972)."""
    defined = {equation.target: equation for equation in equations}
    index: dict[Value, int] = {}
    low: dict[Value, int] = {}
    stack: list[Value] = []
    found: list[list[Value]] = []
    on_stack: set[Value] = set()
    for start in defined:
        if start in index:
            continue
        work = [(start, iter(reads(defined[start], defined, started)))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            value, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[value])
                if low[value] == index[value]:
                    at = stack.index(value)
                    found.append(stack[at:])
                    on_stack.difference_update(stack[at:])
                    del stack[at:]
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                on_stack.add(following)
                work.append((following, iter(reads(defined[following], defined, started))))
            elif following in on_stack:
                low[value] = min(low[value], index[following])
    return found
