"""Formulas in comments: over several lines where they are too long, broken at spaces, in front of signs, in the fewest brackets."""

from __future__ import annotations

from collections.abc import Iterator

from derive.letters import width
from derive.targets.numpy.layout import WIDTH

OPEN, CLOSE = "([{", ")]}"


def formula(text: str, start: str) -> list[str]:
    """A formula behind `start`; further lines are set in."""
    found: list[str] = []
    while not fits(text, WIDTH - width(start)):
        at = best_space(text, WIDTH - width(start))
        if at is None:
            break
        found.append(start + text[:at])
        if len(found) == 1:
            start += "    "
        text = text[at + 1 :]
    return [*found, start + text]


def fits(text: str, room: int) -> bool:
    """Whether a text is no wider than this; of a long one the beginning is enough to see that it isn't."""
    return width(text[: 3 * room]) <= room and len(text) <= 3 * room


def best_space(text: str, room: int) -> int | None:
    """The space at which a line of so many columns ends best: in the fewest brackets, in front of a sign, as far on as can be."""
    spaces: list[tuple[int, bool, int]] = []
    across = 0
    for k, depth in depths(text):
        if across > room:
            break
        if text[k] == " " and across > 0:
            spaces.append((depth, text[k + 1 : k + 3] not in ("+ ", "− "), -k))
        across += width(text[k])
    return -min(spaces)[2] if spaces else None


def depths(text: str) -> Iterator[tuple[int, int]]:
    """(position, how many brackets it is in) of every character."""
    depth = 0
    for k, character in enumerate(text):
        depth -= character in CLOSE and depth > 0
        yield k, depth
        depth += character in OPEN
