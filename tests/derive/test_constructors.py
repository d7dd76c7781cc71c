"""What the constructors simplify: zeros in every node, diagonals in cells, decimals as the numbers they are."""

from __future__ import annotations

import pytest
import sympy as sp

from derive.blocks import Stack, repeat, rows, stack
from derive.cell import CellError
from derive.compiler import compile_cell
from derive.derivation import derive
from derive.functions import function, step
from derive.language import (
    Apply,
    Diagonal,
    Eq,
    X,
    Zeros,
    apply,
    coefficient,
    diagonal,
    hadamard,
    matmul,
    matrix,
    scale,
    sequence,
    transpose,
    vector,
)
from derive.notation import Notation
from derive.targets.numpy.sizes import number_text
from tests import arguments as args
from tests.kernels import kernel_of_cell
from tests.odd_cells import D, H, cell_of

x, h, c, f = sequence("x", D), sequence("h", H), sequence("c", H), sequence("f", H)
W, V, p = matrix("W", H, H + D), matrix("V", H, H + D), vector("p", H)
U = matrix("U", H, H)
tanh, sigma = function("tanh"), function("sigma")

ZERO = {
    "stack": stack(Zeros(H, 1), Zeros(D, 1)),
    "rows": rows(Zeros(H + D, 1), H, H + D),
    "repeat": repeat(Zeros(H, 1), 3),
    "product": matmul(W, stack(Zeros(H, H), Zeros(D, H))),
    "elementwise product": hadamard(h, rows(stack(Zeros(H, 1), Zeros(H, 1)), 0, H)),
    "diagonal": matmul(diagonal(Zeros(H, 1)), U),
    "transpose": transpose(stack(Zeros(H, 1), Zeros(D, 1))),
    "function": apply(sp.tanh(X), Zeros(H, 1)),
    "multiple": scale(3, stack(Zeros(H, 1), Zeros(D, 1))),
}


@pytest.mark.parametrize("name", ZERO)
def test_what_is_zero_is_zeros(name: str) -> None:
    assert isinstance(ZERO[name], Zeros)


def test_a_function_of_zeros_that_is_not_zero_stays() -> None:
    assert isinstance(apply(sp.cos(X), Zeros(H, 1)), Apply)
    assert isinstance(stack(Zeros(H, 1), h), Stack)


def concatenated() -> object:
    """A gate over [h, x] and a second state that it reads only elementwise."""
    both = stack(h.prev, x)
    return cell_of(Eq(f, sigma(W @ both)), Eq(c, f * c.prev + tanh(V @ both)), Eq(h, tanh(c)))


def test_a_block_that_is_zero_is_not_in_the_jacobian() -> None:
    """dc/dc_prev = diag(f): [h, x] doesn't depend on c."""
    jacobian = derive(concatenated()).jacobian
    (block,) = [e for e in jacobian.equations if e.target.name == "c" and e.target.kind == "jacobian:c"]
    assert [term.value for term in block.terms] == [Diagonal(f)]
    nodes = [n for e in jacobian.equations for t in e.terms for n in sp.preorder_traversal(t.value) if isinstance(n, Stack)]
    assert not any(all(isinstance(part, Zeros) for part in node.args) for node in nodes)


def test_the_kernel_multiplies_no_zeros() -> None:
    """Of [h, x] only the columns of h are multiplied where h alone moves."""
    text = compile_cell(concatenated()).partition("def step_jacobian")[2].partition("\nclass ")[0]
    assert "np.zeros" not in text
    assert text.count("@") == 1


def test_nothing_is_handed_on_by_a_slope_that_is_zero() -> None:
    """A gate that is 0 or 1 hands nothing back to what it is computed from."""
    cell = cell_of(Eq(f, tanh(U @ h.prev)), Eq(h, apply(step(X), f) * h.prev + matrix("R", H, D) @ x))
    programs = (derive(cell).backward, derive(cell).jacobian)
    read = {value.name for program in programs for e in program.equations for value in e.reads() if value.kind != "primal"}
    assert not read & {"f", "a_f"}


# ---- diagonals


DIAGONALS = {
    "value": (lambda: diagonal(p) @ h.prev, lambda: p * h.prev),
    "scaled": (lambda: 2 * diagonal(-p) @ h.prev, lambda: -2 * p * h.prev),
    "between matrices": (lambda: U @ diagonal(p) @ U @ h.prev, lambda: U @ (p * (U @ h.prev))),
    "twice": (lambda: diagonal(p) @ U @ diagonal(p) @ h.prev, lambda: p * (U @ (p * h.prev))),
}


@pytest.mark.parametrize("name", DIAGONALS)
def test_a_diagonal_times_a_vector_is_elementwise(name: str) -> None:
    one, other = (cell_of(Eq(h, tanh(made() + matrix("R", H, D) @ x))) for made in DIAGONALS[name])
    assert one.equations == other.equations


def test_a_state_of_one_element_has_its_jacobian() -> None:
    """It is a number of each step; its blocks are a row, a column and a number."""
    s = sequence("s")
    cell = cell_of(Eq(s, tanh(vector("a", H).T @ h.prev)), Eq(h, tanh(vector("b", H) * s.prev + matrix("R", H, D) @ x)))
    module = kernel_of_cell(cell, ())
    call = args.draw(module, T=4, B=2)
    _, tape = args.forward(module, call)
    size = module.step_jacobian(call.parameters, tape).shape
    assert size[2] == size[3]


# ---- decimals


@pytest.mark.parametrize("number", [0.5, 0.1, 1e-5, 0.3, -2.0, 1 / 3, 0.1 + 0.2, 5e-324])
def test_a_float_is_the_decimal_that_python_prints(number: float) -> None:
    """It prints as it was written, and is the same float in the kernel."""
    (kept, _) = coefficient(scale(number, h))
    assert isinstance(kept, sp.Rational)
    assert float(kept) == number
    assert Notation().formula(scale(number, h)).replace("−", "-") == f"{int(number) if number == -2 else number} hₜ".replace(
        "e-0", "e-"
    )
    assert float(number_text(kept)) == number


def test_floats_in_functions_and_divisors_are_exact() -> None:
    assert apply(0.25 * X**2.0, h) == apply(X**2 / 4, h)
    assert h**0.5 == apply(sp.sqrt(X), h)
    assert h / 0.1 == 10 * h


def test_a_large_float_stays_a_float_in_the_kernel() -> None:
    assert number_text(coefficient(scale(1e300, h))[0]) == "1e+300"


def test_what_is_no_number_of_a_cell_is_still_refused() -> None:
    with pytest.raises(CellError, match="real numbers"):
        cell_of(Eq(h, tanh(float("nan") * h.prev + matrix("R", H, D) @ x)))
