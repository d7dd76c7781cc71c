"""Every derived program, exactly: its components minus what SymPy's `diff` gives for the unrolled equations is the zero polynomial.

Sizes are H = 2, D = 1 and 2, two steps, a free initial state and free cotangents on every state and output at every step. What the
free symbols are, and why equality there is a proof, is said in `tests.derive.exact`. Here and only here components are spelled out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import sympy as sp

from derive.cell import Cell
from derive.cells.registry import build, declarations, variants
from derive.compiler import Derivation, derive, schedule
from derive.functions import function
from derive.language import Eq, Plus, Rows, Transposed, Value, add, dimension, matrix, matrix_parts, scale, sequence, softmax
from derive.language import stack, substitute, vector
from derive.program import PLACES, Equation, Program, Term
from tests.derive.exact import Array, Components, Oracle, Scalars, Sizes, free

STEPS = 2
SIZES = {"H": 2, "D": 2, "K": 2, "E": 1, "M": 1}
WORDS = [cell.command for declaration in declarations().values() for cell in variants(declaration)]
Leaf = tuple[Value, int | None]


# ---- a program, run by components


class Run:
    """Programs of one cell, run one after the other over the same steps; each finds what those before it computed.

    steps: the timed values of each step; shared: the values that don't depend on the step.
    """

    def __init__(self, scalars: Scalars, sizes: Sizes, steps: int = STEPS) -> None:
        self.scalars, self.sizes = scalars, sizes
        self.steps: list[dict[Value, Array]] = [{} for _ in range(steps)]
        self.shared: dict[Value, Array] = {}

    def copy(self) -> Run:
        other = Run(self.scalars, self.sizes)
        other.steps, other.shared = [dict(values) for values in self.steps], dict(self.shared)
        return other

    def run(self, program: Program, edge: Callable[[Value], Array]) -> None:
        """Every equation of the program at every step; `edge`: what the first step of the walk reads as carried."""
        walk = range(len(self.steps))[:: -1 if program.reverse else 1]
        for place in PLACES:
            if place in ("once", "finish"):
                self.evaluate(program.at(place), {})
                continue
            for k, step in enumerate(walk):
                for read, written in program.carries if place == "step" else ():
                    self.steps[step][read] = self.steps[walk[k - 1]][written] if k else edge(read)
                self.evaluate(program.at(place), self.steps[step])

    def evaluate(self, equations: list[Equation], here: dict[Value, Array]) -> None:
        """Each equation in order: target = factor ∘ (sum of the terms), or the sum of that over the steps."""
        components = Components(lambda value: here[value] if value.timed else self.shared[value], self.scalars.at, self.sizes)
        for equation in equations:
            result = components(sp.ZeroMatrix(*equation.target.shape) if not equation.terms else equation.terms[0].value)
            for term in equation.terms[1:]:
                result = result + components(term.value)
            if equation.factor is not None:
                result = components(equation.factor) * result
            if equation.accumulate:
                self.shared[equation.target] = self.shared.get(equation.target, 0) + result
            else:
                (here if equation.target.timed else self.shared)[equation.target] = result


class Proof:
    """A cell's oracle, and its forward program run on the same free symbols."""

    def __init__(self, derivation: Derivation, sizes: Sizes, seed: int | None = None, oracle: Oracle | None = None) -> None:
        self.derivation, self.sizes = derivation, sizes
        self.oracle = oracle or Oracle(derivation.cell.equations, sizes, STEPS)
        self.scalars = Scalars(seed)
        self.after_forward = Run(self.scalars, sizes)
        for value in derivation.forward.given:
            self.give(self.after_forward, value, "")
        self.after_forward.run(derivation.forward, lambda read: self.free(read, -1))

    def free(self, value: Value, step: int | None, mark: str = "") -> Array:
        return self.elements(free(value, step, self.sizes, mark))

    def elements(self, expressions: Array) -> Array:
        return np.array([[self.scalars(part) for part in row] for row in expressions], dtype=object)

    def give(self, run: Run, value: Value, mark: str) -> None:
        """Free symbols for a given value, at every step where it depends on the step."""
        for step, here in enumerate(run.steps) if value.timed else [(None, run.shared)]:
            here[value] = self.free(value, step, mark)

    def gradients(self, program: Program) -> dict[Leaf, Array]:
        """What a backward program gives for everything that the oracle found free."""
        run = self.after_forward.copy()
        for value in program.given:
            if value.kind == "given":
                self.give(run, value, "bar ")
        run.run(program, lambda read: np.zeros_like(self.free(read, None)))
        return {(value, step): self.result(run, value, step) for value, step in self.oracle.leaves}

    def result(self, run: Run, value: Value, step: int | None) -> Array:
        if step is None:
            return run.shared[value.like(kind="cotangent")]
        return run.steps[0][value.prev.like(kind="carry")] if step < 0 else run.steps[step][value.like(kind="cotangent")]

    def expected(self) -> dict[Leaf, Array]:
        return {leaf: self.elements(gradient) for leaf, gradient in self.oracle.gradients().items()}

    def tangents(self, program: Program) -> object:
        """Every result's tangent at every step times its free cotangent: d loss in a free direction."""
        run = self.after_forward.copy()
        for value in program.given:
            if value.kind == "tangent":
                self.give(run, value, "dot ")
        run.run(program, lambda read: self.free(read, -1, "dot "))
        seen = [(result, step) for result in self.oracle.results for step in range(STEPS)]
        return sum((self.free(v, t, "bar ") * run.steps[t][v.like(kind="tangent")]).sum() for v, t in seen)

    def expected_tangent(self) -> object:
        """The gradient that the oracle finds, times the same direction."""
        return sum((self.free(*leaf, "dot ") * gradient).sum() for leaf, gradient in self.expected().items())


@cache
def oracle_of(cell: Cell, width: int) -> Oracle:
    return Oracle(cell.equations, SIZES | {"D": width}, STEPS)


def proof_of(derivation: Derivation, width: int, seed: int | None = None) -> Proof:
    return Proof(derivation, SIZES | {"D": width}, seed, oracle_of(derivation.cell, width))


def differing(found: Mapping[Leaf, Array], expected: Mapping[Leaf, Array]) -> list[str]:
    """The names of the gradients that differ."""
    return [f"{leaf[0].name} at {leaf[1]}" for leaf in expected if not np.array_equal(found[leaf], expected[leaf])]


def check_gradients(derivation: Derivation, width: int) -> None:
    proof = proof_of(derivation, width)
    assert not differing(proof.gradients(derivation.backward), proof.expected())


def check_tangent(derivation: Derivation, width: int) -> None:
    proof = proof_of(derivation, width)
    assert proof.tangents(derivation.tangent) == proof.expected_tangent()


def check_jacobian(derivation: Derivation, width: int) -> None:
    proof = proof_of(derivation, width)
    run = proof.after_forward.copy()
    run.run(derivation.jacobian, lambda read: proof.free(read, -1))
    pairs = [(state, before) for state in derivation.cell.states for before in derivation.cell.states]
    assert len(derivation.jacobian.results) == len(pairs)
    for block, (state, before) in zip(derivation.jacobian.results, pairs, strict=True):
        expected = proof.elements(proof.oracle.jacobian(state, before))
        assert np.array_equal(run.steps[0][block], expected), f"d {state.name} / d {before.name}"
