"""Random cells of numbers, vectors and matrices: every derived program against complex step of the equations, without kernels.

The equations are evaluated as they are written, step by step; the programs stage by stage. The two sides part by at most the
roundings of the programs (`bounds.of_program`) of the size of their terms: |gradient| |direction| summed, and what the outputs move by.
Where digits are lost on the way, as in a layer norm of two elements or the sine of a large number, what is left of them is found by runs
in which every operation rounds at random. Functions with kinks take their branch on the real part on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.compiler import Derivation, derive, schedule
from derive.language import Value
from tests import bounds
from tests.profiles import THOROUGH
from tests.random_shapes import SIZES, cell
from verify import programs
from verify.differences import COMPLEX_STEP
from verify.interpreter import Environment, Evaluator, Run, floats
from verify.sweeps import forward

T, B = 3, 2
COUNT = 5000 if THOROUGH else 30
Array = np.ndarray[Any, Any]
RUNS = 8
"""Runs that round at random: their spread is that of all of them within a factor of four, but for a chance of 1e-3 (chi squared)."""


class Rounding(Evaluator):
    """An evaluator of which every operation, and every value that one reads, is off by a unit of rounding either way.

    That is twice what a sum or product may be off by, each entry of a matrix by itself, so that a product's terms are off one by one.
    """

    def __init__(self, sizes: Mapping[str, int], seed: int) -> None:
        super().__init__(floats(), sizes)
        self.rng = np.random.default_rng(seed)

    def run(self, node: sp.MatrixExpr) -> Run:
        exact = super().run(node)
        return lambda env: self.rounded(exact(env))

    def rounded(self, array: Array) -> Array:
        if np.iscomplexobj(array):
            return self.rounded(array.real) + 1j * self.rounded(array.imag)
        return array * (1 + bounds.EPS * self.rng.choice([-1, 1], array.shape))


class Trial:
    """A derivation on random data, and a random direction of each argument: a parameter, an input, an initial state."""

    def __init__(self, derivation: Derivation, seed: int = 0) -> None:
        self.derivation, self.rng = derivation, np.random.default_rng(seed)
        self.evaluate = Evaluator(floats(), SIZES)
        cell = derivation.cell
        self.known = {value: self.draw(value) for value in (*cell.parameters, *cell.inputs)}
        self.starts = {state: self.rng.standard_normal((B, *self.shape(state))) for state in cell.states}
        arguments = {**self.known, **self.starts}
        self.moves = {value: self.rng.standard_normal(array.shape) for value, array in arguments.items()}
        self.cotangents = {value: self.draw(value) for value in derivation.forward.results}

    def shape(self, value: Value) -> tuple[int, ...]:
        return tuple(self.evaluate.size(size) for size in value.shape)

    def draw(self, value: Value) -> Array:
        """Steps and examples first; of a size that keeps products of three steps near 1."""
        lead = (T, B) if value.timed else ()
        return 0.7 * self.rng.standard_normal((*lead, *self.shape(value)))

    # ---- the equations

    def outputs(self, moving: tuple[Value, ...] = ()) -> dict[Value, Array]:
        """{result: (T, B, n, m)} of the equations, some arguments an imaginary step along their direction."""
        at = {
            value: array + 1j * COMPLEX_STEP * self.moves[value] if value in moving else array
            for value, array in {**self.known, **self.starts}.items()
        }
        cell = self.derivation.cell
        env = {value: at[value] for value in cell.parameters} | {read: at[read.like(lag=0)] for read in cell.carried}
        inputs = {value: at[value] for value in cell.inputs}
        steps = forward(cell.equations, self.evaluate, env, inputs, T)
        return {v: np.stack([np.broadcast_to(s[v], (B, *self.shape(v))) for s in steps]) for v in self.derivation.forward.results}

    def moved(self, *moving: Value) -> dict[Value, Array]:
        """How the results move along the directions of some arguments."""
        return {value: array.imag / COMPLEX_STEP for value, array in self.outputs(moving).items()}

    # ---- the programs

    def run(self, *names: str) -> Environment:
        """The forward program and some others, all together."""
        d = self.derivation
        equations = [equation for name in ("forward", *names) for equation in getattr(d, name).equations]
        known = {**self.known, **{value.marked("given"): array for value, array in self.cotangents.items()}}
        edges = dict(self.starts)
        if "tangent" in names:
            known |= {value.marked("tangent"): self.moves[value] for value in self.known}
            edges |= {value.marked("tangent"): self.moves[value] for value in self.starts}
        return programs.run(equations, self.evaluate, known, edges)

    @cached_property
    def gradients(self) -> dict[Value, Array]:
        """{argument: its gradient}."""
        found = self.run("backward")
        whole = {value: found[value.marked("cotangent")] for value in self.known}
        return whole | {state: found[state.marked("carry")][0] for state in self.starts}

    # ---- what roundings take

    @cached_property
    def limit(self) -> float:
        """How far two routes may part, of the size of their terms: by the roundings of the programs, about 1e-13."""
        equations = [equation for program in self.derivation.programs() for equation in program.equations]
        return bounds.rounded(bounds.of_program(equations, self.evaluate.size, T, B))

    def close(self, found: Any, expected: Any, size: Any) -> bool:
        """Whether two arrays agree to the limit of the size of their terms; what isn't finite agrees with nothing."""
        error = np.abs(np.asarray(found) - expected).max(initial=0)
        return bool(np.isfinite(error) and error <= self.limit * size)

    def agree(self, found: Callable[[Trial], float], expected: Callable[[Trial], float], size: float) -> bool:
        """Whether two numbers agree to the limit, or to what is left of their digits where terms cancel on the way."""
        apart = abs(found(self) - expected(self))
        return bool(apart <= self.limit * size or apart <= self.lost(found) + self.lost(expected))

    def agree_each(self, found: Callable[[Trial], Array], expected: Callable[[Trial], Array], size: float) -> bool:
        """The same of two arrays, element by element where the limit doesn't do: a sine of a large number has lost digits before it."""
        first, second = found(self), expected(self)
        return self.close(first, second, size) or bool((np.abs(first - second) <= self.lost(found) + self.lost(expected)).all())

    def lost(self, number: Callable[[Trial], Any]) -> Any:
        """What roundings take of a number: 8 of its standard deviations, as in `tests.bounds`, over runs that round at random; 4 times
        that since tanh, exp and the like may be off by 4 units.
        """
        return 8 * 4 * np.std([number(self.rounding(seed)) for seed in range(RUNS)], axis=0, ddof=1)

    def rounding(self, seed: int) -> Trial:
        """The same data, every operation rounding at random."""
        other = Trial(self.derivation)
        vars(other).update({name: vars(self)[name] for name in ("known", "starts", "moves", "cotangents")})
        other.evaluate = Rounding(SIZES, seed)
        return other

    # ---- what is wrong

    def wrong_values(self) -> list[str]:
        sizes = {v: np.abs(array).max(initial=0) for v, array in self.outputs().items()}
        return [
            v.name
            for v, size in sizes.items()
            if not self.agree_each(lambda trial, v=v: trial.run()[v], lambda trial, v=v: trial.outputs()[v], size)
        ]

    def wrong_gradients(self) -> list[str]:
        """The gradient of each argument, along its direction, against what the loss moves by."""
        wrong = []
        for value, gradient in self.gradients.items():
            along, loss = gradient * self.moves[value], [self.cotangents[v] * array for v, array in self.moved(value).items()]
            size = np.abs(along).sum() + sum(np.abs(part).sum() for part in loss)
            if not self.agree(partial(Trial.along, value=value), partial(Trial.loss, value=value), size):
                wrong.append(value.name)
        return wrong

    def along(self, value: Value) -> float:
        """The gradient of an argument along its direction."""
        return float((self.gradients[value] * self.moves[value]).sum())

    def loss(self, value: Value) -> float:
        """What the loss moves by when an argument moves along its direction."""
        return float(sum((self.cotangents[v] * array).sum() for v, array in self.moved(value).items()))

    def wrong_tangents(self) -> list[str]:
        sizes = {v: np.abs(array).max(initial=0) + 1 for v, array in self.moved(*self.moves).items()}
        return [
            v.name
            for v, size in sizes.items()
            if not self.agree_each(
                lambda trial, v=v: trial.run("tangent")[v.marked("tangent")],
                lambda trial, v=v: trial.moved(*trial.moves)[v],
                size,
            )
        ]

    def wrong_pairing(self) -> list[str]:
        """<ȳ, ẏ> from both sides: of the tangents of all results, and of the gradients along all directions."""
        size = sum(np.abs(part).sum() for part in (*self.ahead(), *self.behind()))
        sides = [
            lambda trial: float(sum(p.sum() for p in trial.ahead())),
            lambda trial: float(sum(p.sum() for p in trial.behind())),
        ]
        return [] if self.agree(*sides, size) else ["<ȳ, ẏ>"]

    def ahead(self) -> list[Array]:
        found = self.run("tangent")
        return [array * found[value.marked("tangent")] for value, array in self.cotangents.items()]

    def behind(self) -> list[Array]:
        return [gradient * self.moves[value] for value, gradient in self.gradients.items()]

    def wrong_blocks(self) -> list[str]:
        """Each block of the Jacobian of the first step, times the direction of the state before it."""
        found = self.run("jacobian") if self.derivation.jacobian.results else {}
        wrong = []
        for before in self.starts if found else ():
            moved = self.moved(before)
            for state in self.starts:
                block = found[state.like(cols=before.shape[0], marks=(f"jacobian:{before.name}",))][0]
                expected = moved[state][0]
                if not self.close(
                    block @ self.moves[before], expected, np.abs(block).sum() * np.abs(self.moves[before]).sum() + 1
                ):
                    wrong.append(f"{state.name} by {before.name}")
        return wrong

    def wrong(self) -> dict[str, list[str]]:
        found = {
            "values": self.wrong_values(),
            "gradients": self.wrong_gradients(),
            "tangents": self.wrong_tangents(),
            "pairing": self.wrong_pairing(),
            "Jacobian": self.wrong_blocks(),
        }
        return {what: names for what, names in found.items() if names}


@pytest.mark.parametrize("seed", range(COUNT))
def test_every_program_of_a_random_cell_is_the_derivative_of_its_equations(seed: int) -> None:
    derivation = derive(cell(seed))
    assert not Trial(derivation).wrong(), derivation.cell.equations


@pytest.mark.parametrize("seed", range(COUNT))
def test_every_scheduled_program_of_a_random_cell_gives_the_same(seed: int) -> None:
    derivation = derive(cell(seed))
    scheduled, _ = schedule(derivation)
    plain = replace(derivation, backward=scheduled.backward, tangent=scheduled.tangent, jacobian=scheduled.jacobian)
    assert not Trial(plain).wrong(), derivation.cell.equations
    assert not Trial(replace(derivation, forward=scheduled.forward)).wrong_values(), derivation.cell.equations


@pytest.mark.parametrize(("seed", "fault"), [(0, 1e-9), (8, 1e-8)])
def test_a_gradient_that_is_off_by_a_little_is_seen(seed: int, fault: float) -> None:
    """Of seed 8 one gradient is so small beside the terms that cancel on its way that rounding takes six more of its digits."""
    trial = Trial(derive(cell(seed)))
    for value, gradient in [*trial.gradients.items()]:
        if gradient.any():
            trial.gradients[value] = gradient * (1 + fault)
            assert trial.wrong_gradients() == [value.name]
            trial.gradients[value] = gradient
