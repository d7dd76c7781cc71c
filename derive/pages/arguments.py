"""`J(\\theta)`, `J^{(t)}(\\theta)`: what a quantity is a function of, where the page says no more of it, is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from derive.pages.names import Entry
from derive.pages.primes import changed
from derive.pages.symbols import take_apart, walk
from derive.pages.tree import Bracket, Chain, Letter, Node, with_parts


def mere_arguments(entries: Sequence[Entry], times: Collection[str]) -> set[str]:
    """Letters that stand nowhere but alone in round brackets behind symbols, behind that of a left side among them."""
    sound = [entry for entry in entries if entry.problem is None]
    trees = [tree for entry in sound for tree in (*entry.targets, entry.right)]
    everywhere = Counter(node.name for tree in trees for node in walk(tree) if isinstance(node, Letter))
    arguments = Counter(name for tree in trees for name in arguments_in(tree))
    on_the_left = {name for entry in sound for target in entry.targets for name in arguments_in(target)}
    lefts = [{*arguments_in(target)} for entry in sound for target in entry.targets]
    may_be_times = set.intersection(*lefts) if lefts else set()  # `y(n) = V x(n)`: what every left side carries
    return {name for name in on_the_left if arguments[name] == everywhere[name]} - {*times} - may_be_times


def arguments_in(tree: Node) -> Iterator[str]:
    for node in walk(tree):
        if isinstance(node, Chain):
            for before, behind in zip(node.items, node.items[1:], strict=False):
                name = argument_of(before, behind)
                if name is not None:
                    yield name


def argument_of(before: Node, behind: Node) -> str | None:
    """The letter in round brackets behind a symbol that is no function."""
    is_symbol = take_apart(before) is not None and not (isinstance(before, Letter) and before.is_function)
    if not (is_symbol and isinstance(behind, Bracket) and behind.opener == "(" and len(behind.parts) == 1):
        return None
    inside = behind.parts[0]
    return inside.name if isinstance(inside, Letter) and not inside.is_function else None


def without_arguments(entries: Sequence[Entry], names: Collection[str]) -> list[Entry]:
    """The equations without these letters and their brackets."""
    return [entry if entry.problem is not None else changed(entry, lambda tree: without(tree, names)) for entry in entries]


def without(node: Node, names: Collection[str]) -> Node:
    node = with_parts(node, lambda part: without(part, names))
    if not isinstance(node, Chain):
        return node
    items = [item for at, item in enumerate(node.items) if at == 0 or argument_of(node.items[at - 1], item) not in names]
    return items[0] if len(items) == 1 else replace(node, items=tuple(items))
