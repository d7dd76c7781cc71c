"""What a kernel may offer beyond the plain calls, `checkpoint_every=` and `workspace=`, and calls that make use of it.

Both are options of the contract: what isn't offered isn't looked at, which the checks say. That a function takes an option is read from
its signature, that there are workspaces from the module's `Workspace`; nothing is tried, so that no error is taken for "not offered".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from verify.agreement import same
from verify.bookkeeping import others
from verify.data import REACH, Data
from verify.digits import sensitivity
from verify.evidence import Array
from verify.findings import FAIL, Finding
from verify.gradients import relative
from verify.kernel import Kernel, one_line
from verify.tolerances import COARSE, EPS, EPS32, Tolerance, reordered, rounding
from verify.ways import arrays_of

Result = TypeVar("Result")
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
CHECKPOINT, WORKSPACE = "checkpoint_every", "workspace"
JACOBIAN = "step_jacobian"


def takes(function: Callable[..., Any], option: str) -> bool:
    """Whether a function's signature has an argument of that name, which can be passed by it."""
    try:
        parameter = inspect.signature(function).parameters.get(option)
    except (TypeError, ValueError):  # compiled functions may not say what they take
        return False
    return parameter is not None and parameter.kind in BY_NAME


def not_checkpointed(kernel: Kernel) -> str:
    """Why a kernel can't be asked for checkpoints; empty where it can."""
    return "" if takes(kernel.raw.forward, CHECKPOINT) else f"forward takes no {CHECKPOINT}"


def with_workspace(kernel: Kernel) -> tuple[str, ...]:
    """Which of forward and backward take a workspace."""
    return tuple(name for name in ("forward", "backward") if takes(getattr(kernel.raw, name), WORKSPACE))


def not_working(kernel: Kernel) -> str:
    """Why no workspace can be passed to a kernel; empty where one can."""
    named = " and ".join(with_workspace(kernel))
    if not callable(getattr(kernel.raw, "Workspace", None)):
        return "there is no Workspace" + (f" to make the {WORKSPACE} that {named} may take" if named else "")
    return "" if named else f"neither forward nor backward takes a {WORKSPACE}"


class Raised(Exception):
    """A call that raises: which one, and what."""


class Calls:
    """Calls in one module on arrays of one set of data, which are watched: forward, and backward with the data's cotangents.

    started: with the data's initial state, else None. names: of the cotangents that are given; without them all. given: the arrays to
    pass, where they are no copies of the data's.
    """

    def __init__(
        self,
        kernel: Kernel,
        module: Any,
        data: Data,
        started: bool = True,
        names: tuple[str, ...] = (),
        given: Data | None = None,
    ) -> None:
        self.kernel, self.module, self.data, self.started = kernel, module, data, started
        self.names = names or tuple(data.cotangents)
        self.given = given or data.copy()

    def forward(self, **options: Any) -> tuple[dict[str, Array], Any]:
        """(outputs as they are returned, tape)."""

        def call() -> tuple[dict[str, Array], Any]:
            state = self.given.state if self.started else None
            outputs, tape = self.module.forward(self.given.parameters, self.given.inputs, state, **options)
            return {name: np.asarray(outputs[name]) for name in self.kernel.dims.outputs}, tape

        return raising(f"forward{described(options)}", call)

    def backward(self, tape: Any, said: str = "", **options: Any) -> dict[str, Array]:
        """Gradients by block as they are returned. said: of the tape, for what is raised."""
        given = {name: self.given.cotangents[name] for name in self.names}

        def call() -> dict[str, Array]:
            return self.kernel.flat(self.module.backward(self.given.parameters, tape, given, **options))

        return raising(f"backward{described(options)}{said}", call)

    def results(self, forward: Mapping[str, Any], backward: Mapping[str, Any]) -> dict[str, Array]:
        """What one call of each gives, copied: outputs as `output h`, gradients by block."""
        outputs, tape = self.forward(**forward)
        found = {f"output {name}": array.copy() for name, array in outputs.items()}
        return found | copied(self.backward(tape, **backward))

    def changed(self) -> str:
        """The first argument that the calls have changed; empty where none is."""
        for what in ("parameters", "inputs", "state", "cotangents"):
            if name := same(getattr(self.data, what), getattr(self.given, what)):
                return f"{what}[{name!r}]"
        return ""


def raising(said: str, call: Callable[[], Result]) -> Result:
    """What a call returns; Raised, with what it was, where it raises."""
    try:
        return call()
    except Exception as error:
        raise Raised(f"{said} raises {one_line(error)}") from error


def described(options: Mapping[str, Any]) -> str:
    """` with checkpoint_every=2 and a workspace`; nothing without options."""
    words = [f"{name}={value}" if name == CHECKPOINT else f"a {name}" for name, value in options.items()]
    return f" with {' and '.join(words)}" if words else ""


def copied(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.array(array) for name, array in arrays.items()}


def other_bits(expected: Mapping[str, Array], got: Mapping[str, Array]) -> str:
    """The first array that differs by a bit or in its dtype; empty where none does."""
    dtypes = (name for name in expected if name in got and got[name].dtype != expected[name].dtype)
    return same(expected, got) or next(dtypes, "")


def jacobians(calls: Calls, tape: Any) -> dict[str, Array]:
    """What step_jacobian returns, in new arrays: the one of all states, or one for each way in which they run."""
    found = arrays_of(calls.module.step_jacobian(calls.given.parameters, tape))
    return {JACOBIAN if name == JACOBIAN else f"{JACOBIAN} of {name}": np.array(array) for name, array in found.items()}


@dataclass(frozen=True)
class Case:
    """One set of data and a way to call on it; what a call without options gives, which one with them is held against.

    check: what is said to fail. modules: that of calls with options, and another for those that they are held against.
    growth: of roundings over the steps. tried: segments. started, names: as of `Calls`.
    said: what is special, for a person.
    """

    check: str
    kernel: Kernel
    modules: tuple[Any, Any]
    data: Data
    growth: float
    tried: tuple[int, ...] = ()
    started: bool = True
    names: tuple[str, ...] = ()
    said: str = ""

    @property
    def dtype(self) -> Any:
        return np.result_type(*self.data.flat().values())

    @property
    def eps(self) -> float:
        return EPS32 if self.dtype == np.float32 else EPS

    @property
    def runs(self) -> bool:
        """Whether a call without options does: float32, no state and no steps are promises that are looked at by themselves."""
        try:
            return bool(self.plain)
        except Raised:
            return False

    def calls(self) -> Calls:
        return self.calls_in(self.modules[0])

    def calls_in(self, module: Any) -> Calls:
        return Calls(self.kernel, module, self.data, self.started, self.names)

    @cached_property
    def plain(self) -> dict[str, Array]:
        return self.calls_in(self.modules[1]).results({}, {})

    @cached_property
    def other(self) -> Data:
        """Other numbers of the same sizes and precision."""
        return others(self.kernel, self.data)[0].astype(self.dtype)

    @cached_property
    def jacobian(self) -> dict[str, Array] | None:
        if not self.kernel.has("step_jacobian"):
            return None
        calls = self.calls_in(self.modules[1])
        return jacobians(calls, calls.forward()[1])

    @cached_property
    def bound(self) -> Tolerance:
        """Of two passes that add the same terms in another order, units that aren't saturated."""
        return reordered(rounding(self.data.steps, self.kernel.dims.fan_in(), REACH, self.growth, self.eps))

    @cached_property
    def spread(self) -> dict[str, float]:
        """How far results move when the last bits of the data do."""
        data = replace(self.data, cotangents={n: a for n, a in self.data.cotangents.items() if n in (self.names or (n,))})
        if not self.started:
            data = replace(data, state={name: np.zeros_like(array) for name, array in data.state.items()})
        data = data.astype(np.float64)
        outputs, tape = self.kernel.forward(data)
        right = {**outputs, **self.kernel.backward(data, tape, data.cotangents)}
        return sensitivity(self.kernel, data, right, self.eps)

    def allowed(self, name: str) -> Tolerance:
        """The bound where what bits of the data are worth is counted too, once for each product of a sum."""
        fan_in, own = self.kernel.dims.fan_in(), self.spread.get(name.removeprefix("output "), 0.0)
        return Tolerance(
            self.bound.value + fan_in * own, f"{self.bound.reason} + {fan_in} x {own:.0e}, what bits of the data are worth"
        )

    def apart(self, got: dict[str, Array], expected: dict[str, Array], said: str) -> Finding | None:
        """The first array that is further from the one without options than the order of summation explains."""
        for name, array in expected.items():
            block = "" if name.startswith(("output ", JACOBIAN)) else name
            if name not in got:
                return Finding(self.check, FAIL, block, said=f"{said}: {name} is missing")
            if got[name].dtype != array.dtype or got[name].shape != array.shape:
                had, wanted = (f"{a.dtype} {a.shape}" for a in (got[name], array))
                return Finding(self.check, FAIL, block, said=f"{said}: {name}: expected {wanted}, got {had}")
            error = relative(got[name], array)
            if error <= self.bound.value or not np.isfinite(array).all():
                continue  # of what isn't finite without options, nothing is promised
            allowed = self.allowed(name)
            if not error <= allowed.value and allowed.value <= COARSE:
                where = name if name.startswith("output ") else ""
                return Finding(self.check, FAIL, block, where, said, error=error, tolerance=allowed.value, reason=allowed.reason)
        return None
