"""The two sides of an equation, and what stands on a line without being one."""

from __future__ import annotations

from dataclasses import dataclass

from derive.pages.errors import PageError, Source, Span
from derive.pages.limits import is_bare, say_the_same
from derive.pages.outermost import split_at, top_level
from derive.pages.tokens import Token


@dataclass(frozen=True)
class Line:
    """One equation: the tokens of its left and its right side; `left` is empty where there is none. problem: why it can't be read. again:
    where the same is written in another way in front of the right side, `a = b = c`."""

    left: list[Token]
    right: list[Token]
    equals: Token | None
    problem: PageError | None = None
    again: Span | None = None

    @property
    def tokens(self) -> list[Token]:
        return [*self.left, *([self.equals] if self.equals else []), *self.right]

    @property
    def span(self) -> tuple[int, int]:
        return self.tokens[0].span[0], self.tokens[-1].span[1]


def of_several_symbols(part: list[Token]) -> list[list[Token]]:
    """`h_0 = c_0 = P v` as two equations: symbols with an index, all of one value."""
    *symbols, value = split_at(part, {"EQUALS"})
    single = len(symbols) > 1 and all(one and is_bare(one) and any(token.kind == "SUB" for token in one) for one in symbols)
    if not single or not value:
        return [part]
    equals = next(token for token in part if token.kind == "EQUALS")
    return [[*symbol, equals, *value] for symbol in symbols]


def line_of(source: Source, part: list[Token]) -> Line | None:
    """One equation, or one that can't be read."""
    try:
        return one_line(source, part)
    except PageError as error:
        at = top_level(part, "EQUALS")
        return Line(part[:at], part[at + 1 :], part[at], error) if at else Line([], part, None, error)


def one_line(source: Source, part: list[Token]) -> Line | None:
    """One equation's two sides. Raises PageError where a side is missing."""
    if any(token.kind == "GRADIENT" for token in part):
        return Line([], part, None)
    unread = next((token for token in part if token.kind == "UNREAD"), None)
    if unread is not None:
        what, todo = unread.value.split("\n")
        raise source.error(unread.span, what, todo)
    at = top_level(part, "EQUALS")
    if at is None:
        if all(token.kind in ("TEXT", "DOTS", "STOP", "NUMBER") for token in part):
            return None
        what = "an equation without a left side: expected `symbol = ...`."
        raise source.error((part[0].span[0], part[-1].span[1]), what, "Write what it defines, or take it out of the display.")
    if at == 0:
        raise source.error(part[0].span, "an equation without a left side: expected a symbol, got `=`.", "Write what it defines.")
    members = split_at(part[at + 1 :], {"EQUALS"})
    if len(members) > 1 and say_the_same(members, source.text):
        return Line(part[:at], members[-1], part[at], again=(members[0][0].span[0], members[-2][-1].span[1]))
    if len(members) > 1:
        what, place = "a second `=` in one equation: expected one.", next(t for t in part[at + 1 :] if t.kind == "EQUALS")
        raise source.error(place.span, what, "Write two equations.", (part[at].span, "the first:"))
    if at == len(part) - 1:
        what = "an equation without a right side: expected a formula, got nothing."
        raise source.error(part[at].span, what, "Write what it equals.")
    return Line(part[:at], part[at + 1 :], part[at])
