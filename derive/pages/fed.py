"""States that numbers alone feed: `n_t = f_t n_{t-1} + i_t` with numbers f and i is a number; `n_t = 0.9 n_{t-1} + 0.1` may be a vector."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from derive.pages.core import Definition, Product, Ref, every, refs
from derive.pages.errors import PageError, Source, Span
from derive.pages.kinds import Kinds, runs
from derive.pages.relations import MATRIX, NUMBER, VECTOR
from derive.pages.settling import settled


def settled_by_what_feeds(
    source: Source, definitions: Sequence[Definition], timed: Collection[str], said: Mapping[str, str]
) -> Kinds:
    """The kinds, as `settled` has them, and what numbers alone feed a number, where every use of it goes with one.

    Raises PageError where such a state is fed by no number of a step, so that nothing says what it is.
    """
    kinds = settled(source, definitions, timed, said)
    known, open_ = dict(said), fed_by_numbers(kinds) - {*said}
    for one in definitions:
        if one.name not in open_ or one.name in known or kinds.domains[one.name] == {NUMBER}:
            continue
        group = {one.name, *feeding(definitions, one.name)} & open_
        try:
            found = settled(source, definitions, timed, known | dict.fromkeys(group, NUMBER))
        except PageError:
            continue  # a use says that it is a vector
        own = [other for other in definitions if other.name in group]
        fed = any(ref.name in timed and ref.name not in group for other in own for ref in refs(other.body))
        steps = any(ref.name in group for other in own for ref in refs(other.body))
        if steps and not fed:
            if is_said_by_a_sign(kinds, group):
                continue
            raise number_or_vector(source, one.name, one.span)
        kinds, known = found, known | dict.fromkeys(group, NUMBER)
    return kinds


def fed_by_numbers(kinds: Kinds) -> set[str]:
    """What is defined by numbers, and by what is itself defined so."""
    found = {one.name for one in kinds.definitions if one.name in kinds.timed}
    while True:
        wrong = {
            one.name
            for one in kinds.definitions
            if one.name in found
            and (
                not set(kinds.domains[one.name]) <= {NUMBER, VECTOR}
                or any(ref.name not in found and kinds.domains[ref.name] != {NUMBER} for ref in refs(one.body))
            )
        }
        if not wrong:
            return found
        found -= wrong


def feeding(definitions: Sequence[Definition], name: str) -> set[str]:
    """All that the definition of a name reads, and what their definitions read."""
    read = {one.name: {ref.name for ref in refs(one.body)} for one in definitions}
    found, waiting = set[str](), [name]
    while waiting:
        new = read.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def is_said_by_a_sign(kinds: Kinds, names: Collection[str]) -> bool:
    """Whether one of these is joined by an elementwise sign, or is what a matrix multiplies."""
    for node in (node for one in kinds.definitions for node in every(one.body) if isinstance(node, Product)):
        for sign, *pair in zip(node.signs, node.items, node.items[1:], strict=False):
            if sign == "hadamard" and any(isinstance(one, Ref) and one.name in names for one in pair):
                return True
        for run in runs(node):
            matrix = any(kinds.kind(item) == MATRIX for item in run)
            if matrix and any(isinstance(item, Ref) and item.name in names for item in run):
                return True
    return False


def number_or_vector(source: Source, name: str, span: Span) -> PageError:
    what = f"`{source.written(span)}` can be read in two ways: numbers alone feed it: expected a number, or a vector."
    todo = f'Say --let "{name}=number" for one number, --let "{name}=vector" for one a unit.'
    return source.error(span, what, todo)
