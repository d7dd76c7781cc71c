"""Notes on how names and steps were read where somebody may have meant something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from derive.pages.errors import Source
from derive.pages.symbols import Occurrence, Symbol
from derive.pages.tree import Node


class Entry(Protocol):
    """An equation: see `names.Entry`."""

    @property
    def targets(self) -> tuple[Node, ...]: ...
    @property
    def right(self) -> Node: ...


class Names(Protocol):
    """What of the symbols of a cell is known: see `names.Names`."""

    source: Source
    reads: list[Occurrence]

    @property
    def defined(self) -> Mapping[Symbol, Occurrence]: ...
    def target(self, node: Node) -> Occurrence: ...
    def settle(self, one: Occurrence) -> Occurrence: ...
    def occurrences(self, node: Node) -> Iterator[Occurrence]: ...


def notes_on_steps(names: Names, entries: Sequence[Entry]) -> Iterator[str]:
    yield from tight_differences(names)
    yield from powers(names)
    for entry in entries:
        yield from vanished(names, entry)


def tight_differences(names: Names) -> Iterator[str]:
    """`s_t-1` in a plain text is the step before; somebody may have meant a difference."""
    for one in names.reads if names.source.plain else ():
        written = names.source.written(one.span)
        if one.time and re.search(r"_[A-Za-z0-9]*[-+−][01]$", written):
            tight = re.sub(r"([-+−])", r" \1 ", written)
            yield f"`{written}` is read at another step, as one index; write `{tight}` for a sum or a difference"


def powers(names: Names) -> Iterator[str]:
    """`e^{\\beta}` is a name here, and `\\gamma^t` a value at step t: somebody may have meant powers."""
    below = any("_" in names.source.written(one.span) for one in names.reads if one.time is not None)
    for one in names.reads:
        written = names.source.written(one.span)
        if one.symbol.base == "e" and one.symbol.sups and one.time is None and not re.search(r"\^\s*\{?\s*[(\[]", written):
            yield f"`{written}` is read as the name {one.symbol.name}; write \\exp for the exponential function"
        if one.gate.isdigit() and one.symbol not in names.defined:
            yield f"`{written}` is read as {one.symbol.name} at this step; a multiple of the step isn't read"
        raised = below and one.time is not None and one.symbol not in names.defined and not one.transposed
        if raised and re.search(r"\^(?:[A-Za-z]|\{\s*\\?[A-Za-z]+\s*\})$", written):
            yield f"`{written}` is read as {one.symbol.name} at a step; a power of the step isn't read"


def vanished(names: Names, entry: Entry) -> Iterator[str]:
    """`\\gamma^g` is a name, as `W^z` is; where g is defined and read nowhere else, a power may have been meant."""
    own = {names.settle(names.target(target)).symbol.name for target in entry.targets}
    read = {one.symbol.name for one in names.reads}
    unread = {symbol.name for symbol in names.defined} - read - own
    for one in names.occurrences(entry.right):
        written, name = names.source.written(one.span), names.settle(one).symbol.name
        if "^" in written and any(name in above for name in unread for above in one.symbol.sups):
            yield f"`{written}` is read as the name {name}, no power; a power is written with \\exp and \\log"
