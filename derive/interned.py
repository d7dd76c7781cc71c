"""Nodes of which there is one object for the same fields.

Programs are mostly walked by looking values up, and SymPy compares two nodes part by part: one object is compared, and hashed, at a glance.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

import sympy as sp


class Interned:
    """A SymPy node that `one` makes, in front of SymPy's class among the bases; copies and pickles give the same object."""

    _all: ClassVar[WeakValueDictionary[tuple[Any, ...], Any]] = WeakValueDictionary()
    _varied: dict[tuple[int, Any], Any]

    @classmethod
    def one(cls, *fields: sp.Basic) -> Self:
        """The node of these fields."""
        found: Self | None = cls._all.get((cls, *fields))
        if found is None:
            found = cls._all.setdefault((cls, *fields), sp.Basic.__new__(cls, *fields))
            found._varied = {}
        return found

    def varied(self, field: int, new: Any) -> Self:
        """The node with one field changed, remembered."""
        if (field, new) not in self._varied:
            fields = list(self.args)  # type: ignore[attr-defined]
            fields[field] = new
            self._varied[field, new] = type(self)(*fields)
        changed: Self = self._varied[field, new]
        return changed

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__
