"""Scripts that say no more than that something is taken whole: the colon of `h_{:,t}`."""

from __future__ import annotations

from derive.pages.tokens import Token


def without_whole_axes(tokens: list[Token]) -> list[Token]:
    """The tokens without a colon, and the comma beside it, in an index that says something else too: `h_{:,t}`, `x_{t,:}` are h and x at
    step t. What an axis that is taken whole leaves out is the vector itself."""
    drop: set[int] = set()
    for at, token in enumerate(tokens):
        if token.kind == "STOP" and token.value == ":":
            before, after = tokens[at - 1] if at else None, tokens[at + 1] if at + 1 < len(tokens) else None
            if before and after and begins(tokens, at - 1) and after.kind == "COMMA":
                drop |= {at, at + 1}
            elif before and after and before.kind == "COMMA" and ends(tokens, at + 1):
                drop |= {at - 1, at}
    return [token for at, token in enumerate(tokens) if at not in drop]


def begins(tokens: list[Token], at: int) -> bool:
    """Whether an index in braces or in square brackets begins here."""
    if tokens[at].kind == "BEGIN_GROUP":
        return at > 0 and tokens[at - 1].kind == "SUB"
    return tokens[at].kind == "OPEN" and tokens[at].value == "["


def ends(tokens: list[Token], at: int) -> bool:
    """Whether an index in braces or in square brackets ends here."""
    depth = 0
    for place in range(at, -1, -1):
        closes, opens = tokens[place].kind in ("CLOSE", "END_GROUP"), tokens[place].kind in ("OPEN", "BEGIN_GROUP")
        depth += closes - opens
        if depth == 0:
            return place < at and begins(tokens, place)
    return False
