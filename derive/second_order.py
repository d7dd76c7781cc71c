"""How gradients move, in three programs that run one after the other: tangents, gradients, tangents of gradients.

Each has the recurrences of the forward program, one behind the other. What an earlier one hands over is kept for all steps; what is made
of that elementwise is made again by the last one, for many steps at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from derive.derivation import Derivation
from derive.equation import Equation
from derive.language import Value
from derive.passes import SCHEDULE, run
from derive.passes.apart import apart
from derive.passes.bare import bare
from derive.passes.coefficients import coefficients
from derive.passes.driven import driven
from derive.passes.hoist import has_product, hoist
from derive.passes.pairs import pairs
from derive.passes.stack import stack
from derive.passes.vectorise import vectorise
from derive.program import Program, ProgramError, needed
from derive.recurrences import EARLIER, LATER, are_apart, by_recurrence, handing_on
from derive.schedule import in_order, is_fat, reached

LEAN = (coefficients, stack, hoist)
"""The passes of a tangent program."""
MOVED = (coefficients, pairs, stack, vectorise)
"""The passes of the tangent of a backward program, once what drives it is split off."""
BACKWARD = ("cotangent", "given", "carry", "summed")
"""Marks of what a backward program reads and makes."""


@dataclass(frozen=True)
class Second:
    """The programs of second order, scheduled. Each is given the tape, and what those before it result in."""

    tangent: Program
    backward: Program
    moved: Program


def second_order(derivation: Derivation, tape: Collection[Value]) -> Second | None:
    """The programs of second order over what the tape holds; None where recurrences read neighbours of each other, or an
    earlier one has nothing of the steps to hand over, so that one program is as good. Raises ProgramError where one of them reads what
    nobody hands over.
    """
    plain = derivation.forward
    if any(is_fat(value) for value in plain.defined()):
        return None
    whole = run([apart, bare], derivation.second, plain)
    again = [equation for equation in plain.equations if equation.target not in tape]
    shared, tangent, backward, moved = [[e for e in whole.equations if stage_of(e.target) == k] for k in range(4)]
    shifted = {value.here for equation in whole.equations for value in equation.reads() if value.lag}
    remade = [[e for e in part if e.target not in shifted and is_elementwise(e)] for part in (tangent, backward)]

    last = program([*again, *shared, *remade[0], *remade[1], *moved], whole.results, tape)
    split = driven(last, plain)
    known = known_products(split)
    gone = {equation.target for equation in known}
    last = program([equation for equation in split.equations if equation.target not in gone], whole.results, tape)
    handed = read_from_outside(last)
    results = [equation.target for equation in (*backward, *known) if equation.target in handed]
    # known products may read what nothing else does, so that the last program without them has it no longer
    middle = program([*again, *shared, *remade[0], *backward, *split.equations], results, tape)
    handed |= read_from_outside(middle)
    first = program([*again, *shared, *tangent], [e.target for e in tangent if e.target in handed], tape)

    ways = ((LEAN, first, EARLIER), ([*SCHEDULE.values()], handing_on(middle), LATER), (MOVED, handing_on(last), LATER))
    if not all(are_apart(one) for _, one, _ in ways):
        return None
    found = Second(*[by_recurrence(way, one, plain, lag).live() for way, one, lag in ways])
    if not any(value.timed for value in found.tangent.results) or not found.backward.results:
        return None
    check_handed(found, {*tape, *plain.given, *derivation.tangent.given, *derivation.backward.given})
    return found


def check_handed(found: Second, known: Collection[Value]) -> None:
    """Raises ProgramError where a program reads what neither the caller nor the tape nor a program before it has."""
    there = {value.here for value in known}
    for one in (found.tangent, found.backward, found.moved):
        missing = [value for value in read_from_outside(one) if value not in there]
        if missing:
            names = ", ".join(sorted(f"{value.name} ({' '.join(value.marks) or 'forward'})" for value in missing))
            raise ProgramError(
                f"second order: {names}: read and handed over by nobody. A fault of derive/second_order.py: report it."
            )
        there |= {*one.results}


def stage_of(value: Value) -> int:
    """0 for what is no derivative, 1 for a tangent, 2 for a gradient, 3 for the tangent of a gradient."""
    return ("tangent" in value.marks) + 2 * any(mark in BACKWARD for mark in value.marks)


def is_elementwise(equation: Equation) -> bool:
    """Whether an equation costs little for all steps at once: no product of matrices, no sum, nothing that later steps hand back."""
    values = [*(term.value for term in equation.terms), *([equation.factor] if equation.factor is not None else [])]
    is_light = equation.target.timed and bool(values) and not any(map(has_product, values))
    return is_light and not any(value.lag for value in equation.reads() if value.marks)


def known_products(last: Program) -> list[Equation]:
    """The equations of the last program that are products, or sums over steps, and don't depend on its recurrence."""
    loop = {equation.target for equation in last.at("step")}
    moving = loop | reached(last.equations, loop, shifted=True) | {*last.results}
    heavy = [
        one for one in last.equations if one.accumulate or (one.target.timed and any(has_product(t.value) for t in one.terms))
    ]
    return [one for one in heavy if stage_of(one.target) == 3 and one.target not in moving]


def program(equations: Sequence[Equation], results: Sequence[Value], tape: Iterable[Value]) -> Program:
    """The program of some results, its equations in an order in which they can be computed. Given: what they read, and the tape."""
    used = in_order(needed(equations, results), (0,))
    targets = {equation.target for equation in used}
    read = dict.fromkeys(value for values in (*[equation.reads() for equation in used], tape) for value in values)
    given = tuple(value for value in read if value.here not in targets)
    return Program("second", (), given, tuple(results)).with_equations(used)


def read_from_outside(program: Program) -> set[Value]:
    """What equations read and don't define, at whatever step."""
    return {value.here for equation in program.equations for value in equation.reads()} - {*program.defined()}
