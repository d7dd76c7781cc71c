"""Which sections of a page belong to one cell since one reads what another makes of its steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from derive.pages.errors import Source
from derive.pages.names import Entry
from derive.pages.symbols import Reader, children, is_transposition, walk
from derive.pages.times import carrier_of, indices_of, letters_of, names_of_indices, recurrent
from derive.pages.tree import Decorated, Letter, Node, Reduced, Scripted, Sum

Said = Callable[[Sequence[Entry]], Collection[str]]
"""The names that declarations say something of, for the equations of a section."""


def reads_other_times(part: Sequence[Entry], other: Sequence[Entry]) -> bool:
    """Whether a part of a page reads what another one defines along a letter of time of its own: `h_s`, or its last value `h_S`."""
    letters = [letter for letter in recurrent(other) if letter not in recurrent(part)]
    if not letters or not recurrent(part):
        return False
    sound = [entry for entry in other if not entry.is_function and entry.problem is None]
    defined = {carrier_of(target) for entry in sound for target in entry.targets if {*letters_of(target)} & {*letters}}
    defined -= {carrier_of(target) for entry in part for target in entry.targets}
    nodes = [node for entry in part if entry.problem is None for node in walk(entry.right)]
    bound = {letter for node in nodes if isinstance(node, Reduced) for letter in node.indices}
    indices = {letter.upper() for letter in letters} | (bound & {*letters})
    reads = (node for node in nodes if isinstance(node, Scripted))
    return any(carrier_of(node) in defined and indices & set(names_of_indices(node)) for node in reads)


def reads_ends(part: Sequence[Entry], other: Sequence[Entry]) -> bool:
    """Whether a part of a page without a recurrence along the same letter reads the end of what another one defines, `h_T`."""
    letters = [] if {*recurrent(part)} & {*recurrent(other)} else recurrent(other)
    steps = stepwise(other, letters) - {carrier_of(target) for entry in part for target in entry.targets}
    return any(is_end(node, steps, letters) for entry in sound(part) for node in walk(entry.right))


def are_joined(parts: Sequence[Sequence[Entry]], said: Said, loosely: bool = False) -> bool:
    """Whether plain symbols that parts make of their steps, `c = h_S`, join all parts of a page; loosely: also one that is only ever added,
    as an offset is, and one that is read along the same letter."""
    joined = [0]
    for at in joined:
        for other in range(len(parts)):
            pairs = ((parts[at], parts[other]), (parts[other], parts[at]))
            if other not in joined and any(joins(*pair, said, loosely) for pair in pairs):
                joined.append(other)
    return len(parts) > 1 and len(joined) == len(parts)


def joins(part: Sequence[Entry], other: Sequence[Entry], said: Said, loosely: bool) -> bool:
    one_letter = {*recurrent(part)} & {*recurrent(other)}
    return any(loosely or not (added or one_letter) for _, _, added in results_read(part, other, said))


def with_results_refused(
    source: Source, entries: Sequence[Entry], part: Sequence[Entry], others: Sequence[Entry], said: Said, all_parts: bool
) -> list[Entry]:
    """Some equations of a part that is a cell of its own, those with the reason why they can't be read that read a plain symbol which
    another part makes of its steps. all_parts: such symbols may join all parts of the page; of some of many one that is only added is an
    offset."""
    found = [one for one in results_read(part, others, said) if all_parts or not one[2]]
    return [next((refused(source, entry, *one[:2]) for one in found if is_within(one[0], entry)), entry) for entry in entries]


def notes_on_offsets(source: Source, part: Sequence[Entry], page: Sequence[Entry], said: Said) -> Iterator[str]:
    """What a cell adds and another section makes of its steps is a parameter here, and could have been meant as that."""
    own = {entry.span for entry in part}
    for node, target, _ in results_read(part, [entry for entry in page if entry.span not in own], said):
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


def results_read(part: Sequence[Entry], other: Sequence[Entry], said: Said) -> Iterator[tuple[Node, Node, bool]]:
    """(a plain symbol that a part reads and another one makes of its steps, where it is made, whether it is only ever a term
    of a sum in equations of steps, as an offset is)."""
    letters = recurrent(other)
    steps = stepwise(other, letters)
    made = {
        carrier_of(target): target
        for entry in sound(other)
        if any(
            is_end(node, steps, letters) or (isinstance(node, Reduced) and {*node.indices} & {*letters})
            for node in walk(entry.right)
        )
        for target in entry.targets
        if not isinstance(target, Scripted)
    }
    if not made:
        return
    own = {carrier_of(target) for entry in part for target in entry.targets}
    nodes = [node for entry in sound(part) for node in plain_symbols(entry.right)]
    terms = {id(term) for entry in sound(part) for node in walk(entry.right) if isinstance(node, Sum) for term in node.terms}
    of_steps, known = any(letters_of(target) for entry in part for target in entry.targets), said(part)
    for carried, target in made.items():
        found = [node for node in nodes if carrier_of(node) == carried]
        if found and carried not in own and named(found[0]) not in known:
            added = of_steps and all(id(node) in terms for node in found)
            yield from ((node, target, added) for node in found)


def plain_symbols(node: Node) -> Iterator[Node]:
    """The letters of a formula without an index, with what decorates them."""
    if isinstance(node, Decorated) or (isinstance(node, Letter) and not node.is_function):
        yield node
    for part in children(node) if not isinstance(node, (Decorated, Scripted)) else ():
        yield from plain_symbols(part)
    if isinstance(node, Scripted):
        yield from plain_symbols(node.body) if not node.sub else ()
        yield from (one for above in node.sup for one in plain_symbols(above) if not is_transposition(above))


def sound(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if not entry.is_function and entry.problem is None]


def stepwise(entries: Sequence[Entry], letters: Collection[str]) -> set[tuple[object, ...] | None]:
    """What equations define along some letters."""
    return {carrier_of(target) for entry in sound(entries) for target in entry.targets if {*letters_of(target)} & {*letters}}


def is_end(node: Node, steps: Collection[tuple[object, ...] | None], letters: Collection[str]) -> bool:
    """Whether a symbol is the last value of one of these, `h_S`."""
    capitals = {letter.upper() for letter in letters}
    ends = (isinstance(one, Letter) and one.name in capitals for one in indices_of(node))
    return isinstance(node, Scripted) and carrier_of(node) in steps and any(ends)


def named(node: Node) -> str:
    one = Reader(None).read(node)
    return one.symbol.name if one is not None else ""
