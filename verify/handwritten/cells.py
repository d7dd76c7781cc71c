"""The cells whose gradients are written by hand, by their canonical names."""

from . import gru, gru_reset_after, lstm, lstm_peephole, lstm_peephole_diagonal, rnn
from .bias import without_bias
from .through_time import Case

WITH_BIAS: dict[str, Case] = {
    **rnn.CASES,
    **lstm.CASES,
    **lstm_peephole.CASES,
    **lstm_peephole_diagonal.CASES,
    **gru.CASES,
    **gru_reset_after.CASES,
}

CASES: dict[str, Case] = WITH_BIAS | {
    name: bare for whole, case in WITH_BIAS.items() for name, bare in without_bias(whole, case).items()
}
