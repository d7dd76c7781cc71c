"""Initial weights: how they are drawn, and which parameters are recurrent, found from the equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.blocks import Stack
from derive.expressions import is_timed, matrix_parts, summands, values_in
from derive.language import Hadamard, Plus, Times, Transposed, Value, coefficient, transpose
from derive.shapes import is_scalar, is_vector, rank
from verify.jacobian.opening import CannotOpen, Opened, dimension_sizes, opened
from verify.jacobian.run import Array, RunError

RECURRENT = ("gaussian", "orthogonal", "identity")


@dataclass(frozen=True)
class Init:
    """How weights start: scale of every matrix; recurrent: what square matrices that multiply a state are; forget_bias: what is added
    inside the gates that carry a state over (None: 0), see `opening`.
    A gaussian matrix has variance scale^2 / fan in, others are scale times that; a vector that stands in a matrix product counts as one.
    What a whole sum is multiplied by, and a number that multiplies anything, is 1; other vectors and numbers, as biases, are 0."""

    scale: float = 1.0
    forget_bias: float | None = None
    recurrent: str = "gaussian"

    def text(self) -> str:
        parts = [f"scale={self.scale:g}", f"recurrent={self.recurrent}"]
        return ",".join(parts + ([f"forget-bias={self.forget_bias:g}"] if self.forget_bias is not None else []))


def parse_init(text: str) -> Init:
    """`scale=1.5,forget-bias=4,recurrent=orthogonal`. Raises RunError."""
    chosen: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        key = name.strip().replace("-", "_")
        if key not in Init.__dataclass_fields__ or not equals:
            raise RunError(
                f"jacobian: --init: `{part}`: expected scale=NUMBER, forget-bias=NUMBER or recurrent=NAME. Correct it."
            )
        if key in chosen:
            raise RunError(f"jacobian: --init: `{part}`: {name.strip()} is given twice: expected it once. Drop one of them.")
        chosen[key] = recurrent_name(value.strip()) if key == "recurrent" else number(name, value)
    return Init(**chosen)


def recurrent_name(value: str) -> str:
    if value not in RECURRENT:
        raise RunError(f"jacobian: --init: recurrent: expected {', '.join(RECURRENT)}, got {value}. Choose one of them.")
    return value


def number(name: str, value: str) -> float:
    try:
        out = float(value)
    except ValueError:
        out = float("nan")
    if not np.isfinite(out):
        raise RunError(f"jacobian: --init: {name}: expected a finite number, got `{value}`. Write one.")
    return out


@dataclass(frozen=True)
class Applied:
    """What --init, or a remedy, did to the weights of one cell. recurrent: the matrices that are `init.recurrent`. opened: what the
    forget bias set; why_not: why it set nothing, where it was asked for of several cells and this one has no such gate."""

    init: Init
    recurrent: tuple[str, ...] = ()
    opened: Opened | None = None
    why_not: str = ""

    @property
    def text(self) -> str:
        """As --init takes it, without a forget bias that wasn't applied."""
        return (self.init if self.opened else replace(self.init, forget_bias=None)).text()

    def says(self) -> list[str]:
        """In words, what was asked for by name: a line each."""
        bias = self.init.forget_bias
        lines = [f"forget-bias={bias:g} not applied: {self.why_not}"] if bias is not None and not self.opened else []
        return [*lines, *([f"forget-bias={self.opened.value:g}: {self.opened.text()}"] if self.opened else [])]

    def record(self) -> dict[str, Any]:
        bias = None
        if self.init.forget_bias is not None:
            done = [{**vars(one), "also_read_by": list(one.also_read_by)} for one in self.opened.biases] if self.opened else []
            bias = {"asked": self.init.forget_bias, "set": done, "why_not": self.why_not or None}
        recurrent = {"kind": self.init.recurrent, "matrices": list(self.recurrent)}
        return {"scale": self.init.scale, "recurrent": recurrent, "forget_bias": bias}


def draw_parameters(kernel: Any, derivation: Any, shapes: Mapping[str, Sequence[int]], init: Init, seed: int) -> dict[str, Array]:
    """Every parameter, drawn in the order of PARAMETERS; the same seed gives the same numbers."""
    return started(kernel, derivation, gaussian(derivation, shapes, init.scale, seed), init)[0]


def gaussian(derivation: Any, shapes: Mapping[str, Sequence[int]], scale: float, seed: int) -> dict[str, Array]:
    """Every parameter as it is drawn, whatever is recurrent."""
    rng = np.random.default_rng([seed, 0])
    in_products, factors = roles(derivation.cell.forward) if derivation is not None else (set(), set())
    out = {}
    for name, shape in shapes.items():
        normal = np.asarray(rng.standard_normal(shape))
        if len(shape) == 2 or name in in_products:
            out[name] = scale * normal / np.sqrt(shape[-1])
        else:
            out[name] = np.full(shape, float(name in factors))
    return out


def started(
    kernel: Any, derivation: Any, out: Mapping[str, Array], init: Init, one_of_several: bool = False
) -> tuple[dict[str, Array], Applied]:
    """(parameters with their recurrent matrices and forget biases as asked for, what was applied). one_of_several: a cell whose gates
    can't be opened stays as drawn, and says why."""
    out = dict(out)
    blocks = tuple(dict.fromkeys(name for name, _ in recurrent_blocks(kernel, derivation, out)))
    applied = Applied(init, blocks)
    if init.recurrent != "gaussian":
        out = with_recurrent(kernel, derivation, out, init.recurrent, init.scale)
    if init.forget_bias is None:
        return out, applied
    try:
        out, done = opened(derivation, out, init.forget_bias)
        return out, replace(applied, opened=done)
    except CannotOpen as error:
        if not one_of_several:
            raise
        return out, replace(applied, why_not=error.fault)


def roles(forward: Any) -> tuple[set[str], set[str]]:
    """(vectors of parameters that stand in a matrix product; numbers that multiply anything, and vectors that multiply all that varies in
    their equation, as the gain of a normalisation)."""
    in_products: set[str] = set()
    factors: set[str] = set()
    for equation in forward.equations:
        terms = [coefficient(part)[1] for part in summands(equation.value)]
        for term in terms:
            parts = [transpose(part) if isinstance(part, Transposed) else part for part in matrix_parts(term)]
            still = [part for part in parts if isinstance(part, Value) and not part.timed]
            alone = not any(is_timed(other) for other in terms if other is not term)
            if isinstance(term, Times):
                in_products |= {part.name for part in still if is_vector(part)}
            elif isinstance(term, Hadamard):
                factors |= {part.name for part in still if is_scalar(part) or (is_vector(part) and alone)}
    return in_products, factors


# ---- recurrent matrices


def with_recurrent(
    kernel: Any, derivation: Any, parameters: Mapping[str, Array], kind: str, scale: float = 1.0
) -> dict[str, Array]:
    """The parameters with scale times an orthogonal or the identity matrix in each square block that multiplies a state.

    The orthogonal factor is that of the block itself, its signs fixed (Mezzadri 2007), so a gaussian block gives a uniform one.
    Raises RunError where there is no such block: gates that are stacked in one matrix aren't told apart.
    """
    out = {name: array.copy() for name, array in parameters.items()}
    blocks = recurrent_blocks(kernel, derivation, parameters)
    if not blocks:
        got = ", ".join(f"{name} {array.shape}" for name, array in parameters.items())
        raise RunError(
            f"jacobian: {kind} start: expected a square matrix that multiplies a state, got {got}. Give --weights instead."
        )
    for name, columns in blocks:
        block = out[name][:, columns]
        if kind == "identity":
            out[name][:, columns] = scale * np.eye(len(block))
        else:
            Q, R = np.linalg.qr(block)
            out[name][:, columns] = scale * Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return out


def recurrent_blocks(kernel: Any, derivation: Any, parameters: Mapping[str, Array]) -> list[tuple[str, slice]]:
    """(parameter, its columns) of every square block that multiplies a state, or what is computed from one.

    A kernel file has no equations: there it is every square matrix whose two dimensions are those of a state.
    """
    if derivation is None:
        dims = {dim for shape in kernel.STATES.values() for dim in shape}
        return [(n, slice(None)) for n, d in kernel.PARAMETERS.items() if len(d) == 2 and d[0] == d[1] and d[0] in dims]
    found: dict[tuple[str, int, int], None] = {}
    for name, operand in products(derivation.cell.forward):
        array, start = parameters[name], 0
        for part in parts_of(operand, derivation.cell.forward):
            width = array.shape[1] if part is operand else part_size(part, derivation.cell, parameters)
            if depends_on_state(part, derivation.cell.forward) and width == array.shape[0]:
                found[name, start, start + width] = None
            start += width
    return [(name, slice(start, stop)) for name, start, stop in found]


def products(forward: Any) -> list[tuple[str, Any]]:
    """(parameter, what it multiplies) of every product of a matrix of parameters in the forward equations; a state that is a matrix may
    stand on either side."""
    out = []
    for equation in forward.equations:
        for term in equation.terms:
            for part in term.value.args if isinstance(term.value, (Plus, Hadamard)) else [term.value]:
                rest = coefficient(part)[1]
                if isinstance(rest, Times) and len(rest.args) == 2:
                    left, right = (factor.args[0] if isinstance(factor, Transposed) else factor for factor in rest.args)
                    if is_parameter(left, forward):
                        out.append((left.name, rest.args[1]))
                    elif is_parameter(right, forward):
                        out.append((right.name, left))
    return out


def is_parameter(node: Any, forward: Any) -> bool:
    """Whether a node is a matrix of parameters."""
    return isinstance(node, Value) and not node.timed and rank(node) == 2 and node in forward.given


def parts_of(operand: Any, forward: Any) -> list[Any]:
    """The parts of a stacked operand; the operand itself where it isn't stacked."""
    defined = {equation.target: equation.value for equation in forward.equations if equation.auxiliary}
    written = defined.get(operand, operand)
    return list(written.args) if isinstance(written, Stack) else [operand]


def part_size(part: Any, cell: Any, parameters: Mapping[str, Array]) -> int:
    """How many rows a part has, from the parameters' own shapes."""
    return int(part.shape[0].subs(dimension_sizes(cell, parameters)))


def depends_on_state(node: Any, forward: Any) -> bool:
    """Whether a value is a state before the step, or is computed from one."""
    defined = {equation.target: equation for equation in forward.equations}
    waiting, seen = values_in(node), set()
    while waiting:
        value = waiting.pop()
        if value.lag:
            return True
        if value in defined and value not in seen:
            seen.add(value)
            waiting += defined[value].reads()
    return False
