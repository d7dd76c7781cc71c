"""How the tangents of one step hang together: the tangent program as a sum of terms, each of which maps one tangent linearly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sympy as sp

from derive.along import AlongAxis, Pick, Place, SumAlong, axes_of
from derive.blocks import Repeat, Rows, Stack
from derive.equation import Equation, Reason
from derive.equation import joined as all_of
from derive.expressions import is_timed, substitute, values_in
from derive.language import Hadamard, Plus, Times, Transposed, Value, Zeros, coefficient, hadamard, scale
from derive.reductions import Cumulative, Total
from derive.shapes import EXAMPLES, STEPS
from verify.jacobian.maps import (
    AtEnd,
    Cut,
    Elementwise,
    Everywhere,
    Left,
    Map,
    Number,
    Picked,
    Placed,
    Repeated,
    Right,
    Running,
    Spread,
    Summed,
    SummedAlong,
    Turned,
)

Mark = int
"""A summand, by its place among them."""

OF_FACTOR = (Elementwise, Spread, Left, Right)
"""The maps that multiply by an expression of the cell."""

Chain = tuple[Map, ...]
"""Maps one after the other, the last one first, as a product is written; a number stands in front of all."""


@dataclass(frozen=True)
class Summand:
    """A part of the tangent `target` that maps one tangent, `read`: as maps, as it is written, and why it is there."""

    target: Value
    read: Value
    chain: Chain
    value: Any
    reason: Reason | None
    mark: Mark = 0

    @property
    def is_direct(self) -> bool:
        """Whether it reads a state before the step itself."""
        return self.read.lag < 0

    @property
    def name(self) -> str:
        return str(self.target.name)


@lru_cache(maxsize=16)
def summands_of(derivation: Any) -> tuple[Summand, ...]:
    """How the states before a step move those after it: every part on the way, in the order of computation; parameters and inputs stand
    still. What the cell leaves unnamed, and is read once, is written out where it is read."""
    states = derivation.cell.states
    moving = {before_step(state) for state in states}
    found: list[Summand] = []
    for equation in marked(derivation.tangent.equations):
        parts = [part for part in parts_of_equation(equation) if part.read in moving]
        found += parts
        moving |= {part.target for part in parts}
    return written_out(needed(found, {after_step(state) for state in states}), derivation.cell.targets)


def marked(equations: Iterable[Equation]) -> Iterator[Equation]:
    """The equations of a tangent program, what is shared in it marked as a tangent where it is one, else written out."""
    shared: dict[Any, Any] = {}
    for equation in equations:
        equation = equation.substituted(shared.get)
        if equation.target.kind == "tangent":
            yield equation
        elif any(value.kind == "tangent" for value in equation.reads()):
            shared[equation.target] = after_step(equation.target)
            yield replace(equation, target=after_step(equation.target))
        else:
            shared[equation.target] = equation.value


def needed(summands: list[Summand], results: set[Value]) -> list[Summand]:
    """Those that some tangents are made of."""
    kept: list[Summand] = []
    for one in reversed(summands):
        if one.target in results:
            results.add(one.read)
            kept.append(one)
    return kept[::-1]


def written_out(summands: list[Summand], named: Iterable[Value]) -> tuple[Summand, ...]:
    """The same without tangents of unnamed values that are read once."""
    uses = Counter(one.read for one in summands)
    kept = {after_step(value) for value in named}
    inside: dict[Value, list[Summand]] = defaultdict(list)
    out: list[Summand] = []
    for one in summands:
        wider = [behind(one, inner) for inner in inside[one.read]] if one.read in inside else [one]
        if one.target in kept or uses[one.target] != 1:
            out += wider
        else:
            inside[one.target] += wider
    return tuple(replace(one, mark=k) for k, one in enumerate(out))


def behind(outer: Summand, inner: Summand) -> Summand:
    """A summand with the tangent that it reads written out."""
    value = substitute(outer.value, lambda node: inner.value if node == outer.read else None)
    return Summand(
        outer.target, inner.read, joined(outer.target, outer.chain, inner.chain), value, all_of([outer.reason, inner.reason])
    )


def joined(target: Value, outer: Chain, inner: Chain = ()) -> Chain:
    """Two chains as one that ends in a tangent: numbers in front, products element by element side by side made one."""
    number = sp.Mul(*[one.factor for one in (*outer, *inner) if isinstance(one, Number)])
    maps: list[Map] = []
    for one in (*outer, *inner):
        if isinstance(one, Elementwise) and maps and isinstance(maps[-1], Elementwise):
            one = Elementwise(one.shape, hadamard(maps.pop().factor, one.factor))  # type: ignore[attr-defined]
        maps += [] if isinstance(one, Number) else [one]
    return (Number(target.shape, number), *maps) if number != 1 else tuple(maps)


def before_step(state: Value) -> Value:
    """The tangent of a state before the step."""
    return state.prev.marked("tangent")


def after_step(state: Value) -> Value:
    return state.marked("tangent")


# ---- an expression linear in tangents as a sum of chains

Part = tuple[Chain, Value, Any]
"""(maps, the tangent that they map, the same as an expression)."""


def parts_of_equation(equation: Equation) -> Iterator[Summand]:
    for term in equation.terms:
        whole = term.value if equation.factor is None else hadamard(equation.factor, term.value)
        for chain, read, value in parts_of(whole):
            whole_chain = joined(equation.target, met(chain, read, equation.target))
            yield Summand(equation.target, read, whole_chain, value, term.reason)


def met(chain: Chain, read: Value, target: Value) -> Chain:
    """Maps, with what lies along T alone given to every position of another axis of steps where it first meets what lies along that."""
    there, out = other_axes(read), list[Map]()
    for one in reversed(chain):
        wanted = {one.axis} if isinstance(one, (SummedAlong, Picked)) else axes_of_map(one)
        out += [Everywhere(one.shape, axis) for axis in wanted - there]
        there |= wanted
        if isinstance(one, Everywhere):
            there = there - {one.axis} if isinstance(one, (SummedAlong, Picked)) else there | {one.axis}
        out.append(one)
    out += [Everywhere(target.shape, axis) for axis in other_axes(target) - there]
    return tuple(reversed(out))


def axes_of_map(one: Map) -> set[str]:
    """The axes of steps beside T along which the factor of a map varies."""
    return {axis for axis in axes_of(one.factor) if axis not in (STEPS, EXAMPLES)} if isinstance(one, OF_FACTOR) else set()


def other_axes(value: Value) -> set[str]:
    return {axis for axis in value.along if axis != STEPS}


def parts_of(node: Any) -> list[Part]:
    """An expression linear in tangents as a sum of maps of one tangent each."""
    number, rest = coefficient(node)
    if number == 1:
        return list(of_operation(rest))
    return [((Number(rest.shape, number), *chain), read, scale(number, text)) for chain, read, text in of_operation(rest)]


def of_operation(node: Any) -> Iterator[Part]:
    """By what is done last."""
    match node:
        case Value() if node.kind == "tangent":
            yield (), node, node
        case Plus():
            for part in node.args:
                yield from parts_of(part)
        case Hadamard():
            k = moving_factor(node.args)
            others = hadamard(*node.args[:k], *node.args[k + 1 :])
            kind = Elementwise if node.args[k].shape == node.shape else Spread
            yield from within(node, k, (kind(node.args[k].shape, others),))
        case Times():
            k = moving_factor(node.args)
            rights = [Right((node.shape[0], factor.shape[0]), factor) for factor in reversed(node.args[k + 1 :])]
            lefts = [Left((factor.shape[1], node.args[k].shape[1]), factor) for factor in node.args[:k]]
            yield from within(node, k, (*rights, *lefts))
        case Stack():
            heights = [part.shape[0] for part in node.args]
            zeros = [Zeros(*part.shape) for part in node.args]
            for k, part in enumerate(node.args):
                place = Placed(part.shape, sp.Add(*heights[:k]), sp.Add(*heights[k + 1 :]))
                for chain, read, text in parts_of(part) if has_tangent(part) else ():
                    yield (place, *chain), read, node.over(*zeros[:k], text, *zeros[k + 1 :])
        case Transposed() | Total() | Cumulative() | Rows() | Repeat() | AlongAxis():
            yield from within(node, 0, (map_of(node),))
        case _ if has_tangent(node):
            raise TypeError(f"{type(node).__name__}: expected a node linear in tangents of derive.rules. Add it to {__name__}.")


def map_of(node: Any) -> Map:
    """The map that an operation with one operand is."""
    shape = node.args[0].shape
    match node:
        case Transposed():
            return Turned(shape)
        case Total():
            return Summed(shape)
        case Cumulative():
            return Running(shape, bool(node.backwards))
        case Rows():
            return Cut(shape, *node.args[1:])
        case SumAlong():
            return SummedAlong(shape, node.axis)
        case Pick() | Place():
            return (Picked if isinstance(node, Pick) else AtEnd)(shape, node.axis, node.end)
        case AlongAxis():
            return Everywhere(shape, node.axis)
    return Repeated(shape, int(node.args[1]))


def within(node: Any, k: int, outer: Chain) -> Iterator[Part]:
    """The parts of the k-th operand of a node, with the maps that the node is for it."""
    operands = node.operands
    for chain, read, text in parts_of(operands[k]):
        yield (*outer, *chain), read, node.over(*operands[:k], text, *operands[k + 1 :])


def moving_factor(factors: Any) -> int:
    """Which factor of a product holds the tangent."""
    return next((k for k, factor in enumerate(factors) if has_tangent(factor)), 0)


def has_tangent(node: Any) -> bool:
    return any(value.kind == "tangent" for value in values_in(node))


def is_still(chain: Chain) -> bool:
    """Whether maps are the same at every step, and none leads to another axis of steps or back."""
    return not any(isinstance(one, Everywhere) or (isinstance(one, OF_FACTOR) and is_timed(one.factor)) for one in chain)


def is_elementwise(chain: Chain) -> bool:
    """Whether maps are a product element by element."""
    return all(isinstance(one, (Number, Elementwise)) for one in chain)
