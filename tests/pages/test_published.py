"""Published cells, each from its equations alone, and held against its paper where it needs numbers or matrices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from derive.pages.titles import identifier
from tests import bounds
from tests.example_pages import page, section, titles
from tests.kernels import kernel_of_cell
from tests.pages.gradients import BATCH, LIMIT, STEPS, draw, sizes_of, worst_gradient_error
from tests.pages.published_steps import STEPS as PAPERS

PAGE = "published.md"
TITLES = titles(PAGE)


def test_there_are_forty_and_more_and_fifteen_that_need_numbers_or_matrices():
    assert len(TITLES) >= 40
    assert len(PAPERS) >= 15
    assert set(PAPERS) <= set(TITLES)


def test_every_cell_of_the_page_is_read():
    assert not page(PAGE).refused
    assert [one.heading for one in page(PAGE).cells] == [*TITLES]


def test_a_section_by_itself_is_read_as_on_the_page():
    whole = {one.heading: one.cell for one in page(PAGE).cells}
    for title in TITLES[::8]:
        assert section(PAGE, title).cell.equations == whole[title].equations


@pytest.mark.parametrize("title", TITLES)
def test_gradients_agree_with_the_complex_step(title):
    assert worst_gradient_error(section(PAGE, title).cell) < LIMIT


def test_no_code_names_a_published_cell():
    code = "".join(path.read_text().lower() for path in (Path(__file__).parents[2] / "derive" / "pages").glob("*.py"))
    assert not [title for title in TITLES if title.lower() in code]


# ---- held against the papers


def shapes_of(kernel):
    return {
        name: shape
        for group in (kernel.PARAMETERS, kernel.INPUTS, kernel.STATES, kernel.OUTPUTS)
        for name, shape in group.items()
    }


@pytest.mark.parametrize("heading", PAPERS)
def test_a_cell_is_what_its_paper_says(heading):
    """In its shapes and in its numbers."""
    kernel, paper = kernel_of_cell(section(PAGE, heading).cell), PAPERS[heading]
    assert_shapes(shapes_of(kernel), paper.shapes)
    parameters, inputs, state, _ = draw(kernel)
    outputs, _ = kernel.forward(parameters, inputs, state)
    expected = {name: np.zeros_like(value) for name, value in outputs.items()}
    for b in range(BATCH):
        now = {name: value[b] for name, value in state.items()}
        for t in range(STEPS):
            given = {name: value[t, b] for name, value in inputs.items()}
            new = paper.run(SimpleNamespace(**parameters), SimpleNamespace(**given), SimpleNamespace(**now))
            assert set(new) == set(outputs)
            for name, value in new.items():
                expected[name][t, b] = value
            now = {name: new[name] for name in now}
    limit = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=sum(sizes_of(kernel).values())))
    for name, value in outputs.items():
        assert np.abs(value - expected[name]).max() <= limit * (1 + np.abs(expected[name]).max()), name


def assert_shapes(read_as, paper):
    """The same names, each with as many sizes; equal sizes where the paper says so, and nowhere else."""
    assert {name: len(shape) for name, shape in read_as.items()} == {name: len(shape) for name, shape in paper.items()}
    pairs = {pair for name, shape in paper.items() for pair in zip(shape, read_as[name], strict=True)}
    assert len(pairs) == len(dict(pairs)) == len({ours for _, ours in pairs}), pairs


# ---- what the table of symbols says


def called(name):
    return next(section(PAGE, title) for title in TITLES if f"published_{identifier(title).lower()}" == name)


def roles(name):
    return {row.symbol: (row.role, row.shape) for row in called(name).reading.rows}


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
    assert any("shifted" in note for note in called("published_mut1").reading.notes)


def test_prev_and_next_need_no_letter():
    table = roles("published_update_gate_network")
    assert (table["h"][0], table["x"][0], table["b_c"][0]) == ("state", "input", "parameter")
