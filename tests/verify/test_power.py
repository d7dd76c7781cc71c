"""The verifier's power: faults planted in a kept cell are proved to be faults, and all of them are caught."""

from __future__ import annotations

import numpy as np
import pytest

from derive.cells.registry import build
from derive.equation import Term
from derive.language import add
from verify.edits.edit import Edit
from verify.edits.table import backward_edits
from verify.power import measure
from verify.power.exact import ExactKernel, Judge, resized
from verify.power.faults import faults
from verify.power.measure import Bench
from verify.power.offering import FAULTS, Offering


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(build("rnn"))


def test_every_fault_of_a_cell_is_proved_caught_and_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PER_CELL", len(bench.edits))  # one of each class
    found = list(bench.outcomes(every=False, torch=False))
    assert len(found) >= 40
    real = [one for one in found if one.proof != "equivalent"]
    unnamed = [(one.kind, one.said, one.cause) for one in real if not one.named]
    assert len(unnamed) <= len(real) // 10, unnamed
    assert not [one for one in found if one.survived]
    assert {one.proof for one in found} <= {"different", "equivalent"}


def test_a_cell_as_derived_is_caught_by_nothing(bench: Bench) -> None:
    assert bench.caught(bench.module) == []


def test_both_options_as_promised_are_caught_by_nothing_and_every_fault_of_theirs_by_its_own_check(bench: Bench) -> None:
    """The wrapped cell, which has both options right, passes; each fault is proved to be one, and no other check sees it."""
    right = Offering(bench.module)
    assert not bench.judge.differs(Offering(ExactKernel(bench.model, bench.judge.dims)))
    assert bench.caught(right) == []
    offered = [fault for fault in faults(bench.module) if fault.breaks in FAULTS]
    assert len(offered) == sum(map(len, FAULTS.values()))
    with np.errstate(all="ignore"):
        found = [bench.outcome(fault, torch=False) for fault in offered]
    assert {one.proof for one in found} == {"different"}
    assert {one.caught for one in found} == {("behaviour",)}
    assert all(one.named for one in found), [(one.said, one.cause) for one in found if not one.named]


def test_the_kept_cells_have_room_for_three_hundred_faults() -> None:
    from derive.keep import Project

    counts = [Bench(cell).count(every=False) for cell in Project.here().cells()]
    assert sum(counts) >= 300


def test_a_change_of_nothing_is_set_aside_by_an_identity() -> None:
    bench = Bench(build("lstm"))
    derivation = bench.model.derivation
    equation = next(one for one in derivation.backward.equations if len(one.terms) > 1)
    turned = type(equation)(equation.target, tuple(Term(add(term.value), term.reason) for term in reversed(equation.terms)))
    program = derivation.backward.with_equations([turned if one is equation else one for one in derivation.backward.equations])
    judge = Judge(bench.model, resized(bench.kernel.dims))
    assert judge.proof(Edit("nothing", "terms in another order", program, ((equation, turned),))) == "equivalent"


def test_every_class_of_fault_is_planted() -> None:
    derivation = Bench(build("lstm --peephole")).model.derivation
    kinds = {(edit.kind, edit.places > 1) for edit in backward_edits(derivation.backward, derivation.forward)}
    assert {kind for kind, _ in kinds} >= {
        *(
            "dropped summand",
            "flipped sign",
            "swapped gates",
            "slope",
            "old for new",
            "transpose",
            "stale buffer",
            "carry",
            "= for +=",
        ),
        *(
            "another gate",
            "another parameter",
            "time index",
            "some steps only",
            "mean for sum",
            "tape",
            "wrong state",
            "cut recurrence",
        ),
    }
    assert {("slope", True), ("transpose", True), ("time index", True), ("dropped summands", True)} <= kinds
