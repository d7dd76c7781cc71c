"""The tables of rules, how a rule gets into them, and the identities that reasons name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sympy import MatrixExpr as Matrix

from derive.expressions import matrix_parts
from derive.language import Plus, coefficient

Rule = Callable[..., Any]

VJP: dict[type, Rule] = {}
JVP: dict[type, Rule] = {}


class Scaled:
    """k a: a number in front, whatever it stands in front of."""


class Negated:
    """-a: what makes a difference of a sum."""


QUIET = (Plus, Negated)
"""Operations that hand on what they get but for its sign: a reason names them only where nothing else was at work."""


def operation(node: Matrix) -> tuple[type, list[Matrix]]:
    """(what the rules of a node are found by, its operands): a number in front is an operation of its own."""
    number, rest = coefficient(node)
    if number == 1:
        return type(node), matrix_parts(node)
    return Negated if number == -1 else Scaled, [rest]


def told(table: dict[type, Rule], way: Sequence[type]) -> list[str]:
    """The identities that a reason names, the innermost first, for the operations on the way into an equation."""
    loud = [kind for kind in way if kind not in QUIET] or way[-1:]
    return [identity_of(table[kind]) for kind in reversed(loud)]


def vjp(node: type) -> Callable[[Rule], Rule]:
    """Register the decorated function as the VJP rule of an operation."""
    return lambda rule: VJP.setdefault(node, rule)


def jvp(node: type) -> Callable[[Rule], Rule]:
    """Register the decorated function as the JVP rule of an operation."""
    return lambda rule: JVP.setdefault(node, rule)


def identity_of(rule: Rule) -> str:
    """The first line of a rule's docstring: the identity that it states."""
    return (rule.__doc__ or rule.__name__).splitlines()[0].rstrip(".")


def present(tangents: Sequence[Matrix | None]) -> list[Matrix]:
    return [tangent for tangent in tangents if tangent is not None]
