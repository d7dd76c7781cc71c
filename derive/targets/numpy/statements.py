"""Statements as lines of Python."""

from __future__ import annotations

from collections.abc import Iterable

from derive.procedures.procedure import Add, Assign, Blocks, Comment, Do, Loop, Operand, Statement
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.formulas import formula
from derive.targets.numpy.layout import STEP, Bracket, Joined, Piece, Word, flat, lines


def body(statements: Iterable[Statement], printer: Printer, indent: str) -> list[str]:
    """The lines of statements, one after the other."""
    return [line for statement in statements for line in statement_lines(statement, printer, indent)]


def statement_lines(statement: Statement, printer: Printer, indent: str) -> list[str]:
    match statement:
        case Comment():
            return formula(statement.text, f"{indent}# ")
        case Assign():
            targets = "".join(f"{written(target, printer)} = " for target in statement.targets)
            return lines(printer(statement.value), indent, targets)
        case Add():
            return lines(printer(statement.value), indent, f"{written(statement.target, printer)} += ")
        case Do():
            return lines(printer(statement.call), indent)
        case Loop():
            return loop(statement, printer, indent)
        case Blocks():
            return blocks(statement, printer, indent)


def written(target: Operand, printer: Printer) -> str:
    """What stands on the left of an assignment."""
    return flat(printer(target))


def loop(statement: Loop, printer: Printer, indent: str) -> list[str]:
    """The invariant part, then `for t in range(T):`."""
    ends: list[Piece] = [Word(end.name) for end in (statement.start, statement.stop) if end is not None]
    steps: Piece = Bracket("range(", tuple(ends or [Word(printer.axis(statement.axis))]), ")")
    steps = Bracket("reversed(", (steps,), ")") if statement.backwards else steps
    reads = [Assign((array,), view) for array, view in statement.reads]
    return [
        *body(statement.invariant, printer, indent),
        f"{indent}for {statement.index.name} in {flat(steps)}:",
        *body([*reads, *statement.body], printer, indent + STEP),
    ]


def blocks(statement: Blocks, printer: Printer, indent: str) -> list[str]:
    """`for start in range(0, T, block):`, last piece first where the walk is backwards."""
    start, stop, count = statement.start.name, statement.stop.name, statement.count.name
    axis, size, inner = printer.axis(statement.axis), statement.size, indent + STEP
    if statement.backwards:
        head = [f"{indent}for {stop} in range({axis}, 0, -{size}):", f"{inner}{start} = max(0, {stop} - {size})"]
    else:
        head = [f"{indent}for {start} in range(0, {axis}, {size}):", f"{inner}{stop} = min({axis}, {start} + {size})"]
    return [*head, f"{inner}{count} = {stop} - {start}", *body(statement.body, printer, inner)]


def mapping(entries: Iterable[tuple[str, Piece]]) -> Piece:
    """A dictionary of names."""
    items = tuple(Joined((Word(f'"{name}": '), value)) for name, value in entries)
    return Bracket("{", items, "}")
