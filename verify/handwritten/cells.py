"""The cells whose gradients are written by hand, by their canonical names."""

from . import gru, gru_reset_after, lstm, lstm_peephole, lstm_peephole_diagonal, rnn
from .through_time import Case

CASES: dict[str, Case] = {
    **rnn.CASES,
    **lstm.CASES,
    **lstm_peephole.CASES,
    **lstm_peephole_diagonal.CASES,
    **gru.CASES,
    **gru_reset_after.CASES,
}
