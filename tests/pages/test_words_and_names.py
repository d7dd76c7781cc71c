"""Words as times, names with underscores, words behind equations, indices without a sign, what a reading says of functions."""

from __future__ import annotations

import pytest

from derive.errors import DeriveError
from derive.pages import PageError, read
from derive.sources import page_cells, page_parser


def equations(text, name="page.md", **more):
    return read(name, text=text, **more).cells[0].reading.equations


# ---- new and old


@pytest.mark.parametrize("text", [
    r"$$h_{new} = \tanh(W x + U h_{old} + b)$$",
    r"$$h_{\text{new}} = \tanh(W x + U h_{\text{prev}} + b)$$",
    r"$$h_{new} = \tanh(W x + U h + b)$$",
    r"$$h = \tanh(W x + U h_{old} + b)$$",
])  # fmt: skip
def test_new_and_old_are_times_as_next_and_prev_are(text):
    assert equations(text) == ("hₜ = tanh(W xₜ + U hₜ₋₁ + b)",)


def test_new_is_a_name_where_weights_carry_it():
    text = r"$$n = \tanh(W_{new} x + r \odot U_{new} h_{prev})$$ $$r = \sigma(W_r x)$$ $$h = r h_{prev} + n$$"
    assert equations(text)[0] == "nₜ = tanh(W_new xₜ + rₜ ∘ U_new hₜ₋₁)"


@pytest.mark.parametrize(("text", "said"), [
    (r"$$h_{new} = \tanh(W_{new} x + U_{new} h + b)$$", "Write `h_{next}` for the next value"),
    (r"$$h_{new} = \tanh(W_{new} x + U_{new} h_{prev})$$", "write its equation, `h = ...` or `h_{next} = ...`"),
])  # fmt: skip
def test_a_new_that_may_be_either_is_asked_about(text, said):
    with pytest.raises(PageError) as caught:
        read("page.md", text=text)
    assert said in str(caught.value)


# ---- names


@pytest.mark.parametrize(("name", "text"), [
    ("notes.txt", "h_t = tanh(W x_t + V x~_t + U h_{t-1})"), ("page.md", r"$$h_t = \tanh(W x_t + V x~_t + U h_{t-1})$$"),
])  # fmt: skip
def test_a_tilde_behind_a_letter_with_an_index_is_no_space(name, text):
    with pytest.raises(PageError, match=r"`~` isn't read"):
        read(name, text=text)


def test_a_tilde_between_factors_is_a_space():
    assert equations(r"$$h_t = \tanh(W~x_t + U~h_{t-1}~+~b)$$") == ("hₜ = tanh(W xₜ + U hₜ₋₁ + b)",)


@pytest.mark.parametrize(("written", "name"), [
    (r"forget\_bias", "forget_bias"), (r"\text{forget\_bias}", "forget_bias"), (r"\mathrm{b\_ih}", "b_ih"), (r"b\_ih", "b_ih"),
    (r"b\_{ih}", "b_ih"), (r"bias\_1", "bias_1"), (r"\text{forget_bias}", "forget_bias"),
])  # fmt: skip
def test_an_escaped_underscore_makes_one_name(written, name):
    gates = r"$$i_t = \sigma(V x_t)$$ $$f_t = \sigma(Q x_t)$$ $$h_t = f_t h_{t-1} + i_t$$"
    one = read("page.md", text=f"$$z_t = \\tanh(W x_t + {written}) + h_t$$ {gates}").cells[0]
    assert one.reading.equations[0] == f"zₜ = tanh(W xₜ + {name}) + hₜ"
    assert {"i", "f"} <= {row.symbol for row in one.reading.rows}


def test_an_escaped_underscore_in_front_of_one_letter_is_an_index():
    assert equations(r"$$h\_t = \tanh(W\_{ih} x\_t + h\_{t-1})$$") == ("hₜ = tanh(W_ih xₜ + hₜ₋₁)",)


@pytest.mark.parametrize("written", [r"\operatorname{hard sigmoid}", r"\text{hard sigmoid}", r"\mathrm{hard\_sigmoid}"])
def test_a_function_of_two_words_is_known_however_they_are_joined(written):
    assert equations(f"$$h_t = {written}(W x_t) + h_{{t-1}}$$") == ("hₜ = 0.5 + 0.5 hardtanh((1/3) W xₜ) + hₜ₋₁",)


def test_an_unknown_word_with_an_underscore_is_an_unknown_function():
    with pytest.raises(PageError, match="unknown function `batch_norm`"):
        read("page.md", text=r"$$h_t = \text{batch\_norm}(W x_t + U h_{t-1})$$")


# ---- words behind an equation


@pytest.mark.parametrize("words", [
    "遗忘门", " 遗忘门", "（遗忘门）", "(出力ゲート)", " Ворота забывания", " porte d'entrée", " 隠れ状態,", "　候補：", " 망각 게이트",
    " Vergessen und Änderung", " (réinitialisation)",
])  # fmt: skip
def test_words_of_any_script_behind_an_equation_are_passed_over(words):
    text = f"$$\nf_t = \\sigma(W x_t){words} \\\\\nh_t = f_t \\odot h_{{t-1}} + x_t{words}\n$$"
    assert equations(text) == ("fₜ = σ(W xₜ)", "hₜ = fₜ ∘ hₜ₋₁ + xₜ")


@pytest.mark.parametrize("formula", ["W х + h_{t-1}", "h_{t-1} + W x_t х", "h_{t-1} + 门", "W 遗忘 x_t + h_{t-1}"])
def test_a_letter_of_another_script_in_a_formula_is_no_label(formula):
    with pytest.raises(PageError):
        read("page.md", text=f"$$h_t = {formula}$$")


# ---- indices without a sign, as ONNX writes them

LSTM = """- it = f(Xt*(Wi^T) + Ht-1*(Ri^T) + Pi (.) Ct-1 + Wbi + Rbi)
- ct = g(Xt*(Wc^T) + Ht-1*(Rc^T) + Wbc + Rbc)
- Ct = Ct-1 + it (.) ct
- Ht = it (.) h(Ct) # the output
"""
READ = (
    "iₜ = σ(W_i Xₜ + R_i Hₜ₋₁ + P_i ∘ Cₜ₋₁ + W_bi + R_bi)",
    "cₜ = tanh(W_c Xₜ + R_c Hₜ₋₁ + W_bc + R_bc)",
    "Cₜ = Cₜ₋₁ + iₜ ∘ cₜ",
    "Hₜ = iₜ ∘ tanh(Cₜ)",
)
FUNCTIONS = {"f": "sigmoid", "g": "tanh", "h": "tanh"}


@pytest.mark.parametrize(("name", "text"), [
    ("page.txt", LSTM), ("page.txt", f"Equations (Default: f=Sigmoid):\n\n{LSTM}"), ("page.md", f"## It\n\n{LSTM}\n<!-- a = b -->\n"),
    ("page.md", f"```\n{LSTM}```\n"), ("page.txt", LSTM.replace("- ", "")),
])  # fmt: skip
def test_indices_behind_their_letters_are_read(name, text):
    one = read(name, text=text, let=FUNCTIONS).cells[0]
    assert one.reading.equations == READ
    assert any("Ht-1" in note for note in one.reading.notes)


def test_functions_of_one_letter_are_asked_for_beside_gates_of_that_letter():
    text = "ft = f(Xt*(Wf^T) + Ht-1*(Rf^T) + Wbf)\nHt = ft (.) Ht-1\n"
    with pytest.raises(PageError, match="unknown function `f`"):
        read("page.txt", text=text)
    assert equations(text, "page.txt", let=FUNCTIONS) == ("fₜ = σ(W_f Xₜ + R_f Hₜ₋₁ + W_bf)", "Hₜ = fₜ ∘ Hₜ₋₁")


@pytest.mark.parametrize("text", ["h_t = tanh(W x_t + U ht-1)", "hₜ = tanh(W xₜ + U Ht-1)", "h_t = tanh(W x_t) + ht−1"])
def test_a_tight_step_before_is_no_difference(text):
    with pytest.raises(PageError, match="can be read in two ways: the step before, or a difference"):
        read("page.txt", text=text)


# ---- declarations and what a reading says


def test_declarations_of_a_call_stand_between_semicolons(tmp_path):
    (tmp_path / "page.md").write_text(r"$$h_t = \alpha h_{t-1} + f(w \odot x_t)$$")
    options = page_parser().parse_args(["--let", "f=tanh; alpha=0.9; dim w = N"])
    cells, refused = page_cells(str(tmp_path / "page.md"), options)
    assert not refused
    assert cells[0].reading.equations == ("hₜ = 0.9 hₜ₋₁ + tanh(w ∘ xₜ)",)
    assert {row.symbol: row.shape for row in cells[0].reading.rows}["w"] == ("N",)


OPEN = "$$h_t = \\tanh(W x_t + \\alpha U h_{t-1})$$\n"


@pytest.mark.parametrize(("on_the_page", "called", "parameters"), [
    ("0.5", "number", ("alpha", "W", "U")), ("number", "0.5", ("W", "U")), ("vector", "number", ("alpha", "W", "U")),
])  # fmt: skip
def test_the_command_line_wins_over_the_page(on_the_page, called, parameters):
    one = read("page.md", text=f"<!-- derive: alpha = {on_the_page} -->\n\n{OPEN}", let={"alpha": called}).cells[0]
    assert {value.name for value in one.cell.parameters} == set(parameters)
    assert one.reading.equations == read("page.md", text=OPEN, let={"alpha": called}).cells[0].reading.equations


def test_a_deeper_heading_wins_over_the_page():
    text = f"<!-- derive: alpha = 0.5 -->\n\n# First\n\n{OPEN}\n# Second\n<!-- derive: alpha = number -->\n\n{OPEN}"
    first, second = read("page.md", text=text).cells
    assert "0.5" in first.reading.equations[0]
    assert "α" in second.reading.equations[0]


@pytest.mark.parametrize("said", ["alpha = number; alpha = 0.5", "alpha = 0.5\n\\alpha = 0.6", "dim x = N; dim x = M"])
def test_a_comment_that_says_two_things_of_one_name_is_refused(said):
    with pytest.raises(PageError, match=r"page.md:\d: `.*` is declared as `.*` and as `.*`: expected one"):
        read("page.md", text=f"<!-- derive: {said} -->\n\n{OPEN}")


@pytest.mark.parametrize("said", ["alpha = number", r"\alpha = 0.6", "dim x = M", "time = k"])
@pytest.mark.parametrize("between", ["\n", "\n# Symbols\n"])
def test_two_comments_that_hold_alike_and_say_two_things_are_refused(said, between):
    """Under one heading, or above the first one and under one without equations."""
    before = {"dim x = M": "dim x = N", "time = k": "time = t"}.get(said, "alpha = 0.5")
    page = f"<!-- derive: {before} -->{between}<!-- derive: {said} -->\n# Cell\n\n{OPEN}"
    with pytest.raises(PageError, match=r"page.md:\d: `.*` is declared as `.*` and as `.*`: expected one") as caught:
        read("page.md", text=page)
    assert "page.md:1: the other:" in str(caught.value)


def test_headings_beside_one_another_that_say_two_things_of_one_cell_are_refused():
    gate, state = "$$z_t = \\sigma(\\alpha W x_t)$$", "$$h_t = \\alpha z_t \\odot h_{t-1}$$"
    text = f"# Gate\n<!-- derive: alpha = 0.5 -->\n{gate}\n# State\n<!-- derive: alpha = 0.6 -->\n{state}\n"
    with pytest.raises(PageError, match=r"page.md:5: `alpha` is declared as `0.5` and as `0.6`: expected one"):
        read("page.md", text=text)


def test_a_cells_own_heading_wins_over_one_without_equations_behind_it():
    text = f"# Cell\n<!-- derive: alpha = 0.5 -->\n\n{OPEN}\n# Symbols\n<!-- derive: alpha = 0.9 -->\n"
    assert "0.5" in equations(text)[0]


@pytest.mark.parametrize("words", [
    ["--let", "dim x=N", "--dim", "x=M"], ["--let", "dim x=N", "--let", r"dim \mathbf{x}=M"],
    ["--let", "alpha=number; alpha=0.5"], ["--let", "alpha=number", "--let", "alpha=0.5"], ["--let", r"alpha=0.5; \alpha=0.6"],
    ["--let", "alpha=0.5", "--dim", "x=N; x=M"],
])  # fmt: skip
def test_a_call_that_says_two_things_of_one_name_is_refused(words, tmp_path):
    (tmp_path / "page.md").write_text(OPEN)
    with pytest.raises(DeriveError, match="expected one"):
        page_cells(str(tmp_path / "page.md"), page_parser().parse_args(words))


def test_a_call_may_say_one_thing_twice(tmp_path):
    (tmp_path / "page.md").write_text(OPEN)
    cells, refused = page_cells(str(tmp_path / "page.md"), page_parser().parse_args(["--let", "alpha=0.5; alpha=0.5"]))
    assert cells
    assert not refused


def test_the_hint_of_an_unknown_function_proposes_none():
    with pytest.raises(PageError) as caught:
        read("page.md", text=r"$$h_t = \mathrm{BatchNorm}(W x_t + U h_{t-1})$$")
    assert '--let "BatchNorm=F", F one of these functions; --let "BatchNorm=matrix"; or --let "BatchNorm=0.5"' in str(
        caught.value
    )
    assert "BatchNorm=tanh" not in str(caught.value)


@pytest.mark.parametrize(("function", "said"), [
    (r"\mathrm{LeakyReLU}", "0.01"), (r"\text{hard\_sigmoid}", "x/6 + 1/2"), (r"\operatorname{hardtanh}", "between -1 and 1"),
    (r"\operatorname{sgn}", "no gradient goes through it"),
])  # fmt: skip
def test_the_form_of_a_function_that_has_several_is_noted(function, said):
    notes = read("page.md", text=f"$$h_t = {function}(W x_t + U h_{{t-1}})$$").cells[0].reading.notes
    assert any(said in note for note in notes)


@pytest.mark.parametrize("weight", ["W1", "W 1", r"\mathbf{W}1", "W10"])
def test_a_number_right_behind_a_letter_is_asked_about(weight):
    with pytest.raises(PageError, match=r"a symbol with an index, or a product with a number.*\n.*\n.*\nWrite `.*_1"):
        read("page.md", text=rf"$$h_t = \tanh({weight} x_t + U h_{{t-1}})$$")
    for plain in ("W_1", "10 W", r"W \cdot"):
        read("page.md", text=rf"$$h_t = \tanh({plain} x_t + U h_{{t-1}})$$")
