"""A sum of very many terms as several statements, so that no line holds hundreds of terms and no call nests as deep as they are many."""

from __future__ import annotations

from functools import reduce

from derive.procedures.procedure import Add, Array, Assign, Call, Operand, Statement, View, shape
from derive.procedures.shaping import elementwise

MOST = 32
"""Terms of one statement."""


def assigned(targets: tuple[Array | View, ...], value: Operand) -> list[Statement]:
    """targets = value; of a long sum the first terms, to which the others are added some at a time."""
    signed = terms_of(value)
    first, *others = targets
    head = value
    for _ in range(len(signed) + 1 - MOST):
        assert isinstance(head, Call)
        head = head.arguments[0]
    if head is value or shape(head) != shape(value):
        return [Assign(targets, value)]
    rest = signed[MOST - 1 :]
    added = [Add(first, total(rest[at : at + MOST])) for at in range(0, len(rest), MOST)]
    return [Assign((first,), head), *added, *[Assign((other,), first) for other in others]]


def terms_of(value: Operand) -> list[tuple[str, Operand]]:
    """What is added to the first term of a sum, from the left, each with the operation that does it."""
    found: list[tuple[str, Operand]] = []
    while isinstance(value, Call) and value.operation in ("add", "subtract"):
        operation, (value, term) = value.operation, value.arguments
        found.append((operation, term))
    return found[::-1]


def total(signed: list[tuple[str, Operand]]) -> Operand:
    """The sum of terms by themselves."""
    (operation, first), *rest = signed
    start = elementwise("negative", first) if operation == "subtract" else first
    return reduce(lambda left, one: elementwise(one[0], left, one[1]), rest, start)
