"""What the project prints is read back as the same cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from derive.cells.registry import declarations, variants
from derive.latex import LaTeX
from derive.notation import Notation
from derive.pages import read
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.pages.gradients import BATCH, STEPS, draw, sizes_of

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
        if any(word in "".join(one.reading.latex) for word in (":", r"\mathrm{", r"\sum", r"\sqrt{d}", r"\overrightarrow{W}_")):
            continue  # rows of a stacked product, sums over all elements, sizes beside them, arrows over indexed letters are our own
        text = "\n\n".join(f"$${line}$$" for line in one.reading.latex)
        again = read("page.md", text=text, let={"I": "identity"} | kinds_of(one)).cells[0].cell
        assert again.equations == one.cell.equations or same_numbers(again, one.cell), one.heading


def kinds_of(one):
    """What the equations alone leave open: which symbols are numbers, tokens or one an example, and which quantities of a step are
    matrices."""
    reading, axes = one.reading, one.cell.axes
    numbers = {row.symbol: "number" for row in reading.rows if row.shape == ()}
    numbers |= {row.symbol: "example" for row in reading.rows if row.role == "input" and axes.get(row.symbol) == ()}
    numbers |= {row.symbol: "tokens" for row in reading.rows if row.role == "token"}
    numbers |= {row.symbol: "example tokens" for row in reading.rows if row.role == "token" and axes.get(row.symbol) == ()}
    return numbers | {row.symbol: "matrix" for row in reading.rows if len(row.shape) == 2 and row.role != "parameter"}


def same_numbers(one, other):
    """Whether two cells that are associated or factored in different ways come to the same."""
    ours, theirs = kernel_of_cell(one), kernel_of_cell(other)
    arguments = draw(theirs)[:3]
    expected, _ = theirs.forward(*arguments)
    outputs, _ = ours.forward(*arguments)
    limit = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=sum(sizes_of(theirs).values())))
    return all(np.abs(outputs[name] - value).max() <= limit * (1 + np.abs(value).max()) for name, value in expected.items())
