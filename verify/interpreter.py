"""Equations evaluated as they are written, over any kind of numbers: float64, complex, mpmath's, fractions, symbols.

No emitted code, no schedule. A value at one step is an array (B, n, m), a
parameter (n, m), so that products and transposes mean what they mean on paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive.along import Steps
from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Pairwise
from derive.language import Apply, Diagonal, Hadamard, Identity, Ones, Plus, Times, Transposed, Value, Zeros
from derive.onehot import OneHot
from derive.reductions import Cumulative, FirstLargest, Largest, LogSoftmax, LogSumExp, Softmax, Total
from verify.along import AlongSteps

Array = NDArray[Any]
Environment = dict[Value, Array]


@dataclass(frozen=True)
class Numbers:
    """A kind of numbers: how a SymPy number becomes one, what each scalar function is on arrays of them, and the array's dtype."""

    number: Callable[[sp.Expr], Any]
    functions: Mapping[str, Callable[..., Array]]
    dtype: Any

    def power(self, base: Array, exponent: sp.Expr) -> Array:
        if exponent.is_Integer:
            power = base ** abs(int(exponent))
            return power if exponent > 0 else 1 / power
        if exponent == sp.S.Half:
            return self.functions["sqrt"](base)
        return self.functions["exp"](self.number(exponent) * self.functions["log"](base))


def float_functions() -> dict[str, Callable[..., Array]]:
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
        "log_or_zero": lambda z: np.log(z + (z == 0)),
        "inverse_or_zero": lambda z: (z != 0) / (z + (z == 0)),
        "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "erf": error_function,
        "maximum": first_where(np.greater_equal), "minimum": first_where(np.less_equal),
        "atleast": holding(np.greater_equal), "above": holding(np.greater),
    }  # fmt: skip


def first_where(holds: Callable[..., Array]) -> Callable[..., Array]:
    """a where it holds of the real parts of a and b, else b; nan where either one is."""

    def choose(a: Array, b: Array) -> Array:
        return np.where(holds(np.real(a), np.real(b)) | np.isnan(a), a, b)

    return choose


def holding(holds: Callable[..., Array]) -> Callable[..., Array]:
    """1 where it holds of the real parts of a and b, else 0; nan where either one is."""

    def slope(a: Array, b: Array) -> Array:
        return np.where(np.isnan(a) | np.isnan(b), np.nan, holds(np.real(a), np.real(b)).astype(float))

    return slope


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

    def of_two(function: Callable[[Any, Any], Any]) -> Any:
        return np.frompyfunc(function, 2, 1)

    functions = {
        "tanh": each(mp.tanh), "exp": each(mp.exp), "log": each(mp.log), "sin": each(mp.sin), "cos": each(mp.cos),
        "sqrt": each(mp.sqrt), "sigma": each(lambda z: 1 / (1 + mp.exp(-z))), "softplus": each(lambda z: mp.log(1 + mp.exp(z))),
        "step": each(lambda z: mp.mpf(1 if z > 0 else 0)), "relu": each(lambda z: z if z > 0 else mp.mpf(0)),
        "elu": each(lambda z: z if z > 0 else mp.expm1(z)), "absolute": each(abs), "sign": each(mp.sign),
        "hardtanh": each(lambda z: z if abs(z) < 1 else mp.sign(z)), "softsign": each(lambda z: z / (1 + abs(z))),
        "log_or_zero": each(lambda z: mp.log(z) if z else z), "inverse_or_zero": each(lambda z: 1 / z if z else z),
        "atan": each(mp.atan), "erf": each(mp.erf), "sinh": each(mp.sinh), "cosh": each(mp.cosh),
        "maximum": of_two(lambda a, b: a if a >= b or mp.isnan(a) else b),
        "minimum": of_two(lambda a, b: a if a <= b or mp.isnan(a) else b),
        "atleast": of_two(lambda a, b: mp.nan if mp.isnan(a) or mp.isnan(b) else mp.mpf(a >= b)),
        "above": of_two(lambda a, b: mp.nan if mp.isnan(a) or mp.isnan(b) else mp.mpf(a > b)),
    }  # fmt: skip
    return Numbers(lambda n: mp.mpmathify(sp.N(n, digits + 10)), functions, object)


# ---- expressions


Run = Callable[[Mapping[Value, Array]], Array]


class Evaluator(AlongSteps):
    """Expressions over an environment, each turned into nested functions once; sizes say what each dimension is."""

    def __init__(self, numbers: Numbers, sizes: Mapping[str, int]) -> None:
        self.numbers, self.sizes = numbers, sizes
        self.compiled: dict[sp.Basic, Run] = {}
        self.counted: dict[sp.Expr, int] = {}

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
        if expression not in self.counted:
            self.counted[expression] = int(
                expression.subs({symbol: self.sizes[symbol.name] for symbol in expression.free_symbols})
            )
        return self.counted[expression]

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

    def pairwise(self, node: Pairwise) -> Run:
        """max, min and comparisons: functions of the numbers by their names."""
        (left, right), function = self.parts(node), self.numbers.functions[type(node).__name__.lower()]
        return lambda env: function(left(env), right(env))

    maximum = minimum = atleast = above = pairwise

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

    def logsoftmax(self, node: LogSoftmax) -> Run:
        inner, whole = self.run(node.args[0]), self.logsumexp(node)
        return lambda env: np.asarray(inner(env) - whole(env))

    def onehot(self, node: OneHot) -> Run:
        """1 at the token's element; tokens are whole numbers, in arrays of whatever kind of numbers."""
        token, places = self.run(node.token), np.arange(self.size(node.shape[0]))[:, None]
        one, zero = self.number(1), self.number(0)
        return lambda env: np.asarray(np.where(np.real(token(env)).astype(int) == places, one, zero))

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

    def logsumexp(self, node: LogSumExp | LogSoftmax) -> Run:
        (inner,), largest = self.parts(node), self.largest(node)  # type: ignore[arg-type]
        exp, log = self.numbers.functions["exp"], self.numbers.functions["log"]

        def logsumexp(env: Mapping[Value, Array]) -> Array:
            top = largest(env)
            return np.asarray(top + log(exp(inner(env) - top).sum(axis=-2, keepdims=True)))

        return logsumexp

    def cumulative(self, node: Cumulative) -> Run:
        (inner,), turn = self.parts(node), slice(None, None, -1 if node.backwards else 1)
        return lambda env: np.asarray(inner(env)[..., turn, :].cumsum(axis=-2)[..., turn, :])

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
