"""Put back what was only named for the machine: a derivative of a part that the cell leaves unnamed, used once and elementwise."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import sympy as sp

from derive.equation import Equation, Term, joined
from derive.expressions import matrix_parts, substitute
from derive.language import Apply, Hadamard, Identity, Plus, Times, Value, coefficient
from derive.program import Program
from derive.reductions import Total


def inline(program: Program, forward: Program) -> Program:
    """Replace each derived value that has one term and one elementwise reader by that term."""
    kept = {equation.target: equation for equation in program.equations}
    readers: dict[Value, set[Value]] = defaultdict(set)
    for equation in program.equations:
        for value in equation.reads():
            readers[value].add(equation.target)
    protected = {*program.results, *[written for _, written in program.carries]}
    unnamed = {equation.target.name for equation in forward.equations if equation.auxiliary}
    for target in [equation.target for equation in program.equations if equation.target.name in unnamed]:
        equation = kept[target]
        if target in protected or len(equation.terms) != 1 or equation.accumulate or not readers[target]:
            continue
        only = kept[next(iter(readers[target]))] if len(readers[target]) == 1 else None
        is_multiple = any(multiple_summed(equation, kept[reader]) for reader in readers[target])
        if small(equation) or is_multiple or (only is not None and elementwise(only, target)):
            del kept[target]
            for reader in readers.pop(target):
                kept[reader] = put(equation, kept[reader])
                for value in equation.reads():
                    readers[value].add(reader)
            for value in equation.reads():
                readers[value].discard(target)
    return program.with_equations(list(kept.values()))


def small(equation: Equation) -> bool:
    """A copy of something, such as the Jacobian U of the pre-activation U h."""
    return isinstance(equation.terms[0].value, (Value, Identity))


def multiple_summed(equation: Equation, reader: Equation) -> bool:
    """Whether a value is numbers times another one, and its elements are summed: Σ (k y) is k Σ y, which can be taken out of the sum."""
    rest = coefficient(equation.terms[0].value)[1]
    wide = [part for part in rest.args if part.shape == rest.shape] if isinstance(rest, Hadamard) else []
    is_multiple = len(wide) == 1 and len(rest.args) > 1 and all(isinstance(part, Value) for part in rest.args)
    return is_multiple and any(summed_in(term.value, equation.target) for term in reader.terms)


def summed_in(node: sp.MatrixExpr, value: Value) -> bool:
    """Whether the sum of the elements of a value stands in an expression."""
    return node == Total(value) or any(summed_in(part, value) for part in matrix_parts(node))


def elementwise(reader: Equation, value: Value) -> bool:
    """Whether the reader reads the value once, and not inside a matrix product from the left or a function."""
    sites = [site for term in reader.terms for site in places(term.value, value, True)]
    return sites == [True]


def places(node: sp.MatrixExpr, value: Value, plain: bool) -> list[bool]:
    """For each place where the value stands: whether only sums and elementwise products (or a diagonal) stand around it."""
    if node == value:
        return [plain]
    inner = plain and isinstance(coefficient(node)[1], (Hadamard, Plus, Value))
    if isinstance(node, Times) and value.kind.startswith("jacobian"):
        inner = plain
    if isinstance(node, Apply):
        inner = False
    return [place for part in matrix_parts(node) for place in places(part, value, inner)]


def put(equation: Equation, reader: Equation) -> Equation:
    """The reader with the value replaced by its definition; what made the definition is among the reasons of the term."""
    inlined = equation.terms[0]

    def with_definition(term: Term) -> Term:
        value = substitute(term.value, lambda node: inlined.value if node == equation.target else None)
        return term if value == term.value else Term(value, joined([term.reason, inlined.reason]))

    return replace(reader, terms=tuple(with_definition(term) for term in reader.terms))
