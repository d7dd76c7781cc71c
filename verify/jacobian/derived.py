"""Step Jacobians as the derived program has them, a sum of terms that keep their reasons: products with vectors, terms cut or kept.

A route is a way through the terms from a state before the step to a state after it; J is the sum over all routes. A path is a set
of marked terms. Cutting it leaves the routes that pass no marked term; keeping it alone leaves those that pass one: the two add up to J.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.blocks import Rows, Stack, rows, stack
from derive.expressions import is_timed, values_in
from derive.language import Diagonal, Identity, Plus, Times, Value, Zeros, coefficient, matmul, scale
from verify.jacobian.run import Array, Run
from verify.jacobian.values import Values

Mark = tuple[int, int, int]
"""A term of the Jacobian program: (which equation, which term, which summand of it)."""


@dataclass(frozen=True)
class Numbered:
    """A term, where it stands, and what it says."""

    mark: Mark
    target: Value
    value: Any
    reason: Any

    @property
    def block(self) -> Value | None:
        """The derivative that the term hands on; None where it reads the state before the step itself."""
        return next((value for value in values_in(self.value) if value.kind.startswith("jacobian")), None)

    @property
    def wrt(self) -> str:
        return self.target.kind.removeprefix("jacobian:")


def terms_of(run: Run) -> list[Numbered]:
    """Every term of every block of the derived Jacobian."""
    out = []
    for k, equation in enumerate(run.derivation.jacobian.equations):  # type: ignore[union-attr]
        if equation.target.kind.startswith("jacobian"):
            for j, term in enumerate(equation.terms):
                parts = enumerate(summands(term.value))
                out += [Numbered((k, j, i), equation.target, part, term.reason) for i, part in parts]
    return out


def summands(node: Any) -> list[Any]:
    """An expression as a sum of parts, each of which hands on one block, or reads the state before the step."""
    number, rest = coefficient(node)
    match rest:
        case Plus():
            parts = [part for term in rest.args for part in summands(term)]
        case Times():
            parts = [matmul(*rest.args[:-1], part) for part in summands(rest.args[-1])]
        case Rows():
            parts = [rows(part, *rest.args[1:]) for part in summands(rest.args[0])]
        case Stack():
            zeros = [Zeros(*part.shape) for part in rest.args]
            alone = [[stack(*zeros[:k], one, *zeros[k + 1 :]) for one in summands(part)] for k, part in enumerate(rest.args)]
            parts = [part for some in alone for part in some]
        case Zeros():
            parts = []
        case _:
            parts = [rest]
    return [scale(number, part) for part in parts]


def ends_of(derivation: Any) -> list[tuple[str, str, Value]]:
    """(state after, state before, block) of every result of the Jacobian program."""
    order = [state.name for state in derivation.cell.states]
    names = [(after, before) for after in order for before in order]
    return [(after, before, block) for (after, before), block in zip(names, derivation.jacobian.results, strict=True)]


def has_block(node: Any) -> bool:
    return any(value.kind.startswith("jacobian") for value in values_in(node))


class Derived:
    """`Steps` from the derived program. marked: the terms of a path; kept: whether that path alone is kept, or else cut."""

    def __init__(self, run: Run, values: Values | None = None, marked: frozenset[Mark] = frozenset(), kept: bool = False) -> None:
        self.run, self.values = run, values or evaluated(run)
        self.steps, self.batch, self.size = run.steps, run.batch, run.size
        self.marked, self.kept = marked, kept
        self.terms = terms_of(run)
        self.ends = ends_of(run.derivation)
        self.coefficients: dict[Any, Array] = {}

    def with_path(self, marked: frozenset[Mark], kept: bool) -> Derived:
        """The same step with a path cut, or kept alone; the values and coefficients are shared."""
        other = Derived(self.run, self.values, marked, kept)
        other.coefficients = self.coefficients
        return other

    # ---- J V

    def push(self, t: int, frame: Array) -> Array:
        """J V, (B, S, k)."""
        parts = self.run.split(frame, axis=-2)
        chosen = self.pushed(t, parts)
        out = {name: np.zeros_like(part) for name, part in parts.items()}
        for after, _, block in self.ends:
            out[after] += chosen[block]
        return np.concatenate(list(out.values()), axis=-2)

    def dense(self, start: int, stop: int) -> Array:
        """J of the steps start <= t < stop, (stop - start, B, S, S): each block times the identity of its own state, all steps at once."""
        sizes = self.run.sizes
        around = (stop - start, self.batch)
        chosen = self.pushed(slice(start, stop), {name: np.broadcast_to(np.eye(n), (*around, n, n)) for name, n in sizes.items()})
        out = np.zeros((*around, self.size, self.size))
        blocks = {name: self.run.split(rows, axis=-1) for name, rows in self.run.split(out, axis=-2).items()}  # views
        for after, before, block in self.ends:
            blocks[after][before] += chosen[block]
        return out

    def pushed(self, t: int | slice, parts: dict[str, Array]) -> dict[Value, Array | float]:
        """Each block of J times the part of its state; t: a step, or several, whose axis then leads."""
        total: dict[Value, Array | float] = defaultdict(float)
        through: dict[Value, Array | float] = defaultdict(float)
        for term in self.terms:
            marked = term.mark in self.marked
            if marked and not self.kept:
                continue
            whole = self.apply(term.value, t, parts[term.wrt], total)
            total[term.target] = total[term.target] + whole
            if self.kept and marked:
                through[term.target] += whole
            elif self.kept and term.block is not None and term.block in through:
                through[term.target] += self.apply(term.value, t, parts[term.wrt], through)
        return through if self.kept else total

    def apply(self, node: Any, t: int | slice, frame: Array, blocks: Any) -> Array | float:
        """A term times a frame, a block in it standing for its own product."""
        number, rest = coefficient(node)
        if number != 1:
            return float(number) * self.apply(rest, t, frame, blocks)
        match rest:
            case Value() if rest.kind.startswith("jacobian"):
                return blocks[rest]  # type: ignore[no-any-return]
            case Identity():
                return frame
            case Zeros():
                return 0.0
            case Plus():
                return sum(self.apply(part, t, frame, blocks) for part in rest.args)
            case Diagonal():
                return self.at(rest.args[0], t) * frame
            case Times():
                for factor in reversed(rest.args):
                    frame = self.apply(factor, t, frame, blocks)  # type: ignore[assignment]
                    if isinstance(frame, float):
                        return 0.0
                return frame
            case Rows() if has_block(rest):
                inner = self.apply(rest.args[0], t, frame, blocks)
                start, stop = (self.values.size(end) for end in rest.args[1:])
                return inner if isinstance(inner, float) else inner[..., start:stop, :]
            case Stack():
                heights = [self.values.size(part.shape[0]) for part in rest.args]
                zeros = [np.zeros((*frame.shape[:-2], height, frame.shape[-1])) for height in heights]
                parts = zip(rest.args, zeros, strict=True)
                return np.concatenate([zero + self.apply(part, t, frame, blocks) for part, zero in parts], axis=-2)
        return self.at(rest, t) @ frame

    def at(self, node: Any, t: int | slice) -> Array:
        """The coefficient at one step, (B, n, 1) or (n, m), or at several."""
        if node not in self.coefficients:
            self.coefficients[node] = self.values.of(node)
        array = self.coefficients[node]
        return array[t] if is_timed(node) else array

    # ---- Jᵀ W

    def pull(self, t: int, frame: Array) -> Array:
        """Jᵀ W, (B, S, k)."""
        after = self.run.split(frame, axis=-2)
        total: dict[Value, Array] = {}
        through: dict[Value, Array] = {}
        out = {name: np.zeros_like(part) for name, part in after.items()}
        for name, _, block in self.ends:
            gather(through if self.kept else total, block, after[name])
        for term in reversed(self.terms):
            marked = term.mark in self.marked
            if marked and not self.kept:
                continue
            if term.target in total:
                self.hand_down(term, t, total[term.target], total, out)
            if term.target in through and marked:
                self.hand_down(term, t, through[term.target], total, out)
            elif term.target in through and term.block is not None:
                self.hand_down(term, t, through[term.target], through, out)
        return np.concatenate(list(out.values()), axis=-2)

    def hand_down(self, term: Numbered, t: int, cotangent: Array, blocks: dict[Value, Array], out: dict[str, Array]) -> None:
        """What a term hands to the block that it reads, or to the state before the step."""
        direct = self.adjoint(term.value, t, cotangent, blocks)
        if direct is not None:
            out[term.wrt] = out[term.wrt] + direct

    def adjoint(self, node: Any, t: int, cotangent: Array, blocks: dict[Value, Array]) -> Array | None:
        """The transpose of a term times a cotangent: given to a block where there is one, else returned."""
        number, rest = coefficient(node)
        cotangent = cotangent if number == 1 else float(number) * cotangent
        match rest:
            case Value() if rest.kind.startswith("jacobian"):
                gather(blocks, rest, cotangent)
                return None
            case Identity():
                return cotangent
            case Zeros():
                return None
            case Diagonal():
                return self.at(rest.args[0], t) * cotangent
            case Times():
                for factor in rest.args:
                    down = self.adjoint(factor, t, cotangent, blocks)
                    if down is None:
                        return None
                    cotangent = down
                return cotangent
            case Plus():
                return summed([self.adjoint(part, t, cotangent, blocks) for part in rest.args])
            case Rows() if has_block(rest):
                start, stop = (self.values.size(end) for end in rest.args[1:])
                padded = np.zeros((*cotangent.shape[:-2], self.values.size(rest.args[0].shape[0]), cotangent.shape[-1]))
                padded[..., start:stop, :] = cotangent
                return self.adjoint(rest.args[0], t, padded, blocks)
            case Stack():
                ends = np.cumsum([self.values.size(part.shape[0]) for part in rest.args])[:-1]
                pieces = np.split(cotangent, ends, axis=-2)
                return summed([self.adjoint(part, t, piece, blocks) for part, piece in zip(rest.args, pieces, strict=True)])
        return self.at(rest, t).swapaxes(-1, -2) @ cotangent


def gather(store: dict[Value, Array], key: Value, piece: Array) -> None:
    store[key] = store[key] + piece if key in store else piece


def summed(parts: list[Array | None]) -> Array | None:
    there = [part for part in parts if part is not None]
    return sum(there[1:], there[0]) if there else None


def evaluated(run: Run) -> Values:
    """The numbers of everything that the Jacobian's terms are made of."""
    values = Values(run)
    derivation: Any = run.derivation
    values.add(derivation.forward.equations)
    values.add(equation for equation in derivation.jacobian.equations if not equation.target.kind.startswith("jacobian"))
    return values


def dense(steps: Derived) -> Array:
    """All step Jacobians as arrays, (T, B, S, S)."""
    return steps.dense(0, steps.steps)
