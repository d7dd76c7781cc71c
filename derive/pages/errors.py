"""Where something stands on a page, and the error that points at it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from derive.errors import DeriveError

LONGEST_SHOWN = 100
"""Columns of an equation that an error shows around the place."""

LEFT = re.compile(r"^[ \t]*(?:[-*•][ \t]+)?([A-Za-z]\w{0,40})[ \t]*=", re.MULTILINE)
JOINED = re.compile(r"[A-Za-z]{1,3}t")
EARLIER = re.compile(r"(?<![\w^{\\])[A-Za-z]{1,3}t[-−]1(?!\w)")
"""Left sides of a plain text, `Ht` as one, and `Ht-1`."""

DECLARED = '--let "'
"""What a message says of a declaration begins so."""

OPEN = ("can be read in", "shape conflict", " runs over ", " of one thing", "isn't known yet")
"""What a message says of a formula that is understood, but for something that the page can say in another way."""

LETTER, WORD = re.compile("[A-Za-z]"), re.compile(r"[A-Za-z]{4,}")

Span = tuple[int, int]
"""Where something stands in the text of its page: from, up to."""


class PageError(DeriveError):
    """A page that can't be read as a cell: `file:line: what is wrong: expected X, got Y.`, the equation with a caret, what to do.

    places: where it is, and a second place that contradicts it, as far as the error has them. is_question: a declaration, or another way
    of writing it, decides between readings that the error says; question: that of what a symbol is, see `questions`.
    """

    places: tuple[Span, ...] = ()
    is_question: bool = False
    question: object = None


def said_once(errors: Iterable[PageError]) -> list[PageError]:
    """The first error of each fault: a line that several sections need is one fault, whatever the sections are called, and so is what one
    error says at the end of another."""
    found: dict[tuple[tuple[Span, ...], str], PageError] = {}
    for error in errors:
        first, _, below = str(error).partition("\n")
        if not any(below.endswith(str(other)) for other in found.values()):
            found.setdefault((error.places, below or first), error)
    return [*found.values()]


@dataclass(frozen=True)
class Source:
    """The text of a page and the name that its errors carry; `plain` for one equation a line, without LaTeX around it."""

    name: str
    text: str
    plain: bool = False

    @cached_property
    def starts(self) -> list[int]:
        return [0, *[at + 1 for at, character in enumerate(self.text) if character == "\n"]]

    @cached_property
    def joined(self) -> bool:
        """Whether a plain text writes indices without a sign, as ONNX does: `it = f(Xt*(Wi^T) + Ht-1*(Ri^T))`. Every left side does then,
        and no index is written in another way."""
        lefts = LEFT.findall(self.text) if self.plain else []
        other = re.search(r"_\{?t|ₜ|\(t\)", self.text)
        return bool(lefts) and not other and all(JOINED.fullmatch(one) for one in lefts) and bool(EARLIER.search(self.text))

    @cached_property
    def dotted(self) -> bool:
        """Whether a plain text writes `(.)` for the elementwise product, so that `*` is the product of matrices."""
        return self.plain and " (.) " in self.text

    @cached_property
    def has_sigma(self) -> bool:
        """Whether the letter Σ is a quantity of the page: it is defined, or read at another step."""
        return re.search(r"^[ \t$&]*(?:[-*•][ \t]+)?Σ[^=\n]*=|Σ(?:ₜ[₋₊]|_\{?[a-z][-+])", self.text, re.MULTILINE) is not None

    @cached_property
    def paragraphs(self) -> list[int]:
        """Where paragraphs end: the places of empty lines."""
        return [found.start() for found in re.finditer("\n\n", self.text)]

    @cached_property
    def missing(self) -> dict[str, int]:
        """What closes inline mathematics or code -> the end of a paragraph that holds no more of it."""
        return {}

    def paragraph_end(self, at: int) -> int:
        following = bisect.bisect_left(self.paragraphs, at)
        return self.paragraphs[following] if following < len(self.paragraphs) else len(self.text)

    def line(self, at: int) -> int:
        """The number of the line that holds a place, from 1."""
        return bisect.bisect_right(self.starts, at)

    def where(self, at: int) -> str:
        return f"{self.name}:{self.line(at)}"

    def line_text(self, at: int) -> tuple[str, int]:
        """(the line that holds a place, the place's column in it)."""
        start = self.starts[self.line(at) - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else None].rstrip(), at - start

    def written(self, span: Span) -> str:
        """What stands at a place, on one line."""
        return " ".join(self.text[span[0] : span[1]].split())

    def pointer(self, span: Span) -> str:
        """The line with a caret under the place."""
        text, column = self.line_text(span[0])
        text = "".join(" " if c.isspace() else c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        offset = max(0, column - LONGEST_SHOWN // 2)
        shown = text[offset : offset + LONGEST_SHOWN]
        carets = "^" * max(1, min(span[1] - span[0], offset + len(shown) - column))
        return f"    {shown}\n    {' ' * (column - offset)}{carets}"

    def in_a_word(self, span: Span) -> str:
        """For one letter of `leak` in bare letters: how the word is written, which TeX and this reader take letter by letter."""
        start = next((at for at in range(span[0], max(-1, span[0] - 30), -1) if not LETTER.match(self.text, at - 1)), span[0])
        word = WORD.match(self.text, start)
        if word is None or span[1] - span[0] != 1 or start < 1 or self.text[start - 1] in "\\_^{":
            return ""
        return f" `{word[0]}` is read letter by letter: one name is written \\mathrm{{{word[0]}}}, words \\text{{...}}."

    def error(self, span: Span, what: str, todo: str, other: tuple[Span, str] | None = None) -> PageError:
        """The error that points at a place; `other` is a second place with what is said of it."""
        lines = [f"{self.where(span[0])}: {what}", self.pointer(span)]
        if other:
            lines += [f"  {self.where(other[0][0])}: {other[1]}", self.pointer(other[0])]
        error = PageError("\n".join([*lines, todo + self.in_a_word(span)]))
        error.places = (span, *([other[0]] if other else []))
        error.is_question = DECLARED in todo or any(words in what for words in OPEN)
        return error
