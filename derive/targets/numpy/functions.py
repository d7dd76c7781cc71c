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
    "end_of": '''
def end_of(a, at):
    """What stands at the first step or at the last one; zeros where there are no steps."""
    return a[at] if len(a) else np.zeros(a.shape[1:], a.dtype)
''',
    "placed": '''
def placed(a, steps, at):
    """An array at the first step or at the last one, zeros elsewhere."""
    found = np.zeros((steps, *a.shape), a.dtype)
    if steps:
        found[at] = a
    return found
''',
    "softmax_along": '''
def softmax_along(z, axis):
    """exp(z) / sum(exp(z)) along an axis, element by element, in a form that can't overflow."""
    e = np.exp(z - z.real.max(axis=axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)
''',
    "largest_along": '''
def largest_along(z, axis):
    """The largest along an axis, by the real part, element by element; 0 where there is none."""
    if not z.shape[axis]:
        return z.sum(axis=axis)
    return np.take_along_axis(z, np.expand_dims(z.real.argmax(axis=axis), axis), axis).squeeze(axis)
''',
    "first_largest_along": '''
def first_largest_along(z, axis):
    """1 at the first of the largest along an axis, else 0, element by element."""
    first = np.zeros(z.shape, z.dtype)
    if not z.shape[axis]:
        return first
    np.put_along_axis(first, np.expand_dims(z.real.argmax(axis=axis), axis), 1, axis)
    return first
''',
}
"""Helpers that a kernel defines where it calls them. All are analytic continuations: no conjugate."""
