"""C kernels without Python: a C program calls them as their header says, on this processor and, by emulation, on an ARM one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit
from derive.derivation import derive
from tests.example_pages import page
from tests.kernels import module_of
from tests.shaped_cells import cell as shaped_cell
from tests.targets.c_kernels import all_sizes, call_for, hold_results, results, written
from tests.targets.c_programs import Program, ran

CELLS: dict[str, Callable[[], Cell]] = {
    "a cell": lambda: build("lstm --peephole"),
    "a network with tokens": lambda: page("004_networks.md").cell("translation_equations_23_to_26").cell,
    "attention over two axes": lambda: page("attention.md").cell("pointer_network").cell,
    "a matrix memory": lambda: shaped_cell("mlstm"),
}

MACHINES = {
    "this one": (["cc"], []),
    "aarch64": (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"]),
}
"""How a program is compiled for a machine, and run."""


def machine(name: str) -> object:
    missing = [one[0] for one in MACHINES[name] if one and shutil.which(one[0]) is None]
    return pytest.param(*MACHINES[name], id=name, marks=pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)}"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("compiler", "runner"), [machine(name) for name in MACHINES])
@pytest.mark.parametrize("name", CELLS)
def test_a_program_computes_what_numpy_does(
    name: str, compiler: list[str], runner: list[str], dtype: type, tmp_path: Path
) -> None:
    """All outputs and gradients; sizes that no vector divides."""
    cell = CELLS[name]()
    text = written(cell, tmp_path).with_name("kernel.c").read_text(encoding="utf-8")
    other = module_of(emit(derive(cell), ()))
    call = call_for(other, 4, 3, H=13).map(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)
    program = Program(text, "kernel", other, call, all_sizes(other, 4, 3, H=13))
    hold_results(ran(program, tmp_path, compiler, runner), other, call, dtype)


def test_a_fault_in_the_text_is_seen_in_the_program(tmp_path: Path) -> None:
    """What a C program gets is what the text says."""
    if shutil.which("cc") is None:
        pytest.skip("no cc in the PATH")
    path = written(build("gru"), tmp_path).with_name("kernel.c")
    text = path.read_text(encoding="utf-8")
    right, wrong = "(R(1) - h_tilde", "(R(1) + h_tilde"
    assert right in text or "square(h_tilde)" in text
    path.write_text(text.replace("R(1) - square(h_tilde)", "R(1) + square(h_tilde)").replace(right, wrong), encoding="utf-8")
    other = module_of(emit(derive(build("gru")), ()))
    call = call_for(other)
    program = Program(text, "kernel", other, call, all_sizes(other))
    with pytest.raises(AssertionError):
        hold_results(ran(program, tmp_path, ["cc"], []), other, call, np.float64)
    assert results(other, call)
