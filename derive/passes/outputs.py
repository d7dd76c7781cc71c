"""Write derivatives in the outputs: tanh'(a) as 1 - y**2, sigma'(a) as y (1 - y), softmax(a) as y, where the forward pass has y = f(a)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy as sp

from derive.along import axes_of
from derive.equation import Term
from derive.expressions import substitute
from derive.functions import derivative, in_output
from derive.language import Apply, Ones, Value, X, add, apply, coefficient, hadamard, scale
from derive.program import Program
from derive.reductions import Softmax


def outputs(program: Program, forward: Program) -> Program:
    """Replace f'(a) by its expression in y = f(a), and softmax(a) by y, wherever the forward program computes y."""
    known = dict(slopes(forward))

    def in_y(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        return known.get(node) if isinstance(node, Apply | Softmax) else None

    return program.with_equations(
        [
            replace(equation, terms=tuple(Term(substitute(term.value, in_y), term.reason) for term in equation.terms))
            for equation in program.equations
        ]
    )


def slopes(forward: Program) -> Iterator[tuple[sp.MatrixExpr, sp.MatrixExpr]]:
    """(f'(a), the same in y) for each equation y = f(a) whose slope can be had from y."""
    for equation in forward.equations:
        value = equation.value
        if isinstance(value, Softmax) and axes_of(value) == equation.target.axes:
            yield value, equation.target
        # y may vary along more axes than a, where an output of each step is a function of parameters: then a sum over them would read it
        if isinstance(value, Apply) and axes_of(value) == equation.target.axes:
            slope = derivative(value.scalar)
            written = in_output(slope, value.scalar)
            if written is not None:
                number, rest = coefficient(apply(slope, value.expr))
                yield rest, scale(1 / number, in_vectors(written, equation.target))


def in_vectors(scalar: sp.Expr, y: Value) -> sp.MatrixExpr:
    """A scalar expression in `X` as an expression in the vector y: X (1 - X) becomes y ∘ (1 - y)."""
    if scalar == 1 - X:
        return add(Ones(*y.shape), scale(-1, y))
    if isinstance(scalar, sp.Mul):
        number, factors = scalar.as_coeff_mul()
        plain = sorted(factors, key=lambda part: (part != X, part != 1 - X, sp.default_sort_key(part)))
        return scale(number, hadamard(*[in_vectors(part, y) for part in plain]))
    return apply(scalar, y)
