"""Occurrences of symbols on a page -> one name each, and the step at which it is read. Two symbols never share a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from derive.pages.alphabet import function_name
from derive.pages.declarations import Declared, plain_name
from derive.pages.errors import PageError, Source, Span
from derive.pages.hints import called, newer, no_exponent, spelled_out, unsummed
from derive.pages.noted import notes_on_steps
from derive.pages.operators import refuse_joined
from derive.pages.sides import Line
from derive.pages.symbols import Occurrence, Reader, Symbol, children, is_transposition, take_apart, walk
from derive.pages.tree import Chain, Decorated, Letter, Node, Ratio, Scripted, Signed, Sum


@dataclass(frozen=True)
class Entry:
    """One equation as it was parsed: what it defines, several symbols for a stacked one, and its right side.

    is_function: it defines a function, `f(a) = ...` or `f = \\tanh`, no value. problem: why it can't be read; then `right` means
    nothing, and `targets` are those that could be. indices: what it defines is the component that these letters index. is_start: it
    says what a recurrence starts with, `h_0 = ...`.
    """

    line: Line
    targets: tuple[Node, ...]
    right: Node
    is_function: bool = False
    problem: PageError | None = None
    indices: tuple[str, ...] = ()
    is_start: bool = False

    @property
    def span(self) -> Span:
        return self.line.span


PARAMETERS = ("number", "vector", "matrix", "parameter")
"""Declarations that make a symbol without a time one of its own beside the same letter with one."""
MOST_STEPS_BACK = 64
"""How far back a page may read: each step of it is a state."""


@dataclass(frozen=True)
class Carried:
    """What a state carries to the next step: a value by its name, at step t + lag."""

    name: str
    lag: int
    span: Span


class Names:
    """The symbols of one cell. Raises PageError where two would share a name or a step can't be told."""

    def __init__(self, source: Source, reader: Reader, entries: Sequence[Entry], declared: Declared, macros: set[str]) -> None:
        self.source, self.reader, self.declared, self.macros = source, reader, declared, macros
        self.notes: dict[str, None] = {}
        self.carried: dict[str, Carried] = {}
        self.later: dict[str, Occurrence] = {}  # inputs of later steps, `x_next`, each with where it is read
        self.ways: dict[tuple[str, bool], Span] = {}  # (what is read at another step, whether at an earlier one) -> where
        self.shift = 0  # what the equation that is being read is moved by: an output of this step, printed at the one before
        self.defined: dict[Symbol, Occurrence] = {}
        targets = [target for entry in entries for target in entry.targets]
        found = [(node, self.target(node)) for node in targets]
        reads = [one for entry in entries for one in self.occurrences(entry.right)]
        self.double = self.doubled([*reads, *[one for _, one in found]], [one for _, one in found])
        self.single = {self.beside(self.target(entry.targets[0])).symbol for entry in entries if len(entry.targets) == 1}
        weakly = {occurrence.symbol for _, occurrence in found if not ends_a_word(occurrence)}
        self.runs = {one.gate for _, one in found if one.weak == "run" and len(one.gate) == 1}
        self.strong = {one.symbol for one in (*reads, *[o for _, o in found]) if one.time is not None and not one.weak} | weakly
        self.known = {one.symbol.name for one in reads if not one.weak} | {one.symbol.name for _, one in found}
        for _, occurrence in found:
            self.define(self.settle(occurrence))
        self.reads = [self.settle(one) for one in reads if not self.is_function(one)]
        self.functions = [one for one in reads if self.is_function(one)]
        self.steps = self.find_steps()
        self.check()
        self.refuse_elements()
        self.notes |= dict.fromkeys(notes_on_steps(self, entries))

    def target(self, node: Node) -> Occurrence:
        """What a left side defines. Raises PageError where that is no symbol."""
        occurrence = self.reader.read(node)
        self.refuse_other_steps(node)
        if occurrence is None or occurrence.power is not None or occurrence.transposed:
            what = f"the left side is no symbol: expected one such as `h_t`, got `{self.source.written(node.span)}`."
            raise self.source.error(
                node.span, what, f"Write the equation solved for one symbol{spelled_out(node)}{called(node)}."
            )
        return occurrence

    def occurrences(self, node: Node) -> Iterator[Occurrence]:
        """The symbols in a formula."""
        found = None if isinstance(node, Letter) and node.is_function else self.reader.read(node)
        if found is not None:
            self.refuse_other_steps(node)
            yield found
            return
        if isinstance(node, Scripted) and take_apart(node) and not self.reader.is_exponential(node):
            for above in filter(self.reader.is_formula, node.sup):
                raise no_exponent(self.source, above)
        marks = [above for above in node.sup if is_transposition(above)] if isinstance(node, Scripted) else []
        for child in children(node):
            if child not in marks:  # the T of `[h, x]^T` is no quantity
                yield from self.occurrences(child)

    def refuse_other_steps(self, node: Node) -> None:
        """`x_{t-\\tau}`, `h_{2t}`: an index that counts from the time, and isn't this step or one near it."""
        for script in walk(node) if isinstance(node, (Scripted, Decorated)) else ():
            inside = [one.name for one in walk(script) if isinstance(one, Letter)]
            if isinstance(script, Chain):
                refuse_joined(self.source, script, inside, {self.reader.letter or ""})
            counted = isinstance(script, (Sum, Ratio, Signed)) and self.reader.letter in inside
            if counted and self.reader.time(script) is None and not self.reader.index(script).weak:
                refuse_joined(self.source, script, inside, {self.reader.letter or ""})
                written = self.source.written(script.span)
                what = f"the index `{written}` isn't read: expected this step, or a fixed number of steps before it."
                todo = "Write the number of steps as a number; write an index that is no time without the letter of time."
                raise self.source.error(script.span, what, todo)

    # ---- which symbol an occurrence is

    def settle(self, one: Occurrence) -> Occurrence:
        """The occurrence with the time letter of `W_{ft}` decided: part of the name, the time, or the gate's."""
        if not one.weak or one.symbol in self.strong:
            return self.beside(one)
        if one.gate.isdigit():
            return one
        if one.weak != "above" and (one.gate in self.known - {one.symbol.name} or one.weak == "inner"):
            name = one.symbol.name
            self.notes[f"`{self.source.written(one.span)}` is written with a time index; read as a parameter {name}"] = None
            return replace(one, time=None)
        run = (
            bool(self.runs) and one.weak == "run" and len(one.gate) == 1 and one.symbol.base.islower()
        )  # `x_{jt}` beside `h_{it} = ...`
        if one.weak == "comma" or one.named is None or run:
            return one
        return replace(one, symbol=one.named, time=None)

    def doubled(self, found: Sequence[Occurrence], targets: Sequence[Occurrence]) -> set[Symbol]:
        """Symbols that stand with a time and without one, the latter declared as a parameter, `a_t = a^{c r_t}`, or both defined, as J_t
        and J."""
        plain = {one.symbol for one in found if one.time is None and self.declared.kinds.get(one.symbol.name) in PARAMETERS}
        plain |= {one.symbol for one in targets if one.time is None} & {one.symbol for one in targets if one.time is not None}
        return plain & {one.symbol for one in found if one.time is not None}

    def beside(self, one: Occurrence) -> Occurrence:
        """The occurrence under a name of its own, `a_t`, where a parameter is called a."""
        if one.time is None or one.symbol not in self.double:
            return one
        return replace(one, symbol=replace(one.symbol, sups=(*one.symbol.sups, self.reader.letter or "t")))

    def is_function(self, one: Occurrence) -> bool:
        """Whether a symbol stands for a function: one of the table's, or one that the page or the call declares."""
        symbol = one.symbol
        declared = symbol.name in self.declared.kinds or symbol.name in self.declared.numbers
        if one.time is not None or symbol in self.defined or declared:
            return False
        plain = not (symbol.decorations or symbol.subs or symbol.sups)
        return (
            symbol.name in self.declared.functions
            or symbol.name in self.macros
            or (plain and function_name(symbol.base) is not None)
        )

    def is_free(self, name: str) -> bool:
        """Whether a name stands for a parameter of which nothing is said: no time, no definition, no declaration."""
        said = name in self.declared.kinds or name in self.declared.numbers or name in self.declared.functions
        return not (said or self.is_defined(name) or name in self.macros or self.is_timed(name))

    def is_defined(self, name: str) -> bool:
        return any(symbol.name == name for symbol in self.defined)

    def define(self, one: Occurrence) -> None:
        if one.symbol in self.defined:
            before = self.defined[one.symbol].span
            what = f"{one.symbol.name} is defined twice: expected one definition."
            todo = "Give each a name of its own, or put the cells under headings of their own; `derive: skip` in a comment passes one over."
            raise self.source.error(one.span, what, todo, (before, "the first definition:"))
        self.defined[one.symbol] = one

    def check(self) -> None:
        """Raises PageError where two symbols share a name."""
        named: dict[str, Occurrence] = {}
        for one in (*self.defined.values(), *self.reads, *self.functions):
            if one.symbol.name in self.declared.numbers and one.time is None:
                continue
            before = named.setdefault(one.symbol.name, one)
            if before.symbol != one.symbol:
                a, b = self.source.written(before.span), self.source.written(one.span)
                what = f"name collision: `{a}` and `{b}` would both be called {one.symbol.name}."
                raise self.source.error(
                    one.span, what, "Write one symbol in one way, or rename one of them.", (before.span, "the other:")
                )
            if not self.is_function(one):
                self.check_time(before, one)

    def check_time(self, before: Occurrence, one: Occurrence) -> None:
        """A symbol with and without a time index is two symbols, unless its definition carries none."""
        definition = self.defined.get(one.symbol)
        timeless = definition is not None and definition.time is None
        if (before.time is None) == (one.time is None) or timeless or self.reader.words:
            return
        a, b = self.source.written(before.span), self.source.written(one.span)
        what = f"name collision: `{a}` and `{b}` would both be called {one.symbol.name}: one has a time index, the other none."
        name, timed = one.symbol.name, a if before.time is not None else b
        kind = "vector" if name[0].islower() else "parameter"
        todo = f'Write the time index at both, or rename one of them; --let "{name}={kind}" makes the one without a parameter'
        todo += "" if self.is_defined(name) else f', --let "{plain_name(timed)}=parameter" the one with it'
        t = self.reader.letter
        todo += f". All steps together are read with their index, as in `\\operatorname{{softmax}}_{t}(a_{t})`."
        raise self.source.error(one.span, what, todo, (before.span, "the other:"))

    def refuse_elements(self) -> None:
        """Raises PageError on `z_1` beside `z = ...`, `h_{t,1}` beside `h_t = ...`: the first element, or a symbol of its own."""
        said = {*self.declared.kinds, *self.declared.numbers}
        for one in self.reads:
            self.refuse_steps_of_examples(one)
            number = (*one.symbol.subs, *one.symbol.sups)[-1:]
            if not (number and number[0].isdigit()) or one.symbol in self.defined or one.symbol.name in said:
                continue
            sides = {"sups": one.symbol.sups[:-1]} if one.symbol.sups else {"subs": one.symbol.subs[:-1]}
            whole = replace(one.symbol, **sides)  # type: ignore[arg-type]
            if whole in self.defined:
                written, name, last = self.source.written(one.span), one.symbol.name, int(number[0])
                what = (
                    f"`{written}` can be read in two ways: an element of {whole.name}, which is defined, or a symbol of its own."
                )
                todo = f'For a symbol of its own say --let "{name}={"vector" if one.time is None else "input"}"; '
                cut = f"{whole.name}_{self.reader.letter}" if self.defined[whole].time is not None else whole.name
                todo += f"an element is cut out, `{cut}[{max(last - 1, 0)}:{max(last, 1)}]`, the first one of which is 0."
                raise self.source.error(one.span, what, todo, (self.defined[whole].span, "the definition:"))

    def refuse_steps_of_examples(self, one: Occurrence) -> None:
        """Raises PageError on a step of what has one value an example: `v_t` beside `v = example`, `c_T` beside `c = h_T`."""
        written, letter = self.source.written(one.span), self.reader.letter
        if one.symbol.name in self.declared.examples and one.time is not None:
            what = f"`{written}` carries a step, and {one.symbol.name} is declared as one an example: expected none."
            raise self.source.error(one.span, what, "Leave the index of time out, or take the declaration back.")
        whole = replace(one.symbol, subs=one.symbol.subs[:-1])
        found = self.defined.get(whole) if letter and one.symbol.subs[-1:] == (letter.upper(),) else None
        if found is not None and found.time is None and one.symbol not in self.defined and self.is_free(one.symbol.name):
            what = f"`{written}` is the last value of what has one value an example, or a symbol of its own: expected one of the two."
            todo = f'Write `{whole.name}` for that value; for a symbol of its own say --let "{one.symbol.name}=vector".'
            raise self.source.error(one.span, what, todo, (found.span, "the definition:"))

    # ---- steps

    def find_steps(self) -> dict[Symbol, int]:
        """For each symbol the index that means this step: where it is defined. What is never defined belongs to one step: on a page that
        is shifted the latest index at which an input is read; so does an output, which nothing reads."""
        steps = {symbol: one.time or 0 for symbol, one in self.defined.items()}
        given = [one for one in self.reads if one.symbol not in steps and one.time is not None]
        latest = max((one.time or 0 for one in given), default=0) if any(steps.values()) else 0
        read = {one.symbol for one in self.reads}
        late = {symbol for symbol in steps if symbol in self.single and symbol not in read and not self.reader.words}
        outputs = {symbol: max(steps[symbol], latest) for symbol in late if self.defined[symbol].time is not None}
        return steps | outputs | {one.symbol: latest for one in given}

    def begin(self, target: Occurrence) -> None:
        """Read the symbols of an equation from now on as that equation is moved: `y_t = V h_t` beside `h_{t+1}` and `x_{t+1}`."""
        self.shift = self.steps[target.symbol] - (target.time or 0) if target.time is not None else 0
        if self.shift:
            written, letter = self.source.written(target.span), self.reader.letter
            self.notes[f"`{written}` stands beside inputs at {letter}+{self.shift}: read as the output of the same step"] = None

    def value(self, one: Occurrence) -> tuple[str, int]:
        """(name, lag) of a symbol that is read. Raises PageError on a step that can't be had."""
        one = self.settle(one)
        if one.time is None and self.reader.ahead:
            one = replace(one, time=0 if one.symbol in self.defined and self.defined[one.symbol].time else None)
        if one.time is None:
            return one.symbol.name, 0
        lag = one.time + self.shift - self.steps.get(one.symbol, 0)
        written = self.source.written(one.span)
        if lag > 0 and one.symbol not in self.defined and not self.shift:
            return self.given_later(one, lag), 0
        if lag > 1 or (lag == 1 and one.symbol not in self.defined):
            what = (
                f"`{written}` isn't known yet at this step: expected this step or one before, or the next one of what is defined."
            )
            todo = "What lies farther ahead is carried: `g_t = h_{t+1}`, read at the next step; for an input take a symbol of its own."
            raise self.source.error(one.span, what, todo)
        if lag and one.symbol in self.defined:
            self.refuse_both_ways(one, lag)
        if lag == 1:
            self.notes[f"`{written}` runs from the last step to the first: its initial state is the one after the last step"] = (
                None
            )
        if lag == 0 or (abs(lag) == 1 and one.symbol in self.defined):
            return one.symbol.name, lag
        if not (one.symbol in self.defined or self.is_read_now(one.symbol) or self.is_input(one.symbol)):
            raise self.state_or_input(one)
        return self.delayed(one, -lag), -1

    def refuse_both_ways(self, one: Occurrence, lag: int) -> None:
        """Raises PageError on a quantity that is read both at an earlier and at a later step."""
        other = self.ways.setdefault((one.symbol.name, lag < 0), one.span) and self.ways.get((one.symbol.name, lag > 0))
        if other is not None:
            what = f"{one.symbol.name} is read both at t-1 and at t+1: expected one way, from the first step to the last or back."
            todo = "What runs the other way is a recurrence of its own: give it another name, such as `\\overleftarrow{h}`."
            raise self.source.error(one.span, what, todo, (other, "the other way:"))

    def is_input(self, symbol: Symbol) -> bool:
        return self.declared.kinds.get(symbol.name) == "input"

    def state_or_input(self, one: Occurrence) -> PageError:
        """The question about `a_{t-1}`, or `a_{t+1}`, where a is neither defined nor read at this step."""
        written, name = self.source.written(one.span), one.symbol.name
        lag = -1 if one.time is None else one.time - self.steps.get(one.symbol, 0)
        which = {-1: "the step before", 1: "the step after"}.get(lag, "a later step" if lag > 0 else "an earlier step")
        what = f"`{written}` is a state that is never defined, or an input of {which}: expected to know which."
        index = unsummed(one.symbol, self.defined)
        state = f"For a state, write its equation{newer(written) if self.reader.words else ''}"
        held = f"it is one of its own, {self.later_name(one, lag)}" if lag > 0 else "its older value is carried in a state"
        if index:
            what = f"`{written}` carries the index {index[1]}, and what is defined the index {index[0]}: expected a sum, or an input."
            state = f"Write the sum, `\\sum_{index[1]}`, in front of the product"
        return self.source.error(one.span, what, f'{state}; for an input, say --let "{name}=input": {held}.')

    def later_name(self, one: Occurrence, steps: int) -> str:
        return f"{one.symbol.name.rstrip('_')}_next" + f"_{steps}" * (steps > 1)

    def given_later(self, one: Occurrence, steps: int) -> str:
        """The name of the input that `x_{t+1}` is. Raises PageError where x may be a state that runs to the left, or the name is taken."""
        lags = [(other.time or 0) - self.steps[other.symbol] for other in self.reads if other.symbol in self.defined]
        runs_right = min(lags, default=0) < 0 and max(lags) == 0
        if not (self.is_read_now(one.symbol) or self.is_input(one.symbol) or runs_right):
            raise self.state_or_input(one)
        name, written = self.later_name(one, steps), self.source.written(one.span)
        if steps > MOST_STEPS_BACK:
            what = f"`{written}` lies {steps} steps ahead: expected at most {MOST_STEPS_BACK}."
            raise self.source.error(one.span, what, "Each of them would be an input: give the model fewer.")
        self.refuse_taken(one, name, "the input")
        self.later.setdefault(name, one)
        self.notes[f"`{written}` is an input of a later step: an input of its own, {name}"] = None
        return name

    def is_read_now(self, symbol: Symbol) -> bool:
        return any(one.symbol == symbol and one.time == self.steps.get(symbol, 0) for one in self.reads)

    def delayed(self, one: Occurrence, steps: int) -> str:
        """The name of the state that holds, at the step before, what lies some steps back: each state carries what the one in front of it
        held. Raises PageError where that would be too many, or where the page has another symbol of that name."""
        written, given = self.source.written(one.span), one.symbol not in self.defined
        if steps > MOST_STEPS_BACK:
            what = f"`{written}` lies {steps} steps back: expected at most {MOST_STEPS_BACK}."
            raise self.source.error(one.span, what, "Each of them would be a state: give the model fewer.")
        held, lag = one.symbol.name, 0 if given else -1
        for count in range(1, steps + given):
            name = f"{one.symbol.name.rstrip('_')}_delayed{f'_{count}' if count > 1 else ''}"
            self.refuse_taken(one, name)
            self.carried.setdefault(name, Carried(held, lag, one.span))
            held, lag = name, -1
        which = "the input of the step before" if given else f"the value of {steps} steps before"
        which = f"the input of {steps} steps before" if given and steps > 1 else which
        self.notes[f"`{written}` is {which}: the state {held} carries it"] = None
        return held

    def refuse_taken(self, one: Occurrence, name: str, which: str = "the state that carries") -> None:
        for other in (*self.defined.values(), *self.reads):
            if other.symbol.name == name:
                what = f"name collision: {which} `{self.source.written(one.span)}` would be called {name}."
                raise self.source.error(other.span, what, "Rename this symbol.", (one.span, "the other:"))

    def is_timed(self, name: str) -> bool:
        """Whether a name stands with a time index somewhere."""
        found = (*self.defined.values(), *self.reads)
        return name in self.later or any(one.symbol.name == name and one.time is not None for one in found)


def ends_a_word(one: Occurrence) -> bool:
    """Whether the time letter of a left side is the last of a word: `y_{out}`, `x^{in}`."""
    return one.weak == "above" or (one.weak == "run" and len(one.gate) > 1 and one.gate.isalpha())
