"""A program: named equations over axes. Forward, backward, tangent and Jacobian programs, and what is derived of these, are of this type.

Nothing in it says where an equation is computed: `derive.schedule` finds that from what reads what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import sympy as sp

from derive.equation import Equation
from derive.errors import DeriveError
from derive.expressions import LEGAL, matrix_parts
from derive.fresh import Fresh
from derive.language import Value
from derive.schedule import places, stages
from derive.shapes import STEPS_AND_EXAMPLES, shape_text


class ProgramError(DeriveError):
    """A program that isn't well formed: an illegal node, a value that is read before it is there, shapes that differ."""


@dataclass(frozen=True)
class Program:
    """Named equations over given values.

    given: the values that are there before the first equation (parameters, inputs, the tape, cotangents of the outputs).
    results: the values that the caller gets. starts: (what a step reads of another one, the value that it reads where there is none).
    """

    name: str
    equations: tuple[Equation, ...]
    given: tuple[Value, ...]
    results: tuple[Value, ...]
    starts: tuple[tuple[Value, Value], ...] = ()

    @cached_property
    def carries(self) -> tuple[tuple[Value, Value], ...]:
        """(read, written): what a step reads as `read` is what another step wrote as `written`."""
        defined = {equation.target for equation in self.equations}
        read = dict.fromkeys(value for equation in self.equations for value in equation.reads() if value.lag)
        order = {value: k for k, value in enumerate(self.results)}
        pairs = [(value, value.here) for value in read if value.here in defined]
        return tuple(sorted(pairs, key=lambda pair: order.get(pair[1], len(order))))

    @property
    def reverse(self) -> bool:
        """Whether steps read what later ones wrote: the loop runs from the last step to the first."""
        return any(read.lag > 0 for read, _ in self.carries)

    @cached_property
    def places(self) -> dict[Value, str]:
        """Target -> where its equation is computed, one of `derive.schedule.PLACES`."""
        return places(self.equations)

    def at(self, *wanted: str) -> list[Equation]:
        """The equations of some places, in order."""
        return [equation for equation in self.equations if self.places[equation.target] in wanted]

    def place(self, equation: Equation) -> str:
        return self.places[equation.target]

    @cached_property
    def readers(self) -> dict[Value, list[Equation]]:
        """Value -> the equations that read it."""
        found: dict[Value, list[Equation]] = {}
        for equation in self.equations:
            for value in equation.reads():
                found.setdefault(value, []).append(equation)
        return found

    @cached_property
    def _defined(self) -> dict[Value, Equation]:
        return {equation.target: equation for equation in self.equations}

    def defined(self) -> dict[Value, Equation]:
        """Target -> its equation."""
        return self._defined

    def names(self) -> Fresh:
        """Names for new values of the program."""
        return Fresh(value.name for value in (*self.given, *self.carried(), *self.defined()))

    def carried(self) -> list[Value]:
        """The values that are read from another step."""
        return [read for read, _ in self.carries]

    def live(self) -> Program:
        """The program without the equations that no result reads, directly or not."""
        return self.with_equations(needed(self.equations, self.results, self.starts))

    def with_equations(self, equations: Iterable[Equation]) -> Program:
        """The same program with other equations, what the loop doesn't need in front, totals and what is made of them last, checked."""
        kept = tuple(equations)
        if self.starts or any(one.target.timed and one.target.axes != STEPS_AND_EXAMPLES for one in kept):
            found = [one for stage in stages(kept, starts=self.starts) for one in stage.equations]
            return check(replace(self, equations=tuple(found)))
        where = places(kept)
        rank = {"once": 0, "before": 1, "step": 2, "after": 2, "finish": 3}
        return check(replace(self, equations=tuple(sorted(kept, key=lambda one: rank[where[one.target]]))))


def needed(equations: Sequence[Equation], results: Iterable[Value], starts: Iterable[tuple[Value, Value]] = ()) -> list[Equation]:
    """The equations that some values are made of, in their order."""
    defined = {equation.target: equation for equation in equations}
    started = dict(starts)
    waiting, found = list(results), set[Value]()
    while waiting:
        value = waiting.pop().here
        if value in defined and value not in found:
            found.add(value)
            read = defined[value].reads()
            waiting += [*read, *[started[one] for one in read if one in started]]
    return [equation for equation in equations if equation.target in found]


def check(program: Program) -> Program:
    """The program itself, if it is well formed.

    Raises ProgramError, naming the equation, on an illegal node, a value that is read before it is defined, one that is defined
    twice, two of one name and different shapes, or a right side whose shape isn't its target's.
    """
    known = {*program.given, *program.carried()}
    shapes: dict[object, tuple[sp.Expr, sp.Expr]] = {}
    for value in (*known, *program.defined()):
        if shapes.setdefault((value.name, value.marks), value.shape) != value.shape:
            raise ProgramError(f"{program.name}: {value.name} ({value.kind}): two values of one name and different shapes.")
    for equation in program.equations:
        where = f"{program.name}: equation {equation.target.name} ({equation.target.kind})"
        for term in equation.terms:
            check_nodes(term.value, where)
            if term.value.shape != equation.target.shape:
                expected, got = shape_text(equation.target), shape_text(term.value)
                raise ProgramError(f"{where}: the shape differs: expected {expected}, got {got}. Check its right side.")
        for value in equation.reads():
            if value not in known:
                raise ProgramError(f"{where}: reads {value.name} ({value.kind}, lag {value.lag}) before it is defined.")
        if equation.target in known:
            raise ProgramError(f"{where}: defined twice.")
        known.add(equation.target)
    for value in (*program.results, *[start for read, start in program.starts if read in program.carried()]):
        if value not in known:
            raise ProgramError(f"{program.name}: {value.name} ({value.kind}) is a result and isn't defined.")
    return program


def check_nodes(expression: sp.MatrixExpr, where: str) -> None:
    """Raises ProgramError where an expression holds a node that isn't in the list of legal ones."""
    if not isinstance(expression, LEGAL):
        legal = ", ".join(node.__name__ for node in LEGAL)
        raise ProgramError(f"{where}: illegal node {type(expression).__name__}: legal are {legal}.")
    for part in matrix_parts(expression):
        check_nodes(part, where)
