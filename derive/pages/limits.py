"""Tokens whose meaning hangs on their neighbours: what carries limits, `\\max_j`; ranges, `x[0:H]`; several left sides, `a, b = ...`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from derive.pages.alphabet import REDUCING
from derive.pages.scripts import without_whole_axes
from derive.pages.tokens import Token

ENDS = {"SYMBOL", "GREEK", "VARIANT", "CLOSE", "END_GROUP", "END_MATRIX"}
"""What a value that is cut ends with."""
NAMING = {"SYMBOL", "GREEK", "VARIANT", "DECORATION", "FONT", "SUB", "SUP", "PRIME", "BEGIN_GROUP", "END_GROUP"}
"""What a symbol is made of, outside its braces."""


def with_limits(tokens: list[Token]) -> list[Token]:
    """The tokens with operators for functions that have an index below, and ranges for brackets with a colon in them."""
    tokens = without_whole_axes(tokens)
    return with_ranges([operator(tokens, at) for at in range(len(tokens))])


def operator(tokens: list[Token], at: int) -> Token:
    """`\\max_j` as an operator; any other token as it is."""
    token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else None
    limited = token.kind == "FUNCTION" and token.value in REDUCING and following is not None and following.kind == "SUB"
    return replace(token, kind="REDUCE") if limited else token


def with_ranges(tokens: list[Token]) -> list[Token]:
    """Square brackets with one colon right in them, behind a value, as ranges."""
    made = list(tokens)
    opened: list[int] = []
    colons: dict[int, list[int]] = {}
    for at, token in enumerate(tokens):
        if token.kind in ("OPEN", "BEGIN_GROUP", "BEGIN_MATRIX"):
            opened.append(at)
        elif token.kind == "STOP" and token.value == ":" and opened:
            colons.setdefault(opened[-1], []).append(at)
        elif token.kind in ("CLOSE", "END_GROUP", "END_MATRIX") and opened:
            begin = opened.pop()
            behind = begin > 0 and tokens[begin - 1].kind in ENDS
            if behind and tokens[begin].value == "[" and len(colons.get(begin, ())) == 1:
                for place, kind in ((begin, "BEGIN_RANGE"), (colons[begin][0], "COLON"), (at, "END_RANGE")):
                    made[place] = replace(tokens[place], kind=kind)
    return made


def with_several_targets(row: list[Token]) -> list[Token]:
    """`i, f, o = ...` with brackets around its left side: symbols with commas between them, and an equality that isn't a number."""
    at = next((at for at, token in enumerate(row) if token.kind == "EQUALS"), None)
    if at is None or at + 1 >= len(row) or row[at + 1].kind == "NUMBER":
        return row
    end = at - 1 if at and row[at - 1].kind == "AMP" else at
    if not are_symbols(row[:end]):
        return row
    first, last = row[0].span, row[end - 1].span
    opening, closing = Token("OPEN", "(", (first[0], first[0])), Token("CLOSE", ")", (last[1], last[1]))
    return [opening, *row[:end], closing, *row[end:]]


def are_symbols(tokens: list[Token]) -> bool:
    """Whether these are two symbols or more, with commas between them."""
    depth, begun, commas = 0, False, 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        depth += (token.kind == "BEGIN_GROUP") - (token.kind == "END_GROUP")
        if depth == 0 and token.kind == "COMMA" and token.value == ",":
            if not begun:
                return False
            begun, commas = False, commas + 1
        elif depth == 0 and token.kind not in NAMING and not (token.kind == "NUMBER" and is_script(before)):
            return False
        elif depth == 0 and token.kind in ("SYMBOL", "GREEK", "VARIANT") and not is_script(before):
            if begun:
                return False
            begun = True
        elif token.kind == "END_GROUP":
            begun = True
    return begun and commas > 0


def is_bare(tokens: list[Token]) -> bool:
    """Whether a side of an equation is nothing, a number, or one symbol."""
    if all(token.kind == "NUMBER" for token in tokens):
        return True
    return are_symbols([*tokens, Token("COMMA", ",", tokens[-1].span), *tokens])


def say_the_same(members: list[list[Token]], text: str) -> bool:
    """Whether the right sides of `s = a = b` are formulas, none of which is a symbol alone or runs into another equation."""
    return not any(map(is_bare, members)) and not any(begins_another(*pair, text) for pair in pairwise(members))


def begins_another(member: list[Token], following: list[Token], text: str) -> bool:
    """Whether the last symbol of a member may be the left side of another equation, whose break is missing: nothing joins it to
    what is before it, and it stands on a line of its own, or has an index and isn't in the member that follows."""
    starts = (at for at in range(1, len(member)) if member[at].kind in ("SYMBOL", "GREEK", "VARIANT", "DECORATION", "FONT"))
    last = next((at for at in starts if is_bare(member[at:])), None)
    if last is None or member[last - 1].kind not in ENDS | {"SUP", "PRIME", "NUMBER", "STOP"}:
        return False
    symbol = [token.value for token in member[last:]]
    recurs = any([token.value for token in following[at : at + len(symbol)]] == symbol for at in range(len(following)))
    on_a_new_line = "\n" in text[member[last - 1].span[1] : member[last].span[0]]
    return on_a_new_line or (any(token.kind == "SUB" for token in member[last:]) and not recurs)


def is_script(token: Token | None) -> bool:
    """Whether what follows belongs to a symbol that has begun."""
    return token is not None and token.kind in ("SUB", "SUP")
