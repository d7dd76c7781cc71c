"""What the output layers of the documents' networks have: softmax, its logarithm, one-hot columns, and how softmax is inverted.

Examples are columns: z is (K, B), whole numbers w are (B,). On complex arrays these are the analytic continuations.
"""

import numpy as np

from .named import Array
from .refusals import DType


def softmax(z: Array) -> Array:
    """exp(z) / sum_j exp(z_j), with the largest z taken off first, so that nothing overflows."""
    e = np.exp(z - z.real.max(axis=0))
    y: Array = e / e.sum(axis=0)
    return y


def log_softmax(z: Array) -> Array:
    """z - log sum_j exp(z_j), finite also where the softmax is too small for a number."""
    z = z - z.real.max(axis=0)
    log_y: Array = z - np.log(np.exp(z).sum(axis=0))
    return log_y


def invert_softmax(d_y: Array, y: Array) -> Array:
    """dz = dy ∘ Softmax_Jacobian(z), whose entry (i, j) is y_i (δ_ij - y_j): dz_i = y_i (dy_i - sum_j y_j dy_j).

    The y_j add up to 1, so that dz_i = y_i sum_j y_j (dy_i - dy_j), which keeps its digits where one of them comes close to 1.
    """
    d_z: Array = y * (y * (d_y[:, np.newaxis] - d_y)).sum(axis=1)
    return d_z


def one_hot(w: Array, size: int, dtype: DType) -> Array:
    """(size, B): in the column of each example a 1 at its number."""
    e = np.zeros((size, len(w)), dtype)
    e[w, np.arange(len(w))] = 1
    return e
