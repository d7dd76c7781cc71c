"""The page with the LSTM of the ADBench and GradBench suites, against its definition written out and differentiated by complex steps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from derive.cell import Cell
from derive.compiler import emit
from derive.derivation import derive
from derive.sources import cells_of
from tests.kernels import module_of
from tests.targets.c_kernels import loaded, needs_compiler, own_cache, written

Array = np.ndarray
_cache = own_cache

PAGE = Path(__file__).parents[2] / "examples" / "pages" / "adbench.md"
BITS, CHARACTERS = 5, 7
STEP = 1e-30


def the_cell(layers: int) -> Cell:
    return cells_of([str(PAGE), "--let", f"L={layers}"])[0]


def loss(main: Array, extra: Array, state: Array, text: Array) -> Array:
    """The objective of the suites for one text. Rows of `main` are in twos: a layer's weights and its biases; those of `state`: its hidden
    values and its memory. Each character is read with the states that the one before left; the next one's bits weigh the logarithms."""
    n = text.shape[1]
    states = [row.astype(main.dtype) for row in state]
    total = np.zeros((), main.dtype)
    for now, following in pairwise(text):
        signal = now * extra[0]
        for k in range(0, len(states), 2):
            pre = np.concatenate([signal, states[k], signal, states[k]]) * main[k] + main[k + 1]
            forget, enter, leave = (1 / (1 + np.exp(-pre[j * n : (j + 1) * n])) for j in range(3))
            states[k + 1] = states[k + 1] * forget + enter * np.tanh(pre[3 * n :])
            states[k] = leave * np.tanh(states[k + 1])
            signal = states[k]
        guess = signal * extra[1] + extra[2]
        total = total + (following * (guess - np.log(2 + np.exp(guess).sum()))).sum()
    return -total / (n * (len(text) - 1))


def by_complex_steps(main: Array, extra: Array, state: Array, text: Array) -> list[Array]:
    """The gradients of the loss to everything but the text, exact to rounding."""
    given = [main, extra, state]
    found = []
    for k, array in enumerate(given):
        gradient = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            moved = [one.astype(complex) for one in given]
            moved[k][at] += 1j * STEP
            gradient[at] = loss(*moved, text).imag / STEP
        found.append(gradient)
    return found


def named(main: Array, extra: Array, state: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """The suites' rows by the names of the page: (parameters, states)."""
    parameters = dict(zip(("w_x", "w_y", "b_y"), extra, strict=True))
    states = {}
    for layer in range(1, len(main) // 2 + 1):
        for letter, row in (("w", main[2 * layer - 2]), ("b", main[2 * layer - 1])):
            parameters |= {f"{letter}_{gate}_{layer}": part for gate, part in zip("fiog", np.split(row, 4), strict=True)}
        states |= {f"x_{layer}": state[2 * layer - 2][None], f"c_{layer}": state[2 * layer - 1][None]}
    return parameters, states


def hold(kernel: ModuleType, layers: int) -> None:
    """Loss and gradients of a kernel are those of the definition. Both are float64, the sums of a gradient are of some forty terms of
    either sign, and complex steps have no error of their own: 1e-12 is some thousand roundings."""
    rng = np.random.default_rng(layers)
    main, extra, state = rng.random((2 * layers, 4 * BITS)), rng.random((3, BITS)), rng.random((2 * layers, BITS))
    text = rng.integers(0, 2, (CHARACTERS, BITS)).astype(float)
    parameters, states = named(main, extra, state)
    assert parameters.keys() == kernel.PARAMETERS.keys()
    outputs, tape = kernel.forward(parameters, {"u": text[:-1, None], "u_next": text[1:, None]}, states)
    np.testing.assert_allclose(outputs["J"], [loss(main, extra, state, text)], rtol=1e-13)
    found = kernel.backward(parameters, tape, {"J": np.ones(1)})
    wanted, starts = named(*by_complex_steps(main, extra, state, text))
    for name, array in (wanted | starts).items():
        got = {**found.parameters, **found.state}[name]
        assert np.linalg.norm(got - array) <= 1e-12 * np.linalg.norm(array), name


@pytest.mark.parametrize("layers", [2, 4])
def test_the_gradient_is_that_of_the_definition(layers: int) -> None:
    hold(module_of(emit(derive(the_cell(layers)))), layers)


@needs_compiler
def test_in_c_too(tmp_path: Path) -> None:
    hold(loaded(written(the_cell(2), tmp_path)), 2)


@pytest.mark.parametrize(
    ("right", "wrong"), [("2 +", "1 +"), (r"\frac{1}{N T}", r"\frac{1}{T}"), ("x^{(\\ell-1)}_t + b_o", "x^{(\\ell)}_{t-1} + b_o")]
)
def test_a_page_that_says_something_else_is_seen(right: str, wrong: str) -> None:
    from derive.pages import read

    text = PAGE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    (one,) = read("adbench.md", text=text.replace(right, wrong)).cells
    with pytest.raises(AssertionError):
        hold(module_of(emit(derive(one.cell))), 2)
