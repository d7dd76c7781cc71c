"""The layout of emitted Python: no line above 110 columns, the same program as unbroken, nothing for a linter or formatter to change."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from derive import keep
from derive.cell import Cell
from derive.compiler import FAST, compile_cell, equations_text
from derive.letters import width
from derive.pages import read
from derive.targets.numpy import formulas, layout
from derive.targets.numpy.formulas import formula
from derive.targets.numpy.layout import SUM, WIDTH, Bracket, Infix, Joined, Word, lines
from tests.odd_cells import cell as odd_cell

ROOT = Path(__file__).parents[2]
LONG = "ofthelayerthatreadsthewordsofasentence"
PAGE = rf"""
$$i_t = \sigma(W_{{input{LONG}}} x_t + U_{{input{LONG}}} h_{{t-1}} + b_{{input{LONG}}})$$
$$f_t = \sigma(W_{{forget{LONG}}} x_t + U_{{forget{LONG}}} h_{{t-1}} + P_{{forget{LONG}}} c_{{t-1}})$$
$$o_t = \operatorname{{softmax}}(W_{{output{LONG}}} x_t + U_{{output{LONG}}} h_{{t-1}})$$
$$c_t = f_t \odot c_{{t-1}} + i_t \odot \tanh(W_{{candidate{LONG}}} x_t + U_{{candidate{LONG}}} (i_t \odot h_{{t-1}}))$$
$$h_t = o_t \odot \tanh(c_t)$$
"""


def page() -> Cell:
    (one,) = read("long.md", text=PAGE).cells
    return one.cell


CELLS = {name: lambda name=name: odd_cell(name) for name in ("several_sizes", "readout", "nothing_left")}
CELLS["names of forty letters"] = page
SCHEDULES = {"plain": (), "fast": FAST}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", CELLS)
def test_no_line_is_above_the_width_and_the_program_is_the_unbroken_one(
    name: str, schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, passes = CELLS[name](), SCHEDULES[schedule]
    text = compile_cell(cell, passes)
    assert max(map(width, text.splitlines())) <= WIDTH
    assert keep.equations_in(text) == {v.name: line for (v, _), line in zip(cell.equations, equations_text(cell), strict=True)}
    assert_nothing_to_change(text, tmp_path / "kernel.py")
    monkeypatch.setattr(layout, "WIDTH", 10**6)
    monkeypatch.setattr(formulas, "WIDTH", 10**6)
    unbroken = compile_cell(cell, passes)
    assert ast.dump(without_docstrings(text)) == ast.dump(without_docstrings(unbroken))
    assert max(map(width, unbroken.splitlines())) > WIDTH


def without_docstrings(text: str) -> ast.Module:
    """A program without its prose, which is filled line by line."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def test_no_line_of_a_kept_kernel_is_above_the_width(tmp_path: Path) -> None:
    for path in sorted((ROOT / "generated").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert max(map(width, text.splitlines())) <= WIDTH, path.name
        assert_nothing_to_change(text, tmp_path / path.name)


def assert_nothing_to_change(text: str, path: Path) -> None:
    """ruff with its default rules is content, where it is installed, and `ruff format` leaves the file as it is."""
    ruff = shutil.which("ruff")
    if ruff is None:
        return
    path.write_text(text, encoding="utf-8")
    for words in ("check --isolated", f"format --isolated --check --line-length {WIDTH}"):
        done = subprocess.run([ruff, *words.split(), "--no-cache", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def words(*letters: str, length: int = 60) -> list[Word]:
    return [Word(letter * length) for letter in letters]


def test_a_sum_is_broken_in_front_of_its_signs() -> None:
    a, b = words("b", "c")
    found = lines(Infix(a, (("+", b),), SUM), "    ", f"{'a' * 60} = ")
    assert found == [f"    {'a' * 60} = (", f"        {'b' * 60}", f"        + {'c' * 60}", "    )"]


def test_a_call_is_broken_behind_its_commas() -> None:
    found = lines(Bracket("f(", tuple(words("a", "b", length=70)), ")"), "    ")
    assert found == ["    f(", f"        {'a' * 70},", f"        {'b' * 70},", "    )"]


def test_the_head_of_a_loop_is_broken_in_its_longest_part() -> None:
    names = Bracket("(", tuple(words("a", "b")), ")")
    found = lines(Joined((names, Word(" in "), Word("zip(one, two)"))), "    ", "for ", ":")
    assert found == ["    for (", f"        {'a' * 60},", f"        {'b' * 60},", "    ) in zip(one, two):"]


def test_a_formula_is_broken_in_front_of_a_term() -> None:
    found = formula(f"h = {'a' * 60} + f({'b' * 40} + {'c' * 40})", "    # ")
    assert found == [f"    # h = {'a' * 60}", f"    #     + f({'b' * 40} + {'c' * 40})"]
