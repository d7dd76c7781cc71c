"""Modules that keep the kernel contract: loading them, and calling them so that a fault of theirs stays theirs."""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import wraps
from pathlib import Path
from traceback import extract_tb
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from verify.axes import along_of
from verify.data import Data, Dims
from verify.dressed import AlongT, BatchFirst, Isolated
from verify.frameworks import FRAMEWORKS, in_numpy

Array = NDArray[Any]
TABLES = ("PARAMETERS", "INPUTS", "STATES")


class KernelExit(RuntimeError):
    """A kernel that would end the program."""


class KernelError(ValueError):
    """A file that can't be loaded, or a module that doesn't keep the contract. One line."""


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and what it says."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def line_of(error: BaseException, file: object) -> str:
    """The line of a file in which an exception came up, as ` (line 48)`; nothing where it passed none."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f" (line {lines[-1]})" if lines else ""


def load(path: Path) -> types.ModuleType:
    """The module in a file. Raises KernelError."""
    if path.is_dir():
        raise KernelError(f"verify: {path}: is a folder: expected a Python module that keeps the kernel contract. Name a file.")
    if not path.is_file():
        raise KernelError(
            f"verify: {path}: no such file: expected a Python module that keeps the kernel contract. Check the path."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise KernelError(f"verify: {path}: isn't text: {error.reason}. Pass a Python module.") from None
    except OSError as error:
        raise KernelError(f"verify: {path}: can't be read: {error.strerror or error}. Check the path.") from None
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # a module may import its neighbours
    return load_text(text, str(path))


def load_text(text: str, where: str) -> types.ModuleType:
    """The module that a text is. Raises KernelError where it doesn't run or misses a part of the contract."""
    try:
        code = compile(text, where, "exec")
        module = executed(code, where)
        SOURCES[module] = code, neighbours(where)
    except (Exception, SystemExit) as error:
        if isinstance(error, ImportError) and error.name in FRAMEWORKS:
            raise KernelError(
                f"verify: {where}: can't be checked: expected {error.name}, whose arrays it takes, got none: it isn't installed. Install "
                f"it with `python -m pip install {error.name}`, or derive with --no-verify."
            ) from None
        raise KernelError(
            f"verify: {where}: can't be imported: {one_line(error)}{line_of(error, where)}. Mend the module."
        ) from None
    checked(module, where)
    return module


SOURCES: WeakKeyDictionary[types.ModuleType, tuple[types.CodeType, list[str]]] = WeakKeyDictionary()
"""The code of every module that was loaded here and the modules of its folder, to load it once more."""


def neighbours(where: str) -> list[str]:
    """The modules that were loaded from the folder of a file."""
    folder = os.path.dirname(os.path.abspath(where))
    files = ((name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()))
    return [name for name, file in files if isinstance(file, str) and os.path.dirname(file) == folder]


def executed(code: types.CodeType, where: str, anew: Sequence[str] = ()) -> types.ModuleType:
    """A new module that ran the code, seen as one of NumPy arrays. anew: modules that it is to import anew."""
    name = Path(where).stem
    module = types.ModuleType(name)
    module.__file__ = where
    before = {other: sys.modules.pop(other) for other in {name, *anew} & set(sys.modules)}
    try:
        sys.modules[name] = module
        exec(code, module.__dict__)
    finally:
        sys.modules.pop(name, None)
        sys.modules.update(before)
    return in_numpy(module)


def renewal(module: Any) -> Callable[[], Any] | None:
    """How to load a module once more; None where that can't be done, or gives other functions than those at hand."""
    if not isinstance(module, types.ModuleType) or module not in SOURCES:
        return None
    code, beside = SOURCES[module]

    def again() -> Any:
        return checked(executed(code, str(module.__file__), beside), module.__name__)

    functions = [(getattr(module, name, None), getattr(again(), name, None)) for name in FUNCTIONS]
    alike = all(getattr(one, "__code__", one) == getattr(two, "__code__", two) for one, two in functions)
    return again if alike else None


def checked(module: Any, where: str) -> Any:
    """The module, if it has the tables and functions of the contract; an absent OUTPUTS means {}."""
    for name in (*TABLES, "forward", "backward"):
        if not hasattr(module, name):
            raise KernelError(f"verify: {where}: {name} is missing: expected {', '.join(TABLES)}, forward and backward. Add it.")
    for name in ("forward", "backward"):
        if not callable(getattr(module, name)):
            raise KernelError(f"verify: {where}: {name} can't be called: expected a function. Define it.")
    if not hasattr(module, "OUTPUTS"):
        module.OUTPUTS = {}
    for name in (*TABLES, "OUTPUTS"):
        check_table(getattr(module, name), name, where)
    check_axes(module, where)
    return module


def check_axes(module: Any, where: str) -> None:
    """Raises KernelError on a table of axes, or of tokens, that is none."""
    axes = getattr(module, "AXES", None) or {}
    wrong = {name: axis for name, axis in axes.items() if not is_along(axis)} if isinstance(axes, Mapping) else axes
    if wrong:
        raise KernelError(
            f"verify: {where}: AXES: expected name -> an axis such as 'S', a tuple of two, or None for one value an example, got "
            f"{wrong!r}. Mend the table."
        )
    states = sorted(name for name, along in along_of(module).items() if name in module.STATES and len(along) != 1)
    if states:
        raise KernelError(
            f"verify: {where}: AXES: {', '.join(states)}: a recurrence runs along one axis: expected its name, got "
            f"{axes[states[0]]!r}. Mend the table."
        )
    tokens = getattr(module, "TOKENS", None) or {}
    is_table = isinstance(tokens, Mapping) and all(isinstance(key, str) for key in tokens)
    if not is_table or not all(isinstance(size, str) and plain_dimensions(size) for size in tokens.values()):
        raise KernelError(
            f"verify: {where}: TOKENS: expected name -> the dimension that says how many there are, such as {{'w': 'V'}}, got {tokens!r}. "
            "Mend the table."
        )
    both = [name for name in tokens if name in module.INPUTS]
    if both:
        raise KernelError(
            f"verify: {where}: TOKENS: {both[0]} is an input of INPUTS too: expected one of the two. Mend the tables."
        )


def is_along(axis: Any) -> bool:
    """Whether an entry of AXES is one: an axis, two of them, or None."""
    names = (axis,) if isinstance(axis, str) else axis if isinstance(axis, (tuple, list)) else ()
    return axis is None or (0 < len(names) <= 2 and all(isinstance(name, str) and name.isidentifier() for name in names))


def check_table(table: Any, name: str, where: str) -> None:
    """Raises KernelError unless a table maps names to tuples of dimension names."""
    if not isinstance(table, Mapping):
        got = type(table).__name__
        raise KernelError(f"verify: {where}: {name} is no mapping: expected name -> dimension names, got {got}. Make it a dict.")
    for key, dims in table.items():
        good = (
            isinstance(dims, (tuple, list))
            and len(dims) <= 2
            and all(isinstance(dim, str) and plain_dimensions(dim) for dim in dims)
        )
        if not isinstance(key, str) or not good:
            raise KernelError(
                f"verify: {where}: {name}[{key!r}]: expected a tuple of dimension names, () of a number, ('H+D',) of a vector, "
                f"('H', 'D') of a matrix, got {dims!r}. Mend the table."
            )


def plain_dimensions(dim: str) -> bool:
    """Whether a dimension reads `H`, `H+D`, `2*H+D` or a number, none above 999."""
    return all(re.fullmatch(r"\s*([0-9]{1,3}\s*\*\s*)?([^\W\d]\w*|[0-9]{1,3})\s*", part) for part in dim.split("+"))


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a module, whose `sys.exit` is an error of its own rather than the end of the program."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except SystemExit as error:
            raise KernelExit(f"it calls sys.exit({error.code!r})") from None

    return call


FUNCTIONS = ("forward", "backward", "jvp", "hvp", "step_jacobian")


class Guarded:
    """A module of the contract with its functions guarded."""

    def __init__(self, module: Any) -> None:
        self.__dict__.update({name: getattr(module, name, {}) for name in (*TABLES, "OUTPUTS", "TOKENS")})
        for name in FUNCTIONS:
            if callable(getattr(module, name, None)):
                setattr(self, name, guarded(getattr(module, name)))
        if callable(getattr(module, "Workspace", None)):
            self.Workspace = module.Workspace


class Kernel:
    """A module of the contract, called with fresh copies of the arguments, its results checked.

    `forward` and `backward` raise KernelError where the module doesn't keep the contract, and whatever the module raises.
    """

    def __init__(self, module: Any, name: str, batch_first: bool = False) -> None:
        self.raw, self.batch_first = module, batch_first
        self.module = self.dressed(module)
        self.name = name
        self.dims = Dims.of(module)
        self.renew = renewal(module)

    def dressed(self, module: Any) -> Any:
        """The functions of a module as they are called here: guarded, time first."""
        along = along_of(module)
        if along and self.batch_first:
            raise KernelError(
                f"verify: {self.name}: AXES: {', '.join(sorted(along))}: of axes of their own: expected arrays with time first, got "
                "--batch-first. Drop it."
            )
        plain = AlongT(Guarded(module), along) if along else Guarded(module)
        return BatchFirst(plain) if self.batch_first else plain

    @property
    def along(self) -> dict[str, tuple[str, ...]]:
        """The axes of steps of what lies otherwise than along T."""
        return along_of(self.raw)

    def turned(self) -> Kernel:
        """The same kernel with arrays (B, T, n) where they were (T, B, n), and the reverse."""
        return Kernel(self.raw, self.name, not self.batch_first)

    @property
    def file(self) -> str | None:
        """The file that the module is from, as it was named."""
        return getattr(self.raw, "__file__", None)

    @property
    def renewable(self) -> bool:
        """Whether the module can be loaded once more."""
        return self.renew is not None

    def fresh(self) -> Any:
        """The module as if nothing had been called yet; the same one where it can't be loaded once more."""
        return self.dressed(self.renew()) if self.renew is not None else self.module

    def isolated(self) -> Kernel:
        """The same kernel, each call in a fresh module with a fresh tape."""
        other = copy(self)
        other.module = Isolated(self.fresh)
        return other

    def sized(self, sizes: Sequence[int]) -> Kernel:
        """The same kernel with other sizes of its dimensions."""
        other = copy(self)
        other.dims = Dims.of(self.module, sizes)
        return other

    def has(self, function: str) -> bool:
        return callable(getattr(self.module, function, None))

    def forward(self, data: Data) -> tuple[dict[str, Array], Any]:
        """(outputs, tape)."""
        moved = data.copy()
        result = self.module.forward(moved.parameters, moved.inputs, moved.state)
        if not isinstance(result, tuple) or len(result) != 2:
            raise KernelError(f"verify: {self.name}: forward: expected (outputs, tape), got {described(result)}. Return both.")
        outputs, tape = result
        if not isinstance(outputs, Mapping):
            raise KernelError(
                f"verify: {self.name}: forward: outputs: expected a mapping, got {described(outputs)}. Return a dict."
            )
        for name in self.dims.outputs:
            if name not in outputs:
                got = ", ".join(map(str, outputs)) or "none"
                shape = ", ".join(["T", "B", *self.dims.outputs[name]])
                raise KernelError(
                    f"verify: {self.name}: forward: outputs: {name} is missing: expected it ({shape}), got {got}. Add it."
                )
            expected = data.output_shape(self.dims, name)
            if np.shape(outputs[name]) != expected:
                raise KernelError(
                    f"verify: {self.name}: forward: outputs: {name}: wrong shape: "
                    f"expected {expected}, got {np.shape(outputs[name])}. Mend it."
                )
        return {name: np.asarray(outputs[name]) for name in self.dims.outputs}, tape

    def outputs(self, data: Data) -> dict[str, Array]:
        return self.forward(data)[0]

    def backward(self, data: Data, tape: Any, cotangents: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients by block label; a block that the module doesn't return is missing."""
        given = {name: array.copy() for name, array in cotangents.items()}
        return self.flat(self.module.backward(data.copy().parameters, tape, given))

    def gradients(self, data: Data, cotangents: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Gradients by block label, from a fresh forward pass."""
        _, tape = self.forward(data)
        return self.backward(data, tape, data.cotangents if cotangents is None else cotangents)

    def second(
        self, data: Data, cotangents: Mapping[str, Array], direction: Mapping[str, Array], started: bool = True
    ) -> dict[str, Array]:
        """How the gradients move along a direction given by block, by the kernel's own hvp; what that leaves out is left out of the call.

        started: with the data's initial state, else None.
        """
        moved, given = data.copy(), {name: array.copy() for name, array in cotangents.items()}
        tangents = data.parts(direction)
        state = moved.state if started else None
        return self.flat(self.module.hvp(moved.parameters, moved.inputs, state, given, *tangents[:2], tangents[2] or None), "hvp")

    def flat(self, gradients: Any, function: str = "backward") -> dict[str, Array]:
        """`.parameters`, `.inputs` and `.state` as one mapping from block labels."""
        blocks: dict[str, Array] = {}
        for part, names, label in (
            ("parameters", self.module.PARAMETERS, "{}"),
            ("inputs", self.module.INPUTS, "input {}"),
            ("state", self.module.STATES, "initial {}"),
        ):
            found = getattr(gradients, part, None)
            if not isinstance(found, Mapping):
                raise KernelError(
                    f"verify: {self.name}: {function}: gradients: expected .parameters, .inputs and .state, each a mapping, "
                    f"got {described(gradients)} with .{part} {described(found)}. Add it."
                )
            blocks |= {label.format(name): np.asarray(found[name]) for name in names if name in found}
        return blocks


def described(value: Any) -> str:
    """What came instead: a type, of tuples the length."""
    return f"{len(value)} values" if isinstance(value, tuple) else type(value).__name__
