"""Where values lie: which share memory, which need an array over all steps and which a buffer for one step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache

import sympy as sp

from derive.blocks import Rows, Stack
from derive.comparisons import Pairwise
from derive.equation import Equation
from derive.expressions import matrix_parts
from derive.language import Apply, Hadamard, Plus, Value, coefficient
from derive.procedures.gates import Home, block_sizes, find, leaves
from derive.program import Program

Span = tuple[sp.Expr, sp.Expr]


class Memory:
    """The memory of a program's timed values.

    A part of a stack lies in the stack's rows; rows of a value lie where the value lies; a value that is computed elementwise
    from another one of its step that nobody reads afterwards takes over its memory. `sizes` has the rows of a block for values in stacks
    of blocks. `sequences` are the roots that need an array over all steps, `passing` those of them that the loop alone reads.
    shifted: values that somebody outside reads at an earlier step; with those that the program itself reads so they are the `states`.
    """

    def __init__(self, program: Program, keep: Iterable[Value], shifted: Iterable[Value] = ()) -> None:
        self.program = program
        self.keep = {*keep, *[value for value in program.results if value.timed]}
        self.states = dict.fromkeys([*[written for _, written in program.carries if not program.reverse], *shifted])
        # in the order in which they are computed: what stands behind the loop reads what the whole loop leaves
        self.all = [equation for place in ("before", "step", "after") for equation in program.at(place)]
        self.order = [equation for equation in self.all if equation.target.timed]
        self.position = {e.target: k for k, e in enumerate(self.order)}
        self.homes: dict[Value, Home] = {}
        self.defined = program.defined()
        self.readers: dict[Value, list[int]] = defaultdict(list)
        for k, equation in enumerate(self.all):
            for value in equation.reads():
                self.readers[value].append(k)
        self.members: dict[Value, list[Value]] = defaultdict(list)
        for equation in self.order:
            if isinstance(equation.value, Stack) and "carry" not in equation.target.marks:  # the one before may be read still
                self.place_parts(equation)
        self.sizes = block_sizes(program, self.homes, self.keep)
        for k, equation in enumerate(self.all):
            if equation.target.timed and equation.target not in self.homes:
                self.settle(equation.target, self.choose(equation, k))
        self.later = {read for e in program.at("after") for read in e.reads()}
        self.sequences = {self.root(value) for value in self.homes if self.needs_sequence(value)}
        staying = {self.root(value) for value in self.homes if value in self.keep or value in self.later or value in self.states}
        self.passing = self.sequences - staying

    # ---- homes

    def settle(self, value: Value, home: Home) -> None:
        self.homes[value] = home
        self.members[self.root(value)].append(value)

    def root(self, value: Value) -> Value:
        return self.find(value)[0]

    def find(self, value: Value) -> tuple[Value, sp.Expr]:
        """(the root, the first row in it)."""
        return find(self.homes, value)

    def place_parts(self, equation: Equation) -> None:
        """Let the parts of a stack lie in its rows, where they are computed at the same place and lie nowhere yet."""
        start: sp.Expr = sp.S.Zero
        place, times = self.program.places[equation.target], Counter(equation.value.args)
        for part in equation.value.args:
            free = isinstance(part, Value) and part not in self.homes and part not in self.states and part in self.position
            if free and self.program.places[part] == place and times[part] == 1:
                self.settle(part, Home(equation.target, start))
            start = start + part.shape[0]

    def choose(self, equation: Equation, k: int) -> Home:
        """The home of a target: the rows that it is, the memory of an operand that is done with, or its own."""
        target, value = equation.target, equation.value
        own = Home(target, sp.S.Zero)
        if target in self.states or "carry" in target.marks or equation.accumulate:
            return own
        if isinstance(value, Rows) and isinstance(value.args[0], Value) and value.args[0] in self.homes:
            return Home(value.args[0], value.args[1])
        if self.program.places[equation.target] == "step":
            for operand in operands(value):
                base, start = (operand.args[0], operand.args[1]) if isinstance(operand, Rows) else (operand, sp.S.Zero)
                if operand.shape == target.shape and base in self.homes and self.is_fit(base, operand, target, k):
                    return Home(base, start)
        return own

    def is_fit(self, base: Value, operand: sp.MatrixExpr, target: Value, k: int) -> bool:
        """Whether a target can take over the memory of an operand: computed in this step, laid out alike, in one piece, and free."""
        if self.program.places[base] != "step":
            return False
        size = self.sizes.get(base)
        if size is None:
            alike = target not in self.sizes and operand.shape == self.root(base).shape
        else:
            alike = self.sizes.get(target, operand.shape[0]) == size
        return alike and self.is_free(base, operand, k)

    def is_free(self, base: Value, operand: sp.MatrixExpr, k: int) -> bool:
        """Whether nothing reads the memory of an operand after equation k, and it isn't to be kept."""
        root = self.root(base)
        if root in self.states or "carry" in base.marks or "carry" in root.marks or isinstance(self.defined[root].value, Stack):
            return False
        span = self.span(operand)
        if self.all[k].reads().count(base) != 1 or count(self.all[k].value, base) != 1:
            return False
        if any(value in self.keep and overlaps(self.span(value), span) for value in self.members[root]):
            return False
        later = [(value, j) for value in self.members[root] for j in self.readers[value] if j > k]
        return not any(overlaps(self.span(part), span) for value, j in later for part in leaves(self.all[j].value, value))

    def span(self, node: sp.MatrixExpr) -> Span:
        """The rows of its root that a value, or rows of one, covers."""
        base, start = (node.args[0], node.args[1]) if isinstance(node, Rows) else (node, sp.S.Zero)
        first = self.find(base)[1] + start
        return first, first + node.shape[0]

    def needs_sequence(self, value: Value) -> bool:
        """Whether a value has to be there for all steps."""
        equation = self.defined[value]
        if "carry" in value.marks:
            return False
        return self.program.places[equation.target] != "step" or value in self.states or value in self.keep or value in self.later


def operands(node: sp.MatrixExpr) -> list[sp.MatrixExpr]:
    """The operands of an elementwise expression that may give their memory to its result."""
    number, rest = coefficient(node)
    if isinstance(rest, (Value, Rows)):
        return [rest] if number != 1 else []
    if isinstance(rest, Apply):
        return [rest.expr] if simple(rest) else []
    if isinstance(rest, (Plus, Hadamard, Pairwise)) and number == 1:
        return [part for part in rest.args if isinstance(part, (Value, Rows))]
    return []


def simple(node: Apply) -> bool:
    """Whether a scalar expression reads its operand once, so that it can be computed in place."""
    return bool(node.scalar.count(lambda part: part == node.args[0].variables[0]) == 1)


def count(node: sp.MatrixExpr, value: Value) -> int:
    return int(node == value) + sum(count(part, value) for part in matrix_parts(node))


def overlaps(first: Span, second: Span) -> bool:
    """Whether two ranges of rows share any, for any sizes: disjoint only where one provably ends before the other starts."""
    return not (at_most(first[1], second[0]) or at_most(second[1], first[0]))


@cache
def at_most(left: sp.Expr, right: sp.Expr) -> bool:
    difference = sp.expand(right - left)
    return bool(difference == 0 or all(term.as_coeff_Mul()[0] > 0 for term in sp.Add.make_args(difference)))
