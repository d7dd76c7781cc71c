"""Hold a kernel's gradients against its own forward pass, hand-written ones and the derived cell; look at Jacobian products.

`verify.check(kernel, against="lstm --peephole diagonal") -> Report` is the command in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.examination import Report

__all__ = ["check"]


def check(kernel: Any, against: Any | None = None, **options: Any) -> Report:
    """Everything that is held of a kernel: a module of the contract, or the path of one. See `verify.examination.check`."""
    from verify.examination import check as examine

    return examine(kernel, against, **options)
