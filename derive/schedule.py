"""When the equations of a program are computed, found from what reads what.

Equations that need each other across a shift of the steps form a recurrence, computed in a loop whose way follows from the sign of the
shift. Everything outside is computed for all steps at once, in front of the loop or behind it: products with inputs, weight
gradients, right-to-left recurrences follow from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.equation import Equation
from derive.errors import DeriveError
from derive.language import Value

PLACES = ("once", "before", "step", "after", "finish")
"""Once from the parameters; for all steps at once in front of the loop; in the loop; for all steps at once behind it; at the end."""


class ScheduleError(DeriveError):
    """Equations that no order of the steps computes."""


@dataclass(frozen=True)
class Stage:
    """Equations that are computed together, in their order.

    way: `once` (they vary along no axis), `steps` (for all steps at once), `forwards` or `backwards` (step by step in a loop).
    """

    way: str
    equations: tuple[Equation, ...]


# ---- the places around one loop


def places(equations: Sequence[Equation]) -> dict[Value, str]:
    """Target -> place, where all that is computed step by step stands in one loop."""
    loop = in_loop(equations)
    behind = reached(equations, loop, shifted=True)
    totals = {one.target for one in equations if one.accumulate}
    made_of_totals = made_of(equations, totals)
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
    return found


def in_loop(equations: Sequence[Equation]) -> set[Value]:
    """What is computed step by step: what another step reads, what reads a later step, and what lies between.

    What later steps hand back is kept for no step but the next, so that it is read in the loop.
    """
    targets = {equation.target for equation in equations}
    reads = [(one.target, value) for one in equations for value in one.reads() if value.lag and value.like(lag=0) in targets]
    ends = {value.like(lag=0) for _, value in reads} | {target for target, value in reads if value.lag > 0}
    starts = ends | {target for target, _ in reads}
    return ((reached(equations, starts) | starts) & sources(equations, ends)) | ends


def reached(equations: Sequence[Equation], start: set[Value], shifted: bool = False) -> set[Value]:
    """What reads some values at the same step, or at any step too, directly or not."""
    readers: dict[Value, list[Value]] = {}
    for equation in equations:
        for value in equation.reads():
            readers.setdefault(value.like(lag=0) if shifted else value, []).append(equation.target)
    waiting, found = list(start), set(start)
    while waiting:
        new = [target for target in readers.get(waiting.pop(), ()) if target not in found]
        found.update(new)
        waiting += new
    return found - start


def made_of(equations: Sequence[Equation], totals: set[Value]) -> set[Value]:
    """What reads totals, or what is made of them."""
    found = reached(equations, totals) | totals
    return {equation.target for equation in equations if any(value in found for value in equation.reads())}


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
