"""Programs of several axes of steps, run over arrays that have every axis in front, (T, S, B, n, m), of length 1 along those on which
a value doesn't depend; what varies along none is (n, m)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.along import FirstLargestAlong, LargestAlong, Pick, Place, SoftmaxAlong, Spread, SumAlong, axes_of
from derive.equation import Equation
from derive.language import Value
from derive.onehot import tokens_in
from derive.schedule import LOOPS, Stage, stages
from derive.shapes import EXAMPLES
from verify.along import count, number_of
from verify.interpreter import Environment, Evaluator, Numbers, Run

Array = NDArray[Any]


class AllAxes(Evaluator):
    """An evaluator over such arrays. axes: those of steps, in the order of arrays."""

    def __init__(self, numbers: Numbers, sizes: Mapping[str, int], axes: Sequence[str]) -> None:
        super().__init__(numbers, sizes)
        self.axes = tuple(axes)

    def at(self, axis: str) -> int:
        """Where an axis stands, counted from the end."""
        return [*self.axes, EXAMPLES].index(axis) - len(self.axes) - 3

    def full(self, array: Array, axis: str, env: Mapping[Any, Array]) -> Array:
        """An array with its values at every position of an axis, where they are the same at all."""
        array = array.reshape((1,) * (len(self.axes) + 3 - array.ndim) + array.shape)
        shape = list(array.shape)
        shape[self.at(axis)] = count(env, axis)
        return np.broadcast_to(array, shape)

    def bound(self, node: Any, make: Callable[[Array, int], Array]) -> Run:
        """An operation on the values at all positions of the axis of a node."""
        (inner,), axis, at = self.parts(node), node.axis, self.at(node.axis)
        return lambda env: np.asarray(make(self.full(inner(env), axis, env), at))

    def sumalong(self, node: SumAlong) -> Run:
        return self.bound(node, lambda array, at: array.sum(axis=at, keepdims=True))

    def spread(self, node: Spread) -> Run:
        """The same everywhere: of length 1 there, as it is."""
        (inner,) = self.parts(node)
        return inner

    def pick(self, node: Pick) -> Run:
        where = -1 if node.end == "last" else 0
        return self.bound(node, lambda array, at: array.take([where], axis=at))

    def place(self, node: Place) -> Run:
        where = -1 if node.end == "last" else 0

        def placed(array: Array, at: int) -> Array:
            found = np.zeros_like(array)
            np.moveaxis(found, at, 0)[where] = np.moveaxis(array, at, 0)[where]
            return found

        return self.bound(node, placed)

    def largestalong(self, node: LargestAlong) -> Run:
        return self.bound(node, lambda z, at: (z * self.first_of(z, at)).sum(axis=at, keepdims=True))

    def firstlargestalong(self, node: FirstLargestAlong | LargestAlong) -> Run:
        return self.bound(node, self.first_of)

    def first_of(self, z: Array, at: int) -> Array:
        """1 at the first of the largest, else 0."""
        largest = np.argmax(np.real(z) if self.numbers.dtype is not object else z, axis=at)
        places = np.arange(z.shape[at]).reshape(-1, *[1] * (-at - 1))
        return np.asarray(np.where(places == np.expand_dims(largest, at), self.number(1), self.number(0)))

    def softmaxalong(self, node: SoftmaxAlong) -> Run:
        exp, exact = self.numbers.functions["exp"], self.numbers.dtype is object

        def softmax(z: Array, at: int) -> Array:
            e = exp(z if exact else z - z.real.max(axis=at, keepdims=True))
            return np.asarray(e / e.sum(axis=at, keepdims=True))

        return self.bound(node, softmax)

    # ---- arrays of a value

    def standing(self, value: Value, array: Array) -> Array:
        """(the value's own axes of steps, B, n, m) with every axis in front."""
        order = sorted(range(len(value.along)), key=lambda k: self.axes.index(value.along[k]))
        array = array.transpose(*order, *range(len(order), array.ndim))
        lengths = iter(array.shape)
        return array.reshape(*[next(lengths) if axis in value.along else 1 for axis in self.axes], *lengths)

    def lying(self, value: Value, array: Array) -> Array:
        """The reverse."""
        found = array[tuple(slice(None) if axis in value.along else 0 for axis in self.axes)]
        own = [axis for axis in self.axes if axis in value.along]
        return found.transpose(*[own.index(axis) for axis in value.along], *range(len(own), found.ndim))

    def part(self, array: Array, axis: str, at: int) -> Array:
        """One position of an axis, as an axis of length 1; what is the same at all stays."""
        place = self.at(axis)
        if array.ndim < -place or array.shape[place] == 1:
            return array
        return array[(*[slice(None)] * (array.ndim + place), slice(at, at + 1))]


def run(
    equations: Sequence[Equation],
    evaluate: AllAxes,
    known: Environment,
    starts: Mapping[Value, Value],
    edges: Mapping[Value, Array] | None = None,
) -> Environment:
    """Every value of a program, with what is known.

    known: what is given, and how many positions each axis has. starts: what is read of another step -> the value that it starts with;
    edges: what is read of another step -> what it starts with.
    """
    one = Running(evaluate, dict(known), starts, edges or {})
    for stage in stages(equations, starts=tuple(starts.items())):
        if stage.way in LOOPS:
            one.loop(stage)
        else:
            for equation in stage.equations:
                here = {**one.env, **{read: one.read(read) for read in equation.reads() if read.lag}}
                one.env[equation.target] = one.value(equation, here)
    return one.env


class Running:
    """One run: env is what is there."""

    def __init__(self, evaluate: AllAxes, env: Environment, starts: Mapping[Value, Value], edges: Mapping[Value, Array]) -> None:
        self.evaluate, self.env, self.starts, self.edges = evaluate, env, starts, edges

    def edge(self, read: Value) -> Array:
        """What the step at the end of an axis reads of the one that isn't there."""
        found = self.env[self.starts[read]] if read in self.starts else self.edges.get(read)
        return self.evaluate.constant(0, *read.shape) if found is None else found

    def read(self, read: Value) -> Array:
        """A value at all steps, of another step too."""
        if read in self.env or not read.lag:
            return self.env[read]
        plain, at = self.env[read.like(lag=0)], self.evaluate.at(read.axis)
        first, last = self.evaluate.part(plain, read.axis, 0), np.moveaxis(plain, at, 0)
        outside = np.moveaxis(np.broadcast_to(self.edge(read), first.shape), at, 0)
        return np.moveaxis(np.concatenate([outside, last[:-1]] if read.lag < 0 else [last[1:], outside]), 0, at)

    def value(self, equation: Equation, here: Mapping[Any, Array], axis: str = "") -> Array:
        """The value of an equation: of an axis along which a loop runs at one step."""
        evaluate, target = self.evaluate, equation.target
        factor = None if equation.factor is None else evaluate(equation.factor, here)
        parts = []
        for term in equation.terms:
            value, along = evaluate(term.value, here), axes_of(term.value)
            if factor is not None and equation.factor is not None:
                value, along = factor * value, (*along, *axes_of(equation.factor))
            for over in dict.fromkeys(along):
                if over not in target.axes:
                    value = evaluate.full(value, over, here).sum(axis=evaluate.at(over), keepdims=True)
            parts.append(value)
        total = sum(parts[1:], start=parts[0]) if parts else evaluate.constant(0, *target.shape)
        if not target.timed:
            return np.asarray(total.reshape(total.shape[-2:]))
        lead = [count(here, one) if one in target.axes and one != axis else 1 for one in (*evaluate.axes, EXAMPLES)]
        return np.broadcast_to(total, (*lead, *total.shape[-2:]))

    def loop(self, stage: Stage) -> None:
        """A recurrence, step by step along its axis."""
        made: dict[Value, list[Array]] = {equation.target: [] for equation in stage.equations}
        reads = dict.fromkeys(read for equation in stage.equations for read in equation.reads())
        carried = [read for read in reads if read.lag and read.like(lag=0) in made]
        tokens = tokens_in(equation.value for equation in stage.equations)
        rest = {read: self.read(read) for read in (*reads, *tokens) if read not in carried and read not in made}
        rest |= counts_in(self.env)
        steps = range(count(self.env, stage.axis))
        for t in steps if stage.way == "forwards" else reversed(steps):
            here = {value: self.evaluate.part(array, stage.axis, t) for value, array in rest.items()}
            for read in carried:
                before = made[read.like(lag=0)]
                here[read] = before[-1] if before else self.edge(read)
            for equation in stage.equations:
                here[equation.target] = self.value(equation, here, stage.axis)
            for target, arrays in made.items():
                arrays.append(here[target])
        turned = slice(None, None, 1 if stage.way == "forwards" else -1)
        at = self.evaluate.at(stage.axis)
        self.env |= {target: np.concatenate(arrays[turned], axis=at) for target, arrays in made.items()}


def counts_in(env: Environment) -> Environment:
    """How many positions each axis has, of an environment."""
    return {value: array for value, array in env.items() if value.kind == "count"}


def counts(lengths: Mapping[str, int]) -> Environment:
    """How many positions each axis has, as an environment says it."""
    return {number_of(axis): np.full((1, 1), length) for axis, length in lengths.items()}
