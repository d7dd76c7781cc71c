"""Letters with their decorations, scripts and time index -> symbols. The naming rule of the project, and nothing about any one name."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from derive.letters import ARROWS
from derive.pages.errors import Span
from derive.pages.tree import (
    AtEnd,
    Bracket,
    Chain,
    Component,
    Cut,
    Decorated,
    Grid,
    Letter,
    Mark,
    Node,
    Number,
    OverSteps,
    Picked,
    Raised,
    Ratio,
    Reduced,
    Root,
    Scripted,
    Signed,
    Sum,
)

PREVIOUS, NEXT = ("prev", "previous", "old"), ("next", "new")
"""Words for a time index on pages without a time letter; `new` and `old` where a page has both."""


@dataclass(frozen=True)
class Symbol:
    """A symbol without its time index. Fonts that only make a letter bold or upright are gone; calligraphic letters are their own.

    glyphs: the Greek letters in it, each with its form: `W_{xi}` and `W_\\xi`, `\\phi` and `\\varphi` share a name and are two symbols.
    """

    base: str
    decorations: tuple[str, ...] = ()
    font: str = ""
    subs: tuple[str, ...] = ()
    sups: tuple[str, ...] = ()
    glyphs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`b_C_tilde`, `W_f_left_2`: an arrow, which says which way a recurrence runs, stands behind the words of an index, in front of
        the numbers at their end."""
        arrows = [one for one in self.decorations if one in ARROWS]
        others = [one for one in self.decorations if one not in ARROWS]
        indices = [*self.subs, *self.sups]
        words = next((at for at in range(len(indices), 0, -1) if not indices[at - 1].isdigit()), 0)
        name = "_".join([self.base, *others, *indices[:words], *arrows, *indices[words:]])
        return f"{name}_" if keyword.iskeyword(name) else name


@dataclass(frozen=True)
class Occurrence:
    """A symbol somewhere on the page: at which time (None for none), raised to a power, transposed.

    weak: how a time letter stands behind another index, where it may belong to the gate and not to the weight: `run` in `W_{ft}`,
    `comma` in `W_{f,t}`, `inner` in `W_{\\tilde{C}_t}`, `above` in `W^{out}`. Then `gate` is the index without it, and `named` the
    symbol whose name keeps it.
    """

    symbol: Symbol
    time: int | None
    span: Span
    power: Fraction | None = None
    transposed: bool = False
    weak: str = ""
    gate: str = ""
    named: Symbol | None = None


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Decorated() | Root() | Reduced() | Component() | Cut() | OverSteps() | AtEnd():
            return (node.body,)
        case Raised():
            return node.body, node.exponent
        case Picked():
            return node.body, node.token
        case Scripted():
            return (node.body, *node.sub, *node.sup)
        case Bracket() | Signed():
            return node.parts
        case Ratio():
            return node.above, node.below
        case Grid():
            return tuple(one for row in node.rows for one in row)
        case Chain():
            return node.items
        case Sum():
            return node.terms
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything in it, outermost first, left to right."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(reversed(children(one)))


def spelled(node: Node) -> str | None:
    """The letters of an index that is a word, however it was written: `prev`."""
    match node:
        case Letter():
            return node.name
        case Number():
            return str(node.value)
        case Chain():
            parts = [spelled(one) for one in node.items]
            return None if None in parts else "".join(part for part in parts if part)
        case Bracket() if len(node.parts) == 1:
            return spelled(node.parts[0])
        case Decorated() if node.font:
            return spelled(node.body)
    return None


def offset(node: Node, letter: str | None) -> int | None:
    """0, 1, -1, ... for `t`, `t+1`, `t-1`; None for anything else."""
    if isinstance(node, Bracket) and len(node.parts) == 1:
        return offset(node.parts[0], letter)
    if letter is not None and isinstance(node, Letter) and node.name == letter:
        return 0
    if (
        isinstance(node, Sum)
        and len(node.terms) == 2
        and offset(node.terms[0], letter) == 0
        and isinstance(node.terms[1], Number)
    ):
        step = node.terms[1].value * node.factors[1]
        return int(step) if step.denominator == 1 else None
    return None


def shifted_letters(node: Node) -> set[str]:
    """Letters that an index shifts by one: `k` of `h_{k-1}`."""
    found: set[str] = set()
    for one in walk(node):
        if isinstance(one, Sum) and len(one.terms) == 2 and isinstance(one.terms[1], Number) and one.terms[1].value == 1:
            first = one.terms[0].items[-1] if isinstance(one.terms[0], Chain) else one.terms[0]
            found |= {first.name} if isinstance(first, Letter) and not first.is_function else set()
    return found


@dataclass(frozen=True)
class Parts:
    """A symbol taken apart: the letter, what decorates it, and its scripts."""

    letter: Letter
    decorations: tuple[str, ...]
    font: str
    subs: tuple[Node, ...]
    sups: tuple[Node, ...]


def take_apart(node: Node) -> Parts | None:
    """The parts of what can be a symbol, in either nesting: `\\tilde{C}_t`, `\\tilde{C_t}`, `\\mathbf{\\tilde C}_t`; None for the rest."""
    match node:
        case Letter():
            return Parts(node, (), "", (), ())
        case Bracket(opener="{", parts=(only,)):
            return take_apart(only)
        case Decorated():
            inner = take_apart(node.body)
            if inner is None:
                return None
            if node.font:
                return Parts(inner.letter, inner.decorations, inner.font or node.mark, inner.subs, inner.sups)
            return Parts(inner.letter, (*inner.decorations, node.mark), inner.font, inner.subs, inner.sups)
        case Scripted():
            inner = take_apart(node.body)
            if inner is None:
                return None
            primes = tuple(one.name for one in node.sup if isinstance(one, Mark) and one.name.startswith("prime"))
            sups = tuple(one for one in node.sup if not (isinstance(one, Mark) and one.name.startswith("prime")))
            return Parts(inner.letter, (*inner.decorations, *primes), inner.font, (*inner.subs, *node.sub), (*inner.sups, *sups))
    return None


@dataclass(frozen=True)
class Index:
    """One part of a script: its text as part of a name, and the time that it holds."""

    text: str
    time: int | None
    weak: str = ""

    def in_words(self, letter: str | None) -> Index:
        """With the time letter at the end of a run of letters as part of the word."""
        return Index(f"{self.text}{letter}", None) if self.weak == "run" and self.time == 0 else self


class Reader:
    """Reads symbols on one page.

    letter: the time letter, None where the page has none. words: which of `prev`, `next`, ... are times; ahead: only those of the next
    step are, so that the plain symbol is the old value.
    numbered: bases whose plain numeric superscripts are names, not powers: a left side carries one.
    """

    def __init__(self, letter: str | None, words: tuple[str, ...] = (), numbered: frozenset[str] = frozenset()) -> None:
        self.letter, self.words, self.numbered = letter, words, numbered
        self.ahead = bool(words) and not set(words) & set(PREVIOUS)

    def read(self, node: Node) -> Occurrence | None:
        """The symbol that a node is; None where it is something else."""
        parts = take_apart(node)
        if parts is None or self.is_exponential(node) or any(self.is_formula(above) for above in parts.sups):
            return None
        power, transposed, sups = None, False, []
        for one in parts.sups:
            if is_transposition(one):
                transposed = True
            elif (number := exponent(one)) is not None and parts.letter.name not in self.numbered:
                power = number
            else:
                sups.append(one)
        transposed = transposed or any(ends_transposed(one) for one in sups)
        below = [index for one in parts.subs for index in self.indices(one)]
        above = [index for one in sups for index in self.indices(one)]
        if count_times(below, above) > 1:  # `y^{out}_t`
            above = [index.in_words(self.letter) for index in above]
        if count_times(below, above) > 1:
            below = [index.in_words(self.letter) for index in below]
        if count_times(below, above) > 1:
            return None
        symbol = self.symbol(node, parts, below, above)
        occurrence = Occurrence(symbol, next(times(below, above), None), node.span, power, transposed)
        return self.with_doubt(occurrence, parts, below, above, node)

    def symbol(self, node: Node, parts: Parts, below: list[Index], above: list[Index]) -> Symbol:
        subs, sups = (tuple(index.text for index in side if index.text) for side in (below, above))
        glyphs = tuple(
            one.glyph for one in walk(node) if isinstance(one, Letter) and one.glyph and one.name not in (self.letter, None)
        )
        return Symbol(parts.letter.name, parts.decorations, parts.font, subs, sups, glyphs)

    def with_doubt(self, one: Occurrence, parts: Parts, below: list[Index], above: list[Index], node: Node) -> Occurrence:
        """The occurrence with what it may be instead, where the time letter stands behind another index."""
        weak = next((index for index in (*below, *above) if index.weak), None)
        if weak is None:
            return one
        run = weak.weak == "run"
        gate = weak.text if run else (one.symbol.subs or one.symbol.sups or ("",))[-1]
        sides = ([index.in_words(self.letter) for index in side] for side in (below, above))
        named = self.symbol(node, parts, *sides)
        return replace(one, weak="above" if run and weak in above else weak.weak, gate=gate, named=named)

    def is_formula(self, above: Node) -> bool:
        """Whether a superscript is an exponent that holds a quantity at a time, or a power: no index, number or name."""
        if isinstance(above, Bracket) and (above.opener != "{" or len(above.parts) > 1):
            return False
        if self.time(above) is not None or exponent(above) is not None:
            return False
        inner = strip(above)
        if isinstance(inner, Ratio) or (isinstance(inner, Signed) and "divide" in inner.signs):
            return True
        return any(isinstance(one, Scripted) and self.is_quantity(one) for one in walk(above))

    def is_quantity(self, node: Scripted) -> bool:
        return isinstance(strip(node.body), Number) or any(self.time(script) is not None for script in (*node.sub, *node.sup))

    def is_exponential(self, node: Node) -> bool:
        """`e^{-x_t}`, `e^{-0.5}`: the constant e under an exponent that is a formula or no natural number, not an index or a name."""
        if not (isinstance(node, Scripted) and isinstance(node.body, Letter) and node.body.name == "e"):
            return False
        if node.sub or len(node.sup) != 1 or self.time(node.sup[0]) is not None:
            return False
        number = exponent(node.sup[0])
        if number is not None:
            return number < 0 or number.denominator > 1
        above = strip(node.sup[0])
        return isinstance(above, Sum) or any(isinstance(one, Scripted) for one in walk(above))

    def indices(self, node: Node) -> list[Index]:
        """The parts of a script, separated by commas."""
        time = self.time(node)
        if time is not None:
            return [Index("", time)]
        if isinstance(node, Bracket):
            parts = self.last_time(node)
            named = len(parts) > 1 and any(index.time is not None for index in parts)
            return [Index(one.text, one.time, one.weak or ("comma" if named and one.time == 0 else "")) for one in parts]
        return [self.index(node)]

    def last_time(self, node: Bracket) -> list[Index]:
        """The parts of a bracket; of several times, as in `_{t, t-1}`, the last is the time and the others are names."""
        parts = [index for part in node.parts for index in self.indices(part)]
        times = [at for at, index in enumerate(parts) if index.time is not None]
        if len(times) > 1 and len(parts) == len(node.parts):
            parts = [Index(self.text(node.parts[at]), None) if at in times[:-1] else index for at, index in enumerate(parts)]
        return parts

    def time(self, node: Node) -> int | None:
        word = spelled(node)
        if word in self.words:
            return -1 if word in PREVIOUS else 1 if self.ahead else 0
        return offset(node, self.letter)

    def index(self, node: Node) -> Index:
        """A part that is no time by itself; its end may be one."""
        match node:
            case Chain(items=(*rest, Mark(name="T"))):
                return self.index(Chain(tuple(rest), node.span) if len(rest) > 1 else strip(rest[0]))
            case Chain(items=(*rest, last)) if offset(last, self.letter) == 0:
                return Index("".join(self.text(one) for one in rest), 0, weak="run")
            case Sum(terms=(Chain(items=(*rest, last)), Number(value=step)), factors=(1, sign)) if offset(last, self.letter) == 0:
                return Index("".join(self.text(one) for one in rest), int(step) * sign)
        inner = self.read(node) if isinstance(node, (Scripted, Decorated)) else None
        if inner is not None:
            return Index(inner.symbol.name.rstrip("_"), inner.time, weak="" if inner.time is None else "inner")
        return Index(self.text(node), None)

    def text(self, node: Node) -> str:
        """An index as part of a name: letters and digits."""
        match node:
            case Letter() | Mark():
                return node.name
            case Number():
                return str(node.value).replace("/", "_")
            case Chain():
                return "".join(self.text(one) for one in node.items)
            case Bracket():
                return "_".join(self.text(one) for one in node.parts)
            case Sum():
                signs = ["minus_" if factor < 0 else "plus_" if at else "" for at, factor in enumerate(node.factors)]
                return "_".join(sign + self.text(term) for sign, term in zip(signs, node.terms, strict=True))
            case Scripted() | Decorated():
                inner = self.read(node)
                return inner.symbol.name.rstrip("_") if inner else "_".join(self.text(one) for one in children(node))
        return "_".join(self.text(one) for one in children(node))


def times(*sides: list[Index]) -> Iterator[int]:
    return (index.time for side in sides for index in side if index.time is not None)


def count_times(*sides: list[Index]) -> int:
    return len(list(times(*sides)))


def strip(node: Node) -> Node:
    return node.parts[0] if isinstance(node, Bracket) and len(node.parts) == 1 else node


def is_transposition(node: Node) -> bool:
    """`^T`, `^\\top`, `^{\\mathsf T}`."""
    node = strip(node) if isinstance(node, Bracket) and node.opener == "{" else node
    if isinstance(node, Decorated) and node.font:
        node = strip(node.body)
    return isinstance(node, (Mark, Letter)) and node.name == "T"


def is_positive_part(node: Scripted) -> bool:
    """`[x]_+`, `(x)_{+}`: a bracket with nothing but a plus below it."""
    below = strip(node.sub[0]) if len(node.sub) == 1 else None
    return isinstance(node.body, Bracket) and node.body.opener in "([" and isinstance(below, Mark) and below.name == "plus"


def ends_transposed(node: Node) -> bool:
    """`^{(z)\\top}`."""
    inner = strip(node)
    return isinstance(inner, Chain) and isinstance(inner.items[-1], Mark) and inner.items[-1].name == "T"


def exponent(node: Node) -> Fraction | None:
    """The number that a plain superscript is; None for a bracketed one, which is a name."""
    node = strip(node) if isinstance(node, Bracket) and node.opener == "{" else node
    match node:
        case Number():
            return node.value
        case Sum(terms=(only,), factors=(-1,)):
            inner = exponent(only)
            return None if inner is None else -inner
        case Ratio() | Signed(signs=("divide",)):
            above, below = children(node)
            over, under = exponent(above), exponent(below)
            return over / under if over is not None and under else None
    return None
