"""Faults of a derived program, one at a time: what people get wrong in a backward pass, made by changing single terms.

The measurement of the verifier's power plants them; the search for a likely cause tries which one explains a kernel's gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import sympy as sp

from derive.errors import DeriveError
from derive.expressions import substitute, values_in
from derive.functions import FUNCTIONS, derivative, in_output
from derive.language import Apply, Hadamard, Ones, Plus, Stack, Times, Transposed, Value, X, apply, hadamard, scale, transpose
from derive.passes.outputs import in_vectors
from derive.program import Equation, Program, Term, check

Change = tuple[str, str, sp.MatrixExpr | None]
"""(class, what was done, the new term; None to drop it)."""


@dataclass(frozen=True)
class Mutant:
    """A program with one fault. equation: where. kind: its class. said: what was done."""

    kind: str
    said: str
    program: Program
    equation: Equation
    changed: Equation


def mutants(program: Program, forward: Program) -> Iterator[Mutant]:
    """Every single-term fault of a backward program that is still well formed."""
    for k, equation in enumerate(program.equations):
        for index in range(len(equation.terms)):
            for kind, said, value in changes(equation, index, program, forward):
                yield from made(program, k, index, kind, said, value)
        for kind, said, factor in factor_changes(equation, forward):
            yield from made_of(program, k, replace(equation, factor=factor), kind, said)


def made(program: Program, k: int, index: int, kind: str, said: str, value: sp.MatrixExpr | None) -> Iterator[Mutant]:
    equation = program.equations[k]
    terms = list(equation.terms)
    if value is None:
        del terms[index]
    else:
        terms[index] = Term(value, terms[index].reason)
    yield from made_of(program, k, replace(equation, terms=tuple(terms)), kind, said)


def made_of(program: Program, k: int, changed: Equation, kind: str, said: str) -> Iterator[Mutant]:
    """The program with one equation changed, if it is well formed and another program."""
    equations = list(program.equations)
    if changed == equations[k]:
        return
    original, equations[k] = equations[k], changed
    if changed.accumulate and not changed.terms:
        equations[k] = replace(changed, accumulate=False, place="finish")
    try:
        yield Mutant(kind, said, check(replace(program, equations=tuple(equations))), original, changed)
    except DeriveError:
        return


def changes(equation: Equation, index: int, program: Program, forward: Program) -> Iterator[Change]:
    """What can be done to one term."""
    value = equation.terms[index].value
    yield "dropped summand", "missing term", None
    yield "flipped sign", "sign flipped", scale(-1, value)
    for rule in (transposes, time_shifts, swaps, exchanges, slopes, stale_reads):
        yield from rule(value, equation, program, forward)


def factor_changes(equation: Equation, forward: Program) -> Iterator[tuple[str, str, sp.MatrixExpr | None]]:
    """What can be done to the common factor of a sum."""
    if equation.factor is None:
        return
    yield "dropped factor", "missing factor", None
    yield from slopes(equation.factor, equation, None, forward)


def sites(node: sp.MatrixExpr, match: Callable[[sp.MatrixExpr], sp.MatrixExpr | None]) -> Iterator[sp.MatrixExpr]:
    """The expression with each matching node replaced, one at a time."""
    seen: list[sp.Basic] = []

    def collect(part: sp.Basic) -> None:
        if isinstance(part, sp.MatrixExpr) and match(part) is not None and part not in seen:
            seen.append(part)
        for inner in part.args if not isinstance(part, (Value, sp.Lambda)) else ():
            collect(inner)

    collect(node)
    for target in seen:
        yield substitute(node, lambda part, target=target: match(part) if part == target else None)  # type: ignore[misc]


def transposes(value: sp.MatrixExpr, equation: Equation, program: Program, forward: Program) -> Iterator[Change]:
    """W for Wᵀ where the matrix is square, and the transpose of a contribution to a square matrix."""

    def plain(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        square = isinstance(node, Transposed) and node.shape[0] == node.shape[1] and isinstance(node.args[0], Value)
        return node.args[0] if square else None

    for new in sites(value, plain):
        yield "transpose", "transpose missing", new
    if equation.target.shape[0] == equation.target.shape[1]:
        yield "transpose", "transposed", transpose(value)


def time_shifts(value: sp.MatrixExpr, equation: Equation, program: Program, forward: Program) -> Iterator[Change]:
    """The old value of a state for the new one, and the reverse."""
    states = {state for _, state in forward.carries}

    def shifted(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not isinstance(node, Value) or node.kind != "primal" or node.like(lag=0) not in states:
            return None
        return node.like(lag=-1 if node.lag == 0 else 0)

    for new in sites(value, shifted):
        yield "old for new", "time index off by one (old value for new, or the reverse)", new


def swaps(value: sp.MatrixExpr, equation: Equation, program: Program, forward: Program) -> Iterator[Change]:
    """One gate, one gradient or one matrix for another of its shape: the next in order."""
    pools = [[v for v in dict.fromkeys([*program.given, *program.defined()]) if v.lag == 0 and v.name not in auxiliary(forward)]]
    pool = pools[0]

    def swapped(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not isinstance(node, Value) or node not in pool or node.kind not in ("primal", "cotangent"):
            return None
        like = [v for v in pool if (v.kind, v.timed, v.shape) == (node.kind, node.timed, node.shape) and v != equation.target]
        if node not in like or len(like) < 2:
            return None
        return like[(like.index(node) + 1) % len(like)]

    for new in sites(value, swapped):
        yield "swapped gates", "one gate or matrix taken for another", new


def exchanges(value: sp.MatrixExpr, equation: Equation, program: Program, forward: Program) -> Iterator[Change]:
    """Two factors of an elementwise product that change places: c ∘ f ∘ (1 - f) as f ∘ c ∘ (1 - c)."""
    if not isinstance(value, Hadamard):
        return
    read = [v for v in values_in(value) if v.kind == "primal"]
    for first, second in combinations(read, 2):
        if first.shape == second.shape:
            other = {first: second, second: first}
            yield "swapped factors", "a factor and an output derivative exchanged", substitute(value, other.get)


def exchanged_in(program: Program) -> Iterator[Mutant]:
    """Two matrices or gates that change places throughout one equation."""
    for k, equation in enumerate(program.equations):
        read = [v for v in equation.reads() if v.kind in ("primal", "cotangent")]
        for first, second in combinations(read, 2):
            if (first.shape, first.kind, first.timed) == (second.shape, second.kind, second.timed):
                other = {first: second, second: first}
                changed = equation.substituted(other.get)
                yield from made_of(program, k, changed, "swapped gates", f"{first.name} and {second.name} exchanged")


def shifted_in(program: Program) -> Iterator[tuple[Mutant, Value, int]]:
    """(the program in which one equation reads a value of another step, that value, by how many steps).

    The mutant reads it as a value of its own, `later` or `earlier`, which whoever runs it has to supply.
    """
    for k, equation in enumerate(program.equations):
        for value in equation.reads():
            if value.kind != "primal" or not value.timed:
                continue
            for said, by in (("earlier", -1), ("later", 1)):
                other = value.like(kind=said)
                widened = replace(program, given=(*program.given, other))
                changed = equation.substituted({value: other}.get)
                what = f"time index off by one: {value.name} one step {said}"
                for mutant in made_of(widened, k, changed, "time index", what):
                    yield mutant, value, by


def auxiliary(forward: Program) -> set[str]:
    return {
        equation.target.name for equation in forward.equations if equation.auxiliary and not equation.target.name.startswith("a_")
    }


def slopes(value: sp.MatrixExpr, equation: Equation, program: Program | None, forward: Program) -> Iterator[Change]:
    """A derivative of another function, one taken of the output a second time, one left out or taken for its value."""
    for made_by in forward.equations:
        function = made_by.value
        if not isinstance(function, Apply):
            continue
        y, slope = made_by.target, derivative(function.scalar)
        written = in_output(slope, function.scalar)
        known = [in_vectors(written, y)] if written is not None else []
        for present in [*known, apply(slope, function.expr)]:
            reduced = without(value, present)
            if reduced is None:
                continue
            twice = apply(slope, y)
            yield (
                "slope",
                f"derivative of the output {y.name} taken once more: f'({y.name}) for f'(pre-activation)",
                hadamard(reduced, twice),
            )
            yield "slope", f"derivative for {y.name} missing", reduced
            yield "slope", f"value {y.name} for its derivative", hadamard(reduced, y)
            for other in other_slopes(written):
                yield "slope", f"derivative of another function for {y.name}", hadamard(reduced, in_vectors(other, y))


def other_slopes(written: sp.Expr | None) -> list[sp.Expr]:
    """The slopes of the other functions that have one in their output."""
    known = [in_output(derivative(FUNCTIONS[name]), FUNCTIONS[name]) for name in ("sigma", "tanh")]
    return [slope for slope in known if slope is not None and slope != written]


def without(value: sp.MatrixExpr, factor: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The elementwise product with some of its factors left out; None where it doesn't have them."""
    have = list(value.args) if isinstance(value, Hadamard) else [value]
    for part in factor.args if isinstance(factor, Hadamard) else [factor]:
        if part not in have:
            return None
        have.remove(part)
    return hadamard(*have) if have else Ones(*value.shape)


def stale_reads(value: sp.MatrixExpr, equation: Equation, program: Program, forward: Program) -> Iterator[Change]:
    """A gradient before all of its parts are in: what the next step handed back, or what the loss says directly, alone."""
    states = {state for _, state in forward.carries}

    def stale(kind: str) -> Callable[[sp.MatrixExpr], sp.MatrixExpr | None]:
        return lambda node: (
            node.like(kind=kind)
            if isinstance(node, Value) and node.kind == "cotangent" and node in {s.like(kind="cotangent") for s in states}
            else None
        )

    for kind, said in (("carry", "stale: only what comes through the next step"), ("given", "only what the loss says directly")):
        for new in sites(value, stale(kind)):
            yield "stale buffer", said, new


def restacked(program: Program) -> Iterator[Mutant]:
    """The parts of each stack in another order: gates written in the order of another convention. For scheduled programs."""
    for k, equation in enumerate(program.equations):
        for index, term in enumerate(equation.terms):
            parts = term.value.args if isinstance(term.value, Stack) else ()
            for first in range(len(parts) - 1):
                if parts[first].shape == parts[first + 1].shape:
                    order = [*parts[:first], parts[first + 1], parts[first], *parts[first + 2 :]]
                    yield from made(program, k, index, "gate order", "gates stacked in another order", Stack(*order))


def described(mutant: Mutant, notation: object) -> str:
    """What was done, and to which equation."""
    return f"{mutant.said}, in {notation.equation(mutant.equation)}"  # type: ignore[attr-defined]


__all__ = ["Mutant", "Plus", "Times", "X", "described", "mutants", "restacked"]
