"""The comparison of routes: emitted, hand-written, complex step and central differences, pair by pair, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from verify import differences
from verify.central import loss_of
from verify.evidence import EXACT, Array, Evidence
from verify.gradients import crop, expected_gradient, norm
from verify.kernel import Kernel
from verify.rounding import lost
from verify.tolerances import EPS, tolerance

Gradients = dict[str, Array]
Pair = tuple[str, str]
ROUTES = ("emitted", "hand-written", "complex step", "central")


def called(route: str, given: bool) -> str:
    """A route's name where a person reads it: the backward pass of a kernel that somebody brought isn't an emitted one."""
    return "backward" if given and route == "emitted" else route


@dataclass(frozen=True)
class Row:
    """One block compared over the regimes: the worst relative error of each pair of routes."""

    block: str
    errors: dict[Pair, float]

    def failures(self) -> list[Pair]:
        """The pairs that don't agree within their tolerance; nan never agrees."""
        return [pair for pair, error in self.errors.items() if not error <= tolerance(*pair).value]


def routes(kernel: Kernel, hand: Any | None, evidence: Evidence, all_routes: bool) -> dict[str, Gradients]:
    """Gradients by route, of the examples that the evidence looks at. all_routes: with central differences and every element."""
    data = evidence.data
    found = {"emitted": kernel.gradients(data)}
    if hand is not None:
        _, tape = hand.forward(data.parameters, data.inputs, data.state)
        gradients = hand.backward(data.parameters, tape, data.cotangents)
        found["hand-written"] = kernel.flat(gradients)
    cropped = {
        route: {b: a if b in data.parameters else crop(a, b, evidence) for b, a in one.items()} for route, one in found.items()
    }
    if all_routes and evidence.method == EXACT:
        cropped[EXACT] = {block: expected_gradient(block, evidence, data.cotangents)[0] for block in data.flat()}
    if all_routes:
        central = differences.central(loss_of(kernel, data), data.flat())
        cropped["central"] = {b: a if b in data.parameters else crop(a, b, evidence) for b, a in central.items()}
    return cropped


def symmetric(first: Array, second: Array, own: float = 0.0) -> float:
    """(|a - b| - own) / max(|a|, |b|), in the norm of the block; own: what one of them can't resolve."""
    if first.shape != second.shape:
        return float("inf")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return float("nan")
    size, apart = max(norm(first), norm(second)), max(0.0, norm(first - second) - own)
    return apart / size if size else 0.0


def resolution(kernel: Kernel, evidence: Evidence) -> float:
    """What a central difference of the loss can't resolve in one element: the rounding of the sum that the loss is, over the step."""
    outputs, cotangents = kernel.outputs(evidence.data), evidence.data.cotangents
    size = sum(float(np.abs(cotangents[name] * outputs[name]).sum()) for name in cotangents)
    return 4 * EPS * size / differences.central_step(np.float64)


def rows(kernel: Kernel, hand: Any | None, evidences: list[Evidence]) -> tuple[Row, ...]:
    """Every pair of routes on the first data, the hand-written one on the others too."""
    worst: dict[str, dict[Pair, float]] = {}
    for k, evidence in enumerate(evidences):
        found = routes(kernel, hand, evidence, all_routes=k == 0)
        for block, array in evidence.data.flat().items():
            errors = between(found, block)
            if Row(block, errors).failures() and "central" in found:
                one, change = differences.refined(loss_of(kernel, evidence.data), evidence.data.flat(), block)
                found["central"][block] = one if array.shape == found["central"][block].shape else crop(one, block, evidence)
                digits, known_to = lost(kernel.gradients, evidence.data), evidence.with_digits()
                taken = norm(expected_gradient(block, known_to, evidence.data.cotangents)[1]) if known_to.digits else 0.0
                jump = differences.bent(loss_of(kernel, evidence.data), evidence.data.flat(), block)
                blur = resolution(kernel, evidence) * float(np.sqrt(one.size)) + norm(change) + norm(jump)
                errors = between(found, block, blur, 4 * (taken + (norm(digits[block]) if block in digits else 0.0)))
            known = worst.setdefault(block, {})
            for pair, error in errors.items():
                known[pair] = error if np.isnan(error) else max(known.get(pair, 0.0), error)
    return tuple(Row(block, errors) for block, errors in worst.items())


def between(found: dict[str, Gradients], block: str, blur: float = 0.0, taken: float = 0.0) -> dict[Pair, float]:
    """The relative error of each pair of routes that have a block.

    blur: what central differences of the block can't resolve. taken: what rounding takes of a gradient that is made of slopes.
    """
    pairs = [pair for pair in combinations(found, 2) if all(block in found[route] for route in pair)]
    own = {pair: blur * ("central" in pair) + taken for pair in pairs}
    return {(one, two): symmetric(found[one][block], found[two][block], own[one, two]) for one, two in pairs}


def fault(row: Row) -> str:
    """A failing block in one line: `complex step and central agree; emitted differs: 3.2e-03 relative`."""
    bad = row.failures()
    names = list(dict.fromkeys(route for pair in row.errors for route in pair))
    blamed = max(names, key=lambda route: sum(route in pair for pair in bad))
    agreeing = [route for route in names if route != blamed and not any(route in pair for pair in bad if blamed not in pair)]
    pair = next(pair for pair in bad if blamed in pair)
    return f"{' and '.join(agreeing)} agree; {blamed} differs" if len(agreeing) > 1 else f"{pair[0]} and {pair[1]} differ"
