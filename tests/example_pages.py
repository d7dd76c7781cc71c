"""The pages in `examples/pages`, each read where a test first asks for it: collecting tests reads none."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from derive.pages import read
from derive.pages.one_cell import PageCell
from derive.pages.page import Page

FOLDER = Path(__file__).parents[1] / "examples" / "pages"


@functools.cache
def page(name: str) -> Page:
    """The whole page."""
    return read(str(FOLDER / name))


@functools.cache
def titles(name: str) -> tuple[str, ...]:
    """The headings of the sections that make cells: of the second level where there are some, else of the first."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return tuple(re.findall(r"^## (.*)$", text, re.MULTILINE) or re.findall(r"^# (.*)$", text, re.MULTILINE))


@functools.cache
def section(name: str, title: str) -> PageCell:
    """The cell of a section of the second level that needs no other one, read by itself; called as it is on the page."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    front, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    (own,) = [one for one in sections if one.startswith(f"## {title}\n")]
    return read(name, text=front + own).cell()
