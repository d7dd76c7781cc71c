"""What Jacobian products cost: against torch.func, and against the sizes.

    python -m benchmarks.jacobian            everything, a few minutes
    python -m benchmarks.jacobian --quick    the comparison with torch, and small sizes

The comparison: all step Jacobians of an LSTM with H = 64 along T = 200 steps, and its 64 leading Lyapunov exponents. On one side
the steps as derived, `RowScaled`, and `forward_sweep`; on the other `torch.func.jacrev` under `vmap` over the same cell, and a QR
decomposition each step. Both on one thread, in one process, in turns; medians after warming up, and the first call of each, which is
what a single run costs. Needs torch, the extra of that name; without it only the sizes are measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np  # noqa: E402

from verify.jacobian.analysis import Wanted, analyse  # noqa: E402
from verify.jacobian.command import sources  # noqa: E402
from verify.jacobian.files import Asked, build_run  # noqa: E402
from verify.jacobian.rows import row_scaled  # noqa: E402
from verify.jacobian.run import Run  # noqa: E402
from verify.jacobian.steps import Dense  # noqa: E402
from verify.jacobian.sweeps import exponents_of, forward_sweep, start_frame  # noqa: E402
from verify.jacobian.values import evaluated  # noqa: E402

H, T, LEADING = 64, 200, 64


def lstm(hidden: int, steps: int) -> Run:
    ((name, kernel, derivation),) = sources(["lstm"])
    return build_run(name, kernel, derivation, Asked(steps=steps, hidden=hidden, inputs=hidden, seed=0))


def ours(run: Run) -> np.ndarray:
    """All step Jacobians, and the leading exponents."""
    steps = row_scaled(run, evaluated(run)) or Dense(run)
    frame = start_frame(steps, LEADING)
    return exponents_of(forward_sweep(steps, frame, T // 10), T, T // 10)[0]


def theirs(run: Run, torch: Any) -> Callable[[], np.ndarray]:
    """The same by torch.func, from the states before each step, which are there already."""
    P = {name: torch.tensor(array) for name, array in run.parameters.items()}

    def step(joint: Any, x: Any) -> Any:
        h, c = joint[:H], joint[H:]
        i, f, o = (torch.sigmoid(P[f"W_{g}"] @ x + P[f"U_{g}"] @ h + P[f"b_{g}"]) for g in "ifo")
        c = f * c + i * torch.tanh(P["W_c"] @ x + P["U_c"] @ h + P["b_c"])
        return torch.cat([o * torch.tanh(c), c])

    jacobians = torch.func.vmap(torch.func.jacrev(step))
    before = torch.tensor(np.concatenate([array[:-1, 0] for array in run.before.values()], axis=-1))
    inputs = torch.tensor(run.inputs["x"][:, 0])
    start = torch.tensor(start_frame(Dense(run), LEADING)[0])

    def once() -> np.ndarray:
        J, Q, total = jacobians(before, inputs), start, torch.zeros(LEADING, dtype=torch.float64)
        for t in range(T):
            Q, R = torch.linalg.qr(J[t] @ Q)
            if t >= T // 10:
                total = total + R.diagonal().abs().log()
        return -np.sort(-total.numpy() / (T - T // 10))

    return once


def against_torch(rounds: int = 15) -> None:
    try:
        import torch
    except ImportError:
        print("torch isn't installed: no comparison.")
        return
    torch.set_num_threads(1)
    run = lstm(H, T)
    run.before  # noqa: B018  the trajectory, for both
    other = theirs(run, torch)
    first = seconds(lambda: ours(run)), seconds(other)
    difference = np.abs(ours(run) - other()).max()
    for _ in range(5):
        other()
        ours(run)
    times = {"ours": [], "torch": []}  # type: dict[str, list[float]]
    for _ in range(rounds):
        times["ours"].append(seconds(lambda: ours(run)))
        times["torch"].append(seconds(other))
    mine, torchs = median(times["ours"]), median(times["torch"])
    print(
        f"lstm, H = {H}, T = {T}: all step Jacobians and {LEADING} exponents, one thread, median of {rounds}, fastest in brackets"
    )
    print(f"  this project        {1e3 * mine:7.1f} ms  [{1e3 * min(times['ours']):.1f}]")
    print(f"  torch.func + QR     {1e3 * torchs:7.1f} ms  [{1e3 * min(times['torch']):.1f}]   torch {torch.__version__}")
    print(f"  ratio               {torchs / mine:7.1f}     [{min(times['torch']) / min(times['ours']):.1f}]")
    print(f"  first call: this project {1e3 * first[0]:.0f} ms, torch {1e3 * first[1]:.0f} ms, ratio {first[1] / first[0]:.1f}")
    print(f"  largest difference of an exponent {difference:.1e}")


def seconds(call: Callable[[], Any]) -> float:
    """Processor time, which other work on the machine disturbs less than the clock on the wall; with one thread they are the same."""
    start = time.process_time()
    call()
    return time.process_time() - start


def against_sizes(sizes: list[tuple[int, int, int | None]]) -> None:
    """The whole analysis of an LSTM without paths, by H and T; k leading exponents, None for all of them."""
    print("\n   H      T  exponents   seconds   peak so far, MB")
    for hidden, steps, k in sizes:
        run = lstm(hidden, steps)
        took = seconds(lambda: analyse(run, Wanted(exponents=k, paths=False, gradient=False)))  # noqa: B023
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{hidden:5} {steps:6} {k or 'all':>9} {took:10.2f} {peak:12.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    against_torch()
    small: list[tuple[int, int, int | None]] = [
        (16, 100, None),
        (16, 1000, None),
        (32, 100, None),
        (64, 100, None),
        (128, 100, None),
    ]
    large: list[tuple[int, int, int | None]] = [(512, 100, 16), (1024, 100, 16), (1024, 1000, 16), (256, 100, None)]
    against_sizes(small if quick else small + large)


if __name__ == "__main__":
    main()
