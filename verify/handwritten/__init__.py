"""Gradients written by hand, cell by cell and network by network, as the lecture documents print them.

This folder imports NumPy and the standard library and nothing else of the project: it is one of the routes that the
derived gradients are compared with, and routes that share code are one route.

`CASES` maps the canonical name of a cell to its `forward`, `backward`, `parameters`, `states` and `source`. `networks` gives the
networks of so many layers, which have the tables of the kernel contract beside `forward`, `backward` and `source`.
"""

from collections.abc import Iterator

from . import bidirectional, lstm_network, prints, sequence_to_sequence, translation, translation_layers
from .cells import CASES
from .network import Network

__all__ = ["CASES", "networks"]


def networks(layers: int) -> Iterator[Network]:
    """Every network that is written by hand, of so many layers where it has layers."""
    for family in (prints, lstm_network, bidirectional, translation, translation_layers, sequence_to_sequence):
        yield from family.networks(layers)
