"""forward and backward of the fast schedule, from `buffered`."""

from __future__ import annotations

import sympy as sp

from derive.blocks import Rows
from derive.emission.arrays import indexed
from derive.emission.buffered import Buffered
from derive.emission.expressions import NumPyText, RowsText, cut, size_text
from derive.emission.functions import flat, gradients_text, sizes_line, words_in
from derive.emission.names import Names
from derive.equation import Equation
from derive.expressions import is_timed
from derive.language import Hadamard, Plus, Times, Transposed, Value, coefficient, transpose
from derive.notation import Notation
from derive.program import Program
from derive.shapes import is_matrix


def emit_forward(
    program: Program, tape: list[Value], names: Names, notation: Notation, helpers: set[str], dims: list[str]
) -> tuple[list[str], list[str]]:
    """(the class of its arrays, the body of forward)."""
    w = Forward(program, names, notation, helpers, tape, "T")
    lines = [*w.plain_parameters()]
    lines += [f'{names.of(value)}_all = inputs["{value.name}"]' for value in program.given if value.timed]
    lines += w.once_lines()
    for state in [written for _, written in program.carries]:
        w.sequence(state)
        table = f'"{state.name}", STATES["{state.name}"], sizes, dtype'
        lines.append(f'm.{w.array_name(state)}[0] = _state("forward", "state", state, {table})')
    lines += w.block_loop()
    text = RowsText(w.whole, names.of, "all", helpers)
    for equation in program.at("after"):
        lines += [f"# {notation.equation(equation)}", f"{w.whole(equation.target)} = {whole_value(equation, text)}"]
        w.arrays.pop(w.array_name(w.plan.root(equation.target)), None)
    for value in program.results:
        w.arrays[f"{names.of(value)}_out"] = f"(T, B, {size_text(value.shape[0])})"
        lines.append(f"np.copyto(m.{names.of(value)}_out, {w.whole(value)})")
    results = ", ".join(f'"{value.name}": m.{names.of(value)}_out' for value in program.results)
    saved = ", ".join(f"{names.of(value)}={taped(w, value)}" for value in tape)
    lines += [f"outputs = {{{results}}}", f"tape = Tape(sizes, dtype{', ' if saved else ''}{saved})", "return outputs, tape"]
    head = [
        '    sizes, dtype = _sizes("forward", parameters, inputs, state)',
        "    if checkpoint_every is not None:",
        "        return _checkpointed(parameters, inputs, state, checkpoint_every, sizes, dtype)",
        "    m = _arrays(workspace, _Forward, sizes, dtype)",
    ]
    head += sizes_line(lines, dims)
    what = "The arrays of a forward pass, and the views of each step, made once."
    extra = [BLOCK_LINE] if w.is_blockwise() else []
    return w.class_lines("_Forward", what, extra), head + ["    " + line for line in lines]


def whole_value(equation: Equation, text: RowsText) -> str:
    """The right side over all steps as an expression."""
    shape = f"(T, B, {size_text(equation.target.shape[0])})"
    if not equation.terms:
        return f"np.zeros({shape}, dtype)"
    value = text.text(equation.value)
    return value if is_timed(equation.value) else f"np.broadcast_to({value}, {shape})"


def taped(w: Buffered, value: Value) -> str:
    """A value as the tape keeps it: states with the initial one in front."""
    if not value.timed:
        return w.names.of(value)
    if value in w.plan.states:
        return f"m.{w.sequence(value)}"
    return w.whole(value)


BLOCK_LINE = "self.block = max(1, min(T, BLOCK // max(1, B), max(128 // max(1, B), T // 4)))"
"""The steps that a pass takes at once."""


class Forward(Buffered):
    """forward runs over blocks of steps where something is computed for many steps at once: that, then the recurrence."""

    in_block = False
    """Whether lines are written for the steps of a block, start to stop, and not for all."""

    def is_blockwise(self) -> bool:
        return bool(self.program.at("before"))

    def is_passing(self, root: Value) -> bool:
        return root in self.plan.passing

    def at_hand(self, root: Value, lag: int = 0) -> str:
        if not self.in_block:
            return super().at_hand(root, lag)
        return ":n" if self.is_passing(root) else "start:stop"

    def outside(self, array: str, index: str = "") -> str:
        return f"{array}{indexed('start:stop' if self.in_block else '', index)}"

    def block_loop(self) -> list[str]:
        """What is computed ahead and the loop over time."""
        if not self.is_blockwise():
            return self.loop({"steps": "m.steps"}, "range(T)")
        self.in_block = True
        before = self.before_lines()
        self.in_block = False
        loop = self.loop({"ahead": "m.ahead", "steps": "m.steps[start:stop]"}, "range(start, stop)")
        fixed = [line for line in loop if not line.startswith((" ", "for"))]
        inner = [*before, *[line for line in loop if line not in fixed]]
        head = ["stop = min(T, start + m.block)", *["n = stop - start"] * ("n" in words_in(inner))]
        return [*fixed, "for start in range(0, T, m.block):", *["    " + line for line in [*head, *inner]]]


class Backward(Buffered):
    """backward runs over blocks of steps, last first: coefficients of the block, the recurrence, what only accumulates."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.outer_columns: dict[str, str] = {}
        self.totals: list[str] = []

    def at_hand(self, root: Value, lag: int = 0) -> str:
        return ":n"

    def block_values(self, tape: list[Value]) -> list[str]:
        """The tape over the steps of a block."""
        reads = dict.fromkeys(v for e in self.program.equations for v in e.reads() if v.timed and v.kind == "primal")
        states = {read.name for read in self.program.carried()}
        lines = []
        for value in reads:
            plain = value.like(lag=0)
            if plain in tape:
                shift = " + 1" if plain.name in states and not value.lag else ""
                lines.append(f"{self.names.of(value)}_all = tape.{self.names.of(plain)}[start{shift}:stop{shift}]")
        return lines

    def given_lines(self) -> list[str]:
        reads = dict.fromkeys(v for e in self.program.equations for v in e.reads() if v.kind == "given")
        lines = []
        for value in reads:
            name = self.names.of(value)
            self.whole(value)
            lines.append(f"np.copyto(m.{name}_all[:n], {name}_all[start:stop])")
        return lines

    # ---- what only accumulates

    def flat(self, node: sp.MatrixExpr) -> str:
        """A value over the block, (steps * examples, rows)."""
        value = node.args[0] if isinstance(node, Rows) else node
        base = value
        if value.like(lag=0) in self.plan.homes:
            root = self.plan.root(value)
            base = node if root in self.plan.sizes else root
        if isinstance(base, Rows):
            name = f"{self.name_of(self.key(base))}_flat"
        else:
            name = f"{self.names.of(base)}_flat"
        if name not in self.outer_columns:
            self.outer_columns[name] = f"{name} = {self.whole(base)}.reshape(n * B, {size_text(base.shape[0])})"
        if node == base:
            return name
        root, start, rows = (base, node.args[1], node.shape[0]) if base == value and isinstance(node, Rows) else self.key(node)
        if start == 0 and rows == root.shape[0]:
            return name
        return f"{name}[:, {cut(start, start + rows)}]"

    def steps_after(self) -> list[str]:
        """What is computed for all steps of a block behind the loop and isn't a result itself."""
        out: list[str] = []
        for equation in self.program.at("after"):
            if equation.target.timed and equation.target not in self.program.results:
                out += self.whole_lines(equation)
        return out

    def after_lines(self) -> list[str]:
        out: list[str] = []
        for equation in self.program.at("after"):
            if equation.target.timed and equation.target not in self.program.results:
                continue
            lines = self.total(equation) if equation.accumulate else self.over_steps(equation)
            out += [f"# {self.notation.equation(equation)}", *lines]
        return out

    def results_before(self) -> list[str]:
        """Results that were hoisted in front of the loop, copied out."""
        lines = []
        for equation in self.program.at("before", "step"):
            target = equation.target
            if target in self.program.results and target.kind == "cotangent" and target.timed:
                name = f"{self.names.of(target)}_out"
                self.arrays[name] = f"(T, B, {size_text(target.shape[0])})"
                lines.append(f"m.{name}[start:stop] = {self.whole(target)}")
        return lines

    def total(self, equation: Equation) -> list[str]:
        """Add what a block contributes to a sum over steps."""
        name = self.names.of(equation.target)
        rows, cols = equation.target.shape
        self.arrays[name] = f"({size_text(rows)}, {size_text(cols)})"
        self.totals.append(name)
        value = equation.value
        terms = value.args if isinstance(value, Plus) else [value]
        whens = ["stop == T", *["False"] * (len(terms) - 1)]
        return [f"_add(m.{name}, {self.contribution(term)}, {when})" for term, when in zip(terms, whens, strict=True)]

    def contribution(self, term: sp.MatrixExpr) -> str:
        number, rest = coefficient(term)
        sign = "" if number == 1 else f"{float(number)!r} * "
        if isinstance(rest, Times) and isinstance(rest.args[-1], Transposed) and self.is_leaf(rest.args[-1].args[0]):
            left = rest.args[0] if len(rest.args) == 2 else Times(*rest.args[:-1], evaluate=False)
            right = rest.args[-1].args[0]
            if self.is_leaf(left):
                return f"{sign}{self.flat(left)}.T, {self.flat(right)}"
            if len(rest.args) == 3 and not is_timed(rest.args[0]) and self.is_leaf(rest.args[1]):
                front = NumPyText(self.names.of, "once", self.helpers).within(rest.args[0], 2)
                return f"{sign}{front} @ {self.flat(rest.args[1])}.T, {self.flat(right)}"
        text = self.over_all()
        if isinstance(rest, Times) and isinstance(rest.args[-1], Transposed):
            left = rest.args[0] if len(rest.args) == 2 else Times(*rest.args[:-1], evaluate=False)
            if not is_timed(rest.args[-1]):
                right_text = NumPyText(self.names.of, "once", self.helpers).within(rest.args[-1], 2)
                return f"{sign}({text.text(left)}).sum(axis=(0, 1))[:, None] @ {right_text}, None"
            return f"{sign}np.tensordot({text.text(left)}, {text.text(rest.args[-1].args[0])}, ([0, 1], [0, 1])), None"
        if self.is_leaf(rest):
            return f"{sign}{self.flat(rest)}.T, np.ones((n * B, 1), dtype)"
        if isinstance(rest, Hadamard) and len(rest.args) == 2 and all(self.is_leaf(part) for part in rest.args):
            left, right = (self.whole(part) for part in rest.args)
            return f'{sign}np.einsum("tbr,tbr->r", {left}, {right})[:, None], None'
        return f"{sign}({text.text(rest)}).sum(axis=(0, 1))[:, None], None"

    def is_leaf(self, node: sp.MatrixExpr) -> bool:
        return (isinstance(node, Value) or (isinstance(node, Rows) and isinstance(node.args[0], Value))) and is_timed(node)

    def over_steps(self, equation: Equation) -> list[str]:
        """A gradient for every step of the block, batch first."""
        name = self.names.of(equation.target)
        size = size_text(equation.target.shape[0])
        self.arrays[f"{name}_out"] = f"(T, B, {size})"
        value = equation.value
        product = isinstance(value, Times) and len(value.args) == 2 and is_matrix(value.args[0])
        if product and self.is_leaf(value.args[1]) and not is_timed(value.args[0]):
            matrix = NumPyText(self.names.of, "once", self.helpers).within(transpose(value.args[0]), 2)
            return [f"np.matmul({self.flat(value.args[1])}, {matrix}, out=m.{name}_out[start:stop].reshape(n * B, {size}))"]
        return [f"m.{name}_out[start:stop] = {self.over_all().text(value) if equation.terms else 0}"]


def emit_backward(
    program: Program, tape: list[Value], names: Names, notation: Notation, helpers: set[str], dims: list[str]
) -> tuple[list[str], list[str]]:
    """(the class of its arrays, the body of backward)."""
    w = Backward(program, names, notation, helpers, [], "self.block")
    w.taped = set(tape)
    head_lines = [*w.plain_parameters()]
    used = {value for e in program.equations for value in e.reads()}
    head_lines += [f"{names.of(value)} = tape.{names.of(value)}" for value in tape if not value.timed and value in used]
    for value in program.given:
        if value.kind == "given":
            table = "STATES" if any(read.name == value.name for read in program.carried()) else "OUTPUTS"
            target = f"{names.of(value)}_all = " if value in used else ""  # what no gradient reads is checked all the same
            head_lines.append(
                f'{target}_sequence("backward", "cotangents", cotangents, "{value.name}", {table}["{value.name}"], sizes, dtype)'
            )
    head_lines += w.once_lines()
    carries = [read for read, _ in program.carries]
    for read in carries:
        w.view(read)
        head_lines.append(f"m.{names.of(read)}[...] = 0")
    block = [*w.block_values(tape), *w.given_lines(), *w.before_lines()]
    loop = w.loop({"steps": "reversed(m.steps[:n])"}, "reversed(range(n))")
    between = w.steps_after()
    after = [*w.after_lines(), *w.results_before()]
    flats = list(w.outer_columns.values())
    fixed = [line for line in loop if not line.startswith((" ", "for"))]
    loop = [line for line in loop if line not in fixed]
    inner = ["start = max(0, stop - m.block)", "n = stop - start", *block, *loop, *between, *flats, *after]
    lines = [*head_lines, *fixed, "for stop in range(T, 0, -m.block):", *["    " + line for line in inner]]
    if w.totals:
        lines += ["if T == 0:", f"    for total in ({', '.join(f'm.{name}' for name in w.totals)},):", "        total[...] = 0"]
    finish = {e.target: NumPyText(lambda v: final(w, v), "once", helpers).text(e.value) for e in program.at("finish") if e.terms}
    lines += finish_lines(w, program.at("finish"), finish)
    lines.append(result_line(w, program, finish))
    head = [
        '    _taped("backward", parameters, tape)',
        '    _names("backward", "cotangents", cotangents, {**STATES, **OUTPUTS}, complete=False)',
        "    sizes, dtype = tape.sizes, tape.dtype",
        "    if tape.segments is not None:",
        "        return _backward_by_segments(parameters, tape, cotangents)",
        "    m = _arrays(workspace, _Backward, sizes, dtype)",
    ]
    head += sizes_line(lines, dims)
    what = "The arrays of a backward pass over blocks of steps, and the views of each step, made once."
    return w.class_lines("_Backward", what, [BLOCK_LINE]), head + ["    " + line for line in lines]


def final(w: Backward, value: Value) -> str:
    """A value after the loop: totals live in m, parameters with the caller."""
    name = w.names.of(value)
    if name in w.totals:
        return f"m.{name}"
    return w.parameter(value)


def finish_lines(w: Backward, equations: list[Equation], texts: dict[Value, str]) -> list[str]:
    """Equations at the end that aren't mere rows of a total: those are written where they are returned."""
    lines = []
    for equation in equations:
        value = equation.value
        if equation.terms and isinstance(value, Rows) and isinstance(value.args[0], Value):
            continue
        name = w.names.of(equation.target)
        rows, cols = (size_text(size) for size in equation.target.shape)
        text = texts.get(equation.target, f"np.zeros(({rows}, {cols}), dtype)")
        lines += [f"# {w.notation.equation(equation)}", f"{name} = {text}"]
        texts[equation.target] = name
    return lines


def result_line(w: Backward, program: Program, finish: dict[Value, str]) -> str:
    """The return statement of backward."""
    names = w.names
    cotangents = [value for value in program.results if value.kind == "cotangent"]
    weights = [(v.name, flat(finish.get(v, f"m.{names.of(v)}"), v)) for v in cotangents if not v.timed]
    inputs = [(v.name, f"m.{names.of(v)}_out") for v in cotangents if v.timed]
    states = [(read.name, f"m.{names.of(read)}.copy()") for read, _ in program.carries]
    return gradients_text(weights, inputs, states)
