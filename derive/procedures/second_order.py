"""hvp of the fast policy: tangents for all steps, gradients for all steps, then how those move, each over blocks of steps."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from derive.language import Value
from derive.procedures.blockwise import Backward, Forward, steps
from derive.procedures.fast import START, STOP, Fast
from derive.procedures.fast_kernel import FastKernel, buffers_of
from derive.procedures.kernel import Results
from derive.procedures.places import WHOLE
from derive.procedures.procedure import Array, Entry, Operand, Procedure, Statement
from derive.program import Program
from derive.second_order import Second

TANGENTS, COTANGENTS = "tangents", "gradients"
"""What the last procedure calls what the two before it return."""


class Tangents(Forward):
    """A recurrence that reads a tape, which has states with the initial one in front."""

    @property
    def is_blockwise(self) -> bool:
        return bool(self.program.at("before", "after"))

    def from_outside(self, value: Value) -> Operand:
        whole = value.like(lag=0)
        source = self.around.given(whole)
        array = self.outside[whole] = Array(self.names.sequence(whole), source.axes, source.dims, getattr(source, "front", 0))
        shift = array.front + value.lag
        if self.in_block:
            return steps(array, START + shift, STOP + shift)
        return steps(array, sp.Integer(shift) if shift else None, value.lag or None) if array.front else array


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
            front = operand.front if isinstance(operand, Array | Entry) else 0
            self.handed[value] = Entry(holder, name, operand.axes, operand.dims, front)
        return tuple((name, operand) for name, _, operand in named)

    def tangents(self, program: Program, shifted: Iterable[Value]) -> Procedure:
        """Tangents of values for all steps; shifted: those that are read at an earlier step."""
        around = self.kernel.around(self.given, self.kernel.before_the_first("tangent_state"))
        text = Tangents(program, self.names, around, program.results, WHOLE, shifted)
        statements = text.everything()
        found = self.hand_over(TANGENTS, program.results, [text.taped(value) for value in program.results])
        return procedure(TANGENTS, statements, ((TANGENTS, found),), text, text.is_blockwise)

    def gradients(self, program: Program) -> Procedure:
        """Gradients of values for all steps."""
        text = Backward(program, self.names, self.kernel.around(self.given), program.results)
        statements = text.everything()
        found = self.hand_over(COTANGENTS, program.results, [text.gradient_of(value) for value in program.results])
        return procedure(COTANGENTS, statements, ((COTANGENTS, found),), text, True)

    def hvp(self, program: Program) -> Procedure:
        """Tangents of the gradients."""
        text = Backward(program, self.names, self.kernel.around(self.given), program.results)
        return procedure("hvp", text.everything(), self.kernel.gradients_of([text], "tangent"), text, True)


def procedure(name: str, statements: Iterable[Statement], results: Results, text: Fast, is_blockwise: bool) -> Procedure:
    """The procedure of some statements, with the arrays that they need."""
    return Procedure(name, tuple(statements), results, buffers_of(text), is_blockwise=is_blockwise)
