"""Functions by the textbook's policy whose plain recurrences are the fast policy's.

A network of sums over time, starts, ends, tokens and several axes is computed statement by statement for all steps at once, as the
textbook does; a recurrence along T among it, of vectors and numbers, from states that the caller gives, is a loop of the fast policy: its
coefficients over blocks of steps ahead of it, every call of a step into memory that is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from derive.along import binds
from derive.cost import Placed
from derive.equation import Equation
from derive.expressions import values_in
from derive.language import Value
from derive.onehot import columns_in
from derive.passes import Pass, run
from derive.passes.hoist import hoist
from derive.procedures.blockwise import Backward, Forward, ForwardOverMargins
from derive.procedures.fast_kernel import buffers_of, margins, once_each
from derive.procedures.kernel import Kernel
from derive.procedures.names import Names
from derive.procedures.places import WHOLE
from derive.procedures.procedure import Array, Assign, Operand, Procedure
from derive.procedures.reversed_steps import text_of
from derive.procedures.stages import stages
from derive.procedures.textbook import Surroundings, Textbook
from derive.program import Program
from derive.recurrences import EARLIER, LATER, mirrored, runs
from derive.schedule import LOOPS, Stage, is_fat
from derive.shapes import STEPS, STEPS_AND_EXAMPLES


class FastLoops(Textbook):
    """The statements of one function, fast loops among them.

    forward: the cell's forward program. reverse: whether they compute gradients. passes: over the program of each fast loop.
    """

    def __init__(
        self,
        program: Program,
        names: Names,
        around: Surroundings,
        keep: Iterable[Value],
        forward: Program,
        reverse: bool,
        passes: Sequence[Pass],
    ) -> None:
        self.forward, self.reverse, self.passes = forward, reverse, passes
        self.last: Forward | Backward | None = None
        self.is_blockwise = False
        program = hoist(program, forward) if hoist in passes else program
        self.program = program
        self.computed: list[Placed] = []
        """The equations that the statements compute, each with its place."""
        whole = stages(program, fused=False)
        self.taken = [equation.target for stage in whole for equation in stage.equations]
        self.wanted = {*keep, *[value.like(lag=0) for stage in whole for value in read_of_others(stage)]}
        super().__init__(whole, names, around, keep, program.starts)

    def add_stage(self, stage: Stage) -> None:
        if stage.way in LOOPS and self.is_plain(stage):
            self.add_fast_loop(stage)
            return
        super().add_stage(stage)
        self.computed += [(one, "step" if stage.way in LOOPS else self.program.place(one)) for one in stage.equations]

    def is_plain(self, stage: Stage) -> bool:
        """Whether the fast policy knows all of a loop: vectors and numbers of each step along T, from states of the caller."""
        targets = {equation.target for equation in stage.equations}
        carried = {
            value.like(lag=0) for one in stage.equations for value in one.reads() if value.lag and value.like(lag=0) in targets
        }
        ahead = 1 if stage.way == "backwards" else -1
        if stage.axis != STEPS or not all(map(is_plain_equation, stage.equations)):
            return False
        for value in targets:
            if value in self.starts or (value in carried and not self.is_started(value)):
                return False
            if self.lags[value] - ({0, ahead} if value in carried else {0}):
                return False
        return not (self.reverse and carried & self.wanted)

    def is_started(self, value: Value) -> bool:
        """Whether what a recurrence hands on starts with what the caller gives, or with no gradient."""
        return self.reverse or self.around.start(value) is not None

    def add_fast_loop(self, stage: Stage) -> None:
        targets = {equation.target for equation in stage.equations}
        results = tuple(one.target for one in stage.equations if one.target in self.wanted)
        read = [value for one in stage.equations for value in one.reads() if value.like(lag=0) not in targets]
        given = tuple(dict.fromkeys([*read, *[value for value in self.taken if value not in targets]]))
        program = Program("loop", (), given, results).with_equations(stage.equations)
        against = runs(program, EARLIER if self.reverse else LATER)
        if against:
            program = mirrored(run(self.passes, mirrored(program), self.forward))
        else:
            program = run(self.passes, program, self.forward)
        self.taken += [target for target in program.defined() if target not in targets]
        self.computed += [(one, program.place(one)) for one in program.equations]
        inside = Surroundings(self.seen_from_inside, self.around.start, self.around.comment)
        text, statements = text_of(self.text_of_loop, program, self.names, inside, against)
        self.last = text
        self.is_blockwise = self.is_blockwise or isinstance(text, Backward) or text.is_blockwise
        self.statements += statements
        for value in results:
            operand = text.gradient_of(value) if isinstance(text, Backward) else text.taped(value)
            array = Array(self.names.sequence(value), operand.axes, operand.dims, *margins(operand))
            self.arrays[value] = array
            self.statements.append(Assign((array,), operand))
        if isinstance(text, Backward):
            for _, written in text.program.carries:
                self.statements.append(Assign((self.local(written, STEPS),), text.buffer(written)))

    def text_of_loop(self, part: Program, around: Surroundings) -> Forward | Backward:
        results = part.results
        if self.reverse:
            assert self.last is None or isinstance(self.last, Backward)
            text = Backward(part, self.names, around, results, self.last)
            text.is_beside_all = True
            return text
        assert self.last is None or isinstance(self.last, Forward)
        return ForwardOverMargins(part, self.names, around, results, WHOLE, (), self.last)

    def seen_from_inside(self, value: Value) -> Operand:
        """A value of another stage or of the caller: an array over all steps with what stands in front of them."""
        return self.sequence(value) if value.along else self.constant(value)


def is_plain_equation(equation: Equation) -> bool:
    """Whether an equation computes a vector or a number of each step from such and from parameters."""
    expressions = [*[term.value for term in equation.terms], *([equation.factor] if equation.factor is not None else [])]
    values = [equation.target, *equation.reads(), *[value for one in expressions for value in values_in(one)]]
    plain = all(value.axes in ((), STEPS_AND_EXAMPLES) and not is_fat(value) for value in values)
    is_apart = not any(binds(one) for one in expressions) and not columns_in(expressions)
    return plain and is_apart and equation.target.axes == STEPS_AND_EXAMPLES


def read_of_others(stage: Stage) -> list[Value]:
    """What a stage reads that it doesn't make; of one that isn't a loop all that it reads."""
    targets = {equation.target for equation in stage.equations} if stage.way in LOOPS else set()
    return [value for equation in stage.equations for value in equation.reads() if value.like(lag=0) not in targets]


class FastLoopsKernel(Kernel):
    """Procedures of one network, those of forward and backward with fast loops."""

    def __init__(self, *arguments: object, forward: Program, passes: Sequence[Pass]) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.plain, self.passes = forward, passes
        self.done: list[FastLoops] = []

    def text(self, program: Program, around: Surroundings, keep: Sequence[Value], reverse: bool) -> FastLoops:
        self.done.append(FastLoops(program, self.names, around, keep, self.plain, reverse, self.passes))
        return self.done[-1]

    def computed(self) -> dict[str, list[Placed]]:
        """What forward and backward compute."""
        return {name: text.computed for name, text in zip(("forward", "backward"), self.done, strict=True)}

    def procedure(self, made: Procedure) -> Procedure:
        """A procedure with the arrays of its loops."""
        text = self.done[-1]
        buffers = buffers_of(text.last) if text.last else ()
        return Procedure(made.name, once_each(made.statements), made.results, buffers, is_blockwise=text.is_blockwise)

    def forward(self, program: Program) -> Procedure:
        return self.procedure(super().forward(program))

    def backward(self, program: Program) -> Procedure:
        return self.procedure(super().backward(program))
