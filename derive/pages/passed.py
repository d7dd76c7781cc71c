"""What of a page may be passed over: lines that no equation needs, and that can be no part of a step. They are always listed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from derive.pages.alphabet import INFINITE, function_name, greek_letter
from derive.pages.errors import PageError, Source, Span
from derive.pages.names import Entry
from derive.pages.outermost import CLOSERS, OPENERS
from derive.pages.sides import Line
from derive.pages.starts import is_start
from derive.pages.surface import JOINING
from derive.pages.symbols import Reader, children, take_apart
from derive.pages.times import recurrent
from derive.pages.timing import reader_of, with_call_indices
from derive.pages.tokens import Token
from derive.pages.tree import Bracket, Chain, Letter, Node

SUMS = tuple(f"`\\{name}`" for name in ("sum", "prod", "int"))
"""Commands that aren't read and say nothing of what something is."""
COMMAND = "unknown command"


def reader_for(source: Source, entries: Sequence[Entry], time: str | None) -> Reader:
    """The reader of those equations that can be read."""
    sound = [entry for entry in entries if entry.problem is None]
    lefts = [target for entry in sound for target in entry.targets]
    return reader_of(source, [*lefts, *[entry.right for entry in sound]], lefts, time)


def names_in(reader: Reader, node: Node) -> Iterator[tuple[str, int | None]]:
    """The names in a formula, each with its time."""
    one = reader.read(node)
    if one is not None:
        yield one.symbol.name, one.time
        return
    for child in children(node):
        yield from names_in(reader, child)


def is_needless(
    entry: Entry, entries: Sequence[Entry], reader: Reader, known: Collection[str] = (), error: PageError | None = None
) -> bool:
    """Whether a line that can't be read may be passed over. known: the functions of the page; error: why it can't be read.

    A step has a time index: on a page with one, a line whose left side carries none, and whose left side nothing reads, defines nothing
    of the step: a loss, a count of parameters, an update. A line without `=` defines nothing at all. What a recurrence starts with is
    an argument of the kernel where the page says no more than that it comes from somewhere, `h_0 = f_{init}(v)`. A question about a line
    that is made of what the model defines, a loss, is asked.
    """
    if entry.is_start and entry.problem is None and not is_from_somewhere(entry, reader, known):
        return False
    if recurrent([replace(entry, problem=None)]):
        return False
    if any(token.value.startswith(INFINITE) for token in entry.line.tokens) and any(map(is_start, entry.targets)):
        return False  # a start of which the kernel would make 0 where a call gives none
    others = [one for one in entries if one is not entry and one.problem is None and not one.is_function]
    if (
        reader.letter is None
        or entry.is_function
        or not any(is_timed(reader, target) for one in others for target in one.targets)
    ):
        return False
    read = {name for one in others for name, _ in names_in(reader, with_call_indices(one.right, reader.letter))}
    defined = {name for one in others for target in one.targets for name, _ in names_in(reader, target)}
    error = error or entry.problem
    given = {
        name for one in others for name, time in names_in(reader, with_call_indices(one.right, reader.letter)) if time is not None
    }
    if error is not None and error.is_question and (reads_any(entry, reader, defined) or reads_given(entry, reader, given)):
        return False
    if entry.line.equals is None:
        return is_mere_expression(entry.line.tokens, read - defined)
    left = with_call_indices(entry.targets[0], reader.letter) if len(entry.targets) == 1 else None
    return left is not None and is_mere_result(reader, left, read, defined)


def reads_any(entry: Entry, reader: Reader, names: Collection[str]) -> bool:
    """Whether an equation reads something with the letter of one of these names, `J_t` or `h_{T,1}`; of one that has no trees, whether
    its right side has such a letter. Not so what holds a condition."""
    letters = {name.split("_")[0] for name in names}
    if any(token.kind == "COMMA" and token.value == "|" for token in entry.line.tokens):
        return False  # a condition, `p(y_t | h_t)`, which says what is modelled
    if isinstance(entry.right, Letter) and not entry.right.name:
        return any(token.value in letters for token in entry.line.right)
    return any(name.split("_")[0] in letters for name, _ in names_in(reader, with_call_indices(entry.right, reader.letter)))


def reads_given(entry: Entry, reader: Reader, given: Collection[str]) -> bool:
    """Whether all that an equation reads with a time is given to the steps of the page."""
    found = {name for name, time in names_in(reader, with_call_indices(entry.right, reader.letter)) if time is not None}
    return (
        bool(found) and found <= {*given} and not any(token.kind == "COMMA" and token.value == "|" for token in entry.line.tokens)
    )


def is_timed(reader: Reader, node: Node) -> bool:
    return any(time is not None for _, time in names_in(reader, with_call_indices(node, reader.letter)))


def is_mere_expression(tokens: Sequence[Token], undefined: set[str]) -> bool:
    """Words, or a formula without a sign that may say what something is; it doesn't begin with a name that the step needs."""
    if len(tokens) == 1 and tokens[0].value.startswith(COMMAND):
        return True  # an arrow between two equations
    depth, things = 0, 0
    for at, token in enumerate(tokens):
        things += depth == 0 and token.kind not in ("SUB", "SUP", "FONT", "DECORATION", "BEGIN_GROUP")
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        relation = token.kind in ("STOP", "COMMA") and token.value in (":", ",") and depth == 0 and at + 1 < len(tokens)
        if relation or (token.kind == "UNREAD" and not token.value.startswith(SUMS)):
            return False
    first = next((token.value for token in tokens if token.kind in ("SYMBOL", "GREEK", "VARIANT")), "")
    return tokens[0].kind not in JOINING and (things == 1 or first not in {name.split("_")[0] for name in undefined})


CHANGES = ("Delta", "delta", "d")
"""What says the change of a parameter, in front of it."""


def is_mere_result(reader: Reader, left: Node, read: set[str], defined: set[str]) -> bool:
    """`L`, `loss`, `P(y)`: a left side without a time that nothing reads; `\\Delta W`: how a parameter changes."""
    needed = read | defined
    if isinstance(left, Chain) and len(left.items) == 2 and isinstance(left.items[1], Bracket) and take_apart(left.items[0]):
        left = left.items[0]
    one = reader.read(left)
    if one is not None:
        return one.time is None and one.symbol.name not in needed
    if isinstance(left, Chain) and isinstance(left.items[0], Letter) and left.items[0].name in CHANGES:
        changed = [reader.read(item) for item in left.items[1:]]
        return all(one is not None and one.time is None and one.symbol.name not in defined for one in changed)
    word = [item.name for item in left.items if isinstance(item, Letter)] if isinstance(left, Chain) else []
    return len(word) > 2 and isinstance(left, Chain) and len(word) == len(left.items) and not set(word) & needed


def is_from_somewhere(entry: Entry, reader: Reader, known: Collection[str]) -> bool:
    """Whether a right side is one function of which nothing is known, `f_{init}(v)`."""
    right = with_call_indices(entry.right, reader.letter)
    if not (isinstance(right, Chain) and isinstance(right.items[-1], Bracket)):
        return False
    one = reader.read(right.items[0]) if len(right.items) == 2 else None
    if one is not None and one.symbol.base.islower() and one.symbol.name not in known and not function_name(one.symbol.base):
        return one.time is None or bool(one.weak)
    return is_general(right.items[:-1], right.items[-1], reader, known)


def said_again(entry: Entry, entries: Sequence[Entry], reader: Reader, known: Collection[str]) -> bool:
    """`h_t = \\mathrm{LSTM}(x_t, h_{t-1})`, `h_t = f(h_{t-1}, x_t)` beside the equations of h: what is defined already, in general.

    Such a line names what the step reads: several things, or the value of the step before. A line that reads what it defines at the same
    step, `h_t = \\mathrm{LayerNorm}(h_t)`, is a part of the step.
    """
    right = with_call_indices(entry.right, reader.letter)
    if entry.is_function or not (isinstance(right, Chain) and isinstance(right.items[-1], Bracket)):
        return False
    if not is_general(right.items[:-1], right.items[-1], reader, known):
        return False
    others = [target for one in entries if one is not entry and one.problem is None for target in one.targets]
    defined = {name for target in others for name, _ in names_in(reader, target)}
    own = [pair for target in entry.targets for pair in names_in(reader, target)]
    read = set(names_in(reader, right.items[-1]))
    earlier = any(name == target and time != at for name, time in read for target, at in own)
    return (
        bool(own) and {name for name, _ in own} <= defined and not read & set(own) and (earlier or len(right.items[-1].parts) > 1)
    )


def is_general(head: Sequence[Node], arguments: Bracket, reader: Reader, known: Collection[str]) -> bool:
    """Whether what stands in front of a bracket is a function that nobody has named: a word, capitals, a letter of several things."""
    one = reader.read(head[0]) if len(head) == 1 else None
    parts = take_apart(head[0]) if len(head) == 1 else None
    if parts is None:
        letters = [item.name for item in head if isinstance(item, Letter)]
        return len(letters) == len(head) > 1 and "".join(letters).isupper() and not set(letters) & set(known)
    name = parts.letter.name
    if function_name(name) or {name, one.symbol.name if one else name} & set(known):
        return False
    return len(name) > 2 or (len(arguments.parts) > 1 and (bool(parts.font) or name[0].islower()))


def is_gradient(line: Line) -> bool:
    """Whether it holds a quotient of differentials."""
    return any(is_differential(line.tokens, at) for at in range(len(line.tokens)))


def is_differential(tokens: list[Token], at: int) -> bool:
    """`\\frac{d L}{d h}`: both parts begin with the letter d and go on."""
    values = [token.value for token in tokens[at : at + 3]]
    if tokens[at].kind != "FRAC" or values[1:] != ["{", "d"]:
        return False
    depth = 0
    for place in range(at + 1, len(tokens) - 2):
        depth += (tokens[place].value == "{") - (tokens[place].value == "}")
        if depth == 0:
            return [token.value for token in tokens[place + 1 : place + 3]] == ["{", "d"] and tokens[at + 3].kind != "END_GROUP"
    return False


def reason_of(entry: Entry, error: PageError) -> str:
    """Why a line is passed over."""
    if entry.line.equals is None:
        return "no equation"
    said = re.sub(r"^[^\n]*?:\d+: ", "", str(error).split("\n")[0]).split(": ")[0]
    return f"a result that no equation reads ({said.rstrip('.')})"


def may_define(source: Source, entry: Entry, name: str, reader: Reader) -> bool:
    """Whether a line that can't be read may be the definition of a name."""
    if entry.targets:
        return any(
            found == name for target in entry.targets for found, _ in names_in(reader, with_call_indices(target, reader.letter))
        )
    return stands_in(source, entry.span, name, r"[^=\n&]{0,60}&?\s*=")


def stands_in_any(source: Source, spans: Sequence[Span], name: str) -> bool:
    """Whether the letter of a name, or the letter that it counts, the l of `L = 3`, stands in one of some places."""
    letters = {name, name.lower()} if len(name) == 1 else {name}
    return any(stands_in(source, span, letter) for span in spans for letter in letters)


def stands_in(source: Source, span: Span, name: str, behind: str = "") -> bool:
    """Whether the letter of a name stands in some text of a page, in front of what an expression says."""
    text = "".join(greek_letter(character) or character for character in source.text[slice(*span)])
    return re.search(rf"(?<![A-Za-z]){re.escape(name.split('_')[0])}(?![A-Za-z]){behind}", text) is not None
