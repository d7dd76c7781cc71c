"""The class that holds the arrays of a function, and the views of each step, made once."""

from __future__ import annotations

from collections.abc import Callable

from derive.procedures.names import Names
from derive.procedures.procedure import PIECE, Call, Procedure, Walk, walks_of
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.layout import STEP, Bracket, lines

SIZE = f"self.{PIECE} = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))"
"""The steps of a block: so many that steps times examples are `BLOCK`, but a quarter of all where that is fewer. Measured at B H from 64 to
16,384: below 256 the products are too small, above 1,024 a block leaves the cache."""
KEPT = ("forward", "backward")
"""The functions whose arrays a workspace keeps."""
SMALL = f"self.{PIECE} = max(1, min(T, BLOCK // 4 // max(1, B), max(64 // max(1, B), T // 4)))"
"""The same where the arrays are new at every call: memory that hasn't been touched costs as much as what is computed in it. Measured on
hvp with blocks of 64, 128, 192 and 512."""
BLOCK = '''

BLOCK = 512
"""Steps times examples of a block: with fewer, products are too small; with more, it leaves the cache."""
'''


def class_name(procedure: Procedure) -> str:
    return f"_{procedure.name.capitalize()}"


def buffer_lines(procedure: Procedure, names: Names, size_lines: Callable[[Printer], list[str]]) -> list[str]:
    """The class of a function's arrays. size_lines: the lines that read the sizes which a printer has used."""
    printer = Printer(names, buffers="self")
    inner: list[str] = []
    indent = STEP * 2
    if procedure.is_blockwise:
        printer.sizes |= {"T": None, "B": None}
        inner.append(f"{indent}{SIZE if procedure.name in KEPT else SMALL}")
    for array in procedure.buffers:
        new = Call("empty", (), array.axes, array.dims, (("more", array.front + array.behind),))
        inner += lines(printer(new), indent, f"self.{array.name} = ")
    for walk in walks_of(procedure.statements):
        inner += walk_lines(walk, printer, indent)
    what = (
        "The arrays of a pass"
        + (" over blocks of steps" if procedure.is_blockwise else "")
        + ", and views of each step, made once."
    )
    head = [f"class {class_name(procedure)}:", f'{STEP}"""{what}"""', "", f"{STEP}def __init__(self, sizes, dtype):"]
    return [*head, *[STEP + line for line in size_lines(printer)], *inner]


def walk_lines(walk: Walk, printer: Printer, indent: str) -> list[str]:
    """The views of each step, as a list of tuples."""
    printer.steps = f"self.{PIECE}" if walk.length == PIECE else "T"
    zipped = Bracket("zip(", tuple(printer(sequence) for _, sequence in walk.views), ")")
    printer.steps = "T"
    return lines(Bracket("list(", (zipped,), ")", one=True), indent, f"self.{walk.name} = ")
