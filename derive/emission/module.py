"""A whole kernel: docstring, tables, the four functions, the helpers they call, and the refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp

from derive.emission import fast, functions, jacobian, runtime
from derive.emission.names import Names
from derive.emission.wrapping import wrapped
from derive.functions import DEFINITIONS
from derive.language import Value
from derive.notation import dim

if TYPE_CHECKING:
    from derive.derivation import Derivation

BLOCK = 512
"""Measured at B H from 64 to 16,384: below 256 the products are too small, above 1,024 a block leaves the cache."""

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


def main_bodies(
    scheduled: Derivation, tape: list[Value], names: Names, helpers: set[str], dims: list[str], classes: list[str], buffered: bool
) -> dict[str, list[str]]:
    """forward and backward: as the textbook has them, or with buffers; then the classes of their arrays are added to `classes`."""
    rest = (tape, names, scheduled.notation(), helpers, dims)
    if not buffered:
        return {
            "forward": functions.emit_forward(scheduled.forward, *rest),
            "backward": functions.emit_backward(scheduled.backward, *rest),
        }
    kind, forward = fast.emit_forward(scheduled.forward, *rest)
    other, backward = fast.emit_backward(scheduled.backward, *rest)
    classes += ["", "", *kind, "", "", *other]
    return {"forward": forward, "backward": backward}


def module_text(scheduled: Derivation, tape: list[Value], buffered: bool = True) -> str:
    """The module below its header."""
    cell = scheduled.cell
    values = [*cell.parameters, *cell.inputs, *cell.states, *cell.outputs]
    symbols = {symbol for value in values for size in value.shape for symbol in size.free_symbols}
    dims = sorted(symbol.name for symbol in symbols)
    names, notation, helpers = Names(dims), scheduled.notation(), set[str]()
    for value in (*cell.parameters, *cell.inputs, *cell.states, *cell.outputs, *cell.targets):
        names.of(value)
    states = list(cell.states)
    classes: list[str] = []
    bodies = {
        **main_bodies(scheduled, tape, names, helpers, dims, classes, buffered),
        "jvp": functions.emit_jvp(scheduled.tangent, tape, names, notation, helpers, dims, buffered),
        "step_jacobian": jacobian.emit_jacobian(scheduled.jacobian, states, tape, names, notation, helpers, dims, buffered),
    }
    parts = [f'"""{title(cell.command, buffered)}"""\n\nimport numpy as np\n', tables(cell)]
    if buffered:
        by_segments = ["    if tape.segments is not None:", "        return _jacobian_by_segments(parameters, tape)"]
        bodies["step_jacobian"][2:2] = by_segments
        for name in OPTIONS:
            bodies[name].insert(0, f'    _usable("{name}", workspace)')
    for name, (signature, doc) in DOCS.items():
        signature, doc = signature_of(name, signature, doc, buffered)
        parts.append(f"\n\ndef {signature}:\n{doc}\n" + "\n".join(wrapped(bodies[name])) + "\n")
    if buffered:
        parts.append("\n".join(wrapped(classes)) + "\n")
        parts.append(f'\n\nBLOCK = {BLOCK}\n"""Steps times examples that a pass takes at once."""\n')
    parts += ["\n" + DEFINITIONS[name] for name in DEFINITIONS if name in helpers]
    parts.append("\n" + runtime.TEXT + (runtime.FAST if buffered else ""))
    parts.append("\n\n" + compound(values))
    return "".join(parts)


OPTIONS = {
    "forward": (
        ", *, workspace=None, checkpoint_every=None)",
        """    With a workspace its arrays are reused: outputs and tape live until the next forward with it. checkpoint_every=k keeps the
    states every k steps only; backward computes the steps between again, with the same gradients up to the order of summation,
    and neither call uses the workspace.
""",
    ),
    "backward": (
        ", *, workspace=None)",
        """    With a workspace its arrays are reused: gradients live until the next backward with it.
""",
    ),
}
"""What the optional arguments add to a signature and to a docstring."""


def signature_of(name: str, signature: str, doc: str, buffered: bool) -> tuple[str, str]:
    """The signature and docstring of a function, with the optional arguments where the kernel has them."""
    if not buffered or name not in OPTIONS:
        return signature, doc
    arguments, words = OPTIONS[name]
    return signature.removesuffix(")") + arguments, doc.replace("    Raises", words + "    Raises")


def title(command: str, buffered: bool) -> str:
    """The docstring of the module: how to read it."""
    names = """`d_v` is dL/dv, `carry_h` the part of dL/dh
that comes from the next step, `dot_v` the tangent of v, `k_v` what multiplies a gradient on its way to v."""
    columns = """one column per example, (n, B), so that `W @ x` reads like the equation; `..._all` is the same
over time, (T, n, B), and of a state it starts with the initial one, (T + 1, n, B)."""
    if not buffered:
        return f"""The cell `{command}` and its gradients, in NumPy.

Inside, an array at one step has {columns} {names}
"""
    return f"""The cell `{command}` and its gradients, in NumPy.

In `forward` and `backward` an array at one step has one row per example, (B, n), as the caller's have, so that `W x` reads
`x @ W.T`; `..._all` is the same over time, (T, B, n), and of a state it starts with the initial one, (T + 1, B, n). A stack of
k gates that no product reads has them one after the other, (k, B, n). {names}
In the loops each call writes into its last argument. The arrays, and the views of them at each step, are made once, by
`_Forward` and `_Backward`; names that stand for parts of one array, or for one array before and after a step, share its memory.
In `jvp` an array at one step has {columns}
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
    fixed = sorted({f'"{size}": {size}' for value in values for size in value.shape if size.is_Integer})
    lines = [
        "_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))",
        f"_COMPOUND = {{{', '.join(rows)}}}",
        f"_FIXED = {{{', '.join(fixed)}}}",
    ]
    return "\n".join(wrapped(lines)) + "\n"
