"""A program: named equations in the order of computation. Forward, backward, tangent and Jacobian programs are all of this type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sympy as sp

from derive.errors import DeriveError
from derive.expressions import LEGAL, matrix_parts, substitute, values_in
from derive.language import Value, Zeros, add, hadamard
from derive.shapes import shape_text

PLACES = ("once", "before", "step", "after", "finish")
"""When an equation is computed: once from the parameters; for all steps at once before the loop over time; in the loop; for all
steps at once after it; once after everything."""


class ProgramError(DeriveError):
    """A program that isn't well formed: an illegal node, a value that is read before it is there, shapes that differ."""


@dataclass(frozen=True)
class Reason:
    """Why a term stands in a derived formula: the forward equation that it came from (by the value that it defines, None for what the loss
    gives) and the rule.

    also: what else was at work, where several rules made one term: the next on its way first.
    """

    equation: Any
    rule: str
    also: tuple[Reason, ...] = ()

    def links(self) -> tuple[Reason, ...]:
        """Every equation and rule that made the term, each once, the one that the term came from last in front."""
        parts = (replace(self, also=()), *[link for one in self.also for link in one.links()])
        return tuple(dict.fromkeys(parts))


def joined(reasons: Iterable[Reason | None]) -> Reason | None:
    """The reason of a term that several rules made: the first, and what else was at work."""
    links = [link for reason in reasons if reason is not None for link in reason.links()]
    return replace(links[0], also=tuple(dict.fromkeys(links))[1:]) if links else None


@dataclass(frozen=True)
class Term:
    """One summand and its reason; a forward equation, given by the user, needs none."""

    value: sp.MatrixExpr
    reason: Reason | None = None


@dataclass(frozen=True)
class Equation:
    """target = factor ∘ (sum of the terms), computed at `place`.

    accumulate: the target doesn't depend on the step; it is the sum over the steps (and over the batch) of the right side.
    auxiliary: the target is a part that the cell's own equations leave unnamed.
    """

    target: Value
    terms: tuple[Term, ...]
    factor: sp.MatrixExpr | None = None
    place: str = "step"
    accumulate: bool = False
    auxiliary: bool = False

    @cached_property
    def value(self) -> sp.MatrixExpr:
        """The right side as one expression; zeros where there is no term."""
        if not self.terms:
            return Zeros(*self.target.shape)
        total = add(*[term.value for term in self.terms])
        return total if self.factor is None else hadamard(self.factor, total)

    @cached_property
    def _reads(self) -> dict[Value, None]:
        parts = [self.factor] * (self.factor is not None) + [term.value for term in self.terms]
        return dict.fromkeys(value for part in parts for value in values_in(part))

    def reads(self) -> list[Value]:
        """The values that the right side reads."""
        return list(self._reads)

    def is_reading(self, value: Value) -> bool:
        """Whether the right side reads a value."""
        return value in self._reads

    def substituted(self, new: Callable[[sp.MatrixExpr], sp.MatrixExpr | None]) -> Equation:
        """The equation with every node for which `new` answers replaced, in its terms and in its factor."""
        terms = tuple(Term(substitute(term.value, new), term.reason) for term in self.terms)
        return replace(self, terms=terms, factor=self.factor and substitute(self.factor, new))

    def with_value(self, value: sp.MatrixExpr) -> Equation:
        """The same target with another right side; the reasons of a single term are kept."""
        reason = self.terms[0].reason if len(self.terms) == 1 else None
        return replace(self, terms=(Term(value, reason),), factor=None)


@dataclass(frozen=True)
class Program:
    """Named equations over given values.

    given: the values that are there before the first equation (parameters, inputs, the tape, cotangents of the outputs).
    carries: pairs (read, written): what a step reads as `read` is what the step before it, in the direction of the walk, wrote.
    results: the values that the caller gets.
    reverse: whether the loop runs from the last step to the first.
    """

    name: str
    equations: tuple[Equation, ...]
    given: tuple[Value, ...]
    carries: tuple[tuple[Value, Value], ...]
    results: tuple[Value, ...]
    reverse: bool = False

    def at(self, *places: str) -> list[Equation]:
        """The equations of some places, in order."""
        return [equation for equation in self.equations if equation.place in places]

    def defined(self) -> dict[Value, Equation]:
        return {equation.target: equation for equation in self.equations}

    def carried(self) -> list[Value]:
        """The values that are read from the step before."""
        return [read for read, _ in self.carries]

    def live(self) -> Program:
        """The program without the equations that neither a result nor the next step reads, directly or not."""
        needed, kept = {*self.results, *[written for _, written in self.carries]}, []
        for equation in reversed(self.equations):
            if equation.target in needed:
                needed.update(equation.reads())
                kept.append(equation)
        return self.with_equations(kept[::-1])

    def with_equations(self, equations: Iterator[Equation] | list[Equation]) -> Program:
        """The same program with other equations, sorted by place, checked."""
        ordered = sorted(equations, key=lambda equation: PLACES.index(equation.place))
        return check(replace(self, equations=tuple(ordered)))


def check(program: Program) -> Program:
    """The program itself, if it is well formed.

    Raises ProgramError, naming the equation, on an illegal node, a value that is read before it is defined, one that is defined
    twice, or a right side whose shape isn't its target's.
    """
    known = {*program.given, *program.carried()}
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
    for value in (*program.results, *[written for _, written in program.carries]):
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
