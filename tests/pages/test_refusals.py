"""What a page can't say is refused: where, what, and what to write instead."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from derive.pages import PageError, read
from tests.pages.broken import ACTIVE, BROKEN, MISSING


def message(text, name="page.md", **more):
    with pytest.raises(PageError) as caught:
        read(name, text=text, **more)
    return str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_page_gets_its_message(name):
    text, expected = BROKEN[name]
    assert message(text) == expected


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PageError) as caught:
        read("nowhere/page.md")
    assert str(caught.value) == MISSING


def test_a_folder_is_no_page(tmp_path):
    with pytest.raises(PageError, match="got a folder"):
        read(str(tmp_path))


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "page.md"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\xff" * 100)
    with pytest.raises(PageError, match=r"page.md:1: not a text file: expected UTF-8, got the byte 0x89"):
        read(str(path))


@pytest.mark.parametrize("text", ACTIVE)
def test_what_would_act_is_refused(text):
    assert "page.md:1: " in message(text + "\n\n$$h_t = \\tanh(W x_t + U h_{t-1})$$\n")


def test_what_to_write_is_said_for_words_sums_and_arrows():
    assert r"several letters make one name as `\mathrm{wkv}`" in message(r"$$wkv_t = \tanh(W x_t + U wkv_{t-1})$$")
    assert "carries an index and no time" in message(r"$$h_t = x_t + h_{t-1}$$ $$y_t = \sum_j h_j$$")
    assert "`\\sum` over steps" in message(r"$$h_t = x_t + h_{t-1}$$ $$y_t = \sum_{k=1}^{t} h_k$$")
    assert "`\\prod` isn't read" in message(r"$$h_t = x_t + h_{t-1}$$ $$y_t = \prod_j h_{t,j}$$")
    assert "If it is the step itself, write `=`" in message(r"$$h_t \leftarrow \tanh(W x_t + U h_{t-1})$$")


def test_undeclared_functions_are_asked_for():
    text = message(r"$$h_t = f(W x_t + U h_{t-1} + b)$$")
    assert 'Say: --let "f=tanh" for a function, --let "f=matrix" for a matrix.' in text
    assert read("page.md", text=r"$$h_t = f(W x_t + U h_{t-1} + b)$$", let={"f": "tanh"}).cells[0].cell.parameters[0].name == "W"


def test_dimensions_that_contradict_the_equations_are_refused():
    assert "contradicts" in message(r"$$h_t = \tanh(x_t) \odot h_{t-1}$$", dims={"h": "N", "x": "M"})
    assert "dim W" in message(r"$$h_t = \tanh(W x_t + U h_{t-1})$$", dims={"W": "N"})


def test_stacked_and_plain_sizes_are_shown_at_both_places():
    text = message(r"$$h_t = [h_{t-1}, x_t] + h_{t-1}$$")
    assert "has size n: expected size n+m" in text
    assert "this has size n+m" in text


HOSTILE = {
    "deep brackets": "$$h_t = " + "(" * 9000 + "x_t" + ")" * 9000 + "$$",
    "deep braces": "$$h_t = " + "{" * 9000 + "x_t" + "}" * 9000 + "$$",
    "deep but short": "$$h_t = " + "\\tanh(" * 200 + "x_t" + ")" * 200 + "$$",
    "a megabyte in a display": "$$h_t = " + "x_t + " * 180_000 + "x_t$$",
    "a megabyte without a display": "x" * 1_000_000,
    "a megabyte of dollars": "$" * 1_000_001,
    "a megabyte of displays": "$$x_t$$ " * 120_000,
    "a megabyte of openings": "\\begin{align}" * 80_000,
    "a megabyte of letters": "$$" + "a" * 1_000_000 + "$$",
    "many equations": "$$a_t = x_t$$\n" * 50_000,
    "long chain": "$$h_t = " + "W " * 1900 + "x_t$$",
    "long sum": "$$h_t = " + "+x_t" * 950 + "$$",
    "a tower of powers": "$$h_t = x_t" + "^{2" * 2000 + "}" * 2000 + "$$",
    "a tower of indices": "$$h_t = x" + "_{a" * 35 + "}" * 35 + "$$",
    "huge powers": "$$h_t = x_t + 9^{9999999} + 9^{99^{99}}$$",
    "huge numbers": "$$h_t = " + "9" * 15_000 + " x_t$$",
    "huge exponents": "$$h_t = x_t^{99999999999}$$",
    "backticks": "`" * 1_000_000,
    "headings": "# a\n" * 200_000,
    "fences": "```\n" * 200_000,
    "comments": "<!--" * 200_000,
    "zero": "\0" * 1000,
    "too large": " " * 5_000_000,
}


READABLE = ("huge exponents", "long sum", "long chain")
"""Odd, and still equations."""


def ends(text, file):
    """The message that a text gets; None where it is read."""
    try:
        read(file, text=text)
    except PageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", ["page.md", "page.txt"])
def test_hostile_text_ends(name, file):
    read("page.md", text=r"$$h_t = \tanh(W x_t + U h_{t-1})$$")  # the parser is loaded
    start = time.process_time()
    message = ends(HOSTILE[name], file)
    # a guard against growth with the square of the size, not a measurement: each takes at most 0.4 s on an idle machine
    assert time.process_time() - start < 20
    assert (message is None and name in READABLE) or len(message) < 2000


@pytest.mark.parametrize("name", ["deep brackets", "a megabyte in a display", "a megabyte of letters", "a tower of powers"])
def test_hostile_text_takes_bounded_memory(name):
    tracemalloc.start()
    try:
        ends(HOSTILE[name], "page.md")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("left", [r"\frac{dx}{dt}", r"\tau \frac{\mathrm{d} x(t)}{\mathrm{d} t}"])
def test_a_differential_equation_is_asked_for_as_a_step(left):
    assert "A differential equation is written as a step" in message(f"$${left} = -x + W r$$")


@pytest.mark.parametrize(
    "factor", [r"(1 - k_t k_t^\top)", r"(\mathbb{1} - \beta_t k_t k_t^\top)", "A_t", r"(1 - k_t k_t^\top)^2"]
)
def test_a_number_added_to_a_factor_of_a_matrix_product_is_asked_about(factor):
    page = r"$$k_t = W x_t, \beta_t = w^\top x_t$$ $$A_t = 1 + k_t k_t^\top$$ $$y_t = A_t \odot S_{t-1}$$"
    page += r"$$S_t = S_{t-1} F + k_t x_t^\top$$"
    assert "expected the identity, or ones everywhere" in message(page.replace("F", factor))
    assert read("page.md", text=page.replace("F", r"\odot " + factor.replace("^2", "")))


def test_a_capital_in_a_sum_with_a_number_beside_a_vector_is_asked_about():
    page = r"$$h_t = \tanh((1 - A) h_{t-1} + W x_t)$$"
    assert "expected to know whether A is a number, a vector or a matrix" in message(page)
    assert "expected the identity, or ones everywhere" in message(page, let={"A": "matrix"})
    assert read("page.md", text=page, let={"A": "vector"})
    assert read("page.md", text=page.replace(") h", r") \odot h"))
