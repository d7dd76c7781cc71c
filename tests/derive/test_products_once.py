"""A product that a page writes several times is computed once: normalisation written out, its mean and its variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import MatrixExpr

from derive.cell import Cell
from derive.compiler import compile_cell, derive
from derive.expressions import matrix_parts
from derive.language import Times, Value
from derive.pages import read
from derive.program import Program
from tests import arguments as args
from tests import bounds
from tests.arguments import draw
from tests.kernels import module_of

PRODUCT = r"W x_t + U h_{t-1}"
MEAN = rf"\mu_t = \frac{{1}}{{H}}\sum_{{i=1}}^{{H}} ({PRODUCT})_i"
WIDTH = rf"\sigma_t = \sqrt{{\frac{{1}}{{H}}\sum_{{i=1}}^{{H}} (({PRODUCT})_i - \mu_t)^2}}"
NORMALISED = r"\gamma \odot \frac{%s - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}} + \beta"
PAGES = {
    "a function of a product": rf"$$h_t = \tanh(\operatorname{{LN}}({PRODUCT}) + b)$$",
    "with gain and offset": rf"$$h_t = \tanh(\gamma \odot \operatorname{{LN}}({PRODUCT}) + \beta)$$",
    "written out": rf"$${MEAN}$$"
    "\n"
    rf"$${WIDTH}$$"
    "\n"
    rf"$$h_t = \tanh({NORMALISED % PRODUCT})$$",
    "one product in two functions": r"$$g_t = \sigma(W x_t)$$" "\n" r"$$h_t = \tanh(W x_t + U h_{t-1} + b) \odot g_t$$",
}
# Both are float64 and differ in the order of their sums: 9 steps and their tangents, at most 8 matrices of 5 columns; a root of a
# variance over 5 elements, of which one may cancel, is worth two digits less.
TOLERANCE = 100 * bounds.rounded(bounds.of_recurrence(steps=2 * 9, batch=3, fan_in=8 * 5))


def cell_of(text: str) -> Cell:
    return read(Path("page.md"), text=text).cells[0].cell


def products_with(program: Program, name: str) -> int:
    """How often a matrix, not its tangent, multiplies something in a program."""

    def count(node: MatrixExpr) -> int:
        values = [part for part in matrix_parts(node) if isinstance(part, Value)]
        own = isinstance(node, Times) and any((str(value.name), value.marks) == (name, ()) for value in values)
        return own + sum(count(part) for part in matrix_parts(node))

    return sum(count(term.value) for equation in program.equations for term in equation.terms)


@pytest.mark.parametrize("name", PAGES)
def test_a_product_is_computed_once(name: str) -> None:
    derivation = derive(cell_of(PAGES[name]))
    assert {one: products_with(derivation.forward, one) for one in "WU"} == {"W": 1, "U": 1}
    assert products_with(derivation.tangent, "W") == 1


def test_a_product_with_another_factor_is_another_one() -> None:
    page = r"$$h_t = \tanh(\operatorname{LN}(W x_t + U h_{t-1}) + W x_{t-1})$$"
    assert products_with(derive(cell_of(page)).forward, "W") == 2


@pytest.mark.parametrize("passes", [None, ()], ids=["fast", "textbook"])
@pytest.mark.parametrize("name", ["a function of a product", "with gain and offset", "written out"])
@pytest.mark.parametrize(("T", "B"), [(9, 3), (1, 1), (0, 2)])
def test_it_is_what_comes_where_the_page_gives_the_product_a_name(
    name: str, passes: tuple[str, ...] | None, T: int, B: int
) -> None:
    """Forward, backward, jvp and hvp."""
    text = PAGES[name]
    apart = f"$$a_t = {PRODUCT}$$\n" + text.replace(f"({PRODUCT})_i", "a_{t,i}").replace(PRODUCT, "a_t")
    chosen = () if passes is None else (passes,)
    one, other = (module_of(compile_cell(cell_of(page), *chosen)) for page in (text, apart))
    call, along = (draw(one, T=T, B=B, seed=seed, scale=0.5) for seed in (0, 1))
    if "epsilon" in call.parameters:
        call.parameters["epsilon"] = np.array(0.3)  # below a root

    def everything(kernel: Any) -> list[dict[Any, Any]]:
        outputs, tape = args.forward(kernel, call)
        return [outputs, args.backward(kernel, call, tape), args.jvp(kernel, call, along), args.hvp(kernel, call, along)]

    for found, expected in zip(everything(one), everything(other), strict=True):
        worst, key = args.worst(found, expected)
        assert worst <= TOLERANCE, key
    if T:
        worst, key = args.worst(args.hvp(one, call, along), args.hvp_by_complex_step(one, call, along))
        assert worst <= TOLERANCE, key
