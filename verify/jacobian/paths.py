"""Which path carries the product: each gate, each carousel, each parameter that a derivative passes, cut alone and kept alone.

Paths are found in the derived Jacobian, by the reasons and the shape of its terms; no cell and no symbol is named here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.comparisons import Maximum, Minimum
from derive.expressions import values_in
from derive.functions import sigma
from derive.language import Apply, Ones, X, add, hadamard, scale
from derive.notation import Notation
from derive.rules import JVP, identity_of
from derive.shapes import STEPS
from verify.jacobian.derived import Derived
from verify.jacobian.maps import Elementwise, Number
from verify.jacobian.norms import log_norms, log_norms_from_frames
from verify.jacobian.run import Array, Run
from verify.jacobian.summands import Mark, Summand, after_step, before_step, is_elementwise, summands_of
from verify.jacobian.sweeps import Watch, quiet

EXACT = 256
"""Up to this size the norms of a path are those of its whole product; above, they come from frames."""


QUICK = 80
"""Up to this size the norms of paths come from all singular values; above, from Lanczos steps, which is quicker from here on."""

ROUGH = 1e-5
"""How far off the norms of paths are at most then, relative: 5e-6 decades."""

AT_ONCE = 2**21
"""How many numbers of a path's step Jacobians are made at once."""


@dataclass(frozen=True)
class Path:
    """A set of terms of the derived Jacobian. kind: `through` a value of the cell, `carousel`, or `parameter`."""

    name: str
    kind: str
    marks: frozenset[Mark]
    terms: tuple[Summand, ...]


@dataclass(frozen=True)
class PathNorms:
    """A path and the norms by lag of the product without it and with it alone, natural logs, (T, B)."""

    path: Path
    cut: Array
    kept: Array


def paths_of(run: Run) -> list[Path]:
    """The paths of a cell, those that leave the same routes only once."""
    terms = summands_of(run.derivation)
    cell: Any = run.derivation.cell  # type: ignore[union-attr]
    wanted = [*through_values(terms, cell), *carousels(terms, cell), *through_parameters(terms, cell)]
    found: list[Path] = []
    seen: list[Array] = []
    for name, kind, chosen in wanted:
        marks = frozenset(term.mark for term in chosen)
        weight = route_weights(run, terms, marks)
        if np.any(weight) and not any(np.allclose(weight, other, rtol=1e-12) for other in seen):
            found.append(Path(name, kind, marks, tuple(chosen)))
            seen.append(weight)
    return found


Candidate = tuple[str, str, list[Summand]]


def through_values(terms: Sequence[Summand], cell: Any) -> list[Candidate]:
    """Everything that reaches a state through one named value, such as a gate; first those that lie along T alone, so that what attention
    gives stands for the weights and scores that it comes of."""
    states = {state.name for state in cell.states}
    targets = sorted(cell.targets, key=lambda target: target.along != (STEPS,))
    names = [target.name for target in targets if target.name not in states]
    return [(name, "through", [term for term in terms if term.name == name]) for name in names]


def carousels(terms: Sequence[Summand], cell: Any) -> list[Candidate]:
    """A state that is carried over element by element, past every function: the constant error carousel, where the factor is 1."""
    states = {state.name for state in cell.states}
    by_name: dict[str, list[Summand]] = defaultdict(list)
    for term in terms:
        if term.name in states and term.is_direct and carried(term):
            name = term.name if term.read.name == term.name else f"{term.name} from {term.read.name}"
            by_name[f"carousel {name}"].append(term)
    return [(name, "carousel", chosen) for name, chosen in by_name.items()]


def carried(term: Summand) -> bool:
    """Whether a term is a product element by element and doesn't come from the derivative of a function."""
    links = term.reason.links() if term.reason is not None else ()
    functions = {identity_of(JVP[kind]) for kind in (Apply, Maximum, Minimum)}
    through_function = any(link.rule in functions for link in links)
    return is_elementwise(term.chain) and not through_function


def through_parameters(terms: Sequence[Summand], cell: Any) -> list[Candidate]:
    """Everything that passes one parameter: a recurrent matrix, a peephole."""
    names = [value.name for value in cell.parameters]
    reads = {term.mark: {value.name for value in values_in(term.value) if not value.timed} for term in terms}
    return [(name, "parameter", [term for term in terms if name in reads[term.mark]]) for name in names]


def route_weights(run: Run, terms: Sequence[Summand], marks: frozenset[Mark]) -> Array:
    """A fingerprint of the routes that pass a marked term, by result: each term a random number, each route their product."""
    rng = np.random.default_rng(7)
    states = run.derivation.cell.states  # type: ignore[union-attr]
    found = []
    for before in states:
        total: dict[Any, float] = defaultdict(float, {before_step(before): 1.0})
        through: dict[Any, float] = defaultdict(float)
        for term, weight in zip(terms, rng.uniform(1, 2, len(terms)), strict=True):
            total[term.target] += weight * total[term.read]
            through[term.target] += weight * (total if term.mark in marks else through)[term.read]
        found += [through[after_step(after)] for after in states]
    return np.array(found)


def path_norms(steps: Derived, paths: Iterable[Path], seed: int = 0, watch: Watch = quiet) -> list[PathNorms]:
    """The norms by lag of the product with each path cut, and with it alone."""

    def norms(one: Derived) -> Array:
        if one.size <= EXACT:
            return log_norms(Cached(one), watch, QUICK, ROUGH)
        return log_norms_from_frames(one, seed=seed, watch=watch)

    return [PathNorms(p, norms(steps.with_path(p.marks, False)), norms(steps.with_path(p.marks, True))) for p in paths]


class Cached:
    """The steps of a path as arrays, some steps at a time, so that the whole product costs one matrix product a step."""

    def __init__(self, steps: Derived) -> None:
        self.inner = steps
        self.steps, self.batch, self.size = steps.steps, steps.batch, steps.size
        along = [steps.run.dims[axis] for axis in steps.run.other_axes]
        self.chunk = max(1, AT_ONCE // (steps.batch * steps.size**2 * max([1, *along])))
        self.start, self.some = -1, np.zeros(0)

    def jacobian(self, t: int) -> Array:
        """J of one step, (B, S, S)."""
        start = t - t % self.chunk
        if start != self.start:
            self.start, self.some = start, self.inner.dense(start, min(start + self.chunk, self.steps))
        one: Array = self.some[t - start]
        return one

    def push(self, t: int, frame: Array) -> Array:
        return self.jacobian(t) @ frame

    def pull(self, t: int, frame: Array) -> Array:
        return self.jacobian(t).swapaxes(-1, -2) @ frame


# ---- what the documents leave out


@dataclass(frozen=True)
class Approximation:
    """A formula that leaves routes out, held against the whole.

    errors: Frobenius norm of (approximate - true product) over that of the true one, by lag, (T,), mean of the batch; None at
    a lag where the true product is 0. worst_step: the step (1..T) whose own Jacobian it gets most wrong, and by how much.
    """

    name: str
    says: str
    errors: tuple[float | None, ...]
    worst_step: int
    worst_error: float


def gates_of(run: Run) -> list[str]:
    """The values that are a logistic function of something, so lie between 0 and 1."""
    cell: Any = run.derivation.cell  # type: ignore[union-attr]
    return [target.name for target, right in cell.equations if isinstance(right, Apply) and right.scalar == sigma(X)]


def approximations(run: Run, steps: Derived, paths: list[Path]) -> list[Approximation]:
    """The two approximations of the documents, as far as the cell has what they speak of."""
    out, whole = [], Cached(steps)
    for path in [p for p in paths if p.kind == "carousel"]:
        state = path.terms[0].name
        if path.terms[0].read.name == state:
            factor = run.derivation.notation().formula(carousel_of(path))  # type: ignore[union-attr]
            says = f"the gradient of {state} passes through its carousel only: dE/d{state}_t-1 = ({factor}) ∘ dE/d{state}_t"
            alone = steps.with_path(path.marks, True)
            out.append(approximation(f"carousel only, {state}", says, whole, Cached(alone), part_of(run, state)))
    gates = set(gates_of(run))
    marks = frozenset(term.mark for term in steps.summands if term.name in gates)
    if marks:
        says = f"d(states)_t/d(states)_t-1 with {', '.join(sorted(gates))} held constant"
        out.append(approximation("gates constant", says, whole, Cached(steps.with_path(marks, False)), slice(None)))
    return out


def part_of(run: Run, state: str) -> slice:
    start = 0
    for name, size in run.sizes.items():
        if name == state:
            return slice(start, start + size)
        start += size
    return slice(None)


def approximation(name: str, says: str, exact: Cached, rough: Cached, part: slice) -> Approximation:
    """How far products and steps differ, on the rows and columns of one part of the state."""
    whole = np.broadcast_to(np.eye(exact.size)[:, part], (exact.batch, exact.size, len(range(exact.size)[part])))
    less = whole
    errors: list[float | None] = []
    by_step = np.zeros(exact.steps)
    for lag in range(1, exact.steps + 1):
        t = exact.steps - lag
        one, near = (steps.jacobian(t)[:, part].swapaxes(-1, -2) for steps in (exact, rough))
        by_step[t] = relative(one, near, part) or 0.0
        whole, less = exact.pull(t, whole), rough.pull(t, less)
        largest = np.maximum(np.abs(whole).max(axis=(-1, -2), keepdims=True), np.abs(less).max(axis=(-1, -2), keepdims=True))
        whole, less = (frame / np.where(largest > 0, largest, 1) for frame in (whole, less))
        errors.append(relative(whole, less, part))
    worst = int(by_step.argmax())
    return Approximation(name, says, tuple(errors), worst + 1, float(by_step[worst]))


def relative(true: Array, other: Array, part: slice) -> float | None:
    """Frobenius norm of the difference over that of the true one, mean of the batch; None where that is 0."""
    size = np.sqrt((true[:, part] ** 2).sum(axis=(-1, -2)))
    apart = np.sqrt(((other - true)[:, part] ** 2).sum(axis=(-1, -2)))
    return float((apart / size).mean()) if (size > 1e-150).all() else None


# ---- in words


def carousel_of(path: Path) -> Any:
    """What a state is multiplied by, element by element, in a carousel."""
    return add(*[coefficient_of(term) for term in path.terms])


def coefficient_of(term: Summand) -> Any:
    """What an elementwise term multiplies the tangent by that it reads."""
    number = sp.Mul(*[one.factor for one in term.chain if isinstance(one, Number)])
    factors = [one.factor for one in term.chain if isinstance(one, Elementwise)]
    return scale(number, hadamard(*factors) if factors else Ones(*term.read.shape))


def described(run: Run, path: Path) -> list[dict[str, str]]:
    """The terms of a path with the block they stand in and their reasons."""
    notation: Notation = run.derivation.notation()  # type: ignore[union-attr]
    return [
        {
            "block": notation.value(term.target),
            "term": notation.formula(term.value),
            "equation": term.reason.equation.name if term.reason and term.reason.equation is not None else "",
            "rule": term.reason.rule if term.reason else "",
        }
        for term in path.terms
    ]
