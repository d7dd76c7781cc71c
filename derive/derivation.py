"""A cell with all that is derived of it: its programs, in the form that a person would write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from derive import differentiate
from derive.cell import Cell
from derive.language import Apply, Value
from derive.notation import Notation
from derive.passes import TIDY, run
from derive.passes.outputs import outputs
from derive.program import Program
from derive.reductions import OverElements


@dataclass(frozen=True)
class Derivation:
    """A cell with its programs. Tidy as derived, fast once scheduled; the type is the same.

    second_order: whether a sheet shows how gradients move, too.
    """

    cell: Cell
    forward: Program
    backward: Program
    tangent: Program
    jacobian: Program
    second_order: bool = False

    def programs(self) -> tuple[Program, Program, Program, Program]:
        return self.forward, self.backward, self.tangent, self.jacobian

    @cached_property
    def second(self) -> Program:
        """How gradients move with the arguments: the tangent, the backward program and the tangent of that, tidy."""
        first = outputs(differentiate.backward(self.forward), self.forward)
        return run(list(TIDY.values()), differentiate.second(self.forward, first), self.forward)

    def notation(self, kind: type[Notation] = Notation) -> Notation:
        """A notation in which an unnamed function of a value is written as such: tanh(c)."""
        shown = {e.target: e.value for e in self.cell.forward.equations if e.auxiliary and shows_itself(e.target, e.value)}
        return kind(shown, self.cell.words, self.cell.leftward, self.cell.axes_of_states)


def shows_itself(target: Value, value: sp.MatrixExpr) -> bool:
    of_a_value = isinstance(value, Apply) or (isinstance(value, OverElements) and value.kept)
    return of_a_value and isinstance(value.args[-1], Value) and not target.name.startswith("u_")


def derive(cell: Cell) -> Derivation:
    """The derived programs of a cell, tidy."""
    forward = cell.forward
    derived = [differentiate.backward(forward), differentiate.tangent(forward), differentiate.jacobian(forward)]
    backward, tangent, jacobian = [run(list(TIDY.values()), program, forward) for program in derived]
    return Derivation(cell, forward, backward, tangent, jacobian)
