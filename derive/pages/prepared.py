"""The equations of one cell before anything in them is named: the letter of time found, powers and components told from names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from derive.pages.components import Components
from derive.pages.declarations import PARAMETER, TOKENS, Declared
from derive.pages.errors import Source
from derive.pages.layers import letter_of_layers
from derive.pages.names import Entry
from derive.pages.powers import powers_in
from derive.pages.primes import changed, with_primes
from derive.pages.several import Several, lying_along
from derive.pages.starts import Start, starts_of
from derive.pages.step_softmax import with_softmax
from derive.pages.steps import Steps
from derive.pages.symbols import Reader, shifted_letters, take_apart
from derive.pages.times import times_of
from derive.pages.timing import reader_of, scripts_of, with_call_indices
from derive.pages.tree import Decorated, Letter, Node, Scripted, with_parts
from derive.pages.vocabulary import Vocabulary
from derive.shapes import EXAMPLES, STEPS


@dataclass(frozen=True)
class Prepared:
    """The equations, those that define functions of the page apart; how their symbols are read; the trees as they are printed; the names
    of tokens, each with the one that is declared; what recurrences start with."""

    forward: list[Entry]
    functions: list[Entry]
    reader: Reader
    printed: list[Node]
    notes: list[str]
    tokens: dict[str, str]
    starts: list[Start]


def with_steps(source: Source, entries: Sequence[Entry], known: Declared) -> list[Entry]:
    """The equations with what is said of all steps together as nodes. Raises PageError."""
    times = times_of(entries, known.times)
    if times is not None and EXAMPLES in times.others.values():
        what = f"a letter of time whose axis would be called {EXAMPLES}, as the batch: expected another one."
        raise source.error(
            entries[0].span, what, "Write these steps with another letter than b, or declare it the main one, `time = b`."
        )
    letters = {letter: times.axis(letter) for letter in times.letters} if times is not None else {known.time or "t": STEPS}
    own = {name for name, kind in known.kinds.items() if kind == PARAMETER}
    scripts = [script for entry in entries for tree in (*entry.targets, entry.right) for script in scripts_of(tree)]
    indices = {*letters, *[letter for script in scripts for letter in shifted_letters(script)]}
    entries = [changed(entry, lambda tree: with_own_names(tree, own, indices)) if own else entry for entry in entries]
    entries = [entry if entry.is_function else changed(entry, lambda tree: with_softmax(tree, letters)) for entry in entries]
    if times is not None:
        several = Several(source, entries, times)
        entries = several.entries
        known.time = times.main
        known.axes |= several.axes
    trees = [tree for entry in entries if not entry.is_function for tree in (*entry.targets, entry.right)]
    letter = letter_of_layers(source, trees, known)
    lefts = [target for entry in entries if not entry.is_function for target in entry.targets]
    reader = reader_of(source, trees, lefts, known.time or ("t" if letter is not None else None))
    known.axes |= lying_along(entries, known.lying, reader)
    said, one_letter = {*known.kinds, *known.numbers}, known.has_one_letter
    steps = Steps(source, reader, entries, said, letter is not None, times=times, axes=known.axes, has_one_letter=one_letter)
    return steps.entries


def prepared(source: Source, entries: Sequence[Entry], known: Declared) -> Prepared:
    """Raises PageError where two letters could be the time, and where a letter may be an index or part of a name."""
    forward = [changed(entry, lambda tree: with_declared(tree, known)) for entry in entries if not entry.is_function]
    functions = [entry for entry in entries if entry.is_function]
    printed = [tree for entry in forward for tree in (*entry.targets, entry.right)]
    lefts = [target for entry in forward for target in entry.targets]
    reader = reader_of(source, printed, lefts, known.time)
    forward, reader, notes = with_primes(forward, reader)
    forward = [changed(entry, lambda tree: with_call_indices(tree, reader.letter)) for entry in forward]
    quantities = {*known.kinds, *known.numbers}
    words = {name for name, kind in known.kinds.items() if kind == TOKENS}
    tokens = Vocabulary(source, reader, forward, words, known.examples, quantities)
    forward, notes = tokens.entries, [*notes, *tokens.notes]
    whole = [powers_in(source, entry, reader, quantities) for entry in (*forward, *functions)]
    whole = Components(source, reader, whole, quantities, known.names_of_sizes).entries
    starts = starts_of(source, reader, forward)
    return Prepared(whole[: len(forward)], whole[len(forward) :], reader, printed, notes, tokens.names, starts)


def with_declared(node: Node, known: Declared) -> Node:
    """The tree with words that are declared to be no function, `\\operatorname{BN}` with `BN = matrix`, as symbols."""
    if isinstance(node, Letter) and node.is_function and node.name in {**known.kinds, **known.numbers}:
        return replace(node, is_function=False)
    return with_parts(node, lambda part: with_declared(part, known))


def with_own_names(node: Node, names: Collection[str], steps: Collection[str]) -> Node:
    """The tree with a letter of time in the index of what is declared a parameter by its whole name, `W_s`, as a word: no step."""
    if isinstance(node, Scripted) and take_apart(node) is not None:
        one = Reader(None).read(node)
        is_own = one is not None and one.symbol.name in names
        return replace(node, sub=tuple(as_word(script, steps) for script in node.sub)) if is_own else node
    return with_parts(node, lambda part: with_own_names(part, names, steps))


def as_word(script: Node, steps: Collection[str]) -> Node:
    """An index with some letters in a font: the s of `W_\\mathrm{s}`."""
    if isinstance(script, Letter) and script.name in steps:
        return Decorated("mathrm", script, script.span, font=True)
    return with_parts(script, lambda part: as_word(part, steps))
