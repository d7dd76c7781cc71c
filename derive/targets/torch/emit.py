"""A derivation as a kernel in PyTorch, by the textbook's policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from derive.language import Value
from derive.passes import run
from derive.passes.apart import apart
from derive.passes.bound import bound
from derive.procedures.kernel import Kernel
from derive.targets.numpy.emit import RESERVED, names_for
from derive.targets.torch.functions import CALLED, DEFINITIONS
from derive.targets.torch.module import module_text

if TYPE_CHECKING:
    from derive.derivation import Derivation

OWN = {
    *RESERVED, *DEFINITIONS, *[text.removeprefix("torch.") for text in CALLED.values()], "torch", "math", "like", "FRAMEWORK",
    "run", "Module", "ctx", "shapes", "first", "named", "reset_parameters", "device", "empty", "shape", "super", "getattr", "dict", "next",
    "iter", "int", "one", "parameter", "bound",
}  # fmt: skip
"""Names that the text of a kernel needs for itself."""


def torch_kernel(tidy: Derivation, scheduled: Derivation, tape: Iterable[Value]) -> str:
    """The module below its header. tidy: the derivation as it was before it was scheduled."""
    names = names_for(scheduled, OWN)
    kernel = Kernel(scheduled.cell, scheduled.notation(), names, tape)
    procedures = [
        kernel.forward(scheduled.forward),
        kernel.backward(scheduled.backward),
        kernel.jvp(scheduled.tangent),
        kernel.hvp(tidy.forward, run([apart, bound], tidy.second, tidy.forward)),
        kernel.step_jacobian(scheduled.tangent),
    ]
    return module_text(scheduled.cell, names, procedures)
