"""What the project prints is read back as the same cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from derive.cells.registry import declarations, variants
from derive.latex import LaTeX
from derive.notation import Notation
from derive.pages import read

BUILT_IN = {cell.command: cell for declaration in declarations().values() for cell in variants(declaration)}
PAGES = Path(__file__).parents[2] / "examples" / "pages"


def printed(cell, notation):
    return [(notation.value(target), notation.formula(right)) for target, right in cell.equations]


@pytest.mark.parametrize("words", BUILT_IN)
def test_a_built_in_cell_comes_back_from_its_latex(words):
    lines = " \\\\\n".join(f"{left} &= {right}" for left, right in printed(BUILT_IN[words], LaTeX()))
    assert (
        read("page.md", text=f"$$\\begin{{aligned}}\n{lines}\n\\end{{aligned}}$$").cells[0].cell.equations
        == BUILT_IN[words].equations
    )


@pytest.mark.parametrize("words", BUILT_IN)
def test_a_built_in_cell_comes_back_from_its_unicode(words):
    lines = "\n".join(f"{left} = {right}" for left, right in printed(BUILT_IN[words], Notation()))
    assert read("page.txt", text=lines).cells[0].cell.equations == BUILT_IN[words].equations


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_a_page_comes_back_from_its_own_reading(page):
    for one in read(str(PAGES / page)).cells:
        if any(word in "".join(one.reading.latex) for word in (":", r"\mathrm{")):
            continue  # rows of a stacked product, and sizes beside them, are our own notation
        again = (
            read("page.md", text="\n\n".join(f"$${line}$$" for line in one.reading.latex), let={"I": "identity"}).cells[0].cell
        )
        assert again.equations == one.cell.equations, one.heading
