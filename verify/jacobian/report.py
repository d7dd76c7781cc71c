"""An analysis as data, and as what a person reads: a table, a sentence, a spark line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from verify.jacobian.analysis import LN10, Analysis, PathResult
from verify.jacobian.bounds import Bound
from verify.jacobian.lags import Lags
from verify.jacobian.paths import EXACT, Approximation
from verify.jacobian.run import Array

METHODS = {True: "spectral norm of the whole product", False: "from frames of a few columns: never above the norm, close to it"}
BARS = "▁▂▃▄▅▆▇█"


# ---- data


def finite(number: Any) -> float | None:
    """The number, None where it is infinite or not one."""
    return float(number) if number is not None and np.isfinite(number) else None


def numbers(values: Iterable[Any] | None) -> list[float | None] | None:
    return None if values is None else [finite(value) for value in values]


def record(analysis: Analysis, again: dict[str, Any]) -> dict[str, Any]:
    """Every figure of an analysis; `again` is what it takes to run it once more. Infinities are None."""
    a, run = analysis, analysis.run
    return {
        "name": run.name,
        **again,
        "init": run.applied.text if run.applied else None,
        "applied": run.applied.record() if run.applied else None,
        "notes": list(run.notes),
        "of": run.part.record() if run.part else None,
        "steps": run.steps,
        "batch": run.batch,
        "states": dict(run.sizes),
        "size": run.size,
        "frame": {"start": "random orthogonal", "seed": a.wanted.seed, "columns": a.columns},
        "exponents": numbers(a.exponents),
        "exponents_spread": numbers(a.exponents_spread),
        "exponents_unit": "natural log per step",
        "exponents_which": a.which,
        "warmup": a.warmup,
        "log10_norms": numbers(a.log10_norms),
        "log10_norms_spread": numbers(a.log10_norms_spread),
        "log10_norms_method": a.norms_method,
        "singular_values": numbers(a.singular_values),
        "singular_values_spread": numbers(a.singular_values_spread),
        "singular_values_error": finite(a.singular_values_error),
        "bound_log10": numbers(a.bound.log10(run.steps)),
        "bound": bound_record(a.bound, run.steps),
        "paths": None if a.paths is None else {path.name: path_record(path) for path in a.paths},
        "paths_method": None if a.paths is None else METHODS[run.size <= EXACT],
        "approximations": [approximation_record(one) for one in a.approximations],
        "gradient_by_lag": None if a.gradient is None else gradient_record(a.gradient),
        "threshold": a.wanted.threshold,
        "verdict": a.verdict,
        "says": sentence(a),
    }


def bound_record(bound: Bound, steps: int) -> dict[str, Any]:
    return {
        "statement": bound.statement,
        "beta_W": finite(bound.beta_W),
        "beta_h": finite(bound.beta_h),
        "beta_h_document": finite(bound.beta_h_document),
        "document_log10": numbers(bound.log10_document(steps)),
        "trajectory_log10": numbers(bound.trajectory),
    }


def approximation_record(one: Approximation) -> dict[str, Any]:
    return {
        "name": one.name,
        "says": one.says,
        "relative_error": numbers(one.errors),
        "worst_step": one.worst_step,
        "worst_step_error": finite(one.worst_error),
    }


def path_record(path: PathResult) -> dict[str, Any]:
    return {"kind": path.kind, "cut": numbers(path.cut), "kept": numbers(path.kept), "terms": list(path.terms)}


def gradient_record(gradient: Lags) -> dict[str, Any]:
    """log10 of the norms, by lag from 0."""
    tables = {"parameters": gradient.parameters, "inputs": gradient.inputs, "states": gradient.states}
    logs = {kind: {name: numbers(values / LN10) for name, values in table.items()} for kind, table in tables.items()}
    return {"loss_step": gradient.loss_step, **logs}


def as_json(records: Any) -> str:
    """Strict JSON."""
    return json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False)


# ---- words


def sentence(analysis: Analysis) -> str:
    """The verdict."""
    largest = float(analysis.exponents[0])
    states = " and ".join(analysis.run.sizes)
    head = f"{analysis.run.name} is {analysis.verdict}: the largest exponent of {states} is {figure(largest)} per step"
    if not np.isfinite(largest):
        return f"{head}: a singular Jacobian sends every direction to zero."
    if analysis.verdict == "stable":
        return f"{head}, within {analysis.wanted.threshold:g} of zero."
    change = "shrinks" if largest < 0 else "grows"
    return f"{head}: a gradient {change} tenfold every {LN10 / abs(largest):.3g} steps."


def computed(analysis: Analysis) -> str:
    """Which exponents there are, where not all were computed."""
    how = f"from a frame of {analysis.columns} columns" if analysis.columns < analysis.run.size else "of all"
    return f"Exponents and singular values: {analysis.which}, {how}; --exponents k takes others."


def figure(value: float | None) -> str:
    return "none" if value is None else "−∞" if value == -np.inf else f"{value:.4g}"


def carrier(analysis: Analysis) -> str | None:
    """Which path the norm at the longest lag rests on."""
    paths = [path for path in analysis.paths or () if path.kind != "parameter"] or list(analysis.paths or ())
    whole = analysis.log10_norms[-1]
    if len(paths) < 2 or not np.isfinite(whole):
        return None
    falls = [whole - path.cut[-1] for path in paths]
    k = int(np.argmax(falls))
    if not falls[k] > 0.05:
        return f"No path carries it alone: with any one cut, the norm at lag {analysis.run.steps} doesn't fall."
    kept = "nothing is left" if paths[k].kept[-1] == -np.inf else f"10^{paths[k].kept[-1]:.2f} is left"
    fall = "to zero" if falls[k] == np.inf else f"by {falls[k]:.2f} decades"
    head = f"{paths[k].name} carries it: cut alone, the norm at lag {analysis.run.steps} falls {fall}"
    return f"{head}; kept alone, {kept} of 10^{whole:.2f}."


def spark(values: Array, width: int = 60) -> str:
    """A line of bars, lowest to highest; a space where there is no value."""
    picked = values[np.unique(np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int))]
    alive = np.isfinite(picked)
    if not alive.any():
        return " " * len(picked)
    low, high = picked[alive].min(), picked[alive].max()
    place = np.where(alive, (picked - low) / (high - low) if high > low else 0.5, 0.0)
    return "".join(BARS[int(p * (len(BARS) - 1) + 0.5)] if ok else " " for p, ok in zip(place, alive, strict=True))


def show(analyses: Sequence[Analysis]) -> None:
    """Tables on standard output: one column a cell, then the paths of each."""
    from rich.console import Console
    from rich.table import Table

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            """Rich would leave with 1; the command decides."""
            raise

    console = Piped(file=sys.stdout, highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for head in heads(analyses):
        table.add_column(head, justify="right", overflow="fold")
    for name, values in rows(analyses):
        table.add_row(name, *values)
    console.print(table)
    for analysis in analyses:
        console.print(f"\n{sentence(analysis)}", markup=False)
        if len(analysis.exponents) < analysis.run.size:
            console.print(computed(analysis), markup=False)
        if analysis.run.part:
            console.print(analysis.run.part.says(), markup=False)
        for line in analysis.run.applied.says() if analysis.run.applied else ():
            console.print(line, markup=False)
        console.print(f"norm by lag 1..{analysis.run.steps}: {spark(analysis.log10_norms)}", markup=False)
        console.print(analysis.bound.statement, markup=False)
        if carrier(analysis):
            console.print(carrier(analysis), markup=False)
        if analysis.paths:
            console.print(paths_table(analysis))


def heads(analyses: Sequence[Analysis]) -> list[str]:
    """The names of the runs; of different recurrences of one network without that of the network, which the sentences below have."""
    networks = {analysis.run.part.network.name if analysis.run.part else "" for analysis in analyses}
    short = [analysis.run.short for analysis in analyses]
    is_plain = len(networks) == 1 and len(set(short)) == len(short)
    return short if is_plain else [analysis.run.name for analysis in analyses]


def rows(analyses: Sequence[Analysis]) -> list[tuple[str, list[str]]]:
    """(what, its figure for each cell)."""
    first = analyses[0].run

    def row(name: str, of: Any) -> tuple[str, list[str]]:
        return name, [figure(of(analysis)) for analysis in analyses]

    out = [
        row("largest exponent, per step", lambda a: a.exponents[0]),
        row("smallest computed exponent, per step", lambda a: a.exponents[-1]),
        *([row("log10 norm at lag 1", lambda a: a.log10_norms[0])] if first.steps > 1 else []),
        row(f"log10 norm at lag {first.steps}", lambda a: a.log10_norms[-1]),
        row(f"log10 bound at lag {first.steps}", lambda a: (a.bound.log10(a.run.steps) or [None])[-1]),
        row("log10 smallest singular value computed", lambda a: a.singular_values[-1]),
    ]
    if first.batch > 1:
        out.insert(1, row(f"spread over {first.batch} sequences", lambda a: a.exponents_spread[0]))
    return out


def paths_table(analysis: Analysis) -> Any:
    from rich.table import Table

    T = analysis.run.steps
    table = Table(box=None, pad_edge=False)
    for head in ("path", f"log10 norm at lag {T}, cut alone", "kept alone"):
        table.add_column(head, justify="left" if head == "path" else "right")
    table.add_row("all of them", "", figure(analysis.log10_norms[-1]))
    for path in analysis.paths or ():
        table.add_row(path.name, figure(path.cut[-1]), figure(path.kept[-1]))
    return table
