"""Finding data that a kernel can be judged on: finite, felt to the end, with digits left; and the route that decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from verify.data import LONG, ORDINARY, SIGMA_LIMIT, TANH_LIMIT, Data, Regime, draw
from verify.differences import NotAnalytic
from verify.evidence import CHAINED, EXACT, WHOLE, Array, Evidence
from verify.gradients import bound, norm
from verify.kernel import Kernel, KernelError, line_of, one_line
from verify.tolerances import CENTRAL

FELT = 1e-3
"""Memory is long where the start is felt at the end by this much of what is felt most."""
SATURATES = 0.8
"""How usable data are, at least, whose only fault is that units are saturated."""
PATTERNS = 10
"""Signs of biases that are tried for it: which of them open a forget gate isn't known."""


def first_data(kernel: Kernel, seed: int) -> Data:
    """Plain data that the kernel runs on. Raises KernelError where it runs on none."""
    for shrink, positive in ((1.0, False), (0.5, False), (0.25, False), (0.1, False), (0.5, True), (0.1, True)):
        data = draw(kernel.dims, ORDINARY, seed, shrink, positive)
        try:
            with np.errstate(all="ignore"):
                outputs, tape = kernel.forward(data)
        except KernelError:
            raise
        except Exception as error:
            turn = (
                "It runs with (T, B, n): leave out --batch-first"
                if kernel.batch_first
                else "It runs with (B, T, n): add --batch-first"
            )
            mend = turn if runs_turned(kernel, data) else "Mend the kernel"
            said = one_line(error) + line_of(error, kernel.file)
            raise KernelError(f"verify: {kernel.name}: forward raises {said} on plain data. {mend}.") from None
        if all(np.isfinite(array).all() for array in outputs.values()):
            try:
                with np.errstate(all="ignore"):
                    kernel.backward(data, tape, data.cotangents)
            except KernelError:
                raise
            except Exception as error:
                said = one_line(error) + line_of(error, kernel.file)
                raise KernelError(f"verify: {kernel.name}: backward raises {said} on plain data. Mend the kernel.") from None
            return data
    return data


def runs_turned(kernel: Kernel, data: Data) -> bool:
    """Whether forward takes the data with time and batch exchanged."""
    try:
        return bool(kernel.turned().outputs(data))
    except Exception:
        return False


def method_of(kernel: Kernel, data: Data, seed: int) -> tuple[str, str]:
    """(the route that decides, why it isn't complex step): complex numbers have to run, and to agree with differences."""
    evidence = Evidence(kernel, ORDINARY, data, seed)
    route = replace(evidence, method=CHAINED)
    route = route if route.chain.holds else replace(evidence, method=WHOLE)
    rng = np.random.default_rng(seed)
    direction = {block: rng.standard_normal(array.shape) for block, array in data.flat().items()}
    try:
        exact = evidence.tangents(direction).value
    except NotAnalytic as error:
        return route.method, f"no complex support: {error}"
    try:
        near = route.tangents(direction)
    except Exception:  # many examples side by side are more than the kernel takes: said where gradients are compared
        return EXACT, ""
    for name, array in near.value.items():
        apart = norm(exact[name] - array)
        if apart > CENTRAL.value * norm(array) and apart > 10 * norm(near.error[name]):
            said = "complex step differs from differences that settle (abs, conj, a real cast?)"
            return route.method, f"no complex support: {said}"
    return EXACT, ""


def settled(kernel: Kernel, regime: Regime, seed: int, method: str) -> Evidence:
    """Evidence at data of a regime on which the kernel is finite, gradients reach the end, and rounding doesn't grow beyond use."""
    flipped = replace(regime, name=f"{regime.name}, turned", shift=-regime.shift)
    tries = [(regime, 1.0, False), (regime, 0.7, False), (regime, 0.5, False), (flipped, 1.0, False), (flipped, 0.5, False)]
    tries += [(regime, 0.2, False), (regime, 0.5, True), (regime, 0.1, False), (regime, 0.1, True)]
    if regime.name == LONG.name:
        patterns = [(replace(regime, name=f"{regime.name}, signs {k}", pattern=k), 1.0, False) for k in range(1, PATTERNS)]
        tries = [*tries[:1], *patterns, *tries[1:]]
    tries = [(replace(r, name=r.name + f" x {by:g}" * (by != 1) + ", positive" * up), by, up) for r, by, up in tries]
    found: list[tuple[float, Evidence]] = []
    for k, (drawn, shrink, positive) in enumerate(tries):
        evidence = Evidence(kernel, drawn, draw(kernel.dims, drawn, seed, shrink, positive), seed, method)
        try:
            good = usable(evidence)
        except Exception:
            if k == 0:
                raise
            continue
        if good == 1.0 and regime.name == LONG.name:
            good = min(1.0, 0.9 + 0.1 * reach_of(evidence) / FELT)
        if good >= SATURATES and abs(regime.shift) > SIGMA_LIMIT:
            good = 1.0  # what is to be saturated isn't drawn smaller for that
        found.append((good, evidence))
        if good == 1.0:
            break
    return max(found, key=lambda pair: pair[0])[1]


def in_bounds(outputs: dict[str, Array]) -> bool:
    """Whether outputs are numbers that a derivative can be taken of."""
    return all(np.isfinite(array).all() for array in outputs.values()) and max(map(norm, outputs.values())) <= 1e8


def usable(evidence: Evidence) -> float:
    """1 where the data can be used, less where something is wrong with them, -1 where nothing can be said on them."""
    outputs = evidence.kernel.outputs(evidence.data)
    if not in_bounds(outputs):
        return -1.0
    if not np.isfinite(evidence.growth) or bound(evidence).value > 1e-8:
        return 0.2
    if evidence.wide.value and reach_of(evidence) == 0:
        return 0.5
    sizes = [float(np.abs(array).max(initial=0.0)) for array in outputs.values()]
    if max(sizes) > TANH_LIMIT:
        return SATURATES
    return 0.9 if any(np.tanh(TANH_LIMIT) < size <= 1 for size in sizes) else 1.0


def reach_of(evidence: Evidence) -> float:
    """The size of the derivative of the last outputs with respect to the first input or the initial state, next to the largest one."""
    moves = evidence.wide.value
    if not moves or evidence.growth == 0:
        return 0.0
    ends = [place for block, place in evidence.columns.items() if block.startswith("initial ")]
    far = [float(np.abs(array[-1][:, place]).max(initial=0.0)) for array in moves.values() for place in ends]
    return max(far, default=0.0) / evidence.growth


def first_steps(data: Data, count: int) -> Data:
    from verify.block_cause import segment  # which reads gradients too

    return segment(data, 0, min(count, data.steps), data.state)
