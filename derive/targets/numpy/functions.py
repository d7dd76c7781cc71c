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
    e = z - z.real.max(axis=-1, keepdims=True, initial=-np.inf)
    np.exp(e, out=e)
    e /= e.sum(axis=-1, keepdims=True)
    return e
''',
    "log_softmax": '''
def log_softmax(z):
    """log(exp(z) / sum(exp(z))) along the last axis, finite wherever z is."""
    z = z - z.real.max(axis=-1, keepdims=True, initial=-np.inf)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
''',
    "log_softmax_at": '''
def log_softmax_at(z, w):
    """Element w of log(exp(z) / sum(exp(z))) along the last axis, of some vectors at a time: no array as large as z is made."""
    size = z.shape[-1]
    vectors, places = z.reshape(-1, size), np.broadcast_to(w, z.shape[:-1]).reshape(-1, 1)
    found = np.empty(len(vectors), z.dtype)
    count = max(1, 2**16 // max(1, size))
    for start in range(0, len(vectors), count):
        some = vectors[start : start + count]
        some = some - some.real.max(axis=-1, keepdims=True)
        there = np.take_along_axis(some, places[start : start + count], axis=-1)[:, 0]
        found[start : start + count] = there - np.log(np.exp(some).sum(axis=-1))
    return found.reshape(z.shape[:-1])
''',
    "pick": '''
def pick(a, w):
    """Element w along the last axis; w has an axis of one element for each of those behind the examples."""
    shape = np.broadcast_shapes(a.shape[:-1], w.shape[:-1])
    a, w = np.broadcast_to(a, (*shape, a.shape[-1])), np.broadcast_to(w, (*shape, 1))
    return np.take_along_axis(a, w, axis=-1)[..., 0]
''',
    "by_token": '''
def by_token(a, w, size):
    """Vectors, or numbers, summed over steps and examples by token, (size, n): repeated tokens add."""
    n = int(np.prod(a.shape[w.ndim :]))
    places = (w.reshape(-1, 1).astype(np.intp) * n + np.arange(n)).ravel()
    parts = (a.real, a.imag) if np.iscomplexobj(a) else (a,)
    sums = [np.bincount(places, part.ravel(), size * n) for part in parts]
    found = sums[0] + 1j * sums[1] if len(sums) > 1 else sums[0]
    return found.astype(a.dtype, copy=False).reshape(size, *a.shape[w.ndim :])
''',
    "one_hot": '''
def one_hot(w, number, size, dtype):
    """A number at element w along a new last axis, 0 elsewhere."""
    found = np.zeros((*np.broadcast_shapes(w.shape, np.shape(number)), size), dtype)
    found[(*np.indices(found.shape[:-1], sparse=True), w)] = number
    return found
''',
    "add_at": '''
def add_at(a, w, number):
    """A number added to element w along the last axis, in place."""
    a[(*np.indices(a.shape[:-1], sparse=True), w)] += number
    return a
''',
    "scale": '''
def scale(a, number):
    """a times a number of each vector, in place."""
    a *= number
    return a
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
