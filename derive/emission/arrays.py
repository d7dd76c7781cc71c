"""The class that holds the arrays of a pass, and the views of each step, as text."""

from __future__ import annotations

import sympy as sp

from derive.emission.expressions import size_text
from derive.emission.functions import sizes_line


def indexed(steps: str, rest: str) -> str:
    """An index of steps, then of what lies behind: `[1:]`, `[:n, 2]`, `[..., :H]`."""
    if not rest:
        return f"[{steps}]" if steps else ""
    if steps or not rest.startswith("..."):
        return f"[{steps or ':'}, {rest}]"
    return f"[{rest}]"


def in_blocks(text: str, blocks: int, rows: sp.Expr, steps: str = "") -> str:
    """An array of rows, (B, rows), seen as blocks (k, B, rows/k); with steps, one such for each step."""
    each = f"B, {blocks}, {size_text(rows / blocks)}"
    return f"{text}.reshape({steps}, {each}).transpose(0, 2, 1, 3)" if steps else f"{text}.reshape({each}).transpose(1, 0, 2)"


def class_of_arrays(
    name: str, what: str, extra: list[str], arrays: dict[str, str], views: dict[str, list[str]], steps: str, dims: list[str]
) -> list[str]:
    """arrays: name -> shape. views: attribute -> the sequences that the loop walks together. steps: how many, where there are none."""
    body = [f"self.{array} = np.empty({shape}, dtype)" for array, shape in sorted(arrays.items())]
    for attribute, sources in views.items():
        body.append(f"self.{attribute} = {zipped(sources, steps)}")
    text = [*extra, *body]
    lines = [f"class {name}:", f'    """{what}"""', "", "    def __init__(self, sizes, dtype):"]
    return [*lines, *["    " + line for line in sizes_line(text, dims)], *["        " + line for line in text]]


def zipped(sources: list[str], steps: str) -> str:
    """The views of each step, as a list of tuples."""
    return f"list(zip({', '.join(sources)}))" if sources else f"[()] * {steps}"
