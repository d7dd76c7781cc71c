"""Ranges beside equations: `t = 1, \\dots, T`, `k = 1:K`, `1 \\le i \\le n`, `for all i` say what an index
runs over, and define nothing. A condition, `if x_t > 0`, is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from derive.pages.errors import Source
from derive.pages.tokens import Token

CODES = {
    "SYMBOL": "L", "GREEK": "L", "VARIANT": "L", "NUMBER": "N", "EQUALS": "=", "DOTS": "D", "PLUS": "+", "MINUS": "+", "SUB": "_",
    "SUP": "_", "BEGIN_GROUP": "{", "END_GROUP": "}", "OPEN": "(", "CLOSE": ")", "SEMICOLON": ";", "QUAD": " ", "NEWLINE": "\n",
    "BEGIN_LINES": "\n", "END_LINES": "\n", "AMP": "&", "RELATION": "<",
}  # fmt: skip
"""One letter for each kind of token, so that a regular expression finds what several of them say; `x` for any other."""
BETWEEN = {"to", "until", "up to", "through"}
"""Words between the ends of a range."""
FOR = re.compile(r"(?:for|für|pour|para|where)\b.*", re.IGNORECASE)
"""Words in front of a range, which go with it."""
IF = re.compile(r"(?:if|when|whenever|unless|falls|wenn|si)\b.*", re.IGNORECASE)
"""Words in front of a condition."""

PLAIN = r"\+?[LN](?:\+[LN])*"
VALUE = r"\+?[LN](?:_(?:[LN]|\{[^{}]*\}))?(?:\+[LN](?:_(?:[LN]|\{[^{}]*\}))?)*"
LIST = rf"{VALUE}(?:,{VALUE})*(?:,?D,?|\.\.)(?:{VALUE})?"
COUNTED = rf"L&?=&?(?:{LIST}|\({LIST}\)|{VALUE}[:o]{VALUE}|N(?:,N)+)"
BETWEEN_SIGNS = r"(?:^|(?<=[,; \n&fc]))(?:{})(?=[.,; \n&]|$)"
RANGE = re.compile(
    BETWEEN_SIGNS.format(
        rf"\(?(?P<counted>{COUNTED})\)?|(?<!c){VALUE}(?:<{VALUE})+|(?<=c){PLAIN}(?:<{PLAIN})+|L(?:,L)*e\([^()]*\)|(?<=f)L(?:,L)*"
    )
)
"""What an index runs over, between separators or behind a word."""


def code(token: Token) -> str:
    if token.kind == "TEXT":
        words = token.value.strip()
        return "f" if FOR.fullmatch(words) else "c" if IF.fullmatch(words) else "o" if words in BETWEEN else "x"
    if token.kind == "MEMBER":
        return "f" if token.value == "∀" else "e"
    if token.kind in ("STOP", "COMMA"):
        return token.value if token.value in (":", ".", ",") else "x"
    return CODES.get(token.kind, "x")


def without_ranges(tokens: list[Token]) -> tuple[list[Token], list[list[Token]]]:
    """(the tokens without ranges, the ranges that count a letter, which stands in front)."""
    codes = "".join(map(code, tokens))
    inside = set(covered(tokens))
    found = [one for one in RANGE.finditer(codes) if one.start() not in inside]
    drop = {at for one in found for at in range(one.start() - codes.startswith("c", max(0, one.start() - 1)), one.end())}
    counted = [tokens[slice(*one.span("counted"))] for one in found if one["counted"]]
    return [token for at, token in enumerate(tokens) if at not in drop], counted


def covered(tokens: list[Token]) -> Iterator[int]:
    """The places within brackets, not those of the outermost brackets."""
    depth = 0
    for at, token in enumerate(tokens):
        depth -= token.kind in ("CLOSE", "END_GROUP", "END_MATRIX")
        if depth > 0:
            yield at
        depth += token.kind in ("OPEN", "BEGIN_GROUP", "BEGIN_MATRIX")


def unconditional(source: Source, piece: list[Token]) -> list[Token]:
    """What stands between separators. Raises PageError on `if x_t > 0` beside an equation, which then doesn't hold at each step."""
    at = next((at for at, token in enumerate(piece) if token.kind == "TEXT" and IF.fullmatch(token.value.strip())), None)
    if at is not None and (
        " " not in piece[at].value.strip() or any(one.kind not in ("STOP", "TEXT") for one in piece[at + 1 :])
    ):
        what = "a condition beside an equation isn't read: expected equations that hold at each step."
        todo = "Write the cases as one formula, with a gate that is given at each step, `m_t \\odot a + (1 - m_t) \\odot b`."
        raise source.error((piece[at].span[0], piece[-1].span[1]), what, todo)
    return piece
