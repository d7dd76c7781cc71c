"""What is multiplied: a kernel with its arrays, and the trajectory along which its step Jacobians are taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.shapes import STEPS
from verify.axes import along_of
from verify.kernel import one_line

Array = NDArray[Any]
Dims = Sequence[str]


class RunError(ValueError):
    """Arrays, files or options that can't be run. One line: where, what is wrong, what was expected, what to do."""


@dataclass(frozen=True)
class Run:
    """A kernel that keeps the contract, and the arguments of one forward call, in float64.

    parameters {name: as PARAMETERS}, inputs {name: (T, B, ...)}, along other axes where AXES says so, state {name: (B, ...)} (zeros
    where absent): a number has no further axis, a vector one, a matrix two. Of all states together, (..., S), matrices stand row by row.
    derivation: the cell's `derive.compiler.Derivation`, where the kernel comes from equations; paths and bounds are read from it.
    applied: what --init or a remedy did to the weights (`initial.Applied`); None where they were given.
    notes: what a reader should know of how the arrays were read.
    part: which recurrence of a network this is (`recurrences.Part`), whose kernel and arrays then stand above; None for a cell.
    """

    name: str
    kernel: Any
    parameters: Mapping[str, Array]
    inputs: Mapping[str, Array]
    state: Mapping[str, Array] = field(default_factory=dict)
    derivation: Any | None = None
    applied: Any | None = None
    notes: tuple[str, ...] = ()
    part: Any | None = None

    def __post_init__(self) -> None:
        """Raises RunError on arguments that the kernel's tables don't allow, before anything is computed."""
        kernel = self.kernel
        self.check("parameters", self.parameters, kernel.PARAMETERS, kernel.PARAMETERS)
        tokens: dict[str, Dims] = dict.fromkeys(getattr(kernel, "TOKENS", None) or {}, ())
        self.check("inputs", self.inputs, {**kernel.INPUTS, **tokens}, {**kernel.INPUTS, **tokens})
        self.check("state", self.state, (), kernel.STATES)
        for name, array in self.inputs.items():
            if 0 in array.shape[: len(self.along(name)) + 1]:
                fault = f"inputs['{name}']: expected at least one step and one sequence, (T, B, ...), got {array.shape}"
                raise RunError(f"{self.name}: {fault}. Give longer arrays.")

    def along(self, name: str) -> tuple[str, ...]:
        """The axes of steps of an input, a state or an output, which its arrays have in front of the batch."""
        return self.axes.get(name, (STEPS,))

    @cached_property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Those of what doesn't lie along T alone, by the kernel's AXES."""
        return along_of(self.kernel)

    @property
    def has_terms(self) -> bool:
        """Whether a step is a sum of derived terms: paths and bounds are read from them. They may lie along one other axis of steps."""
        return self.derivation is not None and len(self.other_axes) < 2

    @cached_property
    def other_axes(self) -> list[str]:
        """The axes of steps beside T."""
        return list(dict.fromkeys(axis for along in self.axes.values() for axis in along if axis != STEPS))

    def check(self, what: str, given: Mapping[str, Array], needed: Iterable[str], known: Mapping[str, Dims]) -> None:
        """The names of one argument, and the dtype and number of axes of each of its arrays."""
        wrong = [f"no `{name}`" for name in needed if name not in given] + [f"`{name}`" for name in given if name not in known]
        if wrong:
            expected = ", ".join(known) or "none"
            raise RunError(f"{self.name}: {what}: expected {expected}, got {wrong[0]}. Use the names of the kernel's tables.")
        for name, array in given.items():
            leading = {"parameters": 0, "state": 1}.get(what, len(self.along(name)) + 1)
            got, axes = getattr(array, "dtype", type(array).__name__), leading + len(known[name])
            is_token = what == "inputs" and name not in self.kernel.INPUTS
            if is_token and np.dtype(got).kind not in "iu":
                raise RunError(f"{self.name}: {what}['{name}']: expected tokens, whole numbers, got {got}. Convert it.")
            if not is_token and got != np.float64:
                raise RunError(f"{self.name}: {what}['{name}']: expected an array of float64, got {got}. Convert it.")
            if array.ndim != axes:
                fault = f"{what}['{name}']: expected {axes} axes, got shape {array.shape}"
                raise RunError(f"{self.name}: {fault}. Give it the axes of the kernel's contract.")

    @cached_property
    def steps(self) -> int:
        """T."""
        return int(next(len(array) for name, array in self.inputs.items() if self.along(name)[:1] == (STEPS,)))

    @cached_property
    def batch(self) -> int:
        """B."""
        return int(next(array.shape[len(self.along(name))] for name, array in self.inputs.items()))

    @cached_property
    def dims(self) -> dict[str, int]:
        """The size of every dimension that stands alone in a table, of every axis of steps, and of the batch."""
        kernel = self.kernel
        found: dict[str, int] = {}
        tables: list[tuple[Mapping[str, Array], str, Dims]] = [
            (self.parameters, n, dims) for n, dims in kernel.PARAMETERS.items()
        ]
        tables += [(self.inputs, n, (*self.along(n), "B", *kernel.INPUTS.get(n, ()))) for n in self.inputs]
        tables += [(self.outputs, n, (*self.along(n), "B", *dims)) for n, dims in kernel.STATES.items()]
        for arrays, name, dims in tables:
            found |= dict(zip(map(str, dims), arrays[name].shape, strict=True))
        return found

    @property
    def read(self) -> list[str]:
        """The inputs that have a gradient."""
        return [name for name in self.kernel.INPUTS if self.part is None or name not in self.part.idle]

    def between(self, start: int, stop: int) -> dict[str, Array]:
        """The inputs of the steps start <= t < stop along T; what lies along other axes as it is."""
        return {n: array[start:stop] if self.along(n)[:1] == (STEPS,) else array for n, array in self.inputs.items()}

    @cached_property
    def outputs(self) -> dict[str, Array]:
        """Every state and output of the forward pass, {name: (T, B, ...)}. Raises RunError where they aren't finite."""
        with np.errstate(all="ignore"):
            outputs, _ = self.forward(self.inputs, self._state())
        for name in self.kernel.STATES:
            bad = np.flatnonzero(~np.isfinite(outputs[name]).all(axis=tuple(range(1, outputs[name].ndim))))
            if bad.size:
                raise RunError(
                    f"{self.name}: state {name} isn't finite from step {bad[0] + 1} of {self.steps} on: expected finite numbers, "
                    f"got inf or nan. Use smaller weights or inputs."
                )
        return dict(outputs)

    def _state(self) -> dict[str, Array] | None:
        return self.complete_state(self.state) if self.state else None

    def complete_state(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Every state by name, zeros where it isn't given; its shape is that of another state or of a parameter."""
        return {name: given[name] if name in given else np.zeros((self.batch, *self.shapes[name])) for name in self.kernel.STATES}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each state of one sequence, in the order of STATES."""
        one = {name: array[(slice(1),) * len(self.along(name))] for name, array in self.inputs.items()}
        if set(self.state) == set(self.kernel.STATES):
            return {name: self.state[name].shape[1:] for name in self.kernel.STATES}
        with np.errstate(all="ignore"):
            outputs, _ = self.forward(one, None)
        return {name: outputs[name].shape[2:] for name in self.kernel.STATES}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many components each state has, in the order of STATES."""
        return {name: int(np.prod(shape, dtype=int)) for name, shape in self.shapes.items()}

    @cached_property
    def size(self) -> int:
        """S, the size of the joint state."""
        return sum(self.sizes.values())

    @cached_property
    def before(self) -> dict[str, Array]:
        """The states before each step and after the last, {name: (T + 1, B, ...)}."""
        start = self.complete_state(self.state)
        return {name: np.concatenate([start[name][None], self.outputs[name]]) for name in self.kernel.STATES}

    def split(self, joint: Array, axis: int = -1) -> dict[str, Array]:
        """The components of each state in a joint array, by name."""
        ends = np.cumsum(list(self.sizes.values()))[:-1]
        return dict(zip(self.sizes, np.split(joint, ends, axis=axis), strict=True))

    def states_of(self, joint: Array) -> dict[str, Array]:
        """The states of (..., S), each in its shape."""
        return {name: part.reshape(*part.shape[:-1], *self.shapes[name]) for name, part in self.split(joint).items()}

    def joint_of(self, states: Mapping[str, Array]) -> Array:
        """States as (..., S)."""
        parts = [states[name] for name in self.shapes]
        flat = [
            part.reshape(*part.shape[: part.ndim - len(self.shapes[n])], -1) for n, part in zip(self.shapes, parts, strict=True)
        ]
        return np.concatenate(flat, axis=-1)

    def forward(self, inputs: Mapping[str, Array], state: Mapping[str, Array] | None) -> tuple[Mapping[str, Array], Any]:
        """The kernel's forward with these parameters: (outputs, tape)."""
        result = self.call("forward", self.parameters, inputs, state)
        try:
            outputs, tape = result
        except (TypeError, ValueError):
            got = type(result).__name__
            raise RunError(f"{self.name}: forward: expected (outputs, tape), got {got}. Mend the kernel.") from None
        self.complete(outputs, self.kernel.STATES, "forward: outputs")
        return outputs, tape

    def backward(self, tape: Any, cotangents: Mapping[str, Array]) -> Any:
        """The kernel's backward: gradients with .parameters, .inputs and .state."""
        gradients = self.call("backward", self.parameters, tape, cotangents)
        for part, names in (
            ("parameters", self.kernel.PARAMETERS),
            ("inputs", self.kernel.INPUTS),
            ("state", self.kernel.STATES),
        ):
            self.complete(getattr(gradients, part, {}), names, f"backward: gradients.{part}")
        return gradients

    def call(self, function: str, *arguments: Any) -> Any:
        """A function of the kernel; whatever it raises is a RunError in one line."""
        try:
            return getattr(self.kernel, function)(*arguments)
        except Exception as error:
            raise RunError(f"{self.name}: {function} raised {one_line(error)}: expected it to run. Mend the kernel.") from error

    def complete(self, table: Mapping[str, Array], names: Iterable[str], where: str) -> None:
        missing = [name for name in names if name not in table]
        if missing:
            raise RunError(f"{self.name}: {where}: expected {', '.join(names)}, got no {missing[0]}. Mend the kernel.")

    @property
    def short(self) -> str:
        """The name, of a recurrence of a network without that of the network."""
        state, _, rest = self.name.partition(" of ")
        return state + "".join(rest.partition(",")[1:]) if self.part else self.name

    @property
    def label(self) -> str:
        """The name, with what was done to it that a reader of several has to know."""
        opened = getattr(self.applied, "opened", None)
        return f"{self.name}, forget bias {opened.value:g}" if opened and "forget-bias" not in self.name else self.name

    def with_parameters(self, parameters: Mapping[str, Array], applied: Any | None = None) -> Run:
        return replace(self, parameters=dict(parameters), applied=applied)
