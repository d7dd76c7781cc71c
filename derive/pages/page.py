"""The way from a page to cells, in order. Each stage is a function with one thing in and one thing out.

path or text -> Source           `source`        UTF-8 text, bounded, with nothing in it that acts
Source -> pieces                 `blocks`        displays, headings, declarations
display -> tokens                `tokens`        LaTeX and Unicode become one alphabet, places kept
tokens -> lines                  `surface`, `limits`, `ranges`    equations without labels, layout and ranges, brackets checked
line -> trees                    `grammar`, `operators`   an LALR grammar; nothing is evaluated
trees -> sections                `sections`      which equations make which cell
trees -> trees                   `depth`, `named_cells`   layers written out, cells in the place of their names
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
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from derive.pages import depth, named_cells
from derive.pages.blocks import Block, Declarations, Heading, Piece, find_blocks, lines_of_prose
from derive.pages.declarations import Declared, Place, declared
from derive.pages.errors import PageError, Source, Span, said_once
from derive.pages.joined import Part, notes_on_offsets
from derive.pages.named_cells import called_sections, functions_above, without_sections
from derive.pages.names import Entry
from derive.pages.one_cell import PageCell, functions_of, one_cell
from derive.pages.passed import is_needless, may_define, reader_for, reason_of, said_again, stands_in_any
from derive.pages.prepared import with_steps
from derive.pages.sections import Outline, Section, cells_of, declarations_for, layer_of, outline
from derive.pages.source import load
from derive.pages.starts import INITIAL, is_nought
from derive.pages.symbols import Reader, walk
from derive.pages.timing import scripts_of
from derive.pages.titles import identifier, naming, nothing, unique
from derive.pages.tree import Letter
from derive.pages.use import Template
from derive.pages.worded import with_letter_of_time


@dataclass(frozen=True)
class Page:
    """A page that was read: its cells, the formulas that were passed over (`file:line: why: formula`), and the sections that can't be
    read, (heading, why). parts: cells that others use by their name, which are derived where they are chosen."""

    path: str
    cells: tuple[PageCell, ...]
    skipped: tuple[str, ...]
    refused: tuple[tuple[str, PageError], ...] = ()
    parts: tuple[PageCell, ...] = ()

    def cell(self, name: str | None = None) -> PageCell:
        """The cell of a heading, or of its name; the only one without. Raises PageError with the names there are."""
        wanted = identifier(name or "").lower()
        for one in (*self.cells, *(self.parts if name else ())):
            if (name is None and len(self.cells) == 1) or (
                name and wanted in (identifier(one.heading).lower(), one.cell.name.lower())
            ):
                return one
        for heading, error in self.refused:
            if name and wanted == identifier(heading).lower():
                raise error
        known = ", ".join(f"`{identifier(one.heading).lower()}`" for one in (*self.cells, *self.parts))
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
    source, pieces = pieces_of(source)
    malformed: list[PageError] = []  # declarations that refuse their own sections, which read them again
    known = declared(source, places_of(pieces), let, dims, malformed)
    found = outline(source, pieces, known.time, known.layer, known.letters)
    layer = layer_of(source, found.root.all(), known.time, known.layer)
    named = called_sections(found.root)

    def names_said(entries: Sequence[Entry]) -> Collection[str]:
        with suppress(PageError):  # which is said when the section is read
            return declared(source, [declarations_for(found.root, entries)], let, dims).kinds
        return ()

    networks = [
        (title, entries)
        for title, entries in cells_of(source, without_sections(found.root, named.values()), known.time, layer, names_said)
        if any(not e.is_function for e in entries)
    ]
    groups = [*networks, *[(part.title, [*functions_above(found.root, part), *part.all()]) for part in named.values()]]
    library = Library(source, path, found, known, let, dims, named)
    if not groups and malformed:
        raise malformed[0]
    if not groups:
        passed = tuple(listed(source, span, why) for span, why in found.skipped)
        raise nothing(source, passed, any(isinstance(piece, Block) for piece in pieces))
    parts = [Part(entries) for _, entries in groups]
    titles = unique([title for title, _ in groups])
    cells: dict[int, PageCell] = {}
    refused: list[tuple[str, PageError]] = []
    unread = [entry for _, entries in groups for entry in entries if entry.problem is not None]
    for at, (title, (_, printed)) in enumerate(zip(titles, groups, strict=True)):
        try:
            entries, said = library.expanded(printed)
            count = len(networks) if at < len(networks) else len(groups) + 1
            cells[at], more = settled_cell(source, title, entries, said, naming(path, title, count))
            reading = cells[at].reading
            offsets = notes_on_offsets(source, parts[at], [part for part in parts if part is not parts[at]], names_said)
            cells[at] = replace(cells[at], reading=replace(reading, notes=(*reading.notes, *offsets)))
            refuse_unread(source, cells[at], unread, reader_for(source, entries, said.time))
            found.skipped += more
        except PageError as error:
            cells.pop(at, None)
            if str(error) not in [str(other) for _, other in refused]:  # that of a cell stands where its name is used, too
                refused.append((title, error))
    met = [str(error) for _, error in refused]
    refused += [("", error) for error in malformed if str(error) not in met]
    if not any(at < len(networks) for at in cells):
        faults = said_once(error for _, error in refused)
        raise faults[0] if len(faults) == 1 else PageError("\n".join(map(str, faults)))
    skipped = sorted({*found.skipped} - {(span, why) for span, why in found.skipped if span in known.bottoms})
    unread_spans = [span for span, _ in skipped] + [
        entry.span for at, (_, entries) in enumerate(groups) if at not in cells for entry in entries
    ]
    unused = [name for name in known.unused if not stands_in_any(source, unread_spans, name)]
    cells = with_notes(source, cells, {at: min(entry.span[0] for entry in groups[at][1]) for at in cells}, skipped, unused)
    own, called = (tuple(one for at, one in cells.items() if (at < len(networks)) is whole) for whole in (True, False))
    return Page(path, own, tuple(listed(source, span, why) for span, why in skipped), tuple(refused), called)


def pieces_of(source: Source) -> tuple[Source, list[Piece]]:
    """(the page, its displays, headings and declarations): a page without displays has its equations in lines of text."""
    pieces = find_blocks(source)
    if not any(isinstance(piece, Block) for piece in pieces):
        return lines_of_prose(source, pieces)
    return (replace(source, plain=False) if source.plain and has_display(source) else source), pieces


def with_notes(
    source: Source,
    cells: Mapping[int, PageCell],
    starts: Mapping[int, int],
    skipped: Sequence[tuple[Span, str]],
    unused: Iterable[str],
) -> dict[int, PageCell]:
    """The cells with what was passed over behind the start of each, and the first one with the declarations of nothing."""
    above = [max((at for at, start in starts.items() if start < span[0]), default=min(starts)) for span, _ in skipped]
    of_nothing = tuple(f"`{name}` is declared, and no symbol of the page" for name in unused)
    noted = {}
    for at, one in cells.items():
        passed = tuple(listed(source, span, why) for (span, why), owner in zip(skipped, above, strict=True) if owner == at)
        notes = (*one.reading.notes, *(of_nothing if at == min(cells) else ()))
        noted[at] = replace(one, reading=replace(one.reading, notes=notes, skipped=passed))
    return noted


class Library:
    """The equations of a page's cells as they are read: layers written out, and cells in the place of their names.

    named: words that stand for a cell -> the section that defines it.
    """

    def __init__(
        self, source: Source, path: str, found: Outline, known: Declared, let: Mapping[str, str], dims: Mapping[str, str],
        named: Mapping[str, Section],
    ) -> None:  # fmt: skip
        self.source, self.path, self.found, self.known, self.let, self.dims, self.named = (
            source,
            path,
            found,
            known,
            let,
            dims,
            named,
        )
        self.templates: dict[str, Template] = {}
        self.open: list[str] = []

    def expanded(self, entries: Sequence[Entry]) -> tuple[list[Entry], Declared]:
        """(the equations of a cell, what is declared of them). Raises PageError."""
        refuse_unreadable(entries)
        said = declared(self.source, [declarations_for(self.found.root, entries)], self.let, self.dims)
        if said.time is None and self.known.time in letters_in(entries):
            said.time = self.known.time
        said = replace(said, used=self.known.used, bottoms=self.known.bottoms)
        entries = self.without_needless(with_steps(self.source, entries, said), said.time)
        nought = [entry for entry in entries if entry.is_start and is_nought(entry.right)]
        self.found.skipped += [(entry.span, INITIAL) for entry in nought]
        entries = [entry for entry in entries if entry not in nought]
        known = depth.written_out(self.source, entries, said, self.found.initial)
        return named_cells.written_out(self.source, *known, self.template)

    def without_needless(self, entries: Sequence[Entry], time: str | None) -> list[Entry]:
        """The equations without those that can't be read and that nothing needs. Raises the error of one that is needed."""
        unread = [entry for entry in entries if entry.problem is not None]
        for entry in unread:
            assert entry.problem is not None
            if not is_needless(entry, entries, reader_for(self.source, entries, time)):
                raise entry.problem
            self.found.skipped.append((entry.span, reason_of(entry, entry.problem)))
        return [entry for entry in entries if entry.problem is None]

    def template(self, word: str) -> Template | None:
        """The cell that stands for a word; None where the page defines none. Raises PageError."""
        if word not in self.named:
            return None
        section = self.named[word]
        if word in self.open:
            what = f"{word} uses itself: expected equations, or cells defined without it."
            raise self.source.error(section.all()[0].span, what, "Write its step out.")
        if word not in self.templates:
            self.open.append(word)
            entries, known = self.expanded([*functions_above(self.found.root, section), *section.all()])
            self.open.pop()
            one = one_cell(self.source, section.title, entries, known, naming(self.path, section.title, 2))
            reader = reader_for(self.source, entries, known.time)
            if reader.letter is None:
                values = {str(value.name) for value in (*one.cell.targets, *one.cell.inputs, *one.cell.tokens)}
                entries, reader = with_letter_of_time(entries, reader, values)
            self.templates[word] = Template(section.title, entries, reader, one.cell, known, built_in=False)
        return self.templates[word]


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


def letters_in(entries: Iterable[Entry]) -> set[str]:
    """The letters that stand in the indices of some equations."""
    scripts = [script for entry in entries for tree in (*entry.targets, entry.right) for script in scripts_of(tree)]
    return {node.name for script in scripts for node in walk(script) if isinstance(node, Letter)}


def refuse_unreadable(entries: Sequence[Entry]) -> None:
    """Raises the error of the first equation that can't be read."""
    for entry in entries:
        if entry.problem is not None:
            raise entry.problem


def settled_cell(
    source: Source, title: str, entries: list[Entry], known: Declared, naming: tuple[str, str]
) -> tuple[PageCell, list[tuple[Span, str]]]:
    """(the cell, the lines that were passed over since they can't be read and nothing needs them). Raises PageError."""
    passed: list[tuple[Span, str]] = []
    while True:
        try:
            return one_cell(source, title, entries, known, naming), passed
        except PageError as error:
            reader = reader_for(source, entries, known.time)
            functions = {*known.functions, *known.kinds, *functions_of(entries)[0]}
            again = [one for one in entries if said_again(one, entries, reader, functions)]
            blamed = [one for at, _ in error.places for one in entries if one.span[0] <= at < one.span[1]]
            needless = [one for one in blamed if is_needless(one, entries, reader, functions, error)]
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
