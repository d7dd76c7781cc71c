"""The text of a page: from a file, from standard input, or as given; never more of it than a page can be."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import BinaryIO

from derive.pages.errors import PageError, Source

LARGEST = 4_000_000
"""Bytes of a page. Pictures may be part of a Markdown file; more than this is no page."""

ACTIVE = re.compile(
    r"\\(?:input|include|includeonly|import|subimport|verbatiminput|lstinputlisting|write(?:18)?|newwrite|openin|openout|read|immediate"
    r"|csname|catcode|directlua|luaexec|special|ShellEscape|pdfobj|loop)(?![A-Za-z])"
    r"|__(?:import|builtins|class|globals|subclasses|base|bases|mro|dict|code|loader|getattribute)__"
)
"""What makes TeX or Python do something: a page has no use for it."""


def load(path: str, text: str | None = None) -> Source:
    """The page at a path, `-` for standard input; with `text`, that text under the path's name. Raises PageError."""
    name = "<stdin>" if path == "-" else Path(path).name
    data = text.encode(errors="replace") if text is not None else read_bytes(path)
    if len(data) > LARGEST:
        raise PageError(
            f"{name}:1: the page is too large: expected at most {LARGEST} bytes. Put the equations on a page of their own."
        )
    source = Source(
        name, decoded(name, data), plain=not name.lower().endswith((".md", ".markdown", ".tex", ".latex", ".qmd", ".rmd"))
    )
    refuse_active(source)
    return source


def read_bytes(path: str) -> bytes:
    """At most one byte more than a page can have."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(LARGEST + 1)
        if not Path(path).is_file():
            found = "a folder" if Path(path).is_dir() else "no such file"
            raise PageError(f"{path}: can't read the page: expected a Markdown, LaTeX or text file, got {found}. Check the path.")
        file: BinaryIO
        with open(path, "rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise PageError(f"{path}: can't read the page: {error.strerror or error}. Check the path and its permissions.") from None


def decoded(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        got = f"the byte {data[error.start]:#04x}"
        raise PageError(f"{name}:{line}: not a text file: expected UTF-8, got {got}. Save it as UTF-8.") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise PageError(f"{name}:{line}: not a text file: expected text, got a zero byte. Give a Markdown, LaTeX or text file.")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")


def refuse_active(source: Source) -> None:
    """Raises PageError on a command that would make TeX or Python do something."""
    found = ACTIVE.search(source.text)
    if found:
        what = f"`{found[0]}` isn't mathematics: expected equations, got a command. A page is read and never run."
        raise source.error(found.span(), what, "Remove it and write the equations out.")
