"""What the contract says of calls rather than of numbers: repeatability, tapes, arguments, aliasing, layouts, dtypes, saturation."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from verify.data import ORDINARY, Data, draw
from verify.evidence import Array
from verify.findings import FAIL, PASS, Finding
from verify.gradients import relative
from verify.kernel import Kernel, one_line
from verify.tolerances import EPS32, Tolerance, rounding, single_precision

Check = Callable[[Kernel, Data], Iterator[Finding]]


def bound(kernel: Kernel, data: Data) -> Tolerance:
    return rounding(data.steps, kernel.dims.fan_in(), ORDINARY.reach, 10.0)


def same(first: Mapping[str, Array], second: Mapping[str, Array]) -> str:
    """The first name whose arrays differ by a bit; empty where none does."""
    names = dict.fromkeys([*first, *second])
    return next(
        (n for n in names if n not in first or n not in second or not np.array_equal(first[n], second[n], equal_nan=True)), ""
    )


def verdict(name: str, different: str, said: str, cause: str = "") -> Finding:
    if not different:
        return Finding(name, PASS)
    return Finding(name, FAIL, different, said=said, cause=cause)


def close(
    name: str, got: Mapping[str, Array], expected: Mapping[str, Array], allowed: Tolerance, said: str, cause: str = ""
) -> Finding:
    """All arrays within a tolerance, relative to each one's norm."""
    for block in expected:
        error = relative(got[block], expected[block]) if block in got else float("inf")
        if not error <= allowed.value:
            return Finding(name, FAIL, block, said=said, error=error, tolerance=allowed.value, reason=allowed.reason, cause=cause)
    return Finding(name, PASS)


def repeated(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """identical bits on repeated calls"""
    first, tape = kernel.forward(data)
    second, again = kernel.forward(data)
    yield verdict(
        "repeatable",
        same(first, second),
        "forward gives other bits when called again",
        "it keeps something between calls, or draws random numbers",
    )
    one, two = kernel.backward(data, tape, data.cotangents), kernel.backward(data, again, data.cotangents)
    yield verdict(
        "repeatable",
        same(one, two),
        "backward gives other bits when called again",
        "it keeps something between calls, or draws random numbers",
    )


def tapes(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """a tape serves any number of backward calls, also after other forward calls"""
    other = draw(kernel.dims, ORDINARY, 77)
    _, tape = kernel.forward(data)
    first = kernel.backward(data, tape, data.cotangents)
    kernel.backward(data, tape, other.cotangents)
    second = kernel.backward(data, tape, data.cotangents)
    yield verdict(
        "tape",
        same(first, second),
        "a second backward on one tape gives other bits",
        "backward changes the tape or adds to a buffer",
    )
    _, tape = kernel.forward(data)
    kernel.forward(other)
    later = kernel.backward(data, tape, data.cotangents)
    yield verdict(
        "tape",
        same(first, later),
        "backward gives other bits after a later forward",
        "the tape lies in a buffer that forward writes again",
    )
    if kernel.has("step_jacobian"):
        _, tape = kernel.forward(data)
        one = np.asarray(kernel.module.step_jacobian(data.copy().parameters, tape))
        kept = one.copy()
        two = np.asarray(kernel.module.step_jacobian(data.copy().parameters, tape))
        shared = overlap({"step_jacobian": one}, {"again": two}) or same({"step_jacobian": two}, {"step_jacobian": kept})
        yield verdict(
            "tape", shared, "a second step_jacobian on one tape gives other bits or the same memory", "a buffer is kept"
        )
        later = kernel.backward(data, tape, data.cotangents)
        yield verdict(
            "tape", same(first, later), "backward gives other bits after step_jacobian", "step_jacobian changes the tape"
        )


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


def arguments(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """arrays and mappings that are passed in stay unchanged"""
    for function in ("forward", "backward", "jvp", "step_jacobian"):
        if kernel.has(function):
            yield unchanged(kernel, data, function)
    yield read_only(kernel, data)


def calls(kernel: Kernel, data: Data, function: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    """(the mappings of a call by name, the call)."""
    _, tape = kernel.forward(data)
    one, two = data.copy(), data.copy()
    module = kernel.module
    match function:
        case "forward":
            given = {"parameters": one.parameters, "inputs": one.inputs, "state": one.state}
            return given, lambda: module.forward(*given.values())
        case "backward":
            given = {"parameters": one.parameters, "cotangents": one.cotangents}
            return given, lambda: module.backward(given["parameters"], tape, given["cotangents"])
        case "jvp":
            given = {"parameters": one.parameters, "inputs": one.inputs, "state": one.state}
            given |= {"tangent_parameters": two.parameters, "tangent_inputs": two.inputs, "tangent_state": two.state}
            return given, lambda: module.jvp(*given.values())
    given = {"parameters": one.parameters}
    return given, lambda: module.step_jacobian(given["parameters"], tape)


def unchanged(kernel: Kernel, data: Data, function: str) -> Finding:
    given, call = calls(kernel, data, function)
    before = {what: {name: array.copy() for name, array in mapping.items()} for what, mapping in given.items()}
    objects = {what: dict(mapping) for what, mapping in given.items()}
    call()
    for what, mapping in given.items():
        if list(mapping) != list(before[what]):
            return Finding(
                "arguments unchanged",
                FAIL,
                said=f"{function} changes the mapping {what}",
                cause="a key is popped, added or moved",
            )
        for name, array in objects[what].items():
            if mapping[name] is not array or not np.array_equal(array, before[what][name]):
                return Finding(
                    "arguments unchanged",
                    FAIL,
                    said=f"{function} changes {what}[{name!r}]",
                    cause="an argument is written in place",
                )
    return Finding("arguments unchanged", PASS)


def read_only(kernel: Kernel, data: Data) -> Finding:
    """Arguments that can't be written to: raising on them means that they would have been written to."""
    for function in ("forward", "backward"):
        given, call = calls(kernel, data, function)
        for what in given:
            for array in given[what].values():
                array.flags.writeable = False
            given[what] = types.MappingProxyType(given[what])
        try:
            call()
        except Exception as error:
            said = f"{function} raises on read-only arguments ({one_line(error)})"
            return Finding("arguments unchanged", FAIL, said=said, cause="it writes into an argument or changes a mapping")
    return Finding("arguments unchanged", PASS)


def aliasing(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """results of two calls share nothing, nor with what a tape still needs"""
    first, tape = kernel.forward(data)
    second, _ = kernel.forward(data)
    shared = overlap(first, second)
    yield verdict("aliasing", shared, "two forward calls return the same memory", "a buffer is kept and returned")
    moved = data.copy()
    one = kernel.flat(kernel.module.backward(moved.parameters, tape, moved.cotangents))
    kept = {name: array.copy() for name, array in one.items()}
    two = kernel.backward(data, tape, data.cotangents)
    yield verdict("aliasing", overlap(one, two), "two backward calls return the same memory", "a buffer is kept and returned")
    yield verdict("aliasing", overlap(one, {**moved.parameters, **moved.cotangents}), "a gradient is a view of an argument")
    for array in first.values():
        if array.flags.writeable:
            array[...] = np.nan
    yield verdict(
        "aliasing",
        same(kernel.backward(data, tape, data.cotangents), kept),
        "changing the outputs changes the gradients",
        "the tape shares their memory",
    )


def overlap(first: Mapping[str, Array], second: Mapping[str, Array]) -> str:
    return next(
        (
            a
            for a, one in first.items()
            for two in second.values()
            if np.may_share_memory(one, two) and np.shares_memory(one, two)
        ),
        "",
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


def precision(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """float32 agrees with float64 within the bound of the operation count, and what the last bits of the data are worth"""
    single = data.astype(np.float32)
    plain = single_precision(data.steps, kernel.dims.fan_in(), ORDINARY.reach / 2, 1.0)
    outputs, tape = kernel.forward(single)
    got = kernel.backward(single, tape, single.cotangents)
    whole = single.astype(np.float64)
    exact, exact_tape = kernel.forward(whole)
    expected = kernel.backward(whole, exact_tape, whole.cotangents)
    spread = sensitivity(kernel, whole, {**exact, **expected})
    for what, arrays, right in (("forward", outputs, exact), ("backward", got, expected)):
        for name, array in right.items():
            extra = f" + 4 x {spread[name]:.0e}, what bits of float32 are worth in the data"
            allowed = Tolerance(min(plain.value + 4 * spread[name], 0.5), plain.reason + extra)
            if name in arrays:
                said = f"{what} is further from float64 than float32 explains"
                yield close("float32", {name: arrays[name]}, {name: array}, allowed, said)


def sensitivity(kernel: Kernel, data: Data, right: dict[str, Array]) -> dict[str, float]:
    """How far outputs and gradients move, relative to themselves, when every number of the data moves by eps of float32."""
    rng = np.random.default_rng(31)
    worst = dict.fromkeys(right, 0.0)
    for _ in range(3):
        blocks = {b: a * (1 + EPS32 * rng.choice([-1.0, 1.0], a.shape)) for b, a in data.flat().items()}
        moved = data.with_flat(blocks)
        outputs, tape = kernel.forward(moved)
        found = {**outputs, **kernel.backward(moved, tape, moved.cotangents)}
        worst = {name: max(size, relative(found[name], right[name])) for name, size in worst.items() if name in found}
    return {name: size if np.isfinite(size) else 0.0 for name, size in worst.items()}


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


CHECKS: dict[str, Check] = {
    "shapes": shapes,
    "repeatable": repeated,
    "tape": tapes,
    "omitted cotangent": omitted,
    "linear": linear,
    "state=None": no_state,
    "layouts": layouts,
    "arguments unchanged": arguments,
    "aliasing": aliasing,
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
