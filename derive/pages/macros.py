r"""Macros of a page: `\newcommand`, `\renewcommand`, `\providecommand`, `\def` and `\DeclareMathOperator` with plain bodies.

They are put in as text, as a reader does who looks them up: nothing is run, and there is a bound on what they may grow to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from derive.pages.errors import PageError, Source, Span

DEFINES = re.compile(r"\\(?P<word>newcommand|renewcommand|providecommand|DeclareMathOperator|def)(?![A-Za-z])\*?")
HEAD = re.compile(
    r"\s*\{?\s*\\(?P<name>[A-Za-z]+|[^A-Za-z\s])\s*\}?\s*(?:\[(?P<count>[0-9])\])?\s*(?P<default>\[[^\[\]]{0,200}\])?\s*"
)
PARAMETERS = re.compile(r"\s*\\(?P<name>[A-Za-z]+|[^A-Za-z\s])(?P<parameters>[^{}\n]{0,100})")
COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^A-Za-z])|(?<!\\)%[^\n]*")
LONGEST_BODY = 2_000
"""Characters of a macro's body."""
MOST_TEXT = 200_000
"""Characters that all macros of a page may expand to."""
DEEPEST = 30
"""How deep macros may stand in macros, and braces in a body."""
MOST_MACROS = 1_000
"""Definitions on a page."""
NOT_PLAIN = re.compile(r"\$|\\(?:begin|end|\[|\]|(?:re)?newcommand|def)(?![A-Za-z])")
"""What a body may not hold: displays, environments and definitions."""


@dataclass(frozen=True)
class Macro:
    """plain: whether it is a body with `#1` to `#9`, and nothing else."""

    name: str
    count: int
    body: str
    plain: bool
    span: Span


@dataclass
class Macros:
    """The macros of a page, in its order; `written` counts the characters that they have expanded to."""

    known: dict[str, list[Macro]] = field(default_factory=dict)
    written: int = 0

    def at(self, name: str, place: int) -> Macro | None:
        """What a name means at a place: its last definition in front of it."""
        return next((macro for macro in reversed(self.known.get(name, ())) if macro.span[0] < place), None)


def macros_in(source: Source, spans: Iterable[Span]) -> Macros:
    """The definitions in some parts of a page. Raises PageError where a macro that is used opens or closes a display."""
    found, count = Macros(), 0
    for start, end in spans:
        at = start
        while opener := DEFINES.search(source.text, at, end):
            macro = definition(source, opener)
            at = macro.span[1] if macro else opener.end()
            if macro and not commented(source, opener.start()):
                found.known.setdefault(macro.name, []).append(macro)
                count += 1
            if count > MOST_MACROS:
                what = f"too many macros: expected at most {MOST_MACROS} on a page."
                raise source.error(opener.span(), what, "Take out those that no equation needs.")
    refuse_openers(source, found)
    return found


def refuse_openers(source: Source, found: Macros) -> None:
    """Raises PageError where a macro stands for the beginning or the end of a display."""
    opening = {name for name, macros in found.known.items() for one in macros if re.search(r"\$|\\(?:begin|end|\[|\])", one.body)}
    inside = [one.span for macros in found.known.values() for one in macros]
    for used in COMMAND.finditer(source.text) if opening else ():
        macro = found.at(used[0][1:], used.start()) if used[0][1:] in opening else None
        if macro is not None and not any(start <= used.start() < end for start, end in inside):
            what = f"`{used[0]}` is a macro that begins or ends a display: expected the display itself."
            todo = f"Write `{' '.join(macro.body.split())[:60]}` for it."
            raise source.error(used.span(), what, todo, (macro.span, "it is defined here:"))


def commented(source: Source, at: int) -> bool:
    start = max(source.text.rfind("\n", 0, at) + 1, at - LONGEST_BODY)
    return re.search(r"(?<!\\)%", source.text[start:at]) is not None


def definition(source: Source, opener: re.Match[str]) -> Macro | None:
    """The macro that is defined at a place; None where nothing is."""
    text, defines = source.text, opener["word"] == "def"
    head = (PARAMETERS if defines else HEAD).match(text, opener.end())
    body = None if head is None else group(text, head.end())
    if head is None or body is None:
        return None
    inside = text[body[0] + 1 : body[1] - 1]
    count = len(re.findall("#", head["parameters"])) if defines else int(head["count"] or 0)
    simple = head["parameters"].strip() == "".join(f"#{k + 1}" for k in range(count)) if defines else head["default"] is None
    numbers = [int(number) for number in re.findall(r"#([0-9])", inside)]
    plain = (
        simple and not NOT_PLAIN.search(inside) and len(numbers) == inside.count("#") and all(1 <= k <= count for k in numbers)
    )
    if opener["word"] == "DeclareMathOperator":
        inside = rf"\operatorname{{{inside}}}"
    return Macro(head["name"], count, inside, plain, (opener.start(), body[1]))


def group(text: str, at: int) -> Span | None:
    """Where a group in braces begins and ends, if one begins here and isn't too long."""
    if text[at : at + 1] != "{":
        return None
    depth = 0
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, at, at + LONGEST_BODY):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return at, found.end()
        if depth > DEEPEST:
            return None
    return None


# ---- expansion


@dataclass(frozen=True)
class Expanded(Source):
    """A display with its macros expanded: `places` says for each character where on the page it is from."""

    page: Source | None = None
    places: tuple[Span, ...] = ()

    def on_page(self, span: Span) -> Span:
        last = max(span[1] - 1, span[0])
        start = self.places[min(span[0], len(self.places) - 1)][0]
        return start, max(self.places[min(last, len(self.places) - 1)][1], start + 1)

    def error(self, span: Span, what: str, todo: str, other: tuple[Span, str] | None = None) -> PageError:
        assert self.page is not None
        return self.page.error(self.on_page(span), what, todo, other and (self.on_page(other[0]), other[1]))


@dataclass(frozen=True)
class Text:
    """Characters, and for each the place that it is from."""

    text: str
    places: list[Span]

    def part(self, start: int, end: int) -> Text:
        return Text(self.text[start:end], self.places[start:end])


def expanded(source: Source, span: Span, macros: Macros) -> Expanded | None:
    """The text of a display with its macros expanded and its definitions gone; None where it has neither."""
    written = source.text[span[0] : span[1]]
    if not DEFINES.search(written) and not any(found[0][1:] in macros.known for found in COMMAND.finditer(written)):
        return None
    out = Expansion(source, macros).of(Text(written, [(at, at + 1) for at in range(*span)]), 0)
    return Expanded(source.name, out.text + " ", source.plain, source, (*out.places, (span[1] - 1, span[1])))


class Expansion:
    def __init__(self, source: Source, macros: Macros) -> None:
        self.source, self.macros = source, macros

    def of(self, given: Text, depth: int) -> Text:
        pieces: list[Text] = []
        at = 0
        while found := COMMAND.search(given.text, at):
            pieces.append(given.part(at, found.start()))
            at = found.end()
            call = (given.places[found.start()][0], given.places[at - 1][1])
            macro = self.macros.at(found[0][1:], call[0]) if found[0][0] == "\\" else None
            opener = DEFINES.match(given.text, found.start())
            defined = definition(Source("", given.text), opener) if opener else None
            if defined is not None:
                at = defined.span[1]
            elif macro is None:
                pieces.append(given.part(found.start(), at))
            else:
                body, at = self.body(macro, given, at, call, depth)
                pieces.append(self.of(body, depth + 1))
        return joined([*pieces, given.part(at, len(given.text))])

    def body(self, macro: Macro, given: Text, at: int, call: Span, depth: int) -> tuple[Text, int]:
        """(the body of a call with its arguments put in, where the call ends). Raises PageError."""
        if not macro.plain:
            what = f"the macro `\\{macro.name}` isn't plain: expected a body of mathematics with arguments #1, #2, ..."
            raise self.source.error(call, what, "Write out what it stands for.", (macro.span, "it is defined here:"))
        arguments: list[Text] = []
        for _ in range(macro.count):
            taken = re.compile(r"\s*(\\(?:[A-Za-z]+|.)|[^\s{}]|(?=\{))", re.DOTALL).match(given.text, at)
            inside = group(given.text, taken.end()) if taken and not taken[1] else None
            if taken is None or not (taken[1] or inside):
                what = f"the macro `\\{macro.name}` takes {macro.count} arguments: expected `{{...}}`, got fewer."
                raise self.source.error(call, what, "Write them in braces.", (macro.span, "it is defined here:"))
            arguments.append(given.part(inside[0] + 1, inside[1] - 1) if inside else given.part(taken.start(1), taken.end()))
            at = inside[1] if inside else taken.end()
        parts = re.split(r"#([0-9])", macro.body)
        pieces = [arguments[int(part) - 1] if k % 2 else Text(part, [call] * len(part)) for k, part in enumerate(parts)]
        made = joined(pieces)
        self.macros.written += len(made.text) + 1
        if depth > DEEPEST or self.macros.written > MOST_TEXT:
            what = f"`\\{macro.name}` expands into itself, or into too much: expected at most {MOST_TEXT} characters on a page."
            raise self.source.error(call, what, "Write it out.", (macro.span, "it is defined here:"))
        return made, at


def joined(pieces: list[Text]) -> Text:
    """Texts one after the other; a command stays apart from the letters that follow it."""
    text = ""
    places: list[Span] = []
    for piece in filter(lambda one: one.text, pieces):
        if piece.text[0].isalpha() and re.search(r"\\[A-Za-z]{1,40}$", text[-42:]):
            text += " "
            places.append(piece.places[0])
        text += piece.text
        places += piece.places
    return Text(text, places)
