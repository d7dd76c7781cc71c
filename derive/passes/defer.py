"""Defer to after the loop what no step reads: parameter gradients, input gradients and readouts become one product over all steps."""

from __future__ import annotations

from dataclasses import replace

from derive.program import Program


def defer(program: Program, forward: Program) -> Program:
    """Move every equation whose target nothing in the loop reads behind the loop; a reverse program keeps its carries in the loop."""
    carried = {written for _, written in program.carries}
    passing = set(program.carried()) if program.reverse else set()
    needed = set(carried)
    places = {}
    for equation in reversed(program.equations):
        if equation.place == "step":
            if equation.target in needed or passing.intersection(equation.reads()):
                needed.update(equation.reads())
            else:
                places[equation.target] = "after"
    return program.with_equations(
        [replace(equation, place=places.get(equation.target, equation.place)) for equation in program.equations]
    )
