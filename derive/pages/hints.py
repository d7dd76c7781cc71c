"""What messages propose to write for a formula that isn't read as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable

from derive.pages.errors import PageError, Source
from derive.pages.symbols import Symbol
from derive.pages.tree import Bracket, Chain, Letter, Node, Scripted


def no_exponent(source: Source, above: Node) -> PageError:
    """The error for `2^{x_t}`, `\\gamma^{g_t}`."""
    what = f"`{source.written(above.span)}` as an exponent isn't read: expected a number or a transposition."
    todo = "Write u^v as \\exp(v \\odot \\log(u)); a name above goes into brackets, as in `W^{(h)}`."
    return source.error(above.span, what, todo)


def called(node: Node) -> str:
    """For `\\operatorname{score}(h_t, s_j)`: what of functions can be defined."""
    is_call = isinstance(node, Chain) and len(node.items) == 2 and isinstance(node.items[1], Bracket)
    return (
        "; a function that a page defines is of one letter, `f(a) = ...`: else write its value, as `e_{t,s} = ...`"
        if is_call
        else ""
    )


def spelled_out(node: Node) -> str:
    """For `wkv_t`: how letters side by side make one name."""
    letters: list[Node] = [*node.items] if isinstance(node, Chain) else []
    if letters and isinstance(letters[-1], Scripted):
        letters[-1] = letters[-1].body
    word = "".join(one.name for one in letters if isinstance(one, Letter))
    return f"; several letters make one name as `\\mathrm{{{word}}}`" if letters and len(word) == len(letters) else ""


def newer(written: str) -> str:
    """For `h_{prev}`: how its new value is written."""
    named = re.fullmatch(r"(.+?)_\{?(?:\\[a-z]+\{)?(?:prev|previous|old)\}*", written)
    return f", `{named[1]} = ...` or `{named[1]}_{{next}} = ...`" if named else ""


def unsummed(symbol: Symbol, defined: Iterable[Symbol]) -> tuple[str, str] | None:
    """The index i of `h_{i,t}` and the j of `h_{j,t-1}`, where a page defines the one and reads the other; None for any other symbol."""
    for other in defined:
        pairs = [
            (a, b) for one in ("subs", "sups") for a, b in zip(getattr(other, one), getattr(symbol, one), strict=False) if a != b
        ]
        alike = (other.base, other.decorations, len(other.subs), len(other.sups))
        letters = all(len(one) == 1 and one.islower() for pair in pairs for one in pair)
        if len(pairs) == 1 and letters and alike == (symbol.base, symbol.decorations, len(symbol.subs), len(symbol.sups)):
            return pairs[0]
    return None
