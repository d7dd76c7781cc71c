"""Logarithms of probabilities: what is rewritten, what isn't, that a rewritten cell is the one that was declared, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest

from derive.cell import Cell, CellError
from derive.compiler import FAST
from derive.derivation import derive
from derive.functions import function
from derive.language import Eq, apply, dimension, matrix, sequence
from derive.language import X as placeholder
from derive.onehot import one_hot
from derive.reductions import softmax, total
from derive.sheet import Sheet, text
from derive.stable import OF_SIGMA, OF_SOFTMAX
from tests import bounds
from tests.arguments import draw
from tests.kernels import kernel_of_cell
from verify.interpreter import Evaluator, floats

D, H, V = (dimension(name) for name in "DHV")
x, h, z, y, q, w, J, m = (
    sequence("x", D), sequence("h", H), sequence("z", V), sequence("y", V), sequence("q", V), sequence("w"), sequence("J"), sequence("m"),
)  # fmt: skip
p = sequence("p")
log, sigma, exp = function("log"), function("sigma"), function("exp")
RECURRENCE = [Eq(h, function("tanh")(matrix("W", H, D) @ x + matrix("U", H, H) @ h.prev)), Eq(z, matrix("S", V, H) @ h)]
SOFT, SIGMA = Eq(y, softmax(z)), Eq(y, sigma(z))


def cell_of(*equations) -> Cell:
    return Cell.from_equations("cell", "cell", [*RECURRENCE, *equations])


def forward_of(cell: Cell, target=J):
    return next(equation for equation in cell.forward.equations if equation.target == target)


REWRITTEN = {
    "cross entropy": (OF_SOFTMAX, [SOFT, Eq(J, -(q.T @ log(y)))]),
    "of a token": (OF_SOFTMAX, [SOFT, Eq(J, -log(one_hot(w, V).T @ y))]),
    "of a token on the right": (OF_SOFTMAX, [SOFT, Eq(J, -log(y.T @ one_hot(w, V)))]),
    "of a token with a name of its own": (OF_SOFTMAX, [SOFT, Eq(p, one_hot(w, V).T @ y), Eq(J, -log(p))]),
    "unnamed": (OF_SOFTMAX, [Eq(J, -(q.T @ log(softmax(z))))]),
    "divergence": (OF_SOFTMAX, [SOFT, Eq(J, q.T @ log(q / y))]),
    "the other divergence": (OF_SOFTMAX, [SOFT, Eq(J, y.T @ log(y / q))]),
    "two named copies": (OF_SOFTMAX, [SOFT, Eq(sequence("u", V), y), Eq(J, -(q.T @ log(sequence("u", V))))]),
    "the formula of a softmax": (OF_SOFTMAX, [Eq(y, exp(z) / total(exp(z))), Eq(J, -(q.T @ log(y)))]),
    "binary": (OF_SIGMA, [SIGMA, Eq(J, -(q.T @ log(y)) - ((1 - q).T @ log(1 - y)))]),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_logarithm_of_probabilities_is_rewritten_with_its_reason(name):
    rule, equations = REWRITTEN[name]
    cell = cell_of(*equations)
    found = forward_of(cell)
    assert [term.reason.rule for term in found.terms] == [rule]
    assert all(term.reason.equation == J for term in found.terms)
    assert rule.partition(":")[0] in text(derive(cell))


UNTOUCHED = {
    "a logarithm of anything else": [Eq(J, -(q.T @ log(exp(z))))],
    "of a sum with a softmax": [SOFT, Eq(J, -(q.T @ log(y + q)))],
    "of the softmax of the step before": [SOFT, Eq(J, -(q.T @ log(y.prev)))],
    "another quotient": [Eq(y, exp(z) / total(exp(2 * z))), Eq(J, -(q.T @ log(y)))],
    "no logarithm": [SOFT, Eq(J, total(y * q))],
    "two less a sigma": [SIGMA, Eq(J, -(q.T @ log(2 - y)))],
    "one less a multiple": [SIGMA, Eq(J, -(q.T @ log(1 - 2 * y)))],
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_anything_else_stays_as_it_is(name):
    assert all(term.reason is None for equation in cell_of(*UNTOUCHED[name]).forward.equations for term in equation.terms)


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_rewritten_program_computes_what_is_declared(name):
    cell = cell_of(*REWRITTEN[name][1])
    rng = np.random.default_rng(0)
    sizes = {"D": 3, "H": 4, "V": 5}
    evaluate = Evaluator(floats(), sizes)
    env = {value: rng.standard_normal([evaluate.size(n) for n in value.shape]) for value in cell.parameters}
    batch = {value: rng.uniform(0.1, 0.9, (2, *[evaluate.size(n) for n in value.shape])) for value in cell.inputs}
    batch |= {state.prev: rng.standard_normal((2, *[evaluate.size(n) for n in state.shape])) for state in cell.states}
    batch |= {token: rng.integers(0, 5, (2, 1, 1)) for token in cell.tokens}
    declared, computed = dict(env | batch), dict(env | batch)
    for target, right in cell.equations:
        declared[target] = evaluate(right, declared)
    for equation in cell.forward.equations:
        computed[equation.target] = evaluate(equation.value, computed)
    # a dozen roundings of numbers of order one
    assert np.allclose(declared[J], computed[J], rtol=1e-14, atol=1e-14)


def lines_of(cell: Cell, name: str) -> list[str]:
    sections = Sheet(derive(cell)).sections()
    lines = [line for section in sections if section.title == "Backward" for line in section.lines if line.left == f"∂L/∂{name}"]
    return [f"{line.factor}{line.between}({' '.join(term for term, _ in line.terms)})" for line in lines]


def reasons_of(cell: Cell, name: str) -> list[str]:
    sections = Sheet(derive(cell)).sections()
    lines = [line for section in sections if section.title == "Backward" for line in section.lines if line.left == f"∂L/∂{name}"]
    return [credit.rule for line in lines for credit in line.credits()]


def test_the_gradient_of_the_logits_reads_as_a_textbook_has_it():
    cell = cell_of(*REWRITTEN["cross entropy"][1])
    assert lines_of(cell, "zₜ") == ["∂L/∂Jₜ ((Σ qₜ) yₜ −qₜ)", "∂L/∂Jₜ (yₜ −qₜ)"]
    assert reasons_of(cell, "zₜ")[-1] == "for targets that sum to one, Σ qₜ = 1"
    assert lines_of(cell_of(*REWRITTEN["divergence"][1]), "zₜ") == lines_of(cell, "zₜ")
    assert lines_of(cell_of(*REWRITTEN["of a token"][1]), "zₜ") == ["∂L/∂Jₜ (yₜ −onehot(wₜ))"]


def test_targets_that_are_no_input_carry_no_assumption():
    cell = cell_of(SOFT, Eq(q, sigma(matrix("R", V, D) @ x)), Eq(J, -(q.T @ log(y))))
    assert not any("sum to one" in rule for rule in reasons_of(cell, "zₜ"))


def test_a_softmax_that_is_read_by_its_logarithm_alone_isnt_computed_forward():
    """It is made again where its gradient is, in the memory of that one."""
    module = kernel_of_cell(cell_of(*REWRITTEN["of a token"][1]))
    rng = np.random.default_rng(0)
    parameters = {"W": rng.standard_normal((4, 3)), "U": rng.standard_normal((4, 4)), "S": rng.standard_normal((5, 4))}
    inputs = {"x": rng.standard_normal((2, 2, 3)), "w": rng.integers(0, 5, (2, 2))}
    _, tape = module.forward(parameters, inputs)
    assert not hasattr(tape, "y")
    assert hasattr(tape, "z")
    shown = kernel_of_cell(cell_of(*REWRITTEN["of a token"][1], Eq(m, total(y))))
    assert hasattr(shown.forward(parameters, inputs)[1], "y")


# ---- tokens in cells


WRONG = {
    "a token as a number": ([Eq(J, w * one_hot(w, V).T @ z)], "the token w is read as a number: expected one_hot(w, size)"),
    "a token of the step before": ([Eq(J, one_hot(w.prev, V).T @ z)], "w is read at t-1 and never defined"),
    "a token of two sizes": (
        [Eq(J, one_hot(w, V).T @ z + one_hot(w, H).T @ h)],
        "w is no token: expected an input, read at its own step as one of V",
    ),
    "a token that is defined": ([Eq(w, total(z)), Eq(J, one_hot(w, V).T @ z)], "w is no token: expected an input"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_cell_in_which_a_token_is_anything_else_is_refused(name):
    equations, expected = WRONG[name]
    with pytest.raises(CellError) as caught:
        cell_of(*equations)
    assert expected in str(caught.value)


def test_a_function_of_a_softmax_keeps_its_scalar():
    """log of another base is a multiple of log, which is rewritten."""
    cell = cell_of(SOFT, Eq(J, -(q.T @ apply(function("log")(z).scalar / 2 + 0 * placeholder, y))))
    assert [term.reason.rule for term in forward_of(cell).terms] == [OF_SOFTMAX]


SHARES = {
    "divergence": [SOFT, Eq(J, q.T @ log(q / y))],
    "divergence of a sum": [SOFT, Eq(J, total(q * log(q / y)))],
    "entropy": [SOFT, Eq(m, total(y)), Eq(J, -(q.T @ log(q)))],
}


def softmax_of(call):
    """y by the equations."""
    state, found = call.state["h"], []
    for one in call.inputs["x"]:
        state = np.tanh(one @ call.parameters["W"].T + state @ call.parameters["U"].T)
        scores = np.exp(state @ call.parameters["S"].T)
        found.append(scores / scores.sum(-1, keepdims=True))
    return np.array(found)


@pytest.mark.parametrize("schedule", [(), FAST])
@pytest.mark.parametrize("name", SHARES)
def test_a_share_of_zero_adds_nothing_and_makes_nothing_infinite(name, schedule):
    kernel = kernel_of_cell(cell_of(*SHARES[name]), schedule)
    call, direction = draw(kernel, sizes={"V": 4}), draw(kernel, seed=1, sizes={"V": 4})
    call.inputs["q"] = np.abs(call.inputs["q"])
    call.inputs["q"][..., 1] = 0
    with np.errstate(all="raise"):
        outputs, tape = kernel.forward(*call.groups())
        gradients = kernel.backward(call.parameters, tape, call.cotangents)
        moved = kernel.hvp(*call.groups(), call.cotangents, *direction.groups())
    for table in (outputs, gradients.parameters, gradients.inputs, moved.parameters, moved.inputs):
        assert all(np.isfinite(array).all() for array in table.values())
    shares = np.delete(call.inputs["q"], 1, axis=-1)
    others = -2 * np.log(shares) if name == "entropy" else -np.log(np.delete(softmax_of(call), 1, axis=-1))
    expected = (shares * (np.log(shares) + others)).sum(-1)
    assert np.abs(outputs["J"] - expected).max() < bounds.of_call(call) * (np.abs(expected).max() + 1)
