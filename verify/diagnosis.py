"""What is wrong with a kernel, in a few lines: the first wrong equation, the cause, the line of the formula, what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.cause import Explanation, Inquiry
from verify.crossing import crossing
from verify.edits.words import shown
from verify.evidence import Array, Evidence
from verify.findings import label_of
from verify.gradients import crop, expected_gradient, relative

if TYPE_CHECKING:
    from verify.model import Model

FAR = 4
"""How many steps back the first wrong block is looked for."""


@dataclass(frozen=True)
class Diagnosis:
    """The cause of a failure.

    first: the earliest wrong gradient in the order of the backward pass, lag 0 before lag 1. cause: what explains it; empty where
    nothing that was tried does. formulas: the equations as they are and as computed. explained, unexplained: blocks. tried: how many
    slips were. size: at which sizes gradients are wrong, where that is the cause: `for B > 64`.
    """

    first: str
    cause: str
    formulas: tuple[str, ...] = ()
    explained: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    tried: int = 0
    size: str = ""

    def lines(self) -> list[str]:
        """For a person, the headline first."""
        if self.size:
            return [f"cause: {self.cause}"]
        if not self.cause:
            said = (
                f"no single slip that was tried explains it ({self.tried} were)"
                if self.tried
                else "no equations to seek it in: name the cell with --against (and --map where names differ)"
            )
            return [f"first wrong: {self.first}", *self.formulas, f"cause: {said}"]
        return [f"first wrong: {self.first}", f"cause: {self.cause}", *self.formulas, self.follows()]

    def line(self) -> str:
        """On one line: how many blocks are wrong, which first, and why."""
        count = len(self.explained) + len(self.unexplained)
        if self.size:
            return f"gradients are wrong {self.size}, first {self.first}; likely cause: {self.cause}"
        cause = f"likely cause: {self.cause}" if self.cause else "no single slip that was tried explains it"
        return f"{count} gradient{'s are' if count > 1 else ' is'} wrong, first {self.first}; {cause}"

    def follows(self) -> str:
        """What the cause accounts for."""
        if not self.unexplained:
            many = len(self.explained)
            return f"This explains {'all ' * (many > 1)}{many} block{'s' * (many > 1)} that differ{'s' * (many == 1)}, to the last digit."
        if not self.explained:
            return "How it leads to the others wasn't found."
        rest = ", ".join(label_of(block) for block in self.unexplained)
        return f"This explains {', '.join(label_of(block) for block in self.explained)}; nothing that was tried explains {rest}."


def diagnosed(inquiries: Sequence[Inquiry], blocks: Mapping[str, Inquiry]) -> tuple[dict[str, str], Diagnosis | None]:
    """(what is wrong with each block, the diagnosis of them all).

    inquiries: on the data that show something wrong, the most telling first; where the first explains all blocks the others aren't
    asked. blocks: the wrong ones, each with the inquiry on data that show it.
    """
    if not blocks:
        return {}, None
    asked: list[Inquiry] = []
    first = list(inquiries[:1])
    if first and not any(
        array.any() for array in first[0].whole.values()
    ):  # as where a loop leaves out more steps than there are
        first = [max(inquiries, key=lambda one: one.evidence.data.steps)]
    for inquiry in dict.fromkeys([*first, *blocks.values()]):
        asked.append(inquiry)
        if inquiry.explanation is not None and inquiry.explanation.explained >= set(blocks):
            break
    best = max(asked, key=lambda one: len(one.explanation.explained & set(blocks)) if one.explanation else 0)
    causes = {}
    for block, own in blocks.items():
        known = best.explanation is not None and block in best.explanation.explained
        causes[block] = (best if known else own).cause(block)
    return causes, diagnosis_of(best, list(blocks), causes)


def diagnosis_of(inquiry: Inquiry, failed: list[str], causes: dict[str, str]) -> Diagnosis:
    """The diagnosis of the blocks that failed. causes: what was found for each of them."""
    found = inquiry.explanation
    block, seen = first_wrong(inquiry.evidence, failed, inquiry.elsewhere[1])
    where = f"{label_of(block)}{seen}"
    if found is None or (found.forward is None and not found.explained & set(failed)):
        cause = causes.get(block, "")
        alike = tuple(one for one in failed if causes.get(one) == cause and cause)
        lines = () if cause else tuple(inquiry.equations_of(block))
        return Diagnosis(where, cause, lines, alike, tuple(b for b in failed if b not in alike), inquiry.tried)
    explained = tuple(block for block in failed if block in found.explained)
    rest = tuple(block for block in failed if block not in found.explained)
    first = f"{equation_of(inquiry, found)}, seen first in {where}"
    return Diagnosis(first, inquiry.headline(found), tuple(inquiry.formulas(found)), explained, rest, found.tried)


def equation_of(inquiry: Inquiry, found: Explanation) -> str:
    """The equation in which the slip is."""
    edit = found.edits[0] if found.forward is None else found.forward.edit
    return inquiry.notation.left(shown(edit, inquiry.notation)[0][0])


def first_wrong(evidence: Evidence, failed: list[str], model: Model | None) -> tuple[str, str]:
    """(the block that is wrong first in the order of the backward pass, the smallest lag at which it is, or between which steps of which
    axes).

    With a cotangent at one step only, on runs of one, two, ... steps; nothing is said of lags where none of those shows a fault.
    """
    order = {block: place for place, block in enumerate(ordered(evidence, model))}
    data = evidence.data
    with np.errstate(all="ignore"):
        for steps in range(1, min(FAR, data.steps) + 1):
            some = replace(
                data,
                inputs={name: array[:steps] for name, array in data.inputs.items()},
                cotangents={name: array[:steps] for name, array in data.cotangents.items()},
                steps=steps,
            )
            one = replace(evidence, data=some, known={}, shaken=())
            cotangents = some.only_step(-1)
            got = evidence.kernel.gradients(some, cotangents)
            wrong = [block for block in failed if block in got and differs(one, block, got[block], cotangents)]
            if wrong:
                # the initial state counts as the step before the first
                lag, _, block = min((steps - 1 + b.startswith("initial "), order.get(b, len(order)), b) for b in wrong)
                across = crossing(block, one, steps - 1, last_wrong(one, block, got[block], cotangents))
                return block, f", {across}" if across else f" at lag {lag}"
    return min(failed, key=lambda block: order.get(block, len(order)), default=""), ""


def last_wrong(evidence: Evidence, block: str, got: Array, cotangents: dict[str, Array]) -> int:
    """The last step of an input at which its gradient is furthest from what it should be; 0 of other blocks."""
    if not block.startswith("input "):
        return 0
    apart = np.abs(crop(got, block, evidence) - expected_gradient(block, evidence, cotangents)[0])
    by_step = apart.reshape(len(apart), -1).max(axis=1)
    return int(np.flatnonzero(by_step > 1e-3 * by_step.max())[-1])


def differs(evidence: Evidence, block: str, got: Array, cotangents: dict[str, Array]) -> bool:
    expected, error = expected_gradient(block, evidence, cotangents)
    got = got if block in evidence.data.parameters else crop(got, block, evidence)
    allowed = 1e-9 + 4 * float(np.max(error, initial=0.0)) / max(float(np.abs(expected).max(initial=0.0)), 1e-300)
    return not relative(got, expected) <= allowed


def ordered(evidence: Evidence, model: Model | None) -> list[str]:
    """The blocks in the order in which the backward pass has what they need."""
    if model is None:
        return list(evidence.data.flat())
    program = model.derivation.backward
    place = {equation.target: k for k, equation in enumerate(program.equations)}

    def needs(equation: object) -> tuple[int, int]:
        reads = [place[value] for value in equation.reads() if value in place]  # type: ignore[attr-defined]
        return max(reads, default=-1), place[equation.target]  # type: ignore[attr-defined]

    ends = [equation for equation in program.equations if equation.target in program.results]
    return [model.label(equation.target) for equation in sorted(ends, key=needs)]
