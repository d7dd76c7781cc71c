"""Powers whose exponent is a quantity: `a^{c r_t}`, `2^{x_t}`, `x^{\\odot 2}`. Told from names such as `W^{z}` before anything is named."""

from __future__ import annotations

from collections.abc import Collection

from derive.pages.components import arguments
from derive.pages.errors import Source
from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.symbols import Reader, exponent, is_transposition, strip, take_apart, walk
from derive.pages.tree import Bracket, Chain, Decorated, Letter, Mark, Node, Number, Raised, Scripted, with_parts

SIGNS = ("hadamard", "star", "tensor")


def with_powers(source: Source, node: Node, reader: Reader, quantities: Collection[str]) -> Node:
    """The tree with powers as nodes of their own. quantities: names that are declared to be quantities, so that `x^p` is a power."""
    node = with_parts(node, lambda part: with_powers(source, part, reader, quantities))
    if not isinstance(node, Scripted) or reader.is_exponential(node):
        return node
    above = next((one for one in node.sup if is_exponent(reader, node, one, quantities)), None)
    if above is None:
        return node
    rest = tuple(one for one in node.sup if one is not above)
    end = max((one.span[1] for one in (node.body, *node.sub, *rest)), default=node.span[1])
    body = Scripted(node.body, node.sub, rest, (node.span[0], end)) if node.sub or rest else node.body
    sign, raised = signed(above)
    if sign == "tensor":
        what = (
            f"`{source.written(node.span)}` is a power of a product of all pairs, which isn't read: expected an elementwise one."
        )
        raise source.error(
            above.span,
            what,
            "Write x^{\\odot 2} for the elementwise power, x x^\\top for the outer product of a vector with itself.",
        )
    if not sign and is_index(node, above):
        what = f"`{source.written(node.span)}` can be read in two ways: a power, or an index in brackets."
        todo = "Write a power without the brackets, `a^{b_t}`, the element that a token picks as `a_{t, b_t}`, and a name without a time."
        raise source.error(node.span, what, todo)
    return Raised(body, raised, node.span, elementwise=sign != "")


def is_index(node: Scripted, above: Node) -> bool:
    """Whether one symbol stands above another in brackets of its own, `\\hat{y}_t^{(k_t)}`, as the number of a layer does."""
    inner = strip(above) if isinstance(above, Bracket) and above.opener == "{" else above
    return (
        isinstance(inner, Bracket)
        and inner.opener in "([<"
        and take_apart(strip(inner)) is not None
        and take_apart(node.body) is not None
    )


def powers_in(source: Source, entry: Entry, reader: Reader, quantities: Collection[str]) -> Entry:
    """An equation with its powers as nodes; the argument of a function that it defines is a quantity."""
    known = {*quantities, *(arguments(entry.targets[0]) if entry.is_function else ())}
    return changed(entry, lambda tree: with_powers(source, tree, reader, known))


def is_exponent(reader: Reader, node: Scripted, above: Node, quantities: Collection[str]) -> bool:
    """Whether a superscript is an exponent that is no plain number."""
    if signed(above)[0]:
        return True
    if exponent(above) is not None or reader.time(above) is not None or is_transposition(above) or isinstance(above, Mark):
        return False
    if isinstance(node.body, Number):
        return True
    if take_apart(node.body) is None:
        return is_formula_in_brackets(node.body) and not isinstance(strip(above), Letter)  # `(W x)^j` may be a component
    return reader.is_formula(above) or holds_time(reader, above) or is_declared(above, quantities)


def holds_time(reader: Reader, above: Node) -> bool:
    """Whether a quantity at a time stands in an exponent, also a component of one, `r_{t,i}`."""
    scripts = [script for one in walk(above) if isinstance(one, Scripted) for script in (*one.sub, *one.sup)]
    parts = [part for script in scripts for part in (script.parts if isinstance(script, Bracket) else (script,))]
    return any(reader.time(part) is not None for part in parts)


def signed(above: Node) -> tuple[str, Node]:
    """(the sign, the exponent) of `{\\odot 2}`."""
    inner = strip(above)
    if isinstance(inner, Chain) and isinstance(inner.items[0], Mark) and inner.items[0].name in SIGNS:
        return inner.items[0].name, inner.items[1]
    return "", above


def is_formula_in_brackets(node: Node) -> bool:
    return isinstance(node, Bracket) and take_apart(node) is None


def is_declared(above: Node, quantities: Collection[str]) -> bool:
    """Whether a superscript without brackets is one letter that a declaration makes a quantity."""
    inner = strip(above) if isinstance(above, Bracket) and above.opener == "{" else above
    inner = inner.body if isinstance(inner, Decorated) and inner.font else inner
    return isinstance(inner, Letter) and inner.name in quantities
