"""CS224n notes V (004), section 2.6, extension III: several layers in the encoder and in the decoder of extension II.

The document says it in words. The decoder reads the word before and, in each layer, what the encoder's top has at its end.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from .affine import over_batch
from .cells import CASES
from .encoders import FUNCTIONS, Encoder, Function, Stacked
from .layer import parameters_of, states_of
from .lstm_network import layers_of
from .named import Named
from .network import Cells, Network
from .softmax import one_hot
from .tables import Table
from .through_time import Case
from .translation import of_translation, words_backward, words_forward


def forward(p: Named, s: Named, cells: Cells, *, encoder: Encoder, f: Function, L: int) -> None:
    """d_t^(0) = E w_{t-1}, d_t^(i) = f(P^(i) d_t^(i-1) + Q^(i) d_{t-1}^(i) + R^(i) c + a^(i)), where c is the encoder's top at its end."""
    s.c = encoder.forward(p, s, cells)
    for i in range(1, L + 1):
        s[f"b_{i}"] = np.zeros_like(s[f"d_{i}"])
    for t in range(len(s.w)):
        below = p.E @ one_hot(s.w_prev[t], p.E.shape[1], p.E.dtype)
        for i in range(1, L + 1):
            b = p[f"P_{i}"] @ below + p[f"Q_{i}"] @ s[f"d_{i}"][t - 1] + p[f"R_{i}"] @ s.c + p[f"a_{i}"]
            s[f"b_{i}"][t] = b
            below = s[f"d_{i}"][t] = f(b)
        words_forward(p, s, below, t)


def backward(p: Named, s: Named, cells: Cells, d: Named, *, encoder: Encoder, f_prime: Function, L: int) -> None:
    d_c = np.zeros_like(s.c)
    for t in reversed(range(len(s.w))):
        words_backward(p, s, d, s[f"d_{L}"][t], d[f"d_{L}"][t], t)
        e = one_hot(s.w_prev[t], p.E.shape[1], p.E.dtype)
        for i in range(L, 0, -1):
            # invert d_t^(i) = f(b)
            d_b = d[f"d_{i}"][t] * f_prime(s[f"b_{i}"][t])
            # invert b = P d_t^(i-1) + Q d_{t-1}^(i) + R c + a, where d_t^(0) = E w_{t-1}
            d[f"P_{i}"] += d_b @ (s[f"d_{i - 1}"][t] if i > 1 else p.E @ e).T
            d_below = p[f"P_{i}"].T @ d_b
            if i > 1:
                d[f"d_{i - 1}"][t] += d_below
            else:
                d.E += d_below @ e.T
            d[f"Q_{i}"] += d_b @ s[f"d_{i}"][t - 1].T
            d[f"d_{i}"][t - 1] += p[f"Q_{i}"].T @ d_b
            d[f"R_{i}"] += d_b @ s.c.T
            d_c += p[f"R_{i}"].T @ d_b
            d[f"a_{i}"] += over_batch(d_b)
    # invert c = h_S^(L)
    encoder.backward(p, s, cells, d, d_c)


def networks(layers: int) -> Iterator[Network]:
    """So many layers, with each f."""
    for name, (f, f_prime) in FUNCTIONS.items():
        yield _network(CASES[name], layers, f, f_prime)


def _network(cell: Case, L: int, f: Function, f_prime: Function) -> Network:
    layers = layers_of(cell, L, names={"U": "V"})
    top, numbers = f"H_{L}", range(1, L + 1)
    decoders: Table = {
        name: dims
        for i in numbers
        for name, dims in {
            f"Q_{i}": (f"G_{i}", f"G_{i}"),
            f"P_{i}": (f"G_{i}", f"G_{i - 1}" if i > 1 else "N"),
            f"R_{i}": (f"G_{i}", top),
            f"a_{i}": (f"G_{i}",),
        }.items()
    }
    return of_translation(
        "section 2.6, extension III",
        partial(forward, encoder=Stacked(layers), f=f, L=L),
        partial(backward, encoder=Stacked(layers), f_prime=f_prime, L=L),
        PARAMETERS={
            **parameters_of(layers),
            **{"E": ("N", "V")},
            **decoders,
            **{"W_S": ("V", f"G_{L}")},
        },
        STATES={**states_of(layers), **{f"d_{i}": (f"G_{i}",) for i in numbers}},
        OUTPUTS={"y_hat": ("V",), "J": ()},
        TOKENS={"w_prev": "V", "w": "V"},
    )
