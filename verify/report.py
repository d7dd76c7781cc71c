"""What was found as tables for a person, or as data."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import combinations
from typing import Any

from verify.compare import Row, fault
from verify.examination import Report
from verify.findings import FAIL, INCONCLUSIVE, NUMBERS, PASS, Finding
from verify.gradients import Comparison
from verify.tolerances import PAIRS, tolerance
from verify.verdicts import excess

SHORT = {"emitted": "emitted", "hand-written": "hand", "complex step": "complex", "central": "central"}
"""The routes as the heads of narrow columns."""
MARKS = {"pass": "[green]pass[/]", FAIL: "[bold red]FAIL[/]", INCONCLUSIVE: "[yellow]inconclusive[/]"}


def table(report: Report) -> Any:
    """One row a block, one column a pair of routes: the worst relative error over the regimes."""
    from rich.table import Table

    out = Table(title=report.name, title_justify="left", box=None, pad_edge=False)
    out.add_column("block", no_wrap=True)
    pairs = list(combinations(report.routes, 2))
    for first, second in pairs:
        out.add_column(f"{SHORT[first]}\n{SHORT[second]}", justify="right", no_wrap=True)
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
        worst = next((v for v in (FAIL, INCONCLUSIVE) if any(f.verdict == v for f in found)), "pass")
        out.add_row(name, MARKS[worst], summary(report, name, found))
    return out


def summary(report: Report, name: str, found: list[Finding]) -> str:
    """What a check looked at."""
    if name == "gradients":
        lags = {lag for one in report.comparisons for lag in one.decided_lags}
        worst = max((excess(one) for one in report.comparisons if one.decided), default=0.0)
        reach = f", lag by lag to {max(lags)}" if lags else ""
        counted = f"{len(found)} blocks, {len(report.comparisons)} comparisons in {len(report.sights)} sets of data"
        return f"{counted}{reach}; {share(worst)}"
    if name == "central differences" and len(found) > 1:
        return (
            f"{len(found)} blocks: " + "; ".join(dict.fromkeys(f.said for f in found if f.said.startswith("kink")))
            or f"{len(found)} blocks"
        )
    return "; ".join(dict.fromkeys(finding.said for finding in found if finding.said))


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


def show(report: Report) -> None:
    """The tables, the tolerances with their reasons, the verdict."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if report.rows:
        whole(table(report))
    if "hand-written" not in report.routes:
        console.print("hand-written: none exists for this cell.")
    if report.note:
        console.print(report.note)
    console.print()
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
    failed = {finding.block or finding.check for finding in report.failures()}
    console.print(report.contract.line(), markup=False)
    console.print(
        report.verdict()
        if report.passed
        else f"{report.name}: {len(failed)} fail or stay inconclusive: {', '.join(sorted(failed))}.",
        markup=False,
    )


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
