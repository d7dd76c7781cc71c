"""The run of one recurrence within the run of its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derive.along import Steps
from derive.cell import Cell
from derive.compiler import emit
from derive.derivation import Derivation, derive
from derive.language import Value
from verify.jacobian.files import Asked, build_run
from verify.jacobian.initial import Applied, Init, started
from verify.jacobian.opening import Opened
from verify.jacobian.recurrences import Part, carried_by, chosen, part_of, recurrences_of
from verify.jacobian.run import Array, Run, RunError


def within(cell: Cell, derivation: Derivation, kernel: Any, name: str | None, asked: Asked) -> Run:
    """The run of the recurrence that carries a state, in that of its network."""
    part = part_of(cell, chosen(cell, name))
    if part.network is not cell:
        derivation = derive(part.network)
        kernel = kernel_of(derivation)
    network = build_run(cell.name, kernel, derivation, replace(asked, is_network=True))
    name = f"{name or part.carried[0].name} of {cell.name}"
    return run_of(part, network if asked.weights else begun(network, asked, part), name)


def begun(network: Run, asked: Asked, only: Part | None = None) -> Run:
    """A network's run with the recurrent matrices and forget biases that --init asks for, recurrence by recurrence: what one takes of
    another counts as an input. What the run says was applied is that of the analysed recurrence, or of all. Raises RunError where that
    one, or where none of them, takes it.
    """
    init = asked.init or Init()
    cell, parameters = network.derivation.cell, dict(network.parameters)  # type: ignore[union-attr]
    applied: list[Applied] = []
    refused: list[RunError] = []
    for stage in recurrences_of(cell):
        is_wanted = only is None or carried_by(cell, stage) == [*only.carried]
        if not is_wanted and init == Init(init.scale):
            continue
        part = part_of(cell, stage)
        own = {str(value.name): parameters[str(value.name)] for value in part.cell.parameters}
        try:
            own, done = started(None, part.derivation, own, init, asked.one_of_several)
        except RunError as error:
            if only is not None and is_wanted:
                raise
            refused.append(error)
            continue
        parameters |= own
        applied += [done] if is_wanted else []
    if refused and not applied:
        raise refused[0]
    return network.with_parameters(parameters, together(init, applied))


def together(init: Init, applied: Sequence[Applied]) -> Applied:
    """What was applied to several recurrences, as to one."""
    matrices = dict.fromkeys(name for one in applied for name in one.recurrent)
    biases = tuple(dict.fromkeys(bias for one in applied if one.opened for bias in one.opened.biases))
    why_not = "" if biases else next((one.why_not for one in applied if one.why_not), "")
    return Applied(
        init, tuple(matrices), Opened(init.forget_bias, biases) if biases and init.forget_bias is not None else None, why_not
    )


def run_of(part: Part, network: Run, name: str) -> Run:
    """The run of a recurrence within the run of its network, the parameters those of the network; called by a name."""
    arrays = {**network.inputs, **network.outputs}
    inputs: dict[str, Array] = {}
    steps = network.dims[part.axis]
    for own, source in part.data.items():
        if isinstance(source, Value):
            array = arrays[str(source.name)] if not source.lag else neighbour(part, network, source)
            inputs[str(own.name)] = laid(array, source.along, part, steps)
        elif isinstance(source, Steps):
            inputs[str(own.name)] = np.full((steps, network.batch), float(steps))
        else:
            width = () if source == 1 else (network.dims[str(source)],)
            inputs[str(own.name)] = np.zeros((steps, network.batch, *width))
    reads = {value.like(lag=0).name: value for value in part.network.carried}
    state = {str(one.name): start_of(part, network, reads[one.name]) for one in part.cell.states}
    names = [str(value.name) for value in part.cell.parameters]
    parameters = {name: network.parameters[name] for name in names}
    kernel = kernel_of(part.derivation)
    return Run(name, kernel, parameters, inputs, state, part.derivation, network.applied, network.notes, part)


def kernel_of(derivation: Derivation) -> Any:
    from verify.kernel import load_text

    return load_text(emit(derivation), f"{derivation.cell.name}.py")


def laid(array: Array, along: tuple[str, ...], part: Part, steps: int) -> Array:
    """An array of the network as the cell reads it: steps of the recurrence first, in the order of its walk."""
    if not along:
        return np.ascontiguousarray(np.broadcast_to(array, (steps, *array.shape)))
    if part.axis in along:
        array = np.moveaxis(array, along.index(part.axis), 0)
        array = array[::-1] if part.leftward else array
    return np.ascontiguousarray(array)


def neighbour(part: Part, network: Run, read: Value) -> Array:
    """What a value is at the step before or after each step, its start at the end."""
    start, array = start_of(part, network, read)[None], network.outputs[str(read.name)]
    return np.concatenate([start, array[:-1]] if read.lag < 0 else [array[1:], start])


def start_of(part: Part, network: Run, read: Value) -> Array:
    """What a recurrence of the network starts with, (B, ...). Raises RunError on a start that is computed of parameters alone."""
    start = dict(part.network.starts).get(read)
    if start is None:
        return network.complete_state(network.state)[str(read.name)]
    name = str(start.name)
    for table in (network.inputs, network.outputs):
        if name in table:
            return table[name]
    if name not in network.parameters:
        raise RunError(
            f"jacobian: {part.cell.name}: {name}, which {read.name} starts with, is computed of parameters alone: expected a parameter, or "
            "what differs from example to example. Make it a parameter."
        )
    array = network.parameters[name]
    return np.ascontiguousarray(np.broadcast_to(array, (network.batch, *array.shape)))
