"""Sizes, positions and numbers as C."""

from __future__ import annotations

import sympy as sp

from derive.procedures.names import Names
from derive.procedures.procedure import Position
from derive.shapes import OF_A_CALL
from derive.targets.numpy.counts import AtLeast, enough
from derive.targets.numpy.sizes import number_text, order_of_terms


class SizeText:
    """Prints expressions in sizes and positions. used: the sizes that the text reads, by their names among those of a call."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.used: dict[str, str] = {}

    def symbol(self, symbol: sp.Symbol) -> str:
        if isinstance(symbol, Position):
            return str(symbol.name)
        if symbol.name in (*OF_A_CALL, *self.names.axes) and symbol.is_positive is None:
            name = str(self.names.axes.get(symbol.name, symbol.name))
        else:
            name = self.names.size(symbol.name)
        self.used.setdefault(symbol.name, name)
        return name

    def names_of(self, size: str) -> str:
        """What the size of an axis or a dimension is called."""
        return size if size in OF_A_CALL else self.names.axes[size] if size in self.names.axes else self.names.size(size)

    def whole(self, value: sp.Expr | int) -> str:
        """A whole number: sums of products."""
        value = sp.expand(sp.sympify(value))
        terms = sorted(sp.Add.make_args(value), key=order_of_terms)
        out = ""
        for k, term in enumerate(terms):
            number, rest = term.as_coeff_Mul()
            sign = "-" if number < 0 else "+"
            factors = ([str(abs(number))] if abs(number) != 1 or rest == 1 else []) + [
                self.power(one) for one in factors_of(rest)
            ]
            text = " * ".join(factors)
            out += (f"-{text}" if sign == "-" else text) if k == 0 else f" {sign} {text}"
        return out

    def power(self, factor: sp.Expr) -> str:
        base, exponent = factor.as_base_exp()
        return " * ".join([self.symbol(base)] * int(exponent))

    def bracketed(self, value: sp.Expr | int) -> str:
        text = self.whole(value)
        return f"({text})" if " " in text or text.startswith("-") else text

    def real(self, value: sp.Expr) -> str:
        """A number, or an expression in sizes, as a `real`."""
        if value.is_number:
            return f"R({number_text(value)})"
        return f"R({self.double(value)})"

    def double(self, value: sp.Expr) -> str:
        """An expression in sizes in double precision; what is divided by counts one step at least."""
        if value.is_number:
            text = number_text(value)
            return f"({text})" if text.startswith("-") else f"{text}.0" if text.lstrip("-").isdigit() else text
        match value:
            case AtLeast():
                name = self.symbol(sp.Symbol(value.axis))
                return f"(double)({name} > {value.least} ? {name} : {value.least})"
            case sp.Symbol():
                return f"(double){self.symbol(value)}"
            case sp.Add():
                return "(" + " + ".join(map(self.double, value.args)) + ")"
            case sp.Mul():
                above, below = sp.fraction(value)
                if below != 1:
                    return f"({self.double(above)} / {self.double(enough(below))})"
                return "(" + " * ".join(map(self.double, value.args)) + ")"
            case sp.Pow():
                base, exponent = value.args
                if exponent.is_negative:
                    return f"(1.0 / {self.double(enough(base**-exponent))})"
                return f"pow({self.double(base)}, {self.double(exponent)})"
        return f"{value.func.__name__}({self.double(value.args[0])})"


def factors_of(product: sp.Expr) -> list[sp.Expr]:
    """The factors of a product of symbols: positions of loops first, then as they are called."""
    factors = [one for one in sp.Mul.make_args(product) if one != 1]
    return sorted(
        factors, key=lambda one: (not one.free_symbols or not isinstance(next(iter(one.free_symbols)), Position), str(one))
    )
