"""Along which axes the quantities of a page vary: as they are written, and what they are made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from derive.pages.core import Call, Core, Definition, Ref, parts_of
from derive.pages.forms import OWN
from derive.pages.names import Names
from derive.pages.reductions import over_steps
from derive.pages.symbols import Symbol
from derive.shapes import EXAMPLES, STEPS, in_order

Axes = tuple[str, ...]


def axes_said(names: Names) -> dict[str, Axes]:
    """The axes of steps of the names that are written along others than the main one, each under its name."""
    said: Mapping[Symbol, Axes] = names.declared.axes
    plain = {(one.base, one.decorations): axes for one, axes in said.items()}
    found: dict[str, Axes] = {}
    own = [(one.symbol.name, one) for one in (*names.defined.values(), *names.reads)]
    for name, one in (*own, *names.later.items()):
        axes = said.get(one.symbol) or plain.get((one.symbol.base, one.symbol.decorations))
        if axes is not None and one.time is not None:
            found[name] = axes
    return found


class Along:
    """Along what names vary. said: those that are written along other axes of steps; timed: written with a time, and so differing from step
    to step where they vary at all. one_letter: what is taken over all steps goes along the axis of what it is taken of.
    """

    def __init__(self, said: Mapping[str, Axes], timed: Collection[str], one_letter: bool) -> None:
        self.said, self.timed, self.one_letter = said, timed, one_letter

    def of_names(self, definitions: Sequence[Definition], given: Mapping[str, Axes], states: Sequence[str]) -> dict[str, Axes]:
        """Those that vary at all. given: inputs, with the axes of an input that is written along T alone."""
        found = {name: (*self.said[name], EXAMPLES) if name in self.said else axes for name, axes in given.items()}
        fixed = {*found}
        found = self.spread(definitions, found, fixed)
        for name in states:  # what feeds a recurrence says along what it runs; the main axis where nothing does
            if not {*found.get(name, ())} - {EXAMPLES}:
                found[name] = in_order((*self.said.get(name, (STEPS,)), EXAMPLES))
        return self.spread(definitions, found, fixed)

    def spread(self, definitions: Sequence[Definition], known: Mapping[str, Axes], fixed: Collection[str]) -> dict[str, Axes]:
        found = dict(known)
        while True:
            before = dict(found)
            for one in definitions:
                if one.name in fixed:
                    continue
                inside = {*self.of(one.body, found), *found.get(one.name, ())}
                if inside and one.name in self.said:
                    inside |= {*self.said[one.name]}
                elif inside and one.name in self.timed and not inside - {EXAMPLES}:
                    inside |= {STEPS}
                if inside:
                    found[one.name] = in_order((*inside, EXAMPLES))
            if found == before:
                return found

    def of(self, node: Core, known: Mapping[str, Axes]) -> set[str]:
        """Along what a formula varies."""
        if isinstance(node, Ref):
            return {*known.get(node.name, ())}
        inside = {axis for part in parts_of(node) for axis in self.of(part, known)}
        if isinstance(node, Call):
            found = over_steps(node.function)
            if found is not None and found[0] != "softmax":
                return inside - {self.axis(found[1], node.body, known)}
        return inside

    def axis(self, axis: str, body: Core, known: Mapping[str, Axes]) -> str:
        """The axis along which something is taken of a formula."""
        steps = [one for one in in_order(self.of(body, known)) if one != EXAMPLES]
        if len(steps) == 1 and (axis == OWN or (self.one_letter and axis not in steps)):
            return steps[0]
        return STEPS if axis == OWN else axis
