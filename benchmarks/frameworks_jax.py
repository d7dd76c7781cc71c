"""JAX kernels against `jax.vjp` of a scan: how long forward and backward run, and how long they take to compile.

    python benchmarks/frameworks_jax.py [--cells lstm,...] [--rounds 9]

Per cell and shape: `run` of the emitted kernel, which JAX differentiates by the kernel's own backward pass; the same scan differentiated by
JAX alone; a scan as a user would write it, gates stacked. All take turns in one process held to one core; processor time, medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.kernels import SHAPES, arguments, medians

CELLS = ("lstm", "lstm --peephole diagonal", "gru --reset after", "rnn")
Function = Callable[..., Any]


def functions(words: str) -> tuple[Any, dict[str, Function]]:
    """(the kernel, what is differentiated: (parameters, inputs, state) -> outputs)."""
    import jax
    import jax.numpy as jnp

    from benchmarks.cells import Step
    from derive.cells.registry import build
    from derive.compiler import emit_jax
    from derive.derivation import derive

    kernel: dict[str, Any] = {}
    exec(compile(emit_jax(derive(build(words))), "kernel_jax.py", "exec"), kernel)
    step = Step(words)

    def scan(p: Any, inputs: Any, s: Any) -> Any:
        w = step.prepare(jnp, p)

        def one(s: Any, x: Any) -> Any:
            s = step.step(jnp, w, x, s)
            return s, s

        return jax.lax.scan(one, s, inputs["x"])[1]

    def same(p: Any, inputs: Any, s: Any) -> Any:
        p, inputs, s, sizes, dtype = kernel["_arguments"]("run", p, inputs, s)
        return kernel["_forward"](p, inputs, s, sizes, dtype)[0]

    return type("Kernel", (), kernel), {"emitted": kernel["run"], "same scan": same, "user's scan": scan}


def both(function: Function) -> Function:
    """Outputs and gradients in one compiled function."""
    import jax

    def passes(p: Any, inputs: Any, s: Any, given: Any) -> Any:
        outputs, pull = jax.vjp(function, p, inputs, s)
        return outputs, pull(given)

    return jax.jit(passes)


def row(words: str, shape: tuple[int, ...], dtype: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of a run and of a compilation, trace to program, of each candidate."""
    import jax

    kernel, found = functions(words)
    call = jax.tree.map(jax.numpy.asarray, arguments(kernel, shape, dtype))

    def compiled(function: Function) -> None:
        jax.clear_caches()
        both(function).lower(*call).compile()

    compiling = medians({name: lambda f=f: compiled(f) for name, f in found.items()}, max(3, rounds // 2), time.process_time)
    ready = {name: both(function) for name, function in found.items()}
    running = medians({name: lambda f=f: jax.block_until_ready(f(*call)) for name, f in ready.items()}, rounds, time.process_time)
    return {name: (running[name], compiling[name]) for name in found}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="how many of the shapes")
    parser.add_argument("--dtypes", default="float64,float32")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
    import jax

    jax.config.update("jax_enable_x64", True)
    print("| cell | dtype | T, B, D, H | run / same scan | run / user's | compile / same scan | compile / user's |")
    print("|---|---|---|---|---|---|---|")
    ratios: list[list[float]] = []
    for words in options.cells.split(","):
        for dtype in options.dtypes.split(","):
            for shape in SHAPES[: options.shapes]:
                found = row(words, shape, dtype, options.rounds)
                ours = found["emitted"]
                others = [found[name] for name in ("same scan", "user's scan")]
                ratios.append([ours[k] / other[k] for k in (0, 1) for other in others])
                shown = " | ".join(f"{ratio:.2f}" for ratio in ratios[-1])
                print(f"| {words} | {dtype} | {', '.join(map(str, shape))} | {shown} |", flush=True)
    middle = " | ".join(f"{statistics.median(column):.2f}" for column in zip(*ratios, strict=True))
    print(f"| median | | | {middle} |")


if __name__ == "__main__":
    main()
