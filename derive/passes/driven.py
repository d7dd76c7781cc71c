"""Split what drives a linear recurrence from the recurrence: the parts of its sums that don't depend on it are known ahead of the loop.

In v = w ∘ k + e, where w depends on the recurrence and e doesn't, e gets a name; what reads v elementwise reads both parts of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from derive.equation import Equation, Term
from derive.expressions import summands, values_in
from derive.language import Hadamard, Plus, Value, add, coefficient, hadamard, scale
from derive.passes.coefficients import linear_values, plain_factors
from derive.program import Program

import sympy as sp

Known = dict[Value, sp.MatrixExpr]


def driven(program: Program, forward: Program) -> Program:
    """Name the known parts of the sums of a linear recurrence, under `..._in`, for all steps at once."""
    program = plain_factors(program)
    linear, fresh = linear_values(program), program.names()
    inside = {equation.target for equation in program.at("step")} & linear
    split: Known = {}
    out: list[Equation] = []
    for equation in program.equations:
        target = equation.target
        if target not in inside:
            out.append(equation)
            continue
        parts = [part for term in equation.terms for whole in summands(term.value) for part in spread(whole, split)]
        still = [part for part in parts if not linear.intersection(values_in(part))]
        moving = [part for part in parts if part not in still]
        if len(still) == 1 and isinstance(still[0], Value):
            moving += still
        elif still:
            marks = tuple("cotangent" if mark == "carry" else mark for mark in target.marks)
            ahead = target.like(name=fresh.name(f"{target.name}_in"), marks=marks)
            out.append(Equation(ahead, (Term(add(*still)),)))
            moving.append(ahead)
        value = add(*moving)
        if len(moving) - bool(still) == 1 and still and is_read_elementwise(target, program):
            split[target] = value
        else:
            out.append(equation.with_value(value))
    return program.with_equations(out)


def is_read_elementwise(value: Value, program: Program) -> bool:
    """Whether a value is read at its own step only, as a summand or as a factor of an elementwise product, by values of the recurrence."""
    if value in program.results or value in [written for _, written in program.carries]:
        return False
    readers = program.readers.get(value, [])
    inside = {equation.target for equation in program.at("step")}
    return bool(readers) and all(one.target in inside and is_factor(value, one) for one in readers)


def is_factor(value: Value, reader: Equation) -> bool:
    parts = [coefficient(part)[1] for term in reader.terms for part in summands(term.value) if value in values_in(part)]
    return all(part == value or (isinstance(part, Hadamard) and value in part.args) for part in parts)


def spread(node: sp.MatrixExpr, split: Known) -> Iterator[sp.MatrixExpr]:
    """The summands of an elementwise product, with those of the values that are split."""
    number, rest = coefficient(node)
    factors = rest.args if isinstance(rest, Hadamard) else (rest,)
    choices = [summands(split[part]) if isinstance(part, Value) and part in split else [part] for part in factors]
    for chosen in product(*choices):
        yield scale(number, hadamard(*chosen))
