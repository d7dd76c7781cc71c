"""Bars: `|x|` is an absolute value, `[a | b]` one vector above the other, `\\|x\\|` a norm."""

from __future__ import annotations

from dataclasses import replace

from derive.pages.errors import Source
from derive.pages.tokens import Token

OPENING = {"OPEN", "BEGIN_GROUP", "BEGIN_MATRIX", "BEGIN_LINES"}
CLOSING = {"CLOSE", "END_GROUP", "END_MATRIX", "END_LINES"}
OPERANDS = {"SYMBOL", "GREEK", "VARIANT", "NUMBER", "MARK", "PRIME", "CLOSE", "END_GROUP", "END_MATRIX"}
"""What a value ends with."""
BREAKS = {"COMMA", "SEMICOLON", "NEWLINE", "AMP", "EQUALS", "QUAD", "TEXT"}
"""What no pair of bars reaches across."""


def is_bar(token: Token) -> bool:
    return token.kind == "COMMA" and token.value in ("|", "‖")


def with_absolute_values(source: Source, tokens: list[Token]) -> list[Token]:
    """The tokens with brackets for the bars of absolute values and norms; bars that can be read in two ways become `UNREAD`."""
    tokens = with_double_bars(tokens)
    made = list(tokens)
    levels: list[tuple[str, list[list[int]]]] = [("", [[]])]
    for at, token in enumerate(tokens):
        if token.kind in OPENING:
            levels.append((token.value if token.kind == "OPEN" else token.kind, [[]]))
        elif token.kind in CLOSING and len(levels) > 1:
            settle(source, made, *levels.pop())
        elif is_bar(token):
            levels[-1][1][-1].append(at)
        elif token.kind in BREAKS:
            levels[-1][1].append([])
    for level in reversed(levels):
        settle(source, made, *level)
    return made


def with_double_bars(tokens: list[Token]) -> list[Token]:
    """The tokens with `||x||`, which is never the absolute value of one, as `\\|x\\|`. With a single bar inside the outer ones are
    single too: `||a| - |b||`."""
    opened: list[int] = []
    seconds: set[int] = set()
    for at in range(1, len(tokens)):
        if touches(tokens[at - 1], tokens[at]) and not follows_operand(tokens, at - 1):
            opened.append(at)
        elif touches(tokens[at - 1], tokens[at]) and opened:
            start = opened.pop()
            inside = (one for one in range(start + 1, at - 1) if not {one, one + 1} & seconds)
            if not any(is_bar(tokens[one]) and tokens[one].value == "|" for one in inside):
                seconds |= {start, at}
    return [
        one_bar(token, tokens[at + 1]) if at + 1 in seconds else token for at, token in enumerate(tokens) if at not in seconds
    ]


def touches(token: Token, bar: Token) -> bool:
    """Whether a single bar stands right behind another."""
    return is_bar(token) and is_bar(bar) and token.value == bar.value == "|" and token.span[1] == bar.span[0]


def one_bar(first: Token, second: Token) -> Token:
    return replace(first, value="‖", span=(first.span[0], second.span[1]))


def settle(source: Source, made: list[Token], opener: str, runs: list[list[int]]) -> None:
    """Decide the bars of one bracket: between commas and line breaks they are pairs, or all of them separate."""
    for bars in filter(None, runs):
        separate = all(follows_operand(made, at) for at in bars)
        if separate and len(bars) % 2 and opener:
            continue
        if separate and opener in ("(", "["):
            if not all(spaced(source, made[at]) for at in bars):
                two_ways(source, made, bars)
            continue
        pair(made, bars)


def follows_operand(made: list[Token], at: int) -> bool:
    """Whether a value stands in front of a place; the limits of a sum are none."""
    script = at > 1 and made[at - 2].kind in ("SUB", "SUP")  # the star of `h^*`
    ends = at > 0 and (script or made[at - 1].kind in OPERANDS)
    return ends and made[carrier(made, at - 1)].kind not in ("REDUCE", "FUNCTION")


def carrier(made: list[Token], at: int) -> int:
    """Where that stands which carries the script that ends at a place; the place itself where none does."""
    while True:
        start, depth = at, 0
        while made[start].kind == "END_GROUP" or depth:
            depth += (made[start].kind == "END_GROUP") - (made[start].kind == "BEGIN_GROUP")
            if depth == 0 or start == 0:
                break
            start -= 1
        if start < 2 or made[start - 1].kind not in ("SUB", "SUP"):
            return at
        at = start - 2


def spaced(source: Source, token: Token) -> bool:
    """Whether a bar stands between spaces, or is a sign that is never an absolute value."""
    start, end = token.span
    return source.text[start:end] in (r"\mid", r"\parallel") or (
        source.text[start - 1 : start].isspace() and source.text[end : end + 1].isspace()
    )


def unread(made: list[Token], at: int, what: str, todo: str) -> None:
    made[at] = replace(made[at], kind="UNREAD", value=f"{what}\n{todo}")


def pair(made: list[Token], bars: list[int]) -> None:
    """Bars as brackets, the first of each two opening: a bar opens where no value stands in front of it, or none of its kind is open."""
    opened: list[int] = []
    for at in bars:
        if opened and follows_operand(made, at) and made[opened[-1]].value == made[at].value:
            opened.pop()
            made[at] = replace(made[at], kind="CLOSE")
        else:
            opened.append(at)
            made[at] = replace(made[at], kind="OPEN")
    if opened:
        sign, todo = made[opened[-1]].value, r"Close it, or write \lvert x \rvert."
        unread(made, opened[-1], f"a bar without a partner: expected `{sign}x{sign}`, or `[a {sign} b]` between brackets.", todo)


def two_ways(source: Source, made: list[Token], bars: list[int]) -> None:
    span = (made[bars[0]].span[0], made[bars[-1]].span[1])
    inside = source.written((made[bars[0]].span[1], made[bars[1]].span[0]))
    what = f"`{source.written(span)}` can be read in two ways: as an absolute value, or as vectors one above the other."
    todo = rf"Write \lvert {inside} \rvert for the absolute value, [a, b, c] for one above the other."
    for at in bars:
        unread(made, at, what, todo)
