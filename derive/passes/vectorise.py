"""Compute equations of one form on adjacent rows as one equation: i = s(a[0:H]), f = s(a[H:2H]) become [i; f] = s(a[0:2H])."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp
from sympy import MatrixExpr as Matrix

from derive.blocks import Rows, Stack, repeat, rows
from derive.blocks import stack as stacked
from derive.comparisons import Pairwise
from derive.equation import Equation, Term
from derive.expressions import is_timed, matrix_parts, rebuild, values_in
from derive.language import Apply, Hadamard, Ones, Plus, Times, Value, coefficient, hadamard, scale
from derive.passes.stack import Names
from derive.program import Program
from derive.shapes import is_vector


def vectorise(program: Program, forward: Program) -> Program:
    """Join groups of like equations of the loop, as long as there are any."""
    names = Names(program)
    tried: set[tuple[Value, ...]] = set()
    while True:
        fresh = [members for members in groups_of(program) if tuple(e.target for e in members) not in tried]
        if not fresh:
            return program
        for members in fresh:
            tried.add(tuple(e.target for e in members))
            defined = program.defined()
            if all(defined.get(e.target) == e for e in members):
                program = join(program, members, names) or program


def form(node: Matrix) -> object:
    """The form of an expression of vectors: its operations, with leaves left blank."""
    if isinstance(node, (Value, Rows)):
        return None if not is_vector(node) else "timed" if is_timed(node) else "untimed"
    if isinstance(node, Times) and len(matrix_parts(node)) > 1:
        return None
    extra = coefficient(node)[0] if isinstance(node, Times) else node.scalar if isinstance(node, Apply) else None
    inner = tuple(form(part) for part in matrix_parts(node))
    legal = isinstance(node, (Plus, Hadamard, Apply, Ones, Pairwise, Times))
    return None if not legal or None in inner else (type(node).__name__, str(extra), inner)


def groups_of(program: Program) -> list[list[Equation]]:
    """Equations of one form and length that read the same sources, cut into runs whose rows lie side by side."""
    stacked_at = {
        part: k for e in program.at("step", "after") if isinstance(e.value, Stack) for k, part in enumerate(e.value.args)
    }
    before = {e.target for e in program.at("before")}
    carried = {written for _, written in program.carries}
    groups: dict[object, list[Equation]] = {}
    for equation in program.at("step", "after"):
        key = form(equation.value) if joinable(equation, carried) else None
        if key is not None and not isinstance(key, str) and not isinstance(equation.value, Rows):
            groups.setdefault((key, equation.target.shape[0], signature(equation.value, before)), []).append(equation)
    runs: list[list[Equation]] = []
    for group in groups.values():
        group.sort(key=lambda e: stacked_at.get(e.target, len(stacked_at)))
        runs += side_by_side(group)
    return [run for run in runs if len(run) > 1]


def joinable(equation: Equation, carried: set[Value]) -> bool:
    """Whether an equation may become rows of another: a carry stays where it is, between its readers and the next step's."""
    return bool(equation.terms) and is_vector(equation.target) and not equation.accumulate and equation.target not in carried


def signature(node: Matrix, before: set[Value]) -> tuple[object, ...]:
    """What the members of a group have in common: the sources of the rows that they read, and the values that they share."""
    return tuple(
        leaf.args[0] if isinstance(leaf, Rows) else leaf if leaf.timed and leaf not in before else None for leaf in leaves(node)
    )


def side_by_side(group: list[Equation]) -> list[list[Equation]]:
    """The group in runs of adjacent rows; the whole group where it reads no rows."""
    firsts = {e.target: leaf for e in group for leaf in [next((x for x in leaves(e.value) if isinstance(x, Rows)), None)] if leaf}
    if len(firsts) < len(group):
        return [group]
    group = sorted(group, key=lambda e: (rank(firsts[e.target].args[1]), sp.default_sort_key(firsts[e.target].args[1])))
    runs: list[list[Equation]] = []
    for equation in group:
        last = firsts[runs[-1][-1].target] if runs else None
        if last is not None and last.args[2] == firsts[equation.target].args[1]:
            runs[-1].append(equation)
        else:
            runs.append([equation])
    return runs


def rank(size: sp.Expr) -> float:
    """Dimensions in an order: by their value with every symbol one."""
    return float(size.subs(dict.fromkeys(size.free_symbols, 1)))


def leaves(node: Matrix) -> list[Matrix]:
    if isinstance(node, (Value, Rows)):
        return [node]
    return [leaf for part in matrix_parts(node) for leaf in leaves(part)]


def join(program: Program, members: list[Equation], names: Names) -> Program | None:
    """The program with the members computed as one; None where they can't be."""
    equations = list(program.equations)
    once: list[Equation] = []
    value = merge([e.value for e in members], program, names, once)
    if value is None:
        return None
    position = {e.target: k for k, e in enumerate(equations)}
    ready = max([position.get(v, -1) for v in values_in(value)], default=-1)
    targets = {e.target for e in members}
    first_use = min([k for k, e in enumerate(equations) if targets.intersection(e.reads())], default=len(equations))
    at = max(ready + 1, min(position[e.target] for e in members))
    if at > first_use and at > max(position[e.target] for e in members):
        return None
    if ready >= first_use:
        return None
    whole = stacked(*targets_in_order(members))
    known = next(
        (e.target for e in equations if e.target.timed and e.value == whole and e.target not in protected(program)),
        None,
    )
    block = names.new(targets_in_order(members), value) if known is None else known
    spans = {}
    start: Matrix = sp.S.Zero
    for e in members:
        spans[e.target] = rows(block, start, start + e.target.shape[0])
        start = start + e.target.shape[0]
    at = min(at, first_use)
    kept = protected(program)
    hidden = {t: span for t, span in spans.items() if t not in kept}
    out: list[Equation] = []
    for k, equation in enumerate(equations):
        if k == at:
            out.append(Equation(block, (Term(value),)))
            out += [Equation(t, (Term(spans[t]),)) for t in targets_in_order(members) if t in kept]
        if equation.target not in targets and equation.target != known:
            out.append(equation.substituted(hidden.get))
    return program.with_equations([*out, *once])


def targets_in_order(members: list[Equation]) -> list[Value]:
    return [e.target for e in members]


def protected(program: Program) -> set[Value]:
    return {*program.results, *[written for _, written in program.carries]}


def merge(nodes: Sequence[Matrix], program: Program, names: Names, once: list[Equation]) -> Matrix | None:
    """One expression over joined operands, whose row blocks are the given expressions."""
    first = nodes[0]
    if all(isinstance(node, Rows) for node in nodes):
        return adjacent(nodes)
    if all(isinstance(node, Ones) for node in nodes):
        return Ones(sp.Add(*[node.shape[0] for node in nodes]), 1)
    if all(isinstance(node, Value) for node in nodes):
        return merge_values(nodes, program, names, once)
    if any(type(node) is not type(first) for node in nodes) or isinstance(first, (Value, Rows)):
        return None
    columns = list(zip(*[matrix_parts(node) for node in nodes], strict=True))
    merged = [merge(column, program, names, once) for column in columns]
    if any(part is None for part in merged):
        return None
    if isinstance(first, Times):
        return scale(coefficient(first)[0], merged[0])
    return rebuild(first, merged) if not isinstance(first, Hadamard) else hadamard(*merged)


def adjacent(nodes: Sequence[Matrix]) -> Matrix | None:
    joined = stacked(*nodes)
    return joined if isinstance(joined, (Rows, Value)) else None


def merge_values(nodes: Sequence[Matrix], program: Program, names: Names, once: list[Equation]) -> Matrix | None:
    """Values joined: the same one repeated; parameters stacked once; values computed before the loop for this reader alone."""
    if all(node == nodes[0] for node in nodes):
        return repeat(nodes[0], len(nodes)) if nodes[0].timed else None
    if any(nodes.count(node) > 1 for node in nodes):
        return None
    whole = stacked(*nodes)
    if not any(node.timed for node in nodes):
        block = names.new(list(nodes), whole)
        once.append(Equation(block, (Term(whole),)))
        return block
    defined = program.defined()
    if not all(node in defined and program.places[node] == "before" for node in nodes):
        return None
    loop = [e for e in program.equations if program.place(e) != "before"]
    if all(sum(e.is_reading(node) for e in loop) == 1 for node in nodes):
        block = names.new(list(nodes), whole)
        once.append(Equation(block, (Term(whole),)))
        return block
    return None
