"""A derivation as a C kernel: the C file, and the Python module that calls it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from derive.language import Value
from derive.passes import run
from derive.passes.apart import apart
from derive.passes.bound import bound
from derive.procedures.kernel import Kernel
from derive.targets.c import module, python
from derive.targets.c.header import commented
from derive.targets.c.words import member
from derive.targets.numpy.emit import RESERVED, names_for

if TYPE_CHECKING:
    from derive.derivation import Derivation

Header = Callable[[str], str]

RESERVED_IN_PYTHON = {*RESERVED, *(name.partition(".")[0] for name in python.IMPORTS), "arrays", "int64", "set_threads"}


def c_kernel(tidy: Derivation, scheduled: Derivation, tape: Iterable[Value], stem: str, header: Header) -> tuple[str, str]:
    """(the C file, the Python module) of a kernel. tidy: the derivation as it was before it was scheduled; stem: what both files are
    called; header: the lines in front of a body, as comments of Python."""
    tape = list(tape)
    cell = scheduled.cell
    kernels = [
        Kernel(cell, scheduled.notation(), names_for(scheduled, reserved), tape)
        for reserved in (module.RESERVED, RESERVED_IN_PYTHON)
    ]
    in_c, in_python = kernels
    procedures = [in_c.forward(scheduled.forward), in_c.backward(scheduled.backward)]
    functions = module.functions_of(procedures, in_c.names, cell)
    front = "\n" + module.interface(stem) + module.FIXED + module.setter(stem)
    body = front + "".join("\n" + module.function_text(one, cell, stem) for one in functions)
    c_text = commented(header(body)) + body
    others = [
        in_python.forward(scheduled.forward),
        in_python.backward(scheduled.backward),
        in_python.jvp(scheduled.tangent),
        in_python.hvp(tidy.forward, run([apart, bound], tidy.second, tidy.forward)),
        in_python.step_jacobian(scheduled.tangent),
    ]
    inputs = {member(str(value.name)): str(value.name) for value in (*cell.inputs, *cell.tokens)}
    taped, own = ([name for name, _ in dict(one[0].results)["tape"]] for one in (procedures, others))
    given = {
        mine: inputs[functions[0].given["tape", theirs].name]
        for theirs, mine in zip(taped, own, strict=True)
        if ("tape", theirs) in functions[0].given
    }
    source = hashlib.sha256(c_text.encode()).hexdigest()
    text = python.module_text(cell, in_python.names, others, stem, given, source)
    return c_text, header(text) + text
