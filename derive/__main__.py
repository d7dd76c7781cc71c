"""The command line: `python -m derive CELL [options]`, `--list`, `--all`, `--check`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # what is imported stays: looking for garbage in it takes a tenth of a short command
INTERRUPTED = "derive: interrupted; every file is as it was or whole."

try:
    import argparse
    import keyword
    from collections.abc import Sequence
    from dataclasses import dataclass, replace
    from pathlib import Path
    from typing import TYPE_CHECKING, Any

    from derive import streams
    from derive.cells.registry import Declaration, OneLineParser, declarations, find
    from derive.errors import DeriveError
    from derive.sources import (
        add_cell_option,
        add_network_options,
        add_page_options,
        asked_first,
        declarations_in,
        from_python,
        is_page,
        is_python,
        page_cells,
    )
except KeyboardInterrupt:  # the imports take most of the first second
    print(INTERRUPTED, file=sys.stderr)
    raise SystemExit(130) from None

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.derivation import Derivation

FORMATS = ("text", "latex", "markdown", "json")

MODES: dict[str, tuple[str, ...]] = {"list": (), "all": ("force", "no_verify"), "check": ()}
"""What may stand instead of a cell, and the options that go with it."""


def common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cell", nargs="?", metavar="CELL", help="a built-in cell, a page of equations (.md, .tex, .txt, -), or a .py file"
    )
    what = parser.add_argument_group("instead of a cell")
    what.add_argument("--list", action="store_true", help="every cell and variant, with the document and equation it is from")
    what.add_argument("--all", action="store_true", help="regenerate the kernels of [tool.derive] that changed")
    what.add_argument("--check", action="store_true", help="exit 1 and say which of those kernels are stale")
    how = parser.add_argument_group("for every cell")
    how.add_argument("--format", choices=FORMATS, default="text", help="of the derivation sheet (text)")
    how.add_argument("--name", help="base name of the kernel (default: the cell and its options)")
    how.add_argument("--out", metavar="DIR", help="folder of the kernel (default: generated/)")
    how.add_argument(
        "--schedule", metavar="fast|plain|PASS,PASS", help="how the kernel is arranged (fast); plain is the textbook's"
    )
    how.add_argument(
        "--target",
        choices=("numpy", "c", "torch", "jax"),
        default="numpy",
        help="what the kernel is: NumPy, C with a module that calls it, a layer of PyTorch, or JAX",
    )
    how.add_argument("--second-order", action="store_true", help="show how the gradients move, too: what hvp computes")
    how.add_argument("--cost", action="store_true", help="what a step costs and what the tape holds; writes nothing")
    how.add_argument("--no-verify", action="store_true", help="write the kernel without verifying it")
    how.add_argument("--force", action="store_true", help="overwrite a kernel that was edited by hand")


def declaration_of(words: Sequence[str]) -> list[Declaration]:
    """The cells that the words may mean, the one whose options they may use in front.

    The first word that names a cell, a page or a Python file decides.
    """
    known = declarations()
    for word in words:
        if word in known:
            return [known[word]]
        if is_python(word):
            return asked_first(declarations_in(Path(word)), Path(word), words)[0]
        if is_page(word):
            return []
    return []


def parser_for(declared: list[Declaration]) -> OneLineParser:
    """The parser of the command line, with the options of the cell that it names."""
    known = ", ".join(declarations())
    parser = OneLineParser(
        prog="derive",
        usage="python -m derive CELL [options] | --list | --all | --check",
        description="Derive the backward pass of a recurrent cell, show the formulas, write and verify its NumPy kernel.",
        epilog=f"cells: {known}; `python -m derive CELL --help` shows the options of a cell",
        allow_abbrev=False,
    )
    common_options(parser)
    parser.hint = " See `python -m derive --help`."
    add_network_options(parser.add_argument_group("for any cell as a network"), declared[0] if declared else None)
    if not declared:
        page = parser.add_argument_group("for a page")
        page.add_argument("--explain", action="store_true", help="show how the page was read, and nothing else")
        add_page_options(page)
    for one in declared[:1]:
        parser.hint = one.hint
        if declarations().get(one.name) is not one:
            add_cell_option(parser.add_argument_group("for a .py file"), "file, by the name of its function")
        group = parser.add_argument_group(f"for {one.name}")
        for option in one.options:
            option.add_to(group)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A wrong call is one line on standard error and 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    streams.forgive()
    try:
        declared = declaration_of(words)
        if words and not declared and not words[0].startswith("-") and not is_page(words[0]):
            find(words[0])
        parser = parser_for(declared)
        options = parser.parse_args(words)
        refuse_ignored(options, parser)
        return run(options, declared)
    except DeriveError as error:
        print(str(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130


def modes_of(options: argparse.Namespace) -> list[str]:
    return [name for name in MODES if getattr(options, name)]


def refuse_ignored(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raises DeriveError on an option that the command would not look at."""
    for mode in modes_of(options):
        takes = ("cell", *MODES, *MODES[mode])
        for action in parser._actions:
            given = action.dest not in takes and getattr(options, action.dest, action.default) != action.default
            if given and action.option_strings:
                known = " and ".join(f"--{name.replace('_', '-')}" for name in MODES[mode]) or "no other option"
                got = action.option_strings[-1]
                raise DeriveError(f"derive: --{mode} {got}: expected {known} beside --{mode}, got {got}. Leave it out.")


def run(options: argparse.Namespace, declared: list[Declaration]) -> int:
    modes = modes_of(options)
    if len(modes) + (options.cell is not None) != 1:
        got = " and ".join([*(f"--{mode}" for mode in modes), *([options.cell] if options.cell else [])]) or "nothing"
        raise DeriveError(
            f"derive: expected a cell, or one of --list, --all, --check, got {got}. Try `python -m derive lstm --peephole`."
        )
    if options.list:
        from derive.listing import listing

        streams.say(listing(declarations()), end="")
        return 0
    if options.all or options.check:
        from derive import regenerate

        return regenerate.everything(options.force, options.no_verify) if options.all else regenerate.check()
    if is_page(options.cell):
        return derive_page(options)
    cells = cells_for(options, declared)
    if options.name and len(cells) > 1:
        raise DeriveError(
            f"derive: --name {options.name}: names one kernel, and {options.cell} has {len(cells)} cells. Choose one with --cell."
        )
    return derive_all(cells, options)


def cells_for(options: argparse.Namespace, declared: list[Declaration]) -> list[Cell]:
    """The cells that the command names."""
    if not declared:
        find(options.cell)  # raises, with the nearest name
    chosen, network = declared[0].split(vars(options))
    if is_python(options.cell):
        asked = declared[:1] if options.page_cell is not None else declared
        several = len(declared) > 1
        return [network.of(from_python(one, Path(options.cell), chosen if one is declared[0] else {}, several)) for one in asked]
    return [network.of(declared[0].build(**chosen))]


def derive_page(options: argparse.Namespace) -> int:
    """Show how a page was read, then derive each of its cells."""
    from derive import reading

    found, refused = page_cells(options.cell, options)
    if options.name and len(found) > 1:
        raise DeriveError(
            f"derive: --name {options.name}: names one kernel, and the page has {len(found)} cells. Choose one with --cell."
        )
    readings = [reading.text(one, options.explain) for one in found]
    if options.explain:
        for text in readings:
            streams.say(text)
        code = 0
    else:
        code = derive_all([one.cell for one in found], options, readings, len(found) + len(refused) > 1)
    for error in refused:
        print(str(error), file=sys.stderr)
    return max(code, 1) if refused else code


def derive_all(
    cells: Sequence[Cell], options: argparse.Namespace, readings: Sequence[str] = (), several: bool | None = None
) -> int:
    """Derive cells, each shown with its reading in front; in a format that other programs read, all of them first, in one document.

    several: whether JSON is a list; by default where there are several cells.
    """
    from derive import sheet

    if options.format == "text" or options.cost:
        code = 0
        for at, cell in enumerate(cells):
            if readings and options.format == "text":
                streams.say(readings[at])
            kernel = derive_one(cell, options)
            code = max(code, finish(kernel, options) if kernel else 0)
        return code
    kernels = [kernel for cell in cells if (kernel := derive_one(cell, options))]
    several = len(kernels) > 1 if several is None else several
    printed = sheet.document(options.format, [kernel.derivation for kernel in kernels], several)
    streams.say(streams.carried(printed) if options.format == "json" else printed, end="")
    return max(finish(kernel, options) for kernel in kernels)


@dataclass(frozen=True)
class File:
    """A file of a kernel: its text, where it goes, and that path as it is shown."""

    text: str
    path: Path
    shown: str


@dataclass(frozen=True)
class Kernel:
    """A derived cell and the files of its kernel, the module with the functions of the contract last."""

    derivation: Derivation
    files: tuple[File, ...]


def derive_one(cell: Cell, options: argparse.Namespace) -> Kernel | None:
    """Derive a cell, emit its kernel and show the sheet as text; nothing where only the cost is asked for."""
    from derive import compiler, cost, derivation, keep, sheet

    passes, suffix = schedule_of(options.schedule)
    if options.target != "numpy" and options.schedule is not None:
        raise DeriveError(
            f"derive: --schedule: such a kernel has a schedule of its own: expected no other with --target {options.target}. "
            "Leave it out."
        )
    if not options.no_verify and not options.cost:
        compiler.refuse_missing(options.target)
    name = name_of(cell.name + suffix if options.name is None else options.name)
    if options.out == "" or (options.out or "").endswith(".py"):
        got = (
            f"the name of a file, {options.out}. The file's name is --name"
            if options.out
            else "nothing. Leave it out for generated/"
        )
        raise DeriveError(f"derive: --out: expected a folder, got {got}.")
    derived = replace(derivation.derive(cell), second_order=options.second_order)
    if options.cost:
        found = compiler.emitted(derived, passes)
        streams.say("\n".join(cost.report(cell, found.computed, found.tape, found.passes)))
        return None
    project = keep.Project.here()
    folder = Path(options.out) if options.out else project.generated

    texts = compiler.files(derived, name, options.target, passes)
    files = tuple(File(text, folder / file, project.shown(folder / file)) for file, text in texts.items())
    for one in files:
        if not options.force:
            keep.check_name(project, one.path, one.text, options.name is not None)
        keep.check_place(one.path, one.text, one.shown, options.force)
    if options.format == "text":
        streams.say(sheet.text(derived), end="")
    return Kernel(derived, files)


def finish(kernel: Kernel, options: argparse.Namespace) -> int:
    """Verify a kernel and put it in its place."""
    from derive import keep

    if not options.no_verify:
        report = verified(kernel)
        if not report.passed:
            print(f"{kernel.files[-1].shown}: not written: {report.verdict()}", file=sys.stderr)
            return 1
    done = [(one.shown, keep.write(one.path, one.text, one.shown, options.force)) for one in kernel.files]
    with streams.may_leave():
        out = sys.stdout if options.format == "text" else sys.stderr
        print(file=out)
        for shown, written in done:
            print(f"{shown}: {'written' if written else 'already there, unchanged'}", file=out)
        print("not verified (--no-verify)" if options.no_verify else report.verdict(), file=out)
    return 0


def name_of(name: str) -> str:
    """The base name of a kernel. Raises DeriveError on one that Python can't import, or keeps for itself as `__init__`."""
    if name.isidentifier() and not keyword.iskeyword(name) and not (name.startswith("__") and name.endswith("__")):
        return name
    where, got = (f"--name {name}", f"`{name}`") if name else ("--name", "nothing")
    raise DeriveError(
        f"derive: {where}: expected a Python identifier that Python doesn't keep for itself, got {got}. Choose letters, digits and _."
    )


def schedule_of(words: str | None) -> tuple[tuple[str, ...], str]:
    """(the passes, what they add to the kernel's name). Raises DeriveError on an unknown pass."""
    from derive.compiler import FAST

    if words in (None, "fast"):
        return FAST, ""
    chosen = () if words == "plain" else tuple(words.split(","))
    unknown = [name for name in chosen if name not in FAST]
    if unknown:
        raise DeriveError(f"derive: --schedule: unknown pass `{unknown[0]}`: expected fast, plain, or some of {', '.join(FAST)}.")
    ordered = tuple(name for name in FAST if name in chosen)
    return ordered, "_schedule_" + ("_".join(ordered) or "plain")


def verified(kernel: Kernel) -> Any:
    """The comparison of a kernel that is not yet in its place. Raises DeriveError where it can't be loaded on this machine."""
    from verify.emitted import compare_files
    from verify.kernel import KernelError

    try:
        return compare_files({one.path.name: one.text for one in kernel.files}, kernel.derivation.cell)
    except KernelError as error:
        raise DeriveError(str(error)) from None


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(100_000)
    gc.enable()
    sys.exit(main())
