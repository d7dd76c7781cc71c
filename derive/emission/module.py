"""A whole kernel: docstring, tables, the four functions, the helpers they call, and the refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp

from derive.emission import functions, runtime
from derive.emission.names import Names
from derive.functions import DEFINITIONS
from derive.language import Value
from derive.notation import dim

if TYPE_CHECKING:
    from derive.compiler import Derivation

DOCS = {
    "forward": (
        "forward(parameters, inputs, state=None)",
        '''    """Run the cell over all steps.

    parameters {name: array}, inputs {name: (T, B, n)}, state {name: (B, n)}, None for zeros.
    Returns outputs {name: (T, B, n)} of every state and output, and the tape that backward reads.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """''',
    ),
    "backward": (
        "backward(parameters, tape, cotangents)",
        '''    """Gradients of L, given dL/d(state or output) at every step, directly.

    cotangents {name: (T, B, n)}; a missing one counts as zero.
    Returns Gradients: .parameters, .inputs, .state (of the initial state), each array shaped as its primal.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """''',
    ),
    "jvp": (
        "jvp(parameters, inputs, state, tangent_parameters, tangent_inputs, tangent_state)",
        '''    """Forward mode: how every state and output moves, {name: (T, B, n)}, when the arguments move along the tangents.

    state None is zeros, tangent_state None and a missing tangent are zero.
    Raises ValueError on a name, shape or dtype that doesn't fit.
    """''',
    ),
    "step_jacobian": (
        "step_jacobian(parameters, tape)",
        '''    """d(all states after step t) / d(all states before it), (T, B, S, S), states in the order of STATES.

    Raises ValueError on a tape that isn't forward's.
    """''',
    ),
}


def module_text(scheduled: Derivation, tape: list[Value]) -> str:
    """The module below its header."""
    cell = scheduled.cell
    values = [*cell.parameters, *cell.inputs, *cell.states, *cell.outputs]
    symbols = {symbol for value in values for size in value.shape for symbol in size.free_symbols}
    dims = sorted(symbol.name for symbol in symbols)
    names, notation, helpers = Names(dims), scheduled.notation(), set[str]()
    for value in (*cell.parameters, *cell.inputs, *cell.states, *cell.outputs, *cell.targets):
        names.of(value)
    states = list(cell.states)
    bodies = {
        "forward": functions.emit_forward(scheduled.forward, tape, names, notation, helpers, dims),
        "backward": functions.emit_backward(scheduled.backward, tape, names, notation, helpers, dims),
        "jvp": functions.emit_jvp(scheduled.tangent, tape, names, notation, helpers, dims),
        "step_jacobian": functions.emit_jacobian(scheduled.jacobian, states, tape, names, notation, helpers, dims),
    }
    parts = [f'"""{title(cell.command)}"""\n\nimport numpy as np\n', tables(cell)]
    for name, (signature, doc) in DOCS.items():
        parts.append(f"\n\ndef {signature}:\n{doc}\n" + "\n".join(bodies[name]) + "\n")
    parts += ["\n" + DEFINITIONS[name] for name in DEFINITIONS if name in helpers]
    parts.append("\n" + runtime.TEXT)
    parts.append("\n\n" + compound(values))
    return "".join(parts)


def title(command: str) -> str:
    return f"""The cell `{command}` and its gradients, in NumPy.

Inside, an array at one step has one column per example, (n, B), so that `W @ x` reads like the equation; `..._all` is the same
over time, (T, n, B), and of a state it starts with the initial one, (T + 1, n, B). `d_v` is dL/dv, `carry_h` the part of dL/dh
that comes from the next step, `dot_v` the tangent of v.
"""


def tables(cell: object) -> str:
    """PARAMETERS, INPUTS, STATES, OUTPUTS."""
    text = ""
    for table in ("parameters", "inputs", "states", "outputs"):
        values: tuple[Value, ...] = getattr(cell, table)
        rows = [f'"{value.name}": {functions.shape_of(value)}' for value in values]
        inside = "\n    " + ",\n    ".join(rows) + ",\n" if len(rows) > 1 else "".join(rows)
        text += f"{table.upper()} = {{{inside}}}\n"
    return "\n" + text


def compound(values: list[Value]) -> str:
    """The tables that the refusals read: dtypes, and concatenated dimensions in terms of plain ones."""
    sizes = {dim(size): size for value in values for size in value.shape if isinstance(size, sp.Add | sp.Mul)}
    rows = []
    for name, size in sorted(sizes.items()):
        terms = [term.as_coeff_Mul() for term in sp.Add.make_args(sp.expand(size))]
        parts = sorted((str(symbol), int(number)) for number, symbol in terms)
        rows.append(f'"{name}": {{{", ".join(f"{chr(34)}{symbol}{chr(34)}: {number}" for symbol, number in parts)}}}')
    return f"_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))\n_COMPOUND = {{{', '.join(rows)}}}\n"
