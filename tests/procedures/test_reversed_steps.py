"""Fast kernels of recurrences that run from the last step to the first: the textbook's numbers, over several blocks and no steps at all."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import FAST, compile_cell, derive
from derive.copies import Network
from derive.functions import function
from derive.language import Eq, matrix, sequence, vector
from derive.pages import read
from derive.recurrences import mirrored
from tests import arguments as args
from tests import bounds
from tests.arguments import SIZES, draw
from tests.kernels import kernel_of_cell
from tests.odd_cells import D, H
from tests.odd_cells import cell_of as cell_of_equations

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


def everything(kernel: ModuleType, T: int, B: int, dtype: type = np.float64) -> dict[tuple[str, ...], np.ndarray]:
    """Whatever a kernel computes of drawn arguments, twice with one workspace."""
    call, along = (
        draw(kernel, T=T, B=B, seed=seed, scale=0.5, sizes=SIZES | {"D_v": 3, "D_k": 2, "H_g": 3, "H_h": 5}).astype(dtype)
        for seed in (0, 1)
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


def test_a_weight_by_itself_and_beside_the_step_behind_has_its_gradients_in_order() -> None:
    """The gradient of w reads h at t+1 and the gradient of sigma(w), which is made of a sum over steps; hvp has the tangents of both."""
    x, h, w, W = sequence("x", D), sequence("h", H), vector("w", H), matrix("W", H, D)
    tanh, sigma, exp = map(function, ("tanh", "sigma", "exp"))
    cell = cell_of_equations(Eq(h, tanh(W @ x + w * h.prev)), Eq(sequence("y", H), tanh(h) * exp(sigma(w))))
    module = kernel_of_cell(Network(bidirectional=True, output="h").of(cell))
    call, along = draw(module, scale=0.5), draw(module, seed=1)
    worst, key = args.worst(args.hvp(module, call, along), args.hvp_by_complex_step(module, call, along))
    assert worst <= TOLERANCE, key


def test_what_is_made_of_numbers_alone_has_the_dtype_of_the_call() -> None:
    """The tangent of x - x with x held is 0 (1 - 1), whole numbers of Python."""
    x, z, h = sequence("x", D), sequence("z", H), sequence("h", H)
    W, U, V = matrix("W", H, D), matrix("U", H, H), matrix("V", H, H)
    sigma, tanh = function("sigma"), function("tanh")
    cell = cell_of_equations(Eq(z, sigma(W @ (x - x))), Eq(h, tanh(U @ h.prev + V @ z + W @ x)))
    for passes in ((), FAST):
        module = kernel_of_cell(Network(bidirectional=True).of(cell), passes)
        found = everything(module, 4, 3, np.float32)
        assert {key: array.dtype for key, array in found.items()} == dict.fromkeys(found, np.dtype(np.float32))


@pytest.mark.parametrize("words", WORDS[:2])
def test_the_mirror_image_of_a_mirror_image_is_the_program(words: str) -> None:
    program = derive(build(words)).backward
    again = mirrored(mirrored(program))
    assert {one.target: one for one in again.equations} == {one.target: one for one in program.equations}
    assert (again.given, again.results) == (program.given, program.results)


# ---- how it reads


def functions_of(words: str) -> dict[str, str]:
    """The text of each fast function of a kernel."""
    text = compile_cell(build(words))
    names = ("forward", "backward", "_tangents", "_gradients", "hvp")
    return {name: re.search(rf"^def {name}\(.*?(?=^def |^class )", text, re.MULTILINE | re.DOTALL)[0] for name in names}  # type: ignore[index]


@pytest.mark.parametrize("words", ["lstm --bidirectional", "gru --layers 2 --bidirectional"])
def test_names_say_in_which_order_the_steps_lie_and_which_copy_a_stack_is_of(words: str) -> None:
    for name, text in functions_of(words).items():
        assert not re.findall(r"^(?! +\w+_reversed = ).*\bm\.\w+_all\b[^,\n]*\[::-1\].*", text, re.MULTILINE), name
        turned = re.findall(r"^ +(\w+) = .*\[::-1\]$", text, re.MULTILINE)
        assert turned
        # what was reversed is in order once it is turned, and the reverse
        for array in turned:
            source = re.search(rf"^ +{array} = (.*)$", text, re.MULTILINE)[1]  # type: ignore[index]
            assert array.endswith("_reversed") != ("_reversed" in source), (name, array)
        commented = set(re.findall(r"# (\S+) = \[", text))
        assert not {one for one in commented if one in ("W_stack", "U_stack", "b_stack")}, name
        assert not re.findall(r"^ +(\w*_stack\w*_) = ", text, re.MULTILINE), name


@pytest.mark.parametrize("words", ["lstm --bidirectional", "gru --layers 2 --bidirectional"])
def test_no_loop_copies_what_it_could_write_or_read_where_it_lies(words: str) -> None:
    functions = functions_of(words)
    for name in ("forward", "backward"):
        body = functions[name]
        assert not re.findall(r"^ {12}\w+\[\.\.\.\] = \w+$", body, re.MULTILINE), name
        assert not re.search(r"m\.d_h(_\d)?_(all|reversed|out)\b.* = m\.cotangent", body)
    assert "m.h_out" not in functions["forward"]
    assert '"h": m.h_all' in functions["forward"]


def test_an_output_without_a_copy_shares_no_memory_with_the_tape() -> None:
    kernel = kernel_of_cell(build("gru --layers 2 --bidirectional"))
    call = draw(kernel, T=5, B=3)
    outputs, tape = kernel.forward(*call.groups())
    held = [array for array in vars(tape).values() if isinstance(array, np.ndarray)]
    assert len(held) > 10
    assert not [name for name, array in outputs.items() if any(np.shares_memory(array, one) for one in held)]
