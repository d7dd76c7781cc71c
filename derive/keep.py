"""The kernels that a project keeps: which they are, whether they are as their equations say, and how they get onto disk."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from derive.cell import Cell
from derive.compiler import TARGETS, digest, files
from derive.derivation import derive
from derive.errors import DeriveError
from derive.sources import cells_of
from derive.targets.c.header import OPENS, uncommented

SEAL = r"^# header +sha256 (\w+)\n"

RECORD = "kept.txt"
"""Beside the kernels: the files that `--all` wrote, so that it can remove those that are no longer listed, and no others."""

MEND = "Run `python -m derive --all`."

FOLDER = "is a folder: expected a kernel or nothing there, got a folder. Move it away."


class KeepError(DeriveError):
    """A kernel that can't be written where it should."""


KEYS = ("kernels",)
"""What `[tool.derive]` may hold."""

TYPICAL = '`kernels = ["lstm --peephole"]`'


@dataclass(frozen=True)
class Project:
    """The nearest folder whose `pyproject.toml` has `[tool.derive]`, or the current folder, and the kernels listed there.

    fault: where nothing is listed, why; `wanted` refuses with it.
    """

    root: Path
    listed: tuple[str, ...]
    fault: str = ""

    @classmethod
    def here(cls, start: Path | None = None) -> Project:
        """The project around a folder. Raises KeepError on a `pyproject.toml` that can't be read, and on a table with unknown keys."""
        start = (start or Path.cwd()).resolve()
        near = ""
        for folder in (start, *start.parents):
            file = folder / "pyproject.toml"
            tools = tools_in(file) if file.is_file() else {}
            if "derive" in tools:
                listed = listed_in(tools["derive"], file)
                return cls(folder, listed, "" if listed else f"{file}: [tool.derive]: expected {TYPICAL}, got no kernel")
            near = near or "".join(f", got [tool.{name}] in {file}" for name in difflib.get_close_matches("derive", tools, 1))
        where = f"{start}: no [tool.derive] in a pyproject.toml here or above"
        return cls(start, (), f"{where}: expected one with {TYPICAL}{near or ', got none'}")

    def wanted(self) -> Project:
        """This project, for what works on all that it lists. Raises KeepError where that is nothing: no order to remove everything."""
        if not self.listed:
            raise KeepError(f"{self.fault}. List the kernels to keep; nothing was written or removed.")
        return self

    @property
    def generated(self) -> Path:
        return self.root / "generated"

    def kernels(self) -> Iterator[tuple[Cell, str]]:
        """(cell, target) of each listed kernel. Raises DeriveError where an entry names none, or two have one name."""
        seen: dict[tuple[str, str], str] = {}
        for words in self.listed:
            for cell, target in self.kernels_named(words):
                file, key = module_of(cell.name, target), (cell.name, target)
                if key in seen:
                    raise KeepError(
                        f"pyproject.toml: [tool.derive] kernels: `{words}` and `{seen[key]}` both make {file}. Drop one."
                    )
                seen[key] = words
                yield cell, target

    def cells(self) -> Iterator[Cell]:
        """The cells of the listed NumPy kernels."""
        return (cell for cell, target in self.kernels() if target == TARGETS[0])

    def cell(self, name: str) -> Cell:
        """The listed cell whose kernel has that name."""
        return next(cell for cell in self.cells() if cell.name == name)

    def kernels_named(self, words: str) -> list[tuple[Cell, str]]:
        """The kernels of one entry. Raises KeepError that names it."""
        where = f"{self.shown(self.root / 'pyproject.toml')}: [tool.derive] kernels: `{words}`"
        try:
            of_cell, target = with_target(shlex.split(words) or [""])
            return [(cell, target) for cell in cells_of(of_cell, self.root)]
        except (DeriveError, ValueError) as error:
            raise KeepError(f"{where}: {error}") from None

    def path(self, name: str) -> Path:
        return self.generated / f"{name}.py"

    def shown(self, path: Path) -> str:
        """A path as the user would type it: relative to the current folder where it lies below it."""
        try:
            return str(path.resolve().relative_to(Path.cwd()))
        except ValueError:
            return str(path)

    def recorded(self) -> list[str]:
        file = self.generated / RECORD
        return file.read_text(encoding="utf-8").split() if file.is_file() else []


def with_target(words: list[str]) -> tuple[list[str], str]:
    """(the words of a cell, the target that stands among them). Raises KeepError on an unknown one."""
    target, left = TARGETS[0], list(words)
    if "--target" in words:
        at = words.index("--target")
        target = "".join(words[at + 1 : at + 2])
        del left[at : at + 2]
    if target not in TARGETS:
        raise KeepError(f"--target: expected {' or '.join(TARGETS)}, got {target or 'nothing'}.")
    return left, target


def module_of(name: str, target: str) -> str:
    """What the module of a kernel is called."""
    return f"{name}_{target}.py" if target != TARGETS[0] else f"{name}.py"


def tools_in(file: Path) -> dict[str, object]:
    """The tables below `[tool]` of a `pyproject.toml`. Raises KeepError where it can't be read."""
    try:
        tools = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise KeepError(f"{file}: can't be read: expected TOML, got: {one_line(error)}. Mend the file.") from None
    if not isinstance(tools, dict):
        raise KeepError(f"{file}: tool: expected a table, got {tools!r}. Mend the file.")
    return tools


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def listed_in(table: object, file: Path) -> tuple[str, ...]:
    """The entries of `[tool.derive] kernels`. Raises KeepError on another key, and where it is no list of different words."""
    if not isinstance(table, dict):
        raise KeepError(f"{file}: tool.derive: expected a table with {TYPICAL}, got {table!r}. Mend it.")
    unknown = [key for key in table if key not in KEYS]
    if unknown:
        near = difflib.get_close_matches(unknown[0].lower(), KEYS, 1) or KEYS[:1]
        known = ", ".join(KEYS)
        raise KeepError(f"{file}: [tool.derive]: unknown key `{unknown[0]}`: expected {known}. Did you mean `{near[0]}`?")
    kernels = table.get("kernels", [])
    if not isinstance(kernels, list) or not all(isinstance(words, str) for words in kernels):
        raise KeepError(
            f'{file}: [tool.derive] kernels: expected a list of words such as "lstm --peephole", got {kernels!r}. Mend it.'
        )
    twice = [words for k, words in enumerate(kernels) if words.split() in [other.split() for other in kernels[:k]]]
    if twice:
        raise KeepError(f"{file}: [tool.derive] kernels: `{twice[0]}` is listed twice: expected it once. Drop one.")
    return tuple(kernels)


# ---- one file


def is_ours(text: str) -> bool:
    """Whether a file was emitted by us, edited or not."""
    return split(text)[0].startswith("# Emitted by `python -m derive")


def is_edited(text: str) -> bool:
    """Whether a hand changed an emitted file."""
    return bool(edited_part(text))


def edited_part(text: str) -> str:
    """What a hand changed: the `header`, which its own digest tells, or else the `body`; empty where nothing."""
    head, body = split(text)
    found, seal = re.search(r"^# body +sha256 (\w+)$", head, re.M), re.search(SEAL, head, re.M)
    if found is None or seal is None or seal[1] != digest(head.replace(seal[0], "", 1)):
        return "header"
    return "body" if found[1] != digest(body) else ""


def command_in(text: str) -> str:
    """The words after `python -m derive` in the first lines of an emitted file."""
    found = re.match(r"# Emitted by `python -m derive ([^`]*)`", split(text)[0])
    return re.sub(r"\s*\n#\s*", " ", found[1]) if found else ""


def split(text: str) -> tuple[str, str]:
    """(header, body) of an emitted file: the header is its leading comment, in lines with `#`."""
    if text.startswith(OPENS):
        return uncommented(text)
    lines = text.splitlines(keepends=True)
    count = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:count]), "".join(lines[count:])


def equations_in(text: str) -> dict[str, str]:
    """name -> equation, from the header of an emitted file: one that goes on over lines is one again."""
    head = re.sub(r"\n#         (?=\S)", " ", split(text)[0])
    return {found[1]: found[2] for found in re.finditer(r"^#     (\S+): (.+)$", head, re.M)}


@dataclass(frozen=True)
class State:
    """How a kernel on disk compares with what its equations give: `fresh`, `missing`, `stale`, `edited` or `foreign`."""

    path: Path
    verdict: str
    message: str = ""
    diff: str = ""

    @property
    def fresh(self) -> bool:
        return self.verdict == "fresh"


def state_of(path: Path, text: str, shown: str, mend: str = MEND) -> State:
    """The state of the file at `path` against the text that it should be."""
    forced = mend.removesuffix("`.") + " --force`."
    if path.is_dir():
        return State(path, "foreign", f"{shown}: {FOLDER}")
    if not path.exists():
        return State(path, "missing", f"{shown}: missing: it is listed and was never emitted. {mend}")
    try:
        old = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return State(path, "foreign", f"{shown}: isn't text: expected an emitted kernel, got bytes that aren't UTF-8. {forced}")
    except OSError as error:
        return State(path, "foreign", f"{shown}: can't be read: {error.strerror or error}. Mend its permissions.")
    if old == text:
        return State(path, "fresh")
    diff = "".join(
        difflib.unified_diff(
            old.splitlines(keepends=True), text.splitlines(keepends=True), shown, f"{shown} (from its equations)"
        )
    )
    if not is_ours(old):
        return State(path, "foreign", f"{shown}: wasn't emitted by this tool: expected an emitted kernel. Move it away.", diff)
    part = edited_part(old)
    if part:
        said = f"its {part} isn't what {'its digest' if part == 'header' else 'its header'} says"
        return State(path, "edited", f"{shown}: edited by hand since it was emitted: {said}. {forced}", diff)
    return State(path, "stale", f"{shown}: stale: {what_changed(old, text)}. {mend}", diff)


def what_changed(old: str, new: str) -> str:
    """Which equations differ between two emitted files; where none does, the command or the derivation."""
    before, after = equations_in(old), equations_in(new)
    changed = [name for name in (*before, *[n for n in after if n not in before]) if before.get(name) != after.get(name)]
    if not changed and command_in(old) != command_in(new):
        return f"it was emitted by `python -m derive {command_in(old)}`"
    if not changed:
        return "the derivation changed since it was emitted"
    return f"equation{'s' * (len(changed) > 1)} {', '.join(changed)} changed since it was emitted"


def check_name(project: Project, path: Path, text: str, named: bool) -> None:
    """Raises KeepError where a kernel would take the place of another one that the project keeps.

    named: whether somebody chose the name. Else the listed cells are only looked at where a file of another command is there.
    """
    if path.resolve() != project.path(path.stem).resolve():
        return
    if not named and command_in(read(path)) in ("", command_in(text)):
        return
    for cell in project.cells():
        if cell.name == path.stem and cell.command != command_in(text):
            raise KeepError(
                f"{project.shown(path)}: kept for another cell: expected `{cell.command}`, as pyproject.toml lists it, "
                f"got `{command_in(text)}`. Choose another --name, or add --force."
            )


def check_place(path: Path, text: str, shown: str, force: bool = False) -> None:
    """Raises KeepError where `write` would, as far as can be told beforehand."""
    try:
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        if not folder.is_dir():
            raise NotADirectoryError(20, "Not a directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        if path.is_dir():
            raise KeepError(f"{shown}: {FOLDER}")
        fault = fault_in(path, text) if path.exists() and not force else ""
    except OSError as error:
        raise unwritable(shown, error) from None
    if fault:
        raise KeepError(f"{shown}: {fault}: expected a file that only `derive` wrote. Keep a copy, then add --force.")


def fault_in(path: Path, text: str) -> str:
    """Why a file that is there can't simply be replaced by a kernel; empty where it can."""
    try:
        old = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "isn't text"
    if old == text or (is_ours(old) and not is_edited(old)):
        return ""
    return "was edited by hand" if is_ours(old) else "wasn't emitted by this tool"


def unwritable(shown: str, error: OSError) -> KeepError:
    reason = error.strerror or str(error)
    return KeepError(f"{shown}: can't be written: {reason}. Choose another folder with --out, or mend its permissions.")


def write(path: Path, text: str, shown: str, force: bool = False) -> bool:
    """Put a kernel in its place, written beside it and renamed; False where it was there already.

    Raises KeepError rather than overwrite a file that was edited by hand or isn't ours, unless forced, and where the folder
    can't be written.
    """
    check_place(path, text, shown, force)
    if read(path) == text:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
    except OSError as error:
        raise unwritable(shown, error) from None
    return True


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside, then renamed."""
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


# ---- all of them


def orphans(project: Project, wanted: set[str]) -> tuple[list[Path], list[Path]]:
    """(files that `--all` wrote and that are no longer listed, other emitted files that aren't listed)."""
    recorded = set(project.recorded())
    found = [path for path in sorted(project.generated.glob("*")) if path.suffix in (".py", ".c") and path.name not in wanted]
    ours = [path for path in found if is_ours(read(path))]
    return [p for p in ours if p.name in recorded], [p for p in ours if p.name not in recorded]


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


@dataclass(frozen=True)
class Listed:
    """A kernel that a project lists, regenerated in memory: its files, name -> text, the module last."""

    cell: Cell
    files: dict[str, str]
    target: str


def regenerated(project: Project) -> list[Listed]:
    """Every listed kernel."""
    return [Listed(cell, files_of(cell, target), target) for cell, target in project.kernels()]


def files_of(cell: Cell, target: str) -> dict[str, str]:
    return files(derive(cell), cell.name, target)


def check(project: Project) -> list[State]:
    """The state of every file of a listed kernel, and of files that are no longer listed."""
    wanted = {name: text for one in regenerated(project) for name, text in one.files.items()}
    paths = {name: project.generated / name for name in wanted}
    states = [state_of(paths[name], text, project.shown(paths[name])) for name, text in wanted.items()]
    gone, _ = orphans(project, set(wanted))
    states += [State(p, "orphan", f"{project.shown(p)}: no longer listed in pyproject.toml. {MEND}") for p in gone]
    return states
