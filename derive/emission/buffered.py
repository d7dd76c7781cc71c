"""forward and backward without allocation in the loop over time: arrays and their views are made once, by `_Forward` and `_Backward`."""

from __future__ import annotations

from functools import partial

import sympy as sp

from derive.emission.expressions import NumPyText, size_text
from derive.emission.functions import sizes_line
from derive.emission.lower import Lowering
from derive.emission.names import Names
from derive.emission.once import Once
from derive.emission.plan import Plan
from derive.expressions import is_timed, values_in
from derive.language import Hadamard, Plus, Rows, Stack, Value, coefficient
from derive.notation import Notation
from derive.program import Equation, Program

Key = tuple[Value, sp.Expr, sp.Expr, int]
"""Rows of a root: (root, first row, number of rows, number of blocks they are seen as; 0 for a plain view)."""


class Buffered(Once):
    """Writes one function and the class of its arrays. `steps` is `T` forward, the steps of one block backward."""

    def __init__(
        self, program: Program, names: Names, notation: Notation, helpers: set[str], keep: list[Value], steps: str
    ) -> None:
        self.program, self.names, self.notation, self.helpers, self.steps = program, names, notation, helpers, steps
        self.plan = Plan(program, keep)
        self.taped: set[Value] = set()
        self.arrays: dict[str, str] = {}
        self.columns: dict[Key, tuple[str, str]] = {}
        self.fixed: dict[str, str] = {}
        self.indexed: dict[str, str] = {}
        self.labels = self.label()
        self.lowering = Lowering(self.view, self.blocks, self.scratch, NumPyText(self.reference, "step", helpers))
        self.lowering.targets = {}
        self.busy: list[str] = []
        self.free: dict[str, list[str]] = {}

    # ---- names of memory

    def label(self) -> dict[tuple[Value, sp.Expr, sp.Expr], str]:
        """The name of each range of rows: the last value that lies exactly there."""
        labels = {}
        for value in self.plan.homes:
            root, start = self.plan.find(value)
            labels[root, start, value.shape[0]] = self.names.of(value)
        return labels

    def key(self, node: sp.MatrixExpr) -> tuple[Value, sp.Expr, sp.Expr]:
        base, cut = (node.args[0], node.args[1]) if isinstance(node, Rows) else (node, sp.S.Zero)
        root, start = self.plan.find(base)
        return root, sp.expand(start + cut), node.shape[0]

    def name_of(self, key: tuple[Value, sp.Expr, sp.Expr]) -> str:
        """The local name of a range of rows."""
        if key not in self.labels:
            stem = self.array_name(key[0]).removesuffix("_all")
            taken = set(self.labels.values()) | self.names.taken
            name = next(n for n in (f"{stem}_part", *(f"{stem}_part_{k}" for k in range(2, 99))) if n not in taken)
            self.names.taken.add(name)
            self.labels[key] = name
        return self.labels[key]

    def array_name(self, root: Value) -> str:
        return f"{self.names.of(root)}_all"

    def cut(self, key: tuple[Value, sp.Expr, sp.Expr], lead: str = ":, ") -> str:
        """The index of a range of rows, nothing where it is everything."""
        root, start, rows = key
        if start == 0 and rows == root.shape[0]:
            return ""
        return f"[{lead}{size_text(start) if start != 0 else ''}:{size_text(start + rows)}]"

    # ---- a value inside the loop

    def reference(self, value: Value) -> str:
        """The text of a value in the loop."""
        return self.view(value) if value.timed else self.names.of(value)

    def view(self, node: sp.MatrixExpr) -> str:
        """The local name of a value or rows of one at this step."""
        value = node.args[0] if isinstance(node, Rows) else node
        if not value.timed:
            return NumPyText(self.names.of, "once", self.helpers).text(node)
        if value.kind == "carry":
            name = self.names.of(value)
            self.fixed[name] = f"m.{name}"
            self.arrays[name] = self.shape(value.shape[0])
            return name if node == value else NumPyText(lambda v: name, "once", self.helpers).text(node)
        return self.seen(node, 0)

    def seen(self, node: sp.MatrixExpr, blocks: int) -> str:
        value = node.args[0] if isinstance(node, Rows) else node
        current = value.like(lag=0)
        if value.lag or current not in self.plan.homes:
            return self.given(node, blocks)
        key = self.key(node)
        name = self.name_of(key) if not blocks else f"{self.name_of(key)}_by_{blocks}"
        root = key[0]
        if root in self.plan.sequences:
            array = self.sequence(root)
            source = f"self.{array}{'[1:]' if root in self.plan.states else ''}{self.cut(key)}"
            if blocks:
                source += f".reshape({self.steps}, {blocks}, {size_text(key[2] / blocks)}, B)"
            self.columns[(*key, blocks)] = (name, source)
        else:
            array = self.names.of(root)
            self.arrays[array] = self.shape(root.shape[0])
            self.fixed[name] = f"m.{array}{self.cut(key, '')}"
            if blocks:
                self.fixed[name] += f".reshape({blocks}, {size_text(key[2] / blocks)}, B)"
        self.lowering.targets[name] = partial(self.seen, node)
        return name

    def given(self, node: sp.MatrixExpr, blocks: int) -> str:
        """A value that the loop doesn't compute: a state before the step, or an array of the caller or the tape."""
        value = node.args[0] if isinstance(node, Rows) else node
        root = value.like(lag=0)
        name = self.names.of(value)
        if root in self.plan.states:
            self.sequence(root)
            self.columns[(value, sp.S.Zero, value.shape[0], 0)] = (name, f"self.{self.array_name(root)}[:-1]")
        elif value.kind == "given":
            self.arrays[f"{name}_all"] = f"({self.steps}, {size_text(value.shape[0])}, B)"
            self.columns[(value, sp.S.Zero, value.shape[0], 0)] = (name, f"self.{name}_all")
        else:
            self.indexed[name] = self.outside(value)
        text = name if node == value else NumPyText(lambda v: name, "step", self.helpers).text(node)
        return text if not blocks else f"{text}.reshape({blocks}, {size_text(node.shape[0] / blocks)}, B)"

    def outside(self, value: Value) -> str:
        """The array over the steps at hand of a value from outside."""
        return f"{self.names.of(value)}_all"

    def blocks(self, node: sp.MatrixExpr, times: int) -> str:
        value = node.args[0] if isinstance(node, Rows) else node
        if value.timed and value.kind != "carry":
            return self.seen(node, times)
        text = self.names.of(value)
        name = f"{text}_by_{times}"
        self.fixed[name] = f"{text}.reshape({times}, {size_text(node.shape[0] / times)}, {'B' if value.timed else '1'})"
        return name

    def sequence(self, root: Value) -> str:
        name = self.array_name(root)
        steps = f"{self.steps} + 1" if root in self.plan.states else self.steps
        self.arrays[name] = f"({steps}, {size_text(root.shape[0])}, B)"
        return name

    def shape(self, rows: sp.Expr) -> str:
        return f"({size_text(rows)}, B)"

    def scratch(self, rows: sp.Expr) -> str:
        """A buffer of so many rows, free again after the equation."""
        shape = self.shape(rows)
        pool = self.free.setdefault(shape, [])
        if pool:
            name = pool.pop()
        else:
            count = sum(array.startswith("buffer_") for array in self.arrays) + 1
            name = f"buffer_{count}"
            self.arrays[name] = shape
        self.busy.append(name)
        self.fixed[name] = f"m.{name}"
        self.lowering.targets[name] = partial(self.buffer_blocks, name, rows)
        return name

    def buffer_blocks(self, name: str, rows: sp.Expr, times: int) -> str:
        self.fixed[f"{name}_by_{times}"] = f"m.{name}.reshape({times}, {size_text(rows / times)}, B)"
        return f"{name}_by_{times}"

    def release(self) -> None:
        for name in self.busy:
            self.free[self.arrays[name]].append(name)
        self.busy.clear()

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
            out = self.view(target)
            first = self.consumed(equation)
            text = NumPyText(self.reference, "step", self.helpers)
            if not equation.terms or not values_in(value) or (target.timed and not is_timed(value)):
                self.lowering.lines.append(f"{out}[...] = {text.text(value) if equation.terms else 0}")
            else:
                self.lowering.assign(value, out, first)
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
        start: sp.Expr = sp.S.Zero
        for part in equation.value.args:
            rows = part.shape[0]
            target = Rows(equation.target, start, start + rows)
            if not (isinstance(part, Value) and part in self.plan.homes and self.key(part) == self.key(target)):
                text = NumPyText(self.reference, "step", self.helpers).text(part)
                self.lowering.lines.append(f"{self.view(target)}[...] = {text}")
            start = start + rows

    # ---- before and after the loop: all steps at hand at once

    def whole(self, node: sp.MatrixExpr) -> str:
        """The text of a value, or rows of one, over all steps at hand."""
        value = node.args[0] if isinstance(node, Rows) else node
        if not value.timed:
            return NumPyText(self.names.of, "once", self.helpers).text(node)
        current = value.like(lag=0)
        if current not in self.plan.homes:
            text = self.own(f"{self.names.of(value)}_all") if value.kind == "given" else self.outside(value)
            if value.kind == "given":
                self.arrays[f"{self.names.of(value)}_all"] = f"({self.steps}, {size_text(value.shape[0])}, B)"
            return (
                text
                if node == value
                else f"{text}[:, {size_text(node.args[1]) if node.args[1] != 0 else ''}:{size_text(node.args[2])}]"
            )
        key = self.key(node.xreplace({value: current}) if value.lag and node != value else current if value.lag else node)
        name = self.own(self.sequence(key[0]))
        if key[0] in self.plan.states:
            name += "[:-1]" if value.lag else "[1:]"
        return name + self.cut(key)

    def own(self, array: str) -> str:
        """The text of an array of `m` over the steps at hand."""
        return f"m.{array}"

    def whole_lowering(self) -> Lowering:
        text = NumPyText(lambda value: self.whole(value), "all", self.helpers)
        lowering = Lowering(self.whole, lambda node, k: self.whole(node), self.whole_scratch, text, in_loop=False)
        lowering.targets = {}
        return lowering

    def whole_scratch(self, rows: sp.Expr) -> str:
        """A buffer over all steps at hand."""
        shape = f"({self.steps}, {size_text(rows)}, B)"
        pool = self.free.setdefault(shape, [])
        name = pool.pop() if pool else f"buffer_{sum(array.startswith('buffer_') for array in self.arrays) + 1}"
        self.arrays[name] = shape
        self.busy.append(name)
        return self.own(name)

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
            return [comment, *self.whole_stack(equation)]
        if isinstance(value, Rows) and self.whole(value) == target:
            return [comment]
        lowering = self.whole_lowering()
        if not is_timed(value) or self.is_fused(equation):
            text = NumPyText(lambda leaf: self.whole(leaf), "all", self.helpers)
            lowering.lines.append(f"{target}[...] = {text.text(value) if equation.terms else 0}")
        else:
            lowering.assign(value, target)
        self.release()
        return [comment, *lowering.lines]

    def is_fused(self, equation: Equation) -> bool:
        """Whether an expression has something that can't be written call by call at this place."""
        return any(isinstance(node, Stack) for node in sp.preorder_traversal(equation.value))

    def whole_stack(self, equation: Equation) -> list[str]:
        lines = []
        start: sp.Expr = sp.S.Zero
        for part in equation.value.args:
            target = Rows(equation.target, start, start + part.shape[0])
            if not (isinstance(part, Value) and part in self.plan.homes and self.key(part) == self.key(target)):
                text = NumPyText(lambda value: self.whole(value), "all", self.helpers).text(part)
                lines.append(f"{self.whole(target)}[...] = {text}")
            start = start + part.shape[0]
        return lines

    def class_lines(self, name: str, what: str, extra: list[str]) -> list[str]:
        lines = [f"class {name}:", f'    """{what}"""', "", "    def __init__(self, sizes, dtype):"]
        body = [f"self.{array} = np.empty({shape}, dtype)" for array, shape in sorted(self.arrays.items())]
        sources = [source for _, source in self.columns.values()]
        if sources:
            body.append("self.steps = list(")
            body.append(f"    zip({', '.join(sources)})" if len(sources) < 3 else "    zip(")
            if len(sources) >= 3:
                body += [*[f"        {source}," for source in sources], "    )"]
            body.append(")")
        else:
            body.append(f"self.steps = [()] * {self.steps}")
        dims = sorted(
            {
                s.name
                for v in (*self.program.given, *self.program.carried(), *self.plan.homes)
                for size in v.shape
                for s in size.free_symbols
            }
        )
        text = [*extra, *body]
        return [*lines, *["    " + line for line in sizes_line(text, dims)], *["        " + line for line in text]]

    def loop(self, walk: str, order: str) -> list[str]:
        """The loop over `walk`, a list of views; `order` runs over the indices of the same steps."""
        body = self.step_lines()
        local = [name for name, _ in self.columns.values()]
        names = "".join(f"{name}, " for name in local).rstrip()
        names = names.rstrip(",") if len(local) > 1 else names
        head = f"for {names or '_'} in {walk}:"
        if self.indexed:
            head = f"for t, ({names}) in zip({order}, {walk}):" if local else f"for t in {order}:"
            body = [*[f"{name} = {array}[t]" for name, array in self.indexed.items()], *body]
        numbers = [f"{name} = {text}" for name, text in self.lowering.numbers.items()]
        fixed = [*numbers, *[f"{name} = {text}" for name, text in self.fixed.items()]]
        calls = sorted(self.lowering.called)
        if len(calls) > 1:
            fixed.insert(0, f"{', '.join(calls)} = {', '.join(f'np.{name}' for name in calls)}")
        elif calls:
            fixed.insert(0, f"{calls[0]} = np.{calls[0]}")
        return [*fixed, head, *["    " + line for line in body]] if body else []
