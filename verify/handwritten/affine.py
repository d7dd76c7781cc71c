"""The inversions that come back in every gate of every cell.

The slides write gradients as rows and take one example: `dh += dz W_h`, `dW_h = h dz`, `db = dz`. Here cotangents are
columns, one per example, and parameters are shared by the batch: `U.T @ d_z`, `d_z @ h.T`, and a sum over examples.
"""

from .named import Array, Named


def invert_affine(gate: str, d_z: Array, p: Named, s: Named, d: Named) -> None:
    """Invert z = W x + U h_prev + b, with the W, U, b of one gate. d_z: (H, B)."""
    # the variables
    d.x += p[f"W_{gate}"].T @ d_z
    d.h_prev += p[f"U_{gate}"].T @ d_z
    # the parameters
    d[f"W_{gate}"] += d_z @ s.x.T
    d[f"U_{gate}"] += d_z @ s.h_prev.T
    d[f"b_{gate}"] += over_batch(d_z)


def over_batch(d_z: Array) -> Array:
    """(H, B) -> (H, 1): a vector is added to, or multiplies, every example alike."""
    total: Array = d_z.sum(axis=1, keepdims=True)
    return total
