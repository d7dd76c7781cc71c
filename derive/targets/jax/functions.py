"""The helpers of a JAX kernel: what NumPy's do, without writing to an array and without asking what kind of number it holds."""

from __future__ import annotations

from derive.functions import step
from derive.targets.numpy.functions import CALLED

STEP = CALLED[step]
"""What the derivative of relu is called."""

DEFINITIONS: dict[str, str] = {
    "starting_with": '''
def starting_with(start, steps):
    """An array over steps with what stands in front of the first one, which is all of it where there are none."""
    return jnp.concatenate([start[None], steps]) if len(steps) else start[None]
''',
    "ending_with": '''
def ending_with(steps, end):
    """An array over steps with what stands behind the last one, which is all of it where there are none."""
    return jnp.concatenate([steps, end[None]]) if len(steps) else end[None]
''',
    "sigma": '''
def sigma(z):
    """The logistic function, in a form that can't overflow."""
    return 0.5 * (1 + jnp.tanh(0.5 * z))
''',
    STEP: f'''
def {STEP}(z):
    """1 where z > 0, else 0: the derivative of relu, 0 at 0; nan stays nan."""
    return jnp.where(jnp.isnan(z), z, z.real > 0)
''',
    "relu": '''
def relu(z):
    """max(0, z), the branch taken on the real part; nan stays nan."""
    return jnp.where(z.real <= 0, 0, z)
''',
    "softplus": '''
def softplus(z):
    """log(1 + exp(z)), in a form that can't overflow."""
    positive = z.real > 0
    return jnp.where(positive, z, 0) + jnp.log1p(jnp.exp(jnp.where(positive, -z, z)))
''',
    "elu": '''
def elu(z):
    """z where z > 0, else exp(z) - 1, in a form that can't overflow."""
    positive = z.real > 0
    return jnp.where(positive, z, jnp.expm1(jnp.where(positive, 0, z)))
''',
    "absolute": '''
def absolute(z):
    """|z|, the sign taken from the real part; nan stays nan."""
    return jnp.where(z.real < 0, -z, z)
''',
    "sign": '''
def sign(z):
    """1, 0 or -1 as the real part is above, at or below 0; nan stays nan."""
    return jnp.sign(z.real).astype(z.dtype)
''',
    "hardtanh": '''
def hardtanh(z):
    """z held between -1 and 1, the branch taken on the real part; nan stays nan."""
    return jnp.where(jnp.abs(z.real) < 1, z, jnp.sign(z.real))
''',
    "softsign": '''
def softsign(z):
    """z/(1 + |z|), the sign taken from the real part."""
    return z / (1 + jnp.where(z.real < 0, -z, z))
''',
    "log_or_zero": '''
def log_or_zero(z):
    """log z, and 0 where z is 0."""
    return jnp.where(z == 0, 0, jnp.log(jnp.where(z == 0, 1, z)))
''',
    "inverse_or_zero": '''
def inverse_or_zero(z):
    """1/z, and 0 where z is 0."""
    return jnp.where(z == 0, 0, 1 / jnp.where(z == 0, 1, z))
''',
    "erf": '''
def erf(z):
    """2/sqrt(pi) times the integral of exp(-t**2) from 0 to z: JAX's own of the real part x, and Abramowitz and Stegun (7.1.29) for what
    the imaginary part y adds."""
    if not jnp.iscomplexobj(z):
        return jax.lax.erf(z)
    x, y, pi = z.real, z.imag, jnp.pi
    grown, turned = x * y * jnp.sinc(x * y / pi) ** 2 * y / pi, y * jnp.sinc(2 * x * y / pi) / pi
    for n in range(1, 25):
        weight = 2 / pi * jnp.exp(-n * n / 4) / (n * n + 4 * x * x)
        wide, sine, cosine = n * jnp.sinh(n * y), jnp.sin(2 * x * y), jnp.cos(2 * x * y)
        grown = grown + weight * (2 * x * (1 - jnp.cosh(n * y) * cosine) + wide * sine)
        turned = turned + weight * (2 * x * jnp.cosh(n * y) * sine + wide * cosine)
    return jax.lax.erf(x) + jnp.exp(-x * x) * (grown + 1j * turned)
''',
    "maximum": '''
def maximum(a, b):
    """The larger one, by the real part, of equals the first; nan stays nan."""
    return jnp.where((a.real >= b.real) | jnp.isnan(a), a, b)
''',
    "minimum": '''
def minimum(a, b):
    """The smaller one, by the real part, of equals the first; nan stays nan."""
    return jnp.where((a.real <= b.real) | jnp.isnan(a), a, b)
''',
    "at_least": '''
def at_least(a, b):
    """1 where a >= b, by the real part, else 0; nan where either one is."""
    return jnp.where(jnp.isnan(a) | jnp.isnan(b), jnp.nan, (a.real >= b.real).astype((a + b).dtype))
''',
    "above": '''
def above(a, b):
    """1 where a > b, by the real part, else 0; nan where either one is."""
    return jnp.where(jnp.isnan(a) | jnp.isnan(b), jnp.nan, (a.real > b.real).astype((a + b).dtype))
''',
    "softmax": '''
def softmax(z):
    """exp(z) / sum(exp(z)) along the last axis, in a form that can't overflow."""
    e = jnp.exp(z - z.real.max(axis=-1, keepdims=True, initial=-jnp.inf))
    return e / e.sum(axis=-1, keepdims=True)
''',
    "log_softmax": '''
def log_softmax(z):
    """log(exp(z) / sum(exp(z))) along the last axis, finite wherever z is."""
    z = z - z.real.max(axis=-1, keepdims=True, initial=-jnp.inf)
    return z - jnp.log(jnp.exp(z).sum(axis=-1, keepdims=True))
''',
    "log_softmax_at": '''
def log_softmax_at(z, w):
    """Element w of log(exp(z) / sum(exp(z))) along the last axis."""
    z = z - z.real.max(axis=-1, keepdims=True, initial=-jnp.inf)
    places = jnp.broadcast_to(w, z.shape[:-1])[..., None]
    return jnp.take_along_axis(z, places, axis=-1)[..., 0] - jnp.log(jnp.exp(z).sum(axis=-1))
''',
    "pick": '''
def pick(a, w):
    """Element w along the last axis; w has an axis of one element for each of those behind the examples."""
    shape = jnp.broadcast_shapes(a.shape[:-1], w.shape[:-1])
    a, w = jnp.broadcast_to(a, (*shape, a.shape[-1])), jnp.broadcast_to(w, (*shape, 1))
    return jnp.take_along_axis(a, w, axis=-1)[..., 0]
''',
    "by_token": '''
def by_token(a, w, size):
    """Vectors, or numbers, summed over steps and examples by token, (size, n): repeated tokens add."""
    return jnp.zeros((size, *a.shape[w.ndim :]), a.dtype).at[w].add(a)
''',
    "one_hot": '''
def one_hot(w, number, size, dtype):
    """A number at element w along a new last axis, 0 elsewhere."""
    return jnp.where(w[..., None] == jnp.arange(size), jnp.asarray(number, dtype)[..., None], 0)
''',
    "add_at": '''
def add_at(a, w, number):
    """A number added to element w along the last axis."""
    return a.at[(*jnp.indices(a.shape[:-1], sparse=True), w)].add(number)
''',
    "logsumexp": '''
def logsumexp(z):
    """log(sum(exp(z))) along the last axis, in a form that can't overflow."""
    top = z.real.max(axis=-1, keepdims=True, initial=-jnp.inf)
    return top[..., 0] + jnp.log(jnp.exp(z - top).sum(axis=-1))
''',
    "largest": '''
def largest(z):
    """The largest element along the last axis, by the real part."""
    return jnp.take_along_axis(z, z.real.argmax(axis=-1, keepdims=True), axis=-1)[..., 0]
''',
    "first_largest": '''
def first_largest(z):
    """1 at the first of the largest elements along the last axis, else 0."""
    return (jnp.arange(z.shape[-1]) == z.real.argmax(axis=-1, keepdims=True)).astype(z.dtype)
''',
    "end_of": '''
def end_of(a, at):
    """What stands at the first step or at the last one; zeros where there are no steps."""
    return a[at] if len(a) else jnp.zeros(a.shape[1:], a.dtype)
''',
    "placed": '''
def placed(a, steps, at):
    """An array at the first step or at the last one, zeros elsewhere."""
    found = jnp.zeros((steps, *a.shape), a.dtype)
    return found.at[at].set(a) if steps else found
''',
    "softmax_along": '''
def softmax_along(z, axis):
    """exp(z) / sum(exp(z)) along an axis, element by element, in a form that can't overflow."""
    e = jnp.exp(z - z.real.max(axis=axis, keepdims=True, initial=-jnp.inf))
    return e / e.sum(axis=axis, keepdims=True)
''',
    "largest_along": '''
def largest_along(z, axis):
    """The largest along an axis, by the real part, element by element; 0 where there is none."""
    if not z.shape[axis]:
        return z.sum(axis=axis)
    return jnp.take_along_axis(z, z.real.argmax(axis=axis, keepdims=True), axis).squeeze(axis)
''',
    "first_largest_along": '''
def first_largest_along(z, axis):
    """1 at the first of the largest along an axis, else 0, element by element."""
    if not z.shape[axis]:
        return z
    first = z.real.argmax(axis=axis, keepdims=True)
    steps = jnp.arange(z.shape[axis]).reshape(-1, *[1] * (z.ndim - 1 - axis))
    return (steps == first).astype(z.dtype)
''',
}  # fmt: skip
"""Helpers that a kernel defines where it calls them. All are analytic continuations: no conjugate."""
