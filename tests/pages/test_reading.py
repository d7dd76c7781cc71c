"""What a page comes back with: notes that are true, what was passed over, names as they were written."""

from __future__ import annotations

import pytest

from derive import reading, sheet
from derive.compiler import emit
from derive.derivation import derive
from derive.pages import PageError, read
from tests.pages.gradients import LIMIT, worst_gradient_error


def cell(text, name="page.md", **more):
    return read(name, text=text, **more).cells[0]


@pytest.mark.parametrize(
    ("written", "shown"), [(r"W_{xi}", "W_xi"), (r"W_{\xi}", "W_ξ"), (r"W_{\mathrm{1h}}", "W_1h"), (r"W_{1h}", "W_1h")]
)
def test_an_index_comes_back_as_it_was_written(written, shown):
    one = cell(rf"$$h_t = \tanh({written} x_t + U h_{{t-1}})$$")
    assert one.reading.equations == (f"hₜ = tanh({shown} xₜ + U hₜ₋₁)",)
    again = cell(f"$${one.reading.latex[0]}$$")
    assert again.cell.equations == one.cell.equations
    assert again.reading.equations == one.reading.equations


def test_what_was_passed_over_is_listed_under_its_cell():
    gradient = r"$$\frac{\partial L}{\partial W} = 1$$"
    text = "\n\n".join(
        ["# A", "$$h_0 = 0$$", "$$h_t = W x_t + h_{t-1}$$", gradient, "# B", "$$s_t = V x_t + s_{t-1}$$", "$$s_0 = 0$$"]
    )
    first, second = read("page.md", text=text).cells
    assert [one.split(": ")[0] for one in first.reading.skipped] == ["page.md:3", "page.md:7"]
    assert second.reading.skipped == ("page.md:13: an initial state, which is an argument of the kernel: s_0 = 0",)
    for equations in (True, False):
        assert "  passed over: page.md:3: an initial state, " in reading.text(first, equations)


@pytest.mark.parametrize("what", ["tanh", "3", "matrix"])
def test_a_declaration_of_nothing_is_noted(what):
    assert "`foo` is declared, and no symbol of the page" in cell("$$h_t = W x_t + h_{t-1}$$", let={"foo": what}).reading.notes
    used = r"$$h_t = \phi(W x_t) + \alpha h_{t-1}$$"
    assert not cell(used, let={"phi": "tanh", "alpha": "0.5", "W": "matrix"}).reading.notes


def test_transposed_weights_are_not_called_weights_of_rows():
    assert not cell(r"$$h_t = \tanh(x_t W_{ih}^T + h_{t-1} W_{hh}^T)$$").reading.notes
    assert cell(r"$$h_t = \tanh(x_t W + h_{t-1} U)$$").reading.notes


def test_a_page_is_shifted_only_where_a_definition_stands_at_the_next_step():
    assert not cell(r"$$h_t = \tanh(W x_t + z_{t-1})$$ $$z_{t-1} = V h_{t-1}$$").reading.notes
    assert cell(r"$$h_{t+1} = \tanh(W x_t + V h_t)$$").reading.notes


def test_an_input_of_the_step_before_is_carried():
    one = cell(r"$$h_t = \tanh(W x_t + V x_{t-1} + U h_{t-1})$$")
    assert one.reading.equations == ("hₜ = tanh(W xₜ + V x_delayedₜ₋₁ + U hₜ₋₁)", "x_delayedₜ = xₜ")
    assert "`x_{t-1}` is the input of the step before: the state x_delayed carries it" in one.reading.notes
    assert worst_gradient_error(one.cell) < LIMIT
    with pytest.raises(PageError, match="is a state that is never defined"):
        cell(r"$$h_t = \tanh(V x_{t-1} + U h_{t-1})$$")


def test_a_section_that_reads_an_input_at_two_steps_is_a_cell_of_its_own():
    shifted = r"$$h_t = \tanh(W x_t + V x_{t-1} + U h_{t-1})$$"
    first, second = read("page.md", text=f"# A\n\n{shifted}\n\n# B\n\n$$x_t = h_t + W u_t$$\n$$h_t = u_t + h_{{t-1}}$$").cells
    assert first.reading.equations[-1] == "x_delayedₜ = xₜ"
    assert second.reading.equations == ("xₜ = hₜ + W uₜ", "hₜ = uₜ + hₜ₋₁")


@pytest.mark.parametrize("power", ["2", "r_t", r"\odot 2", "c r_t"])
def test_a_power_behind_the_brackets_of_a_function_is_one_of_its_value(power):
    shown, apart = (
        cell(rf"$$h_t = {left} + h_{{t-1}}$$ $$r_t = W x_t$$ <!-- derive: c = 8 -->").cell.equations[0][1]
        for left in (rf"\tanh(r_t)^{{{power}}}", rf"(\tanh(r_t))^{{{power}}}")
    )
    assert shown == apart


def test_a_declaration_holds_under_its_heading():
    step = r"$$h_t = \alpha h_{t-1} + W x_t$$"
    both = f"# A\n\n{step}\n\n<!-- derive: alpha = 0.9 -->\n\n# B\n\n{step}\n\n<!-- derive: alpha = 0.5 -->"
    assert [one.reading.equations[0][:9] for one in read("page.md", text=both).cells] == ["hₜ = 0.9 ", "hₜ = 0.5 "]
    first, second = (
        page.cells[0] for page in (read("page.md", text=f"<!-- derive: alpha = 0.9 -->\n{both}"), read("page.md", text=both))
    )
    assert first.reading.notes == second.reading.notes == ()
    with pytest.raises(PageError, match=r"alpha.*several ways"):
        read("page.md", text=both.replace("<!-- derive: alpha = 0.5 -->", "")).cell("B")


def test_a_declaration_above_all_headings_or_under_one_without_equations_holds_everywhere():
    steps = "\n\n".join(rf"# {name}" "\n\n" r"$$h_t = \alpha h_{t-1} + W x_t$$" for name in "AB")
    for page in (f"<!-- derive: alpha = 0.9 -->\n\n{steps}", f"{steps}\n\n# Numbers\n\n<!-- derive: alpha = 0.9 -->"):
        assert all(one.reading.equations[0].startswith("hₜ = 0.9 ") for one in read("page.md", text=page).cells)
    assert all(
        one.reading.equations[0].startswith("hₜ = 0.9 ") for one in read("page.md", text=steps, let={"alpha": "0.9"}).cells
    )


@pytest.mark.parametrize("stack", ["W [x_t, h_{t-1}, 1]", "W [1; x_t; h_{t-1}]", "[x_t, 0.5, h_{t-1}] W"])
def test_a_number_among_stacked_vectors_makes_a_bias(stack):
    one = cell(rf"$$h_t = \tanh({stack})$$").cell
    assert {"1", "D", "H"} == {str(term) for size in one.parameters[0].shape for term in (size.args or (size,))}


def test_the_sheet_writes_an_index_as_the_page_does() -> None:
    """`W_{xi}`, the weights from x to i, is no W_ξ on the sheet, in the header of the kernel, or in LaTeX."""
    page = read("page.md", text=r"$$i_t = \sigma(W_{xi} x_t + W_{hi} h_{t-1})$$ $$h_t = i_t \odot h_{t-1}$$")
    derivation = derive(page.cells[0].cell)
    for printed in (sheet.text(derivation), sheet.latex(derivation), emit(derivation)):
        assert "ξ" not in printed
        assert r"\xi" not in printed
