"""The functions of the contract: signature, docstring, and the refusals at the start."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

from derive.cell import Cell
from derive.targets.numpy.layout import STEP, WIDTH, Bracket, Piece, Word, lines

OVER_STEPS = '("T", "B")'
"""The axes of what there is at each step."""


@dataclass(frozen=True)
class Start:
    """One of the first lines of a function, `target = piece`; of_states: a cell without states has no use for it."""

    piece: Piece
    target: str = ""
    of_states: bool = False

    def along(self, cell: Cell) -> Piece:
        """The piece, where some inputs and outputs have no steps: each by its own axes."""
        if not cell.axes or not isinstance(self.piece, Bracket):
            return self.piece
        items = tuple(Word("None") if one == Word(OVER_STEPS) else one for one in self.piece.items)
        return replace(self.piece, items=items)


def line(text: str) -> Start:
    return Start(Word(text))


def filled(where: str, what: str, table: str, axes: str) -> Start:
    """A mapping of the caller's, checked, with zeros for what it misses."""
    words = (f'"{where}"', f'"{what}"', what, table, axes, "sizes", "dtype")
    return Start(Bracket("_filled(", tuple(map(Word, words)), ")"), f"{what} = ", table == "STATES")


@dataclass(frozen=True)
class Signature:
    """A function of the contract. text: what stands behind `def`. says: its docstring, paragraphs. starts: its first lines."""

    text: str
    says: tuple[str, ...]
    starts: tuple[Start, ...]

    def doc(self) -> list[str]:
        first, *rest = [part for one in self.says for part in textwrap.wrap(one, WIDTH - 2 * len(STEP)) or [""]]
        return [f'{STEP}"""{first}', *[f"{STEP}{part}" if part else "" for part in rest], f'{STEP}"""']

    def head(self, cell: Cell) -> list[str]:
        """The first lines."""
        starts = [one for one in self.starts if cell.states or not one.of_states]
        return [found for one in starts for found in lines(one.along(cell), STEP, one.target)]


REFUSES = "Raises ValueError on a name, shape or dtype that doesn't fit."

SIGNATURES = {
    "forward": Signature(
        "forward(parameters, inputs, state=None, *, workspace=None, checkpoint_every=None)",
        (
            "Run the cell over all steps.",
            "",
            "parameters {name: array}, inputs {name: (T, B, ...)}, state {name: (B, ...)}, None for zeros.",
            "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. checkpoint_every=k keeps "
            "the states every k steps only; backward computes the steps between again. A workspace is taken and not used.",
            REFUSES,
        ),
        (
            line('_usable("forward", workspace)'),
            line('sizes, dtype = _sizes("forward", parameters, inputs, state)'),
            line("if checkpoint_every is not None:"),
            line("    return _checkpointed(parameters, inputs, state, checkpoint_every, sizes, dtype)"),
            filled("forward", "state", "STATES", '("B",)'),
        ),
    ),
    "backward": Signature(
        "backward(parameters, tape, cotangents, *, workspace=None)",
        (
            "Gradients of L, given dL/d(state or output) at every step, directly.",
            "",
            "cotangents {name: (T, B, ...)}; a missing one counts as zero.",
            "Returns Gradients: .parameters, .inputs, .state (of the initial state), each array shaped as its primal.",
            REFUSES,
        ),
        (
            line('_usable("backward", workspace)'),
            line('_taped("backward", parameters, tape)'),
            line("sizes, dtype = tape.sizes, tape.dtype"),
            filled("backward", "cotangents", "{**STATES, **OUTPUTS}", OVER_STEPS),
            line("if tape.segments is not None:"),
            line("    return _backward_by_segments(parameters, tape, cotangents)"),
        ),
    ),
    "jvp": Signature(
        "jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state)",
        (
            "Forward mode: how states and outputs move, {name: (T, B, ...)}, when the arguments move along tangents.",
            "",
            "state None is zeros, tangent_state None and a missing tangent are zero.",
            REFUSES,
        ),
        (
            line('sizes, dtype = _sizes("jvp", parameters, inputs, state)'),
            filled("jvp", "tangent_parameters", "PARAMETERS", "()"),
            filled("jvp", "tangent_inputs", "INPUTS", OVER_STEPS),
            filled("jvp", "tangent_state", "STATES", '("B",)'),
            line("_, tape = forward(parameters, inputs, state)"),
        ),
    ),
    "hvp": Signature(
        "hvp(parameters, inputs, state, cotangents, tangent_parameters, tangent_inputs, tangent_state)",
        (
            "Second order: how gradients move when the arguments move along tangents, cotangents held.",
            "",
            "state None is zeros, tangent_state None, a missing cotangent and a missing tangent are zero. Returns Gradients.",
            REFUSES,
        ),
        (
            line('sizes, dtype = _sizes("hvp", parameters, inputs, state)'),
            filled("hvp", "state", "STATES", '("B",)'),
            filled("hvp", "cotangents", "{**STATES, **OUTPUTS}", OVER_STEPS),
            filled("hvp", "tangent_parameters", "PARAMETERS", "()"),
            filled("hvp", "tangent_inputs", "INPUTS", OVER_STEPS),
            filled("hvp", "tangent_state", "STATES", '("B",)'),
        ),
    ),
    "step_jacobian": Signature(
        "step_jacobian(parameters, tape)",
        (
            "d(all states after step t) / d(all states before it), (T, B, S, S).",
            "",
            "States are in the order of STATES, matrices row by row. Each direction of the states before a step is a tangent; they are "
            "the first axis of the arrays below.",
            "Raises ValueError on a tape that isn't forward's.",
        ),
        (
            line('_taped("step_jacobian", parameters, tape)'),
            line("sizes, dtype = tape.sizes, tape.dtype"),
            line("if tape.segments is not None:"),
            line("    return _jacobian_by_segments(parameters, tape)"),
        ),
    ),
}

FORWARD, BACKWARD, HVP = (SIGNATURES[name] for name in ("forward", "backward", "hvp"))
FAST = {
    "forward": replace(
        FORWARD,
        says=(
            *FORWARD.says[:3],
            "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. With a workspace its arrays "
            "are reused: outputs and tape live until the next forward with it. checkpoint_every=k keeps the states every k steps only; "
            "backward computes the steps between again, the same gradients up to the order of summation, without the workspace.",
            REFUSES,
        ),
        starts=(*FORWARD.starts, line("m = _arrays(workspace, _Forward, sizes, dtype)")),
    ),
    "backward": replace(
        BACKWARD,
        says=(
            *BACKWARD.says[:-1],
            "With a workspace its arrays are reused: gradients live until the next backward with it.",
            REFUSES,
        ),
        starts=(*BACKWARD.starts, line("m = _arrays(workspace, _Backward, sizes, dtype)")),
    ),
    "tangents": Signature(
        "_tangents(parameters, tape, tangent_parameters, tangent_inputs, tangent_state)",
        ("How values move at all steps when the arguments move along tangents, {name: (T, B, ...)}, as hvp reads them.",),
        (line("sizes, dtype = tape.sizes, tape.dtype"), line("m = _Tangents(sizes, dtype)")),
    ),
    "gradients": Signature(
        "_gradients(parameters, tape, tangents, cotangents, tangent_parameters, tangent_inputs)",
        ("Gradients of values at all steps, {name: (T, B, ...)}, and how they move products, as hvp reads them.",),
        (line("sizes, dtype = tape.sizes, tape.dtype"), line("m = _Gradients(sizes, dtype)")),
    ),
    "hvp": replace(
        HVP,
        starts=(
            *HVP.starts,
            line("_, tape = forward(parameters, inputs, state)"),
            line("tangents = _tangents(parameters, tape, tangent_parameters, tangent_inputs, tangent_state)"),
            line("gradients = _gradients(parameters, tape, tangents, cotangents, tangent_parameters, tangent_inputs)"),
            line("m = _Hvp(sizes, dtype)"),
        ),
    ),
}
"""Of functions whose arrays are made once."""

OF_ALL_STEPS = replace(
    FORWARD,
    says=(
        "Run all recurrences over all steps.",
        "",
        "parameters {name: array}, inputs {name: (T, B, ...)}, state {name: (B, ...)}, None for zeros; of a recurrence that runs from the "
        "last step to the first the state after the last step. What AXES names lies along the axes that stand there, None for no steps: "
        "(B, ...).",
        "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. With checkpoint_every=k the "
        "tape keeps the arguments only, whatever k: backward computes all steps again. A workspace is taken and not used.",
        REFUSES,
    ),
)
"""forward of a kernel whose steps aren't a chain of states: recurrences that run both ways, values of all steps."""

OF_ALL_STEPS_FAST = replace(
    FAST["forward"],
    says=(
        *OF_ALL_STEPS.says[:3],
        "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. With a workspace its arrays are "
        "reused: outputs and tape live until the next forward with it. With checkpoint_every=k the tape keeps the arguments only, whatever "
        "k: backward computes all steps again.",
        REFUSES,
    ),
)
"""The same where arrays are made once."""

BOTH_WAYS = replace(
    SIGNATURES["step_jacobian"],
    says=(
        "d(states after a step) / d(states before it) of each way along each axis, {first state of the way: (T, B, S, S)}; the array "
        "itself where all run one way along one axis.",
        "",
        "States are in the order of STATES, matrices row by row; those of another way or axis are held. Each direction of the states "
        "before a step is a tangent; they are the first axis of the arrays below.",
        "Raises ValueError on a tape that isn't forward's.",
    ),
)
"""step_jacobian of a kernel with a recurrence from the last step to the first, or with recurrences along two axes."""


def signature_of(function: str, cell: Cell, buffered: bool) -> Signature:
    """The signature of a function; buffered: its arrays are made once."""
    if function == "step_jacobian" and (cell.leftward or len(cell.step_axes) > 1):
        return BOTH_WAYS
    if function == "forward" and not cell.is_chain:
        return OF_ALL_STEPS_FAST if buffered else OF_ALL_STEPS
    return (FAST if buffered or function not in SIGNATURES else SIGNATURES)[function]
