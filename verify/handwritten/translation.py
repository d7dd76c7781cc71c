"""CS224n notes V (004), section 2.6: the translation model, equations (23) to (27), and its extensions I, II, IV and V.

The document calls the states of encoder and decoder h and counts on; here the encoder has h_s, s = 1..S, the decoder d_t, t = 1..T.
What is right at t is the word w_t, so that (26) is J = sum_t log y_hat_t of w_t. The document prints the forward pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from . import activations
from .named import Array, Named
from .network import Cells, Network
from .softmax import invert_softmax, log_softmax, one_hot, softmax
from .tables import Table

Function = Callable[[Array], Array]
FUNCTIONS: list[tuple[Function, Function]] = [
    (activations.tanh, activations.tanh_prime),
    (activations.sigma, activations.sigma_prime),
    (activations.relu, activations.relu_prime),
    (activations.identity, activations.identity_prime),
]
"""What f may be, and its derivative."""


# --- the encoder -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoder:
    """h_s = f(W_hh h_{s-1} + W_hx x_s), or with h_{s+1}: `mirrored` reads the source from its last word to its first, extension V."""

    f: Function
    f_prime: Function
    mirrored: bool = False

    def steps(self, s: Named) -> list[tuple[int, int]]:
        """(step, the step before) in the order of reading."""
        S = len(s.x)
        return [(i, i + 1) for i in reversed(range(S))] if self.mirrored else [(i, i - 1) for i in range(S)]

    def last(self, s: Named) -> int:
        """The step that is read last; without a step it is the place of the start."""
        return 0 if self.mirrored else len(s.x) - 1

    def forward(self, p: Named, s: Named) -> None:
        s.a = np.zeros_like(s.h)
        for i, before in self.steps(s):
            s.a[i] = p.W_hh @ s.h[before] + p.W_hx @ s.x[i]
            s.h[i] = self.f(s.a[i])

    def backward(self, p: Named, s: Named, d: Named) -> None:
        for i, before in reversed(self.steps(s)):
            # invert h_s = f(a)
            d_a = d.h[i] * self.f_prime(s.a[i])
            # invert a = W_hh h_{s-1} + W_hx x_s
            d.W_hh += d_a @ s.h[before].T
            d.h[before] += p.W_hh.T @ d_a
            d.W_hx += d_a @ s.x[i].T
            d.x[i] += p.W_hx.T @ d_a


# --- the words: equations (25) and (26) ------------------------------------------------------------------------------


def words_forward(p: Named, s: Named, t: int) -> None:
    """y_hat_t = softmax(W_S d_t), and J += log y_hat_t of w_t."""
    z = p.W_S @ s.d[t]
    s.y_hat[t] = softmax(z)
    s.J += (one_hot(s.w[t], len(z), z.dtype) * log_softmax(z)).sum(axis=0)


def words_backward(p: Named, s: Named, d: Named, t: int) -> None:
    # invert J += log y_hat_w, of which dz is e_w - y_hat, and y_hat = softmax(z)
    d_z = d.J * (one_hot(s.w[t], len(p.W_S), p.W_S.dtype) - s.y_hat[t]) + invert_softmax(d.y_hat[t], s.y_hat[t])
    # invert z = W_S d_t
    d.W_S += d_z @ s.d[t].T
    d.d[t] += p.W_S.T @ d_z


# --- equations (23) to (26), extensions I and V ----------------------------------------------------------------------


def forward(p: Named, s: Named, cells: Cells, *, encoder: Encoder, V: str, word: bool) -> None:
    """d_0 = h_S and d_t = f(V d_{t-1}); V: the name of that matrix, W_hh or one of its own. word: + V_hy E w_{t-1}."""
    encoder.forward(p, s)
    s.d[-1] = s.h[encoder.last(s)]
    s.b = np.zeros_like(s.d)
    for t in range(len(s.w)):
        s.b[t] = p[V] @ s.d[t - 1]
        if word:
            s.b[t] += p.V_hy @ p.E @ one_hot(s.w_prev[t], p.E.shape[1], p.E.dtype)
        s.d[t] = encoder.f(s.b[t])
        words_forward(p, s, t)


def backward(p: Named, s: Named, cells: Cells, d: Named, *, encoder: Encoder, V: str, word: bool) -> None:
    for t in reversed(range(len(s.w))):
        words_backward(p, s, d, t)
        # invert d_t = f(b)
        d_b = d.d[t] * encoder.f_prime(s.b[t])
        # invert b = V d_{t-1} (+ V_hy E w_{t-1})
        d[V] += d_b @ s.d[t - 1].T
        d.d[t - 1] += p[V].T @ d_b
        if word:
            e = one_hot(s.w_prev[t], p.E.shape[1], p.E.dtype)
            d.V_hy += d_b @ (p.E @ e).T
            d.E += p.V_hy.T @ d_b @ e.T
    # invert d_0 = h_S
    d.h[encoder.last(s)] += d.d[-1]
    encoder.backward(p, s, d)


# --- extension II: equation (27) -------------------------------------------------------------------------------------


def context_forward(p: Named, s: Named, cells: Cells, *, encoder: Encoder) -> None:
    """d_t = f(V_hh d_{t-1} + V_hc c + V_hy y_hat_{t-1}) with c = h_S: phi of equation (27), a matrix for each of the three."""
    encoder.forward(p, s)
    c = s.h[encoder.last(s)]
    s.b = np.zeros_like(s.d)
    for t in range(len(s.w)):
        s.b[t] = p.V_hh @ s.d[t - 1] + p.V_hc @ c + p.V_hy @ s.y_hat[t - 1]
        s.d[t] = encoder.f(s.b[t])
        words_forward(p, s, t)


def context_backward(p: Named, s: Named, cells: Cells, d: Named, *, encoder: Encoder) -> None:
    c, d_c = s.h[encoder.last(s)], d.h[encoder.last(s)]
    for t in reversed(range(len(s.w))):
        words_backward(p, s, d, t)
        # invert d_t = f(b)
        d_b = d.d[t] * encoder.f_prime(s.b[t])
        # invert b = V_hh d_{t-1} + V_hc c + V_hy y_hat_{t-1}
        d.V_hh += d_b @ s.d[t - 1].T
        d.d[t - 1] += p.V_hh.T @ d_b
        d.V_hc += d_b @ c.T
        d_c += p.V_hc.T @ d_b
        d.V_hy += d_b @ s.y_hat[t - 1].T
        d.y_hat[t - 1] += p.V_hy.T @ d_b
    encoder.backward(p, s, d)


# --- the tables ------------------------------------------------------------------------------------------------------

ENCODER: Table = {"W_hh": ("H", "H"), "W_hx": ("H", "D")}
OWN: Table = {"V_hh": ("H", "H")}
WORD: Table = {"V_hy": ("H", "N"), "E": ("N", "V")}
OUT: Table = {"W_S": ("V", "H")}


def networks(layers: int) -> Iterator[Network]:
    """The model and its extensions, with each f; none has layers."""
    if layers > 1:
        return
    for f, f_prime in FUNCTIONS:
        encoder, mirrored = Encoder(f, f_prime), Encoder(f, f_prime, mirrored=True)
        yield _network("equations (23) to (26)", {**ENCODER, **OUT}, encoder, V="W_hh")
        yield _network("extension I", {**ENCODER, **OWN, **OUT}, encoder, V="V_hh")
        yield _network("extension V", {**ENCODER, **OWN, **WORD, **OUT}, mirrored, V="V_hh", word=True)
        yield Network(
            source="CS224n notes V (004), extension II, equation (27)",
            run=partial(context_forward, encoder=encoder),
            invert=partial(context_backward, encoder=encoder),
            PARAMETERS={**ENCODER, "V_hh": ("G", "G"), "V_hc": ("G", "H"), "V_hy": ("G", "V"), "W_S": ("V", "G")},
            STATES={"h": ("H",), "d": ("G",), "y_hat": ("V",)},
            OUTPUTS={"J": ()},
            AXES={"x": "S", "h": "S", "J": None},
            TOKENS={"w": "V"},
        )


def _network(where: str, parameters: Table, encoder: Encoder, V: str, word: bool = False) -> Network:
    return Network(
        source=f"CS224n notes V (004), section 2.6, {where}",
        run=partial(forward, encoder=encoder, V=V, word=word),
        invert=partial(backward, encoder=encoder, V=V, word=word),
        PARAMETERS=parameters,
        STATES={"h": ("H",)},
        OUTPUTS={"d": ("H",), "y_hat": ("V",), "J": ()},
        AXES={"x": "S", "h": "S", "J": None},
        TOKENS={"w_prev": "V", "w": "V"} if word else {"w": "V"},
    )
