"""A cell: equations as they were written, checked, with the role of each symbol found from how it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import sympy as sp

from derive.along import SumAlong, binds
from derive.equation import Equation, Term
from derive.errors import DeriveError
from derive.expressions import in_language, matrix_parts, values_in
from derive.flatten import flatten
from derive.language import Hadamard, LanguageError, Plus, Times, Value, X, coefficient
from derive.onehot import OneHot, columns_in, tokens_in
from derive.program import Program
from derive.schedule import ScheduleError, stages
from derive.shapes import OF_A_CALL, STEPS, in_order, is_scalar, rank, shape_text


class CellError(DeriveError):
    """Equations that don't make a cell."""


@dataclass(frozen=True)
class Cell:
    """Forward equations and the roles of their symbols.

    Roles follow from use: read at t-1 and defined is a state, or at t+1, of a recurrence from the last step to the first; timed and
    never defined an input, a token where it is read as one; without time and never defined a parameter; defined, never read and no state
    an output, and so is a loss, a number that only sums of losses read. Each is listed in the order in which the equations read it.

    name: the base name of its kernel. command: the words after `python -m derive` that make it. words: parts of names that spell a
    Greek letter and mean none. starts: (what a step reads of its neighbour, the value that it reads at the first step, or at the last
    one of a recurrence to the left): such a state is no argument. shown: names of outputs that other equations read. layers: names of
    copies of one quantity, one a layer -> (the name that they share, the layer, from 1); a sheet prints what is alike in them once. It
    changes nothing else, and names that aren't there have no layer.
    """

    name: str
    command: str
    equations: tuple[tuple[Value, sp.MatrixExpr], ...]
    words: frozenset[str] = frozenset()
    starts: tuple[tuple[Value, Value], ...] = ()
    shown: frozenset[str] = frozenset()
    layers: Mapping[str, tuple[str, int]] = field(default_factory=dict, compare=False)

    @classmethod
    def from_equations(
        cls, name: str, command: str, equations: Iterable[sp.Equality], starts: tuple[tuple[Value, Value], ...] = ()
    ) -> Cell:
        """A checked cell. Raises CellError that names the equation and what is wrong with it."""
        pairs: list[tuple[Value, sp.MatrixExpr]] = []
        for equation in equations:
            left, right = equation.args
            if not isinstance(left, Value) or left.kind != "primal" or left.lag != 0:
                raise CellError(f"{name}: equation `{left} = ...`: expected a value at step t on the left, got `{left}`.")
            try:
                right = in_language(right)
            except LanguageError as error:
                raise CellError(f"{name}: equation {left.name}: {error}") from None
            if left.shape != right.shape:
                raise CellError(
                    f"{name}: equation {left.name}: the two sides differ in shape: expected {shape_text(left)}, "
                    f"got {shape_text(right)}."
                )
            pairs.append((left, right))
        cell = cls(name, command, tuple(pairs), starts=starts)
        cell.check()
        return cell

    def check(self) -> None:
        """Raises CellError unless every symbol has one role and the equations can be put in an order."""
        targets = [target for target, _ in self.equations]
        for target in targets:
            if targets.count(target) > 1:
                raise CellError(f"{self.name}: {target.name} is defined twice. Give each definition a name of its own.")
        for value in self.reads:
            step = f"t{value.lag:+}"
            if value.lag not in (0, -1, 1):
                raise CellError(f"{self.name}: {value.name} is read at {step}: only t, t-1 and t+1 can be read.")
            if value.lag and value.like(lag=0) not in targets:
                raise CellError(
                    f"{self.name}: {value.name} is read at {step} and never defined: define it at t, or read it at t."
                )
            if value.lag and value.like(lag=-value.lag) in self.reads:
                raise CellError(
                    f"{self.name}: {value.name} is read at t-1 and at t+1: expected one way, since it has one start, before the first "
                    "step or after the last. Give what runs the other way a name of its own."
                )
        shapes: dict[str, Value] = {}
        for value in (*targets, *self.reads):
            known = shapes.setdefault(value.name, value)
            if (known.shape, known.axes) != (value.shape, value.axes):
                raise CellError(
                    f"{self.name}: {value.name} stands for two things: {shape_text(known)} and {shape_text(value)}. Rename one."
                )
            check_columns(value, f"{self.name}: {value.name}")
            check_dimensions(value, f"{self.name}: {value.name}", self.step_axes)
        self.check_tokens()
        if not any(binds(right) for _, right in self.equations):
            ordered(self.equations, self.name)
        try:
            stages([Equation(target, (Term(right),)) for target, right in self.equations], starts=self.starts)
        except ScheduleError as error:
            raise CellError(f"{self.name}: {error}", error.about) from None
        for target, right in self.equations:
            names = dimensions(right) | dimensions(target) | {X}
            for odd in (
                right.atoms(sp.Symbol, sp.core.numbers.NaN, sp.core.numbers.Infinity, sp.core.numbers.ImaginaryUnit) - names
            ):
                raise CellError(f"{self.name}: equation {target.name}: expected values and real numbers, got {odd}. Replace it.")
        self.check_starts()
        self.check_axes()

    def check_axes(self) -> None:
        """Raises CellError where an axis of steps has no length, or where a value along two of them is read at a neighbour."""
        given = {axis for value in (*self.inputs, *self.tokens) for axis in value.along}
        if not given:
            raise CellError(
                f"{self.name}: no input: expected a value that is read at t and never defined, got none. A cell needs one to have steps."
            )
        for axis in self.step_axes:
            if axis not in given:
                raise CellError(
                    f"{self.name}: no input along {axis}: expected one that says how many steps there are. Add an input along that axis to "
                    "an equation, such as a mask of ones that multiplies, or a vector of zeros that is added: it gives the length.",
                    next((str(target.name) for target in self.targets if axis in target.axes), ""),
                )
        for value in self.carried:
            if len(value.along) > 1:
                raise CellError(
                    f"{self.name}: {value.name} varies along {' and '.join(value.along)} and is read at a neighbour: expected one axis of "
                    "steps. Let a value of one axis be what the recurrence carries."
                )

    def check_tokens(self) -> None:
        """Raises CellError where a token is anything but an input that is read as one, of one size."""
        tokens = {value.like(lag=0): size for value, size in self.tokens.items()}
        for target, right in self.equations:
            for value in numbers_in(right):
                if value.like(lag=0) in tokens:
                    raise CellError(
                        f"{self.name}: equation {target.name}: the token {value.name} is read as a number: expected one_hot({value.name}, "
                        f"size), got {value.name}. Read it as a column, or make an input of another name."
                    )
            for value, size in ((column.token, column.shape[0]) for column in columns_in([right])):
                if value.lag or value in self.targets or tokens[value] != size:
                    raise CellError(
                        f"{self.name}: equation {target.name}: {value.name} is no token: expected an input, read at its own step as one of "
                        f"{tokens[value.like(lag=0)]}. Make what is read at another step, or of another size, an input of its own."
                    )

        held = {symbol for v in (*self.parameters, *self.inputs, *self.states) for n in v.shape for symbol in n.free_symbols}
        for value, size in self.tokens.items():
            if not size.free_symbols <= held:
                raise CellError(
                    f"{self.name}: {value.name} is one of {size} tokens, and nothing else is as long: expected a parameter, an input or a "
                    "state of that size, got none. Let a matrix of it read the token."
                )

    @cached_property
    def tokens(self) -> dict[Value, sp.Expr]:
        """The inputs that are whole numbers, and how many of them there are."""
        return tokens_in(right for _, right in self.equations)

    def check_starts(self) -> None:
        """Raises CellError unless each start is a value without steps, of the shape of what it starts."""
        for read, start in self.starts:
            if start.has_steps or start.shape != read.shape or read not in self.reads:
                raise CellError(
                    f"{self.name}: {start.name} starts {read.name}: expected one value an example, {shape_text(read)}, got "
                    f"{shape_text(start)}{' at each step' if start.has_steps else ''}. Give the start the shape of the state."
                )

    @cached_property
    def reads(self) -> tuple[Value, ...]:
        """Every value on a right side, in the order of reading."""
        return tuple(dict.fromkeys(value for _, right in self.equations for value in values_in(right)))

    @cached_property
    def targets(self) -> tuple[Value, ...]:
        return tuple(target for target, _ in self.equations)

    @cached_property
    def carried(self) -> tuple[Value, ...]:
        """What a step reads of its neighbour: of a state that runs from the first step to the last at t-1, else at t+1."""
        return tuple(value for value in self.reads if value.lag)

    @cached_property
    def states(self) -> tuple[Value, ...]:
        given = {read for read, _ in self.starts}
        return tuple(value.like(lag=0) for value in self.carried if value not in given)

    @cached_property
    def leftward(self) -> frozenset[str]:
        """The names of the states that run from the last step to the first."""
        return frozenset(str(value.name) for value in self.carried if value.lag > 0)

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        defined = set(self.targets)
        return tuple(v for v in self.reads if v.timed and v.lag == 0 and v not in defined and v not in self.tokens)

    @cached_property
    def once(self) -> tuple[Value, ...]:
        """The inputs and outputs of which there is one value an example, not one at each step."""
        return tuple(value for value in (*self.inputs, *self.outputs) if not value.has_steps)

    @cached_property
    def step_axes(self) -> tuple[str, ...]:
        """The axes of steps along which anything varies."""
        return in_order(axis for value in (*self.reads, *self.targets) for axis in value.along)

    @cached_property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """The axes of steps of inputs, tokens, states and outputs that lie otherwise than along T."""
        found = (*self.inputs, *self.tokens, *self.states, *self.outputs)
        return {str(value.name): value.along for value in found if value.along != (STEPS,)}

    @cached_property
    def axes_of_states(self) -> dict[str, str]:
        """The axes of what recurrences carry that don't run along T."""
        return {str(value.name): value.axis for value in self.carried if value.axis != STEPS}

    @cached_property
    def is_chain(self) -> bool:
        """Whether the states are all that one step hands to the next, and nothing else is handed on: what segments of steps rest on."""
        return self.is_plain and not self.leftward

    @cached_property
    def is_plain(self) -> bool:
        """Whether all recurrences run along T from states that the caller gives, and nothing is made of all steps but outputs of each."""
        plain = not (self.starts or any(binds(right) for _, right in self.equations))
        return plain and all(value.along in ((), (STEPS,)) for value in (*self.reads, *self.targets)) and not self.axes

    @cached_property
    def parameters(self) -> tuple[Value, ...]:
        defined = set(self.targets)
        return tuple(value for value in self.reads if not value.timed and value not in defined)

    @cached_property
    def outputs(self) -> tuple[Value, ...]:
        started = {read.like(lag=0) for read, _ in self.starts}
        shown = {*started, *self.losses, *[value for value in self.targets if value.name in self.shown]}
        used = {*self.reads, *[start for _, start in self.starts]} - shown
        return tuple(value for value in self.targets if value.timed and value not in {*used, *self.states})

    @cached_property
    def losses(self) -> tuple[Value, ...]:
        """The numbers that equations read in sums of such numbers alone, with weights that are given, or that are such sums over all
        steps; no recurrence is made of them."""
        kept = {*[value.like(lag=0) for value in self.carried], *[start for _, start in self.starts]}
        found = [value for value in self.targets if value.timed and is_scalar(value) and value not in kept]
        given = {*self.parameters, *self.inputs}
        whole = {target for target, right in self.equations if not target.has_steps and binds(right)}
        readers = {
            one: [(target, right) for target, right in self.equations if one in values_in(right) and one not in whole]
            for one in found
        }
        while True:
            left = [
                one for one in found if all(target in found and is_added(one, right, given) for target, right in readers[one])
            ]
            if left == found:
                return tuple(found)
            found = left

    @cached_property
    def forward(self) -> Program:
        """The forward step as named equations of one operation each where a derivative needs a name; see `flatten`."""
        given, results = (*self.parameters, *self.inputs, *self.tokens), (*self.states, *self.outputs)
        return flatten(ordered(self.equations, self.name), given, results, self.starts)

    def renamed(self, name: str) -> Cell:
        return replace(self, name=name)


def numbers_in(node: sp.MatrixExpr) -> list[Value]:
    """The values that an expression reads otherwise than as tokens."""
    if isinstance(node, Value):
        return [node]
    return [] if isinstance(node, OneHot) else [value for part in matrix_parts(node) for value in numbers_in(part)]


def is_added(value: Value, node: sp.MatrixExpr, weights: set[Value]) -> bool:
    """Whether an expression reads a value, if at all, in sums alone, each time by itself or times numbers made of some weights."""
    rest = coefficient(node)[1]
    if value not in values_in(rest) or rest == value:
        return True
    parts = matrix_parts(rest)
    if isinstance(rest, Hadamard | Times):
        others = [part for part in parts if not weights.issuperset(values_in(part))]
        return len(others) == 1 and is_added(value, others[0], weights)
    return isinstance(rest, Plus | SumAlong) and all(is_added(value, part, weights) for part in parts)


def check_dimensions(value: Value, where: str, axes: Sequence[str]) -> None:
    """Raises CellError on a dimension that has the name of the steps or of the batch: a kernel would take the two for one size."""
    of_a_call = in_order((*axes, *OF_A_CALL))
    for symbol in sorted({symbol.name for size in value.shape for symbol in size.free_symbols} & {*of_a_call}):
        raise CellError(
            f"{where}: a dimension named {symbol}: expected a name other than {', '.join(of_a_call[:-1])} and B, which are the steps and "
            "the batch, "
            f"got {shape_text(value)}. Choose another name."
        )


def check_columns(value: Value, where: str) -> None:
    """Raises CellError on a value of one row: a quantity is a number, a column or a matrix."""
    if value.shape[0] == 1 and rank(value) == 2:
        raise CellError(f"{where}: a row: expected a column, got {shape_text(value)}. Declare the column and read its transpose.")


def ordered(pairs: Sequence[tuple[Value, sp.MatrixExpr]], where: str) -> list[tuple[Value, sp.MatrixExpr]]:
    """The equations in an order in which they can be computed, otherwise as written. Raises CellError on a circle."""
    waiting, done, result = list(pairs), set(), []
    defined = {target for target, _ in pairs}
    while waiting:
        ready = next((p for p in waiting if all(v in done or v not in defined for v in values_in(p[1]))), None)
        if ready is None:
            circle = ", ".join(target.name for target, _ in waiting)
            raise CellError(f"{where}: circular definition: {circle} need each other at the same step. Read one of them at t-1.")
        waiting.remove(ready)
        done.add(ready[0])
        result.append(ready)
    return result


def dimensions(expression: sp.MatrixExpr) -> set[sp.Symbol]:
    """The symbols in the shapes of an expression's values."""
    values = [*values_in(expression), *([expression] if isinstance(expression, Value) else [])]
    return {symbol for value in values for size in value.shape for symbol in size.free_symbols}
