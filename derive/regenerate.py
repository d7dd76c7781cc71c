"""`--all` and `--check`: the kernels of `[tool.derive]` against their equations."""

from __future__ import annotations

import sys

from derive import compiler, keep
from derive.errors import DeriveError
from derive.keep import Project
from derive.streams import say


def check() -> int:
    """Say which kernels are stale, with the difference and what mends it. 0 when all are fresh, else 1."""
    project = Project.here().wanted()
    states = keep.check(project)
    stale = [state for state in states if not state.fresh]
    for state in stale:
        say(state.message)
    for state in stale:
        say(state.diff, end="")
    if not stale:
        count = sum(state.path.suffix == ".py" for state in states)
        say(f"{count} kernels are as their equations say." if count > 1 else "1 kernel is as its equations say.")
    _, unlisted = keep.orphans(project, {state.path.name for state in states})
    for path in unlisted:
        say(f"{project.shown(path)}: emitted and not listed in pyproject.toml: not checked.")
    return 1 if stale else 0


def everything(force: bool = False, no_verify: bool = False) -> int:
    """Regenerate what changed and only that; then, where all of it succeeded, remove what an earlier run wrote and is no longer listed.

    1 when a kernel failed: then nothing is removed. Raises KeepError, before anything is written, on a list that is empty or can't be read.
    """
    project = Project.here().wanted()
    listed = keep.regenerated(project)
    failed = False
    for kernel in listed:
        failed |= not one(project, kernel, force, no_verify)
    wanted = {name for kernel in listed for name in kernel.files}
    gone, unlisted = keep.orphans(project, wanted)
    for path in gone:
        if failed:
            say(f"{project.shown(path)}: no longer listed: kept, since a kernel failed")
        elif keep.is_edited(keep.read(path)) and not force:
            say(f"{project.shown(path)}: no longer listed, edited by hand: kept. Remove it yourself, or add --force.")
        else:
            path.unlink()
            say(f"{project.shown(path)}: no longer listed: removed")
    for path in unlisted:
        say(f"{project.shown(path)}: not listed in pyproject.toml: kept")
    record = [name for name in sorted(wanted) if (project.generated / name).exists()]
    record += [path.name for path in gone if path.exists()]
    text = "".join(f"{name}\n" for name in record)
    if record or (project.generated / keep.RECORD).is_file():
        write_record(project, text)
    return 1 if failed else 0


def write_record(project: Project, text: str) -> None:
    file = project.generated / keep.RECORD
    try:
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            keep.replace_file(file, text)
    except (OSError, UnicodeDecodeError) as error:
        raise keep.KeepError(f"{project.shown(file)}: can't be written: {error}. Mend the folder's permissions.") from None


def one(project: Project, kernel: keep.Listed, force: bool, no_verify: bool) -> bool:
    """Bring one kernel up to date; False where it failed verification or was edited by hand."""
    files = [(text, path := project.generated / name, project.shown(path)) for name, text in kernel.files.items()]
    states = [keep.state_of(path, text, shown) for text, path, shown in files]
    if all(state.fresh for state in states):
        for _, _, shown in files:
            say(f"{shown}: unchanged")
        return True
    try:
        for text, path, shown in files:
            keep.check_place(path, text, shown, force)
        if not no_verify:
            compiler.refuse_missing(kernel.target)
            if not passes(kernel, files[-1][2]):
                return False
        for (text, path, shown), state in zip(files, states, strict=True):
            reason = keep.what_changed(keep.read(path), text) if state.verdict == "stale" else state.verdict
            written = keep.write(path, text, shown, force)
            say(f"{shown}: written ({reason})" if written else f"{shown}: unchanged")
    except DeriveError as error:
        print(str(error), file=sys.stderr)
        return False
    return True


def passes(kernel: keep.Listed, shown: str) -> bool:
    """Whether a kernel passes verification; says so where it doesn't."""
    from verify.emitted import compare_files
    from verify.kernel import KernelError

    try:
        report = compare_files(kernel.files, kernel.cell)
    except KernelError as error:
        print(f"{shown}: not written: {error}", file=sys.stderr)
        return False
    if not report.passed:
        print(f"{shown}: not written: {report.verdict()}", file=sys.stderr)
    return bool(report.passed)
