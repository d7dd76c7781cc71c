"""Procedures in which each loop has names of its own: the textbook uses a name again in each loop, for the same quantity at one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from derive.procedures.procedure import Add, Array, Assign, Call, Loop, Operand, Procedure, Statement, View

Fresh = Callable[[str], str]


def with_own_names(procedure: Procedure, fresh: Fresh) -> Procedure:
    """The procedure with other names for what several loops bind and nothing outside of them does. fresh: makes a name of one."""
    seen: set[str] = set()

    def renamed(statements: Sequence[Statement], outside: set[str]) -> tuple[Statement, ...]:
        own = outside | set(bound(statements))
        out: list[Statement] = []
        for statement in statements:
            if isinstance(statement, Loop):
                inside = {array.name for array, _ in statement.reads} | set(bound(statement.body))
                again = {name: fresh(name) for name in sorted(inside & seen - own)}
                seen.update(inside)
                loop = in_statement(statement, again)
                assert isinstance(loop, Loop)
                statement = replace(loop, body=renamed(loop.body, own | {array.name for array, _ in loop.reads}))
            out.append(statement)
        return tuple(out)

    return replace(procedure, statements=renamed(procedure.statements, set()))


def bound(statements: Sequence[Statement]) -> Iterator[str]:
    """The names that statements bind, without those in loops."""
    for one in statements:
        if isinstance(one, Assign):
            yield from (target.name for target in one.targets if isinstance(target, Array))


def in_statement(statement: Statement, names: dict[str, str]) -> Statement:
    """A statement with other names for arrays."""
    match statement:
        case Assign():
            targets = tuple(in_operand(one, names) for one in statement.targets)
            return Assign(targets, in_operand(statement.value, names))  # type: ignore[arg-type]
        case Add():
            return Add(in_operand(statement.target, names), in_operand(statement.value, names))  # type: ignore[arg-type]
        case Loop():
            reads = tuple((in_operand(array, names), in_operand(view, names)) for array, view in statement.reads)
            return replace(statement, reads=reads, body=tuple(in_statement(one, names) for one in statement.body))  # type: ignore[arg-type]
    return statement


def in_operand(operand: Operand, names: dict[str, str]) -> Operand:
    match operand:
        case Array():
            return replace(operand, name=names.get(operand.name, operand.name))
        case View():
            return replace(operand, of=in_operand(operand.of, names))
        case Call():
            return replace(operand, arguments=tuple(in_operand(one, names) for one in operand.arguments))
    return operand
