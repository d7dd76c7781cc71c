"""The functions of a kernel whose forward and backward are the fast policy's; the others are the textbook's, in the same axes.

A function is one part behind the other, each with one recurrence (`derive.recurrences`); what a later part reads of an earlier one lies in
that one's arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from derive.language import Value
from derive.procedures.blockwise import Backward, Forward
from derive.procedures.fast import Fast
from derive.procedures.kernel import Kernel, Results
from derive.procedures.places import WHOLE
from derive.procedures.procedure import Array, Assign, Call, Entry, Operand, Procedure, Statement
from derive.procedures.reversed_steps import text_of
from derive.procedures.shaping import turned_over
from derive.procedures.textbook import Surroundings
from derive.program import Program
from derive.recurrences import EARLIER, LATER, parts, runs

Part = TypeVar("Part", bound=Fast)


class FastKernel(Kernel):
    """Procedures of one cell, forward and backward over blocks of steps, with arrays that are made once."""

    def forward(self, program: Program) -> Procedure:
        """Outputs, and the tape."""

        def given(value: Value) -> Operand:
            return self.entry("inputs" if value.timed else "parameters", value)

        texts: list[Forward] = []
        statements: list[Statement] = []
        programs = parts(program, self.tape)
        for k, part in enumerate(programs):
            around = self.around(after(texts, Forward.handed, given), self.before_the_first("state"))
            behind, shifted = texts[-1] if texts else None, read_shifted(part, programs[k + 1 :])
            make = partial(self.text_forward, shifted=shifted, behind=behind)
            text, found = text_of(make, part, self.names, around, runs(part, LATER))
            texts.append(text)
            statements += found
        copies = [of(texts, value).output(value, self.tape) for value in program.results]
        outputs = [(str(value.name), out) for value, (_, out) in zip(program.results, copies, strict=True)]
        saved = [(self.names.of(value), of(texts, value).taped(value)) for value in self.tape]
        for value, (name, operand) in zip(self.tape, saved, strict=True):
            self.taped[value] = Entry("tape", name, operand.axes, operand.dims, *margins(operand))
        everything = (*once_each(statements), *[copy for some, _ in copies for copy in some])
        results = (("outputs", tuple(outputs)), ("tape", tuple(saved)))
        is_blockwise = any(text.is_blockwise for text in texts)
        return Procedure("forward", everything, results, buffers_of(texts[-1]), is_blockwise=is_blockwise)

    def backward(self, program: Program) -> Procedure:
        """Gradients."""

        def given(value: Value) -> Operand:
            return self.entry("cotangents", value) if value.kind == "given" else self.of_tape(value)

        texts, statements = self.in_reverse(program, given)
        return Procedure("backward", once_each(statements), self.gradients_of(texts), buffers_of(texts[-1]), is_blockwise=True)

    def in_reverse(self, program: Program, given: Callable[[Value], Operand]) -> tuple[list[Backward], list[Statement]]:
        """The parts of a function that computes gradients, and all of its statements."""
        texts: list[Backward] = []
        statements: list[Statement] = []
        for part in parts(program):
            around = self.around(after(texts, Backward.gradient_of, given))
            make = partial(self.text_backward, behind=texts[-1] if texts else None)
            text, found = text_of(make, part, self.names, around, runs(part, EARLIER))
            texts.append(text)
            statements += found
        return texts, statements

    def text_forward(self, part: Program, around: Surroundings, shifted: list[Value], behind: Forward | None) -> Forward:
        return Forward(part, self.names, around, self.tape, WHOLE, shifted, behind)

    def text_backward(self, part: Program, around: Surroundings, behind: Backward | None) -> Backward:
        return Backward(part, self.names, around, part.results, behind)

    def gradients_of(self, texts: Sequence[Backward], *more: str) -> Results:
        """Gradients of parameters, inputs and initial states; more: marks behind those of a gradient."""

        def gradient(value: Value) -> Operand:
            return of(texts, value).gradient_of(value)

        def found(values: Iterable[Value], mark: str) -> tuple[tuple[str, Operand], ...]:
            return tuple((str(v.name), gradient(v.like(marks=(*v.marks, mark, *more)))) for v in values)

        parameters, inputs = found(self.cell.parameters, "cotangent"), found(self.cell.inputs, "cotangent")
        return ("parameters", parameters), ("inputs", inputs), ("state", found(self.cell.states, "carry"))


# ---- parts of a function


def of(texts: Sequence[Part], value: Value) -> Part:
    """The part that has a value: that defines it, or else reads it of the caller."""
    making = [text for text in texts if value.here in text.plan.defined]
    return (making or [text for text in texts if value in text.outside] or [texts[-1]])[0]


def after(
    texts: Sequence[Part], there: Callable[[Part, Value], Operand], given: Callable[[Value], Operand]
) -> Callable[[Value], Operand]:
    """Where a part finds what it doesn't compute: where an earlier part has it for all steps, or with the caller or the tape."""
    before = [*texts]

    def found(value: Value) -> Operand:
        making = [text for text in before if value.here in text.plan.defined]
        return there(making[0], value) if making else given(value)

    return found


def margins(operand: Operand) -> tuple[int, int]:
    """How many positions an array has in front of the first step and behind the last one, seen as the caller sees it."""
    whole = turned_over(operand) if isinstance(operand, Call) and operand.operation == "reversed" else operand
    found = (whole.front, whole.behind) if isinstance(whole, Array | Entry) else (0, 0)
    return found if whole is operand else (found[1], found[0])


def read_shifted(part: Program, later: Iterable[Program]) -> list[Value]:
    """The values of a part that later ones read of another step."""
    read = {value.here for one in later for equation in one.equations for value in equation.reads() if value.lag}
    return [value for value in part.defined() if value in read]


def once_each(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements without those that give a name what it has."""
    bound: dict[Array, Operand] = {}
    found: list[Statement] = []
    for statement in statements:
        match statement:
            case Assign(targets=(Array() as name,), value=value):
                if bound.get(name) == value:
                    continue
                bound[name] = value
        found.append(statement)
    return tuple(found)


def buffers_of(text: Fast) -> tuple[Array, ...]:
    """The arrays that are made once, by name."""
    return tuple(text.buffers[name] for name in sorted(text.buffers))
