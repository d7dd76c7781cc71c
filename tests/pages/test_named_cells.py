"""Cells by name: a use is the cell's equations with names of its own, or is asked about."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from derive.cells.registry import build
from derive.language import Value
from derive.pages import PageError
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.pages.gradients import BATCH, LIMIT, STEPS, draw, sizes_of, worst_gradient_error
from tests.pages.test_layers import displays, page

LSTM = r"(h_t, c_t) = \operatorname{LSTM}(x_t, h_{t-1}, c_{t-1})"


# ---- built-in cells


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LSTM, "lstm"),
        (r"h_t = \operatorname{LSTM}(x_t, h_{t-1})", "lstm"),
        (r"h_t = \operatorname{LSTM}(x_t, h_{t-1}, c_{t-1})", "lstm"),
        (r"h_t, c_t = \text{LSTM}(x_t, (h_{t-1}, c_{t-1}))", "lstm"),
        (r"(c_t, h_t) = \mathrm{LSTM}(c_{t-1}, h_{t-1}, x_t)", "lstm"),
        (r"h_t = \mathrm{GRU}(x_t, h_{t-1})", "gru"),
        (r"h_t = \mathrm{GRU}(h_{t-1}, x_t)", "gru"),
        (r"h_t = \operatorname{GRU}(x_t)", "gru"),
        (r"h^{(t)} = \operatorname{RNN}(x^{(t)}, h^{(t-1)})", "rnn"),
        (r"h_{t+1} = \operatorname{RNN}(x_t, h_t)", "rnn"),
    ],
)
def test_a_use_alone_is_the_cell(line, words):
    assert page(line).cells[0].cell.equations == build(words).equations


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r"h_t = \operatorname{GRU}(x_t, h_{t+1})", "gru"),
        (r"h_{t-1} = \operatorname{GRU}(x_t, h_t)", "gru"),
        (r"(h_t, c_t) = \operatorname{LSTM}(x_t, h_{t+1}, c_{t+1})", "lstm"),
        (r"h_t = \operatorname{LSTM}(x_t, h_{t+1})", "lstm"),  # c comes from the step from which h comes
    ],
)
def test_a_state_at_the_step_after_is_a_cell_that_runs_from_the_last_step_to_the_first(line, words):
    cell = page(line).cells[0].cell
    later = {value: value.like(lag=1) for _, right in build(words).equations for value in right.atoms(Value) if value.lag}
    assert cell.equations == tuple((target, right.xreplace(later)) for target, right in build(words).equations)
    assert cell.leftward == {str(state.name) for state in build(words).states}


def test_cells_of_both_ways_are_two_cells():
    cell = page(
        r"\overrightarrow{h}_t = \overrightarrow{\operatorname{RNN}}(x_t, \overrightarrow{h}_{t-1})",
        r"\overleftarrow{h}_t = \overleftarrow{\operatorname{RNN}}(x_t, \overleftarrow{h}_{t+1})",
        r"y_t = V [\overrightarrow{h}_t; \overleftarrow{h}_t]",
    ).cells[0].cell  # fmt: skip
    assert cell.leftward == {"h_left"}
    assert [value.name for value in cell.states] == ["h_right", "h_left"]
    kernel = kernel_of_cell(cell)
    p, given, state, _ = draw(kernel)
    outputs, _ = kernel.forward(p, given, state)
    limit = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=sum(sizes_of(kernel).values())))
    for way, steps in (("right", range(STEPS)), ("left", reversed(range(STEPS)))):
        h = state[f"h_{way}"]
        for t in steps:
            h = np.tanh(given["x"][t] @ p[f"W_{way}"].T + h @ p[f"U_{way}"].T + p[f"b_{way}"])
            assert np.abs(outputs[f"h_{way}"][t] - h).max() <= limit
    assert worst_gradient_error(cell) < LIMIT


@pytest.mark.parametrize("words", ["lstm --peephole", "lstm --peephole diagonal --no-bias", "lstm --no-candidate-bias"])
def test_options_are_declared(words):
    assert page(LSTM, LSTM=words).cells[0].cell.equations == build(words).equations
    assert page(f"<!-- derive: LSTM = {words} -->", LSTM).cells[0].cell.equations == build(words).equations


def test_any_word_may_be_declared_to_be_a_cell():
    found = page(r"h_t = F(x_t, h_{t-1})", F="gru --reset after").cells[0]
    assert found.cell.equations == build("gru --reset after").equations
    assert "`F` is the built-in cell `gru --reset after`" in found.reading.notes


def test_what_a_cell_carries_by_itself_is_said():
    notes = page(r"h_t = \operatorname{LSTM}(x_t, h_{t-1})").cells[0].reading.notes
    assert r"`\operatorname{LSTM}` is the built-in cell `lstm`, which carries c by itself" in notes


@pytest.mark.parametrize(
    ("mark", "behind"),
    [
        (r"\operatorname{RNN}^{(1)}", "_1"),
        (r"\operatorname{RNN}_1", "_1"),
        (r"\operatorname{RNN}_{enc}", "_enc"),
        (r"\overrightarrow{\operatorname{RNN}}", "_right"),
        (r"\overrightarrow{\operatorname{RNN}}^{(2)}", "_right_2"),
        (r"\operatorname{RNN}'", "_prime"),
    ],
)
def test_a_mark_is_put_behind_the_names(mark, behind):
    cell = page(rf"s_t = {mark}(x_t, s_{{t-1}})").cells[0].cell
    assert [value.name for value in cell.parameters] == [f"W{behind}", f"U{behind}", f"b{behind}"]
    assert [value.name for value in cell.states] == ["s"]


def test_an_argument_may_be_a_formula_or_several_vectors():
    assert page(r"h_t = \operatorname{RNN}(E w_t, h_{t-1})").cells[0].reading.equations == ("hₜ = tanh(W E wₜ + U hₜ₋₁ + b)",)
    equations = page(r"h_t = \operatorname{RNN}([x_t; y_t], h_{t-1})").cells[0].reading.equations
    assert equations == ("hₜ = tanh(W [xₜ; yₜ] + U hₜ₋₁ + b)",)


def test_layers_of_a_built_in_cell_are_the_step_written_by_hand():
    cell = page(r"h_t^{(l)} = \operatorname{LSTM}^{(l)}(h_t^{(l-1)}, h_{t-1}^{(l)})", r"y_t = V h_t^{(L)}", L="2").cells[0].cell
    assert [value.name for value in cell.states] == ["h_1", "c_1", "h_2", "c_2"]
    kernel = kernel_of_cell(cell)
    p, given, state, _ = draw(kernel)
    outputs, _ = kernel.forward(p, given, state)
    s = dict(state)

    def gate(name, n, below, function):
        z = below @ p[f"W_{name}_{n}"].T + s[f"h_{n}"] @ p[f"U_{name}_{n}"].T + p[f"b_{name}_{n}"]
        return np.tanh(z) if function is np.tanh else 1 / (1 + np.exp(-z))

    limit = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=sum(sizes_of(kernel).values())))
    for t in range(STEPS):
        below = given["x"][t]
        for n in (1, 2):
            i, f, o = (gate(name, n, below, None) for name in "ifo")
            s[f"c_{n}"] = f * s[f"c_{n}"] + i * gate("c", n, below, np.tanh)
            below = s[f"h_{n}"] = o * np.tanh(s[f"c_{n}"])
            assert np.abs(outputs[f"h_{n}"][t] - below).max() <= limit
            assert np.abs(outputs[f"c_{n}"][t] - s[f"c_{n}"]).max() <= limit
        assert np.abs(outputs["y"][t] - below @ p["V"].T).max() <= limit
    assert worst_gradient_error(cell) < LIMIT


def test_several_cells_may_be_shared():
    uses = [
        rf"{h}_t = \operatorname{{{name}}}_{mark}(x_t, {h}_{{t-1}})"
        for name, mark, states in (("GRU", "a", "hs"), ("RNN", "b", "uv"))
        for h in states
    ]
    cell = page("<!-- derive: share GRU; share RNN -->", *uses).cells[0].cell
    names = [f"{name}_{gate}_a" for gate in "zrh" for name in "WUb"]
    assert [value.name for value in cell.parameters] == [*names, "W_b", "U_b", "b_b"]


def test_uses_that_share_have_one_set_of_parameters_and_values_of_their_own():
    lines = [r"h_t = \operatorname{GRU}(x_t, h_{t-1})", r"s_t = \operatorname{GRU}(h_t, s_{t-1})"]
    for found in (page(*lines, share="GRU"), page("<!-- derive: share GRU -->", *lines)):
        cell = found.cells[0].cell
        assert {value.name for value in cell.parameters} == {value.name for value in build("gru").parameters}
        assert {"z", "z_s", "h_tilde", "h_tilde_s"} <= {value.name for value in cell.targets}
    layered = page(r"h_t^{(l)} = \operatorname{RNN}(h_t^{(l-1)}, h_{t-1}^{(l)})", L="2", share="RNN").cells[0]
    assert layered.reading.equations == ("h_1ₜ = tanh(W xₜ + U h_1ₜ₋₁ + b)", "h_2ₜ = tanh(W h_1ₜ + U h_2ₜ₋₁ + b)")


# ---- cells that the page defines

FAST = ["# Fast", r"h_t = f_t \odot h_{t-1} + W x_t", r"f_t = \sigma(w \odot x_t + b)"]
TWICE = [
    *FAST,
    "# Network",
    r"s_t = \operatorname{Fast}_{enc}(x_t, s_{t-1})",
    r"h_t = \operatorname{Fast}_{dec}(s_t, h_{t-1})",
    r"y_t = V h_t",
]
WRITTEN_OUT = [
    r"s_t = f_t^{(enc)} \odot s_{t-1} + W^{(enc)} x_t", r"f_t^{(enc)} = \sigma(w^{(enc)} \odot x_t + b^{(enc)})",
    r"h_t = f_t^{(dec)} \odot h_{t-1} + W^{(dec)} s_t", r"f_t^{(dec)} = \sigma(w^{(dec)} \odot s_t + b^{(dec)})", r"y_t = V h_t",
]  # fmt: skip


def test_a_cell_of_the_page_is_used_twice():
    """As the page that writes both out; the gradients are right."""
    (found,), (expected,) = page(*TWICE).cells, page(*WRITTEN_OUT).cells
    assert found.reading.equations == expected.reading.equations
    assert worst_gradient_error(found.cell) < LIMIT


def test_the_cell_itself_is_derived_where_it_is_chosen():
    found = page(*TWICE)
    assert [one.heading for one in found.cells] == ["Network"]
    assert found.cell("fast").reading.equations == ("hₜ = fₜ ∘ hₜ₋₁ + W xₜ", "fₜ = σ(w ∘ xₜ + b)")
    assert found.cell("fast").cell.command == "page.md --cell fast"
    assert found.cell().cell.command == "page.md"


def test_the_command_line_derives_the_network_and_the_chosen_cell(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(displays(*TWICE))
    for options, name in (([], "page.py"), (["--cell", "fast"], "page_fast.py")):
        command = [sys.executable, "-m", "derive", str(path), "--no-verify", "--out", str(tmp_path / "out"), *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert (tmp_path / "out" / name).exists()
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["page.py", "page_fast.py"]


@pytest.mark.parametrize(
    ("cell", "use", "expected"),
    [
        (["h_t = h_{t-1} + m_t \\odot W x_t"], r"s_t = \operatorname{Own}(x_t, m_t, s_{t-1})", ("sₜ = sₜ₋₁ + mₜ ∘ W xₜ",)),
        (
            ["<!-- derive: f = relu; alpha = 0.5 -->", r"h_t = f(W x_t + \alpha h_{t-1})"],
            r"s_t = \operatorname{Own}^{(1)}(x_t, s_{t-1})", ("sₜ = relu(W_1 xₜ + 0.5 sₜ₋₁)",),
        ),
        ([r"\phi(a) = a^2", r"h_t = \phi(h_{t-1}) + W x_t"], r"s_t = \operatorname{Own}_a(x_t, s_{t-1})", ("sₜ = sₜ₋₁² + W_a xₜ",)),
        ([r"h_t = x_t W + h_{t-1} U"], r"s_t = \operatorname{Own}(x_t, s_{t-1})", ("sₜ = Wᵀ xₜ + Uᵀ sₜ₋₁",)),
        (
            ["<!-- derive: eta = number -->", r"h_t = h_{t-1} + \eta W x_t"],
            r"s_t = \operatorname{Own}_a(x_t, s_{t-1})", ("sₜ = sₜ₋₁ + η_a W_a xₜ",),
        ),
        ([r"h_t = \operatorname{RNN}(x_t, h_{t-1})"], r"s_t = \operatorname{Own}_a(x_t, s_{t-1})", ("sₜ = tanh(W_a xₜ + U_a sₜ₋₁ + b_a)",)),
        (
            [r"C_t = C_{t-1} + v_t k_t^\top", r"v_t = W x_t", r"k_t = V x_t", r"h_t = C_t x_t"],
            r"(h_t, C_t) = \operatorname{Own}(x_t, C_{t-1})",
            ("Cₜ = Cₜ₋₁ + vₜ kₜᵀ", "vₜ = W xₜ", "kₜ = V xₜ", "hₜ = Cₜ xₜ"),
        ),
    ],
)  # fmt: skip
def test_a_use_of_a_cell_of_the_page(cell, use, expected):
    """Inputs by their names, declarations, functions, rows, cells in cells, matrices."""
    assert page("# Own", *cell, "# Network", use).cells[0].reading.equations == expected


def test_layers_of_a_cell_of_the_page():
    use = [r"h_t^{(l)} = \operatorname{Fast}^{(l)}(h_t^{(l-1)}, h_{t-1}^{(l)})", r"y_t = V h_t^{(L)}"]
    cell = page(*FAST, "# Network", *use, L="2").cells[0].cell
    assert [value.name for value in cell.parameters] == ["W_1", "w_1", "b_1", "W_2", "w_2", "b_2", "V"]
    assert cell.layers["W_2"] == ("W", 2)


# ---- what is refused, and what is as before

REFUSED = {
    "used twice": (
        [r"h_t = \operatorname{GRU}(x_t, h_{t-1})", r"s_t = \operatorname{GRU}(h_t, s_{t-1})"],
        r"`\operatorname{GRU}` is used more than once: expected to know whether its uses share their parameters.", '--let "share=GRU"',
    ),
    "one name for all layers": (
        ["<!-- derive: L = 2 -->", r"h_t^{(l)} = \operatorname{GRU}(h_t^{(l-1)}, h_{t-1}^{(l)})"],
        r"`\operatorname{GRU}` is used more than once", "mark each use",
    ),
    "inside of a formula": (
        [r"h_t = \mathrm{GRU}(x_t, h_{t-1}) + x_t"], r"`\mathrm{GRU}(x_t, h_{t-1})` is a cell inside of a formula",
        "an equation of its own",
    ),
    "two inputs for one": (
        [r"h_t = \operatorname{GRU}(x_t, v_t, h_{t-1})"],
        r"`\operatorname{GRU}` reads x and carries h: expected one input, got `x_t`, `v_t`.", "[a; b]",
    ),
    "a state that isn't told": (
        [r"u_t = V x_t", r"s_t = \operatorname{GRU}(x_t, u_t)"],
        r"`\operatorname{GRU}` reads x and carries h: expected one input, got `x_t`, `u_t`.", "at the step before",
    ),
    "a cell that reads c, which is something else": (
        [r"c_t = V x_t", r"s_t = \operatorname{LSTM}(x_t, s_{t-1}, c_{t-1})"], r"`\operatorname{LSTM}` reads x and carries h, c", "[a; b]",
    ),
    "a parameter of the same name": (
        [LSTM, r"y_t = W_o h_t"], r"name collision: the W_o of `\operatorname{LSTM}` and this one would both be called W_o.",
        "mark the cell",
    ),
    "what a cell carries, read elsewhere": (
        [r"h_t = \operatorname{LSTM}(x_t, h_{t-1})", "y_t = V c_t"], r"name collision: the c of `\operatorname{LSTM}`",
        "`(..., c_t) = ...`",
    ),
    "two cells with equal names": (
        [LSTM, r"s_t = \operatorname{Own}(h_t, s_{t-1})", "# Own", r"h_t = \tanh(W_c x_t + h_{t-1})"], "name collision: the W_c of",
        "mark the cell",
    ),
    "no step": ([r"h = \operatorname{GRU}(x, h_{prev})"], r"`\operatorname{GRU}` is a cell, and what it defines stands at no step",
    "h_t ="),
    "options that aren't there": (
        ["<!-- derive: LSTM = lstm --foo -->", LSTM], "`lstm --foo` names no cell: lstm: unrecognized arguments: --foo.",
        "Correct its options",
    ),
    "states from both ways": (
        [r"(h_t, c_t) = \operatorname{LSTM}(x_t, h_{t+1}, c_{t-1})"],
        r"`\operatorname{LSTM}` reads x and carries h, c: expected one input, got `x_t`, `c_{t-1}`", "all at the step before, or after",
    ),
    "an arrow to the left without its state": (
        [r"\overleftarrow{h}_t = \overleftarrow{\operatorname{GRU}}(x_t)"],
        r"`\overleftarrow{\operatorname{GRU}}` may run from the last step to the first", "at t-1 or at t+1",
    ),
    "inputs by other names": (
        ["# Own", r"h_t = h_{t-1} + m_t \odot W x_t", "# Network", r"s_t = \operatorname{Own}(e_t, k_t, s_{t-1})"],
        r"`\operatorname{Own}` reads m, x and carries h: expected these inputs by these names, got `e_t`, `k_t`.", "[a; b]",
    ),
    "states by other names": (
        ["# Own", r"c_t = c_{t-1} + W x_t", r"h_t = h_{t-1} + c_t", "# Network", r"(s_t, m_t) = \operatorname{Own}(x_t, s_{t-1}, m_{t-1})"],
        "`s_t` is one of the quantities c, h of Own: expected to know which.", "name them all: `(c, h)`",
    ),
    "a cell that reads two steps back": (
        ["# Own", r"h_t = h_{t-1} + V x_{t-1} + W x_t", "# Network", r"h_t = \operatorname{Own}(x_t, h_{t-1})"],
        "Own has x at t-1: expected what it defines and its inputs at t, and states at t-1.", "where it is used",
    ),
    "a cell that is written in components": (
        ["# Own", r"h_{t,i} = h_{t-1,i} + \sum_j W_{ij} x_{t,j}", "# Network", r"s_t = \operatorname{Own}(x_t, s_{t-1})"],
        "Own has h_i at t-1", "where it is used",
    ),
    "a declaration in two ways": (
        ["# Own", "<!-- derive: f = tanh -->", r"h_t = f(W x_t + h_{t-1})", "# Network", "<!-- derive: f = relu -->",
         r"s_t = \operatorname{Own}(x_t, s_{t-1})", "y_t = f(s_t)"], "f is declared in two ways, here and for Own: expected one.",
         "Rename one",
    ),
    "a function in two ways": (
        ["# Own", r"\phi(a) = a^2", r"h_t = \phi(W x_t + h_{t-1})", "# Network", r"\phi(a) = a^3",
        r"s_t = \operatorname{Own}(x_t, s_{t-1})",
         r"y_t = \phi(s_t)"], "the function phi is defined here, and for a cell that is used by its name", "Rename one",
    ),
    "cells that need each other": (
        ["# One", r"h_t = \operatorname{Two}(x_t, h_{t-1})", "# Two", r"h_t = \operatorname{One}(x_t, h_{t-1})", "# Network",
         r"s_t = \operatorname{One}(x_t, s_{t-1})"], "One uses itself: expected equations, or cells defined without it.",
         "Write its step out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", REFUSED)
def test_what_no_use_says_is_refused(title):
    lines, begins, todo = REFUSED[title]
    with pytest.raises(PageError) as caught:
        page(*lines)
    message = str(caught.value).split(": ", 1)[1]
    assert message.startswith(begins)
    assert todo in message


def test_a_name_beside_the_equations_of_what_it_defines_is_passed_over():
    found = page(r"h_t = \operatorname{RNN}(x_t, h_{t-1})", r"h_t = \sigma(W x_t + U h_{t-1})").cells[0]
    assert found.reading.equations == ("hₜ = σ(W xₜ + U hₜ₋₁)",)
    assert len(found.reading.skipped) == 1


def test_a_word_that_names_no_cell_is_unknown():
    with pytest.raises(PageError, match="unknown function `Foo` of 2 things"):
        page(r"h_t = \mathrm{Foo}(x_t, h_{t-1})")
