"""Operands as Python text: one entry for each operation of `derive.procedures.procedure.OPERATIONS`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import dropwhile
from typing import Any

import sympy as sp

from derive.procedures.names import Names
from derive.procedures.procedure import (
    ALL,
    BUFFERS,
    COMPARING,
    Array,
    At,
    Call,
    Cut,
    Entry,
    Index,
    New,
    Number,
    Operand,
    View,
)
from derive.targets.numpy.counts import over_none
from derive.targets.numpy.functions import CALLED
from derive.targets.numpy.layout import ATOM, POWER, PRODUCT, SUM, Bracket, Infix, Joined, Piece, Word, flat, within
from derive.targets.numpy.sizes import Sizes

PRINTING: dict[str, Callable[[Printer, Call], Piece]] = {}


def prints(*operations: str) -> Callable[[Any], Any]:
    """Register the decorated function as what prints operations."""

    def register(function: Callable[[Printer, Call], Piece]) -> Callable[[Printer, Call], Piece]:
        for operation in operations:
            PRINTING[operation] = function
        return function

    return register


class Printer(Sizes):
    """Prints operands.

    sizes: the dimensions and axes whose sizes the text reads. helpers: the functions that it calls. calls: functions of NumPy that it
    calls by a local name: looking `np.` up costs as much as a small operation. buffers: the object that has the arrays that are made
    once. steps: how many steps are at hand. Other targets that are Python have their own of the three below: what prints operations, what
    functions of the library start with, and the local name of what new arrays are made by.
    """

    printing, library, like = PRINTING, "np.", "dtype"

    def __init__(self, names: Names, buffers: str = BUFFERS, steps: str = "T") -> None:
        super().__init__(names, buffers, steps)
        self.calls: dict[str, None] = {}
        self.helpers: dict[str, None] = {}

    def __call__(self, operand: Operand) -> Piece:
        match operand:
            case Array():
                return Word(operand.name)
            case Number():
                return self.number(operand.value)
            case Entry(holder="tape"):
                return Word(f"tape.{operand.name}")
            case Entry(holder=holder) if holder == BUFFERS:
                return Word(f"{self.buffers}.{operand.name}")
            case Entry():
                return Word(f'{operand.holder}["{operand.name}"]')
            case View():
                return Joined((self.within(operand.of, ATOM), Word(f"[{self.index(operand)}]")))
        return self.printing[operand.operation](self, operand)

    def within(self, operand: Operand, binds: int) -> Piece:
        return within(self(operand), binds)

    # ---- views

    def index(self, view: View) -> str:
        """What stands between the brackets of a view."""
        lead = len(view.of.axes)
        entries = list(view.index)
        if lead and all(one == ALL for one in entries[:lead]):
            inner = list(dropwhile(lambda one: one == ALL, entries[lead:]))
            return ", ".join(["...", *map(self.one_index, inner)])
        while len(entries) > 1 and entries[-1] == ALL:
            entries.pop()
        return ", ".join(map(self.one_index, entries))

    def one_index(self, one: Index) -> str:
        match one:
            case New():
                return "None"
            case At():
                return flat(self.size(one.position))
            case Cut():
                return ":".join("" if end is None else flat(self.size(end)) for end in (one.start, one.stop))

    # ---- what calls are made of

    def method(self, call: Call, name: str, *arguments: str) -> Piece:
        """`x.name(arguments)`."""
        return Joined((self.within(call.arguments[0], ATOM), Word(f".{name}({', '.join(arguments)})")))

    def function(self, name: str, *arguments: Piece) -> Piece:
        """`name(arguments)`; a name that isn't the library's is a helper of the kernel."""
        if not name.startswith(self.library):
            self.helpers.setdefault(name)
        return Bracket(f"{name}(", arguments, ")")


# ---- elementwise


@prints("add", "subtract")
def sum_of(printer: Printer, call: Call) -> Piece:
    left, right = call.arguments
    sign = "+" if call.operation == "add" else "-"
    first = printer(left)
    is_negative = isinstance(right, Call) and right.operation == "negative"
    second = printer.within(right, POWER if is_negative else PRODUCT)
    if isinstance(first, Infix) and first.binds == SUM:
        return Infix(first.first, (*first.rest, (sign, second)), SUM)
    return Infix(first, ((sign, second),), SUM)


@prints("multiply", "divide")
def product_of(printer: Printer, call: Call) -> Piece:
    left, right = call.arguments
    divides = call.operation == "divide"
    if divides:
        right = over_none(right)
    first, second = printer(left), printer.within(right, POWER)
    sign = "/" if divides else "*"
    if is_product(first, "*/"):
        assert isinstance(first, Infix)
        return Infix(first.first, (*first.rest, (sign, second)), PRODUCT)
    bound = first if isinstance(first, Joined) and first.binds == PRODUCT else within(first, POWER)
    return Infix(bound, ((sign, second),), PRODUCT)


def is_product(piece: Piece, signs: str) -> bool:
    """Whether a piece is a chain of products by some signs."""
    return isinstance(piece, Infix) and piece.binds == PRODUCT and all(sign in signs for sign, _ in piece.rest)


@prints("matmul", "dot")
def matmul(printer: Printer, call: Call) -> Piece:
    left, right = call.arguments
    first, second = printer(left), printer.within(right, POWER)
    if is_product(first, "@"):
        assert isinstance(first, Infix)
        return Infix(first.first, (*first.rest, ("@", second)), PRODUCT)
    return Infix(within(first, POWER), (("@", second),), PRODUCT)


@prints("negative")
def negative(printer: Printer, call: Call) -> Piece:
    return Joined((Word("-"), printer.within(call.arguments[0], POWER)), PRODUCT)


@prints("power")
def power(printer: Printer, call: Call) -> Piece:
    base, exponent = call.arguments
    text = flat(within(printer(exponent), ATOM))
    return Joined((printer.within(base, ATOM), Word(f"**{text}")), POWER)


@prints("function")
def function(printer: Printer, call: Call) -> Piece:
    return printer.function(CALLED[call.option("function")], printer(call.arguments[0]))


@prints(*COMPARING)
def comparing(printer: Printer, call: Call) -> Piece:
    return printer.function(call.operation, *map(printer, call.arguments))


# ---- sums and other reductions


@prints("inner")
def inner(printer: Printer, call: Call) -> Piece:
    return printer.function("np.einsum", Word('"tbr,tbr->r"'), *map(printer, call.arguments))


@prints("contract")
def contract(printer: Printer, call: Call) -> Piece:
    left, right = (Bracket("(", tuple(Word(str(place)) for place in places), ")") for places in call.option("over"))
    return printer.function("np.tensordot", *map(printer, call.arguments), Bracket("(", (left, right), ")"))


@prints("sum")
def summation(printer: Printer, call: Call) -> Piece:
    places = call.option("over")
    axis = str(places[0]) if len(places) == 1 else str(places)
    (inner,) = call.arguments
    everything = len(places) == len(inner.axes) + len(inner.dims) and not call.option("keep")
    keep = ["keepdims=True"] if call.option("keep") else []
    return printer.method(call, "sum", *([] if everything else [f"axis={axis}"]), *keep)


@prints("largest", "first_largest", "logsumexp", "softmax", "log_softmax", "log_softmax_at", "pick", "add_at", "scale")
def helper(printer: Printer, call: Call) -> Piece:
    return printer.function(call.operation, *map(printer, call.arguments))


@prints("by_token")
def by_token(printer: Printer, call: Call) -> Piece:
    return printer.function("by_token", *map(printer, call.arguments), printer.size(call.dims[0]))


@prints("one_hot")
def one_hot(printer: Printer, call: Call) -> Piece:
    return printer.function("one_hot", *map(printer, call.arguments), printer.size(call.dims[0]), Word("dtype"))


@prints("take")
def take(printer: Printer, call: Call) -> Piece:
    of, token = call.arguments
    return Joined((printer.within(of, ATOM), Word("["), printer(token), Word("]")))


@prints("largest_along", "first_largest_along", "softmax_along")
def along_an_axis(printer: Printer, call: Call) -> Piece:
    return printer.function(call.operation, printer(call.arguments[0]), Word(str(call.option("along"))))


@prints("end_of", "placed")
def at_an_end(printer: Printer, call: Call) -> Piece:
    return printer.function(call.operation, *map(printer, call.arguments), Word(str(call.option("at"))))


@prints("cumulative")
def cumulative(printer: Printer, call: Call) -> Piece:
    along = call.option("along")
    turn = Word(f"[..., ::-1{', :' * (-along - 1)}]")
    inner = printer(call.arguments[0])
    if not call.option("backwards"):
        return printer.function("np.cumsum", inner, Word(f"axis={along}"))
    turned = Joined((within(inner, ATOM), turn))
    return Joined((printer.function("np.cumsum", turned, Word(f"axis={along}")), turn))


# ---- arrangement


@prints("transpose")
def transpose(printer: Printer, call: Call) -> Piece:
    if call.axes:
        return printer.method(call, "swapaxes", "-1", "-2")
    return Joined((printer.within(call.arguments[0], ATOM), Word(".T")))


@prints("reshape")
def reshape(printer: Printer, call: Call) -> Piece:
    shape = printer.shape(call.axes, call.dims)
    assert isinstance(shape, Bracket)
    return Joined((printer.within(call.arguments[0], ATOM), Bracket(".reshape(", shape.items, ")")))


@prints("concatenate")
def concatenate(printer: Printer, call: Call) -> Piece:
    parts = Bracket("[", tuple(map(printer, call.arguments)), "]")
    return printer.function("np.concatenate", parts, Word(f"axis={call.option('along')}"))


@prints("broadcast")
def broadcast(printer: Printer, call: Call) -> Piece:
    return printer.function("np.broadcast_to", printer(call.arguments[0]), printer.shape(call.axes, call.dims))


@prints("copy")
def copy(printer: Printer, call: Call) -> Piece:
    return printer.method(call, "copy")


@prints("move")
def move(printer: Printer, call: Call) -> Piece:
    return printer.method(call, "transpose", *map(str, call.option("order")))


@prints("reversed")
def reversed_(printer: Printer, call: Call) -> Piece:
    return Joined((printer.within(call.arguments[0], ATOM), Word("[::-1]")))


# ---- new arrays


@prints("empty", "zeros")
def new_array(printer: Printer, call: Call) -> Piece:
    shape = printer.shape(call.axes, call.dims, call.option("more") or 0)
    return printer.function(f"np.{call.operation}", shape, Word("dtype"))


@prints("full")
def full(printer: Printer, call: Call) -> Piece:
    if call.arguments[0] == Number(sp.S.One):
        return printer.function("np.ones", printer.shape(call.axes, call.dims), Word("dtype"))
    return printer.function("np.full", printer.shape(call.axes, call.dims), printer(call.arguments[0]), Word("dtype"))


@prints("array")
def array(printer: Printer, call: Call) -> Piece:
    return printer.function("np.array", printer(call.arguments[0]), Word("dtype"))


@prints("eye")
def eye(printer: Printer, call: Call) -> Piece:
    size = Word(printer.axis(call.axes[0])) if call.axes else printer.size(call.dims[0])
    return printer.function("np.eye", size, Word("dtype=dtype"))
