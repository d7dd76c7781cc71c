"""Tokens of a display -> its equations: alignment, labels and layout taken away, brackets checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from derive.pages.bars import with_absolute_values
from derive.pages.errors import Source
from derive.pages.layer_ranges import CONDITION
from derive.pages.limits import with_limits, with_several_targets
from derive.pages.outermost import CLOSERS, OPENERS, group_end, split_at, top_level
from derive.pages.ranges import unconditional, without_ranges
from derive.pages.sides import Line, line_of, of_several_symbols
from derive.pages.tokens import DEEPEST, Token

PAIRS = {"(": ")", "[": "]", "<": ">", "|": "|", "‖": "‖"}
SEPARATORS = {"COMMA", "SEMICOLON", "QUAD"}
JOINING = {"PLUS", "MINUS", "OPERATOR"}
ARGUED = {"SUB", "SUP", "FRAC", "ROOT", "DECORATION", "FONT", "END_GROUP"}
"""What takes the braces that follow it."""


def equations(source: Source, tokens: list[Token]) -> tuple[list[Line], list[list[Token]]]:
    """(the equations of a display, some with the reason why not; the ranges). Raises PageError on brackets that don't match."""
    tokens = without_braced_signs(without_labels_of_braces(without_sizes(tokens)))
    tokens, ranges = without_ranges(balanced(source, with_absolute_values(source, tokens)))
    rows = joined_rows([with_several_targets(row) for row in split_rows(with_limits(tokens)) if row])
    parts = [one for row in rows for part in split_equations(source, row) for one in of_several_symbols(part)]
    return [line for part in parts if (line := line_of(source, part))], ranges


def without_sizes(tokens: list[Token]) -> list[Token]:
    """`\\left` and `\\right` go; where one of the two stands at an empty delimiter, both delimiters go."""
    drop: set[int] = set()
    opened: list[int] = []
    sized: dict[int, str] = {}
    for at, token in enumerate(tokens):
        if token.kind == "SIZE":
            drop.add(at)
            if token.value == "left":
                opened.append(at + 1)
            elif token.value == "right" and opened:
                drop |= empty_pair(tokens, opened.pop(), at + 1)
            if token.value != "middle":
                sized[at + 1] = "CLOSE" if token.value.endswith(("right", "r")) else "OPEN"
    bars = {at: kind for at, kind in sized.items() if at < len(tokens) and tokens[at].kind == "COMMA" and tokens[at].value == "|"}
    sides = [replace(token, kind=bars.get(at, token.kind)) for at, token in enumerate(tokens)]
    return [token for at, token in enumerate(sides) if at not in drop]


def empty_pair(tokens: list[Token], left: int, right: int) -> set[int]:
    pair = {at for at in (left, right) if at < len(tokens)}
    return pair if any(tokens[at].kind == "STOP" for at in pair) else set()


def without_labels_of_braces(tokens: list[Token]) -> list[Token]:
    """`\\underbrace{a}_{label}` is a."""
    kept: list[Token] = []
    at = 0
    while at < len(tokens):
        if tokens[at].kind != "BRACE":
            kept.append(tokens[at])
            at += 1
            continue
        end = group_end(tokens, at + 1)
        kept += tokens[at + 1 : end]
        labelled = end < len(tokens) and tokens[end].kind in ("SUB", "SUP")
        at = group_end(tokens, end + 1) if labelled else end
    return kept


def without_braced_signs(tokens: list[Token]) -> list[Token]:
    """`{=}` and `\\mathbin{\\odot}` are signs; an empty pair of braces is nothing."""
    kept: list[Token] = []
    for token in tokens:
        kept.append(token)
        if (
            token.kind == "END_GROUP"
            and len(kept) > 2
            and kept[-2].kind in {*JOINING, "EQUALS"}
            and kept[-3].kind == "BEGIN_GROUP"
        ):
            if len(kept) == 3 or kept[-4].kind not in ("SUB", "SUP"):
                kept[-3:] = [kept[-2]]
        elif (
            token.kind == "END_GROUP"
            and len(kept) > 1
            and kept[-2].kind == "BEGIN_GROUP"
            and (len(kept) == 2 or kept[-3].kind not in ARGUED)
        ):
            del kept[-2:]
    return kept


def closes(opener: Token, closer: Token) -> bool:
    if opener.kind == "OPEN":
        return closer.kind == "CLOSE" and closer.value == PAIRS[opener.value]
    return closer.kind == opener.kind.replace("BEGIN", "END") and (opener.kind == "BEGIN_GROUP" or closer.value == opener.value)


def shown(token: Token) -> str:
    if token.kind.endswith(("MATRIX", "LINES")):
        return f"\\{token.kind.split('_')[0].lower()}{{{token.value}}}"
    return token.value


def balanced(source: Source, tokens: list[Token]) -> list[Token]:
    """The tokens, if every bracket has its partner; line breaks inside a bracket that is no matrix go."""
    opened: list[Token] = []
    kept: list[Token] = []
    for token in tokens:
        if token.kind in OPENERS:
            opened.append(token)
            check_depth(source, token, len(opened))
        elif token.kind in CLOSERS:
            close(source, opened, token)
        in_matrix = any(one.kind == "BEGIN_MATRIX" for one in opened)
        layout = token.kind in ("NEWLINE", "AMP", "BEGIN_LINES", "END_LINES", "QUAD")
        if not (opened and layout) or (in_matrix and token.kind in ("NEWLINE", "AMP")):
            kept.append(token)
    if opened:
        what = (
            f"unbalanced {kind_of(opened[-1])}: expected a closing partner of `{shown(opened[-1])}`, got the end of the display."
        )
        raise source.error(opened[-1].span, what, "Close it, or remove it.")
    return kept


def kind_of(token: Token) -> str:
    return "brace" if token.kind.endswith("GROUP") else "environment" if token.kind.endswith("MATRIX") else "bracket"


def check_depth(source: Source, token: Token, depth: int) -> None:
    if depth > DEEPEST:
        what = f"brackets nest too deep: expected at most {DEEPEST} levels."
        raise source.error(token.span, what, "Give the inner part a name and an equation of its own.")


def close(source: Source, opened: list[Token], token: Token) -> None:
    if not opened:
        what = f"unbalanced {kind_of(token)}: `{shown(token)}` closes nothing."
        raise source.error(token.span, what, "Remove it, or write its opening partner.")
    opener = opened.pop()
    if not closes(opener, token):
        what = f"unbalanced {kind_of(token)}: expected the partner of `{shown(opener)}`, got `{shown(token)}`."
        raise source.error(
            token.span, what, "Close brackets in the order in which they were opened.", (opener.span, "opened here:")
        )


def split_rows(tokens: list[Token]) -> Iterator[list[Token]]:
    """Lines: what `\\\\` and the environments of lines separate, matrices apart."""
    row: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        if depth == 0 and token.kind in ("NEWLINE", "BEGIN_LINES", "END_LINES"):
            yield row
            row = []
        else:
            row.append(token)
    yield row


def joined_rows(rows: list[list[Token]]) -> list[list[Token]]:
    """A line without `=` continues the one before."""
    joined: list[list[Token]] = []
    for row in rows:
        if joined and top_level(row, "EQUALS") is None and top_level(row, "GRADIENT") is None:
            joined[-1] = [*without_columns_of_labels(joined[-1]), *continuation(row)]
        else:
            joined.append(row)
    return joined


def without_columns_of_labels(row: list[Token]) -> list[Token]:
    """A line that another goes on with, without the labels at its end, which would swallow the other."""
    sign = next((token for token in row if token.kind == "AMP"), None)
    whole = columns(row)
    return row if sign is None else [token for at, part in enumerate(whole) for token in ([sign] if at else []) + part]


def continuation(row: list[Token]) -> list[Token]:
    """What of a line goes on with the equation before: its first column, and those that a sign joins to it; the rest are labels."""
    kept: list[Token] = []
    for cell in split_at(row, {"AMP"}):
        if kept and not continues(kept, cell):
            break
        kept += cell
    return kept


def split_equations(source: Source, row: list[Token]) -> list[list[Token]]:
    """The equations of one line, labels dropped: split at commas and wide spaces, and where a second `&` stands."""
    pieces = [unconditional(source, piece) for cell in columns(row) for piece in split_at(cell, SEPARATORS)]
    parts = [part for piece in pieces for part in without_membership(piece)]
    parts = [trimmed for part in parts if (trimmed := without_box(trim(source, part)))]
    kept: list[list[Token]] = []
    gradients = any(token.kind == "GRADIENT" for token in row)
    for part in parts:
        if top_level(part, "EQUALS") is not None or not kept:
            kept.append(part)
        elif part[0].kind in JOINING and kept:
            kept[-1] = kept[-1] + part
        elif not is_label(source, part) and not gradients:
            what = "this stands beside an equation and is none: expected `=`, an operator that joins it, or a label."
            raise source.error(
                (part[0].span[0], part[-1].span[1]), what, "Put words into \\text{...}, and one equation on a line."
            )
    return kept


def without_box(part: list[Token]) -> list[Token]:
    """`\\boxed{h_t = ...}` is the equation."""
    while len(part) > 2 and part[0].kind == "BEGIN_GROUP" and group_end(part, 0) == len(part):
        if top_level(part[1:-1], "EQUALS") is None:
            break
        part = part[1:-1]
    return part


def without_membership(part: list[Token]) -> list[list[Token]]:
    """`... \\in \\mathbb{R}^n` says where something lies and goes; words between two equations separate them."""
    at = top_level(part, "MEMBER")
    if at is not None:
        part = part[:at] if top_level(part[:at], "EQUALS") is not None else []
    word = next((at for at, token in enumerate(part) if token.kind == "TEXT" and between_equations(part, at)), None)
    return [part] if word is None else [part[:word], *without_membership(part[word + 1 :])]


def between_equations(part: list[Token], at: int) -> bool:
    return top_level(part[:at], "EQUALS") is not None and top_level(part[at:], "EQUALS") is not None


def columns(row: list[Token]) -> list[list[Token]]:
    """Aligned columns: the first `&` goes; what follows the next is a label, unless it goes on or is an equation itself."""
    cells = split_at(row, {"AMP"})
    whole: list[list[Token]] = []
    for at, cell in enumerate(cells):
        following = cells[at + 1] if at + 1 < len(cells) else []
        complete = bool(whole) and top_level(whole[-1], "EQUALS") is not None
        begins = complete and bool(cell) and cell[0].kind != "EQUALS" and begins_right_side(following)
        goes_on = not complete or (not begins and continues(whole[-1], cell))
        if goes_on and whole:
            whole[-1] = whole[-1] + cell
        elif not whole or begins or top_level(cell, "EQUALS") is not None:
            whole.append(cell)
    return whole


def begins_right_side(cell: list[Token]) -> bool:
    return bool(cell) and cell[0].kind == "EQUALS"


def continues(before: list[Token], cell: list[Token]) -> bool:
    """Whether a column goes on with the equation in front of it."""
    open_end = bool(before) and before[-1].kind in {*JOINING, "EQUALS"}
    return open_end or (bool(cell) and cell[0].kind in {*JOINING, "EQUALS"})


def trim(source: Source, part: list[Token]) -> list[Token]:
    """Without words, a number in brackets, or a full stop at its end; without words in front."""
    while part and part[-1].kind in ("TEXT", "STOP", "AMP"):
        part = part[:-1]
    while part and part[0].kind in ("TEXT", "AMP"):
        part = part[1:]
    bracket = last_bracket(part)
    if bracket and top_level(part, "EQUALS") is not None and (only_words(part[bracket:]) or labels(source, part, bracket)):
        return trim(source, part[:bracket])
    return part


def only_words(bracket: list[Token]) -> bool:
    return len(bracket) > 2 and all(token.kind == "TEXT" for token in bracket[1:-1])


def last_bracket(part: list[Token]) -> int | None:
    """Where the round bracket opens with which the part ends."""
    if not part or part[-1].kind != "CLOSE" or part[-1].value != ")":
        return None
    depth = 0
    for at in range(len(part) - 1, -1, -1):
        depth += (part[at].kind in CLOSERS) - (part[at].kind in OPENERS)
        if depth == 0:
            return at
    return None


LABEL = re.compile(
    r"[(（]\s*(?:[0-9]+(?:\.[0-9]+)*\s*[a-z]?|(?=[^)]*(?:[^\W\d_]{4}|[\u2e80-\ud7ff]))[^\W\d_]+(?:[\s/,.\-&:]+[^\W\d_]+)*)\s*[)）]"
)
"""`(5)`, `(2.3a)`, or words of which one has four letters."""


def labels(source: Source, part: list[Token], at: int) -> bool:
    """Whether the bracket at the end is a label: `(5)` behind a space, `(Update gate)`."""
    text = source.text[part[at].span[0] : part[-1].span[1]]
    if len(text) > 80 or not LABEL.fullmatch(text):
        return False
    spaced = source.text[part[at].span[0] - 1].isspace() or source.text[part[at].span[0] - 1] in "}&$"
    called = at > 0 and part[at - 1].kind in ("FUNCTION", "OPERATOR", "PLUS", "MINUS", "EQUALS", "SUB", "SUP")
    return spaced and not called and "\\" not in text


def is_label(source: Source, part: list[Token]) -> bool:
    """Words, or a bracket with words or a number, or what an index lies in."""
    if all(token.kind in ("TEXT", "DOTS", "STOP", "NUMBER") or len(token.value) > 2 for token in part) and len(part) < 3:
        return True
    text = source.text[part[0].span[0] : part[-1].span[1]]
    return bool(len(text) < 80 and LABEL.fullmatch(text)) or CONDITION.fullmatch(text) is not None
