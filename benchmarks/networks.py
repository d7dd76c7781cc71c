"""Networks: two layers against two kernels called by hand and `torch.nn`, and what tokens cost in memory and time.

    python -m benchmarks.networks [--rounds 9] [--out benchmarks/results]

One process, one thread, candidates taking turns, medians of processor time; the kernels with workspaces. PyTorch is measured where it is
installed. Writes a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

from benchmarks.kernels import Run, arguments, medians

SHAPES = ((100, 1, 64, 64), (100, 16, 64, 64), (100, 32, 128, 128), (100, 64, 256, 256))
VOCABULARIES = (1_000, 10_000, 100_000)
PAGE = r"""
<!-- derive: w = tokens -->

$$h_t = \tanh(W E w_t + U h_{t-1} + b)$$

$$\hat{y}_t = \operatorname{softmax}(S h_t + c)$$

$$J_t = -\log \hat{y}_{t, w_{t+1}}$$
"""
EMBEDDING = r"""
<!-- derive: w = tokens -->

$$h_t = \tanh(W E w_t + U h_{t-1} + b)$$
"""


def two_layers(shape: tuple[int, ...], dtype: str, rounds: int) -> dict[str, float]:
    """Seconds of the network's kernel, of the single kernel called twice, of `torch.nn.LSTM`."""
    import numpy as np

    from derive.cells.registry import build
    from derive.compiler import compile_cell
    from verify.kernel import load_text

    T, B, _, H = shape
    single, network = (load_text(compile_cell(build(words)), "kernel.py") for words in ("lstm", "lstm --layers 2"))
    given = np.random.default_rng(1).standard_normal((T, B, H)).astype(dtype)
    whole, inputs, state, _ = arguments(network, shape, dtype)
    below, _, first_state, _ = arguments(single, shape, dtype)
    above, _, second_state, _ = arguments(single, (T, B, H, H), dtype)
    space, first, second = network.Workspace(), single.Workspace(), single.Workspace()

    def of_network() -> Any:
        _, tape = network.forward(whole, inputs, state, workspace=space)
        return network.backward(whole, tape, {"h_2": given}, workspace=space)

    def by_hand() -> Any:
        outputs, lower = single.forward(below, inputs, first_state, workspace=first)
        _, upper = single.forward(above, {"x": outputs["h"]}, second_state, workspace=second)
        gradients = single.backward(above, upper, {"h": given}, workspace=second)
        return gradients, single.backward(below, lower, {"h": gradients.inputs["x"]}, workspace=first)

    candidates: dict[str, Run] = {"network": of_network, "by hand": by_hand}
    torch_run = torch_layers(inputs["x"], given, H, dtype)
    return medians(candidates | ({"torch": torch_run} if torch_run else {}), rounds, time.process_time)


def torch_layers(x: Any, given: Any, size: int, dtype: str) -> Run | None:
    """forward and backward of `torch.nn.LSTM(num_layers=2)`; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    model = torch.nn.LSTM(x.shape[-1], size, num_layers=2, dtype=getattr(torch, dtype))
    inputs, cotangent = torch.tensor(x, requires_grad=True), torch.tensor(given)

    def run() -> Any:
        model.zero_grad()
        inputs.grad = None
        model(inputs)[0].backward(cotangent)

    return run


def of_tokens(text: str, vocabulary: int, shape: tuple[int, int, int], cotangent: str, rounds: int) -> tuple[float, float]:
    """(seconds, bytes allocated at most) of forward and backward of a page with tokens."""
    import numpy as np

    from derive.compiler import compile_cell
    from derive.pages import read
    from verify.kernel import load_text

    (page,) = read("page.md", text=text).cells
    kernel = load_text(compile_cell(page.cell), "kernel.py")
    T, B, H = shape
    rng, sizes = np.random.default_rng(2), dict.fromkeys(kernel.TOKENS.values(), vocabulary)
    parameters = {n: rng.standard_normal([sizes.get(d, H) for d in dims]) / np.sqrt(H) for n, dims in kernel.PARAMETERS.items()}
    state = {n: rng.standard_normal((B, *[sizes.get(d, H) for d in dims])) for n, dims in kernel.STATES.items()}
    tokens = {name: rng.integers(0, vocabulary, (T, B)) for name in kernel.TOKENS}
    given = {cotangent: np.ones((T, B) if cotangent.startswith("J") else (T, B, H))}

    def run() -> None:
        _, tape = kernel.forward(parameters, tokens, state)
        kernel.backward(parameters, tape, given)

    seconds = medians({"run": run}, rounds, time.process_time)["run"]
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, float(peak)


def table(rounds: int) -> str:
    out = [
        "| lstm --layers 2 | dtype | network, ms | over two kernels by hand | torch.nn over network |",
        "|---|---|---|---|---|",
    ]
    for shape in SHAPES:
        for dtype in ("float64", "float32"):
            found = two_layers(shape, dtype, rounds)
            beside = f"{found['torch'] / found['network']:.2f}" if "torch" in found else "-"
            ratio = found["network"] / found["by hand"]
            out.append(f"| {', '.join(map(str, shape))} | {dtype} | {found['network'] * 1e3:.1f} | {ratio:.3f} | {beside} |")
            print(out[-1], flush=True)
    T, B, H = 50, 16, 32
    out += [
        "",
        "| vocabulary V | softmax and cross entropy: peak over T B V numbers | embedding alone, us a token |",
        "|---|---|---|",
    ]
    for vocabulary in VOCABULARIES:
        peak = of_tokens(PAGE, vocabulary, (T, B, H), "J", 1)[1] / (8 * T * B * vocabulary) if vocabulary <= 10_000 else None
        seconds = of_tokens(EMBEDDING, vocabulary, (T, B, H), "h", rounds)[0]
        out.append(f"| {vocabulary} | {'-' if peak is None else f'{peak:.2f}'} | {seconds / (T * B) * 1e6:.2f} |")
        print(out[-1], flush=True)
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    text = table(options.rounds)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "networks.md").write_text(text)


if __name__ == "__main__":
    main()
