"""Buffers kept between calls: what a `Workspace` promises.

With it a call gives what it gives without, and the same bits whatever the workspace was used for before: other numbers, other sizes,
another precision, arrays changed in place, results that the caller wrote into. What it lent lives: outputs and tape until the next
forward with it, gradients until the next backward with it. Each promise is looked at by itself, in
a freshly loaded module; what results are held against is of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from verify.agreement import overlap
from verify.bookkeeping import changed, kept, others, spoil
from verify.checkpoints import uneven
from verify.data import ORDINARY, SIZES, Data, draw
from verify.evidence import Array, Evidence
from verify.findings import FAIL, PASS, Finding
from verify.kernel import Kernel
from verify.offers import (
    CHECKPOINT,
    WORKSPACE,
    Calls,
    Case,
    Raised,
    copied,
    described,
    other_bits,
    raising,
    with_workspace,
)

UNTIL = {
    "outputs": "outputs and tape live until the next forward with it",
    "gradients": "gradients live until the next backward with it",
}


@dataclass
class Bench:
    """A kernel with workspaces: a freshly loaded module of it, and calls there."""

    kernel: Kernel
    data: Data

    def __post_init__(self) -> None:
        self.module = self.kernel.fresh()
        self.functions = with_workspace(self.kernel)

    @cached_property
    def reference(self) -> Bench:
        """Another module, for what results are held against."""
        return Bench(self.kernel, self.data)

    def case(self, kernel: Kernel, data: Data, growth: float = 0.0, **how: Any) -> Case:
        return Case(WORKSPACE, kernel, (self.module, self.reference.module), data, growth, **how)

    def with_new(self, kernel: Kernel, data: Data, **how: Any) -> dict[str, Array]:
        """The results of a call with a new workspace."""
        return self.reference.results(Calls(kernel, self.reference.module, data, **how), self.reference.workspace())

    def workspace(self) -> Any:
        return raising("Workspace()", self.module.Workspace)

    def calls(self, data: Data | None = None, **how: Any) -> Calls:
        return Calls(self.kernel, self.module, data or self.data, **how)

    def option(self, function: str, workspace: Any) -> dict[str, Any]:
        """The option that passes a workspace to a function, where that takes one."""
        return {WORKSPACE: workspace} if workspace is not None and function in self.functions else {}

    def forward(self, calls: Calls, workspace: Any = None, **more: Any) -> tuple[dict[str, Array], Any]:
        return calls.forward(**self.option("forward", workspace), **more)

    def backward(self, calls: Calls, tape: Any, workspace: Any = None) -> dict[str, Array]:
        return calls.backward(tape, **self.option("backward", workspace))

    def results(self, calls: Calls, workspace: Any = None) -> dict[str, Array]:
        return calls.results(self.option("forward", workspace), self.option("backward", workspace))


def workspaces(kernel: Kernel, evidence: Evidence, checkpointed: bool) -> Iterator[Finding]:
    """a workspace changes no result, whatever it was used for before, and what it lent lives as long as it is said to

    checkpointed: whether tapes of checkpoints are looked at too: they are right without a workspace.
    """
    for promise in PROMISES:
        try:
            failure = next((f for f in promise(evidence.kernel, evidence, checkpointed) if f is not None), None)
        except Raised as error:
            failure = Finding(WORKSPACE, FAIL, said=str(error))
        if failure is not None:
            yield failure
            return
    yield Finding(
        WORKSPACE,
        PASS,
        said=f"of {' and '.join(with_workspace(kernel))}: {len(between(kernel, evidence.data))} other calls between",
    )


def failed(block: str, said: str, cause: str = "") -> Finding:
    """What fails, a gradient by its block."""
    where, block = (block, "") if block.startswith("output ") else ("", block)
    return Finding(WORKSPACE, FAIL, block, where, said=said, cause=cause)


# ---- as without


def as_without(kernel: Kernel, evidence: Evidence, _: bool) -> Iterator[Finding | None]:
    """A call with a new workspace gives the results of one without, in both precisions; arguments stay unchanged and aren't returned."""
    bench = Bench(kernel, evidence.data)
    for dtype, said in ((np.float64, ""), (np.float32, " in float32")):
        case = bench.case(kernel, evidence.data.astype(dtype), evidence.growth)
        if not case.runs:
            continue
        calls, workspace = case.calls(), bench.workspace()
        outputs, tape = bench.forward(calls, workspace)
        got = {f"output {name}": array.copy() for name, array in outputs.items()}
        gradients = bench.backward(calls, tape, workspace)
        if name := calls.changed():
            yield failed("", f"calls with a workspace{said} change {name}", "an argument, or a view of it, is written in place")
        given = {**calls.given.flat(), **{f"cotangent {name}": array for name, array in calls.given.cotangents.items()}}
        if name := overlap(outputs, given) or overlap(gradients, given):
            yield failed(name, f"what a call with a workspace{said} returns is a view of an argument")
        yield case.apart(got | gradients, case.plain, f"a call with a new workspace{said} isn't the call without")
        yield from on_one_tape(bench, calls, tape, workspace, outputs, gradients)


def on_one_tape(
    bench: Bench, calls: Calls, tape: Any, workspace: Any, outputs: dict[str, Array], gradients: dict[str, Array]
) -> Iterator[Finding]:
    """A second backward gives the same bits, also after the caller wrote into outputs and gradients."""
    first = copied(gradients)
    for said, results in (("", {}), (", after its outputs were written into", outputs), (", after gradients were", gradients)):
        spoil(results)
        again = copied(bench.backward(calls, tape, workspace))
        if name := other_bits(first, again):
            cause = kept(first, again) if not results else "the tape, or a buffer that isn't cleared, shares their memory"
            yield failed(name, f"a second backward on one tape with one workspace gives other bits{said}", cause)


# ---- whatever came before


@dataclass(frozen=True)
class Between:
    """A call, or what else is done, between two calls with one workspace."""

    said: str
    data: Data
    kernel: Kernel
    how: Mapping[str, Any]


def between(kernel: Kernel, data: Data) -> list[Between]:
    """Other numbers, sizes of the run, dimensions, precision; without a state, with one cotangent alone."""
    same_sizes, wider = others(kernel, data)
    shape = replace(ORDINARY, steps=data.steps, batch=data.batch)
    turned = kernel.sized(SIZES[::-1])
    found = [
        Between("the same call", data, kernel, {}),
        Between("a call with other numbers of the same sizes", same_sizes, kernel, {}),
        Between("a call with more steps and examples", wider, kernel, {}),
        Between("a call with other dimensions", draw(turned.dims, shape, 79), turned, {}),
        Between("a call in float32", data.astype(np.float32), kernel, {}),
    ]
    if data.state and kernel.dims.settled:
        found.append(Between("a call with state=None", same_sizes, kernel, {"started": False}))
    if len(data.cotangents) > 1:
        found += [
            Between(f"a call with the cotangent of {n} alone", same_sizes, kernel, {"names": (n,)}) for n in data.cotangents
        ]
    return found


def whatever_before(kernel: Kernel, evidence: Evidence, _: bool) -> Iterator[Finding | None]:
    """One workspace through all calls: each gives the bits of the same call with a new workspace."""
    data, bench = evidence.data, Bench(kernel, evidence.data)
    workspace = bench.workspace()
    alone = bench.with_new(kernel, data)
    before = "the first call"
    for step in between(kernel, data):
        case = bench.case(step.kernel, step.data, **step.how)
        if not case.runs:
            continue
        expected = bench.with_new(step.kernel, step.data, **step.how)
        for said, right, calls in ((step.said, expected, case.calls()), ("the first call, again", alone, bench.calls())):
            yield reused(bench, calls, workspace, right, f"{said}, after {before}")
            before = said
    yield from changed_in_place(kernel, data)


def reused(bench: Bench, calls: Calls, workspace: Any, expected: dict[str, Array], said: str) -> Finding | None:
    """A call with a workspace that was used before: the bits of one with a new workspace; then its results are written into."""
    try:
        outputs, tape = bench.forward(calls, workspace)
        first = {f"output {name}": array.copy() for name, array in outputs.items()}
        spoil(outputs)
        gradients = bench.backward(calls, tape, workspace)
    except Raised as error:
        return failed(
            "", f"with a used workspace it raises: {said}: {error}", "a buffer of other sizes, or of another dtype, is kept"
        )
    got = first | copied(gradients)
    spoil(gradients)
    if name := other_bits(expected, got):
        call = "forward" if other_bits({n: expected[n] for n in first}, first) else "backward"
        return failed(name, f"{call} with a used workspace isn't that with a new one: {said}", stale(name, got, expected))
    return None


def stale(name: str, got: Mapping[str, Array], expected: Mapping[str, Array]) -> str:
    """What is wrong with the buffer of a result."""
    if name not in got:
        return ""
    if got[name].dtype != expected[name].dtype:
        return f"a buffer of {got[name].dtype} is kept for {expected[name].dtype}"
    if got[name].shape != expected[name].shape:
        return f"a buffer of {got[name].shape} is kept for {expected[name].shape}"
    return "a buffer isn't cleared or isn't written anew, or is kept where something that it is made of has changed"


def changed_in_place(kernel: Kernel, data: Data) -> Iterator[Finding | None]:
    """Arrays that are changed between two calls as a training step changes them, the workspace the same."""
    bench = Bench(kernel, data)
    workspace, calls = bench.workspace(), bench.calls()
    bench.results(calls, workspace)
    moved = changed(data, calls.given)
    again = bench.calls(moved, given=moved)
    expected = bench.with_new(kernel, moved)
    yield reused(bench, again, workspace, expected, "after its arrays were changed in place")


# ---- how long what was lent lives


def lifetimes(kernel: Kernel, evidence: Evidence, checkpointed: bool) -> Iterator[Finding | None]:
    """Outputs and tape until the next forward with the workspace, gradients until the next backward with it."""
    bench = Bench(kernel, evidence.data)
    other, wider = others(kernel, evidence.data)
    for what in UNTIL:
        for said, action in actions(what, other, wider, checkpointed):
            calls, workspace = bench.calls(), bench.workspace()
            outputs, tape = bench.forward(calls, workspace)
            gradients = copied(bench.backward(calls, tape))
            lent = outputs if what == "outputs" else bench.backward(calls, tape, workspace)
            before = copied(lent)
            action(bench, workspace, calls, tape)
            if name := other_bits(before, lent):
                name = f"output {name}" if what == "outputs" else name
                yield failed(name, f"{what} that a workspace lent are overwritten by {said}: {UNTIL[what]}")
            if what == "outputs" and (name := other_bits(gradients, copied(bench.backward(calls, tape)))):
                yield failed(name, f"a tape that a workspace lent is overwritten by {said}: {UNTIL[what]}")


Action = Callable[[Bench, Any, Calls, Any], Any]


def actions(what: str, other: Data, wider: Data, checkpointed: bool) -> Iterator[tuple[str, Action]]:
    """What may be called while outputs, or gradients, are still in use."""

    def elsewhere(own: bool, data: Data) -> Action:
        def run(bench: Bench, workspace: Any, calls: Calls, tape: Any) -> None:
            bench.results(bench.calls(data), bench.workspace() if own else None)

        return run

    def backward_of_another(**options: Any) -> Action:
        def run(bench: Bench, workspace: Any, calls: Calls, tape: Any) -> None:
            late = bench.calls(other)
            bench.backward(late, bench.forward(late, **options)[1], workspace)

        return run

    yield "calls without a workspace", elsewhere(False, other)
    yield "calls with another workspace", elsewhere(True, other)
    if what == "outputs":
        yield "backward with it", lambda bench, workspace, calls, tape: bench.backward(calls, tape, workspace)
        yield "backward with it over another tape", backward_of_another()
        if checkpointed:
            yield "backward with it over a tape of checkpoints", backward_of_another(checkpoint_every=max(1, other.steps))
    else:
        yield "backward without it", lambda bench, workspace, calls, tape: bench.backward(calls, tape)
        yield "the next forward with it", lambda bench, workspace, calls, tape: bench.forward(bench.calls(other), workspace)
        yield (
            "the next forward with it, of other sizes",
            lambda bench, workspace, calls, tape: bench.forward(bench.calls(wider), workspace),
        )


# ---- tapes of other calls


def other_tapes(kernel: Kernel, evidence: Evidence, checkpointed: bool) -> Iterator[Finding | None]:
    """Backward with a workspace is of the tape that it is given: one of a call without, or of checkpoints; also after a later forward."""
    data, other = evidence.data, others(kernel, evidence.data)[0]
    every: list[dict[str, Any]] = [{}, {CHECKPOINT: uneven(data.steps)}] if checkpointed else [{}]
    bench = Bench(kernel, data)
    case = bench.case(kernel, data, evidence.growth)
    for options in every:
        for within in (False, True)[: 1 + bool(options)]:
            calls, late, workspace = bench.calls(), bench.calls(other), bench.workspace()
            bench.results(late, workspace)
            outputs, tape = bench.forward(calls, workspace if within else None, **options)
            lent = {f"output {name}": array for name, array in outputs.items()}
            if not within:
                bench.forward(late, workspace)
            said = f"forward{described({**options, **({WORKSPACE: None} if within else {})})}"
            got = copied(lent) | copied(bench.backward(calls, tape, workspace))
            again = copied(lent) | copied(bench.backward(calls, tape, workspace))
            yield case.apart(got, case.plain, f"backward with a workspace over the tape of {said} isn't the call without")
            if name := other_bits(got, again):
                yield failed(name, f"a second backward with a workspace over the tape of {said} gives other bits")


PROMISES = (as_without, whatever_before, lifetimes, other_tapes)
