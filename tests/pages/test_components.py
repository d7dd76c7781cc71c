"""Sums over components mean what `einsum` makes of them; what may be an index and a name is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from derive.pages import PageError, read
from verify.interpreter import Evaluator, floats

# formula of `y`, with free letters as `einsum` has them -> (the operands, the letters)
PRODUCTS = {
    r"\sum_j W_{ij} x_{t,j}": ("Wx", "ij,j->i"),
    r"\sum_j x_{t,j} R_{ji}": ("xR", "j,ji->i"),
    r"\sum_{j} W_{ij} x_{t,j} u_{t,j}": ("Wxu", "ij,j,j->i"),
    r"\sum_{j} W_{ij} v_{t,i} x_{t,j}": ("Wvx", "ij,i,j->i"),
    r"\sum_{j=1}^{D} \sum_{k=1}^{N} W_{ij} R_{jk} z_{t,k}": ("WRz", "ij,jk,k->i"),
    r"\sum_{j,k} R_{jk} z_{t,k} W_{ij} u_{t,j}": ("RzWu", "jk,k,ij,j->i"),
    r"v_{t,i} \sum_j x_{t,j} u_{t,j}": ("vxu", "i,j,j->i"),
    r"\sum_j x_{t,j} u_{t,j} W_{ij}^2": ("xuWW", "j,j,ij,ij->i"),
    r"\sum_j \left( W_{ij} + A_{ij} \right) x_{t,j}": ("sum", "W+A"),
    r"\sum_k \left( \sum_j W_{kj} x_{t,j} \right) B_{ki}": ("WxB", "kj,j,ki->i"),
}
NUMBERS = {
    r"\sum_j x_{t,j} u_{t,j}": ("xu", "j,j->"),
    r"\sum_j x_{t,j}": ("x", "j->"),
    r"\sum_i \sum_j v_{t,i} W_{ij} x_{t,j}": ("vWx", "i,ij,j->"),
    r"\sum_i \sum_j \sum_k v_{t,i} W_{ij} R_{jk} z_{t,k}": ("vWRz", "i,ij,jk,k->"),
    r"\sum_j x_{t,j}^2 u_{t,j}": ("xxu", "j,j,j->"),
    r"\sum_i v_{t,i} \sum_j x_{t,j}": ("vx", "i,j->"),
    r"\sum_j x_{t,j} \sum_i W_{ij} v_{t,i}": ("xWv", "j,ij,i->"),
}
MATRICES = {
    r"\sum_j W_{ij} x_{t,j} R_{jk}": ("WxR", "ij,j,jk->ik"),
    r"\sum_j W_{ij} R_{jk}": ("WR", "ij,jk->ik"),
    r"v_{t,i} \sum_j W_{ij} x_{t,j} R_{jk} z_{t,k}": ("vWxRz", "i,ij,j,jk,k->ik"),
    r"z_{t,k} \sum_j W_{ij} x_{t,j}": ("zWx", "k,ij,j->ik"),
}
SIZES = {"H": 5, "D": 3, "N": 2}
SHAPES = {"W": "HD", "A": "HD", "B": "HH", "R": "DN", "x": "D", "u": "D", "v": "H", "z": "N"}


def values():
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal([SIZES[size] for size in shape]) for name, shape in SHAPES.items()}


def cell_of(left, formula, more=""):
    text = rf"$${left} = {formula}$$ $$h_t = v_t + h_{{t-1}} {more}$$"
    names = [name for name in SHAPES if f"{name}_" in formula] + ["v"]
    dims = {name: ", ".join(SHAPES[name]) for name in names}
    return read("page.md", text=text, dims=dims).cells[0].cell


def evaluated(cell, name, given):
    """The right side that defines a name, on arrays of one example."""
    right = next(right for target, right in cell.equations if target.name == name)
    env = {value: array(given[value.name]) for value in cell.reads if value.name in given}
    return np.asarray(Evaluator(floats(), SIZES)(right, env), float).reshape(-1)


def array(given):
    return given.reshape(given.shape[0], -1)


@pytest.mark.parametrize("formula", PRODUCTS)
def test_a_sum_with_a_free_index_is_what_einsum_makes_of_it(formula):
    operands, letters = PRODUCTS[formula]
    given = values()
    cell = cell_of("y_{t,i}", formula)
    if operands == "sum":
        expected = (given["W"] + given["A"]) @ given["x"]
    else:
        expected = np.einsum(letters, *[given[name] for name in operands])
    # sums of at most 30 products of numbers of size 3: rounding below 30 * 9 * 2^-53
    np.testing.assert_allclose(evaluated(cell, "y", given), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("formula", MATRICES)
def test_a_sum_with_two_free_indices_is_a_matrix(formula):
    operands, letters = MATRICES[formula]
    given = values()
    expected = np.einsum(letters, *[given[name] for name in operands])
    for left, matrix in (("Y_{t,ik}", expected), ("Y_{t,ki}", expected.T)):
        np.testing.assert_allclose(evaluated(cell_of(left, formula), "Y", given), matrix.reshape(-1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("formula", NUMBERS)
def test_a_sum_over_all_indices_is_one_number(formula):
    operands, letters = NUMBERS[formula]
    given = values()
    cell = cell_of("y_t", formula)
    assert next(target for target, _ in cell.equations if target.name == "y").shape == (1, 1)
    np.testing.assert_allclose(evaluated(cell, "y", given), np.einsum(letters, *[given[n] for n in operands]), rtol=0, atol=1e-13)


def test_components_of_a_matrix_are_those_of_its_definition():
    text = r"$$C_{t,ij} = C_{t-1,ji} + v_{t,i} k_{t,j}$$ $$y_{t,i} = \sum_j C_{t,ji} q_{t,j}$$"
    assert read("page.md", text=text).cells[0].reading.equations == ("Cₜ = Cₜ₋₁ᵀ + vₜ kₜᵀ", "yₜ = Cₜᵀ qₜ")


def test_a_sum_takes_the_rest_of_its_term_and_no_more():
    text = r"$$y_t = \sum_j x_{t,j} u_{t,j} / 2 - s_t \sum_j x_{t,j} + 1$$ $$s_t = \sum_k x_{t,k}^2$$ $$h_t = x_t + h_{t-1}$$"
    assert read("page.md", text=text).cells[0].reading.equations[0] == "yₜ = 0.5 xₜᵀ uₜ − sₜ ∘ (Σ xₜ) + 1"


def test_the_limit_of_a_sum_is_a_size():
    text = r"$$s_t = \frac{1}{n} \sum_{i=1}^{n} a_{t,i}$$ $$a_t = W x_t$$ $$h_t = a_t / s_t + h_{t-1}$$"
    rows = {row.symbol: row.shape for row in read("page.md", text=text).cells[0].reading.rows}
    assert (rows["s"], rows["a"], rows["W"]) == ((), ("n",), ("n", "D"))


def test_a_size_of_the_page_is_no_size_of_anything_else():
    """H is what x has, so that the state isn't called so too."""
    text = r"$$m_t = \frac{1}{H} \sum_{i=1}^{H} x_{t,i}$$ $$h_t = \tanh(m_t w + U h_{t-1})$$"
    rows = {row.symbol: row.shape for row in read("page.md", text=text, let={"w": "vector"}).cells[0].reading.rows}
    assert rows["x"] == ("H",)
    assert rows["h"] != ("H",)


LETTERS = {
    "gates by letters beside a sum over one of them": (
        r"$$i_t = \sigma(W_i x_t + b_i), \quad f_t = \sigma(W_f x_t)$$ $$s_t = \sum_i c_{t-1,i}$$ $$c_t = f_t c_{t-1} + i_t x_t / s_t$$",
        ("iₜ = σ(W_i xₜ + b_i)", "fₜ = σ(W_f xₜ)", "sₜ = Σ cₜ₋₁", "cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ xₜ / sₜ"),
    ),
    "directions by letters": (
        r"$$h_{f,t} = \tanh(W_f x_t + U_f h_{f,t-1})$$ $$h_{b,t} = \tanh(W_b x_t + U_b h_{b,t-1})$$ $$y_t = V h_{f,t} + R h_{b,t}$$",
        ("h_fₜ = tanh(W_f xₜ + U_f h_fₜ₋₁)", "h_bₜ = tanh(W_b xₜ + U_b h_bₜ₋₁)", "yₜ = V h_fₜ + R h_bₜ"),
    ),
    "a component below a bracket": (
        r"$$h_{t,i} = \tanh([W x_t]_i + (U h_{t-1})_i)$$",
        ("hₜ = tanh(W xₜ + U hₜ₋₁)",),
    ),
    "a component of a function of all elements": (
        r"$$a_{t,i} = \operatorname{softmax}(W x_t + U a_{t-1})_i$$",
        ("aₜ = softmax(W xₜ + U aₜ₋₁)",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LETTERS)
def test_a_letter_is_an_index_or_a_name_as_it_stands(name):
    text, expected = LETTERS[name]
    assert read("page.md", text=text).cells[0].reading.equations == expected


ASKED = {
    r"$$y_t = \sum_j x_{t,j} u_{t,k}$$": "`u_{t,k}` stands without the index j",
    r"$$h_t = h_{t-1} + \sum_j W_{ij} x_{t,j}$$": "`W_{ij}` carries the index j in `ij`",
    r"$$h_t = h_{t-1} + \sum_j W_{jj} x_{t,j}$$": "the index j j isn't read",
    r"$$h_t = h_{t-1} + x_t \odot \operatorname{softmax}_j(x_{t,j})$$": "`h_t` has no index",
    r"$$h_t = h_{t-1} + x_t \sum_{j=2}^{H} x_{t,j}$$": "the limits of `\\sum_{j=2}^{H}` aren't read",
    r"$$h_t = h_{t-1} + x_t \sum_{j=1}^{4} x_{t,j}$$": "the limits of",
    r"$$h_t = h_{t-1} + x_t \sum_{j}$$": "is applied to nothing",
    r"$$h_t = h_{t-1} + \sum_{j=1}^{N} x_{t,j} x_t + N u_t$$": "`N` is the size of what is summed, and stands as a factor",
    r"$$h_t = h_{t-1} + \langle x_t \rangle$$": "expected a mean, or a bracket",
    r"$$s_t = \sum_j x_{t,j}, \quad h_t = x_{t,j} h_{t-1}$$": "carries the index j, which no sum binds",
    r"$$s_t = \sum_j x_{t,j} + y_{t,j}, \quad h_t = s_t h_{t-1} + x_t$$": "`y_{t,j}` carries the index j, which no sum binds",
    r"$$h_{t,i} = \sum_j W_{ij} x_{t,j} + b_t$$ $$b_t = V x_t$$": "stands without the index i",
}


@pytest.mark.parametrize("text", ASKED)
def test_an_index_that_says_nothing_for_certain_is_asked_about(text):
    with pytest.raises(PageError) as caught:
        read("page.md", text=text)
    assert ASKED[text] in str(caught.value)
