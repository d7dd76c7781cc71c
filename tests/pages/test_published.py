"""Published cells, each from its equations alone, and held against its paper where it needs numbers or matrices.

The pages of cells that the reader can't read yet wait in `published_owed.md`.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from derive.pages import read
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.pages.gradients import BATCH, LIMIT, STEPS, draw, sizes_of, worst_gradient_error
from tests.pages.published_steps import STEPS as PAPERS

PAGE = Path(__file__).parents[2] / "examples" / "pages" / "published.md"
READ = read(str(PAGE))
CELLS = {one.cell.name: one for one in READ.cells}
OWED = {
    part.split("\n", 1)[0]: f"## {part}"
    for part in re.split(r"^## ", (Path(__file__).parent / "published_owed.md").read_text(), flags=re.MULTILINE)[1:]
}
TITLES = re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)


def test_there_are_forty_and_more():
    assert len(TITLES) + len(OWED) >= 40
    assert len(PAPERS) >= 15
    assert set(PAPERS) <= {*TITLES, *OWED}


def test_every_cell_of_the_page_is_read():
    assert not READ.refused
    assert len(CELLS) == len(TITLES)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_agree_with_the_complex_step(name):
    assert worst_gradient_error(CELLS[name].cell) < LIMIT


def test_no_code_names_a_published_cell():
    code = "".join(path.read_text().lower() for path in (Path(__file__).parents[2] / "derive" / "pages").glob("*.py"))
    assert not [title for title in TITLES if title.lower() in code]


# ---- held against the papers


def marked(heading):
    owed = re.findall(r"<!-- owed: (.*) -->", OWED.get(heading, ""))
    return pytest.param(heading, marks=[pytest.mark.xfail(reason=owed[0], strict=True)] if owed else [])


def kernel_for(heading):
    page = read("owed.md", text=OWED[heading]) if heading in OWED else READ
    return kernel_of_cell(page.cell(heading).cell)


def shapes_of(kernel):
    return {
        name: shape
        for group in (kernel.PARAMETERS, kernel.INPUTS, kernel.STATES, kernel.OUTPUTS)
        for name, shape in group.items()
    }


@pytest.mark.parametrize("heading", [marked(heading) for heading in PAPERS])
def test_a_cell_has_the_shapes_of_its_paper(heading):
    """The same names, each with as many sizes; equal sizes where the paper says so, and nowhere else."""
    kernel, paper = kernel_for(heading), PAPERS[heading].shapes
    read_as = shapes_of(kernel)
    assert {name: len(shape) for name, shape in read_as.items()} == {name: len(shape) for name, shape in paper.items()}
    pairs = {pair for name, shape in paper.items() for pair in zip(shape, read_as[name], strict=True)}
    assert len(pairs) == len(dict(pairs)) == len({ours for _, ours in pairs}), pairs


@pytest.mark.parametrize("heading", [marked(heading) for heading in PAPERS])
def test_a_cell_does_what_its_paper_says(heading):
    kernel = kernel_for(heading)
    parameters, inputs, state, _ = draw(kernel)
    outputs, _ = kernel.forward(parameters, inputs, state)
    expected = {name: np.zeros_like(value) for name, value in outputs.items()}
    for b in range(BATCH):
        now = {name: value[b] for name, value in state.items()}
        for t in range(STEPS):
            given = {name: value[t, b] for name, value in inputs.items()}
            new = PAPERS[heading].run(SimpleNamespace(**parameters), SimpleNamespace(**given), SimpleNamespace(**now))
            assert set(new) == set(outputs)
            for name, value in new.items():
                expected[name][t, b] = value
            now = {name: new[name] for name in now}
    limit = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=sum(sizes_of(kernel).values())))
    for name, value in outputs.items():
        assert np.abs(value - expected[name]).max() <= limit * (1 + np.abs(expected[name]).max()), name


# ---- what the table of symbols says


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
