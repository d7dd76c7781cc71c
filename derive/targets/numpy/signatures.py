"""The functions of the contract: signature, docstring, and the refusals at the start."""

from __future__ import annotations

from dataclasses import dataclass, replace

from derive.cell import Cell


@dataclass(frozen=True)
class Signature:
    """A function of the contract. text: what stands behind `def`. says: its docstring, a line each. starts: its first lines."""

    text: str
    says: tuple[str, ...]
    starts: tuple[str, ...]

    def doc(self) -> list[str]:
        first, *rest = self.says
        return [f'    """{first}', *[f"    {line}" if line else "" for line in rest], '    """']

    def head(self, cell: Cell) -> list[str]:
        """The first lines, without those that a cell without states has no use for."""
        return [line for line in self.starts if cell.states or "STATES, (" not in line]


REFUSES = "Raises ValueError on a name, shape or dtype that doesn't fit."

SIGNATURES = {
    "forward": Signature(
        "forward(parameters, inputs, state=None, *, workspace=None, checkpoint_every=None)",
        (
            "Run the cell over all steps.",
            "",
            "parameters {name: array}, inputs {name: (T, B, ...)}, state {name: (B, ...)}, None for zeros.",
            "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. checkpoint_every=k keeps",
            "the states every k steps only; backward computes the steps between again. A workspace is taken and not used.",
            REFUSES,
        ),
        (
            '_usable("forward", workspace)',
            'sizes, dtype = _sizes("forward", parameters, inputs, state)',
            "if checkpoint_every is not None:",
            "    return _checkpointed(parameters, inputs, state, checkpoint_every, sizes, dtype)",
            'state = _filled("forward", "state", state, STATES, ("B",), sizes, dtype)',
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
            '_usable("backward", workspace)',
            '_taped("backward", parameters, tape)',
            "sizes, dtype = tape.sizes, tape.dtype",
            'cotangents = _filled("backward", "cotangents", cotangents, {**STATES, **OUTPUTS}, ("T", "B"), sizes, dtype)',
            "if tape.segments is not None:",
            "    return _backward_by_segments(parameters, tape, cotangents)",
        ),
    ),
    "jvp": Signature(
        "jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state)",
        (
            "Forward mode: how every state and output moves, {name: (T, B, ...)}, when the arguments move along the tangents.",
            "",
            "state None is zeros, tangent_state None and a missing tangent are zero.",
            REFUSES,
        ),
        (
            'sizes, dtype = _sizes("jvp", parameters, inputs, state)',
            'tangent_parameters = _filled("jvp", "tangent_parameters", tangent_parameters, PARAMETERS, (), sizes, dtype)',
            'tangent_inputs = _filled("jvp", "tangent_inputs", tangent_inputs, INPUTS, ("T", "B"), sizes, dtype)',
            'tangent_state = _filled("jvp", "tangent_state", tangent_state, STATES, ("B",), sizes, dtype)',
            "_, tape = forward(parameters, inputs, state)",
        ),
    ),
    "hvp": Signature(
        "hvp(parameters, inputs, state, cotangents, tangent_parameters, tangent_inputs, tangent_state)",
        (
            "Second order: how the gradients of backward move when the arguments move along the tangents, cotangents held.",
            "",
            "state None is zeros, tangent_state None, a missing cotangent and a missing tangent are zero. Returns Gradients.",
            REFUSES,
        ),
        (
            'sizes, dtype = _sizes("hvp", parameters, inputs, state)',
            'state = _filled("hvp", "state", state, STATES, ("B",), sizes, dtype)',
            'cotangents = _filled("hvp", "cotangents", cotangents, {**STATES, **OUTPUTS}, ("T", "B"), sizes, dtype)',
            'tangent_parameters = _filled("hvp", "tangent_parameters", tangent_parameters, PARAMETERS, (), sizes, dtype)',
            'tangent_inputs = _filled("hvp", "tangent_inputs", tangent_inputs, INPUTS, ("T", "B"), sizes, dtype)',
            'tangent_state = _filled("hvp", "tangent_state", tangent_state, STATES, ("B",), sizes, dtype)',
        ),
    ),
    "step_jacobian": Signature(
        "step_jacobian(parameters, tape)",
        (
            "d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES, matrices row by row.",
            "",
            "Each direction of the states before a step is a tangent; they are the first axis of the arrays below.",
            "Raises ValueError on a tape that isn't forward's.",
        ),
        (
            '_taped("step_jacobian", parameters, tape)',
            "sizes, dtype = tape.sizes, tape.dtype",
            "if tape.segments is not None:",
            "    return _jacobian_by_segments(parameters, tape)",
        ),
    ),
}

FORWARD, BACKWARD = SIGNATURES["forward"], SIGNATURES["backward"]
FAST = {
    "forward": replace(
        FORWARD,
        says=(
            *FORWARD.says[:3],
            "Returns outputs {name: (T, B, ...)} of every state and output, and the tape that backward reads. With a workspace its arrays",
            "are reused: outputs and tape live until the next forward with it. checkpoint_every=k keeps the states every k steps only;",
            "backward computes the steps between again, the same gradients up to the order of summation, without the workspace.",
            REFUSES,
        ),
        starts=(*FORWARD.starts, "m = _arrays(workspace, _Forward, sizes, dtype)"),
    ),
    "backward": replace(
        BACKWARD,
        says=(
            *BACKWARD.says[:-1],
            "With a workspace its arrays are reused: gradients live until the next backward with it.",
            REFUSES,
        ),
        starts=(*BACKWARD.starts, "m = _arrays(workspace, _Backward, sizes, dtype)"),
    ),
}
"""Of functions whose arrays are made once."""
