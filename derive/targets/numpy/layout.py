"""Python text as pieces, so that a line that is too long is broken where the structure says: at brackets and operators, outermost first."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 110
"""The longest line of code of an emitted file."""
STEP = " " * 4

SUM, PRODUCT, POWER, ATOM = range(4)
"""How tightly a piece of Python binds."""


@dataclass(frozen=True)
class Word:
    """Text without a break in it."""

    text: str
    binds: int = ATOM


@dataclass(frozen=True)
class Infix:
    """Pieces with signs between them: `first`, then each (sign, piece)."""

    first: Piece
    rest: tuple[tuple[str, Piece], ...]
    binds: int


@dataclass(frozen=True)
class Bracket:
    """Items between brackets, with whatever stands in front of the opening one: `np.zeros(`, `[`. one: an expression, no list."""

    open: str
    items: tuple[Piece, ...]
    close: str
    one: bool = False
    binds: int = ATOM


@dataclass(frozen=True)
class Joined:
    """Pieces one behind the other, as an object and what is asked of it."""

    parts: tuple[Piece, ...]
    binds: int = ATOM


Piece = Word | Infix | Bracket | Joined


def flat(piece: Piece) -> str:
    """A piece on one line."""
    match piece:
        case Word():
            return piece.text
        case Infix():
            return flat(piece.first) + "".join(f" {sign} {flat(part)}" for sign, part in piece.rest)
        case Bracket():
            inside = ", ".join(map(flat, piece.items))
            comma = "," if len(piece.items) == 1 and piece.open == "(" and not piece.one else ""
            return f"{piece.open}{inside}{comma}{piece.close}"
        case Joined():
            return "".join(map(flat, piece.parts))


def within(piece: Piece, binds: int) -> Piece:
    """A piece in parentheses where it binds less tightly than its surroundings ask."""
    return piece if piece.binds >= binds else Bracket("(", (piece,), ")", one=True)


def lines(piece: Piece, indent: str = "", start: str = "", end: str = "", inside: bool = False) -> list[str]:
    """A piece with what stands in front of it and behind it, as lines. inside: in brackets, where a line may end at an operator."""
    whole = f"{indent}{start}{flat(piece)}{end}"
    if len(whole) <= WIDTH:
        return [whole]
    match piece:
        case Infix() if inside:
            pieces = [("", piece.first), *[(f"{sign} ", part) for sign, part in piece.rest]]
            last = len(pieces) - 1
            return [
                line
                for k, (sign, part) in enumerate(pieces)
                for line in lines(part, indent, sign if k else start, end if k == last else "", True)
            ]
        case Infix():
            return lines(Bracket("(", (piece,), ")", one=True), indent, start, end)
        case Bracket() if piece.items:
            comma = "" if piece.one else ","
            items = [line for item in piece.items for line in lines(item, indent + STEP, "", comma, True)]
            return [f"{indent}{start}{piece.open}", *items, f"{indent}{piece.close}{end}"]
        case Joined():
            return joined_lines(piece, indent, start, end, inside)
        case Word() if start.endswith(("= ", ": ")):
            return [f"{indent}{start}(", f"{indent}{STEP}{piece.text}", f"{indent}){end}"]
    return [whole]


def joined_lines(piece: Joined, indent: str, start: str, end: str, inside: bool) -> list[str]:
    """Broken in the longest of the parts that can be, then in those behind it; what can't be broken gets a line of its own."""
    breakable = [k for k, part in enumerate(piece.parts) if not isinstance(part, Word)]
    if not breakable:
        return lines(piece.parts[-1], indent, start + flat(Joined(piece.parts[:-1])), end)
    for at in sorted(breakable, key=lambda k: -len(flat(piece.parts[k]))):
        before, after = piece.parts[:at], piece.parts[at + 1 :]
        rest = flat(Joined(after)) + end
        *found, last = lines(piece.parts[at], indent, start + flat(Joined(before)), rest, inside)
        if len(last) > WIDTH and after:
            last = last[: len(last) - len(rest)]
            found += lines(Joined(after), indent, last.removeprefix(indent), end)
        else:
            found.append(last)
        if max(map(len, found)) <= WIDTH:
            return found
    return all_broken(piece, indent, start, end)


def all_broken(piece: Joined, indent: str, start: str, end: str) -> list[str]:
    """Broken in every part that can be: for lines that one break leaves too long."""
    found: list[str] = []
    line = indent + start
    for part in piece.parts:
        if isinstance(part, Bracket) and part.items:
            found.append(line + part.open)
            found += [one for item in part.items for one in lines(item, indent + STEP, "", "" if part.one else ",", True)]
            line = indent + part.close
        else:
            line += flat(part)
    return [*found, line + end]
