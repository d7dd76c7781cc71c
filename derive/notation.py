"""Formulas as text: one walk over expressions, two notations (Unicode for a terminal, LaTeX)."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.equation import Equation
from derive.expressions import with_diagonal
from derive.functions import absolute, elu, relu, sigma, softplus, step
from derive.language import (
    Apply,
    Diagonal,
    Hadamard,
    Identity,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    X,
    Zeros,
    coefficient,
    hadamard,
)
from derive.letters import DECORATIONS, GREEK, GREEK_TEXT, decimal, dim, split_name, width
from derive.onehot import OneHot
from derive.reductions import OverElements, Total

SUM, PRODUCT, FACTOR, ATOM = range(4)
"""How tightly a formula binds: a sum, an elementwise product, a factor of a matrix product, an atom."""


def divisor(product: Hadamard) -> Apply | None:
    """The last factor of the form 1/w or 1/√w, which is written below the others; None where there is none."""
    powers = [part for part in product.args if isinstance(part, Apply) and isinstance(part.scalar, sp.Pow)]
    return next((part for part in reversed(powers) if part.scalar.exp in (-1, -sp.S.Half)), None)


class Notation:
    """Unicode text. `LaTeX` overrides the leaves; the walk is the same."""

    times, minus, dot, one, each_step, elements, vector_of_ones = " ∘ ", "−", "\u0307", "1", "Σₜ", "Σ", "1"
    functions: ClassVar = {
        sp.tanh: "tanh", sigma: "σ", relu: "relu", step: "step", softplus: "softplus", elu: "elu",
        sp.exp: "exp", sp.log: "log", sp.sin: "sin", sp.cos: "cos", absolute: "abs", sp.atan: "arctan",
    }  # fmt: skip

    def __init__(self, shown: dict[Value, sp.MatrixExpr] | None = None, words: Collection[str] = ()) -> None:
        """shown: values that are written as the expression that defines them, such as tanh(c). words: parts of names that spell a
        Greek letter and mean none, such as the `xi` of the weights from x to i.
        """
        self.shown, self.words = shown or {}, words

    # ---- names

    def name(self, name: str) -> str:
        """`c_tilde` -> c̃, `W_f` -> W_f, `alpha` -> α."""
        base, subscripts = split_name(name)
        return "_".join([self.letter(*base), *[self.letter(*part) for part in subscripts]])

    def letter(self, letters: str, decorations: list[str]) -> str:
        if letters in self.words:
            return letters[:1] + "".join(DECORATIONS[one][0] for one in decorations) + letters[1:]
        plain = letters.rstrip("_") if letters.rstrip("_") in GREEK else letters
        text = GREEK_TEXT.get(plain, GREEK_TEXT.get(plain.lower(), plain).upper() if plain.lower() in GREEK_TEXT else plain)
        return text[:1] + "".join(DECORATIONS[one][0] for one in decorations) + text[1:]

    def time(self, lag: int) -> str:
        return "ₜ" + (f"{lag:+}".translate(str.maketrans("+-0123456789", "₊₋₀₁₂₃₄₅₆₇₈₉")) if lag else "")

    def timed(self, name: str, lag: int) -> str:
        return self.name(name) + self.time(lag)

    def value(self, value: Value, shift: int = 0) -> str:
        """A value at step t + shift."""
        plain = value.like(marks=(), lag=0)
        lag = value.lag + shift - (value.marks[:1] == ("carry",))
        if plain in self.shown:
            primal = self.formula(self.shown[plain], lag)
        else:
            primal = self.timed(value.name, lag) if value.timed else self.name(value.name)
        loss = self.letter("L", ["dot"] * (value.marks.count("tangent")))
        match [mark.split(":") for mark in value.marks[:1]]:
            case [["cotangent"]]:
                return self.derivative(loss, primal)
            case [["given"]]:
                return self.derivative(self.timed("L", shift), primal)
            case [["carry"]]:
                return self.at(self.derivative(loss, primal), lag + 1)
            case [["summed"]]:
                return f"{self.each_step} {self.at(self.derivative(loss, primal), 0)}"
            case [["tangent"]]:
                return self.tangent(value, lag)
            case [["jacobian", wrt]]:
                return self.derivative(primal, self.timed(wrt, lag - 1))
        return primal

    def derivative(self, above: str, below: str) -> str:
        return f"∂{above}/∂{below}"

    def loss(self) -> str:
        """What L is."""
        return "L = Σₜ Lₜ"

    def moving(self) -> str:
        """What a dot on L is."""
        return "how the gradients move along the tangents: L̇ is the derivative of L along them"

    def at(self, text: str, lag: int) -> str:
        """A derivative through one step only."""
        return f"{text}|{self.time(lag)}"

    def tangent(self, value: Value, lag: int) -> str:
        base, subscripts = split_name(value.name)
        name = "_".join([self.letter(base[0], [*base[1], "dot"]), *[self.letter(*part) for part in subscripts]])
        return name + (self.time(lag) if value.timed else "")

    # ---- the walk

    def formula(self, node: sp.MatrixExpr, shift: int = 0) -> str:
        """An expression at step t + shift."""
        return self.walk(node, shift)[0]

    def within(self, node: sp.MatrixExpr, shift: int, binds: int) -> str:
        """An expression in parentheses where it binds less tightly than its surroundings ask."""
        text, own = self.walk(node, shift)
        return text if own >= binds else self.parentheses(text)

    def walk(self, node: sp.MatrixExpr, shift: int) -> tuple[str, int]:
        """(text, how tightly it binds)."""
        number, rest = coefficient(node)
        if number != 1:
            if isinstance(rest, Ones):
                return self.number(number), SUM if number < 0 or isinstance(number, sp.Add) else ATOM
            return self.scaled(number, self.within(rest, shift, PRODUCT))[0], SUM if number < 0 else FACTOR
        match rest:
            case Value():
                return self.value(rest, shift), ATOM
            case Plus():
                return self.plus([self.formula(term, shift) for term in rest.args]), SUM
            case Times():
                parts = [self.ones(part) if isinstance(part, Ones) else self.within(part, shift, FACTOR) for part in rest.args]
                return " ".join(parts), FACTOR
            case Hadamard() if (below := divisor(rest)) is not None:
                factors = list(rest.args)
                factors.remove(below)
                return self.quotient(hadamard(*factors), below, shift), PRODUCT
            case Hadamard() if rest.args[0].shape != rest.shape:
                return self.scaled_by_numbers(list(rest.args), shift)
            case Hadamard() if (product := with_diagonal(rest)) is not None:
                return self.walk(product, shift)
            case Hadamard():
                return self.times.join(self.within(factor, shift, FACTOR) for factor in rest.args), PRODUCT
            case Transposed():
                return self.transposed(self.base(rest.args[0], shift)), FACTOR
            case Apply():
                return self.scalar(rest.scalar, self.walk(rest.expr, shift))
            case Total():
                summand = rest.args[0]
                return f"{self.elements} {self.within(summand, shift, FACTOR if isinstance(summand, Apply) else ATOM)}", PRODUCT
        return self.closed(rest, shift), ATOM

    def closed(self, node: sp.MatrixExpr, shift: int) -> str:
        """An expression that no operation takes apart: a function of a whole, a stack, rows, a constant."""
        match node:
            case OverElements():
                return f"{self.function(node.word)}{self.parentheses(self.formula(node.args[0], shift))}"
            case OneHot():
                return f"{self.function('onehot')}{self.parentheses(self.value(node.token, shift))}"
            case Diagonal():
                return f"{self.function('diag')}{self.parentheses(self.formula(node.args[0], shift))}"
            case Stack():
                return self.stacked([self.formula(part, shift) for part in node.args])
            case Repeat():
                return self.stacked([self.formula(node.args[0], shift)] * int(node.args[1]))
            case Rows():
                return self.rows(self.within(node.args[0], shift, ATOM), node.args[1], node.args[2])
            case Ones():
                return self.one
            case Zeros():
                return "0"
            case Identity():
                return "I"
        raise TypeError(f"notation: no text for {type(node).__name__}")

    def scaled_by_numbers(self, factors: list[sp.MatrixExpr], shift: int) -> tuple[str, int]:
        """Numbers of each step in front of what they scale; alone where they fill it."""
        scaling = [factor for factor in factors if factor.shape != factors[-1].shape]
        if len(factors) == 2 and isinstance(factors[-1], Ones):
            return self.walk(factors[0], shift)
        # an inner product beside what it scales needs brackets: (uᵀ v) w
        numbers = [self.within(factor, shift, ATOM if isinstance(factor, Times) else FACTOR) for factor in scaling]
        if isinstance(factors[-1], Ones):
            return " ".join(numbers), FACTOR
        wide = hadamard(*[factor for factor in factors if factor.shape == factors[-1].shape])
        return " ".join([*numbers, self.within(wide, shift, FACTOR)]), FACTOR

    def quotient(self, above: sp.MatrixExpr, below: Apply, shift: int) -> str:
        """u ∘ v ∘ (1/w), read as a division."""
        whole = FACTOR if isinstance(above, Total) else PRODUCT
        return f"{self.within(above, shift, whole)} / {self.divisor(below, shift, ATOM)}"

    def divisor(self, below: Apply, shift: int, binds: int) -> str:
        """w or √w of the factor 1/w or 1/√w."""
        text, own = self.scalar(1 / below.scalar, self.walk(below.expr, shift))
        return text if own >= binds else self.parentheses(text)

    def base(self, node: sp.MatrixExpr, shift: int) -> str:
        """What a mark is put on: an atom, a derivative in brackets, since in ∂L/∂Uᵀ the mark would be read as that of U."""
        is_derivative = isinstance(node, Value) and node.marks[:1] not in ((), ("tangent",))
        return self.parentheses(self.value(node, shift)) if is_derivative else self.within(node, shift, ATOM)

    def plus(self, terms: list[str]) -> str:
        text = terms[0]
        for term in terms[1:]:
            text += f" {self.minus} {term.removeprefix(self.minus)}" if term.startswith(self.minus) else f" + {term}"
        return text

    def parentheses(self, text: str) -> str:
        return f"({text})"

    def transposed(self, text: str) -> str:
        return f"{text}ᵀ"

    def stacked(self, parts: list[str]) -> str:
        return f"[{'; '.join(parts)}]"

    def rows(self, text: str, start: sp.Expr, stop: sp.Expr) -> str:
        return f"{text}[{dim(start)}:{dim(stop)}]"

    def ones(self, node: Ones) -> str:
        """Ones as a factor of a matrix product: a column, a row, or the product of the two."""
        rows, cols = (size != 1 for size in node.shape)
        return " ".join([self.vector_of_ones] * rows + [self.transposed(self.vector_of_ones)] * cols)

    def function(self, name: str) -> str:
        return name

    # ---- scalar functions of one vector

    def scalar(self, scalar: sp.Expr, operand: tuple[str, int]) -> tuple[str, int]:
        """A scalar expression in `X` of a vector that is already text."""
        text, binds = operand
        match scalar:
            case sp.Symbol():
                return text, binds
            case sp.Number() | sp.NumberSymbol():
                return self.number(scalar), ATOM
            case sp.Add():
                terms = sorted(scalar.args, key=lambda term: (term.has(X), sp.default_sort_key(term)))
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

    # ---- equations

    def left(self, equation: Equation, shift: int = 0) -> str:
        return self.value(equation.target, shift)

    def equation(self, equation: Equation) -> str:
        """target = right side, on one line."""
        right = self.right(equation)
        return f"{self.left(equation)} = {self.sum_over_steps(right, equation) if equation.accumulate else right}"

    def right(self, equation: Equation) -> str:
        if not equation.terms:
            return "0"
        total = self.plus([self.formula(term.value) for term in equation.terms])
        if equation.factor is None:
            return total
        return f"{self.within(equation.factor, 0, PRODUCT)}{self.between(equation)}{self.parentheses(total)}"

    def between(self, equation: Equation) -> str:
        """What stands between the factor of an equation and its terms."""
        is_wide = equation.factor is not None and equation.factor.shape == equation.target.shape
        return self.times if is_wide else " "

    def sum_over_steps(self, text: str, equation: Equation) -> str:
        return f"{self.each_step} {text if len(equation.terms) == 1 else self.parentheses(text)}"

    def term(self, node: sp.MatrixExpr, shift: int = 0, summed: bool = False) -> str:
        """A term of an equation, its sum over the steps behind its sign."""
        if not summed:
            return self.formula(node, shift)
        text = self.within(node, shift, PRODUCT) if isinstance(node, Plus) else self.formula(node, shift)
        sign = self.minus if text.startswith(self.minus) else ""
        return f"{sign}{self.each_step} {text.removeprefix(sign)}"

    def front(self, factor: sp.MatrixExpr, summed: bool) -> str:
        """The common factor of an equation, its sum over the steps in front."""
        return f"{self.each_step} " * summed + self.within(factor, 0, PRODUCT)


__all__ = ["Notation", "dim", "split_name", "width"]
