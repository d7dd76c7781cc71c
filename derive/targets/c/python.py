"""The Python module beside a C kernel: the contract's tables and refusals, arrays for the kernel to write, and what stays in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from derive.cell import Cell
from derive.procedures.names import Names
from derive.procedures.procedure import Operand, Procedure
from derive.targets.c.loader import NATIVE
from derive.targets.c.module import sizes_in
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.functions import DEFINITIONS
from derive.targets.numpy.layout import STEP, Bracket, Joined, Piece, Word, lines
from derive.targets.numpy.module import (
    LEFTWARD,
    ONCE,
    READING,
    TOKENS,
    docstring,
    function_lines,
    order_of_sizes,
    runtime_text,
    size_lines,
    tables,
)
from derive.targets.numpy.signatures import FAST, OF_ALL_STEPS_FAST, SIGNATURES, Signature
from derive.targets.numpy.statements import mapping

IMPORTS = (
    "ctypes",
    "getpass",
    "hashlib",
    "importlib.util",
    "os",
    "pathlib",
    "platform",
    "shutil",
    "subprocess",
    "sys",
    "tempfile",
)

Given = Mapping[str, str]
"""What the tape keeps that is an input as it is: its name there -> the input."""

MEANING = (
    "`forward` and `backward` call the C kernel in `{stem}.c` beside this file, in float32 or float64; it is compiled where it is first "
    "called, with cc, gcc, clang or ziglang, and kept in the cache of the user. `jvp`, `hvp` and `step_jacobian` are NumPy, below."
)


def module_text(cell: Cell, names: Names, procedures: Sequence[Procedure], stem: str, given: Given, source: str) -> str:
    """The module below its header. procedures: forward, backward and those that stay in NumPy; source: the digest of the C file."""
    helpers: dict[str, None] = {}
    forward, backward, *others = procedures
    functions = [forward_lines(cell, names, forward, given), backward_lines(cell, names, forward, backward)]
    functions += [function_lines(procedure, cell, names, helpers) for procedure in others]
    parts = [
        f'"""{title(cell, stem)}"""',
        "",
        *[f"import {name}" for name in IMPORTS],
        "",
        "import numpy as np",
        "",
        *tables(cell),
    ]
    for function in functions:
        parts += ["", "", *function]
    text = "\n".join(parts) + "\n"
    text += "".join("\n" + DEFINITIONS[name] for name in DEFINITIONS if name in helpers)
    text += runtime_text(cell, [procedure.name for procedure in procedures], workspace=NATIVE)
    return text + "".join(f"{line}\n" for line in constants(cell, stem, source))


def constants(cell: Cell, stem: str, source: str) -> list[str]:
    sizes = Bracket("(", tuple(Word(f'"{one}"') for one in sizes_in(cell)), ")")
    return [f'_STEM = "{stem}"', f'_SOURCE = "{source}"', *lines(sizes, "", "_SIZES = ")]


def title(cell: Cell, stem: str) -> str:
    """The docstring of the module."""
    said = [
        MEANING.format(stem=stem),
        *([LEFTWARD] if cell.leftward else []),
        *([ONCE] if cell.once or cell.starts else []),
        *([TOKENS.format(", ".join(f"`{value.name}`" for value in cell.tokens))] if cell.tokens else []),
    ]
    return docstring([f"The cell `{cell.command}` and its gradients, in C.", "", said[0], "", READING, *said[1:]])


def memory(printer: Printer, place: str, operand: Operand) -> Piece:
    """Memory for what the C kernel writes."""
    more = getattr(operand, "front", 0) + getattr(operand, "behind", 0)
    shape = printer.shape(operand.axes, operand.dims, more)
    return Bracket("_empty(", (Word("workspace"), Word(f'"{place}"'), shape, Word("dtype")), ")")


def forward_lines(cell: Cell, names: Names, procedure: Procedure, given: Given) -> list[str]:
    """forward: memory for outputs and tape, and the call."""
    says = (FAST["forward"] if cell.is_chain else OF_ALL_STEPS_FAST).says
    signature = replace(SIGNATURES["forward"], says=says)
    results, printer = dict(procedure.results), Printer(names)
    outputs = mapping((name, memory(printer, f"outputs {name}", operand)) for name, operand in results["outputs"])
    tokens = {str(value.name) for value in cell.tokens}
    saved: list[Piece] = []
    written = []
    for name, operand in results["tape"]:
        if name in given:
            kind = ", np.int64" if given[name] in tokens else ""
            value: Piece = Word(f'np.ascontiguousarray(inputs["{given[name]}"]{kind})')
        else:
            value = memory(printer, f"tape {name}", operand)
            written.append(f"tape.{name}")
        saved.append(Joined((Word(f"{name}="), value)))
    tape = Bracket("Tape(", (Word("sizes"), Word("dtype"), *saved), ")")
    arrays = [
        "*(parameters[name] for name in PARAMETERS)",
        "*(inputs[name] for name in INPUTS)",
        *(["*(inputs[name].astype(np.int64, copy=False) for name in TOKENS)"] if tokens else []),
        *(["*(state[name] for name in STATES)"] if cell.states else []),
        "*outputs.values()",
        *written,
    ]
    body = [*lines(outputs, STEP, "outputs = "), *lines(tape, STEP, "tape = "), *call_lines("forward", arrays)]
    return function(signature, cell, printer, names, [*body, f"{STEP}return outputs, tape"])


def backward_lines(cell: Cell, names: Names, forward: Procedure, procedure: Procedure) -> list[str]:
    """backward: memory for gradients, and the call."""
    signature = replace(SIGNATURES["backward"], says=FAST["backward"].says)
    printer = Printer(names)
    found: list[Piece] = []
    for table, entries in procedure.results:
        gradients = mapping((name, memory(printer, f"d_{table} {name}", operand)) for name, operand in entries)
        found.append(Joined((Word(f"{table}="), gradients)))
    arrays = [
        "*(parameters[name] for name in PARAMETERS)",
        *[f"tape.{name}" for name, _ in dict(forward.results)["tape"]],
        "*(cotangents[name] for name in (*STATES, *OUTPUTS))",
        *[f"*gradients.{table}.values()" for table, _ in procedure.results],
    ]
    body = [*lines(Bracket("Gradients(", tuple(found), ")"), STEP, "gradients = "), *call_lines("backward", arrays)]
    return function(signature, cell, printer, names, [*body, f"{STEP}return gradients"])


def call_lines(name: str, arrays: Sequence[str]) -> list[str]:
    listed = Bracket("[", tuple(map(Word, arrays)), "]")
    return [*lines(listed, STEP, "arrays = "), f'{STEP}_run("{name}", sizes, dtype, arrays, workspace)']


def function(signature: Signature, cell: Cell, printer: Printer, names: Names, body: list[str]) -> list[str]:
    sizes = size_lines(order_of_sizes(printer.sizes, names), names)
    return [f"def {signature.text}:", *signature.doc(), *signature.head(cell), *sizes, *body]
