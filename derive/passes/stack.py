"""Stack the gates: matrix products that share an operand become one product with the stacked matrix.

Three shapes of this, found in the program and never listed per cell:

- several sums that read the same vectors, a_i = W_i x + U_i h + b_i, a_f = W_f x + U_f h + b_f, ...: one sum with stacked W, U, b;
- in a reverse program, sums over the same stacked vector, U_iᵀ d_a_i + U_fᵀ d_a_f + ...: one product Uᵀ d_a;
- in a reverse program, outer products with the same right vector, d_W_i = d_a_i xᵀ, ...: one outer product d_W = d_a xᵀ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, permutations
from os.path import commonprefix

import sympy as sp
from sympy import MatrixExpr as Matrix

from derive.blocks import Rows, Stack, rows
from derive.blocks import stack as stacked
from derive.equation import Equation, Term
from derive.expressions import substitute, summands
from derive.fresh import Fresh
from derive.language import Apply, Hadamard, Times, Transposed, Value, add, coefficient, transpose
from derive.letters import ARROWS
from derive.program import Program
from derive.shapes import is_matrix, is_vector

Span = Callable[[list[Value]], Matrix | None]
"""From values to the rows of the stacked block that hold them, None where they don't lie side by side."""


def stack(program: Program, forward: Program) -> Program:
    """Stack what can be stacked, in the way that fits the direction of the program."""
    return stack_reverse(program) if program.reverse else stack_sums(program, forward)


def parts_of(equation: Equation) -> list[Matrix]:
    """The summands of an equation of each step without a common factor."""
    if equation.factor is not None or equation.accumulate:
        return []
    return [part for term in equation.terms for part in summands(term.value)]


def affine(node: Matrix) -> tuple[Matrix, Value] | None:
    """(A, v) where the node is A v, A a parameter or its transpose, v a value that differs from step to step."""
    if isinstance(node, Times) and len(node.args) == 2 and coefficient(node)[0] == 1:
        left, right = node.args
        if is_matrix(left) and untimed(left) and isinstance(right, Value) and right.timed:
            return left, right
    return None


def untimed(node: Matrix) -> bool:
    plain = node.args[0] if isinstance(node, Transposed) else node
    return isinstance(plain, Value) and not plain.timed


class Names:
    """New values whose names aren't taken: `a_stack` for a_i, a_f, a_o, with the direction and layer that all of them have behind."""

    def __init__(self, program: Program) -> None:
        self.fresh: dict[str, Fresh] = defaultdict(lambda: Fresh(()))
        for value in (*program.given, *program.defined()):
            self.fresh[value.kind].take(value.name)

    def new(self, parts: list[Matrix], like: Matrix) -> Value:
        values = [part.args[0] if isinstance(part, Transposed) else part for part in parts]
        stems, copy = apart_from_copy([str(value.name) for value in values])
        prefix = commonprefix(stems).rstrip("_")
        joined = "_".join(stems)
        wanted = f"{prefix}_stack" if prefix else joined if len(joined) <= 12 else "stack"
        name = self.fresh[values[0].kind].name(wanted, copy)
        return Value(name, like.shape[0], like.shape[1], values[0].axes, values[0].marks)


def apart_from_copy(names: Sequence[str]) -> tuple[list[str], str]:
    """(names without the direction and the layer that all of them have, what these are): W_i_right, W_f_right are W_i, W_f and _right."""
    pieces = [name.split("_") for name in names]
    shared = [one for one in pieces[0][1:] if (one in ARROWS or one.isdigit()) and all(one in other[1:] for other in pieces)]
    stems = ["_".join([other[0], *[one for one in other[1:] if one not in shared]]) for other in pieces]
    return stems, "".join(f"_{one}" for one in dict.fromkeys(shared))


# ---- sums over the same vectors


@dataclass
class Group:
    """Equations (by position) that can be one stacked sum, and the vectors that they all multiply; None stands for a bias."""

    members: list[int]
    shared: list[Value | None]


def stack_sums(program: Program, forward: Program) -> Program:
    names = Names(program)
    functions = {e.value.expr: str(e.value.scalar) for e in forward.equations if isinstance(e.value, Apply)}
    while (group := largest_group(program.equations, functions)) is not None:
        program = program.with_equations(stack_group(program.equations, group, names))
    return inline_rows(program)


def products_of(equation: Equation) -> dict[Value | None, Matrix]:
    """vector -> matrix for the products A v of a sum, None -> a bias, each where there is exactly one."""
    found: dict[Value | None, list[Matrix]] = defaultdict(list)
    for node in parts_of(equation):
        pair = affine(node)
        if pair is not None:
            found[pair[1]].append(pair[0])
        elif isinstance(node, Value) and not node.timed:
            found[None].append(node)
    return {value: matrices[0] for value, matrices in found.items() if len(matrices) == 1}


def largest_group(equations: Sequence[Equation], functions: dict[Matrix, str]) -> Group | None:
    """The largest set of equations that multiply one vector, with everything else that all of them multiply."""
    position = {equation.target: k for k, equation in enumerate(equations)}
    products = [products_of(e) if e.target.timed and is_vector(e.target) else {} for e in equations]
    stacks = {equation.target for equation in equations if isinstance(equation.value, Stack)}
    readers: dict[Value, list[int]] = defaultdict(list)
    for k, found in enumerate(products):
        for value in found:
            if value is not None and found[value] not in stacks:
                readers[value].append(k)
    best = max((members for members in readers.values()), key=len, default=[])
    if len(best) < 2:
        return None
    shared = [value for value in products[best[0]] if all(value in products[k] for k in best)]
    ready = [value for value in shared if value is None or position.get(value, -1) < best[0]]

    def order(k: int) -> tuple[bool, str, int]:
        """Those that can be computed at once first, those of one function side by side."""
        late = any(best[0] < position.get(value, -1) for value in equations[k].reads())
        return late, functions.get(equations[k].target.like(kind="primal"), ""), k

    return Group(sorted(best, key=order), ready)


def stack_group(equations: Sequence[Equation], group: Group, names: Names) -> list[Equation]:
    """The equations with one stacked sum before the first member, and its rows in each member."""
    members = [equations[k] for k in group.members]
    products = [products_of(equation) for equation in members]
    once, terms = [], []
    for value in group.shared:
        parts = [found[value] for found in products]
        whole = stacked(*parts)
        matrix = names.new(parts, whole)
        once.append(Equation(matrix, (Term(whole),)))
        terms.append(matrix if value is None else matrix @ value)
    total = add(*terms)
    target = names.new([member.target for member in members], total)
    result: list[Equation] = []
    start: Matrix = sp.S.Zero
    spans = {}
    for k, equation in zip(group.members, members, strict=True):
        spans[k] = rows(target, start, start + equation.target.shape[0])
        start = start + equation.target.shape[0]
    for k, equation in enumerate(equations):
        if k == min(group.members):
            result.append(Equation(target, (Term(total),)))
        if k in group.members:
            found = products[group.members.index(k)]
            gone = [found[value] if value is None else found[value] @ value for value in group.shared]
            equation = equation.with_value(replaced(equation, gone, spans[k]))
        result.append(equation)
    return result + once


def inline_rows(program: Program) -> Program:
    """Let readers read the rows of a stacked sum directly where nobody outside needs them under a name."""
    aliases: dict[Value, Matrix] = {}
    for equation in program.equations:
        if len(parts_of(equation)) == 1 and isinstance(equation.value, Rows) and equation.target not in program.results:
            aliases[equation.target] = substitute(equation.value, aliases.get)
    kept = [equation for equation in program.equations if equation.target not in aliases]
    return program.with_equations([e.substituted(aliases.get) for e in kept])


# ---- sums and outer products in reverse programs


def stack_reverse(program: Program) -> Program:
    names = Names(program)
    sums = {e.target: dict(reversed_products(e)) if is_vector(e.target) else {} for e in program.equations}
    groups = {target: set(found) for target, found in sums.items() if len(found) > 1}
    if not groups:
        return program
    order = block_order(program, groups)
    whole = stacked(*order)
    block = names.new(list(order), whole)
    position = {equation.target: k for k, equation in enumerate(program.equations)}
    ends = dict(zip(order, accumulate(value.shape[0] for value in order), strict=True))
    place = {value: k for k, value in enumerate(order)}

    def span(values: list[Value]) -> Matrix | None:
        """The rows of the stacked block that hold these values, if they lie side by side."""
        places = sorted(place[value] for value in values if value in place)
        if len(places) < 2 or places != list(range(places[0], places[-1] + 1)):
            return None
        return rows(block, ends[order[places[0]]] - order[places[0]].shape[0], ends[order[places[-1]]])

    last = max((position[value] for value in order if value in position), default=-1)
    stacking = Equation(block, (Term(whole),))
    equations: list[Equation] = [stacking] if last < 0 else []
    for k, equation in enumerate(program.equations):
        equations += stack_terms(equation, sums[equation.target], place, span, names) if k > last else [equation]
        if k == last:
            equations.append(stacking)
    return program.with_equations(stack_outer(equations, place, span, names))


def block_order(program: Program, groups: dict[Value, set[Value]]) -> list[Value]:
    """The vectors of the stacked block: those of the largest sum, and those of others where all sums can then read rows side by side."""
    position = {equation.target: k for k, equation in enumerate(program.equations)}
    counts = Counter(value for group in groups.values() for value in group)

    def usual(values: set[Value]) -> list[Value]:
        return sorted(values, key=lambda value: (-counts[value], -position.get(value, -1), str(value)))

    largest = max(groups.values(), key=len)
    every = set[Value]().union(*groups.values())
    last = max(position.get(value, -1) for value in every)
    if len(every) <= FEW and all(position[target] > last for target in groups):
        order = side_by_side(usual(every), list(groups.values()), kin(program, list(every)))
        if all(together(order, group) for group in groups.values()):
            return order
    values = usual(largest)
    return side_by_side(values, [group & largest for group in groups.values()], kin(program, values))


FEW = 6
"""Up to so many values every order is tried: 720 of them."""


def kin(program: Program, values: list[Value]) -> list[set[Value]]:
    """The values that are one and the same value times a coefficient each: side by side they are computed by one call."""
    groups: dict[Matrix, set[Value]] = defaultdict(set)
    for value in values:
        equation = program.defined().get(value)
        if equation is not None and isinstance(equation.value, Hadamard) and len(equation.value.args) == 2:
            groups[equation.value.args[0]].add(value)
    return [group for group in groups.values() if len(group) > 1]


def side_by_side(usual: list[Value], products: list[set[Value]], alike: list[set[Value]]) -> list[Value]:
    """An order in which every product reads adjacent values, and then as many groups of alike ones as can be are adjacent too."""
    if len(usual) > FEW:
        return usual

    def rank(order: tuple[Value, ...]) -> tuple[int, int]:
        return sum(together(order, group) for group in products), sum(together(order, group) for group in alike)

    return list(max(permutations(usual), key=lambda order: rank(tuple(order))))


def together(order: Sequence[Value], group: set[Value]) -> bool:
    """Whether the values of a group stand side by side."""
    at = sorted(order.index(value) for value in group)
    return bool(at) and at[-1] - at[0] == len(at) - 1


def reversed_products(equation: Equation) -> list[tuple[Value, Matrix]]:
    """(v, A) for the products A v of a sum over different vectors."""
    pairs = [pair for pair in map(affine, parts_of(equation)) if pair is not None]
    counts = Counter(value for _, value in pairs)
    return [(value, matrix) for matrix, value in pairs if counts[value] == 1]


def stack_terms(
    equation: Equation, found: dict[Value, Matrix], place: dict[Value, int], span: Span, names: Names
) -> list[Equation]:
    """A sum Aᵀu + Bᵀv as one product of the stacked matrix with the stacked vector."""
    inside = sorted((value for value in found if value in place), key=place.__getitem__)
    vector = span(inside)
    if vector is None:
        return [equation]
    parts = [transpose(found[value]) for value in inside]
    whole = stacked(*parts)
    matrix = names.new(parts, whole)
    gone = [found[value] @ value for value in inside]
    return [
        Equation(matrix, (Term(whole),)),
        replace(equation, terms=(Term(replaced(equation, gone, matrix.T @ vector)),)),
    ]


def replaced(equation: Equation, gone: list[Matrix], new: Matrix) -> Matrix:
    """The sum of an equation with some summands replaced by one, which stands where the first of them stood."""
    nodes = parts_of(equation)
    first = next(k for k, node in enumerate(nodes) if node in gone)
    return add(*[new if k == first else node for k, node in enumerate(nodes) if k == first or node not in gone])


def stack_outer(equations: list[Equation], place: dict[Value, int], span: Span, names: Names) -> list[Equation]:
    """Gradients d_W_i = d_a_i xᵀ that share x (or, of biases, share nothing) as rows of one gradient."""
    groups: dict[Matrix | None, list[Equation]] = defaultdict(list)
    for equation in equations:
        if equation.accumulate and len(equation.terms) == 1:
            left, right = outer(equation.value)
            if left in place:
                groups[right].append(equation)
    for right, members in groups.items():
        members.sort(key=lambda equation: place[outer(equation.value)[0]])
        vector = span([outer(equation.value)[0] for equation in members])
        if vector is None or len({outer(equation.value)[0] for equation in members}) < len(members):
            continue
        whole = vector if right is None else vector @ right
        block = names.new([equation.target for equation in members], whole)
        start = sp.S.Zero
        cut = []
        for equation in members:
            stop = start + equation.target.shape[0]
            cut.append(equation.with_value(rows(block, start, stop)))
            start = stop
        gone = {equation.target for equation in members}
        left = [e for e in equations if e.target not in gone]
        # what is made of totals may read the rows, so that those come first
        last = [is_made_of_totals(e) for e in left]
        ahead = [e for e, behind in zip(left, last, strict=True) if not behind]
        equations = [*ahead, Equation(block, (Term(whole),)), *cut, *[e for e, behind in zip(left, last, strict=True) if behind]]
    return equations


def is_made_of_totals(equation: Equation) -> bool:
    """Whether an equation comes behind the sums over steps: it is one for all steps, and no such sum itself."""
    return not equation.target.timed and not equation.accumulate and bool(equation.terms)


def outer(node: Matrix) -> tuple[Matrix, Matrix | None]:
    """(u, vᵀ) of an outer product, (u, None) of a plain vector."""
    if isinstance(node, Times) and len(node.args) == 2 and isinstance(node.args[1], Transposed):
        return node.args[0], node.args[1]
    return node, None
