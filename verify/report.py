"""A comparison as a table for a person, or as data."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from typing import Any

from verify.compare import Report, Row
from verify.tolerances import PAIRS, tolerance

SHORT = {"emitted": "emitted", "hand-written": "hand", "complex step": "complex", "central": "central"}
"""The routes as the heads of narrow columns."""


def table(report: Report) -> Any:
    """One row a block, one column a pair of routes: the worst relative error over the regimes."""
    from rich.table import Table

    out = Table(title=report.name, title_justify="left", box=None, pad_edge=False)
    out.add_column("block")
    pairs = list(combinations(report.routes, 2))
    for first, second in pairs:
        out.add_column(f"{SHORT[first]}\n{SHORT[second]}", justify="right", no_wrap=True)
    out.add_column("verdict")
    for row in report.rows:
        out.add_row(row.block, *[cell(row, pair) for pair in pairs], "[green]pass[/]" if not row.failures() else "[bold red]FAIL[/]")
    return out


def cell(row: Row, pair: tuple[str, str]) -> str:
    text = f"{row.errors[pair]:.1e}"
    return f"[bold red]{text}[/]" if pair in row.failures() else text


def show(report: Report) -> None:
    """The table, the tolerances with their reasons, the verdict."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(table(report))
    if "hand-written" not in report.routes:
        console.print("hand-written: none exists for this cell.")
    for value, reason in dict.fromkeys((t.value, t.reason) for t in PAIRS.values()):
        console.print(f"tolerance {value:.0e}: {reason}.")
    for line in report.faults():
        console.print(f"[bold red]FAIL[/] {line}")
    console.print(report.verdict() if report.passed else f"{report.name}: {len(report.faults())} of {len(report.rows)} blocks fail.")


def as_json(reports: list[Report]) -> str:
    """Every figure, as strict JSON: nan and infinity as null."""
    return json.dumps([record(report) for report in reports], indent=2, allow_nan=False, ensure_ascii=False)


def finite(number: float) -> float | None:
    return number if number == number and abs(number) != float("inf") else None


def record(report: Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "passed": report.passed,
        "routes": list(report.routes),
        "faults": report.faults(),
        "blocks": [
            {
                "block": row.block,
                "passed": not row.failures(),
                "pairs": [
                    {"pair": list(pair), "relative_error": finite(error), "tolerance": tolerance(*pair).value}
                    for pair, error in row.errors.items()
                ],
            }
            for row in report.rows
        ],
    }
