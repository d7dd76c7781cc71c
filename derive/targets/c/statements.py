"""Questions about the statements of a procedure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from derive.procedures.procedure import Array, Assign, Call, Entry, Loop, Operand, Statement, View

PRODUCTS = frozenset({"matmul", "contract"})
BOUND = frozenset({"transpose", "reshape", "move", "reversed", "broadcast"})
"""Calls that are products, and calls that are views."""


def summands(value: Operand) -> tuple[list[Call], Operand | None]:
    """(the products among the terms of a sum, the sum of the others)."""
    if isinstance(value, Call) and value.operation in PRODUCTS:
        return [value], None
    if not isinstance(value, Call) or value.operation not in ("add", "subtract"):
        return [], value
    left, right = value.arguments
    products, rest = summands(left)
    if value.operation == "add" and isinstance(right, Call) and right.operation in PRODUCTS and shape(right) == shape(value):
        if any(shape(one) != shape(value) for one in products):
            return [], value
        return [*products, right], rest
    if any(shape(one) != shape(value) for one in products):
        return [], value
    if rest is None:
        other = right if value.operation == "add" else Call("negative", (right,), right.axes, right.dims)
        return products, other
    return products, replace(value, arguments=(rest, right))


def shape(operand: Operand) -> tuple[object, object]:
    return operand.axes, operand.dims


def is_joined(value: Operand) -> bool:
    """Whether a value is vectors, or numbers of each step, put behind each other."""
    return isinstance(value, Call) and value.operation == "concatenate" and value.option("along") == -1 and len(value.dims) == 1


def is_made(block: Sequence[Statement], name: str) -> bool:
    """Whether an array is made by one assignment to it alone, that isn't a view or memory without a value."""
    for one in block:
        if isinstance(one, Assign) and any(target.name == name for target in names_of(one)):
            is_view = isinstance(one.value, View | Array | Entry) or (
                isinstance(one.value, Call) and one.value.operation in BOUND
            )
            return (
                len(one.targets) == 1 and not is_view and not (isinstance(one.value, Call) and one.value.operation in ("empty",))
            )
    return False


def names_of(statement: Assign) -> list[Array]:
    return [one for one in statement.targets if isinstance(one, Array)]


def name_of(target: Operand) -> str:
    while isinstance(target, View):
        target = target.of
    assert isinstance(target, Array | Entry)
    return target.name


def assignments(statements: Sequence[Statement]) -> Iterator[tuple[str, Statement]]:
    """(the name of an array, the statement that binds it)."""
    for one in statements:
        match one:
            case Assign():
                yield from ((array.name, one) for array in names_of(one))
            case Loop():
                yield from ((array.name, one) for array, _ in one.reads)
                yield from assignments(one.body)


def blocks_of(statements: Sequence[Statement]) -> Iterator[Sequence[Statement]]:
    """The statements, and those of each loop."""
    yield statements
    for one in statements:
        if isinstance(one, Loop):
            yield from blocks_of(one.body)
