"""Values of a network in NumPy, computed when they are asked for, from a function for each of its equations; and random data for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from tests.arguments import Call, lead_of, size_of

Array = np.ndarray[Any, Any]
At = dict[str, int]
Rule = Callable[["Values", At], Array]
"""(values, {axis letter: step}) -> (B, n); a number is (B, 1)."""
BATCH = 3


@dataclass(frozen=True)
class Node:
    """A part of an equation: how it is printed, and what it is."""

    tex: str
    rule: Rule


@dataclass
class Rules:
    """The equations of a network: what each name is, along which axes it varies, and what it starts with."""

    rules: dict[str, Rule] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    starts: dict[str, Rule] = field(default_factory=dict)


class Values:
    """The values of a network on arguments. lengths: letter of an axis -> how many steps it has."""

    def __init__(self, network: Rules, call: Call, lengths: Mapping[str, int]) -> None:
        self.network, self.call, self.lengths = network, call, lengths
        self.known: dict[tuple[str, tuple[int, ...]], Array] = {}

    def __call__(self, name: str, *at: int) -> Array:
        """A value at a step of each of its axes; in front of the first step and behind the last one what it starts with."""
        axes = self.network.axes[name]
        if any(not 0 <= step < self.lengths[axis] for axis, step in zip(axes, at, strict=True)):
            start = self.network.starts.get(name)
            return start(self, {}) if start else self.call.state[name]
        if (name, at) not in self.known:
            self.known[name, at] = self.network.rules[name](self, dict(zip(axes, at, strict=True)))
        return self.known[name, at]

    def along(self, name: str, axis: str, at: At) -> Array:
        """(steps, B, n): a value at all steps of one of its axes."""
        axes = self.network.axes[name]
        return np.array([self(name, *[{**at, axis: k}[one] for one in axes]) for k in range(self.lengths[axis])])

    def everything(self, name: str, is_number: bool) -> Array:
        """A value at all steps of all its axes, as a kernel gives it."""
        steps = [self.lengths[axis] for axis in self.network.axes[name]]
        found = np.array([np.broadcast_to(one, (BATCH, one.shape[-1])) for one in (self(name, *at) for at in np.ndindex(*steps))])
        return found.reshape(*steps, BATCH) if is_number else found.reshape(*steps, BATCH, -1)


def sigma(array: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-array)))


def softmax(array: Array, axis: int = -1) -> Array:
    found = np.exp(array - array.real.max(axis, keepdims=True))
    return np.asarray(found / found.sum(axis, keepdims=True))


# ---- what rules are made of


def added(first: Rule, second: Rule) -> Rule:
    return lambda v, at: first(v, at) + second(v, at)


def times(first: Rule, second: Rule) -> Rule:
    return lambda v, at: first(v, at) * second(v, at)


def negated(rule: Rule) -> Rule:
    return lambda v, at: -rule(v, at)


def logged(rule: Rule) -> Rule:
    return lambda v, at: np.log(rule(v, at))


def summed(rule: Rule) -> Rule:
    return lambda v, at: rule(v, at).sum(-1, keepdims=True)


def blended(gate: Rule, new: Rule, old: Rule) -> Rule:
    return lambda v, at: gate(v, at) * new(v, at) + (1 - gate(v, at)) * old(v, at)


def of_token(rule: Rule, token: Rule) -> Rule:
    """-log of the element of a token."""
    return lambda v, at: -np.log(np.take_along_axis(rule(v, at), token(v, at)[:, None], -1))


def largest(array: Array) -> Array:
    """The largest along the first axis, by the real part."""
    return np.take_along_axis(array, array.real.argmax(0)[None], 0)[0]


# ---- data


def drawn(kernel: ModuleType, sizes: Mapping[str, int], seed: int) -> Call:
    """Normal numbers for every table, whole ones for tokens. sizes: of every dimension, and of every axis by its capital."""
    rng = np.random.default_rng(seed)
    tokens = getattr(kernel, "TOKENS", {})

    def normal(dims: tuple[str, ...]) -> Array:
        return np.asarray(rng.standard_normal([size_of(dim, dict(sizes)) for dim in dims]))

    inputs = {name: normal((*lead_of(kernel, name), *dims)) for name, dims in kernel.INPUTS.items()}
    inputs |= {
        name: rng.integers(0, size_of(dim, dict(sizes)), [sizes[axis] for axis in lead_of(kernel, name)])
        for name, dim in tokens.items()
    }
    return Call(
        {name: 0.6 * normal(dims) for name, dims in kernel.PARAMETERS.items()},
        inputs,
        {name: normal(("B", *dims)) for name, dims in kernel.STATES.items()},
        {name: normal((*lead_of(kernel, name), *dims)) for name, dims in {**kernel.STATES, **kernel.OUTPUTS}.items()},
    )


def sizes_of(kernel: ModuleType, lengths: Mapping[str, int]) -> dict[str, int]:
    """A size for every dimension, different ones for the first five, and how many steps each axis has. lengths: by the axis' letter."""
    tables = (kernel.PARAMETERS, kernel.INPUTS, kernel.STATES, kernel.OUTPUTS)
    dims = [dim for table in tables for dims in table.values() for dim in dims] + [*getattr(kernel, "TOKENS", {}).values()]
    letters = sorted({letter for dim in dims for letter in re.findall(r"[A-Za-z_]\w*", dim)})
    axes = {axis.upper(): count for axis, count in lengths.items()}
    return {letter: 2 + k % 5 for k, letter in enumerate(letters)} | axes | {"B": BATCH}
