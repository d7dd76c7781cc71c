"""Step Jacobians from three sources, the paths of a derived Jacobian, its bounds, and what the documents leave out."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from derive.blocks import stack
from derive.cell import Cell
from derive.derivation import derive
from derive.functions import FUNCTIONS, function
from derive.language import Eq, X, dimension, matrix, sequence, vector
from tests import bounds
from tests.kernels import kernel_of_cell
from tests.verify.jacobian.runs import orthogonal, rnn, run_of, without
from verify.jacobian import Run, Wanted, analyse
from verify.jacobian.bounds import bound_of
from verify.jacobian.derived import Derived, dense
from verify.jacobian.intervals import range_of_function, supremum
from verify.jacobian.paths import approximations, gates_of, path_norms, paths_of
from verify.jacobian.rows import row_scaled
from verify.jacobian.steps import Dense, Products, from_backward
from verify.jacobian.values import evaluated

CELLS = [
    "rnn", "rnn --activation relu", "lstm", "lstm --peephole", "lstm --peephole diagonal --candidate-peephole",
    "gru", "gru --reset after --recurrent-bias", "gru --update-gate state",
]  # fmt: skip
H, D = dimension("H"), dimension("D")
LIMIT = 8 * bounds.rounded(3 * (4 * 5 + bounds.FUNCTIONS))
"""Of an element of a step Jacobian: three factors, each of at most four products of width 5; elements and frames are below 8."""


def stacked_cell() -> Cell:
    """A gated cell on [r ∘ h; x], with a residual carousel and two states, none of them built in."""
    x, p, q = sequence("x", D), sequence("p", H), sequence("q", H)
    r = sequence("r", H)
    sigma, tanh = function("sigma"), function("tanh")
    return Cell.from_equations(
        "stacked",
        "stacked.md",
        [
            Eq(r, sigma(matrix("A", H, D + H) @ stack(x, q.prev) + vector("a", H))),
            Eq(p, p.prev + tanh(matrix("M", H, H + D) @ stack(r * p.prev, x) + q.prev)),
            Eq(q, r * q.prev + (1 - r) * tanh(p)),
        ],
    )


def stacked_run() -> Run:
    cell, rng = stacked_cell(), np.random.default_rng(0)
    shapes = {"A": (4, 7), "a": (4,), "M": (4, 7)}
    inputs = {"x": rng.standard_normal((6, 2, 3))}
    return Run("stacked", kernel_of_cell(cell), {n: rng.standard_normal(s) for n, s in shapes.items()}, inputs, {}, derive(cell))


RUNS = [*CELLS, "stacked"]


def run_called(name: str) -> Run:
    return stacked_run() if name == "stacked" else run_of(name, steps=6, B=2)


@pytest.mark.parametrize("name", RUNS)
def test_kernel_backward_and_derived_program_give_the_same_step_jacobians(name: str) -> None:
    run = run_called(name)
    J = np.stack([Dense(run).jacobian(t) for t in range(6)])
    np.testing.assert_allclose(from_backward(run, 0, 6), J, rtol=0, atol=LIMIT)
    np.testing.assert_allclose(dense(Derived(run)), J, rtol=0, atol=LIMIT)
    bare = Run(run.name, without(run.kernel, "step_jacobian", "jvp"), run.parameters, run.inputs, run.state)
    frame = np.random.default_rng(1).standard_normal((2, run.size, 3))
    scaled = row_scaled(run, evaluated(run))
    for steps in (Products(run), Derived(run), Products(bare), Dense(bare), *([scaled] if scaled else [])):
        for t in (0, 5):
            np.testing.assert_allclose(steps.push(t, frame), J[t] @ frame, rtol=0, atol=LIMIT)
            np.testing.assert_allclose(steps.pull(t, frame), J[t].swapaxes(-1, -2) @ frame, rtol=0, atol=LIMIT)


@pytest.mark.parametrize("name", RUNS)
def test_a_path_cut_and_the_path_alone_add_up_to_the_jacobian(name: str) -> None:
    run = run_called(name)
    steps = Derived(run)
    frame = np.random.default_rng(1).standard_normal((2, run.size, 3))
    for path in paths_of(run):
        cut, kept = steps.with_path(path.marks, False), steps.with_path(path.marks, True)
        np.testing.assert_allclose(dense(cut) + dense(kept), dense(steps), rtol=0, atol=LIMIT)
        for one in (cut, kept):
            np.testing.assert_allclose(one.pull(4, frame), dense(one)[4].swapaxes(-1, -2) @ frame, rtol=0, atol=LIMIT)


def test_most_cells_have_steps_with_scaled_rows() -> None:
    runs = {run.name: run for run in map(run_called, RUNS)}
    found = [name for name, run in runs.items() if row_scaled(run, evaluated(run))]
    assert {"rnn", "lstm", "lstm --peephole diagonal --candidate-peephole", "gru --reset after --recurrent-bias"} <= set(found)
    assert row_scaled(runs["gru"], None) is None


def test_paths_are_found_by_their_reasons() -> None:
    names = {words: [path.name for path in paths_of(run_of(words))] for words in CELLS}
    assert names["rnn"] == ["U"]
    assert names["lstm"] == ["i", "f", "c_tilde", "o", "carousel c"]
    assert names["gru"] == ["z", "r", "h_tilde", "carousel h"]
    assert {"i", "f", "c_tilde", "o", "carousel c", "P_i", "P_f", "P_o"} <= set(names["lstm --peephole"])
    assert {"p_i", "p_f", "p_c", "p_o"} <= set(names["lstm --peephole diagonal --candidate-peephole"])
    assert {"r", "carousel p", "carousel q", "M"} <= {path.name for path in paths_of(stacked_run())}


def test_renaming_every_symbol_leaves_the_figures() -> None:
    """The same cell under other names has the same paths with the same norms."""
    original = run_of("gru", steps=8)
    new = {"z": "omega", "r": "kappa", "h_tilde": "v", "h": "y"}

    def rename(node: sp.Basic) -> sp.Basic | None:
        return node.like(name=new[node.name]) if getattr(node, "name", None) in new else None

    from derive.expressions import substitute

    cell = Cell.from_equations(
        "other", "other", [Eq(rename(t), substitute(e, rename)) for t, e in original.derivation.cell.equations]
    )
    other = Run("other", kernel_of_cell(cell), original.parameters, original.inputs, {"y": original.state["h"]}, derive(cell))
    first, second = analyse(original), analyse(other)
    assert [new.get(p.name, p.name).replace("carousel h", "carousel y") for p in first.paths] == [p.name for p in second.paths]
    for a, b in zip(first.paths, second.paths, strict=True):
        np.testing.assert_allclose(a.cut, b.cut, rtol=0, atol=8 * LIMIT)


def test_the_carousel_carries_an_lstm_with_open_forget_gates() -> None:
    run = run_of("lstm", steps=60, H=8, scale=0.3, b_f=np.full(8, 4.0))
    result = analyse(run)
    norms = {path.name: path for path in result.paths}
    assert norms["carousel c"].cut[-1] < result.log10_norms[-1] - 20
    assert abs(norms["carousel c"].kept[-1] - result.log10_norms[-1]) < 1
    assert norms["i"].kept[-1] < -20


def test_the_carousel_alone_is_the_product_of_the_forget_gates() -> None:
    """000: dE/dC_{t-1} = f_t ∘ dE/dC_t."""
    run = run_of("lstm", steps=9)
    steps = Derived(run)
    (path,) = [path for path in paths_of(run) if path.name == "carousel c"]
    alone = dense(steps.with_path(path.marks, True))
    f = steps.values.arrays[next(value for value in steps.values.arrays if value.name == "f")][..., 0]
    np.testing.assert_allclose(alone[:, :, 5:, 5:], f[..., None] * np.eye(5), rtol=0, atol=4 * bounds.EPS)


def test_approximations_are_exact_where_nothing_is_left_out() -> None:
    quiet = {name: np.zeros((5, 5)) for name in ("U_i", "U_f", "U_c", "U_o")}
    run = run_of("lstm", **quiet)
    for one in approximations(run, Derived(run), paths_of(run)):
        assert max(error for error in one.errors if error is not None) < LIMIT
    wrong = {one.name: one for one in analyse(run_of("lstm")).approximations}
    assert wrong["gates constant"].worst_error > 0.01
    assert 1 <= wrong["gates constant"].worst_step <= 12
    assert gates_of(run) == ["i", "f", "o"]


def test_frames_give_the_norms_of_a_path_without_whole_products(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("lstm", steps=20, H=12)
    exact = path_norms(Derived(run), paths_of(run))
    monkeypatch.setattr("verify.jacobian.paths.EXACT", 3)
    for one, other in zip(exact, path_norms(Derived(run), paths_of(run)), strict=True):
        alive = np.isfinite(one.cut[:, 0])
        assert np.abs(one.cut - other.cut)[alive].max() < 0.3


# ---- bounds


@pytest.mark.parametrize(("activation", "slope"), [("tanh", 1), ("sigmoid", 0.25), ("relu", 1), ("identity", 1)])
def test_bound_of_a_plain_network_is_beta_w_times_beta_h(activation: str, slope: float) -> None:
    """CS224n (15), (16), with the sharp beta_h."""
    words = "rnn" if activation == "tanh" else f"rnn --activation {activation}"
    run = run_of(words, steps=8)
    result = analyse(run)
    norm = np.linalg.norm(run.parameters["U"], 2)
    np.testing.assert_allclose(result.bound.log10(8), np.arange(1, 9) * np.log10(slope * norm), rtol=0, atol=8 * LIMIT)
    np.testing.assert_allclose(result.bound.log10_document(8), np.arange(1, 9) * np.log10(norm), rtol=0, atol=8 * LIMIT)
    assert (result.log10_norms <= np.array(result.bound.log10(8)) + 8 * LIMIT).all()


@pytest.mark.parametrize("name", RUNS)
def test_the_bound_along_a_run_is_never_below_the_norm(name: str) -> None:
    run = run_called(name)
    result = analyse(run, Wanted(paths=False))
    assert (result.log10_norms <= np.array(result.bound.trajectory) + 6 * LIMIT).all()


def test_gated_cells_have_no_uniform_bound_and_say_why() -> None:
    run = run_of("lstm")
    bound = bound_of(run, evaluated(run))
    assert bound.log10(5) is None
    assert "nothing is known of how large c_t-1 can be" in bound.statement


def test_a_cell_written_on_a_stack_has_the_same_bound() -> None:
    x, h = sequence("x", D), sequence("h", H)
    cell = Cell.from_equations("one", "one", [Eq(h, function("tanh")(matrix("V", H, D + H) @ stack(x, h.prev)))])
    V = np.random.default_rng(0).standard_normal((4, 7))
    run = Run("one", kernel_of_cell(cell), {"V": V}, {"x": np.ones((5, 1, 3))}, {}, derive(cell))
    result = analyse(run)
    assert result.bound.per_step == pytest.approx(np.log10(np.linalg.norm(V[:, 3:], 2)), abs=LIMIT)


def test_suprema_of_the_slopes_are_the_known_ones() -> None:
    everywhere = (-np.inf, np.inf)
    assert supremum(sp.diff(FUNCTIONS["sigma"], X), everywhere) == pytest.approx(0.25, abs=4 * bounds.EPS)
    assert supremum(sp.diff(FUNCTIONS["gelu"], X), everywhere) == pytest.approx(1.128993, abs=5e-7)  # to the last digit printed
    assert supremum(sp.diff(FUNCTIONS["exp"], X), everywhere) == np.inf
    assert supremum(X * (1 - X), (0.0, 1.0)) == 0.25
    assert range_of_function(FUNCTIONS["tanh"]) == (-1, 1)
    assert range_of_function(FUNCTIONS["relu"]) == (0, np.inf)


def test_scaled_orthogonal_relu_meets_its_bound() -> None:
    result = analyse(rnn(0.5 * orthogonal(3), 6, "identity"))
    np.testing.assert_allclose(result.log10_norms, result.bound.log10(6), rtol=0, atol=6 * LIMIT)
