"""`e^{w}` on a page that writes the exponential function so: beside `e^{-x_t}` it is no name, as it is where it stands alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.symbols import is_transposition, shifted_letters, walk
from derive.pages.timing import scripts_of
from derive.pages.tree import Bracket, Chain, Letter, Node, Ratio, Scripted, Sum, with_parts


def with_exponentials(entries: Sequence[Entry], times: Collection[str]) -> list[Entry]:
    """The equations with powers of e as calls of exp, where one of their exponents is a formula."""
    sound = [entry for entry in entries if entry.problem is None]
    scripts = [script for entry in sound for tree in (*entry.targets, entry.right) for script in scripts_of(tree)]
    letters = {"t", *times} | {letter for script in scripts for letter in shifted_letters(script)}
    found = [exponent for entry in sound for node in walk(entry.right) if (exponent := exponent_of(node, letters)) is not None]
    if not any(isinstance(one, (Sum, Scripted, Chain, Ratio)) for one in found):
        return list(entries)
    return [entry if entry.problem else changed(entry, lambda node: called(node, letters)) for entry in entries]


def exponent_of(node: Node, letters: Collection[str]) -> Node | None:
    """What stands above e; None where that is a mark, a step or a name in brackets, or where e has another index."""
    if not (isinstance(node, Scripted) and isinstance(node.body, Letter) and node.body.name == "e"):
        return None
    if node.sub or len(node.sup) != 1 or is_transposition(node.sup[0]):
        return None
    above = node.sup[0]
    while isinstance(above, Bracket) and above.opener == "{" and len(above.parts) == 1:
        above = above.parts[0]
    inside = {one.name for one in walk(above) if isinstance(one, Letter)}
    return None if isinstance(above, Bracket) or (inside and inside <= {*letters}) else above


def called(node: Node, letters: Collection[str]) -> Node:
    above = exponent_of(node, letters)
    if above is None or not isinstance(node, Scripted):
        return with_parts(node, lambda part: called(part, letters))
    function, inner = Letter("exp", node.body.span, is_function=True), called(above, letters)
    return Bracket("{", (Chain((function, Bracket("(", (inner,), node.sup[0].span)), node.span),), node.span)
