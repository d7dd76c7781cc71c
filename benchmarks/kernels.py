"""Emitted kernels against what a user would pick instead: forward + backward through the public contract.

    python benchmarks/kernels.py [--cells lstm,...] [--rounds 9] [--threads 1] [--out benchmarks/results]

One process per cell, candidates interleaved, medians, threads pinned. Writes a Markdown table and a plot. PyTorch and JAX are measured
where they are installed (extra `bench`), each in a process of its own, since thread pools of two libraries disturb each other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHAPES = ((100, 1, 64, 64), (100, 16, 64, 64), (100, 32, 128, 128), (100, 64, 256, 256), (50, 64, 512, 512))
CELLS = (
    "lstm",
    "lstm --peephole diagonal",
    "lstm --peephole",
    "gru",
    "gru --reset after",
    "gru --reset after --update-gate state",
    "rnn",
)
Run = Callable[[], Any]


def medians(candidates: dict[str, Run], rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Seconds of each candidate: the median over rounds in which all take turns. clock: `time.process_time` beside other work."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for run in candidates.values():
        run()
        run()
    for _ in range(rounds):
        for name, run in candidates.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def arguments(kernel: Any, shape: tuple[int, ...], dtype: str) -> tuple[Any, Any, Any, Any]:
    """Parameters, inputs, initial state and cotangents of one call."""
    import numpy as np

    sizes = dict(zip("TBDH", shape, strict=True))
    rng = np.random.default_rng(0)

    def draw(dims: tuple[str, ...]) -> Any:
        return rng.standard_normal([sizes[dim] for dim in dims]).astype(dtype)

    scale = np.asarray(1 / np.sqrt(sizes["H"]), dtype)
    parameters = {name: draw(dims) * scale for name, dims in kernel.PARAMETERS.items()}
    inputs = {name: draw(("T", "B", *dims)) for name, dims in kernel.INPUTS.items()}
    state = {name: draw(("B", *dims)) for name, dims in kernel.STATES.items()}
    return parameters, inputs, state, {name: draw(("T", "B", *dims)) for name, dims in kernel.STATES.items()}


def emitted(words: str, passes: tuple[str, ...] | None, shape: tuple[int, ...], dtype: str) -> Run:
    """forward + backward of the emitted kernel; the fast one with a workspace."""
    from derive.cells.registry import build
    from derive.compiler import FAST, compile_cell
    from verify.kernel import load_text

    kernel = load_text(compile_cell(build(words), FAST if passes is None else passes), "kernel.py")
    parameters, inputs, state, cotangents = arguments(kernel, shape, dtype)
    options = {"workspace": kernel.Workspace()} if passes is None else {}

    def run() -> Any:
        _, tape = kernel.forward(parameters, inputs, state, **options)
        return kernel.backward(parameters, tape, cotangents, **options)

    return run


def compiled(words: str, shape: tuple[int, ...], dtype: str) -> Run:
    """forward + backward of the C kernel, with a workspace. It is compiled into the cache of the user."""
    import tempfile

    from derive.cells.registry import build
    from derive.compiler import files
    from derive.derivation import derive
    from verify.kernel import load_text

    folder = Path(tempfile.mkdtemp())
    texts = files(derive(build(words)), "kernel", "c")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    kernel = load_text(texts["kernel_c.py"], str(folder / "kernel_c.py"))
    parameters, inputs, state, cotangents = arguments(kernel, shape, dtype)
    space = kernel.Workspace()

    def run() -> Any:
        _, tape = kernel.forward(parameters, inputs, state, workspace=space)
        return kernel.backward(parameters, tape, cotangents, workspace=space)

    return run


UNAVOIDABLE = {
    "lstm": ((4,), (4, 1), (4,)),
    "gru": ((2, 1), (2, 1), (1, 2)),
    "gru --reset after": ((3,), (2, 1), (3,)),
    "rnn": ((1,), (1,), (1,)),
}
"""cell -> rows, in units of H, of the recurrent products of a step, of its activations, and of the products of a backward step.

The recurrent product of the candidate of a GRU waits for the reset gate, which waits for the product before it; with the reset after
the product it is one product. Peepholes are measured against the LSTM without them.
"""


def floor(words: str, shape: tuple[int, ...], dtype: str) -> Run:
    """The matrix products that can't be avoided, each in one call where that is possible, and the activations: nothing else.

    Forward: the input product of all steps at once, the recurrent products and the activations of each step. Backward: the recurrent
    products of each step, and the weight and input gradients as one product each.
    """
    import numpy as np

    T, B, D, H = shape
    key = max((cell for cell in UNAVOIDABLE if words.startswith(cell)), key=len)
    products, activations, pulls = UNAVOIDABLE[key]
    gates = sum(products)
    rng = np.random.default_rng(0)

    def draw(*size: int) -> Any:
        return (rng.standard_normal(size) / np.sqrt(H)).astype(dtype)

    W, X, h = draw(gates * H, D), draw(D, T * B), draw(T, H, B)
    Z, flat_z, flat_h = np.empty((gates * H, T * B), dtype), draw(gates * H, T * B), draw(H, T * B)
    gradients, row = np.empty((D, T * B), dtype), np.empty((H, B), dtype)
    forward = [(draw(n * H, H), np.empty((n * H, B), dtype)) for n in products]
    squashed = [draw(n * H, B) for n in activations]
    backward = [(draw(n * H, H).T, draw(T, n * H, B)) for n in pulls]

    def run() -> None:
        np.matmul(W, X, out=Z)
        for t in range(T):
            for U, block in forward:
                np.dot(U, h[t], block)
            for block in squashed:
                np.tanh(block, block)
        for t in range(T):
            for U, z in backward:
                np.dot(U, z[t], row)
        np.matmul(W.T, flat_z, out=gradients)
        np.matmul(flat_z, X.T)
        np.matmul(flat_z, flat_h.T)

    return run


def torch_module(words: str, shape: tuple[int, ...], dtype: str) -> Run | None:
    """torch.nn, where it has the cell."""
    import torch

    T, B, D, H = shape
    kinds = {"lstm": torch.nn.LSTM, "gru --reset after --update-gate state": torch.nn.GRU, "rnn": torch.nn.RNN}
    if words not in kinds:
        return None
    torch.manual_seed(0)
    module = kinds[words](D, H).to(getattr(torch, dtype))
    x = torch.randn(T, B, D, dtype=getattr(torch, dtype), requires_grad=True)
    cotangent = torch.randn(T, B, H, dtype=x.dtype)

    def run() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None
        out, _ = module(x)
        out.backward(cotangent)

    return run


def torch_loop(words: str, shape: tuple[int, ...], dtype: str, compiled: bool = False) -> Run:
    """A PyTorch loop over the stacked gates, with autograd. compiled: by `torch.compile`, step by step: the unrolled loop takes minutes."""
    import torch

    from benchmarks.cells import step_of

    T = shape[0]
    kernel, step = step_of(words)
    parameters, inputs, state, cotangents = arguments(kernel, shape, dtype)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.items()}
    x = torch.tensor(inputs["x"], requires_grad=True)
    start = {name: torch.tensor(array, requires_grad=True) for name, array in state.items()}
    given = {name: torch.tensor(array) for name, array in cotangents.items()}
    leaves = [*p.values(), x, *start.values()]

    def one(w: Any, x: Any, s: Any) -> Any:
        return step.step(torch, w, x, s)

    call = torch.compile(one, fullgraph=True, dynamic=False) if compiled else one

    def unrolled(x: Any, p: Any, s: Any) -> Any:
        w, outputs = step.prepare(torch, p), []
        for t in range(T):
            s = call(w, x[t], s)
            outputs.append(s)
        return {name: torch.stack([o[name] for o in outputs]) for name in given}

    def run() -> Any:
        found = unrolled(x, p, start)
        return torch.autograd.grad([found[name] for name in given], leaves, [given[name] for name in given])

    return run


def jax_scan(words: str, shape: tuple[int, ...], dtype: str) -> Run:
    """jax.jit of lax.scan with jax.vjp."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    from benchmarks.cells import step_of

    kernel, step = step_of(words)
    parameters, inputs, state, cotangents = arguments(kernel, shape, dtype)

    def unrolled(p: Any, x: Any, s: Any) -> Any:
        w = step.prepare(jnp, p)

        def one(s: Any, x: Any) -> Any:
            s = step.step(jnp, w, x, s)
            return s, s

        return jax.lax.scan(one, s, x)[1]

    @jax.jit
    def both(p: Any, x: Any, s: Any, given: Any) -> Any:
        outputs, pull = jax.vjp(unrolled, p, x, s)
        return outputs, pull(given)

    def run() -> None:
        jax.block_until_ready(both(parameters, inputs["x"], state, cotangents))

    return run


def candidates(words: str, shape: tuple[int, ...], dtype: str, library: str) -> dict[str, Run]:
    """What is measured in one process: the floor and our kernels, and one library beside them."""
    found: dict[str, Run] = {
        "floor": floor(words, shape, dtype),
        "fast": emitted(words, None, shape, dtype),
        "plain": emitted(words, (), shape, dtype),
        "C": compiled(words, shape, dtype),
    }
    if library in ("torch", "compile"):
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if library == "torch":
        module = torch_module(words, shape, dtype)
        if module is not None:
            found["torch.nn"] = module
        found["torch loop"] = torch_loop(words, shape, dtype)
    if library == "compile":
        torch._dynamo.reset()
        found["torch.compile"] = torch_loop(words, shape, dtype, compiled=True)
    if library == "jax":
        found["jax.jit"] = jax_scan(words, shape, dtype)
    return found


def measure(words: str, library: str, rounds: int, widest: int) -> list[dict[str, Any]]:
    """All shapes and both precisions of one cell, in this process."""
    rows = []
    for dtype in ("float64", "float32"):
        for shape in [shape for shape in SHAPES if shape[-1] <= widest]:
            found = medians(candidates(words, shape, dtype, library), rounds if shape[-1] < 512 else max(7, rounds // 2))
            rows.append({"cell": words, "dtype": dtype, "shape": shape, "library": library, "seconds": found})
            ratios = "  ".join(f"{name} {seconds / found['floor']:.2f}" for name, seconds in found.items())
            print(f"{words:40} {dtype} {shape}: {ratios}", file=sys.stderr)
    return rows


NAMES = ("fast", "floor", "C", "plain", "torch.nn", "torch loop", "torch.compile", "jax.jit")


def table(rows: list[dict[str, Any]], threads: int, one: str = "fast") -> str:
    """A Markdown table: milliseconds of one candidate, and how many times as long everything else takes beside it in the same process."""
    names = [name for name in NAMES if name != one]
    said = {"fast": "the emitted kernel, `fast`", "C": "the kernel in C"}[one]
    out = [f"Forward + backward, {threads} thread{'s' * (threads > 1)}; times relative to {said}.", ""]
    heads = [f"{one} / floor" if name == "floor" else f"{name} / {one}" for name in names]
    out += [f"| cell | dtype | T, B, D, H | {one}, ms | {' | '.join(heads)} |"]
    out += ["|---" * (4 + len(names)) + "|"]
    merged: dict[Any, dict[str, float]] = {}
    for row in rows:
        ours = row["seconds"][one]
        found = merged.setdefault((row["cell"], row["dtype"], tuple(row["shape"])), {one: ours})
        found |= {
            name: ours / seconds if name == "floor" else seconds / ours for name, seconds in row["seconds"].items() if name != one
        }
    for (cell, dtype, shape), found in merged.items():
        others = [f"{found[name]:.2f}" if name in found else "" for name in names]
        out.append(f"| {cell} | {dtype} | {', '.join(map(str, shape))} | {found[one] * 1e3:.2f} | {' | '.join(others)} |")
    return "\n".join(out) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Times of every candidate over the floor, by shape, one panel a cell."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cells = list(dict.fromkeys(row["cell"] for row in rows))
    figure, panels = plt.subplots(1, len(cells), figsize=(3.2 * len(cells), 3.6), sharey=True, squeeze=False)
    styles = dict(
        zip(
            ["fast", "C", "plain", "torch.nn", "torch loop", "torch.compile", "jax.jit"],
            ["k-o", "k-s", "k:s", "k--^", "k-.v", "k--x", "k-D"],
            strict=True,
        )
    )
    for panel, cell in zip(panels[0], cells, strict=True):
        for name, style in styles.items():
            points = [(i, r["seconds"][name] / r["seconds"]["floor"]) for i, s in enumerate(SHAPES) for r in rows
                      if r["cell"] == cell and tuple(r["shape"]) == s and r["dtype"] == "float64" and name in r["seconds"]
                      and (name not in ("fast", "C", "plain") or r["library"] == rows[0]["library"])]  # fmt: skip
            if points:
                panel.plot(*zip(*points, strict=True), style, label=name, markersize=4, linewidth=1, fillstyle="none")
        panel.set_title(cell.replace("--", ""), fontsize=8)
        panel.set_yscale("log")
        panel.set_xticks(range(len(SHAPES)), [f"{b}, {h}" for _, b, _, h in SHAPES], fontsize=7, rotation=30)
        panel.set_xlabel("B, H", fontsize=8)
    panels[0][0].set_ylabel("time / floor, float64", fontsize=8)
    panels[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--widest", type=int, default=512, help="leave out shapes with a larger H")
    parser.add_argument(
        "--libraries", default="torch,jax", help="of torch, jax, compile (torch.compile of the step: minutes), none"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--one", nargs=2, metavar=("CELL", "LIBRARY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.libraries.split(",")) - {"torch", "jax", "compile", "none"})
    if unknown:
        parser.error(f"--libraries: expected torch, jax, compile or none, got {', '.join(unknown)}.")
    if options.one:
        print(json.dumps(measure(*options.one, options.rounds, options.widest)))
        return
    environment = os.environ | {
        name: str(options.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    environment |= {"XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(options.threads > 1).lower()} "
                    f"intra_op_parallelism_threads={options.threads}",
                    "PYTHONPATH": str(Path(__file__).parent.parent)}  # fmt: skip
    pin = ["taskset", "-c", ",".join(map(str, range(options.threads)))] if options.threads == 1 else []
    rows = []
    for cell in options.cells.split(","):
        for library in options.libraries.split(","):
            command = [*pin, sys.executable, __file__, "--rounds", str(options.rounds)]
            command += ["--widest", str(options.widest), "--one", cell, library]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                print(f"{cell}: {library}: not measured", file=sys.stderr)
            else:
                rows += json.loads(done.stdout.splitlines()[-1])
    options.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(table(rows, options.threads, one) for one in ("fast", "C"))
    (options.out / f"kernels_{options.threads}.md").write_text(text)
    plot(rows, options.out / f"kernels_{options.threads}.png")
    print(text)


if __name__ == "__main__":
    main()
