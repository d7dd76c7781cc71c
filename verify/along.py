"""What operations along the steps are on arrays: of values at all of them, (T, B, n, m); what is the same at all has no such axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.along import FirstLargestAlong, LargestAlong, Pick, Place, SoftmaxAlong, Spread, Steps, SumAlong
from derive.language import Apply, Value, X

Array = NDArray[Any]
Run = Callable[[Mapping[Any, Array]], Array]


class AlongSteps:
    """The methods of an evaluator for these nodes; `numbers`, `number`, `run` and `parts` are its own."""

    numbers: Any
    number: Callable[[Any], Any]
    run: Callable[[Any], Run]
    parts: Callable[[Any], list[Run]]

    def sumalong(self, node: SumAlong) -> Run:
        (inner,) = self.parts(node)
        return lambda env: np.asarray(inner(env).sum(axis=0))

    def spread(self, node: Spread) -> Run:
        (inner,) = self.parts(node)

        def spread(env: Mapping[Any, Array]) -> Array:
            once = inner(env)
            once = once if once.ndim == 3 else once[None]
            return np.broadcast_to(once, (count(env, node.axis), *once.shape))

        return spread

    def pick(self, node: Pick) -> Run:
        (inner,), at = self.parts(node), -1 if node.end == "last" else 0

        def pick(env: Mapping[Any, Array]) -> Array:
            found = inner(env)
            if len(found):
                return np.asarray(found[at])
            start = env.get(node.args[0].like(lag=-1 if at else 1))  # no steps: where the recurrence starts, if it is one
            return found.sum(axis=0) if start is None else np.asarray(start)

        return pick

    def place(self, node: Place) -> Run:
        (inner,), at = self.parts(node), -1 if node.end == "last" else 0

        def place(env: Mapping[Any, Array]) -> Array:
            once = inner(env)
            found = np.zeros((count(env, node.axis), *once.shape), once.dtype)
            if len(found):
                found[at] = once
            return found

        return place

    def largestalong(self, node: LargestAlong) -> Run:
        inner, first = self.run(node.args[0]), self.firstlargestalong(node)
        return lambda env: np.asarray((inner(env) * first(env)).sum(axis=0))

    def firstlargestalong(self, node: FirstLargestAlong | LargestAlong) -> Run:
        (inner,) = self.parts(node)
        one, zero = self.number(1), self.number(0)

        def first(env: Mapping[Any, Array]) -> Array:
            z = inner(env)
            if not len(z):
                return z
            at = np.argmax(np.real(z) if self.numbers.dtype is not object else z, axis=0)
            return np.asarray(np.where(np.arange(len(z)).reshape(-1, *[1] * (z.ndim - 1)) == at, one, zero))

        return first

    def softmaxalong(self, node: SoftmaxAlong) -> Run:
        (inner,) = self.parts(node)
        exp, exact = self.numbers.functions["exp"], self.numbers.dtype is object

        def softmax(env: Mapping[Any, Array]) -> Array:
            z = inner(env)
            if not len(z):
                return z
            e = exp(z if exact else z - z.real.max(axis=0))
            return np.asarray(e / e.sum(axis=0))

        return softmax

    def steps(self, node: Steps) -> Run:
        return lambda env: np.full((1, 1), self.number(count(env, node.axis)), self.numbers.dtype)

    def of_steps(self, node: Apply) -> Run:
        """1/T, 1/(T-1): what the mean over the steps is divided by; of too few steps, over which the sum is empty, that of enough."""
        axis, least = node.expr.axis, next((n for n in range(1, 66) if node.scalar.subs(X, n).is_finite), 1)
        return lambda env: np.full((1, 1), self.number(node.scalar.subs(X, max(count(env, axis), least))), self.numbers.dtype)


@cache
def number_of(axis: str) -> Value:
    """The value under which an environment has how many steps there are."""
    return Value(axis, 1, axes=(), marks=("count",))


def count(env: Mapping[Any, Array], axis: str) -> int:
    """How many steps there are."""
    return int(env[number_of(axis)].item())
