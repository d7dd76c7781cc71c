"""What the tape holds: matrices of each step that are outer products of what it holds anyway are made again by those who read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import sympy as sp

from derive.equation import Equation
from derive.expressions import matrix_parts
from derive.language import Hadamard, Ones, Plus, Times, Transposed, Value, coefficient
from derive.program import Program
from derive.schedule import is_fat


def with_light_tape(forward: Program, readers: Sequence[Program]) -> list[Program]:
    """The readers of a tape, with the equations of what they make again."""
    again = {equation.target: equation for equation in forward.equations if is_made_again(equation, forward)}
    return [making(program, [again[value] for value in again if is_read(value, program)]) for program in readers]


def is_made_again(equation: Equation, forward: Program) -> bool:
    """Whether a value is a matrix of each step that costs little to make and isn't kept for another reason."""
    target = equation.target
    if not is_fat(target) or target in forward.results or target in [written for _, written in forward.carries]:
        return False
    return is_light(equation.value) and not any(is_fat(value) for value in equation.reads())


def is_light(node: sp.MatrixExpr) -> bool:
    """Whether an expression holds sums, elementwise and outer products of values only."""
    rest = coefficient(node)[1]
    if isinstance(rest, Times) and any(right.shape[0] != 1 for _, right in pairwise(rest.args)):
        return False
    return isinstance(rest, Value | Ones | Plus | Times | Hadamard | Transposed) and all(map(is_light, matrix_parts(rest)))


def is_read(value: Value, program: Program) -> bool:
    return any(equation.is_reading(value) for equation in program.equations)


def making(program: Program, equations: Iterable[Equation]) -> Program:
    """A program that computes some of what it was given."""
    added = list(equations)
    targets = {equation.target for equation in added}
    given = tuple(value for value in program.given if value not in targets)
    return replace(program, given=given).with_equations([*added, *program.equations])
