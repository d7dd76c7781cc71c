"""Where recurrences start: `h_0 = ...`, behind the last step `h_{T+1} = ...`; nought is an argument of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.pages.core import Definition, refs
from derive.pages.counting import is_number
from derive.pages.errors import Source, Span
from derive.pages.names import Entry
from derive.pages.symbols import Reader, strip, take_apart
from derive.pages.times import parts_of_index
from derive.pages.tree import Bracket, Decorated, Letter, Node, Number, Scripted, Sum, with_parts

INITIAL = "an initial state, which is an argument of the kernel"


@dataclass(frozen=True)
class Start:
    """What a recurrence starts with: the name of the state, that of its start, the step at which the state is read, where it is said."""

    state: str
    name: str
    lag: int
    span: Span


def is_start(left: Node) -> int:
    """-1 for `h_0`, `c^{(0)}`; 1 for `h_{T+1}`, behind the last step; 0 for anything else. Another index stands beside it."""
    parts = take_apart(left)
    for script in (*parts.subs, *parts.sups) if parts else ():
        for part in parts_of_index(script):
            if is_number(strip_round(part), 0):
                return -1
            if is_behind(strip_round(part)):
                return 1
    return 0


def strip_round(node: Node) -> Node:
    while isinstance(node, Bracket) and len(node.parts) == 1:
        node = node.parts[0]
    return node


def is_behind(node: Node) -> bool:
    """`T+1`."""
    if not (isinstance(node, Sum) and node.factors == (1, 1) and is_number(node.terms[-1], 1)):
        return False
    first = node.terms[0]
    return isinstance(first, Letter) and len(first.name) == 1 and first.name.isupper()


def is_nought(node: Node) -> bool:
    """0, in any font, also of several quantities."""
    match node:
        case Number():
            return node.value == 0
        case Decorated():
            return is_nought(node.body)
        case Scripted():
            return is_nought(node.body)
        case Bracket():
            return all(is_nought(part) for part in node.parts)
    return False


def starts_of(source: Source, reader: Reader, entries: Sequence[Entry]) -> list[Start]:
    """The starts that the equations define. Raises PageError where the symbol can't be read."""
    found = []
    for entry in (entry for entry in entries if entry.is_start):
        for target in entry.targets:
            lag, plain = is_start(target), reader.read(target)
            state = reader.read(at_step(target, reader.letter or "t"))
            if plain is None or state is None or state.time != 0:
                what = f"`{source.written(target.span)}` isn't read as what a recurrence starts with: expected a symbol such as `h_0`."
                raise source.error(target.span, what, "Write it so, or leave it out: the initial state is an argument.")
            found.append(Start(state.symbol.name, plain.symbol.name, lag, target.span))
    return found


def at_step(node: Node, letter: str) -> Node:
    """A start with the letter of time in the place of its 0, or of T+1."""
    if is_number(node, 0) or is_behind(node):
        return Letter(letter, node.span)
    return with_parts(node, lambda part: at_step(part, letter))


def is_initial(left: Node) -> bool:
    """`h_0 = 0`, `c^{(0)} = 0`, `h_{T+1} = 0`: the only index is the number 0, or the step behind the last."""
    if not isinstance(left, Scripted) or len(left.sub) + len(left.sup) != 1:
        return False
    inner = (*left.sub, *left.sup)[0]
    while isinstance(inner, Bracket) and len(inner.parts) == 1:
        inner = inner.parts[0]
    return (isinstance(inner, Number) and inner.value == 0) or is_behind(inner)


def is_start_of_layer(entry: Entry) -> bool:
    """`h_0^{(l)} = 0`: step 0 below, a name in brackets above, and nought."""
    left = entry.targets[0]
    scripts = [strip(one) for one in left.sub] if isinstance(left, Scripted) and len(left.sub) == len(left.sup) == 1 else []
    values = [one.value for one in (*scripts, entry.right) if isinstance(one, Number)]
    above = left.sup[0] if isinstance(left, Scripted) and scripts else None
    return values == [0, 0] and isinstance(above, Bracket) and isinstance(strip(above), Bracket)


def refuse_starts(source: Source, starts: Sequence[Start], definitions: Sequence[Definition]) -> None:
    """Raises PageError on a start of what no step reads of its neighbour, or at the end where its recurrence doesn't start."""
    lags = {(ref.name, ref.lag) for one in definitions for ref in refs(one.body) if ref.lag}
    for start in starts:
        if (start.state, -start.lag) in lags:
            way, index = ("first step to the last", "0") if start.lag > 0 else ("last step to the first", "T+1")
            what = f"`{source.written(start.span)}`: {start.state} runs from the {way}: expected its start at the index {index}."
            raise source.error(start.span, what, "Correct the index.")
        if (start.state, start.lag) not in lags:
            what = f"`{source.written(start.span)}`: no step reads {start.state} of its neighbour: expected what a recurrence starts with."
            todo = "Write equations that hold at every step; give what is special at one step a quantity of its own."
            raise source.error(start.span, what, todo)
