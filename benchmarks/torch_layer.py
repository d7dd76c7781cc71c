"""The emitted PyTorch layer against a loop over the same equations with autograd, and against torch.nn where it has the cell.

    python benchmarks/torch_layer.py [--cells "lstm,lstm --peephole"] [--rounds 9]

One process, one thread, candidates interleaved, medians of processor time. Prints a Markdown table: times of the layer over those of each.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.kernels import SHAPES, Run, arguments, medians, torch_loop, torch_module
from derive.cells.registry import build
from derive.compiler import compile_cell, emit_torch
from derive.derivation import derive
from verify.kernel import load_text

CELLS = "lstm,lstm --peephole,lstm --peephole diagonal,gru,gru --reset after --update-gate state,rnn"


def layer(words: str, shape: tuple[int, ...], dtype: str) -> Run:
    """Forward and backward of the emitted layer's `run`, gradients of all arguments by autograd."""
    import torch

    module: dict[str, Any] = {"__name__": "kernel"}
    exec(emit_torch(derive(build(words))), module)
    given = arguments(load_text(compile_cell(build(words)), "kernel.py"), shape, dtype)
    groups = [{name: torch.tensor(array, requires_grad=True) for name, array in group.items()} for group in given[:3]]
    cotangents = [torch.tensor(np.array(array)) for array in given[3].values()]
    leaves = [one for group in groups for one in group.values()]

    def run() -> Any:
        found = module["run"](*groups)
        return torch.autograd.grad([found[name] for name in given[3]], leaves, cotangents)

    return run


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default=CELLS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--widest", type=int, default=256, help="leave larger sizes out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| cell | T, B, D, H | float64: over the loop | over torch.nn | float32: over the loop | over torch.nn |")
    print("|---|---|---|---|---|---|")
    for words in options.cells.split(","):
        for shape in [one for one in SHAPES if one[-1] <= options.widest]:
            row = [words, ", ".join(map(str, shape))]
            for dtype in ("float64", "float32"):
                runs = {"layer": layer(words, shape, dtype), "loop": torch_loop(words, shape, dtype)}
                theirs = torch_module(words, shape, dtype)
                found = medians(runs | ({"nn": theirs} if theirs else {}), options.rounds, time.process_time)
                row += [f"{found['layer'] / found[name]:.2f}" if name in found else "" for name in ("loop", "nn")]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
