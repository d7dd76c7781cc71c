"""A whole JAX kernel: docstring, tables, its functions, the helpers they call, what JAX differentiates, and the refusals."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import sympy as sp

from derive.cell import Cell
from derive.letters import dim
from derive.procedures.names import Names
from derive.procedures.procedure import Procedure
from derive.procedures.scans import scanned
from derive.targets.jax import runtime
from derive.targets.jax.differentiation import IMPORTS, RUN
from derive.targets.jax.expressions import Printer
from derive.targets.jax.functions import DEFINITIONS
from derive.targets.jax.statements import body
from derive.targets.numpy.layout import STEP, WIDTH, Bracket, Word, lines
from derive.targets.numpy.module import (
    LEFTWARD,
    ONCE,
    READING,
    TOKENS,
    order_of_sizes,
    parts_of,
    size_lines,
    tables,
    values_of,
)
from derive.targets.numpy.runtime import SOLVE
from derive.targets.numpy.statements import mapping

FUNCTIONS = {
    "forward": ("parameters, inputs, state", "Run all steps: (outputs, what the tape keeps), each name -> array."),
    "backward": ("parameters, tape, cotangents", "Gradients of L, given dL/d(state or output) at every step."),
    "jvp": (
        "parameters, tape, tangent_parameters, tangent_inputs, tangent_state",
        "How outputs move, name -> array, when the arguments move along tangents.",
    ),
    "hvp": (
        "parameters, inputs, state, cotangents, tangent_parameters, tangent_inputs, tangent_state",
        "How the gradients move when the arguments move along tangents, cotangents held.",
    ),
    "step_jacobian": (
        "parameters, tape",
        "How the states after a step move along every direction of those before it, all steps at once; the directions are the first "
        "axis of the arrays below.",
    ),
}
"""The functions that a kernel's procedures are: arguments, and what they give."""

MEANING = (
    "`run` is the function to differentiate, compile and batch: jax.grad of it runs `backward` below, jax.jvp runs `jvp`, and the "
    "second order `hvp`. `forward`, `backward`, `jvp`, `hvp` and `step_jacobian` at the end are the same by themselves. A loop over the "
    "steps is a scan: `one_step` takes what the step before hands on (`carry`) and what it reads (`now`), and gives what it hands on and "
    "what it makes. Each function is compiled once for each set of sizes."
)


def module_text(cell: Cell, names: Names, procedures: Sequence[Procedure]) -> str:
    """The module below its header."""
    helpers: dict[str, None] = {}
    functions = [function_lines(procedure, names, helpers) for procedure in procedures]
    parts = [f'"""{title(cell)}"""', "", IMPORTS, "", 'FRAMEWORK = "jax"', *tables(cell)]
    for function in functions:
        parts += ["", "", *function]
    text = "\n".join(parts) + "\n"
    text += "".join("\n" + DEFINITIONS[name] for name in DEFINITIONS if name in helpers)
    return text + "\n" + RUN + runtime_text(cell)


def title(cell: Cell) -> str:
    """The docstring of the module: how to read it."""
    said = [
        MEANING,
        "",
        READING,
        *([LEFTWARD] if cell.leftward else []),
        *([ONCE] if cell.once or cell.starts else []),
        *([TOKENS.format(", ".join(f"`{value.name}`" for value in cell.tokens))] if cell.tokens else []),
    ]
    paragraphs = [f"The cell `{cell.command}` and its gradients, in JAX.", "", *said]
    return "\n".join(line for one in paragraphs for line in textwrap.wrap(one, WIDTH - 3) or [""]) + "\n"


def function_lines(procedure: Procedure, names: Names, helpers: dict[str, None]) -> list[str]:
    """One function: compiled for the sizes and the dtype, its statements and what it returns."""
    arguments, says = FUNCTIONS[procedure.name]
    printer = Printer(names)
    inner = [*body(scanned(procedure), printer, STEP), *returned(procedure, printer)]
    lengths = dict(procedure.lengths)
    sized = [line for axis in lengths if axis in printer.sizes for line in lines(printer.size(lengths[axis]), STEP, f"{axis} = ")]
    helpers.update(printer.helpers)
    used = [name for name in order_of_sizes(printer.sizes, names) if name not in lengths]
    given = tuple(Word(one) for one in (*arguments.split(", "), "sizes", "dtype"))
    first, *rest = textwrap.wrap(says, WIDTH - 2 * len(STEP))
    return [
        '@jax.jit(static_argnames=("sizes", "dtype"))',
        *lines(Bracket(f"_{procedure.name}(", given, ")"), "", "def ", ":"),
        *([f'{STEP}"""{first}', *[STEP + line for line in rest], f'{STEP}"""'] if rest else [f'{STEP}"""{first}"""']),
        *size_lines(used, names),
        *sized,
        *inner,
    ]


def returned(procedure: Procedure, printer: Printer) -> list[str]:
    """The lines at the end of a function."""
    results = {name: mapping((key, printer(operand)) for key, operand in table) for name, table in procedure.results}
    if procedure.name == "forward":
        made = [line for name in ("outputs", "tape") for line in lines(results[name], STEP, f"{name} = ")]
        return [*made, f"{STEP}return outputs, tape"]
    if "parameters" in results:
        return lines(Bracket("Gradients(", tuple(results.values()), ")"), STEP, "return ")
    ((name, table),) = procedure.results
    return lines(printer(table[0][1]) if name == "J" and len(table) == 1 else results[name], STEP, "return ")


def runtime_text(cell: Cell) -> str:
    """What stands behind the functions: those of the contract, classes, refusals."""
    sizes = [size for value in values_of(cell) for size in value.shape if size != 1]
    compound = {dim(size): size for size in sizes if isinstance(size, sp.Add | sp.Mul)}
    fixed = sorted({f'"{size}": {size}' for size in sizes if size.is_Integer})
    end = ["", "", f"_DTYPES = ({', '.join(f'jnp.dtype(jnp.{one})' for one in ('float32', 'float64', 'complex128'))})"]
    end += (
        lines(mapping((name, parts_of(size)) for name, size in sorted(compound.items())), "", "_COMPOUND = ") if compound else []
    )
    end += [f"_FIXED = {{{', '.join(fixed)}}}", ""]
    return runtime.text(cell, SOLVE if compound else "") + "\n".join(end)
