"""The plain recurrent network (Elman 1990), as four of the five lecture documents print it."""

from __future__ import annotations

from sympy import Equality

from derive.cells.registry import Choice, Flag, Source, cell
from derive.functions import function
from derive.language import Eq, dimension, matrix, sequence, vector

D, H = dimension("D"), dimension("H")


@cell(
    Choice("activation", ("tanh", "sigmoid", "relu", "identity"), "what is applied to the pre-activation"),
    Flag("no-bias", "leave out b"),
    sources=(
        Source("--activation sigmoid", "001 slide 'Vanilla RNN'", "row vectors h W_h + e W_e + b: U = W_hᵀ, W = W_eᵀ, x = e"),
        Source("--activation sigmoid --no-bias", "004 eq. (5)", "W^(hh) = U, W^(hx) = W"),
        Source("--activation identity", "001 slide 'Vanishing/Exploding gradient - why?'", "row vectors: U = W_hᵀ, W = W_eᵀ"),
        Source("", "003 slide 'Review: RNN update rule'", "rho = tanh, rows (e_t, s_{t-1}) W_r + b_r: [W U] = W_rᵀ, h = s"),
        Source("", "002 slide 'Standard RNN'", "'processed through a tanh() activation function'"),
        Source("--activation relu", "004 section 2.4", "'use the Rectified Linear Units (ReLU) instead of the sigmoid'"),
    ),
)
def rnn(activation: str, no_bias: bool) -> list[Equality]:
    act = function({"sigmoid": "sigma"}.get(activation, activation))
    x, h = sequence("x", D), sequence("h", H)
    W, U, b = matrix("W", H, D), matrix("U", H, H), vector("b", H)
    if no_bias:
        return [Eq(h, act(W @ x + U @ h.prev))]
    return [Eq(h, act(W @ x + U @ h.prev + b))]
