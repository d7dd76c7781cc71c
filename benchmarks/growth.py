"""How the LSTM's kernel grows: time against T and H, memory against T with and without checkpoints.

    python -m benchmarks.growth [--threads 1] [--out benchmarks/results]

Forward and backward through the public contract, with a workspace. Memory is the peak of what NumPy allocates during the two calls, read by
`tracemalloc`, over the numbers of one state over all steps, T B H. Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

CELL = "lstm"
STEPS = ((10, 32, 64, 64), (100, 32, 64, 64), (1000, 32, 64, 64), (10_000, 32, 64, 64))
WIDTHS = tuple((50, 32, size, size) for size in (64, 128, 256, 512, 1024))


def seconds(run: Callable[[], Any], rounds: int = 7) -> float:
    """The median over rounds after one to warm up."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def peak(run: Callable[[], Any]) -> int:
    """Bytes allocated at most during a call."""
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def table() -> str:
    from benchmarks.kernels import arguments, emitted
    from derive.cells.registry import build
    from derive.compiler import compile_cell
    from verify.kernel import load_text

    out = [f"`{CELL}`, float64, forward + backward.", "", "| T, B, D, H | ms | us a step |", "|---|---|---|"]
    for shape in (*STEPS, *WIDTHS):
        took = seconds(emitted(CELL, None, shape, "float64"), 7 if shape[0] < 10_000 else 3)
        out.append(f"| {', '.join(map(str, shape))} | {took * 1e3:.2f} | {took / shape[0] * 1e6:.1f} |")
    out += ["", "| T, B, D, H | peak / (T B H) | with checkpoint_every = root of T |", "|---|---|---|"]
    kernel = load_text(compile_cell(build(CELL)), "kernel.py")
    for shape in STEPS[1:]:
        T, B, _, H = shape
        parameters, inputs, state, cotangents = arguments(kernel, shape, "float64")

        def run(**options: Any) -> None:
            outputs, tape = kernel.forward(parameters, inputs, state, **options)  # noqa: B023
            kernel.backward(parameters, tape, cotangents)  # noqa: B023
            del outputs

        whole, kept = peak(run), peak(lambda: run(checkpoint_every=max(1, int(T**0.5))))  # noqa: B023
        out.append(f"| {', '.join(map(str, shape))} | {whole / (8 * T * B * H):.2f} | {kept / (8 * T * B * H):.2f} |")
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    text = f"{options.threads} thread{'s' * (options.threads > 1)}. {table()}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "growth.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
