"""Expressions as NumPy text.

`NumPyText`: a vector is a matrix with one column per example, `(n, B)` at one step, `(T, n, B)` for all steps; parameters are as
declared, vectors of parameters as columns `(n, 1)`. So `W @ x` and `f * c` read like the equations, and the text of an equation is
the same for one step and for all steps at once. `RowsText`: one row per example, `(B, n)` and `(T, B, n)`, as the caller's arrays
are, `x @ W.T`. `JacobianText`: a vector is `(T, B, n)` and a block `(T, B, n, m)`.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.blocks import Repeat, Rows, Stack
from derive.emission.names import local_name
from derive.expressions import is_timed
from derive.functions import NUMPY
from derive.language import Apply, Diagonal, Hadamard, Identity, Ones, Plus, Times, Transposed, Value, X, Zeros, coefficient
from derive.reductions import Softmax

SUM, PRODUCT, POWER, ATOM = range(4)
"""How tightly a piece of Python binds."""


class NumPyText:
    """Expressions over references to arrays.

    reference: the text for a value. place: `step`, `all` (every step at once) or `once` (parameters only). helpers collects the
    functions that the text calls and the module has to define.
    """

    def __init__(self, reference: Callable[[Value], str], place: str, helpers: set[str]) -> None:
        self.reference, self.place, self.helpers = reference, place, helpers

    def text(self, node: sp.MatrixExpr) -> str:
        return self.walk(node)[0]

    def within(self, node: sp.MatrixExpr, binds: int) -> str:
        text, own = self.walk(node)
        return text if own >= binds else f"({text})"

    def walk(self, node: sp.MatrixExpr) -> tuple[str, int]:
        number, rest = coefficient(node)
        if number != 1:
            if isinstance(rest, Ones):
                return number_text(number), SUM if number < 0 else ATOM
            inner = self.within(rest, POWER if isinstance(rest, Times) else PRODUCT)
            return (f"-{self.within(rest, ATOM)}", PRODUCT) if number == -1 else (f"{number_text(number)} * {inner}", PRODUCT)
        match rest:
            case Value():
                return self.reference(rest), ATOM
            case Plus():
                return self.plus(rest), SUM
            case Hadamard():
                return " * ".join(self.within(factor, POWER) for factor in rest.args), PRODUCT
            case Times():
                return self.product(list(rest.args)), PRODUCT
            case Transposed():
                return f"{self.within(rest.args[0], ATOM)}.T", ATOM
            case Apply():
                return self.scalar(rest.scalar, self.walk(rest.expr))
            case Softmax():
                self.helpers.add("softmax")
                return f"softmax({self.text(rest.args[0])})", ATOM
            case Stack():
                return self.stack(rest), ATOM
            case Repeat():
                axis = 1 if self.place == "all" else 0
                return f"np.concatenate([{self.text(rest.args[0])}] * {rest.args[1]}, axis={axis})", ATOM
            case Rows():
                return f"{self.within(rest.args[0], ATOM)}[{self.rows(*rest.args[1:])}]", ATOM
            case Ones():
                return "1", ATOM
            case Zeros():
                return "0", ATOM
            case Identity():
                return f"np.eye({size_text(node.shape[0])}, dtype=dtype)", ATOM
        raise TypeError(f"emit: no NumPy text for {type(node).__name__}")

    def plus(self, node: Plus) -> str:
        text = ""
        for term in node.args:
            number, rest = coefficient(term)
            negative = bool(number < 0) and not isinstance(rest, Ones)
            piece = self.within(-term, PRODUCT) if negative else self.text(term)
            text += f" - {piece}" if negative and text else f"-{piece}" if negative else f" + {piece}" if text else piece
        return text

    def product(self, factors: list[sp.MatrixExpr]) -> str:
        if isinstance(factors[0], Ones):
            return f"({self.product_of(factors[1:])}).sum(axis=-2, keepdims=True)"
        return self.product_of(factors)

    def product_of(self, factors: list[sp.MatrixExpr]) -> str:
        return " @ ".join(self.within(factor, POWER) for factor in factors) if len(factors) > 1 else self.text(factors[0])

    def stack(self, node: Stack) -> str:
        axis = "axis=1" if self.place == "all" else "axis=0"
        timed = is_timed(node)
        parts = [self.text(part) if not timed or is_timed(part) else self.widened(part) for part in node.args]
        return f"np.concatenate([{', '.join(parts)}], {axis})"

    def widened(self, part: sp.MatrixExpr) -> str:
        """A part that is the same at every step and for every example, repeated to stand beside others that aren't."""
        lead = "T, " if self.place == "all" else ""
        fill = self.text(part) if not isinstance(part, Zeros) else "dtype.type(0)"
        return f"np.broadcast_to({fill}, ({lead}{size_text(part.shape[0])}, B))"

    def rows(self, start: sp.Expr, stop: sp.Expr) -> str:
        return f":, {cut(start, stop)}" if self.place == "all" else cut(start, stop)

    # ---- scalar functions of one array

    def scalar(self, scalar: sp.Expr, operand: tuple[str, int]) -> tuple[str, int]:
        """A scalar expression in `X` of an array that is already text."""
        text, binds = operand
        match scalar:
            case sp.Symbol():
                return text, binds
            case sp.Add():
                terms = sorted(scalar.args, key=lambda term: (term.has(X), sp.default_sort_key(term)))
                joined = " + ".join(self.scalar(term, operand)[0] for term in terms)
                return joined.replace("+ -", "- "), SUM
            case sp.Mul() if scalar.has(X):
                return self.scalar_product(scalar, operand), PRODUCT
            case sp.Pow() if scalar.has(X):
                return self.power(scalar, operand)
            case sp.Function():
                call = NUMPY[scalar.func]
                if not call.startswith("np."):
                    self.helpers.add(call.partition("(")[0])
                return call.format(self.scalar(scalar.args[0], operand)[0]), ATOM
        return number_text(scalar), ATOM

    def scalar_product(self, scalar: sp.Expr, operand: tuple[str, int]) -> str:
        numbers, rest = scalar.as_independent(X)
        parts = []
        for part in sorted(sp.Mul.make_args(rest), key=lambda part: (part != X, sp.default_sort_key(part))):
            text, binds = self.scalar(part, operand)
            parts.append(text if binds > PRODUCT else f"({text})")
        product = " * ".join(parts)
        if numbers == 1:
            return product
        return f"-{product}" if numbers == -1 else f"{number_text(numbers)} * {product}"

    def power(self, scalar: sp.Expr, operand: tuple[str, int]) -> tuple[str, int]:
        base, exponent = scalar.args
        text, binds = self.scalar(base, operand)
        if exponent == sp.Rational(1, 2):
            return f"np.sqrt({text})", ATOM
        atom = text if binds == ATOM else f"({text})"
        if exponent == -1:
            return f"1 / {atom}", PRODUCT - 1
        return f"{atom}**{number_text(exponent) if exponent > 0 else f'({number_text(exponent)})'}", POWER


class RowsText(NumPyText):
    """Expressions transposed: vectors with one row per example.

    reference: the text of a value, or of rows of one, as a row; how it is cut depends on where it lies. columns: the text of a value that
    no step changes as it is, for expressions of such values. steps: how many there are, as text.
    """

    def __init__(
        self,
        reference: Callable[[sp.MatrixExpr], str],
        columns: Callable[[Value], str],
        place: str,
        helpers: set[str],
        steps: str = "T",
    ) -> None:
        super().__init__(reference, place, helpers)
        self.columns, self.steps = columns, steps

    def walk(self, node: sp.MatrixExpr) -> tuple[str, int]:
        match node:
            case Value():
                return self.reference(node), ATOM
            case Rows() if isinstance(node.args[0], Value):
                return self.reference(node), ATOM
            case _ if not is_timed(node):
                return self.constant(node)
            case Rows():
                return f"{self.within(node.args[0], ATOM)}[..., {cut(*node.args[1:])}]", ATOM
            case Repeat():
                return f"np.concatenate([{self.text(node.args[0])}] * {node.args[1]}, axis=-1)", ATOM
            case Softmax():
                self.helpers.add("softmax")
                return f"softmax({self.text(node.args[0])}, axis=-1)", ATOM
        return super().walk(node)

    def constant(self, node: sp.MatrixExpr) -> tuple[str, int]:
        """What no step changes: a vector as one row for all examples."""
        plain = NumPyText(self.columns, "once", self.helpers)
        if isinstance(node, Transposed):
            return plain.walk(node.args[0])
        if isinstance(coefficient(node)[1], (Ones, Zeros, Identity)):
            return plain.walk(node)
        return f"{plain.within(node, ATOM)}.T", ATOM

    def product(self, factors: list[sp.MatrixExpr]) -> str:
        if isinstance(factors[0], Ones):
            return f"({self.product_of(factors[1:])}).sum(axis=-1, keepdims=True)"
        return self.product_of(factors)

    def product_of(self, factors: list[sp.MatrixExpr]) -> str:
        return super().product_of(factors[::-1])

    def stack(self, node: Stack) -> str:
        parts = [self.text(part) if is_timed(part) else self.widened(part) for part in node.args]
        return f"np.concatenate([{', '.join(parts)}], axis=-1)"

    def widened(self, part: sp.MatrixExpr) -> str:
        lead = f"{self.steps}, " if self.place == "all" else ""
        fill = self.text(part) if not isinstance(part, Zeros) else "dtype.type(0)"
        return f"np.broadcast_to({fill}, ({lead}B, {size_text(part.shape[0])}))"


class JacobianText(NumPyText):
    """Expressions whose vectors are (T, B, n) and whose blocks are (T, B, n, m)."""

    def walk(self, node: sp.MatrixExpr) -> tuple[str, int]:
        match node:
            case Transposed() if node.shape[0] == 1 and not is_timed(node):
                return f"{self.within(node.args[0], ATOM)}[None, :]", ATOM
            case Diagonal():
                return f"{self.column(node.args[0])} * {self.eye(node.shape[0])}", PRODUCT
            case Identity():
                return self.eye(node.shape[0]), ATOM
            case Stack():
                lead = "T, B, "
                shapes = [f"({lead}{size_text(part.shape[0])}, {size_text(part.shape[1])})" for part in node.args]
                fills = ["dtype.type(0)" if isinstance(part, Zeros) else self.text(part) for part in node.args]
                parts = [f"np.broadcast_to({fill}, {shape})" for fill, shape in zip(fills, shapes, strict=True)]
                return f"np.concatenate([{', '.join(parts)}], axis=-2)", ATOM
            case Rows() if node.shape[1] != 1:
                return f"{self.within(node.args[0], ATOM)}[..., {super().rows(*node.args[1:])}, :]", ATOM
        return super().walk(node)

    def product_of(self, factors: list[sp.MatrixExpr]) -> str:
        """A product from the right; diag(v) M is v scaling the rows of M."""
        *left, last = factors
        text, binds = self.walk(last)
        if isinstance(last, Value) and last.is_vector and not last.timed:
            text, binds = f"{text}[:, None]", ATOM
        for factor in reversed(left):
            operator = "*" if isinstance(factor, Diagonal) else "@"
            plain = f"{self.within(factor, POWER)}{'[:, None]' if isinstance(factor, Value) and factor.is_vector else ''}"
            front = self.column(factor.args[0]) if isinstance(factor, Diagonal) else plain
            text, binds = f"{front} {operator} {text if binds >= POWER else f'({text})'}", PRODUCT
        return text

    def rows(self, start: sp.Expr, stop: sp.Expr) -> str:
        return f"..., {super().rows(start, stop)}"

    def column(self, vector: sp.MatrixExpr) -> str:
        return f"{self.within(vector, ATOM)}[..., None]"

    def eye(self, size: sp.Expr) -> str:
        return f"np.eye({size_text(size)}, dtype=dtype)"


def cut(start: sp.Expr, stop: sp.Expr) -> str:
    """A range of rows as Python: `:H`, `H:2 * H`."""
    return f"{size_text(start) if start != 0 else ''}:{size_text(stop)}"


def size_text(size: sp.Expr) -> str:
    """A dimension as Python: `H`, `2 * H`, `H + D`."""
    terms = []
    for term in sorted(sp.Add.make_args(sp.expand(size)), key=sp.default_sort_key):
        number, rest = term.as_coeff_Mul()
        name = "*".join(local_name(str(symbol)) for symbol in sp.Mul.make_args(rest))
        terms.append(str(number) if rest == 1 else name if number == 1 else f"{number} * {name}")
    return " + ".join(terms)


def number_text(number: sp.Expr) -> str:
    """A number as a Python literal, to the last bit of float64; integers beyond its bits would be objects to NumPy."""
    if number.is_Integer and abs(number) < 2**53:
        return str(number)
    return repr(float(number.evalf(25)))
