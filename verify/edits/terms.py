"""Summands and factors: left out, with the wrong sign, too few or too many of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations

import sympy as sp

from derive.equation import Equation
from derive.expressions import values_in
from derive.language import Apply, Hadamard, Ones, Times, Value, add, coefficient, hadamard, matmul, scale
from derive.program import Program
from verify.edits.edit import GONE, Edit, edited, edits, of_nodes, of_terms, with_term

MANY = 6
"""Sets of summands are tried in equations of at most so many."""


def through_parameters(value: sp.MatrixExpr) -> bool:
    return any(not one.timed for one in values_in(value))


def carries(program: Program, forward: Program) -> Iterator[Edit]:
    """A carry that is zeroed, or kept in part; what came from the next step, or what the loss gives, overwritten by `=` for `+=`."""
    ends = {value for _, value in program.carries}
    written = {one.target: k for k, one in enumerate(program.equations) if one.target in ends}
    nothing = {k: replace(program.equations[k], terms=()) for k in written.values()}
    for value, k in written.items():
        yield from edited("carry", f"the carry of {value.name} is zeroed", program, {k: nothing[k]}, 1)
        equation = program.equations[k]
        direct = tuple(term for term in equation.terms if not through_parameters(term.value))
        gates = tuple(term for term in equation.terms if through_parameters(term.value))
        if direct and gates:
            said = f"only the direct part of the carry of {value.name}, nothing through the gates"
            yield from edited("carry", said, program, {k: replace(equation, terms=direct)}, 1)
            said = f"only the part of the carry of {value.name} that goes through the gates, not the direct one"
            yield from edited("carry", said, program, {k: replace(equation, terms=gates)}, 1)
    if len(nothing) > 1:
        yield from edited(
            "carry", "truncated recurrence at K = 1: the carry is zeroed at every step, for every state", program, nothing, 1
        )
    for value in written:
        touched = {
            k: replace(one, terms=tuple(t for t in one.terms if not through_parameters(t.value)))
            for k, one in enumerate(program.equations)
            if one.target.name == value.name and one.target.kind in ("cotangent", "carry")
        }
        said = f"{value.name} gets nothing through the parameters: truncated there"
        yield from edited("carry", said, program, {k: one for k, one in touched.items() if one.terms}, 1)
    came = {k: kept(one, "carry") for k, one in enumerate(program.equations) if any(is_kind(t.value, "carry") for t in one.terms)}
    yield from edited("= for +=", "what came from the next step is lost, for every state", program, came, 1)


def read_twice(program: Program, forward: Program) -> Iterator[Edit]:
    """`dc += dc`: what came from the next step added to itself, where what the loss gives was to be added; and the reverse."""
    for k, equation in enumerate(program.equations):
        ends = {term.value.kind: term.value for term in equation.terms if is_kind(term.value, "given", "carry")}
        for kind, other in permutations(ends, 2):
            new = equation.substituted({ends[kind]: ends[other]}.get)
            what = {"given": "what the loss gives directly", "carry": "what came from the next step"}
            yield from edited("another summand", f"{what[other]} twice, for {what[kind]}", program, {k: new}, 1)


def is_kind(value: sp.MatrixExpr, *kinds: str) -> bool:
    return isinstance(value, Value) and value.kind in kinds


def kept(equation: Equation, *kinds: str) -> Equation:
    """The equation without the summands that are a value of some kinds."""
    return replace(equation, terms=tuple(term for term in equation.terms if not is_kind(term.value, *kinds)))


def dropped(program: Program, forward: Program) -> Iterator[Edit]:
    """Some summands left out; of a gradient that starts with what is there already that is `=` for `+=`."""
    for k, equation in enumerate(program.equations):
        count = len(equation.terms)
        for size in range(1, count + 1) if count <= MANY else (1, count):
            for gone in combinations(range(count), size):
                left = tuple(term for index, term in enumerate(equation.terms) if index not in gone)
                lost = [equation.terms[index].value for index in gone]
                kind, said = said_of(equation, lost, not left)
                yield from edited(kind, said, program, {k: replace(equation, terms=left)}, size)


def said_of(equation: Equation, lost: list[sp.MatrixExpr], all_of_it: bool) -> tuple[str, str]:
    if all_of_it and len(lost) > 1:
        return "dropped summands", "the gradient is zero"
    if all(is_kind(value, "given", "carry") for value in lost) and not all_of_it:
        what = {"given": "what the loss gives directly", "carry": "what came from the next step"}
        return "= for +=", f"`=` for `+=`: what is there is lost, {' and '.join(what[value.kind] for value in lost)}"
    if len(lost) > 1:
        return "dropped summands", f"{len(lost)} summands are missing"
    return "dropped summand", "the gradient is zero: missing term" if all_of_it else "missing term"


def signs(program: Program, forward: Program) -> Iterator[Edit]:
    """The wrong sign."""
    yield from edits(of_terms("flipped sign", "sign flipped", lambda value: scale(-1, value)), program)


def factors(program: Program, forward: Program) -> Iterator[Edit]:
    """A factor left out, doubled, or 1 less itself."""
    for factor in dict.fromkeys(part for one in program.equations for term in one.terms for part in factors_of(term.value)):

        def without(value: sp.MatrixExpr, factor: sp.MatrixExpr = factor, times: int = 0) -> sp.MatrixExpr:
            number, product = coefficient(value)
            have = list(product.args) if isinstance(product, Hadamard) else []
            if factor not in have:
                return value
            at = have.index(factor)
            return scale(number, hadamard(*have[:at], *[factor] * times, *have[at + 1 :]))

        yield from edits(of_terms("dropped factor", "missing factor", without), program)
        twice = of_terms("doubled factor", "a factor twice", lambda value, without=without: without(value, times=2))  # type: ignore[misc]
        yield from edits(twice, program)
        if isinstance(factor, Value) and factor.kind == "primal":
            other = add(Ones(*factor.shape), scale(-1, factor))
            for said, match in (("{0} for 1 - {0}", {other: factor}), ("1 - {0} for {0}", {factor: other})):
                slip = of_nodes("another factor", said.format(factor.name), match.get, reads=factor)
                yield from edits(slip, program)
    for k, equation in enumerate(program.equations):
        if equation.factor is not None:
            yield from edited("dropped factor", "missing factor", program, {k: replace(equation, factor=None)}, 1)


def factors_of(value: sp.MatrixExpr) -> tuple[sp.MatrixExpr, ...]:
    """The factors of an elementwise product."""
    product = coefficient(value)[1]
    return product.args if isinstance(product, Hadamard) else ()


def stale(program: Program, forward: Program) -> Iterator[Edit]:
    """A gradient that is read before all of its parts are in."""
    for equation in program.equations:
        if not equation.target.timed or len(equation.terms) < 2 or equation.factor is not None:
            continue
        terms = [term.value for term in equation.terms]
        for some in some_of(len(terms)):
            there = add(*[terms[index] for index in some])
            said = f"the gradient of {equation.target.name} is read before all of its parts are in"
            for kind in ("given", "carry"):
                if len(some) == 1 and is_kind(there, kind):
                    what = {"given": "what the loss says directly", "carry": "what comes through the next step"}[kind]
                    said = f"stale: of the gradient of {equation.target.name} only {what} is read"
            yield from edits(of_nodes("stale buffer", said, {equation.target: there}.get, reads=equation.target), program)


def some_of(count: int) -> list[tuple[int, ...]]:
    """All but one, and one alone."""
    return list(dict.fromkeys([*combinations(range(count), count - 1), *combinations(range(count), 1)]))


__all__ = ["GONE", "carries", "dropped", "factors", "read_twice", "signs", "stale"]


def inner_factors(program: Program, forward: Program) -> Iterator[Edit]:
    """A gate as a factor inside of a product with parameters, where none is: Uᵀ (r ∘ d) for Uᵀ d."""
    gates = [one.target for one in forward.equations if isinstance(one.value, Apply)]
    for k, equation in enumerate(program.equations):
        for index, term in enumerate(equation.terms):
            if equation.accumulate or not isinstance(term.value, Times) or len(term.value.args) != 2:
                continue
            matrix, read = term.value.args
            for gate in gates:
                if isinstance(matrix, sp.MatrixExpr) and gate.shape == read.shape:
                    said = f"a factor too many, inside of the product: {gate.name}"
                    new = with_term(equation, index, matmul(matrix, hadamard(gate, read)))
                    yield from edited("inner factor", said, program, {k: new}, 1)
