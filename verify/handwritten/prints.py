"""Ramachandran (000), JKU 344.063 (001), CSCI 1470 (003): cells as these documents print them, and what they read out of them.

000 writes one matrix over [h_{t-1}, x_t] for each gate; 001 and 003 take rows, so that their matrices stand on the right, and 003
has one over (x_t, h_{t-1}). All are views of what the documents print, in which the cells have their U and W.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .activations import sigma, sigma_prime, tanh, tanh_prime
from .affine import over_batch
from .cells import CASES
from .encoders import FUNCTIONS
from .layer import Layer, Print
from .named import Array, Named
from .network import Cells, Network
from .softmax import invert_softmax, log_softmax, one_hot, softmax
from .tables import Table


class Readout:
    """What is made of the states; here nothing is.

    forward fills s from s[h]; backward adds to d[h], and to the gradients of the parameters, what comes of the outputs' in d.
    """

    def forward(self, p: Named, s: Named, h: str) -> None: ...

    def backward(self, p: Named, s: Named, d: Named, h: str) -> None: ...


class FinalLoss(Readout):
    """000, slide 'BPTT steps': a loss of the last state and a target, L = 1/2 ||h_T - y||^2. Without a step it is of the initial one."""

    def forward(self, p: Named, s: Named, h: str) -> None:
        s.L = ((s[h][len(s.x) - 1] - s.y) ** 2).sum(axis=0) / 2

    def backward(self, p: Named, s: Named, d: Named, h: str) -> None:
        d_h = d.L * (s[h][len(s.x) - 1] - s.y)
        d[h][len(s.x) - 1] += d_h
        d.y -= d_h


class Sigmoid(Readout):
    """003: o_t = sigma(s_t W_o + b_o)."""

    def forward(self, p: Named, s: Named, h: str) -> None:
        for t in range(len(s.o) - 1):
            s.o[t] = sigma(p.W_o.T @ s[h][t] + p.b_o)

    def backward(self, p: Named, s: Named, d: Named, h: str) -> None:
        for t in range(len(s.o) - 1):
            # invert o = sigma(z)
            d_z = d.o[t] * sigma_prime(p.W_o.T @ s[h][t] + p.b_o)
            # invert z = W_oᵀ s + b_o
            d.W_o += s[h][t] @ d_z.T
            d[h][t] += p.W_o @ d_z
            d.b_o += over_batch(d_z)


@dataclass(frozen=True)
class Words(Readout):
    """y_t = softmax(z_t) with z_t = h_t V, or z_t = V tanh(h_t), and L_t = -log y_t of the word that is right.

    V, b, y, word, loss: the names of these; no b where it is empty. total: the name of the sum of the losses, if there is one.
    is_tanh: 000, which reads s_t = tanh(h_t) and takes columns.
    """

    V: str
    y: str
    word: str
    loss: str
    b: str = ""
    total: str = ""
    is_tanh: bool = False

    def matrix(self, p: Named) -> Array:
        """V as it stands on the left of a column, a view."""
        return p[self.V] if self.is_tanh else p[self.V].T

    def read(self, s: Named, h: str, t: int) -> Array:
        return tanh(s[h][t]) if self.is_tanh else s[h][t]

    def forward(self, p: Named, s: Named, h: str) -> None:
        V = self.matrix(p)
        for t in range(len(s[self.word])):
            z = V @ self.read(s, h, t) + (p[self.b] if self.b else 0)
            s[self.y][t] = softmax(z)
            s[self.loss][t] = -(one_hot(s[self.word][t], len(V), V.dtype) * log_softmax(z)).sum(axis=0)
            if self.total:
                s[self.total] += s[self.loss][t]

    def backward(self, p: Named, s: Named, d: Named, h: str) -> None:
        V, d_V = self.matrix(p), self.matrix(d)
        for t in range(len(s[self.word])):
            # invert L += L_t
            d_loss = d[self.loss][t] + (d[self.total] if self.total else 0)
            # invert L_t = -log y_w, of which dz is y - e_w, and y = softmax(z)
            y = s[self.y][t]
            d_z = d_loss * (y - one_hot(s[self.word][t], len(V), V.dtype)) + invert_softmax(d[self.y][t], y)
            # invert z = V s + b
            d_V += d_z @ self.read(s, h, t).T
            if self.b:
                d[self.b] += over_batch(d_z)
            d_read = V.T @ d_z
            # invert s = tanh(h)
            d[h][t] += d_read * tanh_prime(s[h][t]) if self.is_tanh else d_read


# --- the loop --------------------------------------------------------------------------------------------------------


def forward(p: Named, s: Named, cells: Cells, *, layer: Layer, readout: Readout, x: str, words: str) -> None:
    """x: the name of what the cell reads; words: of tokens that choose a row of E each, empty where x is an input."""
    if words:
        s[x] = np.zeros((len(s[words]), p.E.shape[1], s[words].shape[1]), p.E.dtype)
    for t in range(len(s[x])):
        if words:
            s[x][t] = p.E.T @ one_hot(s[words][t], len(p.E), p.E.dtype)
        layer.forward(p, s, cells, t, t - 1, s[x][t])
    readout.forward(p, s, layer.h)


def backward(p: Named, s: Named, cells: Cells, d: Named, *, layer: Layer, readout: Readout, x: str, words: str) -> None:
    readout.backward(p, s, d, layer.h)
    d_x = np.zeros_like(s[x]) if words else d[x]
    for t in reversed(range(len(s[x]))):
        layer.backward(p, cells, d, t, t - 1, d_x[t])
        if words:
            # invert e = w E
            d.E += one_hot(s[words][t], len(p.E), p.E.dtype) @ d_x[t].T


# --- the tables ------------------------------------------------------------------------------------------------------

OVER_BOTH: Mapping[str, Print] = {
    "U": Print(lambda H, D: (H, f"{H}+{D}"), lambda W: W[:, : len(W)]),
    "W": Print(lambda H, D: (H, f"{H}+{D}"), lambda W: W[:, len(W) :]),
}
"""000: W [h_{t-1}, x_t]."""

IN_ROWS: Mapping[str, Print] = {
    "U": Print(lambda H, D: (H, H), lambda W: W.T),
    "W": Print(lambda H, D: (D, H), lambda W: W.T),
}
"""001: h_{t-1} W_h + x_t W_x."""

OVER_BOTH_IN_ROWS: Mapping[str, Print] = {
    "U": Print(lambda H, D: (f"{D}+{H}", H), lambda W: W[-W.shape[1] :].T),
    "W": Print(lambda H, D: (f"{D}+{H}", H), lambda W: W[: -W.shape[1]].T),
}
"""003: (x_t, h_{t-1}) W."""


def named(gates: Mapping[str, str], U: str, W: str, b: str = "b_{}", **others: str) -> dict[str, str]:
    """The cell's names -> the page's; gates: the cell's -> the page's; U, W, b: how the page names these of a gate."""
    pages = {"U": U, "W": W, "b": b}
    return {f"{letter}_{ours}": page.format(theirs) for ours, theirs in gates.items() for letter, page in pages.items()} | others


def networks(layers: int) -> Iterator[Network]:
    """What the three documents print; none has layers."""
    if layers > 1:
        return
    yield from of_000()
    yield from of_001()
    yield from of_003()


def of_000() -> Iterator[Network]:
    def network(where: str, cell: str, names: dict[str, str], readout: Readout, **tables: Any) -> Network:
        layer = Layer(CASES[cell], "", "D", "H", names, OVER_BOTH)
        return _network(f"Ramachandran (000), {where}", layer, readout, "x", **tables)

    lstm = named({"f": "f", "i": "i", "c": "C_tilde", "o": "o"}, "W_{}", "W_{}", c="C")
    gru = named({"z": "z", "r": "r"}, "W_{}", "W_{}", U_h="W", W_h="W", b_h="b")
    words = Words("V", "y_hat", "y", "L_t", total="L", is_tanh=True)
    tables: dict[str, Any] = {
        "own": {"V": ("V", "H")},
        "OUTPUTS": {"y_hat": ("V",), "L_t": (), "L": ()},
        "AXES": {"L": None},
        "TOKENS": {"y": "V"},
    }
    yield network("equations (2) to (10)", "lstm_no_candidate_bias", lstm, words, **tables)
    yield network("equations (11) to (17)", "gru_no_bias", gru, words, **tables)
    inputs: Table = {"x": ("D",), "y": ("H",)}
    final = {"INPUTS": inputs, "OUTPUTS": {"L": ()}, "AXES": {"y": None, "L": None}}
    yield network("slides 'GRU forward pass equations' and 'BPTT steps'", "gru", gru, FinalLoss(), **final)


def of_001() -> Iterator[Network]:
    """The language model of the slide 'counting parameters' with each cell; of the RNN with each activation."""
    rnns = {name: {"U": "W_h", "W": "W_e"} for name in FUNCTIONS}
    lstm = named({gate: gate for gate in "ifoc"}, "W_h{}", "W_x{}")
    gru = named({"z": "u", "r": "r", "h": "h"}, "W_h{}", "W_x{}")
    for cell, names in {**rnns, "lstm": lstm, "gru": gru}.items():
        yield _network(
            "JKU 344.063 (001), slides 'Backpropagation Through Time', of the cell: " + CASES[cell].source,
            Layer(CASES[cell], "", "N", "H", names, IN_ROWS),
            Words("U", "y_hat", "v_next", "L"),
            "e",
            words="v",
            own={"U": ("H", "V")},
            OUTPUTS={"y_hat": ("V",), "L": ()},
            TOKENS={"v": "V", "v_next": "V"},
        )


def of_003() -> Iterator[Network]:
    """The RNN with its readout, its sigmoid or the next word, with each rho; the LSTM."""

    def layer(cell: str, below: str, names: dict[str, str]) -> Layer:
        return Layer(CASES[cell], "", below, "H", names, OVER_BOTH_IN_ROWS)

    rnn = {"U": "W_r", "W": "W_r", "b": "b_r", "h": "s"}
    for cell in FUNCTIONS:
        yield _network(
            "CSCI 1470 (003), slide 'Review: RNN update rule'",
            layer(cell, "D", rnn),
            Sigmoid(),
            "e",
            own={"W_o": ("H", "K"), "b_o": ("K",)},
            INPUTS={"e": ("D",)},
            OUTPUTS={"o": ("K",)},
        )
        yield _network(
            "CSCI 1470 (003), slides 'Review: RNN update rule' and 'Embedding of word t'",
            layer(cell, "N", rnn),
            Words("W_o", "p", "w_next", "J", b="b_o"),
            "e",
            words="w",
            own={"W_o": ("H", "V"), "b_o": ("V",)},
            OUTPUTS={"p": ("V",), "J": ()},
            TOKENS={"w": "V", "w_next": "V"},
        )
    lstm = named({"f": "f", "i": "i", "c": "m", "o": "o"}, "W_{}", "W_{}", c="C")
    yield _network("CSCI 1470 (003), slide 'The Complete LSTM'", layer("lstm", "D", lstm), Readout(), "x")


def _network(
    source: str, layer: Layer, readout: Readout, x: str, words: str = "", own: Table | None = None, **tables: Any
) -> Network:
    """own: parameters behind those of the cell; in front stand the rows of E where there are words."""
    how: dict[str, Any] = {"layer": layer, "readout": readout, "x": x, "words": words}
    rows: Table = {"E": ("V", "N")} if words else {}
    if words:
        tables["INPUTS"] = {}
    return Network(
        source=source,
        run=partial(forward, **how),
        invert=partial(backward, **how),
        PARAMETERS={**rows, **layer.parameters, **(own or {})},
        STATES=layer.states,
        **tables,
    )
