"""Places among the tokens of a display that stand outside of all brackets."""

from __future__ import annotations

from derive.pages.tokens import Token

OPENERS = {"OPEN", "BEGIN_GROUP", "BEGIN_MATRIX"}
CLOSERS = {"CLOSE", "END_GROUP", "END_MATRIX"}


def group_end(tokens: list[Token], at: int) -> int:
    """The place behind the group, or the token, that begins here."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place].kind in OPENERS) - (tokens[place].kind in CLOSERS)
        if depth <= 0:
            return place + 1
    return len(tokens)


def top_level(tokens: list[Token], *kinds: str) -> int | None:
    """The first place of such a token outside brackets."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        if depth == 0 and token.kind in kinds:
            return at
    return None


def split_at(tokens: list[Token], kinds: set[str]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        if depth == 0 and token.kind in kinds and token.value not in ("|", "‖"):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
