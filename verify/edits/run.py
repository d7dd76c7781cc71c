"""Edited backward programs run on one set of data: only what an edit changes is computed again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.equation import Equation
from derive.language import Value
from derive.program import Program
from verify.data import Data, Dims
from verify.edits.edit import Edit
from verify.edits.elsewhere import filled, read_elsewhere
from verify.interpreter import Environment, Evaluator
from verify.model import Model, block_of
from verify.programs import add_step, finish, is_walk, nothing_behind, right_side, whole
from verify.several import AllAxes, run

Array = NDArray[Any]


class Trial:
    """The backward program of a cell on some data, and what edits of it give there.

    environments: those of the forward pass; by default of the cell's own equations.
    """

    def __init__(
        self,
        model: Model,
        dims: Dims,
        data: Data,
        cotangents: Mapping[str, Array],
        program: Program | None = None,
        environments: list[Environment] | None = None,
    ) -> None:
        self.model, self.evaluate = model, model.evaluator(dims)
        self.program = program or model.derivation.backward
        environments = environments or model.filled(dims, data)
        elsewhere = read_elsewhere(self.program.equations)
        self.at, self.dims, self.count = model.names.at(dims), dims, data.steps
        self.given = model.given(self.program, dims, data, cotangents, environments, self.evaluate)
        self.environments = model.with_others(elsewhere, environments, self.evaluate)

    @cached_property
    def examples(self) -> int:
        return int(max(array.shape[0] for value, array in self.environments[0].items() if value.timed))

    @cached_property
    def base(self) -> Run:
        kind = OverAxes if not self.model.is_along_t else Run if is_walk(self.program) else Whole
        return kind(self, self.program, {one.target for one in self.program.equations}, None)

    @cached_property
    def gradients(self) -> dict[str, Array]:
        """By block of the kernel, as derived."""
        return self.at.gradients(self.ours)

    @cached_property
    def ours(self) -> dict[str, Array]:
        """By block of the cell."""
        return self.base.results(self.program.results)

    @cached_property
    def makes(self) -> dict[str, list[str]]:
        """block of the cell -> the blocks of the kernel that hold it."""
        found = {}
        for block, array in self.ours.items():
            marked = self.at.gradients({name: one * 0 for name, one in self.ours.items()} | {block: array * 0 + 1})
            found[block] = [name for name, one in marked.items() if one.any()]
        return found

    @cached_property
    def readers(self) -> dict[Value, list[Equation]]:
        found: dict[Value, list[Equation]] = {}
        for equation in self.program.equations:
            for value in equation.reads():
                found.setdefault(value, []).append(equation)
        return found

    def touched(self, edit: Edit) -> set[Value]:
        """The values that an edit changes, through what reads them and through the carries."""
        waiting = [old.target for old, _ in edit.changed]
        found: set[Value] = set(waiting)
        while waiting:
            value = waiting.pop()
            around = (
                value,
                value.like(lag=1),
                value.like(lag=-1),
                *[read for read, start in self.program.starts if start == value],
            )
            after = [one.target for read in around for one in self.readers.get(read, ())]
            waiting += (new := [target for target in after if target not in found])
            found.update(new)
        return found

    def reached(self, edit: Edit) -> set[str]:
        """The blocks that an edit may change."""
        touched = self.touched(edit)
        return {name for value in self.program.results if value in touched for name in self.makes[block_of(value)]}

    def run(self, edit: Edit) -> dict[str, Array]:
        """The gradients that an edit changes, by block. Raises KeyError where it reads what isn't there yet."""
        touched = self.touched(edit)
        some = [value for value in self.program.results if value in touched]
        turned = type(self.base) is Run and any(read.lag < 0 for read, _ in edit.program.carries)
        new = (Whole if turned else type(self.base))(self, edit.program, touched, self.base).results(some)
        changed = {name for block in new for name in self.makes[block]}
        return {name: array for name, array in self.at.gradients(self.ours | new).items() if name in changed}


class Run:
    """One run: what each step and the sums over them came to. touched: what is computed; the rest is taken from `base`."""

    def __init__(self, trial: Trial, program: Program, touched: set[Value], base: Run | None) -> None:
        self.trial, self.program = trial, program
        changed = [one for one in program.equations if one.target in touched]
        special = [value for value in read_elsewhere(changed) if value not in trial.environments[0]]
        environments = filled(special, trial.environments, trial.evaluate)
        evaluate, count = trial.evaluate, len(environments)
        each_step = [one for one in changed if one.target.timed or one.accumulate]
        early = [one for one in changed if not (one.target.timed or one.accumulate) and program.place(one) == "once"]
        self.once: Environment = dict(base.once) if base else {v: a for v, a in environments[0].items() if not v.timed}
        for equation in early:
            self.once[equation.target] = right_side(equation, evaluate, self.once, None, 0)
        carry = nothing_behind(program, environments[0])
        totals: Environment = {}
        self.steps: list[Environment] = [{} for _ in environments]
        for t in reversed(range(count)):
            env = {
                **(base.steps[t] if base else {value: arrays[t] for value, arrays in trial.given.items()}),
                **environments[t],
                **self.once,
                **carry,
            }
            for equation in each_step:
                if equation.accumulate:
                    add_step(totals, equation, evaluate, env, None, t)
                    continue
                value = right_side(equation, evaluate, env, None, t)
                env[equation.target] = np.broadcast_to(value, (trial.examples, *value.shape)) if value.ndim == 2 else value
            carry = {read: env[written] for read, written in program.carries}
            self.steps[t] = env
        kept = {value: array for value, array in base.final.items() if value not in touched} if base else {}
        self.final: Environment = {**kept, **self.once, **totals}
        for equation in changed:
            finish(self.final, equation, evaluate, None)

    def results(self, values: tuple[Value, ...] | list[Value]) -> dict[str, Array]:
        found = {}
        for value in values:
            array = np.stack([step[value] for step in self.steps]) if value.timed else self.final[value]
            found[block_of(value)] = self.trial.model.shaped(value, array, self.trial.count, self.program)
        return found


class Whole(Run):
    """The same of a program that is no walk of the steps: all of it is computed again. found: every value."""

    found: Environment

    def __init__(self, trial: Trial, program: Program, touched: set[Value], base: Run | None) -> None:
        self.trial, self.program = trial, program
        special = [value for value in read_elsewhere(program.equations) if value not in trial.environments[0]]
        environments = filled(special, trial.environments, trial.evaluate)
        self.found = whole(program, trial.evaluate, environments, trial.given)

    def results(self, values: tuple[Value, ...] | list[Value]) -> dict[str, Array]:
        count, program, shaped = self.trial.count, self.program, self.trial.model.shaped
        return {block_of(value): shaped(value, self.found[value], count, program) for value in values}


class OverAxes(Whole):
    """The same of a program along several axes of steps. found: every value."""

    def __init__(self, trial: Trial, program: Program, touched: set[Value], base: Run | None) -> None:
        self.trial, self.program = trial, program
        changed = [one for one in program.equations if one.target in touched]
        special = [value for value in read_elsewhere(changed) if value not in trial.environments[0]]
        (env,) = trial.model.with_others(special, trial.environments, trial.evaluate)
        there = (
            {value: array for value, array in base.found.items() if value not in touched} if isinstance(base, OverAxes) else {}
        )
        assert isinstance(trial.evaluate, AllAxes)
        self.found = run(changed, trial.evaluate, {**env, **trial.given, **there}, dict(program.starts))


def gradients_of(edit: Edit, model: Model, dims: Dims, data: Data, cotangents: Mapping[str, Array]) -> dict[str, Array]:
    """All gradients of an edited program, by block."""
    trial = Trial(model, dims, data, cotangents)
    return trial.gradients | trial.run(edit)


__all__ = ["Evaluator", "Run", "Trial", "gradients_of"]
