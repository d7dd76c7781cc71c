"""Loops as scans: what a step takes of the step before, what it reads and what it makes, found in the statements."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy as sp

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import COMPILED, scheduled
from derive.derivation import derive
from derive.procedures.names import Names
from derive.procedures.procedure import Array, Assign, At, Loop, Procedure, ProcedureError, View, operands_of, parts_of
from derive.procedures.scans import Join, Scan, ScannedKernel, scanned
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell


def procedures(cell: Cell) -> list[Procedure]:
    """forward, backward and jvp of a cell, by the textbook's policy."""
    programs, tape, _ = scheduled(derive(cell), COMPILED)
    kernel = ScannedKernel(cell, programs.notation(), Names((), ()), tape)
    return [kernel.forward(programs.forward), kernel.backward(programs.backward), kernel.jvp(programs.tangent)]


def scans(procedure: Procedure) -> list[Scan]:
    return [one for one in scanned(procedure) if isinstance(one, Scan)]


def test_what_a_step_of_an_lstm_takes_reads_and_makes() -> None:
    forward, backward, _ = procedures(build("lstm"))
    (one,), (other,) = scans(forward), scans(backward)
    assert [(c.before.name, c.after.name, c.is_read) for c in one.carried] == [("h_prev", "h", False), ("c_prev", "c", False)]
    assert [array.name for array, _ in one.read] == ["a_stack_in"]
    assert [(local.name, array.name) for local, array in one.made] == [
        (name, f"{name}_all") for name in ("i", "f", "c_tilde", "c", "o", "tanh_c", "h")
    ]
    assert not one.backwards
    joined = [one for one in scanned(forward) if isinstance(one, Join)]
    assert [(one.sequence.name, one.last) for one in joined] == [("c_all", None), ("h_all", None)]
    assert {(c.before.name, c.after.name, c.is_read) for c in other.carried} == {
        ("carry_h", "carry_h", True),
        ("carry_c", "carry_c", True),
    }
    assert other.backwards


CASES = [*[(odd_cell, name) for name in ODD], *[(shaped_cell, name) for name in SHAPED]]


@pytest.mark.parametrize(("make", "name"), CASES)
def test_a_step_reads_only_what_it_has(make: object, name: str) -> None:
    """Nothing is written to, nothing read of the position of another step, and no name before it has a value."""
    for procedure in procedures(make(name)):  # type: ignore[operator]
        found = scanned(procedure)
        assert not [one for one in found if isinstance(one, Loop)]
        for scan in (one for one in found if isinstance(one, Scan)):
            known = {one.before.name for one in scan.carried} | {array.name for array, _ in scan.read}
            given = {target.name for one in scan.body if isinstance(one, Assign) for target in one.targets}  # type: ignore[union-attr]
            for statement in scan.body:
                for operand in operands_of(statement):
                    for part in parts_of(operand):
                        assert not (
                            isinstance(part, View)
                            and any(isinstance(one, At) and one.position.free_symbols for one in part.index)
                        )
                        targets = statement.targets if isinstance(statement, Assign) else ()
                        if isinstance(part, Array) and part not in targets:
                            assert part.name not in given - known, part
                known |= {target.name for target in getattr(statement, "targets", ())}
            assert {local.name for local, _ in scan.made} | {one.after.name for one in scan.carried} <= known


def test_a_step_that_lies_further_back_is_refused() -> None:
    forward, *_ = procedures(build("rnn"))
    at = next(k for k, one in enumerate(forward.statements) if isinstance(one, Loop))
    loop = forward.statements[at]
    assert isinstance(loop, Loop)

    def further(view: View) -> View:
        return replace(view, index=tuple(At(one.position - sp.S.One) if isinstance(one, At) else one for one in view.index))

    written = {target.of for one in loop.body if isinstance(one, Assign) for target in one.targets if isinstance(target, View)}
    reads = tuple((array, further(view) if view.of in written else view) for array, view in loop.reads)
    statements = (*forward.statements[:at], replace(loop, reads=reads), *forward.statements[at + 1 :])
    with pytest.raises(ProcedureError, match="`h_prev`: expected a step that has just been made, got -2 steps on"):
        scanned(replace(forward, statements=statements))
