"""Formulas in LaTeX: the walk of `derive.notation` with the leaves of amsmath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import sympy as sp

from derive.functions import absolute, elu, log_or_zero, relu, sigma, sign, softplus, step
from derive.language import Apply
from derive.letters import GREEK, MARKS, Part, decimal, dim
from derive.notation import Along, Notation
from derive.scalar_notation import SUM
from derive.shapes import STEPS, letter_of


class LaTeX(Notation):
    """LaTeX for amsmath."""

    times, minus, one, elements, vector_of_ones = r" \circ ", "-", "1", r"\sum", r"\mathbf{1}"
    functions: ClassVar = {
        sp.tanh: r"\tanh", sigma: r"\sigma", relu: r"\operatorname{ReLU}", step: r"\operatorname{step}",
        softplus: r"\operatorname{softplus}", elu: r"\operatorname{ELU}",
        sp.exp: r"\exp", sp.log: r"\log", log_or_zero: r"\log", sp.sin: r"\sin", sp.cos: r"\cos", absolute: r"\operatorname{abs}",
        sign: r"\operatorname{sgn}", sp.atan: r"\arctan", sp.sinh: r"\sinh", sp.cosh: r"\cosh",
    }  # fmt: skip

    def written(self, base: Part, subscripts: Sequence[Part], time: str = "") -> str:
        marks = [*[self.letter(*part) for part in subscripts], *([time] if time else [])]
        return self.letter(*base) + (f"_{{{', '.join(marks)}}}" if marks else "")

    def letter(self, letters: str, decorations: list[str]) -> str:
        plain = letters.rstrip("_")
        greek = plain.lower() in GREEK and letters not in self.words
        text = "\\" + plain if greek else letters if len(letters) == 1 or "+" in letters else rf"\mathrm{{{letters}}}"
        for one in decorations:
            text = f"{MARKS[one][1]}{{{text}}}"
        return text

    def time(self, lag: int, along: Along = (STEPS,)) -> str:
        first, *others = map(letter_of, along or (STEPS,))
        return ", ".join((first + (f"{lag:+}" if lag else ""), *others))

    def each_step(self, axes: Along) -> str:
        return " ".join(rf"\sum_{letter_of(axis)}" for axis in axes)

    def derivative(self, above: str, below: str) -> str:
        return rf"\frac{{\partial {above}}}{{\partial {below}}}"

    def equals(self, summands: Sequence[str]) -> str:
        return f"$L = {' + '.join(summands)}$"

    def moving(self) -> str:
        return r"How the gradients move along the tangents: $\dot{L}$ is the derivative of $L$ along them"

    def at(self, text: str, lag: int, along: Along = (STEPS,)) -> str:
        return rf"\left.{text}\right|_{{{self.time(lag, along)}}}"

    def subscript(self, end: str) -> str:
        return end

    def evaluated(self, text: str, where: str) -> str:
        below = where if "=" in where else rf"\text{{{where}}}"
        return rf"\left.{text}\right|_{{{below}}}"

    def over_steps(self, word: str, axis: str) -> str:
        return rf"\operatorname*{{{word}}}_{letter_of(axis)}"

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


# ---- the rules of the table

RULES_IN_LATEX = {
    "∘": r"\circ", "ȳ": r"\bar{y}", "x̄": r"\bar{x}", "ā": r"\bar{a}", "Ā": r"\bar{A}", "ū": r"\bar{u}", "z̄": r"\bar{z}", "b̄": r"\bar{b}",
    "ẏ": r"\dot{y}", "ẋ": r"\dot{x}", "ȧ": r"\dot{a}", "Ȧ": r"\dot{A}", "ḃ": r"\dot{b}", "u̇": r"\dot{u}", "v̇": r"\dot{v}", "ż": r"\dot{z}",
    "ᵀ": r"^\top", "−": "-", "≥": r"\ge", " max(": r" \max(", " min(": r" \min(", "softmax": r"\operatorname{softmax}",
    "Σₖ": r"\sum_k", "maxₖ": r"\max_k", "ₖ": "_k",
}  # fmt: skip
WORDS = (
    *("some rows of a", "is the same rows of", "and", "are the rows of", "is", "in those rows, 0 elsewhere"),
    "[ ] being 1 where that holds, else 0",
)


def latex_rule(rule: str) -> str:
    """A rule of the table in LaTeX."""
    for word in WORDS:
        rule = rule.replace(f" {word}", rf" \text{{ {word} }}")
    for plain, command in RULES_IN_LATEX.items():
        rule = rule.replace(plain, command + " " if command[-1].isalpha() else command)
    return rule
