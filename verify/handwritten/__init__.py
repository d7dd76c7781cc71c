"""Gradients written by hand, cell by cell, as the lecture documents print them.

This folder imports NumPy and the standard library and nothing else of the project: it is one of the routes that the
derived gradients are compared with, and routes that share code are one route.

`CASES` maps the canonical name of a cell to its `forward`, `backward`, `parameters`, `states` and `source`.
"""

from . import gru, gru_reset_after, lstm, lstm_peephole, lstm_peephole_diagonal, rnn
from .through_time import Case

__all__ = ["CASES"]

CASES: dict[str, Case] = {
    **rnn.CASES,
    **lstm.CASES,
    **lstm_peephole.CASES,
    **lstm_peephole_diagonal.CASES,
    **gru.CASES,
    **gru_reset_after.CASES,
}
