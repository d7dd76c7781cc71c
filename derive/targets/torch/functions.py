"""What elementwise functions and reductions are called in PyTorch, and the ones that a kernel defines for itself."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.functions import (
    absolute,
    elu,
    hardtanh,
    inverse_or_zero,
    log_or_zero,
    relu,
    sigma,
    sign,
    softplus,
    softsign,
    step,
)

CALLED: dict[type[Any], str] = {
    sp.tanh: "torch.tanh",
    sp.exp: "torch.exp",
    sp.log: "torch.log",
    sp.sin: "torch.sin",
    sp.cos: "torch.cos",
    sp.sqrt: "torch.sqrt",
    sp.atan: "torch.arctan",
    sp.sinh: "torch.sinh",
    sp.cosh: "torch.cosh",
    sp.erf: "erf",
    sigma: "torch.sigmoid",
    step: "step",
    relu: "relu",
    softplus: "softplus",
    elu: "elu",
    absolute: "absolute",
    sign: "sign",
    hardtanh: "hardtanh",
    softsign: "softsign",
    log_or_zero: "log_or_zero",
    inverse_or_zero: "inverse_or_zero",
}
"""SymPy function -> what it is called. Everything is an analytic continuation: PyTorch's own relu and the like take no complex numbers."""

DEFINITIONS: dict[str, str] = {
    "step": '''
def step(z):
    """1 where z > 0, else 0: the derivative of relu, 0 at 0; nan stays nan."""
    return torch.where(torch.isnan(z), z, (z.real > 0).to(z.dtype))
''',
    "relu": '''
def relu(z):
    """max(0, z), the branch taken on the real part; nan stays nan."""
    return torch.where(z.real <= 0, 0, z)
''',
    "softplus": '''
def softplus(z):
    """log(1 + exp(z)), in a form that can't overflow."""
    positive = z.real > 0
    return torch.where(positive, z, 0) + torch.log1p(torch.exp(torch.where(positive, -z, z)))
''',
    "elu": '''
def elu(z):
    """z where z > 0, else exp(z) - 1, in a form that can't overflow."""
    positive = z.real > 0
    return torch.where(positive, z, torch.expm1(torch.where(positive, 0, z)))
''',
    "absolute": '''
def absolute(z):
    """|z|, the sign taken from the real part; nan stays nan."""
    return torch.where(z.real < 0, -z, z)
''',
    "sign": '''
def sign(z):
    """1, 0 or -1 as the real part is above, at or below 0; nan stays nan."""
    return torch.where(torch.isnan(z), z, torch.sign(z.real).to(z.dtype))
''',
    "hardtanh": '''
def hardtanh(z):
    """z held between -1 and 1, the branch taken on the real part; nan stays nan."""
    return torch.where(z.real >= 1, 1, torch.where(z.real <= -1, -1, z))
''',
    "softsign": '''
def softsign(z):
    """z/(1 + |z|), the sign taken from the real part."""
    return z / (1 + torch.where(z.real < 0, -z, z))
''',
    "log_or_zero": '''
def log_or_zero(z):
    """log z, and 0 where z is 0."""
    return torch.where(z == 0, 0, torch.log(torch.where(z == 0, 1, z)))
''',
    "inverse_or_zero": '''
def inverse_or_zero(z):
    """1/z, and 0 where z is 0."""
    return torch.where(z == 0, 0, 1 / torch.where(z == 0, 1, z))
''',
    "erf": '''
def erf(z):
    """2/sqrt(pi) times the integral of exp(-t**2) from 0 to z; for what the imaginary part y adds Abramowitz and Stegun (7.1.29)."""
    if not z.is_complex():
        return torch.erf(z)
    x, y = z.real, z.imag
    grown = x * y * torch.sinc(x * y / math.pi) ** 2 * y / math.pi
    turned = y * torch.sinc(2 * x * y / math.pi) / math.pi
    for n in range(1, 25):
        weight = 2 / math.pi * math.exp(-n * n / 4) / (n * n + 4 * x * x)
        wide, sine, cosine = n * torch.sinh(n * y), torch.sin(2 * x * y), torch.cos(2 * x * y)
        grown = grown + weight * (2 * x * (1 - torch.cosh(n * y) * cosine) + wide * sine)
        turned = turned + weight * (2 * x * torch.cosh(n * y) * sine + wide * cosine)
    return torch.erf(x) + torch.exp(-x * x) * torch.complex(grown, turned)
''',
    "maximum": '''
def maximum(a, b):
    """The larger one, by the real part, of equals the first; nan stays nan."""
    return torch.where((a.real >= b.real) | torch.isnan(a), a, b)
''',
    "minimum": '''
def minimum(a, b):
    """The smaller one, by the real part, of equals the first; nan stays nan."""
    return torch.where((a.real <= b.real) | torch.isnan(a), a, b)
''',
    "at_least": '''
def at_least(a, b):
    """1 where a >= b, by the real part, else 0; nan where either one is."""
    both = a + b
    return torch.where(torch.isnan(both), both, (a.real >= b.real).to(both.dtype))
''',
    "above": '''
def above(a, b):
    """1 where a > b, by the real part, else 0; nan where either one is."""
    both = a + b
    return torch.where(torch.isnan(both), both, (a.real > b.real).to(both.dtype))
''',
    "softmax": '''
def softmax(z):
    """exp(z) / sum(exp(z)) along the last axis, in a form that can't overflow."""
    return softmax_along(z, -1)
''',
    "softmax_along": '''
def softmax_along(z, dim):
    """exp(z) / sum(exp(z)) along an axis, element by element, in a form that can't overflow."""
    if not z.is_complex():
        return torch.softmax(z, dim=dim)
    e = torch.exp(z - torch.logsumexp(z.real, dim=dim, keepdim=True))
    return e / e.sum(dim=dim, keepdim=True)
''',
    "log_softmax": '''
def log_softmax(z):
    """log(exp(z) / sum(exp(z))) along the last axis, finite wherever z is."""
    return z - logsumexp(z)[..., None]
''',
    "log_softmax_at": '''
def log_softmax_at(z, w):
    """Element w of log(exp(z) / sum(exp(z))) along the last axis."""
    return pick(z, w[..., None]) - logsumexp(z)
''',
    "logsumexp": '''
def logsumexp(z):
    """log(sum(exp(z))) along the last axis, in a form that can't overflow."""
    if not z.is_complex():
        return torch.logsumexp(z, dim=-1)
    top = torch.logsumexp(z.real, dim=-1, keepdim=True)
    return top[..., 0] + torch.log(torch.exp(z - top).sum(dim=-1))
''',
    "pick": '''
def pick(a, w):
    """Element w along the last axis; w has an axis of one element for each of those behind the examples."""
    shape = torch.broadcast_shapes(a.shape[:-1], w.shape[:-1])
    return torch.take_along_dim(a.expand(*shape, a.shape[-1]), w.expand(*shape, 1), dim=-1)[..., 0]
''',
    "by_token": '''
def by_token(a, w, size):
    """Vectors, or numbers, summed over steps and examples by token, (size, n): repeated tokens add."""
    own = a.shape[w.ndim :]
    return torch.zeros(size, *own, dtype=a.dtype, device=a.device).index_add(0, w.reshape(-1), a.reshape(-1, *own))
''',
    "one_hot": '''
def one_hot(w, number, size, like):
    """A number at element w along a new last axis, 0 elsewhere."""
    number = torch.as_tensor(number, **like)
    shape = torch.broadcast_shapes(w.shape, number.shape)
    found = torch.zeros(*shape, size, **like)
    return found.scatter(-1, w.expand(shape)[..., None], number.expand(shape)[..., None])
''',
    "add_at": '''
def add_at(a, w, number):
    """A number added to element w along the last axis, in place."""
    shape, number = a.shape[:-1], torch.as_tensor(number, dtype=a.dtype, device=a.device)
    return a.scatter_add_(-1, w.expand(shape)[..., None], number.expand(shape)[..., None])
''',
    "scale": '''
def scale(a, number):
    """a times a number of each vector, in place."""
    return a.mul_(number)
''',
    "largest": '''
def largest(z):
    """The largest element along the last axis, by the real part."""
    return torch.take_along_dim(z, z.real.argmax(dim=-1, keepdim=True), dim=-1)[..., 0]
''',
    "first_largest": '''
def first_largest(z):
    """1 at the first of the largest elements along the last axis, else 0."""
    return (torch.arange(z.shape[-1], device=z.device) == z.real.argmax(dim=-1, keepdim=True)).to(z.dtype)
''',
    "largest_along": '''
def largest_along(z, dim):
    """The largest along an axis, by the real part, element by element; 0 where there is none."""
    if not z.shape[dim]:
        return z.sum(dim=dim)
    return torch.take_along_dim(z, z.real.argmax(dim=dim, keepdim=True), dim=dim).squeeze(dim)
''',
    "first_largest_along": '''
def first_largest_along(z, dim):
    """1 at the first of the largest along an axis, else 0, element by element."""
    if not z.shape[dim]:
        return torch.zeros_like(z)
    return torch.zeros_like(z).scatter(dim, z.real.argmax(dim=dim, keepdim=True), 1)
''',
    "end_of": '''
def end_of(a, at):
    """What stands at the first step or at the last one; zeros where there are no steps."""
    return a[at] if len(a) else torch.zeros(a.shape[1:], dtype=a.dtype, device=a.device)
''',
    "placed": '''
def placed(a, steps, at):
    """An array at the first step or at the last one, zeros elsewhere."""
    found = torch.zeros(steps, *a.shape, dtype=a.dtype, device=a.device)
    if steps:
        found[at] = a
    return found
''',
}
"""Helpers that a kernel defines where it calls them."""

CALLS = {
    "softmax": ("softmax_along",),
    "log_softmax": ("logsumexp",),
    "log_softmax_at": ("logsumexp", "pick"),
}
"""What helpers call themselves."""
