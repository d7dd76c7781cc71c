"""A derivation as a NumPy kernel, by the textbook's policy or by the fast one."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from derive.cost import Placed
from derive.language import Value
from derive.passes import Pass, run
from derive.passes.apart import apart
from derive.passes.bound import bound
from derive.procedures.fast_kernel import FastKernel
from derive.procedures.fast_loops import FastLoopsKernel
from derive.procedures.kernel import Kernel
from derive.procedures.names import Names
from derive.procedures.procedure import Procedure
from derive.procedures.second_order import SecondOrder
from derive.second_order import second_order
from derive.shapes import STEPS, letter_of
from derive.targets.numpy.functions import CALLED, DEFINITIONS
from derive.targets.numpy.module import module_text, values_of
from derive.targets.numpy.statements import UFUNCS

if TYPE_CHECKING:
    from derive.derivation import Derivation

K = TypeVar("K", bound=Kernel)

RESERVED = {
    *keyword.kwlist, *keyword.softkwlist, *DEFINITIONS, *UFUNCS, *[text.removeprefix("np.") for text in CALLED.values()],
    "np", "T", "B", "t", "directions", "sizes", "dtype", "parameters", "inputs", "state", "tape", "cotangents", "outputs",
    "tangent_parameters", "tangent_inputs", "tangent_state", "tangents", "gradients", "workspace", "checkpoint_every", "segments", "self",
    "m", "n", "start", "stop", "block", "BLOCK", "zip", "list", "max", "min",
    "forward", "backward", "jvp", "hvp", "step_jacobian", "Tape", "Gradients", "Workspace",
    "PARAMETERS", "INPUTS", "STATES", "OUTPUTS", "AXES", "TOKENS", "range", "reversed", "float", "name",
}  # fmt: skip
"""Names that the text of a kernel needs for itself; those of its refusals start with `_`."""


def textbook(tidy: Derivation, scheduled: Derivation, tape: Iterable[Value]) -> str:
    """The module below its header, every function by the textbook's policy. tidy: the derivation as it was before it was scheduled."""
    return printed(tidy, scheduled, tape, Kernel)[0]


def fast(tidy: Derivation, scheduled: Derivation, tape: Iterable[Value]) -> str:
    """The module below its header, forward and backward by the fast policy."""
    return printed(tidy, scheduled, tape, FastKernel)[0]


def fast_loops(
    tidy: Derivation, scheduled: Derivation, tape: Iterable[Value], passes: Sequence[Pass]
) -> tuple[str, dict[str, list[Placed]]]:
    """(the module below its header, what its forward and backward compute): by the textbook's policy, plain recurrences by these passes
    and the fast one."""
    text, kernel = printed(tidy, scheduled, tape, partial(FastLoopsKernel, forward=tidy.forward, passes=passes))
    return text, kernel.computed()


def printed(tidy: Derivation, scheduled: Derivation, tape: Iterable[Value], kind: Callable[..., K]) -> tuple[str, K]:
    """(the module below its header, the kernel whose procedures it is)."""
    cell, names = scheduled.cell, names_for(scheduled, RESERVED)
    kernel = kind(cell, scheduled.notation(), names, tape)
    procedures = [
        kernel.forward(scheduled.forward),
        kernel.backward(scheduled.backward),
        kernel.jvp(scheduled.tangent),
        *second(kernel, tidy),
        kernel.step_jacobian(scheduled.tangent),
    ]
    return module_text(cell, names, procedures), kernel


def names_for(derivation: Derivation, reserved: Iterable[str]) -> Names:
    """Names of the cell's own values first. reserved: those that the text of a kernel needs for itself."""
    cell = derivation.cell
    symbols = {symbol.name for value in values_of(cell) for size in value.shape for symbol in size.free_symbols}
    names = Names(reserved, sorted(symbols), {axis: letter_of(axis) for axis in cell.step_axes if axis != STEPS})
    for value in (*values_of(cell), *cell.targets):
        names.of(value)
    return names


def second(kernel: Kernel, tidy: Derivation) -> list[Procedure]:
    """hvp, behind what it calls: of the fast policy where it takes several programs."""
    found = second_order(tidy, kernel.tape) if isinstance(kernel, FastKernel) else None
    if isinstance(kernel, FastKernel) and found is not None:
        return SecondOrder(kernel).procedures(found)
    return [kernel.hvp(tidy.forward, run([apart, bound], tidy.second, tidy.forward))]
