"""Statements as lines of Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from derive.procedures.procedure import ALL, Add, Assign, Blocks, Call, Comment, Do, Entry, Loop, Operand, Statement, View
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.formulas import formula
from derive.targets.numpy.functions import CALLED
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
            start, call = into(printer, statement.call)
            return lines(call, indent, start)
        case Loop():
            return loop(statement, printer, indent)
        case Blocks():
            return blocks(statement, printer, indent)


def written(target: Operand, printer: Printer) -> str:
    """What stands on the left of an assignment."""
    return flat(printer(target))


def loop(statement: Loop, printer: Printer, indent: str) -> list[str]:
    """The invariant part, then `for t in range(T):`, or a loop over views that are there for every step."""
    head = walking(statement, printer, indent) if statement.walks or statement.along else counting(statement, printer, indent)
    reads = [Assign((array,), view) for array, view in statement.reads]
    inner = body([*reads, *statement.body], printer, indent + STEP)
    return [*body(statement.invariant, printer, indent), *head, *inner]


def counting(statement: Loop, printer: Printer, indent: str) -> list[str]:
    """`for t in range(T):`."""
    ends: list[Piece] = [Word(end.name) for end in (statement.start, statement.stop) if end is not None]
    steps: Piece = Bracket("range(", tuple(ends or [Word(printer.axis(statement.axis))]), ")")
    return [f"{indent}for {statement.index.name} in {flat(turned(steps, statement))}:"]


def walking(statement: Loop, printer: Printer, indent: str) -> list[str]:
    """`for x, (h_prev, h) in zip(x_all, m.steps):`."""
    names: list[Piece] = [Word(array.name) for array, _ in statement.along]
    sources = [printer(sequence) for _, sequence in statement.along]
    for walk, part in statement.walks:
        names.append(Bracket("(", tuple(Word(array.name) for array, _ in walk.views), ")"))
        views = Entry(printer.buffers, walk.name, (statement.axis,))
        sources.append(printer(views if part == ALL else View(views, (part,))))
    if len(names) > 1:
        taken: Piece = Bracket("zip(", tuple(turned(source, statement) for source in sources), ")")
        heads: Piece = Joined(tuple(piece for k, name in enumerate(names) for piece in ([Word(", ")] if k else []) + [name]))
    else:
        (heads,), (source,) = names, sources
        taken = turned(source, statement)
    return lines(Joined((heads, Word(" in "), taken)), indent, "for ", ":")


def turned(steps: Piece, statement: Loop) -> Piece:
    """Steps in the order of the loop."""
    return Bracket("reversed(", (steps,), ")") if statement.backwards else steps


def blocks(statement: Blocks, printer: Printer, indent: str) -> list[str]:
    """`for start in range(0, T, block):`, last piece first where the walk is backwards."""
    start, stop, count = statement.start.name, statement.stop.name, statement.count.name
    axis, size, inner = printer.axis(statement.axis), statement.size, indent + STEP
    if statement.backwards:
        head = [f"{indent}for {stop} in range({axis}, 0, -{size}):", f"{inner}{start} = max(0, {stop} - {size})"]
    else:
        head = [f"{indent}for {start} in range(0, {axis}, {size}):", f"{inner}{stop} = min({axis}, {start} + {size})"]
    before, printer.steps = printer.steps, count
    lines_inside = body(statement.body, printer, inner)
    printer.steps = before
    return [*head, f"{inner}{count} = {stop} - {start}", *lines_inside]


def mapping(entries: Iterable[tuple[str, Piece]]) -> Piece:
    """A dictionary of names."""
    items = tuple(Joined((Word(f'"{name}": '), value)) for name, value in entries)
    return Bracket("{", items, "}")


# ---- calls into memory

UFUNCS = frozenset({"add", "subtract", "multiply", "divide", "negative", "dot", "matmul"})
WITH_OUT = frozenset({"maximum", "minimum"})
"""Helpers of the kernel that take the memory of their result last, as NumPy's functions do."""


def into(printer: Printer, call: Call) -> tuple[str, Piece]:
    """(what stands in front, the rest) of a call that writes into its `out`: its last argument where NumPy has it so."""
    assert call.out is not None
    called = CALLED[call.option("function")] if call.operation == "function" else f"np.{call.operation}"
    if called.startswith("np.") and call.operation in {*UFUNCS, "function"}:
        name = called.removeprefix("np.")
        printer.calls.setdefault(name)
        return "", Bracket(f"{name}(", (*map(printer, call.arguments), printer(call.out)), ")")
    if call.operation in WITH_OUT:
        return "", printer.function(call.operation, *map(printer, (*call.arguments, call.out)))
    value = printer(call.arguments[0]) if call.operation == "copy" else printer(replace(call, out=None))
    whole = "" if isinstance(call.out, View) and call.out.index != () else "[...]"
    return f"{flat(printer(call.out))}{whole} = ", value
