"""Exact gradients of a cell by components: what the derived programs are held against.

`Oracle` reads the declared equations, unrolls them into SymPy scalars and leaves the differentiation to SymPy's own `diff`. Of `derive` it
knows the nodes of the language and nothing else: no rule, no program, no pass.

Values are compared in a ring that is free in everything that a gradient may not depend on. Parameters, inputs, initial states
and cotangents are free symbols, and so is each value y = f(a) of a function, one for each pair (f, a): y' is 1 - y**2 for tanh,
y (1 - y) for sigma, and a free symbol of its own, `step(a)`, for relu. Two polynomials that are equal there are equal for every
function with these slopes, at every point. Reciprocals and roots are free symbols too, so no proof may need that a/a = 1. The largest
element is a chain of max(a, b) = a + relu(b - a), logsumexp the log of the sum of the exp's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any

import numpy as np
import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Above, AtLeast, Maximum, Minimum
from derive.language import Apply, Diagonal, Hadamard, Identity, Ones, Plus, Times, Transposed, Value, X, Zeros
from derive.onehot import OneHot
from derive.reductions import Cumulative, FirstLargest, Largest, LogSoftmax, LogSumExp, Softmax, Total

Array = np.ndarray[Any, Any]
Sizes = Mapping[str, int]
Equations = Iterable[tuple[Value, sp.MatrixExpr]]
FIELD = 8  # bits for the exponent of one symbol
RELU, STEP = (sp.Function(name)(X) for name in ("relu", "step"))


# ---- scalars: polynomials, or their values at a random point


class Polynomial:
    """A polynomial with rational coefficients, in its one normal form; terms: {monomial: coefficient}, no coefficient 0.

    A monomial is an integer with `FIELD` bits for the exponent of each symbol: a product of monomials is a sum of integers.
    """

    __slots__ = ("degree", "terms")

    def __init__(self, terms: dict[int, Any], degree: int) -> None:
        if degree >= 1 << FIELD:
            raise OverflowError(f"polynomial: degree: expected less than {1 << FIELD}, got {degree}. Raise FIELD.")
        self.terms, self.degree = terms, degree

    @staticmethod
    def of(value: Any) -> Polynomial:
        """A number as a polynomial; a polynomial as it is."""
        return value if isinstance(value, Polynomial) else Polynomial({0: value} if value else {}, 0)

    @staticmethod
    def total(parts: Iterable[Any]) -> Polynomial:
        """The sum of polynomials or numbers."""
        terms: dict[int, Any] = {}
        degree = 0
        for part in map(Polynomial.of, parts):
            degree = max(degree, part.degree)
            for monomial, number in part.terms.items():
                terms[monomial] = terms.get(monomial, 0) + number
        return Polynomial({monomial: number for monomial, number in terms.items() if number}, degree)

    def __add__(self, other: Any) -> Polynomial:
        short, long = by_length(self, Polynomial.of(other))
        terms = dict(long.terms)
        for monomial, number in short.terms.items():
            total = terms.get(monomial, 0) + number
            if total:
                terms[monomial] = total
            else:
                del terms[monomial]
        return Polynomial(terms, max(short.degree, long.degree))

    def __mul__(self, other: Any) -> Polynomial:
        short, long = by_length(self, Polynomial.of(other))
        terms: dict[int, Any] = {}
        for left, a in short.terms.items():
            for right, b in long.terms.items():
                terms[left + right] = terms.get(left + right, 0) + a * b
        return Polynomial({monomial: number for monomial, number in terms.items() if number}, short.degree + long.degree)

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other: object) -> bool:
        return self.terms == Polynomial.of(other).terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))


def by_length(a: Polynomial, b: Polynomial) -> tuple[Polynomial, Polynomial]:
    return (a, b) if len(a.terms) < len(b.terms) else (b, a)


class Scalars:
    """The ring of the comparison: one symbol for each key, and SymPy expressions as its elements.

    Without a seed the elements are polynomials, and equal means identical. With a seed each symbol is a random integer and division
    is division: elements that differ there differ for certain; elements that agree there are equal but for a chance below 1e-17, by
    the lemma of Schwartz and Zippel: the degree of the difference, below 2 * 256, over the number of integers to draw from, 2**67.
    halved: sigma(a) is no symbol but (1 + tanh(a/2))/2, for schedules that compute it so.
    """

    def __init__(self, seed: int | None = None, halved: bool = False) -> None:
        self.halved = halved
        self.symbols: dict[Hashable, Any] = {}
        self.known: dict[sp.Expr, Any] = {}
        self.random = None if seed is None else random.Random(seed)

    def symbol(self, *key: Hashable) -> Any:
        """The symbol of that key: the same for the same key."""
        if key not in self.symbols:
            fresh = Polynomial({1 << (FIELD * len(self.symbols)): 1}, 1)
            self.symbols[key] = fresh if self.random is None else self.random.randrange(1, 2**67)
        return self.symbols[key]

    def __call__(self, expression: Any) -> Any:
        """The element that a SymPy expression in free symbols, or a number, stands for."""
        expression = sp.sympify(expression)
        if expression not in self.known:
            self.known[expression] = self.element(expression, self)
        return self.known[expression]

    def total(self, parts: Iterable[Any]) -> Any:
        """The sum of many elements."""
        return Polynomial.total(parts) if self.random is None else sum(parts)

    def at(self, scalar: sp.Expr, z: Any) -> Any:
        """A function, as an expression in `X`, taken of the element z."""
        return z if scalar == X else self.element(scalar, lambda part: self.at(part, z))

    def element(self, node: sp.Expr, inner: Callable[[sp.Expr], Any]) -> Any:
        """One node of a SymPy expression, `inner` giving what its parts stand for."""
        match node:
            case Activation():
                return self.function(node.function, inner(node.definition))
            case Kept():
                return inner(node.definition)
            case sp.Rational() | sp.Float():
                exact = Fraction(int(node.p), int(node.q)) if node.is_Rational else Fraction(float(node))
                return int(exact) if exact.denominator == 1 else exact
            case sp.Add():
                return reduce(lambda a, b: a + b, map(inner, node.args))
            case sp.Mul():
                return reduce(lambda a, b: a * b, map(inner, node.args))
            case sp.Pow():
                return self.power(inner(node.base), node.exp)
            case sp.Function():
                return self.function(type(node).__name__, inner(node.args[0]))
            case sp.Symbol() | sp.NumberSymbol():
                return self.symbol(node)
        raise TypeError(f"exact: no element for {type(node).__name__} in `{node}`. Add it to Scalars.element.")

    def function(self, name: str, argument: Any) -> Any:
        """y = f(a)."""
        if name == "sigma" and self.halved:
            return (1 + self.symbol("tanh", argument * Fraction(1, 2))) * Fraction(1, 2)
        return self.symbol(name, argument)

    def power(self, base: Any, exponent: sp.Rational) -> Any:
        """base**exponent; a root is a symbol of its own, and so is a reciprocal among polynomials."""
        root = base if exponent.q == 1 else self.symbol("root", int(exponent.q), base)
        if exponent.p < 0:
            root = self.symbol("reciprocal", root) if self.random is None else 1 / Fraction(root)
        return reduce(lambda a, b: a * b, [root] * abs(int(exponent.p)), 1)


# ---- the nodes of the language, by components


def length(dimension: Any, sizes: Sizes) -> int:
    """A dimension such as 2*H + D as a number."""
    expression = sp.sympify(dimension)
    return int(expression.subs({symbol: sizes[symbol.name] for symbol in expression.free_symbols}))


def shape_of(node: sp.MatrixExpr, sizes: Sizes) -> tuple[int, int]:
    rows, cols = node.shape
    return length(rows, sizes), length(cols, sizes)


def free(value: Value, step: int | None, sizes: Sizes, mark: str = "") -> Array:
    """A free symbol for each component of a value at a step (None for a parameter)."""
    rows, cols = shape_of(value, sizes)
    return np.array([[sp.Symbol(f"{mark}{value.name}[{step}][{i},{j}]") for j in range(cols)] for i in range(rows)], dtype=object)


@dataclass(frozen=True)
class Components:
    """A matrix expression as the array of its components: what each node of the language means, one line a node.

    read: a value -> its components; function: (an expression in `X`, a component) -> the function of that component.
    """

    read: Callable[[Value], Array]
    function: Callable[[sp.Expr, Any], Any]
    sizes: Sizes

    def __call__(self, node: sp.MatrixExpr) -> Array:
        match node:
            case Value():
                return self.read(node)
            case Plus():
                return reduce(np.add, map(self, node.args))
            case Times():
                return self.product(np.matmul, node)
            case Hadamard():
                return self.product(np.multiply, node)
            case Transposed():
                return self(node.args[0]).T
            case Apply():
                return self.each(node.scalar, self(node.expr))
            case Maximum():
                a, b = map(self, node.args)
                return a + self.each(RELU, b + -1 * a)  # type: ignore[no-any-return]
            case Minimum():
                a, b = map(self, node.args)
                return a + -1 * self.each(RELU, a + -1 * b)  # type: ignore[no-any-return]
            case AtLeast():
                a, b = map(self, node.args)
                return 1 + -1 * self.each(STEP, b + -1 * a)  # type: ignore[no-any-return]
            case Above():
                a, b = map(self, node.args)
                return self.each(STEP, a + -1 * b)
            case Stack():
                return np.concatenate([self(part) for part in node.args])
            case Rows():
                return self(node.args[0])[length(node.args[1], self.sizes) : length(node.args[2], self.sizes)]
            case Repeat():
                return np.concatenate([self(node.args[0])] * int(node.args[1]))
            case Softmax():
                powers = self.each(sp.exp(X), self(node.args[0]))
                return powers * self.function(1 / X, powers.sum())  # type: ignore[no-any-return]
            case LogSumExp():
                return np.array([[self.function(sp.log(X), self.each(sp.exp(X), self(node.args[0])).sum())]], dtype=object)
            case LogSoftmax():
                z = self(node.args[0])
                return z + -1 * self.function(sp.log(X), self.each(sp.exp(X), z).sum())  # type: ignore[no-any-return]
            case OneHot():
                return self.one_of(self(node.token)[0, 0], length(node.shape[0], self.sizes))
            case Largest():
                return np.array([[self.first_of_the_largest(node.args[0])[0]]], dtype=object)
            case FirstLargest():
                return np.array([[part] for part in self.first_of_the_largest(node.args[0])[1]], dtype=object)
            case Total():
                return np.array([[self(node.args[0]).sum()]], dtype=object)
            case Cumulative():
                turned = slice(None, None, -1 if node.backwards else 1)
                return self(node.args[0])[turned].cumsum(axis=0)[turned]  # type: ignore[no-any-return]
            case Diagonal():
                return np.diagflat(self(node.args[0]))
            case Ones():
                return np.full(shape_of(node, self.sizes), 1, dtype=object)
            case Zeros():
                return np.full(shape_of(node, self.sizes), 0, dtype=object)
            case Identity():
                return np.diagflat(np.full(shape_of(node, self.sizes)[0], 1, dtype=object))
        raise TypeError(f"exact: {type(node).__name__} has no components. Add it to Components.")

    def one_of(self, token: Any, size: int) -> Array:
        """1 at one of so many elements: each free but for their sum, and without a slope."""
        chosen = [self.function(STEP, token + -1 * k) for k in range(size - 1)]
        return np.array([[part] for part in [*chosen, 1 + -1 * sum(chosen)]], dtype=object)

    def product(self, multiply: Callable[[Array, Array], Array], node: sp.MatrixExpr) -> Array:
        """The product of the matrices among the operands, times the numbers among them."""
        numbers = [self.function(self.number(part), 0) for part in node.args if not isinstance(part, sp.MatrixExpr)]
        matrices = [self(part) for part in node.args if isinstance(part, sp.MatrixExpr)]
        return reduce(np.multiply, numbers, reduce(multiply, matrices))

    def each(self, scalar: sp.Expr, array: Array) -> Array:
        """A function of each component."""
        return np.array([[self.function(scalar, z) for z in row] for row in array], dtype=object)

    def number(self, expression: sp.Expr) -> sp.Expr:
        """A number in front, the dimensions in it as the numbers that they are."""
        dimensions = expression.free_symbols
        return expression.subs({symbol: self.sizes[symbol.name] for symbol in dimensions}) if dimensions else expression

    def first_of_the_largest(self, vector: sp.MatrixExpr) -> tuple[Any, list[Any]]:
        """(the largest component, 1 at the first that is as large, else 0): each component is held against the largest before it."""
        top, *rest = self(vector).flat
        chosen = [1]
        for z in rest:
            rise = z + -1 * top
            later = self.function(STEP, rise)
            chosen = [one * (1 + -1 * later) for one in chosen] + [later]
            top = top + self.function(RELU, rise)
        return top, chosen


# ---- the oracle


class Kept(sp.Expr):  # type: ignore[misc]
    """An expression that SymPy's walks don't enter, so that what is shared is walked once; `diff` sees through it."""

    is_commutative = True

    def __new__(cls, definition: sp.Expr, function: str = "") -> sp.Expr:
        if definition.is_number and not function:
            return definition
        self = sp.Expr.__new__(cls, sp.Dummy())
        self.definition, self.function, self.slopes, self.symbols = definition, function, {}, definition.free_symbols
        return self

    @property
    def free_symbols(self) -> set[sp.Basic]:
        return self.symbols  # type: ignore[no-any-return]

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        if symbol not in self.slopes:
            self.slopes[symbol] = Kept(self.definition.diff(symbol))
        return self.slopes[symbol]


class Activation(Kept):
    """y = f(a): a free symbol to everything but `diff`, which gives f'(a) a'."""

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        return SLOPES[self.function](self, self.definition) * super()._eval_derivative(symbol)


SLOPES: dict[str, Callable[[sp.Expr, sp.Expr], sp.Expr]] = {
    "tanh": lambda y, a: 1 - y**2,
    "sigma": lambda y, a: y * (1 - y),
    "relu": lambda y, a: Activation(a, "step"),
    "step": lambda y, a: sp.S.Zero,
    "softplus": lambda y, a: Activation(a, "sigma"),
    "elu": lambda y, a: Activation(-Activation(-a, "relu"), "exp"),
    "exp": lambda y, a: y,
    "log": lambda y, a: 1 / a,
    "sin": lambda y, a: Activation(a, "cos"),
    "cos": lambda y, a: -Activation(a, "sin"),
    "absolute": lambda y, a: Activation(a, "sign"),
    "sign": lambda y, a: sp.S.Zero,
    "hardtanh": lambda y, a: Activation(1 + a, "step") * Activation(1 - a, "step"),
    "softsign": lambda y, a: (1 + Activation(a, "absolute")) ** -2,
    "atan": lambda y, a: 1 / (1 + a**2),
    "erf": lambda y, a: 2 / sp.sqrt(sp.pi) * Activation(-(a**2), "exp"),
    "sinh": lambda y, a: Activation(a, "cosh"),
    "cosh": lambda y, a: Activation(a, "sinh"),
}
"""f'(a) by y = f(a) and a."""


def function_of(scalar: sp.Expr, z: sp.Expr) -> sp.Expr:
    """A function, as an expression in `X`, of the scalar z, each function in it a symbol that knows its slope."""
    if scalar == X:
        return z
    if not scalar.args:
        return sp.sympify(scalar)
    parts = [function_of(part, z) for part in scalar.args]
    if isinstance(scalar, sp.Pow):
        return Kept(parts[0]) ** parts[1]  # kept, so that the root of a square stays one
    return Activation(parts[0], type(scalar).__name__) if isinstance(scalar, sp.Function) else scalar.func(*parts)


class Oracle:
    """A cell's equations, unrolled over some steps into scalars.

    Everything that the equations read and don't define is free: parameters, inputs at each step, the states before the first.
    """

    def __init__(self, equations: Equations, sizes: Sizes, steps: int) -> None:
        self.equations = dict(equations)
        self.sizes, self.steps = sizes, steps
        self.unrolled: dict[tuple[Value, int | None], Array] = {}
        self.leaves: dict[tuple[Value, int | None], Array] = {}
        read = {value for right in self.equations.values() for value in right.atoms(Value)}
        self.states = [value for value in self.equations if value.prev in read]
        self.results = [value for value in self.equations if value in self.states or (value.timed and value not in read)]
        self.loss = Kept(sp.Add(*[part for result in self.results for step in range(steps) for part in self.seen(result, step)]))

    def seen(self, result: Value, step: int) -> list[sp.Expr]:
        """What the loss says of a result at a step: each component times its free cotangent."""
        return list((free(result, step, self.sizes, "bar ") * self.value(result, step)).flat)

    def value(self, value: Value, step: int | None) -> Array:
        """The components of a value that is read at a step."""
        value, step = value.like(lag=0), step + value.lag if value.timed and step is not None else None
        if (value, step) not in self.unrolled:
            defined = value in self.equations and (step is None or step >= 0)
            self.unrolled[value, step] = self.right_side(value, step) if defined else self.leaf(value, step)
        return self.unrolled[value, step]

    def right_side(self, value: Value, step: int | None) -> Array:
        components = Components(lambda part: self.value(part, step), function_of, self.sizes)
        array = components(self.equations[value])
        return np.array([[Kept(sp.sympify(part)) for part in row] for row in array], dtype=object)

    def leaf(self, value: Value, step: int | None) -> Array:
        self.leaves[value, step] = free(value, step, self.sizes)
        return self.leaves[value, step]

    @cached_property
    def gradients(self) -> dict[tuple[Value, int | None], Array]:
        """{(value, step): d loss / d each component} for every parameter (step None), input and initial state (step -1)."""
        return {leaf: derivatives(self.loss, symbols) for leaf, symbols in self.leaves.items()}

    def jacobian(self, state: Value, before: Value) -> Array:
        """d(a state after the first step) / d(a state before it)."""
        symbols = self.leaves[before, -1]
        return np.array([derivatives(part, symbols.T)[0] for part in self.value(state, 0).flat], dtype=object)


def derivatives(scalar: sp.Expr, symbols: Array) -> Array:
    return np.array([[sp.diff(scalar, symbol) for symbol in row] for row in symbols], dtype=object)
