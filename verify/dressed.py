"""Modules of the contract called in another way: each call in a fresh module, or with the batch before time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from verify.axes import given, taken

TABLES = ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS", "TOKENS")


@dataclass(frozen=True)
class Rerun:
    """A tape that is made anew for each call: the arguments of the forward call that it is of."""

    arguments: tuple[Any, ...]


class Isolated:
    """A module of which each call is the first one, and each tape unread: what calls leave behind reaches no later one."""

    def __init__(self, fresh: Callable[[], Any]) -> None:
        self.fresh = fresh
        module = fresh()
        self.__dict__.update({name: getattr(module, name, {}) for name in TABLES})
        for name in {"jvp", "hvp"} & set(dir(module)):
            setattr(self, name, partial(self.called, name))
        if hasattr(module, "step_jacobian"):
            self.step_jacobian = lambda parameters, tape: self.with_tape("step_jacobian", parameters, tape)

    def called(self, name: str, *arguments: Any) -> Any:
        return getattr(self.fresh(), name)(*arguments)

    def forward(self, *arguments: Any) -> Any:
        before = deepcopy(arguments)
        return deepcopy(self.fresh().forward(*arguments)[0]), Rerun(before)

    def backward(self, parameters: Any, tape: Any, cotangents: Any) -> Any:
        return self.with_tape("backward", parameters, tape, cotangents)

    def with_tape(self, function: str, parameters: Any, tape: Any, *rest: Any) -> Any:
        module = self.fresh()
        if isinstance(tape, Rerun):
            tape = module.forward(*deepcopy(tape.arguments))[1]
        return deepcopy(getattr(module, function)(parameters, tape, *rest))


class BatchFirst:
    """A module whose inputs, outputs and cotangents are (B, T, ...), as one of the contract: time first."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.__dict__.update({name: getattr(module, name, {}) for name in TABLES})
        for name in ("jvp", "hvp", "step_jacobian"):
            if hasattr(module, name):
                setattr(self, name, getattr(self, f"turned_{name}"))
        if hasattr(module, "Workspace"):
            self.Workspace = module.Workspace

    def forward(self, parameters: Any, inputs: Any, state: Any = None, **options: Any) -> Any:
        with passed(inputs) as given:
            result = self.module.forward(parameters, given, state, **options)
        return (turned(result[0]), *result[1:]) if isinstance(result, tuple) and result else result

    def backward(self, parameters: Any, tape: Any, cotangents: Any, **options: Any) -> Any:
        with passed(cotangents) as given:
            return turned_gradients(self.module.backward(parameters, tape, given, **options))

    def turned_jvp(self, parameters: Any, inputs: Any, state: Any, moved: Any, moved_inputs: Any, moved_state: Any) -> Any:
        with passed(inputs) as given, passed(moved_inputs) as tangents:
            return turned(self.module.jvp(parameters, given, state, moved, tangents, moved_state))

    def turned_hvp(
        self, parameters: Any, inputs: Any, state: Any, cotangents: Any, moved: Any, moved_inputs: Any, moved_state: Any
    ) -> Any:
        with passed(inputs) as given, passed(cotangents) as held, passed(moved_inputs) as tangents:
            return turned_gradients(self.module.hvp(parameters, given, state, held, moved, tangents, moved_state))

    def turned_step_jacobian(self, parameters: Any, tape: Any) -> Any:
        found = self.module.step_jacobian(parameters, tape)
        if isinstance(found, Mapping):
            return {name: np.swapaxes(array, 0, 1) for name, array in found.items()}
        return np.swapaxes(found, 0, 1)


def turned_gradients(found: Any) -> Any:
    """Gradients with those of the inputs turned; what is missing stays missing."""
    parts = {name: getattr(found, name, None) for name in ("parameters", "inputs", "state")}
    return SimpleNamespace(**{**parts, "inputs": turned(parts["inputs"])})


def turned(arrays: Any) -> Any:
    """Arrays with their first two axes exchanged, in the same memory; what has no two axes, or is no array, as it is."""
    if not isinstance(arrays, Mapping):
        return arrays
    return {name: np.swapaxes(a, 0, 1) if isinstance(a, np.ndarray) and a.ndim > 1 else a for name, a in arrays.items()}


@contextmanager
def passed(arrays: Any) -> Iterator[Any]:
    """The arrays to pass in, in order of memory where the caller's are; what the call does to them is done to the caller's too."""
    given = turned(arrays)
    if not isinstance(arrays, Mapping):
        yield given
        return
    for name, array in given.items():
        if array is not arrays[name] and arrays[name].flags.c_contiguous:
            given[name] = np.ascontiguousarray(array)
            given[name].flags.writeable = arrays[name].flags.writeable
    kept = dict(given)
    yield given
    for name, array in kept.items():
        if array is not arrays[name] and not np.array_equal(np.swapaxes(array, 0, 1), arrays[name], equal_nan=True):
            arrays[name][...] = np.swapaxes(array, 0, 1)
    if list(given) != list(kept) and isinstance(arrays, dict):
        for name in set(arrays) - set(given):
            del arrays[name]
        arrays.update({name: array for name, array in given.items() if name not in kept})


class AlongT:
    """A module whose inputs and outputs lie along other axes than T, or along none, by its AXES, as one that has all of them at each step
    of T: see `axes`."""

    def __init__(self, module: Any, along: Mapping[str, tuple[str, ...]]) -> None:
        self.module, self.along = module, along
        self.__dict__.update({name: getattr(module, name) for name in TABLES})
        for name in ("jvp", "hvp"):
            if hasattr(module, name):
                setattr(self, name, getattr(self, f"along_{name}"))
        if hasattr(module, "Workspace"):
            self.Workspace = module.Workspace
        if hasattr(module, "step_jacobian"):
            self.step_jacobian = lambda parameters, tape: module.step_jacobian(
                parameters, tape[0] if isinstance(tape, tuple) and len(tape) == 2 else tape
            )

    def taken(self, arrays: Any, at: int) -> Any:
        """The arrays to pass in."""
        if not isinstance(arrays, Mapping):
            return arrays
        found = dict(arrays)
        for name in self.along.keys() & found.keys():
            array = found[name]
            if isinstance(array, np.ndarray) and array.ndim:
                found[name] = taken(array, self.along[name], at)
        return found

    def given(self, arrays: Any, at: int, steps: int) -> Any:
        """What came, at each step."""
        if not isinstance(arrays, Mapping):
            return arrays
        return {
            name: given(array, self.along[name], at, steps) if name in self.along else array for name, array in arrays.items()
        }

    def forward(self, parameters: Any, inputs: Any, state: Any = None, **options: Any) -> Any:
        result = self.module.forward(parameters, self.taken(inputs, 0), state, **options)
        if not isinstance(result, tuple) or len(result) != 2:
            return result
        steps = self.steps_of(inputs)
        return self.given(result[0], -1, steps), (result[1], steps)

    def steps_of(self, inputs: Any) -> int:
        arrays = inputs.values() if isinstance(inputs, Mapping) else ()
        return next((len(array) for array in arrays if isinstance(array, np.ndarray) and array.ndim), 0)

    def backward(self, parameters: Any, tape: Any, cotangents: Any, **options: Any) -> Any:
        tape, steps = tape if isinstance(tape, tuple) and len(tape) == 2 else (tape, 0)
        return self.gradients(self.module.backward(parameters, tape, self.taken(cotangents, -1), **options), steps)

    def gradients(self, found: Any, steps: int) -> Any:
        parts = {name: getattr(found, name, None) for name in ("parameters", "inputs", "state")}
        return SimpleNamespace(**{**parts, "inputs": self.given(parts["inputs"], 0, steps)})

    def along_jvp(self, parameters: Any, inputs: Any, state: Any, moved: Any, moved_inputs: Any, moved_state: Any) -> Any:
        found = self.module.jvp(parameters, self.taken(inputs, 0), state, moved, self.taken(moved_inputs, 0), moved_state)
        return self.given(found, -1, self.steps_of(inputs))

    def along_hvp(
        self, parameters: Any, inputs: Any, state: Any, cotangents: Any, moved: Any, moved_inputs: Any, moved_state: Any
    ) -> Any:
        held, tangents = self.taken(cotangents, -1), self.taken(moved_inputs, 0)
        found = self.module.hvp(parameters, self.taken(inputs, 0), state, held, moved, tangents, moved_state)
        return self.gradients(found, self.steps_of(inputs))
