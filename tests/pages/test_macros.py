"""Macros are put in as text, within bounds; what isn't plain is refused where it is used."""

from __future__ import annotations

import time

import pytest

from derive.pages import PageError, read

UNDERSTOOD = ("hₜ = tanh(W xₜ + U_h hₜ₋₁ + b)",)
DEFINED = r"\newcommand{\h}{\mathbf{h}} \def\W{W} \renewcommand\U{U_{h}} \newcommand{\vect}[1]{\boldsymbol{#1}}"
STEP = r"$$\h_t = \tanh(\W x_t + \U \h_{t-1} + \vect{b})$$"


@pytest.mark.parametrize("around", ["{}\n\n", "${}$\n\n", "$${}$$\n\n", "\\({}\\)\n\n"])
def test_macros_are_expanded_wherever_they_are_defined(around):
    assert read("page.md", text=around.replace("{}", DEFINED) + STEP).cells[0].reading.equations == UNDERSTOOD


def test_macros_stand_inside_a_display_and_in_a_plain_text():
    assert read("page.md", text=f"$${DEFINED} {STEP[2:]}").cells[0].reading.equations == UNDERSTOOD
    text = "\\newcommand{\\h}{h}\n\\h_t = \\tanh(W x_t + U \\h_{t-1})"
    assert read("page.txt", text=text).cells[0].reading.equations == ("hₜ = tanh(W xₜ + U hₜ₋₁)",)


def test_arguments_and_operators_are_put_in():
    gate = r"\DeclareMathOperator{\sig}{sigmoid} \newcommand*{\gate}[2]{\sig(W_{#1} x_t + U_{#1} #2)}"
    found = read("page.md", text=f"{gate}\n$$f_t = \\gate{{f}}{{h_{{t-1}}}}$$ $$h_t = f_t h_{{t-1}} + \\gate z {{h_{{t-1}}}}$$")
    assert found.cells[0].reading.equations == ("fₜ = σ(W_f xₜ + U_f hₜ₋₁)", "hₜ = fₜ ∘ hₜ₋₁ + σ(W_z xₜ + U_z hₜ₋₁)")


def test_a_macro_means_what_was_defined_last_in_front_of_it():
    text = "\\newcommand{\\a}{A}\n$$z_t = \\a x_t$$\n\\renewcommand{\\a}{B}\n$$h_t = z_t + \\a h_{t-1}$$"
    assert read("page.md", text=text).cells[0].reading.equations == ("zₜ = A xₜ", "hₜ = zₜ + B hₜ₋₁")


REFUSED = {
    "a macro of itself": (r"\newcommand{\a}{\a}", r"\a", "expands into itself"),
    "two macros of each other": (r"\def\a{\b}\def\b{\a}", r"\a", "expands into itself"),
    "an explosion": ("".join(rf"\def\x{chr(97 + i)}{{\x{chr(98 + i)}\x{chr(98 + i)}}}" for i in range(24)), r"\xa", "too much"),
    "copies of copies": (r"\def\d#1{#1#1#1#1}", r"\d{" * 30 + "b" + "}" * 30, "too much"),
    "an argument with a default": (r"\newcommand{\f}[2][t]{#2_{#1}}", r"\f{b}", "isn't plain"),
    "arguments between signs": (r"\def\f(#1){#1}", r"\f(b)", "isn't plain"),
    "a definition inside": (r"\newcommand{\f}{\def\g{b}\g}", r"\f", "isn't plain"),
    "too few arguments": (r"\newcommand{\f}[1]{#1}", r"{\f}", "takes 1 arguments"),
    "what a body holds": (r"\newcommand{\f}{\undefined}", r"\f", r"unknown command `\undefined`"),
    "a comment": ("% \\newcommand{\\f}{b}\n", r"\f", r"unknown command `\f`"),
    "code": ("```\n\\newcommand{\\f}{b}\n```\n", r"\f", r"unknown command `\f`"),
}


@pytest.mark.parametrize(("defined", "used", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_macro_is_refused_where_it_is_used(defined, used, said):
    with pytest.raises(PageError) as caught:
        read("page.md", text=f"{defined}\n$$h_t = {used} + x_t h_{{t-1}}$$")
    assert said in str(caught.value)


def test_what_is_defined_and_not_used_stops_no_page():
    defined = (
        r"\newcommand{\be}{\begin{equation}} \newcommand{\ee}{\end{equation}} \newcommand{\f}[2][t]{#2_{#1}} \newcommand{\a}{\a}"
    )
    assert read("page.md", text=f"{defined}\n$$h_t = x_t + h_{{t-1}}$$").cells
    with pytest.raises(PageError, match="begins or ends a display"):
        read("page.md", text=f"{defined}\n\\be h_t = x_t + h_{{t-1}} \\ee")


@pytest.mark.parametrize("written", [r"\newcommand{\a}{", r"\newcommand{\a}{b}", r"\def\a#1{{{", r"\DeclareMathOperator"])
def test_many_definitions_cost_no_more_than_their_length(written):
    start = time.perf_counter()
    with pytest.raises(PageError):
        read("page.md", text=written * 5_000 + "\n$$h_t = \\a x_t + h_{t-1}$$")
    assert time.perf_counter() - start < 10  # they take below a second each; squares of their number would take minutes
