"""Numbers and bounds: what is no number, or too much of one, is refused at once and with its place."""

from __future__ import annotations

import itertools
import time

import pytest

from derive.pages import PageError, read

NUMBERS = {
    r"10^{9999999999} x_t": "too large or too small",
    r"7^{9999999} x_t": "too large or too small",
    r"0.5^{99999} x_t": "too large or too small",
    r"10^{400} x_t": "too large or too small",
    r"2^{99999.5} x_t": "too large or too small",
    r"(10^{64})^{64} x_t": "too large or too small",
    r"\exp(1000) x_t": "too large or too small",
    r"(\log 0) x_t": "`\\log 0` is no real number",
    r"\sqrt{-2} x_t": "`\\sqrt{-2}` is no real number",
    r"\sqrt{1 - 3} x_t": "is no real number",
    r"\mathrm{softmax}(1) x_t": "`softmax` of a number",
    r"\sigma(1) x_t": "`\\sigma(1)` is a function of a number",
    r"1/0 x_t": "a division by zero",
    r"\frac{x_t}{\log 1}": "a division by zero",
    r"0^{-1} x_t": "a division by zero",
    r"x_t^{1/0}": "a division by zero",
    r"0^{x_t}": "is a power of 0: expected a positive number",
    r"x_t^{0}": "the power 0 is 1 throughout",
    r"\sqrt[3]{x_t}": "a root of degree `3` isn't read",
}


def refusal(text):
    start = time.process_time()
    with pytest.raises(PageError) as caught:
        read("page.md", text=text)
    # a guard against work that grows with the value of a number: each takes some milliseconds
    assert time.process_time() - start < 5
    return str(caught.value)


@pytest.mark.parametrize("formula", NUMBERS)
def test_what_is_no_number_is_refused_with_its_place(formula):
    text = refusal(f"$$h_t = {formula} + h_{{t-1}}$$")
    assert NUMBERS[formula] in text
    assert "^" in text.splitlines()[2]


@pytest.mark.parametrize(
    "formula",
    [r"\sqrt{2} x_t", r"\sqrt[2]{x_t}", r"10^{-3} x_t", r"(-1)^{99999} x_t", r"\exp(2) x_t", r"\tanh(1) x_t"],
)
def test_numbers_are_read(formula):
    assert read("page.md", text=f"$$h_t = {formula} + h_{{t-1}}$$").cells


@pytest.mark.parametrize("body", [r"a \circ a", r"\tanh(a)"])
def test_functions_of_functions_are_bounded(body):
    names = "fgpqrsuvwz"
    defined = [f"$$f(a) = {body}$$", *[f"$${new}(a) = {old}({old}(a))$$" for old, new in itertools.pairwise(names)]]
    text = refusal("\n".join([*defined, "$$k(a) = z(z(z(a)))$$", r"$$h_t = k(x_t) + h_{t-1}$$"]))
    assert "expected at most 400 symbols and signs" in text


def test_stacks_of_stacks_are_bounded():
    lines = [f"$$a_{{{n + 1},t}} = [a_{{{n},t}}, a_{{{n},t}}]$$" for n in range(1, 41)]
    text = refusal("\n".join([*lines, "$$a_{1,t} = x_t$$", "$$h_t = W a_{41,t} + h_{t-1}$$"]))
    assert "stacks of stacks make this vector too long: expected at most 1000 parts." in text
    assert text.splitlines()[2].strip() == "^" * 8


@pytest.mark.parametrize("inline", ["\\$ $ ", "$ a \\( b ", "` `` "])
def test_inline_mathematics_takes_time_in_proportion(inline):
    assert "too much on one page" in refusal(inline * 200_000)


@pytest.mark.parametrize("words", ["foo = bar", "foo bar", "dim x = 3"])
def test_a_wrong_declaration_has_its_place(words):
    lines = refusal(f"<!-- derive: f = tanh; {words} -->\n$$h_t = x_t + h_{{t-1}}$$").splitlines()
    assert lines[2] == " " * (4 + len("<!-- derive: f = tanh; ")) + "^" * len(words)


def test_a_declaration_without_an_end_gets_a_short_message():
    assert len(refusal("<!-- derive: " * 80_000)) < 1000


def test_an_environment_that_another_closes_is_said():
    text = refusal(r"\begin{align} h_t = x_t \end{equation}")
    assert r"`\begin{align}` is never closed: expected `\end{align}`, got `\end{equation}`." in text


def test_a_declared_number_divides_by_no_zero():
    with pytest.raises(PageError, match=r"--let: `a = 1/0` divides by zero: expected a number. Check the denominator."):
        read("page.md", text="$$h_t = a x_t + h_{t-1}$$", let={"a": "1/0"})


# ---- what numbers alone feed


def shapes(text, **let):
    return {row.symbol: row.shape for row in read("page.md", text=text, let=let).cells[0].reading.rows}


GATES = r"$$f_t = \sigma(w^\top x_t), \quad i_t = \exp(u^\top x_t)$$ $$h_t = \tanh(W x_t + U h_{t-1}) / n_t$$"


@pytest.mark.parametrize("state", [
    r"n_t = f_t n_{t-1} + i_t", r"n_t = f_t n_{t-1} + 1", r"n_t = \max(f_t n_{t-1}, i_t)", r"n_t = 0.5 m_{t-1} + i_t $$ $$ m_t = f_t n_t",
])  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_what_numbers_of_a_step_feed_is_a_number(state, first):
    text = f"$${state}$$ {GATES}" if first else f"{GATES} $${state}$$"
    assert shapes(text)["n"] == ()


@pytest.mark.parametrize("use", [r"h_t = x_t / n_t + U h_{t-1}", r"h_t = \tanh(W x_t + n_t)", r"h_t = \tanh(W [x_t; n_t])"])
@pytest.mark.parametrize("state", [r"n_t = 0.9 n_{t-1} + 0.1", r"n_t = n_{t-1} + 1", r"n_t = 0.5 m_{t-1} $$ $$ m_t = n_t + 1"])
def test_a_state_that_only_given_numbers_feed_is_asked_about(use, state):
    text = f"$${use}$$ $${state}$$"
    with pytest.raises(PageError, match=r'can be read in two ways: numbers alone feed it(.*\n)+Say --let "n=number"'):
        shapes(text)
    assert shapes(text, n="number")["n"] == ()
    assert len(shapes(text, n="vector")["n"]) == 1


@pytest.mark.parametrize(
    "use", [r"h_t = x_t + n_t \odot h_{t-1}", r"h_t = \tanh(W x_t + U n_t)", r"h_t = x_t + \operatorname{softmax}(n_t)"]
)
def test_a_use_says_that_such_a_state_is_a_vector(use):
    assert len(shapes(f"$${use}$$ $$n_t = 0.9 n_{{t-1}} + 0.1$$")["n"]) == 1
