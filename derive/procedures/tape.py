"""What the tape holds: matrices of each step that are outer products of what it holds anyway are made again by those who read them, and
so is what forward has no use for, as a softmax whose logarithm alone is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import sympy as sp

from derive.equation import Equation
from derive.expressions import matrix_parts
from derive.language import Hadamard, Ones, Plus, Times, Transposed, Value, coefficient
from derive.program import Program, needed
from derive.reductions import Softmax
from derive.schedule import is_fat


def with_light_tape(forward: Program, readers: Sequence[Program]) -> list[Program]:
    """The readers of a tape, with the equations of what they make again."""
    used = {equation.target for equation in needed(forward.equations, forward.results, forward.starts)}
    again = [equation for equation in forward.equations if equation.target not in used or is_made_again(equation, forward)]
    return [making(program, again) for program in readers]


def without_idle(forward: Program, tape: Iterable[Value]) -> Program:
    """A forward program without what neither a result nor the tape is made of."""
    return forward.with_equations(needed(forward.equations, [*forward.results, *tape], forward.starts))


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


def replaced(program: Program, old: Equation, new: Equation) -> Program:
    """The program with another equation in the place of one."""
    return replace(program, equations=tuple(new if one is old else one for one in program.equations))


def making(program: Program, again: Sequence[Equation]) -> Program:
    """A program that computes what it reads of some values; a softmax that one equation reads stands in it, in the same memory."""
    added: list[Equation] = []
    for equation in reversed(again):
        readers = [one for one in (*program.equations, *added) if one.is_reading(equation.target)]
        if len(readers) == 1 and isinstance(equation.value, Softmax) and readers[0] not in added:
            inside = {equation.target: equation.value}
            program = replaced(program, readers[0], readers[0].substituted(inside.get))
        elif readers:
            added.insert(0, equation)
    targets = {equation.target for equation in added}
    given = tuple(value for value in program.given if value not in targets)
    return replace(program, given=given).with_equations([*added, *program.equations])
