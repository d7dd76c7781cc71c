"""C kernels under compilers: gcc, clang and ziglang; vectors of every length; a machine without a compiler."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from tests.example_pages import page, titles
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from tests.targets.c_kernels import c_and_numpy, call_for, hold, loaded, needs_compiler, own_cache, results, written

_cache = own_cache

NETWORKS = [(name, title) for name in ("004_networks.md", "002_networks.md", "attention.md") for title in titles(name)]
TEXTS = {
    **{words: (build, words) for words in ("lstm --peephole", "gru --bidirectional", "lstm --masked", "rnn --layers 2")},
    **{name: (odd_cell, name) for name in ODD},
    **{name: (shaped_cell, name) for name in SHAPED},
    **{f"{name}: {title}": (lambda of: page(of[0]).cell(of[1]).cell, (name, title)) for name, title in NETWORKS},
}
"""The text of a kernel -> how its cell is made."""

LENGTHS = {16: [], 32: ["-mavx2", "-mfma"], 64: ["-mavx512f"]}
"""Bytes of a vector -> the flags of a processor of x86 that has such vectors."""

ZIG = importlib.util.find_spec("ziglang") is not None
needs_zig = pytest.mark.skipif(not ZIG, reason="ziglang is not installed: python -m pip install -e '.[native]'")


def has(compiler: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(compiler) is None, reason=f"no {compiler} in the PATH")


COMPILERS = [pytest.param(name, marks=has(name)) for name in ("gcc", "clang")]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", TEXTS)
def test_it_compiles_without_a_warning(name: str, compiler: str, tmp_path: Path) -> None:
    """C11, for vectors of every length, also those that this processor doesn't have, and by the macro alone."""
    make, of = TEXTS[name]
    path = written(make(of), tmp_path).with_name("kernel.c")
    for optimised, bytes_of_a_vector, precision in (
        (True, 32, []),
        *((False, n, p) for n in LENGTHS for p in ([], ["-DFLOAT32"])),
    ):
        flags = [*LENGTHS[bytes_of_a_vector], *precision] if on_x86() else precision
        found = compiled_quietly(compiler, path, [*flags, f"-DVECTOR_BYTES={bytes_of_a_vector}"], optimised)
        assert (found.returncode, found.stderr) == (0, "")
    found = compiled_quietly(compiler, path, ["-DVECTOR_BYTES=64"], False)
    assert "warning" not in found.stderr
    assert found.returncode == 0, found.stderr


def on_x86() -> bool:
    return os.uname().machine in ("x86_64", "i686")


def compiled_quietly(compiler: str, path: Path, flags: list[str], optimised: bool) -> subprocess.CompletedProcess[str]:
    """All warnings; those that need the flow of data come with optimisation."""
    way = ["-O2", "-c", "-o", os.devnull] if optimised else ["-fsyntax-only"]
    command = [compiler, "-std=c11", "-Wall", "-Wextra", *flags, *way, str(path)]
    return subprocess.run(command, capture_output=True, text=True)


CHOSEN = ("lstm --peephole diagonal", "gru --reset after", "many_functions", "mlstm")


@needs_compiler
@pytest.mark.parametrize("flag", [f"-DVECTOR_BYTES={n}" for n in LENGTHS])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_vectors_of_every_length_compute_the_same(compiler: str, flag: str, tmp_path: Path) -> None:
    """Also where the processor has none of that length: the compiler takes several."""
    one, other = c_and_numpy(build("gru"), tmp_path)
    compiled_with(one, f"{compiler} {flag}")
    hold(one, other, call_for(other, 4, 7, D=33, H=17))
    hold(one, other, call_for(other, 4, 5, D=7, H=19), np.float32)


@has("clang")
@pytest.mark.parametrize("name", CHOSEN)
def test_clang_computes_what_numpy_does(name: str, tmp_path: Path) -> None:
    one, other = c_and_numpy(cell_of(name), tmp_path)
    compiled_with(one, "clang")
    for dtype in (np.float64, np.float32):
        hold(one, other, call_for(other, 4, 7, D=33, H=17), dtype)


def cell_of(name: str) -> Cell:
    return odd_cell(name) if name in ODD else shaped_cell(name) if name in SHAPED else build(name)


def compiled_with(kernel: ModuleType, command: str) -> None:
    """Both precisions compiled now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", command)
        for dtype in (np.float64, np.float32):
            kernel._library(np.dtype(dtype))


# ---- no compiler in the PATH


@needs_zig
@pytest.mark.parametrize("name", CHOSEN)
def test_without_a_compiler_the_native_extra_serves(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CC", raising=False)
    one, other = c_and_numpy(cell_of(name), tmp_path)
    assert one._compiler() == [sys.executable, "-m", "ziglang", "cc"]
    for dtype in (np.float64, np.float32):
        hold(one, other, call_for(other, 4, 7, D=33, H=17), dtype)


def test_no_compiler_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = loaded(written(build("rnn"), tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(kernel.importlib.util, "find_spec", lambda name: None)
    call = call_for(kernel)
    with pytest.raises(RuntimeError) as found:
        kernel.forward(call.parameters, call.inputs, call.state)
    assert str(found.value) == (
        "kernel_c: no C compiler: expected cc, gcc or clang in the PATH. Install one, or: python -m pip install ziglang"
    )


# ---- names


@needs_compiler
def test_names_that_c_has_for_itself(tmp_path: Path) -> None:
    """Macros, keywords and functions of the library as quantities, parameters and dimensions."""
    tanh, sin, log = (function(name) for name in ("tanh", "sin", "log"))
    D, H = dimension("D"), dimension("INLINE")
    x, h, sine, null = sequence("x", D), sequence("h", H), sequence("sin", H), sequence("NULL", H)
    W, U, b = matrix("M_E", H, D), matrix("unix", H, H), vector("UNROLL", H)
    cell = Cell.from_equations(
        "names",
        "names",
        [
            Eq(sine, tanh(W @ x + U @ h.prev + b)),
            Eq(null, sin(sine) * log(2 + sine)),
            Eq(h, null * vector("INFINITY", H) + vector("do", H)),
        ],
    )
    one, other = c_and_numpy(cell, tmp_path)
    hold(one, other, call_for(other, INLINE=6))


def test_every_macro_is_known(tmp_path: Path) -> None:
    """What the compilers here define, when they read the headers that the text includes."""
    from derive.targets.c.words import MACROS

    text = written(build("rnn"), tmp_path).with_name("kernel.c")
    for compiler in filter(shutil.which, ("gcc", "clang", "aarch64-linux-gnu-gcc")):
        found = subprocess.run(
            [compiler, "-std=gnu11", "-dM", "-E", str(text)], capture_output=True, text=True, check=True
        ).stdout
        names = {line.split()[1] for line in found.splitlines() if line}
        assert {name for name in names if "(" not in name and not name.startswith("_")} <= MACROS


# ---- threads


def test_no_number_of_threads_changes_a_bit(tmp_path: Path) -> None:
    """Products large enough to be shared: 4 · 128 rows of 128 terms over 16 rows a step, above the limit in vectors.c."""
    kernel = loaded(written(build("lstm"), tmp_path))
    call = call_for(kernel, 40, 16, D=64, H=128)
    found = []
    for count in (1, 2, 3):
        kernel.set_threads(count)
        found.append({key: array.tobytes() for key, array in results(kernel, call).items()})
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("count", [0, -1, 2.0, True, None])
def test_what_is_no_number_of_threads_is_refused(count: object, tmp_path: Path) -> None:
    kernel = loaded(written(build("rnn"), tmp_path))
    with pytest.raises(ValueError, match="set_threads: expected a number of threads >= 1, got"):
        kernel.set_threads(count)
