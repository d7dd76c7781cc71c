"""The command line: `python -m verify [CELL options | path/to/kernel.py] [--against WORDS] [--json]`; without a name, every kept kernel."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

try:
    from derive.cells.registry import OneLineParser
    from derive.errors import DeriveError
    from derive.streams import carried, forgive, may_leave
    from verify.examination import Report, check
    from verify.kept import Candidate, StaleError, candidates, kept_kernels, model_for
    from verify.kernel import Kernel, KernelError
    from verify.sizes import chosen
except KeyboardInterrupt:  # importing SymPy takes most of the first second
    print("verify: interrupted.", file=sys.stderr)
    raise SystemExit(130) from None


def parser() -> argparse.ArgumentParser:
    out = OneLineParser(
        prog="verify",
        usage="python -m verify [CELL [cell options] | path/to/kernel.py] [--against WORDS] [--json]",
        description="Hold a kernel's gradients against its own forward pass, hand-written ones and the derived cell.",
        epilog="exit codes: 0 all pass, 1 a check failed or stayed inconclusive, 2 the call is wrong or the file no kernel; "
        "where gradients vanish and explode: `python -m verify jacobian --help`",
        allow_abbrev=False,
    )
    out.hint = " See `python -m verify --help`."
    out.add_argument("--json", action="store_true", help="the whole record, for machines")
    out.add_argument("--verbose", action="store_true", help="every table, finding and bound in full")
    out.add_argument("--seed", type=int, default=0, help="of the data (0)")
    out.add_argument("--against", metavar="WORDS", help='hold it against a derived cell too: "lstm --peephole diagonal"')
    out.add_argument(
        "--map",
        metavar="THEIRS=OURS",
        action="append",
        default=[],
        help="which array of the kernel is which of the cell's: h1=h; "
        "| puts side by side, / below each other, .T transposes: Wx=W_i.T|W_f.T; commas between several (docs/verify.md)",
    )
    out.add_argument(
        "--sizes", metavar="T=300,H=200", action="append", default=[], help="large sizes to try, instead of the usual"
    )
    out.add_argument("--batch-first", action="store_true", help="the kernel's arrays are (B, T, n)")
    out.add_argument(
        "--contract",
        action="store_true",
        help="fail where a promise of the contract isn't kept too; always so for emitted kernels",
    )
    out.add_argument("--thorough", action="store_true", help="more draws, all checks on all of them")
    out.add_argument("--power", action="store_true", help="plant faults in the kept cells and count which are caught")
    out.add_argument("--target", help="with --power: what the kernels with faults are printed for (numpy)")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """0 all well, 1 a check failed or a kernel is stale, 2 the call was wrong: then one line on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    forgive()
    if words[:1] == ["jacobian"]:
        from verify.jacobian.command import main as jacobian

        return jacobian(words[1:])
    try:
        options, cell = parser().parse_known_args(words)
        if options.seed < 0:
            raise KernelError(f"verify: --seed {options.seed}: expected a number from 0 up, got {options.seed}. Choose one.")
        if options.power:
            return power(options, cell)
        if options.target:
            raise KernelError("verify: --target: expected --power beside it, got none. Add it, or name the module of the kernel.")
        unread: list[DeriveError] = []
        with only_ours(options.json):
            reports = run(options, cell, unread)
            show(reports, options.json, bool(cell), options.verbose)
        for section in unread:
            print(str(section), file=sys.stderr)
    except DeriveError as error:  # of a page with the line and a caret under what is wrong
        print(error, file=sys.stderr)
        return 2
    except KernelError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except StaleError as error:
        print(str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("verify: interrupted.", file=sys.stderr)
        return 130
    return 0 if all(report.passed for report in reports) and not unread else 1


def power(options: argparse.Namespace, cell: list[str]) -> int:
    from derive.compiler import TARGETS
    from verify.power.command import run as measure

    target = options.target or TARGETS[0]
    if target not in TARGETS:
        raise KernelError(f"verify: --target: expected one of {', '.join(TARGETS)}, got {target}. Choose one.")
    return measure(cell, options.json, options.thorough, target)


def run(options: argparse.Namespace, cell: list[str], unread: list[DeriveError]) -> list[Report]:
    """The reports, with a progress bar on a terminal where there is much to do; what kernels print is kept off the output. unread: where
    to put why sections of a page can't be read."""
    names = options.map
    if not cell and (options.against or names):
        raise KernelError(
            "verify: --against: expected a kernel to hold against it, got none. Name one: python -m verify PATH.py --against CELL."
        )
    with quiet():
        model = model_for(options.against, names, unread)
        found = candidates(cell, unread) if cell else kept_kernels()
    if options.batch_first and any(one.model is not None for one in found):
        raise KernelError(
            "verify: --batch-first: expected the path of a kernel, got a cell, whose kernel has time first. Leave it out."
        )
    with progress(options) as step:
        reports = []
        for one in found:
            with quiet():
                reports.append(examine(one, options, model, step))
        return reports


def examine(one: Candidate, options: argparse.Namespace, model: Any, step: Any) -> Report:
    held = model or one.model
    found = check(
        one.module,
        held,
        name=one.name,
        hand=one.hand,
        seed=options.seed,
        thorough=options.thorough,
        batch_first=options.batch_first,
        sizes=chosen(options.sizes),
        contract=options.contract or one.model is not None,
        progress=step,
    )
    return replace(found, given=one.model is None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What a kernel prints or warns is its own affair."""
    import warnings

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def only_ours(as_json: bool) -> Iterator[None]:
    """For `--json` the process's own standard output is ours alone: a kernel that writes past `sys.stdout` writes nowhere, to the end."""
    if not as_json or sys.stdout is not sys.__stdout__:
        yield
        return
    with may_leave():
        print(end="")
    ours = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    with open(ours, "w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        yield


@contextlib.contextmanager
def progress(options: argparse.Namespace) -> Iterator[object]:
    """A function to call with what is being done; on a terminal it moves a bar."""
    if options.json or not sys.stderr.isatty():
        yield lambda what: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.__stderr__), transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        yield lambda what: bar.update(task, advance=1, description=what)


def show(reports: list[Report], as_json: bool, in_full: bool, verbose: bool = False) -> None:
    from verify import report as printing

    with may_leave():
        if as_json:
            print(carried(printing.as_json(reports)))
        elif in_full:
            for report in reports:
                printing.show(report, verbose)
        else:
            for report in reports:
                print(f"{report.name}: {report.verdict()}" if report.passed else f"FAIL {report.verdict()}")


__all__ = ["Kernel", "main"]

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # outside of what main guards: while it imports, or within `jacobian`
        print("verify: interrupted.", file=sys.stderr)
        sys.exit(130)
