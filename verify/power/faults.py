"""Faults of whole passes, planted around any module of the contract: cut recurrences, stale buffers, options of calls and more.

A wrapped module computes with whatever numbers the module inside does, so that the same fault is run in float64 and exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.power.offering import wrong

Array = NDArray[Any]
Arrays = Mapping[str, Array]
CUTS = (1, 2, 5, 10, 20)
FUNCTIONS = ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS", "TOKENS", "forward", "backward", "jvp", "step_jacobian")


@dataclass(frozen=True)
class Fault:
    """A way to spoil a module. steps: how long a run has to be for the fault to show. breaks: the check of calls that it breaks first,
    where it isn't one of a formula.
    """

    kind: str
    said: str
    spoil: Callable[[Any], Any]
    steps: int = 3
    breaks: str = ""


def namespace(module: Any, **changed: Any) -> SimpleNamespace:
    """The module with some functions in place of its own."""
    return SimpleNamespace(**{name: getattr(module, name) for name in FUNCTIONS if hasattr(module, name)} | changed)


def gradients_of(parameters: Arrays, inputs: Arrays, state: Arrays) -> SimpleNamespace:
    return SimpleNamespace(parameters=dict(parameters), inputs=dict(inputs), state=dict(state))


def after(change: Callable[[SimpleNamespace, Any], None]) -> Callable[[Any], Any]:
    """A fault that changes the right gradients once they are there; change(gradients, module)."""

    def spoil(module: Any) -> Any:
        def backward(parameters: Arrays, tape: Any, cotangents: Arrays) -> SimpleNamespace:
            right = module.backward(parameters, tape, cotangents)
            found = gradients_of(right.parameters, right.inputs, right.state)
            change(found, module)
            return found

        return namespace(module, backward=backward)

    return spoil


def rerun(compute: Callable[..., SimpleNamespace]) -> Callable[[Any], Any]:
    """A fault that runs the module on parts of the sequence; compute(module, parameters, inputs, state, tape, cotangents)."""

    def spoil(module: Any) -> Any:
        def forward(parameters: Arrays, inputs: Arrays, state: Arrays | None = None) -> tuple[Any, Any]:
            outputs, tape = module.forward(parameters, inputs, state)
            return outputs, (
                tape,
                {n: a.copy() for n, a in inputs.items()},
                state and {n: a.copy() for n, a in state.items()},
                outputs,
            )

        def backward(parameters: Arrays, tape: Any, cotangents: Arrays) -> SimpleNamespace:
            inner, inputs, state, outputs = tape
            state = state or {n: np.zeros_like(outputs[n][0]) for n in module.STATES}
            full = {n: cotangents[n] if n in cotangents else np.zeros_like(a) for n, a in outputs.items()}
            return compute(module, parameters, inputs, state, inner, full)

        plain = namespace(module, forward=forward, backward=backward)
        if hasattr(module, "step_jacobian"):
            plain.step_jacobian = lambda parameters, tape: module.step_jacobian(parameters, tape[0])
        return plain

    return spoil


def part(arrays: Arrays, start: int, stop: int) -> dict[str, Array]:
    return {name: array[start:stop] for name, array in arrays.items()}


def before(module: Any, parameters: Arrays, inputs: Arrays, state: Arrays, step: int) -> dict[str, Array]:
    """The states before a step."""
    if step == 0:
        return dict(state)
    outputs, _ = module.forward(parameters, part(inputs, 0, step), state)
    return {name: outputs[name][-1] for name in module.STATES}


def chunk(
    module: Any, parameters: Arrays, inputs: Arrays, state: Arrays, cotangents: Arrays, start: int, stop: int
) -> SimpleNamespace:
    """The backward pass of some steps by themselves: nothing comes from the steps after them."""
    _, tape = module.forward(parameters, part(inputs, start, stop), before(module, parameters, inputs, state, start))
    found: SimpleNamespace = module.backward(parameters, tape, part(cotangents, start, stop))
    return found


def length(cotangents: Arrays) -> int:
    return len(next(iter(cotangents.values())))


def cut_loop(K: int) -> Callable[..., SimpleNamespace]:
    """The loop stops K steps before the end."""

    def compute(module: Any, parameters: Arrays, inputs: Arrays, state: Arrays, tape: Any, cotangents: Arrays) -> SimpleNamespace:
        T = length(cotangents)
        if T <= K:
            return module.backward(parameters, tape, cotangents)  # type: ignore[no-any-return]
        found, numbers = chunk(module, parameters, inputs, state, cotangents, T - K, T), {n: inputs[n] for n in module.INPUTS}
        padded = {name: np.concatenate([np.zeros_like(a[: T - K]), found.inputs[name]]) for name, a in numbers.items()}
        return gradients_of(found.parameters, padded, {name: np.zeros_like(a) for name, a in state.items()})

    return compute


def cut_carry(K: int) -> Callable[..., SimpleNamespace]:
    """The carry is dropped every K steps."""

    def compute(module: Any, parameters: Arrays, inputs: Arrays, state: Arrays, tape: Any, cotangents: Arrays) -> SimpleNamespace:
        T = length(cotangents)
        ends = list(range(T, 0, -K))
        parts = [chunk(module, parameters, inputs, state, cotangents, max(0, end - K), end) for end in ends]
        total = {name: sum((p.parameters[name] for p in parts[1:]), start=parts[0].parameters[name]) for name in parameters}
        joined = {name: np.concatenate([p.inputs[name] for p in reversed(parts)]) for name in module.INPUTS}
        first = parts[-1].state if len(parts) == 1 else dict(parts[-1].state)
        return gradients_of(total, joined, first)

    return compute


def one_step(name: str, first: bool) -> Callable[..., SimpleNamespace]:
    """A parameter gathers its gradient from one step only."""

    def compute(module: Any, parameters: Arrays, inputs: Arrays, state: Arrays, tape: Any, cotangents: Arrays) -> SimpleNamespace:
        right = module.backward(parameters, tape, cotangents)
        found = gradients_of(right.parameters, right.inputs, right.state)
        T = length(cotangents)
        if T < 2:
            return found
        if not first:
            found.parameters[name] = chunk(module, parameters, inputs, state, cotangents, T - 1, T).parameters[name]
            return found
        _, start = module.forward(parameters, part(inputs, 0, 1), state)
        later = chunk(module, parameters, inputs, state, cotangents, 1, T)
        given = {n: a[:1] + (later.state[n][None] if n in later.state else 0) for n, a in cotangents.items()}
        found.parameters[name] = module.backward(parameters, start, given).parameters[name]
        return found

    return compute


# ---- faults after the fact


def scaled(block: str, part_name: str, by: Callable[[Any, SimpleNamespace], Any]) -> Callable[[Any], Any]:
    def change(found: SimpleNamespace, module: Any) -> None:
        arrays = getattr(found, part_name)
        arrays[block] = arrays[block] * by(arrays[block], found)

    return after(change)


def divided_by(count: Callable[[SimpleNamespace], int]) -> Callable[[Any, SimpleNamespace], Any]:
    """A factor 1/count, of the numbers that the array holds."""

    def factor(array: Array, found: SimpleNamespace) -> Any:
        if array.dtype == object:
            from fractions import Fraction

            return Fraction(1, count(found))
        return array.dtype.type(1 / count(found))

    return factor


def slightly(array: Array, found: SimpleNamespace) -> Any:
    if array.dtype == object:
        from fractions import Fraction

        return Fraction(10005, 10000)
    return array.dtype.type(1.0005)


def forgotten(state: str) -> Callable[[Any], Any]:
    def change(found: SimpleNamespace, module: Any) -> None:
        found.state[state] = np.zeros_like(found.state[state])

    return after(change)


def exchanged(first: str, second: str) -> Callable[[Any], Any]:
    def change(found: SimpleNamespace, module: Any) -> None:
        found.parameters[first], found.parameters[second] = found.parameters[second], found.parameters[first]

    return after(change)


# ---- stale buffers


def adds_up(name: str) -> Callable[[Any], Any]:
    """A parameter's buffer isn't cleared between calls."""

    def spoil(module: Any) -> Any:
        kept: dict[Any, Array] = {}

        def backward(parameters: Arrays, tape: Any, cotangents: Arrays) -> SimpleNamespace:
            right = module.backward(parameters, tape, cotangents)
            found = gradients_of(right.parameters, right.inputs, right.state)
            key = (found.parameters[name].shape, found.parameters[name].dtype)
            kept[key] = found.parameters[name] + kept.get(key, 0)
            found.parameters[name] = kept[key].copy()
            return found

        return namespace(module, backward=backward)

    return spoil


def last_tape(module: Any) -> Any:
    """Every backward reads what the last forward left."""
    kept: dict[str, Any] = {}

    def forward(parameters: Arrays, inputs: Arrays, state: Arrays | None = None) -> tuple[Any, Any]:
        outputs, tape = module.forward(parameters, inputs, state)
        key = str([np.shape(a) for a in inputs.values()]) + str([a.dtype for a in parameters.values()])
        kept[key] = tape
        return outputs, (key, tape)

    def backward(parameters: Arrays, tape: Any, cotangents: Arrays) -> Any:
        return module.backward(parameters, kept.get(tape[0], tape[1]), cotangents)

    changed = namespace(module, forward=forward, backward=backward)
    if hasattr(module, "step_jacobian"):
        changed.step_jacobian = lambda parameters, tape: module.step_jacobian(parameters, tape[1])
    return changed


# ---- all of them


def faults(module: Any, is_chain: bool = True, is_along_t: bool = True) -> Iterator[Fault]:
    """Every fault that the tables of a module leave room for. is_chain: whether its states are all that one step hands to the next, so
    that parts of the sequence can be run by themselves: the recurrences of other networks are cut by slips alone. is_along_t: whether
    there is one axis of steps, over which a mean is the sum divided by one number."""
    for K in CUTS if is_chain else ():
        yield Fault("cut recurrence", f"the loop stops {K} steps before the end", rerun(cut_loop(K)), K + 2)
        yield Fault("cut recurrence", f"the carry is dropped every {K} steps", rerun(cut_carry(K)), K + 2)
    for state in module.STATES:
        yield Fault("forgotten initial state", f"the gradient of the initial {state} is zero", forgotten(state))
        yield Fault("scaled by 1.0005", f"initial {state}", scaled(state, "state", slightly))
    vectors = [name for name, dims in module.PARAMETERS.items() if len(dims) == 1]
    for name in vectors if is_chain else ():
        yield Fault("bias from one step", f"{name} from the last step", rerun(one_step(name, first=False)))
        yield Fault("bias from one step", f"{name} from the first step", rerun(one_step(name, first=True)))
    for name in module.PARAMETERS:
        if is_along_t:
            by_steps = scaled(name, "parameters", divided_by(lambda found: steps_of(found)))
            yield Fault("mean for sum", f"{name} over the steps", by_steps)
        yield Fault(
            "mean for sum", f"{name} over the examples", scaled(name, "parameters", divided_by(lambda found: batch_of(found)))
        )
        yield Fault("scaled by 1.0005", name, scaled(name, "parameters", slightly))
        yield Fault("kept between calls", f"the buffer of {name} isn't cleared", adds_up(name), breaks="repeatable")
    names = list(module.PARAMETERS)
    for k, first in enumerate(names):
        second = next((n for n in names[k + 1 :] if module.PARAMETERS[n] == module.PARAMETERS[first]), None)
        if second is not None:
            yield Fault("gate order", f"the gradients of {first} and {second} exchanged", exchanged(first, second))
    yield Fault("kept between calls", "backward reads the tape of the last forward", last_tape, breaks="tape")
    for check, said, kind in wrong():
        if is_chain or check != "checkpoint_every":
            yield Fault(check, said, partial(kind, is_chain=is_chain), breaks=check)


def steps_of(found: SimpleNamespace) -> int:
    return max(2, next((len(array) for array in found.inputs.values()), 2))


def batch_of(found: SimpleNamespace) -> int:
    return max(2, next((len(array) for array in found.state.values()), 2))
