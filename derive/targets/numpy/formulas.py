"""Formulas in comments: over several lines where they are too long, broken at spaces, in front of signs, in the fewest brackets."""

from __future__ import annotations

from collections.abc import Iterator

from derive.letters import width
from derive.targets.numpy.layout import WIDTH

OPEN, CLOSE = "([{", ")]}"


def formula(text: str, start: str) -> list[str]:
    """A formula behind `start`; further lines are set in."""
    found: list[str] = []
    while width(start) + width(text) > WIDTH:
        room = WIDTH - width(start)
        spaces = [
            (depth, text[k + 1 : k + 3] not in ("+ ", "− "), -k)
            for k, depth in depths(text)
            if text[k] == " " and 0 < width(text[:k]) <= room
        ]
        if not spaces:
            break
        at = -min(spaces)[2]
        found.append(start + text[:at])
        if len(found) == 1:
            start += "    "
        text = text[at + 1 :]
    return [*found, start + text]


def depths(text: str) -> Iterator[tuple[int, int]]:
    """(position, how many brackets it is in) of every character."""
    depth = 0
    for k, character in enumerate(text):
        depth -= character in CLOSE and depth > 0
        yield k, depth
        depth += character in OPEN
