"""Modules that keep the kernel contract: loading them, and what of the contract can be seen without calling them."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

TABLES = ("PARAMETERS", "INPUTS", "STATES")


class KernelError(ValueError):
    """A file that can't be loaded, or a module that doesn't keep the contract. One line."""


def load(path: Path) -> types.ModuleType:
    """The module in a file. Raises KernelError."""
    if not path.is_file():
        raise KernelError(f"verify: {path}: no such file: expected a Python module that keeps the kernel contract. Check the path.")
    try:
        return load_text(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise KernelError(f"verify: {path}: isn't text: {error.reason}. Pass a Python module.") from None


def load_text(text: str, where: str) -> types.ModuleType:
    """The module that a text is. Raises KernelError where it doesn't run or misses a part of the contract."""
    module = types.ModuleType(Path(where).stem)
    module.__file__ = where
    try:
        code = compile(text, where, "exec")
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
    except Exception as error:
        raise KernelError(f"verify: {where}: can't be imported: {type(error).__name__}: {error}. Mend the module.") from None
    finally:
        sys.modules.pop(module.__name__, None)
    return checked(module, where)


def checked(module: Any, where: str) -> Any:
    """The module, if it has the tables and functions of the contract."""
    for name in (*TABLES, "forward", "backward"):
        if not hasattr(module, name):
            raise KernelError(f"verify: {where}: {name} is missing: expected {', '.join(TABLES)}, forward and backward. Add it.")
    if not hasattr(module, "OUTPUTS"):
        module.OUTPUTS = {}
    return module
