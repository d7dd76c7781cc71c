"""The comparison: gradients by several routes, block by block, pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import differences
from verify.data import REGIMES, Data, Regime, draw
from verify.kernel import KernelError
from verify.tolerances import tolerance

Array = NDArray[Any]
Gradients = dict[str, Array]
ROUTES = ("emitted", "hand-written", "complex step", "central")


@dataclass(frozen=True)
class Row:
    """One block compared over all regimes: the worst relative error of each pair of routes."""

    block: str
    errors: dict[tuple[str, str], float]

    def failures(self) -> list[tuple[str, str]]:
        """The pairs that don't agree within their tolerance; nan never agrees."""
        return [pair for pair, error in self.errors.items() if not error <= tolerance(*pair).value]


@dataclass(frozen=True)
class Report:
    """The comparison of one kernel."""

    name: str
    routes: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        return not any(row.failures() for row in self.rows)

    def worst(self, pair: tuple[str, str]) -> float:
        """The largest error of a pair, nan counting as the largest."""
        errors = [row.errors[pair] for row in self.rows]
        return float("nan") if any(np.isnan(errors)) else max(errors)

    def verdict(self) -> str:
        """One line: who agrees, in how many blocks, how closely; or who doesn't, and where."""
        if self.passed:
            pairs = list(self.rows[0].errors)
            exact = max(self.worst(pair) for pair in pairs if "central" not in pair)
            central = max(self.worst(pair) for pair in pairs if "central" in pair)
            routes = ", ".join(self.routes[:-1])
            note = "" if "hand-written" in self.routes else " (no hand-written gradient exists)"
            return (
                f"verified: {routes} and central differences agree in {len(self.rows)} blocks "
                f"(worst {exact:.0e}; central {central:.0e}){note}"
            )
        return "; ".join(self.faults()[:3]) + (f"; and {len(self.faults()) - 3} more" if len(self.faults()) > 3 else "")

    def faults(self) -> list[str]:
        """For each failing block: which routes agree, which one differs, by how much."""
        return [fault(self.name, row) for row in self.rows if row.failures()]


def fault(name: str, row: Row) -> str:
    """A failing block in one line: `lstm: d_P_o: complex step and central agree; emitted differs: 3.2e-03 relative`."""
    bad = row.failures()
    routes = list(dict.fromkeys(route for pair in row.errors for route in pair))
    blamed = max(routes, key=lambda route: sum(route in pair for pair in bad))
    agreeing = [route for route in routes if not any(route in pair for pair in bad if blamed not in pair) and route != blamed]
    worst = max((row.errors[pair] for pair in bad if blamed in pair), key=lambda e: float("inf") if np.isnan(e) else e)
    pair = next(pair for pair in bad if blamed in pair)
    said = f"{' and '.join(agreeing)} agree; {blamed} differs" if len(agreeing) > 1 else f"{pair[0]} and {pair[1]} differ"
    return f"{name}: d_{row.block}: {said}: {worst:.1e} relative, tolerance {tolerance(*pair).value:.0e}"


def loss_of(kernel: Any, data: Data) -> Callable[[Gradients], Any]:
    """The scalar sum(cotangents * outputs) as a function of every differentiable array."""

    def loss(blocks: Gradients) -> Any:
        moved = data.with_flat(blocks)
        outputs, _ = kernel.forward(moved.parameters, moved.inputs, moved.state)
        return sum((data.cotangents[name] * outputs[name]).sum() for name in data.cotangents)

    return loss


def by_backward(kernel: Any, data: Data) -> Gradients:
    """Gradients by a kernel's own backward pass."""
    _, tape = kernel.forward(data.parameters, data.inputs, data.state)
    gradients = kernel.backward(data.parameters, tape, data.cotangents)
    moved = Data(dict(gradients.parameters), dict(gradients.inputs), dict(gradients.state), {})
    return moved.flat()


def routes(kernel: Any, hand: Any | None, data: Data) -> Iterator[tuple[str, Gradients]]:
    """(route, gradients) for every route there is."""
    loss, blocks = loss_of(kernel, data), data.flat()
    yield "emitted", by_backward(kernel, data)
    if hand is not None:
        yield "hand-written", by_backward(hand, data)
    yield "complex step", differences.complex_step(loss, blocks)
    yield "central", differences.central(loss, blocks)


def relative(first: Array, second: Array) -> float:
    """|a - b| / max(|a|, |b|), in the Euclidean norm of the block; infinite where the shapes differ."""
    if first.shape != second.shape:
        return float("inf")
    size = max(np.linalg.norm(first), np.linalg.norm(second))
    return float(np.linalg.norm(first - second) / size) if size else 0.0


def compare(kernel: Any, name: str, hand: Any | None = None, seed: int = 0, regimes: tuple[Regime, ...] = REGIMES) -> Report:
    """Every block by every route in every regime.

    kernel keeps the contract of docs/architecture.md; hand has `forward` and `backward` of the same contract.
    Raises KernelError where the kernel can't be run on plain data.
    """
    worst: dict[str, dict[tuple[str, str], float]] = {}
    found: dict[str, Gradients] = {}
    for k, regime in enumerate(regimes):
        data = draw(kernel, regime, seed + k)
        try:
            found = dict(routes(kernel, hand, data))
        except Exception as error:
            raise KernelError(f"verify: {name}: can't be run: {type(error).__name__}: {error}. Mend the kernel.") from None
        for block in data.flat():
            errors = worst.setdefault(block, {})
            for pair in combinations(found, 2):
                error = relative(found[pair[0]][block], found[pair[1]][block])
                errors[pair] = error if np.isnan(error) else max(errors.get(pair, 0.0), error)
    return Report(name, tuple(found), tuple(Row(block, errors) for block, errors in worst.items()))
