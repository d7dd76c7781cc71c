"""What calls leave behind: between calls, in a tape, in arguments, in memory that two results share.

Each call is compared with the same call in a freshly loaded module. These checks come first and each for itself: where one fails,
everything after it runs in fresh modules with fresh tapes (`verify.kernel.Isolated`), so that one fault of bookkeeping is one finding
and the verdict on the gradients is one on the mathematics.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from verify.agreement import overlap, same, verdict
from verify.data import ORDINARY, Data, draw, is_token
from verify.evidence import Array
from verify.findings import FAIL, PASS, Finding
from verify.gradients import relative
from verify.kernel import FUNCTIONS, Kernel, one_line
from verify.ways import arrays_of

Check = Callable[[Kernel, Data], Iterator[Finding]]


# ---- calls


def results(kernel: Kernel, module: Any, data: Data, started: bool = True, moved: Data | None = None) -> dict[str, Array]:
    """What one forward and one backward call in a module give, copied: outputs as `output h`, gradients by block.

    started: with the data's initial state, else None. moved: arrays to pass as they are.
    """
    given = moved or data.copy()
    outputs, tape = module.forward(given.parameters, given.inputs, given.state if started else None)
    found = {f"output {name}": np.array(outputs[name]) for name in kernel.dims.outputs}
    gradients = kernel.flat(module.backward(given.parameters, tape, data.copy().cotangents))
    return found | {block: np.array(array) for block, array in gradients.items()}


def others(kernel: Kernel, data: Data) -> tuple[Data, Data]:
    """(other numbers of the same sizes, other sizes)."""
    same_sizes = draw(kernel.dims, replace(ORDINARY, steps=data.steps, batch=data.batch), 77)
    return same_sizes, draw(kernel.dims, replace(ORDINARY, steps=data.steps + 2, batch=data.batch + 1), 78)


def changed(data: Data, given: Data) -> Data:
    """Arrays that were passed before, changed in place as a training step changes them."""
    for arrays in (given.parameters, given.inputs, given.state):
        for array in arrays.values():
            if not is_token(array):
                array *= 1.25
    return replace(data, parameters=given.parameters, inputs=given.inputs, state=given.state)


# ---- between calls


def repeated(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """the same call gives the same bits whatever was called before, as in a freshly loaded module"""
    module = kernel.fresh()
    alone = results(kernel, module, data)
    if kernel.renewable:
        said = "gives other bits in another freshly loaded module"
        yield differing(alone, results(kernel, kernel.fresh(), data), said, "random numbers are drawn")
    other, wider = others(kernel, data)
    again = results(kernel, module, data)
    yield differing(alone, again, "gives other bits when called again", kept(alone, again))
    by_shape = "something is kept by its shape or name and not made anew"
    if kernel.renewable:
        said = "gives other bits than in a freshly loaded module, after a call with other numbers of the same sizes"
        yield differing(results(kernel, kernel.fresh(), other), results(kernel, module, other), said, by_shape)
        given = data.copy()
        results(kernel, module, data, moved=given)
        moved = changed(data, given)
        said = "gives other bits than in a freshly loaded module, after its arrays were changed in place between two calls"
        yield differing(results(kernel, kernel.fresh(), moved), results(kernel, module, moved, moved=given), said, by_shape)
    if kernel.renewable and data.state:
        fresh = where_taken(lambda: results(kernel, kernel.fresh(), data, started=False))
        said = "with state=None gives other bits than in a freshly loaded module"
        if fresh:
            yield differing(
                fresh, results(kernel, module, data, started=False), said, "a state is carried over from call to call"
            )
    for between, said in ((wider, "a call of other sizes"), (data.astype(np.float32), "a call in float32")):
        where_taken(lambda: results(kernel, module, between))  # noqa: B023 (called at once)
        yield differing(alone, results(kernel, module, data), f"gives other bits after {said}", "something is kept between calls")


def where_taken(call: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What a call gives, nothing where it raises: whether state=None and float32 are taken is a promise that is looked at by itself."""
    try:
        return call()
    except Exception:
        return {}


def differing(expected: Mapping[str, Array], got: Mapping[str, Array], said: str, cause: str) -> Finding:
    """One finding: which call it is, forward where an output differs."""
    different = same(expected, got)
    moved = any(not np.array_equal(expected[n], got[n], equal_nan=True) for n in expected if n.startswith("output "))
    call = "forward" if moved else "backward"
    block = "" if different.startswith("output ") else different
    return Finding("repeatable", FAIL, block, said=f"{call} {said}", cause=cause) if different else Finding("repeatable", PASS)


def kept(first: Mapping[str, Array], second: Mapping[str, Array]) -> str:
    """What a second call's results say of what is kept."""
    doubled = [name for name, array in first.items() if array.any() and relative(second[name], 2 * array) < 1e-12]
    if doubled:
        return "gradients are added to those of the call before: its buffer is never cleared"
    return "it keeps something between calls (a state, a buffer, a counter), or draws random numbers"


# ---- tapes

WRITTEN = "backward writes into the tape"
UNWRITTEN = (
    "backward gives other numbers for a copy of the tape too: noise, or memory that is read before it is written (np.empty)"
)


def tapes(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """a tape serves any number of backward calls, also after other forward calls"""
    other, _ = others(kernel, data)
    expected = fresh_gradients(kernel, data)

    def backward(module: Any, tape: Any, cotangents: Mapping[str, Array]) -> dict[str, Array]:
        return gradients_of(kernel, module, tape, data, cotangents)

    def trial(between: Callable[[Any, Any], Any], said: str, cause: str) -> Finding:
        module = kernel.fresh()
        tape = forward(module, data)[1]
        first = backward(module, tape, data.cotangents) if "second" in said else expected
        try:
            between(module, tape)
            later = backward(module, tape, data.cotangents)
        except Exception as error:
            return Finding("tape", FAIL, said=f"{said} raises {one_line(error)}", cause="backward consumes what the tape holds")
        different = same(first, later)
        if cause == WRITTEN and different and same(*of_copied_tape(kernel, data, other)):
            cause = UNWRITTEN
        return verdict("tape", different, f"{said} gives other bits", cause)

    yield trial(
        lambda module, tape: backward(module, tape, other.cotangents),
        "a second backward on one tape",
        WRITTEN,
    )
    yield trial(
        lambda module, tape: forward(module, other),
        "backward after a later forward",
        "the tape lies in a buffer that forward writes again",
    )
    yield trial(
        lambda module, tape: backward(module, forward(module, other)[1], other.cotangents),
        "backward after that of another tape",
        "two tapes share what backward reads",
    )
    if kernel.has("step_jacobian"):
        yield from of_jacobian(kernel, data, trial)


def gradients_of(kernel: Kernel, module: Any, tape: Any, data: Data, cotangents: Mapping[str, Array]) -> dict[str, Array]:
    """The gradients by block, copied."""
    given = {name: array.copy() for name, array in cotangents.items()}
    return {b: np.array(a) for b, a in kernel.flat(module.backward(data.copy().parameters, tape, given)).items()}


def of_copied_tape(kernel: Kernel, data: Data, other: Data) -> tuple[dict[str, Array], dict[str, Array]]:
    """The gradients of a tape, and of a copy of it that was made before other calls; none where it can't be copied."""
    module = kernel.fresh()
    tape = forward(module, data)[1]
    try:
        copied = copy.deepcopy(tape)
    except Exception:
        return {}, {}
    first = gradients_of(kernel, module, tape, data, data.cotangents)
    gradients_of(kernel, module, tape, data, other.cotangents)
    return first, gradients_of(kernel, module, copied, data, data.cotangents)


def of_jacobian(kernel: Kernel, data: Data, trial: Callable[..., Finding]) -> Iterator[Finding]:
    module = kernel.fresh()
    tape = forward(module, data)[1]
    one = arrays_of(module.step_jacobian(data.copy().parameters, tape))
    before = {name: array.copy() for name, array in one.items()}
    two = arrays_of(module.step_jacobian(data.copy().parameters, tape))
    shared = overlap(one, {f"{name} again": array for name, array in two.items()}) or same(two, before)
    yield verdict("tape", shared, "a second step_jacobian on one tape gives other bits or the same memory", "a buffer is kept")
    yield trial(
        lambda module, tape: module.step_jacobian(data.copy().parameters, tape),
        "backward after step_jacobian",
        "step_jacobian changes the tape",
    )


def forward(module: Any, data: Data) -> tuple[dict[str, Array], Any]:
    """(outputs as they are returned, tape)."""
    moved = data.copy()
    outputs, tape = module.forward(moved.parameters, moved.inputs, moved.state)
    return {name: np.asarray(array) for name, array in outputs.items()}, tape


def fresh_gradients(kernel: Kernel, data: Data) -> dict[str, Array]:
    found = results(kernel, kernel.fresh(), data)
    return {name: array for name, array in found.items() if not name.startswith("output ")}


# ---- arguments


def arguments(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """arrays and mappings that are passed in stay unchanged"""
    for name in FUNCTIONS:
        if kernel.has(name):
            yield unchanged(kernel, data, name)


def calls(kernel: Kernel, data: Data, function: str) -> tuple[dict[str, Any], Callable[[], Any]]:
    """(the mappings of a call by name, the call)."""
    module = kernel.fresh()
    tape = forward(module, data)[1]
    one, two = data.copy(), data.copy()
    match function:
        case "forward":
            given = {"parameters": one.parameters, "inputs": one.inputs, "state": one.state}
            return given, lambda: module.forward(*given.values())
        case "backward":
            given = {"parameters": one.parameters, "cotangents": one.cotangents}
            return given, lambda: module.backward(given["parameters"], tape, given["cotangents"])
        case "jvp" | "hvp":
            given = {"parameters": one.parameters, "inputs": one.inputs, "state": one.state}
            given |= {"cotangents": one.cotangents} if function == "hvp" else {}
            given |= {"tangent_parameters": two.parameters, "tangent_inputs": two.numbers, "tangent_state": two.state}
            return given, lambda: getattr(module, function)(*given.values())
    given = {"parameters": one.parameters}
    return given, lambda: module.step_jacobian(given["parameters"], tape)


def unchanged(kernel: Kernel, data: Data, function: str) -> Finding:
    given, call = calls(kernel, data, function)
    before = {what: {name: array.copy() for name, array in mapping.items()} for what, mapping in given.items()}
    objects = {what: dict(mapping) for what, mapping in given.items()}
    call()
    for what, mapping in given.items():
        if list(mapping) != list(before[what]):
            said = f"{function} changes the mapping {what}"
            return Finding("arguments unchanged", FAIL, said=said, cause="a key is popped, added or moved")
        for name, array in objects[what].items():
            if mapping[name] is not array or not np.array_equal(array, before[what][name]):
                said = f"{function} changes {what}[{name!r}]"
                return Finding("arguments unchanged", FAIL, said=said, cause="an argument is written in place")
    return Finding("arguments unchanged", PASS)


# ---- memory


def aliasing(kernel: Kernel, data: Data) -> Iterator[Finding]:
    """results of two calls share nothing, nor with arguments, nor with what a tape still needs"""
    module, expected = kernel.fresh(), fresh_gradients(kernel, data)

    def backward(module: Any, tape: Any, given: Data) -> dict[str, Array]:
        return kernel.flat(module.backward(given.parameters, tape, given.cotangents))

    (first, tape), (second, another) = forward(module, data), forward(module, data)
    yield verdict("aliasing", overlap(first, second), "two forward calls return the same memory", "a buffer is kept and returned")
    given = data.copy()
    one, two = backward(module, tape, given), backward(module, another, data.copy())
    yield verdict("aliasing", overlap(one, two), "two backward calls return the same memory", "a buffer is kept and returned")
    yield verdict(
        "aliasing",
        overlap(one, {**given.parameters, **given.cotangents}),
        "a gradient is a view of an argument",
        "an argument is returned, or a view of it, where a copy is needed",
    )
    spoiled = kernel.fresh()
    outputs, own = forward(spoiled, data)
    for arrays, made_by, tape_of, said in ((outputs, spoiled, own, "outputs"), (one, module, tape, "gradients")):
        spoil(arrays)
        try:
            later = backward(made_by, tape_of, data.copy())
        except Exception as error:
            yield Finding("aliasing", FAIL, said=f"changing the {said} makes a later backward raise {one_line(error)}")
            continue
        said = f"changing the {said} changes the gradients of a later call"
        yield verdict("aliasing", same(later, expected), said, "the tape shares their memory")


def spoil(arrays: Mapping[str, Array]) -> None:
    for array in arrays.values():
        if array.flags.writeable:
            array[...] = np.nan


CHECKS: dict[str, Check] = {
    "repeatable": repeated,
    "tape": tapes,
    "arguments unchanged": arguments,
    "aliasing": aliasing,
}
"""In the order in which one explains another."""
FOLLOW: dict[str, tuple[str, ...]] = {"repeatable": ("tape", "aliasing"), "tape": ("aliasing",)}
"""What may fail only because an earlier check does."""


def bookkeeping(kernel: Kernel, data: Data) -> list[Finding]:
    """One finding a check; of those that fail the first says which later ones follow from it, and these aren't findings of their own."""
    found: dict[str, Finding] = {}
    for name, check in CHECKS.items():
        try:
            with np.errstate(all="ignore"):
                outcomes = list(check(kernel, data))
        except Exception as error:
            outcomes = [Finding(name, FAIL, said=f"the kernel raises {one_line(error)}")]
        found[name] = next((one for one in outcomes if not one.passed), Finding(name, PASS))
    for first, later in FOLLOW.items():
        if first in found and not found[first].passed:
            follows = [found.pop(name) for name in later if name in found and not found[name].passed]
            if follows:
                said = ", ".join(f"{one.check} ({one.said})" for one in follows)
                found[first] = replace(found[first], said=f"{found[first].said}; from it follows: {said}")
    return list(found.values())


def followed(findings: list[Finding]) -> list[Finding]:
    """The findings, wrong gradients without a cause as what may follow from a tape that backward writes into."""
    written = any(one.check == "tape" and one.cause == WRITTEN and not one.passed for one in findings)
    said = "it may follow from the tape, into which backward writes while it still reads it"
    return [
        replace(f, cause=said) if written and f.check == "gradients" and not f.passed and not f.cause else f for f in findings
    ]
