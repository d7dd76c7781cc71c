"""One picture: the norm by lag with its bound and its exponent, the fan of singular values, the paths. Legible in grey, and in colours
that a colour-blind reader tells apart."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from verify.jacobian.analysis import FULL_ROTATIONS, LN10, Analysis, PathResult
from verify.jacobian.run import Array, RunError

KINDS = (".png", ".svg", ".pdf")
INKS = ("black", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito (2008): told apart by readers who don't see all colours; each cell has dashes of its own as well."""

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))
LOOK = {
    "font.size": 9,
    "svg.hashsalt": "jacobian",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
MARKS = ("o", "s", "^", "D", "v", "x", "+", "*", "p", "<")
NO_DATE = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
"""What is left out of each kind of file, so that the same figures give the same bytes."""

LONGEST_NAME = 14
"""How many signs of a name fit over a panel."""

DECADES_SHOWN = 60
"""How far below the largest value a panel reaches; what vanishes further down leaves it."""


def check_plot(path: Path) -> None:
    """Raises RunError where the picture couldn't be written."""
    if path.suffix.lower() not in KINDS:
        raise RunError(
            f"jacobian: --plot {path}: expected a name that ends in {', '.join(KINDS)}, got `{path.suffix}`. Rename it."
        )
    if not path.absolute().parent.is_dir():
        raise RunError(f"jacobian: --plot {path}: expected an existing folder, got {path.parent}. Make it first.")
    if os.path.isdir(path):  # False for a name too long, which Path.is_dir raises
        raise RunError(f"jacobian: --plot {path}: expected a file, got a folder. Name a file in it.")
    try:
        with beside(path).open("wb"):
            pass
        beside(path).unlink()
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise RunError("jacobian: --plot: needs matplotlib, which isn't installed. Run `pip install matplotlib`.") from None


def draw(analyses: Sequence[Analysis], path: Path) -> None:
    """Write the picture of one or several analyses."""
    written(lambda plt: composed(plt, analyses), path)


def written(compose: Callable[[Any], Any], path: Path) -> None:
    """Write a figure, beside its place first, then renamed; the same figures give the same bytes."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it speaks of fonts and caches
    importlib.import_module("matplotlib").use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")

    with plt.rc_context(LOOK):
        figure = compose(plt)
        metadata = {NO_DATE[path.suffix.lower()]: None}
        try:
            figure.savefig(beside(path), format=path.suffix.lower()[1:], dpi=150, metadata=metadata)
            beside(path).replace(path)
        except OSError as error:
            beside(path).unlink(missing_ok=True)
            raise unwritable(path, error) from None
        finally:
            plt.close(figure)


def beside(path: Path) -> Path:
    """Where the picture is written before it takes its name."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def unwritable(path: Path, error: OSError) -> RunError:
    reason = error.strerror or type(error).__name__
    return RunError(f"jacobian: --plot {path}: can't be written: expected a place to write to, got `{reason}`. Name another.")


def composed(plt: Any, analyses: Sequence[Analysis]) -> Any:
    """The figure: norms of all cells on one pair of axes, below them the fan and the paths of each."""
    n = len(analyses)
    figure = plt.figure(figsize=(max(7.5, 3.9 * n), 11.5), layout="constrained")
    grid = figure.add_gridspec(3, n, height_ratios=(1.05, 1, 1))
    norms(figure.add_subplot(grid[0, :]), analyses)
    first: list[Any] = [None, None]
    for column, analysis in enumerate(analyses):
        for row, panel in ((0, fan), (1, paths)):
            axes = figure.add_subplot(grid[row + 1, column], sharey=first[row])
            panel(axes, analysis)
            if first[row] is None:
                first[row] = axes
            else:
                axes.tick_params(labelleft=False)
                axes.set_ylabel("")
    for row, tables in ((0, [fan_values(a)[1] for a in analyses]), (1, [v for a in analyses for v in path_values(a)])):
        limit(first[row], tables)
    for axes in figure.axes:
        whole_numbers(axes.xaxis)
    settle(figure)
    return figure


def dot(steps: int) -> str | None:
    """What a line of a single step is drawn as, which would be nothing."""
    return "o" if steps == 1 else None


def whole_numbers(axis: Any) -> None:
    """Ticks at steps, not between them."""
    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def settle(figure: Any) -> None:
    """Lay the panels out once, at rounded places: the last bits that the solver finds differ from call to call."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(side, 6) for side in axes.get_position().bounds])


def norms(axes: Any, analyses: Sequence[Analysis]) -> None:
    """The norm by lag, its bound, and the line of the largest exponent."""
    lowest, highest = [], []
    for k, analysis in enumerate(analyses):
        T, ink = analysis.run.steps, INKS[k % len(INKS)]
        dashes, every, name = STYLES[(k + k // len(INKS)) % len(STYLES)], max(1, T // 12), analysis.run.label
        lags = np.arange(1, T + 1)
        values = shown(analysis.log10_norms)
        axes.plot(lags, values, color=ink, ls=dashes, lw=2.4, label=f"{name}: norm", marker=dot(T))
        slope = float(analysis.exponents[0])
        if np.isfinite(slope):
            text = f"{name}: largest exponent, {slope:+.3g} a step"
            axes.plot(lags, slope * lags / LN10, color=ink, lw=0.9, ls=dashes, label=text, marker=dot(T))
        bound = analysis.bound.log10(T)
        if (
            bound is not None and np.isfinite(bound[-1]) and analysis.bound.beta_h is not None
        ):  # a sum of norms would dwarf the rest
            look = {"color": ink, "lw": 0.9, "ls": dashes, "marker": MARKS[k % len(MARKS)], "ms": 3.5, "markevery": (0, every)}
            axes.plot(lags, bound, **look, label=f"{name}: bound (β_W β_h)^ℓ")
            highest.append(max(bound[-1], bound[0]))
        alive = values[np.isfinite(values)]
        lowest += [alive.min()] if alive.size else []
        highest += [alive.max()] if alive.size else []
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes.set_title("How much of a change ℓ steps back reaches the last state", loc="left", fontweight="bold")
    axes.set_xlabel("lag ℓ (steps)")
    axes.set_ylabel("log₁₀ of the spectral norm of $dS_T/dS_{T-\\ell}$\n(decades)")
    axes.set_xlim(0, max(a.run.steps for a in analyses) * 1.06)
    if lowest:
        top = min(max(highest), max(lowest) + DECADES_SHOWN)
        axes.set_ylim(max(min(lowest), top - 2 * DECADES_SHOWN) - 1, top + 1)
    name_ends(axes, analyses)
    ncols = min(3, len(analyses), columns_of(axes, axes.figure.get_figwidth(), 8))
    axes.legend(frameon=False, fontsize=8, ncols=ncols, loc="upper left", bbox_to_anchor=(0, -0.14))


def columns_of(axes: Any, width: float, size: int) -> int:
    """How many columns of a legend fit into so many inches: a sign is about half as wide as it is high, a line before it 0.45 inches."""
    longest = max((len(text) for text in axes.get_legend_handles_labels()[1]), default=0)
    return max(1, int(width / (0.45 + longest * size / 144)))


def name_ends(axes: Any, analyses: Sequence[Analysis]) -> None:
    """The name of each cell at the end of its line, names that would cover each other pushed apart."""
    low, high = axes.get_ylim()
    least, above = (high - low) * 0.055, -np.inf
    for k in sorted(range(len(analyses)), key=lambda k: float(analyses[k].log10_norms[-1])):
        end = float(analyses[k].log10_norms[-1])
        if np.isfinite(end):
            above = max(end, above + least)
            axes.annotate(
                short(analyses[k]), (analyses[k].run.steps, above), xytext=(5, 0), textcoords="offset points", va="center"
            )


def short(analysis: Analysis) -> str:
    """The name, of a recurrence of a network without that of the network, a long one cut; the legend has it whole."""
    name = analysis.run.short
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def fan(axes: Any, analysis: Analysis) -> None:
    """The singular values of the product by lag: some of them, from the largest to the smallest."""
    axes.set_title(f"{short(analysis)}: singular values", loc="left", fontweight="bold")
    axes.set_xlabel("lag ℓ (steps)")
    axes.set_ylabel("log₁₀ of the singular values of $dS_T/dS_{T-\\ell}$\n(decades)")
    lags, values = fan_values(analysis)
    if analysis.fan is None:
        axes.text(0.03, 0.03, f"above S = {FULL_ROTATIONS}: at the full lag only", fontsize=8, transform=axes.transAxes)
    S = values.shape[1]
    ranks = np.unique(np.linspace(0, S - 1, min(S, 13)).round().astype(int))
    for rank in ranks:
        edge = rank in (0, S - 1)
        mark = "_" if len(lags) == 1 else None
        axes.plot(lags, shown(values[:, rank]), color="black" if edge else "0.6", lw=1.8 if edge else 0.9, marker=mark, ms=14)
    axes.set_xlim(0, analysis.run.steps * 1.05)
    named: list[tuple[float, float]] = []
    highest = values[np.isfinite(values)].max(initial=-np.inf)
    for rank, text in ((0, "largest"), (S - 1, "smallest"), (S // 2, "median")):
        column = values[:, rank]
        alive = np.flatnonzero(np.isfinite(column) & (column > highest - DECADES_SHOWN))
        if alive.size:
            k = alive[min(len(alive) - 1, int(len(alive) * 0.62))]
            x, y = float(lags[k]), float(column[k])
            if all(abs(y - other) > 4 or abs(x - beside) > 0.2 * lags[-1] for beside, other in named):
                named.append((x, y))
                axes.annotate(text, (x, y), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=8, bbox=BOX)


def fan_values(analysis: Analysis) -> tuple[Array, Array]:
    """(lags, singular values by lag): where there is no fan, those of the longest lag."""
    if analysis.fan is None:
        return np.array([analysis.run.steps]), analysis.singular_values[None]
    return analysis.fan.lags, analysis.fan.values


BOX = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}


def paths(axes: Any, analysis: Analysis) -> None:
    """The norm by lag with each path alone (thick) and with it cut (thin)."""
    axes.set_title(f"{short(analysis)}: what carries it", loc="left", fontweight="bold")
    axes.set_xlabel("lag ℓ (steps)")
    axes.set_ylabel("log₁₀ of the spectral norm\n(decades)")
    lags = np.arange(1, analysis.run.steps + 1)
    axes.set_xlim(0, analysis.run.steps * 1.05)
    axes.plot(lags, shown(analysis.log10_norms), color="0.8", lw=5, label="all paths", zorder=0, marker=dot(len(lags)))
    some = drawn(analysis)
    styles = looks(some, analysis.run.steps)
    for text, ink, width in (("alone", "black", 1.5), ("cut", "0.55", 1)):  # one column of the legend each
        for path, look in zip(some, styles, strict=True):
            values = path.kept if text == "alone" else path.cut
            if np.isfinite(values).any():
                axes.plot(lags, shown(values), **{"color": ink, "lw": width, "label": f"{path.name} {text}"} | look)
    ncols = min(2, columns_of(axes, 3.4, 7))
    axes.legend(frameon=False, fontsize=7, ncols=ncols, loc="upper left", bbox_to_anchor=(0, -0.14))


def drawn(analysis: Analysis) -> list[PathResult]:
    """The paths of a panel: as many as can be told apart."""
    return list(analysis.paths or ())[: len(STYLES) + len(MARKS)]


def looks(paths: Sequence[PathResult], steps: int) -> list[dict[str, Any]]:
    """How each path is drawn: parameters by marks on a thin line, the others by their dashes."""
    every, out = max(1, steps // 9), []
    dashes, marks = cycle(STYLES), cycle(MARKS)
    for k, path in enumerate(paths):
        if path.kind == "parameter" and len(paths) > 1:
            out.append(
                {"ls": "-", "lw": 0.8, "marker": next(marks), "markevery": (k % every, every), "ms": 3.5, "fillstyle": "none"}
            )
        else:
            out.append({"ls": next(dashes), "marker": dot(steps)})
    return out


def path_values(analysis: Analysis) -> list[Array]:
    return [analysis.log10_norms, *[values for path in drawn(analysis) for values in (path.kept, path.cut)]]


def limit(axes: Any, tables: Sequence[Array]) -> None:
    """Show at most so many decades below the largest value."""
    finite = [values[np.isfinite(values)] for values in tables if np.isfinite(values).any()]
    if axes is not None and finite:
        top = max(float(values.max()) for values in finite)
        bottom = min(float(values.min()) for values in finite)
        bottom = max(bottom, top - DECADES_SHOWN)
        axes.set_ylim(bottom - 1, top + 1 + 0.08 * (top - bottom))  # room for a label above the highest line


def shown(values: Array) -> Array:
    """Minus infinity left out."""
    return np.where(np.isfinite(values), values, np.nan)
