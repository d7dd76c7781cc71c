"""Name the elementwise products and sums that stand more than once in what is computed ahead of a loop: each is computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import axes_of, is_timed, summands
from derive.language import Hadamard, Plus, Value, coefficient, hadamard, scale
from derive.program import Program
from derive.schedule import in_order

Pair = frozenset[sp.MatrixExpr]


def pairs(program: Program, forward: Program) -> Program:
    """Name repeated sums in products, then repeated pairs of factors, the most frequent first, until none stands twice."""
    fresh = program.names()
    equations = {equation.target: equation for equation in program.equations}
    ahead = [e.target for e in program.at("before") if e.factor is None and not e.accumulate]
    while (found := most_frequent([equations[target] for target in ahead])) is not None:
        whole = hadamard(*sorted(found, key=sp.default_sort_key))
        known = next((target for target in ahead if equations[target].value == whole and equations[target].terms), None)
        name = known or Value(fresh.counted("s"), whole.shape[0], whole.shape[1], axes_of(whole))
        for target in ahead:
            if target != known:
                equations[target] = with_name(equations[target], found, name)
        if known is None:
            equations = {name: Equation(name, (Term(whole),)), **equations}
            ahead.append(name)
    return program.with_equations(in_order(list(equations.values()), (0,)))


def most_frequent(equations: list[Equation]) -> Pair | None:
    """A sum that is a factor more than once, else the pair of factors that stands together most often; None where none does twice."""
    products = [factors for equation in equations for factors in factors_of(equation)]
    sums = Counter(frozenset([one]) for factors in products if len(factors) > 1 for one in {*factors} if is_sum(one))
    twos = Counter(frozenset(pair) for factors in products for pair in combinations(dict.fromkeys(factors), 2))
    for counts in (sums, twos):
        best = max(counts, key=counts.__getitem__, default=None)
        if best is not None and counts[best] > 1:
            return best
    return None


def is_sum(node: sp.MatrixExpr) -> bool:
    return isinstance(node, Plus) and is_timed(node)


def factors_of(equation: Equation) -> Iterator[list[sp.MatrixExpr]]:
    """The elementwise factors of each summand that are of one shape."""
    for term in equation.terms:
        for part in summands(term.value):
            rest = coefficient(part)[1]
            if isinstance(rest, Hadamard):
                yield [factor for factor in rest.args if factor.shape == rest.shape and is_timed(factor)]


def with_name(equation: Equation, found: Pair, name: Value) -> Equation:
    """An equation in whose products a name stands for some factors."""
    terms = []
    for term in equation.terms:
        parts = [named(part, found, name) for part in summands(term.value)]
        terms += [Term(part, term.reason) for part in parts]
    return equation if all(one in equation.terms for one in terms) else Equation(equation.target, tuple(terms))


def named(node: sp.MatrixExpr, found: Pair, name: Value) -> sp.MatrixExpr:
    number, rest = coefficient(node)
    if not isinstance(rest, Hadamard) or not found <= {*rest.args}:
        return node
    left = list(rest.args)
    for factor in found:
        left.remove(factor)
    return scale(number, hadamard(name, *left))
