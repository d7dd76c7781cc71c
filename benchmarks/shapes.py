"""Published cells with numbers, reductions and matrices: the fast kernel against the textbook's, forward + backward in one process.

    python benchmarks/shapes.py [--cells "mLSTM,DeltaNet"] [--shapes 100,1,64 100,32,64] [--rounds 9]

Every dimension of a cell has the last of the three sizes T, B, H. Prints a Markdown table: milliseconds of the fast kernel with a
workspace, and how many times as long it takes with new arrays at every call, and the textbook's, which has no use for a workspace.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

PAGE = Path(__file__).parent.parent / "examples" / "pages" / "published.md"
CELLS = ("mLSTM", "DeltaNet", "Gated linear attention", "Legendre memory unit", "Layer-normalised network", "sLSTM")


def size_of(dimension: str, size: int) -> int:
    """A dimension as the tables of a kernel name it, every symbol of it of one size."""
    return int(eval(re.sub(r"[A-Za-z_]\w*", str(size), dimension)))


def arguments(kernel: Any, shape: tuple[int, int, int], dtype: str) -> tuple[Any, ...]:
    """Parameters, inputs, initial state and cotangents: of the outputs, or of the states where there are none."""
    import numpy as np

    T, B, size = shape
    rng = np.random.default_rng(0)

    def draw(table: dict[str, tuple[str, ...]], *lead: int) -> dict[str, Any]:
        sizes = {name: [size_of(dim, size) for dim in dims] for name, dims in table.items()}
        return {name: np.asarray(rng.standard_normal((*lead, *sizes[name])), dtype) for name in table}

    parameters = {name: array / np.sqrt(np.asarray(size, dtype)) for name, array in draw(kernel.PARAMETERS).items()}
    cotangents = draw(kernel.OUTPUTS or kernel.STATES, T, B)
    return parameters, draw(kernel.INPUTS, T, B), draw(kernel.STATES, B), cotangents


def measure(title: str, shape: tuple[int, int, int], dtype: str, rounds: int) -> dict[str, float]:
    """Seconds of each kernel."""
    from benchmarks.kernels import Run, medians
    from derive.compiler import FAST, compile_cell
    from derive.pages import read
    from verify.kernel import load_text

    cell = read(str(PAGE)).cell(title).cell
    fast, textbook = (load_text(compile_cell(cell, passes), "kernel.py") for passes in (FAST, ()))
    parameters, inputs, state, cotangents = arguments(fast, shape, dtype)

    def run(kernel: Any, **options: Any) -> Run:
        def both() -> Any:
            _, tape = kernel.forward(parameters, inputs, state, **options)
            return kernel.backward(parameters, tape, cotangents, **options)

        return both

    runs = {"fast": run(fast, workspace=fast.Workspace()), "new arrays": run(fast), "textbook": run(textbook)}
    return medians(runs, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--shapes", nargs="+", default=["100,1,64", "100,32,64"])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print("| cell | dtype | T, B, H | fast, ms | new arrays / fast | textbook / fast |", "|---|---|---|---|---|---|", sep="\n")
    for title in options.cells.split(","):
        for text in options.shapes:
            T, B, size = map(int, text.split(","))
            for dtype in ("float64", "float32"):
                found = measure(title, (T, B, size), dtype, options.rounds)
                ratios = " | ".join(f"{found[name] / found['fast']:.2f}" for name in ("new arrays", "textbook"))
                print(f"| {title} | {dtype} | {T}, {B}, {size} | {found['fast'] * 1e3:.1f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
