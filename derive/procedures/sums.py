"""Sums of expressions over axes: a gradient of a parameter is one product of all steps and examples, not a sum of many."""

from __future__ import annotations

import sympy as sp

from derive.language import Diagonal, Hadamard, Ones, Plus, Times, coefficient, hadamard
from derive.onehot import OneHot, one_hot_in
from derive.procedures.lowering import Lowering, summed_up
from derive.procedures.procedure import Call, Number, Operand
from derive.procedures.products import chain, product_of
from derive.procedures.shaping import elementwise, filled, in_place, sizes, summed_along, turned
from derive.procedures.tokens import by_token
from derive.shapes import is_scalar

Axes = tuple[str, ...]


def summed(node: sp.MatrixExpr, over: Axes, lower: Lowering) -> Operand:
    """The sum of an expression along axes, all of those along which it varies or some."""
    number, rest = coefficient(node)
    if number == -1:
        return elementwise("negative", summed(rest, over, lower))
    if number != 1:
        return elementwise("multiply", Number(number), summed(rest, over, lower))
    if isinstance(rest, OneHot) and set(lower.axes(rest)) == set(over):
        return by_token(Number(sp.S.One), rest, over, lower) or plain_sum(rest, over, lower)
    if isinstance(rest, Plus) and all(set(over) <= set(lower.axes(term)) for term in rest.args):
        terms = [(coefficient(term)[0], term) for term in rest.args]
        return summed_up(terms, lambda term: summed(term, over, lower))
    if set(lower.axes(rest)) == set(over) and isinstance(rest, Times | Hadamard):
        found = (summed_chain if isinstance(rest, Times) else summed_multiples)(rest, over, lower)
        if found is not None:
            return found
    return outside(rest, over, lower) or plain_sum(rest, over, lower)


def outside(node: sp.MatrixExpr, over: Axes, lower: Lowering) -> Operand | None:
    """Σ A x = A Σ x where A doesn't vary along these axes, a product fewer for each; None for anything else."""
    if not isinstance(node, Times) or node.shape[1] != 1 or set(lower.axes(node)) == set(over):
        return None
    *before, last = node.args
    if any(isinstance(factor, Ones | Diagonal) or set(lower.axes(factor)) & set(over) for factor in before):
        return None
    if isinstance(last, OneHot) or not set(over) <= set(lower.axes(last)):
        return None
    return product_of(chain(before, lower), plain_sum(last, over, lower), before[0].shape[0], last.shape[0], sp.S.One)


def plain_sum(node: sp.MatrixExpr, over: Axes, lower: Lowering) -> Operand:
    """The expression at every step and for every example, then the sum."""
    operand = lower(node)
    axes = in_place((*operand.axes, *over))
    return summed_along(filled(operand, axes, sizes(node)), over)


def summed_multiples(node: Hadamard, over: Axes, lower: Lowering) -> Operand | None:
    """Σ s v, numbers of each step times vectors, as one product; what is the same for all stays outside."""
    still = [factor for factor in node.args if not lower.axes(factor)]
    moving = [factor for factor in node.args if lower.axes(factor)]
    if still:
        inside = summed(hadamard(*moving), over, lower)
        return elementwise("multiply", *[lower(factor) for factor in still], inside) if len(still) == 1 else None
    numbers = [factor for factor in moving if is_scalar(factor)]
    wide = [factor for factor in moving if not is_scalar(factor)]
    if not numbers or not wide:
        return None
    if len(wide) == 1 and isinstance(wide[0], OneHot):
        return by_token(lower(hadamard(*numbers)), wide[0], over, lower)
    return contraction(lower(hadamard(*numbers)), lower.whole(hadamard(*wide)), sp.S.One, over)


def summed_chain(node: Times, over: Axes, lower: Lowering) -> Operand | None:
    """Σ A x yᵀ B = A (Σ x yᵀ) B: what is the same for all stays outside, what is inside is one product; None where it can't be."""
    factors = list(node.args)
    if any(isinstance(factor, Ones | Diagonal) for factor in factors):
        return None
    moving = [k for k, factor in enumerate(factors) if lower.axes(factor)]
    first, last = moving[0], moving[-1] + 1
    before, core, after = factors[:first], factors[first:last], factors[last:]
    found = core_sum(core, over, lower)
    if found is None:
        return None
    rows, cols = core[0].shape[0], core[-1].shape[1]
    if after:
        found = product_of(found, chain(after, lower), rows, cols, after[-1].shape[1])
        cols = after[-1].shape[1]
    return product_of(chain(before, lower), found, before[0].shape[0], rows, cols) if before else found


def core_sum(core: list[sp.MatrixExpr], over: Axes, lower: Lowering) -> Operand | None:
    """The sum of a product that varies at both ends: cut at an outer product if it has one."""
    if len(core) == 1:
        return plain_sum(core[0], over, lower)
    first, last = one_hot_in(core[0]), one_hot_in(core[-1])
    if last is not None and core[-1].shape[0] == 1:
        found = by_token(chain(core[:-1], lower), last, over, lower)
        return None if found is None else turned(found)
    if first is not None and core[0].shape[1] == 1:
        return by_token(chain(core[1:], lower), first, over, lower)
    cuts = sorted(range(1, len(core)), key=lambda k: core[k].shape[0] != 1)
    left, right = core[: cuts[0]], core[cuts[0] :]
    return contraction(chain(left, lower), chain(right, lower), right[0].shape[0], over)


def contraction(a: Operand, b: Operand, inner: sp.Expr, over: Axes) -> Operand | None:
    """One product that sums over axes and over a size that ends `a` and begins `b`; None where one of them doesn't vary so. What one of
    them alone varies along is summed before."""
    common = tuple(axis for axis in a.axes if axis in b.axes)
    if in_place((*a.axes, *b.axes)) != over or not common or sp.S.One in (*a.dims, *b.dims):
        return None
    a, b = (
        summed_along(one, alone) if (alone := tuple(axis for axis in one.axes if axis not in common)) else one for one in (a, b)
    )
    count, size = len(common), int(inner != 1)
    places = tuple(range(count))
    dims = (*a.dims[: len(a.dims) - size], *b.dims[size:])
    left = (*places, len(a.axes) + len(a.dims) - 1)[: count + size]
    return Call("contract", (a, b), (), dims, (("over", (left, tuple(range(count + size)))),))
