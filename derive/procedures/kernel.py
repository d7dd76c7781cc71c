"""The functions of a kernel as procedures, by the textbook's policy: forward, backward, jvp and step_jacobian from their programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

import sympy as sp

from derive.blocks import Stack, rows
from derive.cell import Cell
from derive.equation import Equation
from derive.language import Times, Value, Zeros, add, transpose
from derive.notation import Notation
from derive.procedures.names import Names
from derive.procedures.procedure import ALL, Array, Assign, At, Call, Cut, Entry, Operand, Procedure, View
from derive.procedures.shaping import sizes
from derive.procedures.stages import stages
from derive.procedures.textbook import Surroundings, Textbook
from derive.program import Program, needed
from derive.schedule import Stage
from derive.shapes import DIRECTIONS, EXAMPLES, STEPS, is_vector, rank

Results = tuple[tuple[str, tuple[tuple[str, Operand], ...]], ...]

SEEDS = DIRECTIONS
"""The axis of the directions that a step Jacobian is made of: one for each element of each state."""


class Kernel:
    """Procedures of one cell, which share names and the tape. tape: the values on it."""

    policy: type[Textbook] = Textbook
    """How statements are arranged."""

    def __init__(self, cell: Cell, notation: Notation, names: Names, tape: Iterable[Value]) -> None:
        self.cell, self.notation, self.names = cell, notation, names
        self.tape = list(tape)
        self.taped: dict[Value, Entry] = {}

    # ---- where values come from

    def comment(self, equation: Equation) -> str:
        """The formula of an equation; of one whose target is shown as its right side the target alone."""
        shown = equation.target in self.notation.shown
        return self.notation.value(equation.target) if shown else self.notation.equation(equation)

    def around(
        self, given: Callable[[Value], Operand], start: Callable[[Value], Operand | None] = lambda value: None
    ) -> Surroundings:
        return Surroundings(given, start, self.comment)

    @staticmethod
    def entry(holder: str, value: Value) -> Entry:
        return Entry(holder, str(value.name), value.axes, sizes(value))

    def of_tape(self, value: Value) -> Operand:
        """What forward computed, or a parameter."""
        return self.taped[value] if value in self.taped else self.entry("parameters", value)

    @staticmethod
    def before_the_first(holder: str) -> Callable[[Value], Entry]:
        """The initial value of a state in a mapping of the caller's."""
        return lambda value: Entry(holder, str(value.name), tuple(one for one in value.axes if one != value.axis), sizes(value))

    # ---- the functions

    def text(self, program: Program, around: Surroundings, keep: Sequence[Value], reverse: bool) -> Textbook:
        """The statements of a program. reverse: whether it computes gradients."""
        return self.policy(stages(program), self.names, around, keep, program.starts)

    def forward(self, program: Program) -> Procedure:
        """Outputs, and the tape."""

        def given(value: Value) -> Operand:
            return self.entry("inputs" if value.timed else "parameters", value)

        around = self.around(given, self.before_the_first("state"))
        text = self.text(program, around, (*program.results, *self.tape), reverse=False)
        saved = [(self.names.of(value), self.save(value, text)) for value in self.tape]
        outputs = [(str(value.name), self.output(value, text)) for value in program.results]
        return Procedure("forward", tuple(text.statements), (("outputs", tuple(outputs)), ("tape", tuple(saved))))

    def save(self, value: Value, text: Textbook) -> Array:
        """The array of a value that the tape keeps, its initial value included."""
        array = text.sequence(value) if value.has_steps else text.constant(value)
        self.taped[value] = Entry("tape", self.names.of(value), array.axes, array.dims, array.front, array.behind)
        return array

    def output(self, value: Value, text: Textbook) -> Operand:
        """An output shares no memory with the tape."""
        found = text.result(value)
        shared = value in self.taped or text.margins(value) != (0, 0)
        is_copy = isinstance(found, Call) and found.operation == "copy"
        return Call("copy", (found,), found.axes, found.dims) if shared and not is_copy else found

    def backward(self, program: Program) -> Procedure:
        """Gradients."""

        def given(value: Value) -> Operand:
            return self.entry("cotangents", value) if value.kind == "given" else self.of_tape(value)

        kept = [value for value in program.results if "carry" not in value.marks]
        text = self.text(program, self.around(given), kept, reverse=True)
        return Procedure("backward", tuple(text.statements), self.gradients(text))

    def jvp(self, program: Program) -> Procedure:
        """Tangents of the outputs."""

        def given(value: Value) -> Operand:
            if value.kind != "tangent":
                return self.of_tape(value)
            return self.entry("tangent_inputs" if value.timed else "tangent_parameters", value)

        around = self.around(given, self.before_the_first("tangent_state"))
        text = self.policy(stages(program), self.names, around, program.results, program.starts)
        tangents = [(str(value.name), text.result(value)) for value in program.results]
        return Procedure("jvp", tuple(text.statements), (("tangents", tuple(tangents)),))

    def hvp(self, forward: Program, second: Program) -> Procedure:
        """Tangents of the gradients: all four passes in one, each loop with its tangent."""

        def source(value: Value) -> Operand:
            if value.kind == "given":
                return self.entry("cotangents", value)
            holder = "tangent_" if value.kind == "tangent" else ""
            return self.entry(f"{holder}{'inputs' if value.timed else 'parameters'}", value)

        def start(value: Value) -> Operand | None:
            if "carry" in value.marks:
                return None
            return self.before_the_first("tangent_state" if value.kind == "tangent" else "state")(value)

        results = [value for value in second.results if "carry" not in value.marks]
        starts = (*forward.starts, *second.starts)
        equations = needed((*forward.equations, *second.equations), second.results, starts)
        defined = {equation.target for equation in equations}
        given = dict.fromkeys(value for value in (*forward.given, *second.given) if value.like(lag=0) not in defined)
        whole = Program("hvp", tuple(equations), tuple(given), second.results, starts)
        text = self.policy(stages(whole), self.names, self.around(source, start), results, starts)
        return Procedure("hvp", tuple(text.statements), self.gradients(text, "tangent"))

    def gradients(self, text: Textbook, *more: str) -> Results:
        """Gradients of parameters, inputs and initial states; more: marks behind those of a gradient."""

        def marked(value: Value, mark: str) -> Value:
            return value.like(marks=(*value.marks, mark, *more))

        tables = (("parameters", self.cell.parameters), ("inputs", self.cell.inputs))
        found = [(table, tuple((str(v.name), text.result(marked(v, "cotangent"))) for v in values)) for table, values in tables]
        states = [(str(v.name), text.handed_out(marked(v, "carry"), v.name not in self.cell.leftward)) for v in self.cell.states]
        return (*found, ("state", tuple(states)))

    def step_jacobian(self, program: Program) -> Procedure:
        """The tangent program for all steps at once, along every direction of the states before a step."""
        ways = by_way(self.cell)
        states = [state for way in ways for state in way]
        spans = spans_of(states)
        size = spans[-1][1] if spans else sp.S.Zero
        seeds = Array(self.names.new("seeds"), (SEEDS,), (size,))
        known = {seed_of(state): seed(seeds, state, *span) for state, span in zip(states, spans, strict=True)}
        stage = (Stage("steps", tuple(seeded(program, states))),)

        def source(value: Value) -> Operand:
            return known.get(value) or self.of_tape(value)

        make = Assign((seeds,), Call("eye", (), (SEEDS,), (size,)))
        results = moved(states)
        text = self.policy(stage, self.names, self.around(source), results)
        rows = [as_rows(text.outside(value), value) for value in results]
        is_read = any(value in known for one in stage[0].equations for value in one.reads())
        statements = (*([make] if is_read else []), *text.statements)
        found = []
        for way in ways:
            inside = [k for k, state in enumerate(states) if state in way]
            own = [along(rows[k], spans[inside[0]][0], spans[inside[-1]][1], size) for k in inside]
            width = spans[inside[-1]][1] - spans[inside[0]][0] if way else size
            found.append((str(way[0].name) if way else "", jacobian_of(own, width, way[0].axis if way else STEPS)))
        return Procedure("step_jacobian", statements, (("J", tuple(found)),), lengths=((SEEDS, size),))


# ---- step Jacobians


def by_way(cell: Cell) -> list[list[Value]]:
    """What a step reads of its neighbours, by the axis and the way in which the recurrences run: to the right, then to the left."""
    states, kinds = set(cell.states), [(axis, lag) for axis in cell.step_axes for lag in (-1, 1)]
    ways = [
        [value for value in cell.carried if (value.axis, value.lag) == kind and value.like(lag=0) in states] for kind in kinds
    ]
    return [way for way in ways if way] or [[]]


def along(rows: Operand, start: sp.Expr, stop: sp.Expr, size: sp.Expr) -> Operand:
    """How a state moves along some of the directions."""
    cut = Cut(start or None, None if stop == size else stop)
    return rows if cut == ALL else View(rows, (cut, *[ALL] * (len(rows.axes) + len(rows.dims) - 1)))


def spans_of(states: list[Value]) -> list[tuple[sp.Expr, sp.Expr]]:
    """(start, stop) of each state among all of them as one vector, row by row."""
    counts = [state.shape[0] * state.shape[1] for state in states]
    ends = [sp.Add(*counts[: k + 1]) for k in range(len(counts))]
    return list(zip([sp.S.Zero, *ends], ends, strict=False))


def seed_of(state: Value) -> Value:
    """The tangent of a state before the step: the same directions at every step."""
    return state.marked("tangent").like(axes=(SEEDS,))


def seed(seeds: Array, state: Value, start: sp.Expr, stop: sp.Expr) -> Operand:
    """The directions of one state."""
    if rank(state) == 0:
        return View(seeds, (ALL, At(start)))
    cut = View(seeds, (ALL, Cut(start or None, None if stop == seeds.dims[0] else stop)))
    part: Operand = seeds if cut.index == (ALL, ALL) else cut
    return Call("reshape", (part,), (SEEDS,), sizes(state)) if rank(state) == 2 else part


def jacobian_of(rows: list[Operand], size: sp.Expr, axis: str) -> Operand:
    """(T, B, S, S) from how each state moves along every direction, (S, T, B, n)."""
    along = (axis, EXAMPLES)
    if not rows:
        return Call("zeros", (), along, (size, size))
    whole = Call("concatenate", tuple(rows), rows[0].axes, (size,), (("along", -1),)) if len(rows) > 1 else rows[0]
    turned = Call("move", (whole,), along, (size, size), (("order", (1, 2, 3, 0)),))
    return Call("copy", (turned,), turned.axes, turned.dims)


def as_rows(operand: Operand, value: Value) -> Operand:
    """A state as a vector, row by row."""
    if is_vector(value):
        return operand
    return Call("reshape", (operand,), operand.axes, (value.shape[0] * value.shape[1],))


def seeded(program: Program, states: list[Value]) -> list[Equation]:
    """The equations of a tangent program of one step, with directions of the states before it only."""
    known: dict[Value, sp.MatrixExpr] = {state.marked("tangent"): seed_of(state) for state in states}
    equations: list[Equation] = []
    given, results = {*program.given, *program.carried()}, set(program.results)

    def of_seeds(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not isinstance(node, Value) or node in known:
            return known.get(node)
        return Zeros(*node.shape) if node in given and node.kind == "tangent" else None

    for equation in program.equations:
        new, target = equation.substituted(of_seeds).substituted(without_zeros), equation.target
        terms = tuple(term for term in new.terms if not isinstance(term.value, Zeros))
        if target not in results and isinstance(new.value, Stack) and any(isinstance(part, Zeros) for part in new.value.args):
            known[target] = new.value
            continue
        if target.timed and not target.has_steps and target not in results:
            known[target] = Zeros(*target.shape)
            continue
        if target in results or any(SEEDS in value.axes for value in new.reads()):
            known[target] = target = target.like(axes=(SEEDS, *target.axes))
        elif not terms:
            known[target] = Zeros(*target.shape)
            continue
        equations.append(replace(new, target=target, terms=terms))
    return needed(equations, moved(states))


def without_zeros(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """A [x; 0] as the columns of A that meet x, times x; None for what isn't that."""
    if not isinstance(node, Times) or len(node.args) != 2 or not isinstance(node.args[1], Stack):
        return None
    matrix, vector = node.args
    ends = list(accumulate((part.shape[0] for part in vector.args), initial=sp.S.Zero))
    spans = zip(vector.args, ends, ends[1:], strict=False)
    left = [(part, start, stop) for part, start, stop in spans if not isinstance(part, Zeros)]
    if len(left) == len(vector.args):
        return None
    return add(*[transpose(rows(transpose(matrix), start, stop)) @ part for part, start, stop in left])


def moved(states: list[Value]) -> list[Value]:
    """How the states after a step move along every direction."""
    return [state.marked("tangent").like(lag=0, axes=(SEEDS, *state.axes)) for state in states]
