"""Each pass leaves every result as it is, and does something."""

from __future__ import annotations

import ast
import functools
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import differentiate
from derive.blocks import Rows, Stack
from derive.cell import Cell
from derive.cells.registry import build
from derive.compiler import BUFFERS, FAST, schedule
from derive.derivation import derive
from derive.equation import Equation, Term
from derive.language import (
    Apply,
    Diagonal,
    Hadamard,
    Identity,
    Ones,
    Plus,
    Times,
    Transposed,
    Value,
    X,
    Zeros,
    coefficient,
    dimension,
    hadamard,
    sequence,
)
from derive.passes import TIDY, run
from derive.passes.coefficients import built_up
from derive.program import Program
from derive.reductions import Softmax, Total
from tests import arguments as args
from tests import bounds
from tests.arguments import draw
from tests.kernels import kernel_of_cell, text_of
from tests.odd_cells import ODD, SIZES_OF_ODD
from tests.odd_cells import cell as odd_cell
from tests.profiles import thorough
from tests.shaped_cells import SHAPED
from tests.shaped_cells import cell as shaped_cell

KEPT = (
    "rnn",
    "rnn --activation relu",
    "lstm",
    "lstm --peephole",
    "lstm --peephole --candidate-peephole",
    "lstm --peephole diagonal",
    "gru",
    "gru --update-gate state",
    "gru --reset after",
    "gru --reset after --update-gate state",
)
CELLS = (*KEPT, *ODD)
every = pytest.mark.parametrize("name", CELLS)


def cell(name: str) -> Cell:
    return odd_cell(name) if name in ODD else shaped_cell(name) if name in SHAPED else build(name)


ALONE = [(one,) for one in FAST]
WITHOUT = [tuple(p for p in FAST if p != one) for one in FAST]
PAIRS = [*combinations(FAST, 2)]


LIMIT = bounds.rounded(bounds.of_recurrence(steps=5, batch=3, fan_in=72))
"""Of the calls below, for the cell with the most weights."""


@functools.cache
def everything(name: str, passes: tuple[str, ...]) -> dict[Any, np.ndarray]:
    """What the four functions of a kernel give under a schedule."""
    module = kernel_of_cell(cell(name), passes)
    call = draw(module, T=5, B=3)
    outputs, tape = args.forward(module, call)
    found: dict[Any, np.ndarray] = {("output", n): a for n, a in outputs.items()} | args.backward(module, call, tape)
    found |= {("tangent", n): a for n, a in args.jvp(module, call, draw(module, T=5, seed=1)).items()}
    return found | {"jacobian": module.step_jacobian(call.parameters, tape)}


# ---- the schedule


@pytest.mark.parametrize("name", [*CELLS, *SHAPED])
def test_the_fast_schedule_gives_what_the_plain_one_gives(name: str) -> None:
    error, block = args.worst(everything(name, ()), everything(name, FAST))
    assert error < LIMIT, f"{block}: {error:.1e}"


SOME_SHAPED = ("mlstm", "reductions", "matrices_of_each_step")
SOME_ODD = ("readout", "several_sizes", "shared_matrix", "delay_line", "both_ways", "stacked", "taps_into_a_state", "packed")


@pytest.mark.parametrize(
    "name",
    [
        *[thorough(name) if k % 2 else name for k, name in enumerate(KEPT)],
        *[one if one in SOME_SHAPED else thorough(one) for one in SHAPED],
    ],
)
def test_all_passes_but_one_give_the_same(name: str) -> None:
    same_under(name, WITHOUT)


@pytest.mark.parametrize("name", [*SOME_ODD, *[one if one in SOME_SHAPED else thorough(one) for one in SHAPED]])
def test_each_pass_alone_gives_the_same(name: str) -> None:
    same_under(name, ALONE)


@pytest.mark.parametrize("name", ["shared_matrix", "gru --reset after"])
def test_every_pair_of_passes_gives_the_same(name: str) -> None:
    same_under(name, PAIRS)


def same_under(name: str, schedules: list[tuple[str, ...]]) -> None:
    """The four functions of a kernel give under each of the schedules what they give under none."""
    for passes in schedules:
        error, block = args.worst(everything(name, ()), everything(name, passes))
        assert error < LIMIT, f"{passes}: {block}: {error:.1e}"


def loop(text: str, function: str) -> ast.For:
    """The loop over time of a function of a kernel."""
    (found,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == function]
    return next(node for node in ast.walk(found) if isinstance(node, ast.For))


def products(node: ast.AST) -> int:
    """The matrix products in a piece of Python."""
    operators = [one for one in ast.walk(node) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.MatMult)]
    calls = [
        one for one in ast.walk(node) if isinstance(one, ast.Call) and ast.unparse(one.func) in ("dot", "np.dot", "np.matmul")
    ]
    return len(operators) + len(calls)


def in_loops(name: str, *passes: str) -> tuple[int, int]:
    """Products in the loop of forward and in the loop of backward."""
    text = text_of(name, tuple(passes))
    return products(loop(text, "forward")), products(loop(text, "backward"))


def test_stacking_makes_one_product_of_the_gates() -> None:
    """Forward W x and U h of four gates; backward Uᵀ ā of each: the products with W don't need the loop."""
    assert in_loops("lstm") == (8, 4)
    assert in_loops("lstm", "stack") == (2, 1)
    assert in_loops("gru --reset after", "stack")[0] < in_loops("gru --reset after")[0]


def test_hoisting_takes_the_input_products_out_of_the_loop() -> None:
    assert in_loops("lstm", "hoist")[0] == in_loops("lstm")[0] - 4
    assert in_loops("lstm", "stack", "hoist")[0] == 1


@pytest.mark.parametrize("passes", [(), ("stack",), tuple(name for name in FAST if name != BUFFERS)])
def test_the_parameter_gradients_stand_outside_the_loop(passes: tuple[str, ...]) -> None:
    inside = ast.unparse(loop(text_of("lstm", tuple(passes)), "backward"))
    assert "d_W" not in inside
    assert "+=" not in inside


def test_the_fast_lstm_has_one_product_a_step_and_allocates_nothing_in_its_loops() -> None:
    text = text_of("lstm")
    steps = next(
        node for node in ast.walk(loop(text, "forward")) if isinstance(node, ast.For) and "m.steps" in ast.unparse(node.iter)
    )
    assert products(steps) == 1
    assert "np." not in ast.unparse(steps), "an array is looked up or made"
    assert not [node for node in ast.walk(steps) if isinstance(node, ast.BinOp)]


def scheduled(name: str, *passes: str) -> Any:
    return schedule(derive(build(name)), passes)[0]


def test_halving_leaves_one_tanh_for_every_gate() -> None:
    assert count(scheduled("lstm", "halve").forward, "sigma") == 0
    assert count(scheduled("lstm").forward, "sigma") == 3


def test_coefficients_leave_the_loop() -> None:
    """What multiplies a cotangent is computed for all steps at once."""
    before, after = (scheduled("lstm", *passes).backward for passes in ((), ("coefficients", "hoist")))
    assert operations(after) < operations(before)


def test_sums_over_different_vectors_read_adjacent_rows_of_one_stack() -> None:
    """The input and the recurrent product of a GRU with the reset after read z and r and one more each: a stack in the right order has
    both side by side, so that there is one gradient of W, one of U and one of b."""
    program = scheduled("gru --reset after", *[name for name in FAST if name != BUFFERS]).backward
    assert sum(equation.accumulate for equation in program.equations) == 3
    assert len([equation for equation in program.at("step") if equation.target.name.startswith("d_stack")]) <= 1


def test_coefficients_are_made_of_others() -> None:
    """k_u = k_a ∘ r where k_a is there: nothing that several coefficients hold is computed for each of them."""
    program = scheduled("gru --reset after", "coefficients").backward
    known = {equation.target for equation in program.at("before")}
    assert sum(bool(known.intersection(equation.reads())) for equation in program.at("before")) >= 2


def test_coefficients_read_products_in_sums_and_on_the_tape() -> None:
    """With peepholes dL/dc takes k_a_o ∘ p_o and more, dL/dc of the step before k_a_i ∘ p_i and more; h = o ∘ tanh(c) is on the tape."""
    program = scheduled("lstm --peephole diagonal", "coefficients").backward
    text = {equation.target.name: str(equation.value) for equation in program.at("before")}
    names = {equation.target.name: {value.name for value in equation.reads()} for equation in program.at("before")}
    assert names["k_a_o"] == {"h", "o"}, text["k_a_o"]
    assert {"k_a_o", "p_o"} <= names["k_c"], text["k_c"]
    assert {"k_a_i", "k_a_f", "p_i", "p_f"} <= names["k_c_2"], text["k_c_2"]


def test_coefficients_stay_behind_what_they_read() -> None:
    """A product of two that reads one of three isn't put in front of it, though it has fewer factors."""
    a, b, c, d, u, k, v = (sequence(name, dimension("H")) for name in ("a", "b", "c", "d", "u", "k", "v"))
    pairs = ((k, hadamard(a, b)), (u, hadamard(a, b, c)), (v, hadamard(u, d)))
    forward = derive(build("rnn")).forward
    found = built_up([Equation(target, (Term(value),)) for target, value in pairs], forward)
    assert [equation.target for equation in found] == [k, u, v]
    assert [equation.value for equation in found] == [hadamard(a, b), hadamard(k, c), hadamard(u, d)]
    found = built_up([Equation(target, (Term(value),)) for target, value in reversed(pairs[:2])], forward)
    assert [equation.target for equation in found] == [k, u]


def test_vectorising_joins_functions_of_rows() -> None:
    before, after = (scheduled("lstm", "halve", "stack", *passes).forward for passes in ((), ("vectorise",)))
    assert count(after, "tanh") < count(before, "tanh")


def count(program: Program, function: str) -> int:
    """How often the loop calls a function."""
    nodes = [node for e in program.at("step") for term in e.terms for node in sp.preorder_traversal(term.value)]
    return sum(isinstance(node, Apply) and function in str(node.scalar) for node in nodes)


def operations(program: Program) -> int:
    """Elementwise products in the loop."""
    parts = [p for e in program.at("step") for p in (*[term.value for term in e.terms], *([e.factor] * (e.factor is not None)))]
    nodes = [node for part in parts for node in sp.preorder_traversal(part)]
    return sum(len(node.args) - 1 for node in nodes if isinstance(node, Hadamard))


# ---- the tidy form: programs are run one step, on one example, before and after


def sizes(symbol: sp.Expr) -> int:
    return (
        int(symbol.subs({s: SIZES_OF_ODD[str(s)] for s in symbol.free_symbols})) if isinstance(symbol, sp.Expr) else int(symbol)
    )


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


NUMERIC = [
    {
        "sigma": logistic,
        "step": lambda z: (z > 0) * 1.0,
        "relu": lambda z: np.maximum(z, 0),
        "softplus": lambda z: np.log1p(np.exp(z)),
        "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    },
    "numpy",
]


def evaluate(node: Any, known: dict[Value, np.ndarray]) -> np.ndarray:
    """An expression as an array: an interpreter of the language that shares nothing with the emitter."""
    number, rest = coefficient(node)
    if number != 1:
        return float(number) * evaluate(rest, known)
    if isinstance(rest, Value):
        return known[rest]
    shape = tuple(sizes(size) for size in rest.shape)
    constants = {Ones: np.ones, Zeros: np.zeros, Identity: lambda shape: np.eye(shape[0])}
    if type(rest) in constants:
        return constants[type(rest)](shape)
    parts = [
        evaluate(part, known) for part in ([rest.expr] if isinstance(rest, Apply) else [a for a in rest.args if is_array(a)])
    ]
    return combine(rest, parts)


def is_array(part: Any) -> bool:
    return isinstance(part, sp.MatrixExpr)


def combine(node: Any, parts: list[np.ndarray]) -> np.ndarray:
    match node:
        case Plus():
            return sum(parts[1:], parts[0])
        case Times():
            return np.linalg.multi_dot(parts) if len(parts) > 1 else parts[0]
        case Hadamard():
            return functools.reduce(np.multiply, parts)
        case Transposed():
            return parts[0].T
        case Apply():
            return sp.lambdify(X, node.scalar, NUMERIC)(parts[0])
        case Stack():
            return np.concatenate(parts)
        case Rows():
            return parts[0][sizes(node.args[1]) : sizes(node.args[2])]
        case Softmax():
            return np.exp(parts[0]) / np.exp(parts[0]).sum()
        case Total():
            return parts[0].sum(keepdims=True)
        case Diagonal():
            return np.diag(parts[0][:, 0])
    raise TypeError(type(node).__name__)


def run_once(program: Program, known: dict[Value, np.ndarray]) -> dict[Value, np.ndarray]:
    """The value of every result of a program, whose given values are known."""
    known = dict(known)
    for equation in program.equations:
        known[equation.target] = evaluate(equation.value, known) + np.zeros([sizes(size) for size in equation.target.shape])
    return {result: known[result] for result in program.results if isinstance(result, Value)}


def random_values(values: Any, seed: int = 0) -> dict[Value, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {value: rng.standard_normal([sizes(size) for size in value.shape]) for value in values}


def derived(forward: Program) -> list[Program]:
    return [differentiate.backward(forward), differentiate.tangent(forward), differentiate.jacobian(forward)]


@every
def test_every_tidy_pass_leaves_what_the_programs_compute(name: str) -> None:
    forward = cell(name).forward
    known = random_values([*forward.given, *forward.carried()])
    for equation in forward.equations:
        known[equation.target] = evaluate(equation.value, known)
    for program in derived(forward):
        start = known | random_values([v for v in (*program.given, *program.carried()) if v not in known], 1)
        expected = run_once(program, start)
        for one in TIDY.values():
            program = one(program, forward)
            found = run_once(program, start)
            assert found.keys() == expected.keys()
            assert all(near(found[v], expected[v]) for v in expected), (program.name, one.__name__)


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    """One step of one example; what cancels is of the size of its terms, which are a few."""
    return bool(np.abs(found - expected).max(initial=0) <= LIMIT * max(1, np.abs(expected).max(initial=0)))


def tidied(name: str, *passes: str) -> list[Program]:
    forward = cell(name).forward
    return [run([TIDY[one] for one in passes], program, forward) for program in derived(forward)]


def applied(programs: list[Program]) -> int:
    nodes = [n for p in programs for e in p.equations for term in e.terms for n in sp.preorder_traversal(term.value)]
    return sum(isinstance(node, Apply) and not node.scalar.is_polynomial(X) for node in nodes)


def test_derivatives_are_written_in_outputs() -> None:
    assert applied(tidied("lstm")) > 0
    assert applied(tidied("lstm", "outputs")) == 0


def test_unnamed_parts_are_put_back() -> None:
    before, after = (sum(len(p.equations) for p in tidied("gru", "outputs", *more)) for more in ((), ("inline",)))
    assert after < before


def test_common_factors_stand_in_front() -> None:
    before, after = (tidied("gru", "outputs", "inline", *more)[0].equations for more in ((), ("factor",)))
    assert not any(equation.factor for equation in before)
    assert any(equation.factor for equation in after)


@pytest.mark.parametrize("k", [0, 1, 2], ids=["backward", "tangent", "jacobian"])
def test_like_terms_become_one(k: int) -> None:
    """y = g ∘ g gives 2 dy ∘ g: no two terms of one reason are alike but for their numbers."""
    for equation in derive(cell("like_terms")).programs()[k + 1].equations:
        alike = [(coefficient(term.value)[1], term.reason) for term in equation.terms]
        assert len(set(alike)) == len(alike), equation.target


@every
def test_nothing_of_weight_is_computed_twice(name: str) -> None:
    """After `share` no elementwise product, function or matrix product stands in two equations."""
    derivation = derive(cell(name))
    for program in (derivation.backward, derivation.jacobian):
        seen: dict[Any, str] = {}
        for equation in program.equations:
            if equation.target.timed and not equation.accumulate:
                for node in heavy(equation):
                    assert seen.setdefault(node, equation.target.name) == equation.target.name, f"{program.name}: {node}"


def heavy(equation: Any) -> set[Any]:
    """Matrix products with a value, and functions, of an equation."""
    nodes = [node for term in equation.terms for node in sp.preorder_traversal(term.value)]
    return {node for node in nodes if isinstance(node, Softmax) or (isinstance(node, Times) and is_array(node.args[0]))}
