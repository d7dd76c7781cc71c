"""Cells as public docstrings, READMEs, notes and papers print them, chosen before the reader had seen them.

`public_cells.txt` holds them: `# title`, `! source:`, `! right:` what a reader of mathematics makes of the page, the page as it is printed,
and what the reader says of it: `= equation` for each equation; `? first words` of a question and `| words` for what it has to say
besides; `+ declarations` that answer the question, after which the equations come; `: numbers` and `: matrices`, the symbols that are
numbers and the quantities of a step that are matrices, where there are any. `! owed:` what the reader can't do of it yet.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from derive.pages import PageError, read

TEXT = (Path(__file__).parent / "public_cells.txt").read_text()
CASES = {
    part.split("\n", 1)[0]: part.split("\n", 1)[1].rstrip("\n").split("\n") for part in re.split(r"^# ", TEXT, flags=re.M)[1:]
}
MARKS = ("= ", "? ", "| ", "! ", "+ ", ": ")
NEW = ("numbers", "matrices", "delayed", "sum", "mean", "norm", "cumax", "ᵀ")


def said(lines, mark):
    return [line[len(mark) :] for line in lines if line.startswith(mark)]


def page_of(lines):
    return "\n".join(line for line in lines if not line.startswith(MARKS))


def reading(page, let=None):
    """(the equations, the numbers, the matrices) of a page, or what is asked."""
    try:
        cells = read("page.md" if "$$" in page else "page.txt", text=page, let=let or {}).cells
    except PageError as error:
        return str(error)
    rows = [row for one in cells for row in one.reading.rows]
    numbers = {row.symbol for row in rows if row.shape == ()}
    matrices = {row.symbol for row in rows if len(row.shape) == 2 and row.role != "parameter"}
    return [line for one in cells for line in one.reading.equations], numbers, matrices


def declarations(lines):
    return dict(map(str.strip, one.split("=", 1)) for line in said(lines, "+ ") for one in line.split(";"))


def kinds(lines, kind):
    return {name for line in said(lines, f": {kind} ") for name in line.split()}


def marked(title):
    owed = said(CASES[title], "! owed: ")
    return pytest.param(title, marks=[pytest.mark.xfail(reason=owed[0], strict=True)] if owed else [])


@pytest.mark.parametrize("title", [marked(title) for title in CASES])
def test_a_public_cell_is_read_as_it_is_meant_or_asked_about(title):
    lines = CASES[title]
    page, questions = page_of(lines), said(lines, "? ")
    if questions:
        message = reading(page)
        assert isinstance(message, str), message
        assert message.split(": ", 1)[1].startswith(questions[0])
        assert all(words in message for words in said(lines, "| "))
    if said(lines, "= "):
        read_as = reading(page, declarations(lines))
        assert read_as == (said(lines, "= "), kinds(lines, "numbers"), kinds(lines, "matrices"))
    assert questions or said(lines, "= ")


def test_each_says_where_it_is_from_and_what_is_right():
    for title, lines in CASES.items():
        assert said(lines, "! source: "), title
        assert said(lines, "! right: "), title


def test_there_are_forty_and_more_and_half_of_them_need_numbers_matrices_reductions_or_longer_lags():
    assert len(CASES) >= 40
    assert 2 * sum(
        any(word in "\n".join(lines) for word in (*NEW, "^T", r"^\top", r"\sum", "t-2")) for lines in CASES.values()
    ) >= len(CASES)
