"""Formulas in LaTeX: the walk of `derive.notation` with the leaves of amsmath."""

from __future__ import annotations

from typing import ClassVar

import sympy as sp

from derive.functions import absolute, elu, relu, sigma, sign, softplus, step
from derive.language import Apply, Value
from derive.letters import DECORATIONS, GREEK, decimal, dim, split_name
from derive.notation import SUM, Notation


class LaTeX(Notation):
    """LaTeX for amsmath."""

    times, minus, one, each_step, elements, vector_of_ones = r" \circ ", "-", "1", r"\sum_t", r"\sum", r"\mathbf{1}"
    functions: ClassVar = {
        sp.tanh: r"\tanh", sigma: r"\sigma", relu: r"\operatorname{ReLU}", step: r"\operatorname{step}",
        softplus: r"\operatorname{softplus}", elu: r"\operatorname{ELU}",
        sp.exp: r"\exp", sp.log: r"\log", sp.sin: r"\sin", sp.cos: r"\cos", absolute: r"\operatorname{abs}",
        sign: r"\operatorname{sgn}", sp.atan: r"\arctan", sp.sinh: r"\sinh", sp.cosh: r"\cosh",
    }  # fmt: skip

    def name(self, name: str) -> str:
        base, subscripts = split_name(name)
        if not subscripts:
            return self.letter(*base)
        return f"{self.letter(*base)}_{{{', '.join(self.letter(*part) for part in subscripts)}}}"

    def letter(self, letters: str, decorations: list[str]) -> str:
        plain = letters.rstrip("_")
        greek = plain.lower() in GREEK and letters not in self.words
        text = "\\" + plain if greek else letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"
        for one in decorations:
            text = f"{DECORATIONS[one][1]}{{{text}}}"
        return text

    def time(self, lag: int) -> str:
        return "t" + (f"{lag:+}" if lag else "")

    def timed(self, name: str, lag: int) -> str:
        base, subscripts = split_name(name)
        marks = [*[self.letter(*part) for part in subscripts], self.time(lag)]
        return f"{self.letter(*base)}_{{{', '.join(marks)}}}"

    def tangent(self, value: Value, lag: int) -> str:
        name = value.name.split("_")
        dotted = "_".join(
            [name[0], *[part for part in name[1:2] if part in DECORATIONS], "dot", *name[1:][self.decorated(name) :]]
        )
        return self.timed(dotted, lag) if value.timed else self.name(dotted)

    @staticmethod
    def decorated(name: list[str]) -> int:
        return int(len(name) > 1 and name[1] in DECORATIONS)

    def derivative(self, above: str, below: str) -> str:
        return rf"\frac{{\partial {above}}}{{\partial {below}}}"

    def loss(self) -> str:
        return r"$L = \sum_t L_t$"

    def moving(self) -> str:
        return r"How the gradients move along the tangents: $\dot{L}$ is the derivative of $L$ along them"

    def at(self, text: str, lag: int) -> str:
        return rf"\left.{text}\right|_{{{self.time(lag)}}}"

    def transposed(self, text: str) -> str:
        return rf"{text}^\top" if "^" not in text or text.startswith(r"\left(") else rf"\left({text}\right)^\top"

    def parentheses(self, text: str) -> str:
        return rf"\left({text}\right)"

    def compared(self, word: str) -> str:
        return {"max": r"\max", "min": r"\min", "≥": r"\ge", ">": ">"}[word]

    def holds(self, text: str) -> str:
        return rf"\left[{text}\right]"

    def stacked(self, parts: list[str]) -> str:
        return r"\begin{bmatrix} " + r" \\ ".join(parts) + r" \end{bmatrix}"

    def rows(self, text: str, start: sp.Expr, stop: sp.Expr) -> str:
        return rf"\left[{text}\right]_{{{dim(start)}:{dim(stop)}}}"

    def function(self, name: str) -> str:
        words = name.replace(" ", r"\ ")
        return rf"\operatorname{{{words}}}"

    def quotient(self, above: sp.MatrixExpr, below: Apply, shift: int) -> str:
        return rf"\frac{{{self.formula(above, shift)}}}{{{self.divisor(below, shift, SUM)}}}"

    def reciprocal(self, text: str, binds: int) -> str:
        return rf"\frac{{1}}{{{text}}}"

    def root(self, text: str) -> str:
        return rf"\sqrt{{{text}}}"

    def raised(self, text: str, exponent: sp.Expr) -> str:
        return rf"{text}^{{{sp.latex(exponent)}}}"

    def number(self, number: sp.Expr) -> str:
        mantissa, _, exponent = decimal(number).partition("e")
        if exponent:
            return rf"{mantissa} \cdot 10^{{{int(exponent)}}}".removeprefix(r"1 \cdot ")
        return mantissa or str(sp.latex(number))
