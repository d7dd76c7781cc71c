"""What was found as tables for a person, or as data."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import combinations
from textwrap import shorten, wrap
from typing import Any

from verify.compare import Row, called, fault
from verify.examination import Report
from verify.findings import FAIL, INCONCLUSIVE, NUMBERS, PASS, Finding, label_of
from verify.gradients import Comparison
from verify.tolerances import PAIRS, tolerance
from verify.verdicts import excess

SHORT = {"emitted": "emitted", "hand-written": "hand", "complex step": "complex", "central": "central"}
"""The routes as the heads of narrow columns."""
NOT_KEPT = "not kept"
"""The verdict on a promise of the contract that isn't kept, where that fails nothing."""
MARKS = {
    "pass": "[green]pass[/]", FAIL: "[bold red]FAIL[/]", INCONCLUSIVE: "[yellow]inconclusive[/]", NOT_KEPT: f"[yellow]{NOT_KEPT}[/]"
}  # fmt: skip


def table(report: Report) -> Any:
    """One row a block, one column a pair of routes: the worst relative error over the regimes."""
    from rich.table import Table

    out = Table(title=report.name, title_justify="left", box=None, pad_edge=False)
    out.add_column("block", no_wrap=True)
    pairs = list(combinations(report.routes, 2))
    heads = {route: called(SHORT[route], report.given) for route in report.routes}
    for first, second in pairs:
        out.add_column(f"{heads[first]}\n{heads[second]}", justify="right", no_wrap=True)
    out.add_column("verdict")
    failed = {finding.block: finding.verdict for finding in reversed(report.failures()) if finding.block}
    for row in report.rows:
        verdict = MARKS[failed.get(row.block, "pass")]
        out.add_row(row.block, *[cell(row, pair) for pair in pairs], verdict)
    return out


def cell(row: Row, pair: tuple[str, str]) -> str:
    if pair not in row.errors:
        return ""
    text = f"{row.errors[pair]:.1e}"
    return f"[bold red]{text}[/]" if pair in row.failures() else text


def checks(report: Report) -> Any:
    """One row a check."""
    from rich.table import Table

    out = Table(box=None, pad_edge=False)
    for head in ("check", "verdict", ""):
        out.add_column(head, overflow="fold")
    for name in dict.fromkeys(finding.check for finding in report.findings):
        found = [finding for finding in report.findings if finding.check == name]
        out.add_row(name, MARKS[worst_of(report, found)], summary(report, name, found))
    return out


def worst_of(report: Report, found: list[Finding]) -> str:
    """The verdict on a check: a failure is one that counts."""
    counts = [finding for finding in found if report.counts(finding)]
    worst = next((v for v in (FAIL, INCONCLUSIVE) if any(f.verdict == v for f in counts)), PASS)
    return NOT_KEPT if worst == PASS and any(not finding.passed for finding in found) else worst


def summary(report: Report, name: str, found: list[Finding]) -> str:
    """What a check looked at."""
    if name == "gradients":
        lags = {lag for one in report.comparisons for lag in one.decided_lags}
        worst = max((excess(one) for one in report.comparisons if one.decided), default=0.0)
        reach = f", lag by lag to {max(lags)}" if lags else ""
        counted = f"{len(found)} blocks, {len(report.comparisons)} comparisons in {len(report.sights)} sets of data"
        return f"{counted}{reach}; {share(worst)}"
    said = "; ".join(dict.fromkeys(finding.said for finding in found if finding.said))
    if name == "central differences" and len(found) > 1:
        kinks = "; ".join(dict.fromkeys(f.said for f in found if f.said.startswith("kink")))
        return f"{len(found)} blocks: {kinks}" if kinks else f"{len(found)} blocks"
    return said


def share(worst: float) -> str:
    """How the largest error stands to its bound, in a number that a person reads."""
    if worst <= 1:
        return f"worst at {worst:.1%} of its bound"
    return f"worst {worst:.0f} times its bound" if worst < 1000 else "worst far beyond its bound"


def regimes(report: Report) -> Any:
    """What each regime can see."""
    from rich.table import Table

    out = Table(box=None, pad_edge=False)
    for head in ("data", "steps", "start felt at the end", "terms of the derived formula seen"):
        out.add_column(head, justify="left" if head == "data" else "right")
    for sight in report.sights:
        total = "" if sight.seen is None else f"{sight.seen} of {sight.seen + len(sight.unseen)}"
        out.add_row(sight.regime, str(sight.steps), f"{sight.farthest:.0e}", total)
    return out


def show(report: Report, verbose: bool = False) -> None:
    """What fits a screen, or everything."""
    if verbose:
        in_full(report)
    elif report.passed:
        in_short(report)
    if not report.passed:
        for line in brief(report, not verbose):
            print(line)


def in_short(report: Report) -> None:
    """What passed: the blocks, the checks by verdict, what is kept of the contract, the verdict."""
    console = routes(report)
    for mark, line in check_lines(report):
        console.print(f"{mark} ", end="")
        console.print(line, markup=False)
    console.print()
    for line in [*folded(report.contract.line()), report.verdict()]:
        console.print(line, markup=False)


def check_lines(report: Report) -> list[tuple[str, str]]:
    """(verdict, text): a line or two for each passing check that says what it looked at, the names of the others together."""
    named: dict[str, list[str]] = {}
    texts = []
    for name in dict.fromkeys(finding.check for finding in report.findings):
        found = [finding for finding in report.findings if finding.check == name]
        verdict = worst_of(report, found)
        said = summary(report, name, found) if verdict == PASS else ""
        if said:
            texts.append((verdict, shorten(f"{name}: {said}", LONGEST, placeholder=" ...")))
        else:
            named.setdefault(verdict, []).append(name)
    texts += [(verdict, ", ".join(names)) for verdict, names in named.items()]
    return [
        (MARKS[verdict] if k == 0 else " " * len(verdict), line)
        for verdict, text in texts
        for k, line in enumerate(wrap(text, WIDTH - len(verdict), break_long_words=False, break_on_hyphens=False))
    ]


def routes(report: Report) -> Any:
    """Print the table of blocks and what is said of the routes; the console that does."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if report.rows:
        whole(table(report))
    if "hand-written" not in report.routes and not report.given:
        console.print("hand-written: none exists for this cell.")
    if report.note:
        console.print(report.note)
    console.print()
    return console


def in_full(report: Report) -> None:
    """The tables, the tolerances with their reasons, every failure, the verdict."""
    console = routes(report)
    console.print(checks(report))
    console.print()
    whole(regimes(report))
    for sight in report.sights:
        for text in sight.unseen[:3]:
            console.print(f"not seen in {sight.regime}: {text}", markup=False)
    for value, reason in dict.fromkeys((t.value, t.reason) for t in PAIRS.values()):
        console.print(f"tolerance of the table {value:.0e}: {reason}.")
    for finding in report.failures():
        console.print(f"{MARKS[finding.verdict]} ", end="")
        console.print(finding.line(), markup=False)
    console.print(report.contract.line(), markup=False)
    if report.passed:
        console.print(report.verdict(), markup=False)


# ---- a failure on a screen

WIDTH, LONGEST, SCREEN, COLUMNS = 100, 190, (24, 130), 3
"""How wide sentences are, how much a passing check may say, what a screen holds, and how many blocks stand side by side."""
ROOM = ((9, 3), (6, 3), (4, 2), (2, 1), (1, 1))
"""How many lines of blocks, and how many checks that fail besides: what a screen has room for, the first that fits."""


def brief(report: Report, shortened: bool = True) -> list[str]:
    """The headline, the diagnosis, the blocks that fail, what else does; shortened: so that it fits a screen."""
    missing = bool(report.contract.missing)
    found = told(report, *ROOM[0])
    if not shortened:
        return found
    promises = folded(report.contract.line()) if missing else []
    count = [f"contract: {report.contract.kept} of {report.contract.of} kept (--verbose names the others)"] if missing else []
    end = "Everything that was found: --verbose, or --json."
    for room, contract in ((ROOM[0], promises), *[(room, count) for room in ROOM]):
        lines = [*told(report, *room), *contract, end]
        if len(lines) <= SCREEN[0]:
            break
    return lines


def told(report: Report, rows: int, others: int) -> list[str]:
    """What failed, with so many lines of blocks and so many checks besides."""
    failures = report.failures()
    blocks = {f.block: f for f in reversed(failures) if f.check == "gradients" and f.block}
    calls = [finding for finding in failures if finding.check in CALLS or is_forward(finding)]
    if report.diagnosis is not None and report.diagnosis.cause.startswith("forward: "):
        calls = [finding for finding in calls if not is_forward(finding)]
    lines = [headline(report)]
    if blocks:  # before the gradients, which they make wrong
        lines += other_lines(calls, set(blocks), others)
    if report.diagnosis is not None and (report.diagnosis.cause or not calls):
        lines += [part for line in report.diagnosis.lines() for part in indented(line)]
    lines += block_lines(report, [blocks[b] for b in dict.fromkeys(f.block for f in failures) if b in blocks], rows)
    shown = [*blocks.values(), *(calls if blocks else [])]
    bad = {block for block, finding in blocks.items() if finding.verdict == FAIL}
    return lines + other_lines([finding for finding in failures if finding not in shown], bad, others)


def headline(report: Report) -> str:
    failures = report.failures()
    if all(finding.verdict != FAIL for finding in failures):
        return f"{report.name}: inconclusive"
    if report.diagnosis is not None and report.diagnosis.size:
        return f"{report.name}: FAIL: gradients are wrong {report.diagnosis.size}"
    blocks = {f.block: f.verdict for f in reversed(failures) if f.check == "gradients" and f.block}
    total = len({one.block for one in report.comparisons}) or len(blocks)
    wrong = sum(verdict == FAIL for verdict in blocks.values())
    return f"{report.name}: FAIL" + (f": {wrong} of {total} gradients are wrong" if wrong else "")


def block_lines(report: Report, failing: list[Finding], rows: int) -> list[str]:
    """The blocks that fail side by side: the gradient, its error, the lags at which it is wrong."""
    cells = [block_cell(report, finding) for finding in failing[: COLUMNS * rows]]
    width = max(map(len, cells), default=0) + 3
    count = max(1, min(COLUMNS, SCREEN[1] // width)) if width else 1
    lines = ["  " + "".join(one.ljust(width) for one in cells[k : k + count]).rstrip() for k in range(0, len(cells), count)][
        :rows
    ]
    rest = len(failing) - min(len(cells), count * len(lines))
    return ["", *lines, *([f"  and {rest} more"] if rest > 0 else []), ""] if lines else []


def block_cell(report: Report, finding: Finding) -> str:
    name = label_of(finding.block)
    if finding.verdict != FAIL:
        return f"{name} inconclusive"
    lags = sorted({lag for one in report.comparisons if one.block == finding.block and one.failed for lag in one.lags})
    many = f", lags {lags[0]} to {lags[-1]}" if len(lags) > 1 else f", lag {lags[0]}" if lags else ""
    return f"{name} {how_far(finding)}{many}"


def how_far(finding: Finding) -> str:
    """The error of a block, in words where it has no size."""
    if finding.error is None:
        return finding.said
    if finding.error != finding.error:
        return "isn't a number"
    if finding.error == float("inf"):
        return f"{finding.got:.3g}, where 0 is right" if finding.expected == 0 and finding.got is not None else "infinite"
    return f"off by {finding.error:.1e}"


def other_lines(others: list[Finding], blocks: set[str], most: int) -> list[str]:
    """What fails besides: first what doesn't follow from wrong gradients, then the names of the checks that may."""
    alone = [finding for finding in others if not blocks or not follows(finding, blocks)]
    said = [f"{finding.verdict.upper() if finding.verdict == FAIL else finding.verdict}: {finding.line()}" for finding in alone]
    lines = [line for text in said[:most] for line in folded(text)]
    more = [f"and {len(said) - most} more"] if len(said) > most else []
    after = list(dict.fromkeys(finding.check for finding in others if finding not in alone))
    return [*lines, *more, *([f"These fail too, as wrong gradients make them: {', '.join(after)}."] if after else [])]


CALLS = ("repeatable", "tape", "arguments unchanged")
"""What calls leave behind is seen before any gradient is compared: it makes gradients wrong, and isn't made by them."""


def is_forward(finding: Finding) -> bool:
    """Whether the forward pass isn't that of the cell which it is held against: what gradients are compared with is another function's."""
    return finding.check == "against" and finding.where.startswith("forward")


def follows(finding: Finding, blocks: set[str]) -> bool:
    """Whether a check fails as it does where those gradients are wrong."""
    return finding.check not in CALLS and (
        finding.block in blocks or finding.check in ("adjoint", "step_jacobian", "central differences", "routes")
    )


def folded(line: str) -> list[str]:
    """A line in as many as it takes: what it says last is often the cause."""
    return wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def indented(line: str) -> list[str]:
    """A line of the diagnosis, in as many as a screen needs for it."""
    return wrap(line, SCREEN[1], initial_indent="  ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False)


def whole(table: Any) -> None:
    """Print a table with nothing cut off: a terminal that is narrower breaks its lines, the names stay."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    wanted = Measurement.get(console, console.options.update(width=10_000), table).maximum
    console.width = max(console.width, wanted)
    console.print(table)


def as_json(reports: list[Report]) -> str:
    """Every figure, as strict JSON: nan and infinity as null."""
    return json.dumps([record(report) for report in reports], indent=2, allow_nan=False, ensure_ascii=False)


def finite(value: Any) -> Any:
    """Numbers that JSON has; containers through and through."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, (list, tuple, set, frozenset)) else value


def record(report: Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "passed": report.passed,
        "verdict": report.verdict(),
        "gradients": gradients_record(report),
        "contract": asdict(report.contract),
        "routes": list(report.routes),
        "method": report.method,
        "note": report.note,
        "against": report.against,
        "faults": report.faults(),
        "findings": [finite(asdict(finding)) for finding in report.findings],
        "regimes": [finite(asdict(sight)) for sight in report.sights],
        "diagnosis": report.diagnosis and finite(asdict(report.diagnosis)),
        "comparisons": [comparison_record(one) for one in report.comparisons],
        "blocks": [block_record(report, row) for row in report.rows],
    }


def gradients_record(report: Report) -> dict[str, Any]:
    """The verdict on numbers alone, whatever is asked of the contract."""
    found = [finding for finding in report.findings if finding.kind == NUMBERS and not finding.passed]
    verdict = next((v for v in (FAIL, INCONCLUSIVE) if any(f.verdict == v for f in found)), PASS)
    return {"verdict": verdict, "failing": list(dict.fromkeys(f.block or f.check for f in found))}


def comparison_record(one: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = finite(
        {
            "block": one.block, "regime": one.regime, "cotangent": one.cotangent, "where": one.where, "error": one.error,
            "tolerance": one.tolerance.value, "reason": one.tolerance.reason, "got": one.got, "expected": one.expected,
            "decided": one.decided, "why": one.why, "failed": one.failed, "failing_lags": list(one.lags),
            "decided_lags": sorted(one.decided_lags),
        }
    )  # fmt: skip
    return found


def block_record(report: Report, row: Row) -> dict[str, Any]:
    return {
        "block": row.block,
        "passed": not row.failures() and row.block not in report.failed_blocks(),
        "fault": fault(row) if row.failures() else "",
        "pairs": [
            {"pair": list(pair), "relative_error": finite(error), "tolerance": tolerance(*pair).value}
            for pair, error in row.errors.items()
        ],
    }
