"""Sums over steps and examples, and where the recurrence is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import sympy as sp

from derive.along import Steps, axes_of
from derive.equation import Equation, Term
from derive.language import Value, X, apply, hadamard
from derive.program import Program
from derive.schedule import stages
from derive.shapes import steps_in
from verify.edits.edit import Edit, edited, edits, of_terms
from verify.edits.elsewhere import WEIGHTS, weight
from verify.edits.terms import is_kind

SAID = {
    "first only": "gathered from the first step only", "last only": "gathered from the last step only",
    "not first": "the first step is left out", "not last": "the last step is left out",
    "mean over steps": "mean instead of sum over steps", "mean over examples": "mean instead of sum over examples",
    "mean over steps and examples": "mean instead of sum over steps and examples",
}  # fmt: skip


def weighted(kind: str) -> Callable[[sp.MatrixExpr], sp.MatrixExpr]:
    """What weighs a summand that varies along steps; with a mean any that varies with the example."""

    def change(value: sp.MatrixExpr) -> sp.MatrixExpr:
        axes = axes_of(value)
        return hadamard(weight(kind, value), value) if steps_in(axes) or (axes and kind.startswith("mean")) else value

    return change


def divided(axis: str) -> Callable[[sp.MatrixExpr], sp.MatrixExpr]:
    """What divides a summand that varies with the example, and not along an axis of steps, by how many there are of these."""

    def change(value: sp.MatrixExpr) -> sp.MatrixExpr:
        axes = axes_of(value)
        return hadamard(apply(1 / X, Steps(axis)), value) if axes and axis not in axes else value

    return change


def sums(program: Program, forward: Program) -> Iterator[Edit]:
    """A parameter that gathers some steps only, or a mean for the sum, also where nothing is summed over the steps."""
    axes = list(dict.fromkeys(axis for one in program.equations for axis in steps_in(one.target.axes)))
    for axis in axes:
        said = f"divided by the number of steps{f' {axis}' * (len(axes) > 1)}, over which it isn't summed"
        yield from edits(of_terms("mean for sum", said, divided(axis), within=lambda one: one.accumulate), program)
    for kind in WEIGHTS:
        name = "mean for sum" if kind.startswith("mean") else "some steps only"
        yield from edits(of_terms(name, SAID[kind], weighted(kind), within=lambda one: one.accumulate), program)


def of_loss(program: Program, forward: Program) -> Iterator[Edit]:
    """What the loss gives divided by how many steps or examples there are."""

    def is_first(one: Equation) -> bool:
        return not one.accumulate and any(value.kind == "given" or is_loss(value) for value in one.reads())

    for kind in (kind for kind in WEIGHTS if kind.startswith("mean")):
        said = f"divided by the number of {kind.removeprefix('mean over ')}"
        yield from edits(of_terms("mean for sum", said, weighted(kind), within=is_first), program)


def is_loss(value: Value) -> bool:
    """Whether a value is the gradient of a number."""
    return value.kind == "cotangent" and value.shape == (1, 1)


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


def cuts(program: Program, forward: Program, each: Iterable[int] = range(1, 5)) -> Iterator[Edit]:
    """The recurrence cut: what comes from the next step dropped every K steps, or the loop stopped K steps before the end, or before the
    first K steps."""
    carried = list(walked(program))
    loops, each = loops_of(program), tuple(each)
    for K in each:
        for said, some in carried:
            for start in ("", " from start") if K > 1 else ("",):
                yield from cut(program, K, f"{said} is cut every {f'{K} steps' if K > 1 else 'step'}", start, some)
        yield from stopped(program, K)
        yield from left_out(program, K, loops)
    # last, since on one length of data the pieces behind a shorter one may be those counted from the other end
    for said, some in carried:
        for K in each if len(some) == len(program.carries) or some in loops else ():
            for start, first in product(("", " from start"), range(1, min(K, MOST))):
                yield from cut(program, K, f"{said} is cut every {K} steps", start, some, first)


MOST = 5
"""Pieces that are counted from a shorter one are tried for fewer steps of it than so many."""


def loops_of(program: Program) -> list[dict[Value, Value]]:
    """The carries of each recurrence: what is read -> what is written."""
    inside = [{one.target for one in stage.equations} for stage in stages(program.equations, fused=False, starts=program.starts)]
    found = [{read: written for read, written in program.carries if written in some} for some in inside]
    return [one for one in found if one]


def walked(program: Program) -> Iterator[tuple[str, dict[Value, Value]]]:
    """What is cut together, with what to call it: all carries, those of one recurrence, a single one; what is read -> what is written."""
    carried = dict(program.carries)
    yield "the carry", carried
    groups = [*loops_of(program), *[{read: written} for read, written in carried.items()]]
    for some in dict.fromkeys(tuple(one.items()) for one in groups if len(one) < len(carried)):
        yield f"the carry of {' and '.join(read.name for read, _ in some)}", dict(some)


def cut(program: Program, K: int, said: str, start: str, some: Mapping[Value, Value], first: int = 0) -> Iterator[Edit]:
    """Some carries cut in pieces of K steps: not read, or not handed on, which the gradient of the initial state tells apart.

    start: ` from start` where pieces are counted from the first step; first: how many steps the piece has from which they are counted,
    0 for as many as the others.
    """
    counted = "first" if start else "last"
    said = f"truncated recurrence at K = {K}: {said}"
    said += (
        f", the {counted} piece has {first} step{'s' * (first > 1)}"
        if first
        else f", counted from the {counted} step" * bool(start)
    )
    by = f"{K}+{first}" if first else f"{K}"
    ways = {read: ("keep", "hand") if read.lag > 0 else ("hand", "keep") for read in some}
    weighed: dict[sp.MatrixExpr, sp.MatrixExpr] = {
        read: hadamard(weight(f"{came}{start} {by}", read), read) for read, (came, _) in ways.items()
    }
    equations = enumerate(program.equations)
    read_by = {k: one.substituted(weighed.get) for k, one in equations if any(one.is_reading(value) for value in some)}
    yield from edited("cut recurrence", said, program, read_by, 1)
    handed = {written: f"{ways[read][1]}{start} {by}" for read, written in some.items()}
    changes = {
        k: replace(one, factor=weight(handed[one.target], one.target))
        for k, one in enumerate(program.equations)
        if K > 1 and one.target in handed and one.factor is None
    }
    yield from edited("cut recurrence", said, program, changes, 1)


def stopped(program: Program, K: int) -> Iterator[Edit]:
    """The loop stopped K steps before the end, or before the first K steps; what it has then is handed out as the gradient of the initial
    state, or zeros are."""
    early = f"{FIRST[K > 1].format(K=K)} left out: the loop stops before {'them' if K > 1 else 'it'}"
    late = f"truncated recurrence at K = {K}: the loop stops {K} steps before the end"
    for said, kept, rest in ((early, "from", "before"), (late, "stop", "past")):

        def inside(value: sp.MatrixExpr, kept: str = kept) -> sp.MatrixExpr:
            return hadamard(weight(f"{kept} {K}", value), value) if is_kind(value, "given", "carry") else value

        changes = {
            k: replace(one, terms=tuple(Term(inside(term.value), term.reason) for term in one.terms))
            for k, one in enumerate(program.equations)
            if any(is_kind(term.value, "given", "carry") for term in one.terms)
        }
        yield from edited("cut recurrence", said, program, changes, 1)
        yield from edited("cut recurrence", said, program, changes | handed_out(program, dict(program.carries), f"{rest} {K}"), 1)


FIRST = ("the first step is", "the first {K} steps are")


def left_out(program: Program, K: int, loops: Sequence[Mapping[Value, Value]]) -> Iterator[Edit]:
    """One recurrence stopped K steps early, or K steps before the end, with all that its steps make of what is handed on."""
    for some in loops:
        back = all(read.lag > 0 for read in some)
        loop = f"the loop of {' and '.join(dict.fromkeys(read.name for read in some))}"
        which = FIRST[K > 1].format(K=K) if back else FIRST[K > 1].format(K=K).replace("first", "last")
        early = f"{which} left out: {loop} stops before {'them' if K > 1 else 'it'}"
        late = f"truncated recurrence at K = {K}: {loop} stops {K} steps before the end"
        ends = (("from", "before"), ("stop", "past")) if back else (("past", "stop"), ("before", "from"))
        for said, (kept, rest) in zip((early, late), ends, strict=True):
            changes = {
                k: replace(
                    one, terms=tuple(Term(hadamard(weight(f"{kept} {K}", one.target), t.value), t.reason) for t in one.terms)
                )
                for k, one in enumerate(program.equations)
                if any(one.is_reading(read) for read in some)
            }
            yield from edited("cut recurrence", said, program, changes, 1)
            yield from edited("cut recurrence", said, program, changes | handed_out(program, some, f"{rest} {K}"), 1)


def handed_out(program: Program, some: Mapping[Value, Value], kind: str) -> dict[int, Equation]:
    """What a loop that stops has then, handed on through the steps that it leaves out."""
    read = {written: value for value, written in some.items()}
    return {
        k: replace(one, terms=(*one.terms, Term(hadamard(weight(kind, one.target), read[one.target]))))
        for k, one in enumerate(program.equations)
        if one.target in read and one.factor is None
    }
