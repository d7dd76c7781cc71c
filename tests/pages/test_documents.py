"""The five documents' own equations, read from their pages, against the built-in cells: states and gradients under a stated map.

A map says of each of the page's weights which blocks of the built-in cell's weights it is made of: `U_f|W_f` side by side, `/` one
above the other, `T:` transposed (row vectors). The page's readouts get zero cotangents.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from derive.cells.registry import build
from derive.pages import read
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.pages.gradients import LIMIT, worst_gradient_error

PAGES = Path(__file__).parents[2] / "examples" / "pages"
# two derivations of one formula: the order of sums differs, nothing else
TOLERANCE = bounds.rounded(bounds.of_recurrence(steps=6, batch=4, fan_in=72))  # two kernels of one cell
SIZES = {"T": 6, "B": 3, "D": 4, "H": 5, "K": 2}

CONCATENATED = {f"W_{page}": f"U_{gate}|W_{gate}" for page, gate in (("f", "f"), ("i", "i"), ("o", "o"), ("C", "c"))}
BIASES = {f"b_{page}": f"b_{gate}" for page, gate in (("f", "f"), ("i", "i"), ("o", "o"), ("C", "c"))}
GRU = {"W_z": "U_z|W_z", "W_r": "U_r|W_r", "W": "U_h|W_h"}
ROWS_LSTM = (
    {f"W_h{g}": f"T:U_{g}" for g in "ifoc"} | {f"W_x{g}": f"T:W_{g}" for g in "ifoc"} | {f"b_{g}": f"b_{g}" for g in "ifoc"}
)
ROWS_GRU = {f"W_h{u}": f"T:U_{z}" for u, z in ("uz", "rr", "hh")} | {f"W_x{u}": f"T:W_{z}" for u, z in ("uz", "rr", "hh")}
ROWS_GRU |= {"b_u": "b_z", "b_r": "b_r", "b_h": "b_h"}
PSEUDOCODE = {f"W_{g}{s}": f"{block}_{g}" for g in "fico" for s, block in (("c", "P"), ("h", "U"), ("x", "W"))} | {
    f"b_{g}": f"b_{g}" for g in "fico"
}

# (page, cell): the built-in cell, its states by the page's names, its input's name, the map
MAPS = {
    ("000.md", 0): ("lstm --no-candidate-bias", {"h": "h", "C": "c"}, "x",
                    {"W_f": "U_f|W_f", "W_i": "U_i|W_i", "W_o": "U_o|W_o", "W_C_tilde": "U_c|W_c", "b_f": "b_f", "b_i": "b_i",
                     "b_o": "b_o"}),
    ("000.md", 1): ("lstm --no-bias", {"h": "h", "C": "c"}, "x", {"W": "U_i|W_i/U_f|W_f/U_c|W_c/U_o|W_o"}),
    ("000.md", 2): ("lstm", {"h": "h", "C": "c"}, "x", CONCATENATED | BIASES),
    ("000.md", 3): ("gru --no-bias", {"h": "h"}, "x", GRU),
    ("000.md", 4): ("gru", {"h": "h"}, "x", GRU | {"b_z": "b_z", "b_r": "b_r", "b": "b_h"}),
    ("001.md", 0): ("rnn --activation sigmoid", {"h": "h"}, "e", {"W_h": "T:U", "W_e": "T:W", "b": "b"}),
    ("001.md", 1): ("rnn --activation identity", {"h": "h"}, "e", {"W_h": "T:U", "W_e": "T:W", "b": "b"}),
    ("001.md", 2): ("lstm", {"h": "h", "c": "c"}, "e", ROWS_LSTM),
    ("001.md", 3): ("gru", {"h": "h"}, "e", ROWS_GRU),
    ("002.md", 0): ("lstm", {"h": "h", "C": "c"}, "x", CONCATENATED | BIASES),
    ("002.md", 1): ("lstm --peephole", {"h": "h", "C": "c"}, "x",
                    BIASES | {"W_C": "U_c|W_c"} | {f"W_{g}": f"P_{g}|U_{g}|W_{g}" for g in "fio"}),
    ("002.md", 2): ("lstm --peephole --candidate-peephole", {"h": "h", "C": "c"}, "x", PSEUDOCODE),
    ("002.md", 3): ("gru --no-bias", {"h": "h"}, "x", GRU),
    ("003.md", 0): ("rnn", {"s": "h"}, "e", {"W_r": "T:W|U", "b_r": "b"}),
    ("003.md", 1): ("rnn", {"h": "h"}, "e", {"W_r": "T:W|U", "b_r": "b"}),
    ("004.md", 0): ("rnn --activation sigmoid --no-bias", {"h": "h"}, "x", {"W_hh": "U", "W_hx": "W"}),
    ("004.md", 1): ("gru --reset after --update-gate state --no-bias", {"h": "h"}, "x",
                    {"W_z": "W_z", "U_z": "U_z", "W_r": "W_r", "U_r": "U_r", "W": "W_h", "U": "U_h"}),
    ("004.md", 2): ("lstm --no-bias", {"h": "h", "c": "c"}, "x", {f"{m}_{g}": f"{m}_{g}" for m in "WU" for g in "ifoc"}),
}  # fmt: skip


def assembled(blocks, values):
    """The page's weight from the built-in cell's."""
    array = (
        np.block([[values[name] for name in row.split("|")] for row in blocks.removeprefix("T:").split("/")])
        if set("|/") & set(blocks)
        else values[blocks.removeprefix("T:")]
    )
    return array.T if blocks.startswith("T:") else array


def length(size):
    return sum(int(n or 1) * SIZES[name] for term in size.split("+") for n, _, name in [term.rpartition("*")])


def random_arrays(shapes, random, *front):
    return {name: 0.5 * random.standard_normal((*front, *map(length, shape))) for name, shape in shapes.items()}


@pytest.mark.parametrize(("page", "at"), MAPS)
def test_a_documents_equations_are_the_built_in_cell(page, at):
    words, states, x, blocks = MAPS[page, at]
    cell = read(str(PAGES / page)).cells[at].cell
    ours, known = kernel_of_cell(cell), kernel_of_cell(build(words))
    random = np.random.default_rng(7)
    T, B = SIZES["T"], SIZES["B"]
    theirs = random_arrays(known.PARAMETERS, random)
    parameters = random_arrays(ours.PARAMETERS, random) | {name: assembled(block, theirs) for name, block in blocks.items()}
    inputs, state = random_arrays(known.INPUTS, random, T, B), random_arrays(known.STATES, random, B)
    cotangents = random_arrays(known.STATES, random, T, B)

    outputs, tape = ours.forward(parameters, {x: inputs["x"]}, {s: state[k] for s, k in states.items()})
    expected, known_tape = known.forward(theirs, inputs, state)
    gradients = ours.backward(parameters, tape, {s: cotangents[k] for s, k in states.items()})
    known_gradients = known.backward(theirs, known_tape, cotangents)

    assert set(ours.STATES) == set(states)
    assert list(ours.INPUTS) == [x]
    close(gradients.inputs[x], known_gradients.inputs["x"])
    for name, known_name in states.items():
        close(outputs[name], expected[known_name])
        close(gradients.state[name], known_gradients.state[known_name])
    for name, block in blocks.items():
        close(gradients.parameters[name], assembled(block, known_gradients.parameters))
    for name in set(ours.PARAMETERS) - set(blocks):  # weights of the readout
        assert not gradients.parameters[name].any()


def close(ours, theirs):
    assert np.abs(ours - theirs).max() <= TOLERANCE * (1 + np.abs(theirs).max())


def test_every_cell_of_the_documents_has_a_map():
    cells = {(page.name, at) for page in PAGES.glob("00?.md") for at in range(len(read(str(page)).cells))}
    assert cells == set(MAPS)


@pytest.mark.parametrize("page", [f"00{n}.md" for n in range(5)])
def test_gradients_of_the_documents_cells_agree_with_the_complex_step(page):
    for one in read(str(PAGES / page)).cells:
        assert worst_gradient_error(one.cell) < LIMIT, one.heading


def test_a_weight_with_a_time_index_is_noted():
    notes = read(str(PAGES / "000.md")).cells[0].reading.notes
    assert "`W_{ft}` is written with a time index; read as a parameter W_f" in notes


def test_gradient_formulas_of_a_document_are_listed():
    skipped = read(str(PAGES / "000.md")).skipped
    assert len(skipped) == 1
    assert "a gradient formula" in skipped[0]
