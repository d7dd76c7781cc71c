"""The way from a page to cells, in order. Each stage is a function with one thing in and one thing out.

path or text -> Source           `source`        UTF-8 text, bounded, with nothing in it that acts
Source -> pieces                 `blocks`        displays, headings, declarations
display -> tokens                `tokens`        LaTeX and Unicode become one alphabet, places kept
tokens -> lines                  `surface`, `limits`      equations without labels and layout, brackets checked
line -> trees                    `grammar`, `operators`   an LALR grammar; nothing is evaluated
trees -> sections                `sections`      which equations make which cell
trees -> trees                   `prepared`: `timing`, `powers`, `components`    what is an index, an exponent, a name
trees -> names                   `timing`, `symbols`, `names`    the time index; one name a symbol
trees -> definitions             `meaning`, `forms`, `left`    brackets, functions, numbers
definitions -> definitions       `contraction`   sums over components without their indices
trees, definitions -> questions  `layers`, `marks`, `calls`, `products`, `doubts`    what can be read in two ways
definitions -> kinds             `kinds`         matrix or vector, rows or columns
definitions -> shapes            `shapes`, `cuts`    the most general dimensions
all of it -> Cell                `build`, `reading`
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from derive.cell import Cell, CellError
from derive.functions import CHOSEN
from derive.language import LanguageError
from derive.pages.alphabet import NORMALISED, function_name
from derive.pages.blocks import Block, Declarations, find_blocks, lines_of_prose
from derive.pages.build import Builder, read_names, timed_names
from derive.pages.calls import refuse_capitals
from derive.pages.columns import Columns, without_names_of_diagonals
from derive.pages.contraction import Contraction
from derive.pages.core import Call, Const, Core, Definition, Ref, Several, every, refs
from derive.pages.cuts import refuse_sizes_of_nothing, settle_cuts
from derive.pages.declarations import Declared, declared
from derive.pages.doubts import (
    refuse_both_ways,
    refuse_calls,
    refuse_capitals_beside_rows,
    refuse_functions_of_matrices,
    refuse_identity,
    refuse_inner_products,
    refuse_matrices_of_steps,
    refuse_ones_in_products,
    refuse_series_of_matrices,
    refuse_sums_of_inner_products,
    refuse_tensors,
    with_identities,
)
from derive.pages.errors import PageError, Source, Span
from derive.pages.inputs import inputs_of, notes_on_inputs, operands, refuse_inputs_without_a_step
from derive.pages.layers import refuse_layers, refuse_two_counters
from derive.pages.left import definitions_of
from derive.pages.marks import notes_on_fonts, refuse_operations
from derive.pages.meaning import Macro, Meaning
from derive.pages.names import Entry, Names
from derive.pages.numbers import without_numbers
from derive.pages.open_symbols import refuse_open_symbols
from derive.pages.passed import is_needless, may_define, reader_for, reason_of, said_again
from derive.pages.prepared import prepared
from derive.pages.reading import Reading, reading_of, written_in_letters
from derive.pages.sections import cells_of, declarations_for, outline
from derive.pages.settling import finish, settled
from derive.pages.shapes import Shapes
from derive.pages.source import load
from derive.pages.symbols import Reader, take_apart, walk
from derive.pages.titles import identifier, naming, nothing, unique
from derive.pages.tree import Bracket, Chain, Letter, Node, Signed
from derive.pages.turned import refuse_idle_transpositions, refuse_two_meanings


@dataclass(frozen=True)
class PageCell:
    """One cell of a page: its heading, the cell, how it was read."""

    heading: str
    cell: Cell
    reading: Reading


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
    known = declared(source, [piece.span for piece in pieces if isinstance(piece, Declarations)], let, dims)
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
        said = replace(declared(source, declarations_for(found.root, entries), let, dims), time=known.time, used=known.used)
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


# ---- one cell


def one_cell(source: Source, title: str, entries: list[Entry], known: Declared, naming: tuple[str, str]) -> PageCell:
    """The cell that some equations make. Raises PageError."""
    ready = prepared(source, entries, known)
    forward, reader, trees = ready.forward, ready.reader, ready.printed
    macros, aliases = functions_of(ready.functions)
    known = replace(known, functions=aliases | known.functions)
    names = Names(source, reader, forward, known, set(macros))
    names.notes |= dict.fromkeys(ready.notes)
    if known.time is None:
        refuse_two_counters(source, reader, trees)
    refuse_capitals(source, [entry.right for entry in forward], Counter(one.symbol.name for one in names.reads), known.kinds)
    refuse_layers(names)
    refuse_operations(names)
    names.notes |= dict.fromkeys(notes_on_fonts(names, trees))
    known.used |= {one.symbol.name for one in (*names.defined.values(), *names.reads, *names.functions)}
    known.used |= {node.name for entry in entries for node in walk(entry.right) if isinstance(node, Letter)}
    signs = frozenset(sign for tree in trees for node in walk(tree) if isinstance(node, Signed) for sign in node.signs)
    meaning = Meaning(names, macros, signs)
    contraction = Contraction(source, [definition for entry in forward for definition in definitions_of(meaning, entry)])
    meaning.calls = {name: (span, contraction.formula(inside)[0]) for name, (span, inside) in meaning.calls.items()}
    definitions = with_carried(contraction.definitions, names)
    timed = {*names.carried} | {
        one.symbol.name for one in (*names.defined.values(), *names.reads) if names.is_timed(one.symbol.name)
    }
    refuse_calls(source, meaning, definitions)
    definitions, numbers = without_numbers(source, definitions, timed)
    names.notes |= dict.fromkeys(f"{name} is the number {number}" for name, number in numbers.items())
    called = [name for definition in definitions for one in every(definition.body) for name in functions_in(one)]
    names.notes |= dict.fromkeys(note for name in called if (note := CHOSEN.get(name) or NORMALISED.get(name)))
    definitions = without_names_of_diagonals(definitions)
    said = contraction.kinds | {name: kind for name, kind in known.kinds.items() if kind != "identity"}
    try:
        kinds = settled(source, definitions, timed, said)
    except PageError:
        refuse_capitals_beside_rows(names, definitions)
        raise
    with_units = with_identities(names, definitions, kinds)
    if with_units != definitions:
        definitions, kinds = with_units, settled(source, with_units, timed, said)
    if reader.letter is not None:
        refuse_open_symbols(names, definitions, kinds, frozenset({*known.dims, *contraction.kinds}))
    refuse_identity(names, definitions)
    refuse_tensors(names, kinds, signs)
    contraction.require_numbers(kinds)
    finish(kinds)
    inputs = inputs_of(definitions, timed, kinds, known, reader.letter)
    refuse_inputs_without_a_step(names, inputs)
    if reader.letter is None:
        refuse_open_symbols(names, definitions, kinds, frozenset({*known.dims, *contraction.kinds, *inputs}))
    refuse_functions_of_matrices(names, definitions, inputs)
    refuse_series_of_matrices(names, kinds)
    refuse_ones_in_products(names, kinds)
    refuse_both_ways(source, definitions, kinds)
    refuse_inner_products(names, kinds)
    refuse_sums_of_inner_products(names, kinds)
    refuse_matrices_of_steps(names, definitions, kinds, timed - {d.name for d in definitions})
    multiplied = {name for d in definitions for name in operands(d.body, kinds)}
    names.notes |= dict.fromkeys(notes_on_inputs(names, kinds, inputs, multiplied))
    refuse_shapeless(source, definitions, inputs, names)
    refuse_two_meanings(source, names)
    names.notes |= dict.fromkeys(refuse_idle_transpositions(source, definitions, kinds))
    refuse_circle(source, definitions)
    columns = Columns(kinds)
    definitions = columns.definitions()
    shapes = Shapes(source, kinds, definitions, known.dims)
    contraction.unify(shapes, columns)
    settle_cuts(shapes, definitions)
    refuse_sizes_of_nothing(shapes, definitions)
    states = ordered({node.name for d in definitions for node in refs(d.body) if node.lag == -1}, definitions)
    steps = timed_names(definitions, {*inputs, *states})
    read_anywhere = {name for d in definitions for name in read_names(d.body)}
    outputs = [d.name for d in definitions if d.name in steps and d.name not in read_anywhere]
    own = [name for name in states if name not in names.carried]
    shapes.name_all(own, inputs, outputs, {*shapes.shapes})
    builder = Builder(source, shapes, steps)
    cell = replace(make(source, naming, builder, definitions), words=written_in_letters(names))
    return PageCell(title, cell, reading_of(source, cell, names, shapes, kinds))


def with_carried(definitions: list[Definition], names: Names) -> list[Definition]:
    """The definitions with the states that carry older values, each behind what it delays."""
    found = list(definitions)
    for name, one in names.carried.items():
        at = next((at for at, other in enumerate(found) if other.name == one.name), len(found) - 1)
        found.insert(at + 1, Definition(name, Ref(one.name, one.lag, one.span), one.span))
    return found


def functions_in(node: Core) -> Iterator[str]:
    """The function that a node is, of one thing, or a power of a quantity by a quantity."""
    if isinstance(node, Call) or (isinstance(node, Several) and not isinstance(node.parts[0], Const)):
        yield node.function


def make(source: Source, naming: tuple[str, str], builder: Builder, definitions: Sequence[Definition]) -> Cell:
    try:
        return Cell.from_equations(*naming, [builder.equation(definition) for definition in definitions])
    except (CellError, LanguageError) as error:
        raise PageError(f"{source.where(definitions[0].span[0])}: {error}") from None


def functions_of(entries: Sequence[Entry]) -> tuple[dict[str, Macro], dict[str, str]]:
    """The functions that the page defines: `f(a) = ...` and `f = \\tanh`."""
    macros: dict[str, Macro] = {}
    aliases: dict[str, str] = {}
    for entry in entries:
        left = entry.targets[0]
        if not entry.is_function:
            continue
        if isinstance(left, Chain):
            name, bracket = left.items
            parameter = bracket.parts[0] if isinstance(bracket, Bracket) else name
            function = take_apart(name)
            assert function is not None
            assert isinstance(parameter, Letter)
            macros[spelled_name(name)] = Macro(function.letter, parameter.name, entry.right)
        elif isinstance(entry.right, Letter):
            aliases[spelled_name(left)] = function_name(entry.right.name) or entry.right.name
    return macros, aliases


def spelled_name(node: Node) -> str:
    """The name of a function's symbol, which carries no time."""
    one = Reader(None).read(node)
    return one.symbol.name if one else ""


def ordered(names: set[str], definitions: Sequence[Definition]) -> list[str]:
    """Names in the order in which the equations read them."""
    return list(dict.fromkeys(ref.name for d in definitions for ref in refs(d.body) if ref.name in names))


# ---- refusals that need the whole cell


def refuse_shapeless(source: Source, definitions: Sequence[Definition], inputs: Sequence[str], names: Names) -> None:
    if not inputs:
        what = "a page without inputs has no steps: expected a symbol that is read at this step and never defined, such as `x_t`."
        raise source.error(definitions[0].span, what, 'Write the input with a time index, or say which it is: --let "x=input".')


def refuse_circle(source: Source, definitions: Sequence[Definition]) -> None:
    """Raises PageError where definitions need each other at the same step."""
    waiting = {d.name: {ref.name for ref in refs(d.body) if ref.lag == 0} for d in definitions}
    while True:
        needed = {name for needs in waiting.values() for name in needs}
        ready = [name for name, needs in waiting.items() if not needs & set(waiting) or name not in needed]
        if not ready:
            break
        for name in ready:
            del waiting[name]
    if waiting:
        first = next(d for d in definitions if d.name in waiting)
        what = f"circular definition: {', '.join(waiting)} need each other at the same step: expected an order."
        raise source.error(first.span, what, "Read one of them at the step before.")
