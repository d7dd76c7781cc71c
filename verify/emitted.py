"""Kernels that are text and in no file yet: held to their equations before they take their place."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from verify import frameworks, kept
from verify.examination import Report, check
from verify.kernel import load_text

if TYPE_CHECKING:
    from derive.cell import Cell


def compare_text(text: str, cell: Cell, where: str = "") -> Report:
    """The sharpest subset of the checks for the kernel of a cell that is only text yet, both passes against the cell's equations too.

    where: the path of a module that calls a compiled kernel, which it looks for beside itself. Such a one, and one whose arrays are a
    framework's, needn't take complex numbers.
    """
    kernel = load_text(text, where or f"{cell.name}.py")
    excused = ("complex",) if where or hasattr(kernel, frameworks.NAME) else ()
    hand = kept.handwritten_for(cell.name, kernel)
    return check(kernel, name=cell.name, hand=hand, quick=True, formula=cell, contract=True, excused=excused)


def compare_files(files: Mapping[str, str], cell: Cell) -> Report:
    """The same for a kernel of several files, name -> text, the module last, which finds the others beside itself."""
    *others, (name, text) = files.items()
    if not others:
        return compare_text(text, cell)
    with tempfile.TemporaryDirectory() as folder:
        for other, content in others:
            Path(folder, other).write_text(content, encoding="utf-8")
        return compare_text(text, cell, str(Path(folder, name)))
