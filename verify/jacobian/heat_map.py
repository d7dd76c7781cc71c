"""The norms of dy_t/dx_s over t and s as a shaded map in text, as data, and as a picture: rows t, columns s."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from derive.shapes import letter_of
from verify.jacobian.influence import Influence
from verify.jacobian.plot import written
from verify.jacobian.report import numbers
from verify.jacobian.run import Array

SHADES = "·░▒▓█"
ROWS, COLUMNS = 24, 64
"""How many lines and signs of a terminal a map takes at most."""

LOWEST = 0.05
"""Which part of the norms that aren't 0 lies below the range that is divided into shades."""

WIDEST = 36
"""How many signs of a name fit over a panel."""

DECADES_SHOWN = 16
"""How far below the largest norm the colours of a picture reach; what is smaller has the lowest colour."""


# ---- words


def names(one: Influence) -> tuple[str, str]:
    """y_t and x_s, without a letter where there is one value an example; s is u where both lie along one axis whose letter is s."""
    (over, along), q = one.question.axes, one.question
    t = "" if over is None else letter_of(over)
    s = "" if along is None else letter_of(along) if along != over else "s" if t != "s" else "u"
    return q.of + (f"_{t}" if t else ""), q.by + (f"_{s}" if s else "")


def letters(one: Influence) -> tuple[str, str]:
    """The letters that count the steps of y and of x; empty where there is one value an example."""
    y, x = names(one)
    return y[len(one.question.of) + 1 :], x[len(one.question.by) + 1 :]


def place(one: Influence, t: int, s: int) -> str:
    """A row and a column, in words; of an end with one value an example nothing is said."""
    return ", ".join(f"{letter} = {at + 1}" for letter, at in zip(letters(one), (t, s), strict=True) if letter)


def title(one: Influence) -> str:
    y, x = names(one)
    return f"{one.question.run.name}: |d{y}/d{x}|"


def norm_text(one: Influence) -> str:
    """Which norm, and what the mean is over."""
    batch = one.question.run.batch
    q = one.question
    return f"Frobenius norm over the elements of {q.of} and {q.by}" + (f", mean of {batch} sequences" if batch > 1 else "")


def sentences(one: Influence) -> list[str]:
    """Where the largest norm is, the two far corners, and from where on nothing is read."""
    (row, column), mean = letters(one), one.mean
    t, s = (int(k) for k in np.unravel_index(int(mean.argmax()), mean.shape))
    T, S = len(mean) - 1, mean.shape[1] - 1
    if not mean.any():
        return ["0 everywhere: {1} moves no {0}.".format(*names(one))]
    corners = {place(one, *at): mean[at] for at in ((T, 0), (0, S)) if at != (t, s)}
    ends = "".join(f"; {where}: {norm:.3g}" for where, norm in corners.items() if where)
    out = [f"Largest {mean[t, s]:.3g}{' at ' * bool(row + column)}{place(one, t, s)}{ends}."]
    over, along = one.question.axes
    if over == along and len(mean) > 1:
        if not np.triu(mean, 1).any():
            out.append(f"0 wherever {column} > {row}: no step reads a later one.")
        if not np.tril(mean, -1).any():
            out.append(f"0 wherever {column} < {row}: no step reads an earlier one.")
    return out


def pooled(values: Array, rows: int, columns: int) -> tuple[Array, Array, Array]:
    """(the largest of each block, the first row of each, the first column of each): at most so many of either."""
    tops, lefts = (
        np.unique(np.linspace(0, n, min(n, most), endpoint=False).astype(int))
        for n, most in zip(values.shape, (rows, columns), strict=True)
    )
    return np.maximum.reduceat(np.maximum.reduceat(values, tops, axis=0), lefts, axis=1), tops, lefts


def edges_of(values: Array) -> Array:
    """What the shades but the lowest begin at, equal ratios apart; none where all norms but 0 are one number, or there are none."""
    alive = values[values > 0]
    if not alive.size or alive.min() == alive.max():
        return np.zeros(0)
    logs = np.log(alive)
    return np.exp(np.linspace(float(np.quantile(logs, LOWEST)), float(logs.max()), len(SHADES) + 1)[1:-1])


def shaded(one: Influence) -> list[str]:
    """The map, a line for each step of y or for some beside each other, and what the shades mean."""
    mean = one.mean
    edges = edges_of(mean)
    shades = SHADES if edges.size else SHADES[-1]
    blocks, tops, lefts = pooled(mean, ROWS, COLUMNS)
    wide = 2 if 2 * len(lefts) <= COLUMNS else 1
    row, column = letters(one)
    lines = [f"{row:>7}   {column} = 1..{mean.shape[1]}" if column else f"{row:>7}   one value"]
    for top, line in zip(tops, blocks, strict=True):
        signs = ["" if value > 0 else " " for value in line]
        signs = [
            sign or shades[int(np.searchsorted(edges, value, side="right"))] for sign, value in zip(signs, line, strict=True)
        ]
        lines.append(f"{top + 1:>7} |{''.join(sign * wide for sign in signs)}|")
    digits = next((k for k in range(2, 17) if len({f"{edge:.{k}g}" for edge in edges}) == len(edges)), 17)
    said = [f"{sign} from {edge:.{digits}g}" for sign, edge in zip(shades[:0:-1], edges[::-1], strict=True)]
    said.append(f"{shades[0]} less" if said else f"{shades} {mean.max():.3g}" if mean.any() else "")
    said.append("blank 0" + ("; each sign the largest of its block" if blocks.shape != mean.shape else ""))
    return [*lines, ", ".join(filter(None, said))]


def show(found: Sequence[Influence]) -> None:
    """Maps on standard output."""
    for k, one in enumerate(found):
        lines = [title(one), norm_text(one) + "."]
        lines += one.question.run.applied.says() if one.question.run.applied else []
        print(*[""] * (k > 0), *lines, "", *shaded(one), "", *sentences(one), sep="\n", file=sys.stdout)


# ---- data


def record(one: Influence, again: dict[str, Any]) -> dict[str, Any]:
    """Every norm; `again` is what it takes to run it once more."""
    q, run = one.question, one.question.run
    return {
        "name": run.name,
        **again,
        "init": run.applied.text if run.applied else None,
        "applied": run.applied.record() if run.applied else None,
        "notes": list(run.notes),
        "of": q.of,
        "with_respect_to": q.by,
        "axes": {"of": q.axes[0], "with_respect_to": q.axes[1]},
        "batch": run.batch,
        "norm": norm_text(one),
        "norms": [numbers(row) for row in one.mean],
        "norms_spread": [numbers(row) for row in one.norms.std(axis=-1)],
        "says": " ".join(sentences(one)),
    }


# ---- a picture


def draw(found: Sequence[Influence], path: Path) -> None:
    """Write the picture of one or several: the colours of all have one scale."""
    written(lambda plt: composed(plt, found), path)


def composed(plt: Any, found: Sequence[Influence]) -> Any:
    from matplotlib.colors import LogNorm

    from verify.jacobian.plot import settle, whole_numbers

    alive = np.concatenate([one.mean[one.mean > 0] for one in found])
    top = float(alive.max(initial=0.0)) or 1.0
    bottom = max(float(alive.min(initial=top)), top * 10.0**-DECADES_SHOWN)
    scale = LogNorm(bottom if bottom < top else top / 10, top)
    figure = plt.figure(figsize=(1.3 + 4.6 * len(found), 4.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found)))
    for axes, one in zip(panels, found, strict=True):
        mean = one.mean
        row, column = letters(one)
        axes.set_facecolor("white")
        edges = (np.arange(mean.shape[1] + 1) + 0.5, np.arange(mean.shape[0] + 1) + 0.5)
        image = axes.pcolormesh(*edges, np.ma.masked_less_equal(mean, 0.0), norm=scale, cmap="viridis", rasterized=True)
        axes.invert_yaxis()
        name, _, what = title(one).partition(": ")
        axes.set_title(
            "\n".join([*textwrap.wrap(name.replace("_", "_ "), WIDEST), what]).replace("_ ", "_"), loc="left", fontweight="bold"
        )
        axes.set_xlabel(f"{column}, the step of {one.question.by} that moves" if column else one.question.by)
        axes.set_ylabel(f"{row}, the step of {one.question.of} that is moved" if row else one.question.of)
        for axis, letter in ((axes.xaxis, column), (axes.yaxis, row)):
            if letter:
                whole_numbers(axis)
            else:
                axis.set_ticks([])
        if not mean.any():
            axes.text(0.5, 0.5, "0 everywhere", ha="center", transform=axes.transAxes)
    below = bool((alive < bottom).any())
    if not alive.size:
        settle(figure)
        return figure
    bar = figure.colorbar(image, ax=list(panels), extend="min" if below else "neither")
    bar.set_label("Frobenius norm" + (", mean of the sequences" if found[0].question.run.batch > 1 else "") + "; white: 0")
    settle(figure)
    return figure
