"""Which symbol is meant: words above, letters that share a name, powers that are no names."""

from __future__ import annotations

import pytest

from derive.pages import PageError, read


def cell(text, name="page.md", **more):
    return read(name, text=text, **more).cells[0]


def refusal(text, name="page.md", **more):
    with pytest.raises(PageError) as caught:
        read(name, text=text, **more)
    return str(caught.value)


def names(text, **more):
    return {row.symbol for row in cell(text, **more).reading.rows}


@pytest.mark.parametrize(
    ("power", "read_as"),
    [
        (r"\gamma^{g_t}", "exp(log(γ) ∘ gₜ)"),
        (r"\gamma^{2 g_t}", "exp(2 log(γ) ∘ gₜ)"),
        (r"\gamma^{-g_t}", "exp(−log(γ) ∘ gₜ)"),
        (r"h_{t-1}^{g_t}", "exp(log(hₜ₋₁) ∘ gₜ)"),
        (r"2^{g_t}", "exp(log(2) gₜ)"),
        (r"x_t^{\gamma}", "exp(log(xₜ) ∘ γ)"),
        (r"x_t^{\odot 3}", "xₜ³"),
    ],
)
def test_a_power_by_a_quantity_is_no_parameter(power, read_as):
    text = rf"$$g_t = \sigma(W x_t)$$ $$h_t = {power} \odot h_{{t-1}} + x_t$$"
    assert cell(text, let={"gamma": "vector"}).reading.equations[1] == f"hₜ = {read_as} ∘ hₜ₋₁ + xₜ"


def test_what_is_raised_to_a_quantity_is_asked_about_in_lower_case():
    assert "expected to know whether gamma is a number or a vector" in refusal(r"$$h_t = \gamma^{g_t} \odot h_{t-1} + x_t$$")


def test_a_power_by_a_functions_argument_is_no_parameter():
    text = r"$$f(a) = 3^{a} + a$$ $$h_t = f(x_t) + h_{t-1}$$"
    assert cell(text).reading.equations == ("hₜ = exp(log(3) xₜ) + xₜ + hₜ₋₁",)


@pytest.mark.parametrize("pair", [(r"\phi", r"\varphi"), (r"\epsilon", r"\varepsilon"), (r"\theta", r"\vartheta"), ("φ", "ϕ")])
def test_two_forms_of_a_letter_collide(pair):
    one, other = pair
    text = refusal(rf"$$h_t = {one} \odot h_{{t-1}} + {other} \odot x_t$$")
    assert f"name collision: `{one}` and `{other}` would both be called" in text


@pytest.mark.parametrize("pair", [(r"W_{xi}", r"W_{\xi}"), (r"W_\phi", r"W_\varphi"), (r"W^{(nu)}", r"W^{(\nu)}")])
def test_letters_that_spell_a_greek_letter_collide_with_it(pair):
    one, other = pair
    assert f"`{one}` and `{other}` would both be called" in refusal(rf"$$h_t = {one} x_t + {other} h_{{t-1}}$$")


def test_a_function_and_a_variable_in_two_forms_collide():
    text = r"$$h_t = \phi(W x_t + U h_{t-1}) \odot \varphi(x_t)$$"
    assert "name collision" in refusal(text, let={"phi": "tanh"})
    assert "two forms" in refusal(r"$$\phi(a) = \tanh(a)$$ $$h_t = \varphi(W x_t) + h_{t-1}$$")


@pytest.mark.parametrize("declared", ["varphi", r"\varphi", "phi", "ϕ"])
def test_a_declaration_names_either_form(declared):
    assert cell(r"$$h_t = \varphi(W x_t + h_{t-1})$$", let={declared: "tanh"}).reading.equations == ("hₜ = tanh(W xₜ + hₜ₋₁)",)


@pytest.mark.parametrize("declared", ["Delta t", r"\Delta t", "Δt", "Delta_t", r"\Delta\,t"])
def test_a_step_of_time_is_declared_as_it_is_printed(declared):
    one = cell(r"$$h_t = h_{t-1} + \Delta t \tanh(W x_t)$$", let={declared: "0.5"})
    assert one.reading.equations == ("hₜ = hₜ₋₁ + 0.5 tanh(W xₜ)",)


@pytest.mark.parametrize("spelling", ["relu", "Relu", "RELU", "ReLU"])
def test_a_function_is_known_by_its_spellings_and_no_other(spelling):
    assert cell(rf"$$h_t = \mathrm{{{spelling}}}(W x_t + h_{{t-1}})$$").reading.equations == ("hₜ = relu(W xₜ + hₜ₋₁)",)
    assert "unknown function `rELu`" in refusal(r"$$h_t = \mathrm{rELu}(W x_t + h_{t-1})$$")


@pytest.mark.parametrize("font", ["text", "mathrm", "operatorname", "mathop"])
def test_a_word_is_a_matrix_once_it_is_declared_one(font):
    text = rf"$$h_t = \{font}{{BN}}(W x_t + U h_{{t-1}})$$"
    assert "unknown function `BN`" in refusal(text)
    assert cell(text, let={"BN": "matrix"}).reading.equations == ("hₜ = BN (W xₜ + U hₜ₋₁)",)
    assert cell(text, let={"BN": "0.5"}).reading.equations == ("hₜ = 0.5 (W xₜ + U hₜ₋₁)",)


@pytest.mark.parametrize("letter", ["t", "n"])
def test_a_word_that_ends_in_the_time_letter_is_a_word(letter):
    text = r"$$h_X = \tanh(W^{in} x_X + U h_{X-1} + b^{init} + b^{[out]}), \quad y^{out}_X = W^{out} h_X$$"
    assert {"W_in", "b_init", "b_out", "y_out", "W_out"} <= names(text.replace("X", letter))


def test_an_output_without_a_time_keeps_its_word():
    assert "y_out" in names(r"$$h_t = \tanh(W x_t + U h_{t-1}), \quad y_{out} = V h_t$$")


def test_a_tight_difference_of_a_plain_text_is_noted():
    one = cell("s_t = tanh(W x_t + U s_t-1)", "page.txt")
    assert one.reading.equations == ("sₜ = tanh(W xₜ + U sₜ₋₁)",)
    assert "`s_t-1` is read at another step, as one index; write `s_t - 1` for a sum or a difference" in one.reading.notes
    assert not cell("s_t = tanh(W x_t + U s_{t-1})", "page.txt").reading.notes


def test_a_prime_is_the_next_value_of_what_is_never_defined():
    one = cell(r"$$i = \sigma(W x + U h), \quad c' = i \odot c + \tanh(V x), \quad h' = \tanh(c')$$")
    assert one.reading.equations == ("iₜ = σ(W xₜ + U hₜ₋₁)", "cₜ = iₜ ∘ cₜ₋₁ + tanh(V xₜ)", "hₜ = tanh(cₜ)")
    assert "h_prime is read as the next value of h, as h is never defined" in one.reading.notes


@pytest.mark.parametrize("right", [r"\tanh(W x)", r"\tanh(W x + U h'')"])
def test_a_prime_whose_plain_symbol_is_nowhere_is_a_decoration(right):
    assert "h_prime" in names(rf"$$h' = {right}$$ $$y = V h'$$")


def test_a_prime_beside_a_defined_symbol_is_a_decoration():
    assert "h_prime" in names(r"$$h_t = \tanh(W x_t + U h'_{t-1}), \quad h'_t = \tanh(V h_t)$$")


def test_a_cell_without_a_state_is_noted():
    assert "nothing is read at the step before: this cell has no state" in cell(r"$$y_t = \tanh(W x_t)$$").reading.notes


@pytest.mark.parametrize("inside", [r"x_t \; h_{t-1}", "h_{t-1} x_t"])
def test_vectors_side_by_side_in_square_brackets_are_asked_about(inside):
    text = refusal(rf"$$h_t = \tanh(W [{inside}])$$")
    assert "can be read in two ways: expected a comma or a sign between its parts." in text
    assert cell(r"$$h_t = \tanh[x_t h_{t-1}]$$").reading.equations == ("hₜ = tanh(xₜ ∘ hₜ₋₁)",)


def test_what_may_be_meant_as_a_power_is_noted():
    notes = cell(r"$$h_t = e^{\beta} \odot \gamma^{t} \odot x_t + h_{t-1}$$").reading.notes
    assert r"`e^{\beta}` is read as the name e_beta; write \exp for the exponential function" in notes
    assert r"`\gamma^{t}` is read as gamma at a step; a power of the step isn't read" in notes
    assert not cell(r"$$e^t = \tanh(W x^t + e^{t-1})$$").reading.notes


@pytest.mark.parametrize("power", [r"\gamma^{g}", r"\gamma^{c \mathbf{g}}", r"\gamma^g_t"])
def test_a_gate_that_is_read_in_a_name_alone_is_noted(power):
    notes = cell(rf"$$g_t = \sigma(W x_t)$$ $$h_t = {power} \odot h_{{t-1}} + x_t$$").reading.notes
    assert any(note.startswith(f"`{power}` is read as the name gamma_") for note in notes)
    assert not cell(r"$$z_t = \sigma(W^z x_t)$$ $$h_t = z_t h_{t-1}$$ $$y_t = W^y h_t$$").reading.notes


def test_sizes_that_do_not_fit_a_symbol_are_asked_for_by_its_kind():
    page = r"$$h_t = \tanh(w_z x_t + U h_{t-1})$$"
    assert "w_z is a matrix: expected two sizes, as in `dim w_z = N, M`, got `D`" in refusal(
        page, let={"w_z": "matrix"}, dims={"w_z": "D"}
    )
    assert "x is a vector: expected one size, as in `dim x = N`, got `N, M`" in refusal(
        page, let={"w_z": "matrix"}, dims={"x": "N, M"}
    )
