"""Slopes of functions: of another function, of the output again, at the wrong argument, missing, twice, of the other branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import sympy as sp

from derive.comparisons import Above, AtLeast, above, at_least
from derive.functions import FUNCTIONS, derivative, in_output
from derive.language import Apply, Hadamard, Ones, Value, X, apply, coefficient, hadamard, scale
from derive.passes.outputs import in_vectors
from derive.program import Program
from verify.edits.edit import Edit, Slip, edits, of_nodes, of_terms


@dataclass(frozen=True)
class Function:
    """y = f(a) of a forward program. scalar: f. auxiliary: whether a is a pre-activation that only the derivation names."""

    y: Value
    a: Value
    scalar: sp.Expr
    auxiliary: bool

    @property
    def slope(self) -> sp.Expr:
        return derivative(self.scalar)

    @property
    def written(self) -> sp.Expr | None:
        """The slope in terms of the output."""
        return in_output(self.slope, self.scalar)

    def present(self) -> list[sp.MatrixExpr]:
        """The slope as a derived formula may have it."""
        return [*([] if self.written is None else [in_vectors(self.written, self.y)]), apply(self.slope, self.a)]


New = Callable[[Function], sp.MatrixExpr | None]
"""What the slope of a function becomes; None: nothing."""


def functions_of(forward: Program) -> list[Function]:
    """The functions that a forward program applies to a value."""
    named = {equation.target for equation in forward.equations if equation.auxiliary}
    found = [(one.target, one.value) for one in forward.equations if isinstance(one.value, Apply)]
    return [Function(y, f.expr, f.scalar, f.expr in named) for y, f in found if isinstance(f.expr, Value)]


def slopes(program: Program, forward: Program) -> Iterator[Edit]:
    """A wrong slope: at one place, wherever that function stands, wherever any function stands."""
    found = functions_of(forward)
    families = [[one for one in found if one.scalar == scalar] for scalar in dict.fromkeys(one.scalar for one in found)]
    for family in families:
        for said, new in wrong_slopes(family[0].scalar):
            yield from edits(slip(said, family, new), program)
    if len(families) > 1:
        general = [pair for scalar in {one.scalar for one in found} for pair in wrong_slopes(scalar)][:4]
        for said, new in general:
            yield from edits(slip(said, found, new), program, alone=False)


def slip(said: str, family: Sequence[Function], new: New) -> Slip:
    known = [(present, new(one)) for one in family for present in one.present()]

    def change(value: sp.MatrixExpr) -> sp.MatrixExpr:
        for present, other in known:
            reduced = without(value, present)
            if reduced is not None:
                return hadamard(reduced, other) if other is not None else reduced
        return value

    return of_terms("slope", said, change)


def wrong_slopes(scalar: sp.Expr) -> list[tuple[str, New]]:
    """(what was done, what the slope becomes; None: nothing), the first four for any function."""
    written = in_output(derivative(scalar), scalar)
    name = next((name for name, one in FUNCTIONS.items() if one == scalar), "the function")
    found: list[tuple[str, New]] = [
        (f"the slope of {name} is missing", lambda one: None),
        (f"the slope of {name} taken of its output once more: f'(y) for f'(a)", lambda one: apply(one.slope, one.y)),
        (f"the slope of {name} is there twice", lambda one: hadamard(one.present()[0], one.present()[0])),
        (f"the value of {name} for its slope", lambda one: one.y),
        (f"{name} of its output once more, for its slope: f(y) for f'(a)", lambda one: apply(one.scalar, one.y)),
    ]  # fmt: skip
    if written is None:
        return found
    found.append(
        (f"the slope of {name}, a formula in the output, is read at the pre-activation", lambda one: in_vectors(written, one.a))
    )
    for other in other_slopes(written):
        found.append(("the slope of another function", in_output_as(other)))
    without_power = written.replace(lambda part: part.is_Pow and part.base == X, lambda part: X)
    flipped = written.replace(lambda part: part.is_Add, lambda part: sp.Add(*[-one if one.has(X) else one for one in part.args]))
    half = written.args if written.is_Mul else ()
    for what, other in (
        ("without its square", without_power),
        ("with a sign flipped", flipped),
        ("as a divisor: 1/f'(a) for f'(a)", 1 / written),
        *[("in part", one) for one in half],
    ):
        if other != written:
            found.append((f"the slope of {name} {what}", in_output_as(other)))
    return found


def in_output_as(scalar: sp.Expr) -> New:
    """A slope written as that expression of the output."""
    return lambda one: in_vectors(scalar, one.y)


def other_slopes(written: sp.Expr) -> list[sp.Expr]:
    """The slopes of the other functions that have one in their output."""
    known = [in_output(derivative(FUNCTIONS[name]), FUNCTIONS[name]) for name in ("sigma", "tanh")]
    return [slope for slope in known if slope is not None and slope != written]


def without(value: sp.MatrixExpr, factor: sp.MatrixExpr) -> sp.MatrixExpr | None:
    """The elementwise product with some of its factors left out; None where it doesn't have them."""
    number, product = coefficient(value)
    have = list(product.args) if isinstance(product, Hadamard) else [product]
    for part in factor.args if isinstance(factor, Hadamard) else [factor]:
        if part not in have:
            return None
        have.remove(part)
    return scale(number, hadamard(*have) if have else Ones(*value.shape))


def branches(program: Program, forward: Program) -> Iterator[Edit]:
    """The gradient of max or min handed to the side that it isn't of."""

    def other(node: sp.MatrixExpr) -> sp.MatrixExpr | None:
        match node:
            case AtLeast():
                return above(*reversed(node.args))
            case Above():
                return at_least(*reversed(node.args))
        return None

    yield from edits(of_nodes("slope", "the gradient of max or min goes to the other side", other), program)


def arguments(program: Program, forward: Program) -> Iterator[Edit]:
    """The pre-activation for the output, as if the tape held the sums; tanh of the state before, of another state, or none."""
    found = functions_of(forward)
    taped = {one.y: one.a for one in found if one.auxiliary}
    if len(taped) > 1:
        said = "the pre-activations are read as if they were the outputs, for every function"
        yield from edits(of_nodes("tape", said, taped.get), program, alone=False)
    for y, a in taped.items():
        said = f"the pre-activation of {y.name} is read as if it were its output"
        yield from edits(of_nodes("tape", said, {y: a}.get, reads=y), program)
    states = [written for _, written in forward.carries]
    for one in found:
        if not one.auxiliary and one.a in states:
            others = [state.like(lag=lag) for state in states for lag in (0, -1) if state.shape == one.a.shape]
            for other in others:
                if other != one.a:
                    when = " of the step before" if other.lag else ""
                    said = f"the function of the wrong state: of {other.name}{when}, not of {one.a.name}"
                    match = {one.y: apply(one.scalar, other)}
                    yield from edits(of_nodes("wrong state", said, match.get, reads=one.y), program)
            said = f"the function of {one.a.name} is missing: the state itself is read"
            yield from edits(of_nodes("wrong state", said, {one.y: one.a}.get, reads=one.y), program)
