"""The functions of the contract over tensors: signature, docstring, and the refusals at the start."""

from __future__ import annotations

from dataclasses import replace

from derive.cell import Cell
from derive.targets.numpy.layout import Bracket, Word
from derive.targets.numpy.signatures import BOTH_WAYS, OVER_STEPS, Signature, Start, line
from derive.targets.numpy.signatures import SIGNATURES as NUMPY

REFUSES = "Raises ValueError on a name, shape, dtype or device that doesn't fit."


def filled(where: str, what: str, table: str, axes: str) -> Start:
    """A mapping of the caller's, checked, with zeros for what it misses."""
    words = (f'"{where}"', f'"{what}"', what, table, axes, "sizes", "like")
    return Start(Bracket("_filled(", tuple(map(Word, words)), ")"), f"{what} = ", table == "STATES")


def sized(where: str) -> Start:
    return line(f'sizes, like = _sizes("{where}", parameters, inputs, state)')


OF_TAPE = line("sizes, like = tape.sizes, tape.like")
TANGENTS = (
    ("tangent_parameters", "PARAMETERS", "()"),
    ("tangent_inputs", "INPUTS", OVER_STEPS),
    ("tangent_state", "STATES", '("B",)'),
)

SIGNATURES = {
    "forward": Signature(
        "forward(parameters, inputs, state=None)",
        (
            "Run the model over all steps.",
            "",
            "parameters {name: tensor}, inputs {name: (T, B, ...)}, state {name: (B, ...)}, None for zeros.",
            "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads.",
            REFUSES,
        ),
        (sized("forward"), filled("forward", "state", "STATES", '("B",)')),
    ),
    "backward": replace(
        NUMPY["backward"],
        text="backward(parameters, tape, cotangents)",
        says=(*NUMPY["backward"].says[:-1], REFUSES),
        starts=(
            line('_taped("backward", parameters, tape)'),
            OF_TAPE,
            filled("backward", "cotangents", "{**STATES, **OUTPUTS}", OVER_STEPS),
        ),
    ),
    "jvp": replace(
        NUMPY["jvp"],
        says=(*NUMPY["jvp"].says[:-1], REFUSES),
        starts=(sized("jvp"), *[filled("jvp", *one) for one in TANGENTS], line("_, tape = forward(parameters, inputs, state)")),
    ),
    "hvp": replace(
        NUMPY["hvp"],
        says=(*NUMPY["hvp"].says[:-1], REFUSES),
        starts=(
            sized("hvp"),
            filled("hvp", "state", "STATES", '("B",)'),
            filled("hvp", "cotangents", "{**STATES, **OUTPUTS}", OVER_STEPS),
            *[filled("hvp", *one) for one in TANGENTS],
        ),
    ),
    "step_jacobian": replace(NUMPY["step_jacobian"], starts=(line('_taped("step_jacobian", parameters, tape)'), OF_TAPE)),
}

OF_ALL_STEPS = replace(
    SIGNATURES["forward"],
    says=(
        "Run all recurrences over all steps.",
        "",
        "parameters {name: tensor}, inputs {name: (T, B, ...)}, state {name: (B, ...)}, None for zeros; of a recurrence that runs from the "
        "last step to the first the state after the last step. What AXES names lies along the axes that stand there, None for no steps: "
        "(B, ...).",
        *SIGNATURES["forward"].says[3:],
    ),
)
"""forward of a kernel whose steps aren't a chain of states."""


def signature_of(function: str, cell: Cell) -> Signature:
    """The signature of a function."""
    if function == "forward" and not cell.is_chain:
        return OF_ALL_STEPS
    if function == "step_jacobian" and (cell.leftward or len(cell.step_axes) > 1):
        return replace(SIGNATURES[function], says=BOTH_WAYS.says)
    return SIGNATURES[function]
