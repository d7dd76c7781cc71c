"""The way from a page to cells, in order. Each stage is a function with one thing in and one thing out.

path or text -> Source           `source`        UTF-8 text, bounded, with nothing in it that acts
Source -> pieces                 `blocks`        displays, headings, declarations
display -> tokens                `tokens`        LaTeX and Unicode become one alphabet, places kept
tokens -> lines                  `surface`, `limits`, `ranges`    equations without labels, layout and ranges, brackets checked
line -> trees                    `grammar`, `operators`   an LALR grammar; nothing is evaluated
trees -> sections                `sections`      which equations make which cell
trees -> trees                   `prepared`: `timing`, `powers`, `components`    what is an index, an exponent, a name
trees -> names                   `timing`, `symbols`, `names`    the time index; one name a symbol
trees -> definitions             `meaning`, `forms`, `left`    brackets, functions, numbers
definitions -> definitions       `contraction`   sums over components without their indices
trees, definitions -> questions  `layers`, `marks`, `calls`, `products`, `doubts`, `lengths`    what can be read in two ways
definitions -> kinds             `kinds`, `settling`, `fed`, `blame`    matrix or vector, rows or columns
definitions -> shapes            `shapes`, `cuts`    the most general dimensions
all of it -> Cell                `build`, `reading`

The stages behind the sections are of one cell, and `one_cell` walks through them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from derive.pages.blocks import Block, Declarations, Heading, Piece, find_blocks, lines_of_prose
from derive.pages.declarations import Declared, Place, declared
from derive.pages.errors import PageError, Source, Span
from derive.pages.names import Entry
from derive.pages.one_cell import PageCell, functions_of, one_cell
from derive.pages.passed import is_needless, may_define, reader_for, reason_of, said_again
from derive.pages.sections import cells_of, declarations_for, outline
from derive.pages.source import load
from derive.pages.symbols import Reader
from derive.pages.titles import identifier, naming, nothing, unique


@dataclass(frozen=True)
class Page:
    """A page that was read: its cells, the formulas that were passed over (`file:line: why: formula`), and the sections that can't be
    read, (heading, why)."""

    path: str
    cells: tuple[PageCell, ...]
    skipped: tuple[str, ...]
    refused: tuple[tuple[str, PageError], ...] = ()

    def cell(self, name: str | None = None) -> PageCell:
        """The cell of a heading, or of its name; the only one without. Raises PageError with the names there are."""
        wanted = identifier(name or "").lower()
        for one in self.cells:
            if (name is None and len(self.cells) == 1) or (
                name and wanted in (identifier(one.heading).lower(), one.cell.name.lower())
            ):
                return one
        for heading, error in self.refused:
            if name and wanted == identifier(heading).lower():
                raise error
        known = ", ".join(f"`{identifier(one.heading).lower()}`" for one in self.cells)
        asked = f"no cell `{name}`" if name else f"{len(self.cells)} cells"
        raise PageError(f"{Path(self.path).name}: {asked} on the page: expected one of {known}. Choose with --cell NAME.")


def read(
    path_or_dash: str, *, text: str | None = None, dims: Mapping[str, str] | None = None, let: Mapping[str, str] | None = None
) -> Page:
    """The cells of a page. `text`: the page's text, where it isn't to be read from the path; `-` is standard input.

    dims: symbol -> dimension names, `{"x": "N", "W": "H, N"}`. let: name -> what it is, `{"f": "tanh", "alpha": "0.95", "W": "matrix"}`.
    Raises PageError, and nothing else, on whatever can't be read.
    """
    source = load(path_or_dash, text)
    try:
        return read_source(source, path_or_dash, dims or {}, let or {})
    except RecursionError:
        raise PageError(
            f"{source.name}:1: the page nests too deep: expected formulas as people print them. Split them up."
        ) from None


def read_source(source: Source, path: str, dims: Mapping[str, str], let: Mapping[str, str]) -> Page:
    pieces = find_blocks(source)
    if any(isinstance(piece, Block) for piece in pieces) and source.plain and has_display(source):
        source = replace(source, plain=False)
    if not any(isinstance(piece, Block) for piece in pieces):
        source, pieces = lines_of_prose(source, pieces)
    known = declared(source, places_of(pieces), let, dims)
    found = outline(source, pieces, known.time)
    groups = [
        (title, entries) for title, entries in cells_of(source, found.root, known.time) if any(not e.is_function for e in entries)
    ]
    if not groups:
        passed = tuple(listed(source, span, why) for span, why in found.skipped)
        raise nothing(source, passed, any(isinstance(piece, Block) for piece in pieces))
    titles = unique([title for title, _ in groups])
    cells: dict[int, PageCell] = {}
    refused: list[tuple[str, PageError]] = []
    unread = [entry for _, entries in groups for entry in entries if entry.problem is not None]
    for at, (title, (_, entries)) in enumerate(zip(titles, groups, strict=True)):
        said = replace(declared(source, [declarations_for(found.root, entries)], let, dims), time=known.time, used=known.used)
        try:
            cells[at], more = settled_cell(source, title, entries, said, naming(path, title, len(groups)))
            refuse_unread(source, cells[at], unread, reader_for(source, entries, known.time))
            found.skipped += more
        except PageError as error:
            cells.pop(at, None)
            refused.append((title, error))
    if not cells:
        raise refused[0][1] if len(refused) == 1 else PageError("\n".join(str(error) for _, error in refused))
    skipped = sorted(found.skipped)
    starts = {at: min(entry.span[0] for entry in groups[at][1]) for at in cells}
    above = [max((at for at, start in starts.items() if start < span[0]), default=min(starts)) for span, _ in skipped]
    unused = tuple(f"`{name}` is declared, and no symbol of the page" for name in known.unused)
    for at, one in cells.items():
        passed = tuple(listed(source, span, why) for (span, why), owner in zip(skipped, above, strict=True) if owner == at)
        notes = (*one.reading.notes, *(unused if at == min(cells) else ()))
        cells[at] = replace(one, reading=replace(one.reading, notes=notes, skipped=passed))
    return Page(path, tuple(cells.values()), tuple(listed(source, span, why) for span, why in skipped), tuple(refused))


def places_of(pieces: Sequence[Piece]) -> list[Place]:
    """The declarations of a page, those under each heading together."""
    found: list[list[Span]] = [[]]
    for piece in pieces:
        if isinstance(piece, Heading):
            found.append([])
        elif isinstance(piece, Declarations):
            found[-1].append(piece.span)
    return [Place(tuple(spans)) for spans in found if spans]


LONGEST_LISTED = 300
"""Characters of a formula in the list of those that were passed over."""


def listed(source: Source, span: Span, why: str) -> str:
    written = source.written(span)
    return f"{source.where(span[0])}: {why}: {written[:LONGEST_LISTED]}{'...' * (len(written) > LONGEST_LISTED)}"


def settled_cell(
    source: Source, title: str, entries: list[Entry], known: Declared, naming: tuple[str, str]
) -> tuple[PageCell, list[tuple[Span, str]]]:
    """(the cell, the lines that were passed over since they can't be read and nothing needs them). Raises PageError."""
    for entry in entries:
        if entry.problem is not None:
            raise entry.problem
    passed: list[tuple[Span, str]] = []
    while True:
        try:
            return one_cell(source, title, entries, known, naming), passed
        except PageError as error:
            reader = reader_for(source, entries, known.time)
            functions = {*known.functions, *known.kinds, *functions_of(entries)[0]}
            again = [one for one in entries if said_again(one, entries, reader, functions)]
            blamed = [one for at, _ in error.places for one in entries if one.span[0] <= at < one.span[1]]
            needless = [one for one in blamed if is_needless(one, entries, reader)]
            if not (again or needless):
                raise
            out = [*again, *needless][0]
            entries = [one for one in entries if one is not out]
            passed.append((out.span, "said again, in general" if again else reason_of(out, error)))


def refuse_unread(source: Source, one: PageCell, unread: Sequence[Entry], reader: Reader) -> None:
    """Raises PageError where a line of another section, which can't be read, may define what is an input here."""
    for value in one.cell.inputs:
        for entry in unread:
            if may_define(source, entry, value.name, reader):
                what = f"{one.heading} reads `{value.name}`, which this line may define: expected it to be readable."
                raise source.error(entry.span, what, str(entry.problem))


def has_display(source: Source) -> bool:
    return re.search(r"\$\$|\\\[|\\begin\{", source.text) is not None
