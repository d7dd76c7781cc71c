"""Tokens on a page: every way in which columns and elements are printed, tokens of other steps, outputs, and what is refused."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest

from derive.pages import PageError, read

PAGES = Path(__file__).parents[2] / "examples" / "pages"
CELL = r"$$h_t = \tanh(W x_t + U h_{t-1} + b), \quad x_t = E w_t$$" + "\n"
ROWS = r"$$h_t = \tanh(x_t W + h_{t-1} U + b), \quad x_t = %s$$"
READOUT = r"$$\hat y_t = \operatorname{softmax}(S h_t + c)$$" + "\n"
TOKENS = {"w": "tokens", "y": "tokens"}


def cell_of(text, **let):
    return read("page.md", text=text, let=let or TOKENS).cell().cell


def equation(text, name, **let):
    page = read("page.md", text=text, let=let or TOKENS).cell()
    at = [value.name for value in page.cell.targets].index(name)
    return page.reading.equations[at].partition(" = ")[2]


def message(text, **let):
    with pytest.raises(PageError) as caught:
        read("page.md", text=text, let=let or TOKENS)
    return str(caught.value)


COLUMNS = ["E w_t", "E_{w_t}", "E[w_t]", r"\operatorname{Embed}(w_t)", r"\mathrm{Embed}(w_t)", r"E \operatorname{onehot}(w_t)"]


@pytest.mark.parametrize("printed", COLUMNS)
def test_a_column_is_taken_however_it_is_printed(printed):
    text = CELL.replace("E w_t", printed)
    cell = cell_of(text)
    assert equation(text, "x") == "E onehot(wₜ)"
    assert [str(value.shape) for value in cell.parameters if value.name == "E"] == ["(N, V)"]
    assert ({value.name: str(size) for value, size in cell.tokens.items()}, cell.inputs) == ({"w": "V"}, ())


@pytest.mark.parametrize("printed", ["w_t E", "E_{w_t}", "E[w_t]", r"\operatorname{Embed}(w_t)"])
def test_on_a_page_of_rows_a_row_is_taken(printed):
    cell = cell_of(ROWS % printed)
    assert equation(ROWS % printed, "x") == "Eᵀ onehot(wₜ)"
    assert [str(value.shape) for value in cell.parameters if value.name == "E"] == ["(V, N)"]


def test_without_the_declaration_it_is_the_product_that_it_was():
    assert equation(CELL, "x", q="tokens") == "E wₜ"
    assert [value.name for value in cell_of(CELL, q="tokens").inputs] == ["w"]
    assert "`q` is declared, and no symbol of the page" in read("page.md", text=CELL, let={"q": "tokens"}).cell().reading.notes


ELEMENTS = {
    r"-\log \hat{y}_{t, y_t}": "−log(onehot(yₜ)ᵀ ŷₜ)",
    r"-\log(\hat{y}_t[y_t])": "−log(onehot(yₜ)ᵀ ŷₜ)",
    r"-\log \hat{y}_{y_t, t}": "−log(onehot(yₜ)ᵀ ŷₜ)",
    r"-y_t^\top \log \hat{y}_t": "−onehot(yₜ)ᵀ log(ŷₜ)",
    r"-\sum_j y_{t,j} \log \hat{y}_{t,j}": "−onehot(yₜ)ᵀ log(ŷₜ)",
    r"-\sum_{j=1}^{|V|} y_{t,j} \log \hat{y}_{t,j}": "−onehot(yₜ)ᵀ log(ŷₜ)",
    r"-\sum_j y_{t,j} (1 - \hat{y}_{t,j})^2 \log \hat{y}_{t,j}": "−onehot(yₜ)ᵀ ((1 − ŷₜ)² ∘ log(ŷₜ))",
    r"-\log \hat{y}_{t, w_{t+1}}": "−log(onehot(w_nextₜ)ᵀ ŷₜ)",
    r"-\sum_j y_{t+1,j} \log \hat{y}_{t,j}": "−onehot(y_nextₜ)ᵀ log(ŷₜ)",
    r"-\log \hat{y}_{t, w_{t-1}}": "−log(onehot(w_prevₜ)ᵀ ŷₜ)",
}  # fmt: skip


@pytest.mark.parametrize("printed", ELEMENTS)
def test_an_element_is_picked_however_it_is_printed(printed):
    assert equation(CELL + READOUT + f"$$J_t = {printed}$$", "J") == normalize("NFD", ELEMENTS[printed])


def test_tokens_of_several_steps_are_of_one_vocabulary():
    cell = cell_of(CELL + READOUT + r"$$J_t = -\log \hat{y}_{t, w_{t+1}}$$")
    assert {value.name: str(size) for value, size in cell.tokens.items()} == {"w": "V", "w_next": "V"}
    assert {value.name: str(value.shape[0]) for value in cell.parameters if value.name in "Sc"} == {"S": "V", "c": "V"}


def test_a_page_that_defines_the_next_step_has_one_step_of_tokens():
    assert equation(r"$$h_{t+1} = \tanh(E w_t + U h_t)$$", "h") == "tanh(E onehot(wₜ) + U hₜ₋₁)"
    assert equation(r"$$h_{t+1} = \tanh(E w_{t+1} + U h_t)$$", "h") == "tanh(E onehot(wₜ) + U hₜ₋₁)"


def test_a_loss_is_an_output_also_where_another_equation_reads_it():
    text = CELL + READOUT + r"$$J_t = -y_t^\top \log \hat{y}_t$$" + r"$$L_t = J_t + 0.1 \|h_t\|^2$$"
    assert [value.name for value in cell_of(text).outputs] == ["J", "L"]


GATE = r"$$g_t = \sigma(v^\top x_t), \quad h_t = \tanh(W x_t + g_t U h_{t-1})$$"
READS = r"$$h_t = \tanh(W x_t + U h_{t-1})$$"
LOSSES = {
    "a sum": (READS + r"$$J_t = \|h_t\|^2, \quad R_t = v^\top h_t, \quad L_t = J_t + \lambda R_t$$", ["J", "R", "L"]),
    "a sum of sums": (READS + r"$$J_t = \|h_t\|^2, \quad K_t = 2 J_t, \quad L_t = -0.5 (K_t + 1)$$", ["J", "K", "L"]),
    "weighed by an input": (READS + r"$$J_t = \|h_t\|^2, \quad L_t = m_t J_t$$", ["J", "L"]),
    "a gate of the recurrence": (GATE, []),
    "a gate in a sum of the recurrence": (
        r"$$g_t = \sigma(v^\top x_t), \quad s_t = g_t + v^\top x_t, \quad h_t = s_t h_{t-1} + W x_t$$",
        [],
    ),
    "a gate of an output": (READS + r"$$g_t = \sigma(v^\top h_t), \quad y_t = g_t h_t$$", ["y"]),
    "numbers of the cell multiplied": (
        READS + r"$$J_t = \|h_t\|^2, \quad g_t = \sigma(v^\top h_t), \quad L_t = g_t J_t$$",
        ["L"],
    ),
    "a normaliser": (READS + r"$$s_t = \exp(v^\top h_t), \quad n_t = 1 + s_t, \quad p_t = s_t / n_t$$", ["p"]),
    "in a function": (READS + r"$$a_t = v^\top h_t, \quad p_t = \sigma(a_t)$$", ["p"]),
    "a state of numbers": (r"$$n_t = n_{t-1} + v^\top x_t, \quad L_t = n_t + 1$$", ["L"]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_more_than_sums_of_losses_reads_is_no_loss(name):
    text, outputs = LOSSES[name]
    assert [value.name for value in cell_of(text, m="number", **{"lambda": "number"}).outputs] == outputs


def test_what_is_declared_as_an_output_is_one():
    text = CELL + READOUT + r"$$J_t = -y_t^\top \log \hat{y}_t$$"
    assert [value.name for value in cell_of(text, **TOKENS, y_hat="output").outputs] == ["y_hat", "J"]
    assert [value.name for value in cell_of(text).outputs] == ["J"]


def test_the_table_of_symbols_says_which_are_tokens():
    rows = {row.symbol: (row.role, row.shape) for row in read("page.md", text=CELL, let=TOKENS).cell().reading.rows}
    assert rows["w"] == ("token", ("V",))


def test_the_pages_of_models_of_characters_are_read_whole():
    page = read(str(PAGES / "characters.md"))
    assert len(page.cells) == 4
    assert not page.refused
    assert not page.skipped


NUMBER = "is a token, a whole number that picks a column or an element, and stands here as a number: expected a product such as `E w_t`"
WRONG = {
    "added": (r"$$h_t = \tanh(W x_t + U h_{t-1} + w_t)$$", f"page.md:1: `w_t` {NUMBER}"),
    "elementwise": (r"$$h_t = \tanh(W x_t + U h_{t-1}) \odot w_t$$", f"page.md:1: `w_t` {NUMBER}"),
    "scaled": (CELL + r"$$J_t = 2 w_t$$", f"page.md:2: `w_t` {NUMBER}"),
    "of a function": (r"$$h_t = \tanh(E w_t + U h_{t-1} + \exp(w_t))$$", f"page.md:1: `w_t` {NUMBER}"),
    "stacked": (r"$$h_t = \tanh(W [w_t; x_t] + U h_{t-1} + b)$$", f"page.md:1: `w_t` {NUMBER}"),
    "in an outer product": (r"$$C_t = C_{t-1} + v_t w_t^\top, \quad v_t = W x_t$$", f"page.md:1: `w_t^\\top` {NUMBER}"),
    "a component": (CELL + READOUT + r"$$J_{t,j} = -y_{t,j} \log \hat{y}_{t,j}$$", f"page.md:3: `y_{{t,j}}` {NUMBER}"),
    "a difference": (CELL + READOUT + r"$$J_t = \|y_t - \hat y_t\|^2$$", f"page.md:3: `y_t` {NUMBER}"),
    "without a step": (
        r"$$h_t = \tanh(W x_t + U h_{t-1} + b), \quad x_t = E w$$",
        "page.md:1: the token `w` carries no step: expected one, as in `w_t`.",
    ),
    "an index without a step": (
        CELL + READOUT + r"$$J_t = -\log \hat{y}_{t,y}$$",
        "page.md:3: the token `y` carries no step: expected one, as in `y_t`.",
    ),
    "too many steps away": (
        r"$$h_t = \tanh(U h_{t-1} + E w_{t-65})$$",
        "page.md:1: the token `w_{t-65}` lies 65 steps away: expected at most 64.",
    ),
    "two steps of a shifted page": (
        r"$$h_{t+1} = \tanh(E w_t + U h_t + E w_{t+1})$$",
        "page.md:1: `w_{t+1}` and `w_t` are two steps of tokens on a page that defines the next step: expected one.",
    ),
    "defined": (CELL + "$$w_t = h_t$$", "page.md:2: `w_t` is declared as tokens and defined here: expected an input."),
    "between two vectors": (r"$$h_t = \tanh(W w_t x_t + U h_{t-1})$$", "page.md:1: ambiguous product: `W w_t x_t`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_stands_as_something_else_is_refused(name):
    text, expected = WRONG[name]
    assert message(text).startswith(expected)


def test_declarations_that_say_nothing_are_refused():
    assert message(CELL, w="token").startswith("--let: `w = token` declares nothing: expected")
    assert message(CELL, **TOKENS, b="output").startswith("page.md:1: `b` is declared as an output, and nothing defines it")
    both = "<!-- derive: w = tokens; w = vector -->\n" + CELL
    assert "`w` is declared as `tokens` and as `vector`: expected one." in message(both, q="tokens")
