"""hvp of the fast policy: tangents for all steps, gradients for all steps, then how those move, each over blocks of steps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from derive.language import Value
from derive.procedures.blockwise import ForwardOverMargins
from derive.procedures.fast import Fast
from derive.procedures.fast_kernel import FastKernel, after, buffers_of, margins, of, once_each, read_shifted
from derive.procedures.kernel import Results
from derive.procedures.places import WHOLE
from derive.procedures.procedure import Entry, Operand, Procedure, Statement
from derive.procedures.reversed_steps import text_of
from derive.procedures.textbook import Surroundings
from derive.program import Program
from derive.recurrences import LATER, parts, runs
from derive.second_order import Second

TANGENTS, COTANGENTS = "tangents", "gradients"
"""What the last procedure calls what the two before it return."""


class Tangents(ForwardOverMargins):
    """A recurrence that reads a tape."""

    @property
    def is_blockwise(self) -> bool:
        return bool(self.program.at("before", "after"))


class SecondOrder:
    """The procedures of hvp, of one kernel, whose tape is known."""

    def __init__(self, kernel: FastKernel) -> None:
        self.kernel, self.names = kernel, kernel.names
        self.handed: dict[Value, Entry] = {}

    def procedures(self, second: Second) -> list[Procedure]:
        later = {one.like(lag=0) for program in (second.backward, second.moved) for one in program.given if one.lag}
        shifted = [value for value in second.tangent.results if value in later]
        return [self.tangents(second.tangent, shifted), self.gradients(second.backward), self.hvp(second.moved)]

    def given(self, value: Value) -> Operand:
        """What an earlier procedure or the caller has."""
        if value in self.handed:
            return self.handed[value]
        if value.kind == "given":
            return self.kernel.entry("cotangents", value)
        if value.kind == "tangent":
            return self.kernel.entry("tangent_inputs" if value.timed else "tangent_parameters", value)
        return self.kernel.of_tape(value)

    def hand_over(self, holder: str, values: Iterable[Value], found: Iterable[Operand]) -> tuple[tuple[str, Operand], ...]:
        """What a procedure returns, by name."""
        named = [(self.names.of(value), value, operand) for value, operand in zip(values, found, strict=True)]
        for name, value, operand in named:
            self.handed[value] = Entry(holder, name, operand.axes, operand.dims, *margins(operand))
        return tuple((name, operand) for name, _, operand in named)

    def tangents(self, program: Program, shifted: Iterable[Value]) -> Procedure:
        """Tangents of values for all steps; shifted: those that are read at an earlier step."""
        texts: list[Tangents] = []
        statements: list[Statement] = []
        programs = parts(program)
        for k, part in enumerate(programs):
            around = self.kernel.around(after(texts, Tangents.handed, self.given), self.kernel.before_the_first("tangent_state"))
            kept = [*[value for value in shifted if value in part.defined()], *read_shifted(part, programs[k + 1 :])]
            make = partial(self.text_tangents, shifted=list(dict.fromkeys(kept)), behind=texts[-1] if texts else None)
            text, found = text_of(make, part, self.names, around, runs(part, LATER))
            texts.append(text)
            statements += found
        handed = self.hand_over(TANGENTS, program.results, [of(texts, value).taped(value) for value in program.results])
        is_blockwise = any(text.is_blockwise for text in texts)
        return procedure(TANGENTS, statements, ((TANGENTS, handed),), texts[-1], is_blockwise)

    def text_tangents(self, part: Program, around: Surroundings, shifted: list[Value], behind: Tangents | None) -> Tangents:
        return Tangents(part, self.names, around, part.results, WHOLE, shifted, behind)

    def gradients(self, program: Program) -> Procedure:
        """Gradients of values for all steps."""
        texts, statements = self.kernel.in_reverse(program, self.given)
        handed = self.hand_over(COTANGENTS, program.results, [of(texts, value).gradient_of(value) for value in program.results])
        return procedure(COTANGENTS, statements, ((COTANGENTS, handed),), texts[-1], True)

    def hvp(self, program: Program) -> Procedure:
        """Tangents of the gradients."""
        texts, statements = self.kernel.in_reverse(program, self.given)
        return procedure("hvp", statements, self.kernel.gradients_of(texts, "tangent"), texts[-1], True)


def procedure(name: str, statements: Iterable[Statement], results: Results, text: Fast, is_blockwise: bool) -> Procedure:
    """The procedure of some statements, with the arrays that they need."""
    return Procedure(name, once_each(statements), results, buffers_of(text), is_blockwise=is_blockwise)
