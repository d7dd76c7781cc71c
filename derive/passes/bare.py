"""Read what a bare copy copies: an equation that only gives another name to a value of the same step computes nothing."""

from __future__ import annotations

from derive.language import Value
from derive.program import Program


def bare(program: Program, forward: Program) -> Program:
    """The program without the equations v = u of each step, where no step hands v on and nobody outside reads it."""
    read_elsewhere = {*program.results, *[value.here for one in program.equations for value in one.reads() if value.lag]}
    known: dict[Value, Value] = {}
    for equation in program.equations:
        target, value = equation.target, equation.value
        if isinstance(value, Value) and value.axes == target.axes and target.timed and not {target, value} & read_elsewhere:
            known[target] = known.get(value, value)
    kept = [equation for equation in program.equations if equation.target not in known]
    return program.with_equations([equation.substituted(known.get) for equation in kept]) if known else program
