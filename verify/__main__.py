"""The command line: `python -m verify [CELL options | path/to/kernel.py] [--json]`; without a name, every kept kernel."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from derive.cells.registry import OneLineParser
from derive.errors import DeriveError
from verify.compare import Report, compare
from verify.kept import StaleError, handwritten_for, kept_kernels, kernels_of
from verify.kernel import KernelError


def parser() -> argparse.ArgumentParser:
    out = OneLineParser(
        prog="verify",
        usage="python -m verify [CELL [cell options] | path/to/kernel.py] [--json] [--seed N]",
        description="Compare a kernel's gradients with hand-written ones, complex step and central differences.",
        allow_abbrev=False,
    )
    out.add_argument("--json", action="store_true", help="the whole record, for machines")
    out.add_argument("--seed", type=int, default=0, help="of the data (0)")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """0 all well, 1 a check failed or a kernel is stale, 2 the call was wrong: then one line on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["jacobian"]:
        from verify.jacobian.command import main as jacobian

        return jacobian(words[1:])
    try:
        options, cell = parser().parse_known_args(words)
        kernels = kernels_of(cell) if cell else kept_kernels()
        reports = compare_all(kernels, options.seed, quiet=options.json)
    except (DeriveError, KernelError) as error:
        print(str(error), file=sys.stderr)
        return 2
    except StaleError as error:
        print(str(error), file=sys.stderr)
        return 1
    show(reports, options.json, bool(cell))
    return 0 if all(report.passed for report in reports) else 1


def compare_all(kernels: list[tuple[str, object]], seed: int, quiet: bool) -> list[Report]:
    """The comparisons, with a progress bar on a terminal where there are several."""
    if len(kernels) > 1 and not quiet:
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        walk = track(kernels, "verifying", console=console, transient=True, disable=not console.is_terminal)
        return [compare(kernel, name, handwritten_for(name, kernel), seed) for name, kernel in walk]
    return [compare(kernel, name, handwritten_for(name, kernel), seed) for name, kernel in kernels]


def show(reports: list[Report], as_json: bool, in_full: bool) -> None:
    from verify import report as printing

    if as_json:
        print(printing.as_json(reports))
    elif in_full:
        for report in reports:
            printing.show(report)
    else:
        for report in reports:
            print(f"{report.name}: {report.verdict()}" if report.passed else f"FAIL {report.verdict()}")


if __name__ == "__main__":
    sys.exit(main())
