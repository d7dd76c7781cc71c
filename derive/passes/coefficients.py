"""Hoist the coefficients of the backward recurrence.

A backward program is linear in its cotangents. Whatever multiplies them elementwise depends on the tape alone, so it is computed
for many steps at once, before the loop; each step is left with the linear recurrence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import matrix_parts, substitute, values_in
from derive.fresh import Fresh
from derive.language import Hadamard, Plus, Times, Value, add, coefficient, hadamard, scale
from derive.program import Program

Factors = tuple[Counter[sp.MatrixExpr], Value]
"""The factors of a product and the name that it has."""


def coefficients(program: Program, forward: Program) -> Program:
    """Join chains of elementwise products, then name what multiplies a cotangent and compute it before the loop."""
    if not is_linear(program):
        return program
    program = join_chains(plain_factors(program))
    linear = linear_values(program)
    program = compose(program, linear)
    out: list[Equation] = []
    fresh = program.names()
    for equation in program.equations:
        if equation.target not in linear or not equation.target.timed:
            out.append(equation)
            continue
        terms = []
        for term in equation.terms:
            value, made = split(term.value, equation.target, linear, fresh)
            out += made
            terms.append(Term(value, term.reason))
        out.append(replace(equation, terms=tuple(terms)))
    return program.with_equations(built_up(out, forward))


def is_linear(program: Program) -> bool:
    """Whether the recurrence is one of gradients or of tangents."""
    return bool(program.carries) and all({"carry", "tangent"} & {*read.marks} for read in program.carried())


def built_up(equations: list[Equation], forward: Program) -> list[Equation]:
    """Coefficients made of others, and of products on the tape: where k = a ∘ b is there, l = a ∘ b ∘ c + d is k ∘ c + d."""
    read = {value.here for equation in equations for value in equation.reads()}
    known = Known([(e.value.args, e.target) for e in forward.equations if e.target in read and isinstance(e.value, Hadamard)])
    still = {equation.target for equation in equations if equation.target.timed} - linear_in(equations)
    made: dict[Value, Equation] = {}
    products = [equation for equation in equations if equation.target in still and is_product(equation)]
    for equation in sorted(products, key=lambda e: len(e.value.args)):
        made[equation.target] = equation.with_value(shorter(equation.value, known))
        known.add(equation.value.args, equation.target)
    for equation in equations:
        if equation.target in still and len(equation.terms) == 1 and isinstance(equation.value, Plus):
            made[equation.target] = equation.with_value(add(*[shorter(term, known) for term in equation.value.args]))
    return in_order_of_reading([made.get(equation.target, equation) for equation in equations], still)


class Known:
    """Products that have a name: their factors and the name, found by any one of their factors."""

    def __init__(self, products: Iterable[tuple[Sequence[sp.MatrixExpr], Value]]) -> None:
        self.all: list[Factors] = []
        self.having: dict[sp.MatrixExpr, list[int]] = defaultdict(list)
        for factors, value in products:
            self.add(factors, value)

    def add(self, factors: Sequence[sp.MatrixExpr], value: Value) -> None:
        for factor in dict.fromkeys(factors):
            self.having[factor].append(len(self.all))
        self.all.append((Counter(factors), value))

    def within(self, factors: Iterable[sp.MatrixExpr]) -> list[Factors]:
        """Those that share a factor with some, the last that was named first."""
        places = {place for factor in factors for place in self.having.get(factor, ())}
        return [self.all[place] for place in sorted(places, reverse=True)]


def shorter(term: sp.MatrixExpr, known: Known) -> sp.MatrixExpr:
    """A product with the products in it that are known, the last that was named first."""
    number, rest = coefficient(term)
    if not isinstance(rest, Hadamard):
        return term
    left: Counter[sp.MatrixExpr] = Counter(rest.args)
    parts = []
    for factors, value in known.within(left):
        if factors <= left:
            left -= factors
            parts.append(value)
    return scale(number, hadamard(*parts, *left.elements())) if parts else term


def in_order_of_reading(equations: list[Equation], still: set[Value]) -> list[Equation]:
    """The equations as they stand, but for those that another one now reads before its place: they come in front of it."""
    before = {equation.target: equation for equation in equations if equation.target in still}
    out: dict[Value, Equation] = {}

    def put(equation: Equation) -> None:
        waiting = [equation]
        while waiting:
            first = [before[value] for value in waiting[-1].reads() if value in before and value not in out]
            if first:
                waiting.append(first[0])
            else:
                made = waiting.pop()
                out.setdefault(made.target, made)

    for equation in equations:
        put(equation)
    return list(out.values())


def is_product(equation: Equation) -> bool:
    """Whether the right side of an equation is a plain product of several factors."""
    return len(equation.terms) == 1 and isinstance(equation.value, Hadamard)


def plain_factors(program: Program) -> Program:
    """Every equation without a factor in front: one term each."""
    return program.with_equations([e if e.factor is None else e.with_value(e.value) for e in program.equations])


def compose(program: Program, linear: set[Value]) -> Program:
    """Read through multiples: where da = dc ∘ k, da ∘ p + dc ∘ f is dc ∘ (k ∘ p + f), one product whose coefficient is known before."""
    multiples: dict[Value, sp.MatrixExpr] = {}
    out = []
    for equation in program.equations:
        if equation.target.timed and equation.target in linear:
            parts = [term for whole in equation.terms for term in spread(whole)]
            through = [Term(substitute_factor(term.value, multiples), term.reason) for term in parts]
            equation = replace(equation, terms=tuple(merged(through, linear)))
            if is_multiple(equation.value, linear):
                multiples[equation.target] = equation.value
        out.append(equation)
    return program.with_equations(out)


def spread(term: Term) -> list[Term]:
    """The summands of a term."""
    return [Term(part, term.reason) for part in term.value.args] if isinstance(term.value, Plus) else [term]


def is_multiple(value: sp.MatrixExpr, linear: set[Value]) -> bool:
    """Whether an expression is one linear value times coefficients."""
    rest = coefficient(value)[1]
    if not isinstance(rest, Hadamard):
        return False
    moving = [part for part in rest.args if linear.intersection(values_in(part))]
    return len(moving) == 1 and isinstance(moving[0], Value)


def substitute_factor(value: sp.MatrixExpr, multiples: dict[Value, sp.MatrixExpr]) -> sp.MatrixExpr:
    """An elementwise product with a factor that is a multiple written out."""
    number, rest = coefficient(value)
    if not isinstance(rest, Hadamard):
        return value
    return scale(number, hadamard(*[multiples.get(part, part) if isinstance(part, Value) else part for part in rest.args]))


def merged(terms: list[Term], linear: set[Value]) -> list[Term]:
    """Multiples of one linear value added up: the value times the sum of the coefficients."""
    found: dict[object, list[Term]] = defaultdict(list)
    for k, term in enumerate(terms):
        alike = is_multiple(term.value, linear)
        found[next(v for v in values_in(term.value) if v in linear) if alike else k].append(term)
    return [same[0] if len(same) == 1 else Term(total(same, linear), same[0].reason) for same in found.values()]


def total(terms: list[Term], linear: set[Value]) -> sp.MatrixExpr:
    """v ∘ k + v ∘ l as v ∘ (k + l)."""
    moving, coefficients_ = None, []
    for term in terms:
        number, rest = coefficient(term.value)
        moving = next(part for part in rest.args if part in linear)
        still = list(rest.args)
        still.remove(moving)
        coefficients_.append(scale(number, hadamard(*still)))
    return hadamard(moving, add(*coefficients_))


def linear_values(program: Program) -> set[Value]:
    """The values that depend on the cotangents."""
    return {value for value in program.given if value.kind == "given"} | linear_in(program.equations)


def linear_in(equations: Iterable[Equation]) -> set[Value]:
    """The values that equations make of cotangents and of what other steps hand on."""
    linear: set[Value] = set()
    equations = list(equations)
    targets = {equation.target for equation in equations}
    for equation in equations:
        ends = [value for value in equation.reads() if value.kind == "given" or (value.lag and value.here in targets)]
        if ends or linear.intersection(equation.reads()):
            linear |= {*[value for value in ends if value.lag], equation.target}
    return linear


def join_chains(program: Program) -> Program:
    """Put d_o = d_h ∘ tanh_c into d_a_o = d_o ∘ o ∘ (1 - o) wherever all readers of d_o are such products."""
    kept = {equation.target: equation for equation in program.equations}
    readers: dict[Value, set[Value]] = defaultdict(set)
    for equation in program.equations:
        for value in equation.reads():
            readers[value].add(equation.target)
    protected = {*program.results, *[written for _, written in program.carries]}
    for target in [equation.target for equation in program.equations]:
        equation = kept[target]
        value = equation.value
        if not target.timed or target in protected or not isinstance(coefficient(value)[1], Hadamard):
            continue
        if readers[target] and all(only_elementwise(kept[reader], target) for reader in readers[target]):
            del kept[target]
            for reader in readers.pop(target):
                kept[reader] = put(target, value, kept[reader])
                for read in equation.reads():
                    readers[read].add(reader)
            for read in equation.reads():
                readers[read].discard(target)
    return program.with_equations(list(kept.values()))


def only_elementwise(reader: Equation, value: Value) -> bool:
    """Whether every term that reads the value is a product ∘ with it."""
    if not reader.target.timed:
        return False
    terms = [term.value for term in reader.terms if value in values_in(term.value)]
    rests = [coefficient(term)[1] for term in terms]
    return all(isinstance(rest, Hadamard) and rest.args.count(value) == 1 for rest in rests) and all(
        sum(value in values_in(part) for part in rest.args) == 1 for rest in rests
    )


def put(value: Value, text: sp.MatrixExpr, reader: Equation) -> Equation:
    if value not in reader.reads():
        return reader
    terms = tuple(
        Term(substitute(term.value, lambda node: text if node == value else None), term.reason) for term in reader.terms
    )
    return replace(reader, terms=terms)


def split(term: sp.MatrixExpr, target: Value, linear: set[Value], fresh: Fresh) -> tuple[sp.MatrixExpr, list[Equation]]:
    """(the term with its coefficient under a name, the equation of that name)."""
    number, rest = coefficient(term)
    if isinstance(rest, Plus) and not isinstance(term, Value):
        parts = [split(part, target, linear, fresh) for part in rest.args]
        return scale(number, add(*[value for value, _ in parts])), [e for _, made in parts for e in made]
    if not isinstance(rest, Hadamard):
        return term, []
    moving = [part for part in rest.args if linear.intersection(values_in(part))]
    still = [part for part in rest.args if part not in moving]
    if len(moving) != 1 or not still or any(has_products(part) for part in still):
        return term, []
    if number == 1 and len(still) == 1 and isinstance(still[0], Value):
        return term, []
    factor = scale(number, hadamard(*still))
    value = Value(fresh.name(f"k_{target.name}"), factor.shape[0], factor.shape[1])
    return hadamard(moving[0], value), [Equation(value, (Term(factor),))]


def has_products(node: sp.MatrixExpr) -> bool:
    """Whether there is a matrix product in a factor, outside of sums; a number times ones, as in [2 ≥ a], is none."""
    return isinstance(coefficient(node)[1], Times) or any(
        has_products(part) for part in matrix_parts(node) if not isinstance(node, Plus)
    )
