"""Compute sigma by tanh, sigma(z) = (1 + tanh(z/2))/2, with the halves put into the parameters, once per sequence.

Then one call of tanh serves gates and candidates alike, and nothing can overflow.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.equation import Equation, Term
from derive.expressions import is_timed, summands
from derive.fresh import Fresh
from derive.functions import sigma
from derive.language import Apply, Hadamard, Times, Value, X, add, apply, hadamard, matmul, scale
from derive.program import Program


def halve(program: Program, forward: Program) -> Program:
    """Rewrite each y = sigma(a) whose a is a sum of products with parameters."""
    if program.reverse:
        return program
    halves: dict[Value, Equation] = {}
    fresh = program.names()
    new = {equation.target: [equation] for equation in program.equations}
    for equation in program.equations:
        inner = argument(equation, program)
        if inner is not None:
            new[inner.target] = [halved(inner, halves, fresh)]
            tanh = equation.target.like(name=fresh.name(f"tanh_{inner.target.name}"))
            new[equation.target] = [
                Equation(tanh, (Term(apply(sp.tanh(X), inner.target)),)),
                replace(equation, terms=(Term(apply((1 + X) / 2, tanh), equation.terms[0].reason),)),
            ]
    out = [equation for some in new.values() for equation in some]
    timed = [equation for equation in out if equation.target.timed]
    return program.with_equations([*[one for one in out if not one.target.timed], *halves.values(), *timed])


def argument(equation: Equation, program: Program) -> Equation | None:
    """The equation of a in y = sigma(a), if every term of it can be halved in its parameters and nobody else reads a."""
    value = equation.value
    if not equation.target.timed or not isinstance(value, Apply) or value.scalar != sigma(X):
        return None
    inner = program.defined().get(value.expr)
    readers = program.readers.get(value.expr, [])
    if inner is None or not inner.target.timed or len(readers) > 1 or inner.target in program.results:
        return None
    return inner if all(parameter(term) is not None for term in summands(inner.value)) else None


def parameter(term: sp.MatrixExpr) -> Value | None:
    """The parameter by which a term is linear: W of W x, p of p ∘ c, b of b."""
    if isinstance(term, Value):
        return None if term.timed else term
    if isinstance(term, (Times, Hadamard)) and len(term.args) == 2:
        first = term.args[0]
        return first if isinstance(first, Value) and not is_timed(first) else None
    return None


def halved(equation: Equation, halves: dict[Value, Equation], fresh: Fresh) -> Equation:
    """The sum with each parameter replaced by its half."""
    terms = []
    for term in summands(equation.value):
        whole = parameter(term)
        assert whole is not None
        if whole not in halves:
            half = whole.like(name=fresh.name(f"{whole.name}_half"))
            halves[whole] = Equation(half, (Term(scale(sp.Rational(1, 2), whole)),))
        half = halves[whole].target
        rest = term.args[1:] if isinstance(term, (Times, Hadamard)) else ()
        terms.append(matmul(half, *rest) if isinstance(term, Times) else hadamard(half, *rest))
    return equation.with_value(add(*terms))
