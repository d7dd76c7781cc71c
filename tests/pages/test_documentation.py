"""The examples of docs/equations.md: a page, and what comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from derive.pages import PageError, read

TEXT = (Path(__file__).parents[2] / "docs" / "equations.md").read_text()
EXAMPLES = re.findall(r"^```(markdown|plain)\n(.*?)^```\n\n```text\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("kind", "page", "expected"), EXAMPLES)
def test_an_example_comes_back_as_it_says(kind, page, expected):
    try:
        got = "\n".join(read("page.txt" if kind == "plain" else "page.md", text=page).cells[0].reading.equations)
    except PageError as error:
        got = str(error)
    assert got == expected.rstrip("\n")


def test_every_block_is_an_example():
    assert len(EXAMPLES) == len(re.findall(r"^```(?:markdown|plain)$", TEXT, re.MULTILINE))
    assert len(EXAMPLES) >= 15


@pytest.mark.parametrize(
    ("printed", "name"),
    [(printed, name) for line in TEXT.splitlines() if line.startswith("| `") and line.count("|") == 6
     for cells in [line.split("|")] for shown, name in ((cells[1], cells[2]), (cells[4], cells[5]))
     for printed in re.findall(r"`([^`]+)`", shown) for name in re.findall(r"`([^`]+)`", name)],
)  # fmt: skip
def test_the_table_of_names_holds(printed, name):
    symbol = printed.replace("_t", "_{t}").replace("t-1", "t")
    for left, right in ((symbol, "x_t"), ("q_t", f"{symbol} + x_t")):
        style = {"x_t": "x^{(t)}"} if "(t)" in symbol else {}
        text = f"$${left} = {right}$$"
        for old, new in style.items():
            text = text.replace(old, new).replace("q_t", "q^{(t)}")
        cell = read("page.md", text=text).cells[0].cell
        assert name in {value.name for value in (*cell.targets, *cell.reads)}
