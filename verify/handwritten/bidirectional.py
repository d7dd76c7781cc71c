"""CS224n notes V (004), equations (17) to (22): layers of two nets, one from each end, with an output layer and without.

The document prints the forward pass. Backward each net is walked against its own way: the one from left to right from the last step to
the first, the one from right to left from the first step to the last.
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from .affine import over_batch
from .cells import CASES
from .layer import Layer, inputs_of, parameters_of, states_of
from .named import Array, Named
from .network import Cells, Network
from .softmax import invert_softmax, softmax
from .tables import Table
from .through_time import Case

Pairs = list[tuple[Layer, Layer]]
"""The layers, each as (from left to right, from right to left)."""


def both(s: Named, pair: tuple[Layer, Layer]) -> Array:
    """[h_right_t; h_left_t] at every step, which is what the next layer reads, and equation (22) of the top."""
    together: Array = np.concatenate([s[layer.h][:-1] for layer in pair], axis=1)
    return together


def forward(p: Named, s: Named, cells: Cells, *, pairs: Pairs) -> Array:
    """Equations (20) and (21), layer after layer. Returns [h_right; h_left] of the top."""
    x, T = s.x, len(s.x)
    for right, left in pairs:
        for t in range(T):
            right.forward(p, s, cells, t, t - 1, x[t])
        for t in reversed(range(T)):
            left.forward(p, s, cells, t, t + 1, x[t])
        x = both(s, (right, left))
    return x


def backward(p: Named, s: Named, cells: Cells, d: Named, d_top: Array, *, pairs: Pairs) -> None:
    """d_top: of [h_right; h_left] of the top layer, (T, n, B)."""
    T = len(s.x)
    for i in reversed(range(len(pairs))):
        right, left = pairs[i]
        # invert h_t^(i) = [h_right; h_left]
        n = s[right.h].shape[1]
        d[right.h][:-1] += d_top[:, :n]
        d[left.h][:-1] += d_top[:, n:]
        # invert (20) and (21): both nets read h^(i-1), and of the first layer x
        d_x = np.zeros_like(both(s, pairs[i - 1])) if i > 0 else d.x
        for t in reversed(range(T)):
            right.backward(p, cells, d, t, t - 1, d_x[t])
        for t in range(T):
            left.backward(p, cells, d, t, t + 1, d_x[t])
        d_top = d_x


# --- the top layer as it is ------------------------------------------------------------------------------------------


def top_forward(p: Named, s: Named, cells: Cells, *, pairs: Pairs) -> None:
    s.h[:-1] = forward(p, s, cells, pairs=pairs)


def top_backward(p: Named, s: Named, cells: Cells, d: Named, *, pairs: Pairs) -> None:
    backward(p, s, cells, d, d.h[:-1], pairs=pairs)


# --- with an output layer: equations (19) and (22) -------------------------------------------------------------------


def readout_forward(p: Named, s: Named, cells: Cells, *, pairs: Pairs, U: str, c: str, y: str, top: str = "") -> None:
    """y_hat_t = softmax(U [h_right; h_left] + c), by the names of U, c and y_hat; top: a name that the top layer has as an output."""
    h = forward(p, s, cells, pairs=pairs)
    if top:
        s[top][:-1] = h
    for t in range(len(s.x)):
        s[y][t] = softmax(p[U] @ h[t] + p[c])


def readout_backward(p: Named, s: Named, cells: Cells, d: Named, *, pairs: Pairs, U: str, c: str, y: str, top: str = "") -> None:
    h = both(s, pairs[-1])
    d_h = d[top][:-1] if top else np.zeros_like(h)
    for t in range(len(s.x)):
        # invert y_hat = softmax(z)
        d_z = invert_softmax(d[y][t], s[y][t])
        # invert z = U [h_right; h_left] + c
        d[U] += d_z @ h[t].T
        d[c] += over_batch(d_z)
        d_h[t] += p[U].T @ d_z
    backward(p, s, cells, d, d_h, pairs=pairs)


# --- the tables ------------------------------------------------------------------------------------------------------


def pairs_of(cell: Case, marks: list[str], names: dict[str, str] | None = None, **options: Any) -> Pairs:
    """A layer for each mark, each net of a size of its own; the first layer reads the input."""
    below = ["D", *[f"H_right{mark}+H_left{mark}" for mark in marks]]
    return [
        (
            Layer(cell, f"_right{mark}", below[i], f"H_right{mark}", names or {}, **options),
            Layer(cell, f"_left{mark}", below[i], f"H_left{mark}", names or {}, **options),
        )
        for i, mark in enumerate(marks)
    ]


def networks(layers: int) -> Iterator[Network]:
    """Every cell in so many layers of both directions, and with a mask; the networks of the documents."""
    numbered = [f"_{i}" for i in range(1, layers + 1)]
    marks = numbered if layers > 1 else [""]
    for cell in CASES.values():
        source = "CS224n notes V (004), equations (17), (18), (20), (21), of the cell: " + cell.source
        for masked in (False, True):
            pairs = pairs_of(cell, marks, masked=masked)
            yield _network(pairs, source, top_forward, top_backward, {"h": size_of_top(pairs)})
    for name in ("rnn", "rnn_activation_sigmoid", "rnn_activation_relu", "rnn_activation_identity"):
        pairs, y = pairs_of(CASES[name], numbered, {"U": "V"}), f"h_{layers}"
        yield _readout(pairs, "CS224n notes V (004), equations (20) to (22)", "U", "c", "y_hat", y)
        if layers == 1:
            pairs = pairs_of(CASES[name], [""], {"U": "V"})
            yield _readout(pairs, "CS224n notes V (004), equations (17) to (19)", "U", "c", "y_hat")
    if layers == 1:
        pairs = pairs_of(CASES["lstm"], [""], {"c": "C"})
        yield _readout(pairs, "CMU 11-785 (002), slide 'Bidirectional LSTM'", "W_y", "b_y", "Y")


def size_of_top(pairs: Pairs) -> tuple[str]:
    return ("+".join(layer.units for layer in pairs[-1]),)


def _readout(pairs: Pairs, source: str, U: str, c: str, y: str, top: str = "") -> Network:
    outputs = ({top: size_of_top(pairs)} if top else {}) | {y: ("K",)}
    named: dict[str, Any] = {"U": U, "c": c, "y": y, "top": top}
    own: Table = {U: ("K", *size_of_top(pairs)), c: ("K",)}
    return _network(pairs, source, partial(readout_forward, **named), partial(readout_backward, **named), outputs, own)


def _network(
    pairs: Pairs,
    source: str,
    run: Callable[..., None],
    invert: Callable[..., None],
    outputs: Table,
    own: Table = MappingProxyType({}),
) -> Network:
    """own: parameters beside those of the layers."""
    layers = [layer for pair in pairs for layer in pair]
    return Network(
        source=source,
        run=partial(run, pairs=pairs),
        invert=partial(invert, pairs=pairs),
        PARAMETERS=parameters_of(layers) | dict(own),
        STATES=states_of(layers),
        INPUTS=inputs_of(layers),
        OUTPUTS=outputs,
    )
