"""Brackets, bars and columns: what stands in them, and what a script behind them says."""

from __future__ import annotations

from collections.abc import Callable

from derive.pages.calls import applied
from derive.pages.core import Concat, Core, Inner
from derive.pages.forms import norm
from derive.pages.names import Names
from derive.pages.products import refuse_rows, refuse_unseparated
from derive.pages.symbols import is_positive_part
from derive.pages.tree import Bracket, Grid, Node, Scripted

Resolve = Callable[[Node, bool], Core]
"""The meaning of a formula; whether it stands inside a function that is known."""


def bracket(names: Names, node: Bracket, argument: bool, resolve: Resolve) -> Core:
    """What stands in a bracket: a formula, the absolute value or the norm of one, an inner product, or vectors one above the other."""
    if len(node.parts) == 1:
        if node.opener == "[":
            refuse_unseparated(names, node)
        if node.opener == "<":
            what = f"`{names.source.written(node.span)}` can be read in two ways: expected a mean, or a bracket."
            raise names.source.error(
                node.span, what, "Write \\operatorname{mean}(x) for the mean of a vector, (x) for a bracket."
            )
        inside = resolve(node.parts[0], argument or node.opener in "|‖")
        if node.opener == "‖":
            return norm(names.source, node, inside)
        return applied(names.source, "abs", inside, node.span) if node.opener == "|" else inside
    if node.opener == "<" and len(node.parts) == 2:
        return Inner(resolve(node.parts[0], argument), resolve(node.parts[1], argument), node.span)
    refuse_rows(names, node)
    if node.opener in "{|‖<":
        where = {"{": "braces", "<": "angle brackets"}.get(node.opener, "bars")
        todo = "Write (a, b) or [a; b] for one above the other."
        raise names.source.error(node.span, f"a comma inside {where}: expected one formula.", todo)
    return Concat(tuple(resolve(part, argument) for part in node.parts), node.span)


def column(names: Names, node: Grid) -> Grid:
    """A column or a row of vectors. Raises PageError on a matrix of blocks, which is read where a stack follows it."""
    if len(node.rows) > 1 and any(len(row) > 1 for row in node.rows):
        what = "a matrix of blocks that multiplies no column of as many vectors: expected one behind it."
        raise names.source.error(node.span, what, "Write the product out: one term a block.")
    refuse_rows(names, node)
    return node


def scripted(names: Names, node: Scripted, core: Core, raised: Callable[[Core, Node], Core]) -> Core:
    """A bracket with scripts: a power, a transposition, or this step's index, which says nothing; core: what stands in it."""
    positive = is_positive_part(node)
    if positive:
        core = applied(names.source, "relu", core, node.span)
    is_norm = isinstance(node.body, Bracket) and node.body.opener == "‖"
    if is_norm:
        core = norm(names.source, node, core)
    for one in node.sup:
        core = raised(core, one)
    for one in () if positive or is_norm else node.sub:
        if names.reader.time(one) != 0:
            what = f"an index at a bracket, `{names.source.written(one.span)}`: expected it at a symbol."
            raise names.source.error(
                one.span, what, "Write the index at each symbol inside, or give the bracket a name of its own."
            )
    return core


def is_bracketed(node: Node) -> bool:
    """A bracket, perhaps with an index: what stands behind it, as in `f(x)[0:H]`, is of the function's value."""
    return isinstance(node.body if isinstance(node, Scripted) else node, Bracket)
