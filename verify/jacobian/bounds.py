"""Bounds on the product's norm, derived from the blocks of the Jacobian: CS224n equations (15) and (16), for whatever cell has one.

The norm of a sum is at most the sum of the norms, of a product the product; of diag(v) the largest |v|. Where each coefficient has a
largest value whatever the weights, the inputs and the states are, the cell has a uniform bound per step: for h = f(U h' + W x) it is
beta_h ||U||, beta_h = sup |f'|. Along a run, with the largest |v| of each step itself, every derived cell has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from derive.expressions import is_timed, substitute, values_in
from derive.language import Apply, Diagonal, Hadamard, Ones, Plus, Rows, Stack, Times, Value, X, Zeros, coefficient
from verify.jacobian.run import Array, Run
from verify.jacobian.values import Values, scalar

Range = tuple[float, float]
EVERYWHERE: Range = (-np.inf, np.inf)
Largest = Callable[[Any], Any]
"""The largest absolute element of a vector expression: a number, or (T, B) along a run."""


@dataclass(frozen=True)
class Bound:
    """per_step: log10 of the uniform bound per step, minus infinity where it is 0, None where there is none. beta_W, beta_h: its two
    factors, where the Jacobian is diag(f'(a)) U; beta_h_document: 1, what CS224n takes.
    trajectory: log10 of the bound by lag along this run, (T,) mean of the batch."""

    statement: str
    per_step: float | None = None
    beta_W: float | None = None
    beta_h: float | None = None
    beta_h_document: float | None = None
    trajectory: tuple[float, ...] | None = None

    def log10(self, steps: int) -> list[float] | None:
        """By lag 1..T."""
        return None if self.per_step is None else [lag * self.per_step for lag in range(1, steps + 1)]

    def log10_document(self, steps: int) -> list[float] | None:
        """The same with the document's beta_h."""
        if self.beta_h_document is None or self.beta_W is None:
            return None
        per_step = float(log10(np.array(self.beta_h_document * self.beta_W)))
        return [lag * per_step for lag in range(1, steps + 1)]


def bound_of(run: Run, values: Values | None) -> Bound:
    """What can be said of a run's products before they are computed."""
    if values is None:
        return Bound("No bound: it is derived from equations, and a kernel file has none.")
    program: Any = run.derivation.jacobian  # type: ignore[union-attr]
    blocks = Blocks(values, program, lambda vector: supremum_of(vector, values))
    along = Blocks(values, program, lambda vector: measured(vector, values)).joint()
    trajectory = tuple(np.cumsum(log10(np.broadcast_to(along, (run.steps, run.batch)))[::-1], axis=0).mean(axis=1).tolist())
    total = blocks.joint()
    if not np.isfinite(total):
        reasons = ", ".join(sorted(blocks.unbounded)) or "a coefficient"
        return Bound(
            f"No bound that holds for every run: {reasons} is unbounded. The record has one for this run.",
            trajectory=trajectory,
        )
    beta_h, beta_W = blocks.factors()
    document = 1.0 if beta_h is not None and beta_h <= 1 else None
    form = "(beta_W beta_h)^l, CS224n (15) and (16)" if beta_h is not None else "the sum of the norms of the Jacobian's terms"
    per_step = float(log10(np.asarray(total)))
    return Bound(f"Per step at most {total:.6g}: {form}.", per_step, beta_W, beta_h, document, trajectory)


def log10(values: Array) -> Array:
    out = np.full(values.shape, -np.inf)
    np.log10(values, out=out, where=values > 0)
    return out


class Blocks:
    """Bounds of the Jacobian's blocks, one `largest` deciding of what."""

    def __init__(self, values: Values, program: Any, largest: Largest) -> None:
        self.values, self.program = values, program
        self.equations = {equation.target: equation for equation in program.equations}
        self.bounds: dict[Any, Any] = {}
        self.unbounded: set[str] = set()
        self.largest = largest

    def joint(self) -> Any:
        """Of the whole Jacobian: the norm of the matrix of the bounds of its blocks."""
        bounds = [self.of(block) for block in self.program.results]
        n = int(len(bounds) ** 0.5)
        if n == 1:
            return bounds[0]
        if not all(np.isfinite(bound).all() for bound in bounds):
            return np.inf
        shape = np.broadcast_shapes(*[np.shape(bound) for bound in bounds])
        matrix = np.stack([np.broadcast_to(bound, shape) for bound in bounds], axis=-1).reshape(*shape, n, n)
        return np.linalg.norm(matrix, 2, axis=(-2, -1))

    def of(self, node: Any) -> Any:
        """The bound of an expression."""
        if isinstance(node, Value) and node.kind.startswith("jacobian"):
            if node not in self.bounds:
                self.bounds[node] = sum((self.of(self.expanded(term.value)) for term in self.equations[node].terms), 0.0)
            return self.bounds[node]
        if not is_timed(node):
            return float(np.linalg.norm(self.values.of(node), 2))
        number, rest = coefficient(node)
        size = abs(float(number))
        match rest:
            case Diagonal():
                found = self.largest(rest.args[0])
                if not np.isfinite(found).all():
                    self.unbounded |= {value.name + ("_t-1" if value.lag else "") for value in unbounded_in(rest, self.values)}
                return size * found
            case Plus():
                return size * sum(self.of(part) for part in rest.args)
            case Times():
                return size * self.product(list(rest.args))
            case Rows():
                return size * self.of(rest.args[0])
            case Stack():
                return size * sum(self.of(part) for part in rest.args if not isinstance(part, Zeros))
        return np.inf

    def product(self, factors: list[Any]) -> Any:
        """Of a product, neighbours that don't differ from step to step taken together."""
        bound: Any = 1.0
        while factors:
            still = next((k for k, factor in enumerate(factors) if is_timed(factor)), len(factors))
            if still:
                together = Times(*factors[:still], evaluate=False) if still > 1 else factors[0]
                bound = bound * float(np.linalg.norm(self.values.of(together), 2))
                factors = factors[still:]
            else:
                bound = bound * self.of(factors[0])
                factors = factors[1:]
        return bound

    def expanded(self, node: Any) -> Any:
        """The expression with shared parts, and blocks that don't differ from step to step, written out."""

        def written_out(part: Any) -> Any | None:
            equation = self.equations.get(part) if isinstance(part, Value) else None
            if equation is None:
                return None
            right = self.expanded(equation.value)
            return None if is_timed(right) and part.kind.startswith("jacobian") else right

        return substitute(node, written_out)

    def factors(self) -> tuple[float | None, float | None]:
        """(beta_h, beta_W) where the Jacobian is one term: diagonals that change times a matrix that doesn't."""
        if len(self.program.results) != 1 or len(self.equations[self.program.results[0]].terms) != 1:
            return None, None
        number, rest = coefficient(self.expanded(self.equations[self.program.results[0]].terms[0].value))
        parts = list(rest.args) if isinstance(rest, Times) else [rest]
        timed = [part for part in parts if is_timed(part)]
        if any(not isinstance(part, Diagonal) for part in timed) or parts[: len(timed)] != timed:
            return None, None
        beta_h = abs(float(number)) * float(np.prod([self.largest(part.args[0]) for part in timed]))
        return beta_h, self.product(parts[len(timed) :])


def measured(vector: Any, values: Values) -> Array:
    """The largest absolute element at each step, (T, B)."""
    array = np.abs(values.of(vector)).max(axis=(-2, -1))
    return np.broadcast_to(array, (values.run.steps, values.run.batch))


# ---- the largest value of a coefficient, whatever the run


def supremum_of(vector: Any, values: Values) -> float:
    """sup of the absolute value of the elements of a vector expression; infinity where nothing is known."""
    if not is_timed(vector):
        return float(np.abs(values.of(vector)).max())
    number, rest = coefficient(vector)
    read = values_in(rest)
    if len(read) == 1 and (function := as_scalar(rest)) is not None:
        return abs(float(number)) * supremum(function, range_of(read[0], values))
    match rest:
        case Hadamard():
            return abs(float(number)) * grouped_supremum(rest, values)
        case Plus():
            return abs(float(number)) * sum(supremum_of(term, values) for term in rest.args)
    return float("inf")


def grouped_supremum(product: Any, values: Values) -> float:
    """sup of an elementwise product: the factors of one value are taken together, y (1 - y) being at most 1/4."""
    groups: dict[Any, list[Any]] = {}
    for factor in product.args:
        groups.setdefault(tuple(values_in(factor)), []).append(factor)
    bound = 1.0
    for factors in groups.values():
        part = supremum_of(factors[0] if len(factors) == 1 else Hadamard(*factors), values) if len(groups) > 1 else np.inf
        bound = bound * part if bound and part else 0.0
    return bound


def as_scalar(node: Any) -> sp.Expr | None:
    """An elementwise expression of one value as an expression in `X`; None where it isn't one."""
    number, rest = coefficient(node)
    inner: sp.Expr | None
    match rest:
        case Value():
            inner = X
        case Ones():
            inner = sp.S.One
        case Apply():
            below = as_scalar(rest.expr)
            inner = None if below is None else rest.scalar.subs(X, below)
        case Plus() | Hadamard():
            parts = [as_scalar(part) for part in rest.args]
            combine = sp.Add if isinstance(rest, Plus) else sp.Mul
            inner = None if any(part is None for part in parts) else combine(*parts)
        case _:
            inner = None
    return None if inner is None else number * inner


def range_of(value: Value, values: Values) -> Range:
    """Between what a value lies: the range of the function that defines it; everywhere where that isn't known."""
    cell: Any = values.run.derivation.cell  # type: ignore[union-attr]
    equations = {equation.target: equation.value for equation in cell.forward.equations}
    right = equations.get(value)
    return range_of_function(right.scalar) if isinstance(right, Apply) else EVERYWHERE


def unbounded_in(node: Any, values: Values) -> list[Value]:
    return [value for value in values_in(node) if not np.isfinite(range_of(value, values)).all()]


@cache
def range_of_function(function: sp.Expr) -> Range:
    """(infimum, supremum) of a function over all numbers."""
    x = grid(EVERYWHERE)
    y = evaluated(function, x)
    return (-grows(-y, x), grows(y, x))


@cache
def supremum(function: sp.Expr, limits: Range) -> float:
    """sup |f| over a range: the largest of a fine grid, refined where it is."""
    x = grid(limits)
    y = np.abs(evaluated(function, x))
    if not np.isfinite(limits).all() and not np.isfinite(grows(y, x)):
        return float("inf")
    k = int(y.argmax())
    low, high = x[max(k - 1, 0)], x[min(k + 1, len(x) - 1)]
    best = float(y[k])
    for _ in range(60):
        third = (high - low) / 3
        left, right = (float(np.abs(evaluated(function, np.array([p])))[0]) for p in (low + third, high - third))
        best = max(best, left, right)
        low, high = (low + third, high) if left < right else (low, high - third)
    return best


def grid(limits: Range) -> Array:
    """Points of a range, 0 and its ends among them."""
    if np.isfinite(limits).all():
        return np.linspace(*limits, 4001)
    far = np.logspace(np.log10(51), 6, 60)
    return np.concatenate([-far[::-1], np.linspace(-50, 50, 20001), far])


def evaluated(function: sp.Expr, x: Array) -> Array:
    with np.errstate(all="ignore"):
        y = np.asarray(np.broadcast_to(scalar(function, x), x.shape), float)
    return np.where(np.isnan(y), np.inf, y)


def grows(y: Array, x: Array) -> float:
    """The largest value; infinity where it still grows at the ends of the grid."""
    near = y[np.abs(x) <= 1e3].max()
    largest = float(y.max())
    return float("inf") if largest > near + 0.1 + abs(near) * 1e-3 else largest
