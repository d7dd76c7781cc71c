"""Calls that aren't elementwise: sums, what runs along the elements of a vector or the steps of an axis, tokens, joined vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import sympy as sp

from derive.procedures.procedure import Call, Number, Operand, Position
from derive.targets.c.nest_text import STEP, sum_lines
from derive.targets.c.nests import Nests
from derive.targets.c.places import Place, axis_size, broadcast, sizes_of
from derive.targets.c.sizes import SizeText


class Function(Protocol):
    """What the functions here ask of the one that they write for."""

    sizes: SizeText
    nests: Nests
    labels: set[str]

    def fresh(self, stem: str) -> str: ...
    def place(self, operand: Operand) -> Place: ...
    def place_or_none(self, operand: Operand) -> Place | None: ...
    def prepared(self, operand: Operand) -> Operand: ...
    def held(self, operand: Operand) -> Operand: ...
    def write(self, value: Operand, places: list[Place], name: str) -> None: ...
    def elementwise(self, places: list[Place], value: Operand, name: str) -> None: ...
    def comments(self) -> list[str]: ...
    def pointer(self, place: Place) -> str: ...
    def mention(self, *places: Place) -> None: ...
    @staticmethod
    def moved(place: Place, steps: list[tuple[Position, sp.Expr]]) -> Place: ...


VECTORS: dict[str, Callable[[Function, Call, Place], list[str]]] = {}
Writer = Callable[[Function, Call, Place], list[str]]


def writes(*operations: str) -> Callable[[Writer], Writer]:
    """Register the decorated function as what writes the value of an operation into a place."""

    def register(function: Writer) -> Writer:
        for operation in operations:
            VECTORS[operation] = function
        return function

    return register


def around(fn: Function, sizes: Sequence[sp.Expr], places: Sequence[Place]) -> tuple[list[str], list[Place]]:
    """(the heads of loops over positions, the places at each of them): the places all have these positions, stride 0 where one counts
    for all."""
    heads: list[str] = []
    found = list(places)
    for k, size in enumerate(sizes):
        if size == 1:
            continue
        name = fn.fresh("n")
        heads.append(f"{STEP * len(heads)}for (ptrdiff_t {name} = 0; {name} < {fn.sizes.whole(size)}; {name}++)")
        found = [fn.moved(new, [(Position(name), old.stride(k))]) for new, old in zip(found, places, strict=True)]
    return heads, found


def without(place: Place, at: int) -> Place:
    """A place without one of its positions."""
    at %= len(place.sizes)
    return replace(
        place,
        sizes=(*place.sizes[:at], *place.sizes[at + 1 :]),
        strides=(*place.strides[:at], *place.strides[at + 1 :]),
    )


def along(fn: Function, call: Call, out: Place, at: int, reduces: bool, text: str) -> list[str]:
    """A function of the fixed part on each vector along a position of the argument."""
    z = fn.place(fn.held(call.arguments[0]))
    at %= len(z.sizes)
    rest = without(z, at)
    target = out if reduces else without(out, at)
    heads, (source, result) = around(fn, rest.sizes, [rest, broadcast(target, rest.sizes) if reduces else target])
    size, stride = fn.sizes.whole(z.sizes[at]), fn.sizes.whole(z.stride(at))
    step = "" if reduces else fn.sizes.whole(out.strides[at])
    line = text.format(n=size, z=fn.pointer(source), stride=stride, out=fn.pointer(result), step=step)
    return [*heads, STEP * len(heads) + line]


@writes("softmax", "log_softmax", "first_largest")
def along_features(fn: Function, call: Call, out: Place) -> list[str]:
    return along(fn, call, out, -1, False, f"{call.operation}({{n}}, {{z}}, {{stride}}, {{out}}, {{step}});")


@writes("logsumexp", "largest")
def over_features(fn: Function, call: Call, out: Place) -> list[str]:
    return along(fn, call, out, -1, True, f"*({{out}}) = {call.operation}({{n}}, {{z}}, {{stride}});")


@writes("softmax_along", "first_largest_along")
def along_steps(fn: Function, call: Call, out: Place) -> list[str]:
    name = call.operation.removesuffix("_along")
    return along(fn, call, out, call.option("along"), False, f"{name}({{n}}, {{z}}, {{stride}}, {{out}}, {{step}});")


@writes("largest_along")
def over_steps(fn: Function, call: Call, out: Place) -> list[str]:
    return along(fn, call, out, call.option("along"), True, "*({out}) = largest({n}, {z}, {stride});")


@writes("cumulative")
def cumulative(fn: Function, call: Call, out: Place) -> list[str]:
    at = call.option("along")
    if not call.option("backwards"):
        return along(fn, call, out, at, False, "cumulative({n}, {z}, {stride}, {out}, {step});")
    return along(
        fn, call, out, at, False, "cumulative({n}, {z} + ({n} - 1) * {stride}, -{stride}, {out} + ({n} - 1) * {step}, -{step});"
    )


@writes("sum")
def summation(fn: Function, call: Call, out: Place) -> list[str]:
    """Sums: zero first, then added to; the last position a vector at a time."""
    (inner,) = call.arguments
    inner = fn.prepared(inner)
    whole = sizes_of(inner)
    count, keep = len(whole), call.option("keep")
    gone = {place if place >= 0 else count + place for place in call.option("over")}
    if not keep:
        strides = iter(out.strides)
        target = replace(out, sizes=whole, strides=tuple(sp.S.Zero if k in gone else next(strides) for k in range(count)))
    else:
        target = replace(out, sizes=whole, strides=tuple(sp.S.Zero if k in gone else out.strides[k] for k in range(count)))
    fn.elementwise([out], Number(sp.S.Zero), "value")
    order = [*[k for k in range(count) if k in gone], *[k for k in range(count) if k not in gone]]
    if count and count - 1 in gone:
        order = [*[k for k in range(count) if k not in gone], *[k for k in range(count) if k in gone]]
    fn.mention(target, *map(fn.place, fn.nests.leaves(inner)))
    return sum_lines(target, inner, order, fn.nests, fn.sizes, fn.labels)


# ---- tokens


def token_loops(fn: Function, token: Place, places: Sequence[Place]) -> tuple[list[str], str, list[Place]]:
    """(heads of loops over all tokens, the token, the places at each of them, which have those positions in front)."""
    count = len(token.sizes)
    heads, found = around(fn, token.sizes, [token, *places])
    fronts = [
        replace(one, sizes=old.sizes[count:], strides=old.strides[count:]) for one, old in zip(found[1:], places, strict=True)
    ]
    return heads, f"({fn.pointer(found[0])})[0]", fronts


def row_of(fn: Function, matrix: Place, token: str) -> Place:
    """The row of a matrix, or the element of a vector, that a token says."""
    where = f"{matrix.pointer} + {token} * {fn.sizes.bracketed(matrix.strides[0])}"
    return replace(without(matrix, 0), label=(where, sp.S.Zero))


def each(fn: Function, heads: list[str], sizes: Sequence[sp.Expr], places: Sequence[Place], text: str) -> list[str]:
    """Loops around a line that reads and writes one element at a time: `{0}`, `{1}`, ... are the elements of the places."""
    more, found = around(fn, sizes, places)
    heads = [*heads, *[STEP * len(heads) + head for head in more]]
    return [*heads, STEP * len(heads) + text.format(*[f"({fn.pointer(one)})[0]" for one in found])]


@writes("take")
def take(fn: Function, call: Call, out: Place) -> list[str]:
    """Rows of a matrix, or elements of a vector, by token."""
    of, token = (fn.place(fn.held(one)) for one in call.arguments)
    heads, place, (row,) = token_loops(fn, token, [out])
    source = row_of(fn, of, place)
    return each(fn, heads, row.sizes, [row, source], "{0} = {1};")


@writes("pick")
def pick(fn: Function, call: Call, out: Place) -> list[str]:
    """The element of each vector that a token says."""
    of, token = (fn.place(fn.held(one)) for one in call.arguments)
    shape = out.sizes
    vectors = broadcast(without(of, -1), shape)
    tokens = broadcast(replace(token, sizes=token.sizes[:-1], strides=token.strides[:-1]), shape)
    heads, (target, source, place) = around(fn, shape, [out, vectors, tokens])
    stride = fn.sizes.bracketed(of.strides[-1])
    line = f"*({fn.pointer(target)}) = ({fn.pointer(source)})[({fn.pointer(place)})[0] * {stride}];"
    return [*heads, STEP * len(heads) + line]


@writes("log_softmax_at")
def log_softmax_at(fn: Function, call: Call, out: Place) -> list[str]:
    """The element that a token says of the logarithm of a softmax."""
    z, token = (fn.place(fn.held(one)) for one in call.arguments)
    heads, (target, source, place) = around(
        fn, out.sizes, [out, broadcast(without(z, -1), out.sizes), broadcast(token, out.sizes)]
    )
    size, stride = fn.sizes.whole(z.sizes[-1]), fn.sizes.bracketed(z.strides[-1])
    element = f"({fn.pointer(source)})[({fn.pointer(place)})[0] * {stride}]"
    line = f"*({fn.pointer(target)}) = {element} - logsumexp({size}, {fn.pointer(source)}, {stride});"
    return [*heads, STEP * len(heads) + line]


@writes("by_token")
def by_token(fn: Function, call: Call, out: Place) -> list[str]:
    """Vectors added up by token."""
    fn.elementwise([out], Number(sp.S.Zero), "value")
    lines = fn.comments()
    a, token = (fn.place(fn.held(one)) for one in call.arguments)
    heads, place, (source,) = token_loops(fn, token, [a])
    target = row_of(fn, out, place)
    return [*lines, *each(fn, heads, source.sizes, [target, source], "{0} += {1};")]


@writes("one_hot")
def one_hot(fn: Function, call: Call, out: Place) -> list[str]:
    """A number at the element of the token, 0 elsewhere."""
    fn.elementwise([out], Number(sp.S.Zero), "value")
    return [*fn.comments(), *at_tokens(fn, call.arguments[0], call.arguments[1], out, "=")]


@writes("add_at")
def add_at(fn: Function, call: Call, out: Place) -> list[str]:
    """A number added to the element of the token."""
    fn.write(call.arguments[0], [out], "value")
    return [*fn.comments(), *at_tokens(fn, call.arguments[1], call.arguments[2], out, "+=")]


def at_tokens(fn: Function, token: Operand, number: Operand, out: Place, sign: str) -> list[str]:
    shape = out.sizes[:-1]
    tokens = broadcast(fn.place(fn.held(token)), shape)
    places = [without(out, -1), tokens]
    if not isinstance(number, Number):
        places.append(broadcast(fn.place(fn.held(number)), shape))
    heads, found = around(fn, shape, places)
    value = fn.sizes.real(number.value) if isinstance(number, Number) else f"({fn.pointer(found[2])})[0]"
    stride = fn.sizes.bracketed(out.strides[-1])
    line = f"({fn.pointer(found[0])})[({fn.pointer(found[1])})[0] * {stride}] {sign} {value};"
    return [*heads, STEP * len(heads) + line]


# ---- arrangement


@writes("concatenate")
def concatenate(fn: Function, call: Call, out: Place) -> list[str]:
    """Parts one behind the other; those that lie there already stay."""
    at = call.option("along") % len(out.sizes)
    start: sp.Expr = sp.S.Zero
    for part in call.arguments:
        size = sizes_of(part)[at]
        sizes = (*out.sizes[:at], size, *out.sizes[at + 1 :])
        target = replace(out, sizes=sizes, offset=sp.expand(out.offset + start * out.strides[at]))
        start = sp.expand(start + size)
        found = fn.place_or_none(part)
        if found is not None and (found.pointer, found.offset, found.strides) == (target.pointer, target.offset, target.strides):
            continue
        fn.write(part, [target], "value")
    return fn.comments()


@writes("eye")
def eye(fn: Function, call: Call, out: Place) -> list[str]:
    """The identity."""
    fn.elementwise([out], Number(sp.S.Zero), "value")
    diagonal = replace(out, sizes=(out.sizes[0],), strides=(sp.expand(out.strides[0] + out.strides[1]),))
    return [*fn.comments(), *each(fn, [], diagonal.sizes, [diagonal], "{0} = 1;")]


@writes("end_of")
def end_of(fn: Function, call: Call, out: Place) -> list[str]:
    """A value at an end of its steps, zeros where there are none."""
    fn.elementwise([out], Number(sp.S.Zero), "value")
    a = fn.place(fn.held(call.arguments[0]))
    position = a.sizes[0] - 1 if call.option("at") == -1 else sp.S.Zero
    source = replace(without(a, 0), offset=sp.expand(a.offset + position * a.strides[0]))
    lines = fn.comments()
    return [*lines, f"if ({fn.sizes.whole(a.sizes[0])} > 0)", *each(fn, [STEP], out.sizes, [out, source], "{0} = {1};")[1:]]


@writes("placed")
def placed(fn: Function, call: Call, out: Place) -> list[str]:
    """A value at an end of the steps, zeros elsewhere."""
    fn.elementwise([out], Number(sp.S.Zero), "value")
    a = fn.place(fn.held(call.arguments[0]))
    size = axis_size(call.axes[0])
    position = size - 1 if call.option("at") == -1 else sp.S.Zero
    target = replace(without(out, 0), offset=sp.expand(out.offset + position * out.strides[0]))
    lines = fn.comments()
    return [
        *lines,
        f"if ({fn.sizes.whole(size)} > 0)",
        *each(fn, [STEP], target.sizes, [target, broadcast(a, target.sizes)], "{0} = {1};")[1:],
    ]
