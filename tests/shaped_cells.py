"""Cells of numbers, vectors and matrices: memories that are matrices, numbers of each step and learned ones, reductions over features."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.blocks import rows, stack
from derive.cell import Cell
from derive.comparisons import maximum
from derive.language import Eq, Identity, diagonal, dimension, hadamard, matmul, matrix, number, sequence, transpose, vector
from derive.reductions import (
    cumax,
    cumulative,
    largest,
    layer_norm,
    logsumexp,
    mean,
    norm,
    power,
    rms_norm,
    softmax,
    total,
    variance,
)
from tests.odd_cells import D, Equations, H, U, W, b, exp, gelu, h, sigma, softplus, sqrt, tanh, x

N, M = dimension("N"), dimension("M")
C = sequence("C", H, N)
q, k, v = sequence("q", N), sequence("k", N), sequence("v", H)
W_q, W_k, W_v = matrix("W_q", N, D), matrix("W_k", N, D), matrix("W_v", H, D)
w_i, w_f, b_i, b_f = vector("w_i", D), vector("w_f", D), number("b_i"), number("b_f")
i, f, o = sequence("i"), sequence("f"), sequence("o", H)

SHAPED: dict[str, Callable[[], Equations]] = {}
SIZES_OF_SHAPED = {"D": 2, "H": 3, "N": 4, "M": 5}


def shaped(equations: Callable[[], Equations]) -> Callable[[], Equations]:
    SHAPED[equations.__name__] = equations
    return equations


def cell(name: str) -> Cell:
    """The cell of that name."""
    return Cell.from_equations(name, name, SHAPED[name]())


@shaped
def mlstm() -> Equations:
    """A matrix memory with its normaliser, its gates numbers (Beck et al. 2024, equations 19 to 27, without the stabiliser)."""
    n, a = sequence("n", N), sequence("a")
    return [
        Eq(q, W_q @ x),
        Eq(k, sp.Rational(1, 2) * (W_k @ x)),
        Eq(v, W_v @ x),
        Eq(i, exp(transpose(w_i) @ x + b_i)),
        Eq(f, sigma(transpose(w_f) @ x + b_f)),
        Eq(C, f * C.prev + i * (v @ transpose(k))),
        Eq(n, f * n.prev + i * k),
        Eq(a, maximum(transpose(n) @ q, 1)),
        Eq(o, sigma(W @ x + b)),
        Eq(h, o * (C @ q) / a),
    ]


@shaped
def stabilised_mlstm() -> Equations:
    """The same with a running maximum that keeps the exponentials small, and keys over the root of their size."""
    n, m, i_raw, f_raw = sequence("n", N), sequence("m"), sequence("i_raw"), sequence("f_raw")
    return [
        Eq(q, W_q @ x),
        Eq(k, (W_k @ x) / sp.sqrt(N)),
        Eq(v, W_v @ x),
        Eq(i_raw, transpose(w_i) @ x + b_i),
        Eq(f_raw, transpose(w_f) @ x + b_f),
        Eq(m, maximum(f_raw + m.prev, i_raw)),
        Eq(i, exp(i_raw - m)),
        Eq(f, exp(f_raw + m.prev - m)),
        Eq(C, f * C.prev + i * (v @ transpose(k))),
        Eq(n, f * n.prev + i * k),
        Eq(h, sigma(W @ x + b) * (C @ q) / (1 + (transpose(n) @ q) ** 2)),
    ]


@shaped
def delta_rule() -> Equations:
    """Fast weights that write what the memory got wrong (Schlag et al. 2021, equation 24)."""
    beta = sequence("beta")
    return [
        Eq(k, softmax(W_k @ x)),
        Eq(q, softmax(W_q @ x)),
        Eq(v, W_v @ x),
        Eq(beta, sigma(transpose(w_i) @ x)),
        Eq(C, C.prev + beta * ((v - C.prev @ k) @ transpose(k))),
        Eq(sequence("y", H), C @ q),
    ]


@shaped
def delta_from_the_left() -> Equations:
    """(I - beta k kᵀ) S + beta k vᵀ, with the memory's rows as keys."""
    S, beta = sequence("S", N, H), sequence("beta")
    return [
        Eq(k, W_k @ x / 2),
        Eq(v, W_v @ x),
        Eq(beta, sigma(transpose(w_i) @ x)),
        Eq(S, matmul(Identity(N) - beta * (k @ transpose(k)), S.prev) + beta * (k @ transpose(v))),
        Eq(sequence("y", H), transpose(S) @ k),
    ]


@shaped
def gated_linear_attention() -> Equations:
    """diag(a) C + k vᵀ, read as qᵀ C."""
    S, a = sequence("S", N, H), sequence("a", N)
    return [
        Eq(a, sigma(W_q @ x)),
        Eq(k, tanh(W_k @ x)),
        Eq(v, W_v @ x),
        Eq(S, diagonal(a) @ S.prev + k @ transpose(v)),
        Eq(sequence("y", H), transpose(transpose(a) @ S)),
    ]


@shaped
def layer_norm_rnn() -> Equations:
    """Normalised pre-activations, with gain and offset, and a normalised state."""
    g = vector("g", H)
    return [Eq(h, tanh(g * layer_norm(W @ x + U @ h.prev) + b)), Eq(sequence("y", H), rms_norm(h))]


@shaped
def ordered_neurons() -> Equations:
    """Running sums of a softmax as gates."""
    u = sequence("u", H)
    return [
        Eq(u, cumax(W @ x + U @ h.prev + b)),
        Eq(h, u * h.prev + (1 - u) * tanh(W @ x) + cumulative(W @ x, backwards=True) / 8),
    ]


@shaped
def numbers_only() -> Equations:
    """A leaky number driven by a number, with a learned rate and scale."""
    z, s = sequence("z"), sequence("s")
    rate, gain, offset = number("rate"), number("gain"), number("offset")
    return [Eq(s, sigma(rate) * s.prev + gain * z + offset), Eq(sequence("y"), tanh(s) * z + rate)]


@shaped
def learned_numbers() -> Equations:
    """Learned numbers in front of vectors, added to them, and in a power."""
    alpha, beta, g = number("alpha"), number("beta"), sequence("g")
    return [
        Eq(g, sigma(transpose(vector("w", H)) @ h.prev + beta)),
        Eq(h, alpha * h.prev + g * tanh(W @ x + U @ h.prev) + beta - alpha**2 * b),
    ]


@shaped
def reductions() -> Equations:
    """The largest element, logsumexp, mean, variance, norm and sum of a state."""
    return [
        Eq(h, tanh(W @ x + U @ h.prev + b) - mean(h.prev) / 2),
        Eq(sequence("top"), largest(h) + logsumexp(3 * h)),
        Eq(sequence("spread"), sqrt(variance(h) + 1) * norm(b + h * h)),
        Eq(sequence("y", H), h * total(h * b) + largest(W @ x) * logsumexp(U @ h)),
    ]


@shaped
def matrix_inputs() -> Equations:
    """A matrix as input, state and output, multiplied from either side, elementwise and transposed."""
    X, S, Y = sequence("X", N, M), sequence("S", N, M), sequence("Y", M, N)
    L, R, G = matrix("L", N, N), matrix("R", M, M), matrix("G", N, M)
    return [
        Eq(S, tanh(L @ S.prev @ R + hadamard(G, X)) / 2 + S.prev / 2),
        Eq(Y, transpose(S) + transpose(X) @ S @ transpose(G) @ L),
    ]


@shaped
def matrices_of_each_step() -> Equations:
    """A transition made of the input by each step, and products of two matrices of a step."""
    A, P = sequence("A", H, H), sequence("P", H, H)
    u = vector("u", D)
    return [
        Eq(A, tanh(W @ x @ transpose(h.prev)) / 3 + diagonal(b)),
        Eq(P, A @ transpose(A) + (transpose(u) @ x) * A),
        Eq(h, A @ h.prev + transpose(P) @ b + (W @ x)),
    ]


@shaped
def delayed_matrix() -> Equations:
    """A matrix memory that is read two steps later, and a copy of it in between."""
    older = sequence("older", H, N)
    return [
        Eq(k, tanh(W_k @ x)),
        Eq(C, C.prev / 2 + sigma(h.prev @ transpose(k))),
        Eq(older, C.prev),
        Eq(h, tanh(W @ x + C.prev @ k)),
        Eq(sequence("Y", H, N), hadamard(tanh(older.prev), C) + older.prev),
    ]


@shaped
def power_gate() -> Equations:
    """a to the power of a gate of each step (De et al. 2024, equation 3)."""
    a, r = sequence("a", H), sequence("r", H)
    return [
        Eq(r, sigma(W @ x + b)),
        Eq(a, power(sigma(vector("decay", H)), 8 * r)),
        Eq(h, a * h.prev + sqrt(1.01 - a * a) * (W @ x)),
    ]


@shaped
def stacked_numbers() -> Equations:
    """Numbers one above the other, one row of a vector, rows of a matrix."""
    e, y = sequence("e", 2), sequence("y", H)
    P = sequence("P", 2 * H, N)
    return [
        Eq(h, tanh(W @ x + U @ h.prev)),
        Eq(e, stack(transpose(b) @ h, rows(W @ x, 1, 2))),
        Eq(P, stack(h @ transpose(W_k @ x), b @ transpose(W_q @ x))),
        Eq(y, rows(e, 0, 1) * (rows(P, 1, 1 + H) @ (W_k @ x)) + gelu(h)),
    ]


@shaped
def memory_with_number_state() -> Equations:
    """A state of each kind, each reading the others."""
    s, S = sequence("s"), sequence("S", H, N)
    return [
        Eq(k, tanh(W_k @ x)),
        Eq(s, tanh(s.prev + transpose(h.prev) @ (S.prev @ k))),
        Eq(S, softplus(s) * S.prev / 2 + h.prev @ transpose(k)),
        Eq(h, tanh(W @ x + S @ k * s.prev + total(S.prev) * b / 9)),
    ]


@shaped
def names_in_the_way() -> Equations:
    """Symbols that are called like what a kernel uses."""
    names = ("tape", "np", "t", "sizes")
    tape, np_, t, sizes_ = (sequence(name, H) for name in names)
    T_, B_, dtype = number("T"), vector("B", H), matrix("dtype", H, D)
    d_h, h_all, dot_h = sequence("d_h", H), sequence("h_all"), vector("dot_h", H)
    return [
        Eq(tape, tanh(dtype @ x + B_)),
        Eq(np_, sigma(T_ * tape)),
        Eq(h_all, transpose(tape) @ h.prev),
        Eq(h, np_ * h.prev + h_all * dot_h),
        Eq(d_h, h * tape + np_),
        Eq(t, d_h.prev * T_ + sizes_),
    ]
