"""What a step costs: matrix products, multiply-adds, elementwise operations, and numbers saved for the backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from derive.cell import Cell
from derive.comparisons import Pairwise
from derive.equation import Equation
from derive.expressions import matrix_parts
from derive.language import Apply, Hadamard, Ones, Plus, Times, Transposed, Value, coefficient
from derive.onehot import one_hot_in
from derive.procedures.stages import stages
from derive.program import Program
from derive.recurrences import parts
from derive.reductions import OverElements
from derive.schedule import LOOPS

Placed = tuple[Equation, str]
"""An equation that a kernel computes, and its place: one of `derive.schedule.PLACES`."""


def count(node: sp.MatrixExpr) -> sp.Expr:
    """How many numbers an expression is."""
    return node.shape[0] * node.shape[1]


def products(node: sp.MatrixExpr) -> list[sp.Expr]:
    """The multiply-adds of each matrix product in an expression; taking a column by a token, or adding to one, is none."""
    found = [size for part in matrix_parts(node) for size in products(part)]
    rest = coefficient(node)[1]
    if isinstance(rest, Times) and not isinstance(rest.args[0], Ones):
        for left, right in zip(rest.args, rest.args[1:], strict=False):
            if one_hot_in(left) is None and one_hot_in(right) is None:
                found.append(left.shape[0] * left.shape[1] * right.shape[1])
    return found


def elementwise(node: sp.MatrixExpr) -> sp.Expr:
    """Elementwise operations of an expression: one per sum, product or function of two elements."""
    inner = sp.Add(*[elementwise(part) for part in matrix_parts(node)])
    number, rest = coefficient(node)
    size = count(node)
    if isinstance(rest, Transposed):
        return inner
    if isinstance(node, (Plus, Hadamard)):
        return inner + (len(node.args) - 1) * size
    if isinstance(node, Pairwise):
        return inner + size
    if isinstance(node, Apply):
        return inner + size * max(1, int(node.scalar.count_ops()))
    if isinstance(node, OverElements):
        return inner + node.work * count(node.args[0])
    return inner + (size if number not in (1, -1) else 0)


def computed_by(program: Program, is_plain: bool) -> list[Placed]:
    """What a kernel computes of a program: its equations, each with its place. is_plain: by the textbook's policy."""
    if not is_plain:
        return [(equation, part.place(equation)) for part in parts(program) for equation in part.equations]
    inside = {equation.target for stage in stages(program) if stage.way in LOOPS for equation in stage.equations}
    return [(one, "step" if one.target in inside else program.place(one)) for one in program.equations]


def step_cost(computed: Sequence[Placed]) -> tuple[int, sp.Expr, sp.Expr]:
    """(matrix products, multiply-adds, elementwise operations) of one step and one example."""
    values = [term.value for equation, place in computed if place not in ("once", "finish") for term in equation.terms]
    joins = sum(
        (max(0, len(equation.terms) - 1) * count(equation.target) for equation, _ in computed if equation.target.timed),
        sp.S.Zero,
    )
    sizes = [size for value in values for size in products(value)]
    return len(sizes), sp.expand(sp.Add(*sizes)), sp.expand(sp.Add(*[elementwise(v) for v in values]) + joins)


def saved(tape: Sequence[Value], inputs: tuple[Value, ...]) -> sp.Expr:
    """Numbers that forward saves per step and example; the inputs are the caller's arrays."""
    return sp.Add(*[count(value) for value in tape if value.timed and value not in inputs])


def given(cell: Cell) -> tuple[Value, ...]:
    """The caller's arrays along the steps."""
    return (*cell.inputs, *cell.tokens)


def cost_lines(cell: Cell, computed: Mapping[str, Sequence[Placed]], tape: Sequence[Value]) -> list[str]:
    """The cost of a step as the header of a kernel states it. computed: what forward and backward compute."""
    lines = ["per step and example:"]
    for name, equations in computed.items():
        number, adds, flat = step_cost(equations)
        products = f"{number} matrix products ({polynomial(adds)} multiply-adds)"
        lines.append(f"    {name:9}{products}, {polynomial(flat)} elementwise operations")
    names = ", ".join(value.name for value in tape if value.timed and value not in given(cell))
    lines.append(f"    saved    {polynomial(saved(tape, given(cell)))} numbers: {names}")
    return lines


def report(cell: Cell, computed: Mapping[str, Sequence[Placed]], tape: Sequence[Value], passes: str) -> list[str]:
    """What `--cost` prints of what `compiler.emitted` gives: the cost of a step, and the memory of the tape as a formula in T, B and
    the dimensions. passes: what made the programs, in words."""
    each = polynomial(saved(tape, given(cell)))
    states = polynomial(sp.Add(*[count(state) for state in cell.states]))
    loops = {name: sum(place == "step" for _, place in equations) for name, equations in computed.items()}
    return [
        cell.command,
        *cost_lines(cell, computed, tape),
        "tape, in numbers, beside the caller's arrays:",
        f"    T B ({each})",
        f"    with checkpoint_every=k:  (T/k) B ({states}) + k B ({each})",
        "schedule:",
        f"    {passes}",
        *[f"    {name:9}{number} equations in the loop" for name, number in loops.items()],
    ]


def polynomial(size: sp.Expr) -> str:
    """A polynomial in the dimensions, in one order on every machine."""
    terms = sorted(
        sp.Add.make_args(sp.expand(size)),
        key=lambda term: (-sum(sp.Poly(term).monoms()[0]) if term.free_symbols else 0, str(term)),
    )
    return " + ".join(str(term).replace("**", "^").replace("*", " ") for term in terms)
