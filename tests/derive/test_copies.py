"""Any cell as a network: names, sizes, the mask, what is refused, and each network against its cell, run layer by layer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path

import numpy as np
import pytest

from derive.__main__ import main as derive
from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import compile_cell, equations_text
from derive.copies import MOST, Network, NetworkError
from derive.derivation import derive as derived
from derive.pages import read
from derive.pages.titles import identifier
from derive.sheet import text
from derive.sources import cells_of
from tests import arguments
from tests.derive.refused import assert_refused
from tests.example_pages import section, titles
from tests.kernels import kernel_of_cell
from tests.pages.gradients import LIMIT, draw
from tests.profiles import THOROUGH, thorough
from verify.__main__ import main as verify
from verify.emitted import compare_text

PAGES = Path(__file__).parents[2] / "examples" / "pages"


def page_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    return str(path)


def cell_of(text: str) -> Cell:
    return read("page.md", text=text).cell().cell


def printed(cell: Cell) -> list[str]:
    """The equations as they are printed, letters with their marks in one character where there is one."""
    return [unicodedata.normalize("NFC", line) for line in equations_text(cell)]


def shapes(values: tuple) -> dict[str, str]:
    return {value.name: "x".join(str(size) for size in value.shape if size != 1) for value in values}


# ---- names and sizes


def test_each_layer_has_the_cells_names_with_its_number_and_reads_the_one_below() -> None:
    cell = build("rnn --layers 3")
    assert printed(cell) == [
        "h_1ₜ = tanh(W_1 xₜ + U_1 h_1ₜ₋₁ + b_1)",
        "h_2ₜ = tanh(W_2 h_1ₜ + U_2 h_2ₜ₋₁ + b_2)",
        "h_3ₜ = tanh(W_3 h_2ₜ + U_3 h_3ₜ₋₁ + b_3)",
    ]
    assert shapes(cell.parameters) == {
        "W_1": "HxD", "U_1": "HxH", "b_1": "H", "W_2": "HxH", "U_2": "HxH", "b_2": "H", "W_3": "HxH", "U_3": "HxH", "b_3": "H",
    }  # fmt: skip
    assert shapes(cell.inputs) == {"x": "D"}


def test_two_directions_have_their_names_in_front_of_the_number_and_give_both_in_one() -> None:
    cell = build("rnn --layers 2 --bidirectional --no-bias")
    assert printed(cell) == [
        "h⃗_1ₜ = tanh(W⃗_1 xₜ + U⃗_1 h⃗_1ₜ₋₁)",
        "h⃖_1ₜ = tanh(W⃖_1 xₜ + U⃖_1 h⃖_1ₜ₊₁)",
        "h_1ₜ = [h⃗_1ₜ; h⃖_1ₜ]",
        "h⃗_2ₜ = tanh(W⃗_2 h_1ₜ + U⃗_2 h⃗_2ₜ₋₁)",
        "h⃖_2ₜ = tanh(W⃖_2 h_1ₜ + U⃖_2 h⃖_2ₜ₊₁)",
        "hₜ = [h⃗_2ₜ; h⃖_2ₜ]",
    ]
    assert shapes(cell.states) == dict.fromkeys(["h_right_1", "h_left_1", "h_right_2", "h_left_2"], "H")
    assert shapes(cell.outputs) == {"h": "2*H"}
    assert shapes(cell.parameters)["W_left_1"] == "HxD"
    assert shapes(cell.parameters)["W_left_2"] == "Hx2*H"


def test_one_layer_has_no_number() -> None:
    assert [value.name for value in build("rnn --bidirectional --no-bias").parameters] == [
        "W_right",
        "U_right",
        "W_left",
        "U_left",
    ]


def test_a_subscript_stays_in_front() -> None:
    names = {value.name for value in build("lstm --layers 2 --bidirectional").parameters}
    assert {"W_i_right_1", "U_c_left_2", "b_o_left_1"} <= names


def test_an_input_as_large_as_the_state_makes_the_upper_layers_as_large_as_both_directions() -> None:
    cell = Network(layers=2, bidirectional=True).of(cell_of("$$h_t = \\tanh(x_t + u \\odot h_{t-1})$$"))
    (size,) = set(shapes(cell.inputs).values())
    assert set(shapes(cell.states).values()) == {size, f"2*{size}"}
    assert shapes(cell.outputs) == {"h": f"4*{size}"}
    assert compare_text(compile_cell(cell), cell).passed


def test_a_letter_that_is_a_word_of_python_is_printed_as_itself_in_each_copy() -> None:
    cell = Network(layers=2).of(cell_of("$$h_t = \\tanh(W x_t + \\lambda h_{t-1})$$\n<!-- derive: lambda = number -->"))
    assert printed(cell) == ["h_1ₜ = tanh(W_1 xₜ + λ_1 h_1ₜ₋₁)", "h_2ₜ = tanh(W_2 h_1ₜ + λ_2 h_2ₜ₋₁)"]


def test_sizes_within_formulas_follow_the_layer() -> None:
    """A mean over the input divides by the size that it has in its layer; so do a stack of it and a matrix of ones."""
    cell = Network(layers=2, bidirectional=True).of(
        cell_of("$$a_t = x_t - \\operatorname{mean}(x_t)$$ $$h_t = \\tanh(W [h_{t-1}, a_t]) + \\operatorname{mean}(x_t^2)$$")
    )
    assert shapes(cell.parameters)["W_left_2"] == "Hx3*H"
    report = compare_text(compile_cell(cell), cell)
    assert report.passed, report.verdict()


READOUT = """
$$h_t = \\tanh(W x_t + U h_{t-1})$$
$$y_t = \\text{softmax}(V h_t + c)$$
"""


def test_what_is_read_out_is_read_out_of_the_top_alone() -> None:
    cell = Network(layers=2).of(cell_of(READOUT))
    assert [value.name for value in cell.outputs] == ["y_2"]
    assert [value.name for value in cell.parameters] == ["W_1", "U_1", "W_2", "U_2", "V_2", "c_2"]


def test_what_a_layer_gives_can_be_chosen() -> None:
    cell = Network(layers=2, output="y").of(cell_of(READOUT))
    assert "h_2ₜ = tanh(W_2 y_1ₜ + U_2 h_2ₜ₋₁)" in printed(cell)
    assert cell.command.endswith("--layers 2 --output y")


@pytest.mark.parametrize("states", ["hc", "ch"])
def test_a_layer_gives_the_state_that_no_other_state_is_made_of_in_whatever_order_they_are_read(states: str) -> None:
    first, second = (f"{letter}_{{t-1}}" for letter in states)
    cell = Network(layers=2).of(
        cell_of(f"$$f_t = \\sigma(W [{first}, {second}, x_t])$$ $$c_t = f_t \\odot c_{{t-1}} + V x_t$$ $$h_t = \\tanh(c_t)$$")
    )
    assert "c_2ₜ = f_2ₜ ∘ c_2ₜ₋₁ + V_2 h_1ₜ" in printed(cell)


def test_inputs_of_other_kinds_go_to_every_layer_as_they_are() -> None:
    cell = Network(layers=2).of(cell_of("<!-- derive: e = number -->\n$$h_t = e_t \\tanh(W x_t + U h_{t-1}) + b$$\n"))
    assert [right.count("eₜ") for right in printed(cell)] == [1, 1]
    assert {value.name for value in cell.inputs} == {"x", "e"}


# ---- the mask


def test_the_mask_blends_each_state_with_itself_one_step_before() -> None:
    assert printed(build("lstm --no-bias --masked"))[3:] == [
        "ĉₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ c̃ₜ",
        "cₜ = mₜ ĉₜ + (1 − mₜ) cₜ₋₁",
        "oₜ = σ(W_o xₜ + U_o hₜ₋₁)",
        "ĥₜ = oₜ ∘ tanh(ĉₜ)",
        "hₜ = mₜ ĥₜ + (1 − mₜ) hₜ₋₁",
    ]


def test_the_sheet_of_a_masked_network_shows_what_the_options_did() -> None:
    sheet = unicodedata.normalize("NFC", text(derived(build("gru --layers 2 --masked"))))
    for line in (
        "gru --layers 2 --masked",
        "inputs     x (D,), m (1,)",
        "states     h_1 (H,), h_2 (H,)",
        "  ĥₜ⁽ˡ⁾ = (1 − zₜ⁽ˡ⁾) ∘ hₜ₋₁⁽ˡ⁾ + zₜ⁽ˡ⁾ ∘ h̃ₜ⁽ˡ⁾",
        "  hₜ⁽ˡ⁾ = mₜ ĥₜ⁽ˡ⁾ + (1 − mₜ) hₜ₋₁⁽ˡ⁾",
        "  zₜ⁽²⁾ = σ(W_z⁽²⁾ hₜ⁽¹⁾ + U_z⁽²⁾ hₜ₋₁⁽²⁾ + b_z⁽²⁾)",
        "            + (1 − mₜ₊₁) ∂L/∂hₜ₊₁⁽¹⁾        from hₜ₊₁⁽¹⁾: y = u ∘ v",
        "  ∂L/∂ĥₜ⁽ˡ⁾ = mₜ ∂L/∂hₜ⁽ˡ⁾                  from hₜ⁽ˡ⁾: y = u ∘ v",
        "  ∂L/∂mₜ = (∂L/∂hₜ⁽¹⁾)ᵀ ĥₜ⁽¹⁾               from hₜ⁽¹⁾: y = u ∘ v",
    ):
        assert line in sheet.splitlines()


def test_what_is_read_out_of_a_masked_cell_is_read_out_of_the_blended_state() -> None:
    assert "yₜ = softmax(V hₜ + c)" in printed(Network(masked=True).of(cell_of(READOUT)))


def test_a_cell_from_the_last_step_to_the_first_is_masked_that_way() -> None:
    cell = Network(masked=True).of(cell_of("$$h_t = \\tanh(W x_t + U h_{t+1})$$"))
    assert "hₜ = mₜ ĥₜ + (1 − mₜ) hₜ₊₁" in printed(cell)


def test_names_that_are_taken_have_others_in_their_place() -> None:
    cell = Network(masked=True).of(cell_of("$$m_t = \\tanh(W x_t + U m_{t-1})$$ $$\\hat m_t = V m_t$$"))
    assert "mₜ = maskₜ m̄ₜ + (1 − maskₜ) mₜ₋₁" in printed(cell)
    assert {value.name for value in cell.inputs} == {"x", "mask"}


@pytest.mark.parametrize("words", ["gru --layers 2 --masked", "lstm --masked", "rnn --layers 2 --bidirectional --masked"])
def test_steps_that_the_mask_leaves_out_might_as_well_not_be_there(words: str) -> None:
    """What stands at them changes nothing, and the states behind them are those of the sequence without them."""
    kernel = kernel_of_cell(build(words), ())
    call = arguments.draw(kernel, T=6, B=3)
    kept = [0, 2, 5]
    call.inputs["m"] = np.isin(np.arange(6), kept)[:, None] * np.ones((6, 3))
    outputs = kernel.forward(call.parameters, call.inputs, call.state)[0]
    call.inputs["x"][[1, 3, 4]] = 1e3
    again = kernel.forward(call.parameters, call.inputs, call.state)[0]
    alone = kernel.forward(call.parameters, {name: array[kept] for name, array in call.inputs.items()}, call.state)[0]
    for name, array in outputs.items():
        np.testing.assert_array_equal(array, again[name])
        np.testing.assert_array_equal(array[kept], alone[name])


# ---- commands


@pytest.mark.parametrize("words", ["gru --layers 1", "lstm --peephole --layers 1"])
def test_one_layer_is_the_cell_to_the_last_byte(words: str) -> None:
    assert compile_cell(build(words)) == compile_cell(build(words.removesuffix(" --layers 1")))


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("gru --masked --layers 2 --reset after", "gru --reset after --layers 2 --masked"),
        ("gru --layers 2 --output h --input x", "gru --layers 2"),
        ("gru --layers 02", "gru --layers 2"),
        ("rnn --bidirectional --output h", "rnn --bidirectional"),
        ("lstm --layers 2 --output c", "lstm --layers 2 --output c"),
    ],
)
def test_the_command_is_the_canonical_one_and_names_the_file(words: str, command: str) -> None:
    cell = build(words)
    assert cell.command == command
    assert cell.name == re.sub(r"\W+", "_", command)


def test_derive_writes_the_network_of_a_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert derive(["rnn", "--layers", "2"]) == 0
    written = (tmp_path / "generated" / "rnn_layers_2.py").read_text(encoding="utf-8")
    assert written.startswith("# Emitted by `python -m derive rnn --layers 2`")
    assert verify(["rnn", "--layers", "2"]) == 0
    assert "forward and backward are those of `rnn --layers 2`" in capsys.readouterr().out


def test_a_project_lists_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.derive]\nkernels = ["rnn --masked"]\n', encoding="utf-8")
    assert derive(["--all"]) == 0
    assert (tmp_path / "generated" / "rnn_masked.py").is_file()
    assert derive(["--check"]) == 0


def test_the_jacobian_of_a_network_is_of_the_states_of_all_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(["jacobian", "rnn", "--layers", "2", "--steps", "8", "--hidden", "3", "--inputs", "2"]) == 0
    said = capsys.readouterr().out
    assert "h_1" in said
    assert "h_2" in said


def test_a_page_is_read_and_its_equations_are_shown_as_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert derive([page_of(tmp_path, READOUT), "--layers", "2", "--explain"]) == 0
    said = capsys.readouterr().out
    assert "note: each layer reads h of the layer below it in the place of x" in said
    assert "h_2ₜ = tanh(W_2 h_1ₜ + U_2 h_2ₜ₋₁)" in said


def test_the_options_go_with_those_of_a_page(tmp_path: Path) -> None:
    page = page_of(tmp_path, f"# One\n{READOUT}\n# Two\n$$s_t = \\phi(A x_t + s_{{t-1}})$$\n")
    (cell,) = cells_of([page, "--cell", "two", "--layers", "2", "--let", "phi=tanh"])
    assert cell.name == "page_two_layers_2"
    assert cell.command == "page.md --cell two --let phi=tanh --layers 2"


def test_a_cell_of_a_page_that_can_not_be_the_network_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = page_of(tmp_path, f"# One\n{READOUT}\n# Two\n$$s_t = \\tanh(A x_t + B z_t + s_{{t-1}})$$\n")
    assert derive([page, "--layers", "2", "--explain"]) == 1
    out, err = capsys.readouterr()
    assert "h_2ₜ" in out
    assert "page_two: --layers 2" in err
    assert derive([page, "--cell", "two", "--layers", "2", "--explain"]) == 2


OWN = """
from derive.cells.registry import Flag, cell
from derive.language import *
D, H = dimension("D"), dimension("H")
@cell(Flag("masked", "its own"))
def own(masked):
    return [Eq(sequence("h", H), matrix("W", H, D) @ sequence("x", D) + (2 if masked else 1) * sequence("h", H).prev)]
@cell()
def other():
    return [Eq(sequence("s", H), matrix("W", H, D) @ sequence("x", D) + sequence("s", H).prev)]
"""


def test_cells_of_a_python_file_are_networks_too_and_an_option_of_their_own_wins(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN, encoding="utf-8")
    (cell,) = cells_of([str(path), "--cell", "own", "--layers", "2", "--masked"])
    assert printed(cell) == ["h_1ₜ = W_1 xₜ + 2 h_1ₜ₋₁", "h_2ₜ = W_2 h_1ₜ + 2 h_2ₜ₋₁"]
    assert cell.command == "own.py --cell own --masked --layers 2"
    (cell,) = cells_of([str(path), "--cell", "other", "--masked"])
    assert [value.name for value in cell.inputs] == ["x", "m"]


# ---- what is refused


@pytest.mark.parametrize("number", ["0", "-1", "x", "1000000", "1.5", "", "²", str(MOST + 1)])
def test_a_number_of_layers_that_is_none(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["gru", f"--layers={number}"], [page_of(tmp_path, READOUT), f"--layers={number}"]):
        assert derive(command) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert f"expected a number from 1 to {MOST}" in err
        assert number in err
    assert not (tmp_path / "generated").exists()


TWO_INPUTS = "$$h_t = \\tanh(W x_t + V z_t + U h_{t-1})$$"
TWO_STATES = "$$h_t = \\tanh(W x_t + U h_{t-1})$$ $$s_t = \\tanh(V x_t + R s_{t-1} + h_{t-1})$$"
REFUSED = {
    "two inputs that it may be": (Network(layers=2), TWO_INPUTS, ("h", "x, z", "--input NAME")),
    "no such input": (Network(layers=2, input="q"), TWO_INPUTS, ("--input q", "x (", "z (")),
    "an input of another kind": (
        Network(layers=2, input="e"),
        "<!-- derive: e = number -->\n$$h_t = e_t \\tanh(W x_t + U h_{t-1})$$\n",
        ("e doesn't have the shape of h", "got e ()"),
    ),
    "two states that it may be": (Network(layers=2), TWO_STATES, ("got 2: h, s", "--output NAME")),
    "no state": (Network(layers=2), "$$y_t = \\tanh(W x_t)$$", ("expected one state", "--output NAME: y")),
    "no such output": (Network(layers=2, output="q"), READOUT, ("--output q", "h, y", "Choose another")),
    "an input as what a layer gives": (Network(layers=2, output="x"), READOUT, ("--output x", "h, y")),
    "a parameter as what a layer gives": (Network(layers=2, output="W"), READOUT, ("--output W", "h, y")),
    "a matrix where a vector is read": (
        Network(layers=2), "$$S_t = S_{t-1} + v_t k_t^\\top$$ $$k_t = K x_t$$ $$v_t = V x_t$$ $$y_t = S_t k_t$$",
        ("no input has the shape of S", "x (", "--output NAME: "),
    ),
    "two numbers where one is read": (
        Network(layers=2, bidirectional=True),
        "<!-- derive: e = number; h = number; w = number; u = number -->\n$$h_t = \\tanh(w e_t + u h_{t-1})$$\n",
        ("no input has the shape of h of both directions", "like (2,)", "got e ()", "Write the network as a page"),
    ),
    "a mask without states": (Network(masked=True), "$$y_t = \\tanh(W x_t)$$", ("--masked", "no state", "Leave it out")),
    "both names of a mask": (
        Network(masked=True), "$$h_t = \\tanh(m_t + \\mathrm{mask}_t + h_{t-1})$$", ("m and mask", "Rename one"),
    ),
    "a copy named like an input": (
        Network(layers=2, input="x"), "$$h_t = \\tanh(W x_t + b_{1t} + U h_{t-1} + b)$$", ("called b_1", "Rename the input b_1"),
    ),
    "two directions without states": (Network(bidirectional=True), "$$y_t = \\tanh(W x_t)$$", ("--bidirectional", "no state")),
    "two directions of one from right to left": (
        Network(bidirectional=True), "$$h_t = \\tanh(W x_t + U h_{t+1})$$", ("--bidirectional", "from the first step to the last", "got h"),
    ),
    "states both ways": (
        Network(layers=2), "$$f_t = \\tanh(W x_t + U f_{t-1})$$ $$g_t = \\tanh(V x_t + R g_{t+1})$$", ("f, g", "--output NAME"),
    ),
    "an input that is as long as the one that is replaced": (
        Network(layers=2, input="x"), "$$h_t = \\tanh(W (x_t + z_t) + U h_{t-1})$$", ("z", "above", "as a page"),
    ),
    "an output and nothing to give it to": (Network(output="h", masked=True), READOUT, ("--output h", "Leave it out")),
    "an input and no layer that would read it": (Network(input="x", bidirectional=True), READOUT, ("--input x", "Leave it out")),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_a_network_that_can_not_be_is_refused_in_one_line(why: str) -> None:
    network, page, said = REFUSED[why]
    assert_refused(network, cell_of(page), said)


@pytest.mark.parametrize("words", ["gru --layers 2 --output q", "gru --output h", "gru --input x", "gru --layers 2 --input q"])
def test_every_command_refuses_the_same_way(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for command in (derive, verify, lambda words: verify(["jacobian", *words])):
        assert command(words.split()) == 2
        out, err = capsys.readouterr()
        assert out == ""
        said.append(err)
    assert len(set(said)) == 1
    assert not list(tmp_path.iterdir())


def test_options_of_a_network_are_not_looked_at_beside_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--list", "--layers", "2"], ["--all", "--masked"]):
        assert derive(words) == 2
        assert "Leave it out" in capsys.readouterr().err


def test_the_list_and_the_help_show_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert derive(["--list"]) == 0
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        derive(["gru", "--help"])
    shown = capsys.readouterr().out
    for option in ("--layers", "--bidirectional", "--masked", "--input", "--output"):
        assert option in listed
        assert option in shown


# ---- every cell, layer by layer


def published(name: str) -> Cell:
    """The published cell of a name, without the page's in front."""
    (title,) = [one for one in titles("published.md") if identifier(one).lower() == name]
    return section("published.md", title).cell


SHORT = ("janet", "lstm_by_affine_map", "time_aware_lstm", "ordered_neurons", "deltanet --output o")
"""Of the published cells: three of vectors, one with a number beside its input, one whose memory is a matrix."""


def layered() -> Iterator[object]:
    """Every published cell that makes two layers: with an output of its own where it has none that is given on as it is."""
    names = [identifier(title).lower() for title in titles("published.md")]
    for name in names if THOROUGH else [word.split()[0] for word in SHORT]:
        cell = published(name)
        for output in (None, *[value.name for value in cell.outputs]):
            words = name + (f" --output {output}" if output else "")
            try:
                made = Network(layers=2, output=output).of(cell)
            except NetworkError:
                continue
            if output or len(made.outputs) == len(cell.outputs) == 0:
                case = (cell, made, output)
                yield (
                    pytest.param(*case, id=words) if words in SHORT else pytest.param(*case, id=words, marks=pytest.mark.thorough)
                )


@pytest.mark.parametrize(("cell", "made", "output"), list(layered()))
def test_two_layers_are_the_cell_called_twice(cell: Cell, made: Cell, output: str | None) -> None:
    """Outputs and every gradient, against the cell's own kernel for one layer after the other, the gradient of the upper one's input added
    to what the loss says of what the lower one gives."""
    network = Network(layers=2, output=output)
    given = network.given_by(cell)
    read_, given_ = network.read_by(cell, given).name, given.name
    one, two = kernel_of_cell(cell, ()), kernel_of_cell(made, ())
    parameters, inputs, state, cotangents = draw(two)

    def of(layer: int, arrays: dict) -> dict:
        mine = {name.removesuffix(f"_{layer}"): array for name, array in arrays.items() if name.endswith(f"_{layer}")}
        return {f"{name}_" if iskeyword(name) else name: array for name, array in mine.items()}

    first, tape_1 = one.forward(of(1, parameters), inputs, of(1, state))
    second, tape_2 = one.forward(of(2, parameters), {**inputs, read_: first[given_]}, of(2, state))
    upper = one.backward(of(2, parameters), tape_2, of(2, cotangents))
    lower_cotangents = {**of(1, cotangents), given_: of(1, cotangents).get(given_, 0) + upper.inputs[read_]}
    lower = one.backward(of(1, parameters), tape_1, lower_cotangents)
    shared = {name: lower.inputs[name] + (upper.inputs[name] if name != read_ else 0) for name in inputs}

    outputs, tape = two.forward(parameters, inputs, state)
    gradients = two.backward(parameters, tape, cotangents)
    for name, array in outputs.items():
        base, _, layer = name.rpartition("_")
        close(array, (first, second)[int(layer) - 1][base], name)
    for name in parameters:
        base, _, layer = name.rpartition("_")
        close(gradients.parameters[name], (lower, upper)[int(layer) - 1].parameters[base], name)
    for name in state:
        base, _, layer = name.rpartition("_")
        close(gradients.state[name], (lower, upper)[int(layer) - 1].state[base], name)
    for name, array in shared.items():
        close(gradients.inputs[name], array, name)


def close(got: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Two routes of twice as many steps as `LIMIT` is of."""
    assert np.linalg.norm(got - expected) <= 2 * LIMIT * np.linalg.norm(expected), name


BOTH_WAYS = Network(layers=2, bidirectional=True, masked=True)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("minimal_gated_unit", Network(layers=2)),
        ("lstm_by_affine_map", Network(bidirectional=True)),
        thorough("time_aware_lstm", Network(layers=2)),
        thorough("deltanet", Network(layers=2, output="o")),
        thorough("minimal_gated_unit", BOTH_WAYS),
        thorough("lstm_by_affine_map", BOTH_WAYS),
        thorough("time_aware_lstm", BOTH_WAYS),
    ],
)
def test_a_network_of_a_published_cell_verifies(name: str, network: Network) -> None:
    cell = network.of(published(name))
    report = compare_text(compile_cell(cell), cell)
    assert report.passed, report.verdict()


# ---- faults are caught


FAULTS = {
    "layer 2 reads layer 1's parameters": ('U_2 = parameters["U_2"]', 'U_2 = parameters["U_1"]', "U_1 for U_2"),
    "layer 2 reads layer 1 one step late": ("h_1 @ W_2.T", "h_1_prev @ W_2.T", "time index off by one"),
    "the mask left out": ("m_[..., None] * h_hat_1 + (1 - m_)[..., None] * h_1_prev", "h_hat_1", "h_1"),
    "the mask the wrong way round": (
        "m_[..., None] * h_hat_2 + (1 - m_)[..., None] * h_2_prev", "(1 - m_)[..., None] * h_hat_2 + m_[..., None] * h_2_prev", "h_2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_network_is_caught_and_its_cause_is_named(fault: str) -> None:
    cell = build("rnn --layers 2 --masked")
    old, new, cause = FAULTS[fault]
    right = compile_cell(cell, ())
    assert old in right
    report = compare_text(right.replace(old, new, 1), cell)
    assert not report.passed
    assert cause in report.verdict()
