"""The search for a cause: which edit of the derived program gives the gradients that came, to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from derive.equation import Term
from derive.language import hadamard, scale
from derive.program import Program
from verify.axes import length_of
from verify.data import Data
from verify.edits.edit import Edit, edited
from verify.edits.elsewhere import weight
from verify.edits.run import Trial
from verify.edits.sums import cuts
from verify.edits.table import backward_edits, once
from verify.evidence import Array
from verify.gradients import norm, relative
from verify.kernel import Kernel
from verify.model import block_of

FITS = 1e-6
"""A cause fits where it explains a block to this part of its size."""
ACCOUNTS = 1e-3
"""And where what is left is at most this part of the disagreement."""
SAME = 1e-9
"""Blocks that agree up to this don't differ: rounding takes less, on data that were settled."""
LONG = 12
"""On data of more steps only the cuts of the recurrence are tried, and everything on the first few of them."""
SHORT = 5
FEW = 5
"""Edits that explain the first steps are held against all of them, so many at most."""

Gradients = Mapping[str, Array]


@dataclass(frozen=True)
class Fit:
    """An edit and what it accounts for: blocks that it explains to the last digit, blocks that it would spoil, and which part of the
    disagreement it takes away, summed over the blocks.
    """

    edit: Edit
    explained: frozenset[str]
    spoiled: frozenset[str]
    share: float
    order: int = 0

    def explains(self, blocks: Iterable[str]) -> bool:
        return not self.spoiled and self.explained >= set(blocks)


@dataclass
class Search:
    """The edits of a derived program on one set of data: run once, held against as many kernels as one likes.

    pieces: of how many steps those are in which a recurrence is cut, on long data, where nothing else is tried. needed: blocks that are
    to be explained all: edits that don't reach one of them aren't tried.
    """

    trial: Trial
    data: Data
    progress: Callable[[str], None] = field(default=lambda what: None, repr=False)
    pieces: tuple[int, ...] = ()
    needed: frozenset[str] = frozenset()
    _first: dict[int, Search] = field(default_factory=dict, repr=False)
    _cut: dict[tuple[int, ...], Search] = field(default_factory=dict, repr=False)

    @property
    def steps(self) -> int:
        return self.data.steps

    @property
    def short(self) -> Search | None:
        """On long data the search on their first steps, where everything is tried."""
        return self.first(SHORT) if self.steps > LONG else None

    def first(self, steps: int) -> Search:
        """The search on the first steps of the data."""
        if steps not in self._first:
            some: Any = {"inputs": self.data.inputs, "cotangents": self.data.cotangents}
            cut: Any = {part: {name: array[:steps] for name, array in arrays.items()} for part, arrays in some.items()}
            data = replace(self.data, **cut, steps=steps)
            trial = Trial(self.trial.model, self.trial.dims, data, data.cotangents, self.trial.program)
            self._first[steps] = Search(trial, data, self.progress)
        return self._first[steps]

    def cut_for(self, kernel: Kernel) -> Search:
        """On long data the search for a recurrence that is cut in pieces as long as the longest run on which a kernel is right, or by one
        longer where a start gets nothing of the last piece, or that leaves out as many steps as inputs get nothing at. Initial states
        don't count, which may get nothing however long the run is.
        """
        if self.steps <= LONG:
            return self
        right, wrong = 0, self.steps
        while wrong - right > 1:
            middle = (right + wrong) // 2
            one = self.first(middle)
            differs = any(not block.startswith("initial ") for block in one.differing(kernel.gradients(one.data)))
            right, wrong = (right, middle) if differs else (middle, wrong)
        axes = dict.fromkeys(axis for equation in self.trial.program.equations for axis in equation.target.along)
        lengths = {length_of(axis, right) + more for axis in axes for more in (0, 1)} if right else set()
        pieces = tuple(sorted(lengths | {left_out(kernel.gradients(self.data), self.trial.gradients)} - {0}))
        return self._cut.setdefault(pieces, replace(self, pieces=pieces, _first=self._first))

    @property
    def tried(self) -> int:
        """How many edits were."""
        return sum(len(one.__dict__.get("table", ())) for one in (self, *self._cut.values()))

    @property
    def forward(self) -> Program:
        return self.trial.model.derivation.forward

    def edits(self) -> Iterator[Edit]:
        program, forward = self.trial.program, self.forward
        found = once(cuts(program, forward, self.pieces)) if self.steps > LONG else backward_edits(program, forward)
        yield from (edit for edit in found if not self.needed or self.needed <= self.trial.reached(edit))

    @cached_property
    def table(self) -> list[tuple[Edit, dict[str, Array]]]:
        """Every edit with the gradients that it changes."""
        found = []
        with np.errstate(all="ignore"):
            for k, edit in enumerate(self.edits()):
                if k % 200 == 0:
                    self.progress(f"causes: {k} tried")
                try:
                    found.append((edit, self.trial.run(edit)))
                except (KeyError, ValueError):
                    continue  # it reads what isn't there
        return found

    @cached_property
    def stacked(self) -> dict[str, tuple[Array, Array]]:
        """block -> (which edits change it, what each of them makes of it, one a row)."""
        right = self.trial.gradients
        found = {}
        for block, array in right.items():
            rows = [(k, new[block]) for k, (_, new) in enumerate(self.table) if block in new and new[block].shape == array.shape]
            if rows:
                found[block] = np.array([k for k, _ in rows]), np.array([one.ravel() for _, one in rows])
        return found

    # ---- against one kernel

    def differing(self, got: Gradients) -> list[str]:
        """The blocks that aren't as derived."""
        right = self.trial.gradients
        return [block for block in right if block in got and not relative(got[block], right[block]) <= SAME]

    def fits(self, got: Gradients) -> list[Fit]:
        """Edits by how much they explain: everything first, then the more blocks, then the larger part of the disagreement; among equals
        the one of fewest places, then the one that comes first in the table.
        """
        right = self.trial.gradients
        wrong = self.differing(got)
        apart = {block: norm(got[block] - right[block]) for block in wrong if got[block].shape == right[block].shape}
        if len(apart) < len(wrong) or not np.isfinite(list(apart.values())).all() or not apart:
            return []
        count = len(self.table)
        explained = {block: np.zeros(count, bool) for block in apart}
        spoiled: dict[str, Array] = {}
        share = np.zeros(count)
        with np.errstate(all="ignore"):
            for block, (which, rows) in self.stacked.items():
                if block not in got or got[block].shape != right[block].shape:
                    continue
                left = np.sqrt(((rows - got[block].ravel()) ** 2).sum(axis=1))
                if block in apart:
                    share[which] += np.nan_to_num(np.maximum(-1.0, 1 - left / apart[block]), nan=-1.0)
                    size = np.maximum(np.sqrt((rows**2).sum(axis=1)), norm(right[block]))
                    explained[block][which] = left <= np.minimum(ACCOUNTS * apart[block], FITS * size)
                else:
                    spoiled[block] = np.zeros(count, bool)
                    spoiled[block][which] = ~(left <= SAME * norm(right[block]))
        share -= sum(one.astype(float) for one in spoiled.values())
        worth = np.flatnonzero((share > 0) | np.any(list(explained.values()), axis=0))
        found = [
            Fit(
                self.table[k][0],
                frozenset(block for block, has in explained.items() if has[k]),
                frozenset(block for block, has in spoiled.items() if has[k]),
                float(share[k]),
                int(k),
            )
            for k in worth
        ]
        return sorted([*self.fitted(got, apart), *found], key=rank)

    def fits_at_first(self, got: Gradients, kernel: Kernel) -> list[Fit]:
        """On long data: the edits that explain their first steps, as what they explain of them all."""
        if self.short is None:
            return []
        first = self.short.fits(kernel.gradients(self.short.data))[:FEW]
        right = self.trial.gradients
        found = []
        for one in first:
            new = self.trial.run(one.edit)
            left = {b: norm(got[b] - new.get(b, right[b])) for b in right if b in got and got[b].shape == right[b].shape}
            apart = {b: norm(got[b] - right[b]) for b in left}
            wrong = set(self.differing(got))
            explained = frozenset(b for b in left if b in wrong and left[b] <= ACCOUNTS * apart[b])
            spoiled = frozenset(b for b in left if b not in wrong and not left[b] <= SAME * norm(right[b]))
            found.append(replace(one, explained=explained, spoiled=spoiled))
        return found

    def fitted(self, got: Gradients, apart: Mapping[str, float]) -> Iterator[Fit]:
        """Blocks that are a multiple of what is right."""
        right, program = self.trial.gradients, self.trial.program
        for k, equation in enumerate(program.equations):
            blocks = self.trial.makes[block_of(equation.target)] if equation.target in program.results else []
            alone = len(blocks) == 1 and sum(blocks[0] in some for some in self.trial.makes.values()) == 1
            block = blocks[0] if alone else ""
            if block not in apart or equation.factor is not None or right[block].size == 1:  # any number is a multiple of another
                continue
            along = float((right[block] * got[block]).sum() / max((right[block] ** 2).sum(), np.finfo(float).tiny))
            left = norm(got[block] - along * right[block])
            if not left <= min(ACCOUNTS * apart[block], FITS * norm(right[block])) or abs(along + 1) < SAME or abs(along) < SAME:
                continue
            if block.startswith("initial "):
                end = "last" if self.trial.model.end_of(equation.target, program) else "first"
                terms = [Term(hadamard(weight(f"{end} times {along!r}", t.value), t.value), t.reason) for t in equation.terms]
            else:
                terms = [Term(scale(sp.Float(along, 17), term.value), term.reason) for term in equation.terms]
            said = f"scaled by {along:.9g}: the gradient of {block}"
            for edit in edited("scaled", said, program, {k: replace(equation, terms=tuple(terms))}, 1):
                yield Fit(edit, frozenset([block]), frozenset(), 1 - left / apart[block], len(self.table))


def left_out(got: Gradients, right: Gradients) -> int:
    """At how many of the first steps, or of the last ones, some input gets nothing where it should."""
    for block in (one for one in right if one.startswith("input ") and one in got and got[one].shape == right[one].shape):
        lacks = [(here == 0).all() and (there != 0).any() for here, there in zip(got[block], right[block], strict=True)]
        for steps in (lacks, lacks[::-1]):
            if steps and steps[0] and not all(steps):
                return steps.index(False)
    return 0


def rank(fit: Fit) -> tuple[float, ...]:
    """What sorts fits, the best first."""
    return 2 * len(fit.spoiled) - len(fit.explained), -round(fit.share, 6), fit.edit.places, fit.order
