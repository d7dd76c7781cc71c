"""Lines of at most 130 columns: a statement is broken at its brackets and operators, outermost first, a formula where it is least nested.

Emitters write one statement a line, however long. Strings are left whole, and so is what has no bracket, comma or operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

WIDTH = 130
"""The longest line of an emitted file."""

OPEN, CLOSE = "([{", ")]}"
OPERATORS = (
    (" for ", " if ", " else "),
    (" + ", " - "),
    (" * ", " @ ", " / "),
)
"""What a line inside brackets is broken in front of: what binds least first."""


def wrapped(lines: Iterable[str]) -> list[str]:
    """Lines of code, each with its indentation, those that are too long broken."""
    out: list[str] = []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        if len(line) <= WIDTH:
            out.append(line)
        elif line.startswith(f"{indent}#"):
            text = line.removeprefix(f"{indent}#").lstrip()
            out += formula(text, line.removesuffix(text))
        else:
            out += statement(line.removeprefix(indent), indent)
    return out


# ---- Python


def statement(text: str, indent: str) -> list[str]:
    """One statement, or the head of one: an assignment, a return, a loop over something."""
    if text.startswith("for "):
        names, source = cut_at(text.removeprefix("for "), [" in "])
        *head, last = exploded("for (", names, ")", indent) if len(cut_at(names, [", "])) > 1 else [f"{indent}for {names}"]
        return [*head, *fitted(last.lstrip() + source, indent)]
    *targets, value = cut_at(text, [" = ", " += "])
    if not targets:
        start = "return " if text.startswith("return ") else ""
        return opened(text.removeprefix(start), start, indent)
    return assignment(targets, value, indent)


def assignment(targets: list[str], value: str, indent: str) -> list[str]:
    """a = b = value: the value in parentheses where it is a sum or a tuple, else broken at its own brackets."""
    sign = " += " if value.startswith(" += ") else " = "
    start = "".join(targets) + sign
    head: list[str] = []
    if len(indent) + len(start) >= WIDTH and len(targets) == 1 and len(cut_at(start, [", "])) > 1:
        *head, last = opened(targets[0], "", indent)
        start = last.lstrip() + sign
    return [*head, *opened(value.removeprefix(sign), start, indent)]


def opened(value: str, start: str, indent: str) -> list[str]:
    """start and a value behind it: in parentheses where commas or operators outside brackets hold it together."""
    if len(indent) + len(start) + len(value) <= WIDTH:
        return [indent + start + value]
    loose = len(cut_at(value, [", "])) > 1 or any(len(cut_at(value, signs)) > 1 for signs in OPERATORS)
    return exploded(f"{start}(", value, ")", indent) if loose else fitted(start + value, indent)


def fitted(text: str, indent: str, tail: str = "", inside: bool = False) -> list[str]:
    """An expression and what follows it. inside: between brackets, where a line may end at an operator."""
    if len(indent) + len(text) + len(tail) <= WIDTH:
        return [f"{indent}{text}{tail}"]
    if inside:
        for signs in OPERATORS:
            parts = cut_at(text, signs)
            if len(parts) > 1:
                *front, last = [part.strip() for part in parts]
                return [*[line for part in front for line in fitted(part, indent, "", True)], *fitted(last, indent, tail, True)]
    pairs = [(start, end) for start, end in brackets(text) if end - start > 1]
    if not pairs:
        return [f"{indent}{text}{tail}"]
    start, end = max(pairs, key=lambda pair: pair[1] - pair[0])
    return exploded(text[: start + 1], text[start + 1 : end], text[end:] + tail, indent)


def exploded(head: str, inner: str, rest: str, indent: str) -> list[str]:
    """head, what is between the brackets one level deeper, and the closing bracket with what follows."""
    deeper = indent + "    "
    parts = [part.removeprefix(", ").removesuffix(",") for part in cut_at(inner, [", "])]
    if len(parts) == 1 and not inner.endswith(","):
        middle = fitted(inner, deeper, "", True)
    elif all(part.replace(".", "").isidentifier() for part in parts):
        middle = filled(parts, deeper)
    else:
        middle = [line for part in parts for line in fitted(part, deeper, ",", True)]
    return [*fitted(head, indent), *middle, *fitted(rest, indent)]


def filled(names: list[str], indent: str) -> list[str]:
    """Names with commas, as many on a line as fit."""
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 2 <= WIDTH:
            lines[-1] += f" {name},"
        else:
            lines.append(f"{indent}{name},")
    return lines


def outside(text: str) -> Iterator[tuple[int, int]]:
    """(position, depth) of every character that is in no string; a bracket counts as outside of itself."""
    depth, quote = 0, ""
    for k, character in enumerate(text):
        if quote or character == '"':
            quote = "" if quote and character == '"' else '"'
            continue
        depth -= character in CLOSE and depth > 0
        yield k, depth
        depth += character in OPEN


def brackets(text: str) -> list[tuple[int, int]]:
    """The outermost pairs of brackets, as positions; one without its partner is none."""
    pairs, start = [], -1
    for k, depth in outside(text):
        if depth == 0 and text[k] in OPEN:
            start = k
        elif depth == 0 and text[k] in CLOSE and start >= 0:
            pairs.append((start, k))
            start = -1
    return pairs


def cut_at(text: str, signs: Iterable[str]) -> list[str]:
    """The parts between signs outside brackets, each but the first with the sign in front."""
    places = [k for k, depth in outside(text) if depth == 0 and any(text.startswith(sign, k) for sign in signs) and k]
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


# ---- formulas in comments


def formula(text: str, start: str) -> list[str]:
    """A formula behind `start`, over several lines: broken at spaces, in front of signs, where it is in the fewest brackets."""
    lines: list[str] = []
    while len(start) + len(text) > WIDTH:
        room = WIDTH - len(start)
        spaces = [(depth, not begins_a_term(text, k), -k) for k, depth in outside(text) if text[k] == " " and 0 < k <= room]
        if not spaces:
            break
        at = -min(spaces)[2]
        lines.append(start + text[:at])
        if len(lines) == 1:
            start += "    "
        text = text[at + 1 :]
    return [*lines, start + text]


def begins_a_term(text: str, k: int) -> bool:
    """Whether the space at k stands in front of a sum's sign."""
    return text[k + 1 : k + 3] in ("+ ", "− ")
