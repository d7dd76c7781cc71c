"""The LSTM of the ADBench and GradBench suites: its gradient by our kernels, PyTorch and JAX, at the sizes of the suites.

    python -m benchmarks.adbench [--rounds 5] [--out benchmarks/results]

One process, one thread, float64, candidates taking turns, medians of processor time. PyTorch runs the loop that the suites have, with
autograd; JAX jit-compiles the gradient of a scan. Both are measured where they are installed (extra `bench`), JAX's compilation by itself.
Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.kernels import Run

PAGE = Path(__file__).parents[1] / "examples" / "pages" / "adbench.md"
BITS = 14
SIZES = ((2, 1024), (2, 4096), (4, 1024), (4, 4096))
"""(layers, characters) of the suites; a character has 14 bits there."""


def drawn(layers: int, characters: int) -> tuple[Any, Any, Any, Any]:
    """Main and extra parameters, state, text: uniform numbers, as the suites draw them, and random bits."""
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = ((2 * layers, 4 * BITS), (3, BITS), (2 * layers, BITS))
    text = rng.integers(0, 2, (characters, BITS)).astype(float)
    main, extra, state = map(rng.random, shapes)
    return main, extra, state, text


def ours(target: str, layers: int, characters: int) -> Run:
    """Loss and gradients by a kernel: NumPy's or C's."""
    import numpy as np

    from derive.compiler import files
    from derive.derivation import derive
    from derive.sources import cells_of
    from verify.kernel import load_text

    folder = Path(tempfile.mkdtemp())
    texts = files(derive(cells_of([str(PAGE), "--let", f"L={layers}"])[0]), "kernel", target)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    kernel = load_text(text, str(folder / name))
    main, extra, state, bits = drawn(layers, characters)
    parameters = dict(zip(("w_x", "w_y", "b_y"), extra, strict=True))
    states = {}
    for k in range(layers):
        for letter, row in (("w", main[2 * k]), ("b", main[2 * k + 1])):
            parameters |= {f"{letter}_{gate}_{k + 1}": part for gate, part in zip("fiog", np.split(row, 4), strict=True)}
        states |= {f"x_{k + 1}": state[2 * k][None], f"c_{k + 1}": state[2 * k + 1][None]}
    inputs, space = {"u": bits[:-1, None], "u_next": bits[1:, None]}, kernel.Workspace()

    def run() -> Any:
        outputs, tape = kernel.forward(parameters, inputs, states, workspace=space)
        return outputs["J"], kernel.backward(parameters, tape, {"J": np.ones(1)}, workspace=space)

    return run


def torch_loop(layers: int, characters: int) -> Run | None:
    """The loop over characters and layers with autograd; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    main, extra, state, text = map(torch.tensor, drawn(layers, characters))
    main.requires_grad_()
    extra.requires_grad_()

    def run() -> Any:
        main.grad = extra.grad = None
        states, total = list(state), torch.zeros((), dtype=main.dtype)
        for now, following in pairwise(text):
            signal = now * extra[0]
            for k in range(layers):
                hidden, memory = states[2 * k], states[2 * k + 1]
                f, i, o, g = (torch.cat([signal, hidden, signal, hidden]) * main[2 * k] + main[2 * k + 1]).split(BITS)
                memory = memory * f.sigmoid() + i.sigmoid() * g.tanh()
                signal = o.sigmoid() * memory.tanh()
                states[2 * k], states[2 * k + 1] = signal, memory
            guess = signal * extra[1] + extra[2]
            total = total + (following * (guess - torch.log(2 + guess.exp().sum()))).sum()
        loss = -total / (BITS * (characters - 1))
        loss.backward()
        return loss.item(), main.grad

    return run


def jax_scan(layers: int, characters: int) -> tuple[Run, float] | None:
    """(the compiled gradient of a scan, seconds of compiling it); None without JAX."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    np = jax.numpy
    main, extra, state, text = map(np.asarray, drawn(layers, characters))

    def loss(main: Any, extra: Any) -> Any:
        def step(states: Any, at: Any) -> Any:
            now, following = at
            signal, new = now * extra[0], []
            for k in range(layers):
                hidden, memory = states[2 * k], states[2 * k + 1]
                f, i, o, g = np.split(np.concatenate([signal, hidden, signal, hidden]) * main[2 * k] + main[2 * k + 1], 4)
                memory = memory * jax.nn.sigmoid(f) + jax.nn.sigmoid(i) * np.tanh(g)
                signal = jax.nn.sigmoid(o) * np.tanh(memory)
                new += [signal, memory]
            guess = signal * extra[1] + extra[2]
            return np.stack(new), (following * (guess - np.log(2 + np.exp(guess).sum()))).sum()

        return -jax.lax.scan(step, state, (text[:-1], text[1:]))[1].sum() / (BITS * (characters - 1))

    start = time.process_time()
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(main, extra).compile()
    seconds = time.process_time() - start

    def run() -> Any:
        return jax.block_until_ready(compiled(main, extra))

    return run, seconds


def medians(candidates: dict[str, Run], rounds: int) -> dict[str, float]:
    """Seconds of processor time of each candidate, the median over rounds in which all take turns, after one in which their losses have to
    be the same: they measure the same thing."""
    import numpy as np

    times: dict[str, list[float]] = {name: [] for name in candidates}
    losses = {name: float(np.ravel(run()[0])[0]) for name, run in candidates.items()}
    assert max(losses.values()) - min(losses.values()) < 1e-12 * abs(losses["C"]), losses
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    lines = [
        "| layers, characters | C, ms | NumPy / C | PyTorch / C | JAX / C | JAX compiles, s |",
        "|---|---|---|---|---|---|",
    ]
    for layers, characters in SIZES:
        candidates = {"C": ours("c", layers, characters), "NumPy": ours("numpy", layers, characters)}
        of_torch, of_jax = torch_loop(layers, characters), jax_scan(layers, characters)
        candidates |= {"PyTorch": of_torch} if of_torch else {}
        candidates |= {"JAX": of_jax[0]} if of_jax else {}
        found = medians(candidates, options.rounds)
        ratios = [f"{found[name] / found['C']:.2f}" if name in found else "-" for name in ("NumPy", "PyTorch", "JAX")]
        compiling = f"{of_jax[1]:.2f}" if of_jax else "-"
        lines.append(f"| {layers}, {characters} | {found['C'] * 1e3:.2f} | {' | '.join(ratios)} | {compiling} |")
        print(lines[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "adbench.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    main()
