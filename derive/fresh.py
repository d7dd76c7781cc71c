"""Names for new values: the one that is wanted, with a number behind it where that is taken."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count


class Fresh:
    """Gives each name once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)

    def name(self, wanted: str, behind: str = "") -> str:
        """`wanted`, else `wanted_2`, `wanted_3`, ..., which is then taken. behind: what a name ends with, number or not."""
        numbered = (f"{wanted}_{k}{behind}" for k in count(2))
        whole = f"{wanted}{behind}"
        return self.take(whole if whole not in self.taken else next(name for name in numbered if name not in self.taken))

    def counted(self, stem: str) -> str:
        """`stem_1`, `stem_2`, ..., the first that is free."""
        return self.take(next(name for k in count(1) if (name := f"{stem}_{k}") not in self.taken))

    def take(self, name: str) -> str:
        self.taken.add(name)
        return name
