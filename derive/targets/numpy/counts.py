"""Numbers of steps that something is divided by: 1/T and 1/(T-1) with as many steps as they need, so that a mean over none is 0."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.procedures.procedure import Call, Number, Operand, Position


def over_none(below: Operand) -> Operand:
    """What is divided by, made of numbers alone, as one that is never 0, however few steps there are."""
    if isinstance(below, Number):
        return Number(enough(below.value))
    if isinstance(below, Call) and all(isinstance(one, Number) for one in below.arguments):
        return replace(below, arguments=tuple(map(over_none, below.arguments)))
    return below


def enough(below: sp.Expr) -> sp.Expr:
    """A number in which an axis counts as one step at least, or as more where 1 makes it 0, as 2 in T - 1."""
    axes = [symbol for symbol in below.free_symbols if symbol.is_positive is None and not isinstance(symbol, Position)]
    least = next((n for n in range(1, MOST) if below.subs(dict.fromkeys(axes, n)) != 0), 1)
    return below.subs({symbol: AtLeast(symbol.name, least) for symbol in axes})


MOST = 66
"""More steps than a page can leave out of a mean."""


class AtLeast(sp.Symbol):  # type: ignore[misc]
    """How many steps there are, `least` where there are fewer."""

    least: int

    def __new__(cls, name: str, least: int) -> AtLeast:
        self: AtLeast = super().__new__(cls, f"{name} at least {least}")
        self.axis, self.least = name, least
        return self
