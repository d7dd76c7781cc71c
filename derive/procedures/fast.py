"""The fast way from a program to statements: arrays and the views of each step made once, every call into memory that is there.

What needs no recurrence is computed for blocks of steps, in front of the loop or behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.equation import Equation
from derive.language import Value
from derive.procedures.equations import right_side, value_of
from derive.procedures.gates import blockwise
from derive.procedures.lowering import Lowering
from derive.procedures.names import Names
from derive.procedures.parts import Parts, parts_in
from derive.procedures.places import WHOLE, Places, base_of, in_blocks, of_rows
from derive.procedures.procedure import (
    ALL,
    PIECE,
    Array,
    Assign,
    Call,
    Comment,
    Cut,
    Do,
    Loop,
    Number,
    Operand,
    Position,
    Statement,
    View,
    Walk,
)
from derive.procedures.shaping import sizes
from derive.procedures.textbook import Surroundings
from derive.procedures.written import Writer, array_of, copied, leaves
from derive.program import Program
from derive.shapes import STEPS, STEPS_AND_EXAMPLES

START, STOP, COUNT = Position("start"), Position("stop"), Position("n")
NUMBERS = {sp.S.One: "one", sp.Rational(1, 2): "half", sp.Integer(2): "two"}


class Fast(Places):
    """The statements of one function.

    around: what is there already. behind: the part of the function that stands in front of this one, whose memory is there.
    """

    backwards = False

    def __init__(
        self,
        program: Program,
        names: Names,
        around: Surroundings,
        keep: Iterable[Value],
        length: str,
        shifted: Iterable[Value] = (),
        behind: Fast | None = None,
    ) -> None:
        super().__init__(program, names, keep, length, shifted, behind)
        self.around = around
        self.nth: int = behind.nth + 1 if behind else 1
        self.fixed: dict[Array, Operand] = {}
        """Names that the loop reads and that are the same at every step."""
        self.by_operand: dict[Operand, Array] = {}
        self.numbers: dict[Number, Array] = {}
        self.views: dict[str, dict[Array, Operand]] = {PIECE: {}, WHOLE: {}}
        """Names that are views of an array at each step, by what the array holds."""
        self.along: dict[Array, Operand] = {}
        self.scattered: set[Operand] = set()
        self.outside: dict[Value, Array] = {}
        """Arrays of the caller, or of the tape, over the steps at hand."""
        self.crossed: list[Value] = []
        """What is handed on and can't be written yet where it is computed."""
        self.by, self.rows = 0, sp.S.Zero
        """How many blocks the equation at hand, of so many rows, is computed in; 0 for none."""

    # ---- parameters, and what is made of them

    def given(self, value: Value) -> Operand:
        """A value that no equation defines, and that is the same at all steps."""
        return self.around.given(value)

    def read_once(self, value: Value) -> Operand:
        """A value of no step: of the caller, or made of such."""
        if value in self.plan.defined:
            return Array(self.names.of(value), (), sizes(value))
        return self.given(value)

    def once(self) -> list[Statement]:
        """The equations over parameters: stacks are filled part by part."""
        equations = self.program.at("once")
        readers = self.program.readers
        inside = {
            e.target: e
            for e in equations
            if e.target not in self.plan.keep
            and len(readers.get(e.target, ())) == 1
            and isinstance(readers[e.target][0].value, Stack)
            and readers[e.target][0] in equations
            and not isinstance(e.value, Stack)
        }
        found: list[Statement] = []
        for equation in equations:
            if equation.target not in inside:
                found += [Comment(self.around.comment(equation)), *self.made_once(equation, inside)]
        return found

    def made_once(self, equation: Equation, inside: dict[Value, Equation]) -> list[Statement]:
        target = Array(self.names.of(equation.target), (), sizes(equation.target))
        lower = Lowering(self.read_once)
        if not isinstance(equation.value, Stack):
            return [Assign((target,), right_side(equation, lower))]
        found: list[Statement] = [Assign((target,), self.allocated(target.name, (), target.dims))]
        start: sp.Expr = sp.S.Zero
        for part in equation.value.args:
            made = inside[part].value if part in inside else part
            index = of_rows(start, part.shape[0], equation.target.shape[0])
            rows = View(target, (index, *[ALL] * (len(target.dims) - 1)))
            writer = Writer(self.borrow_for, lambda number: number, self.product)
            writer.write(lower(made), rows)
            found += writer.statements
            start = sp.expand(start + part.shape[0])
        self.release()
        return found

    def plain_parameters(self) -> list[Statement]:
        """Names for what the caller gives and more than the equations over parameters read."""
        reads = {v: None for e in self.program.equations if self.program.place(e) not in ("once", "finish") for v in e.reads()}
        found = [v for v in self.program.given if not v.timed and v in reads and v not in self.plan.defined]
        named = [(Array(self.names.of(value), (), sizes(value)), self.given(value)) for value in found]
        return [Assign((array,), operand) for array, operand in named if operand != array]

    # ---- memory

    @property
    def is_by_blocks(self) -> bool:
        """Whether what is computed for many steps at once is so for those of a block."""
        return self.length == PIECE

    def borrow_for(self, operand: Operand) -> Operand:
        """Operand for an operand, until the end of an equation."""
        if STEPS in operand.axes and self.is_by_blocks:
            whole = self.borrow((PIECE, *operand.axes[1:]), operand.dims)
            return View(whole, (Cut(None, COUNT), *[ALL] * (len(whole.axes) + len(whole.dims) - 1)))
        buffer = self.borrow(operand.axes, operand.dims)
        local = Array(buffer.name, buffer.axes, buffer.dims)
        self.fixed[local] = buffer
        return local

    def number(self, number: Number) -> Operand:
        """A number in a loop: an array of the dtype, which needn't be converted at each step."""
        if number not in self.numbers:
            name = NUMBERS.get(number.value, f"number_{len(self.numbers) + 1}")
            self.numbers[number] = Array(self.names.made(name))
        return self.numbers[number]

    def product(self, call: Call, out: Operand) -> Statement:
        """A matrix product: of all steps and examples at once, or of one step, where `dot` begins sooner than `matmul`."""
        left, right = call.arguments
        plain = len(left.axes) + len(left.dims) == 2 and len(right.axes) + len(right.dims) == 2
        if plain and out.axes == call.axes and self.is_one_piece(out):
            return Do(Call("dot", call.arguments, call.axes, call.dims, out=out))
        if left.axes == STEPS_AND_EXAMPLES and not right.axes and len(right.dims) == 2 and self.is_one_piece(out):
            return Do(Call("matmul", (self.flat(left), right), (), (), out=self.flat(out)))
        return Do(call.into(out))

    def is_one_piece(self, out: Operand) -> bool:
        """Whether memory is contiguous, but for its steps."""
        if isinstance(out, Call):
            return False
        if isinstance(out, View):
            return all(one == ALL for one in out.index[1:]) and isinstance(out.index[0], Cut)
        return out not in self.scattered

    @staticmethod
    def flat(operand: Operand) -> Operand:
        """Steps and examples as the rows of one matrix, those of a number as one vector."""
        return Call("reshape", (operand,), (f"{STEPS}*B",), operand.dims)

    # ---- a value inside the loop

    def in_step(self, node: sp.MatrixExpr) -> Operand:
        """A value at this step, or rows of one, in the blocks of the equation at hand if it has any."""
        value, _ = base_of(node)
        by = self.by if self.by and node.shape == (self.rows, 1) else 0
        if not value.timed:
            return self.constant(node, by)
        if "carry" in value.marks:
            handed = self.fixed_buffer(value.here) if value.lag or value not in self.crossed else self.handed_next(value)
            return self.split(self.cut(handed, node), node, by)
        if value.here in self.plan.homes:
            return self.made(node, by)
        return self.split(self.cut(self.walked(value), node), node, by)

    def constant(self, node: sp.MatrixExpr, by: int) -> Operand:
        """A parameter, or what is made of such."""
        value, _ = base_of(node)
        operand = self.cut(Array(self.names.of(value), (), sizes(value)), node)
        return self.named(f"{self.names.of(value)}_by_{by}", in_blocks(operand, by, node.shape[0])) if by else operand

    def fixed_buffer(self, value: Value) -> Operand:
        buffer = self.buffer(value)
        local = Array(self.names.of(value), buffer.axes, buffer.dims)
        self.fixed[local] = buffer
        return local

    def handed_next(self, value: Value) -> Operand:
        """Where a value waits that is handed on, while the one handed on before is still read."""
        buffer = self.allocated(f"{self.names.made(self.names.of(value))}_next", *self.layout(value))
        return self.named(buffer.name, buffer)

    def named(self, wanted: str, operand: Operand) -> Array:
        """A name for something made before the loop: the same for the same."""
        if operand in self.by_operand:
            return self.by_operand[operand]
        taken = {array.name for array in self.by_operand.values()}
        names = (self.names.made(f"{wanted}_{k}" if k > 1 else wanted) for k in count(1))
        name = next(one for one in names if one not in taken)
        array = self.by_operand[operand] = Array(name, operand.axes, operand.dims)
        self.fixed[array] = operand
        return array

    def made(self, node: sp.MatrixExpr, by: int) -> Operand:
        """A value that the program computes."""
        value, _ = base_of(node)
        current = node if not value.lag else node.xreplace({value: value.here})
        key = self.key(current)
        by = by if self.plan.sizes.get(key.root) is None else 0
        name = self.name_of(key) if not value.lag else self.names.of(value) if node == value else f"{self.names.of(value)}_part"
        name = self.names.made(f"{name}_by_{by}") if by else name
        if key.root in self.plan.sequences:
            source = self.rows_of(self.at_all_steps(key.root, value.lag), key)
            source = in_blocks(source, by, key.rows) if by else source
            array = Array(name, tuple(axis for axis in source.axes if axis != STEPS), source.dims)
            self.views[PIECE if self.is_passing(key.root) else WHOLE][array] = source
        else:
            source = self.rows_of(self.buffer(key.root), key)
            source = in_blocks(source, by, key.rows) if by else source
            array = Array(name, source.axes, source.dims)
            self.fixed[array] = source
        if not key.is_whole and self.plan.sizes.get(key.root) is None:
            self.scattered.add(array)
        return array

    def at_all_steps(self, root: Value, lag: int) -> Operand:
        """The array of a root over its steps, as seen from each of them."""
        array = self.sequence(root)
        if not array.front:
            return array
        cut = Cut(1 + lag or None, lag or None)
        return View(array, (cut, *[ALL] * (len(array.axes) + len(array.dims) - 1)))

    def walked(self, value: Value) -> Operand:
        """A value of the caller, or of the tape, that the loop takes step by step."""
        source = self.at_hand(value)
        array = Array(self.names.of(value), tuple(axis for axis in source.axes if axis != STEPS), source.dims)
        self.along[array] = source
        return array

    # ---- the loop

    def by_blocks(self, equation: Equation) -> int:
        """How many blocks an equation of the loop is computed in: those of the stack that it reads or writes, or of [v; v; ...]."""
        value, rows = equation.value, equation.target.shape[0]
        nodes = [equation.target, *parts_in(value)]
        counts = {
            self.blocks_of(self.key(node))
            for node in nodes
            if not isinstance(node, Repeat) and node.shape == equation.target.shape and base_of(node)[0] in self.plan.homes
        }
        counts |= {int(node.args[1]) for node in nodes if isinstance(node, Repeat)}
        blocks = max(counts, default=1)
        return blocks if blocks > 1 and blockwise(value, rows, rows / blocks) else 0

    def body(self) -> list[Statement]:
        """The body of the loop."""
        found = [statement for equation in self.program.at("step") for statement in self.in_loop(equation)]
        return [*found, *[copied(self.handed_next(value), self.fixed_buffer(value)) for value in self.crossed]]

    def in_loop(self, equation: Equation) -> list[Statement]:
        target, value = equation.target, equation.value
        comment = Comment(self.around.comment(equation))
        if self.is_alias(equation):
            return [comment]
        writer = Writer(self.borrow_for, self.number, self.product)
        if equation.accumulate:
            operand = value_of(equation, Parts(self.in_step, (STEPS,)))
            total = self.fixed_buffer(target)
            writer.write(operand, found := writer.borrow(operand))
            writer.statements.append(Do(Call("add", (total, found), total.axes, total.dims, out=total)))
            self.summed_in_loop(target)
        elif isinstance(value, Stack):
            for rows, part in self.elsewhere(equation):
                writer.write(Parts(self.in_step, (STEPS,))(part), self.in_step(rows))
        else:
            self.by, self.rows = self.by_blocks(equation), target.shape[0]
            lower = Parts(self.in_step, (STEPS,))
            lower.in_blocks = self.by > 0
            out = self.in_step(target)
            operand = value_of(equation, lower)
            before = any(value.lag and value.here == target for value in equation.reads())
            shared = [leaf for leaf in leaves(operand) if array_of(leaf) == array_of(out)]
            if before and shared and shared != [out]:  # what was handed on is read more than once, or in parts
                writer.write(operand, whole := writer.borrow(operand))
                writer.statements.append(copied(whole, out))
            else:
                writer.write(operand, out, out if (before or self.is_consuming(equation)) and out in leaves(operand) else None)
            self.by = 0
        self.release()
        return [comment, *writer.statements]

    def summed_in_loop(self, target: Value) -> None:
        """Take note of a total that the loop adds to."""
        raise NotImplementedError

    def is_alias(self, equation: Equation) -> bool:
        """Whether a target is rows of another value, and lies there."""
        value, target = equation.value, equation.target
        base = base_of(value)[0] if isinstance(value, Rows) else None
        inside = isinstance(base, Value) and base in self.plan.homes and target in self.plan.homes and "carry" not in target.marks
        return inside and self.key(value) == self.key(target)

    def is_consuming(self, equation: Equation) -> bool:
        """Whether a target takes over the memory of a value that it is computed from."""
        return equation.target in self.plan.homes and self.plan.homes[equation.target].root != equation.target

    def elsewhere(self, equation: Equation) -> list[tuple[Rows, sp.MatrixExpr]]:
        """(the rows of the stack, the part that belongs there) for the parts that don't lie there already."""
        start: sp.Expr = sp.S.Zero
        found = []
        for part in equation.value.args:
            target = Rows(equation.target, start, start + part.shape[0])
            if not (isinstance(part, Value) and part in self.plan.homes and not part.lag and self.key(part) == self.key(target)):
                found.append((target, part))
            start = start + part.shape[0]
        return found

    def loop(self, part: Cut = ALL) -> list[Statement]:
        """What stands in front of the loop, then the loop. part: the steps of the arrays over all steps that it takes."""
        body = self.body()
        if not body:
            return []
        number = f"_{self.nth}" if self.nth > 1 else ""
        first = "steps" if self.length == PIECE else "ahead"
        pieces = ((PIECE, first + number, Cut(None, COUNT)), (WHOLE, f"steps{number}", part))
        walks = tuple((Walk(name, tuple(self.views[of].items()), of), cut) for of, name, cut in pieces if self.views[of])
        loop = Loop(Position("t"), STEPS, tuple(body), backwards=self.backwards, walks=walks, along=tuple(self.along.items()))
        return [loop]

    def invariant(self) -> list[Statement]:
        """Names that the loop reads and that are the same at every step."""
        numbers = [Assign((array,), Call("array", (number,))) for number, array in self.numbers.items()]
        return [*numbers, *[Assign((array,), operand) for array, operand in self.fixed.items()]]

    # ---- outside of the loop: all steps at hand at once

    def at_hand(self, node: sp.MatrixExpr) -> Operand:
        """A value, or rows of one, over the steps at hand; a parameter as it is."""
        value, _ = base_of(node)
        if not value.timed:
            return self.cut(Array(self.names.of(value), (), sizes(value)), node)
        current = value.here
        if current not in self.plan.homes:
            return self.cut(self.from_outside(value), node)
        key = self.key(node.xreplace({value: current}) if value.lag else node)
        return self.rows_of(self.steps_of(key.root, value.lag), key)

    def from_outside(self, value: Value) -> Operand:
        """The array of a value that no equation defines, over the steps at hand."""
        raise NotImplementedError

    def steps_of(self, root: Value, lag: int) -> Operand:
        """The array of a root over the steps at hand."""
        raise NotImplementedError

    def over_steps(self, equation: Equation) -> list[Statement]:
        """One equation for all steps at hand."""
        comment = Comment(self.around.comment(equation))
        if self.is_alias(equation):
            return [comment]
        writer = Writer(self.borrow_for, lambda number: number, self.product)
        lower = Parts(self.at_hand)
        if isinstance(equation.value, Stack):
            for rows, part in self.elsewhere(equation):
                writer.write(lower(part), self.at_hand(rows))
        else:
            writer.write(value_of(equation, lower), self.at_hand(equation.target))
        self.release()
        return [comment, *writer.statements]
