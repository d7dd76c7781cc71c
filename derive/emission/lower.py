"""Expressions as NumPy calls that write into memory that is already there, one operation a line."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.blocks import Repeat, Rows
from derive.emission.expressions import ATOM, NumPyText, number_text
from derive.expressions import is_timed
from derive.language import Apply, Hadamard, Ones, Plus, Times, Value, X, coefficient

UFUNCS = {sp.tanh: "tanh", sp.exp: "exp", sp.log: "log", sp.sin: "sin", sp.cos: "cos"}
CALLS = ("add", "copyto", "cos", "dot", "exp", "log", "matmul", "multiply", "negative", "sin", "subtract", "tanh")
"""NumPy functions that a loop calls by a local name: looking `np.` up costs as much as a small operation."""


class Lowering:
    """Writes `out = expression` as lines.

    view: the text for a value or rows of one. scratch: a buffer of so many rows, free until the next equation. text: the expression
    printer for what has no call of its own. in_blocks: whether arrays are seen block by block, (k, B, n), so that [v; v; ...] is v.
    scattered: names whose memory isn't one piece.
    """

    def __init__(
        self,
        view: Callable[[sp.MatrixExpr], str],
        scratch: Callable[[sp.Expr], str],
        text: NumPyText,
        in_loop: bool = True,
    ) -> None:
        self.view, self.scratch, self.text, self.in_loop = view, scratch, text, in_loop
        self.in_blocks = False
        self.scattered: set[str] = set()
        self.lines: list[str] = []
        self.called: dict[str, None] = {}
        self.numbers: dict[str, str] = {}

    def call(self, name: str, *operands: str, out: str) -> None:
        """One call that writes into `out`, its last argument."""
        if self.in_loop:
            self.called.setdefault(name)
            self.lines.append(f"{name}({', '.join(operands)}, {out})")
        elif name in ("dot", "matmul"):
            self.lines.append(f"_product({', '.join(operands)}, out={out})")
        else:
            self.lines.append(f"np.{name}({', '.join(operands)}, out={out})")

    def number(self, number: sp.Expr) -> str:
        """A number as an operand: in the loop as an array of the dtype, which NumPy needn't convert at each step."""
        if not self.in_loop:
            return number_text(number)
        known = {sp.S.One: "one", sp.Rational(1, 2): "half", sp.Integer(2): "two"}
        name = known.get(number, f"number_{len(self.numbers) + 1}")
        text = f"np.array({number_text(number)}, dtype)"
        name = next((n for n, t in self.numbers.items() if t == text), name)
        self.numbers[name] = text
        return name

    def is_plain(self, node: sp.MatrixExpr) -> bool:
        return isinstance(node, (Value, Rows)) or (self.in_blocks and isinstance(node, Repeat))

    def assign(self, node: sp.MatrixExpr, out: str, first: str = "") -> None:
        """out = node. first: the operand whose memory `out` is, which has to be consumed by the first call that writes."""
        number, rest = coefficient(node)
        match rest:
            case _ if self.is_plain(rest) and number == 1:
                if self.view(rest) != out:
                    self.lines.append(f"{out}[...] = {self.view(rest)}")
            case _ if self.is_plain(rest):
                self.scaled(self.view(rest), number, out)
            case Plus() if number == 1:
                self.plus(list(rest.args), out, first)
            case Hadamard():
                self.hadamard(list(rest.args), out, first)
                if number != 1:
                    self.scaled(out, number, out)
            case Times() if not isinstance(rest.args[0], Ones) and len(rest.args) == 2 and is_timed(rest.args[1]):
                left, right = rest.args
                self.call("matmul" if out in self.scattered else "dot", self.operand(right), self.matrix(left), out=out)
                if number != 1:
                    self.scaled(out, number, out)
            case Apply() if number == 1 and self.is_plain(rest.expr):
                self.apply(rest.scalar, self.view(rest.expr), out)
            case _:
                self.lines.append(f"{out}[...] = {self.text.text(node)}")

    def scaled(self, operand: str, number: sp.Expr, out: str) -> None:
        if number == -1:
            self.call("negative", operand, out=out)
        else:
            self.call("multiply", operand, self.number(number), out=out)

    def matrix(self, node: sp.MatrixExpr) -> str:
        """A matrix as the right factor of a row: W x is x @ W.T."""
        return self.text.within(node, ATOM)

    def operand(self, node: sp.MatrixExpr) -> str:
        """The text of an expression: itself where it is a value, else computed into a scratch buffer."""
        if self.is_plain(node) or isinstance(node, Ones):
            return self.view(node) if self.is_plain(node) else self.number(sp.S.One)
        buffer = self.scratch(node.shape[0])
        self.assign(node, buffer)
        return buffer

    # ---- sums

    def plus(self, terms: list[sp.MatrixExpr], out: str, first: str) -> None:
        """Compound terms one after the other, the first of them into `out` unless its memory is an operand's."""
        plain = [term for term in terms if self.is_plain(coefficient(term)[1]) or isinstance(coefficient(term)[1], Ones)]
        heavy = [term for term in terms if term not in plain]
        if first:
            leading = next(term for term in plain if self.is_plain(term) and self.view(term) == first)
            plain.remove(leading)
            current = self.view(leading)
        elif heavy:
            term = next((t for t in heavy if coefficient(t)[0] > 0 or len(terms) == 1), heavy[0])
            heavy.remove(term)
            self.assign(term, out)
            current = out
        else:
            leading = next((t for t in plain if coefficient(t)[0] == 1 and self.is_plain(t)), plain[0])
            plain.remove(leading)
            current = self.leaf(leading)
        for term in [*plain, *heavy]:
            current = self.added(current, term, out)

    def leaf(self, term: sp.MatrixExpr) -> str:
        number, rest = coefficient(term)
        if isinstance(rest, Ones):
            return self.number(number)
        return self.view(term) if number == 1 else self.operand(term)

    def added(self, current: str, term: sp.MatrixExpr, out: str) -> str:
        number, rest = coefficient(term)
        negative = bool(number < 0)
        if isinstance(rest, Ones):
            text = self.number(abs(number))
        else:
            text = self.operand(-term if negative else term)
        self.call("subtract" if negative else "add", current, text, out=out)
        return out

    # ---- elementwise products

    def hadamard(self, factors: list[sp.MatrixExpr], out: str, first: str) -> None:
        if any(isinstance(factor, Repeat) for factor in factors) and not self.in_blocks:
            self.lines.append(f"{out}[...] = {self.text.text(Hadamard(*factors))}")
            return
        plain = [factor for factor in factors if self.is_plain(factor)]
        heavy = [factor for factor in factors if factor not in plain]
        if first:
            leading = next(factor for factor in plain if self.view(factor) == first)
            plain.remove(leading)
            current = first
        elif heavy:
            self.assign(heavy.pop(0), out)
            current = out
        else:
            current = self.view(plain.pop(0))
        for factor in [*plain, *heavy]:
            self.call("multiply", current, self.operand(factor), out=out)
            current = out

    # ---- functions

    def apply(self, scalar: sp.Expr, operand: str, out: str) -> None:
        """A scalar function, one call after the other where it reads its argument once."""
        if isinstance(scalar, sp.Add) and len(scalar.args) == 2:
            number, rest = scalar.as_coeff_Add()
            if number != 0:
                self.shifted(number, rest, operand, out)
                return
        if isinstance(scalar, sp.Mul):
            number, rest = scalar.as_coeff_Mul()
            if number != 1:
                self.inner(rest, operand, out)
                self.scaled(operand if rest == X else out, number, out)
                return
        if isinstance(scalar, sp.Pow) and scalar.args == (X, 2):
            self.call("multiply", operand, operand, out=out)
        elif scalar.func in UFUNCS and scalar.args == (X,):
            self.call(UFUNCS[scalar.func], operand, out=out)
        else:
            self.lines.append(f"{out}[...] = {self.text.scalar(scalar, (operand, 3))[0]}")

    def inner(self, scalar: sp.Expr, operand: str, out: str) -> None:
        if scalar != X:
            self.apply(scalar, operand, out)

    def shifted(self, number: sp.Expr, rest: sp.Expr, operand: str, out: str) -> None:
        """number + rest, or number - (-rest)."""
        negative = rest.as_coeff_Mul()[0] < 0
        rest = -rest if negative else rest
        self.inner(rest, operand, out)
        value = operand if rest == X else out
        if negative:
            self.call("subtract", self.number(number), value, out=out)
        else:
            self.call("add", value, self.number(number), out=out)
