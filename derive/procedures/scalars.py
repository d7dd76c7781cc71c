"""Scalar functions as calls: a SymPy expression in `X`, one call for each of its operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from derive.language import X
from derive.procedures.procedure import Number, Operand

Make = Callable[..., Operand]
"""Makes an elementwise call: (operation, *operands, **options)."""


def scalar_function(scalar: sp.Expr, operand: Operand, make: Make) -> Operand:
    """The scalar expression of each element of an operand."""
    if scalar == X:
        return operand
    if not scalar.has(X):
        return Number(scalar)
    if isinstance(scalar, sp.Add):
        return scalar_sum(scalar, operand, make)
    if isinstance(scalar, sp.Mul):
        return scalar_product(scalar, operand, make)
    if isinstance(scalar, sp.Pow):
        return scalar_power(scalar, operand, make)
    return make("function", scalar_function(scalar.args[0], operand, make), function=scalar.func)


def by_appearance(scalar: sp.Expr) -> Any:
    """Numbers first, then X, then what is made of it: an order of the terms of a sum or product that no machine changes."""
    return scalar.has(X), scalar != X, sp.default_sort_key(scalar)


def scalar_sum(scalar: sp.Add, operand: Operand, make: Make) -> Operand:
    """a + b - c: a term that is negative isn't the first where another one can be."""
    first, *rest = sorted(scalar.args, key=lambda term: (bool(term.as_coeff_Mul()[0] < 0), by_appearance(term)))
    total = scalar_function(first, operand, make)
    for term in rest:
        negative = bool(term.as_coeff_Mul()[0] < 0)
        total = make("subtract" if negative else "add", total, scalar_function(-term if negative else term, operand, make))
    return total


def scalar_product(scalar: sp.Mul, operand: Operand, make: Make) -> Operand:
    """A number times factors; factors in the denominator divide."""
    number, rest = scalar.as_independent(X)
    factors = sorted(sp.Mul.make_args(rest), key=by_appearance)
    above = [part for part in factors if not is_below(part)]
    below = [part for part in factors if is_below(part)]
    total: Operand | None = Number(number) if number not in (1, -1) else None
    for part in above:
        one = scalar_function(part, operand, make)
        total = one if total is None else make("multiply", total, one)
    if below:
        total = make("divide", total or Number(sp.S.One), scalar_function(1 / sp.Mul(*below), operand, make))
    assert total is not None
    return make("negative", total) if number == -1 else total


def is_below(part: sp.Expr) -> bool:
    """Whether a factor stands in a denominator."""
    return bool(isinstance(part, sp.Pow) and part.exp.is_number and part.exp < 0)


def scalar_power(scalar: sp.Pow, operand: Operand, make: Make) -> Operand:
    """x², √x, 1/x, or any other power."""
    base, exponent = scalar.args
    if exponent.is_number and exponent < 0:
        return make("divide", Number(sp.S.One), scalar_function(1 / scalar, operand, make))
    inner = scalar_function(base, operand, make)
    if exponent == sp.S.Half:
        return make("function", inner, function=sp.sqrt)
    return make("power", inner, Number(exponent))
