"""What the contract says of calls rather than of numbers: repeatability, tapes, arguments, aliasing, layouts, dtypes, saturation."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from verify.agreement import bound, close, overlap, same, verdict
from verify.contract import PROMISES, broken
from verify.data import ORDINARY, Data, draw
from verify.digits import precision, saturation
from verify.evidence import Array
from verify.findings import FAIL, PASS, Finding
from verify.kernel import Kernel, one_line

Check = Callable[[Kernel, Data], Iterator[Finding]]


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
    other = draw(kernel.dims, replace(ORDINARY, steps=data.steps, batch=data.batch), 77)
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
            yield Finding("shapes", FAIL, block, said=f"wrong shape: expected {primal.shape}, got {found[block].shape}")
        elif found[block].dtype != np.float64:
            yield Finding("shapes", FAIL, block, said=f"wrong dtype: expected float64, got {found[block].dtype}")
    yield Finding("shapes", PASS)


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
    "repeatable": repeated,
    "tape": tapes,
    "omitted cotangent": omitted,
    "linear": linear,
    "state=None": no_state,
    "layouts": layouts,
    "arguments unchanged": arguments,
    "read-only": read_only,
    "aliasing": aliasing,
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
