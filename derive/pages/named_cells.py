"""Cells by name: `(h_t, c_t) = \\operatorname{LSTM}(x_t, h_{t-1}, c_{t-1})` stands for the equations of that cell, put in its place.

A name is that of a cell which the page defines under a heading, of a built-in cell, or a word that is declared to be one. Each use has
parameters of its own, called like those of the cell with the marks of the name behind: `\\operatorname{LSTM}^{(2)}` reads W_i_2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from derive.cells.registry import build, declarations
from derive.latex import LaTeX
from derive.pages.alphabet import function_name
from derive.pages.declarations import Declared
from derive.pages.displays import tokenize
from derive.pages.errors import Source, Span
from derive.pages.grammar import parse
from derive.pages.macros import macros_in
from derive.pages.names import Entry
from derive.pages.one_cell import functions_of
from derive.pages.passed import reader_for
from derive.pages.reading import printed
from derive.pages.sections import Section
from derive.pages.surface import equations
from derive.pages.symbols import (
    Reader,
    strip,
    take_apart,
    walk,
)
from derive.pages.tree import Bracket, Chain, Letter, Node, with_parts
from derive.pages.use import Call, Taken, Template, Use, named, names_in

Templates = Callable[[str], Template | None]
"""From a word to the cell that the page defines under a heading of that name; None where there is none."""


def written_out(source: Source, entries: Sequence[Entry], known: Declared, templates: Templates) -> tuple[list[Entry], Declared]:
    """The equations with those of cells in the place of their names; what is declared, of these cells too. Raises PageError."""
    calls = {id(entry): call for entry in entries if (call := call_in(entry, known, templates))}
    calls = without_said_again(source, calls, entries, known)
    refuse_inside(source, entries, calls, known, templates)
    if not calls:
        return list(entries), known
    refuse_repeated(source, list(calls.values()), known)
    reader = reader_for(source, entries, known.time)
    page = Taken(
        {name: place for entry in entries if not entry.is_function for name, place in names_in(reader, entry)},
        {name: id(entry) for entry in entries for target in entry.targets for name, _ in named(reader, target)},
    )
    made: list[Entry] = []
    for entry in entries:
        call = calls.get(id(entry))
        if call is None:
            made.append(entry)
            continue
        use = Use(source, call, templates(call.name) or built_in(call, known), reader, known, page)
        made += use.entries()
        known = use.declared()
        own = use.new if call.name not in known.shared else {name for name, own in use.new.items() if own in use.internal}
        page.names.update(dict.fromkeys(own, call.head.span))
    return with_functions_once(source, made), known


def with_functions_once(source: Source, entries: Sequence[Entry]) -> list[Entry]:
    """The equations, each that defines a function once. Raises PageError where two functions have one name."""
    found: dict[str, Entry] = {}
    made: list[Entry] = []
    for entry in entries:
        macros, aliases = functions_of([entry])
        for name in {**macros, **aliases}:
            other = found.setdefault(name, entry)
            if other is not entry and other.span != entry.span:
                what = f"the function {name} is defined here, and for a cell that is used by its name: expected one definition."
                raise source.error(entry.span, what, "Rename one of them.", (other.span, "the other:"))
        if not entry.is_function or not any(entry is one for one in made):
            made.append(entry)
    return made


# ---- names of cells and their uses


def call_in(entry: Entry, known: Declared, templates: Templates) -> Call | None:
    """The use of a cell that an equation is; None where it is none."""
    right = entry.right
    if entry.is_function or entry.problem is not None or not isinstance(right, Chain) or len(right.items) != 2:
        return None
    head, bracket = right.items
    name = name_of(head, known, templates)
    if name is None or not (isinstance(bracket, Bracket) and bracket.opener in "(["):
        return None
    return Call(entry, name, head, flat(bracket.parts), marks_of(head))


def name_of(head: Node, known: Declared, templates: Templates) -> str | None:
    """The word of a cell that stands here, perhaps with marks; None for anything else."""
    parts = take_apart(head)
    if parts is None:
        return None
    name = parts.letter.name
    is_word = len(name) > 1 and function_name(name) is None
    said = name in {**known.kinds, **known.numbers, **known.functions}
    if name in known.cells or (is_word and not said and (templates(name) or name.lower() in declarations())):
        return name
    return None


def flat(parts: Sequence[Node]) -> tuple[Node, ...]:
    """Arguments, those in a pair of brackets too: `(x_t, (h_{t-1}, c_{t-1}))`."""
    found: list[Node] = []
    for part in parts:
        found += part.parts if isinstance(part, Bracket) and part.opener == "(" and len(part.parts) > 1 else [part]
    return tuple(found)


def marks_of(head: Node) -> tuple[Node, ...]:
    """What tells one use of a name from another: decorations, indices, primes; each as a name in brackets, a layer last."""
    parts = take_apart(head)
    assert parts is not None
    words: list[Node] = [Letter(word, head.span) for word in parts.decorations]
    marks = [*words, *map(strip, (*parts.subs, *parts.sups))]
    return tuple(Bracket("(", (mark,), head.span) for mark in marks)


def without_said_again(source: Source, calls: dict[int, Call], entries: Sequence[Entry], known: Declared) -> dict[int, Call]:
    """The uses without those whose states other equations define: these say in general what those say."""
    reader = reader_for(source, entries, known.time)
    plain = [entry for entry in entries if id(entry) not in calls and not entry.is_function]
    defined = {one.symbol for entry in plain for target in entry.targets if (one := reader.read(target))}
    return {
        key: call
        for key, call in calls.items()
        if not any((one := reader.read(target)) and one.symbol in defined for target in call.entry.targets)
    }


def refuse_inside(
    source: Source, entries: Sequence[Entry], calls: Mapping[int, Call], known: Declared, templates: Templates
) -> None:
    """Raises PageError where a cell's name stands inside of a formula."""
    for entry in entries:
        for node in walk(entry.right) if id(entry) not in calls and not entry.is_function else ():
            if not isinstance(node, Chain) or (node is entry.right and len(node.items) == 2):
                continue
            for head, bracket in pairwise(node.items):
                if isinstance(bracket, Bracket) and name_of(head, known, templates):
                    written = source.written((head.span[0], bracket.span[1]))
                    what = f"`{written}` is a cell inside of a formula: expected it alone on a right side."
                    raise source.error(head.span, what, "Give its state a symbol and an equation of its own.")


def refuse_repeated(source: Source, calls: Sequence[Call], known: Declared) -> None:
    """Raises PageError where one name is used twice without marks that differ, and nothing says whether its parameters are shared."""
    first: dict[tuple[str, ...], Call] = {}
    for call in calls:
        before = first.setdefault(call.key, call)
        if before is not call and call.name not in known.shared:
            a = source.written(call.head.span)
            what = f"`{a}` is used more than once: expected to know whether its uses share their parameters."
            todo = (
                f'Say --let "share={call.name}", or put `derive: share {call.name}` on the page, where they do; mark each use where they '
                f"don't, `\\operatorname{{{call.name}}}^{{(1)}}`, `\\operatorname{{{call.name}}}_{{enc}}`."
            )
            raise source.error(call.head.span, what, todo, (before.head.span, "the first:"))


# ---- cells that the page defines


def called_sections(root: Section) -> dict[str, Section]:
    """Words in front of arguments, alone on a right side, that are headings of sections with equations -> the section."""
    titled = {part.title: part for part in root.sections() if part.title and part.all()}
    found: dict[str, Section] = {}
    for entry in root.all():
        right = entry.right
        called = isinstance(right, Chain) and len(right.items) == 2 and isinstance(right.items[1], Bracket)
        parts = take_apart(right.items[0]) if isinstance(right, Chain) and called and entry.problem is None else None
        part = titled.get(parts.letter.name) if parts and len(parts.letter.name) > 1 else None
        if part is not None and not any(entry is own for own in part.all()):
            found[part.title] = part
    return found


def without_sections(section: Section, gone: Collection[Section]) -> Section:
    """A section without some of those below it."""
    below = [without_sections(part, gone) for part in section.below if not any(part is one for one in gone)]
    return replace(section, below=below)


def functions_above(root: Section, section: Section) -> list[Entry]:
    """The functions that are defined under the headings above a section."""
    above = [part for part in root.sections() if part is not section and any(one is section for one in part.sections())]
    return [entry for part in above for entry in part.entries if entry.is_function]


# ---- built-in cells


def built_in(call: Call, known: Declared) -> Template:
    """A cell of `derive.cells`, its equations as they are printed, at the place of its name."""
    words = known.cells.get(call.name, call.name.lower())
    known.used.add(call.name)
    cell = build(words)
    lines = printed(cell, LaTeX(words=cell.words))
    source = Source(f"`{words}`", "\n".join(f"$${line}$$" for line in lines))
    entries: list[Entry] = []
    at = 0
    for line in lines:
        span = (at + 2, at + 2 + len(line))
        (one,), _ = equations(source, tokenize(source, span, macros_in(source, [])))
        left, right = (at_place(parse(source, side), call.head.span) for side in (one.left, one.right))
        entries.append(Entry(one, (left,), right))
        at += len(line) + 5
    return Template(f"`{words}`", entries, Reader("t"), cell, Declared(), True)


def at_place(node: Node, span: Span) -> Node:
    """The tree as it stands at one place of the page: what is put in place of a name is where the name is."""
    return replace(with_parts(node, lambda part: at_place(part, span)), span=span)
