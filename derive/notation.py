"""Formulas as text: one walk over expressions, two notations (Unicode for a terminal, LaTeX)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import sympy as sp

from derive.along import AlongAxis, FirstLargestAlong, LargestAlong, Pick, Place, SoftmaxAlong, Spread, Steps, SumAlong
from derive.blocks import Repeat, Rows, Stack
from derive.comparisons import Above, AtLeast, Pairwise
from derive.equation import Equation
from derive.expressions import with_diagonal
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
    Zeros,
    coefficient,
    hadamard,
)
from derive.letters import ARROWS, GREEK, GREEK_TEXT, MARKS, Part, dim, split_name, width
from derive.onehot import OneHot
from derive.reductions import OverElements, Total
from derive.scalar_notation import ATOM, FACTOR, PRODUCT, SUM, Scalars
from derive.shapes import STEPS, in_order, letter_of, steps_in

Along = tuple[str, ...]
LOWERED = dict(zip("tsknmijlpruvoeaxh", "ₜₛₖₙₘᵢⱼₗₚᵣᵤᵥₒₑₐₓₕ", strict=True))
DIGITS = str.maketrans("+-0123456789", "₊₋₀₁₂₃₄₅₆₇₈₉")
AT_STEPS = {LargestAlong: "max", FirstLargestAlong: "first max", SoftmaxAlong: "softmax"}


def divisor(product: Hadamard) -> Apply | None:
    """The last factor of the form 1/w or 1/√w, which is written below the others; None where there is none."""
    powers = [part for part in product.args if isinstance(part, Apply) and isinstance(part.scalar, sp.Pow)]
    return next((part for part in reversed(powers) if part.scalar.exp in (-1, -sp.S.Half)), None)


class Notation(Scalars):
    """Unicode text. `LaTeX` overrides the leaves; the walk is the same."""

    dot, one, elements, vector_of_ones = "\u0307", "1", "Σ", "1"

    def __init__(
        self,
        shown: dict[Value, sp.MatrixExpr] | None = None,
        words: Collection[str] = (),
        leftward: Collection[str] = (),
        axes: Mapping[str, str] | None = None,
    ) -> None:
        """shown: values that are written as the expression that defines them, such as tanh(c). words: parts of names that spell a
        Greek letter and mean none, such as the `xi` of the weights from x to i. leftward: states that run from the last step to the first.
        axes: along which states run that don't run along T.
        """
        self.shown, self.words, self.leftward, self.axes = shown or {}, words, leftward, axes or {}
        self.values: dict[tuple[Value, int], str] = {}

    # ---- names

    def name(self, name: str) -> str:
        """`c_tilde` -> c̃, `W_f` -> W_f, `alpha` -> α."""
        return self.indexed(name)

    def indexed(self, name: str, time: str = "") -> str:
        """A name with its time index."""
        return self.written(*self.split(name), time)

    def split(self, name: str) -> tuple[Part, list[Part]]:
        """A name as its letter and its subscripts; where recurrences run both ways, an arrow goes above the letter."""
        (letter, decorations), subscripts = split_name(name)
        arrows = [part for part, more in subscripts if part in ARROWS and not more] if self.leftward else []
        return (letter, [*decorations, *arrows]), [part for part in subscripts if part[0] not in arrows]

    def written(self, base: Part, subscripts: Sequence[Part], time: str = "") -> str:
        """A letter with its subscripts and its time index."""
        return "_".join([self.letter(*base), *[self.letter(*part) for part in subscripts]]) + time

    def letter(self, letters: str, decorations: list[str]) -> str:
        if "+" in letters:
            return f"{{{letters}}}"  # a step: the h_{T+1} with which a recurrence to the left starts
        if letters in self.words:
            return letters[:1] + "".join(MARKS[one][0] for one in decorations) + letters[1:]
        plain = letters.rstrip("_") if letters.rstrip("_") in GREEK else letters
        text = GREEK_TEXT.get(plain, GREEK_TEXT.get(plain.lower(), plain).upper() if plain.lower() in GREEK_TEXT else plain)
        return text[:1] + "".join(MARKS[one][0] for one in decorations) + text[1:]

    def time(self, lag: int, along: Along = (STEPS,)) -> str:
        """The indices of time, the first of them shifted."""
        first, *others = [LOWERED.get(letter_of(axis), f"_{letter_of(axis)}") for axis in along or (STEPS,)]
        return "".join((first, f"{lag:+}".translate(DIGITS) if lag else "", *others))

    def timed(self, name: str, lag: int, along: Along = (STEPS,)) -> str:
        return self.indexed(name, self.time(lag, along))

    def each_step(self, axes: Along) -> str:
        """The sign of a sum over steps."""
        return "".join(f"Σ{self.time(0, (axis,))}" for axis in axes)

    def before(self, name: str) -> int:
        """The lag of the step from which a state comes."""
        return 1 if name in self.leftward else -1

    def value(self, value: Value, shift: int = 0) -> str:
        """A value at step t + shift; remembered, since formulas read the same ones again and again."""
        if (value, shift) not in self.values:
            self.values[value, shift] = self.spelled(value, shift)
        return self.values[value, shift]

    def spelled(self, value: Value, shift: int) -> str:
        """The text of a value at step t + shift."""
        plain = value.like(marks=(), lag=0)
        before = self.before(str(value.name)) if value.marks[:1] == ("carry",) else 0
        lag = value.lag + shift + before
        if value.has_steps and str(value.name).endswith("_t"):  # J_t beside J: the letter, with its index of time
            plain, value = plain.like(name=str(value.name)[:-2]), value.like(name=str(value.name)[:-2])
        if plain in self.shown:
            primal = self.formula(self.shown[plain], lag)
        else:
            primal = self.timed(value.name, lag, value.along) if value.has_steps else self.name(value.name)
        loss = self.letter("L", ["dot"] * (value.marks.count("tangent")))
        match [mark.split(":") for mark in value.marks[:1]]:
            case [["cotangent"]] if value.kind == "whole":
                return self.evaluated(self.derivative(loss, primal), "all steps")
            case [["cotangent"]]:
                return self.derivative(loss, primal)
            case [["carry"]] if "end" in value.marks:
                last = self.axes.get(str(value.name), STEPS)
                return self.derivative(loss, self.indexed(str(value.name), self.subscript(last if before < 0 else "1")))
            case [["given"]]:
                return self.derivative(self.timed("L", shift, value.along) if value.has_steps else self.name("L_0"), primal)
            case [["carry"]]:
                return self.at(self.derivative(loss, primal), lag - before, value.along)
            case [["summed"]]:
                return f"{self.each_step(value.along or (STEPS,))} {self.at(self.derivative(loss, primal), 0)}"
            case [["tangent"]]:
                return self.tangent(value, lag)
            case [["jacobian", wrt]]:
                return self.derivative(primal, self.timed(wrt, lag + self.before(wrt), value.along))
        return primal

    def derivative(self, above: str, below: str) -> str:
        return f"∂{above}/∂{below}"

    def loss(self, once: bool = False, axes: Along = (STEPS,)) -> str:
        """What L is; once: whether it reads what isn't there at each step, too. axes: those along which it reads something."""
        sums = [f"{self.each_step((axis,))} {self.timed('L', 0, (axis,))}" for axis in axes]
        return self.equals([self.name("L_0")] * once + sums)

    def equals(self, summands: Sequence[str]) -> str:
        return f"L = {' + '.join(summands)}"

    def moving(self) -> str:
        """What a dot on L is."""
        return "how the gradients move along the tangents: L̇ is the derivative of L along them"

    def at(self, text: str, lag: int, along: Along = (STEPS,)) -> str:
        """A derivative through one step only."""
        return f"{text}|{self.time(lag, along)}"

    def tangent(self, value: Value, lag: int) -> str:
        (letter, decorations), subscripts = self.split(value.name)
        return self.written((letter, [*decorations, "dot"]), subscripts, self.time(lag, value.along) if value.has_steps else "")

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
            case SumAlong():
                summand = rest.args[0]
                sign = self.each_step((rest.axis,))
                return f"{sign} {self.within(summand, shift, FACTOR if isinstance(summand, Apply) else ATOM)}", PRODUCT
            case Spread():
                return self.walk(rest.args[0], shift)
            case Total():
                summand = rest.args[0]
                return f"{self.elements} {self.within(summand, shift, FACTOR if isinstance(summand, Apply) else ATOM)}", PRODUCT
        return self.closed(rest, shift), ATOM

    def closed(self, node: sp.MatrixExpr, shift: int) -> str:
        """An expression that no operation takes apart: a function of a whole, a stack, rows, a constant."""
        match node:
            case Pick():
                return self.ended(node, shift)
            case Place():
                return f"[{self.end_of(node.axis, node.end)}] {self.within(node.args[0], shift, FACTOR)}"
            case AlongAxis():
                return f"{self.over_steps(AT_STEPS[type(node)], node.axis)}{self.parentheses(self.formula(node.args[0], shift))}"
            case Steps():
                return node.axis
            case OverElements():
                return f"{self.function(node.word)}{self.parentheses(self.formula(node.args[0], shift))}"
            case OneHot():
                return f"{self.function('onehot')}{self.parentheses(self.value(node.token, shift))}"
            case AtLeast() | Above():
                return self.holds(f" {self.compared(node.word)} ".join(self.formula(part, shift) for part in node.args))
            case Pairwise():
                both = ", ".join(self.formula(part, shift) for part in node.args)
                return f"{self.compared(node.word)}{self.parentheses(both)}"
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

    def ended(self, node: Pick, shift: int) -> str:
        """x_T: a value at an end of the steps."""
        operand = node.args[0]
        if isinstance(operand, Value) and not operand.marks:
            return self.indexed(str(operand.name), self.subscript(node.axis if node.end == "last" else "1"))
        if isinstance(operand, Value) and operand.marks[:1] == ("carry",):
            plain = operand.like(marks=operand.marks[1:], lag=operand.lag + self.before(str(operand.name)))
            loss = self.letter("L", ["dot"] * operand.marks.count("tangent"))
            return self.evaluated(
                self.derivative(loss, self.value(plain.like(marks=()), shift)), self.end_of(node.axis, node.end)
            )
        return self.evaluated(self.within(operand, shift, ATOM), self.end_of(node.axis, node.end))

    def end_of(self, axis: str, end: str) -> str:
        """`t = T`."""
        return f"{letter_of(axis)} = {axis if end == 'last' else 1}"

    def evaluated(self, text: str, where: str) -> str:
        return f"{text}|{where.replace(' = ', '=')}"

    def subscript(self, end: str) -> str:
        """The last step, or the first."""
        return f"_{end}"

    def over_steps(self, word: str, axis: str) -> str:
        return f"{word}{self.time(0, (axis,))}"

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

    def compared(self, word: str) -> str:
        """max, min, ≥ or >."""
        return word

    def holds(self, text: str) -> str:
        """1 where that holds, else 0."""
        return f"[{text}]"

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

    # ---- equations

    def left(self, equation: Equation, shift: int = 0) -> str:
        return self.value(equation.target, shift)

    def equation(self, equation: Equation) -> str:
        """target = right side, on one line; a sum over examples alone isn't written; terms summed over different axes have a sum each."""
        along = [equation.summed_in(term.value) for term in equation.terms]
        if equation.factor is None and len({in_order(steps_in(one)) for one in along}) > 1:
            right = self.plus([self.term(term.value, 0, one) for term, one in zip(equation.terms, along, strict=True)])
        else:
            right = self.sum_over_steps(self.right(equation), equation)
        return f"{self.left(equation)} = {right}"

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
        axes = in_order(steps_in(equation.summed))
        return f"{self.each_step(axes)} {text if len(equation.terms) == 1 else self.parentheses(text)}" if axes else text

    def term(self, node: sp.MatrixExpr, shift: int = 0, summed: Along = ()) -> str:
        """A term of an equation, its sum over the steps of some axes behind its sign."""
        if not (summed := in_order(steps_in(summed))):
            return self.formula(node, shift)
        text = self.within(node, shift, PRODUCT) if isinstance(node, Plus) else self.formula(node, shift)
        sign = self.minus if text.startswith(self.minus) else ""
        return f"{sign}{self.each_step(summed)} {text.removeprefix(sign)}"

    def front(self, factor: sp.MatrixExpr, summed: Along) -> str:
        """The common factor of an equation, its sum over the steps in front."""
        summed = in_order(steps_in(summed))
        return (f"{self.each_step(summed)} " if summed else "") + self.within(factor, 0, PRODUCT)


__all__ = ["Notation", "dim", "split_name", "width"]
