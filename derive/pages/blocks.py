"""Source -> blocks: where display mathematics, headings and declarations stand. Prose, inline mathematics and code are passed over."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from derive.pages.errors import EARLIER, Source, Span
from derive.pages.macros import DEFINES, definition

LONGEST_BLOCK = 20_000
"""Characters of one display."""
MOST_OPENERS = 20_000
"""Displays, headings, pieces of code and of inline mathematics on a page."""
TOO_MUCH = f"too much on one page: expected at most {MOST_OPENERS} headings, displays and lines."

ENVIRONMENTS = (
    "equation", "align", "alignat", "aligned", "alignedat", "gather", "gathered", "split", "multline", "flalign", "eqnarray",
    "displaymath", "math", "array",
)  # fmt: skip

OPENER = re.compile(
    r"""(?P<fence>^[ ]{0,3}(?P<ticks>`{3,}|~{3,})(?P<info>[^\n`]*)$)
    |(?P<comment><!--)
    |(?P<percent>(?<!\\)%[ \t]*derive:(?P<declared>[^\n]*))
    |(?P<heading>^[ ]{0,3}(?P<hashes>\#{1,6})[ \t]+(?P<title>[^\n]*))
    |(?P<section>\\(?P<command>chapter|section|subsection|subsubsection|paragraph|frametitle)\*?[ \t]*\{(?P<name>[^{}\n]*)\})
    |(?P<verbatim>\\begin\{(?P<verb>verbatim|lstlisting|comment)\})
    |(?P<macro>\\(?:newcommand|renewcommand|providecommand|DeclareMathOperator|def)(?![A-Za-z]))
    |(?P<dollars>\$\$)
    |(?P<bracket>\\\[)
    |(?P<environment>\\begin\{(?P<env>(?:"""
    + "|".join(ENVIRONMENTS)
    + r""")\*?)\})
    |(?P<escaped>\\[\\$`%])
    |(?P<code>`+)
    |(?P<inline>\$)
    |(?P<round>\\\()""",
    re.VERBOSE | re.MULTILINE,
)
LEVELS = {"chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5, "frametitle": 5}


@dataclass(frozen=True)
class Heading:
    level: int
    title: str
    at: int


@dataclass(frozen=True)
class Block:
    """One display; `span` is what stands between its delimiters, an environment's own included."""

    span: Span


@dataclass(frozen=True)
class Declarations:
    """The text of a block of declarations."""

    span: Span


@dataclass(frozen=True)
class Skip:
    """`derive: skip`: the display that follows is passed over."""

    span: Span


@dataclass(frozen=True)
class Definitions:
    """A part of the page outside displays that defines macros."""

    span: Span


Piece = Heading | Block | Declarations | Skip | Definitions


def find_blocks(source: Source) -> list[Piece]:
    """Headings, displays and declarations in the order of the page; in a plain text, one block a line. Raises PageError."""
    pieces: list[Piece] = []
    at = 0
    count = 0
    while found := OPENER.search(source.text, at):
        at = take(source, found, pieces)
        count += 1
        if count > MOST_OPENERS:
            raise source.error(found.span(), TOO_MUCH, "Put the equations on a page of their own.")
    if source.plain and not any(isinstance(piece, Block) for piece in pieces):
        return plain_lines(source)
    return pieces


def take(source: Source, found: re.Match[str], pieces: list[Piece]) -> int:
    """Add what an opener opens to the pieces; where to go on."""
    kind, start, end = outer_group(found), found.start(), found.end()
    match kind:
        case "heading":
            pieces.append(Heading(len(found["hashes"]), found["title"].strip(" #\t"), start))
        case "section":
            pieces.append(Heading(LEVELS[found["command"]], found["name"].strip(), start))
        case "percent":
            pieces.append(said(source, found.span("declared")))
        case "fence":
            return fence(source, found, pieces)
        case "comment":
            return comment(source, end, pieces)
        case "verbatim":
            return closing(source, (start, end), end, f"\\end{{{found['verb']}}}")
        case "macro":
            return macro(source, found, pieces)
        case "dollars":
            return block(source, (start, end), end, "$$", pieces)
        case "bracket":
            return block(source, (start, end), end, "\\]", pieces)
        case "environment":
            return environment(source, found, pieces)
        case "code":
            return within_paragraph(source, end, found[0], end)
        case "inline" | "round":
            stop = within_paragraph(source, end, "$" if kind == "inline" else "\\)", end)
            if DEFINES.search(source.text, end, stop):
                pieces.append(Definitions((end, stop)))
            return stop
    return end


def macro(source: Source, found: re.Match[str], pieces: list[Piece]) -> int:
    """A definition: what stands in it is no display."""
    opener = DEFINES.match(source.text, found.start())
    defined = definition(source, opener) if opener else None
    if defined is None:
        return found.end()
    pieces.append(Definitions(defined.span))
    return defined.span[1]


def outer_group(found: re.Match[str]) -> str:
    kinds = (
        "fence",
        "comment",
        "percent",
        "heading",
        "section",
        "verbatim",
        "macro",
        "dollars",
        "bracket",
        "environment",
        "escaped",
        "code",
    )
    return next((kind for kind in kinds if found[kind] is not None), "inline" if found["inline"] is not None else "round")


def closing(source: Source, opener: Span, start: int, closer: str) -> int:
    """Where the closer ends. Raises PageError where there is none."""
    at = source.text.find(closer, start)
    if at < 0:
        opened = source.written(opener)
        other = re.compile(r"\\end\{[A-Za-z]{1,20}\*?\}").search(source.text, start) if closer.startswith("\\end") else None
        got = f"`{other[0]}`" if other else "the end of the page"
        shown = (other.span(), "what closes it:") if other else None
        raise source.error(opener, f"`{opened}` is never closed: expected `{closer}`, got {got}.", f"Write `{closer}`.", shown)
    return at + len(closer)


def block(source: Source, opener: Span, start: int, closer: str, pieces: list[Piece]) -> int:
    end = closing(source, opener, start, closer)
    inside = (start, end - len(closer))
    check_length(source, opener, inside)
    pieces.append(Block(inside))
    return end


def check_length(source: Source, opener: Span, inside: Span) -> None:
    if inside[1] - inside[0] > LONGEST_BLOCK:
        what = f"this display is too long: expected at most {LONGEST_BLOCK} characters, got {inside[1] - inside[0]}."
        raise source.error(opener, what, "Split it into displays of a few equations, and check that each one is closed.")


def environment(source: Source, found: re.Match[str], pieces: list[Piece]) -> int:
    """An environment that stands by itself: its `\\begin` and `\\end` belong to the block."""
    end = block(source, found.span(), found.end(), f"\\end{{{found['env']}}}", pieces)
    pieces[-1] = Block((found.start(), end))
    return end


def fence(source: Source, found: re.Match[str], pieces: list[Piece]) -> int:
    """A fenced block: code is passed over; `derive` declares, `math` is a display."""
    ticks = found["ticks"]
    close = re.compile(rf"^ {{0,3}}{ticks[0]}{{{len(ticks)},}}[ \t]*$", re.MULTILINE).search(source.text, found.end())
    end = close.start() if close else len(source.text)
    if found["info"].strip() == "derive":
        pieces.append(Declarations((found.end(), end)))
    elif found["info"].strip() == "math":
        check_length(source, found.span(), (found.end(), end))
        pieces.append(Block((found.end(), end)))
    return close.end() if close else end


def comment(source: Source, start: int, pieces: list[Piece]) -> int:
    """An HTML comment: passed over, unless it begins with `derive:`."""
    end = source.text.find("-->", start)
    end = end if end >= 0 else len(source.text)
    declared = re.compile(r"\s*derive:").match(source.text, start, end)
    if declared:
        pieces.append(said(source, (declared.end(), end)))
    return min(end + 3, len(source.text))


def said(source: Source, span: Span) -> Piece:
    """What `derive:` says: declarations, or that what follows is passed over."""
    return Skip(span) if source.written(span).strip(" ;.") == "skip" else Declarations(span)


def within_paragraph(source: Source, start: int, closer: str, otherwise: int) -> int:
    """Where the closer ends if the paragraph holds it."""
    stop = source.paragraph_end(start)
    if source.missing.get(closer) == stop:
        return otherwise  # looked for before in this paragraph: each text is searched once
    at = source.text.find(closer, start, stop)
    if at < 0:
        source.missing[closer] = stop
    return at + len(closer) if at >= 0 else otherwise


def lines_of_prose(source: Source, pieces: list[Piece]) -> tuple[Source, list[Piece]]:
    """A page without displays whose prose has equations in lines, as `- it = f(Xt*(Wi^T) + Ht-1*(Ri^T))`: as a plain text."""
    if source.plain or not EARLIER.search(source.text):
        return source, pieces
    lines = replace(source, text=without_comments(source.text), plain=True)
    if not lines.joined:
        return source, pieces
    said = [piece for piece in pieces if isinstance(piece, (Declarations, Skip))]
    found = [*plain_lines(lines), *said]
    return replace(source, plain=True), sorted(found, key=lambda piece: piece.at if isinstance(piece, Heading) else piece.span[0])


def without_comments(text: str) -> str:
    """The text with blanks for HTML comments and for the fences around code; every place stays where it is."""
    kept: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0:
        end = text.find("-->", start)
        end = end + 3 if end >= 0 else len(text)
        kept += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    whole = "".join([*kept, text[at:]])
    return re.sub(r"^(?:```|~~~)[^\n]*$", lambda found: " " * len(found[0]), whole, flags=re.MULTILINE)


BULLET = re.compile(r"\s*[-*•]\s+(?=[^\W\d_]\w{0,40}\s*=)")
REMARK = re.compile(r"\s#\s.*")
"""In a plain text: `- ` in front of an equation, and what follows ` # `."""


def plain_lines(source: Source) -> list[Piece]:
    """One equation a line; a line that continues one before it belongs to its block. `# title` is a heading, `# derive:` declares."""
    pieces: list[Piece] = []
    at = 0
    for line in source.text.split("\n"):
        span = (at, at + len(line))
        if len(pieces) > MOST_OPENERS:
            raise source.error(span, TOO_MUCH, "Put the equations on a page of their own.")
        at += len(line) + 1
        declared = re.match(r"\s*[#%]\s*derive:", line)
        heading = re.match(r"\s*#{1,6}\s+(.*)", line)
        if declared:
            pieces.append(said(source, (span[0] + declared.end(), span[1])))
        elif heading:
            pieces.append(Heading(len(line.split()[0]), heading[1].strip(" #"), span[0]))
        elif DEFINES.match(line.strip()):
            pieces.append(Definitions(span))
        elif line.strip() and not is_prose(line):
            before, after = BULLET.match(line), REMARK.search(line)
            start, stop = before.end() if before else 0, after.start() if after else len(line)
            add_line(source, (span[0] + start, span[0] + stop), line[start:stop], pieces)
    return pieces


def is_prose(line: str) -> bool:
    """Words and nothing else: no sign that an equation could do without."""
    wordy = len(line) < 1000 and re.fullmatch(r"[\s\w'’\-.,:;!?()–—\"]*", line) and re.search(r"[^\W\d_]{3}", line)
    return bool(wordy) and re.search(r"_|\w\(", line) is None


def add_line(source: Source, span: Span, line: str, pieces: list[Piece]) -> None:
    if len(line) > LONGEST_BLOCK:
        what = f"this line is too long for an equation: expected at most {LONGEST_BLOCK} characters, got {len(line)}."
        raise source.error((span[0], span[0] + 1), what, "Write one equation a line.")
    continues = "=" not in line and pieces and isinstance(pieces[-1], Block)
    if continues and not source.text[pieces[-1].span[1] : span[0]].strip("\n"):  # type: ignore[union-attr]
        pieces[-1] = Block((pieces[-1].span[0], span[1]))  # type: ignore[union-attr]
    else:
        pieces.append(Block(span))
