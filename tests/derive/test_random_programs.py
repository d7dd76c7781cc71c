"""Random cells of numbers, vectors and matrices: every derived program against complex step of the equations, without kernels.

The equations are evaluated as they are written, step by step; the programs stage by stage. Both sides of a comparison round alike,
a few hundred operations deep; what cancels has the size of its terms named: |gradient| |direction| summed, and what the outputs
move by. Functions with kinks take their branch on the real part on both sides.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from derive.compiler import Derivation, derive, schedule
from derive.language import Value
from tests.profiles import THOROUGH
from tests.random_shapes import SIZES, cell
from verify import interpreter, programs
from verify.differences import COMPLEX_STEP
from verify.interpreter import Environment, Evaluator, floats

T, B = 3, 2
COUNT = 5000 if THOROUGH else 30
Array = np.ndarray[Any, Any]
LIMIT = 1e-10
"""Of the size of the terms. The deepest cells take about 1e3 roundings a step, each amplified by slopes of at most a few in three steps:
8 sqrt(3e3) eps = 1e-13, times what three steps amplify; a wrong term is of the size of the terms."""


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
        steps = interpreter.forward(cell.equations, self.evaluate, env, inputs, T)
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

    @property
    def cancelling(self) -> float:
        """What terms that cancel on the way leave, as of a layer norm of two elements: a thousandth of the cotangents."""
        return 1e-3 * sum(np.abs(array).sum() for array in self.cotangents.values())

    # ---- what is wrong

    def wrong_values(self) -> list[str]:
        found, expected = self.run(), self.outputs()
        return [v.name for v, array in expected.items() if not close(found[v], array, np.abs(array).max(initial=0))]

    def wrong_gradients(self) -> list[str]:
        """The gradient of each argument, along its direction, against what the loss moves by."""
        wrong = []
        for value, gradient in self.gradients.items():
            outputs = self.moved(value)
            along, loss = gradient * self.moves[value], [self.cotangents[v] * array for v, array in outputs.items()]
            size = np.abs(along).sum() + sum(np.abs(part).sum() for part in loss) + self.cancelling
            if not close(along.sum(), sum(part.sum() for part in loss), size):
                wrong.append(value.name)
        return wrong

    def wrong_tangents(self) -> list[str]:
        found, expected = self.run("tangent"), self.moved(*self.moves)
        sizes = {v: np.abs(array).max(initial=0) + 1 for v, array in expected.items()}
        return [v.name for v, array in expected.items() if not close(found[v.marked("tangent")], array, sizes[v])]

    def wrong_pairing(self) -> list[str]:
        """<ȳ, ẏ> from both sides: of the tangents of all results, and of the gradients along all directions."""
        found = self.run("tangent")
        ahead = [array * found[value.marked("tangent")] for value, array in self.cotangents.items()]
        behind = [gradient * self.moves[value] for value, gradient in self.gradients.items()]
        size = sum(np.abs(part).sum() for part in (*ahead, *behind)) + self.cancelling
        sides = [sum(part.sum() for part in parts) for parts in (ahead, behind)]
        return [] if close(*sides, size) else ["<ȳ, ẏ>"]

    def wrong_blocks(self) -> list[str]:
        """Each block of the Jacobian of the first step, times the direction of the state before it."""
        found = self.run("jacobian") if self.derivation.jacobian.results else {}
        wrong = []
        for before in self.starts if found else ():
            moved = self.moved(before)
            for state in self.starts:
                block = found[state.like(cols=before.shape[0], marks=(f"jacobian:{before.name}",))][0]
                expected = moved[state][0]
                if not close(block @ self.moves[before], expected, np.abs(block).sum() * np.abs(self.moves[before]).sum() + 1):
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


def close(found: Any, expected: Any, size: Any) -> bool:
    """Whether two arrays agree to `LIMIT` of the size of their terms; what isn't finite agrees with nothing."""
    error = np.abs(np.asarray(found) - expected).max(initial=0)
    return bool(np.isfinite(error) and error <= LIMIT * size + 1e-300)


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
