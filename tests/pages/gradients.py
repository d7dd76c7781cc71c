"""Derived gradients of any cell against complex-step differences, and two cells against each other on the same numbers."""

from __future__ import annotations

import numpy as np

from tests import bounds
from tests.kernels import kernel_of_cell

STEPS, BATCH = 5, 3
LIMIT = bounds.rounded(bounds.of_recurrence(STEPS, BATCH, fan_in=72))
"""What `worst_gradient_error` stays below, for the cell with the most weights."""


def sizes_of(kernel):
    """Different sizes for different dimension names."""
    names = sorted({part for shapes in (kernel.PARAMETERS, kernel.INPUTS, kernel.STATES, kernel.OUTPUTS)
                    for shape in shapes.values() for size in shape for part in atoms(size)})  # fmt: skip
    return {name: int(name) if name.isdigit() else 2 + at for at, name in enumerate(names)}


def atoms(size):
    return [term.split("*")[-1] for term in size.split("+")]


def length(size, sizes):
    return sum(int(term.split("*")[0]) * sizes[term.split("*")[-1]] if "*" in term else sizes[term] for term in size.split("+"))


def draw(kernel, seed=0, scale=0.6):
    """(parameters, inputs, state, cotangents), random and signed, no two sizes equal."""
    random = np.random.default_rng(seed)
    sizes = sizes_of(kernel)

    def array(*shape):
        return np.asarray(scale * random.standard_normal(shape))  # a number too is an array, of no dimension

    parameters = {name: array(*[length(size, sizes) for size in shape]) for name, shape in kernel.PARAMETERS.items()}
    inputs = {name: array(STEPS, BATCH, *[length(size, sizes) for size in shape]) for name, shape in kernel.INPUTS.items()}
    state = {name: array(BATCH, *[length(size, sizes) for size in shape]) for name, shape in kernel.STATES.items()}
    outputs, _ = kernel.forward(parameters, inputs, state)
    cotangents = {name: array(*value.shape) for name, value in outputs.items()}
    return parameters, inputs, state, cotangents


def loss(kernel, parameters, inputs, state, cotangents):
    outputs, _ = kernel.forward(parameters, inputs, state)
    return sum((outputs[name] * cotangent).sum() for name, cotangent in cotangents.items())


def moved(values, name, direction, kernel):
    return {key: np.asarray(value + (1e-30j * direction if key == name else 0j)) for key, value in values.items()}


def worst_gradient_error(cell, seed=0):
    """The largest relative difference between a derived gradient and the complex step, over every block."""
    kernel = kernel_of_cell(cell)
    groups = dict(zip(("parameters", "inputs", "state"), draw(kernel, seed)[:3], strict=True))
    cotangents = draw(kernel, seed)[3]
    _, tape = kernel.forward(*groups.values())
    gradients = kernel.backward(groups["parameters"], tape, cotangents)
    random, worst = np.random.default_rng(seed + 1), 0.0
    for group, values in groups.items():
        for name, value in values.items():
            direction = random.standard_normal(value.shape)
            changed = {key: {k: np.asarray(v + 0j) for k, v in one.items()} for key, one in groups.items()}
            changed[group] = moved(values, name, direction, kernel)
            expected = loss(kernel, *changed.values(), cotangents).imag / 1e-30
            derived = (getattr(gradients, group)[name] * direction).sum()
            size = np.abs(getattr(gradients, group)[name] * direction).sum()  # of the terms: a random direction may cancel
            worst = max(worst, abs(derived - expected) / size if size else abs(expected))
    return worst
