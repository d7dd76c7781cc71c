"""The likely cause of a wrong gradient, found by trying: which slip turns the right gradients into the ones that came."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from verify.block_cause import FITS, fits, shifted, simple, single, step_parts, truncation
from verify.edits.edit import Edit
from verify.edits.run import Trial
from verify.edits.words import EditNotation, described, formulas
from verify.evidence import Array, Evidence
from verify.forward_cause import ForwardFault, forward_fault, same_forward
from verify.gradients import expected_gradient, norm, relative, step_gradients
from verify.kernel import Kernel
from verify.search import Fit, Search

if TYPE_CHECKING:
    from verify.model import Model

WORTH = 2
"""How many edits that explain only a part are tried together with a second one."""


@dataclass(frozen=True)
class Explanation:
    """What explains a disagreement: one edit or two, and the blocks that they account for to the last digit. tried: how many were."""

    edits: tuple[Edit, ...]
    explained: frozenset[str]
    tried: int
    forward: ForwardFault | None = None


@dataclass(eq=False)
class Inquiry:
    """A kernel whose gradients differ from the evidence at hand.

    long: data of T >= 40 for the recurrence. model: the cell that the kernel is, or is held against. others: cells of its names, asked
    where the model isn't known. known: the search on these data, where it was made for another kernel already. together: how many
    edits that explain a part are tried with a second one. again: other data on which it fails, where a slip has to be the cause too.
    """

    evidence: Evidence
    long: list[Evidence]
    model: Model | None = None
    others: Iterable[Model] = ()
    progress: Callable[[str], None] = field(default=lambda what: None, repr=False)
    known: Search | None = field(default=None, repr=False)
    together: int = WORTH
    again: Sequence[Evidence] = ()

    @property
    def kernel(self) -> Kernel:
        return self.evidence.kernel

    @cached_property
    def whole(self) -> dict[str, Array]:
        """The kernel's gradients, of all examples."""
        return self.kernel.gradients(self.evidence.data)

    @cached_property
    def got(self) -> dict[str, Array]:
        return {b: a if b in self.evidence.data.parameters else self.cropped(a, b) for b, a in self.whole.items()}

    def cropped(self, array: Array, block: str) -> Array:
        count = self.evidence.examples
        return array[:, :count] if block.startswith("input ") else array[:count]

    @cached_property
    def expected(self) -> dict[str, Array]:
        data = self.evidence.data
        return {block: expected_gradient(block, self.evidence, data.cotangents)[0] for block in data.flat()}

    def differs(self, block: str) -> bool:
        return block not in self.got or not relative(self.got[block], self.expected[block]) <= 1e-9

    def cause(self, block: str) -> str:
        """What fits, in words; empty where nothing that was tried does."""
        if block not in self.got:
            return "missing gradient: backward doesn't return it"
        found = self.explanation
        if found is not None and block in found.explained:
            return self.said(found)
        recurrent = self.recurrence.get(block, "")
        return recurrent or simple(self.got[block], self.expected[block], self.evidence.data) or self.of_block(block)

    # ---- edits of the derived cell

    @cached_property
    def notation(self) -> EditNotation:
        model = self.model or self.elsewhere[1]
        assert model is not None
        return model.derivation.notation(EditNotation)  # type: ignore[return-value]

    def said(self, found: Explanation) -> str:
        if found.forward is not None:
            return found.forward.said
        return "; and ".join(described(edit, self.notation) for edit in found.edits)

    def headline(self, found: Explanation) -> str:
        """What was done, without the equations."""
        edits = found.edits if found.forward is None else (found.forward.edit,)
        said = "; and ".join(edit.said for edit in edits)
        if found.forward is None:
            return said
        names = "" if self.model is not None else f" (its names are those of `{found.forward.command}`)"
        return f"forward: {said}{names}"

    def formulas(self, found: Explanation) -> list[str]:
        """The equations of an explanation, as they are and as they were computed."""
        edits = found.edits if found.forward is None else (found.forward.edit,)
        return [line for edit in edits for line in formulas(edit, self.notation)]

    def equations_of(self, block: str) -> list[str]:
        """The derived equation of a block and that of the gradient which it needs last: what to look at where no cause is known."""
        if self.model is None:
            return []
        program = self.model.derivation.backward
        own = next(
            (one for one in program.equations if one.target in program.results and self.model.label(one.target) == block), None
        )
        if own is None:
            return []
        needs = [one for one in program.equations if one.target in own.reads() and one.target != own.target]
        return [f"right: {self.notation.equation(one)}" for one in (own, *needs[-1:])]

    @cached_property
    def elsewhere(self) -> tuple[ForwardFault | None, Model | None]:
        """(what is wrong with the forward pass, the cell that it would be)."""
        for model in [self.model] if self.model is not None else self.others:
            found = forward_fault(self.kernel, model, self.evidence)
            if found is not None:
                return found, model
        return None, self.model

    @cached_property
    def explanation(self) -> Explanation | None:
        """One slip that explains all blocks, else two, else the one that explains most; None where none explains any."""
        forward, model = self.elsewhere
        if forward is not None and model is not None:
            return self.of_forward(forward, model)
        if model is None or not same_forward(self.kernel, model, self.evidence):
            return None
        with np.errstate(all="ignore"):
            return self.searched(model)

    def of_forward(self, fault: ForwardFault, model: Model) -> Explanation:
        """A forward pass that isn't the cell's: it explains what the cell's own backward pass gives on its values."""
        data = self.evidence.data
        trial = Trial(model, self.kernel.dims, data, data.cotangents, environments=fault.environments)
        same = [b for b, array in trial.gradients.items() if b in self.whole and relative(self.whole[b], array) <= 1e-9]
        return Explanation((), frozenset(same), fault.tried, fault)

    @cached_property
    def search(self) -> Search:
        """The slips of the cell's backward pass on these data."""
        if self.known is not None:
            return self.known
        assert self.model is not None
        data = self.evidence.data
        return Search(Trial(self.model, self.kernel.dims, data, data.cotangents), data, self.progress)

    @property
    def tried(self) -> int:
        """How many slips the search has tried."""
        return self.search.tried if "search" in self.__dict__ else 0

    def searched(self, model: Model) -> Explanation | None:
        search = self.search
        wrong = search.differing(self.whole)
        found = search.cut_for(self.kernel).fits(self.whole)
        if not any(one.explains(wrong) for one in found):
            found = [*search.fits_at_first(self.whole, self.kernel), *found]
        tried = search.tried
        for one in found:
            if one.explains(wrong) and self.confirmed(one.edit, model) and self.elsewhere_too(model, (one.edit,)):
                return Explanation((one.edit,), one.explained, tried)
        return self.paired(found, wrong, search, model) or self.partial(found, tried, model)

    def confirmed(self, edit: Edit, model: Model) -> bool:
        """Whether an edit gives the kernel's gradients with a cotangent on the last step only, too."""
        data = self.evidence.data
        cotangents = data.only_step(-1)
        trial = Trial(model, self.kernel.dims, data, cotangents)
        got, right = self.kernel.gradients(data, cotangents), trial.gradients
        found = right | trial.run(edit)
        return all(
            block in got and norm(got[block] - array) <= max(1e-3 * norm(got[block] - right[block]), 1e-9 * norm(right[block]))
            for block, array in found.items()
        )

    def elsewhere_too(self, model: Model, edits: Sequence[Edit], blocks: Collection[str] | None = None) -> bool:
        """Whether edits, the later ones on top of the earlier, give what the kernel gives on the other data on which it fails.

        blocks: those that they are to explain; by default all. The longest data come first: short ones tell the fewest slips apart.
        """
        for evidence in sorted(self.again, key=lambda one: -one.data.steps):
            data, kernel = evidence.data, evidence.kernel
            base = edits[-2].program if len(edits) > 1 else None
            right = Trial(model, kernel.dims, data, data.cotangents).gradients
            trial = Trial(model, kernel.dims, data, data.cotangents, base)
            found, got = trial.gradients | trial.run(edits[-1]), kernel.gradients(data)
            if any(not accounted(got.get(b), found[b], right[b]) for b in (right if blocks is None else blocks)):
                return False
        return True

    def paired(self, found: list[Fit], wrong: list[str], search: Search, model: Model) -> Explanation | None:
        """Two slips: one that explains a part, and a second one on top of it."""
        data = self.evidence.data
        if data.steps > 12:
            return None
        best = [one for one in found if not one.spoiled or one.share > 0][: self.together]
        for one in best:
            trial = Trial(model, self.kernel.dims, data, data.cotangents, one.edit.program)
            rest = Search(trial, data).differing(self.whole)
            second = Search(trial, data, self.progress, needed=frozenset(rest))
            for two in second.fits(self.whole)[:1]:
                if two.explains(rest) and self.elsewhere_too(model, (one.edit, two.edit)):
                    edits = (one.edit, two.edit)
                    return Explanation(edits, frozenset(wrong), search.tried + second.tried)
        return None

    def partial(self, found: list[Fit], tried: int, model: Model) -> Explanation | None:
        """The slips that explain some of the blocks each, and spoil none."""
        explained: set[str] = set()
        edits = []
        for one in found:
            more = one.explained - explained
            if not one.spoiled and more and self.is_whole(one) and self.elsewhere_too(model, (one.edit,), more):
                edits.append(one.edit)
                explained |= one.explained
        return Explanation(tuple(edits), frozenset(explained), tried) if edits else None

    def is_whole(self, one: Fit) -> bool:
        """Whether a fit explains what it changes, if it is a cut recurrence: one place of it may look like another one's by chance."""
        return one.edit.kind != "cut recurrence" or one.explained >= set(self.search.trial.run(one.edit))

    # ---- the recurrence

    @cached_property
    def recurrence(self) -> dict[str, str]:
        """block -> what is wrong with the recurrence, read from which steps get nothing; where that isn't the same on all data, nothing."""
        found: dict[str, str] = {}
        other: set[str] = set()
        for evidence in self.long if not self.kernel.along else ():  # lags are of one axis
            got = step_gradients(evidence.kernel, evidence)
            said = {b: truncation(a, evidence.per_step(b, evidence.data.cotangents), b) for b, a in got.items()}
            # of an initial state a carry cut in pieces leaves the first piece alone, however long that is
            cut = next((one for one in said.values() if "cut every" in one), "")
            said = {block: cut or one for block, one in said.items() if one}
            other |= {block for block, one in said.items() if found.get(block, one) != one}
            found |= said
        return {block: one for block, one in found.items() if block not in other}

    # ---- one block

    def of_block(self, block: str) -> str:
        got, expected = self.got[block], self.expected[block]
        return (
            next(iter(self.recurrence.values()), "")
            or self.exchanged(block, got)
            or shifted(block, got, expected)
            or self.from_steps(block, got, expected)
            or single(got, expected)
        )

    def exchanged(self, block: str, got: Array) -> str:
        other = next((b for b, a in self.expected.items() if b != block and fits(got, a)), "")
        what = "gates swapped" if block in self.evidence.data.parameters else "taken for another"
        return f"{what}: this is the gradient of {other}" if other else ""

    def from_steps(self, block: str, got: Array, expected: Array) -> str:
        """A parameter that gathers some steps only."""
        if block not in self.evidence.data.parameters or got.shape != expected.shape or self.kernel.along:
            return ""
        parts = list(step_parts(self.kernel, self.evidence, block))
        steps = len(parts)
        for k in range(1, steps):
            for said, some in ((f"the last {k}", parts[steps - k :]), (f"the first {k}", parts[:k])):
                if fits(got, np.sum(some, axis=0)):
                    count = "step only" if k == 1 else "steps only"
                    return f"gathered from {said.removesuffix(' 1') if k == 1 else said} {count}"
        return ""


def accounted(got: Array | None, found: Array, right: Array) -> bool:
    """Whether what came is what was found, beside how far it is from what is right; where nothing is a number nothing is denied."""
    if got is None or got.shape != found.shape:
        return False
    if not np.isfinite(right).all() or not (np.isfinite(found).all() or np.isfinite(got).all()):
        return True
    return norm(got - found) <= max(1e-3 * norm(got - right), FITS * norm(right))


__all__ = ["Explanation", "Inquiry"]
