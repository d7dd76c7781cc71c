"""Bounds on the product's norm, derived from the blocks of the Jacobian: CS224n equations (15) and (16), for whatever cell has one.

The norm of a sum is at most the sum of the norms, of a product the product; of diag(v) the largest |v|. Where each coefficient has a
largest value whatever the inputs are, for these weights and this start, the cell has a uniform bound per step: for h = f(U h' + W x) it
is beta_h ||U||, beta_h = sup |f'|. Along a run, with the largest |v| of each step itself, every derived cell has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.blocks import Rows, Stack
from derive.expressions import is_timed, substitute, values_in
from derive.language import Diagonal, Hadamard, Plus, Times, Value, Zeros, coefficient, hadamard
from verify.jacobian.ranges import Ranges, unbounded_in
from verify.jacobian.run import Array, Run
from verify.jacobian.values import Values

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
    ranges = Ranges(values)
    blocks = Blocks(values, program, lambda vector: supremum_of(vector, ranges), ranges)
    along = Blocks(values, program, lambda vector: measured(vector, values), ranges).joint()
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
    statement = f"Per step at most {rounded_up(float(total))} for every input: {form}{start}."
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
    """Bounds of the Jacobian's blocks, one `largest` deciding of what."""

    def __init__(self, values: Values, program: Any, largest: Largest, ranges: Ranges) -> None:
        self.values, self.program, self.ranges = values, program, ranges
        self.rests_on: set[Any] = set()
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
            case Value() if rest != node:
                return size * self.of(rest)
            case Diagonal():
                found = self.largest(rest.args[0])
                if not np.isfinite(found).all():
                    self.unbounded |= {value.name + ("_t-1" if value.lag else "") for value in unbounded_in(rest, self.ranges)}
                self.rests_on |= self.ranges.states_under(rest)
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


# ---- the largest value of a coefficient, whatever the inputs


def supremum_of(vector: Any, ranges: Ranges) -> float:
    """sup of the absolute value of the elements of a vector expression; infinity where nothing is known."""
    number, rest = coefficient(vector)
    found = max(abs(end) for end in ranges.of(rest))
    if isinstance(rest, Hadamard):
        found = min(found, *(grouped_supremum(rest, ranges, key) for key in (values_in, ranges.bases)))
    elif isinstance(rest, Plus):
        found = min(found, sum(supremum_of(term, ranges) for term in rest.args))
    return abs(float(number)) * found


def grouped_supremum(product: Any, ranges: Ranges, key: Callable[[Any], Any]) -> float:
    """sup of an elementwise product, group by group."""
    bound = 1.0
    for factors in ranges.groups(product, key):
        part = supremum_of(factors[0] if len(factors) == 1 else hadamard(*factors), ranges)
        bound = bound * part if bound and part else 0.0
    return bound if ranges.groups(product, key) else np.inf
