"""Fast kernels of recurrences that run from the last step to the first: the textbook's numbers, over several blocks and no steps at all."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import derive
from derive.pages import read
from derive.recurrences import mirrored
from tests import bounds
from tests.arguments import SIZES, draw
from tests.kernels import kernel_of_cell

WORDS = (
    "rnn --bidirectional",
    "lstm --peephole diagonal --bidirectional",
    "gru --bidirectional --masked",
    "gru --reset after --layers 2 --bidirectional",
)
PAGES = {
    "to the left alone": "$$h_t = \\tanh(W x_t + U h_{t+1} + b)$$\n$$y_t = V h_t$$",
    "one upon the other": "$$h_t = \\tanh(W x_t + U h_{t-1})$$\n$$g_t = \\sigma(A h_t + C g_{t+1}) \\odot h_t$$\n$$y_t = V [g_t; h_t]$$",
    "a neighbour in one of the other way": "$$g_t = \\tanh(W x_t + U g_{t+1})$$\n$$h_t = \\tanh(V h_{t-1} + A g_{t+1})$$",
    "a matrix to the left": "$$C_t = f_t C_{t+1} + v_t k_t^\\top$$\n$$h_t = \\tanh(C_t q_t)$$\nf = number",
}
# Both sides are float64 and differ in the order of their sums: 9 steps of two layers and their tangents, at most 12 matrices of 7 columns.
TOLERANCE = bounds.rounded(bounds.of_recurrence(steps=2 * 9, batch=40, fan_in=12 * 7))


def on_page(text: str) -> Cell:
    return read(Path("page.md"), text=text).cells[0].cell


def cell_of(which: str) -> Cell:
    if which in PAGES:
        return on_page(PAGES[which])
    return build(which)


def everything(kernel: ModuleType, T: int, B: int) -> dict[tuple[str, ...], np.ndarray]:
    """Whatever a kernel computes of drawn arguments, twice with one workspace."""
    call, along = (
        draw(kernel, T=T, B=B, seed=seed, scale=0.5, sizes=SIZES | {"D_v": 3, "D_k": 2, "H_g": 3, "H_h": 5}) for seed in (0, 1)
    )
    workspace = kernel.Workspace()
    for _ in range(2):
        outputs, tape = kernel.forward(*call.groups(), workspace=workspace)
        gradients = kernel.backward(call.parameters, tape, call.cotangents, workspace=workspace)
    found = {("output", name): array for name, array in outputs.items()}
    found |= {("tangent", name): array for name, array in kernel.jvp(*call.groups(), *along.groups()).items()}
    jacobian = kernel.step_jacobian(call.parameters, tape)
    found |= {("jacobian", name): array for name, array in (jacobian if isinstance(jacobian, dict) else {"": jacobian}).items()}
    for kind, one in (("gradient", gradients), ("moved", kernel.hvp(*call.groups(), call.cotangents, *along.groups()))):
        for group in ("parameters", "inputs", "state"):
            found |= {(kind, group, name): array for name, array in getattr(one, group).items()}
    return found


@pytest.mark.parametrize("which", [*WORDS, *PAGES])
@pytest.mark.parametrize(("T", "B"), [(9, 40), (4, 3), (1, 1), (0, 2)])
def test_the_fast_policy_computes_what_the_textbook_computes(which: str, T: int, B: int) -> None:
    fast, textbook = kernel_of_cell(cell_of(which)), kernel_of_cell(cell_of(which), ())
    assert hasattr(fast, "_Forward")
    assert not hasattr(textbook, "_Forward")
    found, expected = everything(fast, T, B), everything(textbook, T, B)
    assert {key: array.shape for key, array in found.items()} == {key: array.shape for key, array in expected.items()}
    for key, array in expected.items():
        largest = max(np.linalg.norm(other) for other_key, other in expected.items() if other_key[0] == key[0])
        assert np.linalg.norm(found[key] - array) <= TOLERANCE * max(np.linalg.norm(array), 1e-3 * largest), key


@pytest.mark.parametrize("words", WORDS[:2])
def test_the_mirror_image_of_a_mirror_image_is_the_program(words: str) -> None:
    program = derive(build(words)).backward
    again = mirrored(mirrored(program))
    assert {one.target: one for one in again.equations} == {one.target: one for one in program.equations}
    assert (again.given, again.results) == (program.given, program.results)
