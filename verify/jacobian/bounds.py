"""Bounds on the product's norm, derived from the terms of the Jacobian: CS224n equations (15) and (16), for whatever cell has one.

The norm of a sum is at most the sum of the norms, of a product the product; of diag(v) the largest |v|. Where each coefficient has a
largest value whatever the inputs are, for these weights and this start, the cell has a uniform bound per step: for h = f(U h' + W x) it
is beta_h ||U||, beta_h = sup |f'|. Along a run, with the largest |v| of each step itself, every derived cell has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import sympy as sp

from derive.expressions import is_timed, values_in
from derive.language import Hadamard, Plus, Value, coefficient, hadamard
from verify.jacobian.derived import Step, chained
from verify.jacobian.maps import (
    AtEnd,
    Elementwise,
    Everywhere,
    Left,
    Map,
    Number,
    Repeated,
    Right,
    Running,
    Spread,
    Summed,
    SummedAlong,
)
from verify.jacobian.ranges import Ranges, unbounded_in
from verify.jacobian.run import Array, Run
from verify.jacobian.summands import (
    Chain,
    Summand,
    after_step,
    axes_of_map,
    before_step,
    is_elementwise,
    is_still,
    joined,
    summands_of,
)
from verify.jacobian.values import Values


class Largest(Protocol):
    """How large a coefficient is: a number, or (T, B) along a run. Of one that lies along another axis of steps the largest there, or,
    with `axis` named, at most of all positions side by side, as a sum over them takes what each gives."""

    def element(self, node: Any, axis: str = "") -> Any:
        """The largest absolute element."""

    def norm(self, node: Any, flat: bool = False, axis: str = "") -> Any:
        """The spectral norm; flat: of all elements as one column."""


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


def none_since(run: Run) -> str:
    """Why there is no bound, and so no path."""
    if run.derivation is None:
        return "No bound: it is derived from equations, and a kernel file has none."
    others = " and ".join(run.other_axes)
    return f"No bound and no paths: what a step makes lies along {others} too, and its terms are read along T and one other axis at most."


def bound_of(run: Run, values: Values | None) -> Bound:
    """What can be said of a run's products before they are computed."""
    if values is None:
        return Bound(none_since(run))
    ranges = Ranges(values)
    blocks = Blocks(values, Suprema(ranges), ranges)
    along = Blocks(values, Measured(values), ranges).joint()
    trajectory = tuple(np.cumsum(log10(np.broadcast_to(along, (run.steps, run.batch)))[::-1], axis=0).mean(axis=1).tolist())
    total = blocks.joint()
    if not np.isfinite(total):
        reasons = ", ".join(sorted(blocks.unbounded)) or "a coefficient"
        return Bound(
            f"No bound that holds for every input was found: nothing is known of how large {reasons} can be. "
            "The record has one for this run.",
            trajectory=trajectory,
        )
    beta_h, beta_W = blocks.factors()
    document = 1.0 if beta_h is not None and beta_h <= 1 else None
    form = "(beta_W beta_h)^l, CS224n (15) and (16)" if beta_h is not None else "the sum of the norms of the Jacobian's terms"
    per_step = float(log10(np.asarray(total)))
    states = read_by(blocks, ranges)
    start = f"; {', '.join(states)} from where this run starts them" if states else ""
    sizes = "".join(f"; {axis} = {run.dims[axis]}" for axis in run.other_axes)
    statement = f"Per step at most {rounded_up(float(total))} for every input: {form}{sizes}{start}."
    return Bound(statement, per_step, beta_W, beta_h, document, trajectory)


def read_by(blocks: Blocks, ranges: Ranges) -> list[str]:
    """The states whose own intervals the bound rests on: "h between -1 and 1"."""
    found = []
    for state, (low, high) in ranges.states.items():
        if state in blocks.rests_on and np.isfinite((low, high)).all():
            found.append(f"{state.name} between {rounded_up(low, -1)} and {rounded_up(high)}")
    return found


def rounded_up(number: float, way: int = 1) -> str:
    """A number to six digits, up (or, way -1, down), so that what is said to be at most that is."""
    text = f"{number:.6g}"
    if way * (float(text) - number) < 0 and number:
        unit = 10.0 ** (np.floor(np.log10(abs(number))) - 5)
        text = f"{float(text) + way * unit:.6g}"
    return text


def log10(values: Array) -> Array:
    out = np.full(values.shape, -np.inf)
    np.log10(values, out=out, where=values > 0)
    return out


class Blocks:
    """Bounds of the Jacobian's blocks, one `Largest` deciding of what."""

    def __init__(self, values: Values, largest: Largest, ranges: Ranges) -> None:
        self.values, self.largest, self.ranges = values, largest, ranges
        self.at = Step(values, slice(None))
        self.summands = summands_of(values.run.derivation)
        self.states = values.run.derivation.cell.states  # type: ignore[union-attr]
        self.rests_on: set[Any] = set()
        self.unbounded: set[str] = set()

    def joint(self) -> Any:
        """Of the whole Jacobian: the norm of the matrix of the bounds of its blocks."""
        columns = [self.moved_by(before) for before in self.states]
        bounds = [column.get(after_step(after), 0.0) for after in self.states for column in columns]
        n = len(self.states)
        if n == 1:
            return bounds[0]
        if not all(np.isfinite(bound).all() for bound in bounds):
            return np.inf
        shape = np.broadcast_shapes(*[np.shape(bound) for bound in bounds])
        matrix = np.stack([np.broadcast_to(bound, shape) for bound in bounds], axis=-1).reshape(*shape, n, n)
        return np.linalg.norm(matrix, 2, axis=(-2, -1))

    def moved_by(self, state: Value) -> dict[Value, Any]:
        """The bound of every tangent that is moved by a state before the step. What is the same at every step is taken together first."""
        start = before_step(state)
        bounds: dict[Value, Any] = {start: 1.0}
        still: dict[Value, Array | None] = {start: self.identity(start)}
        parts: dict[Value, list[Summand]] = {}
        for one in self.summands:
            if one.read in bounds:
                parts.setdefault(one.target, []).append(one)
                matrices = [self.still(each, still[each.read]) for each in parts[one.target]]
                there = [matrix for matrix in matrices if matrix is not None]
                whole = sum(there[1:], there[0]) if len(there) == len(matrices) else None
                still[one.target] = whole
                more = self.of(one.chain, still[one.read], bounds[one.read]) if whole is None else float(np.linalg.norm(whole, 2))
                bounds[one.target] = more + bounds.get(one.target, 0.0) if whole is None else more
        return bounds

    def identity(self, value: Value) -> Array | None:
        """Of a vector or a number; None of a matrix, which no matrix multiplies as a whole."""
        return np.eye(self.values.size(value.shape[0])) if value.shape[1] == 1 else None

    def still(self, one: Summand, inner: Array | None) -> Array | None:
        """A summand as a matrix, where it is the same at every step; None where it isn't."""
        if inner is None or not is_still(one.chain) or not all(each.is_of_columns for each in one.chain):
            return None
        return chained(one.chain, inner, self.at)

    def of(self, chain: Chain, inner: Array | None, behind: Any) -> Any:
        """Of maps one after the other, neighbours that are the same at every step taken together; inner: what is behind them as a matrix,
        None where there is only its bound."""
        bound: Any = 1.0
        while chain:
            count = 0
            while count < len(chain) and is_still(chain[count : count + 1]) and chain[count].is_of_columns:
                count += 1
            if count == len(chain) and inner is not None:
                return bound * float(np.linalg.norm(chained(chain, inner, self.at), 2))
            if count:
                together = chained(chain[:count], np.eye(self.values.size(chain[count - 1].shape[0])), self.at)
                bound = bound * float(np.linalg.norm(together, 2))
            elif (together := self.of_pair(chain[:2])) is not None:
                bound, count = bound * together, 2
            else:
                bound, count = bound * self.of_map(chain[0]), 1
            chain = chain[count:]
        return bound * behind

    def of_pair(self, chain: Chain) -> Any:
        """Of a product with what lies along another axis of steps, summed over it or of what is the same along it; else None."""
        if len(chain) < 2 or not (isinstance(chain[0], SummedAlong) or type(chain[1]) is Everywhere):
            return None
        along, product = chain if isinstance(chain[0], SummedAlong) else chain[::-1]
        axis = along.axis  # type: ignore[attr-defined]
        if not isinstance(product, (Elementwise, Spread)) or axis not in axes_of_map(product):
            return None
        return self.of_product(product, axis)

    def of_product(self, one: Elementwise | Spread, axis: str = "") -> Any:
        if isinstance(one, Elementwise):
            return self.known(one.factor, self.largest.element(one.factor, axis))
        return self.known(one.factor, self.largest.norm(one.factor, flat=True, axis=axis))

    def of_map(self, one: Map) -> Any:
        """Of one map."""
        match one:
            case Number():
                return abs(self.values.number(one.factor))
            case Elementwise() | Spread():
                return self.of_product(one)
            case Left() | Right():
                return self.known(one.factor, self.largest.norm(one.factor))
            case Summed():
                rows, columns = one.sizes(self.at)
                return float(np.sqrt(rows * columns))
            case Running():
                return float(np.linalg.norm(np.tri(one.sizes(self.at)[0]), 2))
            case Repeated():
                return float(np.sqrt(one.times))
            case AtEnd():
                return 1.0
            case Everywhere():
                return float(np.sqrt(self.values.size(sp.Symbol(one.axis))))
        return 1.0

    def known(self, factor: Any, found: Any) -> Any:
        """How large a coefficient is, noting what that rests on, or what isn't known."""
        if is_timed(factor):
            self.rests_on |= self.ranges.states_under(factor)
            if not np.isfinite(found).all():
                self.unbounded |= {value.name + ("_t-1" if value.lag else "") for value in unbounded_in(factor, self.ranges)}
        return found

    def factors(self) -> tuple[float | None, float | None]:
        """(beta_h, beta_W) where the Jacobian is one term: diagonals that change times a matrix that doesn't."""
        by_target = {one.target: one for one in self.summands}
        if len(self.states) != 1 or len(by_target) != len(self.summands):
            return None, None
        chain: Chain = ()
        value, start = after_step(self.states[0]), before_step(self.states[0])
        while value != start and value in by_target:
            chain, value = joined(self.states[0], chain, by_target[value].chain), by_target[value].read
        count = next((k for k, one in enumerate(chain) if not is_elementwise((one,)) or is_still((one,))), len(chain))
        count = max(count, int(bool(chain) and isinstance(chain[0], Number)))
        if not is_still(chain[count:]):
            return None, None
        return float(np.prod([self.of_map(one) for one in chain[:count]])), self.of(chain[count:], self.identity(start), 1.0)


class Measured:
    """`Largest` of each step of a run, (T, B)."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def element(self, node: Any, axis: str = "") -> Any:
        return self.at_steps(np.abs(self.values.of(node)).max(axis=(-2, -1)), axis)

    def norm(self, node: Any, flat: bool = False, axis: str = "") -> Any:
        array = self.values.of(node)
        of_all = flat or 1 in array.shape[-2:]
        return self.at_steps(np.linalg.norm(array, "fro" if of_all else 2, axis=(-2, -1)), axis)

    def at_steps(self, figures: Array, axis: str) -> Array:
        """(T, B); side by side they are at most the root of the sum of their squares."""
        if figures.ndim == 3:
            figures = np.linalg.norm(figures, axis=0) if axis else figures.max(axis=0)
        return np.broadcast_to(figures, (self.values.run.steps, self.values.run.batch))


class Suprema:
    """`Largest` whatever the inputs are; infinity where nothing is known."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges

    def element(self, node: Any, axis: str = "") -> float:
        return self.root(axis) * supremum_of(node, self.ranges)

    def norm(self, node: Any, flat: bool = False, axis: str = "") -> float:
        """At most the root of how many elements there are times the largest of them; of what is the same at every step as it is."""
        if not is_timed(node):
            return float(np.linalg.norm(self.ranges.values.of(node), "fro" if flat else 2))
        rows, columns = (self.ranges.values.size(size) for size in node.shape)
        return self.root(axis) * float(np.sqrt(rows * columns)) * supremum_of(node, self.ranges)

    def root(self, axis: str) -> float:
        """Of how many positions an axis has."""
        return float(np.sqrt(self.ranges.values.size(sp.Symbol(axis)))) if axis else 1.0


# ---- the largest value of a coefficient, whatever the inputs


def supremum_of(vector: Any, ranges: Ranges) -> float:
    """sup of the absolute value of the elements of a vector expression; infinity where nothing is known."""
    number, rest = coefficient(vector)
    found = max(abs(end) for end in ranges.of(rest))
    if isinstance(rest, Hadamard):
        found = min(found, *(grouped_supremum(rest, ranges, key) for key in (values_in, ranges.bases)))
    elif isinstance(rest, Plus):
        found = min(found, sum(supremum_of(term, ranges) for term in rest.args))
    return abs(ranges.values.number(number)) * found


def grouped_supremum(product: Any, ranges: Ranges, key: Callable[[Any], Any]) -> float:
    """sup of an elementwise product, group by group."""
    bound = 1.0
    for factors in ranges.groups(product, key):
        part = supremum_of(factors[0] if len(factors) == 1 else hadamard(*factors), ranges)
        bound = bound * part if bound and part else 0.0
    return bound if ranges.groups(product, key) else np.inf
