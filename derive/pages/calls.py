"""A function of the table and its argument; what is said of one that nobody knows, or that is written in a way that leaves it open."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from fractions import Fraction

from derive.functions import FUNCTIONS
from derive.letters import GREEK
from derive.pages.alphabet import SPECIAL, function_name
from derive.pages.core import Add, Call, Concat, Const, Core
from derive.pages.errors import PageError, Source, Span
from derive.pages.numbers import called
from derive.pages.symbols import Parts, Symbol, exponent, take_apart
from derive.pages.tree import Bracket, Letter, Node, Number, Scripted

KNOWN = ", ".join(sorted({*FUNCTIONS, *SPECIAL}))


def applied(source: Source, name: str, body: Core, span: Span) -> Core:
    """name(body), for a function that is known."""
    if name in ("max", "min"):
        return extreme(source, name, body, span)
    return body if name == "concat" else called(source, name, body, span)


def extreme(source: Source, name: str, body: Core, span: Span) -> Core:
    """max(0, a) = relu(a), max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b)."""
    if not isinstance(body, Concat) or len(body.parts) != 2:
        what = f"`{name}` of one thing: expected two, as in `\\max(0, x)`."
        raise source.error(span, what, "Write both.")
    left, right = body.parts
    if name == "max" and isinstance(right, Const):
        left, right = right, left
    if name == "max" and isinstance(left, Const) and left.value == 0:
        return Call("relu", right, span)
    if name == "min":
        left, right = (right, left) if isinstance(left, Const) else (left, right)
        return Add((left, Call("relu", Add((left, right), (1, -1), span), span)), (1, -1), span)
    return Add((left, Call("relu", Add((right, left), (1, -1), span), span)), (1, 1), span)


def unknown(source: Source, span: Span, name: str) -> PageError:
    near = difflib.get_close_matches(name.lower(), [*FUNCTIONS, *SPECIAL], n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    what = f"unknown function `{name}`: expected one of {KNOWN}."
    return source.error(span, what, f'{hint}Say what it is: --let "{name}=tanh".')


def refuse_word(source: Source, node: Node, symbol: Symbol, following: Node, known: Collection[str]) -> None:
    """`\\mathrm{Linear}(x)`, `\\sigma_g(x)`: a word, or a function's letter with an index, in front of a bracket is meant as a function,
    unless the page says what it is."""
    if not (isinstance(following, Bracket) and following.opener in "([") or symbol.name in known:
        return
    marked = symbol.subs or symbol.sups or symbol.decorations
    if marked and function_name(symbol.base) and following.opener == "(":
        name = symbol.name
        raise source.error(node.span, f"unknown function `{name}`: which one is it?", f'Say: --let "{name}=sigmoid".')
    if len(symbol.base) > 1 and not is_greek(symbol.base):
        raise unknown(source, node.span, symbol.name)


def is_greek(base: str) -> bool:
    """Whether a base is one letter by its name: `alpha`, also a step of it, `Delta_t`."""
    return base.split("_")[0].lower() in GREEK


def refuse_marks(source: Source, node: Node, parts: Parts) -> None:
    """`\\log_2`, `\\tanh'`, `\\exp^k`: an index, a prime or a name at a function makes another function of it."""
    marks = [*parts.subs, *[above for above in parts.sups if exponent(above) is None]]
    if not marks and not parts.decorations:
        return
    what = f"`{source.written(node.span)}` isn't read: expected the function {parts.letter.name} without an index or a mark."
    todo = (
        "A logarithm to another base is \\log divided by a number, the prime of a function its derivative, written out; "
        "an index that only says over what a function runs is left out."
    )
    raise source.error(node.span, what, todo)


def refuse_inverse(source: Source, node: Node, power: Fraction | None) -> None:
    """`\\tanh^{-1}(x)`: one over tanh, or the function that undoes it."""
    if power is not None and power < 0:
        what = f"`{source.written(node.span)}` can be read in two ways: expected the inverse function, or one over the function."
        todo = "Write `1 / f(x)` for one over it; the inverse function is written by its own name, as \\arctan is, or by its formula."
        raise source.error(node.span, what, todo)


def refuse_bare_argument(source: Source, items: Sequence[Node]) -> None:
    """`\\tanh W x`: tanh of W or of W x; `\\sigma x`: the function of x, or a number times x."""
    function, argument, *more = items
    bare = argument.body if isinstance(argument, Scripted) else argument
    if not isinstance(bare, (Letter, Number)) or (isinstance(bare, Letter) and bare.is_function):
        return
    name, first = source.written(function.span), source.written(argument.span)
    if more:
        whole = source.written((argument.span[0], more[-1].span[1]))
        what = f"`{name} {whole}` can be read in two ways: expected brackets around what the function is applied to."
        raise source.error((function.span[0], more[-1].span[1]), what, f"Write `{name}({whole})` or `{name}({first}) ...`.")
    parts = take_apart(function)
    if parts and parts.letter.glyph:
        letter = parts.letter.name
        what = f"`{name} {first}` can be read in two ways: expected the function of `{first}`, or a number times it."
        todo = f'Write `{name}({first})` for the function; say --let "{letter}=0.1" for a number, or --let "{letter}=matrix".'
        raise source.error((function.span[0], argument.span[1]), what, todo)


def refuse_other_form(source: Source, function: Node, letter: Letter) -> None:
    """`\\varphi(x)` where the page defines `\\phi`."""
    parts = take_apart(function)
    if parts and parts.letter.glyph != letter.glyph:
        what = f"`{source.written(function.span)}` and `{source.written(letter.span)}` are two forms of one letter: expected one."
        todo = "Write one symbol in one way, or rename one of them."
        raise source.error(function.span, what, todo, (letter.span, "the other:"))
