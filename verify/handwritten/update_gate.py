"""The last line of the GRU, in the two ways it is printed: the update gate z opens for the candidate or for the state.

Each forward has its inversion below it, which returns the cotangents of (z, h_prev, h_tilde).
"""

from .named import Array


def update_candidate(z: Array, h_prev: Array, h_tilde: Array) -> Array:
    """h = (1 - z) ∘ h_prev + z ∘ h_tilde."""
    h: Array = (1 - z) * h_prev + z * h_tilde
    return h


def invert_update_candidate(d_h: Array, z: Array, h_prev: Array, h_tilde: Array) -> tuple[Array, Array, Array]:
    """Invert h = (1 - z) ∘ h_prev + z ∘ h_tilde."""
    return d_h * (h_tilde - h_prev), d_h * (1 - z), d_h * z


def update_state(z: Array, h_prev: Array, h_tilde: Array) -> Array:
    """h = (1 - z) ∘ h_tilde + z ∘ h_prev."""
    h: Array = (1 - z) * h_tilde + z * h_prev
    return h


def invert_update_state(d_h: Array, z: Array, h_prev: Array, h_tilde: Array) -> tuple[Array, Array, Array]:
    """Invert h = (1 - z) ∘ h_tilde + z ∘ h_prev."""
    return d_h * (h_prev - h_tilde), d_h * z, d_h * (1 - z)
