"""What elementwise functions and reductions are called in NumPy, and the ones that a kernel defines for itself."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.functions import DEFINITIONS as SCALAR_DEFINITIONS
from derive.functions import NUMPY, step

CALLED: dict[type[Any], str] = {function: text.partition("(")[0] for function, text in NUMPY.items()} | {sp.sqrt: "np.sqrt"}
"""SymPy function -> what it is called."""

DEFINITIONS: dict[str, str] = {
    **SCALAR_DEFINITIONS,
    CALLED[step]: '''
def step(z):
    """1 where z > 0, else 0: the derivative of relu, 0 at 0; nan stays nan."""
    return np.where(np.isnan(z), z, z.real > 0)
''',
    "maximum": '''
def maximum(a, b, out=None):
    """The larger one, by the real part, of equals the first; nan stays nan."""
    if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
        return np.maximum(a, b, out=out)
    larger = np.where((a.real >= b.real) | np.isnan(a), a, b)
    return larger if out is None else np.positive(larger, out=out)
''',
    "minimum": '''
def minimum(a, b, out=None):
    """The smaller one, by the real part, of equals the first; nan stays nan."""
    if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
        return np.minimum(a, b, out=out)
    smaller = np.where((a.real <= b.real) | np.isnan(a), a, b)
    return smaller if out is None else np.positive(smaller, out=out)
''',
    "at_least": '''
def at_least(a, b):
    """1 where a >= b, by the real part, else 0; nan where either one is."""
    larger = np.maximum(a, b)
    return np.where(np.isnan(larger), larger, a.real >= b.real)
''',
    "above": '''
def above(a, b):
    """1 where a > b, by the real part, else 0; nan where either one is."""
    larger = np.maximum(a, b)
    return np.where(np.isnan(larger), larger, a.real > b.real)
''',
    "softmax": '''
def softmax(z):
    """exp(z) / sum(exp(z)) along the last axis, in a form that can't overflow."""
    e = np.exp(z - z.real.max(axis=-1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=-1, keepdims=True)
''',
    "logsumexp": '''
def logsumexp(z):
    """log(sum(exp(z))) along the last axis, in a form that can't overflow."""
    top = z.real.max(axis=-1, keepdims=True, initial=-np.inf)
    return top[..., 0] + np.log(np.exp(z - top).sum(axis=-1))
''',
    "largest": '''
def largest(z):
    """The largest element along the last axis, by the real part."""
    return np.take_along_axis(z, z.real.argmax(axis=-1, keepdims=True), axis=-1)[..., 0]
''',
    "first_largest": '''
def first_largest(z):
    """1 at the first of the largest elements along the last axis, else 0."""
    return (np.arange(z.shape[-1]) == z.real.argmax(axis=-1, keepdims=True)).astype(z.dtype)
''',
}
"""Helpers that a kernel defines where it calls them. All are analytic continuations: no conjugate."""
