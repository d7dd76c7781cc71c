"""The passes: each `Program -> Program`, each one file, each leaving the gradients as they are.

`TIDY` brings a derived program into the form that a person would write; the sheet prints it. `SCHEDULE` makes it fast; the
emitted code comes from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from derive.passes.blend import blend
from derive.passes.coefficients import coefficients
from derive.passes.collect import collect
from derive.passes.factor import factor
from derive.passes.gather import gather
from derive.passes.halve import halve
from derive.passes.hoist import hoist
from derive.passes.inline import inline
from derive.passes.outputs import outputs
from derive.passes.share import share
from derive.passes.stack import stack
from derive.passes.vectorise import vectorise
from derive.program import Program

Pass = Callable[[Program, Program], Program]
"""A pass takes the program to change and the forward program as flattened from the cell, whose values the first may read."""

TIDY: dict[str, Pass] = {
    "outputs": outputs,
    "inline": inline,
    "gather": gather,
    "collect": collect,
    "factor": factor,
    "share": share,
}
SCHEDULE: dict[str, Pass] = {
    "blend": blend,
    "halve": halve,
    "coefficients": coefficients,
    "stack": stack,
    "hoist": hoist,
    "vectorise": vectorise,
}


def run(passes: Sequence[Pass], program: Program, forward: Program) -> Program:
    """The program after all of the passes, in order."""
    for one in passes:
        program = one(program, forward)
    return program
