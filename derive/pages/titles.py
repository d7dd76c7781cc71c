"""What cells of a page are called, and what is said of a page without one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from derive.pages.errors import PageError, Source

GRADIENTS = "Gradients are derived here: write the equations that they are gradients of."
STEPS = "A differential equation is written as a step, such as h_t = h_{t-1} + \\Delta t (...)."
BY_TIME = re.compile(r"[/{]\s*(?:\\mathrm\s*\{d\}|d)\s*t\b")
"""`\\frac{dx}{dt}`, `dx/dt`."""
UPDATES = "If it is the step itself, write `=`; updates of weights are no part of a step."


def nothing(source: Source, skipped: tuple[str, ...], blocks: bool) -> PageError:
    """The error for a page without forward equations."""
    if skipped:
        first = skipped[0].split(": ", 1)
        todo = UPDATES if "an update" in first[1] else STEPS if BY_TIME.search(first[1]) else GRADIENTS
        return PageError(f"{first[0]}: the page holds no forward equations: expected the step itself, got {first[1]}\n"
                         f"{todo}")  # fmt: skip
    got = "displays without one" if blocks else "a page without display mathematics"
    return PageError(f"{source.name}:1: no equations: expected display mathematics such as `$$h_t = \\tanh(W x_t + U h_{{t-1}})$$`, "
                     f"got {got}. Inline mathematics and code aren't read.")  # fmt: skip


def unique(titles: Sequence[str]) -> list[str]:
    """Titles, numbered where one comes again."""
    made: list[str] = []
    for title in titles:
        name, count = title or "cell", 2
        while identifier(name).lower() in {identifier(one).lower() for one in made}:
            name, count = f"{title or 'cell'} {count}", count + 1
        made.append(name)
    return made


def identifier(text: str, otherwise: str = "cell") -> str:
    """A name for files and modules: letters, digits and underscores; `otherwise` in front where it begins with none of the letters."""
    text = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return text if text[:1].isalpha() else f"{otherwise}_{text}".rstrip("_")


def naming(path: str, title: str, count: int) -> tuple[str, str]:
    """(the kernel's name, the words that make it): the page's file name, and the heading where the page has several cells."""
    file = "stdin" if path == "-" else Path(path).name
    base, command = identifier(Path(file).stem, "page"), "-" if path == "-" else file
    if count == 1:
        return base, command
    cell = identifier(title).lower()
    return f"{base}_{cell}", f"{command} --cell {cell}"
