"""Slips of what a network has beside its steps: a recurrence walked the wrong way, the wrong end of one, the wrong axis, a mean for a
sum over steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import sympy as sp

from derive.along import Pick, Place, SoftmaxAlong, Spread, Steps, SumAlong, axes_of, spread
from derive.equation import Term
from derive.language import Value, X, apply, hadamard
from derive.program import Program
from derive.schedule import LOOPS, stages
from derive.shapes import steps_in
from verify.edits.edit import Edit, edited, edits, of_nodes
from verify.edits.elsewhere import weight

OTHER = {"first": "last", "last": "first"}


def other_end(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The value of the other end; None for what is no end."""
    return type(node)(node.args[0], node.axis, OTHER[node.end]) if isinstance(node, (Pick, Place)) else None


def mean_of_steps(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The mean over the steps, or what it hands back; None for what is no sum over them."""
    return hadamard(apply(1 / X, Steps(node.axis)), node) if isinstance(node, (SumAlong, Spread)) else None


def other_axis(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The same along the other axis of steps, of what varies along two; None for what doesn't."""
    if not isinstance(node, (SumAlong, SoftmaxAlong)):
        return None
    others = [axis for axis in steps_in(axes_of(node.args[0])) if axis != node.axis]
    return type(node)(node.args[0], others[0]) if others else None


def wrong_ends(program: Program, forward: Program) -> Iterator[Edit]:
    """What belongs to the last step at the first one, or the other way round."""
    yield from edits(of_nodes("the wrong end", "the other end of the steps", other_end), program)
    yield from edits(of_nodes("mean for sum", "mean instead of sum over steps", mean_of_steps), program)
    yield from edits(of_nodes("the wrong axis", "another axis of steps", other_axis), program)
    for read, start in program.starts:
        yield from at_other_end(program, read, start)


def at_other_end(program: Program, read: Value, start: Value) -> Iterator[Edit]:
    """The gradient that a recurrence starts with, that of its last value, added at the step where it ends."""
    end = "first" if read.lag > 0 else "last"
    there = hadamard(weight(f"{end} only", read), spread(start, read.axis))
    changes = {
        k: replace(one, terms=(*one.terms, Term(there)))
        for k, one in enumerate(program.equations)
        if one.is_reading(read) and one.factor is None
    }
    said = f"the other end of the steps: the gradient of an end of {read.name} counts at the {end} step"
    for edit in edited("the wrong end", said, program, changes, 1):
        starts = tuple(pair for pair in program.starts if pair[0] != read)
        yield replace(edit, program=replace(edit.program, starts=starts))


def wrong_ways(program: Program, forward: Program) -> Iterator[Edit]:
    """A recurrence walked from the other end: each step reads what the step on its other side hands on."""
    for stage in stages(program.equations, fused=False, starts=program.starts):
        if stage.way in LOOPS:
            inside = {equation.target for equation in stage.equations}
            turned: dict[sp.MatrixExpr, Value] = {
                read: read.like(lag=-read.lag) for read, written in program.carries if written in inside
            }
            names = ", ".join(dict.fromkeys(read.name for read in turned))
            first, last = ("last", "first") if stage.way == "backwards" else ("first", "last")
            said = f"the recurrence of {names} is walked the wrong way: from the {last} step to the {first} one"
            found = list(edits(of_nodes("the wrong way", said, turned.get), program))
            for edit in found:
                if is_turned(edit, turned):
                    starts = tuple((turned.get(read, read), start) for read, start in program.starts)
                    yield replace(edit, program=replace(edit.program, starts=starts))


def is_turned(edit: Edit, turned: Collection[sp.MatrixExpr]) -> bool:
    """Whether every read of a recurrence is turned: one that is walked both ways is none."""
    return not any(equation.is_reading(value) for equation in edit.program.equations for value in turned)
