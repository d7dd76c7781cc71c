"""Slips of what a network has beside its steps: a recurrence walked the wrong way, the wrong end of one, a mean for a sum over steps."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from derive.along import Pick, Place, Spread, Steps, SumAlong
from derive.language import X, apply, hadamard
from derive.program import Program
from derive.schedule import LOOPS, stages
from verify.edits.edit import Edit, edits, of_nodes

OTHER = {"first": "last", "last": "first"}


def other_end(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The value of the other end; None for what is no end."""
    return type(node)(node.args[0], node.axis, OTHER[node.end]) if isinstance(node, (Pick, Place)) else None


def mean_of_steps(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The mean over the steps, or what it hands back; None for what is no sum over them."""
    return hadamard(apply(1 / X, Steps(node.axis)), node) if isinstance(node, (SumAlong, Spread)) else None


def wrong_ends(program: Program, forward: Program) -> Iterator[Edit]:
    """What belongs to the last step at the first one, or the other way round."""
    yield from edits(of_nodes("the wrong end", "the other end of the steps", other_end), program)
    yield from edits(of_nodes("mean for sum", "mean instead of sum over steps", mean_of_steps), program)


def wrong_ways(program: Program, forward: Program) -> Iterator[Edit]:
    """A recurrence walked from the other end: each step reads what the step on its other side hands on."""
    for stage in stages(program.equations, fused=False, starts=program.starts):
        if stage.way in LOOPS:
            inside = {equation.target for equation in stage.equations}
            turned = {read: read.like(lag=-read.lag) for read, written in program.carries if written in inside}
            names = ", ".join(dict.fromkeys(read.name for read in turned))
            first, last = ("last", "first") if stage.way == "backwards" else ("first", "last")
            said = f"the recurrence of {names} is walked the wrong way: from the {last} step to the {first} one"
            found = list(edits(of_nodes("the wrong way", said, turned.get), program))
            yield from [edit for edit in found if is_turned(edit, turned)]


def is_turned(edit: Edit, turned: dict[sp.MatrixExpr, sp.MatrixExpr]) -> bool:
    """Whether every read of a recurrence is turned: one that is walked both ways is none."""
    return not any(equation.is_reading(value) for equation in edit.program.equations for value in turned)
