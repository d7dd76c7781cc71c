"""How a page was read, for a person: a table of its symbols, notes, and the equations in one notation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derive.notation import width

if TYPE_CHECKING:
    from derive.pages.one_cell import PageCell


def text(found: PageCell, equations: bool) -> str:
    """The table of symbols, the notes, what was passed over; the equations as understood where they are asked for."""
    reading = found.reading
    rows = [("symbol", "role", "shape", "defined"), *[(r.symbol, r.role, shape(r.shape), r.where) for r in reading.rows]]
    widths = [max(width(row[k]) for row in rows) for k in range(3)]
    out = [f"{found.heading}: as read" if found.heading not in ("", "cell") else "as read"]
    for row in rows:
        cells = [cell + " " * (size - width(cell)) for cell, size in zip(row, widths, strict=False)]
        out.append("  " + "  ".join([*cells, row[3]]))
    out += [f"  note: {note}" for note in reading.notes]
    out += [f"  passed over: {one}" for one in reading.skipped]
    if equations:
        out += ["", *[f"  {equation}" for equation in reading.equations], "", *[f"  {equation}" for equation in reading.latex]]
    return "\n".join(out) + "\n"


def shape(dims: tuple[str, ...]) -> str:
    return f"({dims[0]},)" if len(dims) == 1 else f"({', '.join(dims)})"
