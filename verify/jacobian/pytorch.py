"""Weights in PyTorch's layout, `weight_ih_l0` and its like: which parameter of a cell each block of rows is, found by computing.

A layout is read only where the cell, with the blocks in their places, computes what PyTorch's manual says, to rounding, on random numbers.
Names play no part: blocks and parameters are matched by what they multiply and by the sum that they stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from derive.language import Plus, Times, Transposed, Value, coefficient
from verify.jacobian.initial import depends_on_state
from verify.jacobian.run import Array, RunError

Arrays = Mapping[str, Array]
States = tuple[Array, ...]
Step = Callable[[Array, Array, States], States]
"""(what stands in the gates from the input, the same from the state, the states) -> the states after the step."""

IH, HH, BIAS_IH, BIAS_HH = (f"{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

AGREES = 1e-11
"""Two steps in double precision: sums of some hundred terms of size 1 differ by 1e-13, other equations by more than 1e-3."""


def sigma(z: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * z)))


def four_gates(a: Array, b: Array, states: States) -> States:
    """i, f, g, o = sigma, sigma, tanh, sigma; c = f c' + i g; h = o tanh(c)."""
    i, f, g, o = np.split(a + b, 4, axis=-1)
    c = sigma(f) * states[1] + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c), c


def three_gates(a: Array, b: Array, states: States) -> States:
    """r, z = sigma; n = tanh(a_n + r b_n); h = (1 - z) n + z h'."""
    (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3, axis=-1), np.split(b, 3, axis=-1)
    z, n = sigma(a_z + b_z), np.tanh(a_n + sigma(a_r + b_r) * b_n)
    return ((1 - z) * n + z * states[0],)


LAYOUTS: dict[int, list[tuple[str, str, int, Step]]] = {
    1: [
        ("torch.nn.RNN", "h = tanh(W x + U h' + b)", 1, lambda a, b, states: (np.tanh(a + b),)),
        ("torch.nn.RNN", "h = relu(W x + U h' + b)", 1, lambda a, b, states: (np.maximum(a + b, 0),)),
    ],
    3: [("torch.nn.GRU", "r, z, n with n = tanh(W x + b + r (U h' + b')) and h = (1 - z) n + z h'", 1, three_gates)],
    4: [("torch.nn.LSTM", "i, f, g, o with c = f c' + i g and h = o tanh(c)", 2, four_gates)],
}
"""By how many gates are stacked: the module, its gates and equations as its manual has them, how many states, one step."""


@dataclass(frozen=True)
class Slot:
    """A parameter, the sum (an equation) that it stands in, and what it is: `input`, `state` or `bias`; transposed: stored as (in, out)."""

    name: str
    group: int
    kind: str
    transposed: bool = False


Place = tuple[Slot, tuple[tuple[str, int], ...]]
"""A parameter and the blocks that it is the sum of: (array, gate)."""


def is_pytorch(arrays: Arrays) -> bool:
    return IH in arrays and HH in arrays


def from_pytorch(arrays: Arrays, kernel: Any, derivation: Any, where: str) -> tuple[dict[str, Array], str]:
    """(the parameters of a cell, what was read as what) from one layer's arrays. Raises RunError where the cell isn't that layer."""
    names = (IH, HH, BIAS_IH, BIAS_HH)
    by_hand = f"Split the gates into {', '.join(kernel.PARAMETERS)}"
    others = [name for name in arrays if name not in names]
    if others:
        raise RunError(
            f"jacobian: {where}: PyTorch's layout: expected one layer, {', '.join(names)}, got {others[0]} too. Leave it out."
        )
    H = arrays[HH].shape[-1]
    gates = len(arrays[HH]) // max(H, 1)
    full = {BIAS_IH: np.zeros(gates * H), BIAS_HH: np.zeros(gates * H), **arrays}
    shapes = {IH: (gates * H, *arrays[IH].shape[1:2]), HH: (gates * H, H), BIAS_IH: (gates * H,), BIAS_HH: (gates * H,)}
    wrong = [name for name in names if full[name].shape != shapes[name]] + [IH] * (arrays[IH].ndim != 2)
    if gates not in LAYOUTS or wrong:
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise RunError(
            f"jacobian: {where}: PyTorch's layout: expected 1, 3 or 4 gates of H rows over H columns, got {got}. {by_hand}."
        )
    if derivation is None:
        raise RunError(f"jacobian: {where}: PyTorch's layout: expected equations to match it with, got a kernel file. {by_hand}.")
    for module, _, count, step in LAYOUTS[gates]:
        for places in placements(slots_of(derivation.cell), gates) if len(kernel.STATES) == count else ():
            if computes(kernel, places, full, gates, count, step):
                return filled(places, full, gates), f"{where}: read as {module}: {spoken(places)}"
    module, equations = LAYOUTS[gates][0][:2]
    fault = f"the layout of {module}: expected its equations, {equations}, got others"
    raise RunError(f"jacobian: {where}: {fault}. Derive a cell with those, or do it by hand: {by_hand[0].lower()}{by_hand[1:]}.")


def slots_of(cell: Any) -> list[Slot]:
    """Every matrix and bias that stands in a sum, with that sum."""
    found = []
    for group, equation in enumerate(cell.forward.equations):
        for node in equation.value.args if isinstance(equation.value, Plus) else [equation.value]:
            rest = coefficient(node)[1]
            if isinstance(rest, Times) and len(rest.args) == 2:
                left = rest.args[0].args[0] if isinstance(rest.args[0], Transposed) else rest.args[0]
                kind = "state" if depends_on_state(rest.args[1], cell.forward) else "input"
                found.append(Slot(left.name, group, kind, isinstance(rest.args[0], Transposed)))
            elif isinstance(rest, Value) and not rest.timed:
                found.append(Slot(rest.name, group, "bias"))
    return found


def placements(slots: list[Slot], gates: int) -> Iterator[list[Place]]:
    """Every way to give the gates' blocks to a cell's parameters that keeps sums together."""
    inputs, states, biases = ([slot for slot in slots if slot.kind == kind] for kind in ("input", "state", "bias"))
    if len(inputs) != gates or len(states) != gates or len({slot.name for slot in slots}) != len(slots):
        return
    for order in permutations(range(gates)):
        of_input = {slot.group: gate for slot, gate in zip(inputs, order, strict=True)}
        for other in permutations(range(gates)):
            of_state = {slot.group: gate for slot, gate in zip(states, other, strict=True)}
            if all(of_input.get(group, gate) == gate for group, gate in of_state.items()):
                places: list[Place] = [(slot, ((IH, of_input[slot.group]),)) for slot in inputs]
                places += [(slot, ((HH, of_state[slot.group]),)) for slot in states]
                yield places + [
                    one for group in {slot.group for slot in biases} for one in of_biases(group, biases, of_input, of_state)
                ]


def of_biases(group: int, biases: list[Slot], of_input: Mapping[int, int], of_state: Mapping[int, int]) -> list[Place]:
    """The biases of one sum: where it has one for both parts of a gate, that is the sum of the two."""
    blocks = [(name, gates[group]) for name, gates in ((BIAS_IH, of_input), (BIAS_HH, of_state)) if group in gates]
    here = [slot for slot in biases if slot.group == group]
    if len(here) == len(blocks):
        return [(slot, (block,)) for slot, block in zip(here, blocks, strict=True)]
    return [(slot, tuple(blocks) if k == 0 else ()) for k, slot in enumerate(here)]


def filled(places: list[Place], arrays: Arrays, gates: int) -> dict[str, Array]:
    """The parameters, made of the blocks."""
    out = {}
    for slot, blocks in places:
        parts = [np.split(arrays[name], gates)[gate] for name, gate in blocks]
        whole = sum(parts[1:], parts[0]) if parts else np.zeros(len(arrays[BIAS_IH]) // gates)
        out[slot.name] = np.ascontiguousarray(whole.T if slot.transposed else whole)
    return out


def computes(kernel: Any, places: list[Place], arrays: Arrays, gates: int, count: int, step: Step) -> bool:
    """Whether the cell computes two of PyTorch's steps, on random numbers where the file's blocks aren't zero."""
    rng = np.random.default_rng(0)
    drawn = {name: rng.standard_normal(array.shape) / 2 * blockwise(array, gates) for name, array in arrays.items()}
    H, D = arrays[HH].shape[1], arrays[IH].shape[1]
    x, states = rng.standard_normal((2, 3, D)), tuple(rng.standard_normal((3, H)) for _ in range(count))
    expected = states
    for one in x:
        expected = step(one @ drawn[IH].T + drawn[BIAS_IH], expected[0] @ drawn[HH].T + drawn[BIAS_HH], expected)
    for order in permutations(range(count)):
        start = {name: states[k] for name, k in zip(kernel.STATES, order, strict=True)}
        try:
            outputs, _ = kernel.forward(filled(places, drawn, gates), dict.fromkeys(kernel.INPUTS, x), start)
        except ValueError:  # the shapes aren't those
            continue
        if all(np.abs(outputs[name][-1] - expected[k]).max() < AGREES for name, k in zip(kernel.STATES, order, strict=True)):
            return True
    return False


def blockwise(array: Array, gates: int) -> Array:
    """1 in the rows of gates whose block isn't zero, else 0."""
    return np.concatenate([np.full(block.shape, float(block.any())) for block in np.split(array, gates)])


def spoken(places: list[Place]) -> str:
    parts = [(slot.name, " + ".join(f"{name}[{gate}]" for name, gate in blocks) or "0") for slot, blocks in places]
    return ", ".join(f"{name} = {text}" for name, text in parts) + " ([k]: the k-th block of H rows)"
