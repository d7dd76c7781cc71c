"""The four functions of a kernel, each from its scheduled program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import sympy as sp

from derive.blocks import Rows, Stack
from derive.emission.expressions import NumPyText, size_text
from derive.emission.names import Names, local_name
from derive.equation import Equation
from derive.expressions import is_timed, values_in
from derive.language import Plus, Times, Transposed, Value, coefficient
from derive.notation import Notation, dim
from derive.program import Program


@dataclass
class Lines:
    """Python text with the current indentation."""

    depth: int = 1
    text: list[str] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        self.text += [("    " * self.depth + line) if line else "" for line in lines]


class Writer:
    """Writes the body of one function from one program."""

    def __init__(self, program: Program, names: Names, notation: Notation, helpers: set[str], keep: Iterable[Value] = ()) -> None:
        """keep: values of the loop that the caller wants as sequences, beside those that later equations read."""
        self.program, self.names, self.notation, self.helpers = program, names, notation, helpers
        self.lines = Lines()
        self.keep = set(keep)
        self.states = {} if program.reverse else {written: read for read, written in program.carries}
        self.carried = set(program.carried()) if program.reverse else set()
        self.defined = program.defined()
        self.returned = {
            equation.target: self.printer("once").text(equation.value)
            for equation in program.at("finish")
            if isinstance(equation.value, Rows) and isinstance(equation.value.args[0], Value)
        }
        """Results that are rows of something: written where they are returned."""
        self.only_stacked = only_stacked(program)
        """Parameters that are read in stacks only."""

    # ---- where a value lies

    def is_sequence(self, value: Value) -> bool:
        """Whether a value has an array over all steps."""
        if not value.timed or value.kind == "carry":
            return False
        equation = self.defined.get(value)
        return equation is None or self.program.places[equation.target] in ("before", "after") or self.is_stored(value)

    def is_stored(self, value: Value) -> bool:
        """Whether the loop writes a value into an array over all steps."""
        if value.kind == "carry":
            return False
        later = {read for equation in self.program.at("after") for read in equation.reads()}
        return value in self.states or value in self.keep or value in later or (value in self.program.results and value.timed)

    def sequence(self, value: Value) -> str:
        """The array of a value over all steps: states hold the initial one in front."""
        plain = value.like(lag=0)
        name = f"{self.names.of(plain)}_all"
        if self.has_initial(plain):
            return f"{name}[:-1]" if value.lag else f"{name}[1:]"
        return name

    def has_initial(self, value: Value) -> bool:
        """Whether the array of a value starts with its initial value: states, and on the tape the states too."""
        prev = value.like(lag=-1)
        return value in self.states or (prev in self.program.given and not value.kind.startswith("jacobian"))

    def at_t(self, value: Value) -> str:
        """A value at step t, as an element of its array."""
        plain = value.like(lag=0)
        index = "t" if value.lag or not self.has_initial(plain) else "t + 1"
        return f"{self.names.of(plain)}_all[{index}]"

    def local(self, value: Value) -> str:
        return self.names.of(value)

    def printer(self, place: str) -> NumPyText:
        if place == "all":
            return NumPyText(lambda v: self.sequence(v) if v.timed else self.local(v), "all", self.helpers)
        return NumPyText(self.local, place, self.helpers)

    # ---- equations

    def comment(self, equation: Equation) -> None:
        shown = equation.target in self.notation.shown
        self.lines.add(f"# {self.notation.value(equation.target) if shown else self.notation.equation(equation)}")

    def value_text(self, equation: Equation, place: str) -> str:
        """The right side; widened to the batch where nothing on it varies."""
        printer = self.printer(place)
        shape = [size_text(equation.target.shape[0]), "B" if equation.target.timed else size_text(equation.target.shape[1])]
        shape = ["T", *shape] if place == "all" else shape
        if not equation.terms:
            return f"np.zeros(({', '.join(shape)}), dtype)"
        if not values_in(equation.value):
            return f"np.full(({', '.join(shape)}), {printer.text(equation.value)}, dtype)"
        text = printer.text(equation.value)
        if equation.target.timed and not is_timed(equation.value):
            return f"np.broadcast_to({text}, ({', '.join(shape)}))"
        return text

    def once(self, *places: str) -> None:
        for equation in self.program.at(*places):
            if equation.target in self.returned:
                continue
            self.comment(equation)
            value = equation.value
            if isinstance(value, Stack) and all(part in self.only_stacked for part in value.args):
                names = ", ".join(f'"{part.name}"' for part in value.args)
                column = "[:, None]" if value.shape[1] == 1 else ""
                self.lines.add(
                    f"{self.local(equation.target)} = np.concatenate([parameters[name] for name in ({names})]){column}"
                )
            else:
                self.lines.add(f"{self.local(equation.target)} = {self.value_text(equation, 'once')}")

    def all_steps(self, place: str) -> None:
        for equation in self.program.at(place):
            self.comment(equation)
            if equation.accumulate:
                self.lines.add(f"{self.local(equation.target)} = {self.summed(equation.value)}")
            else:
                name = f"{self.local(equation.target)}_all"
                self.lines.add(f"{name} = {self.value_text(equation, 'all')}")

    def summed(self, value: sp.MatrixExpr) -> str:
        """The sum of an expression over all steps and examples: one product where it is an outer product."""
        number, rest = coefficient(value)
        if isinstance(rest, Plus):
            return " + ".join(self.summed(number * term) for term in rest.args)
        sign = "" if number == 1 else f"{NumPyText(self.local, 'once', self.helpers).scalar(number, ('', 0))[0]} * "
        printer = self.printer("all")
        if isinstance(rest, Times) and isinstance(rest.args[-1], Transposed):
            left = rest.args[0] if len(rest.args) == 2 else Times(*rest.args[:-1], evaluate=False)
            if not is_timed(rest.args[-1]):
                return f"{sign}({printer.text(left)}).sum(axis=(0, 2))[:, None] @ {printer.text(rest.args[-1])}"
            return f"{sign}np.tensordot({printer.text(left)}, {printer.text(rest.args[-1].args[0])}, ([0, 2], [0, 2]))"
        text = printer.text(rest) if isinstance(rest, (Value, Rows)) else f"({printer.text(rest)})"
        return f"{sign}{text}.sum(axis=(0, 2))[:, None]"

    def added(self, equation: Equation) -> str:
        """The contribution of one step to a sum over steps: summed over the examples."""
        value, printer = equation.value, self.printer("step")
        terms = value.args if isinstance(value, Plus) else [value]
        return " + ".join(self.added_term(term, printer, bool(equation.target.shape[1] == 1)) for term in terms)

    @staticmethod
    def added_term(term: sp.MatrixExpr, printer: NumPyText, vector: bool) -> str:
        """One term of such a contribution: u vᵀ sums over the examples by itself, unless v is the same for all of them."""
        if isinstance(term, Times) and isinstance(term.args[-1], Transposed):
            if is_timed(term.args[-1]):
                return printer.text(term)
            left = term.args[0] if len(term.args) == 2 else Times(*term.args[:-1], evaluate=False)
            return f"({printer.text(left)}).sum(axis=1, keepdims=True) @ {printer.text(term.args[-1])}"
        return f"({printer.text(term)}).sum(axis=1, keepdims=True)" if vector else printer.text(term)

    # ---- the loop over time

    def storage(self) -> None:
        for equation in self.program.at("step"):
            target = equation.target
            shape = f"{size_text(target.shape[0])}, B" if target.timed else ", ".join(map(size_text, target.shape))
            if equation.accumulate:
                self.lines.add(f"{self.local(target)} = np.zeros(({shape}), dtype)")
            elif self.is_stored(target):
                steps = "T + 1" if target in self.states else "T"
                self.lines.add(f"{self.local(target)}_all = np.empty(({steps}, {shape}), dtype)")

    def loop(self) -> None:
        equations = self.program.at("step")
        if not equations:
            return
        self.lines.add(f"for t in {'reversed(range(T))' if self.program.reverse else 'range(T)'}:")
        self.lines.depth += 1
        targets = {equation.target for equation in equations}
        reads = dict.fromkeys(value for equation in equations for value in equation.reads())
        for value in reads:
            if value.timed and value not in targets and value not in self.carried:
                self.lines.add(f"{self.local(value)} = {self.at_t(value)}")
        for equation in equations:
            self.comment(equation)
            target = equation.target
            if equation.accumulate:
                self.lines.add(f"{self.local(target)} += {self.added(equation)}")
            else:
                kept = f"{self.at_t(target)} = " if self.is_stored(target) else ""
                name = f"{self.local(target)} = " if target in reads or not kept else ""
                self.lines.add(f"{name}{kept}{self.value_text(equation, 'step')}")
        self.lines.depth -= 1

    def body(self) -> None:
        """Everything between reading the arguments and returning."""
        self.once("once")
        self.all_steps("before")
        self.storage()

    def rest(self) -> None:
        self.loop()
        self.all_steps("after")
        self.once("finish")

    def used(self) -> list[Value]:
        """The given values that the program reads, in the order in which they were given."""
        read = {value for equation in self.program.equations for value in equation.reads()}
        return [value for value in self.program.given if value in read]


def only_stacked(program: Program) -> set[Value]:
    """Parameters that are read in stacks of such parameters only."""
    stacks = [e for e in program.at("once") if isinstance(e.value, Stack) and set(e.value.args) <= set(program.given)]
    while True:
        others = {read for e in program.equations if e not in stacks for read in e.reads()}
        whole = [e for e in stacks if not others.intersection(e.value.args) and all(p.kind == "primal" for p in e.value.args)]
        if len(whole) == len(stacks):
            return {part for e in stacks for part in e.value.args}
        stacks = whole


def words_in(lines: Iterable[str]) -> set[str]:
    """The names that lines of code mention, strings and comments aside."""
    code = [re.sub(r'"[^"]*"', '""', line) for line in lines if not line.lstrip().startswith("#")]
    return {word for line in code for word in re.findall(r"[^\W\d]\w*", line)}


def sizes_line(lines: Iterable[str], dimensions: Iterable[str]) -> list[str]:
    """`T, B, H = ...` for the sizes that the lines mention."""
    words = words_in(lines)
    used = [name for name in ("T", "B", *[name for name in dimensions if name not in ("T", "B")]) if local_name(name) in words]
    quoted = ", ".join(f'"{name}"' for name in used)
    if len(used) < 2:
        return [f'    {local_name(name)} = sizes["{name}"]' for name in used]
    return [f"    {', '.join(map(local_name, used))} = (sizes[name] for name in ({quoted}))"]


def read_parameters(writer: Writer, values: Iterable[Value]) -> None:
    for value in values:
        if value in writer.only_stacked:
            continue
        column = "[:, None]" if value.is_vector else ""
        writer.lines.add(f'{writer.local(value)} = parameters["{value.name}"]{column}')


def shape_of(value: Value) -> str:
    """A dimension tuple as text: `("H", "D")`, `("H",)`."""
    dims = [dim(value.shape[0])] + ([] if value.is_vector else [dim(value.shape[1])])
    return "(" + ", ".join(f'"{name}"' for name in dims) + ("," if len(dims) == 1 else "") + ")"


def emit_forward(
    program: Program, tape: list[Value], names: Names, notation: Notation, helpers: set[str], dims: list[str]
) -> list[str]:
    """forward: tape holds the values that the other functions read again."""
    writer = Writer(program, names, notation, helpers, keep=tape)
    read_parameters(writer, [value for value in program.given if not value.timed and value in writer.used()])
    for value in program.given:
        if value.timed and (value in writer.used() or value in tape):
            writer.lines.add(f'{writer.local(value)}_all = inputs["{value.name}"].transpose(0, 2, 1)')
    writer.body()
    for state in writer.states:
        writer.lines.add(
            f'{writer.local(state)}_all[0] = _state("forward", "state", state, "{state.name}", STATES["{state.name}"], sizes, dtype).T'
        )
    writer.rest()
    results = ", ".join(f'"{value.name}": _batch_first({writer.sequence(value)})' for value in program.results)
    saved = ", ".join(f"{names.of(value)}={names.of(value)}{'_all' if value.timed else ''}" for value in tape)
    writer.lines.add(
        f"outputs = {{{results}}}", f"tape = Tape(sizes, dtype{', ' if saved else ''}{saved})", "return outputs, tape"
    )
    head = ['    sizes, dtype = _sizes("forward", parameters, inputs, state)']
    head += sizes_line(writer.lines.text, dims)
    return head + writer.lines.text


def read_tape(writer: Writer, tape: list[Value], by_rows: bool = False) -> None:
    """The arrays of the tape that a program reads. by_rows: they lie there with one row per example."""
    read = {value.like(lag=0) for value in writer.used()}
    for value in tape:
        if value in read and value.timed:
            writer.lines.add(f"{writer.local(value)}_all = tape.{writer.local(value)}{'.transpose(0, 2, 1)' if by_rows else ''}")
        elif value in read:
            writer.lines.add(f"{writer.local(value)} = tape.{writer.local(value)}")


def emit_backward(
    program: Program, tape: list[Value], names: Names, notation: Notation, helpers: set[str], dims: list[str]
) -> list[str]:
    writer = Writer(program, names, notation, helpers)
    parameters = [value for value in writer.used() if not value.timed and value.kind == "primal" and value not in tape]
    read_parameters(writer, parameters)
    read_tape(writer, tape)
    for value in program.given:  # what no gradient reads is checked all the same
        if value.kind == "given" and value not in writer.used():
            table = "STATES" if any(read.name == value.name for read in program.carried()) else "OUTPUTS"
            writer.lines.add(
                f'_sequence("backward", "cotangents", cotangents, "{value.name}", {table}["{value.name}"], sizes, dtype)'
            )
    for value in writer.used():
        if value.kind == "given":
            table = "STATES" if any(read.name == value.name for read in program.carried()) else "OUTPUTS"
            writer.lines.add(
                f'{writer.local(value)}_all = _sequence("backward", "cotangents", cotangents, '
                f'"{value.name}", {table}["{value.name}"], sizes, dtype).transpose(0, 2, 1)'
            )
    writer.body()
    for read, _ in program.carries:
        writer.lines.add(f"{writer.local(read)} = np.zeros(({size_text(read.shape[0])}, B), dtype)")
    writer.rest()
    inputs = [v for v in program.results if v.kind == "cotangent" and v.timed]
    weights = [v for v in program.results if v.kind == "cotangent" and not v.timed]
    states = [(read.name, f"{writer.local(read)}.T.copy()") for read, _ in program.carries]
    writer.lines.add(
        gradients_text(
            [(v.name, flat(writer.returned.get(v, writer.local(v)), v)) for v in weights],
            [(v.name, f"_batch_first({writer.sequence(v)})") for v in inputs],
            states,
        )
    )
    head = [
        '    _taped("backward", parameters, tape)',
        '    _names("backward", "cotangents", cotangents, {**STATES, **OUTPUTS}, complete=False)',
        "    sizes, dtype = tape.sizes, tape.dtype",
    ]
    head += sizes_line(writer.lines.text, dims)
    return head + writer.lines.text


def flat(text: str, value: Value) -> str:
    """A gradient as its primal is shaped: vectors without the column."""
    if not value.is_vector:
        return text
    return f"{text.removesuffix(']')}, 0]" if text.endswith("]") else f"{text}[:, 0]"


def gradients_text(*tables: list[tuple[str, str]]) -> str:
    """The return statement of backward: (name, text) of the parameters, of the inputs and of the states."""
    rows = [", ".join(f'"{name}": {text}' for name, text in pairs) for pairs in tables]
    return f"return Gradients(parameters={{{rows[0]}}}, inputs={{{rows[1]}}}, state={{{rows[2]}}})"


def emit_jvp(
    program: Program, tape: list[Value], names: Names, notation: Notation, helpers: set[str], dims: list[str], by_rows: bool
) -> list[str]:
    """jvp. by_rows: forward's tape has one row per example."""
    writer = Writer(program, names, notation, helpers)
    used = writer.used()
    parameters = [value for value in used if not value.timed and value.kind == "primal" and value not in tape]
    read_parameters(writer, parameters)
    read_tape(writer, tape, by_rows)
    for value in used:
        if value.kind == "tangent" and not value.timed:
            writer.lines.add(
                f'{writer.local(value)} = _direction("jvp", tangent_parameters, "{value.name}", PARAMETERS["{value.name}"], sizes, dtype)'
            )
        if value.kind == "tangent" and value.timed:
            writer.lines.add(
                f'{writer.local(value)}_all = _sequence("jvp", "tangent_inputs", tangent_inputs, '
                f'"{value.name}", INPUTS["{value.name}"], sizes, dtype).transpose(0, 2, 1)'
            )
    writer.body()
    for state in writer.states:
        writer.lines.add(
            f'{writer.local(state)}_all[0] = _state("jvp", "tangent_state", tangent_state, "{state.name}", '
            f'STATES["{state.name}"], sizes, dtype).T'
        )
    writer.rest()
    results = ", ".join(f'"{value.name}": _batch_first({writer.sequence(value)})' for value in program.results)
    writer.lines.add(f"return {{{results}}}")
    head = [
        '    _sizes("jvp", parameters, inputs, state)',
        "    _, tape = forward(parameters, inputs, state)",
        '    _names("jvp", "tangent_parameters", tangent_parameters, PARAMETERS, complete=False)',
        '    _names("jvp", "tangent_inputs", tangent_inputs, INPUTS, complete=False)',
        '    _names("jvp", "tangent_state", {} if tangent_state is None else tangent_state, STATES, complete=False)',
        "    sizes, dtype = tape.sizes, tape.dtype",
    ]
    head += sizes_line(writer.lines.text, dims)
    return head + writer.lines.text
