"""One value read for another: a gate, a parameter, a gradient, the transpose, another step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations

import sympy as sp

from derive.equation import Equation
from derive.language import Transposed, Value, transpose
from derive.program import Program
from verify.edits.edit import Edit, edited, edits, of_nodes, of_terms
from verify.edits.elsewhere import STEPS

WHEN = {
    "earlier": "one step earlier", "wrapped": "one step earlier, at the first step the last", "later": "one step later",
    "first": "of the first step, at every step", "final": "of the last step, at every step",
}  # fmt: skip


def read(program: Program) -> list[Value]:
    """Every value that a program reads."""
    return list(dict.fromkeys(value for equation in program.equations for value in equation.reads()))


def unnamed(forward: Program) -> set[str]:
    """The names of parts that the cell leaves unnamed and that aren't a function of something."""
    return {one.target.name for one in forward.equations if one.auxiliary and one.target.name.startswith(("a_", "u_"))}


def gates(program: Program, forward: Program) -> Iterator[Edit]:
    """One gate or state for another, in a factor."""
    hidden = unnamed(forward)
    known = [value for value in read(program) if value.kind == "primal" and value.timed]
    pool = [one.target for one in forward.equations if one.target.timed and one.target.name not in hidden]
    pool = list(dict.fromkeys([*known, *pool, *[state.prev for _, state in forward.carries]]))
    for value in known:
        for other in pool:
            if other.shape == value.shape and other.name != value.name:
                said = f"{named(other)} for {named(value)}"
                yield from edits(of_nodes("another gate", said, {value: other}.get, reads=value), program)


def named(value: Value) -> str:
    """A value in words: its name, and whether it is that of the step before."""
    return f"{value.name} of the step before" if value.lag else value.name


def parameters(program: Program, forward: Program) -> Iterator[Edit]:
    """One parameter for another; two that change places in one equation."""
    known = [value for value in read(program) if value.kind == "primal" and not value.timed]
    for value, other in permutations(known, 2):
        if value.shape == other.shape:
            match = {value: other}.get
            yield from edits(of_nodes("another parameter", f"{other.name} for {value.name}", match, reads=value), program)


def exchanges(program: Program, forward: Program) -> Iterator[Edit]:
    """Two values that change places throughout one equation, or everywhere."""
    known = sorted((v for v in read(program) if v.kind in ("primal", "cotangent")), key=lambda v: (v.kind != "primal", v.timed))
    for first, second in combinations(known, 2):
        alike = (first.shape, first.kind, first.timed) == (second.shape, second.kind, second.timed)
        both = {k: one for k, one in enumerate(program.equations) if alike and one.is_reading(first) and one.is_reading(second)}
        match = {first: second, second: first}.get
        said = f"{'the gradients of ' * (first.kind == 'cotangent')}{first.name} and {second.name} exchanged"
        for k, equation in both.items():
            yield from edited("swapped gates", said, program, {k: equation.substituted(match)}, 1)
    yield from results(program)


def results(program: Program) -> Iterator[Edit]:
    """The gradients of two parameters exchanged; those of all parameters of two gates."""
    program = with_totals_last(program)
    totals = {k: one for k, one in enumerate(program.equations) if is_result(one, program)}
    for (k, first), (m, second) in combinations(totals.items(), 2):
        if first.target.shape == second.target.shape:
            said = f"gates swapped: the gradients of {first.target.name} and {second.target.name} exchanged"
            yield from edited("gate order", said, program, {k: with_right(first, second), m: with_right(second, first)}, 1)
    sources = list(dict.fromkeys(v for one in totals.values() for v in one.reads() if v.kind == "cotangent"))
    for one, two in combinations(sources, 2):
        if one.shape != two.shape:
            continue
        match = {one: two, two: one}.get
        changes = {k: equation.substituted(match) for k, equation in totals.items() if equation.substituted(match) != equation}
        if len(changes) > 1:
            said = f"gates swapped: the gradients of the parameters of {one.name} and {two.name} exchanged"
            yield from edited("gate order", said, program, changes, 1)


def is_result(equation: Equation, program: Program) -> bool:
    """Whether an equation is the gradient of a parameter."""
    return not equation.target.timed and equation.target in program.results


def with_totals_last(program: Program) -> Program:
    """The program with the gradients of parameters that nothing reads behind all else: what one of them may be taken for is there then."""
    read_by_others = {value for equation in program.equations for value in equation.reads()}
    moved = [one for one in program.equations if is_result(one, program) and one.target not in read_by_others]
    return replace(program, equations=(*[one for one in program.equations if one not in moved], *moved))


def with_right(equation: Equation, other: Equation) -> Equation:
    return Equation(equation.target, other.terms, other.factor, equation.auxiliary)


def cotangents(program: Program, forward: Program) -> Iterator[Edit]:
    """One gradient for another that is there already, as all are for those of parameters."""
    program = with_totals_last(program)
    defined = [equation.target for equation in program.equations if equation.target.timed and equation.target.kind == "cotangent"]
    for value, other in permutations(defined, 2):
        if value.shape == other.shape:
            said = f"the gradient of {other.name} for that of {value.name}"
            yield from edits(of_nodes("another gradient", said, {value: other}.get, reads=value), program)


def transposes(program: Program, forward: Program) -> Iterator[Edit]:
    """W for Wᵀ where the matrix is square, and the transpose of a contribution to a square matrix."""

    def plain(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        square = isinstance(node, Transposed) and node.shape[0] == node.shape[1] and isinstance(node.args[0], Value)
        return node.args[0] if square else None

    def square(equation: Equation) -> bool:
        return bool(equation.target.shape[0] == equation.target.shape[1] != 1)

    yield from edits(of_nodes("transpose", "transpose missing", plain), program)
    yield from edits(of_terms("transpose", "transposed", transpose, within=square), program)


def old_for_new(program: Program, forward: Program) -> Iterator[Edit]:
    """The old value of a state for the new one, and the reverse."""
    for _, state in forward.carries:
        for value, other in ((state, state.prev), (state.prev, state)):
            said = "time index off by one (old value for new, or the reverse)"
            yield from edits(of_nodes("old for new", said, {value: other}.get, reads=value), program)


def other_steps(program: Program, forward: Program) -> Iterator[Edit]:
    """A value of another step: one earlier, one later, the first one or the last one throughout."""
    for value in read(program):
        if value.timed and value.kind == "primal":
            for kind in STEPS:
                slip = of_nodes(
                    "time index", f"time index: {value.name} {WHEN[kind]}", {value: value.like(kind=kind)}.get, reads=value
                )
                yield from edits(slip, program)
