"""Sums over steps and examples, and where the recurrence is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import sympy as sp

from derive.along import axes_of
from derive.equation import Equation, Term
from derive.language import hadamard
from derive.program import Program
from derive.shapes import steps_in
from verify.edits.edit import Edit, edited, edits, of_nodes, of_terms
from verify.edits.elsewhere import WEIGHTS, weight
from verify.edits.terms import is_kind

SAID = {
    "first only": "gathered from the first step only", "last only": "gathered from the last step only",
    "not first": "the first step is left out", "not last": "the last step is left out",
    "mean over steps": "mean instead of sum over steps", "mean over examples": "mean instead of sum over examples",
    "mean over steps and examples": "mean instead of sum over steps and examples",
}  # fmt: skip


def weighted(kind: str) -> Callable[[sp.MatrixExpr], sp.MatrixExpr]:
    """What weighs a summand: of examples any, of steps one that varies along them."""

    def change(value: sp.MatrixExpr) -> sp.MatrixExpr:
        is_weighed = kind == "mean over examples" or steps_in(axes_of(value))
        return hadamard(weight(kind, value), value) if is_weighed else value

    return change


def sums(program: Program, forward: Program) -> Iterator[Edit]:
    """A parameter that gathers some steps only, or a mean for the sum."""
    for kind in WEIGHTS:
        name = "mean for sum" if kind.startswith("mean") else "some steps only"
        yield from edits(of_terms(name, SAID[kind], weighted(kind), within=lambda one: one.accumulate), program)


def ends(program: Program, forward: Program) -> Iterator[Edit]:
    """A summand at the first or the last step only, or everywhere but there; an initial state that gets nothing."""
    written = {value: "not first" if read.lag > 0 else "not last" for read, value in program.carries}
    nothing = {
        k: Equation(one.target, one.terms, weight(written[one.target], one.target))
        for k, one in enumerate(program.equations)
        if one.target in written and one.factor is None
    }
    for k, changed in nothing.items():
        said = f"the gradient of the initial {changed.target.name} is zero: missing gradient"
        yield from edited("forgotten initial state", said, program, {k: changed}, 1)
    said = "the gradients of the initial states are zero: missing gradients"
    yield from edited("forgotten initial state", said, program, nothing, 1)
    for kind in ("first only", "last only", "not first", "not last"):
        what = {"first only": "at the first step only", "last only": "at the last step only",
                "not first": "missing at the first step", "not last": "missing at the last step"}[kind]  # fmt: skip
        of_steps = of_terms(
            "first or last step", what, weighted(kind), within=lambda one: not one.accumulate and one.target.has_steps
        )
        yield from edits(of_steps, program)


def cuts(program: Program, forward: Program, upto: int = 5) -> Iterator[Edit]:
    """The recurrence cut: what comes from the next step dropped every K steps, or the loop stopped K steps before the end."""
    read = [value for value, _ in program.carries]
    for K in range(1, upto):
        for state in [None, *read] if len(read) > 1 else [None]:
            some = read if state is None else [state]
            one = "the carry" if state is None else f"the carry of {state.name}"
            said = f"truncated recurrence at K = {K}: {one} is cut every {'step' if K == 1 else f'{K} steps'}"
            match = {value: hadamard(weight(f"keep {K}", value), value) for value in some}.get
            for edit in edits(of_nodes("cut recurrence", said, match), program):
                if sum(value in {v for _, new in edit.changed for v in new.reads()} for value in some) == len(some):
                    yield edit
            ends = {written for value, written in program.carries if value in some}
            handed = {
                k: replace(equation, factor=weight(f"hand {K}", equation.target))
                for k, equation in enumerate(program.equations)
                if K > 1 and equation.target in ends and equation.factor is None
            }
            yield from edited("cut recurrence", said, program, handed, 1)
        yield from stopped(program, K)


def stopped(program: Program, K: int) -> Iterator[Edit]:
    """The loop stopped K steps before the end; what it has then is handed out as the gradient of the initial state, or zeros are."""

    def inside(value: sp.MatrixExpr) -> sp.MatrixExpr:
        return hadamard(weight(f"stop {K}", value), value) if is_kind(value, "given", "carry") else value

    changes = {
        k: replace(one, terms=tuple(Term(inside(term.value), term.reason) for term in one.terms))
        for k, one in enumerate(program.equations)
        if any(is_kind(term.value, "given", "carry") for term in one.terms)
    }
    said = f"truncated recurrence at K = {K}: the loop stops {K} steps before the end"
    yield from edited("cut recurrence", said, program, changes, 1)
    read = {written: value for value, written in program.carries}
    handed = {
        k: replace(one, terms=(*one.terms, Term(hadamard(weight(f"past {K}", one.target), read[one.target]))))
        for k, one in enumerate(program.equations)
        if one.target in read and one.factor is None
    }
    yield from edited("cut recurrence", said, program, changes | handed, 1)
