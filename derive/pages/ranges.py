"""The layers for which an equation is printed, as they stand behind it: `l = 1, ..., L`, `l > 1`, `1 \\le l \\le L`.

A range is a label to the reader of equations, so that it is found in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The first value of the letter and the last: a number, or a name less a number; None where it is open."""

    first: int
    last: int | str | None = None
    less: int = 0


DOTS = r"(?:\\[lc]?dots[a-z]?|\.\.\.?|…|⋯|:)"
SPACE = r"(?:\s|\\[,;: ]|\{|\})*"
LAST = r"(?P<last>[A-Za-z]|[0-9]+)(?:\s*[-−]\s*(?P<less>[0-9]+))?"
AT_MOST = r"(?:\\leq?(?:slant)?(?![a-z])|≤|<=)"
FORMS = (
    rf"L\s*(?:=|:|\\in|∈){SPACE}(?:\\\{{|\[)?{SPACE}(?P<first>[0-9]+){SPACE},?{SPACE}(?:[0-9]+{SPACE},{SPACE})*{DOTS}{SPACE},?{SPACE}{LAST}",
    rf"(?P<first>[0-9]+){SPACE}{AT_MOST}{SPACE}L{SPACE}{AT_MOST}{SPACE}{LAST}",
    r"L\s*(?:\\geq?(?:slant)?(?![a-z])|≥|>=)\s*(?P<first>[0-9]+)",
    r"L\s*(?:>|\\gt(?![a-z]))\s*(?P<above>[0-9]+)",
    r"L\s*=\s*(?P<only>[0-9]+)",
)
"""How a range is written, with L for the letter."""


def range_behind(text: str, letter: str) -> Range | None:
    """The range in what stands between two equations; None where there is none."""
    for form in FORMS:
        pattern = form.replace("L", rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", 1)
        found = re.search(pattern, text)
        if found is None:
            continue
        parts = found.groupdict()
        if parts.get("only") is not None:
            return Range(int(parts["only"]), int(parts["only"]))
        if parts.get("above") is not None:
            return Range(int(parts["above"]) + 1)
        last = parts.get("last")
        return Range(int(parts["first"]), int(last) if last and last.isdigit() else last, int(parts.get("less") or 0))
    return None
