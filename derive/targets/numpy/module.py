"""A whole kernel: docstring, tables, its functions, the helpers they call, and the refusals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy as sp

from derive.cell import Cell
from derive.language import Value
from derive.letters import dim
from derive.procedures.names import Names
from derive.procedures.procedure import Procedure
from derive.shapes import dims_of
from derive.targets.numpy import runtime
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.functions import DEFINITIONS
from derive.targets.numpy.layout import STEP, Bracket, Joined, Piece, Word, flat, lines
from derive.targets.numpy.signatures import SIGNATURES
from derive.targets.numpy.statements import body, mapping


def module_text(cell: Cell, names: Names, procedures: Sequence[Procedure]) -> str:
    """The module below its header."""
    helpers: dict[str, None] = {}
    functions = [function_lines(procedure, cell, names, helpers) for procedure in procedures]
    parts = [f'"""{title(cell)}"""', "", "import numpy as np", "", *tables(cell)]
    for function in functions:
        parts += ["", "", *function]
    text = "\n".join(parts) + "\n"
    text += "".join("\n" + DEFINITIONS[name] for name in DEFINITIONS if name in helpers)
    return text + runtime_text(cell, [procedure.name for procedure in procedures])


def title(cell: Cell) -> str:
    """The docstring of the module: how to read it."""
    return f"""The cell `{cell.command}` and its gradients, in NumPy.

An array at one step has one row for each example, as the caller's: (B, n) of a vector, (B, n, m) of a matrix, (B,) of a number; so
`W x` reads `x @ W.T`. `..._all` is the same over time, (T, B, n); of a state it starts with the initial one, (T + 1, B, n).
`d_v` is dL/dv, `carry_h` the part of dL/dh that comes from the next step, `dot_v` the tangent of v.
"""


# ---- functions


def function_lines(procedure: Procedure, cell: Cell, names: Names, helpers: dict[str, None]) -> list[str]:
    """One function: its signature and contract, the refusals, its statements and what it returns."""
    signature = SIGNATURES[procedure.name]
    printer = Printer(names)
    inner = [*body(procedure.statements, printer, STEP), *returned(procedure, printer)]
    lengths = dict(procedure.lengths)
    sized = [line for axis in lengths if axis in printer.sizes for line in lines(printer.size(lengths[axis]), STEP, f"{axis} = ")]
    helpers.update(printer.helpers)
    head = [STEP + line if line else "" for line in signature.head(cell)]
    used = [name for name in order_of_sizes(printer.sizes, names) if name not in lengths]
    return [f"def {signature.text}:", *signature.doc(), *head, *size_lines(used, names), *sized, *inner]


def order_of_sizes(used: Iterable[str], names: Names) -> list[str]:
    """Steps and examples first, then the dimensions of the cell."""
    return [name for name in ("T", "B", *names.sizes, *used) if name in dict.fromkeys(used)]


def size_lines(used: Iterable[str], names: Names) -> list[str]:
    """`T, B = sizes["T"], sizes["B"]`."""
    used = list(dict.fromkeys(used))
    if not used:
        return []
    targets = ", ".join(names.sizes.get(name, name) for name in used)
    values = ", ".join(f'sizes["{name}"]' for name in used)
    if len(used) < 4:
        return [f"{STEP}{targets} = {values}"]
    quoted = Bracket("(", tuple(Word(f'"{name}"') for name in used), ")")
    return lines(Joined((Word("(sizes[name] for name in "), quoted, Word(")"))), STEP, f"{targets} = ")


def returned(procedure: Procedure, printer: Printer) -> list[str]:
    """The lines at the end of a function."""
    results = {name: [(key, printer(operand)) for key, operand in table] for name, table in procedure.results}
    if procedure.name == "forward":
        saved = [Joined((Word(f"{key}="), value)) for key, value in results["tape"]]
        tape = Bracket("Tape(", (Word("sizes"), Word("dtype"), *saved), ")")
        outputs = lines(mapping(results["outputs"]), STEP, "outputs = ")
        return [*outputs, *lines(tape, STEP, "tape = "), f"{STEP}return outputs, tape"]
    if "parameters" in results:
        tables: list[Piece] = [Joined((Word(f"{name}="), mapping(table))) for name, table in results.items()]
        return lines(Bracket("Gradients(", tuple(tables), ")"), STEP, "return ")
    ((name, table),) = results.items()
    return lines(table[0][1] if name == "J" else mapping(table), STEP, "return ")


# ---- tables and the end of the module


def tables(cell: Cell) -> list[str]:
    """PARAMETERS, INPUTS, STATES, OUTPUTS."""
    found: list[str] = []
    for table in ("parameters", "inputs", "states", "outputs"):
        values: tuple[Value, ...] = getattr(cell, table)
        entries = [(str(value.name), Bracket("(", tuple(Word(f'"{one}"') for one in dims_of(value)), ")")) for value in values]
        if len(entries) > 1:
            rows = [f'{STEP}"{name}": {flat(shape)},' for name, shape in entries]
            found += [f"{table.upper()} = {{", *rows, "}"]
        else:
            found += lines(mapping(entries), "", f"{table.upper()} = ")
    return found


def values_of(cell: Cell) -> list[Value]:
    """What the caller gives and gets."""
    return [*cell.parameters, *cell.inputs, *cell.states, *cell.outputs]


def runtime_text(cell: Cell, functions: Sequence[str]) -> str:
    """What stands behind the functions: classes, refusals, checkpoints."""
    sizes = [size for value in values_of(cell) for size in value.shape if size != 1]
    compound = {dim(size): size for size in sizes if isinstance(size, sp.Add | sp.Mul)}
    fixed = sorted({f'"{size}": {size}' for size in sizes if size.is_Integer})
    base = runtime.BASE if compound else runtime.BASE.replace(runtime.SOLVING, "")
    segments = runtime.SEGMENTS + (runtime.JACOBIAN if "step_jacobian" in functions else "")
    end = ["", "", "_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))"]
    end += (
        lines(mapping((name, parts_of(size)) for name, size in sorted(compound.items())), "", "_COMPOUND = ") if compound else []
    )
    end += [f"_FIXED = {{{', '.join(fixed)}}}", ""]
    return "\n" + base + (runtime.SOLVE if compound else "") + segments + "\n".join(end)


def parts_of(size: sp.Expr) -> Piece:
    """A concatenated dimension in terms of plain ones."""
    terms = [term.as_coeff_Mul() for term in sp.Add.make_args(sp.expand(size))]
    parts = sorted((str(symbol), int(number)) for number, symbol in terms)
    return mapping((symbol, Word(str(number))) for symbol, number in parts)
