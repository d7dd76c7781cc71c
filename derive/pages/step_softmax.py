"""A softmax over steps as papers write it out: `\\frac{\\exp(e_{t,s})}{\\sum_{k=1}^{S} \\exp(e_{t,k})}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from derive.pages.symbols import spelled, strip
from derive.pages.tree import Bracket, Chain, Letter, Node, OverSteps, Ratio, Reduced, Scripted, with_parts


def with_softmax(node: Node, axes: Mapping[str, str]) -> Node:
    """The formula with such quotients as one node. axes: the letters of time, each with its axis."""
    found = softmax_of(node, {letter: letter.upper() for letter in axes}) if isinstance(node, Ratio) else None
    if found is not None:
        return OverSteps("softmax", found[0], axes[found[1]], node.span)
    return with_parts(node, lambda part: with_softmax(part, axes))


def softmax_of(node: Ratio, capitals: Mapping[str, str]) -> tuple[Node, str] | None:
    """(what the exponential is taken of, the letter of the steps) where below stands its sum over all of them; None for anything else.

    capitals: the letters of time, each with its capital.
    """
    below = strip(node.below) if isinstance(node.below, Bracket) else node.below
    above = exponent_of(node.above)
    if above is None or not isinstance(below, Reduced) or below.name != "sum" or below.without:
        return None
    inside, bound = exponent_of(below.body), below.indices[0]
    if inside is None:
        return None
    for letter, capital in capitals.items():
        if bound in capitals and letter != bound:
            continue  # `\sum_s` is over the steps of s, whatever else the exponent varies along
        is_whole = below.above is None or spelled(strip(below.above)) == capital
        if is_whole and bare(above, {letter: bound}) == bare(inside, {letter: bound}) and letter in names_in(above):
            return above, letter
    return None


def exponent_of(node: Node) -> Node | None:
    """The x of `\\exp(x)` and of `e^{x}`."""
    node = strip(node) if isinstance(node, Bracket) and node.opener == "{" else node
    if isinstance(node, Chain) and len(node.items) == 2 and isinstance(node.items[0], Letter) and node.items[0].name == "exp":
        return node.items[1]
    is_power = isinstance(node, Scripted) and isinstance(node.body, Letter) and node.body.name == "e" and not node.sub
    return node.sup[0] if isinstance(node, Scripted) and is_power and len(node.sup) == 1 else None


def bare(node: Any, renamed: Mapping[str, str]) -> Any:
    """A formula without the places where it stands and the braces around one part, some letters under other names."""
    if isinstance(node, Bracket) and node.opener == "{" and len(node.parts) == 1:
        return bare(node.parts[0], renamed)
    if isinstance(node, Letter):
        return "Letter", renamed.get(node.name, node.name), node.glyph
    if isinstance(node, tuple):
        return tuple(bare(one, renamed) for one in node)
    if is_dataclass(node):
        return type(node).__name__, *[bare(getattr(node, one.name), renamed) for one in fields(node) if one.name != "span"]
    return node


def names_in(node: Any) -> set[str]:
    if isinstance(node, Letter):
        return {node.name}
    if isinstance(node, tuple):
        return {name for one in node for name in names_in(one)}
    return {name for one in fields(node) for name in names_in(getattr(node, one.name))} if is_dataclass(node) else set()
