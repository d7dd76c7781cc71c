"""Random cells are derived, emitted and verified; one that fails is printed as equations that can be derived."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, note, settings

from derive.cell import Cell
from derive.compiler import FAST, emit
from tests.verify.random_cells import cells
from verify.data import ORDINARY, SHORT
from verify.examination import check
from verify.kernel import load_text
from verify.model import model_of

IN_A_RUN = 100
COUNT = settings.default.max_examples if settings.default.max_examples > 1000 else IN_A_RUN  # type: ignore[union-attr]


def held(cell: Cell, passes: tuple[str, ...]) -> None:
    model = model_of(cell)
    note(model.latex())
    kernel = load_text(emit(model.derivation, passes), "random.py")
    report = check(kernel, model, name="random", quick=True, regimes=(ORDINARY, replace(SHORT, steps=12)))
    assert report.passed, "\n".join(report.faults())


@settings(max_examples=COUNT)
@given(cells())
def test_every_random_cell_is_derived_emitted_and_verified(cell: Cell) -> None:
    held(cell, ())


@settings(max_examples=COUNT)
@given(cells())
def test_every_random_cell_is_scheduled_and_verified(cell: Cell) -> None:
    held(cell, FAST)
