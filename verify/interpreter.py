"""Equations evaluated as they are written, over any kind of numbers: float64, complex, mpmath's, fractions, symbols.

No emitted code, no schedule. A value at one step is an array (B, n, m), a
parameter (n, m), so that products and transposes mean what they mean on paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.along import (
    AlongAxis,
    FirstLargestAlong,
    LargestAlong,
    Pick,
    Place,
    SoftmaxAlong,
    Spread,
    Steps,
    SumAlong,
    axes_of,
    binds,
)
from derive.blocks import Repeat, Rows, Stack
from derive.expressions import substitute, values_in
from derive.language import Apply, Diagonal, Hadamard, Identity, Ones, Plus, Times, Transposed, Value, X, Zeros
from derive.reductions import Cumulative, FirstLargest, Largest, LogSumExp, Softmax, Total

Array = NDArray[Any]
Environment = dict[Any, Array]


@dataclass(frozen=True)
class Numbers:
    """A kind of numbers: how a SymPy number becomes one, what each scalar function is on arrays of them, and the array's dtype."""

    number: Callable[[sp.Expr], Any]
    functions: Mapping[str, Callable[[Array], Array]]
    dtype: Any

    def power(self, base: Array, exponent: sp.Expr) -> Array:
        if exponent.is_Integer:
            power = base ** abs(int(exponent))
            return power if exponent > 0 else 1 / power
        if exponent == sp.S.Half:
            return self.functions["sqrt"](base)
        return self.functions["exp"](self.number(exponent) * self.functions["log"](base))


def float_functions() -> dict[str, Callable[[Array], Array]]:
    """The scalar functions on float64 and complex128, branches on the real part."""
    return {
        "tanh": np.tanh, "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "sqrt": np.sqrt,
        "sigma": lambda z: 0.5 * (1 + np.tanh(0.5 * z)),
        "step": lambda z: (np.real(z) > 0).astype(float),
        "relu": lambda z: np.where(np.real(z) > 0, z, 0.0),
        "softplus": lambda z: np.where(np.real(z) > 0, z, 0.0) + np.log1p(np.exp(np.where(np.real(z) > 0, -z, z))),
        "elu": lambda z: np.where(np.real(z) > 0, z, np.expm1(np.where(np.real(z) > 0, 0.0, z))),
        "absolute": lambda z: np.where(np.real(z) < 0, -z, z),
        "sign": lambda z: np.sign(np.real(z)),
        "hardtanh": lambda z: np.where(np.abs(np.real(z)) < 1, z, np.sign(np.real(z))),
        "softsign": lambda z: z / (1 + np.where(np.real(z) < 0, -z, z)),
        "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "erf": error_function,
    }  # fmt: skip


def error_function(z: Array) -> Array:
    """erf by the standard library. Of a complex number near the axis, as a complex step takes, by its slope: y**2 < 1e-20 is left out,
    and mpmath's imaginary part is as exact as the whole, not as itself; farther out by mpmath."""
    if not np.iscomplexobj(z):
        return np.asarray(np.vectorize(math.erf, otypes=[float])(z))
    import mpmath

    def one(z: complex) -> complex:
        slope = 2 / math.sqrt(math.pi) * math.exp(-z.real * z.real)
        return complex(math.erf(z.real), z.imag * slope) if abs(z.imag) < 1e-10 else complex(mpmath.erf(z))

    return np.asarray(np.vectorize(one, otypes=[complex])(z))


def floats() -> Numbers:
    return Numbers(lambda n: float(n), float_functions(), np.float64)


def precise(digits: int = 60) -> Numbers:
    """mpmath's numbers with so many digits."""
    import mpmath

    mpmath.mp.dps = digits
    mp = mpmath.mp

    def each(function: Callable[[Any], Any]) -> Any:
        return np.frompyfunc(function, 1, 1)

    functions = {
        "tanh": each(mp.tanh), "exp": each(mp.exp), "log": each(mp.log), "sin": each(mp.sin), "cos": each(mp.cos),
        "sqrt": each(mp.sqrt), "sigma": each(lambda z: 1 / (1 + mp.exp(-z))), "softplus": each(lambda z: mp.log(1 + mp.exp(z))),
        "step": each(lambda z: mp.mpf(1 if z > 0 else 0)), "relu": each(lambda z: z if z > 0 else mp.mpf(0)),
        "elu": each(lambda z: z if z > 0 else mp.expm1(z)), "absolute": each(abs), "sign": each(mp.sign),
        "hardtanh": each(lambda z: z if abs(z) < 1 else mp.sign(z)), "softsign": each(lambda z: z / (1 + abs(z))),
        "atan": each(mp.atan), "erf": each(mp.erf), "sinh": each(mp.sinh), "cosh": each(mp.cosh),
    }  # fmt: skip
    return Numbers(lambda n: mp.mpmathify(sp.N(n, digits + 10)), functions, object)


# ---- expressions


Run = Callable[[Mapping[Value, Array]], Array]


class Evaluator:
    """Expressions over an environment, each turned into nested functions once; sizes say what each dimension is."""

    def __init__(self, numbers: Numbers, sizes: Mapping[str, int]) -> None:
        self.numbers, self.sizes = numbers, sizes
        self.compiled: dict[sp.Basic, Run] = {}

    def __call__(self, node: sp.MatrixExpr, env: Mapping[Value, Array]) -> Array:
        return self.run(node)(env)

    def run(self, node: sp.MatrixExpr) -> Run:
        if node not in self.compiled:
            self.compiled[node] = (
                self.value(node) if isinstance(node, Value) else getattr(self, type(node).__name__.lower())(node)
            )
        return self.compiled[node]

    def value(self, node: Value) -> Run:
        return lambda env: env[node]

    def size(self, expression: sp.Expr) -> int:
        return int(expression.subs({symbol: self.sizes[symbol.name] for symbol in expression.free_symbols}))

    def exact(self, value: Any) -> sp.Expr:
        """A number with the sizes of the dimensions in it."""
        value = sp.sympify(value)
        return value.subs({dim: self.sizes[dim.name] for dim in value.free_symbols}) if value.free_symbols else value

    def number(self, value: Any) -> Any:
        return self.numbers.number(self.exact(value))

    def constant(self, value: Any, *shape: sp.Expr) -> Array:
        return np.full([self.size(n) for n in shape], self.number(value), self.numbers.dtype)

    def parts(self, node: sp.MatrixExpr) -> list[Run]:
        return [self.run(part) for part in node.args if isinstance(part, sp.MatrixExpr)]

    def plus(self, node: Plus) -> Run:
        first, *rest = self.parts(node)
        return lambda env: sum((part(env) for part in rest), start=first(env))

    def times(self, node: Times) -> Run:
        factors = [self.number(part) for part in node.args if not isinstance(part, sp.MatrixExpr)]
        *left, last = self.parts(node)

        def product(env: Mapping[Value, Array]) -> Array:
            total = last(env)
            for part in reversed(left):
                total = part(env) @ total
            for factor in factors:
                total = factor * total
            return total

        return product

    def hadamard(self, node: Hadamard) -> Run:
        first, *rest = self.parts(node)

        def product(env: Mapping[Value, Array]) -> Array:
            total = first(env)
            for part in rest:
                total = total * part(env)
            return total

        return product

    def transposed(self, node: Transposed) -> Run:
        (inner,) = self.parts(node)
        return lambda env: inner(env).swapaxes(-1, -2)

    def apply(self, node: Apply) -> Run:
        if isinstance(node.expr, Steps):
            return self.of_steps(node)
        inner, scalar = self.run(node.expr), self.scalar(node.scalar)
        return lambda env: scalar(inner(env))

    def scalar(self, expression: sp.Expr) -> Callable[[Array], Array]:
        """A scalar expression in one symbol as a function of arrays."""
        if expression.is_Symbol:
            return np.asarray
        if expression.is_number:
            number = self.number(expression)
            return lambda x: number
        if expression.is_Pow and expression.exp.is_number:
            base, power = self.scalar(expression.base), self.numbers.power
            return lambda x: power(base(x), expression.exp)  # type: ignore[no-any-return]
        parts = [self.scalar(part) for part in expression.args]
        if expression.is_Add:
            return lambda x: sum((part(x) for part in parts[1:]), start=parts[0](x))
        if expression.is_Mul:
            return lambda x: math.prod((part(x) for part in parts[1:]), start=parts[0](x))
        function = self.numbers.functions[expression.func.__name__]
        return lambda x: function(parts[0](x))

    def stack(self, node: Stack) -> Run:
        parts = self.parts(node)

        def stacked(env: Mapping[Value, Array]) -> Array:
            arrays = [part(env) for part in parts]
            lead = np.broadcast_shapes(*[array.shape[:-2] for array in arrays])
            return np.concatenate([np.broadcast_to(array, lead + array.shape[-2:]) for array in arrays], axis=-2)

        return stacked

    def rows(self, node: Rows) -> Run:
        inner, start, stop = self.run(node.args[0]), self.size(node.args[1]), self.size(node.args[2])
        return lambda env: inner(env)[..., start:stop, :]

    def repeat(self, node: Repeat) -> Run:
        (inner,), times = self.parts(node), int(node.args[1])
        return lambda env: np.concatenate([inner(env)] * times, axis=-2)

    def softmax(self, node: Softmax) -> Run:
        (inner,) = self.parts(node)
        exp, exact = self.numbers.functions["exp"], self.numbers.dtype is object

        def softmax(env: Mapping[Value, Array]) -> Array:
            z = inner(env)
            e = exp(z if exact else z - z.real.max(axis=-2, keepdims=True))
            return np.asarray(e / e.sum(axis=-2, keepdims=True))

        return softmax

    def total(self, node: Total) -> Run:
        (inner,) = self.parts(node)
        return lambda env: inner(env).sum(axis=(-2, -1), keepdims=True)

    def largest(self, node: Largest) -> Run:
        inner, first = self.run(node.args[0]), self.firstlargest(node)
        return lambda env: (inner(env) * first(env)).sum(axis=-2, keepdims=True)

    def firstlargest(self, node: FirstLargest | Largest) -> Run:
        (inner,) = self.parts(node)
        one, zero = self.number(1), self.number(0)

        def first(env: Mapping[Value, Array]) -> Array:
            z = inner(env)
            at = np.argmax(np.real(z) if self.numbers.dtype is not object else z, axis=-2)
            places = np.arange(z.shape[-2])[:, None] == at[..., None, :]
            return np.asarray(np.where(places, one, zero))

        return first

    def logsumexp(self, node: LogSumExp) -> Run:
        (inner,), largest = self.parts(node), self.largest(node)  # type: ignore[arg-type]
        exp, log = self.numbers.functions["exp"], self.numbers.functions["log"]

        def logsumexp(env: Mapping[Value, Array]) -> Array:
            top = largest(env)
            return np.asarray(top + log(exp(inner(env) - top).sum(axis=-2, keepdims=True)))

        return logsumexp

    def cumulative(self, node: Cumulative) -> Run:
        (inner,), turn = self.parts(node), slice(None, None, -1 if node.backwards else 1)
        return lambda env: np.asarray(inner(env)[..., turn, :].cumsum(axis=-2)[..., turn, :])

    # along the steps: of values at all of them, (T, B, n, m); what is the same at all steps has no such axis

    def sumalong(self, node: SumAlong) -> Run:
        (inner,) = self.parts(node)
        return lambda env: np.asarray(inner(env).sum(axis=0))

    def spread(self, node: Spread) -> Run:
        (inner,) = self.parts(node)

        def spread(env: Mapping[Value, Array]) -> Array:
            once = inner(env)
            once = once if once.ndim == 3 else once[None]
            return np.broadcast_to(once, (count(env, node.axis), *once.shape))

        return spread

    def pick(self, node: Pick) -> Run:
        (inner,), at = self.parts(node), -1 if node.end == "last" else 0

        def pick(env: Mapping[Value, Array]) -> Array:
            found = inner(env)
            if len(found):
                return np.asarray(found[at])
            start = env.get(node.args[0].like(lag=-1 if at else 1))  # no steps: where the recurrence starts, if it is one
            return found.sum(axis=0) if start is None else np.asarray(start)

        return pick

    def place(self, node: Place) -> Run:
        (inner,), at = self.parts(node), -1 if node.end == "last" else 0

        def place(env: Mapping[Value, Array]) -> Array:
            once = inner(env)
            found = np.zeros((count(env, node.axis), *once.shape), once.dtype)
            found[at] = once
            return found

        return place

    def largestalong(self, node: LargestAlong) -> Run:
        inner, first = self.run(node.args[0]), self.firstlargestalong(node)
        return lambda env: np.asarray((inner(env) * first(env)).sum(axis=0))

    def firstlargestalong(self, node: FirstLargestAlong | LargestAlong) -> Run:
        (inner,) = self.parts(node)
        one, zero = self.number(1), self.number(0)

        def first(env: Mapping[Value, Array]) -> Array:
            z = inner(env)
            if not len(z):
                return z
            at = np.argmax(np.real(z) if self.numbers.dtype is not object else z, axis=0)
            return np.asarray(np.where(np.arange(len(z)).reshape(-1, *[1] * (z.ndim - 1)) == at, one, zero))

        return first

    def softmaxalong(self, node: SoftmaxAlong) -> Run:
        (inner,) = self.parts(node)
        exp, exact = self.numbers.functions["exp"], self.numbers.dtype is object

        def softmax(env: Mapping[Value, Array]) -> Array:
            z = inner(env)
            if not len(z):
                return z
            e = exp(z if exact else z - z.real.max(axis=0))
            return np.asarray(e / e.sum(axis=0))

        return softmax

    def steps(self, node: Steps) -> Run:
        return lambda env: np.full((1, 1), self.number(count(env, node.axis)), self.numbers.dtype)

    def of_steps(self, node: Apply) -> Run:
        """1/T: what the mean over the steps is divided by; over no steps it is 0."""
        axis = node.expr.axis
        return lambda env: np.full((1, 1), self.number(node.scalar.subs(X, max(count(env, axis), 1))), self.numbers.dtype)

    def diagonal(self, node: Diagonal) -> Run:
        (inner,), eye = self.parts(node), self.eye(node)
        return lambda env: inner(env) * eye

    def ones(self, node: Ones) -> Run:
        array = self.constant(1, *node.shape)
        return lambda env: array

    def zeros(self, node: Zeros) -> Run:
        array = self.constant(0, *node.shape)
        return lambda env: array

    def identity(self, node: Identity) -> Run:
        array = self.eye(node)
        return lambda env: array

    def eye(self, node: sp.MatrixExpr) -> Array:
        array = self.constant(0, *node.shape)
        np.fill_diagonal(array, self.number(1))
        return array


def count(env: Mapping[Any, Array], axis: str) -> int:
    """How many steps there are."""
    return int(env[Steps(axis)])


# ---- equations


def forward(
    pairs: Sequence[tuple[Value, sp.MatrixExpr]],
    evaluate: Evaluator,
    known: Environment,
    inputs: Mapping[Value, Sequence[Array]],
    steps: int,
    starts: Mapping[Value, Value] | None = None,
) -> list[Environment]:
    """Forward equations at every step: the environment of each, with all its values and what it reads of its neighbours; where there
    are no steps one environment, of what doesn't differ from step to step.

    known: parameters, inputs of an example, and under the value that is read, at t-1 or t+1, the state (B, n, m) before the first step or
    after the last one. inputs: each value's array (B, n, m) at every step. starts: what is read at t-1 or t+1 -> the value that it starts
    with. What is computed when follows from what is there: sweeps over the steps, forwards and backwards in turn, take what they can.
    Raises ValueError where equations need each other at one step.
    """
    return Sweeps(pairs, evaluate, known, inputs, steps, starts or {}).run()


def taken_apart(target: Value, right: sp.MatrixExpr) -> list[tuple[Value, sp.MatrixExpr]]:
    """An equation with what it reads of all steps together as equations of their own, in front."""
    inner: dict[sp.MatrixExpr, Value] = {}

    def named(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        if not isinstance(node, AlongAxis) or isinstance(node, Spread):
            return None
        name = f"{target.name}: {len(inner) + 1}"
        return inner.setdefault(node, Value(name, *node.shape, axes=axes_of(node)))

    rest = right if isinstance(right, AlongAxis) else substitute(right, named)
    return [*[(value, node) for node, value in inner.items()], (target, rest)]


class Sweeps:
    """One run of `forward`."""

    def __init__(
        self,
        pairs: Sequence[tuple[Value, sp.MatrixExpr]],
        evaluate: Evaluator,
        known: Environment,
        inputs: Mapping[Value, Sequence[Array]],
        steps: int,
        starts: Mapping[Value, Value],
    ) -> None:
        self.steps, self.named = steps, dict(starts)
        self.starts = {value: array for value, array in known.items() if value.lag}
        batches = [array.shape[0] for array in self.starts.values()]
        batches += [array.shape[0] for value, array in known.items() if "B" in value.axes and not value.lag]
        self.lead = (batches[0] if batches else 1,)
        self.once: Environment = {value: array for value, array in known.items() if not value.lag}
        self.once[Steps("T")] = np.array(steps)
        self.found: list[Environment] = [
            {**self.once, **{value: arrays[t] for value, arrays in inputs.items()}} for t in range(steps)
        ]
        self.along = {*inputs, *[target for target, _ in pairs if "T" in target.axes]}
        pairs = [part for target, right in pairs for part in taken_apart(target, right)]
        self.along |= {target for target, _ in pairs if "T" in target.axes}
        whole = {target: bool(binds(right)) or "T" not in target.axes for target, right in pairs}
        reads = [(target, evaluate.run(right), values_in(right)) for target, right in pairs]
        self.at_once = [one for one in reads if whole[one[0]]]
        self.by_steps = [one for one in reads if not whole[one[0]]]

    def run(self) -> list[Environment]:
        turn = 0
        idle = 0
        while (self.at_once or self.by_steps) and idle < 2:
            before = len(self.once) + sum(map(len, self.found))
            self.take_wholes()
            for t in range(self.steps) if turn % 2 == 0 else reversed(range(self.steps)):
                for target, run, read in self.by_steps:
                    if target not in self.found[t] and all(self.is_there(value, t) for value in read):
                        self.found[t][target] = self.filled(target, run(self.found[t]))
            self.by_steps = [one for one in self.by_steps if any(one[0] not in env for env in self.found)]
            idle = 0 if len(self.once) + sum(map(len, self.found)) > before else idle + 1
            turn += 1
        left = [*self.at_once, *self.by_steps]
        if left and self.steps:
            raise ValueError(f"{', '.join(str(target.name) for target, *_ in left)} need each other at one step")
        return self.found or [self.once]

    def filled(self, target: Value, value: Array) -> Array:
        """The same for every example, as a zero is."""
        return np.broadcast_to(value, self.lead + value.shape) if target.timed and value.ndim == 2 else value

    def is_there(self, value: Value, t: int) -> bool:
        """Whether a value that step t reads is known; one of a neighbour is put into the environment of step t."""
        here = self.found[t]
        if value in here:
            return True
        at, plain = t + value.lag, value.like(lag=0)
        if not value.lag:
            return False
        if 0 <= at < self.steps:
            if plain not in self.found[at]:
                return False
            here[value] = self.found[at][plain]
            return True
        if value in self.named and self.named[value] not in self.once:
            return False
        here[value] = self.once[self.named[value]] if value in self.named else self.starts[value]
        return True

    def take_wholes(self) -> None:
        """The values that all steps together make, as far as these are there."""
        for one in list(self.at_once):
            target, run, read = one
            env: Environment = dict(self.once)
            if not all(self.is_whole(value, env) for value in read):
                continue
            value = run(env)
            if "T" in target.axes:
                for t, here in enumerate(self.found):
                    here[target] = self.filled(target, value[t] if value.ndim == 4 else value)
            else:
                self.once[target] = self.filled(target, value)
                for here in self.found:
                    here[target] = self.once[target]
            self.at_once.remove(one)

    def is_whole(self, value: Value, env: Environment) -> bool:
        """Whether a value is known at all steps; it is put into the environment then, as (T, B, n, m)."""
        if value in self.once:
            return True
        if value.like(lag=0) not in self.along or not all(self.is_there(value, t) for t in range(self.steps)):
            return False
        if self.steps:
            env[value] = np.stack([here[value] for here in self.found])
            return True
        before = value.like(lag=-1), value.like(lag=1)
        for read in before:
            if read in self.named and self.named[read] in self.once:
                env[read] = self.once[self.named[read]]
            elif read in self.starts:
                env[read] = self.starts[read]
        env[value] = np.zeros((0, *self.lead, *[1, 1]))
        return True
