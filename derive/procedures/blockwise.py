"""forward and backward of the fast policy: over blocks of steps, what needs no recurrence ahead of the loop or behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sympy as sp

from derive.blocks import Rows, Stack
from derive.equation import Equation
from derive.expressions import is_timed
from derive.language import Hadamard, Plus, Times, Transposed, Value, coefficient
from derive.procedures.equations import value_of
from derive.procedures.fast import COUNT, START, STOP, Fast
from derive.procedures.lowering import Lowering
from derive.procedures.names import Names
from derive.procedures.parts import Parts
from derive.procedures.procedure import (
    ALL,
    PIECE,
    Add,
    Array,
    Assign,
    At,
    Blocks,
    Call,
    Comment,
    Cut,
    Do,
    Entry,
    Number,
    Operand,
    Statement,
    View,
    is_fresh,
    part,
)
from derive.procedures.shaping import elementwise, filled, sizes, turned
from derive.procedures.sums import summed
from derive.procedures.textbook import Surroundings
from derive.procedures.written import Writer, copied
from derive.program import Program
from derive.recurrences import mirrored_value
from derive.schedule import handed_on_last, is_fat
from derive.shapes import STEPS, STEPS_AND_EXAMPLES

BLOCK = "m.block"
"""How many steps a block has."""


def steps(operand: Operand, start: sp.Expr | None, stop: sp.Expr | None) -> Operand:
    """Some steps of an array over steps."""
    return part(operand, (Cut(start, stop), *[ALL] * (len(operand.axes) + len(operand.dims) - 1)))


class Forward(Fast):
    """Blocks of steps where something is computed for many steps at once: that, then the recurrence."""

    in_block = False
    """Whether the steps at hand are those of a block, start to stop, or all."""

    @property
    def is_blockwise(self) -> bool:
        before = self.program.at("before")
        is_joining = all(isinstance(one.value, Stack) and one.target in self.plan.keep for one in before)
        return bool(before) and not (is_joining and not self.program.at("step"))

    @property
    def is_by_blocks(self) -> bool:
        return self.in_block

    def from_outside(self, value: Value) -> Operand:
        if value not in self.outside:
            source = self.around.given(value)
            name = f"{self.names.of(value)}_all"
            self.outside[value] = source if isinstance(source, Array) else Array(name, source.axes, source.dims)
        array = self.outside[value]
        return steps(array, START, STOP) if self.in_block else array

    def steps_of(self, root: Value, lag: int) -> Operand:
        if self.in_block and self.is_passing(root):
            return steps(self.sequence(root), None, COUNT)
        whole = self.at_all_steps(root, lag)
        return steps(whole, START, STOP) if self.in_block else whole

    def first_states(self) -> list[Statement]:
        """The initial value of each state in front of its array."""
        found: list[Statement] = []
        for state in self.plan.states:
            first = self.around.start(state)
            assert first is not None
            place = View(self.sequence(state), (At(sp.S.Zero), *[ALL] * (len(first.axes) + len(first.dims))))
            found.append(Assign((place,), first))
        return found

    def everything(self) -> list[Statement]:
        """All statements up to the outputs."""
        once, starts = self.once(), self.first_states()
        self.in_block = self.is_blockwise
        before = [statement for equation in self.program.at("before") for statement in self.over_steps(equation)]
        main = [*before, *self.loop(Cut(START, STOP) if self.in_block else ALL)]
        main += [statement for equation in self.program.at("after") for statement in self.over_steps(equation)]
        self.in_block = False
        if self.is_blockwise:
            main = [Blocks(STEPS, BLOCK, START, STOP, COUNT, tuple(main))]
        found = [(array, self.around.given(value)) for value, array in self.outside.items()]
        given: list[Statement] = [Assign((array,), source) for array, source in found if source != array]
        return [*self.plain_parameters(), *given, *once, *starts, *self.invariant(), *main]

    def handed(self, value: Value) -> Operand:
        """A value over all steps, or as seen from each of them, for another part of the function."""
        return self.seen(self.at_hand(mirrored_value(value) if self.against else value))

    def output(self, value: Value, tape: Collection[Value]) -> tuple[list[Statement], Operand]:
        """(a copy where it takes one, the array) of an output: it shares no memory with the tape."""
        root = self.plan.root(value)
        shared = any(one in tape or one in self.plan.states for one in self.plan.members[root])
        if self.key(value).is_whole and not shared and not self.against:
            return [], self.at_hand(value)
        out = self.allocated(self.names.made(f"{self.names.of(value)}_out"), value.axes, sizes(value))
        return [copied(self.seen(self.at_hand(value)), out)], out

    def taped(self, value: Value) -> Operand:
        """A value as the tape keeps it: states with the initial one in front."""
        if not value.timed:
            return self.read_once(value)
        return self.seen(self.sequence(value) if value in self.plan.states else self.at_hand(value))


class ForwardOverMargins(Forward):
    """The same over arrays that have what stands in front of the first step, or behind the last one, as a state has its initial value."""

    def from_outside(self, value: Value) -> Operand:
        whole = value.here
        source = self.around.given(whole)
        front, behind = getattr(source, "front", 0), getattr(source, "behind", 0)
        array = (
            source if isinstance(source, Array) else Array(self.names.sequence(whole), source.axes, source.dims, front, behind)
        )
        self.outside[whole] = array
        start, stop = front + value.lag, value.lag - behind
        if self.in_block:
            return steps(array, START + start, STOP + start)
        return steps(array, sp.Integer(start) if start else None, stop or None) if front or behind else array


def in_turn(program: Program) -> tuple[Program, list[Value]]:
    """(the program with what hands on a value behind what reads the one handed on before, as one memory serves both; the values that hand
    on to each other, which take two)."""
    step = program.at("step")
    ordered, crossed = handed_on_last(step, [written for _, written in program.carries])
    if ordered == step:
        return program, crossed
    return program.with_equations([*program.at("once", "before"), *ordered, *program.at("after", "finish")]), crossed


class Backward(Fast):
    """Blocks of steps, the last first: coefficients of the block, the recurrence, what only accumulates."""

    backwards = True
    is_beside_all = False
    """Whether `..._all` is over all steps in this function, so that what is over those of a block is `..._block`."""

    def __init__(
        self, program: Program, names: Names, around: Surroundings, keep: Iterable[Value], behind: Fast | None = None
    ) -> None:
        ordered, crossed = in_turn(program)
        super().__init__(ordered, names, around, keep, PIECE, behind=behind)
        self.crossed = crossed
        self.results = set(program.results)
        self.flats: dict[Operand, Array] = {}
        self.cotangents: dict[Value, Array] = {}
        self.totals: dict[Value, Entry] = {}

    def steps_of(self, root: Value, lag: int) -> Operand:
        return steps(self.sequence(root), None, COUNT)

    def from_outside(self, value: Value) -> Operand:
        source = self.around.given(value.here)
        name = self.over_time(self.names.of(value))
        if value.kind == "given" and not is_fat(value):
            self.cotangents[value] = source if isinstance(source, Array) else Array(name, source.axes, source.dims)
            return steps(self.allocated(name, (PIECE, *source.axes[1:]), source.dims), None, COUNT)
        name = self.names.of(value)
        is_told_apart = self.against or self.is_beside_all
        name = self.names.made(f"{name}_block") if is_told_apart else f"{name}_all"
        array = self.outside[value] = Array(name, source.axes, source.dims)
        return array

    def walked(self, value: Value) -> Operand:
        """A cotangent is read from an array of ours, so that its views are there for every step; one that is a matrix as it lies."""
        if value.kind != "given" or is_fat(value):
            return super().walked(value)
        view = self.from_outside(value)
        assert isinstance(view, View)
        array = Array(self.names.of(value), tuple(axis for axis in view.axes if axis != STEPS), view.dims)
        self.views[PIECE][array] = view.of
        return array

    # ---- what only accumulates

    def total(self, equation: Equation) -> list[Statement]:
        """Add what a block contributes to a sum over steps."""
        target = equation.target
        entry = self.totals[target] = self.allocated(self.names.of(target), (), sizes(target))
        value = equation.value
        terms = value.args if isinstance(value, Plus) else [value]
        return [statement for term in terms for statement in self.added(entry, self.contribution(term))]

    def summed_in_loop(self, target: Value) -> None:
        self.totals[target] = self.buffer(target)

    def added(self, total: Entry, operand: Operand) -> list[Statement]:
        """total += operand: a matrix product by way of memory that is there, which a new array of its size would have to get first."""
        if not isinstance(operand, Call) or operand.operation != "matmul" or len(operand.dims) < 2:
            return [Add(total, operand)]
        buffer = self.borrow((), operand.dims)
        self.release()
        return [Do(operand.into(buffer)), Add(total, buffer)]

    def contribution(self, term: sp.MatrixExpr) -> Operand:
        """The sum of a term over the steps of a block and all examples."""
        number, rest = coefficient(term)
        found = self.outer(rest) or self.plain_total(rest) or summed(rest, STEPS_AND_EXAMPLES, Parts(self.at_hand))
        return found if number == 1 else elementwise("multiply", Number(number), found)

    def outer(self, node: sp.MatrixExpr) -> Operand | None:
        """Σ u vᵀ, Σ A u vᵀ as one product of all steps and examples; None where it is something else."""
        if not isinstance(node, Times) or not isinstance(node.args[-1], Transposed):
            return None
        *left, right = node.args
        right = right.args[0]
        moving, still = left[-1], left[:-1]
        if not (self.is_leaf(right) and self.is_leaf(moving) and len(still) < 2 and not any(map(is_timed, still))):
            return None
        u, v = self.flattened(moving), self.flattened(right)
        columns = Call("transpose", (u,), (), (*u.dims, sp.S.One))
        if still:
            front = Lowering(self.at_hand)(still[0])
            columns = Call("matmul", (front, columns), (), (still[0].shape[0], sp.S.One))
        return Call("matmul", (columns, v), (), (node.shape[0], node.shape[1]))

    def plain_total(self, node: sp.MatrixExpr) -> Operand | None:
        """Σ v, Σ u ∘ v as one call; None where it is something else."""
        if self.is_leaf(node) and node.shape[0] != 1:
            flat = self.flattened(node)
            ones = Call("full", (Number(sp.S.One),), flat.axes, ())
            return Call("matmul", (ones, flat), (), sizes(node))
        if isinstance(node, Hadamard) and len(node.args) == 2 and all(self.is_leaf(part) for part in node.args):
            left, right = (self.at_hand(part) for part in node.args)
            if left.dims == right.dims and len(left.dims) == 1:
                return Call("inner", (left, right), (), sizes(node))
        return None

    @staticmethod
    def is_leaf(node: sp.MatrixExpr) -> bool:
        """Whether an expression is a vector of each step, or rows of one, that lies somewhere."""
        is_value = isinstance(node, Value) or (isinstance(node, Rows) and isinstance(node.args[0], Value))
        return is_value and is_timed(node) and node.shape[1] == 1 and node.shape[0] != 1

    def flattened(self, node: sp.MatrixExpr) -> Operand:
        """A vector of all steps and examples at hand, one a row."""
        operand = self.at_hand(node)
        inner, columns = operand, ALL
        if isinstance(operand, View) and isinstance(operand.index[-1], Cut):
            inner, columns = part(operand.of, (*operand.index[:-1], ALL)), operand.index[-1]
        if inner not in self.flats:
            self.flats[inner] = Array(self.names.made(f"{self.flat_name(node, inner)}_flat"), (f"{STEPS}*B",), inner.dims)
        flat = self.flats[inner]
        return part(flat, (ALL, columns))

    def flat_name(self, node: sp.MatrixExpr, inner: Operand) -> str:
        value = node.args[0] if isinstance(node, Rows) else node
        if value.here not in self.plan.homes:
            return self.names.of(value)
        key = self.key(node)
        return self.array_name(key.root) if self.plan.sizes.get(key.root) is None else self.name_of(key)

    def gradient(self, equation: Equation) -> list[Statement]:
        """A gradient for every step of the block."""
        target, value = equation.target, equation.value
        out = steps(self.result(target), START, STOP)
        is_product = (
            isinstance(value, Times) and coefficient(value)[0] == 1 and len(value.args) == 2 and not is_timed(value.args[0])
        )
        if is_product and self.is_leaf(value.args[1]) and value.args[0].shape[1] != 1 and value.shape[0] != 1:
            matrix = turned(Lowering(self.at_hand)(value.args[0]))
            return [Do(Call("matmul", (self.flattened(value.args[1]), matrix), (), (), out=self.flat(out)))]
        if not equation.terms:
            return [copied(Number(sp.S.Zero), out)]
        found = value_of(equation, Parts(self.at_hand))
        if not isinstance(value, Plus):
            return [copied(found, out)]
        writer = Writer(self.borrow_for, lambda number: number, self.product)
        writer.write(found, out)
        self.release()
        return writer.statements

    def result(self, value: Value) -> Entry:
        """The array of a gradient at all steps."""
        name = f"{self.names.of(value)}_out"
        return self.allocated(self.names.made(f"{name}_reversed" if self.against else name), value.axes, sizes(value))

    # ---- all of it

    def everything(self) -> list[Statement]:
        """All statements up to the gradients."""
        once = self.once()
        before = [statement for equation in self.program.at("before") for statement in self.over_steps(equation)]
        loop = self.loop()
        between: list[Statement] = []
        after: list[Statement] = []
        for equation in self.program.at("after"):
            if equation.accumulate:
                after += [Comment(self.around.comment(equation)), *self.total(equation)]
            elif equation.target in self.results and equation.target not in self.program.readers:
                after += [Comment(self.around.comment(equation)), *self.gradient(equation)]
            else:
                between += self.over_steps(equation)
        after += self.kept_results()
        flats: list[Statement] = [
            Assign((flat,), Call("reshape", (inner,), flat.axes, flat.dims)) for inner, flat in self.flats.items()
        ]
        block = [*self.at_block(), *before, *loop, *between, *flats, *after]
        whole: list[Statement] = [Blocks(STEPS, BLOCK, START, STOP, COUNT, tuple(block), backwards=True)]
        zeros = [copied(Number(sp.S.Zero), entry) for entry in (*self.carry_buffers(), *self.totals.values())]
        return [*self.plain_parameters(), *self.given_cotangents(), *once, *zeros, *self.invariant(), *whole, *self.finish()]

    def carry_buffers(self) -> list[Entry]:
        return [self.buffer(written) for _, written in self.program.carries]

    def given_cotangents(self) -> list[Statement]:
        found = [(array, self.around.given(value)) for value, array in self.cotangents.items()]
        return [Assign((array,), source) for array, source in found if source != array]

    def at_block(self) -> list[Statement]:
        """The tape over the steps of a block, and the cotangents copied."""
        found: list[Statement] = []
        for value, array in self.outside.items():
            source = self.around.given(value.here)
            shift = getattr(source, "front", 0) + value.lag
            found.append(Assign((array,), steps(source, START + shift, STOP + shift)))
        for value, array in self.cotangents.items():
            entry = self.allocated(self.over_time(self.names.of(value)), (PIECE, *array.axes[1:]), array.dims)
            found.append(copied(steps(array, START, STOP), steps(entry, None, COUNT)))
        return found

    def kept_results(self) -> list[Statement]:
        """Gradients that are there before the loop, or that it makes, copied out."""
        found: list[Statement] = []
        last = [equation for equation in self.program.at("after") if equation.target in self.program.readers]
        for equation in (*self.program.at("before", "step"), *last):
            target = equation.target
            if target in self.results and "carry" not in target.marks and target.timed:
                out = steps(self.result(target), START, STOP)
                found.append(copied(self.at_hand(target), out))
        return found

    def finish(self) -> list[Statement]:
        """Equations at the end that aren't mere rows of a total: those are written where they are returned."""
        found: list[Statement] = []
        for equation in self.program.at("finish"):
            if not self.is_rows(equation):
                target = Array(self.names.of(equation.target), (), sizes(equation.target))
                value = filled(value_of(equation, Parts(self.final)), (), target.dims)
                # one element seen many times is no array of the caller's
                if equation.target in self.results and not is_fresh(value):
                    value = Call("copy", (value,), value.axes, value.dims)
                found += [Comment(self.around.comment(equation)), Assign((target,), value)]
        return found

    @staticmethod
    def is_rows(equation: Equation) -> bool:
        value = equation.value
        return bool(equation.terms) and isinstance(value, Rows) and isinstance(value.args[0], Value)

    def final(self, node: sp.MatrixExpr) -> Operand:
        """A value at the end: a total, a parameter, or what was made of such."""
        value = node.args[0] if isinstance(node, Rows) else node
        defined = self.plan.defined.get(value)
        if value in self.totals:
            return self.cut(self.totals[value], node)
        if defined is not None and self.program.place(defined) == "finish" and self.is_rows(defined):
            return self.cut(self.final(defined.value), node)
        return self.cut(self.read_once(value), node)

    def gradient_of(self, value: Value) -> Operand:
        """A result as it is returned."""
        if "carry" in value.marks:
            buffer = self.buffer(value)
            return Call("copy", (buffer,), buffer.axes, buffer.dims)
        if value.timed:
            return self.seen(self.result(value))
        found = self.final(value)
        return Call("array", (found,)) if not (found.axes or found.dims or isinstance(found, Entry)) else found
