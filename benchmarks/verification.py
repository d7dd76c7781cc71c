"""`verify` of an LSTM against `torch.autograd.gradcheck` of the same sizes, in one run, in turns.

    python -m benchmarks.verification

T = 20, B = 4, D = 8, H = 16, float64. gradcheck in slow mode perturbs every element of every parameter, input and state. On the other
side the whole examination of the emitted kernel with its data at these sizes: every block and every lag to the last digits, behaviour,
forward mode, step Jacobians. Needs torch, the extra `bench`.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

T, B, D, H = 20, 4, 8, 16
ROUNDS = 3


def ours() -> Callable[[], Any]:
    from dataclasses import replace

    from derive.cells.registry import build
    from derive.compiler import compile_cell
    from verify.data import ORDINARY
    from verify.examination import Examination
    from verify.kernel import Kernel, load_text

    kernel = Kernel(load_text(compile_cell(build("lstm")), "lstm.py"), "lstm").sized((H, D))
    regime = replace(ORDINARY, steps=T, batch=B)

    def run() -> Any:
        report = Examination(kernel, None, None, 0, False, False, lambda what: None, (regime,)).report()
        assert report.passed, report.faults()
        return report

    return run


def theirs() -> Callable[[], Any]:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    module = torch.nn.LSTM(D, H).double()
    names = [name for name, _ in module.named_parameters()]
    weights = [p.detach().clone().requires_grad_() for p in module.parameters()]
    x = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(1, B, H, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def call(x: Any, h: Any, c: Any, *p: Any) -> Any:
        out, (_, last) = torch.func.functional_call(module, dict(zip(names, p, strict=True)), (x, (h, c)))
        return out, last

    return lambda: torch.autograd.gradcheck(call, (x, h, c, *weights), fast_mode=False)


def main() -> None:
    candidates = {"verify": ours(), "gradcheck": theirs()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    found = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"T = {T}, B = {B}, D = {D}, H = {H}, float64, medians of {ROUNDS}:")
    ratio = found["gradcheck"] / found["verify"]
    print(f"verify {found['verify']:.1f} s, gradcheck (slow mode) {found['gradcheck']:.1f} s: {ratio:.1f} times")


if __name__ == "__main__":
    main()
