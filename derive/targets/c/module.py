"""The C file of a kernel: what it is and how to call it, the fixed part, a structure of arguments and a function for each pass."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from derive.cell import Cell
from derive.procedures.kernel import Kernel
from derive.procedures.names import Names
from derive.procedures.procedure import Operand, Procedure
from derive.shapes import EXAMPLES, STEPS
from derive.targets.c.elements import LANE_FUNCTIONS
from derive.targets.c.function import Function
from derive.targets.c.nest_text import ROWS
from derive.targets.c.places import sizes_of
from derive.targets.c.sizes import SizeText
from derive.targets.c.words import KEYWORDS, MACROS, member
from derive.targets.numpy.layout import WIDTH

FIXED = "\n".join((Path(__file__).parent / f"{name}.c").read_text() for name in ("vectors", "products", "reductions"))

DEFINED = re.findall(r"^(?:INLINE|HELPER|typedef|#define) .*?\b(\w+)(?:\(| *;|\Z| \()", FIXED, re.MULTILINE)

CALLED = {*LANE_FUNCTIONS.values(), "exp", "log1p", "pow", "memset"}
"""Functions of the library: a variable of such a name would hide them."""

RESERVED = {
    *KEYWORDS, *MACROS, *CALLED, *DEFINED, *ROWS,
    "real", "whole", "vec", "mask", "parts", "R", "NAME", "LANES", "WIDTH", "DEPTH", "ACROSS", "DOWN",
    "BLOCK", "SOME", "threads", "MOST", "BIAS", "DIGITS", "call", "memory", "count", "b", "at",
}  # fmt: skip
"""Names that the C text needs for itself."""


INTERFACE = (
    "How to call it, from C, C++, Rust, ...: compile this file as it is for double, with -DFLOAT32 for float (`real` below; names end in "
    "_float64 or _float32), and link with -lm. -mcpu=native stands for -march=native where the processor is no x86.",
    "    cc -std=gnu11 -O2 -march=native -c {stem}.c",
    "With -fopenmp {stem}_threads(2) shares large products between two threads.",
    'A C file may #include this one; any other repeats the two structures and declares the four functions below, in C++ as extern "C".',
    "Fill a {stem}_forward_call: the sizes, and pointers to arrays of the shapes that stand beside them, dense, row by row, none of them "
    "within another. The caller brings them all: `outputs` and `tape` are written by {stem}_forward. {stem}_backward_call has the same "
    "sizes, parameters and tape, with inputs of forward in it where they stand there. {stem}_backward takes dL/d(output) at every step in "
    "`cotangents`, zeros where L doesn't read one, and writes the gradients over what was there. Where the sizes are filled in, "
    "{stem}_forward_memory and {stem}_backward_memory say how many bytes `memory` needs, which begins at a multiple of 64. Nothing is "
    "allocated, checked, or kept between calls, so that several threads may call at once.",
)


def setter(stem: str) -> str:
    """The function that says how many threads there are."""
    return (
        "\n/* how many threads share the panels of large products: 1 at first; without -fopenmp it changes nothing */\n"
        f"void NAME({stem}_threads)(int count);\nvoid NAME({stem}_threads)(int count) {{ threads = count; }}\n"
    )


def interface(stem: str) -> str:
    """How the functions are called, as a comment."""
    paragraphs = [textwrap.fill(one.format(stem=stem), WIDTH, initial_indent="   ", subsequent_indent="   ") for one in INTERFACE]
    return "/*" + "\n\n".join(paragraphs)[2:] + " */\n\n"


def sizes_in(cell: Cell) -> list[str]:
    """The sizes that a call brings: steps, examples, dimensions."""
    values = [*cell.parameters, *cell.inputs, *cell.tokens, *cell.states, *cell.outputs]
    sizes = [size for value in values for size in (*value.shape, cell.tokens.get(value, value.shape[0]))]
    dims = {symbol.name for size in sizes for symbol in size.free_symbols}
    axes = [axis for axis in cell.step_axes if axis != STEPS]
    return [STEPS, *axes, EXAMPLES, *sorted(dims - {STEPS, EXAMPLES, *axes})]


def groups(function: Function, cell: Cell) -> list[tuple[str, list[str], bool]]:
    """(name, members, whether they are read only) of the arrays of a call, in order."""
    parameters = [str(value.name) for value in cell.parameters]
    results = {
        table: [name for name, _ in entries if (table, name) not in function.given]
        for table, entries in function.procedure.results
    }
    if function.procedure.name == "forward":
        inputs = [str(value.name) for value in (*cell.inputs, *cell.tokens)]
        states = [str(value.name) for value in cell.states]
        given = [("parameters", parameters, True), ("inputs", inputs, True), ("state", states, True)]
        return [*given, ("outputs", results["outputs"], False), ("tape", results["tape"], False)]
    taped = list(function.tape)
    cotangents = [str(value.name) for value in (*cell.states, *cell.outputs)]
    given = [("parameters", parameters, True), ("tape", taped, True), ("cotangents", cotangents, True)]
    return [*given, *[(f"d_{table}", names, False) for table, names in results.items()]]


def arrays_of(forward: Function, backward: Function, cell: Cell) -> dict[tuple[str, str], Operand]:
    """The arrays of both calls, by group and name."""
    held = {
        "parameters": map(Kernel.entry, repeat("parameters"), cell.parameters),
        "inputs": map(Kernel.entry, repeat("inputs"), (*cell.inputs, *cell.tokens)),
        "state": map(Kernel.before_the_first("state"), cell.states),
    }
    found: dict[tuple[str, str], Operand] = {(group, one.name): one for group, entries in held.items() for one in entries}
    found |= {(group, name): one for group, entries in forward.procedure.results for name, one in entries}
    found |= {("cotangents", name): one for (group, name), one in found.items() if group == "outputs"}
    return found | {(f"d_{group}", name): one for group, entries in backward.procedure.results for name, one in entries}


def shape(function: Function, cell: Cell, group: str, name: str) -> str:
    """The shape of an array of a call."""
    sizes = list(map(SizeText(function.names).whole, sizes_of(function.arrays[group, name])))
    said = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})" if sizes else "one number"
    tokens = {str(value.name): size for value, size in cell.tokens.items()}
    return said + (f", 0 <= {name} < {SizeText(function.names).whole(tokens[name])}" if name in tokens else "")


def structure(function: Function, cell: Cell, name: str) -> list[str]:
    """The structure of the arguments of a function."""
    sizes = ", ".join(function.sizes.names_of(one) for one in sizes_in(cell))
    lines = ["typedef struct {", f"    ptrdiff_t {sizes};"]
    for group, members, is_given in groups(function, cell):
        if not members:
            continue
        lines.append("    struct {")
        for one in members:
            kind = "int64_t" if one in function.tokens else "real"
            said = shape(function, cell, group, one)
            lines.append(f"        {'const ' if is_given else ''}{kind} *{member(one)}; /* {said} */")
        lines.append(f"    }} {group};")
    return [*lines, "    char *memory;", f"}} NAME({name}_call);", ""]


def function_text(function: Function, cell: Cell, stem: str) -> str:
    """The structure, how much memory the function needs, and the function."""
    name = f"{stem}_{function.procedure.name}"
    body = function.lines()
    used = list(dict.fromkeys(function.sizes.used.values()))
    rooms = [f"ROOM({room.text})" for room in function.taken.values()]
    of_rooms = {size for room in function.taken.values() for size in room.sizes}
    all_sizes = [function.sizes.names_of(one) for one in sizes_in(cell)]
    read = [f"    const ptrdiff_t {one} = call->{one};" for one in all_sizes if one in used]
    measured = [f"    const ptrdiff_t {one} = call->{one};" for one in all_sizes if one in of_rooms]
    lines = [
        *structure(function, cell, name),
        "/* how many bytes `memory` has, which begins at a multiple of 64 */",
        f"ptrdiff_t NAME({name}_memory)(const NAME({name}_call) *call) {{",
        *(measured or ["    (void)call;"]),
        *wrapped("    return ", rooms or ["0"], " + "),
        "}",
        "",
        f"void NAME({name})(const NAME({name}_call) *call) {{",
        *read,
        *(["    char *memory = call->memory;"] if function.taken else []),
        *[f"    real *const {pointer} = take(&memory, {room.text});" for pointer, room in function.taken.items()],
        *body,
        "}",
    ]
    return "\n".join(lines) + "\n"


def wrapped(start: str, parts: Sequence[str], between: str) -> list[str]:
    """Parts of a sum over several lines."""
    lines, line = [], start
    for k, part in enumerate(parts):
        piece = part + (between if k < len(parts) - 1 else ";")
        if len(line) + len(piece) > 120 and line != start:
            lines.append(line.rstrip())
            line = " " * len(start)
        line += piece
    return [*lines, line]


def functions_of(procedures: Sequence[Procedure], names: Names, cell: Cell) -> list[Function]:
    """The functions of forward and backward; backward reads what forward saved."""
    tokens = [str(value.name) for value in cell.tokens]
    found = [Function(procedure, names, tokens) for procedure in procedures]
    saved = dict(procedures[0].results)["tape"]
    for one in found:
        one.tape = [name for name, _ in saved]
        one.arrays = arrays_of(found[0], found[1], cell)
    return found
