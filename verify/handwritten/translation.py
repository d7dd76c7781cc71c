"""CS224n notes V (004), section 2.6: the translation model, equations (23) to (27), and its extensions.

The document calls the states of encoder and decoder h and counts on; here the encoder has h_s, s = 1..S, the decoder d_t, t = 1..T.
What is right at t is the word w_t, so that (26) is J = sum_t log y_hat_t of w_t. The document prints the forward pass.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from . import bidirectional
from .cells import CASES
from .encoders import FUNCTIONS, BothWays, Encoder, Function, OneWay
from .layer import parameters_of, states_of
from .named import Array, Named
from .network import Cells, Network
from .softmax import invert_softmax, log_softmax, one_hot, softmax
from .tables import Table
from .through_time import Case

# --- the words: equations (25) and (26) ------------------------------------------------------------------------------


def words_forward(p: Named, s: Named, h: Array, t: int) -> None:
    """y_hat_t = softmax(W_S d_t), and J += log y_hat_t of w_t."""
    z = p.W_S @ h
    s.y_hat[t] = softmax(z)
    s.J += (one_hot(s.w[t], len(z), z.dtype) * log_softmax(z)).sum(axis=0)


def words_backward(p: Named, s: Named, d: Named, h: Array, d_h: Array, t: int) -> None:
    """h: the decoder's d_t; d_h: its gradient, which gets its share in its own memory."""
    # invert J += log y_hat_w, of which dz is e_w - y_hat, and y_hat = softmax(z)
    d_z = d.J * (one_hot(s.w[t], len(p.W_S), p.W_S.dtype) - s.y_hat[t]) + invert_softmax(d.y_hat[t], s.y_hat[t])
    # invert z = W_S d_t
    d.W_S += d_z @ h.T
    d_h += p.W_S.T @ d_z


# --- equations (23) to (26), extensions I, IV and V ------------------------------------------------------------------


def forward(p: Named, s: Named, cells: Cells, *, encoder: Encoder, f: Function, V: str, word: bool) -> None:
    """d_0 = h_S and d_t = f(V d_{t-1}); V: the name of that matrix, W_hh or one of its own. word: + V_hy E w_{t-1}."""
    s.d[-1] = encoder.forward(p, s, cells)
    s.b = np.zeros_like(s.d)
    for t in range(len(s.w)):
        s.b[t] = p[V] @ s.d[t - 1]
        if word:
            s.b[t] += p.V_hy @ p.E @ one_hot(s.w_prev[t], p.E.shape[1], p.E.dtype)
        s.d[t] = f(s.b[t])
        words_forward(p, s, s.d[t], t)


def backward(p: Named, s: Named, cells: Cells, d: Named, *, encoder: Encoder, f_prime: Function, V: str, word: bool) -> None:
    for t in reversed(range(len(s.w))):
        words_backward(p, s, d, s.d[t], d.d[t], t)
        # invert d_t = f(b)
        d_b = d.d[t] * f_prime(s.b[t])
        # invert b = V d_{t-1}, or b = V d_{t-1} + V_hy E w_{t-1}
        d[V] += d_b @ s.d[t - 1].T
        d.d[t - 1] += p[V].T @ d_b
        if word:
            e = one_hot(s.w_prev[t], p.E.shape[1], p.E.dtype)
            d.V_hy += d_b @ (p.E @ e).T
            d.E += p.V_hy.T @ d_b @ e.T
    # invert d_0 = h_S
    encoder.backward(p, s, cells, d, d.d[-1])


# --- extension II: equation (27) -------------------------------------------------------------------------------------


def context_forward(p: Named, s: Named, cells: Cells, *, encoder: Encoder, f: Function) -> None:
    """d_t = f(V_hh d_{t-1} + V_hc c + V_hy y_hat_{t-1}) with c = h_S: phi of equation (27), a matrix for each of the three."""
    s.c = encoder.forward(p, s, cells)
    s.b = np.zeros_like(s.d)
    for t in range(len(s.w)):
        s.b[t] = p.V_hh @ s.d[t - 1] + p.V_hc @ s.c + p.V_hy @ s.y_hat[t - 1]
        s.d[t] = f(s.b[t])
        words_forward(p, s, s.d[t], t)


def context_backward(p: Named, s: Named, cells: Cells, d: Named, *, encoder: Encoder, f_prime: Function) -> None:
    d_c = np.zeros_like(s.c)
    for t in reversed(range(len(s.w))):
        words_backward(p, s, d, s.d[t], d.d[t], t)
        # invert d_t = f(b)
        d_b = d.d[t] * f_prime(s.b[t])
        # invert b = V_hh d_{t-1} + V_hc c + V_hy y_hat_{t-1}
        d.V_hh += d_b @ s.d[t - 1].T
        d.d[t - 1] += p.V_hh.T @ d_b
        d.V_hc += d_b @ s.c.T
        d_c += p.V_hc.T @ d_b
        d.V_hy += d_b @ s.y_hat[t - 1].T
        d.y_hat[t - 1] += p.V_hy.T @ d_b
    # invert c = h_S
    encoder.backward(p, s, cells, d, d_c)


# --- the tables ------------------------------------------------------------------------------------------------------

ENCODER: Table = {"W_hh": ("H", "H"), "W_hx": ("H", "D")}


def decoder(H: str) -> dict[str, tuple[str, ...]]:
    """The parameters of a decoder that reads the word before; H: the dimension of d."""
    return {"V_hh": (H, H), "V_hy": (H, "N"), "E": ("N", "V"), "W_S": ("V", H)}


def networks(layers: int) -> Iterator[Network]:
    """The model and its extensions I, II, IV and V, with each f; none has layers."""
    if layers == 1:
        for name, (f, f_prime) in FUNCTIONS.items():
            yield from _of_cell(CASES[name], f, f_prime)


def _of_cell(cell: Case, f: Function, f_prime: Function) -> Iterator[Network]:
    def network(where: str, encoder: Encoder, parameters: Table, V: str, word: bool, H: str = "H", **tables: Any) -> Network:
        return of_translation(
            f"section 2.6, {where}",
            partial(forward, encoder=encoder, f=f, V=V, word=word),
            partial(backward, encoder=encoder, f_prime=f_prime, V=V, word=word),
            PARAMETERS=parameters,
            OUTPUTS={"d": (H,), "y_hat": ("V",), "J": ()},
            TOKENS={"w_prev": "V", "w": "V"} if word else {"w": "V"},
            **tables,
        )

    encoder, mirrored = OneWay(f, f_prime), OneWay(f, f_prime, mirrored=True)
    h: Table = {"h": ("H",)}
    own: Table = {"V_hh": ("H", "H"), "W_S": ("V", "H")}
    yield network("equations (23) to (26)", encoder, {**ENCODER, "W_S": ("V", "H")}, "W_hh", word=False, STATES=h)
    yield network("extension I", encoder, {**ENCODER, **own}, "V_hh", word=False, STATES=h)
    yield network("extension V", mirrored, {**ENCODER, **decoder("H")}, "V_hh", word=True, STATES=h)

    pairs = bidirectional.pairs_of(cell, [""], {"U": "V"})
    nets: Table = parameters_of(pairs[0])
    states: Table = states_of(pairs[0])
    (H,) = bidirectional.size_of_top(pairs)
    yield network("extension IV", BothWays(pairs), {**nets, **decoder(H)}, "V_hh", word=True, H=H, STATES=states)

    yield of_translation(
        "extension II, equation (27)",
        partial(context_forward, encoder=encoder, f=f),
        partial(context_backward, encoder=encoder, f_prime=f_prime),
        PARAMETERS={**ENCODER, "V_hh": ("G", "G"), "V_hc": ("G", "H"), "V_hy": ("G", "V"), "W_S": ("V", "G")},
        STATES={"h": ("H",), "d": ("G",), "y_hat": ("V",)},
        OUTPUTS={"J": ()},
        TOKENS={"w": "V"},
    )


def of_translation(where: str, run: Callable[..., None], invert: Callable[..., None], **tables: Any) -> Network:
    """What the encoder reads and has lies along S."""
    along = {name: "S" for name in ("x", *tables["STATES"]) if name.startswith(("x", "h"))}
    return Network(f"CS224n notes V (004), {where}", run, invert, AXES={**along, "J": None}, **tables)
