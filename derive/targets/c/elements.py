"""One element of an operand in a nest of loops, as C: so many elements of the innermost loop at a time as a vector has lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.functions import (
    absolute,
    elu,
    hardtanh,
    inverse_or_zero,
    log_or_zero,
    relu,
    sigma,
    sign,
    softplus,
    softsign,
    step,
)
from derive.procedures.procedure import Call, Number, Operand
from derive.targets.c.sizes import SizeText
from derive.targets.numpy.counts import over_none

SUM, PRODUCT, ATOM = 1, 2, 3

VECTOR_FUNCTIONS: dict[type[Any], str] = {
    sp.tanh: "hyperbolic_tangent", sp.exp: "exponential", sigma: "sigma", relu: "relu", step: "step", sign: "sign", elu: "elu",
    absolute: "magnitude", hardtanh: "hardtanh", softsign: "softsign",
}  # fmt: skip
LANE_FUNCTIONS: dict[type[Any], str] = {
    sp.log: "log", sp.sin: "sin", sp.cos: "cos", sp.sqrt: "sqrt", sp.atan: "atan", sp.erf: "erf", sp.sinh: "sinh", sp.cosh: "cosh",
    softplus: "softplus_of", log_or_zero: "log_or_zero_of", inverse_or_zero: "inverse_or_zero_of",
}  # fmt: skip
"""Functions by what the fixed part calls them: of vectors, and of one lane at a time."""

ELEMENTWISE = frozenset(
    {"add", "subtract", "multiply", "divide", "negative", "power", "function", "maximum", "minimum", "at_least", "above", "scale"}
)
PLAIN = frozenset({"full", "zeros", "copy", "array"})
"""Calls that are the element of their argument, or a number."""


@dataclass(frozen=True)
class Text:
    """C, how strongly it binds, and whether it is a vector."""

    text: str
    binds: int = ATOM
    is_vector: bool = True

    def within(self, binds: int) -> str:
        return self.text if self.binds >= binds else f"({self.text})"

    @property
    def as_vector(self) -> str:
        return self.text if self.is_vector else f"splat({self.text})"


class Elements:
    """Prints elements. leaf: of a place; sizes: numbers."""

    def __init__(self, leaf: Callable[[Operand], Text], sizes: SizeText) -> None:
        self.leaf, self.sizes = leaf, sizes

    def __call__(self, operand: Operand) -> Text:
        if isinstance(operand, Number):
            return Text(self.sizes.real(operand.value), is_vector=False)
        if not isinstance(operand, Call) or operand.operation not in ELEMENTWISE | PLAIN:
            return self.leaf(operand)
        if operand.operation == "zeros":
            return Text("R(0)", is_vector=False)
        if operand.operation in PLAIN:
            return self(operand.arguments[0])
        arguments = [self(one) for one in operand.arguments]
        match operand.operation:
            case "add" | "subtract":
                left, right = arguments
                sign_ = "+" if operand.operation == "add" else "-"
                second = right.within(PRODUCT)
                second = f"({second})" if second.startswith("-") else second
                return Text(f"{left.within(SUM)} {sign_} {second}", SUM, left.is_vector or right.is_vector)
            case "multiply" | "scale":
                left, right = arguments
                return Text(f"{left.within(PRODUCT)} * {right.within(ATOM)}", PRODUCT, left.is_vector or right.is_vector)
            case "divide":
                left, right = arguments[0], self(over_none(operand.arguments[1]))
                return Text(f"{left.within(PRODUCT)} / {right.within(ATOM)}", PRODUCT, left.is_vector or right.is_vector)
            case "negative":
                return Text(f"-{arguments[0].within(ATOM)}", PRODUCT, arguments[0].is_vector)
            case "power":
                return self.power(arguments[0], operand.arguments[1])
            case "function":
                return function_text(operand.option("function"), arguments[0].as_vector)
        return Text(f"{operand.operation}({', '.join(one.as_vector for one in arguments)})")

    def power(self, base: Text, exponent: Operand) -> Text:
        assert isinstance(exponent, Number)
        if exponent.value == 2:
            return Text(f"square({base.as_vector})")
        return Text(f"power({base.as_vector}, {self.sizes.double(exponent.value)}, count)")


def function_text(function: type[Any], argument: str) -> Text:
    if function in VECTOR_FUNCTIONS:
        return Text(f"{VECTOR_FUNCTIONS[function]}({argument})")
    return Text(f"by_lane({LANE_FUNCTIONS[function]}, {argument}, count)")


def element_at(pointer: str, index: str, stride: sp.Expr, sizes: SizeText) -> Text:
    """Elements that lie `stride` apart, the first of them at an index behind a pointer."""
    where = f"{pointer} + {index}" if index != "0" else pointer
    if stride == 0:
        return Text(f"{pointer}[{index}]", is_vector=False)
    if stride == 1:
        return Text(f"load({where}, count)")
    return Text(f"gather({where}, {sizes.whole(stride)}, count)")
