"""A cell of several axes of steps, such as an encoder and its decoder, as the model that a kernel is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.language import Value
from derive.program import Program
from derive.shapes import EXAMPLES, STEPS
from verify import interpreter, programs
from verify.along import count
from verify.axes import given, lengths_of, taken
from verify.columns import lying, standing
from verify.data import Data, Dims
from verify.edits.elsewhere import filled_along
from verify.interpreter import Environment, Evaluator, Numbers
from verify.model import Model, cast_to
from verify.several import AllAxes, Running, counts, run

Array = NDArray[Any]


class ModelOfAxes(Model):
    """The same as `Model`, with one environment, of all steps along every axis: its arrays are those of `several`."""

    def evaluator(self, dims: Dims, numbers: Numbers | None = None) -> AllAxes:
        sizes, axes = self.sizes(dims), self.cell.step_axes
        if numbers is not None:
            return AllAxes(numbers, sizes, axes)
        key = tuple(sizes.items())
        if key not in self.evaluators:
            self.evaluators[key] = AllAxes(interpreter.floats(), sizes, axes)
        return self.evaluators[key]  # type: ignore[return-value]

    def environments(self, data: Data, evaluate: Evaluator, program: Program | None = None) -> list[Environment]:
        assert isinstance(evaluate, AllAxes)
        cell, program = self.cell, program or self.derivation.forward
        cast, data = cast_to(evaluate.numbers), self.names.at_data(data).data(data)

        def brought(value: Value, array: Array) -> Array:
            return evaluate.standing(value, standing(value, taken(array, value.along, 0)))

        known = counts({**lengths_of(cell.step_axes, data.steps), EXAMPLES: data.batch})
        known |= {v: standing(v, cast(data.parameters[v.name])) for v in cell.parameters}
        known |= {v: brought(v, cast(data.inputs[v.name])) for v in cell.inputs}
        known |= {v: brought(v, data.inputs[v.name]) for v in cell.tokens}
        edges = {
            read: evaluate.standing(read.like(axes=(EXAMPLES,)), standing(read, cast(data.state[str(read.name)])))
            for read in cell.carried
            if str(read.name) in data.state
        }
        starts = dict(cell.starts)
        env = run(program.equations, evaluate, known, starts, edges)
        reads = Running(evaluate, env, starts, edges)
        return [{**env, **{read: reads.read(read) for read in cell.carried}}]

    def filled(self, dims: Dims, data: Data, evaluate: Evaluator | None = None) -> list[Environment]:
        return self.environments(data, evaluate or self.evaluator(dims))

    def outputs(self, environments: Sequence[Environment], dims: Dims | None = None) -> dict[str, Array]:
        (env,), found = environments, {}
        evaluate, steps = self.some_evaluator, count(env, STEPS)
        for v in (*self.cell.states, *self.cell.outputs):
            found[v.name] = given(lying(v, evaluate.lying(v, env[v])), v.along, -1, steps)
        return {self.names.name(name): a for name, a in found.items()} if dims is None else self.names.at(dims).outputs(found)

    @property
    def some_evaluator(self) -> AllAxes:
        """One that knows the axes; of no sizes."""
        return AllAxes(interpreter.floats(), {}, self.cell.step_axes)

    def with_others(self, values: Sequence[Value], environments: list[Environment], evaluate: Evaluator) -> list[Environment]:
        assert isinstance(evaluate, AllAxes)
        return [filled_along(values, environments[0], evaluate)]

    def results(
        self, program: Program, evaluate: Evaluator, environments: list[Environment], given: Mapping[Value, Any],
        record: programs.Record | None,
    ) -> Environment:  # fmt: skip
        assert isinstance(evaluate, AllAxes)
        found = run(program.equations, evaluate, {**environments[0], **given}, dict(program.starts))
        return {value: found[value] for value in program.results}

    def given(
        self, program: Program, dims: Dims, data: Data, cotangents: Mapping[str, Array], environments: list[Environment],
        evaluate: Evaluator,
    ) -> dict[Value, Any]:  # fmt: skip
        assert isinstance(evaluate, AllAxes)
        cast, ours = cast_to(evaluate.numbers), self.names.at(dims).cotangents(cotangents)
        found: dict[Value, Any] = {}
        for value in (value for value in program.given if value.kind == "given"):
            array = ours.get(value.name)
            if array is None:
                found[value] = 0 * environments[0][value.like(kind="primal")]
            else:
                found[value] = evaluate.standing(value, standing(value, taken(cast(array), value.along, -1)))
        return found

    def shaped(self, value: Value, array: Array, steps: int, program: Program) -> Array:
        if not value.timed:
            return lying(value, array)
        evaluate = self.some_evaluator
        if value.lag or value.kind == "carry":
            end = np.moveaxis(array, evaluate.at(value.axis), 0)[[self.end_of(value, program)]]
            return lying(value, evaluate.lying(value, np.moveaxis(end, 0, evaluate.at(value.axis)))[0])
        return given(lying(value, evaluate.lying(value, array)), value.along, 0, steps)
