"""How a formula reads: numbers in front, quotients as quotients, nothing twice; and what is printed is read back as the same cell."""

from __future__ import annotations

import re

import pytest

from derive import sheet
from derive.cell import Cell
from derive.derivation import derive
from derive.functions import FUNCTIONS, function, repeating
from derive.language import Eq, X, matrix, sequence, vector
from derive.latex import LaTeX
from derive.notation import Notation
from derive.pages import read
from tests.odd_cells import D, H, cell_of

x, h, c = sequence("x", D), sequence("h", H), sequence("c", H)
W, U, p = matrix("W", H, D), matrix("U", H, H), vector("p", H)
tanh, gelu = function("tanh"), function("gelu")

POWERS = (Eq(c, W @ x + tanh(c.prev) ** 2), Eq(h, c * h.prev**2))
QUOTIENT = (Eq(c, W @ x + p * c.prev), Eq(h, c / (1 + h.prev**2)))
GELU = (Eq(h, gelu(W @ x + U @ h.prev)),)


def shown(cell: Cell, form: str = "text") -> str:
    return sheet.FORMATS[form](derive(cell))


def test_a_number_stands_in_front_of_a_product() -> None:
    text = shown(cell_of(*POWERS))
    assert "2 ∂L/∂cₜ₊₁ ∘ tanh(cₜ) ∘ (1 − tanh(cₜ)²)" in text
    assert not re.search(r"\(\d \w+(\([^()]*\))?\)", text)


def test_a_quotient_reads_as_one() -> None:
    text = shown(cell_of(*QUOTIENT))
    assert "hₜ = cₜ / (1 + hₜ₋₁²)" in text
    assert r"\frac{c_{t}}{1 + h_{t-1}^{2}}" in shown(cell_of(*QUOTIENT), "latex")


@pytest.mark.parametrize("equations", [POWERS, QUOTIENT])
@pytest.mark.parametrize("notation", [LaTeX(), Notation()])
def test_what_is_printed_is_the_same_cell(equations: tuple[Eq, ...], notation: Notation) -> None:
    cell = cell_of(*equations)
    lines = [f"{notation.value(target)} = {notation.formula(right)}" for target, right in cell.equations]
    text = "\n\n".join(f"$${line}$$" if isinstance(notation, LaTeX) else line for line in lines)
    again = read("page.md" if isinstance(notation, LaTeX) else "page.txt", text=text).cells[0].cell
    assert again.forward.equations == cell.forward.equations


# ---- functions whose slope repeats another function


def test_the_functions_that_are_named() -> None:
    assert [name for name in FUNCTIONS if repeating(FUNCTIONS[name])] == ["gelu", "silu", "mish"]
    assert repeating(X * FUNCTIONS["sigma"]) == [FUNCTIONS["sigma"]]


@pytest.mark.parametrize("form", ["text", "latex"])
def test_gelu_names_its_tanh_and_its_number_is_one(form: str) -> None:
    sections = re.split(r"\n(?:\\subsection\*\{)?(Forward|Names|Backward)\b", shown(cell_of(*GELU), form))
    backward = sections[sections.index("Backward") + 1]
    assert "³" not in backward
    assert "^{3}" not in backward
    assert not re.search(r"√\(2\) ∘|\\sqrt\{2\} \\circ", "".join(sections))
