"""What the contract says of calls rather than of numbers: shapes, omitted cotangents, layouts, dtypes, saturation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from verify.agreement import bound, close, verdict
from verify.data import Data
from verify.digits import precision, saturation
from verify.evidence import Array
from verify.findings import FAIL, PASS, Finding
from verify.kernel import Kernel, one_line

Check = Callable[[Kernel, Data], Iterator[Finding]]


def omitted(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """an omitted cotangent is zero"""
    _, tape = kernel.forward(data)
    nothing = kernel.backward(data, tape, {})
    different = next((block for block, array in nothing.items() if array.any()), "")
    yield verdict("omitted cotangent", different, "not zero without any cotangent", "something is added that no cotangent gives")
    for name in data.cotangents:
        given = {other: array for other, array in data.cotangents.items() if other != name}
        zeros = {**data.cotangents, name: np.zeros_like(data.cotangents[name])}
        got, expected = kernel.backward(data, tape, given), kernel.backward(data, tape, zeros)
        yield close(
            "omitted cotangent", got, expected, bound(kernel, data), f"leaving out the cotangent of {name} differs from zeros"
        )


def linear(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """gradients scale with the cotangents"""
    _, tape = kernel.forward(data)
    expected = kernel.backward(data, tape, data.cotangents)
    for power in (30, -200):
        scaled = {name: array * 2.0**power for name, array in data.cotangents.items()}
        got = {block: array * 2.0**-power for block, array in kernel.backward(data, tape, scaled).items()}
        yield close(
            "linear",
            got,
            expected,
            bound(kernel, data),
            f"cotangents times 2**{power} don't give gradients times 2**{power}",
            "a gradient is clipped" if power > 0 else "small numbers are taken for zero, or something is added",
        )


def no_state(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """state=None is zeros"""
    if not data.state:
        return
    zeros = replace(data, state={name: np.zeros_like(array) for name, array in data.state.items()})
    moved = data.copy()
    outputs, tape = kernel.module.forward(moved.parameters, moved.inputs, None)
    expected, zero_tape = kernel.forward(zeros)
    outputs = {name: np.asarray(outputs[name]) for name in expected}
    yield close("state=None", outputs, expected, bound(kernel, data), "forward differs from zeros")
    got = kernel.backward(data, tape, data.cotangents)
    yield close(
        "state=None", got, kernel.backward(zeros, zero_tape, data.cotangents), bound(kernel, data), "backward differs from zeros"
    )


def layouts(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """Fortran-ordered and strided arrays work"""

    def strided(array: Array) -> Array:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]

    expected_outputs, tape = kernel.forward(data)
    expected = kernel.backward(data, tape, data.cotangents)
    for what, lay in (("Fortran-ordered", np.asfortranarray), ("strided", strided)):
        p, x, s, c = (
            {n: lay(a) for n, a in part.items()} for part in (data.parameters, data.inputs, data.state, data.cotangents)
        )
        outputs, tape = kernel.module.forward(p, x, s)
        outputs = {name: np.asarray(outputs[name]) for name in expected_outputs}
        yield close("layouts", outputs, expected_outputs, bound(kernel, data), f"forward differs on {what} arrays")
        got = kernel.flat(kernel.module.backward(p, tape, c))
        yield close(
            "layouts", got, expected, bound(kernel, data), f"backward differs on {what} arrays", "it reads the memory order"
        )


def shapes(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """each gradient is shaped as its primal, in the dtype of the parameters"""
    for dtype in (np.float64, np.float32):
        cast = data.astype(dtype)
        outputs, tape = kernel.forward(cast)
        found = kernel.backward(cast, tape, cast.cotangents)
        for name, array in outputs.items():
            if array.dtype != dtype:
                yield Finding("shapes", FAIL, said=f"output {name}: expected {np.dtype(dtype)}, got {array.dtype}")
        for block, primal in cast.flat().items():
            if block not in found:
                yield Finding("shapes", FAIL, block, said="backward doesn't return this gradient", cause="missing gradient")
            elif found[block].shape != primal.shape:
                yield Finding("shapes", FAIL, block, said=f"wrong shape: expected {primal.shape}, got {found[block].shape}")
            elif found[block].dtype != dtype:
                yield Finding("shapes", FAIL, block, said=f"wrong dtype: expected {np.dtype(dtype)}, got {found[block].dtype}")
    yield Finding("shapes", PASS)


def examples(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """an example alone gives what it gives among others"""
    alone = replace(
        data,
        inputs={name: array[:, 1:2] for name, array in data.inputs.items()},
        state={name: array[1:2] for name, array in data.state.items()},
        cotangents={name: array[:, 1:2] for name, array in data.cotangents.items()},
        batch=1,
    )
    outputs, tape = kernel.forward(data)
    single, single_tape = kernel.forward(alone)
    said = "an example alone differs from itself among others"
    yield close("examples independent", single, {n: a[:, 1:2] for n, a in outputs.items()}, bound(kernel, data), said)
    among, got = kernel.backward(data, tape, data.cotangents), kernel.backward(alone, single_tape, alone.cotangents)
    expected = {
        b: among[b][:, 1:2] if b.startswith("input ") else among[b][1:2] for b in among if b.startswith(("input ", "initial "))
    }
    shaped = {b: a for b, a in expected.items() if b in got and got[b].shape == a.shape}
    yield close("examples independent", got, shaped, bound(kernel, data), f"the gradient of {said}")


CHECKS: dict[str, Check] = {
    "shapes": shapes,
    "omitted cotangent": omitted,
    "linear": linear,
    "state=None": no_state,
    "layouts": layouts,
    "float32": precision,
    "examples independent": examples,
    "saturation": saturation,
}


def behaviour(kernel: Kernel, data: Data, names: tuple[str, ...] = tuple(CHECKS)) -> Iterator[Finding]:
    """Every check of behaviour; one that raises has failed."""
    for name in names:
        try:
            with np.errstate(all="ignore") if name != "saturation" else np.errstate():
                found = list(CHECKS[name](kernel, data))
        except Exception as error:
            yield Finding(name, FAIL, said=f"the kernel raises {one_line(error)}")
            continue
        failed = [finding for finding in found if not finding.passed]
        yield from failed or found[-1:]
