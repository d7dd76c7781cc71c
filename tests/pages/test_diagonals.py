"""diag(v) x is v ∘ x, wherever a page writes it."""

from __future__ import annotations

import pytest

from derive.pages import read
from tests.pages.gradients import LIMIT, worst_gradient_error

FORMULAS = {
    r"\mathrm{diag}(a) h_{t-1} + x_t": "a ∘ hₜ₋₁ + xₜ",
    r"\mathrm{diag}(W x_t) V h_{t-1}": "W xₜ ∘ V hₜ₋₁",
    r"U \mathrm{diag}(f_t) h_{t-1}": "U (fₜ ∘ hₜ₋₁)",
    r"U \operatorname{diag}(f_t) V \operatorname{diag}(a) h_{t-1}": "U (fₜ ∘ V (a ∘ hₜ₋₁))",
    r"(\operatorname{diag}(a) + V) h_{t-1} + x_t": "a ∘ hₜ₋₁ + V hₜ₋₁ + xₜ",
    r"\operatorname{diag}(a)^\top h_{t-1} + x_t": "a ∘ hₜ₋₁ + xₜ",
    r"a \odot \operatorname{diag}(b) h_{t-1} + x_t": "a ∘ b ∘ hₜ₋₁ + xₜ",
    r"\operatorname{diag}(a) (V h_{t-1} + x_t)": "a ∘ (V hₜ₋₁ + xₜ)",
    r"h_{t-1} V \operatorname{diag}(a) + x_t B": "Vᵀ hₜ₋₁ ∘ a + Bᵀ xₜ",
    r"h_{t-1} \operatorname{diag}(f_t) V + x_t B": "Vᵀ (hₜ₋₁ ∘ fₜ) + Bᵀ xₜ",
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_diagonal_matrix_is_an_elementwise_product(formula):
    gate = r"$$f_t = \sigma(x_t)$$" if "f_t" in formula else ""
    one = read("page.md", text=rf"{gate} $$h_t = {formula}$$").cells[0]
    assert one.reading.equations[-1] == f"hₜ = {FORMULAS[formula]}"
    assert worst_gradient_error(one.cell) < LIMIT


def test_a_symbol_may_stand_for_a_diagonal_matrix():
    one = read("page.md", text=r"$$\Lambda = \operatorname{diag}(\lambda)$$ $$h_t = \Lambda h_{t-1} + B x_t$$").cells[0]
    assert one.reading.equations == ("hₜ = λ ∘ hₜ₋₁ + B xₜ",)
    assert worst_gradient_error(one.cell) < LIMIT


@pytest.mark.parametrize(
    ("page", "read_as"),
    [
        (r"$$M = \mathrm{diag}(a) V$$ $$h_t = M h_{t-1} + x_t$$", "M = diag(a) V"),
        (r"$$S_t = \operatorname{diag}(a_t) S_{t-1} + k_t v_t^\top$$ $$y_t = S_t^\top q_t$$", "Sₜ = diag(aₜ) Sₜ₋₁ + kₜ vₜᵀ"),
        (r"$$S_t = S_{t-1} \operatorname{diag}(a_t) + v_t k_t^\top$$ $$y_t = S_t q_t$$", "Sₜ = Sₜ₋₁ diag(aₜ) + vₜ kₜᵀ"),
    ],
)
def test_a_diagonal_matrix_scales_the_rows_or_columns_of_a_matrix(page, read_as):
    assert read("page.md", text=page).cells[0].reading.equations[0] == read_as
