"""Losses by their names: numbers, whatever they are made of."""

from __future__ import annotations

from derive.pages.core import Definition, refs
from derive.pages.kinds import Kinds

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
