"""Closed forms and published values, each with its source."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from tests import bounds
from tests.verify.jacobian.runs import orthogonal, rnn, run_of
from verify.jacobian import Wanted, analyse
from verify.jacobian.steps import Dense, Given
from verify.jacobian.sweeps import exponents_of, forward_sweep, singular_logs, singular_sweeps, start_frame

ONLY = Wanted(paths=False, gradient=False)


@pytest.mark.parametrize("g", [0.9, 1.0, 1.1])
def test_identity_activation_with_a_scaled_orthogonal_matrix_has_every_exponent_ln_g(g: float) -> None:
    """Saxe, McClelland and Ganguli 2014: an orthogonal linear network keeps every singular value; JKU slides, (W_h)^l."""
    steps = 60
    result = analyse(rnn(g * orthogonal(7), steps, "identity"), ONLY)
    J = np.tile(g * orthogonal(7), (steps, 1, 1))
    assert np.abs(result.exponents - np.log(g)).max() < bounds.exponents(J)
    assert np.abs(result.singular_values - steps * np.log10(g)).max() < bounds.singular_values(J)
    assert np.abs(result.log10_norms - np.arange(1, steps + 1) * np.log10(g)).max() < bounds.singular_values(J)
    assert result.verdict == ("vanishing" if g < 1 else "stable" if g == 1 else "exploding")


def test_linear_cell_has_the_powers_of_w_with_their_non_normal_transient() -> None:
    """JKU slides: dh^(t)/dh^(i) = (W_h)^l. Trefethen and Embree 2005: a spectral radius below 1 doesn't bound the powers."""
    W = np.array([[0.9, 10.0], [0.0, 0.9]])
    result = analyse(rnn(W, 200, "identity"), ONLY)
    exact = [np.linalg.norm([[0.9**power, 10 * power * 0.9 ** (power - 1)], [0, 0.9**power]], 2) for power in range(1, 201)]
    assert np.abs(result.log10_norms - np.log10(exact)).max() < bounds.rounded(200 * 2 * 2)  # sums of two positive products
    assert 38 < 10 ** result.log10_norms.max() < 40
    assert result.log10_norms[-1] < -5


def test_tanh_at_a_stable_origin_has_the_logarithm_of_the_spectral_radius() -> None:
    """Linearisation at the fixed point h = 0: J_t = W (Strogatz 2015, 10.1)."""
    W = np.random.default_rng(3).standard_normal((6, 6))
    W = 0.8 * (W + W.T) / np.abs(np.linalg.eigvalsh(W + W.T)).max()
    result = analyse(rnn(W, 1500), ONLY)
    sizes = np.sort(np.abs(np.linalg.eigvalsh(W)))
    settled = (sizes[-2] / sizes[-1]) ** (
        2 * result.warmup
    )  # what is left of the other directions, twice since in both factors of a norm
    assert abs(result.exponents[0] - np.log(0.8)) < settled + bounds.exponents(np.tile(W, (1500, 1, 1)))


@pytest.mark.parametrize("p", [2, 3, 5])
def test_periodic_orbit_has_the_spectral_radius_of_the_product_over_a_period(p: int) -> None:
    """Floquet multipliers: ln rho(J_p ... J_1) / p (Strogatz 2015, 8.7)."""
    rng = np.random.default_rng(p)
    S = rng.standard_normal((4, 4))
    x = np.tile(rng.standard_normal((p, 1, 4)), (600, 1, 1))
    run = rnn(0.6 * (S + S.T) / np.linalg.norm(S + S.T, 2), 600 * p, x=x)
    J = [Dense(run).jacobian(600 * p - p + k)[0] for k in range(p)]
    multipliers = np.abs(np.linalg.eigvals(np.linalg.multi_dot(J[::-1])))
    result = analyse(run, ONLY)
    *_, second, first = np.sort(multipliers)
    periods = result.warmup // p
    settled = first**periods + (second / first) ** periods  # the orbit's distance from its limit, and the frame's
    assert abs(result.exponents[0] - np.log(first) / p) < settled + bounds.exponents(np.tile(J, (600, 1, 1)))


@pytest.mark.parametrize("words", ["rnn", "lstm --peephole", "gru"])
def test_sum_of_exponents_is_the_mean_log_determinant(words: str) -> None:
    """Oseledets 1968: the exponents sum to the mean growth of volume."""
    run = run_of(words, steps=80, B=2)
    J = np.stack([Dense(run).jacobian(t) for t in range(80)])
    determinants = np.linalg.slogdet(J)[1]
    result = analyse(run, ONLY)
    assert result.warmup == 8
    limit = max(J.shape[-1] * bounds.exponents(J[:, b]) for b in range(2))
    assert np.abs(result.exponents.sum() - determinants[8:].mean()) < limit


def test_singular_values_multiply_to_the_determinant_after_400_steps() -> None:
    run = run_of("lstm", steps=400, H=8)
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(400)])
    determinants = np.linalg.slogdet(J)[1]
    assert abs(analyse(run, ONLY).singular_values.sum() - determinants.sum() / np.log(10)) < 16 * bounds.singular_values(J)


def test_gaussian_products_have_the_digamma_exponents() -> None:
    """Newman 1986: lambda_i = (ln(2/N) + digamma((N - i + 1)/2)) / 2 for entries of variance 1/N."""
    N, T = 16, 6000
    steps = Given(np.random.default_rng(0).standard_normal((T, N, N)) / np.sqrt(N))
    found = exponents_of(forward_sweep(steps, start_frame(steps, N), T // 10), T, T // 10)[0]
    exact = [(np.log(2 / N) + float(mpmath.digamma((N - i + 1) / 2))) / 2 for i in range(1, N + 1)]
    assert np.abs(found - exact).max() < 0.05  # the last one's standard error is 0.015
    assert np.abs(found[:12] - exact[:12]).max() < 0.02


def blocks_on_a_cycle(A: np.ndarray) -> np.ndarray:
    """The matrix whose block (t + 1, t) is A[t], the last leading back to the first."""
    period, n = A.shape[:2]
    U = np.zeros((period, n, period, n))
    U[np.arange(1, period + 1) % period, :, np.arange(period)] = A
    return U.reshape(period * n, period * n)


def test_blocks_on_a_cycle_have_the_eigenvalues_of_their_product() -> None:
    """Floquet: U^40 is block diagonal, each block similar to A_40 ... A_1. The coordinate subspaces are invariant and all grow alike.

    What the frame hasn't turned by the end of the warm-up, a period and a half, falls by the gap of the eigenvalues: e^-8 a period here.
    """
    A = np.random.default_rng(10).standard_normal((40, 4, 4))
    eigenvalues = np.sort(np.abs(np.linalg.eigvals(np.linalg.multi_dot(A[::-1]))))[::-1]
    steps = Given(np.broadcast_to(blocks_on_a_cycle(A), (600, 160, 160)))
    found = exponents_of(forward_sweep(steps, start_frame(steps, 160), 60), 600, 60)[0]
    assert abs(found[:40].mean() - np.log(eigenvalues[0]) / 40) < 1e-6


@pytest.mark.parametrize("k", [3, 6])
def test_a_diagonal_network_has_the_logarithms_of_its_entries_in_whatever_order_they_stand(k: int) -> None:
    """From coordinate axes the columns never turn: the leading ones asked for would be those that stand first."""
    entries = np.array([0.2, 0.9, 0.05, 1.1, 0.5, 0.01])
    steps = Given(np.tile(np.diag(entries), (400, 1, 1)))
    found = exponents_of(forward_sweep(steps, start_frame(steps, k), 40), 400, 40)[0]
    # the worst ratio of neighbours, 0.9 / 1.1, has fallen to 3e-4 after the warm-up; its square over 360 steps is what is left
    assert np.abs(found - np.sort(np.log(entries))[::-1][:k]).max() < 1e-8


def test_a_leading_frame_is_the_beginning_of_the_full_one_and_follows_the_seed() -> None:
    steps = Given(np.tile(np.eye(7), (2, 1, 1)))
    full = start_frame(steps, 7, 5)[0]
    np.testing.assert_allclose(full.T @ full, np.eye(7), rtol=0, atol=bounds.rounded(2 * 7))
    np.testing.assert_allclose(start_frame(steps, 3, 5)[0], full[:, :3], rtol=0, atol=bounds.rounded(2 * 7))
    assert np.abs(start_frame(steps, 7, 6)[0] - full).max() > 0.1


@pytest.mark.parametrize(("g", "exact"), [(2, 0.1547), (3, 0.3103), (5, 0.5324)])
def test_mean_field_exponent_of_a_large_random_network(g: float, exact: float) -> None:
    """x -> W tanh(x), W ~ N(0, g²/N): Sompolinsky, Crisanti and Sommers 1988; lambda = ln(g² E[sech⁴(sqrt(q) z)]) / 2."""
    N, T = 1000, 300
    rng = np.random.default_rng(1)
    run = rnn(rng.standard_normal((N, N)) * g / np.sqrt(N), T, h=rng.standard_normal((1, N)))
    steps = Leading(run)
    found = exponents_of(forward_sweep(steps, start_frame(steps, 2), T // 10), T, T // 10)[0, 0]
    assert abs(found - exact) < 0.01


class Leading:
    """J V of h = tanh(U h'), written out by hand: (1 - h²) ∘ (U V)."""

    def __init__(self, run: object) -> None:
        self.U, self.h = run.parameters["U"], run.outputs["h"]  # type: ignore[attr-defined]
        self.steps, self.batch, self.size = len(self.h), 1, len(self.U)

    def push(self, t: int, frame: np.ndarray) -> np.ndarray:
        return (1 - self.h[t, 0] ** 2)[:, None] * (self.U @ frame)


def exact_logs(J: np.ndarray) -> list[mpmath.mpf]:
    with mpmath.workdps(250):
        product = mpmath.eye(J.shape[1])
        for one in J:
            product = mpmath.matrix(one.tolist()) * product
        return sorted((mpmath.log(value) for value in mpmath.svd_r(product, compute_uv=False)), reverse=True)


def found_logs(J: np.ndarray) -> np.ndarray:
    steps = Given(J)
    last, _ = singular_sweeps(steps, forward_sweep(steps, start_frame(steps, steps.size)))
    return singular_logs(last)[0][0]


@pytest.mark.parametrize("words", ["rnn", "lstm", "gru"])
def test_thirty_steps_agree_with_sixty_digits_in_every_singular_value(words: str) -> None:
    """mpmath, the product multiplied out at 250 digits and its SVD."""
    run = run_of(words, steps=30, H=4)
    J = np.stack([Dense(run).jacobian(t)[0] for t in range(30)])
    differences = [abs(mpmath.expm1(mpmath.mpf(float(a)) - b)) for a, b in zip(found_logs(J), exact_logs(J), strict=True)]
    assert max(differences) < bounds.singular_values(J)


def test_singular_values_hold_over_thirty_two_decades_where_the_svd_of_the_product_does_not() -> None:
    rng = np.random.default_rng(5)
    turns = [np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(31)]
    J = np.stack([turns[t] @ np.diag(np.logspace(0, -40 / 30, 6)) @ turns[t + 1] for t in range(30)])
    J[10:] = turns[3] @ np.diag(np.logspace(0, -40 / 30, 6)) @ turns[3].T
    found, exact = found_logs(J), exact_logs(J)
    assert (found[0] - found[-1]) / np.log(10) > 30
    assert max(abs(mpmath.expm1(mpmath.mpf(float(a)) - b)) for a, b in zip(found, exact, strict=True)) < bounds.singular_values(J)
    product = np.linalg.multi_dot(J[::-1])
    assert abs(np.log(np.linalg.svd(product)[1][-1]) - float(exact[-1])) > 1


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_five_thousand_steps_neither_underflow_nor_overflow(scale: float) -> None:
    rng = np.random.default_rng(2)
    W = rng.standard_normal((4, 4))
    W = scale * (W + W.T) / np.abs(np.linalg.eigvalsh(W + W.T)).max()
    result = analyse(rnn(W, 5000, "identity"), ONLY)
    assert np.isfinite(result.log10_norms).all()
    assert np.isfinite(result.singular_values).all()
    slope = np.polyfit(np.arange(1, 5001), result.log10_norms, 1)[0]
    J, sizes = np.tile(W, (5000, 1, 1)), np.sort(np.abs(np.linalg.eigvalsh(W)))
    settled = (sizes[-2] / sizes[-1]) ** (2 * result.warmup)
    assert abs(slope - np.log10(scale)) < bounds.singular_values(J)
    assert abs(result.exponents[0] - np.log(scale)) < settled + bounds.exponents(J)
    assert result.verdict == ("vanishing" if scale < 1 else "exploding")
