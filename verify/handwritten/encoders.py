"""CS224n notes V (004), section 2.6: what reads the source, h_s, s = 1..S, and hands what it has at its end to the decoder.

Equation (23) and extension V in one direction, extension III in layers, extension IV in both directions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import activations, bidirectional
from .layer import Layer
from .named import Array, Named
from .network import Cells

Function = Callable[[Array], Array]
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "rnn": (activations.tanh, activations.tanh_prime),
    "rnn_activation_sigmoid": (activations.sigma, activations.sigma_prime),
    "rnn_activation_relu": (activations.relu, activations.relu_prime),
    "rnn_activation_identity": (activations.identity, activations.identity_prime),
}
"""What f may be, and its derivative, by the cell that has it."""


class Encoder(Protocol):
    """What reads the source: forward returns what it has at its end, backward gets the gradient of that."""

    def forward(self, p: Named, s: Named, cells: Cells) -> Array: ...

    def backward(self, p: Named, s: Named, cells: Cells, d: Named, d_end: Array) -> None: ...


@dataclass(frozen=True)
class OneWay:
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

    def forward(self, p: Named, s: Named, cells: Cells) -> Array:
        s.a = np.zeros_like(s.h)
        for i, before in self.steps(s):
            s.a[i] = p.W_hh @ s.h[before] + p.W_hx @ s.x[i]
            s.h[i] = self.f(s.a[i])
        last: Array = s.h[self.last(s)]
        return last

    def backward(self, p: Named, s: Named, cells: Cells, d: Named, d_end: Array) -> None:
        d.h[self.last(s)] += d_end
        for i, before in reversed(self.steps(s)):
            # invert h_s = f(a)
            d_a = d.h[i] * self.f_prime(s.a[i])
            # invert a = W_hh h_{s-1} + W_hx x_s
            d.W_hh += d_a @ s.h[before].T
            d.h[before] += p.W_hh.T @ d_a
            d.W_hx += d_a @ s.x[i].T
            d.x[i] += p.W_hx.T @ d_a


@dataclass(frozen=True)
class BothWays:
    """Extension IV: equations (17) and (18), and at the end [h_right_S; h_left_1], what each has read last."""

    pairs: bidirectional.Pairs

    def forward(self, p: Named, s: Named, cells: Cells) -> Array:
        bidirectional.forward(p, s, cells, pairs=self.pairs)
        end: Array = np.concatenate([s.h_right[len(s.x) - 1], s.h_left[0]])
        return end

    def backward(self, p: Named, s: Named, cells: Cells, d: Named, d_end: Array) -> None:
        n = s.h_right.shape[1]
        d.h_right[len(s.x) - 1] += d_end[:n]
        d.h_left[0] += d_end[n:]
        bidirectional.backward(p, s, cells, d, np.zeros_like(bidirectional.both(s, self.pairs[-1])), pairs=self.pairs)


@dataclass(frozen=True)
class Stacked:
    """h_s^(i) = f(W^(i) h_s^(i-1) + V^(i) h_{s-1}^(i) + b^(i)), layer after layer; at the end h_S^(L)."""

    layers: list[Layer]

    def forward(self, p: Named, s: Named, cells: Cells) -> Array:
        x = s.x
        for layer in self.layers:
            for i in range(len(x)):
                layer.forward(p, s, cells, i, i - 1, x[i])
            x = s[layer.h][:-1]
        last: Array = s[self.layers[-1].h][len(s.x) - 1]
        return last

    def backward(self, p: Named, s: Named, cells: Cells, d: Named, d_end: Array) -> None:
        d[self.layers[-1].h][len(s.x) - 1] += d_end
        for l in reversed(range(len(self.layers))):
            d_x = d[self.layers[l - 1].h] if l > 0 else d.x
            for i in reversed(range(len(s.x))):
                self.layers[l].backward(p, cells, d, i, i - 1, d_x[i])
