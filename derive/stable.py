"""Logarithms of probabilities in forms that stay finite: log softmax(z), log σ(z), log(1 − σ(z)), also of what has a name of its own.

What a page prints, log of what a softmax gives, is log(0) where a logit lies some 750 below the largest. Written as a function of the
logits it has all its digits; so has its derivative. The values that a rewritten formula no longer reads stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sympy as sp

from derive.blocks import Rows, rows
from derive.equation import Reason
from derive.expressions import substitute
from derive.functions import log_or_zero, sigma, softplus
from derive.language import (
    Apply,
    Hadamard,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    X,
    add,
    apply,
    coefficient,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.onehot import one_hot_in
from derive.reductions import Softmax, Total, log_softmax
from derive.shapes import is_scalar

Pair = tuple[Value, sp.MatrixExpr]

OF_SOFTMAX = "log softmax(z) = z − log Σ exp(z): finite whatever z is"
OF_SIGMA = "log σ(z) = −softplus(−z), log(1 − σ(z)) = −softplus(z): finite whatever z is"


def stable(pairs: Sequence[Pair]) -> Iterator[tuple[Value, sp.MatrixExpr, Reason | None]]:
    """The equations with their logarithms in stable forms, each that was rewritten with the reason."""
    defined = dict(pairs)
    for target, right in pairs:
        log = Logarithm(defined)
        new = substitute(substitute(right, log.rewritten), shared)
        rule = "; ".join(dict.fromkeys(log.rules))
        yield target, new, Reason(target, rule) if rule else None


def shared(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """p ∘ (log p + ...), pᵀ (log p + ...) with a log that is 0 where p is, since p log p is; None for anything else."""
    number, rest = coefficient(node)
    if not isinstance(rest, (Hadamard, Times)):
        return None
    shares = [factor.args[0] if isinstance(factor, Transposed) else factor for factor in rest.args]
    logs = {apply(sp.log(X), share): apply(log_or_zero(X), share) for share in shares if isinstance(share, Value)}
    factors = [factor if isinstance(factor, Value) else substitute(factor, logs.get) for factor in rest.args]
    if factors == list(rest.args):
        return None
    return scale(number, hadamard(*factors) if isinstance(rest, Hadamard) else matmul(*factors))


class Logarithm:
    """Logarithms of expressions, by what the values in them are defined as. rules: the identities that were used."""

    def __init__(self, defined: Mapping[Value, sp.MatrixExpr]) -> None:
        self.defined = defined
        self.rules: list[str] = []

    def rewritten(self, node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        """log(a) in a stable form; None for anything else, and where none is known."""
        return self.of(node.expr) if isinstance(node, Apply) and node.scalar == sp.log(X) else None

    def of(self, node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        """log of an expression; None where no part of it is the value of a softmax or of σ."""
        match node:
            case Value():
                return self.of(self.defined[node]) if node in self.defined else None
            case Softmax():
                return self.by(OF_SOFTMAX, log_softmax(node.args[0]))
            case Apply() if node.scalar == sigma(X):
                return self.by(OF_SIGMA, scale(-1, apply(softplus(-X), node.expr)))
            case Plus() if (inner := self.one_less(node)) is not None:
                return self.by(OF_SIGMA, scale(-1, apply(softplus(X), inner)))
            case Rows():
                inside = self.of(node.args[0])
                return None if inside is None else rows(inside, *node.args[1:])
            case Times() if is_scalar(node) and len(node.args) == 2 and any(map(one_hot_in, node.args)):
                column, vector = node.args if one_hot_in(node.args[0]) else map(transpose, reversed(node.args))
                inside = self.of(vector)
                return None if inside is None else matmul(column, inside)
            case Hadamard() if (argument := softmax_in(node)) is not None:
                return self.by(OF_SOFTMAX, log_softmax(argument))
            case Hadamard():
                return self.of_product(node)
        return None

    def by(self, rule: str, found: sp.MatrixExpr) -> sp.MatrixExpr:
        self.rules.append(rule)
        return found

    def one_less(self, node: Plus) -> sp.MatrixExpr | None:
        """z of 1 − σ(z); None for anything else."""
        if len(node.args) != 2 or not isinstance(node.args[0], Ones):
            return None
        number, rest = coefficient(node.args[1])
        rest = self.defined.get(rest, rest)
        return rest.expr if number == -1 and isinstance(rest, Apply) and rest.scalar == sigma(X) else None

    def of_product(self, node: Hadamard) -> sp.MatrixExpr | None:
        """log(u ∘ v) = log u + log v, log(u / v) = log u − log v, where one of the two is above 0 whatever it is made of."""
        logs: list[sp.MatrixExpr] = []
        others: list[sp.MatrixExpr] = []
        for factor in node.args:
            below = isinstance(factor, Apply) and factor.scalar == 1 / X
            found = self.of(factor.expr if below else factor)
            if found is None:
                others.append(factor)
            else:
                logs.append(scale(-1, found) if below else found)
        if not logs:
            return None
        rest = [apply(sp.log(X), hadamard(*others))] if others else []
        return add(*rest, *logs)


def softmax_in(node: Hadamard) -> sp.MatrixExpr | None:
    """z of exp(z) / Σ exp(z), the softmax by its formula; None for anything else."""
    powers = [part for part in node.args if isinstance(part, Apply) and part.scalar == sp.exp(X)]
    below = [part.expr for part in node.args if isinstance(part, Apply) and part.scalar == 1 / X]
    is_softmax = len(node.args) == 2 and len(powers) == len(below) == 1 and below[0] == Total(powers[0])
    return powers[0].expr if is_softmax else None
