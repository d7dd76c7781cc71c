"""A cell's equations as a program of one operation each where a derivative needs a name: whatever it has to refer to gets one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import sympy as sp

from derive.along import AlongAxis, axes_of
from derive.comparisons import Pairwise, is_filled
from derive.equation import Equation, Reason, Term
from derive.expressions import matrix_parts, rebuild, values_in
from derive.fresh import Fresh
from derive.functions import FUNCTIONS, composed, repeating
from derive.language import (
    Apply,
    Hadamard,
    Identity,
    Leaf,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    X,
    add,
    apply,
    coefficient,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.onehot import OneHot, one_hot_in
from derive.program import Program, check
from derive.reductions import LogSoftmax, OverElements, without_numbers
from derive.shapes import is_scalar, rank
from derive.stable import stable


class Namer:
    """Names for the parts of equations that the cell leaves unnamed.

    `a_i` is what stands inside the function that defines i (its pre-activation), `tanh_c` the function tanh of the value c,
    `u_h` any other unnamed part of the equation of h.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.fresh = Fresh(taken)
        self.named: dict[sp.MatrixExpr, Value] = {}
        self.sums: dict[sp.MatrixExpr, list[tuple[Sequence[sp.MatrixExpr], Value]]] = defaultdict(list)
        """The summands and names of what holds a product of matrices, by the first of these."""
        self.equations: list[Equation] = []

    def name(self, expression: sp.MatrixExpr, wanted: str) -> Value:
        """The value that stands for the expression; a new one, with its equation, the first time."""
        if expression not in self.named:
            value = Value(self.fresh.name(wanted), expression.shape[0], expression.shape[1], axes_of(expression))
            self.named[expression] = value
            parts = expression.args if isinstance(expression, Plus) else (expression,)
            for part in list(filter(is_product, parts))[:1]:
                self.sums[part].append((parts, value))
            self.define(value, expression, auxiliary=True)
        return self.named[expression]

    def known(self, summands: Sequence[sp.MatrixExpr]) -> list[sp.MatrixExpr]:
        """The summands of a sum, those that make a product with a name, or a sum of such, under that name: it is computed once."""
        left = list(summands)
        for parts, value in [one for part in summands for one in self.sums.get(part, ())]:
            if not Counter(parts) - Counter(left):
                at = left.index(parts[0])
                for part in parts:
                    left.remove(part)
                left.insert(at, value)
        return left

    def define(self, target: Value, expression: sp.MatrixExpr, reason: Reason | None = None, auxiliary: bool = False) -> None:
        self.equations.append(Equation(target, (Term(expression, reason),), auxiliary=auxiliary))


def flatten(
    pairs: Sequence[tuple[Value, sp.MatrixExpr]],
    given: Iterable[Value],
    results: Iterable[Value],
    starts: tuple[tuple[Value, Value], ...] = (),
) -> Program:
    """The forward program: a cell's equations with names for pre-activations and whatever stands inside a product.

    pairs: in an order in which they can be computed. given: parameters and inputs. results: states and outputs. Afterwards a function
    is applied to a value only, a matrix multiplies a value only, so that no derived formula repeats an expression. What `stable` writes
    in another form keeps the reason.
    """
    namer = Namer(value.name for target, right in pairs for value in (target, *values_in(right)))
    for target, right, reason in stable(pairs):
        namer.define(target, named_apart(right, target, namer), reason)
    equations = sorted(namer.equations, key=lambda equation: equation.target.timed)
    return check(Program("forward", tuple(equations), tuple(given), tuple(results), starts))


def named_apart(right: sp.MatrixExpr, target: Value, namer: Namer) -> sp.MatrixExpr:
    """The right side of an equation with what stands inside a function or a product named."""
    if not isinstance(right, (Apply, OverElements, AlongAxis)):
        return inline(right, target, namer)
    argument = matrix_parts(right)[0]
    return unfolded(rebuild(right, [atom(argument, target, namer, f"a_{target.name}")]), target, namer)


def atom(expression: sp.MatrixExpr, target: Value, namer: Namer, wanted: str) -> sp.MatrixExpr:
    """The expression as a single value; a multiple of a polynomial needs no name for the polynomial."""
    number, rest = coefficient(expression)
    if not values_in(expression):
        return expression
    if number != 1 and isinstance(rest, Apply) and rest.scalar.is_polynomial(X):
        inner = scale(number, rebuild(rest, [atom(rest.expr, target, namer, f"a_{target.name}")]))
    else:
        inner = inline(expression, target, namer)
    return inner if isinstance(inner, (Value, Ones, Identity, OneHot)) else namer.name(inner, wanted)


def inline(expression: sp.MatrixExpr, target: Value, namer: Namer) -> sp.MatrixExpr:
    """The expression as it may stand on a right side: sums of products of values."""
    unnamed = f"u_{target.name}"
    match expression:
        case Plus():
            parts = [inline(term, target, namer) for term in expression.args]
            known = namer.known(parts)
            return rebuild(expression, parts) if known == parts else add(*known)
        case Hadamard() if (outer := scaled_outer(expression)) is not None:
            return product(outer, target, namer)
        case Hadamard():
            number, *parts = coefficient(expression)[0], *[light(factor, target, namer) for factor in expression.args]
            while len(parts) > 2:
                parts[:2] = [namer.name(hadamard(*parts[:2]), unnamed)]
            return scale(number, hadamard(*parts))
        case Times():
            return scale(coefficient(expression)[0], product(matrix_parts(expression), target, namer))
        case Transposed():
            return transpose(atom(expression.args[0], target, namer, unnamed))
        case Apply() | OverElements(kept=True):
            argument = atom(matrix_parts(expression)[0], target, namer, f"a_{target.name}")
            plain = rebuild(expression, [argument])
            parts = unfolded(plain, target, namer)
            return namer.name(plain, function_name(expression, argument, unnamed)) if parts == plain else parts
        case Pairwise():
            return rebuild(expression, [compared(part, target, namer) for part in expression.args])
        case Leaf():
            return expression
        case AlongAxis():
            argument = atom(matrix_parts(expression)[0], target, namer, f"a_{target.name}")
            return namer.name(rebuild(expression, [argument]), unnamed)
    return rebuild(expression, [atom(part, target, namer, unnamed) for part in matrix_parts(expression)])


def is_product(expression: sp.MatrixExpr) -> bool:
    """Whether an expression is a product of matrices, or a multiple of one."""
    rest = coefficient(expression)[1]
    return isinstance(rest, Times) and sum(not isinstance(part, (Ones, OneHot)) for part in rest.args) > 1


def compared(expression: sp.MatrixExpr, target: Value, namer: Namer) -> sp.MatrixExpr:
    """A side of max, min or a comparison: a value or a given number; anything else gets a name, since derivatives read it."""
    return expression if is_filled(expression) else atom(expression, target, namer, f"a_{target.name}")


def scaled_outer(expression: sp.MatrixExpr) -> list[sp.MatrixExpr] | None:
    """k (u vᵀ), k a number of each step, as the factors k u and vᵀ: a scaled column is smaller than a scaled matrix. Else None."""
    if rank(expression) != 2:
        return None
    numbers, wide = without_numbers(expression)
    factors = matrix_parts(wide) if isinstance(wide, Times) else []
    cut = column_in(factors)
    if not numbers or cut is None:
        return None
    return [hadamard(*numbers, matmul(*factors[:cut])), *factors[cut:]]


def column_in(factors: Sequence[sp.MatrixExpr]) -> int | None:
    """How many factors of a product make its first column; None where the product has none inside."""
    return next((k for k in range(1, len(factors)) if factors[k - 1].shape[1] == 1), None)


def product(factors: list[sp.MatrixExpr], target: Value, namer: Namer) -> sp.MatrixExpr:
    """A matrix product as one of two values, what stands inside it named.

    A sum that holds the identity is multiplied out: (I - k kᵀ) C needs no matrix I - k kᵀ. Numbers that scale a factor scale the whole,
    and an outer product is left to the end, since a column times a row is larger than either.
    """
    unnamed = f"u_{target.name}"
    if len(factors) == 1:
        return inline(factors[0], target, namer)
    if len(factors) == 2 and isinstance(factors[1], OneHot) and factors[0].shape[0] == 1:
        factors = [transpose(factors[1]), transpose(factors[0])]
    if len(factors) == 2 and one_hot_in(factors[0]) is not None and isinstance(factors[1], LogSoftmax):
        argument = atom(factors[1].args[0], target, namer, f"a_{target.name}")
        return matmul(factors[0], rebuild(factors[1], [argument]))  # of one element no whole vector is made
    for k, factor in enumerate(factors):
        if isinstance(factor, Plus) and any(isinstance(coefficient(term)[1], Identity) for term in factor.args):
            whole = add(*[matmul(*factors[:k], term, *factors[k + 1 :]) for term in factor.args])
            return inline(whole, target, namer)
    numbers, plain = zip(*[([], factor) if is_scalar(factor) else without_numbers(factor) for factor in factors], strict=True)
    scaling = [one for some in numbers for one in some]
    cut = column_in(factors)
    if scaling and cut is None:
        return inline(hadamard(*scaling, matmul(*plain)), target, namer)
    if cut is not None:
        left, right = hadamard(*scaling, matmul(*plain[:cut])), transpose(matmul(*plain[cut:]))
        return matmul(atom(left, target, namer, unnamed), transpose(atom(right, target, namer, unnamed)))
    if factors[0].shape[0] == 1 and len(factors) > 2:
        row = transpose(matmul(*factors[:-1]))
        return matmul(transpose(atom(row, target, namer, unnamed)), factor_of(factors[-1], target, namer))
    last = factor_of(factors[-1], target, namer) if factors[0].shape[0] == 1 else atom(factors[-1], target, namer, unnamed)
    for factor in reversed(factors[1:-1]):
        last = namer.name(matmul(factor_of(factor, target, namer), last), unnamed)
    return matmul(factor_of(factors[0], target, namer), last)


def unfolded(node: sp.MatrixExpr, target: Value, namer: Namer) -> sp.MatrixExpr:
    """A function of a value whose slope would repeat another function, with that one named; anything else as it is."""
    inner = repeating(node.scalar) if isinstance(node, Apply) else []
    if not inner:
        return node
    known = {one: inline(apply(one.func(X), apply(one.args[0], node.expr)), target, namer) for one in inner}
    return inline(composed(node.scalar, node.expr, known), target, namer)


def factor_of(expression: sp.MatrixExpr, target: Value, namer: Namer) -> sp.MatrixExpr:
    """A factor of a matrix product: a value or its transpose."""
    if isinstance(expression, Transposed):
        return transpose(atom(expression.args[0], target, namer, f"u_{target.name}"))
    return atom(expression, target, namer, f"u_{target.name}")


def light(expression: sp.MatrixExpr, target: Value, namer: Namer) -> sp.MatrixExpr:
    """A factor of an elementwise product: values, ones, and sums of them stay; anything heavier gets a name."""
    if isinstance(expression, (Value, Ones, Identity, OneHot)) or not values_in(expression) or is_repeated(expression):
        return expression
    if isinstance(expression, Plus) and all(isinstance(coefficient(term)[1], (Value, Ones)) for term in expression.args):
        return expression
    return atom(expression, target, namer, f"u_{target.name}")


def is_repeated(expression: sp.MatrixExpr) -> bool:
    """Whether a matrix is a value in each column, v 1ᵀ, or its transpose: nothing has to be computed for it."""
    parts = matrix_parts(expression) if isinstance(expression, Times) else []
    return sorted(type(part).__name__ for part in parts) == ["Ones", "Value"] or (
        len(parts) == 2
        and isinstance(parts[0], Ones)
        and isinstance(parts[1], Transposed)
        and isinstance(parts[1].args[0], Value)
    )


def function_name(expression: sp.MatrixExpr, argument: sp.MatrixExpr, otherwise: str) -> str:
    """`tanh_c` for tanh of the value c; `otherwise` where the function has no name."""
    if not isinstance(argument, Value):
        return otherwise
    if isinstance(expression, OverElements):
        return f"{expression.word}_{argument.name}"
    name = next((name for name, scalar in FUNCTIONS.items() if scalar == expression.scalar), None)
    lagged = {-1: "_prev", 0: "", 1: "_next"}[argument.lag]
    return f"{name}_{argument.name}{lagged}" if name else otherwise
