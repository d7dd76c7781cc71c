"""The derived cell that a kernel is held against: both passes as interpreted, its terms, the high-precision arbiter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.cell import Cell, ordered
from derive.derivation import Derivation, derive
from derive.equation import Equation
from derive.language import Value
from derive.latex import LaTeX
from derive.notation import Notation
from derive.program import Program
from derive.shapes import EXAMPLES, STEPS
from verify import interpreter, programs
from verify.along import count
from verify.axes import given as at_first
from verify.axes import lengths_of, taken
from verify.columns import given_once, initial, lying, standing
from verify.correspondence import Correspondence
from verify.data import Data, Dims
from verify.edits.elsewhere import filled, filled_along, read_elsewhere
from verify.interpreter import Environment, Evaluator, Numbers
from verify.kernel import Kernel
from verify.relations import Relation
from verify.several import AllAxes, Running, counts, run
from verify.sweeps import forward

Array = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """One term of the derived backward formula: in which equation, the how-manieth, its formula and its reason."""

    equation: Equation
    index: int
    text: str

    @property
    def key(self) -> tuple[Value, int]:
        return self.equation.target, self.index


@dataclass(frozen=True)
class Model:
    """A cell's derivation, called with the arrays of a kernel. names: which of them are which of the cell's symbols."""

    cell: Cell
    names: Correspondence

    @cached_property
    def derivation(self) -> Derivation:
        return derive(self.cell)

    @cached_property
    def evaluators(self) -> dict[tuple[tuple[str, int], ...], Evaluator]:
        return {}

    def name(self, value: Value) -> str:
        return self.names.name(value.name)

    def label(self, value: Value) -> str:
        """The block of a result: `W`, `input x`, `initial h`."""
        return block_of(value, self.name(value))

    def check_names(self, kernel: Kernel, where: str, whole: bool = False) -> None:
        """Raises KernelError unless the kernel's tables hold the cell's names and shapes, as mapped; whole: its states and outputs too."""
        self.names.check(kernel.dims, where, whole)

    def sizes(self, dims: Dims, where: str = "kernel") -> dict[str, int]:
        """The size of each of the cell's dimensions, from the kernel's tables; raises KernelError where they don't agree."""
        return self.names.at(dims, where).sizes

    @property
    def is_along_t(self) -> bool:
        """Whether all steps are along T; of another cell there is one environment, of all steps: see `ModelOfAxes`."""
        return set(self.cell.step_axes) <= {STEPS}

    # ---- running it

    def evaluator(self, dims: Dims, numbers: Numbers | None = None) -> Evaluator:
        """One evaluator per choice of sizes, so that each expression is turned into functions once."""
        sizes = self.sizes(dims)
        if numbers is not None:
            return Evaluator(numbers, sizes)
        return self.evaluators.setdefault(tuple(sizes.items()), Evaluator(interpreter.floats(), sizes))

    def environments(self, data: Data, evaluate: Evaluator, program: Program | None = None) -> list[Environment]:
        """Everything that the forward pass computes, at every step; of the cell's own equations, or of a forward program."""
        pairs = (
            ordered(self.cell.equations, self.cell.name) if program is None else [(e.target, e.value) for e in program.equations]
        )
        cast, data = cast_to(evaluate.numbers), self.names.at_data(data).data(data)
        env: Environment = {v: standing(v, cast(data.parameters[v.name])) for v in self.cell.parameters}
        env |= initial(self.cell, data.state, cast) | given_once(self.cell, data.inputs, cast)
        inputs = {v: [*standing(v, cast(data.inputs[v.name]))] for v in self.cell.inputs if v.has_steps}
        inputs |= {v: [*standing(v, data.inputs[v.name])] for v in self.cell.tokens}
        return forward(pairs, evaluate, env, inputs, data.steps, dict(self.cell.starts))

    def environments_at(self, dims: Dims, data: Data) -> list[Environment]:
        """The environments at some sizes."""
        return self.environments(data, self.evaluator(dims))

    def outputs(self, environments: Sequence[Environment], dims: Dims | None = None) -> dict[str, Array]:
        """The states and outputs that the kernel has too; dims: its tables, needed where it has them put together."""
        values = (*self.cell.states, *self.cell.outputs)
        found = {v.name: lying(v, self.at_steps(v, [env[v] for env in environments])) for v in values}
        return {self.names.name(name): a for name, a in found.items()} if dims is None else self.names.at(dims).outputs(found)

    @staticmethod
    def at_steps(value: Value, arrays: Sequence[Array]) -> Array:
        """A value at each step; one of an example stands at the last step, and the others are zero."""
        whole = np.stack(arrays)
        if not value.has_steps:
            whole[:-1] = 0
        return whole

    def filled(self, dims: Dims, data: Data, evaluate: Evaluator | None = None) -> list[Environment]:
        """The environments with the values that only the flattened program names."""
        evaluate = evaluate or self.evaluator(dims)
        return programs.filled(self.environments(data, evaluate), self.derivation.forward.equations, evaluate)

    def gradients(
        self, dims: Dims, data: Data, cotangents: Mapping[str, Array], program: Program | None = None,
        environments: list[Environment] | None = None, record: programs.Record | None = None, evaluate: Evaluator | None = None,
    ) -> dict[str, Array]:  # fmt: skip
        """Gradients by block label of the derived backward program, or of another in its place."""
        evaluate = evaluate or self.evaluator(dims)
        environments = environments or self.filled(dims, data)
        program = program or self.derivation.backward
        given = self.given(program, dims, data, cotangents, environments, evaluate)
        environments = self.with_others(read_elsewhere(program.equations), environments, evaluate)
        found = self.results(program, evaluate, environments, given, record)
        return self.names.at(dims).gradients(
            {block_of(value): self.shaped(value, array, data.steps, program) for value, array in found.items()}
        )

    def with_others(self, values: Sequence[Value], environments: list[Environment], evaluate: Evaluator) -> list[Environment]:
        """The environments with what only an edited program reads."""
        return filled(values, environments, evaluate)

    def results(
        self, program: Program, evaluate: Evaluator, environments: list[Environment], given: Mapping[Value, Any],
        record: programs.Record | None,
    ) -> Environment:  # fmt: skip
        """The results of a backward program."""
        return programs.backward(program, evaluate, environments, given, record)

    def given(
        self, program: Program, dims: Dims, data: Data, cotangents: Mapping[str, Array], environments: list[Environment],
        evaluate: Evaluator,
    ) -> dict[Value, Any]:  # fmt: skip
        """What the loss hands to each value, at every step; zeros where nothing is said."""
        cast, ours = cast_to(evaluate.numbers), self.names.at(dims).cotangents(cotangents)
        given: dict[Value, Any] = {}
        for value in program.given:
            if value.kind == "given":
                array = ours.get(value.name)
                shape = (data.steps, *environments[0][value.like(kind="primal")].shape)
                whole = np.zeros(shape, evaluate.numbers.dtype) if array is None else standing(value, cast(array))
                given[value] = whole if value.has_steps else whole[-1:]
        return given

    def shaped(self, value: Value, array: Array, steps: int, program: Program) -> Array:
        """A result of a program as the data have it: of the initial state the carry that the last step of the walk hands on, whichever
        way that is walked; what has one value an example lies at the first of so many steps."""
        if not value.timed:
            return lying(value, array)
        if not value.has_steps:
            return at_first(lying(value, array), (), 0, steps)
        end = self.end_of(value, program)
        return lying(value, array[end] if value.lag or value.kind == "carry" else array)

    def end_of(self, value: Value, program: Program) -> int:
        """Where a walk ends that carries a value: at the first step, or at the last one."""
        lags = [read.lag for read, written in program.carries if written == value]
        leftward = lags[0] < 0 if lags else value.name in self.cell.leftward
        return -1 if leftward else 0

    # ---- terms

    @cached_property
    def parts(self) -> list[Part]:
        """Every term of the derived backward formula."""
        notation = self.derivation.notation()
        found = []
        for equation in self.derivation.backward.equations:
            for k, term in enumerate(equation.terms):
                text = f"{notation.value(equation.target)}: {notation.formula(term.value)}"
                if term.reason is not None and term.reason.equation is not None:
                    text += f" (from the equation of {notation.value(term.reason.equation)}, {term.reason.rule})"
                found.append(Part(equation, k, text))
        return found

    def seen(self, dims: Dims, data: Data) -> dict[tuple[Value, int], float]:
        """How much of its sum each term is, at most over steps and elements; how far a pre-activation reaches is its own affair."""
        sizes: dict[tuple[Value, int], float] = {}

        def record(equation: Equation, values: list[Array], t: int) -> None:
            if len(values) < 1:
                return
            norms = [float(np.abs(value).max(initial=0.0)) for value in values]
            total = float(np.abs(sum(values[1:], start=values[0])).max(initial=0.0))
            for k, size in enumerate(norms):
                share = size / max(total, size) if size else 0.0
                key = (equation.target, k)
                sizes[key] = max(sizes.get(key, 0.0), share)

        self.gradients(dims, data, data.cotangents, record=record)
        return sizes

    def latex(self) -> str:
        """The cell as a page that can be derived."""
        notation = LaTeX(words=self.cell.words, leftward=self.cell.leftward, axes=self.cell.axes_of_states)
        lines = [rf"{notation.value(target)} &= {notation.formula(right)}" for target, right in self.cell.equations]
        return "\\begin{align}\n" + " \\\\\n".join(lines) + "\n\\end{align}"

    # ---- the arbiter

    def arbitrate(
        self, dims: Dims, data: Data, cotangents: Mapping[str, Array], block: str, direction: Array, size: float = 1.0
    ) -> Any:
        """The derivative of the loss along a direction of one block, by central differences of the equations.

        60 digits, and as many more as a derivative of that size is smaller than the loss that it is the difference of.
        """
        numbers = interpreter.precise(60 + max(0, -int(np.log10(size)) if size else 300))
        step = numbers.number(sp.Rational(1, 10**20))
        evaluate = self.evaluator(dims, numbers)
        cast = cast_to(numbers)

        def loss(by: Any) -> Any:
            blocks = {name: cast(array) for name, array in data.flat().items()}
            blocks[block] = blocks[block] + by * cast(direction)
            outputs = self.outputs(self.environments(data.with_flat(blocks), evaluate), dims)
            return sum((cast(cotangents[name]) * outputs[name]).sum() for name in cotangents if name in outputs)

        return (loss(step) - loss(-step)) / (2 * step)


class ModelOfAxes(Model):
    """The same of a cell of several axes of steps, such as an encoder and its decoder, with one environment, of all steps along every
    axis: its arrays are those of `several`."""

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
            found[v.name] = at_first(lying(v, evaluate.lying(v, env[v])), v.along, -1, steps)
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
        return at_first(lying(value, evaluate.lying(value, array)), value.along, 0, steps)


def block_of(value: Value, name: str = "") -> str:
    """The block of a result, under a name, by default its own."""
    name = name or value.name
    if not value.timed:
        return name
    return f"initial {name}" if value.lag or value.kind == "carry" else f"input {name}"


def cast_to(numbers: Numbers) -> Any:
    """Arrays of the kind of numbers, exactly."""
    if numbers.dtype is not object:
        return lambda array: array
    exactly = np.frompyfunc(lambda x: numbers.number(sp.Rational(float(x))) if isinstance(x, float) else x, 1, 1)
    return lambda array: np.asarray(exactly(array.astype(object)), object)


def model_of(cell: Cell, said: tuple[Relation, ...] = ()) -> Model:
    kind = Model if set(cell.step_axes) <= {STEPS} else ModelOfAxes
    return kind(cell, Correspondence(cell, said))


__all__ = ["Model", "Notation", "Part", "model_of"]
