"""The functions of a kernel whose forward and backward are the fast policy's; the others are the textbook's, in the same axes."""

from __future__ import annotations

from collections.abc import Iterable

from derive.language import Value
from derive.procedures.blockwise import Backward, Forward
from derive.procedures.fast import Fast
from derive.procedures.kernel import Kernel, Results
from derive.procedures.places import WHOLE
from derive.procedures.procedure import Array, Entry, Operand, Procedure, Statement
from derive.program import Program


class FastKernel(Kernel):
    """Procedures of one cell, forward and backward over blocks of steps, with arrays that are made once."""

    def forward(self, program: Program) -> Procedure:
        """Outputs, and the tape."""

        def given(value: Value) -> Operand:
            return self.entry("inputs" if value.timed else "parameters", value)

        around = self.around(given, self.before_the_first("state"))
        text = Forward(program, self.names, around, self.tape, WHOLE)
        statements = text.everything()
        copies = [text.output(value) for value in program.results]
        outputs = [(str(value.name), out) for value, (_, out) in zip(program.results, copies, strict=True)]
        saved = [(self.names.of(value), text.taped(value)) for value in self.tape]
        for value, (name, operand) in zip(self.tape, saved, strict=True):
            front = operand.front if isinstance(operand, Array | Entry) else 0
            self.taped[value] = Entry("tape", name, operand.axes, operand.dims, front)
        everything: tuple[Statement, ...] = (*statements, *[copy for copy, _ in copies])
        results = (("outputs", tuple(outputs)), ("tape", tuple(saved)))
        return Procedure("forward", everything, results, buffers_of(text), is_blockwise=text.is_blockwise)

    def backward(self, program: Program) -> Procedure:
        """Gradients."""

        def given(value: Value) -> Operand:
            return self.entry("cotangents", value) if value.kind == "given" else self.of_tape(value)

        text = Backward(program, self.names, self.around(given), program.results)
        statements = text.everything()
        return Procedure("backward", tuple(statements), self.gradients_of(text), buffers_of(text), is_blockwise=True)

    def gradients_of(self, text: Backward, *more: str) -> Results:
        """Gradients of parameters, inputs and initial states; more: marks behind those of a gradient."""

        def found(values: Iterable[Value], mark: str) -> tuple[tuple[str, Operand], ...]:
            return tuple((str(v.name), text.gradient_of(v.like(marks=(*v.marks, mark, *more)))) for v in values)

        parameters, inputs = found(self.cell.parameters, "cotangent"), found(self.cell.inputs, "cotangent")
        return ("parameters", parameters), ("inputs", inputs), ("state", found(self.cell.states, "carry"))


def buffers_of(text: Fast) -> tuple[Array, ...]:
    """The arrays that are made once, by name."""
    return tuple(text.buffers[name] for name in sorted(text.buffers))
