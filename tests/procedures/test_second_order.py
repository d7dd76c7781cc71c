"""hvp of the fast policy: the textbook's numbers, over several blocks of steps, and what stands in its loops."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests import bounds
from tests.arguments import draw
from tests.kernels import kernel_of, kernel_of_cell, text_of
from tests.odd_cells import cell

CELLS = ("lstm --peephole", "gru", "gru --reset after")
ODD = ("readout", "constant_state", "nothing_left", "nothing_to_learn", "untimed_parts", "input_remembered", "no_states")

# Both sides are float64 and differ in the order of their sums: of 20 steps with their tangents, at most 12 matrices of 6 columns each.
TOLERANCE = bounds.rounded(bounds.of_recurrence(steps=2 * 20, batch=40, fan_in=2 * 12 * 6))


def both(name: str) -> tuple[Any, Any]:
    """(the fast kernel, the textbook's)."""
    if name in ODD:
        return kernel_of_cell(cell(name)), kernel_of_cell(cell(name), ())
    return kernel_of(name), kernel_of(name, ())


def blocks(gradients: Any) -> dict[str, np.ndarray]:
    groups = {"parameters": gradients.parameters, "inputs": gradients.inputs, "state": gradients.state}
    return {f"{group} {name}": array for group, found in groups.items() for name, array in found.items()}


def seconds(kernel: Any, T: int, B: int, change: Any = np.asarray) -> dict[str, np.ndarray]:
    call, direction = (draw(kernel, T=T, B=B, seed=seed).map(change) for seed in (0, 1))
    return blocks(kernel.hvp(*call.groups(), call.cotangents, *direction.groups()))


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    assert {n: (a.shape, a.dtype) for n, a in got.items()} == {n: (a.shape, a.dtype) for n, a in expected.items()}
    largest = max((np.linalg.norm(block) for block in expected.values()), default=0.0)
    for name, block in expected.items():
        assert np.linalg.norm(got[name] - block) <= tolerance * max(np.linalg.norm(block), 1e-3 * largest, 1e-12), name


@pytest.mark.parametrize("name", [*CELLS, *ODD])
@pytest.mark.parametrize(("T", "B"), [(20, 40), (3, 1), (0, 2)])
def test_the_fast_policy_computes_what_the_textbook_computes(name: str, T: int, B: int) -> None:
    # with 40 examples a block has 3 steps, so that 20 steps are 7 blocks
    fast, textbook = both(name)
    assert_same(seconds(fast, T, B), seconds(textbook, T, B), TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_complex_and_strided_arguments_give_the_same(name: str) -> None:
    fast, textbook = both(name)
    for change in (lambda array: array * (1 + 0.5j), np.asfortranarray, lambda array: np.repeat(array, 2, axis=-1)[..., ::2]):
        assert_same(seconds(fast, 5, 3, change), seconds(textbook, 5, 3, change), TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_float32_stays_float32(name: str) -> None:
    fast, _ = both(name)
    single, double = seconds(fast, 5, 3, np.float32), seconds(fast, 5, 3)
    ratio = np.finfo(np.float32).eps / np.finfo(float).eps
    assert_same(single, {name: block.astype(np.float32) for name, block in double.items()}, TOLERANCE * ratio)


@pytest.mark.parametrize("name", CELLS)
def test_no_loop_multiplies_by_the_tangent_of_a_matrix(name: str) -> None:
    text = text_of(name)
    for function in ("_tangents", "_gradients", "hvp"):
        (body,) = re.findall(rf"^def {function}\(.*?(?=^def |^class )", text, re.MULTILINE | re.DOTALL)
        calls = re.findall(r"^ {12}dot\(.*", body, re.MULTILINE)  # what stands in blocks of steps is indented by 8
        assert calls
        assert not [line for line in calls if re.search(r"\bdot_[A-Z]", line)]
