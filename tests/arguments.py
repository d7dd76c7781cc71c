"""Random arguments for a kernel, and its gradients by a route that shares nothing with the project: complex step."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
Arrays = dict[str, Array]
SIZES = {"D": 2, "E": 5, "H": 3, "K": 4, "M": 6, "N": 4, "S": 5}
STEP = 1e-30


@dataclass
class Call:
    """The arguments of forward and the cotangents of its outputs."""

    parameters: Arrays
    inputs: Arrays
    state: Arrays
    cotangents: Arrays = field(default_factory=dict)

    def groups(self) -> tuple[Arrays, Arrays, Arrays]:
        return self.parameters, self.inputs, self.state

    def all(self) -> dict[tuple[int, str], Array]:
        """Every differentiable array by (group, name): 0 parameters, 1 inputs, 2 state."""
        return {(k, name): array for k, group in enumerate(self.groups()) for name, array in group.items()}

    def every(self) -> dict[tuple[int, str], Array]:
        """Every array, cotangents too."""
        return self.all() | {(3, name): array for name, array in self.cotangents.items()}

    def map(self, change: Any) -> Call:
        """The call with each array changed."""
        return Call(*[{name: change(array) for name, array in group.items()} for group in (*self.groups(), self.cotangents)])

    def copy(self) -> Call:
        return self.map(lambda array: array.copy())

    def astype(self, dtype: Any) -> Call:
        return self.map(lambda array: array.astype(dtype))

    def bits(self) -> dict[tuple[int, str], bytes]:
        return {key: array.tobytes() for key, array in self.every().items()}


def size_of(dim: str, sizes: dict[str, int]) -> int:
    return int(eval(re.sub(r"[A-Za-z_]\w*", lambda found: str(sizes[found[0]]), dim)))


def draw(kernel: Any, T: int = 4, B: int = 3, seed: int = 0, scale: float = 1.0, sizes: dict[str, int] | None = None) -> Call:
    """Normal numbers for every table: weights over the root of their width, times scale."""
    rng = np.random.default_rng(seed)
    known = SIZES | (sizes or {}) | {"T": T, "B": B}

    def normal(*dims: str) -> Array:
        return np.asarray(rng.standard_normal([size_of(dim, known) for dim in dims]))

    def parameter(dims: tuple[str, ...]) -> Array:
        array = normal(*dims)
        return np.asarray(scale * array / np.sqrt(max(array.shape[-1], 1)) if array.ndim == 2 else scale * array)

    return Call(
        {name: parameter(dims) for name, dims in kernel.PARAMETERS.items()},
        {name: normal(*lead_of(kernel, name), *dims) for name, dims in kernel.INPUTS.items()},
        {name: normal("B", *dims) for name, dims in kernel.STATES.items()},
        {name: normal(*lead_of(kernel, name), *dims) for name, dims in {**kernel.STATES, **kernel.OUTPUTS}.items()},
    )


def lead_of(kernel: Any, name: str) -> tuple[str, ...]:
    """The axes of an input or output: those of its steps, if it has any, and the examples."""
    along = getattr(kernel, "AXES", {}).get(name, "T")
    return (*(() if along is None else (along,) if isinstance(along, str) else along), "B")


def forward(kernel: Any, call: Call) -> tuple[Arrays, Any]:
    return kernel.forward(call.parameters, call.inputs, call.state)


def backward(kernel: Any, call: Call, tape: Any = None) -> dict[tuple[int, str], Array]:
    """(group, name) -> gradient."""
    tape = forward(kernel, call)[1] if tape is None else tape
    gradients = kernel.backward(call.parameters, tape, call.cotangents)
    return Call(dict(gradients.parameters), dict(gradients.inputs), dict(gradients.state)).all()


def loss(kernel: Any, call: Call) -> Any:
    outputs = forward(kernel, call)[0]
    return sum((call.cotangents[name] * outputs[name]).sum() for name in call.cotangents)


def by_complex_step(kernel: Any, call: Call) -> dict[tuple[int, str], Array]:
    """(group, name) -> gradient of the loss, element by element."""
    moved = call.astype(np.complex128)
    found = {}
    for key, array in moved.all().items():
        gradient = found[key] = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1j * STEP
            gradient[index] = loss(kernel, moved).imag / STEP
            array[index] = kept
    return found


def moved(call: Call, direction: Call) -> Call:
    """The arguments an imaginary step along a direction, the cotangents as they are."""
    groups = [
        {name: np.asarray(array + 1j * STEP * moves[name]) for name, array in group.items()}
        for group, moves in zip(call.groups(), direction.groups(), strict=True)
    ]
    return Call(*groups, {name: array.astype(complex) for name, array in call.cotangents.items()})


def tangents_by_complex_step(kernel: Any, call: Call, direction: Call) -> Arrays:
    """{name: (T, B, n)}: how the outputs move along a direction."""
    return {name: output.imag / STEP for name, output in forward(kernel, moved(call, direction))[0].items()}


def hvp(kernel: Any, call: Call, direction: Call) -> dict[tuple[int, str], Array]:
    """(group, name) -> how the gradient moves along a direction, by the kernel's own hvp."""
    second = kernel.hvp(*call.groups(), call.cotangents, *direction.groups())
    return Call(dict(second.parameters), dict(second.inputs), dict(second.state)).all()


def hvp_by_complex_step(kernel: Any, call: Call, direction: Call) -> dict[tuple[int, str], Array]:
    """The same from backward at arguments an imaginary step along the direction."""
    return {key: array.imag / STEP for key, array in backward(kernel, moved(call, direction)).items()}


def jvp(kernel: Any, call: Call, direction: Call) -> Arrays:
    return kernel.jvp(*call.groups(), *direction.groups())


def dot(first: dict[Any, Array], second: dict[Any, Array]) -> Any:
    return sum((first[name] * second[name]).sum() for name in first)


def error(first: Array, second: Array) -> float:
    """|a - b| relative to the larger of the two in the norm of the block."""
    size = max(np.linalg.norm(first), np.linalg.norm(second))
    return float(np.linalg.norm(first - second) / size) if size else 0.0


def worst(first: dict[Any, Array], second: dict[Any, Array]) -> tuple[float, Any]:
    """(the largest error, the block that has it); the names and shapes have to be the same."""
    assert first.keys() == second.keys()
    assert {key: array.shape for key, array in first.items()} == {key: array.shape for key, array in second.items()}
    return max(((error(first[key], second[key]), key) for key in first), key=lambda pair: pair[0], default=(0.0, None))
