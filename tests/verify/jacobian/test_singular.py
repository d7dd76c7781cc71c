"""Jacobians of less than full rank, clusters of singular values, and frames whose columns die one by one."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from tests import bounds
from tests.verify.jacobian.runs import rnn, run_of, words_run
from verify.jacobian import Wanted, analyse
from verify.jacobian.norms import log_norms, log_norms_from_frames
from verify.jacobian.rotations import TOLERANCE, estimated_logs, log_singular_values
from verify.jacobian.steps import Dense, Given
from verify.jacobian.sweeps import estimated_singular_logs, forward_sweep, singular_logs, singular_sweeps, start_frame


def masked(kind: str, rng: np.random.Generator) -> np.ndarray:
    J = rng.standard_normal((5, 6, 6))
    if kind == "diagonal":
        return np.stack([np.diag((rng.random(6) < 0.8) * 1.0) for _ in range(5)])
    if kind == "rows":
        return J * (rng.random((5, 6, 1)) < 0.85)
    if kind == "columns":
        return J * (rng.random((5, 1, 6)) < 0.85)
    left, right = (np.round(16 * one) / 16 for one in (J[2][:, :3], rng.standard_normal((3, 6))))
    J[2] = left @ right  # exactly, in whatever order it is summed: of rank 3, not of a rank that rounding has raised
    return J


@pytest.mark.parametrize("kind", ["diagonal", "rows", "columns", "rank"])
def test_a_singular_step_leaves_the_other_singular_values_right(kind: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(25):
        J = masked(kind, rng)
        exact = np.linalg.svd(np.linalg.multi_dot(J[::-1]))[1]
        limit = 5 * 6 * bounds.EPS * np.prod(np.linalg.norm(J, 2, axis=(1, 2)))  # of five products of six terms
        rank = int((exact > limit).sum())
        steps = Given(J)
        last, _ = singular_sweeps(steps, forward_sweep(steps, start_frame(steps, 6)))
        found = singular_logs(last)[0][0]
        assert np.isfinite(found).sum() == rank
        np.testing.assert_allclose(np.exp(found[:rank]), exact[:rank], rtol=0, atol=limit)


def test_identity_and_relu_keep_the_units_that_stay_alive() -> None:
    x = np.ones((40, 1, 4))
    x[20, 0, 2] = -1e3
    run = rnn(np.eye(4), 40, "relu", x=x)
    result = analyse(run, Wanted(paths=False))
    last = start_frame(Dense(run), 4)[0, :, 3]
    assert result.exponents[3] == -np.inf
    # The volume that the first three columns keep when unit 2 dies is the part of their normal, the last column, along that unit.
    assert result.exponents[:3].sum() == pytest.approx(np.log(abs(last[2])) / 36, abs=bounds.rounded(40 * 4 * 4))
    assert result.log10_norms.tolist() == [0.0] * 40
    assert result.verdict == "stable"


def test_a_nilpotent_matrix_has_norm_zero_from_its_index_on() -> None:
    result = analyse(rnn(np.eye(4, k=1), 10, "identity"))
    assert result.log10_norms[:3].tolist() == [0.0, 0.0, 0.0]
    assert (result.log10_norms[3:] == -np.inf).all()
    assert (result.exponents == -np.inf).all()
    assert result.verdict == "vanishing"


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_rotations_find_the_singular_values_of_a_plain_matrix(n: int) -> None:
    unit = np.random.default_rng(n).standard_normal((n, n))
    logs = np.linspace(0, -30, n)
    found, left = log_singular_values(logs, unit)
    exact = np.linalg.svd(np.exp(logs)[:, None] * unit)[1]
    assert left <= TOLERANCE * np.sqrt(n)
    np.testing.assert_allclose(np.exp(found), exact, rtol=0, atol=n * bounds.EPS * exact[0])
    limit = n * n * bounds.EPS * float(bounds.skeel(unit)) + n * bounds.EPS * np.abs(logs).sum()
    assert found.sum() == pytest.approx(logs.sum() + np.linalg.slogdet(unit)[1], abs=limit)


def test_lanczos_agrees_with_the_whole_svd_and_frames_come_close() -> None:
    rng = np.random.default_rng(0)
    steps = Given(rng.standard_normal((40, 200, 200)) / np.sqrt(200))
    found = log_norms(steps)[:, 0]
    product = np.eye(200)
    for lag in range(1, 41):
        product = product @ steps.jacobians[40 - lag, 0]
        first, second = np.linalg.svd(product, compute_uv=False)[:2]
        # Lanczos ends at a residual of 1e-8: squared over the gap to the next value it is its error; and the product's roundings
        limit = 1e-16 / (1 - second / first) + bounds.rounded(lag * 200)
        assert found[lag - 1] == pytest.approx(np.log(first), abs=limit)
    frames = log_norms_from_frames(steps)[:, 0]
    assert (frames <= found + limit).all()
    assert (frames > found - 0.35).all()


def test_a_batch_gives_means_and_spreads_of_its_sequences() -> None:
    both = run_of("lstm", steps=15, B=2)
    J = np.stack([Dense(both).jacobian(t) for t in range(15)])
    limit = max(bounds.singular_values(J[:, b]) for b in range(2))
    alone = [run_of("lstm", steps=15, B=2) for _ in range(2)]
    parts = [
        analyse(type(both)(one.name, one.kernel, one.parameters, cut(one.inputs, b, 1), cut(one.state, b, 0), one.derivation))
        for b, one in enumerate(alone)
    ]
    whole = analyse(both)
    np.testing.assert_allclose(whole.log10_norms, np.mean([part.log10_norms for part in parts], axis=0), rtol=0, atol=limit)
    np.testing.assert_allclose(whole.log10_norms_spread, np.std([part.log10_norms for part in parts], axis=0), rtol=0, atol=limit)
    np.testing.assert_allclose(whole.exponents, np.mean([part.exponents for part in parts], axis=0), rtol=0, atol=limit)
    np.testing.assert_allclose(
        whole.singular_values, np.mean([part.singular_values for part in parts], axis=0), rtol=0, atol=limit
    )


def cut(arrays: dict[str, np.ndarray], b: int, axis: int) -> dict[str, np.ndarray]:
    return {name: np.take(array, [b], axis=axis) for name, array in arrays.items()}


def exactly(logs: np.ndarray, unit: np.ndarray) -> np.ndarray:
    with mpmath.workdps(150):
        product = mpmath.diag([mpmath.exp(mpmath.mpf(float(one))) for one in logs]) * mpmath.matrix(unit.tolist())
        return np.array(sorted((float(mpmath.log(one)) for one in mpmath.svd_r(product, compute_uv=False)), reverse=True))


@pytest.mark.parametrize(("turns", "sweeps"), [(0, 0), (1, 0), (5, 0), (5, 1), (30, 3)])
@pytest.mark.parametrize("decades", [0, 3, 80])
def test_the_bound_on_estimated_singular_values_is_never_below_their_error(turns: int, sweeps: int, decades: int) -> None:
    rng = np.random.default_rng(4)
    logs, unit = np.linspace(0, -2.3 * decades, 12), np.eye(12) + np.triu(rng.standard_normal((12, 12)), 1)
    found, bound = estimated_logs(logs, unit, turns, sweeps)
    off = np.abs(found - exactly(logs, unit)).max()
    assert off <= bound
    assert bound < 5 * off + 1e-12 or sweeps or bound < 4


def test_above_the_size_of_full_sweeps_the_bound_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    run = words_run("rnn --hidden 40 --steps 12 --seed 3 --inputs 4")
    only = Wanted(paths=False, gradient=False)
    full = analyse(run, only)
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(12)])
    for turns, sweeps in ((0, 0), (2, 0), (30, 3)):
        monkeypatch.setattr("verify.jacobian.analysis.FULL_ROTATIONS", 3)
        monkeypatch.setattr("verify.jacobian.sweeps.estimated_logs", lambda *a, of=(turns, sweeps): estimated_logs(*a, *of))
        early = analyse(run, only)
        off = np.abs(early.singular_values - full.singular_values).max()
        assert off <= early.singular_values_error + 2 * bounds.singular_values(J)  # of both
        np.testing.assert_allclose(early.exponents, full.exponents, rtol=0, atol=bounds.exponents(J))
    assert early.singular_values_error < 1e-6


def test_singular_values_of_a_singular_product_are_estimated_too() -> None:
    """Also where the columns that are left are nearly dependent, as those of seed 11 are: a zero is then a difference of larger numbers."""
    for seed in (11, 12, 376):
        steps = Given(masked("rank", np.random.default_rng(seed)))
        swept = forward_sweep(steps, start_frame(steps, 6), triangles=True)
        found, bound = estimated_singular_logs(swept)
        exact = np.linalg.svd(np.linalg.multi_dot(steps.jacobians[::-1, 0]))[1]
        assert np.isfinite(found[0]).sum() == 3
        # the roundings of five products of six terms, next to the smallest of the three
        limit = 5 * 6 * bounds.EPS * np.prod(np.linalg.norm(steps.jacobians[:, 0], 2, axis=(1, 2))) / exact[2]
        np.testing.assert_allclose(found[0][:3], np.log(exact[:3]), rtol=0, atol=bound + limit)
        assert bound < 1e-9
