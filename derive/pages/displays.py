"""A display -> its tokens: macros expanded, arrays of equations told from matrices."""

from __future__ import annotations

from dataclasses import replace

from derive.pages.alphabet import CASES
from derive.pages.errors import Source, Span
from derive.pages.macros import Macros, expanded
from derive.pages.outermost import group_end
from derive.pages.tokens import Token, Tokenizer

NO_CASES = "distinctions of cases aren't read: expected one formula.\nWrite the cases as one formula, such as \\max(0, x)."


def tokenize(source: Source, span: Span, macros: Macros | None = None) -> list[Token]:
    """The tokens of one display, its macros expanded. Raises PageError on what isn't mathematics."""
    inside = expanded(source, span, macros) if macros is not None else None
    if inside is None:
        return arrays_of_equations(with_sums(source, Tokenizer(source, span).run()))
    tokens = Tokenizer(inside, (0, len(inside.text))).run()
    return arrays_of_equations([replace(token, span=inside.on_page(token.span)) for token in tokens])


def with_sums(source: Source, tokens: list[Token]) -> list[Token]:
    """The letter Σ as the sign of a sum, `Σₜ hₜ`: with an index that stands in an index behind it, too, on a page that defines no Σ."""
    if source.has_sigma:
        return tokens
    return [replace(one, kind="REDUCE", value="sum") if is_sum(source, tokens, at) else one for at, one in enumerate(tokens)]


def is_sum(source: Source, tokens: list[Token], at: int) -> bool:
    kinds = [one.kind for one in tokens[at + 1 : at + 5]]
    if tokens[at].value != "Sigma" or source.text[tokens[at].span[0]] != "Σ" or kinds[:3] != ["SUB", "BEGIN_GROUP", "SYMBOL"]:
        return False
    end = group_end(tokens, at + 2)
    row = tokens[end : next((place for place in range(end, len(tokens)) if tokens[place].kind == "NEWLINE"), None)]
    scripts = [row[place + 1 : group_end(row, place + 1)] for place, one in enumerate(row) if one.kind == "SUB"]
    return kinds[3] in ("END_GROUP", "EQUALS") and any(one.value == tokens[at + 3].value for script in scripts for one in script)


def arrays_of_equations(tokens: list[Token]) -> list[Token]:
    """An `array`, or `cases`, that holds equations is lines of a display, no matrix."""
    opened: list[int] = []
    holds: list[bool] = []
    made = list(tokens)
    for at, token in enumerate(tokens):
        if token.kind == "BEGIN_MATRIX":
            opened.append(at)
            holds.append(False)
        elif token.kind == "EQUALS" and holds:
            holds[-1] = True
        elif token.kind == "END_MATRIX" and opened:
            begin, equations = opened.pop(), holds.pop()
            if equations:
                made[begin] = Token("BEGIN_LINES", tokens[begin].value, tokens[begin].span)
                made[at] = Token("END_LINES", token.value, token.span)
            elif tokens[begin].value.rstrip("*") in CASES:
                made[begin] = Token("UNREAD", NO_CASES, tokens[begin].span)
                made[at] = Token("STOP", "", token.span)
    return made
