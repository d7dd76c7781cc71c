"""Operands as JAX text: NumPy's, with jax.numpy's functions, where an array isn't written to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sympy as sp

from derive.procedures.procedure import Call, Entry, Operand
from derive.targets.numpy import expressions as numpy_text
from derive.targets.numpy.layout import Bracket, Piece, Word, flat


class Printer(numpy_text.Printer):
    """Prints operands: calls by `PRINTING`, everything else as NumPy's."""

    def __call__(self, operand: Operand) -> Piece:
        match operand:
            case Call():
                return PRINTING[operand.operation](self, operand)
            case Entry(holder="tape"):
                return Word(f'tape["{operand.name}"]')
        return super().__call__(operand)

    def number(self, value: sp.Expr) -> Piece:
        """A number, or an expression in dimensions; a function of those as a weak number of JAX's, which doesn't widen float32."""
        if isinstance(value, sp.Function):
            return Word(f"jnp.{value.func.__name__}({flat(self.number(value.args[0]))})")
        return super().number(value)

    def function(self, name: str, *arguments: Piece) -> Piece:
        """`name(arguments)`: a function of NumPy is jax.numpy's of the same name."""
        if name.startswith("np."):
            return Bracket(f"jnp.{name.removeprefix('np.')}(", arguments, ")")
        return super().function(name, *arguments)


def as_it_is(printer: numpy_text.Printer, call: Call) -> Piece:
    """Nothing writes to an array, so that it needs no copy."""
    return printer(call.arguments[0])


def scaled(printer: numpy_text.Printer, call: Call) -> Piece:
    """a times a number of each vector."""
    product: Piece = numpy_text.product_of(printer, replace(call, operation="multiply"))
    return product


PRINTING: dict[str, Callable[[numpy_text.Printer, Call], Piece]] = {
    **numpy_text.PRINTING,
    "copy": as_it_is,
    "scale": scaled,
}
"""What prints each operation."""
