"""Python names for values: the cell's own names, except where Python or the kernel needs a name for itself."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from derive.functions import DEFINITIONS
from derive.language import Value
from derive.shapes import OF_A_CALL

RESERVED = {
    *keyword.kwlist, *keyword.softkwlist, *DEFINITIONS,
    "np", "T", "B", "S", "t", "sizes", "dtype", "parameters", "inputs", "state", "tape", "cotangents", "outputs", "gradients",
    "tangent_parameters", "tangent_inputs", "tangent_state", "tangents", "initial", "blocks", "J",
    "forward", "backward", "jvp", "step_jacobian", "Tape", "Gradients", "PARAMETERS", "INPUTS", "STATES", "OUTPUTS",
    "Workspace", "BLOCK", "self", "segments", "workspace", "checkpoint_every", "m", "n", "start", "stop", "total", "one", "half", "two",
    "add", "copyto", "cos", "dot", "exp", "log", "matmul", "multiply", "negative", "sin", "subtract", "tanh",
    "range", "reversed", "dict", "len", "isinstance", "hasattr", "sorted", "list", "str", "ValueError", "zip", "tuple", "all",
    "set", "type", "getattr", "next", "iter", "enumerate", "sum", "min", "max", "abs", "int", "float", "bool", "slice", "object",
}  # fmt: skip

MADE = re.compile(r"^(_|buffer_|number_)|_(all|flat|size|part(_\d+)?|by_\d+|row)$")
"""Names that a kernel makes up for itself; its classes and functions start with `_`."""


def local_name(dimension: str) -> str:
    """The local variable that holds a dimension's size: its own name, unless the kernel needs that for itself.

    What ends in `_size` gets another one, so that no two dimensions share a variable.
    """
    clashes = dimension in RESERVED or MADE.search(dimension) is not None
    return f"{dimension}_size" if clashes and dimension not in OF_A_CALL else dimension


def wanted(value: Value) -> str:
    """The name that a value would have if nothing stood in the way."""
    name = value.name
    match value.kind.split(":"):
        case ["cotangent"]:
            return f"d_{name}"
        case ["given"]:
            return f"cotangent_{name}"
        case ["carry"]:
            return f"carry_{name}"
        case ["summed"]:
            return f"sum_d_{name}"
        case ["tangent"]:
            return f"dot_{name}_prev" if value.lag else f"dot_{name}"
        case ["jacobian", wrt]:
            return f"d_{name}_d_{wrt}"
    return f"{name}_prev" if value.lag else name


class Names:
    """One Python name per value, the same in every function of a module; `NAME_all` is its sequence over time."""

    def __init__(self, dimensions: Iterable[str]) -> None:
        self.taken = (
            RESERVED
            | {local_name(one) for one in dimensions}
            | {f"{kind}_{k}" for kind in ("buffer", "number") for k in range(1, 100)}
        )
        self.known: dict[Value, str] = {}

    def of(self, value: Value) -> str:
        # a carry is one variable, rewritten at every step
        key = value.like(lag=0) if value.kind == "carry" else value
        if key not in self.known:
            name = wanted(key)
            while name in self.taken or f"{name}_all" in self.taken or name.startswith("_"):
                name = f"{name.lstrip('_') or 'value'}_"
            self.taken |= {name, f"{name}_all"}
            self.known[key] = name
        return self.known[key]
