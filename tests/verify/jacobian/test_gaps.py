"""How far a frame goes without QR is decided by what was lost, and nothing that has an inverse is called singular."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from tests import bounds
from tests.profiles import thorough
from tests.verify.jacobian.runs import benettin, run_of, words_run
from verify.jacobian import Wanted, analyse
from verify.jacobian.frames import LOST, by_cholesky, inverse_of_lower, orthonormal
from verify.jacobian.steps import Dense, Given
from verify.jacobian.sweeps import forward_sweep, start_frame

ONLY = Wanted(paths=False, gradient=False)


@pytest.mark.parametrize(
    "words",
    [
        "lstm --peephole --hidden 2",
        "rnn --hidden 2 --inputs 3 --seed 4",
        "lstm --hidden 4 --inputs 3 --seed 2 --init scale=3",
        "gru --hidden 32 --inputs 3 --seed 3 --init scale=3",
        "gru --reset after --hidden 8 --seed 5 --init scale=6",
        "rnn --hidden 16 --seed 1",
        thorough("rnn --init scale=3 --hidden 3 --inputs 2 --steps 2000"),
    ],
)
def test_exponents_and_singular_values_add_up_to_the_determinant(words: str) -> None:
    """The sum of exponents is the mean of ln|det J|; each is that of a QR at each step; the singular values multiply to |det|."""
    run = words_run(words)
    result = analyse(run, ONLY)
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(run.steps)])
    determinants, limit = np.linalg.slogdet(J)[1], run.size * bounds.singular_values(J)
    assert abs(result.exponents.sum() - determinants[result.warmup :].mean()) < run.size * bounds.exponents(J)
    assert result.singular_values.sum() * np.log(10) == pytest.approx(determinants.sum(), abs=limit)
    # one by one: what a frame may lose between two QR, and what each QR of the reference does, whose errors are those of whole columns
    each = bounds.EPS * run.size * (LOST + np.linalg.cond(J).mean())
    np.testing.assert_allclose(result.exponents, benettin(J, start_frame(Given(J), run.size)[0]), rtol=0, atol=each)


def exact_exponents(J: np.ndarray, frame: np.ndarray) -> list[float]:
    """By Gram-Schmidt at each step with 200 digits, from a frame (n, n)."""
    total = [mpmath.mpf(0)] * J.shape[1]
    with mpmath.workdps(200):
        Q = mpmath.matrix(frame.tolist())
        for one in J:
            Q, R = mpmath.qr(mpmath.matrix(one.tolist()) * Q)
            total = [sum_ + mpmath.log(abs(R[k, k])) for k, sum_ in enumerate(total)]
        return sorted((float(value) / len(J) for value in total), reverse=True)


def test_every_exponent_agrees_with_two_hundred_digits() -> None:
    run = words_run("lstm --peephole --hidden 2")
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(9)])
    short = analyse(words_run("lstm --peephole --hidden 2 --steps 9"), ONLY)
    np.testing.assert_allclose(short.exponents, exact_exponents(J, start_frame(Given(J), 4)[0]), rtol=0, atol=bounds.exponents(J))


def test_what_is_lost_inside_a_gap_is_seen_though_the_columns_look_unharmed_at_its_end() -> None:
    """Eight steps stretch, the next eight undo it: the product is the identity, and its digits are gone if it is taken in one go."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    J = np.tile(np.eye(2), (60, 1, 1))
    J[31:39], J[39:47] = turn @ np.diag([8, 1 / 8]) @ turn.T, turn @ np.diag([1 / 8, 8]) @ turn.T
    steps = Given(J)
    assert abs(forward_sweep(steps, start_frame(steps, 2)).logs.sum()) < 2 * bounds.singular_values(J)  # ln|det| of the identity


def test_a_long_gap_is_taken_where_nothing_is_lost() -> None:
    """An orthogonal network needs one QR in sixteen steps."""
    asked = []

    class Counting(Given):
        def push(self, t: int, frame: np.ndarray) -> np.ndarray:
            asked.append(t)
            return super().push(t, frame)

    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    steps = Counting(np.tile(turn, (200, 1, 1)))
    assert np.abs(forward_sweep(steps, start_frame(steps, 5)).logs).max() < bounds.singular_values(steps.jacobians[:, 0])
    assert asked == list(range(200))


def test_frames_by_cholesky_are_those_of_householder() -> None:
    rng = np.random.default_rng(3)
    frame = rng.standard_normal((2, 150, 120)) * np.logspace(0, -90, 120)
    found = by_cholesky(frame, np.ones((2, 120), bool))
    turned = orthonormal(frame)
    assert found is not None
    # the Cholesky factor of A^T A: n eps of the square of the condition of the columns, each of length 1
    limit = 120 * bounds.EPS * np.linalg.cond(frame / np.linalg.norm(frame, axis=1, keepdims=True)).max() ** 2
    np.testing.assert_allclose(found.Q, turned.Q, rtol=0, atol=limit)
    np.testing.assert_allclose(found.logs, turned.logs, rtol=0, atol=limit + bounds.EPS * np.abs(turned.logs).max())
    triangle = np.tril(rng.standard_normal((2, 101, 101))) + 10 * np.eye(101)
    limit = 101 * bounds.EPS * bounds.skeel(triangle).max()
    np.testing.assert_allclose(
        inverse_of_lower(triangle) @ triangle, np.broadcast_to(np.eye(101), (2, 101, 101)), rtol=0, atol=limit
    )
    frame[1, :, 7] = frame[1, :, 3] * 1e-20
    assert by_cholesky(frame, np.ones((2, 120), bool)) is None


def test_units_that_die_one_by_one_leave_the_others_right() -> None:
    run = run_of("rnn --activation relu", steps=30, H=8, seed=2)
    result = analyse(run, ONLY)
    alive = np.isfinite(result.exponents).sum()
    with mpmath.workdps(120):
        product = mpmath.eye(8)
        for t in range(30):
            product = mpmath.matrix(Dense(run).jacobian(t)[0].tolist()) * product
        rank = sum(value > 1e-60 for value in mpmath.svd_r(product, compute_uv=False))
    assert 0 < alive < 8
    assert alive == np.isfinite(result.singular_values).sum() == rank
