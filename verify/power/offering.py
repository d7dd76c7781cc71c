"""Both options of calls around any module of the contract, checkpoints and workspaces; and what can be wrong with them.

`Offering` is right. Each fault is a class that does one thing otherwise, with whatever numbers the module inside computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class Buffers:
    """Buffers by what they are for."""

    def __init__(self) -> None:
        self.kept: dict[Any, Any] = {}


@dataclass
class Segments:
    """The tape of a checkpointed call: the arguments, and for each segment its steps and the states in front of it."""

    inputs: Arrays
    starts: list[tuple[int, int, dict[str, Array]]]
    outputs: Arrays


class Offering:
    """A module with both options, as they are promised. is_chain: whether its states are all that one step hands to the next; of what
    isn't one the only segment is the whole run."""

    Workspace: type[Buffers] = Buffers

    def __init__(self, module: Any, is_chain: bool = True) -> None:
        self.module, self.is_chain = module, is_chain
        self.TOKENS = getattr(module, "TOKENS", {})
        self.PARAMETERS, self.INPUTS, self.STATES, self.OUTPUTS = module.PARAMETERS, module.INPUTS, module.STATES, module.OUTPUTS

    def forward(
        self,
        parameters: Arrays,
        inputs: Arrays,
        state: Arrays | None = None,
        *,
        workspace: Buffers | None = None,
        checkpoint_every: int | None = None,
    ) -> tuple[dict[str, Array], Any]:
        outputs, tape = self.module.forward(parameters, inputs, state)
        if checkpoint_every is not None:
            return dict(outputs), self.segments(inputs, state, outputs, checkpoint_every)
        if workspace is not None:
            outputs, tape = self.lent(workspace, "outputs", outputs), self.taped(workspace, tape)
        return dict(outputs), tape

    def backward(self, parameters: Arrays, tape: Any, cotangents: Arrays, *, workspace: Buffers | None = None) -> Any:
        if isinstance(tape, Segments):
            found = self.by_segments(parameters, tape, cotangents)
        else:
            found = self.module.backward(parameters, self.read(workspace, tape), cotangents)
        if workspace is None:
            return found
        parts = {what: self.lent(workspace, what, getattr(found, what)) for what in ("parameters", "inputs", "state")}
        return SimpleNamespace(**parts)

    # ---- segments

    def segments(self, inputs: Arrays, state: Arrays | None, outputs: Arrays, every: int) -> Segments:
        """What is kept: each state where a segment starts."""
        first = state or {name: np.zeros(outputs[name].shape[1:], outputs[name].dtype) for name in self.STATES}
        steps = len(next(iter(outputs.values())))
        every = every if self.is_chain else max(1, steps)
        starts = [
            (start, min(steps, start + every), {n: (outputs[n][start - 1] if start else first[n]).copy() for n in self.STATES})
            for start in range(0, steps, every)
        ]
        return Segments(dict(inputs), starts, {name: np.zeros_like(array) for name, array in outputs.items()})

    def by_segments(self, parameters: Arrays, tape: Segments, cotangents: Arrays) -> Any:
        zero = {name: np.zeros_like(array) for name, array in parameters.items()}
        inputs = {name: np.zeros_like(tape.inputs[name]) for name in self.INPUTS}
        found = SimpleNamespace(parameters=zero, inputs=inputs, state=None)
        for start, stop, state in reversed(tape.starts):
            given: Arrays = {
                n: cotangents[n][start:stop].copy() if n in cotangents else a[start:stop] for n, a in tape.outputs.items()
            }
            if found.state is not None:
                given = self.handed(given, found.state)
            _, piece = self.module.forward(parameters, {n: a[start:stop] for n, a in tape.inputs.items()}, state)
            part = self.module.backward(parameters, piece, given)
            found.parameters = {name: self.added(array, part.parameters[name]) for name, array in found.parameters.items()}
            for name in inputs:
                inputs[name][start:stop] = part.inputs[name]
            found.state = part.state
        if found.state is None:
            found.state = {name: np.zeros(tape.outputs[name].shape[1:], tape.outputs[name].dtype) for name in self.STATES}
        return found

    def handed(self, cotangents: Arrays, state: Arrays) -> Arrays:
        """The cotangents of a segment with the gradient of its last states."""
        last = {name: np.concatenate([a[:-1], a[-1:] + state[name]]) for name, a in cotangents.items() if name in state}
        return {**cotangents, **last}

    def added(self, total: Array, part: Array) -> Array:
        return total + part

    # ---- workspaces

    def lent(self, workspace: Buffers, what: str, arrays: Arrays) -> dict[str, Array]:
        """The arrays in buffers of the workspace."""
        found = {}
        for name, array in arrays.items():
            key = self.key(what, name, np.asarray(array))
            if key not in workspace.kept:
                workspace.kept[key] = np.zeros(np.shape(array), np.asarray(array).dtype)
            self.write(workspace.kept[key], array)
            found[name] = workspace.kept[key]
        return found

    def key(self, what: str, name: str, array: Array) -> Any:
        return (what, name, array.shape, array.dtype)

    def write(self, buffer: Array, array: Array) -> None:
        buffer[...] = array

    def taped(self, workspace: Buffers, tape: Any) -> Any:
        return tape

    def read(self, workspace: Buffers | None, tape: Any) -> Any:
        return tape


# ---- faults of segments


class Cut(Offering):
    """no gradient is handed from a segment to the one before it"""

    def handed(self, cotangents: Arrays, state: Arrays) -> Arrays:
        return cotangents


class AtTheStart(Offering):
    """the gradient of a segment's last states is added at its first step"""

    def handed(self, cotangents: Arrays, state: Arrays) -> Arrays:
        first = {name: np.concatenate([a[:1] + state[name], a[1:]]) for name, a in cotangents.items() if name in state}
        return {**cotangents, **first}


class Overwritten(Offering):
    """a parameter's gradient is that of one segment"""

    def added(self, total: Array, part: Array) -> Array:
        return part


class FromZero(Offering):
    """every segment but the first is computed again from a zero state"""

    def segments(self, inputs: Arrays, state: Arrays | None, outputs: Arrays, every: int) -> Segments:
        tape = super().segments(inputs, state, outputs, every)
        zero = [
            (a, b, {name: np.zeros_like(array) for name, array in given.items()} if a else given) for a, b, given in tape.starts
        ]
        return Segments(tape.inputs, zero, tape.outputs)


class Shared(Offering):
    """the states of all segments are those in front of the last one"""

    def segments(self, inputs: Arrays, state: Arrays | None, outputs: Arrays, every: int) -> Segments:
        tape = super().segments(inputs, state, outputs, every)
        return Segments(tape.inputs, [(a, b, tape.starts[-1][2]) for a, b, _ in tape.starts], tape.outputs)


class WholeOnly(Offering):
    """the last segment is left out where it is shorter"""

    def segments(self, inputs: Arrays, state: Arrays | None, outputs: Arrays, every: int) -> Segments:
        tape = super().segments(inputs, state, outputs, every)
        whole = [one for one in tape.starts if one[1] - one[0] == every or one[0] == 0]
        return Segments(tape.inputs, whole, tape.outputs)


class Consumed(Offering):
    """backward by segments takes the segments off the tape"""

    def by_segments(self, parameters: Arrays, tape: Segments, cotangents: Arrays) -> Any:
        found = super().by_segments(parameters, tape, cotangents)
        tape.starts[1:] = []
        return found


# ---- faults of workspaces


class AddsUp(Offering):
    """the buffers of gradients aren't cleared"""

    def lent(self, workspace: Buffers, what: str, arrays: Arrays) -> dict[str, Array]:
        if what != "parameters":
            return super().lent(workspace, what, arrays)
        found = {}
        for name, array in arrays.items():
            key = self.key(what, name, array)
            workspace.kept[key] = workspace.kept.get(key, 0) + array
            found[name] = workspace.kept[key].copy()
        return found


class WrittenOnce(Offering):
    """a buffer that is there already isn't written again"""

    def lent(self, workspace: Buffers, what: str, arrays: Arrays) -> dict[str, Array]:
        fresh = {n: a for n, a in arrays.items() if self.key(what, n, a) not in workspace.kept}
        return {
            **{n: workspace.kept[self.key(what, n, a)] for n, a in arrays.items() if n not in fresh},
            **super().lent(workspace, what, fresh),
        }


class OneTape(Offering):
    """backward with a workspace reads the tape of the last forward with it"""

    def taped(self, workspace: Buffers, tape: Any) -> Any:
        workspace.kept["tape"] = tape
        return tape

    def read(self, workspace: Buffers | None, tape: Any) -> Any:
        return tape if workspace is None else workspace.kept.get("tape", tape)


class LargeEnough(Offering):
    """a buffer is kept for fewer steps and examples too, and what the last call left in it is returned"""

    def lent(self, workspace: Buffers, what: str, arrays: Arrays) -> dict[str, Array]:
        found = {}
        for name, array in arrays.items():
            before = workspace.kept.get((what, name), array)
            fits = before.dtype == array.dtype and before.ndim == array.ndim
            if before is array or not fits or any(a < b for a, b in zip(before.shape, array.shape, strict=True)):
                before = np.zeros(array.shape, array.dtype)
            before[tuple(slice(0, n) for n in array.shape)] = array
            workspace.kept[what, name] = found[name] = before
        return found


class OneWorkspace(Offering):
    """all workspaces have the same buffers"""

    def __init__(self, module: Any, is_chain: bool = True) -> None:
        super().__init__(module, is_chain)
        kept: dict[Any, Any] = {}

        class Common(Buffers):
            def __init__(self) -> None:
                self.kept = kept

        self.Workspace = Common


FAULTS: dict[str, tuple[type[Offering], ...]] = {
    "checkpoint_every": (Cut, AtTheStart, Overwritten, FromZero, Shared, WholeOnly, Consumed),
    "workspace": (AddsUp, WrittenOnce, OneTape, LargeEnough, OneWorkspace),
}
"""The check whose promise they break -> the faults."""


def wrong() -> Iterator[tuple[str, str, type[Offering]]]:
    """(check, what is wrong in words, the class) of every fault."""
    for check, kinds in FAULTS.items():
        for kind in kinds:
            yield check, (kind.__doc__ or "").strip(), kind
