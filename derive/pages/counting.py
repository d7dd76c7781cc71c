"""What an index, a limit or a factor says of the number of steps, and formulas with another letter in their indices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from derive.pages.errors import Source
from derive.pages.symbols import exponent, spelled, strip, walk
from derive.pages.tree import Bracket, Chain, Decorated, Letter, Node, Number, Ratio, Reduced, Scripted, Signed, with_parts


def divisors(node: Node) -> Iterator[Node]:
    """What a node divides by."""
    if isinstance(node, Ratio):
        yield node.below
    if isinstance(node, Signed):
        yield from (part for sign, part in zip(node.signs, node.parts[1:], strict=True) if sign == "divide")


def factors(node: Node) -> Iterator[str | None]:
    """The letters of a product, the T of `2 T`."""
    node = strip(node)
    yield from (spelled(strip(item)) for item in (node.items if isinstance(node, Chain) else (node,)))


def is_divided(node: Node, capital: str) -> bool:
    """Whether a factor is 1/T, perhaps in a product or a power, or `T^{-1}`."""
    for one in walk(node):
        if any(isinstance(part, Letter) and part.name == capital for below in divisors(one) for part in walk(below)):
            return True
        if isinstance(one, Scripted) and isinstance(one.body, Letter) and one.body.name == capital and not one.sub:
            return any(exponent(above) is not None for above in one.sup)
    return False


def is_shared_out(node: Node, capital: str) -> bool:
    """Whether a formula as a whole is divided by T: `a_t / T`, `\\frac{a_t}{2 T}`, `\\frac{1}{T} a_t`; not `\\exp(a_t / T)`."""
    if any(capital in factors(below) for below in divisors(node)):
        return True
    match node:
        case Ratio():
            return is_shared_out(node.above, capital)
        case Signed():
            return any(is_shared_out(part, capital) for part in node.parts if not any(part is one for one in divisors(node)))
        case Bracket(parts=(inside,), opener="{" | "(" | "["):
            return is_shared_out(inside, capital)
        case Scripted(body=Letter() as body):
            return body.name == capital and not node.sub and any((exponent(above) or 0) < 0 for above in node.sup)
        case Reduced(name="sum"):
            return is_shared_out(node.body, capital)
        case Chain():
            behind = [isinstance(item, Letter) and item.is_function for item in node.items]
            return any(is_shared_out(item, capital) for item, of in zip(node.items, [False, *behind], strict=False) if not of)
    return False


def refuse_partial(source: Source, node: Reduced, capital: str) -> None:
    """Raises PageError on a sum over some of the steps."""
    if node.above is not None and spelled(strip(node.above)) != capital:
        written = source.written((node.span[0], node.body.span[0]))
        what = f"`{written}` runs over some of the steps: expected all of them, up to {capital}."
        todo = (
            "A sum up to this step is a state, `s_t = s_{t-1} + ...`; `<!-- derive: skip -->` in front of a loss passes it over."
        )
        raise source.error(node.span, what, todo)


def is_number(node: Node, value: int) -> bool:
    return isinstance(node, Number) and node.value == value


def strip_all(node: Node) -> Node:
    """What decorations and scripts stand around."""
    while isinstance(node, (Decorated, Scripted)) or (isinstance(node, Bracket) and node.opener == "{" and len(node.parts) == 1):
        node = node.parts[0] if isinstance(node, Bracket) else node.body
    return node


def with_letter(node: Node, old: str, new: str) -> Node:
    """The formula with another letter in its indices."""
    if isinstance(node, Scripted):
        below, above = (tuple(with_name(script, old, new) for script in side) for side in (node.sub, node.sup))
        return Scripted(with_letter(node.body, old, new), below, above, node.span)
    return with_parts(node, lambda part: with_letter(part, old, new))


def with_name(script: Node, old: str, new: str) -> Node:
    if isinstance(script, Letter):
        return replace(script, name=new) if script.name == old else script
    return with_parts(script, lambda part: with_name(part, old, new))
