"""Self-refining in closed form: three routes to one round, and what it cannot see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

import bdtheory as bdt
from bdtheory.adaptation import adaptation, refining_round
from bdtheory.models.gaussian import LinearGaussian


def instance(seed=0, p=6, n=12, m=9, rank=4):
    """(X, q, X_val, y_val, theta): noisy validation data of the given rank, hence L_val* > 0."""
    rng = np.random.default_rng(seed)
    X_val = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, p))
    q = rng.dirichlet(np.ones(n))
    return rng.standard_normal((n, p)), q, X_val, rng.standard_normal(m), rng.standard_normal(p)


def direct(X, q, X_val, y_val, gamma, responses):
    """The minimiser as one least-squares fit of scaled rows."""
    val, train = 1 / np.sqrt(len(y_val)), np.sqrt(gamma * q)
    rows = np.vstack([val * X_val, train[:, None] * X])
    return np.linalg.lstsq(rows, np.append(val * y_val, train * responses))[0]


@pytest.mark.parametrize("gamma", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("kind", ["mean", "kept", "sampled"])
@pytest.mark.parametrize("seed", range(5))
def test_a_round_is_a_least_squares_fit(gamma, kind, seed):
    X, q, X_val, y_val, theta = instance(seed)
    rng = np.random.default_rng(seed)
    responses = {
        "mean": None,
        "kept": X @ rng.standard_normal(6),
        "sampled": LinearGaussian(0.3).respond(theta, X, rng),
    }[kind]
    found = refining_round(theta, X, q, X_val, y_val, gamma, responses=responses)
    y = X @ theta if responses is None else responses
    exact = direct(X, q, X_val, y_val, gamma, y)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-10 * np.abs(exact).max())
    assert np.abs(found - theta).max() > 1e-3


def test_a_round_with_equal_shares_is_direct_mixing_of_its_own_responses():
    X, _, X_val, y_val, theta = instance()
    problem = bdt.Problem(bdt.Ridge(0.0), train=(X, X @ theta), val=(X_val, y_val))
    mixed = bdt.learn_weights(problem, bdt.DirectMixing(ratio=0.7)).theta
    found = refining_round(theta, X, np.full(12, 1 / 12), X_val, y_val, 0.7)
    np.testing.assert_allclose(found, mixed, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_the_map_its_fixed_points_and_its_rate(seed):
    X, q, X_val, y_val, theta = instance(seed)
    found = adaptation(X, q, X_val, y_val, 2.0)
    best = found.theta_val
    one = refining_round(theta, X, q, X_val, y_val, 2.0)
    np.testing.assert_allclose(one - best, found.M @ (theta - best), atol=1e-10)
    A = X_val.T @ X_val / 9
    np.testing.assert_allclose(found.M, np.eye(6) - found.G @ A, atol=1e-10)
    eigenvalues = np.sort(np.linalg.eigvals(found.M).real)
    np.testing.assert_allclose(eigenvalues[4:], 1.0, atol=1e-10)
    assert 0 < found.rate < 1 and found.rate == pytest.approx(eigenvalues[3], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_invisible_part_is_a_projection_that_rounds_leave_alone(seed):
    X, q, X_val, y_val, theta = instance(seed)
    found, B = adaptation(X, q, X_val, y_val, 2.0), X.T @ (q[:, None] * X)
    P0 = found.P0
    for product in (P0 @ P0, P0 @ found.M, found.M @ P0):
        np.testing.assert_allclose(product, P0, atol=1e-10)
    np.testing.assert_allclose(X_val @ P0, 0.0, atol=1e-10)
    np.testing.assert_allclose(B @ P0, (B @ P0).T, atol=1e-10)  # orthogonal in the metric B
    assert np.trace(P0) == pytest.approx(2.0)
    limit = found.limit(theta)
    grad = X_val.T @ (X_val @ limit - y_val)
    assert np.abs(grad).max() < 1e-10
    np.testing.assert_allclose(P0.T @ B @ (limit - theta), 0.0, atol=1e-10)  # nearest: optimality
    assert np.abs(limit - found.theta_val).max() > 1e-3


def test_validation_that_sees_all_or_nothing():
    X, q, X_val, y_val, theta = instance(m=20, rank=6)
    seeing = adaptation(X, q, X_val, y_val, 1.0)
    np.testing.assert_array_equal(seeing.P0, 0.0)
    np.testing.assert_allclose(seeing.limit(theta), np.linalg.lstsq(X_val, y_val)[0], atol=1e-10)
    blind = adaptation(X, q, 0 * X_val, 0 * y_val, 1.0)
    np.testing.assert_allclose(blind.P0, np.eye(6), atol=1e-10)
    assert blind.rate == 0.0
    same = refining_round(theta, X, q, 0 * X_val, 0 * y_val, 1.0)
    np.testing.assert_array_equal(same, theta)


def test_noise_is_the_covariance_of_a_round_with_sampled_responses():
    X, q, X_val, y_val, theta = instance()
    model, rng = LinearGaussian(0.4), np.random.default_rng(1)
    draws = [model.respond(theta, X, rng) for _ in range(4000)]
    thetas = [refining_round(theta, X, q, X_val, y_val, 2.0, responses=y) for y in draws]
    C = 0.4**2 * adaptation(X, q, X_val, y_val, 2.0).noise
    # relative error of a trace over 4000 draws: sqrt(2 / 4000) = 2% or less
    assert np.trace(np.cov(np.array(thetas).T)) == pytest.approx(np.trace(C), rel=0.08)


def test_the_generator_is_a_normal_distribution():
    X, _, _, _, theta = instance()
    model, y = LinearGaussian(0.7), np.linspace(-2, 2, 12)
    np.testing.assert_allclose(model.log_probs(theta, X, y), norm.logpdf(y, X @ theta, 0.7))
    draws = np.array([model.respond(theta, X, np.random.default_rng(k)) for k in range(4000)])
    assert np.abs(draws.mean(axis=0) - X @ theta).max() < 5 * 0.7 / np.sqrt(4000)
    assert draws.std(axis=0) == pytest.approx(0.7, rel=0.06)
    again = model.respond(theta, X, np.random.default_rng(0))
    np.testing.assert_array_equal(draws[0], again)


def changed(**kwargs):
    X, q, X_val, y_val, theta = instance()
    given = {"theta": theta, "X": X, "q": q, "X_val": X_val, "y_val": y_val, "gamma": 1.0}
    return given | kwargs


@pytest.mark.parametrize(
    "bad, what",
    [
        ({"gamma": 0.0}, "gamma is 0.0"),
        ({"theta": np.zeros(5)}, r"theta has shape \(5,\)"),
        ({"q": -np.ones(12)}, "q has entries from -1 to -1"),
        ({"q": np.zeros(12)}, "q has entries from 0 to 0"),
        ({"y_val": np.full(9, np.nan)}, "y_val has shape"),
        ({"X": np.ones(12)}, r"X has shape \(12,\)"),
        ({"X_val": np.ones((9, 5))}, "X_val has 5 features"),
        ({"responses": np.zeros(3)}, r"responses has shape \(3,\)"),
        ({"X": np.ones((12, 6))}, r"A \+ gamma B has eigenvalues"),
    ],
)
def test_errors_say_what_was_got_what_was_needed_and_what_to_try(bad, what):
    with pytest.raises(ValueError, match=rf"(?s){what}.*; needed .*; try "):
        refining_round(**changed(**bad))


def test_a_generator_needs_a_spread():
    with pytest.raises(ValueError, match=r"s is 0\.0; needed .*; try s="):
        LinearGaussian(0.0)
