"""Scalar functions of one vector as text, and the numbers in them: what every notation has, whatever it is written in."""

from __future__ import annotations

from typing import ClassVar

import sympy as sp

from derive.functions import absolute, elu, inverse_or_zero, log_or_zero, relu, sigma, softplus, step
from derive.language import X
from derive.letters import decimal

SUM, PRODUCT, FACTOR, ATOM = range(4)
"""How tightly a formula binds: a sum, an elementwise product, a factor of a matrix product, an atom."""


class Scalars:
    """The text of scalar expressions in `X`. `Notation` says how the vector is written that they are taken of."""

    times: ClassVar[str]
    minus: ClassVar[str]
    times, minus = " ∘ ", "−"
    functions: ClassVar = {
        sp.tanh: "tanh", sigma: "σ", relu: "relu", step: "step", softplus: "softplus", elu: "elu",
        sp.exp: "exp", sp.log: "log", sp.sin: "sin", sp.cos: "cos", absolute: "abs", sp.atan: "arctan",
        log_or_zero: "log",
    }  # fmt: skip

    def plus(self, terms: list[str]) -> str:
        text = terms[0]
        for term in terms[1:]:
            text += f" {self.minus} {term.removeprefix(self.minus)}" if term.startswith(self.minus) else f" + {term}"
        return text

    def parentheses(self, text: str) -> str:
        return f"({text})"

    def function(self, name: str) -> str:
        return name

    def scalar(self, scalar: sp.Expr, operand: tuple[str, int]) -> tuple[str, int]:
        """A scalar expression in `X` of a vector that is already text."""
        text, binds = operand
        match scalar:
            case sp.Symbol():
                return text, binds
            case sp.Number() | sp.NumberSymbol():
                return self.number(scalar), ATOM
            case sp.Add():
                terms = sorted(scalar.args, key=lambda term: (bool(term.is_negative), term.has(X), sp.default_sort_key(term)))
                return self.plus([self.scalar(term, operand)[0] for term in terms]), SUM
            case sp.Mul():
                number, rest = scalar.as_independent(X)
                if rest == 1:
                    return self.number(number), ATOM
                if number != 1:
                    inner, own = self.scalar(rest, operand)
                    inner = inner if own >= PRODUCT else self.parentheses(inner)
                    return self.scaled(number, inner)
                parts = [
                    self.scalar(part, operand) for part in sorted(scalar.args, key=lambda p: (p != X, sp.default_sort_key(p)))
                ]
                return self.times.join(t if own > PRODUCT else self.parentheses(t) for t, own in parts), PRODUCT
            case sp.Pow():
                return self.power(scalar, operand)
            case inverse_or_zero():
                return self.power(1 / scalar.args[0], operand)
            case sp.Function():
                name = self.functions.get(scalar.func, self.function(scalar.func.__name__))
                return f"{name}{self.parentheses(self.scalar(scalar.args[0], operand)[0])}", ATOM
        raise TypeError(f"notation: no text for {type(scalar).__name__} in {scalar}")

    def scaled(self, number: sp.Expr, text: str) -> tuple[str, int]:
        """A number in front of a product, its sign first."""
        size = self.number(abs(number))
        size = "" if size == "1" else f"{self.parentheses(size) if isinstance(abs(number), sp.Add) else size} "
        return (f"{self.minus}{size}{text}", SUM) if number < 0 else (f"{size}{text}", PRODUCT)

    def power(self, scalar: sp.Expr, operand: tuple[str, int]) -> tuple[str, int]:
        base, exponent = scalar.args
        inner, own = self.scalar(base, operand)
        if not base.has(X):
            return self.number(scalar), ATOM
        if exponent == -1:
            return self.reciprocal(inner, own), PRODUCT
        if exponent == sp.Rational(1, 2):
            return self.root(inner), ATOM
        if exponent == -sp.Rational(1, 2):
            return self.reciprocal(self.root(inner), ATOM), PRODUCT
        return self.raised(inner if own == ATOM else self.parentheses(inner), exponent), FACTOR

    def reciprocal(self, text: str, binds: int) -> str:
        return f"1/{text if binds == ATOM else self.parentheses(text)}"

    def root(self, text: str) -> str:
        return f"√{self.parentheses(text)}"

    def raised(self, text: str, exponent: sp.Expr) -> str:
        if exponent.is_Integer:
            return text + str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
        return f"{text}^({exponent})"

    def number(self, number: sp.Expr) -> str:
        if isinstance(number, sp.Rational) and number.q > 1:
            return decimal(number) or f"({number.p}/{number.q})"
        if isinstance(number, (sp.Mul, sp.Pow)) and (radicand := self.radicand(number)) is not None:
            return f"{self.number(number.as_coeff_Mul()[0])} ".removeprefix("1 ") + self.root(radicand)
        if number.free_symbols and (text := self.over_dimensions(number)):
            return text
        if isinstance(number, sp.Mul):
            return " ".join(f"({self.number(one)})" if isinstance(one, sp.Add) else self.number(one) for one in number.args)
        return str(number).replace("-", self.minus).replace("sqrt", "√").replace("pi", "π")

    def over_dimensions(self, number: sp.Expr) -> str:
        """0.5/K, 1/(3 K): a number that is divided by sizes; empty where it isn't."""
        size, rest = number.as_coeff_Mul()
        above, below = sp.fraction(rest)
        if below == 1:
            return ""
        if not decimal(size):
            size, below = sp.Integer(size.p), size.q * below
        text = self.number(below)
        return f"{self.number(size * above)}/{text if below.is_Atom or below.is_Pow else self.parentheses(text)}"

    @staticmethod
    def radicand(number: sp.Expr) -> str | None:
        """2/π for √2/√π, the rational in front left aside; None where the rest isn't made of square roots."""
        roots = sp.Mul.make_args(number.as_coeff_Mul()[1])
        if any(not isinstance(root, sp.Pow) or abs(root.exp) != sp.Rational(1, 2) for root in roots):
            return None
        return str(sp.Mul(*[root**2 for root in roots])).replace("pi", "π")
