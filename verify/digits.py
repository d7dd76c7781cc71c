"""What becomes of the digits: float32 against float64, and arguments so large that every unit is saturated."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from verify.agreement import close
from verify.contract import broken
from verify.data import ORDINARY, REACH, Data
from verify.evidence import CHAINED, Array, Evidence
from verify.findings import FAIL, PASS, Finding
from verify.gradients import crop, expected_gradient, norm, relative
from verify.kernel import Kernel
from verify.tolerances import EPS, EPS32, Tolerance, single_precision


def precision(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """float32 agrees with float64 within the bound of the operation count, and what the last bits of the data are worth"""
    single = data.astype(np.float32)
    plain = single_precision(data.steps, kernel.dims.fan_in(), REACH / 2, 1.0)
    outputs, tape = kernel.forward(single)
    got = kernel.backward(single, tape, single.cotangents)
    other = next((name for name, array in {**outputs, **got}.items() if array.dtype != np.float32), None)
    if other is not None:
        yield broken("float32", f"{other}: wrong dtype: expected float32, got {({**outputs, **got})[other].dtype}")
    whole = single.astype(np.float64)
    exact, exact_tape = kernel.forward(whole)
    expected = kernel.backward(whole, exact_tape, whole.cotangents)
    spread = sensitivity(kernel, whole, {**exact, **expected})
    for what, arrays, right in (("forward", outputs, exact), ("backward", got, expected)):
        for name, array in right.items():
            extra = f" + 4 x {spread[name]:.0e}, what bits of float32 are worth in the data"
            allowed = Tolerance(min(plain.value + 4 * spread[name], 0.5), plain.reason + extra)
            if name in arrays and what == "backward" and not relative(arrays[name], array) <= allowed.value:
                own = missing(kernel, whole, name, array)
                if not own < 0.1:
                    continue  # so saturated that float32 has no digits of it
                extra = f"{allowed.reason} + 4 x {own:.0e}, what float64 is off by, 2**29 times over"
                allowed = Tolerance(min(allowed.value + 4 * own, 0.5), extra)
            if name in arrays:
                said = f"{what} is further from float64 than float32 explains"
                yield close("float32", {name: arrays[name]}, {name: array}, allowed, said)


def missing(kernel: Kernel, data: Data, block: str, got: Array) -> float:
    """What float32 may lose of a gradient, relative to its size: what float64 has lost of it or may have, in proportion.

    No bound knows how saturated a unit inside a kernel is; this measures it. 0 where the run isn't a chain of steps.
    """
    evidence = Evidence(kernel, ORDINARY, data, method=CHAINED).with_digits()
    if not evidence.digits:
        return 0.0
    expected, error = expected_gradient(block, evidence, data.cotangents)
    got = got if block in data.parameters else crop(got, block, evidence)
    size = norm(expected)
    return (norm(got - expected) + norm(error)) / size * EPS32 / EPS if size else np.inf


def sensitivity(kernel: Kernel, data: Data, right: dict[str, Array], eps: float = EPS32) -> dict[str, float]:
    """How far outputs and gradients move, relative to themselves, when every number of the data moves by eps, of float32 as a rule."""
    rng = np.random.default_rng(31)
    worst = dict.fromkeys(right, 0.0)
    for _ in range(3):
        moved = data.moved(eps, rng)
        outputs, tape = kernel.forward(moved)
        found = {**outputs, **kernel.backward(moved, tape, moved.cotangents)}
        worst = {name: max(size, relative(found[name], right[name])) for name, size in worst.items() if name in found}
    return {name: size if np.isfinite(size) else 0.0 for name, size in worst.items()}


def enlarged(data: Data) -> Data:
    """The data with parameters so large that every unit is saturated."""
    return replace(data, parameters={name: array * 1e4 for name, array in data.parameters.items()})


def saturation(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """|z| = 1e4: no nan where forward is finite; warnings are reported"""
    large = enlarged(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outputs, tape = kernel.forward(large)
        found = kernel.backward(large, tape, large.cotangents)
    finite = all(np.isfinite(array).all() for array in outputs.values())
    overflow = any(np.isinf(array).any() for array in outputs.values())
    if finite:
        bad = next((block for block, array in found.items() if not np.isfinite(array).all()), "")
        if bad:
            yield Finding(
                "saturation",
                FAIL,
                bad,
                said="not finite at |z| = 1e4 where the outputs are",
                cause="a slope overflows: write it in the output",
            )
            return
    said = "forward isn't finite at |z| = 1e4" if overflow or not finite else ""
    said = said or (f"warns at |z| = 1e4: {caught[0].message}" if caught else "")
    yield Finding("saturation", PASS, said=said)
