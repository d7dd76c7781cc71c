"""The kept kernels against those of an earlier revision: forward + backward in one process, taking turns.

    python -m benchmarks.revisions REVISION [--rounds 7] [--seconds 8] [--kernels lstm,gru] [--out benchmarks/results]

REVISION may be a folder that holds kernels, too. One thread, processor time, medians; every kernel with arguments and a workspace of its
own, at several places in memory. Writes a Markdown table of the ratios now / then, with the median and the largest of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def text_at(revision: str, name: str) -> str:
    """The text of a kept kernel at a revision or in a folder. Raises CalledProcessError or OSError where there is none."""
    if Path(revision).is_dir():
        return (Path(revision) / f"{name}.py").read_text()
    command = ["git", "-C", str(ROOT), "show", f"{revision}:generated/{name}.py"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ratio(kernels: list[Any], shape: tuple[int, ...], dtype: str, rounds: int, seconds: float) -> float:
    """Time of the first kernel over that of the second: the median over several places of their arrays in memory.

    Where arrays happen to lie moves a kernel of one example by up to a third, either way, for as long as they lie there. Places are tried
    for some seconds, but three at least, an odd number of them, the kernels in either order.
    """
    import numpy as np

    found: list[float] = []
    held = []
    end = time.monotonic() + seconds
    while len(found) < 3 or len(found) % 2 == 0 or (time.monotonic() < end and len(found) < 41):
        swapped = len(found) % 2 == 1
        there = ratio_here(kernels[::-1] if swapped else kernels, shape, dtype, rounds)
        found.append(1 / there if swapped else there)
        held.append(np.empty(997 * len(found), dtype))
    return statistics.median(found)


def ratio_here(kernels: list[Any], shape: tuple[int, ...], dtype: str, rounds: int) -> float:
    """Time of the first kernel over that of the second, each on arrays and a workspace of its own."""
    from benchmarks.kernels import arguments, medians

    def runner(kernel: Any) -> Callable[[], Any]:
        parameters, inputs, state, cotangents = arguments(kernel, shape, dtype)
        space = kernel.Workspace()

        def run() -> None:
            _, tape = kernel.forward(parameters, inputs, state, workspace=space)
            kernel.backward(parameters, tape, cotangents, workspace=space)

        return run

    one, other = (runner(kernel) for kernel in kernels)
    found = medians({"one": one, "other": other}, rounds, time.process_time)
    return found["one"] / found["other"]


def table(revision: str, names: list[str], rounds: int, seconds: float) -> str:
    from benchmarks.kernels import SHAPES
    from verify.kernel import load_text

    heads = [", ".join(map(str, shape)) for shape in SHAPES]
    out = [f"| kernel | dtype | {' | '.join(heads)} |", "|---|---|" + "---|" * len(SHAPES)]
    found: list[float] = []
    for name in names:
        texts = [(ROOT / "generated" / f"{name}.py").read_text(), text_at(revision, name)]
        kernels = [load_text(text, f"{name}.py") for text in texts]
        for dtype in ("float64", "float32"):
            row = [ratio(kernels, shape, dtype, rounds, seconds) for shape in SHAPES]
            found += row
            out.append(f"| {name} | {dtype} | {' | '.join(f'{one:.3f}' for one in row)} |")
            print(out[-1], flush=True)
    return "\n".join([*out, "", f"Median {statistics.median(found):.3f}, largest {max(found):.3f}, of {len(found)}."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("revision", help="what git calls it (a tag, a branch, a commit), or a folder of kernels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8, help="for each ratio, at least")
    parser.add_argument("--kernels", default="", help="comma-separated names in generated/; all without it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    names = [name for name in options.kernels.split(",") if name] or sorted(
        path.stem for path in (ROOT / "generated").glob("*.py")
    )
    text = table(options.revision, names, options.rounds, options.seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "revisions.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
