"""Which stacks lie as blocks: k gates one after the other, (k, B, n), instead of side by side in the row of each example, (B, k n).

Products read and write rows. What no product touches lies better in blocks: each gate is one piece of memory, which elementwise calls
take 1.5 to 3 times as fast as columns of a wider row (measured, B from 16 to 64), and a call over all gates is one call still.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Pairwise
from derive.equation import Equation
from derive.expressions import matrix_parts
from derive.language import Apply, Hadamard, Ones, Plus, Times, Value, coefficient
from derive.program import Program


@dataclass(frozen=True)
class Home:
    """Rows of the memory of one value, the root."""

    root: Value
    start: sp.Expr


def find(homes: Mapping[Value, Home], value: Value) -> tuple[Value, sp.Expr]:
    """(the root, the first row in it)."""
    home = homes.get(value)
    if home is None or home.root == value:
        return value, sp.S.Zero
    root, start = find(homes, home.root)
    return root, start + home.start


def block_sizes(program: Program, placed: Mapping[Value, Home], whole: Iterable[Value]) -> dict[Value, sp.Expr]:
    """value -> rows of one block, for the values that lie in stacks of blocks.

    placed: the parts of stacks that lie in them. whole: the values that somebody outside reads, each as one piece.
    """
    order = [e for e in program.equations if program.places[e.target] in ("before", "step", "after") and e.target.timed]
    places = dict(placed)
    states = {value for _, value in program.carries}
    for equation in order:
        value = equation.value
        alias = isinstance(value, Rows) and isinstance(value.args[0], Value) and not equation.accumulate
        if alias and equation.target not in places and equation.target not in states:
            places[equation.target] = Home(value.args[0], value.args[1])
    groups: dict[Value, dict[Value, sp.Expr]] = defaultdict(dict)
    for equation in order:
        root, start = find(places, equation.target)
        groups[root][equation.target] = start
    readers: dict[Value, list[Equation]] = defaultdict(list)
    for equation in program.equations:
        for value in equation.reads():
            readers[value].append(equation)
    outside = {*whole, *states}
    sizes: dict[Value, sp.Expr] = {}
    for root, members in groups.items():
        size = block_size(program, root, members, readers, outside)
        if size is not None:
            sizes |= dict.fromkeys(members, size)
    for equation in reversed(order):
        # what is read by calls over blocks only, and made by one, lies in blocks too
        target, by = equation.target, readers[equation.target]
        found_sizes = {sizes.get(e.target) for e in by}
        size = found_sizes.pop() if len(found_sizes) == 1 else None
        alone = groups.get(target, {}).keys() == {target} and target not in outside and "carry" not in target.marks
        if (
            size is not None
            and alone
            and all(is_call(program, e, size) and e.target.shape == target.shape for e in (equation, *by))
        ):
            sizes[target] = size
    return sizes


def is_call(program: Program, equation: Equation, size: sp.Expr) -> bool:
    """Whether an equation of the loop can be computed over blocks of so many rows."""
    return program.place(equation) == "step" and blockwise(equation.value, equation.target.shape[0], size)


def block_size(
    program: Program,
    root: Value,
    members: dict[Value, sp.Expr],
    readers: Mapping[Value, list[Equation]],
    outside: set[Value],
) -> sp.Expr | None:
    """The rows of a block of one stack, None where it can't lie in blocks or nothing is gained."""
    defined = program.defined()
    if root not in defined or any("carry" in member.marks or member.shape[1] != 1 for member in members):
        return None
    total = root.shape[0]
    spans = [(start, start + member.shape[0]) for member, start in members.items()]
    equations = dict.fromkeys(e for member in members for e in (defined[member], *readers[member]))
    nodes = {e: read_parts(e.value, members) for e in equations}
    for found_in in nodes.values():
        for node in found_in:
            value, first = (node.args[0], node.args[1]) if isinstance(node, Rows) else (node, sp.S.Zero)
            spans.append((members[value] + first, members[value] + first + node.shape[0]))
    spans = list(dict.fromkeys(spans))
    size = common_size(frozenset(sp.expand(end) for span in spans for end in span if end != 0))
    if (
        not any(sp.expand(stop - start - size) == 0 for start, stop in spans)
        or not sp.cancel(total / size).is_Integer
        or size in (1, total)
    ):
        return None
    if any(member in outside and member.shape[0] != size for member in members):
        return None
    gained = False
    for equation in equations:
        own = equation.target in members
        if own and (equation.accumulate or has_product(equation.value)):
            return None
        wide = (own and equation.target.shape[0] != size) or any(node.shape[0] != size for node in nodes[equation])
        if not wide or (own and isinstance(equation.value, Rows)):
            continue
        if own and isinstance(equation.value, Stack):
            if any(part.shape[0] != size for part in equation.value.args):
                return None
        elif is_call(program, equation, size):
            gained = True
        else:
            return None
    return size if gained else None


@cache
def common_size(ends: frozenset[sp.Expr]) -> sp.Expr:
    """The largest size of which all of these are multiples."""
    return sp.gcd_list(list(ends))


def read_parts(node: sp.MatrixExpr, values: Collection[Value]) -> list[sp.MatrixExpr]:
    """Values of a set, or rows of them, wherever an expression reads them."""
    if (node.args[0] if isinstance(node, Rows) else node) in values:
        return [node]
    return [leaf for part in matrix_parts(node) for leaf in read_parts(part, values)]


def leaves(node: sp.MatrixExpr, value: Value) -> list[sp.MatrixExpr]:
    """The value, or the rows of it, wherever an expression reads it."""
    if node == value or (isinstance(node, Rows) and node.args[0] == value):
        return [node]
    return [leaf for part in matrix_parts(node) for leaf in leaves(part, value)]


def has_product(node: sp.MatrixExpr) -> bool:
    """Whether there is a product in an expression, one by a number apart."""
    return isinstance(coefficient(node)[1], Times) or any(has_product(part) for part in matrix_parts(node))


def blockwise(node: sp.MatrixExpr, rows: sp.Expr, size: sp.Expr) -> bool:
    """Whether an expression of so many rows can be computed block by block in elementwise calls: the same vector may be read in each."""
    rest = coefficient(node)[1]
    match rest:
        case Value() | Rows():
            return bool(rest.shape == (rows, 1) and (isinstance(rest, Value) or isinstance(rest.args[0], Value)))
        case Repeat():
            return bool(isinstance(rest.args[0], (Value, Rows)) and rest.args[0].shape == (size, 1))
        case Plus() | Hadamard() | Pairwise():
            return all(blockwise(part, rows, size) for part in rest.args)
        case Apply():
            return blockwise(rest.expr, rows, size)
    return isinstance(rest, Ones)
