"""How derivation grows with the number of equations, against SymPy's componentwise differentiation.

    python -m benchmarks.derivation [--out benchmarks/results]

A chain of n gates, each reading the one before: seconds to derive, formulas (terms of the backward program), seconds to emit. Beside it
one step of a peephole LSTM differentiated component by component with SymPy's `diff` at H = 1, 2, 4, 8, and by this project at once for
every H.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sympy as sp

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import FAST, emit
from derive.derivation import derive
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector


def chain(length: int) -> Cell:
    """g_0 = f(W_0 x + U_0 h' + b_0), g_1 = f(W_1 x + U_1 g_0 + b_1), ...; h = g h' + tanh(g)."""
    D, H = dimension("D"), dimension("H")
    x, h = sequence("x", D), sequence("h", H)
    last, equations = h.prev, []
    for k in range(length - 1):
        gate = sequence(f"g_{k}", H)
        squash = function("sigma" if k % 2 else "tanh")
        inside = matrix(f"W_{k}", H, D) @ x + matrix(f"U_{k}", H, H) @ last + vector(f"b_{k}", H)
        equations.append(Eq(gate, squash(inside)))
        last = gate
    return Cell.from_equations("chain", "chain", [*equations, Eq(h, last * h.prev + function("tanh")(last))])


def took(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def componentwise(size: int) -> None:
    """All derivatives of one peephole LSTM step, written out in components, with respect to the states before it and the weights."""
    state = [sp.Symbol(f"{name}{k}") for name in "hc" for k in range(size)]
    h, c = sp.Matrix(state[:size]), sp.Matrix(state[size:])
    x = sp.Matrix([sp.Symbol(f"x{k}") for k in range(size)])
    weights = {
        n: sp.Matrix(size, size, lambda i, j, n=n: sp.Symbol(f"{n}_{i}_{j}")) for n in (f"{a}{g}" for a in "WUP" for g in "ifoc")
    }

    def sigma(z: sp.Matrix) -> sp.Matrix:
        return z.applyfunc(lambda e: 1 / (1 + sp.exp(-e)))

    i, f = (sigma(weights[f"W{g}"] * x + weights[f"U{g}"] * h + weights[f"P{g}"] * c) for g in "if")
    new = f.multiply_elementwise(c) + i.multiply_elementwise((weights["Wc"] * x + weights["Uc"] * h).applyfunc(sp.tanh))
    o = sigma(weights["Wo"] * x + weights["Uo"] * h + weights["Po"] * new)
    loss = sum(o.multiply_elementwise(new.applyfunc(sp.tanh)))
    for symbol in [*state, *[s for matrix_ in weights.values() for s in matrix_ if s in loss.free_symbols]]:
        sp.diff(loss, symbol)


def table() -> str:
    out = ["| equations | derive, s | ms each | backward terms | emit, s |", "|---|---|---|---|---|"]
    for length in (10, 100, 1000):
        cell = chain(length)
        seconds, found = took(lambda: derive(cell))  # noqa: B023
        terms = sum(len(equation.terms) for equation in found.backward.equations)
        emission = f"{took(lambda: emit(found, FAST))[0]:.2f}"  # noqa: B023
        out.append(f"| {length} | {seconds:.2f} | {seconds / length * 1e3:.1f} | {terms} | {emission} |")
    ours = took(lambda: derive(build("lstm --peephole")))[0]
    out += ["", f"The peephole LSTM, every H at once: {ours:.3f} s.", "", "| H | SymPy, component by component, s |", "|---|---|"]
    out += [f"| {size} | {took(lambda: componentwise(size))[0]:.2f} |" for size in (1, 2, 4, 8)]  # noqa: B023
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    text = table()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "derivation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
