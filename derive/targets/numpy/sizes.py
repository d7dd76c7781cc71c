"""Numbers, sizes and shapes as Python text: what an expression in dimensions is in a kernel."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.procedures.names import Names
from derive.procedures.procedure import BUFFERS, EACH, PIECE, Position
from derive.shapes import OF_A_CALL
from derive.targets.numpy.counts import AtLeast, enough
from derive.targets.numpy.layout import ATOM, POWER, PRODUCT, SUM, Bracket, Infix, Joined, Piece, Word, flat, within


class Sizes:
    """Prints numbers made of dimensions.

    names: of dimensions and axes. sizes: those whose sizes the text reads. buffers: the object that has the arrays that are made once.
    steps: how many steps are at hand.
    """

    def __init__(self, names: Names, buffers: str = BUFFERS, steps: str = "T") -> None:
        self.names, self.buffers, self.steps = names, buffers, steps
        self.sizes: dict[str, None] = {}

    def number(self, value: sp.Expr) -> Piece:
        """A number, or an expression in dimensions: Python's own, so that it doesn't widen float32."""
        if value.is_number:
            text = number_text(value)
            return Word(text, SUM if text.startswith("-") else ATOM)
        match value:
            case Position():
                return Word(value.name)
            case AtLeast():
                return Word(f"max({self.axis(value.axis)}, {value.least})")
            case sp.Symbol() if value.name in (*OF_A_CALL, *self.names.axes) and value.is_positive is None:
                return Word(self.axis(value.name))
            case sp.Symbol():
                self.sizes.setdefault(value.name)
                return Word(self.names.size(value.name))
            case sp.Add():
                first, *rest = [self.signed(term) for term in sorted(value.args, key=order_of_terms)]
                start = Joined((Word("-"), within(first[1], PRODUCT)), PRODUCT) if first[0] == "-" else first[1]
                return Infix(start, tuple(rest), SUM)
            case sp.Mul():
                return self.fraction(value)
            case sp.Pow():
                return self.power(value)
        return Word(self.irrational(value.func.__name__, flat(self.number(value.args[0]))))

    def irrational(self, function: str, argument: str) -> str:
        """A function of a number made of dimensions, as Python's own number."""
        return f"float(np.{function}({argument}))"

    def signed(self, term: sp.Expr) -> tuple[str, Piece]:
        """(sign, the term without it)."""
        negative = bool(term.as_coeff_Mul()[0] < 0)
        return ("-", within(self.number(-term), PRODUCT)) if negative else ("+", self.number(term))

    def fraction(self, value: sp.Expr) -> Piece:
        above, below = sp.fraction(value)
        if below == 1:
            number, rest = above.as_coeff_Mul()
            factors = sorted(sp.Mul.make_args(rest), key=str)
            pieces = [within(self.number(part), POWER) for part in ([number] if number != 1 else []) + factors]
            return pieces[0] if len(pieces) == 1 else Infix(pieces[0], tuple(("*", piece) for piece in pieces[1:]), PRODUCT)
        return Infix(within(self.number(above), PRODUCT), (("/", within(self.number(enough(below)), POWER)),), PRODUCT)

    def power(self, value: sp.Pow) -> Piece:
        base, exponent = value.args
        if exponent < 0 and enough(base) != base:
            return Infix(Word("1"), (("/", within(self.number(enough(base**-exponent)), POWER)),), PRODUCT)
        if exponent == -1:
            return Infix(Word("1"), (("/", within(self.number(base), POWER)),), PRODUCT)
        text = flat(within(self.number(exponent), POWER))
        return Word(f"{flat(within(self.number(base), ATOM))}**{text}", POWER)

    def size(self, size: Any) -> Piece:
        """A size of an array, or a position."""
        return self.number(sp.expand(sp.sympify(size)))

    def axis(self, axis: str) -> str:
        """How many elements an array has along an axis."""
        if axis == EACH or axis.isdigit():
            return axis or "1"
        if axis == PIECE:
            return f"{self.buffers}.{PIECE}"
        if "*" in axis:
            return " * ".join(map(self.axis, axis.split("*")))
        if axis == "T" and self.steps != "T":
            return self.steps
        self.sizes.setdefault(axis)
        return self.names.axes.get(axis, axis)

    def shape(self, axes: tuple[str, ...], dims: tuple[sp.Expr, ...], more: int = 0) -> Piece:
        """A shape; `more` positions along the first axis beside its steps."""
        beside = f" {'-' if more < 0 else '+'} {abs(more)}" if more else ""
        lead = [f"{self.axis(axis)}{'' if k else beside}" for k, axis in enumerate(axes)]
        return Bracket("(", (*map(Word, lead), *map(self.size, dims)), ")")


def order_of_terms(term: sp.Expr) -> tuple[bool, bool, str]:
    """What is added before what is taken away, numbers last."""
    return bool(term.as_coeff_Mul()[0] < 0), bool(term.is_number), str(term)


def number_text(number: sp.Expr) -> str:
    """A number as a Python literal, to the last bit of float64; integers beyond its bits would be objects to NumPy."""
    return str(number) if number.is_Integer and abs(number) < 2**53 else repr(float(number.evalf(25)))
