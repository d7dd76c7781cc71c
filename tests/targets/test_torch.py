"""Kernels in PyTorch compute what NumPy's do; their layer is what autograd, its checkers and its tools take it for."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import emit, emit_torch
from derive.derivation import derive
from derive.procedures.procedure import OPERATIONS
from derive.targets.numpy.functions import CALLED as IN_NUMPY
from derive.targets.torch.expressions import PRINTING
from derive.targets.torch.functions import CALLED
from tests.arguments import Call, hvp, jvp
from tests.example_pages import page
from tests.kernels import module_of
from tests.odd_cells import ODD
from tests.odd_cells import cell as odd_cell
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from tests.targets import c_kernels
from tests.targets.c_kernels import Blocks, call_for, hold
from tests.targets.test_c import KEPT, NETWORKS, PAGES
from verify.kernel import load_text

torch = pytest.importorskip("torch", reason="PyTorch isn't installed")


def everything(kernel: ModuleType, call: Call) -> Blocks:
    """Outputs, gradients, tangents, second order and step Jacobians by name."""
    rng = np.random.default_rng(1)
    direction = call.map(lambda array: np.asarray(rng.standard_normal(array.shape)).astype(array.dtype))
    direction.inputs = {name: direction.inputs[name] for name in kernel.INPUTS}
    found = c_kernels.results(kernel, call)
    found |= {("jvp", name): array for name, array in jvp(kernel, call, direction).items()}
    found |= {("hvp", name): array for name, array in hvp(kernel, call, direction).items()}
    _, tape = kernel.forward(*call.groups())
    jacobian = kernel.step_jacobian(call.parameters, tape)
    return found | {("J", name): array for name, array in (jacobian if isinstance(jacobian, dict) else {"": jacobian}).items()}


def torch_and_numpy(cell: Cell) -> tuple[ModuleType, ModuleType]:
    """(the kernel in PyTorch as one of NumPy arrays, the textbook's in NumPy)."""
    derivation = derive(cell)
    return load_text(emit_torch(derivation), "kernel_torch.py"), module_of(emit(derivation, ()))


def test_every_operation_and_function_has_its_text() -> None:
    """A new node has one entry here, too."""
    assert set(PRINTING) == set(OPERATIONS)
    assert set(CALLED) == set(IN_NUMPY)


@pytest.mark.parametrize("words", [*KEPT, *NETWORKS])
def test_it_computes_what_numpy_does(words: str) -> None:
    one, other = torch_and_numpy(build(words))
    for T, B, D, H in ((5, 3, 5, 6), (3, 1, 2, 3), (0, 2, 3, 4)):
        hold(one, other, call_for(other, T, B, D=D, H=H), results=everything)
    hold(one, other, call_for(other, 4, 5, D=7, H=9), np.float32, results=everything)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_cell(name: str) -> None:
    hold_cell(odd_cell(name))


@pytest.mark.parametrize("name", SHAPED)
def test_numbers_and_matrices(name: str) -> None:
    hold_cell(shaped_cell(name))


@pytest.mark.parametrize(("name", "title"), PAGES)
def test_a_network(name: str, title: str) -> None:
    """Tokens, losses, sums over steps, attention, two axes."""
    hold_cell(page(name).cell(title).cell)


def hold_cell(cell: Cell) -> None:
    one, other = torch_and_numpy(cell)
    with np.errstate(all="ignore"):
        hold(one, other, call_for(other), results=everything)
        hold(one, other, call_for(other, T=1, B=1, seed=1), results=everything)
