"""C kernels for tests: written to a folder, compiled there, and held against the textbook's NumPy kernel of the same cell."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.compiler import emit, emit_c
from derive.derivation import derive
from tests.arguments import Call, backward, forward
from tests.bounds import of_call
from tests.kernels import module_of
from tests.network_values import drawn, sizes_of
from verify.kernel import load_text

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler in the PATH")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled kernels of the tests don't go into the cache of the user. For modules of tests, by a name of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def written(cell: Cell, folder: Path, stem: str = "kernel") -> Path:
    """The path of the Python module of a C kernel, the C file beside it."""
    in_c, in_python = emit_c(derive(cell), stem)
    (folder / f"{stem}.c").write_text(in_c, encoding="utf-8")
    path = folder / f"{stem}_c.py"
    path.write_text(in_python, encoding="utf-8")
    return path


def loaded(path: Path) -> ModuleType:
    return load_text(path.read_text(encoding="utf-8"), str(path))


def c_and_numpy(cell: Cell, folder: Path) -> tuple[ModuleType, ModuleType]:
    """(the C kernel, the textbook's in NumPy) of a cell."""
    return loaded(written(cell, folder)), module_of(emit(derive(cell), ()))


def all_sizes(kernel: ModuleType, T: int = 5, B: int = 3, **sizes: int) -> dict[str, int]:
    """The length of every axis and dimension of a kernel."""
    along = [axis for axes in getattr(kernel, "AXES", {}).values() for axis in ((axes,) if isinstance(axes, str) else axes or ())]
    lengths = dict.fromkeys(along, 7) | {"T": T, "B": B, "D": 5, "H": 6, "K": 3} | sizes
    return sizes_of(kernel, lengths) | {"B": B}


def call_for(kernel: ModuleType, T: int = 5, B: int = 3, seed: int = 0, **sizes: int) -> Call:
    return drawn(kernel, all_sizes(kernel, T, B, **sizes), seed)


Blocks = dict[object, np.ndarray]


def results(kernel: ModuleType, call: Call) -> Blocks:
    """Outputs by name, gradients by table and name."""
    return {**forward(kernel, call)[0], **backward(kernel, call)}


def hold(
    one: ModuleType,
    other: ModuleType,
    call: Call,
    dtype: type = np.float64,
    results: Callable[[ModuleType, Call], Blocks] = results,
) -> float:
    """Outputs and gradients of two kernels are the same, block by block relative to its norm; how far apart the farthest block is.
    results: what else is held."""
    call = call.map(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)
    bound = max(of_call(call, dtype), 1e-12 if dtype is np.float64 else 0)
    found, wanted = results(one, call), results(other, call)
    assert found.keys() == wanted.keys()
    lost: dict[object, float] = {}
    worst = 0.0
    for name, right in wanted.items():
        assert found[name].shape == right.shape
        assert found[name].dtype == right.dtype, name
        assert np.array_equal(np.isfinite(found[name]), np.isfinite(right)), name
        finite = np.isfinite(right)
        size = max(np.linalg.norm(right[finite]), np.finfo(dtype).tiny)
        apart = np.linalg.norm(np.where(finite, found[name] - right, 0)) / size
        if not apart <= bound:
            lost = lost or moved_by_last_bits(lambda near: results(other, near), call, wanted)
            assert apart <= bound * (1 + lost[name] / (size * np.finfo(dtype).eps)), (name, apart)
        worst = max(worst, float(apart))
    return worst


def moved_by_last_bits(results: Callable[[Call], Blocks], call: Call, wanted: Blocks) -> dict[object, float]:
    """How far the last bits of the arguments move each result: what a rounding on the way is worth where a sine is of a large number, or
    a gradient what is left of terms that cancel. As many roundings as the bound counts are worth that many times as much."""
    rng = np.random.default_rng(0)
    far = dict.fromkeys(wanted, 0.0)
    for _ in range(4):
        near = call.map(
            lambda array: (
                (array * (1 + np.finfo(array.dtype).eps * rng.uniform(-1, 1, array.shape))).astype(array.dtype)
                if array.dtype.kind == "f"
                else array
            )
        )
        for name, array in results(near).items():
            far[name] = max(far[name], float(np.linalg.norm(np.nan_to_num(array - wanted[name], posinf=0.0, neginf=0.0))))
    return far
