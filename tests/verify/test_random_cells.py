"""Random cells are derived, emitted and verified; one that fails is printed as equations that can be derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sympy as sp
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from derive.blocks import stack
from derive.cell import Cell
from derive.comparisons import maximum, minimum
from derive.compiler import FAST, emit
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.reductions import inner, softmax, total
from tests.odd_cells import ODD, D, H, cell_of, h, x
from tests.odd_cells import cell as odd_cell
from tests.profiles import THOROUGH, thorough
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell
from tests.verify.random_cells import cells
from tests.verify.random_nodes import shaped_cells
from verify.data import ORDINARY, SHORT
from verify.examination import check
from verify.kernel import load_text
from verify.model import model_of

PARTS, OF_EACH = (50, 50) if THOROUGH else (1, 6)
"""How many cells go each way, plain and scheduled, in parts that run side by side. The cells are the same in every run."""


DATA = (ORDINARY, replace(SHORT, steps=12))


def held(cell: Cell, passes: tuple[str, ...]) -> None:
    model = model_of(cell)
    kernel = load_text(emit(model.derivation, passes), "random.py")
    report = check(kernel, model, name="random", quick=True, regimes=DATA)
    assert report.passed, "\n".join([model.latex(), *report.faults()])


def hold_part(part: int, passes: tuple[str, ...]) -> None:
    """The cells that are drawn from one seed."""

    @seed(part)
    @settings(max_examples=OF_EACH, derandomize=False, database=None)
    @given(st.one_of(cells(), shaped_cells()))
    def hold(cell: Cell) -> None:
        held(cell, passes)

    hold()


@pytest.mark.parametrize("part", range(PARTS))
def test_every_random_cell_is_derived_emitted_and_verified(part: int) -> None:
    hold_part(part, ())


@pytest.mark.parametrize("part", range(PARTS))
def test_every_random_cell_is_scheduled_and_verified(part: int) -> None:
    hold_part(PARTS + part, FAST)


@pytest.mark.parametrize("name", [name if k % 2 else thorough(name) for k, name in enumerate(ODD)])
def test_every_odd_cell_is_verified(name: str) -> None:
    held(odd_cell(name), FAST)


@pytest.mark.parametrize("name", [name if k % 8 == 1 else thorough(name) for k, name in enumerate(SHAPED)])
def test_every_cell_of_numbers_and_matrices_is_verified(name: str) -> None:
    held(shaped_cell(name), FAST)


# ---- cells of the thorough run that a verifier without these cares refused though they are right

sigma, tanh, sin, gelu = (function(name) for name in ("sigma", "tanh", "sin", "gelu"))
c, m = sequence("c", H), sequence("m", H)
W_0, W_1, W_2 = matrix("W_0", H, D), matrix("W_1", H, H), matrix("W_2", D + H, H)


def cancelling() -> Cell:
    """W h - W h: the tangent is a rounding error and nothing else."""
    return cell_of(
        Eq(h, sigma(W_0 @ x + W_1 @ h.prev + W_1 @ c.prev)),
        Eq(c, sigma(c.prev) * c.prev + (1 - sigma(c.prev)) * sigma(W_1 @ h.prev - W_1 @ h.prev)),
    )


def squaring() -> Cell:
    """tanh(h ∘ h): the gradient of the initial state underflows in a dozen steps."""
    return cell_of(Eq(m, sigma(W_0 @ x + W_1 @ h.prev)), Eq(h, tanh(h.prev * h.prev)))


def curved() -> Cell:
    """Third derivatives so large that central differences at one step have five digits, and float32 three."""
    g = sequence("g", H)
    return cell_of(Eq(g, gelu(3 * (W_2.T @ stack(h.prev, x)))), Eq(h, sin(W_1 @ h.prev - 2 * g + vector("b", H))))


def rough() -> Cell:
    """sin(3 h) over and over: the loss is large and the gradient of a gate beside it small, below what a quotient resolves."""
    return cell_of(
        Eq(m, sigma(sigma(W_1 @ h.prev - W_0 @ x))),
        Eq(h, sin(3 * h.prev)),
        Eq(c, sigma(h.prev) * c.prev + (1 - sigma(h.prev)) * sin((W_1 @ m) * tanh(W_0 @ x))),
    )


def bursting() -> Cell:
    """A state that is squared at each step: on a dozen steps every draw ends beyond float64."""
    softplus = function("softplus")
    return cell_of(Eq(c, softplus(h.prev * h.prev + W_0 @ x)), Eq(h, tanh(sigma(W_1 @ h.prev) - 2 * c) * c + h.prev))


def free_size() -> Cell:
    """A size that one matrix alone has: any is right. And a state so sensitive that differences at one step have three digits."""
    g, y, V = sequence("g", H), sequence("y", dimension("K")), matrix("V", H, dimension("K"))
    return cell_of(
        Eq(m, sigma(W_0 @ x + W_1 @ h.prev)),
        Eq(g, function("cos")(3 * h.prev)),
        Eq(h, sin(4 * g + vector("b", H))),
        Eq(y, tanh(V.T @ h)),
    )


def hidden() -> Cell:
    """A tanh inside whose slope has lost its digits: no output shows how saturated it is."""
    g, p, q = sequence("g", H), sequence("p", H), sequence("q", H)
    W_4, W_5, b_3 = matrix("W_4", H, H), matrix("W_5", H, H), vector("b_3", H)
    return cell_of(
        Eq(p, tanh(W_0 @ x + W_1 @ h.prev)),
        Eq(g, tanh(3 * (W_1.T @ h.prev) + W_4 @ p + b_3)),
        Eq(q, function("relu")(W_4.T @ h.prev + (1 - W_5 @ g) * g)),
        Eq(h, sigma(g) * h.prev + (1 - sigma(g)) * sigma(vector("p_6", H) * (W_1 @ q))),
    )


def hidden_root() -> Cell:
    """tanh of more than 4: float32 has four digits of its slope."""
    g, p, u = sequence("g", H), sequence("p", H), W_0 @ x + W_1.T @ h.prev
    root, V, v = function("sqrt"), matrix("V", H, D), W_1 @ p + vector("b_5", H)
    return cell_of(
        Eq(p, tanh(u + matrix("W_2", H, D) @ x)),
        Eq(g, root((V @ x) * (V @ x) + 1)),
        Eq(h, sigma(g) * h.prev + (1 - sigma(g)) * tanh(root(v * v + 1) + 3 * g)),
        Eq(sequence("y", D), softmax(matrix("W_6", H, D).T @ h + vector("b_7", D))),
    )


def absorbed() -> Cell:
    """1 - cos of a state that becomes 0 that way: its gradient does too, long before float64 underflows."""
    g, p, cos = sequence("g", H), sequence("p", H), function("cos")
    W_3, V = matrix("W_3", H, H), matrix("V", H, D)
    return cell_of(
        Eq(p, tanh(W_0 @ x + W_1 @ h.prev + W_3 @ c.prev)),
        Eq(g, cos(h.prev * (V @ x))),
        Eq(h, tanh((1 - g) * p)),
        Eq(c, tanh((W_3.T @ p) * c.prev) * c.prev + sp.Rational(1, 2) * c.prev),
    )


def kinked() -> Cell:
    """A state that a ReLU makes exactly 0, and that the next one reads: its slope there is a matter of convention."""
    p = sequence("p", H)
    return cell_of(Eq(h, tanh(W_0 @ x + m.prev)), Eq(p, function("relu")(m.prev + (1 - m.prev) * m.prev)), Eq(m, sin(p)))


def vanishing() -> Cell:
    """tanh(h ∘ W h): at one lag the gradient is neither 0 nor a number that float64 has digits of."""
    K = dimension("K")
    return cell_of(
        Eq(sequence("g_0", H), sigma(W_0 @ x + W_1 @ h.prev)),
        Eq(h, tanh(h.prev * (matrix("W_2", H, 2 * H) @ stack(h.prev, h.prev)))),
        Eq(sequence("y", K), softmax(matrix("W_3", K, H) @ h + vector("b_4", K))),
    )


def largest_of_two() -> Cell:
    """A largest of two that is what no state reaches: how its gradient moves is a rounding error and nothing else."""
    n, k, U = sequence("n", dimension("K")), sequence("k", dimension("K")), matrix("U", dimension("K"), H)
    W = matrix("W", dimension("K"), D)
    return cell_of(
        Eq(k, W @ x + U @ h.prev),
        Eq(h, tanh(maximum(U.T @ n.prev, W_0 @ x))),
        Eq(n, sigma(minimum(U @ h, matrix("V", dimension("K"), H) @ h.prev))),
        Eq(sequence("y", dimension("K"), H), tanh(k @ h.prev.T)),
    )


def unsettled() -> Cell:
    """A state whose size no parameter and no input has: a run can't start without it."""
    n = sequence("n", dimension("K"))
    return cell_of(Eq(h, tanh(W_0 @ x + total(n.prev))), Eq(n, sigma(n.prev) * inner(h, h) / 9))


RIGHT = [
    largest_of_two,
    unsettled,
    cancelling,
    squaring,
    curved,
    rough,
    bursting,
    free_size,
    hidden,
    hidden_root,
    absorbed,
    kinked,
    vanishing,
]


@pytest.mark.parametrize("cell", RIGHT, ids=lambda cell: cell.__name__)
def test_a_right_kernel_is_not_refused(cell: Callable[[], Cell]) -> None:
    held(cell(), FAST)
