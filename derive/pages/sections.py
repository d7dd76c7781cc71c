"""Pieces of a page -> sections: which equations belong to which cell. Headings separate cells that don't need one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from derive.pages.alphabet import function_name
from derive.pages.arguments import mere_arguments, without_arguments
from derive.pages.blocks import Block, Declarations, Definitions, Heading, Piece, Skip
from derive.pages.components import without_indices
from derive.pages.declarations import Declared, Place
from derive.pages.displays import tokenize
from derive.pages.errors import PageError, Source, Span
from derive.pages.exponentials import with_exponentials
from derive.pages.grammar import parse
from derive.pages.indexed import in_one_notation
from derive.pages.joined import Part, Said, are_joined, reads_ends, reads_other_times, with_results_refused
from derive.pages.layers import letter_of_layers, without_layers
from derive.pages.macros import DEFINES, Macros, macros_in
from derive.pages.names import Entry
from derive.pages.operators import refuse_other_sums
from derive.pages.passed import is_gradient, is_needless, reader_for, reason_of
from derive.pages.primes import changed, with_primes
from derive.pages.sides import Line
from derive.pages.stacks import cells_of as cells_of_grid
from derive.pages.stacks import grid_of
from derive.pages.starts import INITIAL, is_initial, is_nought, is_start_of_layer
from derive.pages.steps import Steps
from derive.pages.surface import equations
from derive.pages.symbols import Reader, children, shifted_letters, take_apart, walk
from derive.pages.timing import reader_of, scripts_of, with_call_indices
from derive.pages.tokens import Token
from derive.pages.tree import Bracket, Chain, Grid, Letter, Node, Reduced, Scripted

MOST = 400
"""Equations of one page."""


@dataclass
class Section:
    """A heading with the equations and declarations right under it and the sections below it."""

    title: str
    level: int
    entries: list[Entry] = field(default_factory=list)
    below: list[Section] = field(default_factory=list)
    declared: list[Span] = field(default_factory=list)

    def all(self) -> list[Entry]:
        return [*self.entries, *[entry for section in self.below for entry in section.all()]]

    def sections(self) -> Iterator[Section]:
        """This section and all below it."""
        yield self
        for section in self.below:
            yield from section.sections()


@dataclass
class Outline:
    """A page in sections, and what was passed over; of that, the initial states. ranges: those beside equations, each with the letter
    that it counts in front."""

    root: Section
    skipped: list[tuple[Span, str]] = field(default_factory=list)
    ranges: list[list[Token]] = field(default_factory=list)
    count: int = 0
    initial: list[Entry] = field(default_factory=list)


def outline(source: Source, pieces: Sequence[Piece], time: str | None, layer: str | None, declared: set[str]) -> Outline:
    """The sections of a page with their equations, parsed or with the reason why not.

    time, layer: the letters that are declared; declared: those of time of all sections. Raises PageError.
    """
    found = Outline(Section("", 0))
    open_sections = [found.root]
    skip: Skip | None = None
    macros = macros_in(source, [piece.span for piece in pieces if isinstance(piece, (Block, Definitions))])
    for piece in pieces:
        if skip is not None and isinstance(piece, (Block, Heading)):
            pass_over(source, found, skip, piece)
            skip = None
            if isinstance(piece, Block):
                continue
        if isinstance(piece, Heading):
            while open_sections[-1].level >= piece.level:
                open_sections.pop()
            section = Section(piece.title, piece.level)
            open_sections[-1].below.append(section)
            open_sections.append(section)
        elif isinstance(piece, Block):
            lines, ranges = lines_of(source, piece, macros)
            found.ranges += ranges
            for line in lines:
                add_line(source, found, open_sections[-1], line)
            if not (lines or ranges) and source.written(piece.span) and not DEFINES.search(source.text, *piece.span):
                found.skipped.append((piece.span, "no equation"))
        elif isinstance(piece, Declarations):
            open_sections[-1].declared.append(piece.span)
        elif isinstance(piece, Skip):
            skip = piece
    if skip is not None:
        pass_over(source, found, skip, None)
    written = {entry.span: entry for entry in with_exponentials(in_one_notation(found.root.all()), declared)}
    for section in found.root.sections():
        section.entries = [written[entry.span] for entry in section.entries]
    pass_over_bottoms(found, counted := layer_of(source, found.root.all(), time, layer))
    refuse_sums_over_steps(source, found.root, declared, counted)
    without_needless(source, found, time)
    pass_over_ranges(found, declared)
    times = time_letters(found.root.all()) | declared
    for part in found.root.sections() if (names := mere_arguments(found.root.all(), times)) else ():
        part.entries = without_arguments(part.entries, names)
    with_functions(found.root, times)
    return found


def layer_of(source: Source, entries: Sequence[Entry], time: str | None, layer: str | None) -> str | None:
    """The letter that counts layers on a page; None where there is none, or where it can't be told, which is said when a cell is read."""
    sound = [entry for entry in entries if entry.problem is None and not entry.is_function]
    trees = [tree for entry in sound for tree in (*entry.targets, entry.right)]
    try:
        return letter_of_layers(source, trees, Declared(time=time, layer=layer)) if trees else None
    except PageError:
        return None


def pass_over(source: Source, found: Outline, skip: Skip, piece: Piece | None) -> None:
    if not isinstance(piece, Block):
        what = "`derive: skip` stands in front of no display: expected one behind it."
        raise source.error(skip.span, what, "Put it right in front of what is to be passed over.")
    found.skipped.append((piece.span, "skipped, as the page says"))


def lines_of(source: Source, block: Block, macros: Macros) -> tuple[list[Line], list[list[Token]]]:
    """(the equations of a display, the ranges beside them); one line with the reason where it can't be taken apart."""
    try:
        return equations(source, tokenize(source, block.span, macros))
    except PageError as error:
        return [Line([], [Token("UNREAD", "", block.span)], None, error)], []


def add_line(source: Source, found: Outline, section: Section, line: Line) -> None:
    if (line.problem is None and line.equals is None) or is_gradient(line):
        update = any(token.value == "←" for token in line.tokens) and all(token.value not in "∂∇" for token in line.tokens)
        found.skipped.append((line.span, "an update, `\\leftarrow`, as of weights" if update else "a gradient formula"))
        return
    found.count += 1
    if found.count > MOST:
        raise source.error(line.span, f"too many equations: expected at most {MOST} on a page.", "Split the page.")
    entry = entry_of(source, line)
    if entry.targets and entry.problem is None and (is_initial(entry.targets[0]) or is_start_of_layer(entry)):
        if not is_nought(entry.right):
            section.entries.append(replace(entry, is_start=True))
            return
        found.skipped.append((line.span, INITIAL))
        found.initial.append(entry)
    else:
        section.entries.append(entry)


def pass_over_bottoms(found: Outline, layer: str | None) -> None:
    """Take out what says what layer 0 is, `h^{(0)} = x`, on a page with layers."""
    for section in found.root.sections() if layer is not None else ():
        for entry in [
            one for one in section.entries if one.is_start and isinstance(one.targets[0], Scripted) and one.targets[0].sup
        ]:
            section.entries.remove(entry)
            found.skipped.append((entry.span, INITIAL))
            found.initial.append(entry)


def entry_of(source: Source, line: Line) -> Entry:
    """The trees of a line, as far as it can be read."""
    targets: tuple[Node, ...] = ()
    try:
        targets = targets_of(parse(source, line.left)) if line.left else ()
        if line.problem is None:
            return Entry(line, targets, parse(source, line.right))
    except PageError as error:
        return Entry(line, targets, Letter("", line.span), problem=line.problem or error)
    return Entry(line, targets, Letter("", line.span), problem=line.problem)


def refuse_sums_over_steps(source: Source, root: Section, times: set[str], layer: str | None) -> None:
    """Note at each line with a sum over steps that it can't be read. times: those that are declared; the others are a section's own, or
    those of the page where it has none. layer: the letter that counts layers."""
    for section in root.sections():
        letters = times | ((time_letters(section.entries) or time_letters(root.all())) - {layer})
        for at, entry in enumerate(section.entries):
            try:
                refuse_other_sums(source, entry.right, letters)
            except PageError as error:
                section.entries[at] = replace(entry, problem=error)


def without_needless(source: Source, found: Outline, time: str | None) -> None:
    """Take the lines out that can't be read and that nothing needs."""
    entries = found.root.all()
    if all(entry.problem is None for entry in entries):
        return
    try:
        reader = reader_for(source, entries, time)
    except PageError:
        return
    for section in found.root.sections():
        for entry in [entry for entry in section.entries if entry.problem is not None]:
            assert entry.problem is not None
            if is_needless(entry, entries, reader):
                section.entries.remove(entry)
                found.skipped.append((entry.span, reason_of(entry, entry.problem)))


def pass_over_ranges(found: Outline, declared: set[str]) -> None:
    """Pass over what the page counts, which is listed where it isn't the time, and `t = 1` beside an equation."""
    times = time_letters(found.root.all()) | declared
    for section in found.root.sections():
        section.entries = [entry for entry in section.entries if not is_first_step(entry.line, times)]
    for letter, *rest in found.ranges:
        down = rest[-1].kind == "NUMBER" and rest[1].kind != "NUMBER"
        if letter.value not in times or down:
            found.skipped.append(((letter.span[0], rest[-1].span[1]), f"a range of {letter.value}{', downwards' * down}"))


def is_first_step(line: Line, times: set[str]) -> bool:
    """`t = 1`."""
    return len(line.left) == 1 and len(line.right) == 1 and line.right[0].kind == "NUMBER" and line.left[0].value in times


def targets_of(left: Node) -> tuple[Node, ...]:
    """What a left side defines: one symbol, or those of a column."""
    inner = left
    if isinstance(inner, Scripted) and isinstance(inner.body, (Grid, Bracket)) and not inner.sub:
        inner = inner.body
    grid = grid_of(inner)
    if grid is not None:
        return cells_of_grid(grid)
    if isinstance(inner, Bracket) and inner.opener in "([" and len(inner.parts) > 1:
        return inner.parts
    return (left,)


# ---- which sections are cells of their own


def cells_of(
    source: Source, section: Section, time: str | None = None, layer: str | None = None, said: Said = lambda entries: ()
) -> Iterator[tuple[str, list[Entry]]]:
    """(title, equations) of each cell: a section whose parts stand on their own is several, otherwise it is one. layer: the letter that
    counts layers, whose quantities are one for this."""
    parts = [part for part in section.below if part.all()]
    shared = [entry for entry in section.entries if not entry.is_function and entry.problem is None]
    unread = [entry for entry in section.entries if entry.problem is not None]
    known = [Part(part.all()) for part in parts]
    if (shared and parts) or not independent(source, known, time, layer, said):
        yield section.title, section.all()
    elif len(parts) == 0:
        if section.entries:
            yield section.title, section.entries
    else:
        if unread:
            yield section.title, unread
        loosely = are_joined(known, said, loosely=True)
        for part, own in zip(parts, known, strict=True):
            others = [other for other in known if other is not own]
            for one in part.sections():
                one.entries = with_results_refused(source, one.entries, own, others, said, loosely)
            for title, entries in cells_of(source, part, time, layer, said):
                yield title, [*[entry for entry in section.entries if entry.is_function], *entries]


def declarations_for(section: Section, entries: Sequence[Entry]) -> Place:
    """The declarations that hold for the equations of a cell: those under every heading above them, those under headings without
    equations beside them, and those under their own headings."""
    own = {entry.span for entry in entries}
    bare = [part for part in section.below if not part.all()]
    spans = [*section.declared, *[span for part in bare for one in part.sections() for span in one.declared]]
    below = [part for part in section.below if own & {entry.span for entry in part.all()}]
    return Place(tuple(spans), tuple(declarations_for(part, entries) for part in below))


def independent(source: Source, parts: Sequence[Part], time: str | None, layer: str | None, said: Said) -> bool:
    """Whether each part is a cell of its own: none reads what another defines, or all have their states and define the same names."""
    pairs = [(part, other) for part in parts for other in parts if other is not part]
    if any(reads_other_times(*pair) or reads_ends(*pair) for pair in pairs) or are_joined(parts, said):
        return False
    known = [
        Needs.of(source, part.entries, time, layer, [entry for other in parts if other is not part for entry in other.entries])
        for part in parts
    ]
    for at, one in enumerate(known):
        others = {name for place, other in enumerate(known) if place != at for name in other.defined}
        if (one.read.keys() - one.defined.keys()) & others:
            break
    else:
        return True
    names = [name for one in known for name in one.defined]
    return all(one.stands_alone for one in known) and len(names) != len(set(names))


@dataclass(frozen=True)
class Needs:
    """The names with a time that a part defines, and reads: name -> the index, or the indices, at which.

    unread: a line of it can't be read, so that the part is refused, whatever it reads.
    """

    defined: dict[str, int]
    read: dict[str, set[int]]
    unread: bool = False

    @classmethod
    def of(
        cls, source: Source, entries: Sequence[Entry], time: str | None, layer: str | None, beside: Sequence[Entry] = ()
    ) -> Needs:
        unread = any(entry.problem is not None for entry in entries)
        entries = [entry for entry in entries if not entry.is_function and entry.problem is None]
        if layer is not None:
            entries = [changed(entry, lambda tree: without_layers(tree, layer)) for entry in entries]
        lefts = [target for entry in entries for target in entry.targets]
        reader = reader_of(source, [*lefts, *[entry.right for entry in entries]], lefts, time)
        with suppress(PageError):  # which is said when the cell is read
            entries = Steps(source, reader, entries, (), layer is not None, beside).entries
        entries, reader, _ = with_primes(entries, reader)
        entries = [changed(entry, lambda tree: with_call_indices(tree, reader.letter)) for entry in entries]
        entries = without_indices(source, reader, entries)
        lefts = [target for entry in entries for target in entry.targets]
        found = [one for left in lefts if (one := reader.read(left))]
        defined = {one.symbol.name: one.time or 0 for one in found}
        read: dict[str, set[int]] = {}
        for entry in entries:
            for name, time_or_none in read_in(reader, entry.right):
                if time_or_none is None and not (reader.ahead and defined.get(name)):
                    continue  # beside `h_{next}` the plain h is the old value; anything else without a time is a parameter
                read.setdefault(name, set()).add(time_or_none or 0)
        return cls(defined, {} if unread else read, unread)

    @property
    def stands_alone(self) -> bool:
        """It has a state, and defines every state that it reads. What is read at several steps and never defined is an input."""
        earlier = [name for name, times in self.read.items() if min(times) < self.defined.get(name, 0)]
        states = [name for name in earlier if name in self.defined or len(self.read[name]) == 1]
        return self.unread or (bool(states) and all(name in self.defined for name in states))


def read_in(reader: Reader, node: Node) -> Iterator[tuple[str, int | None]]:
    """The names in a formula with their times; a time that may belong to a gate is none."""
    one = reader.read(node)
    if one is not None:
        yield one.symbol.name, None if one.weak else one.time
        return
    for child in children(node):
        yield from read_in(reader, child)


def defines_function(entry: Entry, times: set[str]) -> bool:
    """`f(a) = ...` with one plain letter that is no time, the f perhaps in a font or under a hat, or `f = \\tanh`; not `L(\\theta)`, a sum
    over steps."""
    if entry.problem is not None or any(isinstance(one, Reduced) and one.indices[0] in times for one in walk(entry.right)):
        return False
    left = entry.targets[0]
    if (
        isinstance(left, Chain)
        and len(left.items) == 2
        and (function := take_apart(left.items[0])) is not None
        and not (function.subs or function.sups)
        and isinstance(left.items[1], Bracket)
    ):
        inside = left.items[1].parts
        return len(inside) == 1 and isinstance(inside[0], Letter) and inside[0].name not in times
    named = isinstance(entry.right, Letter) and (entry.right.is_function or function_name(entry.right.name) is not None)
    return named and isinstance(left, (Letter, Scripted))


def with_functions(section: Section, times: set[str]) -> None:
    """Mark the entries of a section, and of those below it, that define functions."""
    section.entries = [replace(entry, is_function=defines_function(entry, times)) for entry in section.entries]
    for part in section.below:
        with_functions(part, times)


def time_letters(entries: Sequence[Entry]) -> set[str]:
    """Letters that may be a time: `t`, and those that an index shifts by one."""
    trees = [tree for entry in entries for tree in (*entry.targets, entry.right)]
    return {"t"} | {letter for tree in trees for script in scripts_of(tree) for letter in shifted_letters(script)}
