"""The bias that opens a carousel: which gates carry a state over, and what is added before their functions.

A gate is an elementwise function whose values lie between 0 and 1 (or -1 and 1) in the factor of a state's own past. It is opened by
what is added inside it, all biases and numbers together, each counted once: one bias takes what the others leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.blocks import Rows
from derive.expressions import matrix_parts, values_in
from derive.language import Apply, Hadamard, Identity, Ones, Plus, Times, Value, X, add, coefficient, matmul, transpose
from derive.shapes import rank
from verify.jacobian.intervals import range_of_function
from verify.jacobian.run import Array, RunError
from verify.jacobian.values import scalar

DRAWS = 32
"""At how many values of the other factors it is asked which way a gate opens."""


@dataclass(frozen=True)
class Offset:
    """number times a bias (rows start:stop of it, None for all), or a number alone (name None), added before a gate's function."""

    number: float
    name: str | None
    rows: tuple[Any, Any] | None = None


@dataclass(frozen=True)
class Gate:
    """A gate that carries `state` over: sign +1 where it opens as what stands inside it grows, -1 where it closes. taker: the bias that
    is set, the first that nothing else reads, else the first; also: what else reads it."""

    name: str
    state: str
    sign: int
    offsets: tuple[Offset, ...]
    taker: Offset
    also: tuple[str, ...]


@dataclass(frozen=True)
class SetBias:
    """A bias as it was set: the gate that it stands in, sign -1 where the gate carries more as it falls, the state that this carries over,
    what else reads it."""

    parameter: str
    value: float
    gate: str
    sign: int
    state: str
    also_read_by: tuple[str, ...]

    def text(self) -> str:
        also = f" ({', '.join(self.also_read_by)} read{'s' * (len(self.also_read_by) == 1)} it too)" if self.also_read_by else ""
        return f"{self.parameter} = {self.value:g}{also} in {self.gate}, so that {self.state} is carried over"


@dataclass(frozen=True)
class Opened:
    """What a forget bias did: the value asked for, and the bias that was set for each gate."""

    value: float
    biases: tuple[SetBias, ...]

    def text(self) -> str:
        return "; ".join(bias.text() for bias in self.biases)


def opened(derivation: Any, parameters: Mapping[str, Array], value: float) -> tuple[dict[str, Array], Opened]:
    """(the parameters with one bias of each carrying gate set, what was set): all that is added inside the gate sums to `value`, or to
    minus that where it closes as it grows. Raises RunError where there is no such gate, one has no bias, or two contradict each other."""
    gates = carrying_gates(derivation)
    where = f"{derivation.cell.name}: "
    out = {name: array.copy() for name, array in parameters.items()}
    sizes = dimension_sizes(derivation.cell, parameters)
    for gate in gates:
        of(gate.taker, out, sizes)[...] += (gate.sign * value - total(gate, out, sizes)) / gate.taker.number
    for gate in gates:
        if not np.allclose(total(gate, out, sizes), gate.sign * value, rtol=1e-12, atol=1e-12):
            fault = f"{gate.taker.name} is read by gates that open in opposite directions, {gate.name} among them"
            raise CannotOpen(where, f"{fault}: expected a bias of its own in each, got one for both", "Give each gate its own")
    biases = tuple(
        SetBias(str(g.taker.name), float(of(g.taker, out, sizes).mean()), g.name, g.sign, g.state, g.also) for g in gates
    )
    return out, Opened(value, biases)


def total(gate: Gate, parameters: Mapping[str, Array], sizes: Mapping[Any, int]) -> Array:
    """All that is added inside a gate, (n,)."""
    return np.asarray(sum(o.number * (of(o, parameters, sizes) if o.name else 1.0) for o in gate.offsets))


def of(offset: Offset, parameters: Mapping[str, Array], sizes: Mapping[Any, int]) -> Array:
    """A bias, or the rows of it that a gate reads: a view."""
    array = parameters[str(offset.name)]
    if offset.rows is None:
        return array
    start, stop = (int(sp.sympify(end).subs(sizes)) for end in offset.rows)
    return array[start:stop]


def carry_biases(derivation: Any) -> list[tuple[str, int]]:
    """(bias that is set, sign) for each gate that carries a state over; empty where there is none, or one can't be opened."""
    try:
        return list(dict.fromkeys((str(gate.taker.name), gate.sign) for gate in carrying_gates(derivation)))
    except CannotOpen:
        return []


class CannotOpen(RunError):
    """A cell whose gates can't be opened; `fault`: why, alone."""

    def __init__(self, where: str, fault: str, advice: str = "Leave it out") -> None:
        super().__init__(f"jacobian: {where}forget-bias: {fault}. {advice}.")
        self.fault = fault


def carrying_gates(derivation: Any) -> list[Gate]:
    """Every gate that carries a state over. Raises RunError where there is none, and where one has no bias of its own."""
    if derivation is None:
        raise CannotOpen("", "expected equations, in which the gates are found, got a kernel file", "Set the bias in --weights")
    cell = derivation.cell
    defined = dict(cell.equations)
    found, others = [], []
    for state in cell.states:
        terms = factors_of(defined[state], state.prev, defined)
        for leaf in dict.fromkeys(leaf for _, factors in terms for factor in factors for leaf in leaves_of(factor, defined)):
            if isinstance(leaf, Apply) and is_gate(composed(leaf, defined)[0]):
                found.append(gate_of(derivation, state, terms, leaf, defined))
            elif isinstance(leaf, Apply):
                others.append(
                    f"{name_of(leaf, derivation, defined)} multiplies the past of {state.name} and has no greatest value 1"
                )
    if not found:
        fault = "; ".join(["the cell has no bias in a gate that carries a state over: expected one, got none", *others])
        raise CannotOpen(f"{cell.name}: ", fault)
    return found


def is_gate(function: sp.Expr) -> bool:
    """Whether a function has the greatest value 1 and none below -1: fully open it keeps what it multiplies."""
    low, high = range_of_function(function)
    return low >= -1 - 1e-9 and abs(high - 1) < 1e-6


def composed(leaf: Apply, defined: Mapping[Any, Any]) -> tuple[sp.Expr, Any]:
    """(a function as an expression in `X`, what it is taken of): functions of functions as one, as exp(-softplus(a))."""
    function, inside = leaf.scalar, leaf.expr
    while True:
        number, rest = coefficient(inside)
        below = defined.get(rest, rest)
        if not isinstance(below, Apply):
            return function, inside
        function, inside = function.subs(X, number * below.scalar), below.expr


def name_of(leaf: Any, derivation: Any, defined: Mapping[Any, Any]) -> str:
    """The value that a leaf defines, or its formula."""
    names = [value.name for value, right in defined.items() if right == leaf]
    return str(names[0] if names else derivation.notation().formula(leaf))


def gate_of(derivation: Any, state: Value, terms: Any, leaf: Any, defined: Mapping[Any, Any]) -> Gate:
    """The gate that a leaf of a state's carry is."""
    where = f"{derivation.cell.name}: "
    name = name_of(leaf, derivation, defined)
    function, inside = composed(leaf, defined)
    sign = direction(terms, leaf, defined) * slope_sign(function)
    if not sign:
        fault = f"{name}, which carries {state.name} over, opens one way or the other with what else is there"
        raise CannotOpen(where, f"{fault}: expected a gate that opens one way", "Set the bias in --weights")
    offsets = merged(offsets_of(inside, defined))
    biases = [offset for offset in offsets if offset.name and offset.number]
    if not biases:
        fault = f"{name}, which carries {state.name} over, has no bias: expected parameters added inside it, got none"
        raise CannotOpen(where, fault, "Add one to the equations, or leave forget-bias out")
    others = {offset: readers(str(offset.name), leaf, derivation.cell.equations, offset.rows is not None) for offset in biases}
    taker = next((offset for offset in biases if not others[offset]), biases[0])
    return Gate(name, state.name, sign, tuple(offsets), taker, tuple(others[taker]))


# ---- the factor of a state's own past


Factors = tuple[Any, ...]


def factors_of(node: Any, past: Value, defined: Mapping[Any, Any]) -> list[tuple[float, Factors]]:
    """The factor of a state's past in an expression, element by element: a sum of numbers times products of factors."""
    number, rest = coefficient(node)
    terms: list[tuple[float, Factors]] = []
    if rest == past:
        terms = [(1.0, ())]
    elif isinstance(rest, Times) and (whole := multiplied_out(rest)) is not None:
        terms = factors_of(whole, past, defined)
    elif isinstance(rest, Value) and rest in defined:
        terms = factors_of(defined[rest], past, defined)
    elif isinstance(rest, Plus):
        terms = [term for part in rest.args for term in factors_of(part, past, defined)]
    elif isinstance(rest, Hadamard):
        inside = [factors_of(part, past, defined) for part in rest.args]
        carrying = [k for k, some in enumerate(inside) if some]
        if len(carrying) == 1:  # two factors would make a square
            others = tuple(part for k, part in enumerate(rest.args) if k != carrying[0])
            terms = [(size, (*factors, *others)) for size, factors in inside[carrying[0]]]
    return [(float(number) * size, factors) for size, factors in terms]


def multiplied_out(product: Times) -> Any | None:
    """A matrix product with the sum in it that holds an identity multiplied out, (I - k kᵀ) C; None where there is none."""
    for k, factor in enumerate(product.args):
        if isinstance(factor, Plus) and any(isinstance(coefficient(term)[1], Identity) for term in factor.args):
            return add(*[matmul(*product.args[:k], term, *product.args[k + 1 :]) for term in factor.args])
    return None


def spread(node: Any) -> Any:
    """A vector in place of a matrix whose columns, or rows, are that vector."""
    parts = [part for part in node.args if not isinstance(part, Ones)] if isinstance(node, Times) else []
    return transpose(parts[0]) if len(parts) == 1 and parts[0].shape[0] == 1 else parts[0] if len(parts) == 1 else node


def leaves_of(node: Any, defined: Mapping[Any, Any]) -> list[Any]:
    """What a factor is made of by sums and products, definitions written out: functions, inputs, parameters, whatever else."""
    rest = spread(coefficient(node)[1])
    if isinstance(rest, Value) and rest in defined:
        return leaves_of(defined[rest], defined)
    if isinstance(rest, (Plus, Hadamard)):
        return [leaf for part in rest.args for leaf in leaves_of(part, defined)]
    return [] if isinstance(rest, Ones) else [rest]


def number_of(node: Any, defined: Mapping[Any, Any], leaves: Mapping[Any, float]) -> float:
    """The value of a factor where its leaves have these values."""
    number, rest = coefficient(node)
    rest = spread(rest)
    if isinstance(rest, Value) and rest in defined:
        value = number_of(defined[rest], defined, leaves)
    elif isinstance(rest, Plus):
        value = sum(number_of(part, defined, leaves) for part in rest.args)
    elif isinstance(rest, Hadamard):
        value = float(np.prod([number_of(part, defined, leaves) for part in rest.args]))
    else:
        value = 1.0 if isinstance(rest, Ones) else leaves[rest]
    return float(number) * value


def carry(terms: list[tuple[float, Factors]], defined: Mapping[Any, Any], leaves: Mapping[Any, float]) -> float:
    """The factor of a state's past where the leaves have these values."""
    return sum(size * float(np.prod([number_of(factor, defined, leaves) for factor in factors])) for size, factors in terms)


def direction(terms: list[tuple[float, Factors]], gate: Any, defined: Mapping[Any, Any]) -> int:
    """+1 where the carry grows in size with a gate's value, -1 where it falls, whatever the other leaves are; 0 where that differs."""
    every = list(dict.fromkeys(leaf for _, factors in terms for factor in factors for leaf in leaves_of(factor, defined)))
    rng = np.random.default_rng(0)
    signs = set()
    for _ in range(DRAWS):
        leaves = {leaf: float(rng.uniform(0.02, 0.98)) for leaf in every}
        first, second = (carry(terms, defined, {**leaves, gate: at}) for at in np.sort(rng.uniform(0.02, 0.98, 2)).tolist())
        signs.add(int(np.sign(abs(second) - abs(first))))
    return signs.pop() if len(signs) == 1 else 0


def slope_sign(function: sp.Expr) -> int:
    """+1 for a function that never falls, -1 for one that never rises, else 0."""
    steps = np.diff(scalar(function, np.linspace(-30, 30, 601)))
    return int((steps >= -1e-15).all()) - int((steps <= 1e-15).all())


# ---- what is added inside a gate


def offsets_of(node: Any, defined: Mapping[Any, Any]) -> list[Offset]:
    """The biases and numbers added in an expression, definitions written out. What stands inside a product isn't added: it isn't here."""
    number, rest = coefficient(node)
    found: list[Offset] = []
    if isinstance(rest, Ones):
        found = [Offset(1.0, None)]
    elif isinstance(rest, Value) and rest in defined:
        found = offsets_of(defined[rest], defined)
    elif isinstance(rest, Value) and not rest.timed and rank(rest) < 2:
        found = [Offset(1.0, rest.name)]
    elif isinstance(rest, Plus):
        found = [offset for part in rest.args for offset in offsets_of(part, defined)]
    elif isinstance(rest, Rows):
        found = [cut(offset, rest.args[1], rest.args[2]) for offset in offsets_of(rest.args[0], defined)]
    return [Offset(float(number) * offset.number, offset.name, offset.rows) for offset in found]


def cut(offset: Offset, start: Any, stop: Any) -> Offset:
    """The part of what is added that a range of rows reads."""
    first = offset.rows[0] if offset.rows else 0
    return Offset(offset.number, offset.name, (first + start, first + stop)) if offset.name else offset


def merged(offsets: list[Offset]) -> list[Offset]:
    """Each bias once, its numbers added."""
    numbers: dict[tuple[str | None, Any], float] = {}
    for offset in offsets:
        key = (offset.name, offset.rows)
        numbers[key] = numbers.get(key, 0.0) + offset.number
    return [Offset(number, *key) for key, number in numbers.items()]


def readers(name: str, gate: Any, equations: Any, is_part: bool) -> list[str]:
    """The values whose equations read a bias outside a gate. A gate that has its own rows of a longer bias shares it with nobody."""

    def reads(node: Any) -> bool:
        return node != gate and (
            (isinstance(node, Value) and node.name == name) or any(reads(part) for part in matrix_parts(node))
        )

    if is_part:
        return []
    inside = {value.name for value in values_in(gate)}
    return [target.name for target, right in equations if reads(right) and target.name not in inside]


def dimension_sizes(cell: Any, parameters: Mapping[str, Array]) -> dict[Any, int]:
    """The sizes of the dimensions, from the parameters' own shapes."""
    sizes: dict[Any, int] = {}
    pairs = [pair for value in cell.parameters for pair in zip(value.shape, parameters[value.name].shape, strict=False)]
    for _ in range(5):
        for dim, size in pairs:
            left = dim.subs(sizes)
            symbols = list(left.free_symbols)
            if len(symbols) == 1 and left.is_polynomial() and left.diff(symbols[0]).is_number:
                sizes[symbols[0]] = int((size - left.subs(symbols[0], 0)) / left.diff(symbols[0]))
    return sizes
