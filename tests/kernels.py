"""Kernels for tests: derived in memory, loaded as modules."""

from __future__ import annotations

import functools
import types

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import FAST, compile_cell
from verify.examination import check
from verify.kernel import load_text


def module_of(text: str, name: str = "kernel") -> types.ModuleType:
    """The text of a kernel as a module."""
    module = types.ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


@functools.cache
def text_of(words: str, passes: tuple[str, ...] = FAST) -> str:
    """The text of the kernel of a built-in cell, emitted once for all tests that look at it."""
    return compile_cell(build(words), passes)


@functools.cache
def kernel_of(words: str, passes: tuple[str, ...] = FAST) -> types.ModuleType:
    """The kernel of a built-in cell by its command-line words, with a schedule."""
    return module_of(text_of(words, passes), words)


def kernel_of_cell(cell: Cell, passes: tuple[str, ...] = FAST) -> types.ModuleType:
    """The kernel of any cell."""
    return module_of(compile_cell(cell, passes), cell.name)


def verdict(cell: Cell, right: str = "", wrong: str = "", contract: bool = False) -> bool:
    """Whether the verifier passes the kernel of a cell, quickly; with one line of it replaced where `right` is said, which it has."""
    text = compile_cell(cell)
    assert right in text
    kernel = load_text(text.replace(right, wrong) if right else text, f"{cell.name}.py")
    return check(kernel, name=cell.name, formula=cell, contract=contract, quick=True).passed
