"""Which letters of a page are times, where there are several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from derive.pages.names import Entry
from derive.pages.symbols import offset, take_apart, walk
from derive.pages.tree import Bracket, Letter, Node, Scripted
from derive.shapes import STEPS

MAIN = "t"
"""The letter that is the main one where it is among them."""


@dataclass(frozen=True)
class Times:
    """The letters of time of a cell: the main one, whose axis is T, and the others, each with its axis."""

    main: str
    others: dict[str, str]

    @property
    def letters(self) -> list[str]:
        return [self.main, *self.others]

    def axis(self, letter: str) -> str:
        return STEPS if letter == self.main else self.others[letter]

    def capital(self, letter: str) -> str:
        return letter.upper()


def times_of(entries: Sequence[Entry], declared: Sequence[str]) -> Times | None:
    """The letters of time of some equations, where there are several: those that are declared, or along which recurrences run."""
    letters = list(declared) if declared else recurrent(entries)
    if len(letters) < 2:
        return None
    main = MAIN if MAIN in letters else first_of_two(entries, letters) or letters[-1]
    return Times(main, {letter: letter.upper() for letter in letters if letter != main})


def first_of_two(entries: Sequence[Entry], letters: Sequence[str]) -> str | None:
    """The first of the letters of a quantity that has two, the i of `\\alpha_{ij}`: the step that looks at the other ones."""
    for tree in (tree for entry in entries if entry.problem is None for tree in (*entry.targets, entry.right)):
        for node in (node for node in walk(tree) if isinstance(node, Scripted)):
            found = [name for name in names_of_indices(node) if name in letters]
            if len(found) == len(set(found)) == 2:
                return found[0]
    return None


def recurrent(entries: Sequence[Entry]) -> list[str]:
    """The letters that index a left side alone and are shifted by one in the same symbol on a right side."""
    found: dict[str, None] = {}
    for entry in entries:
        if entry.is_function or entry.problem is not None:
            continue
        for target in entry.targets:
            shifted = [
                letter
                for letter in letters_of(target)
                if any(is_neighbour(node, carrier_of(target), letter) for node in walk(entry.right))
            ]
            if len(shifted) == 1:  # of two, one counts layers
                found[shifted[0]] = None
    return list(found)


def letters_of(node: Node) -> list[str]:
    """The single letters in lower case among the indices of a symbol: the s of `h_s`, e and s of `h_{e,s}`."""
    letters = [one for one in indices_of(node) if isinstance(one, Letter)]
    return [one.name for one in letters if len(one.name) == 1 and one.name.islower() and not one.glyph]


def carrier_of(node: Node) -> tuple[object, ...] | None:
    """A letter with its decorations."""
    parts = take_apart(node)
    return (parts.letter.name, parts.letter.glyph, parts.decorations) if parts else None


def is_neighbour(node: Node, carried: tuple[object, ...] | None, letter: str) -> bool:
    """Whether a symbol is the one of a left side, one step away along a letter."""
    if not isinstance(node, Scripted) or carrier_of(node) != carried:
        return False
    return any(offset(part, letter) in (-1, 1) for part in indices_of(node))


def indices_of(node: Node) -> list[Node]:
    """The indices below a symbol; where there are none what stands above it in brackets."""
    parts = take_apart(node)
    found = [part for script in (parts.subs if parts else ()) for part in parts_of_index(script)]
    for script in parts.sups if parts and not found else ():
        inner = script.parts[0] if isinstance(script, Bracket) and len(script.parts) == 1 and script.opener == "{" else script
        if isinstance(inner, Bracket) and inner.opener in "(<[" and len(inner.parts) == 1:
            found.append(inner.parts[0])
    return found


def parts_of_index(script: Node) -> Iterator[Node]:
    """The indices that commas separate in a script."""
    parts = script.parts if isinstance(script, Bracket) and script.opener == "{" else (script,)
    for part in parts:
        yield from parts_of_index(part) if isinstance(part, Bracket) and part.opener == "{" else (part,)


def names_of_indices(node: Node) -> Iterator[str]:
    """The single letters among the indices below a symbol."""
    parts = take_apart(node)
    for script in parts.subs if parts else ():
        for part in parts_of_index(script):
            yield from (one.name for one in walk(part) if isinstance(one, Letter))
