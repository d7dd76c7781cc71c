"""Marks at a symbol that may say an operation rather than belong to its name: W', W^*, \\dot{h}, h_1 for the step after h_0, t itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from derive.pages.errors import PageError
from derive.pages.names import Names
from derive.pages.questions import KINDS, asked
from derive.pages.symbols import Occurrence, Symbol, children
from derive.pages.tree import Decorated, Node

OPERATIONS = {"prime": "its transpose", "star": "its conjugate", "H": "its conjugate transpose", "plus": "its pseudo-inverse"}
DERIVATIVES = ("dot", "ddot")
RENAME = "If it is a name of its own, write it with another mark or letter"


def refuse_operations(names: Names) -> None:
    """Raises PageError where a mark may say an operation: the symbol without it is on the page as well."""
    read = {one.symbol: one for one in names.reads}
    for symbol, one in read.items():
        if symbol in names.defined or symbol.name in names.declared.kinds:
            continue
        if names.reader.letter is not None and (mark := operation(symbol, {*read, *names.defined})):
            raise marked(names, one, OPERATIONS[mark])
        if one.time is None and symbol == Symbol(names.reader.letter or ""):
            raise time_as_quantity(names, one)
        before = numbered_before(symbol, names)
        if before is not None:
            raise numbered_steps(names, one, before)
    for symbol, one in names.defined.items():
        plain = replace(symbol, decorations=symbol.decorations[:-1])
        if symbol.decorations[-1:] and symbol.decorations[-1] in DERIVATIVES and plain in read and plain not in names.defined:
            raise derivative(names, one, read[plain])


def operation(symbol: Symbol, known: set[Symbol]) -> str | None:
    """The mark of a symbol whose plain form is on the page."""
    for mark in OPERATIONS:
        if symbol.decorations[-1:] == (mark,) and replace(symbol, decorations=symbol.decorations[:-1]) in known:
            return mark
        if symbol.sups[-1:] == (mark,) and replace(symbol, sups=symbol.sups[:-1]) in known:
            return mark
    return None


def marked(names: Names, one: Occurrence, meaning: str) -> PageError:
    written, name = names.source.written(one.span), one.symbol.name
    what = f"`{written}` can be read in two ways: expected a symbol of its own, or {meaning}."

    def error(found: Sequence[str]) -> PageError:
        said = ", ".join(f'--let "{name}={kind}"' for kind in found)
        return names.source.error(one.span, what, f"Say {said} for a symbol of its own; a transpose is written `^\\top`.")

    return error(["input"]) if one.time is not None else asked(name, KINDS, error)


def time_as_quantity(names: Names, one: Occurrence) -> PageError:
    letter = names.reader.letter
    what = f"`{letter}` is the letter of time and stands as a quantity: expected it as an index."
    todo = f"Give the quantity a name and a time index, such as `s_{letter}` for an input; a step of time is written `\\Delta t`."
    return names.source.error(one.span, what, todo)


def numbered_before(symbol: Symbol, names: Names) -> Occurrence | None:
    """On a page without a time: the `h_1` that is defined, where the symbol is an `h_0` that isn't."""
    if names.reader.letter is not None or names.reader.words:
        return None
    for other, one in names.defined.items():
        same = (symbol.base, symbol.decorations, symbol.font) == (other.base, other.decorations, other.font)
        pairs = ((symbol.subs, other.subs), (symbol.sups, other.sups))
        apart = [(a, b) for below, above in pairs for a, b in zip(below, above, strict=False) if a != b]
        steps = len(apart) == 1 and all(part.isdigit() for part in apart[0]) and int(apart[0][1]) - int(apart[0][0]) == 1
        if same and steps and all(len(a) == len(b) for a, b in pairs):
            return one
    return None


def numbered_steps(names: Names, one: Occurrence, other: Occurrence) -> PageError:
    a, b = names.source.written(one.span), names.source.written(other.span)
    what = f"`{a}` and `{b}` can be read in two ways: expected two steps of one state, or two symbols."
    todo = f'Write h_{{t-1}} and h_t for two steps; say --let "{one.symbol.name}=input" for a symbol of its own.'
    return names.source.error(one.span, what, todo, (other.span, "the other:"))


def derivative(names: Names, one: Occurrence, plain: Occurrence) -> PageError:
    written = names.source.written(one.span)
    what = f"`{written}` can be read in two ways: expected a symbol of its own, or the derivative by time."
    todo = f"A differential equation is written as a step, such as h_t = h_{{t-1}} + \\Delta t (...). {RENAME}."
    return names.source.error(one.span, what, todo, (plain.span, "what would change with time:"))


def notes_on_fonts(names: Names, trees: Iterable[Node]) -> list[str]:
    """`\\mathbf{c}_t` beside `c_t`: one symbol here; two may have been meant."""
    bold: dict[Symbol, Node] = {}
    plain: dict[Symbol, Node] = {}
    for node, symbol in (found for tree in trees for found in symbols_in(names, tree)):
        (bold if has_font(node) else plain).setdefault(symbol, node)
    return [
        f"`{names.source.written(bold[one].span)}` and `{names.source.written(plain[one].span)}` are read as one symbol, {one.name}"
        for one in bold
        if one in plain
    ]


def symbols_in(names: Names, node: Node) -> Iterator[tuple[Node, Symbol]]:
    """The symbols of a formula, outermost, each with the node that it is."""
    one = names.reader.read(node)
    if one is not None:
        yield node, one.symbol
        return
    for child in children(node):
        yield from symbols_in(names, child)


def has_font(node: Node) -> bool:
    """Whether a font is written around a symbol's letter."""
    while not (isinstance(node, Decorated) and node.font):
        inner = getattr(node, "body", None)
        if inner is None:
            return False
        node = inner
    return True
