"""A derivation as a JAX kernel: the textbook's statements, loops as scans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from derive.language import Value
from derive.passes import run
from derive.passes.apart import apart
from derive.passes.bound import bound
from derive.procedures.names import Names
from derive.procedures.scans import ScannedKernel
from derive.shapes import STEPS, letter_of
from derive.targets.jax.functions import DEFINITIONS
from derive.targets.jax.module import module_text
from derive.targets.jax.statements import CARRY, MADE, NOW, STEPPING
from derive.targets.numpy.emit import RESERVED as RESERVED_IN_NUMPY
from derive.targets.numpy.module import values_of

if TYPE_CHECKING:
    from derive.derivation import Derivation

RESERVED = {
    *RESERVED_IN_NUMPY, *DEFINITIONS, STEPPING, CARRY, MADE, NOW, "jax", "jnp", "ad", "batching", "mlir", "Primitive", "Sizes", "run",
    "dict", "FRAMEWORK",
}  # fmt: skip
"""Names that the text of a kernel needs for itself; those of its refusals start with `_`."""


def jax_kernel(tidy: Derivation, scheduled: Derivation, tape: Iterable[Value]) -> str:
    """The module below its header. tidy: the derivation as it was before it was scheduled."""
    cell = scheduled.cell
    symbols = {symbol.name for value in values_of(cell) for size in value.shape for symbol in size.free_symbols}
    names = Names(RESERVED, sorted(symbols), {axis: letter_of(axis) for axis in cell.step_axes if axis != STEPS})
    for value in (*values_of(cell), *cell.targets):
        names.of(value)
    kernel = ScannedKernel(cell, scheduled.notation(), names, tape)
    procedures = [
        kernel.forward(scheduled.forward),
        kernel.backward(scheduled.backward),
        kernel.jvp(scheduled.tangent),
        kernel.hvp(tidy.forward, run([apart, bound], tidy.second, tidy.forward)),
        kernel.step_jacobian(scheduled.tangent),
    ]
    return module_text(cell, names, procedures)
