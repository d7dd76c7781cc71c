"""How gradients move, in three programs that run one after the other: tangents, gradients, tangents of gradients.

Each has one recurrence at most. What an earlier one hands over is kept for all steps; what is made of that elementwise is made again
by the last one, for many steps at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from derive.derivation import Derivation
from derive.equation import Equation
from derive.language import Value
from derive.passes import SCHEDULE, run
from derive.passes.apart import apart
from derive.passes.driven import driven
from derive.passes.hoist import has_product
from derive.program import Program, needed
from derive.schedule import in_order

BACKWARD = ("cotangent", "given", "carry", "summed")
"""Marks of what a backward program reads and makes."""


@dataclass(frozen=True)
class Second:
    """The programs of second order, scheduled. Each is given the tape, and what those before it result in."""

    tangent: Program
    backward: Program
    moved: Program

    @property
    def handed(self) -> set[Value]:
        """What the first two hand over to the last."""
        return {*self.tangent.results, *self.backward.results}


def second_order(derivation: Derivation, tape: Collection[Value], passes: Iterable[str]) -> Second | None:
    """The programs of second order over what the tape holds; None where something in them reads another step of what isn't handed over."""
    whole = run([apart], derivation.second, derivation.forward)
    chosen = list(passes)
    again = [equation for equation in derivation.forward.equations if equation.target not in tape]
    parts: list[list[Equation]] = [[], [], [], []]
    for equation in whole.equations:
        parts[stage_of(equation.target)].append(equation)
    shared, tangent, backward, moved = parts
    shifted = {value.like(lag=0) for equation in whole.equations for value in equation.reads() if value.lag}
    remade = [one for one in (*tangent, *backward) if one.target not in shifted and is_elementwise(one)]
    last = ordered([*again, *shared, *remade, *moved], whole.results)
    handed = reads_of(last)
    first = [*again, *shared, *tangent], [e.target for e in tangent if e.target in handed]
    middle = [*again, *shared, *backward], [e.target for e in backward if e.target in handed]
    programs = [Program("second", (), given(ordered(*part), tape), tuple(part[1])) for part in (first, middle)]
    programs.append(Program("second", (), given(last, tape), whole.results))
    found = [one.with_equations(e) for one, e in zip(programs, (ordered(*first), ordered(*middle), last), strict=True)]
    if any(value.lag and value.marks and value.like(lag=0) not in one.defined() and value.like(lag=0) not in first[1] for one in found for value in one.given):
        return None
    plain = [SCHEDULE[name] for name in chosen]
    ways = [[SCHEDULE[name] for name in chosen if name in ("coefficients", "stack", "hoist")], plain, [driven, *plain]]
    done = [run(way, one, derivation.forward).live() for way, one in zip(ways, found, strict=True)]
    return Second(*done)


def stage_of(value: Value) -> int:
    """0 for what is no derivative, 1 for a tangent, 2 for a gradient, 3 for the tangent of a gradient."""
    return ("tangent" in value.marks) + 2 * any(mark in BACKWARD for mark in value.marks)


def is_elementwise(equation: Equation) -> bool:
    """Whether an equation costs little for all steps at once: no product of matrices, no sum, nothing that later steps hand back."""
    values = [*(term.value for term in equation.terms), *([equation.factor] if equation.factor is not None else [])]
    is_light = equation.target.timed and bool(values) and not any(map(has_product, values))
    return is_light and not any(value.lag for value in equation.reads() if value.marks)


def ordered(equations: Sequence[Equation], results: Iterable[Value]) -> list[Equation]:
    """The equations that results need, in an order in which they can be computed."""
    return in_order(needed(equations, results), (0,))


def reads_of(equations: Sequence[Equation]) -> set[Value]:
    """What equations read and don't define, at whatever step."""
    targets = {equation.target for equation in equations}
    return {value.like(lag=0) for equation in equations for value in equation.reads()} - targets


def given(equations: Sequence[Equation], tape: Iterable[Value]) -> tuple[Value, ...]:
    """What is there beside equations: what they read and don't define, as they read it, and the tape."""
    targets = {equation.target for equation in equations}
    read = dict.fromkeys(value for values in (*[equation.reads() for equation in equations], tape) for value in values)
    return tuple(value for value in read if value.like(lag=0) not in targets)
