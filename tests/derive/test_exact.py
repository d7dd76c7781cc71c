"""Every derived program, exactly: its components minus what SymPy's `diff` gives for the unrolled equations is the zero polynomial.

Sizes are H = 2, D = 1 and 2, two steps, a free initial state and free cotangents on every state and output at every step. What the
free symbols are, and why equality there is a proof, is said in `tests.derive.exact`. Here and only here components are spelled out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

from derive.along import AlongAxis, Steps
from derive.blocks import rows
from derive.cell import Cell
from derive.cells.registry import build, declarations, variants
from derive.comparisons import maximum, minimum
from derive.compiler import schedule
from derive.derivation import Derivation, derive
from derive.equation import Equation, Term
from derive.expressions import LEGAL, is_timed, matrix_parts, rebuild
from derive.functions import FUNCTIONS, function
from derive.language import (
    Apply,
    Eq,
    Hadamard,
    Identity,
    Plus,
    Transposed,
    Value,
    Zeros,
    add,
    apply,
    hadamard,
    matrix,
    number,
    scale,
    sequence,
    vector,
)
from derive.program import Program
from derive.reductions import (
    cumax,
    cumulative,
    first_largest,
    largest,
    layer_norm,
    logsumexp,
    mean,
    norm,
    rms_norm,
    softmax,
    squared_norm,
    total,
    variance,
)
from derive.shapes import rank
from tests.derive import exact
from tests.derive.exact import Array, Components, Kept, Oracle, Scalars, Sizes, free
from tests.odd_cells import ODD, D, H, U, W, b, cell_of, h, x
from tests.odd_cells import cell as odd_cell
from tests.profiles import covering, thorough

STEPS = 2
SIZES = {"H": 2, "D": 2, "K": 2, "E": 1, "M": 1}
WORDS = [covering(cell.command for cell in variants(declaration)) for declaration in declarations().values()]
TOO_LARGE = {"many_functions"}  # its polynomials have 1e5 terms; its functions are proved one at a time
Leaf = tuple[Value, int | None]
Check = Callable[[Cell, Oracle], None]
exp, sigma, tanh = map(function, ("exp", "sigma", "tanh"))


# ---- a program, run by components


class Run:
    """Programs of one cell, run one after the other over the same steps; each finds what those before it computed.

    steps: the timed values of each step; shared: the values that don't depend on the step.
    """

    def __init__(self, scalars: Scalars, sizes: Sizes) -> None:
        self.scalars, self.sizes = scalars, sizes
        self.steps: list[dict[Value, Array]] = [{} for _ in range(STEPS)]
        self.shared: dict[Value, Array] = {}

    def copy(self) -> Run:
        other = Run(self.scalars, self.sizes)
        other.steps, other.shared = [dict(here) for here in self.steps], dict(self.shared)
        return other

    def run(self, program: Program, edge: Callable[[Value], Array]) -> Run:
        """Every equation of the program at every step; `edge`: what the first step of the walk reads as carried."""
        walk = range(STEPS)[:: -1 if program.reverse else 1]
        self.everywhere(program.at("once", "before"))
        for k, step in enumerate(walk):
            for read, written in program.carries:
                self.steps[step][read] = self.steps[walk[k - 1]][written] if k else edge(read)
            for equation in program.at("step"):
                value = self.right_side(equation, self.steps[step])
                if equation.target.timed:
                    self.steps[step][equation.target] = value
                else:  # a sum over steps that is added to in the loop
                    self.shared[equation.target] = self.shared[equation.target] + value if k else value
        self.everywhere(program.at("after", "finish"))
        return self

    def everywhere(self, equations: list[Equation]) -> None:
        """Equations that need no other step, each at every step or once."""
        for equation in equations:
            if equation.target.timed:
                for here in self.steps:
                    here[equation.target] = self.right_side(equation, here)
            else:
                self.shared[equation.target] = self.summed(equation)

    def summed(self, equation: Equation) -> Array:
        """A value that doesn't depend on the step: what differs from step to step is summed over the steps."""
        varies = equation.factor is not None and is_timed(equation.factor)
        total = self.components({})(Zeros(*equation.target.shape))
        for term in equation.terms:
            one = replace(equation, terms=(term,))
            for here in self.steps if varies or is_timed(term.value) else [{}]:
                total = total + self.right_side(one, here)
        return total

    def right_side(self, equation: Equation, here: dict[Value, Array]) -> Array:
        """factor ∘ (sum of the terms), at a step."""
        components = self.components(here)
        result = components(Zeros(*equation.target.shape))
        for term in equation.terms:
            result = result + components(term.value)
        return result if equation.factor is None else components(equation.factor) * result

    def components(self, here: dict[Value, Array]) -> Components:
        return Components(lambda value: (here if value.timed else self.shared)[value], self.scalars.at, self.sizes)


class Truth:
    """What the oracle says of a cell, in one ring with everything that is held against it."""

    def __init__(self, oracle: Oracle, scalars: Scalars) -> None:
        self.oracle, self.sizes, self.scalars = oracle, oracle.sizes, scalars

    def free(self, value: Value, step: int | None, mark: str = "") -> Array:
        return self.elements(free(value, step, self.sizes, mark))

    def elements(self, expressions: Array) -> Array:
        return np.array([[self.scalars(part) for part in row] for row in expressions], dtype=object)

    @cached_property
    def gradients(self) -> dict[Leaf, Array]:
        return {leaf: self.elements(gradient) for leaf, gradient in self.oracle.gradients.items()}

    @cached_property
    def tangent(self) -> object:
        """The tangent of the loss in a free direction."""
        parts = [self.free(*leaf, "dot ") * gradient for leaf, gradient in self.gradients.items()]
        return self.scalars.total(term for part in parts for term in part.flat)

    @cached_property
    def jacobian(self) -> dict[tuple[str, str], Array]:
        """{(state, the state that it is differentiated by): the block}."""
        pairs = [(state, before) for state in self.oracle.states for before in self.oracle.states]
        return {(state.name, before.name): self.elements(self.oracle.jacobian(state, before)) for state, before in pairs}


class Trial:
    """A cell's programs, run on the free symbols of the truth; each method says what differs."""

    def __init__(self, forward: Program, truth: Truth) -> None:
        self.truth = truth
        self.start = Run(truth.scalars, truth.sizes)
        self.give(self.start, forward.given, "primal", "")
        self.start.run(forward, lambda read: truth.free(read, -1))

    def give(self, run: Run, given: tuple[Value, ...], kind: str, mark: str) -> Run:
        """Free symbols for the given values of a kind, at every step where they depend on the step."""
        for value in given:
            if value.kind == kind:
                for step, here in enumerate(run.steps) if value.timed else [(None, run.shared)]:
                    here[value] = self.truth.free(value, step, mark)
        return run

    def wrong_values(self) -> list[str]:
        """The names of the results that the forward program gets wrong."""
        oracle, steps = self.truth.oracle, self.start.steps
        seen = [
            (result, step, self.truth.elements(oracle.value(result, step))) for result in oracle.results for step in range(STEPS)
        ]
        return [f"{result.name} at {step}" for result, step, expected in seen if differ(steps[step][result], expected)]

    def wrong_gradients(self, backward: Program) -> list[str]:
        """The names of the gradients that differ."""
        run = self.give(self.start.copy(), backward.given, "given", "bar ")
        run.run(backward, lambda read: np.zeros_like(self.truth.free(read, None)))
        expected = self.truth.gradients
        return [f"{leaf[0].name} at {leaf[1]}" for leaf in expected if differ(gradient(run, *leaf), expected[leaf])]

    def wrong_tangents(self, tangent: Program) -> list[str]:
        """Whether the tangents of all results at all steps, each times its free cotangent, differ from the tangent of the loss."""
        run = self.give(self.start.copy(), tangent.given, "tangent", "dot ")
        run.run(tangent, lambda read: self.truth.free(read, -1, "dot "))
        seen = [(result, step) for result in self.truth.oracle.results for step in range(STEPS)]
        parts = [self.truth.free(v, t, "bar ") * run.steps[t][v.like(kind="tangent")] for v, t in seen]
        total = self.truth.scalars.total(term for part in parts for term in part.flat)
        return [] if total == self.truth.tangent else ["the tangent of the loss"]

    def wrong_blocks(self, jacobian: Program) -> list[str]:
        """The names of the blocks of the step's Jacobian that differ."""
        run = self.start.copy().run(jacobian, lambda read: self.truth.free(read, -1))
        found = {(block.name, block.kind.removeprefix("jacobian:")): run.steps[0][block] for block in jacobian.results}
        return [f"{a} by {b}" for (a, b), expected in self.truth.jacobian.items() if differ(found[a, b], expected)]


def gradient(run: Run, value: Value, step: int | None) -> Array:
    if step is None:
        return run.shared[value.like(kind="cotangent")]
    return run.steps[0][value.like(kind="carry")] if step < 0 else run.steps[step][value.like(kind="cotangent")]


def differ(found: Array, expected: Array) -> bool:
    return found.shape != expected.shape or any(a != b for a, b in zip(found.flat, expected.flat, strict=True))


def oracle_of(cell: Cell, width: int) -> Oracle:
    return Oracle(cell.equations, SIZES | {"D": width}, STEPS)


def check(derivation: Derivation, truth: Truth) -> None:
    trial = Trial(derivation.forward, truth)
    assert not trial.wrong_values()
    assert not trial.wrong_gradients(derivation.backward)
    assert not trial.wrong_tangents(derivation.tangent)
    values = (*derivation.forward.given, *derivation.forward.defined())
    if any(value.timed and rank(value) == 2 for value in values):
        assert not derivation.jacobian.results, "the derivative of a matrix is no matrix"
        return
    assert not trial.wrong_blocks(derivation.jacobian)
    states = derivation.cell.states
    pairs = [(state.name, f"jacobian:{before.name}") for state in states for before in states]
    assert [(block.name, block.kind) for block in derivation.jacobian.results] == pairs


def check_derived(cell: Cell, oracle: Oracle) -> None:
    """The programs as they were derived: identical polynomials."""
    check(derive(cell), Truth(oracle, Scalars()))


def check_at_a_point(cell: Cell, oracle: Oracle) -> None:
    """The programs as they were derived: the same at a random point."""
    check(derive(cell), Truth(oracle, Scalars(seed=1)))


def check_scheduled(cell: Cell, oracle: Oracle) -> None:
    """The programs after every pass: the same at a random point."""
    check(schedule(derive(cell))[0], Truth(oracle, Scalars(seed=1, halved=True)))


# ---- proofs


@pytest.mark.parametrize("width", [1, thorough(2)])
@pytest.mark.parametrize("words", [words for of_one_cell in WORDS for words in of_one_cell])
def test_every_option_of_every_cell_is_exact_as_derived_and_as_scheduled(words: str, width: int) -> None:
    cell, oracle = build(words), oracle_of(build(words), width)
    check_derived(cell, oracle)
    check_scheduled(cell, oracle)


@pytest.mark.parametrize("checked", [thorough(check_derived), check_scheduled])
@pytest.mark.parametrize("name", [thorough(name) if k % 2 else name for k, name in enumerate(ODD) if name not in TOO_LARGE])
def test_odd_cells_are_exact(name: str, checked: Check) -> None:
    checked(odd_cell(name), oracle_of(odd_cell(name), 1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_exact(name: str) -> None:
    cell = cell_of(Eq(h, function(name)(W @ x + b * h.prev)))
    check_derived(cell, oracle_of(cell, 1))


def rows_of_one_product() -> list[sp.Equality]:
    """Gates cut out of one product, two of them overlapping."""
    a, V = sequence("a", 2 * H + 1), matrix("V", 2 * H + 1, H)
    z, r = sigma(rows(a, 0, H)), rows(a, H + 1, 2 * H + 1)
    return [Eq(a, matrix("A", 2 * H + 1, D) @ x + V @ h.prev), Eq(h, z * h.prev + tanh(rows(a, H, 2 * H)) * r)]


def sums_of_matrices() -> list[sp.Equality]:
    V = matrix("V", H, H)
    return [Eq(h, tanh((W + matrix("Q", H, D)) @ x + (U - V.T) @ (V + U.T) @ h.prev))]


def powers_and_quotients() -> list[sp.Equality]:
    return [Eq(h, (b * h.prev) ** 3 / (2 + exp(W @ x)) - h.prev**2 / b)]


def softmax_gates() -> list[sp.Equality]:
    g, y = sequence("g", H), sequence("y", H)
    return [
        Eq(g, softmax(U @ h.prev + b)),
        Eq(h, g * softmax(W @ x) + softmax(b) * h.prev),
        Eq(y, softmax(U.T @ (g - h))),
    ]


def untimed_chain() -> list[sp.Equality]:
    """Values from parameters alone, each read by the next and by the step."""
    w, v = vector("w", H), vector("v", H)
    return [Eq(w, sigma(U @ b)), Eq(v, softmax(U.T @ w - b)), Eq(h, tanh(w * h.prev + W @ x) * v + b)]


def rows_beside_a_chain() -> list[sp.Equality]:
    """Two products with the same vector, one of them read before the other is there."""
    q, V, c = sequence("q", H), matrix("V", 2 * H, H), vector("c", D)
    return [Eq(q, tanh(rows(V @ h.prev, H, 2 * H))), Eq(h, W @ (c @ (b.T @ h.prev) + x) + U @ q)]


def a_matrix_and_its_sum() -> list[sp.Equality]:
    """A parameter that is read in the step and in a value from parameters alone."""
    return [Eq(h, (U @ h.prev) * ((matrix("V", H, H) + U) @ h.prev) + W @ x)]


def gate_without_time() -> list[sp.Equality]:
    """A gate that the equations call timed and that parameters alone define."""
    z = sequence("z", H)
    return [Eq(z, sigma(U @ b)), Eq(h, z * h.prev + tanh(W @ x))]


def matrix_memory() -> list[sp.Equality]:
    """A state that is a matrix: gates that are numbers, an outer product, a product with a vector."""
    C, i, f = Value("C", H, D), sequence("i"), sequence("f")
    k, v, w = sequence("k", D), sequence("v", H), vector("w", D)
    return [
        Eq(k, (W.T @ b) * x), Eq(v, W @ x), Eq(i, exp(w.T @ k)), Eq(f, sigma(w.T @ x)),
        Eq(C, f * C.prev + i * (v @ k.T)), Eq(h, tanh(C @ k)),
    ]  # fmt: skip


def delta_rule() -> list[sp.Equality]:
    """C (I - β k kᵀ): a product of matrices that differ from step to step, its identity multiplied out."""
    C, k, beta = Value("C", H, D), sequence("k", D), sequence("beta")
    return [
        Eq(beta, sigma(vector("w", D).T @ x)), Eq(k, softmax(x)),
        Eq(C, C.prev @ (Identity(D) - beta * (k @ k.T)) + beta * (b @ k.T)), Eq(h, C @ x),
    ]  # fmt: skip


def matrices_from_both_sides() -> list[sp.Equality]:
    """Products of parameters, matrices of a step and their transposes, a square, an elementwise product, a function of each element."""
    C, V = Value("C", H, D), matrix("V", D, D)
    return [Eq(C, tanh(U @ C.prev @ V.T) + hadamard(W, C.prev)), Eq(h, C @ V @ (C.T @ (C @ x)))]


def numbers_that_are_learned() -> list[sp.Equality]:
    """A number of each step with a memory, learned numbers, a number added to a vector."""
    a, alpha = sequence("a"), number("alpha")
    return [Eq(a, sigma(alpha * a.prev + b.T @ h.prev)), Eq(h, a * h.prev + (1 - a) * (W @ x) + alpha * b + alpha)]


def quadratic_form() -> list[sp.Equality]:
    """A number of vectors from both sides, a square of an inner product."""
    e = sequence("e")
    return [Eq(h, W @ x + b), Eq(e, h.T @ U @ h + (b.T @ h) * (b.T @ h.prev) + (x.T @ x) / 2)]


def sums_over_elements() -> list[sp.Equality]:
    """Total, mean, variance, a squared norm, running sums from both ends, of vectors and of a matrix."""
    C, e = Value("C", H, D), sequence("e")
    return [
        Eq(C, h.prev @ x.T + W),
        Eq(e, total(C) + mean(x * x) - variance(h.prev) + squared_norm(C)),
        Eq(h, e * b + cumulative(W @ x) * cumulative(h.prev, backwards=True) + cumulative(C) @ x),
    ]


def normalised() -> list[sp.Equality]:
    """Layer and RMS normalisation, a Euclidean norm."""
    g = sequence("g", H)
    return [Eq(g, layer_norm(W @ x + h.prev)), Eq(h, b * g + norm(x) * rms_norm(U @ g))]


def largest_elements() -> list[sp.Equality]:
    """The largest element and its place, logsumexp, running sums of a softmax, the larger and the smaller of two."""
    e, g = sequence("e"), sequence("g", H)
    return [
        Eq(e, largest(W @ x + h.prev) + logsumexp(U @ h.prev)),
        Eq(g, maximum(b, W @ x) - minimum(h.prev, b)),
        Eq(h, first_largest(g) * g * e + cumax(g)),
    ]


def delayed() -> list[sp.Equality]:
    """A state that is read two steps late."""
    c = sequence("c", H)
    return [Eq(c, h.prev), Eq(h, tanh(W @ x + U @ c.prev) * (b.T @ h.prev))]


SHAPES = [
    matrix_memory,
    delta_rule,
    matrices_from_both_sides,
    quadratic_form,
    sums_over_elements,
    normalised,
    largest_elements,
    delayed,
]
"""Numbers, vectors, matrices; most have polynomials of more terms than a minute multiplies."""

OWN = [
    numbers_that_are_learned,
    rows_of_one_product,
    sums_of_matrices,
    powers_and_quotients,
    softmax_gates,
    untimed_chain,
    rows_beside_a_chain,
    a_matrix_and_its_sum,
    gate_without_time,
]


@pytest.mark.parametrize("checked", [check_derived, check_scheduled])
@pytest.mark.parametrize("equations", OWN)
def test_the_rest_of_the_language_is_exact(equations: Callable[[], list[sp.Equality]], checked: Check) -> None:
    cell = cell_of(*equations())
    checked(cell, oracle_of(cell, 1))


@pytest.mark.parametrize("width", [1, thorough(2)])
@pytest.mark.parametrize("checked", [check_at_a_point, check_scheduled])
@pytest.mark.parametrize("equations", SHAPES)
def test_numbers_vectors_and_matrices_are_exact(equations: Callable[[], list[sp.Equality]], checked: Check, width: int) -> None:
    cell = cell_of(*equations())
    checked(cell, oracle_of(cell, width))


@pytest.mark.parametrize("checked", [check_derived, check_scheduled])
@pytest.mark.parametrize(
    "right", [h.prev @ (b.T @ h.prev), b @ (h.prev.T @ b), b @ h.prev.T @ h.prev, h.prev @ x.T @ W.T @ h.prev]
)
def test_a_left_factor_may_depend_on_the_step(right: sp.MatrixExpr, checked: Check) -> None:
    cell = cell_of(Eq(h, W @ x + right))
    checked(cell, oracle_of(cell, 2))


# ---- the oracle itself


ALONG = {kind.__name__ for kind in LEGAL if issubclass(kind, (AlongAxis, Steps))}
"""Nodes along the steps, which a step alone has no components for: `test_along.py`."""


def test_the_oracle_knows_the_nodes_of_the_language_and_nothing_else() -> None:
    imports = [
        node for node in ast.walk(ast.parse(Path(exact.__file__).read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    ours = [node for node in imports if "derive" in ast.unparse(node)]
    modules = [node.module for node in ours if isinstance(node, ast.ImportFrom)]
    assert modules == ["derive.blocks", "derive.comparisons", "derive.language", "derive.onehot", "derive.reductions"]
    assert {alias.name for node in ours for alias in node.names} == {node.__name__ for node in LEGAL} - ALONG | {"X"}


def opened(expression: sp.Expr) -> sp.Expr:
    """The same with nothing kept: tanh and sigma as SymPy functions of the whole expression inside."""
    if isinstance(expression, Kept):
        inside = opened(expression.definition)
        return {"": lambda a: a, "tanh": sp.tanh, "sigma": lambda a: 1 / (1 + sp.exp(-a))}[expression.function](inside)
    return expression.func(*map(opened, expression.args)) if expression.args else expression


@pytest.mark.parametrize("words", ["rnn", "rnn --activation sigmoid"])
def test_diff_of_kept_expressions_is_diff_of_the_whole_loss(words: str) -> None:
    oracle = oracle_of(build(words), 1)
    whole, symbols = opened(oracle.loss), sorted(oracle.loss.free_symbols, key=str)
    places = [(leaf, index) for leaf, found in oracle.gradients.items() for index in np.ndindex(found.shape)]
    pairs = [(opened(oracle.gradients[leaf][index]), sp.diff(whole, oracle.leaves[leaf][index])) for leaf, index in places]
    with mpmath.workdps(50):
        evaluate = sp.lambdify(symbols, pairs, "mpmath", cse=True)
        for found, expected in evaluate(*[mpmath.mpf(k % 7 + 1) / 5 for k in range(len(symbols))]):
            assert abs(found - expected) < 1e-40


# ---- mutants: every program that differs in one place


MUTATED = ["rnn", thorough("rnn --activation relu"), thorough("lstm --peephole --candidate-peephole"), "lstm --peephole diagonal"]
GRU = [cell.command for cell in variants(declarations()["gru"]) if "no-bias" not in cell.command]
MUTATED += [words if words in ("gru", "gru --reset after --recurrent-bias") else thorough(words) for words in GRU]


@pytest.mark.parametrize("words", MUTATED)
def test_every_change_of_one_term_is_caught(words: str) -> None:
    derivation, truth = derive(build(words)), Truth(oracle_of(build(words), 2), Scalars(seed=1))
    trial = Trial(derivation.forward, truth)
    programs = (derivation.backward, trial.wrong_gradients), (derivation.tangent, trial.wrong_tangents)
    for program, wrong in (*programs, (derivation.jacobian, trial.wrong_blocks)):
        assert not wrong(program)
        survivors = [what for what, mutant in mutants(program) if not wrong(mutant)]
        assert not survivors


def mutants(program: Program) -> Iterator[tuple[str, Program]]:
    for k, equation in enumerate(program.equations):
        for what, changed in changes(equation):
            where = f"{program.name}: {equation.target.name} ({equation.target.kind}, lag {equation.target.lag}): {what}"
            yield where, replace(program, equations=(*program.equations[:k], changed, *program.equations[k + 1 :]))


def changes(equation: Equation) -> Iterator[tuple[str, Equation]]:
    """A term left out, with the other sign, or changed inside; the same of the factor."""
    for k, term in enumerate(equation.terms):
        before, after = equation.terms[:k], equation.terms[k + 1 :]
        yield f"no {term.value}", replace(equation, terms=(*before, *after))
        for what, value in [(f"minus {term.value}", scale(-1, term.value)), *variations(term.value)]:
            yield what, replace(equation, terms=(*before, Term(value), *after))
    if equation.factor is not None:
        yield "no factor", replace(equation, factor=None)
        for what, value in [("minus the factor", scale(-1, equation.factor)), *variations(equation.factor)]:
            yield what, replace(equation, factor=value)


def variations(node: sp.MatrixExpr) -> Iterator[tuple[str, sp.MatrixExpr]]:
    """The expression with one thing changed in it, at any depth outside functions."""
    yield from changed_at_the_top(node)
    parts = [] if isinstance(node, Apply) else matrix_parts(node)
    for k, part in enumerate(parts):
        for what, changed in variations(part):
            yield what, rebuild(node, [*parts[:k], changed, *parts[k + 1 :]])


def changed_at_the_top(node: sp.MatrixExpr) -> Iterator[tuple[str, sp.MatrixExpr]]:
    """Another step, no transposition, one factor less, one summand less or with the other sign."""
    match node:
        case Value() if node.timed and node.kind == "primal" and node.lag == -1:
            yield f"{node} at this step", node.like(lag=0)
        case Transposed() if node.shape[0] == node.shape[1]:
            yield f"{node} not transposed", node.args[0]
        case Hadamard():
            for k, part in enumerate(node.args):
                yield f"no factor {part}", hadamard(*node.args[:k], *node.args[k + 1 :])
        case Plus():
            for k, part in enumerate(node.args):
                yield f"no {part} in {node}", add(*node.args[:k], *node.args[k + 1 :])
                yield f"minus {part} in {node}", add(*node.args[:k], scale(-1, part), *node.args[k + 1 :])
        case Apply() if isinstance(node.scalar, sp.Add):
            for part in node.scalar.args:
                yield f"no {part} in {node.scalar}", apply(node.scalar - part, node.expr)
                yield f"minus {part} in {node.scalar}", apply(node.scalar - 2 * part, node.expr)
