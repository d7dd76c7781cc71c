"""The header of an emitted file as a comment of C, and back."""

from __future__ import annotations

OPENS, CLOSES = "/* ", " */\n"
FOR_PYTHON = "# fmt: off\n"
"""The last line of a header, which says something to the tools of Python alone."""


def commented(header: str) -> str:
    """A header of `#` lines as a comment of C."""
    lines = [line.removeprefix("#").removeprefix(" ") for line in header.removesuffix(FOR_PYTHON).splitlines()]
    return OPENS + "\n".join([lines[0], *(f"   {line}".rstrip() for line in lines[1:])]) + CLOSES


def uncommented(text: str) -> tuple[str, str]:
    """(the header in `#` lines, what stands behind it) of a C file."""
    head, _, body = text.removeprefix(OPENS).partition(CLOSES)
    return "".join(f"# {line.removeprefix('   ')}".rstrip() + "\n" for line in head.split("\n")) + FOR_PYTHON, body
