"""A whole kernel: docstring, tables, its functions, the helpers they call, and the refusals."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import sympy as sp

from derive.cell import Cell
from derive.language import Value
from derive.letters import dim
from derive.procedures.names import Names
from derive.procedures.procedure import Procedure
from derive.shapes import dims_of
from derive.targets.numpy import runtime
from derive.targets.numpy.buffers import BLOCK, buffer_lines
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.functions import DEFINITIONS
from derive.targets.numpy.layout import STEP, WIDTH, Bracket, Joined, Piece, Word, flat, lines
from derive.targets.numpy.signatures import Signature, signature_of
from derive.targets.numpy.statements import body, mapping
from derive.targets.numpy.token_refusals import with_tokens


def module_text(cell: Cell, names: Names, procedures: Sequence[Procedure]) -> str:
    """The module below its header."""
    helpers: dict[str, None] = {}
    functions = [function_lines(procedure, cell, names, helpers) for procedure in procedures]
    buffered = [procedure for procedure in procedures if procedure.buffers]
    functions += [
        buffer_lines(procedure, names, lambda printer: size_lines(order_of_sizes(printer.sizes, names), names))
        for procedure in buffered
    ]
    parts = [f'"""{title(cell, bool(buffered))}"""', "", "import numpy as np", "", *tables(cell)]
    for function in functions:
        parts += ["", "", *function]
    text = "\n".join(parts) + "\n"
    text += BLOCK if any(procedure.is_blockwise for procedure in buffered) else ""
    text += "".join("\n" + DEFINITIONS[name] for name in DEFINITIONS if name in helpers)
    return text + runtime_text(cell, [procedure.name for procedure in procedures], bool(buffered))


def title(cell: Cell, buffered: bool) -> str:
    """The docstring of the module: how to read it."""
    said = [
        *([REVERSED if buffered else LEFTWARD] if cell.leftward else []),
        *([ONCE] if cell.once or cell.starts else []),
        *([TOKENS.format(", ".join(f"`{value.name}`" for value in cell.tokens))] if cell.tokens else []),
        *([MEMORY] if buffered else []),
    ]
    return docstring([f"The cell `{cell.command}` and its gradients, in NumPy.", "", READING, *said])


def docstring(paragraphs: Iterable[str]) -> str:
    """Paragraphs as the text between the quotes at the top of a module."""
    return "\n".join(line for one in paragraphs for line in textwrap.wrap(one, WIDTH - 3) or [""]) + "\n"


READING = (
    "An array at one step has one row for each example, as the caller's: (B, n) of a vector, (B, n, m) of a matrix, (B,) of a number; "
    "so `W x` reads `x @ W.T`. `..._all` is the same over time, (T, B, n); of a state it starts with the initial one, (T + 1, B, n). "
    "`d_v` is dL/dv, `carry_h` the part of dL/dh that comes from the next step, `dot_v` the tangent of v."
)
LEFTWARD = (
    "A recurrence that runs from the last step to the first has its initial state behind the last step, at the end of its `..._all`, and "
    "its `carry_h` comes from the step before."
)
REVERSED = (
    "A recurrence that runs from the last step to the first is computed in `forward` and `backward` over the steps in reversed order, "
    "`..._reversed`, and `..._block` those of one block: there it runs like the others, with its initial state in front, and `v_prev` is v "
    "at t+1. On the tape the steps are in order, its initial state at the end."
)
ONCE = (
    "What doesn't differ from step to step has no `..._all`: (B, n), one value an example. A recurrence whose start is computed holds that "
    "in front of its first step."
)
TOKENS = (
    "Tokens, {}, are whole numbers among the inputs, 0 <= w < TOKENS[name]; they have no gradient. `E onehot(w)` reads `E.T[w]`."
)
MEMORY = (
    "In `forward`, `backward` and `hvp` a call writes into its last argument. Arrays, and the views of them at each step, are made once, "
    "by classes such as `_Forward`; names that stand for parts of one array, or for one array before and after a call, share its memory. "
    "A stack of k gates that no product reads has them one after the other, (k, B, n). `k_v` is what multiplies a gradient on its "
    "way to v, computed for a block of steps ahead of the loop."
)


# ---- functions


def function_lines(
    procedure: Procedure,
    cell: Cell,
    names: Names,
    helpers: dict[str, None],
    printer: Printer | None = None,
    signature: Signature | None = None,
) -> list[str]:
    """One function: its signature and contract, the refusals, its statements and what it returns. printer, signature: those of another
    target that is Python."""
    signature = signature or signature_of(procedure.name, cell, bool(procedure.buffers))
    printer = printer or Printer(names)
    inner = [*body(procedure.statements, printer, STEP), *returned(procedure, printer)]
    inner = [*local_calls(sorted(printer.calls)), *inner]
    lengths = dict(procedure.lengths)
    sized = [line for axis in lengths if axis in printer.sizes for line in lines(printer.size(lengths[axis]), STEP, f"{axis} = ")]
    helpers.update(printer.helpers)
    head = signature.head(cell)
    used = [name for name in order_of_sizes(printer.sizes, names) if name not in lengths]
    return [f"def {signature.text}:", *signature.doc(), *head, *size_lines(used, names), *sized, *inner]


def local_calls(names: Sequence[str]) -> list[str]:
    """`add, dot = np.add, np.dot`."""
    if not names:
        return []
    found = f"{STEP}{', '.join(names)} = {', '.join(f'np.{name}' for name in names)}"
    functions = Bracket("(", tuple(Word(f"np.{name}") for name in names), ")")
    return [found] if len(found) <= WIDTH else lines(functions, STEP, f"{', '.join(names)} = ")


def order_of_sizes(used: Iterable[str], names: Names) -> list[str]:
    """Steps and examples first, then the dimensions of the cell."""
    return [name for name in ("T", *names.axes, "B", *names.sizes, *used) if name in dict.fromkeys(used)]


def size_lines(used: Iterable[str], names: Names) -> list[str]:
    """`T, B = sizes["T"], sizes["B"]`."""
    used = list(dict.fromkeys(used))
    if not used:
        return []
    targets = ", ".join({**names.sizes, **names.axes}.get(name, name) for name in used)
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
        tape = Bracket("Tape(", (Word("sizes"), Word(printer.like), *saved), ")")
        outputs = lines(mapping(results["outputs"]), STEP, "outputs = ")
        return [*outputs, *lines(tape, STEP, "tape = "), f"{STEP}return outputs, tape"]
    if "parameters" in results:
        tables: list[Piece] = [Joined((Word(f"{name}="), mapping(table))) for name, table in results.items()]
        return lines(Bracket("Gradients(", tuple(tables), ")"), STEP, "return ")
    ((name, table),) = results.items()
    return lines(table[0][1] if name == "J" and len(table) == 1 else mapping(table), STEP, "return ")


# ---- tables and the end of the module


def tables(cell: Cell) -> list[str]:
    """PARAMETERS, INPUTS, STATES, OUTPUTS; AXES where something lies otherwise than along T, TOKENS where there are some."""
    found: list[str] = []
    for table in ("parameters", "inputs", "states", "outputs"):
        values: tuple[Value, ...] = getattr(cell, table)
        entries = [(str(value.name), Bracket("(", tuple(Word(f'"{one}"') for one in dims_of(value)), ")")) for value in values]
        if len(entries) > 1:
            rows = [f'{STEP}"{name}": {flat(shape)},' for name, shape in entries]
            found += [f"{table.upper()} = {{", *rows, "}"]
        else:
            found += lines(mapping(entries), "", f"{table.upper()} = ")
    along = [(name, axes_word(axes)) for name, axes in cell.axes.items()]
    found += lines(mapping(along), "", "AXES = ") if along else []
    sizes = [(str(value.name), Word(f'"{dim(size)}"')) for value, size in cell.tokens.items()]
    return found + (lines(mapping(sizes), "", "TOKENS = ") if sizes else [])


def axes_word(axes: tuple[str, ...]) -> Word:
    """None, "S" or ("T", "S")."""
    return Word("None" if not axes else f'"{axes[0]}"' if len(axes) == 1 else "(" + ", ".join(f'"{axis}"' for axis in axes) + ")")


def values_of(cell: Cell) -> list[Value]:
    """What the caller gives and gets."""
    return [*cell.parameters, *cell.inputs, *cell.tokens, *cell.states, *cell.outputs]


def runtime_text(cell: Cell, functions: Sequence[str], buffered: bool = False, workspace: str = "") -> str:
    """What stands behind the functions: classes, refusals, checkpoints. workspace: what a compiled kernel, of real numbers alone, has in
    the place of NumPy's."""
    sizes = [size for value in values_of(cell) for size in value.shape if size != 1]
    compound = {dim(size): size for size in sizes if isinstance(size, sp.Add | sp.Mul)}
    fixed = sorted({f'"{size}": {size}' for size in sizes if size.is_Integer})
    refusals = runtime.REFUSALS if compound else runtime.PLAIN_REFUSALS
    refusals = runtime.real_alone(refusals) if workspace else refusals
    base = (
        runtime.RESULTS,
        workspace or (runtime.KEPT if buffered else runtime.UNUSED),
        runtime.with_axes(refusals) if cell.axes else refusals,
    )
    segments = runtime.SEGMENTS + (runtime.JACOBIAN if "step_jacobian" in functions else "")
    segments = segments if cell.is_chain else runtime.AGAIN
    dtypes = ("float32", "float64") if workspace else ("float32", "float64", "complex128")
    end = ["", "", f"_DTYPES = ({', '.join(f'np.dtype(np.{one})' for one in dtypes)})"]
    end += (
        lines(mapping((name, parts_of(size)) for name, size in sorted(compound.items())), "", "_COMPOUND = ") if compound else []
    )
    end += [f"_FIXED = {{{', '.join(fixed)}}}", ""]
    text = "".join(base) + (runtime.SOLVE if compound else "") + segments
    return "\n" + (with_tokens(text, bool(cell.axes)) if cell.tokens else text) + "\n".join(end)


def parts_of(size: sp.Expr) -> Piece:
    """A concatenated dimension in terms of plain ones."""
    terms = [term.as_coeff_Mul() for term in sp.Add.make_args(sp.expand(size))]
    parts = sorted((str(symbol), int(number)) for number, symbol in terms)
    return mapping((symbol, Word(str(number))) for symbol, number in parts)
