"""Activations and their derivatives, both as functions of the pre-activation z.

The slides print tanh' = 1 - tanh(z)^2 and sigma' = sigma(z) (1 - sigma(z)). The same values are written here without
the subtraction, which leaves nothing but rounding errors once tanh(z) or sigma(z) comes close to 1.

On complex arrays these are the analytic continuations: a branch looks at the real part, nothing is conjugated.
"""

import numpy as np

from .named import Array


def sigma(z: Array) -> Array:
    """1 / (1 + exp(-z)), multiplied through by exp(z) where exp(-z) would overflow."""
    right = z.real >= 0
    small = np.exp(np.where(right, -z, z))
    y: Array = np.where(right, 1, small) / (1 + small)
    return y


def sigma_prime(z: Array) -> Array:
    """sigma(z) (1 - sigma(z)), where 1 - sigma(z) = sigma(-z)."""
    return sigma(z) * sigma(-z)


def tanh(z: Array) -> Array:
    y: Array = np.tanh(z)
    return y


def tanh_prime(z: Array) -> Array:
    """1 - tanh(z)^2 = 4 sigma'(2z), since tanh(z) = 2 sigma(2z) - 1."""
    return 4 * sigma_prime(2 * z)


def relu(z: Array) -> Array:
    """z where it is positive, else 0; a NaN stays one."""
    return np.where(z.real <= 0, 0, z)


def relu_prime(z: Array) -> Array:
    """1 where z is positive, else 0; at 0 it is 0."""
    return (z.real > 0).astype(z.dtype)


def identity(z: Array) -> Array:
    return z


def identity_prime(z: Array) -> Array:
    return np.ones_like(z)
