"""What the contract says of calls rather than of numbers: shapes, omitted cotangents, layouts, dtypes, saturation."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from verify.agreement import bound, close, verdict
from verify.bookkeeping import calls
from verify.contract import PROMISES, broken
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
    if not data.state or not kernel.dims.settled:
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

    def fortran(array: Array) -> Array:
        return np.array(array, order="F")

    def strided(array: Array) -> Array:
        if not array.ndim:
            return array
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]

    expected_outputs, tape = kernel.forward(data)
    expected = kernel.backward(data, tape, data.cotangents)
    for what, lay in (("Fortran-ordered", fortran), ("strided", strided)):
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


def read_only(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """arguments that can't be written to are taken: raising on them means that they would have been written to"""
    for function in ("forward", "backward"):
        given, call = calls(kernel, data, function)
        for what in given:
            for array in given[what].values():
                array.flags.writeable = False
            given[what] = types.MappingProxyType(given[what])
        try:
            call()
        except Exception as error:
            yield broken("read-only", f"{function} raises on read-only arguments ({one_line(error)})")
            return
    yield Finding("read-only", PASS)


def shapes(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """each gradient is shaped as its primal, in the dtype of the parameters"""
    outputs, tape = kernel.forward(data)
    found = kernel.backward(data, tape, data.cotangents)
    for name, array in outputs.items():
        if array.dtype != np.float64:
            yield Finding("shapes", FAIL, said=f"output {name}: expected float64, got {array.dtype}")
    for block, primal in data.flat().items():
        if block not in found:
            yield Finding("shapes", FAIL, block, said="backward doesn't return this gradient", cause="missing gradient")
        elif found[block].shape != primal.shape:
            yield Finding(
                "shapes",
                FAIL,
                block,
                said=f"wrong shape: expected {primal.shape}, got {found[block].shape}",
                cause=unsummed(found[block].shape, primal.shape, data),
            )
        elif found[block].dtype != np.float64:
            yield Finding("shapes", FAIL, block, said=f"wrong dtype: expected float64, got {found[block].dtype}")
    yield Finding("shapes", PASS)


def unsummed(got: tuple[int, ...], expected: tuple[int, ...], data: Data) -> str:
    """What a gradient of too many axes wasn't summed over; empty where that isn't it."""
    for lead, what in (((data.batch,), "examples"), ((data.steps,), "steps"), ((data.steps, data.batch), "steps and examples")):
        if got == (*lead, *expected):
            return f"the gradient isn't summed over the {what}"
    return ""


def no_steps(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """a run of no steps gives no outputs, and no gradients but zeros"""
    none = replace(
        data,
        inputs={name: array[:0] for name, array in data.inputs.items()},
        cotangents={name: array[:0] for name, array in data.cotangents.items()},
        steps=0,
    )
    primal = none.flat()
    for block, array in kernel.gradients(none).items():
        if array.shape != primal[block].shape:
            yield broken("no steps", f"{block}: expected {primal[block].shape}, got {array.shape}")
        elif array.any():
            yield Finding("no steps", FAIL, block, said="not zero where there are no steps")
    yield Finding("no steps", PASS)


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
    "read-only": read_only,
    "float32": precision,
    "examples independent": examples,
    "saturation": saturation,
    "no steps": no_steps,
}


def behaviour(kernel: Kernel, data: Data, names: tuple[str, ...] = tuple(CHECKS)) -> Iterator[Finding]:
    """Every check of behaviour; one that raises has failed: of the contract alone, where that promises no more than to run."""
    for name in names:
        found: list[Finding] = []
        try:
            with np.errstate(all="ignore") if name != "saturation" else nullcontext():
                for finding in CHECKS[name](kernel, data):
                    found.append(finding)
        except Exception as error:
            said = f"the kernel raises {one_line(error)}"
            found.append(broken(name, said) if name in PROMISES else Finding(name, FAIL, said=said))
        failed = [finding for finding in found if not finding.passed]
        yield from failed or found[-1:]
