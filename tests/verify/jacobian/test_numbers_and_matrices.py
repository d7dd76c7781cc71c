"""Cells with numbers and matrices: step Jacobians against the complex step, closed forms of matrix memories, and large ones matrix-free."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from derive.cell import Cell
from derive.language import (
    Eq,
    Identity,
    Ones,
    Value,
    dimension,
    hadamard,
    matmul,
    matrix,
    number,
    sequence,
    transpose,
    vector,
)
from derive.reductions import layer_norm, total
from tests import bounds
from tests.profiles import THOROUGH
from tests.verify import matrix_memory
from tests.verify.jacobian.runs import benettin, by_complex_step, drawn_run, orthogonal
from tests.verify.random_nodes import shaped_cells
from verify.jacobian import Run, Wanted, analyse
from verify.jacobian.bounds import bound_of
from verify.jacobian.derived import Derived, dense
from verify.jacobian.initial import Init, draw_parameters
from verify.jacobian.paths import paths_of
from verify.jacobian.ranges import Ranges
from verify.jacobian.steps import Dense, Products, from_backward
from verify.jacobian.sweeps import start_frame
from verify.jacobian.values import evaluated

COUNT = 500 if THOROUGH else 5
N, K, D = (dimension(name) for name in "NKD")
C, k, v, x = sequence("C", N, K), sequence("k", K), sequence("v", N), sequence("x", D)
ONLY = Wanted(paths=False, gradient=False)


def limit_of(J: Any) -> float:
    """Of an element of a step Jacobian: sums of some hundred products of two factors of that size."""
    return max(1.0, float(np.abs(J).max())) ** 2 * bounds.rounded(100)


NOTHING = -100.0
"""log10 of what counts as 0: the complex step of a gate that is shut in double precision leaves its imaginary part."""


def log10_norms(J: Any) -> Any:
    return np.log10(np.maximum(np.linalg.norm(J, 2, axis=(-2, -1)), 10**NOTHING))


# ---- random cells


@settings(max_examples=COUNT)
@given(shaped_cells().filter(lambda cell: cell.states))
def test_every_random_cell_has_the_step_jacobian_of_its_equations_and_its_paths_add_up_to_it(cell: Cell) -> None:
    run = drawn_run(cell)
    steps, exact = Derived(run), by_complex_step(run)
    np.testing.assert_allclose(dense(steps), exact, rtol=0, atol=limit_of(exact))
    for path in paths_of(run):
        cut, kept = (steps.with_path(path.marks, way) for way in (False, True))
        np.testing.assert_allclose(dense(cut) + dense(kept), exact, rtol=0, atol=limit_of(exact))
        frame = np.random.default_rng(1).standard_normal((run.batch, run.size, 2))
        for one in (cut, kept):
            J = dense(one)[1]
            np.testing.assert_allclose(one.push(1, frame), J @ frame, rtol=0, atol=8 * limit_of(exact))
            np.testing.assert_allclose(one.pull(1, frame), J.swapaxes(-1, -2) @ frame, rtol=0, atol=8 * limit_of(exact))


@settings(max_examples=COUNT)
@given(shaped_cells().filter(lambda cell: cell.states))
def test_what_is_said_of_how_large_a_random_cell_can_become_is_true(cell: Cell) -> None:
    run = drawn_run(cell)
    assume(cell.states)
    values, J = evaluated(run), by_complex_step(run)
    found, ranges = bound_of(run, values), Ranges(values)
    product = np.eye(run.size)
    for t, most in zip(reversed(range(run.steps)), found.trajectory, strict=True):
        product = product @ J[t]
        norm = log10_norms(product).mean()
        assert norm <= max(most, NOTHING) + 1e-9  # of products with rounding errors
    for scale in (0.1, 30.0):
        wild = Run(run.name, run.kernel, run.parameters, {n: scale * a for n, a in run.inputs.items()}, run.state, run.derivation)
        with np.errstate(all="ignore"):  # log(sigma) of what large inputs shut
            arrays, shut = evaluated(wild).arrays, by_complex_step(wild)
        if found.per_step is not None and np.isfinite(shut).all():
            assert log10_norms(shut).max() <= max(found.per_step, NOTHING) + 1e-9
        for value in [value for value in cell.targets if np.isfinite(arrays[value]).all()]:
            low, high = ranges.of(value)
            rounding = 1e-9 * max(1.0, float(np.abs(arrays[value]).max()))
            assert low - rounding <= arrays[value].min() <= arrays[value].max() <= high + rounding


# ---- routes to the same step Jacobians


@pytest.mark.parametrize("with_equations", [True, False])
def test_kernel_products_and_equations_give_the_same_step_jacobians_of_a_matrix_memory(with_equations: bool) -> None:
    """The states of the kernel stand in another order than those of the equations."""
    kernel, cell = matrix_memory.matrix_memory(), matrix_memory.cell()
    own = drawn_run(cell, sizes={"D": 3, "K": 2, "N": 4})
    run = Run("memory", kernel, own.parameters, own.inputs, own.state, own.derivation if with_equations else None)
    assert list(run.sizes) == ["C", "n", "s"] != list(own.sizes)
    J, limit = np.stack([Dense(run).jacobian(t) for t in range(3)]), bounds.rounded(200)
    np.testing.assert_allclose(from_backward(run, 0, 3), J, rtol=0, atol=limit)
    frame = np.random.default_rng(1).standard_normal((2, run.size, 3))
    for steps in [Products(run), *([Derived(run)] if with_equations else [])]:
        np.testing.assert_allclose(steps.push(2, frame), J[2] @ frame, rtol=0, atol=8 * limit)
        np.testing.assert_allclose(steps.pull(2, frame), J[2].swapaxes(-1, -2) @ frame, rtol=0, atol=8 * limit)
    result = analyse(run)
    assert result.run.size == 4 * 2 + 2 + 1
    assert (result.paths is None) != with_equations
    assert set(result.gradient.states) == {"C", "n", "s"}


def test_matrix_states_count_row_by_row() -> None:
    """d(P C Q)/dC = P ⊗ Qᵀ for rows one after the other (Magnus and Neudecker 1985)."""
    P, Q = (0.5 * np.random.default_rng(seed).standard_normal((n, n)) for seed, n in ((0, 3), (1, 2)))
    cell = Cell.from_equations(
        "both", "both", [Eq(C, matmul(matrix("P", N, N), C.prev, matrix("Q", K, K)) + matmul(v, transpose(k)))]
    )
    run = drawn_run(cell, sizes={"N": 3, "K": 2}, P=P, Q=Q)
    J = np.kron(P, Q.T)
    np.testing.assert_allclose(dense(Derived(run)), np.broadcast_to(J, (3, 2, 6, 6)), rtol=0, atol=bounds.rounded(10))
    np.testing.assert_allclose(Dense(run).jacobian(0)[0], J, rtol=0, atol=bounds.rounded(10))
    assert bound_of(run, evaluated(run)).per_step == pytest.approx(np.log10(np.linalg.norm(J, 2)), abs=1e-12)


# ---- closed forms


def test_a_matrix_memory_with_a_constant_gate_has_every_exponent_ln_f() -> None:
    """C_t = f C_{t-1} + i v kᵀ: J = f 1, whatever is written."""
    f, steps = 0.8, 40
    gate, i = sequence("f"), sequence("i")
    cell = Cell.from_equations(
        "memory", "memory", [Eq(gate, number("alpha")), Eq(C, gate * C.prev + i * matmul(v, transpose(k)))]
    )
    result = analyse(drawn_run(cell, steps, 1, {"N": 4, "K": 3}, alpha=f))
    J = np.tile(f * np.eye(12), (steps, 1, 1))
    assert result.exponents.shape == (12,)
    assert np.abs(result.exponents - np.log(f)).max() < bounds.exponents(J)
    assert np.abs(result.singular_values - steps * np.log10(f)).max() < bounds.singular_values(J)
    assert np.abs(result.log10_norms - np.arange(1, steps + 1) * np.log10(f)).max() < bounds.singular_values(J)
    assert [path.name for path in result.paths] == ["carousel C"]
    assert result.bound.per_step == pytest.approx(np.log10(f), abs=1e-12)
    assert result.approximations[0].says.endswith("dE/dC_t-1 = (fₜ) ∘ dE/dC_t")


def delta_rule(f: Any = 1) -> Cell:
    beta = number("beta")
    write = hadamard(beta, matmul(v, transpose(k)))
    return Cell.from_equations(
        "delta", "delta", [Eq(C, f * matmul(C.prev, Identity(K) - beta * matmul(k, transpose(k))) + write)]
    )


def test_the_delta_rule_forgets_along_its_key_alone() -> None:
    """Widrow and Hoff 1960; Schlag, Irie and Schmidhuber 2021: C_t = C_{t-1} (I - beta k kᵀ) + beta v kᵀ with a unit key that stays: each
    row of C keeps what is orthogonal to the key, and 1 - beta of the rest."""
    beta, steps, n, m = 0.7, 30, 2, 3
    key = orthogonal(m)[0]
    run = drawn_run(delta_rule(), steps, 1, {"N": n, "K": m}, beta=beta, k=np.tile(key, (steps, 1, 1)))
    result = analyse(run, ONLY)
    J = np.tile(np.kron(np.eye(n), np.eye(m) - beta * np.outer(key, key)), (steps, 1, 1))
    np.testing.assert_allclose(dense(Derived(run))[:, 0], J, rtol=0, atol=bounds.rounded(10))
    kept = np.array([0.0] * (n * (m - 1)) + [np.log(1 - beta)] * n)
    # a random frame has turned to the directions that are kept by the warm-up, but for (1 - beta) to the power of its steps
    assert np.abs(result.exponents - kept).max() < bounds.exponents(J) + (1 - beta) ** result.warmup
    assert np.abs(result.singular_values - steps * kept / np.log(10)).max() < bounds.singular_values(J)
    assert np.abs(result.log10_norms).max() < bounds.singular_values(J)


def test_the_delta_rule_with_keys_that_differ_has_the_products_of_its_projections() -> None:
    """Each row of C is multiplied by the same I - beta k_t k_tᵀ: the singular values are those of their product, once for every row."""
    steps, n, m = 8, 3, 4
    keys = np.random.default_rng(3).standard_normal((steps, 1, m)) / 2
    run = drawn_run(delta_rule(), steps, 1, {"N": n, "K": m}, beta=0.6, k=keys)
    M = np.stack([np.eye(m) - 0.6 * np.outer(one, one) for one in keys[:, 0]])
    product = np.linalg.multi_dot(M[::-1])
    exact = np.sort(np.repeat(np.log10(np.linalg.svd(product)[1]), n))[::-1]
    assert np.abs(analyse(run, ONLY).singular_values - exact).max() < bounds.singular_values(np.kron(np.eye(n), M))


def test_a_linear_recurrence_of_a_number_has_the_exponent_ln_a() -> None:
    s = sequence("s")
    cell = Cell.from_equations("line", "line", [Eq(s, number("a") * s.prev + matmul(transpose(vector("w", D)), x))])
    result = analyse(drawn_run(cell, 50, 2, {"D": 3}, a=-0.9))
    J = np.full((50, 1, 1), 0.9)
    assert result.exponents.tolist() == pytest.approx([np.log(0.9)], abs=bounds.exponents(J))
    assert result.bound.log10(50)[-1] == pytest.approx(50 * np.log10(0.9), abs=bounds.singular_values(J))
    assert (result.bound.beta_h or 0) * (result.bound.beta_W or 0) == pytest.approx(0.9, abs=1e-15)


def test_a_layer_normalised_network_has_the_exponents_of_its_equations() -> None:
    h, size = sequence("h", N), 5
    cell = Cell.from_equations("normed", "normed", [Eq(h, layer_norm(matrix("W", N, D) @ x + matrix("U", N, N) @ h.prev))])
    run = drawn_run(cell, 40, 1, {"N": size, "D": 3})
    J = by_complex_step(run)[:, 0]
    result = analyse(run, Wanted(exponents=4, paths=False, gradient=False))
    # what is normalised has the mean 0: a singular step, and one exponent that isn't a number
    expected = benettin(J, start_frame(Derived(run), size)[0][:, :4])
    np.testing.assert_allclose(result.exponents[:3], expected[:3], atol=1e-9)  # the smallest are differences of large numbers
    assert result.log10_norms[-1] <= result.bound.trajectory[-1]


# ---- large states


def decaying(n: int, m: int) -> Cell:
    """C_t = diag(a) C_{t-1} + v kᵀ with learned rates."""
    return Cell.from_equations(
        "decaying", "decaying", [Eq(C, hadamard(matmul(vector("a", N), Ones(1, K)), C.prev) + matmul(v, transpose(k)))]
    )


def test_a_large_matrix_state_has_its_leading_exponents_without_any_whole_jacobian(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> Any:
        raise AssertionError("a whole Jacobian")

    for place in ("derived.Derived.dense", "steps.dense_jacobians", "rows.RowScaled.__init__"):
        monkeypatch.setattr(f"verify.jacobian.{place}", forbidden)
    n, m, steps = 40, 40, 30
    rates = np.exp(-np.arange(n) / 8.0)
    run = drawn_run(decaying(n, m), steps, 1, {"N": n, "K": m}, a=rates)
    result = analyse(run)
    assert result.which == "the leading 16 of 1600"
    assert result.columns == 24
    # each rate m times: a random frame of 24 columns settles in the m of the first one, by the ratio of the rates
    np.testing.assert_allclose(result.exponents, np.log(rates[0]), atol=np.exp(-result.warmup / 8.0) / steps * 8)
    np.testing.assert_allclose(result.log10_norms, 0.0, atol=1e-6)
    assert [path.name for path in result.paths] == ["carousel C"]


def test_leading_exponents_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    run = drawn_run(matrix_memory.cell(), 40, 1, {"D": 3, "K": 3, "N": 5}, alpha=0.5)
    whole = analyse(run, ONLY)
    for name, size in (("DENSE", 4), ("LARGE", 8), ("LEADING", 1), ("SPARE", 2)):
        monkeypatch.setattr(f"verify.jacobian.analysis.{name}", size)
    leading = analyse(run, ONLY)
    assert leading.which == "the leading 1 of 19"
    np.testing.assert_allclose(leading.exponents[0], whole.exponents[0], atol=0.05)  # of frames that settle in their own ways


# ---- weights and forget biases


def roles(cell: Cell, sizes: dict[str, int], init: Init | None = None) -> dict[str, Any]:
    run = drawn_run(cell, sizes=sizes)
    return draw_parameters(run.kernel, run.derivation, {n: a.shape for n, a in run.parameters.items()}, init or Init(), 0)


def test_weights_start_by_what_they_do() -> None:
    """Vectors in matrix products are weights, what scales a whole sum starts as 1, what is added as 0."""
    h, s = sequence("h", N), sequence("s")
    gain, offset, w, alpha, b = vector("g", N), vector("o", N), vector("w", N), number("alpha"), number("b")
    cell = Cell.from_equations(
        "roles",
        "roles",
        [
            Eq(s, alpha * s.prev + matmul(transpose(w), h.prev) + b),
            Eq(h, gain * layer_norm(matrix("W", N, D) @ x + vector("p", N) * h.prev) + offset),
        ],
    )
    drawn_parameters = roles(cell, {"N": 400, "D": 3})
    for name, value in (("g", 1.0), ("o", 0.0), ("alpha", 1.0), ("b", 0.0), ("p", 0.0)):
        assert np.all(drawn_parameters[name] == value), name
    assert drawn_parameters["w"].std() == pytest.approx(1 / 20, rel=0.2)  # 400 numbers: a standard deviation to 4 %
    assert drawn_parameters["alpha"].shape == ()


@pytest.mark.parametrize("kind", ["a number", "a vector for rows", "with a delta rule"])
def test_a_forget_bias_opens_the_gate_of_a_matrix_memory(kind: str) -> None:
    from derive.functions import function

    sigma, write = function("sigma"), matmul(v, transpose(k))
    f: Value
    if kind == "a vector for rows":
        f = sequence("f", N)
        gate, carry = Eq(f, sigma(matrix("W", N, D) @ x + vector("b", N))), hadamard(matmul(f, Ones(1, K)), C.prev)
    else:
        f = sequence("f")
        gate, carry = Eq(f, sigma(matmul(transpose(vector("w", D)), x) + number("b"))), f * C.prev
    if kind == "with a delta rule":
        carry = f * matmul(C.prev, Identity(K) - matmul(k, transpose(k)))
    cell = Cell.from_equations("memory", "memory", [gate, Eq(C, carry + write)])
    assert np.all(roles(cell, {"N": 3, "K": 2, "D": 3}, Init(forget_bias=4.0))["b"] == 4)


def test_orthogonal_matrices_may_multiply_a_state_from_either_side() -> None:
    cell = Cell.from_equations(
        "both", "both", [Eq(C, matmul(matrix("P", N, N), C.prev, matrix("Q", K, K)) + matmul(v, transpose(k)))]
    )
    found = roles(cell, {"N": 3, "K": 2}, Init(recurrent="orthogonal"))
    for name in "PQ":
        np.testing.assert_allclose(found[name] @ found[name].T, np.eye(len(found[name])), atol=bounds.rounded(10))


# ---- intervals


def test_numbers_and_matrices_are_kept_inside_what_is_proved() -> None:
    from derive.functions import function

    sigma, tanh = function("sigma"), function("tanh")
    f, s = sequence("f"), sequence("s")
    cell = Cell.from_equations(
        "kept",
        "kept",
        [
            Eq(f, sigma(matmul(transpose(vector("w", D)), x))),
            Eq(C, f * C.prev + (1 - f) * matmul(tanh(v), transpose(tanh(k)))),
            Eq(s, tanh(total(C))),
        ],
    )
    run = drawn_run(cell, sizes={"N": 3, "K": 2, "D": 3}, C=np.zeros((2, 3, 2)))
    ranges = Ranges(evaluated(run))
    assert ranges.of(C) == pytest.approx((-1, 1), abs=1e-6)
    assert ranges.of(total(C)) == pytest.approx((-6, 6), abs=1e-5)
    assert ranges.of(s) == pytest.approx((-np.tanh(6), np.tanh(6)), abs=1e-6)
    assert "s" not in run.sizes
