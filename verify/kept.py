"""Which module a name stands for: a kept kernel, a kernel derived in memory, a file; and its hand-written gradient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verify.compare import Report, compare
from verify.handwritten import CASES
from verify.kernel import KernelError, load, load_text


class StaleError(ValueError):
    """A kept kernel that isn't what its equations give."""


def handwritten_for(name: str, kernel: Any) -> Any | None:
    """The hand-written gradient of the same name, if it is of the same parameters and states."""
    case = CASES.get(name)
    if case is None or set(case.parameters) != set(kernel.PARAMETERS) or set(case.states) != set(kernel.STATES):
        return None
    return case


def compare_text(text: str, name: str) -> Report:
    """The comparison of a kernel that is only text yet."""
    kernel = load_text(text, f"{name}.py")
    return compare(kernel, name, handwritten_for(name, kernel))


def kernels_of(words: Sequence[str]) -> list[tuple[str, Any]]:
    """(name, module) of the kernels that words name: a file by its path, a cell's kept kernel, or the cell derived in memory.

    Raises StaleError on a kept kernel that isn't what its equations give, KernelError and DeriveError on wrong words.
    """
    from derive import keep
    from derive.compiler import compile_cell
    from derive.sources import cells_of

    path = Path(words[0])
    if path.suffix == ".py" and not declares_cells(path):
        if len(words) > 1:
            raise KernelError(f"verify: {path}: options after a file: expected none, got {' '.join(words[1:])}. Drop them.")
        return [(path.stem, load(path))]
    project = keep.Project.here()
    found = []
    for cell in cells_of(words):
        text, kept = compile_cell(cell), project.path(cell.name)
        if kept.exists():
            state = keep.state_of(kept, text, project.shown(kept), f"Run `python -m derive {cell.command}`.")
            if not state.fresh:
                raise StaleError(state.message)
        found.append((cell.name, load_text(text, project.shown(kept))))
    return found


def declares_cells(path: Path) -> bool:
    """Whether a Python file declares cells, rather than being a kernel."""
    try:
        return "@cell" in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def kept_kernels() -> list[tuple[str, Any]]:
    """Every kernel of `[tool.derive]`. Raises StaleError naming the stale ones."""
    from derive import keep

    project = keep.Project.here()
    stale = [state.message for state in keep.check(project) if not state.fresh]
    if stale:
        raise StaleError("\n".join(stale))
    return [(cell.name, load(project.path(cell.name))) for cell in project.cells()]
