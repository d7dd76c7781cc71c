"""Operands as operations on tensors: what PyTorch says otherwise than NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp

from derive.procedures.names import Names
from derive.procedures.procedure import Call, Entry, Number, Operand
from derive.targets.numpy.expressions import PRINTING as NUMPY
from derive.targets.numpy.expressions import Printer
from derive.targets.numpy.layout import ATOM, Bracket, Joined, Piece, Word
from derive.targets.torch.functions import CALLED

PRINTING: dict[str, Callable[[Any, Call], Piece]] = dict(NUMPY)
"""Python's own operators, views and helpers read the same; the rest stands below."""

LIKE = Word("**like")


def prints(*operations: str) -> Callable[[Any], Any]:
    """Register the decorated function as what prints operations."""

    def register(function: Callable[[Any, Call], Piece]) -> Callable[[Any, Call], Piece]:
        PRINTING.update(dict.fromkeys(operations, function))
        return function

    return register


class TorchPrinter(Printer):
    """Prints operands. tokens: the inputs that are whole numbers, which index as int64 alone."""

    printing = PRINTING
    library = "torch."
    like = "like"

    def __init__(self, names: Names, tokens: Iterable[str] = ()) -> None:
        super().__init__(names)
        self.tokens = set(tokens)

    def __call__(self, operand: Operand) -> Piece:
        found = super().__call__(operand)
        is_token = isinstance(operand, Entry) and operand.holder == "inputs" and operand.name in self.tokens
        return Joined((found, Word(".long()"))) if is_token else found

    def irrational(self, function: str, argument: str) -> str:
        return f"math.{function}({argument})"


@prints("function")
def function(printer: TorchPrinter, call: Call) -> Piece:
    return printer.function(CALLED[call.option("function")], printer(call.arguments[0]))


@prints("inner")
def inner(printer: TorchPrinter, call: Call) -> Piece:
    return printer.function("torch.einsum", Word('"tbr,tbr->r"'), *map(printer, call.arguments))


@prints("contract")
def contract(printer: TorchPrinter, call: Call) -> Piece:
    left, right = (Bracket("(", tuple(Word(str(place)) for place in places), ")") for places in call.option("over"))
    return printer.function("torch.tensordot", *map(printer, call.arguments), Bracket("(", (left, right), ")"))


@prints("sum")
def summation(printer: TorchPrinter, call: Call) -> Piece:
    places = call.option("over")
    (inner,) = call.arguments
    everything = len(places) == len(inner.axes) + len(inner.dims) and not call.option("keep")
    keep = ["keepdim=True"] if call.option("keep") else []
    return printer.method(call, "sum", *([] if everything else [f"dim={places[0] if len(places) == 1 else places}"]), *keep)


@prints("one_hot")
def one_hot(printer: TorchPrinter, call: Call) -> Piece:
    return printer.function("one_hot", *map(printer, call.arguments), printer.size(call.dims[0]), Word("like"))


@prints("cumulative")
def cumulative(printer: TorchPrinter, call: Call) -> Piece:
    along = call.option("along")
    if not call.option("backwards"):
        return printer.method(call, "cumsum", f"dim={along}")
    turned = f".flip({along})"
    return Joined((printer.within(call.arguments[0], ATOM), Word(f"{turned}.cumsum(dim={along}){turned}")))


@prints("concatenate")
def concatenate(printer: TorchPrinter, call: Call) -> Piece:
    parts = Bracket("[", tuple(map(printer, call.arguments)), "]")
    return printer.function("torch.cat", parts, Word(f"dim={call.option('along')}"))


@prints("broadcast")
def broadcast(printer: TorchPrinter, call: Call) -> Piece:
    return printer.function("torch.broadcast_to", printer(call.arguments[0]), printer.shape(call.axes, call.dims))


@prints("copy")
def copy(printer: TorchPrinter, call: Call) -> Piece:
    return printer.method(call, "clone")


@prints("move")
def move(printer: TorchPrinter, call: Call) -> Piece:
    return printer.method(call, "permute", *map(str, call.option("order")))


@prints("reversed")
def reversed_(printer: TorchPrinter, call: Call) -> Piece:
    return printer.method(call, "flip", "0")


@prints("empty", "zeros")
def new_array(printer: TorchPrinter, call: Call) -> Piece:
    shape = printer.shape(call.axes, call.dims, call.option("more") or 0)
    return printer.function(f"torch.{call.operation}", shape, LIKE)


@prints("full")
def full(printer: TorchPrinter, call: Call) -> Piece:
    if call.arguments[0] == Number(sp.S.One):
        return printer.function("torch.ones", printer.shape(call.axes, call.dims), LIKE)
    return printer.function("torch.full", printer.shape(call.axes, call.dims), printer(call.arguments[0]), LIKE)


@prints("array")
def array(printer: TorchPrinter, call: Call) -> Piece:
    if not isinstance(call.arguments[0], Number):
        return printer.method(call, "clone")
    return printer.function("torch.tensor", printer(call.arguments[0]), LIKE)


@prints("eye")
def eye(printer: TorchPrinter, call: Call) -> Piece:
    size = Word(printer.axis(call.axes[0])) if call.axes else printer.size(call.dims[0])
    return printer.function("torch.eye", size, LIKE)
