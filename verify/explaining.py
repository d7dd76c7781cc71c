"""The failures of a run explained: the arbiter's word where digits run out, the likely cause of each, the diagnosis of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from verify import central, compare, differences, gradients, kept
from verify.block_cause import simple
from verify.cause import Inquiry
from verify.diagnosis import Diagnosis, diagnosed
from verify.evidence import EXACT, Evidence
from verify.findings import FAIL, PASS, Finding, label_of
from verify.gradients import Comparison
from verify.kernel import Kernel
from verify.model import Model
from verify.size_cause import size_fault
from verify.tolerances import CENTRAL
from verify.verdicts import worst_of

ARBITER = 1e-6
"""Disagreements below this are near enough to the limit of float64 to be put before the arbiter of 60 digits."""


@dataclass
class Explaining:
    """What is known where a run has failed: the data, the cell that the kernel is or is held against, the comparisons."""

    kernel: Kernel
    evidences: list[Evidence]
    model: Model | None
    method: str
    comparisons: list[Comparison]
    progress: Callable[[str], None]
    seed: int = 0

    def explained(self, found: list[Finding]) -> tuple[list[Finding], Diagnosis | None]:
        """(the findings with the arbiter's word and the likely cause, the diagnosis)."""
        result = [self.decided(finding) if is_wrong(finding) else finding for finding in found]
        wrong = [finding.block for finding in result if is_wrong(finding)]
        long = [evidence for evidence in self.evidences if evidence.data.steps >= 40]
        sized = self.of_size(wrong)
        if sized is not None:
            return [replace(one, cause=self.at_size(one.block, sized)) if is_wrong(one) else one for one in result], sized
        failing = self.telling(wrong)
        inquiries = [
            Inquiry(one, long, self.model, self.namesakes, self.progress, again=[self.evidences[j] for j in failing if j != k])
            for k, one in enumerate(self.evidences)
        ]
        with np.errstate(all="ignore"):
            telling = [inquiries[k] for k in failing]
            causes, diagnosis = diagnosed(telling, {block: inquiries[self.showing(block)] for block in wrong})
            for k, finding in enumerate(result):
                if is_wrong(finding):
                    agree = finding.agree or self.agreement(finding.block)
                    result[k] = replace(finding, agree=agree, cause=causes[finding.block])
        return result, diagnosis

    def of_size(self, wrong: Sequence[str]) -> Diagnosis | None:
        """The diagnosis where all that failed has a size in common that nothing else has."""
        if not wrong:
            return None
        with np.errstate(all="ignore"):
            fault = size_fault(self.kernel, self.evidences, self.comparisons, self.method, self.seed)
        if fault is None:
            return None
        cause = f"the size {fault.name}: gradients are wrong {fault.said}, right at every other size that was tried"
        return Diagnosis(label_of(wrong[0]), cause, explained=tuple(wrong), size=fault.said)

    def at_size(self, block: str, sized: Diagnosis) -> str:
        """What is wrong with a block at such sizes, where that shows in it."""
        inquiry = Inquiry(self.evidences[self.showing(block)], [], None)
        if block not in inquiry.got or not inquiry.differs(block):
            return sized.cause
        said = simple(inquiry.got[block], inquiry.expected[block], inquiry.evidence.data)
        return f"{sized.cause}; there: {said}" if said else sized.cause

    def decided(self, finding: Finding) -> Finding:
        """The finding after the arbiter was asked, where there is a cell to ask."""
        comparison = worst_of([one for one in self.comparisons if one.block == finding.block and one.failed])
        return self.arbitrated(finding, comparison, self.model) if self.model and comparison else finding

    def telling(self, wrong: Sequence[str]) -> list[int]:
        """The data on which faults show, those first that show the most of them."""
        shown = {
            k: len(
                {
                    one.block
                    for one in self.comparisons
                    if one.failed and one.regime == evidence.regime.name and one.block in wrong
                }
            )
            for k, evidence in enumerate(self.evidences)
        }
        return sorted((k for k in shown if shown[k]), key=lambda k: (-shown[k], k > 0, self.evidences[k].data.steps))

    @property
    def namesakes(self) -> Iterable[Model]:
        """The built-in cells of the kernel's names: one of them may be what its forward pass was meant to be."""
        return kept.namesakes(self.kernel)

    def agreement(self, block: str) -> str:
        """Which routes agree on a block of the ordinary data, by trying."""
        if self.method != EXACT:
            return f"{self.method} settle; backward differs"
        evidence, blocks = self.evidences[0], self.evidences[0].data.flat()
        exact = gradients.expected_gradient(block, evidence, evidence.data.cotangents)[0]
        near, _ = differences.refined(central.loss_of(self.kernel, evidence.data), blocks, block)
        near = near if block in evidence.data.parameters else gradients.crop(near, block, evidence)
        agree = compare.symmetric(exact, near) <= CENTRAL.value
        return f"complex step and central differences {'agree; backward differs' if agree else 'differ too'}"

    def showing(self, block: str) -> int:
        """The data on which a block's fault is looked into: the first, or the shortest of those on which it fails."""
        bad = {one.regime for one in self.comparisons if one.block == block and one.failed}
        failing = [k for k, evidence in enumerate(self.evidences) if evidence.regime.name in bad]
        return min(failing, key=lambda k: (k > 0, self.evidences[k].data.steps), default=0)

    def arbitrated(self, finding: Finding, comparison: Comparison, model: Model) -> Finding:
        """What 60 digits say, where two routes differ near the limit of float64."""
        if comparison.spot is None or not comparison.error < ARBITER:
            return finding
        evidence = next(e for e in self.evidences if e.regime.name == comparison.regime)
        step, index = comparison.spot
        unit = np.zeros_like(evidence.data.flat()[finding.block])
        unit[index] = 1.0
        cotangents = evidence.data.cotangents if step is None else evidence.data.only_step(step)
        if comparison.got is None or comparison.expected is None:
            return finding
        size = abs(comparison.expected)
        exact = float(model.arbitrate(evidence.kernel.dims, evidence.data, cotangents, finding.block, unit, size))
        size = abs(comparison.got - comparison.expected) / comparison.error
        ours, theirs = abs(comparison.got - exact) / size, abs(comparison.expected - exact) / size
        if ours <= comparison.tolerance.value:
            return Finding(
                "gradients", PASS, finding.block, said=f"complex step is off by {theirs:.0e}; backward agrees with 60 digits"
            )
        if theirs <= ours:
            return replace(finding, agree=f"{self.method} and the 60-digit arbiter agree ({exact:.12g}); backward differs")
        return replace(finding, agree=f"the 60-digit arbiter agrees with neither ({exact:.12g})")


def is_wrong(finding: Finding) -> bool:
    """Whether a finding says that a gradient is wrong."""
    return finding.verdict == FAIL and finding.check == "gradients" and bool(finding.block)
