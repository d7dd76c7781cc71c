"""The kernel of a changed derivation, printed for a target and loaded."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from derive.compiler import FAST, files
from derive.derivation import Derivation
from verify.kernel import load_text


class Unprinted(Exception):
    """The target, or the schedule, has no place for a change, or makes something else of it."""


@contextlib.contextmanager
def printed(derivation: Derivation, target: str) -> Iterator[ModuleType]:
    """The module of a kernel; its files are there as long as the context. What was printed has to compile: only a change that can't be
    printed is Unprinted."""
    try:
        texts = files(derivation, "planted", target, FAST)
    except Exception as error:
        raise Unprinted(str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        yield load_text(text, str(Path(folder, name)))
