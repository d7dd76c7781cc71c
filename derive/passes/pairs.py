"""Name the elementwise products and sums that stand more than once in what is computed ahead of a loop: each is computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations

import sympy as sp

from derive.along import axes_of
from derive.equation import Equation, Term
from derive.expressions import is_timed, summands
from derive.language import Hadamard, Plus, Value, coefficient, hadamard, scale
from derive.program import Program
from derive.schedule import in_order

Pair = frozenset[sp.MatrixExpr]
Readers = dict[Pair, list[Value]]


def pairs(program: Program, forward: Program) -> Program:
    """Name repeated sums in products, then repeated pairs of factors, those that stand most often first, until none stands twice."""
    fresh = program.names()
    equations = program.defined().copy()
    ahead = {e.target: e for e in program.at("before") if e.factor is None and not e.accumulate}
    while found := repeated(ahead.values()):
        for pair, targets in found:
            readers = [t for t in targets for factors in factors_of(ahead[t]) if pair <= {*factors}]
            if len(readers) > 1:
                whole = hadamard(*sorted(pair, key=sp.default_sort_key))
                known = next((target for target in readers if ahead[target].value == whole), None)
                name = known or Value(fresh.counted("s"), whole.shape[0], whole.shape[1], axes_of(whole))
                ahead |= {target: with_name(ahead[target], pair, name) for target in dict.fromkeys(readers) if target != known}
                ahead.setdefault(name, Equation(name, (Term(whole),)))
    return program.with_equations(in_order(list((equations | ahead).values()), (0,)))


def repeated(equations: Iterable[Equation]) -> list[tuple[Pair, list[Value]]]:
    """(factors, who reads them) of the sums that are factors of several products, else of the pairs of factors that stand together most
    often, none of them in two pairs.
    """
    products = [(equation.target, factors) for equation in equations for factors in factors_of(equation)]
    sums: Readers = defaultdict(list)
    twos: Readers = defaultdict(list)
    for target, factors in products:
        for one in filter(is_sum, factors):
            sums[frozenset([one])].append(target)
        for pair in combinations(dict.fromkeys(factors), 2):
            twos[frozenset(pair)].append(target)
    for found in (sums, twos):
        most = max((len(readers) for readers in found.values()), default=0)
        if most > 1:
            return apart([(factors, list(dict.fromkeys(readers))) for factors, readers in found.items() if len(readers) == most])
    return []


def apart(found: list[tuple[Pair, list[Value]]]) -> list[tuple[Pair, list[Value]]]:
    """Those that share no factor with one before them."""
    taken: set[sp.MatrixExpr] = set()
    left = []
    for factors, readers in found:
        if not factors & taken:
            left.append((factors, readers))
            taken |= factors
    return left


def is_sum(node: sp.MatrixExpr) -> bool:
    return isinstance(node, Plus) and is_timed(node)


def factors_of(equation: Equation) -> Iterator[list[sp.MatrixExpr]]:
    """The elementwise factors of each product in a sum that differ from step to step and are of its shape."""
    for term in equation.terms:
        for part in summands(term.value):
            rest = coefficient(part)[1]
            if isinstance(rest, Hadamard):
                yield [factor for factor in rest.args if factor.shape == rest.shape and is_timed(factor)]


def with_name(equation: Equation, found: Pair, name: Value) -> Equation:
    """An equation in whose products a name stands for some factors."""
    parts = [named(part, found, name) for term in equation.terms for part in summands(term.value)]
    return replace(equation, terms=tuple(map(Term, parts)))


def named(node: sp.MatrixExpr, found: Pair, name: Value) -> sp.MatrixExpr:
    number, rest = coefficient(node)
    if not isinstance(rest, Hadamard) or not found <= {*rest.args}:
        return node
    left = list(rest.args)
    for factor in found:
        left.remove(factor)
    return scale(number, hadamard(name, *left))
