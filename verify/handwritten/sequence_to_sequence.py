"""CMU 11-785 (002), slide 'More variants', a posteriori sequence to sequence: "generate output sequence after processing input".

One network reads the words v_s, s = 1..S, a second starts with what the first has at its end and reads the words w_t, t = 1..T, each
the one before that which it says. P and Q project the words. The slide draws it; the divergence is that of the slide 'Training'.
"""

from collections.abc import Iterator

import numpy as np

from .activations import tanh, tanh_prime
from .affine import over_batch
from .named import Named
from .network import Cells, Network
from .softmax import invert_softmax, log_softmax, one_hot, softmax


def forward(p: Named, s: Named, cells: Cells) -> None:
    """h_s = tanh(W_x P v_s + W_h h_{s-1} + b), g_0 = h_S, g_t = tanh(U_x Q w_t + U_h g_{t-1} + a), Div = -sum_t log Y_t of w_{t+1}."""
    S, T = len(s.v), len(s.w)
    s.z_h, s.z_g = np.zeros_like(s.h), np.zeros_like(s.g)
    for i in range(S):
        s.z_h[i] = p.W_x @ p.P @ one_hot(s.v[i], p.P.shape[1], p.P.dtype) + p.W_h @ s.h[i - 1] + p.b
        s.h[i] = tanh(s.z_h[i])
    s.g[-1] = s.h[S - 1]
    for t in range(T):
        s.z_g[t] = p.U_x @ p.Q @ one_hot(s.w[t], p.Q.shape[1], p.Q.dtype) + p.U_h @ s.g[t - 1] + p.a
        s.g[t] = tanh(s.z_g[t])
        z_y = p.W_y @ s.g[t] + p.b_y
        s.Y[t] = softmax(z_y)
        s.Div -= (one_hot(s.w_next[t], len(z_y), z_y.dtype) * log_softmax(z_y)).sum(axis=0)


def backward(p: Named, s: Named, cells: Cells, d: Named) -> None:
    S, T = len(s.v), len(s.w)
    for t in reversed(range(T)):
        # invert Div -= log Y_w, where -log softmax(z)_w has the gradient Y - e_w, and Y = softmax(z_y)
        d_z_y = d.Div * (s.Y[t] - one_hot(s.w_next[t], len(p.W_y), p.W_y.dtype)) + invert_softmax(d.Y[t], s.Y[t])
        # invert z_y = W_y g_t + b_y
        d.W_y += d_z_y @ s.g[t].T
        d.g[t] += p.W_y.T @ d_z_y
        d.b_y += over_batch(d_z_y)
        # invert g_t = tanh(z_g)
        d_z_g = d.g[t] * tanh_prime(s.z_g[t])
        # invert z_g = U_x Q w_t + U_h g_{t-1} + a
        w = one_hot(s.w[t], p.Q.shape[1], p.Q.dtype)
        d.U_x += d_z_g @ (p.Q @ w).T
        d.Q += p.U_x.T @ d_z_g @ w.T
        d.U_h += d_z_g @ s.g[t - 1].T
        d.g[t - 1] += p.U_h.T @ d_z_g
        d.a += over_batch(d_z_g)
    # invert g_0 = h_S
    d.h[S - 1] += d.g[-1]
    for i in reversed(range(S)):
        # invert h_s = tanh(z_h)
        d_z_h = d.h[i] * tanh_prime(s.z_h[i])
        # invert z_h = W_x P v_s + W_h h_{s-1} + b
        v = one_hot(s.v[i], p.P.shape[1], p.P.dtype)
        d.W_x += d_z_h @ (p.P @ v).T
        d.P += p.W_x.T @ d_z_h @ v.T
        d.W_h += d_z_h @ s.h[i - 1].T
        d.h[i - 1] += p.W_h.T @ d_z_h
        d.b += over_batch(d_z_h)


def networks(layers: int) -> Iterator[Network]:
    """It has no layers."""
    if layers > 1:
        return
    yield Network(
        source="CMU 11-785 (002), slides 'More variants' and 'Training'",
        run=forward,
        invert=backward,
        PARAMETERS={
            **{"P": ("N", "V"), "W_x": ("H", "N"), "W_h": ("H", "H"), "b": ("H",)},
            **{"Q": ("M", "W"), "U_x": ("H", "M"), "U_h": ("H", "H"), "a": ("H",)},
            **{"W_y": ("W", "H"), "b_y": ("W",)},
        },
        INPUTS={},
        STATES={"h": ("H",)},
        OUTPUTS={"g": ("H",), "Y": ("W",), "Div": ()},
        AXES={"v": "S", "h": "S", "Div": None},
        TOKENS={"v": "V", "w": "W", "w_next": "W"},
    )
