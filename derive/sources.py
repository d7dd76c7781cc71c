"""From the words of a command to cells: a built-in cell with options, a page of equations, or a Python file that declares cells."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from derive.cell import Cell
from derive.cells import registry
from derive.errors import DeriveError

PAGE_SUFFIXES = {".md", ".markdown", ".tex", ".txt"}


def is_page(word: str) -> bool:
    """Whether a word names a page: `-`, or a file by its ending."""
    return word == "-" or Path(word).suffix.lower() in PAGE_SUFFIXES


def is_python(word: str) -> bool:
    return word.endswith(".py")


def declarations_in(path: Path) -> list[registry.Declaration]:
    """What a Python file declares with `@cell`. It runs the file.

    Raises DeriveError when there is no such file, when it fails, or when it declares nothing.
    """
    if not path.is_file():
        raise DeriveError(f"derive: {path}: no such file: expected a Python file that declares a cell. Check the path.")
    before = dict(registry.DECLARED)
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    except DeriveError:
        raise
    except Exception as error:
        raise DeriveError(f"derive: {path}: can't be run: {type(error).__name__}: {error}. Mend the file.") from None
    new = [one for name, one in registry.DECLARED.items() if before.get(name) is not one]
    registry.DECLARED.clear()
    registry.DECLARED.update(before)
    if not new:
        raise DeriveError(
            f"derive: {path}: declares no cell: expected a function decorated with `@cell`, got none. See CONTRIBUTING.md."
        )
    return new


def cells_of(words: Sequence[str], root: Path | None = None) -> list[Cell]:
    """The cells that words name. Raises DeriveError in one line."""
    first, *rest = words
    if is_python(first):
        path = (root / first) if root else Path(first)
        return [from_python(one, path, rest) for one in declarations_in(path)]
    return [registry.build(words)]


def from_python(declaration: registry.Declaration, path: Path, options: Sequence[str]) -> Cell:
    """A cell of a Python file, its command being the file's base name and the options."""
    cell = declaration.build(**vars(declaration.parser().parse_args(list(options))))
    return replace(cell, command=" ".join([path.name, *cell.command.split()[1:]]))
