"""Random cells in random notation come back; renaming a page changes its names and nothing else."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from derive.pages import read
from tests.pages.printing import Printer, random_cell

SEEDS = st.integers(0, 2**32)


@given(SEEDS, SEEDS, SEEDS)
@settings(deadline=None)
def test_a_random_cell_in_random_notation_comes_back(seed, naming, notation):
    cell = random_cell(seed, naming)
    text = Printer(notation).page(cell)
    assert read("page.md", text=text).cells[0].cell.equations == cell.equations, text


@given(SEEDS, SEEDS, SEEDS, SEEDS)
@settings(deadline=None)
def test_renaming_changes_names_and_nothing_else(seed, one, other, notation):
    first, second = (read("page.md", text=Printer(notation).page(random_cell(seed, naming))).cells[0] for naming in (one, other))
    names = dict(zip((v.name for v in values(first.cell)), (v.name for v in values(second.cell)), strict=True))
    assert len(set(names.values())) == len(names)
    renamed = [(row.role, row.shape, names[row.symbol]) for row in first.reading.rows]
    assert renamed == [(row.role, row.shape, row.symbol) for row in second.reading.rows]


def values(cell):
    return list(dict.fromkeys(value.like(lag=0) for value in (*cell.targets, *cell.reads)))


def test_the_first_letters_of_a_word_name_no_rule():
    """No rule of the reader compares a symbol with a literal: only `t`, the constant e, and a transposition's T are letters in its code."""
    from pathlib import Path

    code = "".join(path.read_text() for path in (Path(__file__).parents[2] / "derive" / "pages").glob("*.py"))
    compared = set(re.findall(r"(?:name|base|value)\s*==\s*\"([A-Za-z])\"", code))
    assert compared <= {"t", "T", "e"}
