"""Losses by their names: numbers, whatever they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from derive.pages.core import Add, Call, Core, Definition, Elementwise, Power, Product, Ref, Turned, every, parts_of, refs
from derive.pages.kinds import Kinds, is_small
from derive.pages.names import Names
from derive.pages.relations import NUMBER, VECTOR

LOSSES = ("J", "L", "Loss", "loss")
"""What a loss is called; behind it an index may stand, `J_t` beside `J`."""


def is_loss(definition: Definition) -> bool:
    """Whether a definition is that of a loss, by its name."""
    return any(definition.name == name or definition.name.startswith(f"{name}_") for name in LOSSES)


def of_losses(kinds: Kinds) -> set[str]:
    """The inputs that losses alone read; what could be a parameter is no such, so that a page is asked about it."""
    elsewhere = {ref.name for one in kinds.definitions if not is_loss(one) for ref in refs(one.body)}
    read = {ref.name for one in kinds.definitions if is_loss(one) for ref in refs(one.body)}
    return {name for name in read - elsewhere - kinds.defined if not kinds.is_parameter(name)}


DISTANCES = ("norm", "squarednorm", "abs")


def refuse_targets(names: Names, definitions: Sequence[Definition], kinds: Kinds) -> None:
    """`L = \\|h_T - y\\|^2`, `L = -y^\\top \\log p`: raises PageError where what a value of the model is held against, and nothing else
    reads, carries no step: given with each example, or a parameter."""
    values = {one.name for one in definitions}
    for one in definitions:
        if names.is_timed(one.name):
            continue
        elsewhere = {ref.name for other in definitions if other is not one for ref in refs(other.body)}
        for ref, place in held_against(one, values):
            if names.is_free(ref.name) and ref.name not in elsewhere and kinds.kind(ref) in (NUMBER, VECTOR):
                written, name, kind = names.source.written(ref.span), ref.name.rstrip("_"), kinds.kind(ref)
                what = f"`{written}` in `{names.source.written(place.span)[:80]}` can be read in two ways: expected to know whether it is "
                what += "given with each example, or a parameter, one for all."
                todo = f'Say --let "{name}=example {kind}" for an input, one an example, --let "{name}={kind}" for a parameter.'
                raise names.source.error(ref.span, what, todo)


def notes_on_targets(names: Names, definitions: Sequence[Definition]) -> Iterator[str]:
    """What only a loss reads is a parameter, and could have been meant as given with each example."""
    for one in definitions:
        elsewhere = {ref.name for other in definitions if other is not one for ref in refs(other.body)}
        for name in dict.fromkeys(ref.name for ref in refs(one.body)) if is_loss(one) and not names.is_timed(one.name) else ():
            if names.is_free(name) and is_small(name) and name not in elsewhere:
                yield f"{name} stands in {one.name} alone: read as a parameter; a declaration makes it given, a number or one an example"


def held_against(definition: Definition, values: set[str]) -> Iterator[tuple[Ref, Core]]:
    """(a symbol, the difference or the product with a logarithm in which a value stands beside it)."""
    distances = {id(part) for node in every(definition.body) if is_distance(node) for part in parts_of(node)}
    for node in every(definition.body):
        beside = {ref.name for ref in refs(node)} & values
        if isinstance(node, Add) and -1 in node.factors and 1 in node.factors and (is_loss(definition) or id(node) in distances):
            yield from ((term, node) for term in node.terms if isinstance(term, Ref) and beside)
        logarithms = any(isinstance(part, Call) and part.function == "log" for part in parts_of(node))
        if isinstance(node, Product | Elementwise) and logarithms and beside:
            factors = (part.body if isinstance(part, Turned) else part for part in parts_of(node))
            yield from ((part, node) for part in factors if isinstance(part, Ref))


def is_distance(node: Core) -> bool:
    return isinstance(node, Power) or (isinstance(node, Call) and node.function in DISTANCES)
