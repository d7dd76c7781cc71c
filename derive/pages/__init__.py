"""Equations as people print them -> cells: `read("page.md")`. The parser is loaded with the first page that is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from derive.pages.errors import PageError

if TYPE_CHECKING:
    from derive.pages.page import Page


def read(
    path_or_dash: str, *, text: str | None = None, dims: Mapping[str, str] | None = None, let: Mapping[str, str] | None = None
) -> Page:
    """The cells of a page; see `derive.pages.page.read`."""
    from derive.pages.page import read as read_page

    return read_page(path_or_dash, text=text, dims=dims, let=let)


__all__ = ["PageError", "read"]
