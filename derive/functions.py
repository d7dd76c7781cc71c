"""The scalar functions that equations may use, as SymPy functions.

Each is a SymPy `Function` whose `fdiff` gives the derivative (in terms of the function itself where that is shorter), or a plain
SymPy expression in `X`. `NUMPY` says how the emitted code computes it. A function that is an expression of known ones
needs one line in `FUNCTIONS` and nothing else: no rule, no printer.
"""

from __future__ import annotations

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
    "elu": elu(X),
    "identity": X,
}
"""Name -> the function as a SymPy expression in `X`. GELU is the tanh form (Hendrycks and Gimpel 2016, section 2)."""

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
