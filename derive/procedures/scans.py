"""Loops as scans: a function of one step, what it takes of the step before, what it reads and what it makes.

The textbook's loop writes arrays position by position. Where arrays can't be written to, the same loop is a function from (what the
step before hands on, what is read at this step) to (what is handed on to the next, what is made at this one). All of it is in the
statements: a view of an array at the position of the step is read, or made if the body writes it; a view one step behind what the body
writes is handed on, and so is a name that the body reads before it gives it a new value, and whatever it adds to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from derive.procedures.kernel import Kernel
from derive.procedures.procedure import (
    ALL,
    Add,
    Array,
    Assign,
    At,
    Call,
    Comment,
    Cut,
    Loop,
    Operand,
    Procedure,
    ProcedureError,
    Statement,
    View,
    operands_of,
    parts_of,
    shape,
)
from derive.procedures.textbook import Textbook


class NamingAll(Textbook):
    """The textbook's statements, with a name at one step for whatever a loop makes."""

    names_all = True


class ScannedKernel(Kernel):
    """Procedures whose loops can be scans."""

    policy = NamingAll


@dataclass(frozen=True)
class Carried:
    """What a step hands on: its name at the beginning of a step and at the end of it, what the first step finds, and whether the
    last one's is read behind the loop."""

    before: Array
    after: Array
    start: Operand
    is_read: bool = False


@dataclass(frozen=True)
class Scan:
    """A loop as a function of one step. read: (name at a step, the sequence that it is of), made: (name at a step, the sequence that it
    becomes), a step's axis in front of both sequences."""

    axis: str
    carried: tuple[Carried, ...]
    read: tuple[tuple[Array, Operand], ...]
    made: tuple[tuple[Array, Array], ...]
    body: tuple[Comment | Assign, ...]
    backwards: bool


@dataclass(frozen=True)
class Join:
    """A sequence that a scan made gets a position more, in front of its first step or behind its last one."""

    sequence: Array
    first: Operand | None
    last: Operand | None


Statements = list[Statement | Scan | Join]


def scanned(procedure: Procedure) -> Statements:
    """The statements of a procedure, their loops as scans: each binds the arrays that its loop wrote to."""
    written = {name for loop in loops(procedure.statements) for name in stored(loop)}
    room: dict[str, Array] = {}
    ends: dict[tuple[str, int], Operand] = {}
    found: Statements = []
    for at, statement in enumerate(procedure.statements):
        match statement:
            case Assign((Array(name=name) as array,), Call(operation="empty" | "zeros", arguments=())) if name in written:
                room[name] = array
            case Assign((View(of=Array(name=name)) as view,), start) if name in room:
                ends[name, int(position_in(view)[1].position)] = start
            case Loop():
                behind = names_in(procedure.statements[at + 1 :], results_of(procedure))
                scan, joined = LoopAsScan(statement, room, ends).scan(behind)
                found += [scan, *joined]
                for name in stored(statement):
                    del room[name]
            case _:
                found.append(statement)
    return found


def loops(statements: Iterable[Statement]) -> Iterator[Loop]:
    return (one for one in statements if isinstance(one, Loop))


def stored(loop: Loop) -> dict[str, View]:
    """The arrays that a loop writes to, each at one position of every step."""
    targets = [target for one in loop.body if isinstance(one, Assign) for target in one.targets]
    return {target.of.name: target for target in targets if isinstance(target, View) and isinstance(target.of, Array)}


def results_of(procedure: Procedure) -> Iterator[Operand]:
    return (operand for _, table in procedure.results for _, operand in table)


def names_in(statements: Iterable[Statement], results: Iterable[Operand]) -> set[str]:
    """The names of the arrays in statements and operands."""
    operands = [*[operand for one in statements for operand in operands_of(one)], *results]
    return {part.name for operand in operands for part in parts_of(operand) if isinstance(part, Array)}


def position_in(view: View) -> tuple[int, At]:
    """(the place of the axis, the position) of a view at one step."""
    places = [(k, one) for k, one in enumerate(view.index) if isinstance(one, At)]
    if len(places) != 1:
        raise ProcedureError(f"scan: a view at one step: expected one position, got {view.index}.")
    return places[0]


def in_front(operand: Operand, place: int) -> Operand:
    """A sequence with the axis at a place in front of the others."""
    rank = len(shape(operand))
    order = (place, *[k for k in range(rank) if k != place])
    axes = (operand.axes[place], *operand.axes[:place], *operand.axes[place + 1 :])
    return Call("move", (operand,), axes, operand.dims, (("order", order),)) if place else operand


def back_in_place(array: Array, place: int) -> Operand:
    """The sequence that a scan made, its axis where it belongs."""
    rank = len(shape(array))
    order = (*range(1, place + 1), 0, *range(place + 1, rank))
    made = replace(array, axes=(array.axes[place], *array.axes[:place], *array.axes[place + 1 :]))
    return Call("move", (made,), array.axes, array.dims, (("order", order),)) if place else array


class LoopAsScan:
    """Finds what a loop hands on, reads and makes. room: arrays without values that the loop fills; ends: (array, 0 or -1) -> what stands
    in front of its first step or behind its last one; missing, zeros."""

    def __init__(self, loop: Loop, room: dict[str, Array], ends: dict[tuple[str, int], Operand]) -> None:
        if loop.invariant or loop.walks or loop.along or loop.start is not None:
            raise ProcedureError(
                f"scan: the loop over {loop.axis}: expected one over positions of all steps, got views of each step."
            )
        self.loop, self.room, self.ends = loop, room, ends
        self.stored = stored(loop)
        self.carried: dict[str, Carried] = {}
        self.made: dict[str, Array] = {}

    def scan(self, behind: set[str]) -> tuple[Scan, list[Assign | Join]]:
        """(the scan, the statements that put ends to the sequences it made). behind: the names that are read behind the loop."""
        body = list(self.body())
        read = [found for array, view in self.loop.reads if (found := self.reading(array, view)) is not None]
        carried = tuple(
            replace(one, is_read=one.before == one.after and one.after.name in behind) for one in self.carried.values()
        )
        made = tuple((local, self.sequence(name)) for name, local in self.made.items())
        scan = Scan(self.loop.axis, carried, tuple(read), made, tuple(body), self.loop.backwards)
        return scan, [one for name in self.made for one in self.with_ends(name)]

    # ---- what is read and handed on

    def reading(self, array: Array, view: View) -> tuple[Array, Operand] | None:
        """(name, sequence) of what is read at each step; nothing where the loop itself made it one step before, which is handed on."""
        source = view.of
        place, at = position_in(view)
        offset = int(at.position - self.loop.index)
        if not isinstance(source, Array):
            raise ProcedureError(f"scan: `{array.name}`: expected a step of an array, got one of {type(source).__name__}.")
        if source.name in self.stored:
            writes = int(position_in(self.stored[source.name])[1].position - self.loop.index)
            if offset - writes != (1 if self.loop.backwards else -1):
                raise ProcedureError(
                    f"scan: `{array.name}`: expected a step that has just been made, got {offset - writes} steps on."
                )
            self.carried[array.name] = Carried(array, self.made[source.name], self.start_of(source.name))
            return None
        stop = offset - source.front - source.behind
        cut = Cut(offset or None, stop or None)
        whole = source if cut == ALL else View(source, (*[ALL] * place, cut, *[ALL] * (len(shape(source)) - place - 1)))
        return array, in_front(whole, place)

    def start_of(self, name: str) -> Operand:
        """What the first step finds of an array."""
        array, (place, _) = self.room[name], position_in(self.stored[name])
        axes = tuple(axis for k, axis in enumerate(array.axes) if k != place)
        return self.ends.get((name, -1 if self.loop.backwards else 0), Call("zeros", (), axes, array.dims))

    # ---- the body

    def body(self) -> Iterator[Comment | Assign]:
        """The statements of a step: names alone get values."""
        known = {array.name for array, _ in self.loop.reads}
        given = {target.name for one in self.loop.body for target in self.named(one)}
        for statement in self.loop.body:
            if isinstance(statement, Comment):
                yield statement
                continue
            assert isinstance(statement, Assign | Add)
            value = statement.value
            if isinstance(statement, Add):
                assert isinstance(statement.target, Array)
                value = Call("add", (statement.target, value), statement.target.axes, statement.target.dims)
            for part in parts_of(value):
                if isinstance(part, Array) and part.name in given - known:
                    self.carried[part.name] = Carried(part, part, part)
            local, *others = self.named(statement)
            self.made |= {target.of.name: local for target in getattr(statement, "targets", ()) if is_at_step(target)}
            known |= {local.name, *[other.name for other in others]}
            yield Assign((local, *others), value)

    @staticmethod
    def named(statement: Statement) -> list[Array]:
        """The names that a statement gives a value to."""
        targets = statement.targets if isinstance(statement, Assign) else [statement.target] if isinstance(statement, Add) else []
        return [target for target in targets if isinstance(target, Array)]

    # ---- what is made

    def sequence(self, name: str) -> Array:
        """The array of what is made, as a scan gives it."""
        array, (place, _) = self.room[name], position_in(self.stored[name])
        axes = (array.axes[place], *array.axes[:place], *array.axes[place + 1 :])
        return Array(name, axes, array.dims)

    def with_ends(self, name: str) -> list[Assign | Join]:
        """The array with what stands in front of its first step and behind its last one, its axis where it belongs."""
        array, (place, _) = self.room[name], position_in(self.stored[name])
        if max(array.front, array.behind) > 1:
            raise ProcedureError(f"scan: `{name}`: expected one position in front of the first step at most, got {array.front}.")
        axes = tuple(axis for k, axis in enumerate(array.axes) if k != place)
        first, last = (self.ends.get((name, at), Call("zeros", (), axes, array.dims)) for at in (0, -1))
        joined = Join(self.sequence(name), first if array.front else None, last if array.behind else None)
        found: list[Assign | Join] = [joined] if array.front or array.behind else []
        return [*found, Assign((array,), back_in_place(array, place))] if place else found


def is_at_step(target: Operand) -> bool:
    return isinstance(target, View) and isinstance(target.of, Array)
