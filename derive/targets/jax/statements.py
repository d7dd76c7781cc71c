"""Statements as lines of JAX: a loop is a function of one step and a scan, what is written to is an array of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from derive.procedures.procedure import Add, Array, Assign, Operand, Statement, View
from derive.procedures.scans import Join, Scan
from derive.targets.jax.expressions import Printer
from derive.targets.numpy.layout import STEP, WIDTH, Bracket, Piece, Word, flat, lines
from derive.targets.numpy.statements import statement_lines

STEPPING, CARRY, NOW, MADE = "one_step", "carry", "now", "made"
"""The function of one step; what the step before hands to it, what it reads, what it makes."""


def body(statements: Iterable[Statement | Scan | Join], printer: Printer, indent: str) -> list[str]:
    """The lines of statements, one after the other."""
    return [line for statement in statements for line in lines_of(statement, printer, indent)]


def lines_of(statement: Statement | Scan | Join, printer: Printer, indent: str) -> list[str]:
    match statement:
        case Scan():
            return scan(statement, printer, indent)
        case Join():
            return joined(statement, printer, indent)
        case Assign(targets=(View() as view,)):
            return updated(view, "set", statement.value, printer, indent)
        case Add(target=View() as view):
            return updated(view, "add", statement.value, printer, indent)
        case Assign(targets=(Array(name=name),), value=Array(name=other)) if name == other:
            return []
    return statement_lines(statement, printer, indent)


def updated(view: View, how: str, value: Operand, printer: Printer, indent: str) -> list[str]:
    """`a = a.at[1:].set(value)`."""
    name = flat(printer(view.of))
    return lines(Bracket(f"{name}.at[{printer.index(view)}].{how}(", (printer(value),), ")"), indent, f"{name} = ")


def joined(statement: Join, printer: Printer, indent: str) -> list[str]:
    """`h_all = starting_with(state["h"], h_all)`."""
    name = value = printer(statement.sequence)
    if statement.first is not None:
        value = printer.function("starting_with", printer(statement.first), value)
    if statement.last is not None:
        value = printer.function("ending_with", value, printer(statement.last))
    return lines(value, indent, f"{flat(name)} = ")


def scan(statement: Scan, printer: Printer, indent: str) -> list[str]:
    """`def one_step(carry, now): ...` and `carry, made = jax.lax.scan(one_step, carry, sequences)`."""
    inner = indent + STEP
    before = [Word(one.before.name) for one in statement.carried]
    now = [Word(array.name) for array, _ in statement.read]
    after = [Word(one.after.name) for one in statement.carried]
    made = [Word(local.name) for local, _ in statement.made]
    return [
        "",
        f"{indent}def {STEPPING}({argument(before, CARRY)}, {argument(now, NOW)}):",
        *unpacked(before, CARRY, inner),
        *unpacked(now, NOW, inner),
        *body(statement.body, printer, inner),
        *pair(together(after), together(made), inner, "return "),
        "",
        *call(statement, printer, indent),
    ]


def call(statement: Scan, printer: Printer, indent: str) -> list[str]:
    """`h, (i_all, f_all) = jax.lax.scan(one_step, state["h"], x_all)`."""
    arguments: list[Piece] = [Word(STEPPING), together([printer(one.start) for one in statement.carried])]
    arguments.append(together([printer(sequence) for _, sequence in statement.read]))
    if not statement.read:
        arguments.append(Word(f"length={printer.axis(statement.axis)}"))
    if statement.backwards:
        arguments.append(Word("reverse=True"))
    scanning = Bracket("jax.lax.scan(", tuple(arguments), ")")
    is_read = any(one.is_read for one in statement.carried)
    last = [Word(one.after.name if one.is_read else "_") for one in statement.carried] if is_read else [Word("_")]
    made = [Word(array.name) for _, array in statement.made] or [Word("_")]
    found: list[str] = []
    targets: list[str] = []
    for names, several in ((last, CARRY), (made, MADE)):
        is_long = len(flat(together(names))) > WIDTH // 3
        targets.append(several if is_long else flat(together(names)))
        found += unpacked(names, several, indent) if is_long else []
    return [*lines(scanning, indent, f"{', '.join(targets)} = "), *found]


def together(pieces: Sequence[Piece]) -> Piece:
    """None, one alone, or several as a tuple."""
    if len(pieces) < 2:
        return pieces[0] if pieces else Word("None")
    return Bracket("(", tuple(pieces), ")")


def pair(first: Piece, second: Piece, indent: str, start: str) -> list[str]:
    """`return h, (i, f)`."""
    line = f"{indent}{start}{flat(first)}, {flat(second)}"
    return [line] if len(line) <= WIDTH else lines(Bracket("(", (first, second), ")"), indent, start)


def argument(names: Sequence[Word], several: str) -> str:
    """One name as it is, several under one, `_` where there is none."""
    return several if len(names) > 1 else names[0].text if names else "_"


def unpacked(names: Sequence[Word], several: str, indent: str) -> list[str]:
    """`h_prev, c_prev = carry`."""
    if len(names) < 2:
        return []
    line = f"{indent}{', '.join(map(flat, names))} = {several}"
    return [line] if len(line) <= WIDTH else lines(Bracket("(", tuple(names), ")"), indent, "", f" = {several}")
