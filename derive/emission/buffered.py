"""forward and backward without allocation in the loop over time: arrays and their views are made once, by `_Forward` and `_Backward`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.emission.arrays import class_of_arrays, in_blocks, indexed
from derive.emission.expressions import RowsText, cut, size_text
from derive.emission.layout import blockwise
from derive.emission.lower import Lowering
from derive.emission.names import Names
from derive.emission.once import Once
from derive.emission.plan import Plan
from derive.equation import Equation
from derive.expressions import is_timed, values_in
from derive.language import Hadamard, Plus, Value, coefficient
from derive.notation import Notation
from derive.program import Program


def numbered(stem: str) -> Iterator[str]:
    """stem, stem_2, stem_3, ..."""
    return (stem if k == 1 else f"{stem}_{k}" for k in count(1))


Key = tuple[Value, sp.Expr, sp.Expr]
"""Rows of a root: (root, first row, number of rows)."""


class Buffered(Once):
    """Writes one function and the class of its arrays. `steps` is `T` forward, the steps of one block backward."""

    def __init__(
        self, program: Program, names: Names, notation: Notation, helpers: set[str], keep: list[Value], steps: str
    ) -> None:
        self.program, self.names, self.notation, self.helpers, self.steps = program, names, notation, helpers, steps
        self.plan = Plan(program, keep)
        self.taped: set[Value] = set()
        self.arrays: dict[str, str] = {}
        self.columns: dict[str, str] = {}
        """Local name in the loop -> the views of it at each step."""
        self.ahead: dict[str, str] = {}
        """The same of what is computed ahead for a block of steps and then gone."""
        self.fixed: dict[str, str] = {}
        self.indexed: dict[str, str] = {}
        self.blocks, self.rows = 0, sp.S.Zero
        """How many blocks the equation at hand, of so many rows, is computed in; 0 for none."""
        self.labels = self.label()
        self.lowering = Lowering(self.view, self.scratch, RowsText(self.view, names.of, "step", helpers))
        self.busy: list[str] = []
        self.free: dict[str, list[str]] = {}

    # ---- names of memory

    def label(self) -> dict[Key, str]:
        """The name of each range of rows: the last value that lies exactly there."""
        labels = {}
        for value in self.plan.homes:
            root, start = self.plan.find(value)
            labels[root, start, value.shape[0]] = self.names.of(value)
        return labels

    def key(self, node: sp.MatrixExpr) -> Key:
        base, first = (node.args[0], node.args[1]) if isinstance(node, Rows) else (node, sp.S.Zero)
        root, start = self.plan.find(base)
        return root, sp.expand(start + first), node.shape[0]

    def name_of(self, key: Key) -> str:
        """The local name of a range of rows."""
        if key not in self.labels:
            stem = self.array_name(key[0]).removesuffix("_all")
            taken = set(self.labels.values()) | self.names.taken
            name = next(n for n in numbered(f"{stem}_part") if n not in taken)
            self.names.taken.add(name)
            self.labels[key] = name
        return self.labels[key]

    def array_name(self, root: Value) -> str:
        return f"{self.names.of(root)}_all"

    def index(self, key: Key) -> str:
        """The index of a range of rows behind that of steps: of blocks where it lies in such; empty where it is everything."""
        root, start, rows = key
        size = self.plan.sizes.get(root)
        if start == 0 and rows == root.shape[0]:
            return ""
        if size is None:
            return f"..., {cut(start, start + rows)}"
        first = sp.cancel(start / size)
        return str(first) if rows == size else f"{first}:{first + sp.cancel(rows / size)}"

    def count(self, key: Key) -> int:
        """How many blocks a range of rows is, 1 where it lies in rows."""
        size = self.plan.sizes.get(key[0])
        return 1 if size is None else int(sp.cancel(key[2] / size))

    def shape(self, root: Value) -> str:
        """The shape of a value at one step."""
        size = self.plan.sizes.get(root)
        if size is None:
            return f"B, {size_text(root.shape[0])}"
        return f"{sp.cancel(root.shape[0] / size)}, B, {size_text(size)}"

    # ---- a value inside the loop

    def view(self, node: sp.MatrixExpr) -> str:
        """The local name of a value or rows of one at this step, in the blocks of the equation at hand if it has any."""
        if isinstance(node, Repeat):
            return self.view(node.args[0])
        value = node.args[0] if isinstance(node, Rows) else node
        blocks = self.blocks if self.blocks and node.shape == (self.rows, 1) else 0
        if not value.timed:
            return self.constant(node, blocks)
        if value.kind == "carry":
            name = self.names.of(value)
            self.arrays[name] = f"(B, {size_text(value.shape[0])})"
            self.fixed[name] = f"m.{name}"
            return self.split(name if node == value else f"{name}[..., {cut(*node.args[1:])}]", node, blocks)
        return self.seen(node, blocks)

    def constant(self, node: sp.MatrixExpr, blocks: int) -> str:
        """A parameter: a vector as one row, made before the loop, a matrix transposed."""
        value = node.args[0] if isinstance(node, Rows) else node
        text = self.names.of(value) if node == value else f"{self.names.of(value)}[{cut(*node.args[1:])}]"
        if not value.is_vector:
            return f"{text}.T"
        return self.free_name(f"{self.names.of(value)}_row", f"{text}.reshape({blocks}, 1, -1)" if blocks else f"{text}.T")

    def free_name(self, wanted: str, text: str) -> str:
        """A name for something made before the loop: the same for the same text."""
        name = next(n for n in numbered(wanted) if self.fixed.get(n, "" if n in self.names.taken else text) == text)
        self.fixed[name] = text
        return name

    def split(self, text: str, node: sp.MatrixExpr, blocks: int) -> str:
        """An array of one step, rows of one piece, seen block by block."""
        if not blocks:
            return text
        return self.free_name(f"{text.partition('[')[0]}_by_{blocks}", in_blocks(text, blocks, node.shape[0]))

    def seen(self, node: sp.MatrixExpr, blocks: int) -> str:
        value = node.args[0] if isinstance(node, Rows) else node
        current = value.like(lag=0)
        if value.lag or current not in self.plan.homes:
            return self.given(node, blocks)
        key = self.key(node)
        root, name, index = key[0], self.name_of(key), self.index(key)
        size = self.plan.sizes.get(root)
        apart = blocks if size is None else 0
        if apart:
            name = f"{name}_by_{apart}"
        if root in self.plan.sequences:
            source = f"self.{self.sequence(root)}{indexed('1:' if root in self.plan.states else '', index)}"
            columns = self.ahead if self.is_passing(root) else self.columns
            columns[name] = in_blocks(source, apart, key[2], self.length(root)) if apart else source
        else:
            self.arrays[self.names.of(root)] = f"({self.shape(root)})"
            source = f"m.{self.names.of(root)}{f'[{index}]' if index else ''}"
            self.fixed[name] = in_blocks(source, apart, key[2]) if apart else source
        if index and size is None:
            self.lowering.scattered.add(name)
        return name

    def is_passing(self, root: Value) -> bool:
        """Whether an array holds the steps of one block only, where others hold all steps."""
        return False

    def length(self, root: Value) -> str:
        """The number of steps of an array."""
        return "self.block" if self.is_passing(root) else self.steps

    def given(self, node: sp.MatrixExpr, blocks: int) -> str:
        """A value that the loop doesn't compute: a state before the step, or an array of the caller or the tape."""
        value = node.args[0] if isinstance(node, Rows) else node
        root = value.like(lag=0)
        name = self.names.of(value)
        if root in self.plan.states:
            self.columns[name] = f"self.{self.sequence(root)}[:-1]"
        elif value.kind == "given":
            self.arrays[f"{name}_all"] = f"({self.steps}, B, {size_text(value.shape[0])})"
            self.columns[name] = f"self.{name}_all"
        else:
            self.indexed[name] = f"{name}_all"
        text = name if node == value else f"{name}[..., {cut(*node.args[1:])}]"
        return in_blocks(text, blocks, node.shape[0]) if blocks else text

    def sequence(self, root: Value) -> str:
        """The array of a root over all its steps."""
        name = self.array_name(root)
        steps = f"{self.length(root)} + 1" if root in self.plan.states else self.length(root)
        self.arrays[name] = f"({steps}, {self.shape(root)})"
        return name

    def scratch(self, rows: sp.Expr) -> str:
        """A buffer of so many rows, free again after the equation."""
        blocks = self.blocks if self.blocks and sp.expand(rows - self.rows) == 0 else 0
        shape = f"({blocks}, B, {size_text(rows / blocks)})" if blocks else f"(B, {size_text(rows)})"
        name = self.borrow(shape)
        self.fixed[name] = f"m.{name}"
        return name

    def borrow(self, shape: str) -> str:
        """A buffer of a shape, until `release`."""
        pool = self.free.setdefault(shape, [])
        name = pool.pop() if pool else f"buffer_{sum(array.startswith('buffer_') for array in self.arrays) + 1}"
        self.arrays[name] = shape
        self.busy.append(name)
        return name

    def release(self) -> None:
        for name in self.busy:
            self.free[self.arrays[name]].append(name)
        self.busy.clear()

    def by_blocks(self, equation: Equation) -> int:
        """How many blocks an equation of the loop is computed in: those of the stack that it reads or writes, or of [v; v; ...]."""
        value, rows = equation.value, equation.target.shape[0]
        nodes = [equation.target, *[node for node in sp.preorder_traversal(value) if isinstance(node, (Value, Rows))]]
        counts = {
            self.count(self.key(node))
            for node in nodes
            if node.shape == equation.target.shape and (node.args[0] if isinstance(node, Rows) else node) in self.plan.homes
        }
        counts |= {int(node.args[1]) for node in sp.preorder_traversal(value) if isinstance(node, Repeat)}
        blocks = max(counts, default=1)
        return blocks if blocks > 1 and blockwise(value, rows, rows / blocks) else 0

    def step_lines(self) -> list[str]:
        """The body of the loop."""
        out: list[str] = []
        for equation in self.program.at("step"):
            out += self.equation_lines(equation)
        return out

    def equation_lines(self, equation: Equation) -> list[str]:
        target, value = equation.target, equation.value
        comment = f"# {self.comment(equation)}"
        root, start = (self.plan.find(target)) if target in self.plan.homes else (target, sp.S.Zero)
        if isinstance(value, Rows) and self.key(value)[:2] == (root, sp.expand(start)) and target.kind != "carry":
            self.view(target)
            return [comment]
        self.lowering.lines = []
        if isinstance(value, Stack):
            self.stack_parts(equation)
        else:
            self.blocks, self.rows = self.by_blocks(equation), target.shape[0]
            self.lowering.in_blocks = self.blocks > 0
            out = self.view(target)
            first = self.consumed(equation)
            if not equation.terms or not values_in(value) or (target.timed and not is_timed(value)):
                self.lowering.lines.append(f"{out}[...] = {self.lowering.text.text(value) if equation.terms else 0}")
            else:
                self.lowering.assign(value, out, first)
            self.blocks, self.lowering.in_blocks = 0, False
        self.release()
        return [comment, *self.lowering.lines]

    def comment(self, equation: Equation) -> str:
        shown = equation.target in self.notation.shown
        return self.notation.value(equation.target) if shown else self.notation.equation(equation)

    def consumed(self, equation: Equation) -> str:
        """The operand whose memory the target takes over, as text; empty where it has its own."""
        home = self.plan.homes.get(equation.target)
        if home is None or home.root == equation.target or not isinstance(coefficient(equation.value)[1], (Plus, Hadamard)):
            return ""
        for part in coefficient(equation.value)[1].args:
            if isinstance(part, (Value, Rows)) and part.shape == equation.target.shape:
                base = part.args[0] if isinstance(part, Rows) else part
                if base in self.plan.homes and not base.lag and self.key(part) == self.key(equation.target):
                    return self.view(part)
        return ""

    def stack_parts(self, equation: Equation) -> None:
        """Copy the parts of a stack that don't lie in it already."""
        for target, part in self.elsewhere(equation):
            text = self.lowering.text.text(part)
            self.lowering.lines.append(f"{self.view(target)}[...] = {text}")

    def elsewhere(self, equation: Equation) -> Iterator[tuple[Rows, sp.MatrixExpr]]:
        """(the rows of the stack, the part that belongs there) for the parts that don't lie there already."""
        start: sp.Expr = sp.S.Zero
        for part in equation.value.args:
            target = Rows(equation.target, start, start + part.shape[0])
            if not (isinstance(part, Value) and part in self.plan.homes and self.key(part) == self.key(target)):
                yield target, part
            start = start + part.shape[0]

    # ---- before and after the loop: all steps at hand at once

    def whole(self, node: sp.MatrixExpr) -> str:
        """The text of a value, or rows of one, over all steps at hand; of a parameter as one row."""
        value = node.args[0] if isinstance(node, Rows) else node
        if not value.timed:
            return f"{self.names.of(value)}{f'[{cut(*node.args[1:])}]' if node != value else ''}.T"
        current = value.like(lag=0)
        if current not in self.plan.homes:
            index = f"..., {cut(*node.args[1:])}" if node != value else ""
            name = f"{self.names.of(value)}_all"
            if value.kind == "given":
                self.arrays[name] = f"({self.steps}, B, {size_text(value.shape[0])})"
                return f"m.{name}{indexed(self.at_hand(value), index)}"
            return self.outside(name, index)
        key = self.key(node.xreplace({value: current}) if value.lag and node != value else current if value.lag else node)
        return f"m.{self.sequence(key[0])}{indexed(self.at_hand(key[0], value.lag), self.index(key))}"

    def at_hand(self, root: Value, lag: int = 0) -> str:
        """The index of the steps at hand in an array of `m`."""
        return "" if root not in self.plan.states else ":-1" if lag else "1:"

    def outside(self, array: str, index: str = "") -> str:
        """The text of an array of the caller, or of the tape, over the steps at hand."""
        return f"{array}{indexed('', index)}"

    def over_all(self) -> RowsText:
        """Expressions over all steps at hand."""
        return RowsText(self.whole, self.names.of, "all", self.helpers, "n")

    def whole_lowering(self) -> Lowering:
        return Lowering(self.whole, self.whole_scratch, self.over_all(), in_loop=False)

    def whole_scratch(self, rows: sp.Expr) -> str:
        """A buffer over the steps of a block."""
        return f"m.{self.borrow(f'(self.block, B, {size_text(rows)})')}[:n]"

    def before_lines(self) -> list[str]:
        out: list[str] = []
        for equation in self.program.at("before"):
            out += self.whole_lines(equation)
        return out

    def whole_lines(self, equation: Equation) -> list[str]:
        """One equation for all steps at hand."""
        comment = f"# {self.notation.equation(equation)}"
        target, value = self.whole(equation.target), equation.value
        if isinstance(value, Stack):
            copies = [f"{self.whole(rows)}[...] = {self.over_all().text(part)}" for rows, part in self.elsewhere(equation)]
            return [comment, *copies]
        if isinstance(value, Rows) and self.whole(value) == target:
            return [comment]
        lowering = self.whole_lowering()
        if not is_timed(value) or self.is_fused(equation):
            lowering.lines.append(f"{target}[...] = {lowering.text.text(value) if equation.terms else 0}")
        else:
            lowering.assign(value, target)
        self.release()
        return [comment, *lowering.lines]

    def is_fused(self, equation: Equation) -> bool:
        """Whether an expression has something that can't be written call by call at this place."""
        return any(isinstance(node, Stack) for node in sp.preorder_traversal(equation.value))

    def class_lines(self, name: str, what: str, extra: list[str]) -> list[str]:
        values = (*self.program.given, *self.program.carried(), *self.plan.homes)
        dims = sorted({symbol.name for value in values for size in value.shape for symbol in size.free_symbols})
        sources = {attribute: list(columns.values()) for attribute, columns in self.walks().items()}
        return class_of_arrays(name, what, extra, self.arrays, sources, self.steps, dims)

    def walks(self) -> dict[str, dict[str, str]]:
        """attribute of m -> the names, and their views, that the loop takes from it at each step."""
        return {"ahead": self.ahead, "steps": self.columns} if self.ahead else {"steps": self.columns}

    def loop(self, walk: dict[str, str], order: str) -> list[str]:
        """The loop over time. walk: attribute of `walks` -> how it is walked; `order` runs over the indices of the same steps."""
        body = self.step_lines()
        heads, sources = [], []
        if self.indexed:
            heads, sources = ["t"], [order]
            body = [*[f"{name} = {array}[t]" for name, array in self.indexed.items()], *body]
        for attribute, columns in self.walks().items():
            heads.append(", ".join(columns) + "," * (len(columns) == 1) if columns else "_")
            sources.append(walk[attribute])
        if len(heads) == 1:
            head = f"for {f'({heads[0]})' if heads[0].endswith(',') else heads[0]} in {sources[0]}:"
        else:
            tuples = [name if name in ("t", "_") else f"({name})" for name in heads]
            head = f"for {', '.join(tuples)} in zip({', '.join(sources)}):"
        numbers = [f"{name} = {text}" for name, text in self.lowering.numbers.items()]
        fixed = [*numbers, *[f"{name} = {text}" for name, text in self.fixed.items()]]
        calls = sorted(self.lowering.called)
        if len(calls) > 1:
            fixed.insert(0, f"{', '.join(calls)} = {', '.join(f'np.{name}' for name in calls)}")
        elif calls:
            fixed.insert(0, f"{calls[0]} = np.{calls[0]}")
        return [*fixed, head, *["    " + line for line in body]] if body else []
