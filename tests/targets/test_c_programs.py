"""C kernels without Python: a C program calls them as their header says, on this processor and, by emulation, on an ARM one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit
from derive.derivation import derive
from tests.arguments import Call
from tests.example_pages import page
from tests.kernels import module_of
from tests.shaped_cells import cell as shaped_cell
from tests.targets.c_kernels import Blocks, all_sizes, call_for, hold, results, written
from tests.targets.c_programs import Program, ran

ROOT = Path(__file__).parents[2]

CELLS: dict[str, Callable[[], Cell]] = {
    "a cell": lambda: build("lstm --peephole"),
    "a network with tokens": lambda: page("004_networks.md").cell("Translation, equations (23) to (26)").cell,
    "attention over two axes": lambda: page("attention.md").cell("Pointer network").cell,
    "a matrix memory": lambda: shaped_cell("mlstm"),
}

MACHINES = {
    "this one": (["cc"], []),
    "aarch64": (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"]),
}
"""How a program is compiled for a machine, and run."""


def machine(name: str) -> object:
    missing = [one[0] for one in MACHINES[name] if one and shutil.which(one[0]) is None]
    return pytest.param(
        *MACHINES[name], id=name, marks=pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)}")
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("compiler", "runner"), [machine(name) for name in MACHINES])
@pytest.mark.parametrize("name", CELLS)
def test_a_program_computes_what_numpy_does(
    name: str, compiler: list[str], runner: list[str], dtype: type, tmp_path: Path
) -> None:
    """All outputs and gradients; sizes that no vector divides."""
    cell = CELLS[name]()
    text = written(cell, tmp_path).with_name("kernel.c").read_text(encoding="utf-8")
    hold_program(text, module_of(emit(derive(cell), ())), tmp_path, compiler, runner, dtype)


def hold_program(text: str, other: ModuleType, folder: Path, compiler: list[str], runner: list[str], dtype: type) -> None:
    """A program that calls the kernel beside it computes what NumPy does."""
    sizes = {"T": 4, "B": 2, "H": 13}

    def computed(kernel: ModuleType, call: Call) -> Blocks:
        if kernel is other:
            return results(kernel, call)
        return ran(Program(text, "kernel", other, call, all_sizes(other, **sizes)), folder, compiler, runner)

    hold(ModuleType("a program"), other, call_for(other, **sizes), dtype, computed)


@pytest.mark.parametrize(("compiler", "runner"), [machine(name) for name in MACHINES])
def test_a_fault_in_the_text_is_seen_in_the_program(compiler: list[str], runner: list[str], tmp_path: Path) -> None:
    cell = build("rnn")
    path = written(cell, tmp_path).with_name("kernel.c")
    text = path.read_text(encoding="utf-8")
    other = module_of(emit(derive(cell), ()))
    hold_program(text, other, tmp_path, compiler, runner, np.float64)
    right, wrong = "d_h * (R(1) - square(h))", "d_h * (R(1) + square(h))"
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(AssertionError, match="W"):
        hold_program(text, other, tmp_path, compiler, runner, np.float64)


def test_the_program_of_the_documentation(tmp_path: Path) -> None:
    """As it stands there: without a warning, and what it prints is what NumPy computes."""
    if shutil.which("cc") is None:
        pytest.skip("no cc in the PATH")
    cell = build("rnn")
    written(cell, tmp_path, "rnn")
    (program,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "c.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "gradients.c").write_text(program, encoding="utf-8")
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "gradients.c", "-o", "gradients", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([str(tmp_path / "gradients")], capture_output=True, text=True, check=True).stdout

    arrays = {name: np.array(eval(f"[{found}]")) for name, found in re.findall(r"(\w+)\[[^]]*\] = \{([-.\d, ]+)\}", program)}
    kernel = module_of(emit(derive(cell), ()))
    parameters = {"W": arrays["W"].reshape(2, 2), "U": arrays["U"].reshape(2, 2), "b": arrays["b"]}
    outputs, tape = kernel.forward(parameters, {"x": arrays["x"].reshape(4, 1, 2)})
    d_h = np.zeros((4, 1, 2))
    d_h[-1, 0, 0] = 1
    wanted = [outputs["h"][-1, 0, 0], *kernel.backward(parameters, tape, {"h": d_h}).parameters["W"].ravel()]
    np.testing.assert_allclose([float(one) for one in re.findall(r"-?\d[\d.e-]*", printed)], wanted, rtol=1e-5)  # %g: six digits
