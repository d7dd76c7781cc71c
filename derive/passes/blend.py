"""Write a mixture with one product: (1 - z) ∘ u + z ∘ v becomes u + z ∘ (v - u)."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from sympy import MatrixExpr as Matrix

from derive.equation import Equation, Term
from derive.language import Hadamard, Ones, Plus, Value, add, hadamard, scale
from derive.program import Program
from derive.shapes import is_vector


def blend(program: Program, forward: Program) -> Program:
    """Rewrite every equation of a forward program whose right side is a mixture of two values."""
    if program.reverse:
        return program
    return program.with_equations([blended(equation) for equation in program.equations])


def blended(equation: Equation) -> Equation:
    value = equation.value
    if not isinstance(value, Plus) or len(value.args) != 2 or not is_vector(value):
        return equation
    for first, second in permutations(value.args):
        parts = mixture(first, second)
        if parts is not None:
            z, u, v = parts
            return replace(
                equation,
                terms=(
                    Term(
                        add(u, hadamard(z, add(v, scale(-1, u)))),
                    ),
                ),
                factor=None,
            )
    return equation


def mixture(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix, Matrix] | None:
    """(z, u, v) where the terms are (1 - z) ∘ u and z ∘ v, z, u and v values."""
    if not all(isinstance(term, Hadamard) and len(term.args) == 2 for term in (first, second)):
        return None
    for one, u in permutations(first.args):
        for z, v in permutations(second.args):
            plain = all(isinstance(part, Value) and part.timed for part in (z, u, v))
            if plain and one == add(Ones(*z.shape), scale(-1, z)):
                return z, u, v
    return None
