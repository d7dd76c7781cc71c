"""The textbook's way from a program to statements: one statement an equation, arrays made where they are assigned.

What a loop computes is kept for all steps where something else reads it, under `NAME_all`; of a state that array holds the initial
value too, `front` positions in front of the first step, or `behind` the last one where the loop runs to the left. What only the next
step reads is one variable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sympy as sp

from derive.equation import Equation
from derive.language import Value
from derive.procedures.equations import right_side
from derive.procedures.long_sums import assigned
from derive.procedures.lowering import Lowering
from derive.procedures.names import Names
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
    Position,
    Statement,
    View,
    is_fresh,
)
from derive.procedures.shaping import sizes
from derive.schedule import LOOPS, Stage
from derive.shapes import STEPS, letter_of


@dataclass(frozen=True)
class Surroundings:
    """What a program finds around it.

    given: where a value lies that no equation defines, over all steps; None where it is none of the caller's. start: what stands in
    front of the first step of a value that is read at an earlier one, behind the last step of one that is read at a later one; None is
    zeros. comment: an equation as a formula.
    """

    given: Callable[[Value], Operand]
    start: Callable[[Value], Operand | None]
    comment: Callable[[Equation], str]


class Textbook:
    """The statements of a program. keep: values that are wanted for all steps beside those that other stages read. starts: (what is read
    of another step, the value of the program that it starts with)."""

    names_all = False
    """Whether what a loop stores has a name at each step, too, where nothing in the loop reads it."""

    def __init__(
        self,
        stages: tuple[Stage, ...],
        names: Names,
        around: Surroundings,
        keep: Iterable[Value] = (),
        starts: Iterable[tuple[Value, Value]] = (),
    ) -> None:
        self.starts = {read.like(lag=0): start for read, start in starts}
        self.stages, self.names, self.around = stages, names, around
        self.made_in = {equation.target: stage for stage in stages for equation in stage.equations}
        self.reads = [
            (stage, value) for stage in stages for equation in stage.equations for value in (equation.target, *equation.reads())
        ]
        self.kept = {value for value in keep if value.along}
        self.kept |= {value.like(lag=0) for stage, value in self.reads if self.is_read_elsewhere(stage, value)}
        self.lags: dict[Value, set[int]] = defaultdict(set)
        for _, value in self.reads:
            self.lags[value.like(lag=0)].add(value.lag)
        self.arrays: dict[Value, Array] = {}
        self.fresh: set[Value] = set()
        self.statements: list[Statement] = []
        self.read_given()
        for stage in stages:
            self.add_stage(stage)

    def read_given(self) -> None:
        """Names for what the caller gives: what is the same at all steps first."""
        read = dict.fromkeys(value.like(lag=0) if value.along else value for _, value in self.reads)
        given = [value for value in read if value not in self.made_in]
        for value in sorted(given, key=lambda value: bool(value.along)):
            self.outside(value)

    # ---- where values lie

    def is_read_elsewhere(self, stage: Stage, value: Value) -> bool:
        """Whether a value that a loop makes step by step is needed for all of them: outside of it, or in it after a newer one was made."""
        home = self.made_in.get(value.like(lag=0))
        if home is None or home.way not in LOOPS:
            return False
        return home is not stage or (value.lag != 0 and not self.is_in_time(home, value))

    @staticmethod
    def is_in_time(stage: Stage, value: Value) -> bool:
        """Whether a value of the step before is only read before that of this step is made, so that one variable serves both."""
        ahead = 1 if stage.way == "backwards" else -1
        targets = [equation.target for equation in stage.equations]
        made = targets.index(value.like(lag=0))
        return value.lag == ahead and not any(equation.is_reading(value) for equation in stage.equations[made + 1 :])

    def is_sequence(self, value: Value) -> bool:
        """Whether a value has an array over all steps."""
        home = self.made_in.get(value.like(lag=0))
        if not value.along:
            return False
        return home is None or home.way not in LOOPS or home.axis not in value.axes or value.like(lag=0) in self.kept

    def margins(self, value: Value) -> tuple[int, int]:
        """How many positions an array needs in front of the first step and behind the last one."""
        lags = self.lags.get(value, {0})
        return -min(0, *lags), max(0, *lags)

    def sequence(self, value: Value) -> Array:
        """The array of a value over all steps; a given one is named where it is first asked for."""
        plain = value.like(lag=0)
        if plain not in self.arrays:
            source = self.around.given(plain)
            front, behind = getattr(source, "front", 0), getattr(source, "behind", 0)
            array = Array(self.names.sequence(plain), plain.axes, sizes(plain), front, behind)
            self.statements.append(Assign((array,), source))
            self.arrays[plain] = array
        return self.arrays[plain]

    def over_steps(self, value: Value) -> Operand:
        """A value at all steps, seen from each of them."""
        array = self.sequence(value)
        start, stop = array.front + value.lag, array.behind - value.lag
        cut = Cut(start or None, -stop or None)
        return array if cut == ALL else View(array, (cut, *[ALL] * (len(array.axes) + len(array.dims) - 1)))

    def at_step(self, value: Value, t: Position, axis: str) -> View:
        """A value at one step of an axis."""
        array = self.sequence(value)
        place = array.axes.index(axis)
        index = At(t + array.front + value.lag)
        return View(array, (*[ALL] * place, index, *[ALL] * (len(array.axes) + len(array.dims) - place - 1)))

    def local(self, value: Value, axis: str) -> Array:
        """The name of a value at one step of an axis, or of one that is the same at all."""
        return Array(self.names.of(value), tuple(one for one in value.axes if one != axis), sizes(value))

    def outside(self, value: Value) -> Operand:
        """A value as the statements outside of loops read it."""
        if value.along:
            return self.over_steps(value)
        return self.constant(value)

    def constant(self, value: Value) -> Array:
        """A value that is the same at all steps."""
        if value not in self.arrays:
            self.arrays[value] = self.local(value, STEPS)
            if value not in self.made_in:
                self.statements.append(Assign((self.arrays[value],), self.around.given(value)))
        return self.arrays[value]

    # ---- stages

    def add_stage(self, stage: Stage) -> None:
        if stage.way in LOOPS:
            self.add_loop(stage)
            return
        for equation in stage.equations:
            self.add_whole(equation)

    def add_whole(self, equation: Equation) -> None:
        """An equation outside of loops: once, or for all steps at once."""
        target = equation.target
        value = right_side(equation, Lowering(self.outside, end=self.at_end))
        self.statements.append(Comment(self.around.comment(equation)))
        if not target.along:
            self.arrays[target] = self.local(target, STEPS)
            self.statements += assigned((self.arrays[target],), value)
        elif self.margins(target) != (0, 0):
            self.allocate(target)
            self.statements += assigned((self.as_view(target),), value)
        else:
            self.arrays[target] = Array(self.names.sequence(target), target.axes, sizes(target))
            self.statements += assigned((self.arrays[target],), value)
        if is_fresh(value) or self.margins(target) != (0, 0):
            self.fresh.add(target)

    def as_view(self, value: Value) -> View:
        whole = self.over_steps(value)
        assert isinstance(whole, View)
        return whole

    def allocate(self, value: Value) -> None:
        """An array for all steps; what stands in front of the first one or behind the last one is the start of a recurrence, or zero."""
        front, behind = self.margins(value)
        array = Array(self.names.sequence(value), value.axes, sizes(value), front, behind)
        start = self.start_of(value) if front or behind else None
        operation = "zeros" if (front or behind) and start is None else "empty"
        self.arrays[value] = array
        new = Call(operation, (), array.axes, array.dims, (("more", front + behind),))
        self.statements.append(Assign((array,), new))
        if start is not None:
            self.statements.append(Assign((self.end(array, first=front > 0),), start))

    def start_of(self, value: Value) -> Operand | None:
        """What a recurrence starts with; None is zeros."""
        return self.constant(self.starts[value]) if value in self.starts else self.around.start(value)

    def at_end(self, value: Value, end: str) -> Operand:
        """A value at an end of its steps: what its recurrence starts with or leaves where there are no steps."""
        array, is_first = self.sequence(value), end == "first"
        if (array.behind if is_first else array.front) and not (array.front if is_first else array.behind):
            return self.end(array, is_first)
        return Call("end_of", (self.over_steps(value),), array.axes[1:], array.dims, (("at", 0 if is_first else -1),))

    @staticmethod
    def end(array: Array, first: bool) -> View:
        """The first or the last position of an array."""
        position = sp.S.Zero if first else sp.S.NegativeOne
        return View(array, (At(position), *[ALL] * (len(array.axes) + len(array.dims) - 1)))

    def add_loop(self, stage: Stage) -> None:
        """The arrays that the loop fills, the variables that it hands on, and the loop."""
        t, axis = Position(letter_of(stage.axis)), stage.axis
        targets = {equation.target for equation in stage.equations}
        reads = dict.fromkeys(value for equation in stage.equations for value in equation.reads())
        for target in (equation.target for equation in stage.equations):
            if axis not in target.axes:
                self.start_total(target)
            elif self.is_sequence(target):
                self.allocate(target)
        for value in reads:
            if value.lag and value.like(lag=0) in targets and not self.is_sequence(value):
                self.start_variable(value, axis)
        seen = [value for value in reads if axis in value.axes and value not in targets and self.is_sequence(value)]
        bound = tuple((self.local(value, axis), self.at_step(value, t, axis)) for value in seen)
        body: list[Statement] = []
        for equation in stage.equations:
            body += self.in_loop(equation, t, reads, axis)
        self.statements.append(Loop(t, axis, tuple(body), bound, backwards=stage.way == "backwards"))

    def start_total(self, value: Value) -> None:
        """A variable that each step adds to."""
        name = self.names.sequence(value) if value.along else self.names.of(value)
        self.arrays[value] = Array(name, value.axes, sizes(value))
        self.statements.append(Assign((self.arrays[value],), Call("zeros", (), value.axes, sizes(value))))
        self.fresh.add(value)

    def start_variable(self, value: Value, axis: str) -> None:
        """A variable that each step hands to the next one."""
        variable = self.local(value.like(lag=0), axis)
        start = self.start_of(value.like(lag=0))
        self.statements.append(Assign((variable,), start or Call("zeros", (), variable.axes, variable.dims)))

    def in_loop(self, equation: Equation, t: Position, reads: Iterable[Value], axis: str) -> list[Statement]:
        """One equation at one step of an axis."""
        target = equation.target

        def read(value: Value) -> Operand:
            if axis not in value.axes:
                return self.outside(value)
            return self.local(value if self.is_sequence(value) else value.like(lag=0), axis)

        value = right_side(equation, Lowering(read, (axis,)))
        if axis not in target.axes:
            return [Comment(self.around.comment(equation)), Add(self.arrays[target], value)]
        needed = self.names_all or target in reads or not self.is_sequence(target)
        stored = [self.at_step(target, t, axis)] if self.is_sequence(target) else []
        if is_fresh(value) or self.is_sequence(target):
            self.fresh.add(target)
        return [
            Comment(self.around.comment(equation)),
            *assigned((*([self.local(target, axis)] if needed else []), *stored), value),
        ]

    # ---- what comes of it

    def result(self, value: Value) -> Operand:
        """A value as it is returned: memory of its own."""
        operand = self.outside(value) if value in self.arrays or self.is_sequence(value) else self.local(value, value.axis)
        if not operand.axes and not operand.dims:
            operand = Call("array", (operand,))
        return operand if value in self.fresh else Call("copy", (operand,), operand.axes, operand.dims)

    def handed_out(self, value: Value, first: bool) -> Operand:
        """What is carried out of the first step, or out of the last one."""
        if not self.is_sequence(value):
            return self.result(value)
        end = self.end(self.sequence(value), first)
        return Call("copy", (end,), end.axes, end.dims)
