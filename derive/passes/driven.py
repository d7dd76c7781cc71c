"""Split what drives a linear recurrence from the recurrence: the parts of its sums that don't depend on it are known ahead of the loop.

In v = w ∘ k + e, where w depends on the recurrence and e doesn't, e gets a name; what reads v elementwise reads both parts of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import summands, values_in
from derive.fresh import Fresh
from derive.language import Hadamard, Value, add, coefficient, hadamard, scale
from derive.passes.apart import SUMMED
from derive.passes.coefficients import plain_factors
from derive.passes.hoist import has_product, part_of
from derive.program import Program
from derive.schedule import reached


def driven(program: Program, forward: Program) -> Program:
    """Name the known parts of the sums that a linear recurrence makes, under `..._in`; products apart from what is elementwise."""
    program = plain_factors(program)
    loop = {equation.target for equation in program.at("step")}
    work = Driven(program, loop, loop | reached(program.equations, loop, shifted=True), program.names())
    return program.with_equations([new for equation in program.equations for new in work.split(equation)])


@dataclass
class Driven:
    """The work on one program. loop: what the recurrence is. moving: what depends on it. parts: the two parts of values."""

    program: Program
    loop: Collection[Value]
    moving: Collection[Value]
    fresh: Fresh
    parts: dict[Value, sp.MatrixExpr] = field(default_factory=dict)

    def split(self, equation: Equation) -> list[Equation]:
        """An equation, behind those of its known parts."""
        target = equation.target
        if target not in self.moving or not equation.terms:
            return [equation]
        if equation.accumulate:
            return self.total(equation)
        parts = [part for term in equation.terms for whole in summands(term.value) for part in self.spread(whole)]
        still = [part for part in parts if self.is_still(part)]
        heavy = [part for part in still if has_product(part)]
        light = [part for part in still if part not in heavy] if target in self.loop else []
        known: list[Value] = []
        made: list[Equation] = []
        for group in filter(None, (heavy, light)):
            name, new = self.named(target, [*known, *group])
            known, made = [name], [*made, *new]
        moving = [part for part in parts if part not in heavy and part not in light]
        value = add(*moving, *known)
        if len(moving) == 1 and known and self.is_read_elementwise(target):
            self.parts[target] = value
            return made
        return [*made, equation.with_value(value)]

    def total(self, equation: Equation) -> list[Equation]:
        """A sum over the steps of what moves, and one of what is known."""
        still = tuple(Term(part) for term in equation.terms for part in summands(term.value) if self.is_still(part))
        moving = tuple(Term(part) for term in equation.terms for part in summands(term.value) if not self.is_still(part))
        if not still or not moving:
            return [equation]
        target, summed = equation.target, equation.target.marked("summed")
        known = target.like(name=self.fresh.name(f"{target.name}_in"))
        whole = replace(equation, terms=(Term(summed, SUMMED), Term(known)))
        return [Equation(known, still), Equation(summed, moving), whole]

    def named(self, target: Value, parts: Sequence[sp.MatrixExpr]) -> tuple[Value, list[Equation]]:
        """(a name for a sum, its equation): the value itself where it is one."""
        if len(parts) == 1 and isinstance(parts[0], Value):
            return parts[0], []
        name = part_of(target, self.fresh)
        return name, [Equation(name, (Term(add(*parts)),))]

    def is_still(self, node: sp.MatrixExpr) -> bool:
        return not any(value.here in self.moving for value in values_in(node))

    def is_read_elementwise(self, value: Value) -> bool:
        """Whether a value is read at its own step only, as a summand or as a factor of an elementwise product, in the loop."""
        if value in self.program.results or value in [written for _, written in self.program.carries]:
            return False
        readers = self.program.readers.get(value, [])
        return bool(readers) and all(one.target in self.loop and is_factor(value, one) for one in readers)

    def spread(self, node: sp.MatrixExpr) -> Iterator[sp.MatrixExpr]:
        """The summands of an elementwise product, with those of the values that have two parts."""
        number, rest = coefficient(node)
        factors = rest.args if isinstance(rest, Hadamard) else (rest,)
        choices = [summands(self.parts[part]) if isinstance(part, Value) and part in self.parts else [part] for part in factors]
        for chosen in product(*choices):
            yield scale(number, hadamard(*chosen))


def is_factor(value: Value, reader: Equation) -> bool:
    """Whether an equation reads a value as a summand or a factor only."""
    parts = [coefficient(part)[1] for term in reader.terms for part in summands(term.value) if value in values_in(part)]
    return all(part == value or (isinstance(part, Hadamard) and value in part.args) for part in parts)
