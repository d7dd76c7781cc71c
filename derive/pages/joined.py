"""Which sections of a page belong to one cell since one reads what another makes of its steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from derive.pages.errors import Source
from derive.pages.names import Entry
from derive.pages.symbols import Reader, children, is_transposition, walk
from derive.pages.times import carrier_of, indices_of, letters_of, names_of_indices, recurrent
from derive.pages.tree import Decorated, Letter, Node, Reduced, Scripted, Sum

Carrier = tuple[object, ...] | None
Said = Callable[[Sequence[Entry]], Collection[str]]
"""The names that declarations say something of, for the equations of a section."""


class Part:
    """The equations of a part of a page: the letters along which its recurrences run, what it defines, reads, and makes of its steps.

    A quantity stands for its letter and what decorates it.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    @cached_property
    def letters(self) -> list[str]:
        return recurrent(self.entries)

    @cached_property
    def sound(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.is_function and entry.problem is None]

    @cached_property
    def own(self) -> set[Carrier]:
        return {carrier_of(target) for entry in self.entries for target in entry.targets}

    @cached_property
    def nodes(self) -> list[Node]:
        return [node for entry in self.entries if entry.problem is None for node in walk(entry.right)]

    @cached_property
    def bound(self) -> set[str]:
        """The letters that sums bind."""
        return {letter for node in self.nodes if isinstance(node, Reduced) for letter in node.indices}

    @cached_property
    def indexed(self) -> list[tuple[Carrier, Scripted]]:
        return [(carrier_of(node), node) for node in self.nodes if isinstance(node, Scripted)]

    @cached_property
    def plain(self) -> list[tuple[Carrier, Node]]:
        return [(carrier_of(node), node) for entry in self.sound for node in plain_symbols(entry.right)]

    def along(self, letters: Collection[str]) -> set[Carrier]:
        """What it defines along some letters."""
        return {carrier_of(target) for entry in self.sound for target in entry.targets if {*letters_of(target)} & {*letters}}

    @cached_property
    def made(self) -> dict[Carrier, Node]:
        """The plain symbols that it makes of its steps, `c = h_S`, each where it does."""
        steps = self.along(self.letters)

        def of_steps(node: Node) -> bool:
            if isinstance(node, Reduced):
                return not {*node.indices}.isdisjoint(self.letters)
            return isinstance(node, Scripted) and is_end(carrier_of(node), node, steps, self.letters)

        made = [entry for entry in self.sound if any(of_steps(node) for node in walk(entry.right))]
        return {carrier_of(target): target for entry in made for target in entry.targets if not isinstance(target, Scripted)}


def reads_other_times(part: Part, other: Part) -> bool:
    """Whether a part of a page reads what another one defines along a letter of time of its own: `h_s`, or its last value `h_S`."""
    letters = [letter for letter in other.letters if letter not in part.letters]
    if not letters or not part.letters:
        return False
    defined = other.along(letters) - part.own
    indices = {letter.upper() for letter in letters} | (part.bound & {*letters})
    return any(carried in defined and indices & set(names_of_indices(node)) for carried, node in part.indexed)


def reads_ends(part: Part, other: Part) -> bool:
    """Whether a part of a page without a recurrence along the same letter reads the end of what another one defines, `h_T`."""
    letters = [] if {*part.letters} & {*other.letters} else other.letters
    steps = other.along(letters) - part.own if letters else set()
    return bool(steps) and any(is_end(carried, node, steps, letters) for carried, node in part.indexed)


def are_joined(parts: Sequence[Part], said: Said, loosely: bool = False) -> bool:
    """Whether plain symbols that parts make of their steps, `c = h_S`, join all parts of a page; loosely: also one that is only ever added,
    as an offset is, and one that is read along the same letter."""
    joined = [0]
    for at in joined:
        for other in range(len(parts)):
            pairs = ((parts[at], parts[other]), (parts[other], parts[at]))
            if other not in joined and any(joins(*pair, said, loosely) for pair in pairs):
                joined.append(other)
    return len(parts) > 1 and len(joined) == len(parts)


def joins(part: Part, other: Part, said: Said, loosely: bool) -> bool:
    one_letter = {*part.letters} & {*other.letters}
    return any(loosely or not (added or one_letter) for _, _, added in results_read(part, other, said))


def with_results_refused(
    source: Source, entries: Sequence[Entry], part: Part, others: Sequence[Part], said: Said, all_parts: bool
) -> list[Entry]:
    """Some equations of a part that is a cell of its own, those with the reason why they can't be read that read a plain symbol which
    another part makes of its steps. all_parts: such symbols may join all parts of the page; of some of many one that is only added is an
    offset, and one in upper case a weight."""
    read = (one for other in others for one in results_read(part, other, said))
    found = [one for one in read if all_parts or not (one[2] or named(one[0])[0].isupper())]
    return [next((refused(source, entry, *one[:2]) for one in found if is_within(one[0], entry)), entry) for entry in entries]


def notes_on_offsets(source: Source, part: Part, others: Sequence[Part], said: Said) -> Iterator[str]:
    """An offset or a weight that another section makes of its steps is a parameter here, and could have been meant as that."""
    for node, target, _ in (one for other in others for one in results_read(part, other, said)):
        made = f"`{source.written(target.span)}` of {source.where(target.span[0])}"
        yield f"`{source.written(node.span)}` is read as a parameter of its own, not as {made}"


def is_within(node: Node, entry: Entry) -> bool:
    return entry.span[0] <= node.span[0] and node.span[1] <= entry.span[1]


def refused(source: Source, entry: Entry, node: Node, target: Node) -> Entry:
    name, written = named(node), source.written(node.span)
    what = f"`{written}` is what another section makes of its steps, or a symbol of its own: expected to know which."
    todo = "Put both sections under one heading where it is the former; "
    todo += f'for a parameter say --let "{name}=parameter", or put `derive: {name} = parameter` under this heading.'
    error = source.error(node.span, what, todo, (target.span, "the other section:"))
    return replace(entry, problem=error)


def results_read(part: Part, other: Part, said: Said) -> Iterator[tuple[Node, Node, bool]]:
    """(a plain symbol that a part reads and another one makes of its steps, where it is made, whether it is only ever a term
    of a sum in equations of steps, as an offset is)."""
    read = ({carried for carried, _ in part.plain} & {*other.made}) - part.own if other.made else ()
    if not read:
        return
    terms = {id(term) for node in part.nodes if isinstance(node, Sum) for term in node.terms}
    of_steps, known = any(letters_of(target) for entry in part.entries for target in entry.targets), said(part.entries)
    for carried in sorted(read, key=str):
        found = [node for one, node in part.plain if one == carried]
        if named(found[0]) not in known:
            added = of_steps and all(id(node) in terms for node in found)
            yield from ((node, other.made[carried], added) for node in found)


def plain_symbols(node: Node) -> Iterator[Node]:
    """The letters of a formula without an index, with what decorates them."""
    if isinstance(node, Decorated) or (isinstance(node, Letter) and not node.is_function):
        yield node
    for part in children(node) if not isinstance(node, (Decorated, Scripted)) else ():
        yield from plain_symbols(part)
    if isinstance(node, Scripted):
        yield from plain_symbols(node.body) if not node.sub else ()
        yield from (one for above in node.sup for one in plain_symbols(above) if not is_transposition(above))


def is_end(carried: Carrier, node: Scripted, steps: Collection[Carrier], letters: Collection[str]) -> bool:
    """Whether a symbol is the last value of one of these, `h_S`."""
    if carried not in steps:
        return False
    capitals = {letter.upper() for letter in letters}
    return any(isinstance(one, Letter) and one.name in capitals for one in indices_of(node))


def named(node: Node) -> str:
    one = Reader(None).read(node)
    return one.symbol.name if one is not None else ""
