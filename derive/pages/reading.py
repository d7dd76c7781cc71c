"""How a page was understood: a table of its symbols, notes, and the equations in one notation."""

from __future__ import annotations

from dataclasses import dataclass

from derive.cell import Cell
from derive.language import Value
from derive.latex import LaTeX
from derive.letters import GREEK
from derive.notation import Notation, dim
from derive.pages.errors import Source
from derive.pages.kinds import Kinds
from derive.pages.names import Names
from derive.pages.shapes import Shapes


@dataclass(frozen=True)
class Row:
    """One symbol: its name, its role (state, input, parameter, output, internal), its shape, the places that define it."""

    symbol: str
    role: str
    shape: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Reading:
    """The table, notes for the reader, the equations as understood, as text and as LaTeX, and what was passed over."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    equations: tuple[str, ...]
    latex: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def role(cell: Cell, value: Value) -> str:
    plain = value.like(lag=0)
    kinds = (
        ("state", cell.states),
        ("input", cell.inputs),
        ("token", cell.tokens),
        ("parameter", cell.parameters),
        ("output", cell.outputs),
    )
    return next((name for name, values in kinds if plain in values), "internal")


def shape_of(cell: Cell, value: Value) -> tuple[str, ...]:
    """The sizes of a value; of a token how many of them there are."""
    sizes = (cell.tokens[value],) if value in cell.tokens else value.shape
    return tuple(dim(size) for size in sizes if size != 1)


def reading_of(source: Source, cell: Cell, names: Names, shapes: Shapes, kinds: Kinds) -> Reading:
    """The reading of a cell: states and inputs first, then parameters, then the rest, each in the order of the page."""
    defined = {one.symbol.name: source.where(one.span[0]) for one in names.defined.values()}
    defined |= {name: source.where(one.span[0]) for name, one in names.carried.items()}
    values = list(dict.fromkeys(value.like(lag=0) for value in (*cell.reads, *cell.targets)))
    order = ("state", "input", "token", "output", "parameter", "internal")
    rows = [Row(value.name, role(cell, value), shape_of(cell, value), defined.get(value.name, "given")) for value in values]
    once = [str(value.name) for value in cell.once]
    notes = list(names.notes)
    if kinds.row and kinds.row_shapes:
        notes.append("products are written `x W`: each matrix has the shape (in, out)")
    elif kinds.row and kinds.turned:
        notes.append("vectors are read as rows: k^\\top v is a matrix, k v^\\top a number")
    if names.reader.letter not in (None, "t"):
        notes.append(f"the time index is {names.reader.letter}")
    if any((one.time or 0) > 0 for one in names.defined.values()) and not names.reader.words:
        notes.append("definitions stand at the next step: the page is shifted by one")
    if source.joined:
        notes.append(
            "indices stand behind their letter without a sign: `Ht-1` is H at t-1, `Wi` is W_i; one letter in front of ( is a function"
        )
    if once:
        notes.append(f"of {', '.join(once)} there is one value an example, not one at each step")
    if not any(value.lag for value in cell.reads):
        notes.append("nothing is read at the step before: this cell has no state")
    rows.sort(key=lambda row: order.index(row.role))
    return Reading(tuple(rows), tuple(notes), *in_both(cell))


def written_in_letters(names: Names) -> frozenset[str]:
    """Parts of names that spell a Greek letter and are none on the page: the `xi` of `W_{xi}`."""
    symbols = [one.symbol for one in (*names.defined.values(), *names.reads)]
    greek = {glyph for symbol in symbols for glyph in symbol.glyphs}
    parts = {part for symbol in symbols for part in symbol.name.split("_")}
    return frozenset(part for part in parts if part.lower() in GREEK) - greek - {glyph.removeprefix("var") for glyph in greek}


def in_both(cell: Cell) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The cell's equations as text and as LaTeX."""
    text, latex = (kind(words=cell.words, leftward=cell.leftward, axes=cell.axes_of_states) for kind in (Notation, LaTeX))
    return printed(cell, text), printed(cell, latex)


def printed(cell: Cell, notation: Notation) -> tuple[str, ...]:
    """The cell's equations in one notation."""
    return tuple(f"{notation.value(target)} = {notation.formula(right)}" for target, right in cell.equations)
