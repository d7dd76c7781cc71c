"""The scalar functions that equations may use, as SymPy functions.

Each is a SymPy `Function` whose `fdiff` gives the derivative (in terms of the function itself where that is shorter), or a plain
SymPy expression in `X`. `NUMPY` says how the emitted code computes it. A function that is an expression of known ones
needs one line in `FUNCTIONS` and nothing else: no rule, no printer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy as sp

from derive.language import X, add, apply, hadamard


class sigma(sp.Function):  # type: ignore[misc]
    """The logistic function 1/(1 + exp(-x)); sigma' = sigma (1 - sigma)."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return self * (1 - self)


class step(sp.Function):  # type: ignore[misc]
    """1 where x > 0, else 0: the derivative of relu, 0 at 0 by convention."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class relu(sp.Function):  # type: ignore[misc]
    """max(0, x); relu'(0) = 0."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return step(self.args[0])


class softplus(sp.Function):  # type: ignore[misc]
    """log(1 + exp(x)); softplus' = sigma."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sigma(self.args[0])


class elu(sp.Function):  # type: ignore[misc]
    """x where x > 0, else exp(x) - 1; its slope at 0 is 1."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.exp(-relu(-self.args[0]))


class absolute(sp.Function):  # type: ignore[misc]
    """|x|; its slope at 0 is 0."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sign(self.args[0])


class sign(sp.Function):  # type: ignore[misc]
    """1, 0 or -1 as x is above, at or below 0; its slope is 0 everywhere, at the jump too."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class hardtanh(sp.Function):  # type: ignore[misc]
    """x, held between -1 and 1; its slope at both ends is 0."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return step(1 + self.args[0]) * step(1 - self.args[0])


class softsign(sp.Function):  # type: ignore[misc]
    """x/(1 + |x|); the slope 1/(1 + |x|)^2 loses no digits where x is large, as that of the quotient does."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return (1 + absolute(self.args[0])) ** -2


class log_or_zero(sp.Function):  # type: ignore[misc]
    """log x, and 0 where x is 0: what p log p is made of, which is 0 where the share p is."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return inverse_or_zero(self.args[0])


class inverse_or_zero(sp.Function):  # type: ignore[misc]
    """1/x, and 0 where x is 0."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return -(self**2)


LEAK = sp.Rational(1, 100)
"""The slope of LeakyReLU below 0, and at 0."""
SELU_SCALE, SELU_ALPHA = sp.Rational("1.0507009873554804934193349852946"), sp.Rational("1.6732632423543772848170429916717")
"""The two constants of Klambauer et al. 2017, section 2."""

FUNCTIONS: dict[str, sp.Expr] = {
    "sigma": sigma(X),
    "tanh": sp.tanh(X),
    "relu": relu(X),
    "softplus": softplus(X),
    "exp": sp.exp(X),
    "log": sp.log(X),
    "sin": sp.sin(X),
    "cos": sp.cos(X),
    "sqrt": sp.sqrt(X),
    "gelu": X / 2 * (1 + sp.tanh(sp.sqrt(2 / sp.pi) * (X + sp.Rational("0.044715") * X**3))),
    "gelu_erf": X / 2 * (1 + sp.erf(X / sp.sqrt(2))),
    "elu": elu(X),
    "identity": X,
    "abs": absolute(X),
    "sign": sign(X),
    "hardtanh": hardtanh(X),
    "hardsigmoid": hardtanh(X / 3) / 2 + sp.S.Half,
    "silu": X * sigma(X),
    "leakyrelu": LEAK * X + (1 - LEAK) * relu(X),
    "softsign": softsign(X),
    "selu": SELU_SCALE * SELU_ALPHA * elu(X) + SELU_SCALE * (1 - SELU_ALPHA) * relu(X),
    "mish": X * sp.tanh(softplus(X)),
    "arctan": sp.atan(X),
    "erf": sp.erf(X),
    "sinh": sp.sinh(X),
    "cosh": sp.cosh(X),
}
"""Name -> the function as a SymPy expression in `X`. GELU is the tanh form (Hendrycks and Gimpel 2016, section 2),
`gelu_erf` what it stands for."""

CHOSEN: dict[str, str] = {
    "gelu": "GELU is the tanh form; `gelu = erf` makes it the exact one",
    "gelu_erf": "GELU is the exact form, by erf",
    "leakyrelu": "LeakyReLU has the slope 0.01 below 0",
    "hardsigmoid": "the hard sigmoid is x/6 + 1/2, held between 0 and 1",
    "hardtanh": "the hard tanh is x, held between -1 and 1",
    "sign": "sign has the slope 0 everywhere: no gradient goes through it",
}
"""Functions that carry one name and have several forms, or a slope that may surprise: what is meant here."""

NUMPY: dict[type[Any], str] = {
    sp.tanh: "np.tanh({})",
    sp.exp: "np.exp({})",
    sp.log: "np.log({})",
    sp.sin: "np.sin({})",
    sp.cos: "np.cos({})",
    sigma: "sigma({})",
    step: "step({})",
    relu: "relu({})",
    softplus: "softplus({})",
    elu: "elu({})",
    absolute: "absolute({})",
    sign: "sign({})",
    hardtanh: "hardtanh({})",
    softsign: "softsign({})",
    log_or_zero: "log_or_zero({})",
    inverse_or_zero: "inverse_or_zero({})",
    sp.atan: "np.arctan({})",
    sp.erf: "erf({})",
    sp.sinh: "np.sinh({})",
    sp.cosh: "np.cosh({})",
}
"""SymPy function -> how the emitted code calls it."""

DEFINITIONS: dict[str, str] = {
    "sigma": '''
def sigma(z):
    """The logistic function, in a form that can't overflow."""
    return 0.5 * (1 + np.tanh(0.5 * z))
''',
    "step": '''
def step(z):
    """1 where z > 0, else 0: the derivative of relu, 0 at 0; nan stays nan."""
    slope = (z.real > 0).astype(z.dtype)
    np.copyto(slope, z, where=np.isnan(z))
    return slope
''',
    "relu": '''
def relu(z):
    """max(0, z), the branch taken on the real part; nan stays nan."""
    return np.where(z.real <= 0, 0, z)
''',
    "softplus": '''
def softplus(z):
    """log(1 + exp(z)), in a form that can't overflow."""
    positive = z.real > 0
    return np.where(positive, z, 0) + np.log1p(np.exp(np.where(positive, -z, z)))
''',
    "elu": '''
def elu(z):
    """z where z > 0, else exp(z) - 1, in a form that can't overflow."""
    positive = z.real > 0
    return np.where(positive, z, np.expm1(np.where(positive, 0, z)))
''',
    "absolute": '''
def absolute(z):
    """|z|, the sign taken from the real part; nan stays nan."""
    return np.where(z.real < 0, -z, z)
''',
    "sign": '''
def sign(z):
    """1, 0 or -1 as the real part is above, at or below 0; nan stays nan."""
    return np.sign(z.real).astype(z.dtype)
''',
    "hardtanh": '''
def hardtanh(z):
    """z held between -1 and 1, the branch taken on the real part; nan stays nan."""
    return np.where(np.abs(z.real) < 1, z, np.sign(z.real))
''',
    "softsign": '''
def softsign(z):
    """z/(1 + |z|), the sign taken from the real part."""
    return z / (1 + np.where(z.real < 0, -z, z))
''',
    "log_or_zero": '''
def log_or_zero(z):
    """log z, and 0 where z is 0."""
    return np.where(z == 0, 0, np.log(np.where(z == 0, 1, z)))
''',
    "inverse_or_zero": '''
def inverse_or_zero(z):
    """1/z, and 0 where z is 0."""
    return np.where(z == 0, 0, 1 / np.where(z == 0, 1, z))
''',
    "erf": '''
def erf(z):
    """2/sqrt(pi) times the integral of exp(-t**2) from 0 to z: a series of positive terms for the real part x, and Abramowitz and
    Stegun (7.1.29) for what the imaginary part y adds."""
    x = np.clip(z.real, -6, 6)
    series = np.ones_like(x)
    for n in range(120, 0, -1):
        series = 1 + 2 * x * x / (2 * n + 1) * series
    real = np.where(np.abs(x) < 6, 2 / np.sqrt(np.pi) * x * np.exp(-x * x) * series, np.sign(x)).astype(x.dtype)
    if not np.iscomplexobj(z):
        return real
    x, y = z.real, z.imag
    grown, turned = x * y * np.sinc(x * y / np.pi) ** 2 * y / np.pi, y * np.sinc(2 * x * y / np.pi) / np.pi
    for n in range(1, 25):
        weight = 2 / np.pi * np.exp(-n * n / 4) / (n * n + 4 * x * x)
        wide, sine, cosine = n * np.sinh(n * y), np.sin(2 * x * y), np.cos(2 * x * y)
        grown = grown + weight * (2 * x * (1 - np.cosh(n * y) * cosine) + wide * sine)
        turned = turned + weight * (2 * x * np.cosh(n * y) * sine + wide * cosine)
    return (real + np.exp(-x * x) * (grown + 1j * turned)).astype(z.dtype)
''',
    "softmax": '''
def softmax(z, axis=-2):
    """exp(z) / sum(exp(z)) over the features, in a form that can't overflow."""
    e = np.exp(z - z.real.max(axis=axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)
''',
}
"""Helpers that the emitted code defines for itself where it calls them. All are analytic continuations: no conjugate."""


def function(name: str) -> Any:
    """The elementwise function of that name, for writing cells: `tanh = function("tanh")`."""
    scalar = FUNCTIONS[name]

    def call(expression: sp.MatrixExpr) -> sp.MatrixExpr:
        return apply(scalar, expression)

    call.__name__ = name
    return call


@cache
def derivative(scalar: sp.Expr) -> sp.Expr:
    """d scalar / dX, by SymPy."""
    return sp.diff(scalar, X)


def in_output(slope: sp.Expr, scalar: sp.Expr) -> sp.Expr | None:
    """The slope as an expression of the output y = scalar(X), with `X` standing for y; None where it can't be had so.

    1 - tanh(x)**2 becomes 1 - y**2, sigma(x) (1 - sigma(x)) becomes y (1 - y), exp(x) becomes y.
    """
    y = sp.Symbol("y")
    written = slope.subs(scalar, y)
    return None if written.has(X) else written.subs(y, X)


def repeating(scalar: sp.Expr) -> list[sp.Function]:
    """The functions inside a scalar expression that its slope repeats, outermost ones: the tanh of GELU, none of tanh itself."""
    slope = derivative(scalar)
    inside = [one for one in scalar.atoms(sp.Function) if one != scalar and one.has(X)]
    again = [one for one in inside if sum(node == one for node in sp.preorder_traversal(slope)) > 1]
    outermost = [one for one in again if not any(other != one and other.has(one) for other in again)]
    return sorted(outermost, key=sp.default_sort_key) if in_output(slope, scalar) is None else []


def composed(scalar: sp.Expr, a: sp.MatrixExpr, known: dict[sp.Expr, sp.MatrixExpr]) -> sp.MatrixExpr:
    """A scalar expression in `X` of the vector a, the known parts of it as the vectors that they are."""
    if scalar in known:
        return known[scalar]
    if not any(scalar.has(part) for part in known):
        return apply(scalar, a)
    if not isinstance(scalar, (sp.Add, sp.Mul)):
        inner, *exponent = scalar.args
        return apply(scalar.func(X, *exponent), composed(inner, a, known))
    ordered = sorted(scalar.args, key=lambda part: (part.has(X), part != X, sp.default_sort_key(part)))
    parts = [composed(part, a, known) for part in ordered]
    return add(*parts) if isinstance(scalar, sp.Add) else hadamard(*parts)
