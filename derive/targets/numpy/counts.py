"""Numbers of steps that something is divided by: 1 where there are none, so that a mean over no steps is 0."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.procedures.procedure import Call, Number, Operand, Position


def over_none(below: Operand) -> Operand:
    """What is divided by, made of numbers alone, as one that is 1 where there are no steps."""
    if isinstance(below, Number):
        return Number(at_least_one(below.value))
    if isinstance(below, Call) and all(isinstance(one, Number) for one in below.arguments):
        return replace(below, arguments=tuple(map(over_none, below.arguments)))
    return below


def at_least_one(below: sp.Expr) -> sp.Expr:
    """A number in which an axis of no steps counts as one, so that a mean over none is 0."""
    axes = [symbol for symbol in below.free_symbols if symbol.is_positive is None and not isinstance(symbol, Position)]
    return below.subs({symbol: AtLeastOne(symbol.name) for symbol in axes})


class AtLeastOne(sp.Symbol):  # type: ignore[misc]
    """How many steps there are, or 1."""
