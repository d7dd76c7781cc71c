"""The engine: reverse sweep, forward sweep, and the Jacobian from the forward sweep. It walks programs and knows no rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import sympy as sp

from derive.along import Pick, pick
from derive.blocks import Rows, Stack, rows, stack
from derive.equation import Equation, Reason, Term, joined, like_terms
from derive.errors import DeriveError
from derive.expressions import summands, values_in
from derive.language import (
    Hadamard,
    Identity,
    Ones,
    Plus,
    Times,
    Value,
    Zeros,
    add,
    coefficient,
    diagonal,
    hadamard,
    matmul,
    scale,
    transpose,
)
from derive.onehot import tokens_in
from derive.program import Program, check, needed
from derive.reductions import Cumulative, Total, cumulative
from derive.rules import JVP, VJP, Rule, operation, told
from derive.shapes import EXAMPLES, is_scalar, rank, shape_text

GIVEN = "the loss reads it directly"
STARTED = "what the recurrence starts with"
CARRY = "through the next step"
CARRY_LEFTWARD = "through the step before"


class NoMatrix(DeriveError):
    """An expression whose derivative with respect to a vector isn't a matrix."""


class RuleError(DeriveError):
    """A node without a rule."""


def rule_for(table: dict[type, Rule], kind: type, node: sp.MatrixExpr, target: sp.MatrixExpr, what: str) -> Rule:
    """The rule of a node. Raises RuleError that names the node, the equation and the rules there are."""
    if kind not in table:
        known = ", ".join(sorted(known.__name__ for known in table))
        raise RuleError(
            f"derive: no {what} rule for {kind.__name__} in the equation of `{target.name}` {shape_text(node)}: "
            f"rules exist for {known}. Add one to derive/rules/."
        )
    return table[kind]


def cotangent_of(value: Value) -> Value:
    """dL/dv; of a value that is read from the step before or after, what this step hands back to that one."""
    return value.here.marked("carry") if value.lag else value.marked("cotangent")


def handed_back(read: Value) -> Value:
    """What a value that is read from a neighbour gets back from the step that reads it."""
    return cotangent_of(read).like(lag=-read.lag)


def came_through(read: Value) -> str:
    """The reason of what another step hands back."""
    return CARRY if read.lag < 0 else CARRY_LEFTWARD


# ---- backward


def backward(forward: Program) -> Program:
    """The VJP of one step, by a reverse sweep: a program whose equations are the gradient of each quantity, in the order of computation.

    What no result is made of has none, nor have tokens.

    Given beside the forward values: `given` cotangents of the results (what the loss says of them directly). The gradient of a state
    reads the `carry` that the next step hands back, 0 behind the last step; of one that runs from the last step to the first, that of
    the step before. Results: the carries (at the first step, or the last, the gradient of the initial state), the cotangents of the
    inputs, and those of the parameters (summed over the steps).
    """
    collected: dict[Value, list[Term]] = defaultdict(list)
    given_terms = {result: [Term(result.marked("given"), Reason(None, GIVEN))] for result in forward.results}
    carry_terms = {state: [Term(handed_back(read), Reason(None, came_through(read)))] for read, state in forward.carries}
    start_terms: dict[Value, list[Term]] = defaultdict(list)
    position = {equation.target: k for k, equation in enumerate(forward.equations)}

    def contributions(value: Value) -> list[Term]:
        """What the loss hands to a value directly, what this step hands to it in the order of its equations, and the carry."""
        inside = sorted(collected[value], key=lambda term: position[term.reason.equation] if term.reason else 0)
        return [*given_terms.get(value, []), *start_terms[value], *like_terms(inside), *carry_terms.get(value, [])]

    equations: list[Equation] = []
    ended: dict[Value, list[Term]] = defaultdict(list)
    for read, start in forward.starts:
        first_step = pick(cotangent_of(read), read.axis, "first" if read.lag < 0 else "last")
        start_terms[start].append(Term(first_step, Reason(read.here, STARTED)))
    for equation in reversed(needed(forward.equations, forward.results, forward.starts)):
        target = equation.target
        equations.append(Equation(cotangent_of(target), tuple(contributions(target))))
        left = left_by(equation, forward)
        if left is not None and contributions(target):
            ended[handed_back(left)].append(Term(cotangent_of(target), reason(VJP, (Pick,), target, "")))
            continue
        for term in equation.terms if contributions(target) else ():
            sweep(term.value, cotangent_of(target), target, equation, collected)
    ends_of_loops = [(read, read.like(lag=0, axes=(EXAMPLES,)).marked("end")) for read in ended]
    equations += [Equation(start, tuple(ended[read])) for read, start in ends_of_loops]
    before = forward.carried()
    tokens = tokens_of(forward)
    given_values = [value for value in forward.given if value not in tokens]
    ends = [*before, *[value for value in given_values if value.timed], *[value for value in given_values if not value.timed]]
    equations += [Equation(cotangent_of(value), tuple(contributions(value))) for value in ends]

    available = [*forward.given, *forward.carried(), *[equation.target for equation in forward.equations]]
    given = (*available, *[result.marked("given") for result in forward.results])
    results = tuple(cotangent_of(value) for value in ends)
    return Program("backward", (), given, results, tuple(ends_of_loops)).with_equations(equations)


def left_by(equation: Equation, forward: Program) -> Value | None:
    """The state that a value is as its recurrence leaves it, as it is read of a neighbour; None for anything else."""
    value = equation.value
    if not isinstance(value, Pick) or not isinstance(value.args[0], Value):
        return None
    ends = {-1: "last", 1: "first"}
    return next((read for read, state in forward.carries if state == value.args[0] and ends[read.lag] == value.end), None)


def tokens_of(program: Program) -> Collection[Value]:
    """The tokens that a program reads."""
    return tokens_in(equation.value for equation in program.equations)


def sweep(
    node: sp.MatrixExpr,
    cotangent: sp.MatrixExpr,
    y: sp.MatrixExpr,
    equation: Equation,
    collected: dict[Value, list[Term]],
    way: tuple[type, ...] = (),
) -> None:
    """Hand the cotangent of a node down to the values in it, rule by rule; each contribution keeps the rules on its way."""
    if isinstance(cotangent, Zeros):
        return
    if isinstance(node, Value):
        collected[node].append(Term(cotangent, reason(VJP, way, equation.target, "y = a: ā = ȳ")))
        return
    kind, operands = operation(node)
    if not any(values_in(operand) for operand in operands):
        return
    rule = rule_for(VJP, kind, node, equation.target, "VJP")
    for operand, part in zip(operands, rule(cotangent, y, node, *operands), strict=True):
        sweep(operand, part, operand, equation, collected, (*way, kind))


def reason(table: dict[type, Rule], way: Sequence[type], target: Value, copied: str) -> Reason | None:
    """The rules on the way into the equation of a target; `copied` where there is none."""
    return joined(Reason(target, rule) for rule in told(table, way) or [copied])


# ---- forward mode


def tangent(forward: Program, still: Collection[Value] = ()) -> Program:
    """The JVP of a program, by a forward sweep: the tangent of each value from those before it.

    still: given values that don't move.
    """
    still = {*still, *tokens_of(forward)}
    moving = {*forward.given, *forward.carried()} - still
    kept = {*forward.results, *[start for _, start in forward.starts]}  # they have a tangent, even where it is 0
    equations = []
    for equation in needed(forward.equations, forward.results, forward.starts):
        terms = []
        value = equation.value
        for part in value.args if isinstance(value, Plus) else [value]:
            dot = differential(part, equation.target if part == value else part, moving)
            if dot is not None and not isinstance(dot, Zeros):
                way = [*[type(value)] * (part != value), *way_into(part)]
                why = reason(JVP, way, equation.target, "y = a: ẏ = ȧ")
                terms += [Term(summand, why) for summand in summands(dot)]
        terms = like_terms(terms)
        if terms:
            moving.add(equation.target)
            equations.append(Equation(equation.target.marked("tangent"), tuple(terms)))
        elif equation.target in kept:
            moving.add(equation.target)
            equations.append(Equation(equation.target.marked("tangent"), ()))
    available = [*forward.given, *forward.carried(), *[equation.target for equation in forward.equations]]
    given = (*available, *[value.marked("tangent") for value in forward.given if value not in still])
    starts = tuple((read.marked("tangent"), start.marked("tangent")) for read, start in forward.starts if start in moving)
    results = tuple(result.marked("tangent") for result in forward.results)
    return check(Program("tangent", tuple(equations), given, results, starts))


def way_into(node: sp.MatrixExpr) -> list[type]:
    """The operations of a summand, from outside as far as they have one operand each; a value alone is simply copied."""
    if isinstance(node, Value):
        return []
    kind, operands = operation(node)
    return [kind, *(way_into(operands[0]) if len(operands) == 1 else [])]


def differential(node: sp.MatrixExpr, y: sp.MatrixExpr, moving: set[Value]) -> sp.MatrixExpr | None:
    """The tangent of an expression; None where nothing in it moves."""
    if isinstance(node, Value):
        return node.marked("tangent") if node in moving else None
    kind, operands = operation(node)
    tangents = [differential(operand, operand, moving) for operand in operands]
    if all(dot is None for dot in tangents):
        return None
    return rule_for(JVP, kind, node, y, "JVP")(y, node, operands, tangents)


# ---- second order


def second(forward: Program, first: Program) -> Program:
    """How gradients move: the tangent, the backward program and the tangent of that together; what the loss gives directly is held.

    first: a backward program of the forward one. Given: what the two have, tangents of the parameters and inputs. Results: the
    tangents of the gradients.
    """
    idle = {*forward.defined()} - {equation.target for equation in needed(forward.equations, forward.results, forward.starts)}
    read = [value for value in first.given if value in idle and any(one.is_reading(value) for one in first.equations)]
    tangents = tangent(replace(forward, results=(*forward.results, *read)))
    known = {*tangents.defined(), *tangents.given}
    still = [value for value in first.given if value.here.marked("tangent") not in known]
    moved = tangent(first, still)
    equations = (*tangents.equations, *first.equations, *moved.equations)
    defined = {equation.target for equation in equations}
    given = dict.fromkeys(value for value in (*first.given, *tangents.given) if value not in defined)
    starts = (*tangents.starts, *first.starts, *moved.starts)
    return Program("second", (), tuple(given), moved.results, starts).with_equations(equations)


# ---- the Jacobian of one step


def jacobian(forward: Program) -> Program:
    """d(every value)/d(each state before the step), as matrices, from the tangent program.

    The tangent of a value with respect to one state becomes a matrix, `u ∘ v̇` becomes diag(u) V̇. Each term keeps its reason, so that a
    path through the step can be followed. Results: the blocks d(state)/d(previous state), row by row; blocks that are 0 have no terms.
    A program without equations where a matrix or a row differs from step to step: its derivative is no matrix. So where something varies
    along two axes of steps: what it gives to one is a sum over the other.
    """
    if any((value.timed and rank(value) == 2) or len(value.along) > 1 for value in (*forward.given, *forward.defined())):
        return Program("jacobian", (), forward.given, ())
    before, states = forward.carried(), [written for _, written in forward.carries]
    known: dict[tuple[Value, Value], sp.MatrixExpr] = {
        (s, wrt): identity(s.shape[0]) if s == wrt else Zeros(s.shape[0], wrt.shape[0]) for s in before for wrt in before
    }
    blocks: dict[tuple[Value, Value], Value] = {}
    equations: list[Equation] = []
    for equation in tangent(forward).equations:
        value = equation.target.like(marks=())
        for wrt in before:
            try:
                terms = [Term(part, term.reason) for term in equation.terms for part in summands(widen(term.value, wrt, known))]
            except NoMatrix:
                return Program("jacobian", (), forward.given, ())
            terms = like_terms(terms)
            if terms or value in states:
                block = value.like(cols=wrt.shape[0], marks=(f"jacobian:{wrt.name}",))
                equations.append(Equation(block, tuple(terms)))
                known[value, wrt] = block if terms else Zeros(*block.shape)
                blocks[value, wrt] = block
    available = (*forward.given, *before, *[equation.target for equation in forward.equations])
    results = tuple(blocks[state, wrt] for state in states for wrt in before)
    return check(Program("jacobian", tuple(needed(equations, results)), available, results))


def widen(node: sp.MatrixExpr, wrt: Value, known: dict[tuple[Value, Value], sp.MatrixExpr]) -> sp.MatrixExpr:
    """An expression linear in tangents, with each tangent replaced by its matrix of derivatives with respect to one state."""
    moving = [value for value in values_in(node) if value.kind == "tangent"]
    if moving and not any(value.timed for value in moving):
        return Zeros(node.shape[0], wrt.shape[0])  # what parameters make doesn't depend on the state
    if moving and rank(node) == 2:
        raise NoMatrix(f"the tangent of {node} is a row or a matrix: its derivative is no matrix.")
    match node:
        case Value(kind="tangent"):
            return known.get((node.like(marks=()), wrt), Zeros(node.shape[0], wrt.shape[0]))
        case Plus():
            return add(*[widen(term, wrt, known) for term in node.args])
        case Times():
            number, rest = coefficient(node)
            if not isinstance(rest, Times):
                return scale(number, widen(rest, wrt, known))
            *left, last = rest.args
            if not any(has_tangent(factor) for factor in left):
                return scale(number, matmul(*left, widen(last, wrt, known)))
            if is_scalar(node) and not has_tangent(last):  # ẋᵀ v is vᵀ ẋ
                return scale(number, widen(matmul(*[transpose(part) for part in reversed(rest.args)]), wrt, known))
            return Zeros(node.shape[0], wrt.shape[0])  # a parameter's tangent: parameters don't depend on the state
        case Hadamard():
            still = [factor for factor in node.args if not has_tangent(factor)]
            (moving,) = [factor for factor in node.args if has_tangent(factor)]
            return scaled(still, moving, node, widen(moving, wrt, known))
        case Total():
            return matmul(Ones(1, node.args[0].shape[0]), widen(node.args[0], wrt, known))
        case Cumulative():
            return cumulative(widen(node.args[0], wrt, known), backwards=node.backwards)
        case Stack():
            return stack(*[widen(part, wrt, known) for part in node.args])
        case Rows():
            return rows(widen(node.args[0], wrt, known), *node.args[1:])
    return Zeros(node.shape[0], wrt.shape[0] if node.shape[1] == 1 else node.shape[1])


def scaled(still: list[sp.MatrixExpr], moving: sp.MatrixExpr, node: sp.MatrixExpr, inner: sp.MatrixExpr) -> sp.MatrixExpr:
    """u ∘ v̇ as diag(u) V̇; a number times v̇ as the number times V̇; u times the tangent of a number as the column u times its row."""
    numbers = [factor for factor in still if is_scalar(factor)]
    wide = [factor for factor in still if not is_scalar(factor)]
    if is_scalar(moving) and not is_scalar(node):
        return hadamard(*numbers, matmul(hadamard(*wide), inner))
    return hadamard(*numbers, matmul(diagonal(hadamard(*wide)), inner) if wide else inner)


def identity(size: sp.Expr) -> sp.MatrixExpr:
    return Ones(1, 1) if size == 1 else Identity(size)


def has_tangent(node: sp.MatrixExpr) -> bool:
    return any(value.kind == "tangent" for value in values_in(node))
