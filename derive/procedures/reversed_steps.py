"""A recurrence that runs against its function's order of steps: computed as one that runs along it, over the same arrays last step first.

So the fast policy knows one way of forward and one of backward; a recurrence from the last step to the first is the mirror image of one
from the first to the last, and no array is copied for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from derive.language import Value
from derive.procedures.blockwise import Backward, Forward
from derive.procedures.names import Names
from derive.procedures.procedure import Array, Assign, Operand, Statement
from derive.procedures.shaping import turned_over
from derive.procedures.textbook import Surroundings
from derive.program import Program
from derive.recurrences import mirrored, mirrored_equation, mirrored_value
from derive.shapes import STEPS

Text = TypeVar("Text", bound=Forward | Backward)


class ReversedSteps:
    """What a part finds around it, with the last step in front, each array under a name of its own."""

    def __init__(self, names: Names, around: Surroundings) -> None:
        self.names, self.outer = names, around
        self.named: dict[Operand, Array] = {}

    def given(self, value: Value) -> Operand:
        source = self.outer.given(mirrored_value(value))
        if source.axes[:1] != (STEPS,):
            return source
        if source not in self.named:
            name = self.names.made(f"{self.names.of(value.like(lag=0))}_reversed")
            front, behind = getattr(source, "front", 0), getattr(source, "behind", 0)
            self.named[source] = Array(name, source.axes, source.dims, behind, front)
        return self.named[source]

    def around(self) -> Surroundings:
        return replace(self.outer, given=self.given, comment=lambda equation: self.outer.comment(mirrored_equation(equation)))

    def statements(self) -> list[Statement]:
        """The names of what was asked for."""
        return [Assign((array,), turned_over(source)) for source, array in self.named.items()]


def text_of(
    make: Callable[[Program, Surroundings], Text], part: Program, names: Names, around: Surroundings, against: bool
) -> tuple[Text, list[Statement]]:
    """(a part of a function, its statements). against: whether its recurrence runs against the function's order of steps."""
    if not against:
        text = make(part, around)
        return text, text.everything()
    around_it = ReversedSteps(names, around)
    text = make(mirrored(part), around_it.around())
    text.against = True
    everything = text.everything()
    return text, [*around_it.statements(), *everything]
