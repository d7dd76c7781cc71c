"""When the equations of a program are computed: stages, in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from derive.expressions import substitute
from derive.language import Value
from derive.passes.defer import defer
from derive.program import Equation, Program, Term


@dataclass(frozen=True)
class Stage:
    """Equations that are computed together: `once`, for all `steps` at once, or step by step, `forwards` or `backwards`."""

    way: str
    equations: tuple[Equation, ...]

    @property
    def is_loop(self) -> bool:
        return self.way in ("forwards", "backwards")


def stages(program: Program) -> tuple[Stage, ...]:
    """The stages of a program by the places of its equations; a carry from the next step is read at lag 1."""
    deferred = defer(program, program)
    loop = "backwards" if program.reverse else "forwards"
    places = (("once", "once"), ("before", "steps"), ("step", loop), ("after", "steps"), ("finish", "once"))
    found = [Stage(way, tuple(shifted(deferred.at(place), program))) for place, way in places]
    return tuple(stage for stage in found if stage.equations)


def shifted(equations: Iterable[Equation], program: Program) -> list[Equation]:
    """Equations with what is carried backwards read at lag 1."""
    if not program.reverse:
        return list(equations)
    read = {before: before.like(lag=1) for before, _ in program.carries}
    written = {after: before for before, after in program.carries}
    new: list[Equation] = []
    for equation in equations:
        terms = tuple(Term(substitute(term.value, read.get), term.reason) for term in equation.terms)
        new.append(replace(equation, terms=terms, target=written.get(equation.target, equation.target)))
    return new


def carried(program: Program) -> dict[Value, Value]:
    """{a result that is carried out of the loop: what it is called in the stages}."""
    return {after: before for before, after in program.carries} if program.reverse else {}
