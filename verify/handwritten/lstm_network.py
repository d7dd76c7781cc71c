"""CMU 11-785 (002): slides 'LSTM network forward' and 'LSTM network backward', with their output layer and without.

The cell of the slides has peepholes, also into the candidate; the same loops run any cell. As on the slides the steps are the outer
loop, and the layers run at each of them.
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
from .softmax import invert_softmax, log_softmax, one_hot, softmax
from .tables import Table
from .through_time import Case

Layers = list[Layer]


def hidden_forward(layers: Layers, p: Named, s: Named, cells: Cells, t: int, x: Array) -> Array:
    """`for l = 1:L`: hidden layers operate at time t. Returns h(t,L)."""
    h = x
    for layer in layers:
        layer.forward(p, s, cells, t, t - 1, h)
        h = s[layer.h][t]
    return h


def hidden_backward(layers: Layers, p: Named, cells: Cells, d: Named, t: int, d_x: Array) -> None:
    """`for l = L:1`: dh(t,l) holds what t+1 sent back, dh(t+1,l), before the layer above adds its dx(t,l+1)."""
    for l in reversed(range(len(layers))):
        layers[l].backward(p, cells, d, t, t - 1, d_x if l == 0 else d[layers[l - 1].h][t])


# --- the hidden layers alone -----------------------------------------------------------------------------------------


def layers_forward(p: Named, s: Named, cells: Cells, *, layers: Layers) -> None:
    for t in range(len(s.x)):
        hidden_forward(layers, p, s, cells, t, s.x[t])


def layers_backward(p: Named, s: Named, cells: Cells, d: Named, *, layers: Layers) -> None:
    for t in reversed(range(len(s.x))):
        hidden_backward(layers, p, cells, d, t, d.x[t])


# --- with the output layer of the slides -----------------------------------------------------------------------------


def network_forward(p: Named, s: Named, cells: Cells, *, layers: Layers) -> None:
    for t in range(len(s.x)):
        h = hidden_forward(layers, p, s, cells, t, s.x[t])
        z_o = p.W_o @ h + p.b_o
        s.Y[t] = softmax(z_o)


def network_backward(p: Named, s: Named, cells: Cells, d: Named, *, layers: Layers) -> None:
    top = layers[-1].h
    for t in reversed(range(len(s.x))):
        d_z_o = invert_softmax(d.Y[t], s.Y[t])
        d.W_o += d_z_o @ s[top][t].T
        d[top][t] += p.W_o.T @ d_z_o
        d.b_o += over_batch(d_z_o)
        hidden_backward(layers, p, cells, d, t, d.x[t])


# --- as a language model: slides 'Training' and 'Modelling language' -------------------------------------------------


def language_forward(p: Named, s: Named, cells: Cells, *, layers: Layers) -> None:
    """Div = sum_t KL(Y_target(t), Y(t)) = -sum_t log Y(t, w_{t+1}), of words that P projects."""
    V = p.P.shape[1]
    for t in range(len(s.w)):
        h = hidden_forward(layers, p, s, cells, t, p.P @ one_hot(s.w[t], V, p.P.dtype))
        z = p.W_y @ h + p.b_y
        s.Y[t] = softmax(z)
        s.Div -= (one_hot(s.w_next[t], V, z.dtype) * log_softmax(z)).sum(axis=0)


def language_backward(p: Named, s: Named, cells: Cells, d: Named, *, layers: Layers) -> None:
    V, top = p.P.shape[1], layers[-1].h
    for t in reversed(range(len(s.w))):
        # invert Div -= log Y_w, where -log softmax(z)_w has the gradient Y - e_w, and Y = softmax(z)
        d_z = d.Div * (s.Y[t] - one_hot(s.w_next[t], V, p.P.dtype)) + invert_softmax(d.Y[t], s.Y[t])
        # invert z = W_y h + b_y
        d.W_y += d_z @ s[top][t].T
        d[top][t] += p.W_y.T @ d_z
        d.b_y += over_batch(d_z)
        # the hidden layers
        d_x = np.zeros((len(p.P), len(s.w[t])), p.P.dtype)
        hidden_backward(layers, p, cells, d, t, d_x)
        # invert x = P w
        d.P += d_x @ one_hot(s.w[t], V, p.P.dtype).T


# --- the tables ------------------------------------------------------------------------------------------------------

GATES = ("f", "i", "c", "o")
OF_THE_SLIDES = {"c": "C"} | {
    f"{ours}_{gate}": f"W_{gate}{theirs}" for gate in GATES for ours, theirs in (("W", "x"), ("U", "h"), ("P", "c"))
}
"""The names of the cell -> those of the pseudocode, which calls the matrices by what they multiply: W_fx, W_fh, W_fc."""


def layers_of(cell: Case, count: int, below: str = "D", names: dict[str, str] | None = None, **options: Any) -> Layers:
    """Layers 1 to L, each of a size of its own; the first reads what is below."""
    return [Layer(cell, f"_{l}", f"H_{l - 1}" if l > 1 else below, f"H_{l}", names or {}, **options) for l in range(1, count + 1)]


def networks(layers: int) -> Iterator[Network]:
    """Every cell in so many layers, and with a mask; with the output layer of the slides; as the language model."""
    for cell in CASES.values():
        masked = layers_of(cell, layers, masked=True) if layers > 1 else [Layer(cell, "", "D", "H", masked=True)]
        for some in [layers_of(cell, layers)] * (layers > 1) + [masked]:
            yield _network(some, layers_forward, layers_backward, cell.source, INPUTS=inputs_of(some))
    peephole = CASES["lstm_peephole_candidate_peephole"]
    yield _network(
        layers_of(peephole, layers, names=OF_THE_SLIDES),
        network_forward,
        network_backward,
        "CMU 11-785 (002), slides 'LSTM network forward' and 'LSTM network backward'",
        behind={"W_o": ("K", f"H_{layers}"), "b_o": ("K",)},
        OUTPUTS={"Y": ("K",)},
    )
    yield _network(
        layers_of(CASES["lstm"], layers, "N", {"c": "C"}),
        language_forward,
        language_backward,
        "CMU 11-785 (002), slides 'Modelling language' and 'Training'; backward: slide 'LSTM network backward'",
        front={"P": ("N", "V")},
        behind={"W_y": ("V", f"H_{layers}"), "b_y": ("V",)},
        INPUTS={},
        TOKENS={"w": "V", "w_next": "V"},
        OUTPUTS={"Y": ("V",), "Div": ()},
        AXES={"Div": None},
    )


def _network(
    layers: Layers,
    forward: Callable[..., None],
    backward: Callable[..., None],
    source: str,
    front: Table = MappingProxyType({}),
    behind: Table = MappingProxyType({}),
    **tables: Any,
) -> Network:
    """front, behind: parameters of what stands below the layers and above them."""
    return Network(
        source=source,
        run=partial(forward, layers=layers),
        invert=partial(backward, layers=layers),
        PARAMETERS={**front, **parameters_of(layers), **behind},
        STATES=states_of(layers),
        **tables,
    )
