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
LESS = r"(?:<(?!=)|\\lt(?![a-z]))"
FORMS = (
    rf"L\s*(?:=|:|\\in|∈){SPACE}(?:\\\{{|\[)?{SPACE}(?P<first>[0-9]+){SPACE},?{SPACE}(?:[0-9]+{SPACE},{SPACE})*{DOTS}{SPACE},?{SPACE}{LAST}",
    rf"(?P<first>[0-9]+){SPACE}{AT_MOST}{SPACE}L{SPACE}{AT_MOST}{SPACE}{LAST}",
    rf"(?P<first>[0-9]+){SPACE}{AT_MOST}{SPACE}L{SPACE}{LESS}{SPACE}{LAST}(?P<open>)",
    r"L\s*(?:\\geq?(?:slant)?(?![a-z])|≥|>=)\s*(?P<first>[0-9]+)",
    r"L\s*(?:>|\\gt(?![a-z]))\s*(?P<above>[0-9]+)",
    rf"L{SPACE}{AT_MOST}{SPACE}{LAST}",
    rf"L{SPACE}{LESS}{SPACE}{LAST}(?P<open>)",
    rf"L\s*=\s*(?P<only>[0-9]+)(?:{SPACE},{SPACE}(?P<then>[0-9]+(?:{SPACE},{SPACE}[0-9]+)*))?",
)
"""How a range is written, with L for the letter."""


RELATION = r"\s*(?:[<≤≥≠]|\\(?:leq?|geq?|neq?)(?![a-z]))\s*"
CONDITION = re.compile(
    rf"\\forall.*|[^=]*[<>∈].*|[\d.]+[a-z]?|[(（]?(?:[0-9]+{RELATION})?[a-z]{RELATION}(?:[A-Z]|[0-9]+)(?:\s*-\s*[0-9]+)?[)）]?"
    r"|[(（]\s*[a-z]\s*=\s*[0-9]+\s*,.*[)）]"
)
"""`\\forall t`, `1 \\le l \\le L`, `(l = 1, ..., L)`, what has a sign of order in it, and the number of an equation."""


def range_behind(text: str, letter: str) -> Range | None:
    """The range in what stands between two equations; None where there is none."""
    for form in FORMS:
        pattern = form.replace("L", rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", 1)
        found = re.search(pattern, text)
        if found is None:
            continue
        parts = found.groupdict()
        if parts.get("only") is not None:
            values = [int(parts["only"]), *map(int, re.findall("[0-9]+", parts["then"] or ""))]
            return Range(values[0], values[-1]) if values == list(range(values[0], values[-1] + 1)) else None
        if parts.get("above") is not None:
            return Range(int(parts["above"]) + 1)
        last = parts.get("last")
        less = int(parts.get("less") or 0) + (parts.get("open") is not None)
        if last and last.isdigit():
            return Range(int(parts.get("first") or 1), int(last) - less)
        return Range(int(parts.get("first") or 1), last, less)
    return None


RELATED = r"(?:[=<>≤≥≠∈]|\\(?:leq?|geq?|neq?|in|lt|gt)(?:slant)?(?![a-z]))"


def is_related(text: str, letter: str) -> bool:
    """Whether what stands between two equations says something of the letter."""
    alone = rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])"
    return re.search(rf"{alone}\s*{RELATED}|{RELATED}\s*{alone}", text) is not None
