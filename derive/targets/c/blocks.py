"""What a function is made of: nests of loops, lines that are ready, loops over steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from derive.targets.c.nests import Nest
from derive.targets.c.places import Place


@dataclass
class Code:
    """Lines that are ready. pointers: of all that they read or write."""

    lines: list[str]
    pointers: frozenset[str] = frozenset()


@dataclass
class Looped:
    """A loop over steps: what is in front of it, pointers to places at one step, what is in it. changed: the arrays that it
    binds. packed: pointers of what was packed in front, by what it is."""

    index: str
    head: str
    front: list[Code] = field(default_factory=list)
    pointers: list[tuple[str, Place]] = field(default_factory=list)
    body: list[Nest | Code | Looped] = field(default_factory=list)
    changed: frozenset[str] = frozenset()
    packed: dict[tuple[object, ...], str] = field(default_factory=dict)


Block = list["Nest | Code | Looped"]


def nests_in(block: Block) -> Iterator[Nest]:
    for one in block:
        if isinstance(one, Nest):
            yield one
        elif isinstance(one, Looped):
            yield from nests_in(one.body)


def codes_in(block: Block) -> Iterator[Code]:
    for one in block:
        if isinstance(one, Code):
            yield one
        elif isinstance(one, Looped):
            yield from one.front
            yield from codes_in(one.body)
