"""The command: `python -m verify jacobian CELL [cell options] --steps T ...`: a run, its figures, a picture."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from derive.cell import Cell
from derive.cells.registry import OneLineParser, OptionError
from derive.errors import DeriveError
from derive.streams import carried, may_leave
from verify.jacobian import heat_map, report
from verify.jacobian.analysis import Analysis, Wanted, amount_of, analyse
from verify.jacobian.files import Asked, build_run
from verify.jacobian.influence import amount_of as amount_of_norms
from verify.jacobian.influence import influence, question
from verify.jacobian.initial import Init, parse_init
from verify.jacobian.recurrences import carried_by, chosen, is_whole
from verify.jacobian.remedies import remedy_of
from verify.jacobian.run import Run, RunError
from verify.jacobian.within import within

USAGE = """python -m verify jacobian CELL [cell options] [--steps T] [--hidden H] [--inputs D] [--batch B] [--seed S] [--dim NAME=SIZE]
       [--init scale=..,forget-bias=..,recurrent=orthogonal|identity|gaussian] [--weights file.npz]
       [--inputs-file file.npz] [--batch-first]
       [--exponents k] [--threshold X] [--loss-step s] [--remedy NAME] [--no-paths] [--of STATE] [--plot file.png|.svg|.pdf] [--json]
       python -m verify jacobian CELL ... --of OUTPUT --with-respect-to INPUT [--plot file.png|.svg|.pdf] [--json]
       python -m verify jacobian --compare CELL CELL ... [the same]"""


def parser() -> OneLineParser:
    about = "Jacobian products: where gradients vanish and explode."
    out = OneLineParser(prog="jacobian", usage=USAGE, allow_abbrev=False, description=about)
    out.hint = " See `python -m verify jacobian --help`."
    out.add_argument("--steps", type=int, help="T (100), and how long other axes of steps are")
    out.add_argument("--hidden", type=int, help="the size of the states (32)")
    out.add_argument("--inputs", type=int, help="the size of the inputs (16)")
    out.add_argument("--batch", type=int, help="how many sequences (1)")
    out.add_argument("--seed", type=int, default=0, help="of weights and inputs (0)")
    out.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="the size of a dimension, or of an axis of steps, by its name",
    )
    out.add_argument("--init", help="scale=..,forget-bias=..,recurrent=gaussian|orthogonal|identity")
    out.add_argument("--weights", type=Path, help="npz: the parameters by name")
    out.add_argument("--inputs-file", type=Path, help="npz: inputs by name (T, B, ...), initial states by name (B, ...)")
    out.add_argument("--batch-first", action="store_true", help="the inputs of --inputs-file are (B, T, ...)")
    out.add_argument("--exponents", type=int, metavar="k", help="only the leading k (all of up to 1,024, else 16)")
    out.add_argument("--threshold", type=float, help="of the verdict, natural log per step (0.01)")
    out.add_argument("--loss-step", type=int, help="the step whose loss the gradient by lag is of (T)")
    out.add_argument("--remedy", help="identity, orthogonal, relu, identity-relu, forget-bias=X: the same view before and after")
    out.add_argument("--no-paths", action="store_true", help="leave the paths out")
    out.add_argument(
        "--of",
        action="append",
        default=[],
        metavar="NAME",
        help="of a network the recurrence that carries this state; with --with-respect-to the quantity y; may be repeated",
    )
    out.add_argument(
        "--with-respect-to",
        metavar="NAME",
        help="instead of products: the norm of dy_t/dx_s over t and s, x being the input or quantity named here",
    )
    out.add_argument("--compare", nargs="+", metavar="CELL", help="several cells on the same axes; quote a cell that has options")
    out.add_argument("--plot", type=Path, help="one picture, .png, .svg or .pdf")
    out.add_argument("--json", action="store_true", help="the whole record, strict JSON")
    return out


def main(words: list[str]) -> int:
    """0 whatever the verdict; 1 where a section of a page can't be read, which is said last; 2 where the call or a file is wrong: then
    one line on standard error."""
    unread: list[DeriveError] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what overflows is refused by name; NumPy's and matplotlib's own words help nobody
            options, cell = parser().parse_known_args(words)
            if options.with_respect_to is not None:
                print_influences(options, cell, words, unread)
                return said(unread)
            with Shown() as shown:
                shown.stage("reading")
                runs = runs_of(options, cell, unread)
                analyses = [analysed(run, options, shown) for run in runs]
                if options.plot:
                    shown.stage("drawing")
                    drawn(analyses, options.plot)
            for note in dict.fromkeys(note for run in runs for note in run.notes):
                print(f"jacobian: {note}", file=sys.stderr)
            with may_leave():
                show(analyses, options, words)
        return said(unread)
    except DeriveError as error:  # of a page with the line and a caret under what is wrong
        print(error, file=sys.stderr)
        return 2
    except (RunError, ValueError) as error:
        print(" ".join(str(error).split("\n")), file=sys.stderr)
        return 2


def said(unread: Sequence[DeriveError]) -> int:
    """The exit code, after why sections of a page can't be read."""
    for section in unread:
        print(section, file=sys.stderr)
    return 1 if unread else 0


class Shown:
    """What is being done, as a line on standard error that vanishes when it is done; on a terminal only."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.task: Any = None

    def __enter__(self) -> Shown:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def stage(self, what: str, total: int | None = None) -> None:
        """The next thing to be done, in `total` parts; None: nobody knows how many."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(f"jacobian: {what}", total=total)

    def advance(self) -> None:
        self.progress.advance(self.task)


def runs_of(options: Any, cell: list[str], unread: list[DeriveError] | None = None) -> list[Run]:
    """The runs that the words ask for, everything refused that can be before the work. unread: where to put why sections of a page can't
    be read, which stops nothing then."""
    check_words(options, cell)
    if options.threshold is not None and not 0 <= options.threshold < float("inf"):
        raise RunError(f"jacobian: --threshold: expected a number from 0 on, got {options.threshold}. Choose another.")
    asked = asked_of(options)
    found = [(*one, of) for words, of in asked_for(options, cell) for one in sources(words, unread, of)]
    asked = replace(asked, one_of_several=len(found) > 1)
    runs = [run for one in found for run in runs_of_one(*one, asked)]
    check_opened(runs)
    for run in list(runs) if options.remedy else []:
        after = remedy_of(options.remedy)(run)
        runs.append(after if after.name != run.name else replace(after, name=f"{run.name}, {options.remedy}"))
    return runs


def check_opened(runs: Sequence[Run]) -> None:
    """Raises RunError where a forget bias was asked for and no cell takes it."""
    refused = [f"{run.name}: {run.applied.why_not}" for run in runs if run.applied and run.applied.why_not]
    if refused and len(refused) == len(runs):
        raise RunError(f"jacobian: --init forget-bias: none of these cells takes it: {refused[0]}. Leave it out.")


def check_words(options: Any, cell: list[str]) -> None:
    """Raises RunError where no cell is named, or too many, and where the picture couldn't be written."""
    if options.compare and cell:
        raise RunError(
            f"jacobian: --compare: expected cells after it only, got {' '.join(cell)} too. Quote a cell that has options."
        )
    if not options.compare and not cell:
        raise RunError("jacobian: expected a cell, a page or a kernel file, got none. See `python -m verify jacobian --help`.")
    if options.plot:
        from verify.jacobian.plot import check_plot

        check_plot(options.plot)


def print_influences(options: Any, cell: list[str], words: Sequence[str], unread: list[DeriveError]) -> None:
    """The gradient of each quantity that --of names with respect to another, step by step, in place of the products of a recurrence."""
    check_words(options, cell)
    for flag in ("--remedy", "--exponents", "--loss-step", "--threshold", "--no-paths"):
        value = getattr(options, flag[2:].replace("-", "_"))
        if value is not None and value is not False:
            text = flag if value is True else f"{flag} {value}"
            raise RunError(
                f"jacobian: {text}: belongs to the products of a recurrence, not to --with-respect-to. Drop one of them."
            )
    asked, by, found = asked_of(options), options.with_respect_to, []
    with Shown() as shown:
        shown.stage("reading")
        cells = [(one, of or (None,)) for own, of in asked_for(options, cell) for one in sources(own, unread, [*of, by])]
        asked = replace(asked, one_of_several=len(cells) > 1)
        questions = [question(*one, which, by, asked) for one, of in cells for which in of]
        check_opened([one.run for one in questions])
        for one in questions:
            shown.stage(f"d{one.of}/d{one.by} of {one.run.name}", amount_of_norms(one))
            found.append(influence(one, shown.advance))
        if options.plot:
            heat_map.draw(found, options.plot)
    for note in dict.fromkeys(note for one in found for note in one.question.run.notes):
        print(f"jacobian: {note}", file=sys.stderr)
    with may_leave():
        if not options.json:
            heat_map.show(found)
            return
        records = [heat_map.record(one, again(options, words)) for one in found]
        print(carried(report.as_json(records[0] if len(records) == 1 else {"influences": records})))


def asked_for(options: Any, cell: list[str]) -> list[tuple[list[str], list[str]]]:
    """(the words of a cell, what --of names, for all cells and among its own words) for each cell."""
    words = [split_words(one, "--compare ") for one in options.compare] if options.compare else [unquoted(cell)]
    of = OneLineParser(prog="jacobian", allow_abbrev=False, add_help=False)
    of.add_argument("--of", action="append", default=[])
    split = [of.parse_known_args(one) for one in words]
    asked = [(rest, [*options.of, *found.of]) for found, rest in split]
    for _, names in asked:
        twice = next((name for k, name in enumerate(names) if name in names[:k]), None)
        if twice is not None:
            raise RunError(f"jacobian: --of {twice}: given twice: expected each name once. Drop one of them.")
    return asked


def runs_of_one(name: str, kernel: Any, derivation: Any, of: Sequence[str], asked: Asked) -> list[Run]:
    """The run of a cell with all its states, or one for each recurrence of it that is asked for; of a cell that has only one, that."""
    if derivation is None:
        refuse_networks(name, kernel, of)
    if derivation is None or (not of and is_whole(derivation.cell)):
        return [build_run(name, kernel, derivation, asked)]
    if len(of) > 1:
        check_apart(derivation.cell, of)
    return [within(derivation.cell, derivation, kernel, state, asked) for state in (of or (None,))]


def check_apart(cell: Cell, states: Sequence[str]) -> None:
    """Raises RunError where two states are of one recurrence, whose figures are of all its states."""
    seen: dict[tuple[Any, ...], str] = {}
    for state in states:
        other = seen.setdefault(tuple(carried_by(cell, chosen(cell, state))), state)
        if other != state:
            fault = f"--of {state}: of the same recurrence as {other}, whose figures are of both together"
            raise RunError(f"jacobian: {cell.name}: {fault}: expected one state of each recurrence. Drop one of them.")


def refuse_networks(name: str, kernel: Any, of: Sequence[str]) -> None:
    """Raises RunError where the states of a kernel file aren't all that one step hands to the next one, from the first step to the last."""
    from verify.axes import along_of
    from verify.data import ORDINARY, draw
    from verify.kernel import Kernel
    from verify.ways import leftward_of

    if of:
        raise RunError(
            f"jacobian: {name}: --of {of[0]}: expected equations, in which recurrences are found, got a kernel "
            "file. Name the cell or its page."
        )
    along = along_of(kernel)
    if along:
        raise RunError(
            f"jacobian: {name}: AXES: {', '.join(sorted(along))}: not along the steps of one recurrence: expected inputs, states and "
            "outputs at each of them. Name the cell or its page, from which --of takes one recurrence."
        )
    wrapped = Kernel(kernel, name)
    leftward = leftward_of(wrapped, draw(wrapped.dims, ORDINARY, 0))
    if leftward:
        raise RunError(
            f"jacobian: {name}: {', '.join(sorted(leftward))}: runs from the last step to the first: expected states that run from the "
            "first step to the last. Name the cell or its page, from which --of takes one recurrence."
        )


def unquoted(cell: list[str]) -> list[str]:
    """A cell with its options, which may stand in one pair of quotes as --compare has them."""
    return [*split_words(cell[0]), *cell[1:]]


def split_words(words: str, where: str = "") -> list[str]:
    """A cell in one word, with its options; a file keeps the spaces in its name."""
    if Path(words).is_file():
        return [words]
    try:
        out = shlex.split(words)
    except ValueError as error:
        said = str(error).rstrip(".").lower()
        raise RunError(f"jacobian: {where}{words}: {said}: expected a cell with its options. Close the quote.") from None
    if not out:
        where = f"{where.strip()}: " if where else ""
        raise RunError(f"jacobian: {where}expected a cell with its options, got `{words}`. Name one.")
    return out


def asked_of(options: Any) -> Asked:
    init: Init | None = parse_init(options.init) if options.init is not None else None
    sizes = (options.steps, options.hidden, options.inputs, options.batch, dims_of(options.dim))
    if options.batch_first and not options.inputs_file:
        raise RunError("jacobian: --batch-first: expected --inputs-file beside it, got none. Leave it out.")
    return Asked(*sizes, options.seed, init, options.weights, options.inputs_file, options.batch_first)


def dims_of(words: Sequence[str]) -> dict[str, int]:
    out: dict[str, int] = {}
    for word in words:
        name, _, size = word.partition("=")
        if not re.fullmatch("[0-9]{1,9}", size) or int(size) < 1 or not name:
            raise RunError(f"jacobian: --dim {word}: expected NAME=SIZE with a size of at least 1, got `{size}`. Correct it.")
        if out.get(name, int(size)) != int(size):
            raise RunError(f"jacobian: --dim {word}: contradicts --dim {name}={out[name]}: expected one size. Drop one of them.")
        out[name] = int(size)
    return out


def sources(
    words: Sequence[str], unread: list[DeriveError] | None = None, asked: Sequence[str] = ()
) -> list[tuple[str, Any, Any]]:
    """(name, kernel, derivation) of what words name; a kernel file has no derivation. asked: names that each of several cells must have."""
    from derive.compiler import emit
    from derive.derivation import derive
    from derive.sources import cells_of
    from verify.kernel import load, load_text

    path = Path(words[0])
    if path.suffix == ".py" and not declares_cells(path):
        if len(words) > 1:
            raise RunError(f"jacobian: {path}: options after a file: expected none, got {' '.join(words[1:])}. Drop them.")
        return [(path.stem, load(path), None)]
    out = []
    cells = cells_of(words, unread=unread)
    for name in asked if len(cells) > 1 else ():
        having = [cell.name for cell in cells if name in {str(value.name) for value in (*cell.targets, *cell.reads)}]
        if len(having) < len(cells):
            fault = f"{name}: expected in each of {len(cells)} cells, got it in {', '.join(having) or 'none of them'}"
            raise RunError(f"jacobian: {' '.join(words)}: {fault}. Choose a section with --cell.")
    for cell in cells:
        derivation = derive(cell)
        out.append((cell.name, load_text(emit(derivation), f"{cell.name}.py"), derivation))
    if not out:
        raise OptionError(f"jacobian: {' '.join(words)}: no cell there.")
    return out


def declares_cells(path: Path) -> bool:
    """Whether a Python file declares cells, rather than being a kernel."""
    try:
        return "@cell" in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def analysed(run: Run, options: Any, shown: Shown) -> Analysis:
    """The figures of a run."""
    wanted = Wanted(
        exponents=options.exponents,
        threshold=Wanted.threshold if options.threshold is None else options.threshold,
        paths=not options.no_paths,
        loss_step=options.loss_step,
        fan=24 if options.plot else 0,
        seed=options.seed,
    )
    shown.stage(run.name, amount_of(run, wanted))
    return analyse(run, wanted, shown.advance)


def drawn(analyses: list[Analysis], path: Path) -> None:
    from verify.jacobian.plot import draw

    draw(analyses, path)


def show(analyses: list[Analysis], options: Any, words: Sequence[str]) -> None:
    if not options.json:
        report.show(analyses)
        return
    records = [report.record(analysis, again(options, words)) for analysis in analyses]
    print(carried(report.as_json(records[0] if len(records) == 1 else {"cells": records})))


def again(options: Any, words: Sequence[str]) -> dict[str, Any]:
    """What it takes to run it once more."""
    return {
        "command": f"python -m verify jacobian {shlex.join(words)}",
        "seed": options.seed,
        "weights": str(options.weights) if options.weights else None,
        "inputs_file": str(options.inputs_file) if options.inputs_file else None,
    }
