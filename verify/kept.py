"""Which module a name stands for: a kept kernel, a kernel derived in memory, a file; its hand-written gradient, its derived cell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from derive.errors import DeriveError
from verify.axes import along_of
from verify.data import ORDINARY, SATURATED, Data, draw
from verify.dressed import AlongT
from verify.handwritten import CASES, networks
from verify.kernel import Kernel, KernelError, checked, load, load_text
from verify.relations import relations
from verify.tolerances import FORWARD

if TYPE_CHECKING:
    from derive.cell import Cell
    from verify.evidence import Evidence
    from verify.model import Model


Names = Mapping[str, str] | Sequence[str] | None
"""Whose names are whose: `--map` as it is written, or theirs -> ours."""


class StaleError(ValueError):
    """A kept kernel that isn't what its equations give."""


@dataclass(frozen=True)
class Candidate:
    """A kernel to verify: its name, its module, and the cell that it was derived from, if it was."""

    name: str
    module: Any
    model: Model | None = None

    @property
    def hand(self) -> Any | None:
        """The hand-written gradient of the derived cell."""
        return None if self.model is None else handwritten_for(self.name, self.module)


def handwritten_for(name: str, kernel: Any) -> Any | None:
    """The hand-written gradient of the same name, parameters and states; or of a network with the kernel's tables and forward pass,
    with all its arrays along T, as the data of the verifier are."""
    case = CASES.get(name)
    if case is not None and set(case.parameters) == set(kernel.PARAMETERS) and set(case.states) == set(kernel.STATES):
        return case
    found = (along_t(network) for network in networks(layers_of(kernel)) if tables_of(network) == tables_of(kernel))
    return next((network for network in found if computes(network, kernel)), None)


def layers_of(kernel: Any) -> int:
    """How many layers a kernel has: the largest number that stands last in the name of a state, else 1."""
    numbers = [re.search(r"_(\d{1,3})$", name) for name in kernel.STATES]
    return max((int(number[1]) for number in numbers if number is not None), default=1)


def tables_of(module: Any) -> list[dict[str, Any]]:
    """The names of each table with the number of dimensions, axes that aren't T, tokens: what tells networks apart before they run."""
    tables = ("PARAMETERS", "INPUTS", "STATES", "OUTPUTS")
    ranks = [{name: len(dims) for name, dims in getattr(module, table, {}).items()} for table in tables]
    return [*ranks, along_of(module), dict.fromkeys(getattr(module, "TOKENS", None) or {})]


def along_t(module: Any) -> Any:
    """A module of the contract with all its arrays along T."""
    along = along_of(module)
    return AlongT(module, along) if along else module


def computes(network: Any, kernel: Any) -> bool:
    """Whether the forward pass of a network is that of a kernel: tables can be the same where equations aren't."""
    wrapped = Kernel(kernel, "kernel")

    def alike(data: Data) -> bool:
        expected, found = wrapped.outputs(data), network.forward(data.parameters, data.inputs, data.state)[0]
        return all(np.allclose(found[name], array, rtol=FORWARD.value, atol=FORWARD.value) for name, array in expected.items())

    try:
        with np.errstate(all="ignore"):
            return all(alike(draw(wrapped.dims, regime)) for regime in (ORDINARY, SATURATED))
    except Exception:  # sizes that don't fit, or a kernel that fails, which other checks say
        return False


def candidates(words: Sequence[str], unread: list[DeriveError] | None = None) -> list[Candidate]:
    """The kernels that words name: a file by its path, a cell's kept kernel, or the cell derived in memory. unread: where to put why
    sections of a page can't be read, which stops nothing then.

    Raises StaleError on a kept kernel that isn't what its equations give, KernelError and DeriveError on wrong words.
    """
    from derive import keep
    from derive.compiler import compile_cell
    from derive.sources import cells_of
    from verify.model import model_of

    if len(words) == 1 and not Path(words[0]).is_file():
        words = split(words[0]) or words  # a cell with its options in one word, in quotes
    path = Path(words[0])
    if path.suffix == ".py" and not declares_cells(path):
        if len(words) > 1:
            raise KernelError(f"verify: {path}: options after a file: expected none, got {' '.join(words[1:])}. Drop them.")
        return [Candidate(path.stem, load(path))]
    project = keep.Project.here()
    found = []
    for cell in cells_of(words, unread=unread):
        text, kept = compile_cell(cell), project.path(cell.name)
        if kept.exists():
            state = keep.state_of(kept, text, project.shown(kept), f"Run `python -m derive {cell.command}`.")
            if not state.fresh:
                raise StaleError(state.message)
        found.append(Candidate(cell.name, load_text(text, project.shown(kept)), model_of(cell)))
    return found


def declares_cells(path: Path) -> bool:
    """Whether a Python file declares cells, rather than being a kernel."""
    try:
        return re.search(r"^@cell\b", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False


def kept_kernels() -> list[Candidate]:
    """Every kernel of `[tool.derive]`. Raises StaleError naming the stale ones."""
    from derive import keep
    from verify.model import model_of

    project = keep.Project.here()
    stale = [state.message for state in keep.check(project) if not state.fresh]
    if stale:
        raise StaleError("\n".join(stale))
    return [Candidate(cell.name, load(project.path(cell.name)), model_of(cell)) for cell in project.cells()]


def module_of(kernel: Any, name: str = "") -> tuple[Any, str]:
    """(the module, what to call it) of a module, of any object with the contract's names, or of the path of a file."""
    if isinstance(kernel, (str, Path)):
        path = Path(kernel)
        return load(path), name or path.stem
    shown = name or str(getattr(kernel, "__name__", type(kernel).__name__)).rpartition(".")[2]
    return checked(kernel, shown), shown


def model_for(
    against: str | Sequence[str] | Model | None, names: Names = None, unread: list[DeriveError] | None = None
) -> Model | None:
    """The derived cell that words name. names: what `--map` says, or theirs -> ours. unread: where to put why other sections of a page
    can't be read, which stops nothing then. Raises DeriveError or KernelError in one line."""
    said = relations([f"{theirs}={ours}" for theirs, ours in names.items()] if isinstance(names, Mapping) else names or ())
    if against is None:
        if said:
            raise KernelError(
                "verify: --map: expected --against beside it: names are mapped onto those of a cell. Add --against CELL."
            )
        return None
    if not isinstance(against, str) and not isinstance(against, Sequence):
        return against
    from derive.sources import cells_of
    from verify.model import model_of

    words = split(against, "--against ") if isinstance(against, str) else list(against)
    if not words:
        raise KernelError(
            "verify: --against: expected the words that name a cell, such as `lstm --peephole diagonal`, got nothing."
        )
    found = cells_of(words, unread=unread)
    if len(found) > 1:
        raise KernelError(
            f"verify: --against {' '.join(words)}: names {len(found)} cells: {', '.join(c.name for c in found)}. Choose one."
        )
    return model_of(found[0], said)


def split(words: str, option: str = "") -> list[str]:
    """A cell with its options as words. option: what they were given to. Raises KernelError."""
    try:
        return shlex.split(words)
    except ValueError as error:
        raise KernelError(f"verify: {option}{words}: {error}. Close the quotation.") from None


def recognised(kernel: Kernel, evidences: Sequence[Evidence]) -> Model | None:
    """A cell with the kernel's names whose forward pass is the kernel's: what is known of it helps to name a fault."""

    def fits(model: Model, evidence: Evidence) -> bool:
        outputs = evidence.kernel.outputs(evidence.data)
        found = model.outputs(model.environments(evidence.data, model.evaluator(evidence.kernel.dims)), evidence.kernel.dims)
        return all(np.allclose(outputs[name], array, rtol=FORWARD.value, atol=1e-12) for name, array in found.items())

    return next((model for model in namesakes(kernel) if all(fits(model, evidence) for evidence in evidences)), None)


def namesakes(kernel: Kernel) -> Iterator[Model]:
    """The cell that the kernel's file was emitted of, and the built-in ones, with the names and shapes of its tables."""
    from derive.cells.registry import declarations, variants
    from verify.model import model_of

    built_in = (cell for declaration in declarations().values() for cell in variants(declaration))
    for cell in chain(emitted_of(kernel), built_in):
        model = model_of(cell)
        try:
            model.check_names(kernel, kernel.name, whole=True)
        except KernelError:
            continue
        yield model


def emitted_of(kernel: Kernel) -> list[Cell]:
    """The cells that the command in the head of a kernel's file names, by hand edited as it may be; none where it names none here."""
    from derive import keep
    from derive.sources import cells_of

    file = Path(kernel.file or "")
    command = keep.command_in(file.read_text(encoding="utf-8-sig")) if file.is_file() else ""
    command = re.sub(r" --schedule \S+", "", command)
    for root in dict.fromkeys((Path.cwd(), file.parent)) if command else ():
        try:
            return cells_of(shlex.split(command), root, [])
        except (DeriveError, OSError, ValueError):
            continue
    return []
