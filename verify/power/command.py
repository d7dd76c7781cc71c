"""`python -m verify --power`: the table of faults planted and faults caught, per class and per check."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from derive.cell import Cell
from derive.streams import carried, may_leave
from verify.kernel import KernelError
from verify.power.measure import ASIDE, BY_ROUTE, OTHERS, Bench, Outcome, torch_is_there


def cells(words: Sequence[str]) -> list[Cell]:
    """The cells that words name; without words those that the project keeps."""
    from derive import keep
    from derive.sources import cells_of

    found = cells_of(words) if words else list(keep.Project.here().cells())
    if not found:
        raise KernelError(
            "verify: --power: no kept cells: expected [tool.derive] kernels in pyproject.toml, got none. Name a cell."
        )
    return found


def run(words: Sequence[str], as_json: bool, every: bool, target: str = "numpy") -> int:
    """0 where every fault that is one is caught, else 1."""
    started = time.perf_counter()
    torch = torch_is_there()
    found = list(measured(cells(words), every, torch, as_json, target))
    with may_leave():
        if as_json:
            print(carried(json.dumps(record(found, torch), indent=2, ensure_ascii=False, allow_nan=False)))
        else:
            show(found, torch, time.perf_counter() - started)
    return 1 if any(one.survived or (one.proof == "undecided" and not one.caught) for one in found) else 0


def measured(chosen: list[Cell], every: bool, torch: bool, quiet: bool, target: str) -> Iterator[Outcome]:
    """Every outcome, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("planting", total=None)
        benches = [Bench(cell, target=target) for cell in chosen]
        bar.update(task, total=sum(bench.count(every) for bench in benches))
        for bench in benches:
            bar.update(task, description=bench.cell.name)
            for outcome in bench.outcomes(every, torch):
                bar.advance(task)
                yield outcome


def rows(found: list[Outcome]) -> list[dict[str, Any]]:
    """One row a class, and the total."""
    kinds = list(dict.fromkeys(one.kind for one in found))
    return [row(kind, [one for one in found if one.kind == kind]) for kind in kinds] + [row("all", found)]


def row(name: str, found: list[Outcome]) -> dict[str, Any]:
    real = [one for one in found if one.proof not in ASIDE]
    return {
        "class": name,
        "planted": len(found),
        "equivalent": sum(one.proof == "equivalent" for one in found),
        "not printed": sum(one.proof == "not printed" for one in found),
        "caught": sum(bool(one.caught) for one in real),
        "survived": sum(one.survived for one in real),
        "cause": sum(one.named for one in real),
        **{check: sum(check in one.caught for one in real) for check in BY_ROUTE},
        **{other: asked(real, other) for other in OTHERS},
    }


def share(real: list[Outcome]) -> float:
    """In how many of the faults the cause is named right."""
    return sum(one.named for one in real) / max(1, len(real))


def asked(found: list[Outcome], other: str) -> int | None:
    """How many another check catches; None where it wasn't asked."""
    said = [one.others.get(other) for one in found]
    return None if not said or any(answer is None for answer in said) else sum(bool(answer) for answer in said)


def record(found: list[Outcome], torch: bool) -> dict[str, Any]:
    return {"torch": torch, "table": rows(found), "faults": [asdict(one) for one in found]}


HEADS = {
    "equivalent": "equiv-\nalent", "not printed": "not\nprinted", "survived": "sur-\nvived",
    "cause": "cause\nnamed", "adjoint": "ad-\njoint",
    "step Jacobian": "step\nJ", "derived cell": "de-\nrived",
    "hand-written": "hand", "central": "cen-\ntral", "behaviour": "calls",
    "gradcheck": "grad-\ncheck", "central 1e-5/1e-3": "central\n1e-5/1e-3",
    "dot product": "dot\nproduct",
}  # fmt: skip


def show(found: list[Outcome], torch: bool, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    out = Table(box=None, pad_edge=False, title="faults planted in the kept cells", title_justify="left")
    names = ["class", "planted", "equivalent", "not printed", "caught", "survived", "cause", *BY_ROUTE, *OTHERS]
    for name in names:
        out.add_column(HEADS.get(name, name), justify="left" if name == "class" else "right", no_wrap=True)
    for one in rows(found):
        out.add_row(*["-" if one[name] is None else str(one[name]) for name in names])
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 170)
    console.print(out)
    console.print(
        "cause named: the first cause named is the planted one, or one that gives identical gradients. "
        "blocks to calls: this verifier's checks, each by itself. The last three: what others would have said"
        f"{'' if torch else ' (gradcheck: PyTorch is not installed)'}."
    )
    for outcome in found:
        if outcome.survived:
            console.print(f"SURVIVED {outcome.cell}: {outcome.kind}: {outcome.said}", markup=False)
        elif outcome.proof != "different":
            console.print(f"{outcome.proof} {outcome.cell}: {outcome.kind}: {outcome.said}", markup=False)
    real = [one for one in found if one.proof not in ASIDE]
    console.print(
        f"{len(found)} faults in {len({one.cell for one in found})} cells: {sum(bool(one.caught) for one in real)} of {len(real)} caught, "
        f"{sum(o.survived for o in real)} survived; the cause is named of {sum(o.named for o in real)} of {len(real)} "
        f"({share(real):.1%}) ({seconds:.0f} s)."
    )
