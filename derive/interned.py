"""Nodes of which there is one object for the same fields.

Programs are mostly walked by looking values up, and SymPy compares two nodes part by part: one object is compared, and hashed, at a glance.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

import sympy as sp


class Interned:
    """A SymPy node that `one` makes, in front of SymPy's class among the bases; copies and pickles give the same object."""

    _all: ClassVar[WeakValueDictionary[tuple[Any, ...], Any]] = WeakValueDictionary()
    _varied: dict[tuple[tuple[str, Any], ...], Any]
    """What was made of the node by changing fields: by the changes."""

    @classmethod
    def one(cls, *fields: sp.Basic) -> Self:
        """The node of these fields."""
        found: Self | None = cls._all.get((cls, *fields))
        if found is None:
            found = cls._all.setdefault((cls, *fields), sp.Basic.__new__(cls, *fields))
            found._varied = {}
        return found

    def changed(self, **changes: Any) -> Self:
        """The node with other fields, by their names."""
        raise NotImplementedError(type(self).__name__)

    def like(self, **changes: Any) -> Self:
        """The node with other fields, remembered: programs ask for the same ones again and again."""
        found: Self | None = self._varied.get(wanted := tuple(changes.items()))
        if found is None:
            found = self._varied[wanted] = self.changed(**changes)
        return found

    @cached_property
    def here(self) -> Self:
        """The node with the lag 0: what is read of another step, at its own."""
        return self.like(lag=0)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__
