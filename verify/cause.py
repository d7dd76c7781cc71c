"""The likely cause of a wrong gradient, found by trying: which simple fault turns the right gradients into the ones that came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from verify.data import Data
from verify.evidence import Array, Evidence
from verify.gradients import expected_gradient, norm, relative, step_gradients
from verify.kernel import Kernel

if TYPE_CHECKING:
    from verify.interpreter import Environment
    from verify.model import Model
    from verify.mutants import Mutant

FITS = 1e-6
"""A cause fits where it explains a block to this part of its size."""


def fits(got: Array, expected: Array) -> bool:
    return got.shape == expected.shape and norm(expected) > 0 and relative(got, expected) <= FITS


@dataclass
class Inquiry:
    """A kernel whose gradients differ from the evidence at hand; long: data of T >= 40 for the recurrence."""

    evidence: Evidence
    long: list[Evidence]
    model: Model | None = None

    @property
    def kernel(self) -> Kernel:
        return self.evidence.kernel

    @cached_property
    def got(self) -> dict[str, Array]:
        found = self.kernel.gradients(self.evidence.data)
        return {b: a if b in self.evidence.data.parameters else self.cropped(a, b) for b, a in found.items()}

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
        if block in self.recurrence or block not in self.got:
            return self.recurrence.get(block, "missing gradient: backward doesn't return it")
        plain = simple(self.got[block], self.expected[block], self.evidence.data)
        return plain or self.recurrence_anywhere or self.of_all or self.of_equation(block) or self.of_block(block)

    # ---- one fault of the derived formula that explains everything

    @cached_property
    def of_all(self) -> str:
        """The change of one term of the derived backward formula under which all blocks fit, if some block differs on these data."""
        wrong = [block for block in self.expected if block in self.got and self.differs(block)]
        if self.model is None or not wrong:
            return ""
        from verify.mutants import described

        derivation, dims, data = self.model.derivation, self.kernel.dims, self.evidence.data
        notation = derivation.notation()
        with np.errstate(all="ignore"):
            for mutant, environments in self.candidates(self.model.filled(dims, data)):
                try:
                    found = self.model.gradients(dims, data, data.cotangents, mutant.program, environments)
                except (ValueError, KeyError):
                    continue
                if all(block in found and self.explains(found[block], block) for block in wrong):
                    return f"{described(mutant, notation)} (reads {notation.equation(mutant.changed)}){self.reason(mutant.equation.terms)}"
        return ""

    def of_equation(self, block: str) -> str:
        """The change of the equation of a block's own gradient that explains the block: the same slip made for several blocks."""
        if self.model is None or not self.differs(block):
            return ""
        from verify.mutants import described

        data, dims = self.evidence.data, self.kernel.dims
        with np.errstate(all="ignore"):
            for mutant, environments in self.candidates(self.model.filled(dims, data)):
                if self.model.label(mutant.equation.target) == block:
                    found = self.model.gradients(dims, data, data.cotangents, mutant.program, environments)
                    if block in found and self.explains(found[block], block):
                        return described(mutant, self.model.derivation.notation())
        return ""

    def candidates(self, environments: list[Environment]) -> Iterator[tuple[Mutant, list[Environment]]]:
        """Every fault that is tried, and the values that it reads."""
        from verify.mutants import exchanged_in, mutants, shifted_in

        assert self.model is not None
        derivation = self.model.derivation
        for mutant in (*mutants(derivation.backward, derivation.forward), *exchanged_in(derivation.backward)):
            yield mutant, environments
        for mutant, value, by in shifted_in(derivation.backward):
            said = "later" if by > 0 else "earlier"
            other = [
                environments[t + by][value] if 0 <= t + by < len(environments) else 0 * env[value]
                for t, env in enumerate(environments)
            ]
            yield mutant, [env | {value.like(kind=said): array} for env, array in zip(environments, other, strict=True)]

    def explains(self, found: Array, block: str) -> bool:
        """Whether a change accounts for nearly all of a block's difference."""
        found = found if block in self.evidence.data.parameters else self.cropped(found, block)
        got, expected = self.got[block], self.expected[block]
        return fits(got, found) and relative(got, found) <= 1e-3 * relative(got, expected)

    def reason(self, terms: tuple[object, ...]) -> str:
        """The forward equations that the terms of an equation come from."""
        names = dict.fromkeys(t.reason.equation.name for t in terms if t.reason and t.reason.equation)  # type: ignore[attr-defined]
        return f"; its terms come from the equations of {', '.join(names)}" if names else ""

    # ---- the recurrence

    @cached_property
    def recurrence(self) -> dict[str, str]:
        """block -> what is wrong with the recurrence, read from which steps get nothing."""
        found: dict[str, str] = {}
        for evidence in self.long:
            got = step_gradients(evidence.kernel, evidence)
            for block, array in got.items():
                if block not in found:
                    said = truncation(array, evidence.per_step(block, evidence.data.cotangents), block)
                    if said:
                        found[block] = said
        return found

    @cached_property
    def recurrence_anywhere(self) -> str:
        return next((said for said in self.recurrence.values()), "")

    # ---- one block

    def of_block(self, block: str) -> str:
        got, expected = self.got[block], self.expected[block]
        return (
            self.exchanged(block, got)
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
        if block not in self.evidence.data.parameters or got.shape != expected.shape:
            return ""
        parts = list(step_parts(self.kernel, self.evidence, block))
        steps = len(parts)
        for k in range(1, steps):
            for said, some in ((f"the last {k}", parts[steps - k :]), (f"the first {k}", parts[:k])):
                if fits(got, np.sum(some, axis=0)):
                    count = "step only" if k == 1 else "steps only"
                    return f"gathered from {said.removesuffix(' 1') if k == 1 else said} {count}"
        return ""


def simple(got: Array, expected: Array, data: Data) -> str:
    """Sign, scale, mean for sum, transpose, nothing."""
    if got.shape == expected.shape and norm(got) == 0 and norm(expected) > 0:
        return "missing gradient: it is zero everywhere"
    if fits(got, -expected):
        return "sign"
    gone = (got == 0) & (expected != 0) if got.shape == expected.shape else np.zeros(1, bool)
    if gone.any() and not gone.all() and fits(got[~gone], expected[~gone]):
        first = tuple(int(k) for k in np.argwhere(gone)[0])
        return f"missing elements: {gone.sum()} of {gone.size} are zero, {first} the first of them"
    if got.shape == expected.shape and expected.ndim == 2 and got.shape[0] == got.shape[1] and fits(got.T, expected):
        return "transpose"
    if got.shape == expected.shape and norm(expected) > 0:
        factor = float((got * expected).sum() / (expected**2).sum())
        if abs(factor - 1) > 1e-9 and factor != 0 and relative(got, factor * expected) < min(1e-6, abs(factor - 1) * 1e-3):
            for name, count in (("steps", data.steps), ("examples", data.batch), ("steps and examples", data.steps * data.batch)):
                if abs(factor * count - 1) < 1e-9:
                    return f"mean instead of sum over {name}"
            return f"scaled by {factor:.9g}"
    return ""


def shifted(block: str, got: Array, expected: Array) -> str:
    """The gradient of another step."""
    if not block.startswith("input ") or got.shape != expected.shape:
        return ""
    if fits(got[:-1], expected[1:]) or fits(got[1:], expected[:-1]):
        return "time index off by one"
    return "time reversed" if fits(got, expected[::-1]) else ""


def single(got: Array, expected: Array) -> str:
    """Digits lost, or noise."""
    if got.shape != expected.shape:
        return ""
    error = relative(got, expected)
    if error < 1e-6 and np.array_equal(got.astype(np.float32).astype(got.dtype), got):
        return "a cast to float32: every element is a float32 number"
    if error < 3e-7:
        return (
            f"noise or lost digits of relative size {error:.0e} (no term of this size fits); a float32 intermediate loses 6e-08"
        )
    return ""


def truncation(got: Array, expected: Array, block: str) -> str:
    """Where the gradient of a block gets nothing though the evidence says that it should: K steps back, or in chunks of K."""
    steps = expected.shape[0]
    if not block.startswith("input "):
        got, expected = got[:, :, None], expected[:, :, None]
        to = np.array([-1])
    else:
        to = np.arange(expected.shape[2])
    lag = np.arange(steps)[:, None] - to[None, :]
    wants = (np.abs(expected) > 0).any(axis=(1, 3)) & (lag >= 0)
    has = (got != 0).any(axis=(1, 3))
    if (has & (lag < 0)).any():
        return ""
    has &= wants
    empty = wants & ~has
    if not empty.any() or not has.any():
        return ""
    reached = [int(k) for k in lag[has]]
    if all(int(k) > max(reached) for k in lag[empty]):
        kept = max(reached) + (1 if to[0] >= 0 else 0)
        return f"truncated recurrence at K = {kept}: nothing goes further back than lag {max(reached)}"
    if to[0] < 0:
        return ""
    farthest = sorted({int(np.argmax(row)) for row in has if row.any()})
    if len(farthest) == 1:
        kept = steps - farthest[0]
        return f"truncated recurrence at K = {kept}: the loop stops {kept} steps before the end"
    pieces = np.diff([*farthest, steps])  # the first and the last may be shorter
    kept = int(pieces.max())
    return f"truncated recurrence at K = {kept}: the carry is cut every {kept} steps" if set(pieces[1:-1]) <= {kept} else ""


def step_parts(kernel: Kernel, evidence: Evidence, block: str) -> Iterator[Array]:
    """What each step contributes to a parameter's gradient, by the forward pass alone: the parameter moves at that step only."""
    data = evidence.data
    shape = data.parameters[block].shape
    states = [data.state]
    outputs = kernel.outputs(data)
    states += [{name: outputs[name][t] for name in data.state} for t in range(data.steps)]
    for t in range(data.steps):
        part = np.zeros(shape)
        rest = segment(data, t + 1, data.steps, states[t + 1])
        for index in np.ndindex(*shape):
            unit = np.zeros(shape)
            unit[index] = 1.0
            part[index] = moved_at(kernel, evidence, segment(data, t, t + 1, states[t]), rest, {block: unit})
        yield part


def moved_at(kernel: Kernel, evidence: Evidence, step: Data, rest: Data, direction: dict[str, Array]) -> float:
    """How the loss moves when a parameter moves during one step only."""
    one = replace(evidence, data=step, known={})
    moves = one.tangents(direction)
    total = sum(float((step.cotangents[name] * moves.value[name]).sum()) for name in step.cotangents)
    if rest.steps:
        carried = {f"initial {name}": moves.value[name][0] for name in step.state}
        later = replace(one, data=rest).tangents(carried)
        total += sum(float((rest.cotangents[name] * later.value[name]).sum()) for name in rest.cotangents)
    return total


def segment(data: Data, start: int, stop: int, state: dict[str, Array]) -> Data:
    """Some steps of a run by themselves, from the state before them."""
    return replace(
        data,
        inputs={name: array[start:stop] for name, array in data.inputs.items()},
        cotangents={name: array[start:stop] for name, array in data.cotangents.items()},
        state=state,
        steps=stop - start,
    )
