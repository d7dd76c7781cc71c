"""Step Jacobians whose blocks are sums of matrices with scaled rows, diag(a) M + diag(b) N + ... + diag(d): most cells'.

Derived from the program, such a step costs one small matrix product for each row and all steps at once, and a frame is multiplied by its
full columns only; what is diagonal stays a vector. Where a block isn't of this form there is no `RowScaled`, and `Dense` serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from derive.language import Value, hadamard
from verify.jacobian.derived import Step, chained
from verify.jacobian.maps import Elementwise, Number, as_column
from verify.jacobian.run import Array, Run
from verify.jacobian.steps import CHUNK
from verify.jacobian.summands import Chain, Summand, after_step, before_step, is_still, summands_of
from verify.jacobian.values import Values


@dataclass(frozen=True)
class Scaled:
    """number diag(rows) matrix; rows None for 1, matrix without maps for the identity."""

    number: Any
    rows: Any
    matrix: Chain


def scaled_terms(summands: tuple[Summand, ...], before: Value) -> dict[Value, list[Scaled] | None]:
    """Every tangent that is moved by one before the step as such a sum of it; None where it isn't one."""
    found: dict[Value, list[Scaled] | None] = {before: [Scaled(sp.S.One, None, ())]}
    for one in summands:
        if one.read in found:
            inner, there = found[one.read], found.get(one.target, [])
            more = None if inner is None else scaled(one.chain, inner)
            found[one.target] = None if more is None or there is None else there + more
    return found


def scaled(chain: Chain, inner: list[Scaled]) -> list[Scaled] | None:
    """Maps of such a sum: products element by element scale rows; a matrix is one that is the same at every step, of unscaled rows."""
    number, rows = sp.S.One, None
    still = next((k for k, one in enumerate(chain) if not isinstance(one, (Number, Elementwise))), len(chain))
    for one in chain[:still]:
        number *= one.factor if isinstance(one, Number) else 1
        rows = both(rows, one.factor) if isinstance(one, Elementwise) else rows
    matrix = chain[still:]
    if matrix and not (is_still(matrix) and all(one.is_of_columns for one in matrix) and all(i.rows is None for i in inner)):
        return None
    return [Scaled(number * i.number, both(rows, i.rows), matrix + i.matrix) for i in inner]


def both(first: Any, second: Any) -> Any:
    return second if first is None else first if second is None else hadamard(first, second)


@dataclass
class Column:
    """What all states receive from one: coefficients (R, T B, G) and matrices (R, G, m) of the R rows that have a full part, the places
    of these rows in the joint state, and the diagonals (T, B, A, m, 1) of A states side by side, with the place of these."""

    coefficients: Array
    matrices: Array
    places: Array
    diagonals: list[tuple[slice, Array]]


class RowScaled:
    """`Steps` of this form."""

    def __init__(self, run: Run, terms: dict[tuple[str, str], list[Scaled]], values: Values) -> None:
        self.run, self.values = run, values
        self.steps, self.batch, self.size = run.steps, run.batch, run.size
        ends = np.cumsum([0, *run.sizes.values()])
        self.where = {name: slice(a, b) for name, a, b in zip(run.sizes, ends, ends[1:], strict=False)}
        self.columns = {name: self.column(name, {after: terms[after, name] for after in run.sizes}) for name in run.sizes}
        width = max(1, self.batch * sum(len(c.places) * c.matrices.shape[-1] for c in self.columns.values()))
        self.chunk = max(1, CHUNK // width)
        shapes = {
            name: (len(c.places), min(self.chunk, self.steps) * self.batch, self.run.sizes[name])
            for name, c in self.columns.items()
        }
        self.room = {name: np.empty(shape) for name, shape in shapes.items()}
        self.there = -1

    def column(self, before: str, terms: dict[str, list[Scaled]]) -> Column:
        full = {after: [term for term in some if term.matrix] for after, some in terms.items()}
        with_full = [after for after, some in full.items() if some]
        most = max([len(some) for some in full.values()], default=0)
        n, m = self.run.sizes, self.run.sizes[before]
        R = sum(n[after] for after in with_full)
        coefficients, matrices = np.zeros((R, self.steps * self.batch, most)), np.zeros((R, most, m))
        start = 0
        for after in with_full:
            stop = start + n[after]
            for g, term in enumerate(full[after]):
                coefficients[start:stop, :, g] = self.vector(term, n[after]).reshape(-1, n[after]).T
                matrices[start:stop, g] = self.matrix(term, m)
            start = stop
        places = np.concatenate([np.arange(self.size)[self.where[after]] for after in with_full] or [np.arange(0)])
        beside: list[tuple[int, list[Array]]] = []  # (where they start, diagonals of states that stand side by side)
        for after, some in terms.items():
            alone = [self.vector(term, n[after]) for term in some if not term.matrix]
            if not alone:
                continue
            start = self.where[after].start
            if not beside or beside[-1][0] + m * len(beside[-1][1]) != start:
                beside.append((start, []))
            beside[-1][1].append(sum(alone[1:], alone[0]))
        diagonals = [(slice(start, start + m * len(some)), np.stack(some, axis=2)) for start, some in beside]
        return Column(coefficients, matrices, places, diagonals)

    def vector(self, term: Scaled, size: int) -> Array:
        """The scaling of the rows, (T, B, n, 1)."""
        array = np.ones((size, 1)) if term.rows is None else as_column(self.values.of(term.rows))
        return self.values.number(term.number) * np.broadcast_to(array, (self.steps, self.batch, size, 1))

    def matrix(self, term: Scaled, size: int) -> Array:
        """What a unit vector of each of `size` components becomes, (n, size)."""
        return chained(term.matrix, np.eye(size), Step(self.values, 0))

    def full(self, t: int) -> dict[str, Array]:
        """The full columns of J at one step, {state before: (B, R, m)}.

        Some steps at a time, one product for each row, always in the same room: that costs a fraction of a product with a frame, and
        less than keeping them would.
        """
        start = t - t % self.chunk
        if start != self.there:
            self.there = start
            stop = min(start + self.chunk, self.steps)
            for name, column in self.columns.items():
                some = column.coefficients[:, start * self.batch : stop * self.batch]
                np.matmul(some, column.matrices, out=self.room[name][:, : (stop - start) * self.batch])
        inside = slice((t - start) * self.batch, (t - start + 1) * self.batch)
        return {name: array[:, inside].swapaxes(0, 1) for name, array in self.room.items()}

    def push(self, t: int, frame: Array) -> Array:
        full = self.full(t)
        whole = [name for name, column in self.columns.items() if len(column.places) == self.size]
        products = [full[name] @ frame[:, self.where[name]] for name in whole]
        out: Array = sum(products[1:], products[0]) if products else np.zeros((self.batch, self.size, frame.shape[-1]))
        for name, column in self.columns.items():
            part = frame[:, self.where[name]]
            if name not in whole and len(column.places):
                out[:, column.places] += full[name] @ part
            for place, diagonals in column.diagonals:
                beside = out[:, place].reshape(self.batch, -1, *part.shape[1:])  # a view
                beside += diagonals[t] * part[:, None]
        return out

    def pull(self, t: int, frame: Array) -> Array:
        out = np.zeros((self.batch, self.size, frame.shape[-1]))
        for name, full in self.full(t).items():
            column, part = self.columns[name], out[:, self.where[name]]
            if len(column.places):
                part += full.swapaxes(-1, -2) @ (frame if len(column.places) == self.size else frame[:, column.places])
            for place, diagonals in column.diagonals:
                beside = frame[:, place].reshape(self.batch, -1, *part.shape[1:])
                part += (diagonals[t] * beside).sum(axis=1)
        return out


@lru_cache(maxsize=16)
def terms_by_ends(derivation: Any) -> dict[tuple[str, str], list[Scaled] | None]:
    """The terms of every block, by (state after, state before): the same for every run of a cell."""
    states = derivation.cell.states
    found = {before.name: scaled_terms(summands_of(derivation), before_step(before)) for before in states}
    return {(after.name, before.name): found[before.name].get(after_step(after), []) for after in states for before in states}


def row_scaled(run: Run, values: Values | None) -> RowScaled | None:
    """The steps of a run in this form; None where a block isn't of it, or where there is no derived program."""
    if values is None:
        return None
    terms = terms_by_ends(run.derivation)
    if any(some is None for some in terms.values()):
        return None
    return RowScaled(run, terms, values)  # type: ignore[arg-type]
