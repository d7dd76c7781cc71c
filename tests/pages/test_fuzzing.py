"""Whatever stands on a page: it is read, or refused by one clear message; nothing hangs, nothing is run.

Two tests, 5,000 pages each with `--hypothesis-profile=thorough`.
"""

from __future__ import annotations

import builtins
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from derive.pages import PageError, read

PAGES = [path.read_text() for path in sorted((Path(__file__).parents[2] / "examples" / "pages").glob("*.md"))]
SNIPPETS = [
    r"\sigma(", r"\tanh", r"\frac{", "}", "{", "_{t-1}", "^{(t)}", "_t", "$$", r"\[", r"\]", r"\begin{align}",
    r"\end{align}", r"\begin{pmatrix}", r"\end{pmatrix}", r"\\", "&", "=", ":=", "+", "-", r"\odot", r"\circ", "*",
    r"\cdot", r"\times", "/", "[", "]", "(", ")", ",", ";", "h", "x", "W", "c", r"\tilde", r"\mathbf", r"\text{",
    r"\operatorname{", "0.1", "1", "^2", r"^\top", "'", "ₜ₋₁", "σ", "⊙", "∘", "−", "é", "\u0303", "\n\n", " ",
    r"\left", r"\right", ".", r"\quad", r"\max", "softmax", r"\partial", "# A\n", "```", "%", "`", "$",
    "<!-- derive:", "f = tanh", "-->", "e^", r"\sqrt", r"\begin{array}{cc}", r"\end{array}", r"\underbrace{",
    r"\tag{1}", "\t", "\u2028", "\ufeff", "𝐡", "ｆ", r"\label{", r"\Delta t", "_{prev}", "_{next}",
    r"\sum_j", r"\sum_{j=1}^{H}", r"\max_i", "[0:H]", r"\|", "_{t,j}", "_{ij}", r"^{\odot 2}", r"\langle", r"\rangle",
    r"\operatorname{split}(", r"\operatorname{LN}(",
]  # fmt: skip
CLEAR = re.compile(r"^(page\.(md|txt)(:\d+)?|--let|--dim): \S")


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch):
    read("page.md", text=PAGES[0])  # everything that reading needs is imported

    def refuse(*arguments, **named):
        raise AssertionError("a page was run")

    for name in ("eval", "exec", "compile", "__import__", "open"):
        original = getattr(builtins, name)
        monkeypatch.setattr(builtins, name, guarded(original, refuse))


def guarded(original, refuse):
    """Only what the reader itself calls is refused; the test's own machinery may go on."""
    import sys

    def call(*arguments, **named):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        text_of_a_page = bool(arguments) and isinstance(arguments[0], str) and caller.startswith(("derive", "sympy", "lark"))
        if text_of_a_page and original.__name__ != "__import__":
            refuse()
        return original(*arguments, **named)

    return call


def attempt(text, file):
    start = time.process_time()
    message = ends(text, file)
    assert time.process_time() - start < 2 + text.count("#")  # each section is read for itself
    assert message is None or (CLEAR.match(message) and len(message) < 3000), message


def ends(text, file):
    """The message that a page gets; None where it is read."""
    try:
        read(file, text=text)
    except PageError as error:
        return str(error)
    return None


@given(
    st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=6)), max_size=40).map("".join),
    st.booleans(),
    st.sampled_from(["page.md", "page.txt"]),
)
@example("$$h_t = __import__('os').system('true') x_t$$", True, "page.md")
def test_random_text_is_read_or_refused(text, display, file):
    attempt(f"$${text}$$" if display else text, file)


@given(st.integers(0, 2**32))
def test_a_mutated_page_is_read_or_refused(seed):
    choose = random.Random(seed)
    text = choose.choice(PAGES)
    start = choose.randrange(len(text))
    text = text[start : start + (choose.randrange(20, 1500) if choose.random() < 0.8 else 6000)]
    for _ in range(choose.randint(1, 6)):
        text = mutated(text, choose)
    attempt(text, choose.choice(["page.md", "page.md", "page.txt"]))


def mutated(text, choose):
    """A piece of the text taken away, doubled, moved, or replaced."""
    at = choose.randrange(len(text) + 1)
    end = min(len(text), at + choose.choice([1, 1, 1, 2, 5, 20]))
    kind = choose.randrange(5)
    if kind == 0:
        return text[:at] + text[end:]
    if kind == 1:
        return text[:end] + text[at:]
    if kind == 2:
        return text[:at] + choose.choice(SNIPPETS) + text[at:]
    if kind == 3:
        return text[:at] + choose.choice(SNIPPETS) + text[end:]
    other = choose.randrange(len(text) + 1)
    return text[:at] + text[other : other + 30] + text[end:]
