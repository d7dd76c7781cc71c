"""Where the arrays of a procedure lie.

An array is the memory of the caller where it is one that the caller gave or gets, a part of another array where it is one of those
that are put behind each other, a view where it is bound to one, else memory of its own, taken at the beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import sympy as sp

from derive.procedures.names import Names
from derive.procedures.procedure import (
    Array,
    Assign,
    Call,
    Entry,
    Operand,
    Position,
    Procedure,
    ProcedureError,
    View,
    parts_of,
)
from derive.targets.c.blocks import Looped
from derive.targets.c.places import Place, new_place, rearranged, sizes_of, viewed
from derive.targets.c.sizes import SizeText
from derive.targets.c.statements import BOUND, assignments, blocks_of, is_joined, is_made, name_of, names_of
from derive.targets.c.unique import with_own_names
from derive.targets.c.words import member

TOKENS = "int64_t"


@dataclass(frozen=True)
class Room:
    """How many numbers there is room for, in C, and the names of the sizes that this reads."""

    text: str
    sizes: frozenset[str]


class Arrays:
    """The places of arrays. tokens: the names of inputs that are whole numbers.

    bound: places by name. taken: what each pointer to memory of its own has room for. given: results that are an array of the caller's
    as it is, by (table, name). seen: memory that the lines at hand read or write. labels: pointers of steps that the text reads.
    """

    def __init__(self, procedure: Procedure, names: Names, tokens: Sequence[str]) -> None:
        self.names, self.tokens = names, set(tokens)
        self.own: set[str] = set()
        self.procedure = with_own_names(procedure, self.fresh)
        self.sizes = SizeText(names)
        self.bound: dict[str, Place] = {}
        self.taken: dict[str, Room] = {}
        self.seen: set[str] = set()
        self.labels: set[str] = set()
        self.given: dict[tuple[str, str], Entry] = {}
        self.times = Counter(name for name, _ in assignments(self.procedure.statements))
        self.results = self.own_results()
        self.loops: list[Looped] = []
        self.part_of = self.parts()

    def fresh(self, stem: str) -> str:
        """A name that nothing else in the function has."""
        at = next(n for n in count(1) if f"{stem}_{n}" not in self.own | self.names.taken)
        self.own.add(f"{stem}_{at}")
        return f"{stem}_{at}"

    def result(self, table: str, name: str) -> str:
        """The pointer of a result: gradients stand beside what they are gradients of."""
        return f"call->{'d_' if self.procedure.name == 'backward' else ''}{table}.{member(name)}"

    def own_results(self) -> dict[str, str]:
        """Arrays whose memory is that of a result."""
        found: dict[str, str] = {}
        for table, entries in self.procedure.results:
            for name, operand in entries:
                if isinstance(operand, Array) and operand.name not in found:
                    found[operand.name] = self.result(table, name)
        return found

    def place(self, operand: Operand) -> Place:
        """Where an operand lies that is no elementwise call."""
        found = self.place_or_none(operand)
        if found is None:
            raise ProcedureError(f"emit: C: {operand!r} has no place.")
        return found

    def place_or_none(self, operand: Operand) -> Place | None:
        match operand:
            case Array():
                return self.bound.get(operand.name)
            case Entry(holder="inputs" | "tape") if operand.name in self.tokens:
                return new_place(f"call->{operand.holder}.{member(operand.name)}", sizes_of(operand), TOKENS)
            case Entry():
                return new_place(f"call->{operand.holder}.{member(operand.name)}", sizes_of(operand))
            case View():
                inner = self.place_or_none(operand.of)
                return None if inner is None else viewed(inner, operand)
            case Call() if operand.operation in BOUND:
                inner = self.place_or_none(operand.arguments[0])
                return None if inner is None else rearranged(inner, operand)
        return None

    def memory(self, array: Array) -> Place:
        """The place of an array with memory of its own, or with that of a result; taken where it is first asked for."""
        if array.name not in self.bound:
            result = self.results.get(array.name)
            pointer = result or f"at_{array.name}"
            place = new_place(pointer, sizes_of(array))
            self.bound[array.name] = place
            if result is None:
                self.take(pointer, "{}", place.count)
        return self.bound[array.name]

    def take(self, pointer: str, form: str, *sizes: sp.Expr) -> None:
        """Memory of its own for a pointer; form: how many numbers there are, in C, with the sizes for `{}`."""
        used = {self.sizes.symbol(symbol) for size in sizes for symbol in sp.sympify(size).free_symbols}
        self.taken[pointer] = Room(form.format(*map(self.sizes.whole, sizes)), frozenset(used))

    def temporary(self, operand: Operand) -> Array:
        """An array for the value of an operand."""
        array = Array(self.fresh("value"), operand.axes, operand.dims)
        self.times[array.name] = 1
        return array

    def parts(self) -> dict[str, tuple[Array | View, sp.Expr]]:
        """Vectors that are put behind each other lie in that array from the start, where each is made once and put once: (the array, or
        the part of one that a step is; where in it), by name."""
        found: dict[str, tuple[Array | View, sp.Expr]] = {}
        for block in blocks_of(self.procedure.statements):
            made = {target.name: k for k, one in enumerate(block) if isinstance(one, Assign) for target in names_of(one)}
            for k, one in enumerate(block):
                if not isinstance(one, Assign) or not is_joined(one.value) or any(self.times[t.name] > 1 for t in names_of(one)):
                    continue
                start: sp.Expr = sp.S.Zero
                assert isinstance(one.value, Call)
                for part in one.value.arguments:
                    fits = isinstance(part, Array) and part.name not in found and part.name not in self.results
                    if (
                        fits
                        and self.times[name_of(part)] == 1
                        and made.get(name_of(part), k) < k
                        and is_made(block, name_of(part))
                    ):
                        found[name_of(part)] = (self.stored_in(one), start)
                    start = sp.expand(start + part.dims[-1])
        return found

    @staticmethod
    def stored_in(statement: Assign) -> Array | View:
        """The target that has the memory: a view, if there is one."""
        return next((one for one in statement.targets if isinstance(one, View)), statement.targets[0])

    def part(self, array: Array) -> Place:
        """The place of a part within what it is put behind others in."""
        whole, start = self.part_of[array.name]
        place = self.memory(whole) if isinstance(whole, Array) else self.place(whole)
        if isinstance(whole, View) and self.loops:
            place = self.labelled(place, name_of(whole))
        offset = sp.expand(place.offset + start * place.strides[-1])
        return replace(place, offset=offset, sizes=sizes_of(array))

    def is_bound(self, array: Array, value: Operand) -> bool:
        """Whether an array is another name for memory that is there."""
        if self.times[array.name] > 1 or array.name in self.results or array.name in self.part_of:
            return False
        if self.place_or_none(value) is None:
            return False
        # what each step makes anew is no name for it behind the step; a copy is right wherever that isn't plain
        made = [one.name for one in parts_of(value) if isinstance(one, Array)]
        return all(self.times[name] == 1 for name in made)

    def labelled(self, place: Place, name: str) -> Place:
        """A place at one step with a pointer of its own, declared at the beginning of the step."""
        head = self.loops[-1].pointers
        label = f"at_{name.removesuffix('_all')}"
        if (label, place.pointer, place.offset) not in [(one, of.pointer, of.offset) for one, of in head]:
            if any(label == one for one, _ in head) or label in self.taken:
                label = self.fresh(label)
            head.append((label, place))
        return replace(place, label=(label, place.offset))

    def target(self, operand: Operand) -> Place:
        return self.memory(operand) if isinstance(operand, Array) else self.place(operand)

    @staticmethod
    def moved(place: Place, steps: list[tuple[Position, sp.Expr]]) -> Place:
        return replace(place, offset=sp.expand(place.offset + sum((mark * stride for mark, stride in steps), sp.S.Zero)))

    def pointer(self, place: Place) -> str:
        """A pointer to a place, for lines that read or write there."""
        self.mention(place)
        pointer, offset = place.shown
        return pointer if offset == 0 else f"{pointer} + {self.sizes.whole(offset)}"

    def mention(self, *places: Place) -> None:
        """Lines read or write there."""
        self.seen |= {place.pointer for place in places}
        self.labels |= {place.label[0] for place in places if place.label is not None}

    def is_given(self, pointer: str) -> bool:
        """Whether an array is one that the caller gave."""
        given = ("parameters", "inputs", "state", "cotangents", *(["tape"] if self.procedure.name == "backward" else []))
        return pointer.startswith(tuple(f"call->{table}." for table in given))
