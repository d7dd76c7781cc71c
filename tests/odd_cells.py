"""Cells of our own that no document prints: each has something that the built-in cells don't have."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.blocks import rows, stack
from derive.cell import Cell
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector
from derive.reductions import softmax

D, E, H, K, M = (dimension(name) for name in "DEHKM")
sigma, tanh, relu, softplus, gelu, elu, exp, sqrt = map(
    function, ("sigma", "tanh", "relu", "softplus", "gelu", "elu", "exp", "sqrt")
)
x, h = sequence("x", D), sequence("h", H)
W, U, b = matrix("W", H, D), matrix("U", H, H), vector("b", H)

SIZES_OF_ODD = {"D": 2, "E": 5, "H": 3, "K": 4, "M": 6}
Equations = list[sp.Equality]
ODD: dict[str, Callable[[], Equations]] = {}


def odd(equations: Callable[[], Equations]) -> Callable[[], Equations]:
    ODD[equations.__name__] = equations
    return equations


def cell(name: str) -> Cell:
    """The odd cell of that name."""
    return Cell.from_equations(name, name, ODD[name]())


def cell_of(*equations: sp.Equality, name: str = "own") -> Cell:
    return Cell.from_equations(name, name, equations)


@odd
def concatenated() -> Equations:
    """One matrix over [h, x]."""
    z = sequence("z", H)
    W_z, W_h = matrix("W_z", H, H + D), matrix("W_h", H, H + D)
    both = stack(h.prev, x)
    return [Eq(z, sigma(W_z @ both + b)), Eq(h, (1 - z) * h.prev + z * tanh(W_h @ both))]


@odd
def concatenated_twice() -> Equations:
    """One matrix over [h, g, x], as wide as 2*H+D, and two states."""
    g, W_g = sequence("g", H), matrix("W_g", H, 2 * H + D)
    both = stack(h.prev, g.prev, x)
    return [Eq(g, tanh(W_g @ both)), Eq(h, tanh(matrix("W_h", H, 2 * H + D) @ both + b) * g)]


@odd
def row_vectors() -> Equations:
    """x W + h U + b as a document with row vectors prints it."""
    return [Eq(h, tanh(matrix("W", D, H).T @ x + U.T @ h.prev + b))]


@odd
def readout() -> Equations:
    """A softmax readout and a second output of another size."""
    y, s = sequence("y", K), sequence("s", H)
    return [Eq(h, tanh(W @ x + U @ h.prev + b)), Eq(y, softmax(matrix("V", K, H) @ h + vector("b_y", K))), Eq(s, tanh(h))]


@odd
def several_sizes() -> Equations:
    """Two inputs and two states, all of different sizes."""
    m, u = sequence("m", M), sequence("u", E)
    A, C, R, Q = matrix("A", M, H), matrix("C", M, M), matrix("R", H, M), matrix("Q", H, E)
    return [Eq(h, tanh(W @ x + Q @ u + U @ h.prev + R @ m.prev)), Eq(m, sigma(A @ h + C @ m.prev + vector("b_m", M)))]


@odd
def shared_matrix() -> Equations:
    """U stands in two gates and, transposed, in a third place."""
    z, g = sequence("z", H), sequence("g", H)
    return [
        Eq(z, sigma(U @ h.prev + W @ x)),
        Eq(g, sigma(U @ (z * h.prev) + b)),
        Eq(h, g * tanh(U.T @ h.prev + W @ x) + (1 - g) * h.prev),
    ]


@odd
def untimed_parts() -> Equations:
    """Values derived from the parameters alone: a vector, and a product of matrices."""
    w, V = vector("w", H), matrix("V", H, H)
    return [
        Eq(w, sigma(b)),
        Eq(V, matrix("L", H, K) @ matrix("R", K, H)),
        Eq(h, w * h.prev + (1 - w) * tanh(V @ h.prev + W @ x)),
    ]


@odd
def also_in_the_loop() -> Equations:
    """A parameter that is read once and at each step."""
    w = vector("w", H)
    return [Eq(w, tanh(U @ b)), Eq(h, tanh(U @ h.prev + W @ x + b) * w)]


@odd
def chain_of_matrices() -> Equations:
    """Products of three matrices, one transposed."""
    L, R = matrix("L", H, K), matrix("R", K, H)
    return [Eq(h, tanh(L @ R @ h.prev + R.T @ L.T @ h.prev + 2 * (W @ x) - b))]


@odd
def rank_one() -> Equations:
    """u (vᵀ h): a product that is a number."""
    return [Eq(h, tanh(vector("u", H) @ (vector("v", H).T @ h.prev) + W @ x))]


@odd
def many_functions() -> Equations:
    """Every kind of elementwise function, a quotient and powers."""
    p, q = sequence("p", H), sequence("q", H)
    return [
        Eq(p, softplus(W @ x) + exp(tanh(U @ h.prev)) / 3),
        Eq(q, gelu(U @ h.prev + b) + elu(W @ x - b) - 0.5 * sqrt(p)),
        Eq(h, tanh(q / (1 + p * p)) ** 2 - relu(W @ x) * h.prev / 4),
    ]


@odd
def softmax_state() -> Equations:
    """A state that is a softmax, so that the Jacobian goes through it."""
    return [Eq(h, softmax(U @ h.prev + W @ x + b))]


@odd
def delay_line() -> Equations:
    """States that are copies of states."""
    g, k = sequence("g", H), sequence("k", H)
    return [Eq(g, h.prev), Eq(k, g.prev), Eq(h, tanh(W @ x + U @ g.prev - b * k.prev))]


@odd
def no_parameters() -> Equations:
    u = sequence("u", D)
    return [Eq(u, tanh(u.prev / 2 + x))]


@odd
def no_states() -> Equations:
    y = sequence("y", H)
    return [Eq(y, tanh(W @ x + b))]


@odd
def state_as_output_only() -> Equations:
    """A state that is copied to an output, an output that is an input's copy, and one that doesn't depend on anything timed."""
    y, v, w = sequence("y", H), sequence("v", D), sequence("w", H)
    return [Eq(h, tanh(W @ x + U @ h.prev)), Eq(y, h), Eq(v, x), Eq(w, tanh(b))]


@odd
def negative_numbers() -> Equations:
    """Signs and numbers in every place."""
    z = sequence("z", H)
    return [Eq(z, -sigma(-(W @ x) - U @ h.prev)), Eq(h, -(2 - z) * (-h.prev) / 4 - 3 * (z * tanh(-0.5 * (U @ h.prev)) * b))]


@odd
def product_of_four() -> Equations:
    """An elementwise product of four factors, a square, and a sum times a sum."""
    z, r = sequence("z", H), sequence("r", H)
    return [
        Eq(z, sigma(W @ x)),
        Eq(r, sigma(U @ h.prev)),
        Eq(h, z * r * h.prev * b + (z + r) * (h.prev - b) / 4 + h.prev * h.prev / 8),
    ]


@odd
def stacked() -> Equations:
    """Two layers: the lower state doesn't depend on the upper one."""
    m = sequence("m", M)
    return [Eq(h, tanh(W @ x + U @ h.prev)), Eq(m, tanh(matrix("V", M, H) @ h + matrix("R", M, M) @ m.prev))]


@odd
def stacked_prev() -> Equations:
    """Two layers, the upper one a step behind."""
    m = sequence("m", H)
    return [Eq(h, tanh(W @ x + U @ h.prev)), Eq(m, h.prev * m.prev + b)]


@odd
def taps() -> Equations:
    """A state that is computed from the input alone, and read a step later."""
    y = sequence("y", H)
    return [Eq(h, tanh(W @ x + b)), Eq(y, sigma(h) * h.prev)]


@odd
def taps_into_a_state() -> Equations:
    """A state from the input alone, whose old value feeds a state with a memory."""
    m = sequence("m", H)
    return [Eq(h, W @ x), Eq(m, tanh(h * b + h.prev) * m.prev)]


@odd
def constant_state() -> Equations:
    """A state that the parameters alone decide."""
    y = sequence("y", H)
    return [Eq(h, tanh(b)), Eq(y, h.prev + W @ x)]


@odd
def both_ways() -> Equations:
    """One matrix as it is in one gate, transposed in another, of the same vector."""
    z = sequence("z", H)
    return [Eq(z, sigma(U @ h.prev + W @ x)), Eq(h, z * tanh(U.T @ h.prev + W @ x))]


@odd
def product_of_parameters_at_each_step() -> Equations:
    """A product of parameters alone, inside a sum that differs from step to step."""
    return [Eq(h, tanh(U @ b + W @ x + h.prev))]


@odd
def output_of_parameters() -> Equations:
    """An output that is a product of parameters."""
    y = sequence("y", H)
    return [Eq(h, tanh(h.prev + W @ x)), Eq(y, U @ b)]


@odd
def written_backwards() -> Equations:
    """Equations in an order in which they can't be computed."""
    z, c = sequence("z", H), sequence("c", H)
    return [Eq(h, z * tanh(c)), Eq(c, z * c.prev + W @ x), Eq(z, sigma(U @ h.prev + b))]


@odd
def one_number() -> Equations:
    """An output of size 1, as a value or a probability is."""
    y = sequence("y", 1)
    return [Eq(h, tanh(W @ x + U @ h.prev)), Eq(y, sigma(vector("v", H).T @ h + vector("b_y", 1)))]


@odd
def packed() -> Equations:
    """All gates in one matrix, cut into rows."""
    g, c = sequence("g", 3 * H), sequence("c", H)
    whole = matrix("G", 3 * H, H + D) @ stack(h.prev, x) + vector("b_g", 3 * H)
    return [Eq(g, whole), Eq(c, sigma(rows(g, 0, H)) * c.prev + tanh(rows(g, H, 2 * H))), Eq(h, sigma(rows(g, 2 * H, 3 * H)) * c)]


@odd
def rows_of_a_product() -> Equations:
    """Rows of a product that has no name."""
    G = matrix("G", 2 * H, D)
    return [Eq(h, tanh(rows(G @ x, 0, H) * sigma(rows(G @ x, H, 2 * H)) + U @ h.prev))]


@odd
def skew() -> Equations:
    """A sum of matrices: U - Uᵀ."""
    return [Eq(h, h.prev + 0.1 * tanh((U - U.T) @ h.prev + W @ x + b))]


@odd
def squared_matrix() -> Equations:
    """U U h, and a function of a matrix."""
    return [Eq(h, tanh(U @ U @ h.prev + tanh(matrix("V", H, H)) @ h.prev + W @ x))]


@odd
def negated_sum() -> Equations:
    """A state and an input that get the same cotangent, a negative one."""
    return [Eq(h, tanh(b - h.prev - sequence("u", H)))]


@odd
def sum_times_state() -> Equations:
    """A state and an input in a sum that is multiplied with the state."""
    return [Eq(h, tanh((h.prev + sequence("u", H)) * h.prev))]


@odd
def swapped() -> Equations:
    """A state that is the other one's old value, read again at the same step."""
    c = sequence("c", H)
    return [Eq(h, c.prev), Eq(c, tanh(W @ x) + sigma(h.prev * h))]


@odd
def input_remembered() -> Equations:
    """A state that is the input, transformed, read by an output a step later through a matrix."""
    y = sequence("y", H)
    return [Eq(h, W @ x), Eq(y, sigma(U @ h.prev))]


@odd
def input_remembered_in_a_product() -> Equations:
    """The same, read by another state."""
    c = sequence("c", H)
    return [Eq(h, tanh(h.prev) + h.prev * c.prev), Eq(c, W @ x)]


@odd
def gate_of_parameters() -> Equations:
    """A gate that the parameters alone decide."""
    z = sequence("z", H)
    return [Eq(z, sigma(U @ b)), Eq(h, z * h.prev + W @ x)]


@odd
def squared_product() -> Equations:
    """A product with itself beside products that can be stacked."""
    z = sequence("z", H)
    return [Eq(z, sigma(U @ h.prev)), Eq(h, sigma((W @ x) * (W @ x)) + matrix("W_2", H, D) @ x)]


@odd
def nothing_to_learn() -> Equations:
    """A state that only decays, beside an output of the input."""
    return [Eq(h, tanh(h.prev) * sigma(b)), Eq(sequence("y", K), matrix("Y", K, D) @ x)]


@odd
def transposed_difference() -> Equations:
    """A transposed matrix on a difference."""
    c = sequence("c", K)
    return [Eq(h, tanh(matrix("Q", K, H).T @ (c.prev - sequence("u", K)))), Eq(c, matrix("R", K, H) @ h)]


@odd
def like_terms() -> Equations:
    """Squares and a summand written twice: terms of a gradient that differ in nothing but their numbers."""
    g = sequence("g", H)
    return [
        Eq(g, tanh(W @ x + U @ h.prev + W @ x + b)),
        Eq(h, sigma(g * g * g - h.prev * h.prev) + sp.Rational(1, 2) * (g * g) - b * b),
    ]


@odd
def nothing_left() -> Equations:
    """Terms that cancel: no gradient reaches the gate, nor what only the gate reads, nor the state before."""
    g = sequence("g", H)
    return [Eq(g, sigma(W @ x + U @ h.prev + b)), Eq(h, tanh(matrix("V", H, H) @ g - matrix("V", H, H) @ g + vector("a", H)))]


@odd
def cancelled_and_back() -> Equations:
    """Like terms whose sum is 0 on the way: the slope of (1 - h) ∘ h + h ∘ h is 1, from -h, h and h."""
    return [Eq(h, tanh((1 - h.prev) * h.prev + h.prev * h.prev + W @ x + b))]
