"""A whole kernel in PyTorch: docstring, tables, its functions, the helpers they call, the refusals, and the layer."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.cell import Cell
from derive.letters import dim
from derive.procedures.names import Names
from derive.procedures.procedure import Procedure
from derive.targets.numpy.layout import lines
from derive.targets.numpy.module import LEFTWARD, ONCE, TOKENS, docstring, function_lines, parts_of, tables, values_of
from derive.targets.numpy.statements import mapping
from derive.targets.torch.expressions import TorchPrinter
from derive.targets.torch.functions import CALLS, DEFINITIONS
from derive.targets.torch.layer import layer_text
from derive.targets.torch.runtime import refusals
from derive.targets.torch.signatures import signature_of

MEANING = (
    "`Module` is a layer whose parameters are called as in the equations; its gradients are the functions below, not autograd's record "
    "of each operation. `run` is the same without a module. `forward`, `backward`, `jvp`, `hvp` and `step_jacobian` may be called by "
    "themselves."
)
READING = (
    "A tensor at one step has one row for each example: (B, n) of a vector, (B, n, m) of a matrix, (B,) of a number; so `W x` reads "
    "`x @ W.T`. `..._all` is the same over time, (T, B, n); of a state it starts with the initial one, (T + 1, B, n). `d_v` is dL/dv, "
    "`carry_h` the part of dL/dh that comes from the next step, `dot_v` the tangent of v, `k_v` what multiplies a gradient on its way to v."
)


def module_text(cell: Cell, names: Names, procedures: Sequence[Procedure]) -> str:
    """The module below its header."""
    tokens, helpers = [str(value.name) for value in cell.tokens], dict[str, None]()
    functions = [
        function_lines(one, cell, names, helpers, TorchPrinter(names, tokens), signature_of(one.name, cell)) for one in procedures
    ]
    body = ["\n\n" + "\n".join(["@torch.no_grad()", *function]) + "\n" for function in functions]
    called = {*helpers, *[inner for name in helpers for inner in CALLS.get(name, ())]}
    own = "".join("\n" + DEFINITIONS[name] for name in DEFINITIONS if name in called)
    sizes = [size for value in values_of(cell) for size in value.shape if size != 1]
    compound = {dim(size): size for size in sizes if isinstance(size, sp.Add | sp.Mul)}
    text = "".join(body) + own + "\n" + refusals(bool(cell.axes), bool(compound), bool(tokens)) + layer_text(cell, names)
    head = [
        f'"""{title(cell)}"""',
        "",
        *(["import math", ""] if "math." in text else []),
        "import torch",
        "",
        'FRAMEWORK = "torch"',
    ]
    return "\n".join([*head, *tables(cell)]) + "\n" + text + "\n".join(constants(compound, sizes, bool(tokens))) + "\n"


def title(cell: Cell) -> str:
    """The docstring of the module: how to use and how to read it."""
    said = [
        *([LEFTWARD] if cell.leftward else []),
        *([ONCE] if cell.once or cell.starts else []),
        *([TOKENS.format(", ".join(f"`{value.name}`" for value in cell.tokens))] if cell.tokens else []),
    ]
    return docstring([f"The cell `{cell.command}` and its gradients, in PyTorch.", "", MEANING, "", READING, *said])


def constants(compound: dict[str, sp.Expr], sizes: Sequence[sp.Expr], tokens: bool) -> list[str]:
    """What the refusals read."""
    fixed = sorted({f'"{size}": {size}' for size in sizes if size.is_Integer})
    whole = "(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)"
    return [
        "_DTYPES = (torch.float32, torch.float64, torch.complex128)",
        *([f"_WHOLE = {whole}"] if tokens else []),
        *(
            lines(mapping((name, parts_of(size)) for name, size in sorted(compound.items())), "", "_COMPOUND = ")
            if compound
            else []
        ),
        f"_FIXED = {{{', '.join(fixed)}}}",
    ]
