"""C kernels compute what NumPy's compute, on every processor's vectors, and refuse what they can't do in one clear line."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from derive import keep
from derive.__main__ import main
from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit_c
from derive.derivation import derive
from derive.procedures.procedure import OPERATIONS
from derive.targets.c.elements import ELEMENTWISE, LANE_FUNCTIONS, PLAIN, VECTOR_FUNCTIONS
from derive.targets.c.statements import BOUND, PRODUCTS
from derive.targets.c.vectors import VECTORS
from derive.targets.numpy.functions import CALLED
from tests.example_pages import page, titles
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from tests.profiles import THOROUGH
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from tests.targets.c_kernels import c_and_numpy, call_for, hold, loaded, needs_compiler, own_cache, written
from tests.verify.random_cells import cells
from tests.verify.random_nodes import shaped_cells

pytestmark = needs_compiler

ROOT = Path(__file__).parents[2]
KEPT = keep.Project.here(ROOT).listed
NETWORKS = ("lstm --layers 2", "gru --bidirectional", "lstm --masked", "rnn --layers 2 --bidirectional --masked")
OF_FAST_LOOPS = {"dot", "inner", "reversed"}
"""Operations that the fast policy alone makes."""


_cache = own_cache


def test_every_operation_and_function_has_its_c() -> None:
    """A new node has one entry here, too."""
    known = {*ELEMENTWISE, *PLAIN, *BOUND, *PRODUCTS, *VECTORS, "empty"}
    assert set(OPERATIONS) - known == OF_FAST_LOOPS - {"reversed"}
    assert set(CALLED) == {*VECTOR_FUNCTIONS, *LANE_FUNCTIONS}


@pytest.mark.parametrize("words", [*KEPT, *NETWORKS])
def test_a_c_kernel_computes_what_numpy_does(words: str, tmp_path: Path) -> None:
    """Sizes that no vector divides, and some that one does; one example, no step."""
    one, other = c_and_numpy(build(words), tmp_path)
    for T, B, D, H in ((5, 3, 5, 6), (3, 1, 2, 3), (4, 7, 33, 17), (2, 16, 8, 32), (0, 2, 3, 4)):
        hold(one, other, call_for(other, T, B, D=D, H=H))
    hold(one, other, call_for(other, 4, 5, D=7, H=19), np.float32)


@pytest.mark.parametrize("name", ODD)
def test_a_c_kernel_of_an_odd_cell(name: str, tmp_path: Path) -> None:
    hold_cell(odd_cell(name), tmp_path)


@pytest.mark.parametrize("name", SHAPED)
def test_a_c_kernel_of_numbers_and_matrices(name: str, tmp_path: Path) -> None:
    hold_cell(shaped_cell(name), tmp_path)


def hold_cell(cell: Cell, folder: Path) -> None:
    one, other = c_and_numpy(cell, folder)
    hold(one, other, call_for(other))
    hold(one, other, call_for(other, T=1, B=1, seed=1))


PAGES = [
    (name, title) for name in ("004_networks.md", "002_networks.md", "attention.md", "characters.md") for title in titles(name)
]


@pytest.mark.parametrize(("name", "title"), PAGES)
def test_a_c_kernel_of_a_network(name: str, title: str, tmp_path: Path) -> None:
    """Tokens, losses, sums over steps, attention, two axes."""
    one, other = c_and_numpy(page(name).cell(title).cell, tmp_path)
    with np.errstate(all="ignore"):
        hold(one, other, call_for(other))


PARTS, OF_EACH = (25, 20) if THOROUGH else (1, 4)
"""500 random cells in the thorough run."""


@pytest.mark.parametrize("part", range(PARTS))
def test_c_kernels_of_random_cells(part: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    @seed(part)
    @settings(max_examples=OF_EACH, derandomize=False, database=None)
    @given(st.one_of(cells(), shaped_cells()))
    def hold_one(cell: Cell) -> None:
        one, other = c_and_numpy(cell, tmp_path_factory.mktemp("kernel"))
        with np.errstate(all="ignore"):
            hold(one, other, call_for(other, T=3, B=2))

    hold_one()


# ---- values and faults


def test_nan_inf_and_saturation_go_where_numpy_sends_them(tmp_path: Path) -> None:
    one, other = c_and_numpy(build("lstm --peephole"), tmp_path)
    for value in (np.nan, np.inf, -np.inf, 1e4, -1e4):
        call = call_for(other, 4, 3)
        call.inputs["x"][1, 2, 0] = value
        with np.errstate(all="ignore"):
            hold(one, other, call)


def test_planted_faults_of_the_text_are_seen(tmp_path: Path) -> None:
    """A factor, a sign and an index of the C text, each changed alone."""
    path = written(build("lstm"), tmp_path)
    text = path.with_suffix("").with_name("kernel.c").read_text(encoding="utf-8")
    _, other = c_and_numpy(build("lstm"), tmp_path)
    for right, wrong in (
        ("d_o * o * (R(1) - o)", "d_o * o * (R(1) + o)"),
        ("f * c_prev + i * c_tilde", "f * c_prev - i * c_tilde"),
        ("for (ptrdiff_t t = T - 1; t >= 0", "for (ptrdiff_t t = T - 1; t > 0"),
    ):
        assert text.count(right) == 1, right
        changed = text.replace(right, wrong)
        (tmp_path / "kernel.c").write_text(changed, encoding="utf-8")
        module = path.read_text(encoding="utf-8")
        sealed = re.sub(r'_SOURCE = "\w+"', f'_SOURCE = "{sha256(changed)}"', module)
        path.write_text(sealed, encoding="utf-8")
        with pytest.raises(AssertionError):
            hold(loaded(path), other, call_for(other))


def sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


# ---- the module beside it


def test_the_text_is_the_same_every_time() -> None:
    derivation = derive(build("gru --reset after"))
    assert emit_c(derivation, "gru") == emit_c(derive(build("gru --reset after")), "gru")
    assert not re.search(r"/(tmp|home|root|usr)/", "".join(emit_c(derivation, "gru")))


def test_ten_processes_may_start_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds or makes the whole library; nothing else is left in the cache."""
    path = written(build("rnn"), tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {path.stem} as k, numpy as np; k._library(np.dtype(np.float64))"

    def start(_: int) -> int:
        return subprocess.run([sys.executable, "-c", script]).returncode

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(start, range(10))) == [0] * 10
    assert len(list((tmp_path / "cache" / "derive-kernels").iterdir())) == 1


def test_a_c_file_of_another_kernel_is_refused(tmp_path: Path) -> None:
    kernel = loaded(written(build("rnn"), tmp_path))
    (tmp_path / "kernel.c").write_text("int x;\n")
    call = call_for(kernel)
    with pytest.raises(RuntimeError, match="isn't the C kernel that this module was emitted with"):
        kernel.forward(call.parameters, call.inputs, call.state)
    (tmp_path / "kernel.c").unlink()
    with pytest.raises(RuntimeError, match="can't be read: expected the C kernel beside this module"):
        kernel.forward(call.parameters, call.inputs, call.state)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    kernel = loaded(written(build("rnn"), tmp_path))
    call = call_for(kernel).map(lambda array: array.astype(complex))
    with pytest.raises(ValueError, match="expected float32 or float64, got complex128"):
        kernel.forward(call.parameters, call.inputs, call.state)


def test_derive_writes_both_files_and_verifies_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", "--target", "c", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"rnn.c", "rnn_c.py"}
    said = capsys.readouterr().out
    assert "verified: emitted, hand-written" in said
    (sharpest,) = re.findall(r"worst (\S+) by the equations; chained differences \S+; central", said)
    assert float(sharpest) < 1e-13  # what decides the blocks, not what differences can tell
    for name in ("rnn.c", "rnn_c.py"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert keep.is_ours(text)
        assert keep.command_in(text) == "rnn --target c"
        assert keep.edited_part(text) == ""
        assert keep.edited_part(text + "\n") == "body"
    (tmp_path / "rnn.c").write_text("int mine;\n")
    assert main(["rnn", "--target", "c", "--no-verify", "--out", str(tmp_path)]) == 2
    assert (tmp_path / "rnn.c").read_text() == "int mine;\n"
    assert "wasn't emitted by this tool" in capsys.readouterr().err


def test_another_schedule_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnn", "--target", "c", "--schedule", "plain", "--out", str(tmp_path)]) == 2
    assert "such a kernel has a schedule of its own" in capsys.readouterr().err
