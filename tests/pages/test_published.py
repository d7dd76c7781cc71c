"""Published cells, each from its equations alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from derive.pages import read
from tests.pages.gradients import LIMIT, worst_gradient_error

PAGE = Path(__file__).parents[2] / "examples" / "pages" / "published.md"
CELLS = {one.cell.name: one for one in read(str(PAGE)).cells}


def test_there_are_ten_and_more():
    assert len(CELLS) >= 10


@pytest.mark.parametrize("name", CELLS)
def test_gradients_agree_with_the_complex_step(name):
    assert worst_gradient_error(CELLS[name].cell) < LIMIT


def test_no_code_names_a_published_cell():
    titles = re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)
    code = "".join(path.read_text().lower() for path in (Path(__file__).parents[2] / "derive" / "pages").glob("*.py"))
    assert not [title for title in titles if title.lower() in code]


def roles(name):
    return {row.symbol: (row.role, row.shape) for row in CELLS[name].reading.rows}


def test_two_states_keep_their_own_sizes():
    table = roles("published_structurally_constrained_network")
    assert table["s"] == ("state", ("H_s",))
    assert table["h"] == ("state", ("H_h",))
    assert table["P"] == ("parameter", ("H_h", "H_s"))


def test_a_highway_makes_the_input_as_long_as_the_state():
    assert roles("published_simple_recurrent_unit")["x"] == ("input", ("H",))


def test_a_page_at_t_plus_one_is_shifted():
    table = roles("published_mut1")
    assert table["h"][0] == "state"
    assert any("shifted" in note for note in CELLS["published_mut1"].reading.notes)


def test_prev_and_next_need_no_letter():
    table = roles("published_update_gate_network")
    assert (table["h"][0], table["x"][0], table["b_c"][0]) == ("state", "input", "parameter")
