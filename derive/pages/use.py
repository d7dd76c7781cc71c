"""One use of a cell by its name: its arguments told apart, and the cell's equations with the names of this use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from derive.cell import Cell
from derive.pages.alphabet import function_name
from derive.pages.declarations import Declared
from derive.pages.errors import PageError, Source, Span
from derive.pages.names import Entry
from derive.pages.one_cell import functions_of
from derive.pages.symbols import Occurrence, Reader, children, exponent, is_transposition, offset, spelled, strip, take_apart
from derive.pages.timing import with_call_indices
from derive.pages.tree import Bracket, Letter, Node, Number, Scripted, Sum, with_parts
from derive.shapes import rank

KIND = ("number", "vector", "matrix")
"""What is declared of a value by its rank."""


@dataclass(frozen=True)
class Template:
    """A cell to be put in place of its name.

    entries: its equations as trees; reader: of their symbols; cell: with the roles of these; known: what is declared of it; title: how it
    is called in messages; built_in: its states come in the order in which they are usually written.
    """

    title: str
    entries: list[Entry]
    reader: Reader
    cell: Cell
    known: Declared
    built_in: bool


@dataclass(frozen=True)
class Call:
    """A name in front of its arguments, alone on the right side of an equation."""

    entry: Entry
    name: str
    head: Node
    arguments: tuple[Node, ...]
    marks: tuple[Node, ...] = field(default=(), compare=False)

    @property
    def key(self) -> tuple[str, ...]:
        """The name with its marks: uses that have the same are asked about."""
        return (self.name, *[spelled(strip(mark)) or "" for mark in self.marks])


@dataclass(frozen=True)
class Taken:
    """The names of a page's symbols, each with a place; the equation, by its id, that defines one."""

    names: dict[str, Span]
    defined: dict[str, int]


def names_in(reader: Reader, entry: Entry) -> Iterator[tuple[str, Span]]:
    """The names of an equation's symbols, with their places."""
    for tree in (*entry.targets, with_call_indices(entry.right, reader.letter)):
        yield from named(reader, tree)


def named(reader: Reader, node: Node) -> Iterator[tuple[str, Span]]:
    one = reader.read(node)
    if one is not None:
        yield one.symbol.name, node.span
        return
    for child in children(node):
        yield from named(reader, child)


class Use:
    """One use of a cell: its arguments and what it defines told apart, its equations with the names of this use.

    page: the names that the page has, which this use must not bring. new: those that it brings -> the cell's own.
    """

    def __init__(self, source: Source, call: Call, template: Template, reader: Reader, known: Declared, page: Taken) -> None:
        self.source, self.call, self.template, self.reader, self.known, self.page = source, call, template, reader, known, page
        self.new: dict[str, str] = {}
        self.internal = {str(value.name) for value in template.cell.targets}
        self.macros = set(functions_of([entry for entry in template.entries if entry.is_function])[0])
        self.time = self.time_of_targets()
        self.arguments = [with_call_indices(node, reader.letter) for node in call.arguments]
        self.targets = self.matched_targets()
        self.before: dict[str, Node] = {}
        self.way = self.way_of_steps()
        self.inputs = self.matched_inputs()

    def error(self, node: Node, what: str, todo: str) -> PageError:
        return self.source.error(node.span, what, todo)

    @property
    def written(self) -> str:
        return self.source.written(self.call.head.span)

    def time_of_targets(self) -> int:
        """The step at which the use defines its states."""
        found = {one.time if (one := self.reader.read(target)) else None for target in self.call.entry.targets}
        time = next(iter(found))
        if len(found) > 1 or time is None or self.reader.letter is None or self.template.reader.letter is None:
            what = f"`{self.written}` is a cell, and what it defines stands at no step: expected symbols with an index of time."
            raise self.source.error(self.call.entry.span, what, "Write `h_t = ...(x_t, h_{t-1})`.")
        return time

    def way_of_steps(self) -> int:
        """-1 where the state comes from the step before, 1 where it comes from the step after. Raises PageError where an arrow points to
        the left and no state says so."""
        own = {one.symbol for target in self.call.entry.targets if (one := self.reader.read(target))}
        found = {one.time for node in self.arguments if (one := self.reader.read(node)) and one.symbol in own}
        if self.time + 1 in found:
            return 1
        if self.time - 1 not in found and any("left" in symbol.decorations for symbol in own):
            what = f"`{self.written}` may run from the last step to the first: expected the state that it reads, got none."
            raise self.source.error(self.call.entry.span, what, "Write the state among its arguments, at t-1 or at t+1.")
        return -1

    # ---- which symbol of the page is which of the cell

    def matched_targets(self) -> dict[str, Node]:
        """What the use defines: the name in the cell -> the symbol on the page. By its letter; else by its place, where it can be told."""
        cell = self.template.cell
        timed = [str(value.name) for value in cell.targets if value.timed]
        states = [str(value.name) for value in cell.states]
        found: dict[str, Node] = {}
        others: list[Node] = []
        for target in self.call.entry.targets:
            parts = take_apart(target)
            name = parts.letter.name if parts else ""
            if name in timed and name not in found:
                found[name] = target
            else:
                others.append(target)
        left = [name for name in states if name not in found]
        if others and (len(others) == len(left) == 1 or (self.template.built_in and len(others) <= len(left) and not found)):
            found |= dict(zip(left, others, strict=False))
        elif others:
            written = self.source.written(others[0].span)
            what = f"`{written}` is one of the quantities {', '.join(left or timed)} of {self.template.title}: expected to know which."
            raise self.error(
                others[0], what, f"Call it like the cell does, or name them all: `({', '.join(states)})` with the index of time."
            )
        return found

    def matched_inputs(self) -> dict[str, Node]:
        """The inputs: the name in the cell -> the argument. What holds a state is told by its symbol, and goes to `before`."""
        cell = self.template.cell
        states = [str(value.name) for value in cell.states]
        rest: list[Node] = []
        for argument in self.arguments:
            name = self.state_in(argument, states)
            if name is not None and name not in self.before:
                self.before[name] = argument
            else:
                rest.append(argument)
        inputs = [str(value.name) for value in cell.inputs]
        named = {parts.letter.name: node for node in rest if (parts := take_apart(node)) and parts.letter.name in inputs}
        if len(rest) == len(inputs) and (len(inputs) == 1 or len(named) == len(inputs)):
            return named if len(inputs) > 1 else {inputs[0]: rest[0]}
        got = ", ".join(f"`{self.source.written(node.span)}`" for node in rest) or "nothing"
        what = f"`{self.written}` reads {', '.join(inputs)} and carries {', '.join(states) or 'nothing'}: "
        what += f"expected {'one input' if len(inputs) == 1 else 'these inputs by these names'}, got {got}."
        todo = "A state is what the equation defines, all at the step before, or after; several vectors as one input are written [a; b]."
        raise self.source.error(self.call.entry.span, what, todo)

    def state_in(self, argument: Node, states: Sequence[str]) -> str | None:
        """The state of the cell that an argument holds: what the use defines, one step before, or one that it carries by that letter and
        that nothing else on the page defines."""
        one = self.reader.read(argument)
        if one is None or one.time != self.time + self.way or one.power is not None or one.transposed:
            return None
        for name, target in self.targets.items():
            other = self.reader.read(target)
            if name in states and other is not None and other.symbol == one.symbol:
                return name
        free = one.symbol.base in states and one.symbol.base not in self.targets
        return one.symbol.base if free and one.symbol.name not in self.page.defined else None

    # ---- its equations

    def entries(self) -> list[Entry]:
        """The cell's equations with the names of this use. Raises PageError where one of them is on the page already."""
        made = []
        for entry in self.template.entries:
            if entry.is_function:
                made.append(entry)
                continue
            targets = tuple(self.put(target) for target in entry.targets)
            made.append(replace(entry, line=self.call.entry.line, targets=targets, right=self.put(entry.right)))
        self.refuse_components()
        self.refuse_collisions()
        return made

    def put(self, node: Node) -> Node:
        """A formula of the cell as one of the page."""
        if isinstance(node, Letter) and node.is_function:
            return node
        one = self.template.reader.read(node)
        if one is None:
            if isinstance(node, Scripted):
                return replace(node, body=self.put(node.body))
            return with_parts(node, self.put)
        if self.is_shared(one):
            return node
        name = one.symbol.name
        self.refuse_other_steps(one, name)
        if name in self.inputs:
            return self.placed(self.inputs[name], node)
        if name in self.states:
            return self.placed(self.state(name, one.time or 0), node)
        return self.own(node, name, self.marks_of_values if one.time is not None or name in self.internal else self.call.marks)

    @property
    def states(self) -> set[str]:
        return {*self.targets, *self.before, *[str(value.name) for value in self.template.cell.states]}

    @property
    def marks_of_values(self) -> tuple[Node, ...]:
        """The marks of what the use computes: those of its name; where uses share that, those of what it defines."""
        if self.call.name not in self.known.shared:
            return self.call.marks
        name, target = next(iter(self.targets.items()))
        parts = take_apart(target)
        assert parts is not None
        own = [] if parts.letter.name == name else [Letter(parts.letter.name, target.span)]
        words = [*own, *[Letter(word, target.span) for word in parts.decorations]]
        scripts = [strip(one) for one in (*parts.subs, *parts.sups) if self.reader.time(one) is None]
        return tuple(Bracket("(", (mark,), target.span) for mark in (*words, *scripts))

    def is_shared(self, one: Occurrence) -> bool:
        """Whether a symbol of the cell means the same in every use: a function, or a given number."""
        symbol, known = one.symbol, self.template.known
        plain = not (symbol.decorations or symbol.subs or symbol.sups)
        function = (
            symbol.name in known.functions or symbol.name in self.macros or (plain and function_name(symbol.base) is not None)
        )
        given = symbol.name in known.numbers or known.kinds.get(symbol.name) == "identity"
        return one.time is None and symbol.name not in self.internal and (function or given)

    def state(self, name: str, time: int) -> Node:
        """A state at this step or at the one before, as the page calls it; one that it doesn't name as the cell does."""
        target, before = self.targets.get(name), self.before.get(name)
        if time == 0:
            if target is not None:
                return target
            if before is not None:
                return moved(before, self.reader.letter, -self.way)
        elif before is not None:
            return before
        elif target is not None:
            return moved(target, self.reader.letter, self.way)
        span = self.call.head.span
        self.new[with_marks_in_name(self.reader, self.carried(name, 0), self.marks_of_values)] = name
        return self.marked(self.carried(name, time), self.marks_of_values, span)

    def carried(self, name: str, time: int) -> Node:
        """The symbol of a state that the page doesn't name, at a step."""
        for tree in (target for entry in self.template.entries for target in entry.targets):
            one = self.template.reader.read(tree)
            if one is not None and one.symbol.name == name:
                return moved(tree, self.template.reader.letter, self.time - time * self.way, self.reader.letter)
        raise KeyError(name)

    def own(self, node: Node, name: str, marks: tuple[Node, ...]) -> Node:
        """A symbol of the cell that the page doesn't name, with the marks of this use."""
        plain = moved(node, self.template.reader.letter, self.time, self.reader.letter)
        made = self.marked(plain, marks, node.span)
        one = self.reader.read(made)
        if one is not None:
            self.new[one.symbol.name] = name
        return made

    def marked(self, node: Node, marks: tuple[Node, ...], span: Span) -> Node:
        return Scripted(node, (), marks, span) if marks else node

    def placed(self, argument: Node, node: Node) -> Node:
        """What stands for a symbol of the cell, raised or transposed as that is."""
        sups = (
            [above for above in node.sup if exponent(above) is not None or is_transposition(above)]
            if isinstance(node, Scripted)
            else []
        )
        if sups:
            return Scripted(Bracket("(", (argument,), argument.span), (), tuple(sups), argument.span)
        simple = take_apart(argument) is not None or isinstance(argument, (Bracket, Number))
        return argument if simple else Bracket("{", (argument,), argument.span)

    # ---- what is declared

    def declared(self) -> Declared:
        """The declarations with those of the cell, for the names of this use."""
        cell, theirs = self.template.cell, self.template.known
        kinds = {str(value.name): KIND[rank(value)] for value in (*cell.parameters, *cell.targets)}
        dims = {new: theirs.dims[name] for new, name in self.new.items() if name in theirs.dims}
        for mine, other in ((self.known.functions, theirs.functions), (self.known.numbers, theirs.numbers)):
            for name in other.keys() & mine.keys():
                if mine[name] != other[name]:  # type: ignore[index]
                    what = f"{name} is declared in two ways, here and for {self.template.title}: expected one."
                    raise self.source.error(self.call.entry.span, what, "Rename one of them.")
        note = f"`{self.written}` is the {'built-in cell ' if self.template.built_in else 'cell under the heading '}{self.template.title}"
        silent = [str(value.name) for value in cell.states if str(value.name) not in self.before]
        carried = f", which carries {', '.join(silent)} by itself" if silent else ""
        return replace(
            self.known,
            kinds={new: kinds[name] for new, name in self.new.items() if name in kinds} | self.known.kinds,
            functions=theirs.functions | self.known.functions,
            numbers=theirs.numbers | self.known.numbers,
            dims=dims | self.known.dims,
            notes=tuple(dict.fromkeys([*self.known.notes, note + carried])),
        )

    # ---- what can't be put in place

    def refuse_other_steps(self, one: Occurrence, name: str) -> None:
        """Raises PageError where the cell reads its input at another step, or a state further back."""
        if one.time not in (None, 0) and not (one.time == -1 and name in self.states):
            what = f"{self.template.title} has {name} at t{one.time:+}: expected what it defines and its inputs at t, and states at t-1."
            raise self.source.error(self.call.entry.span, what, "Write the equations of the cell so, or out where it is used.")

    def refuse_components(self) -> None:
        """Raises PageError where the cell's equations, as they are printed, name other symbols than the cell has."""
        cell = self.template.cell
        known = {str(value.name) for value in (*cell.parameters, *cell.targets)}
        odd = [name for name in self.new.values() if name not in known]
        if odd:
            what = f"{self.template.title} is printed with {odd[0]}, which is no quantity of its cell: expected vectors without components."
            raise self.source.error(
                self.call.entry.span, what, "Write its equations without indices of components, or out where it is used."
            )

    def refuse_collisions(self) -> None:
        for name in self.new:
            if name in self.page.names:
                what = f"name collision: the {self.new[name]} of `{self.written}` and this one would both be called {name}."
                carried = self.new[name] in [str(value.name) for value in self.template.cell.states]
                told = (
                    f"Where it is this, name it on the left side, `(..., {name}_{self.reader.letter}) = ...`; " if carried else ""
                )
                mark = f"mark the cell, `\\operatorname{{{self.call.name}}}_{{a}}`: the mark is put behind its names."
                todo = f"{told}{'r' if told else 'R'}ename this one, or {mark}"
                raise self.source.error(self.page.names[name], what, todo, (self.call.head.span, "the cell:"))


def with_marks_in_name(reader: Reader, node: Node, marks: tuple[Node, ...]) -> str:
    one = reader.read(Scripted(node, (), marks, node.span) if marks else node)
    return one.symbol.name if one else ""


def moved(node: Node, letter: str | None, steps: int, to: str | None = None) -> Node:
    """The symbol with its index of time moved, under another letter where one is given."""
    if isinstance(node, Scripted):
        sub, sup = (tuple(index_moved(one, letter, steps, to or letter) for one in side) for side in (node.sub, node.sup))
        return replace(node, body=moved(node.body, letter, steps, to), sub=sub, sup=sup)
    return with_parts(node, lambda part: moved(part, letter, steps, to))


def index_moved(script: Node, letter: str | None, steps: int, to: str | None) -> Node:
    at = offset(script, letter)
    if isinstance(script, Bracket):
        return replace(script, parts=tuple(index_moved(part, letter, steps, to) for part in script.parts))
    if at is None or to is None:
        return script
    plain = Letter(to, script.span)
    now = at + steps
    return plain if now == 0 else Sum((plain, Number(Fraction(abs(now)), script.span)), (1, 1 if now > 0 else -1), script.span)
