"""Ridge and logistic re-fits against known answers, and their statuses where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrays, weighted_problems

import bdtheory as bdt
from bdtheory.hypergradient import refit
from bdtheory.linalg import conjugate_gradients, least_norm, row_space, solve_general, solve_spd

few = settings(max_examples=40, deadline=None)


def lower_level_gradient(problem, w, theta):
    """Gradient of F_w + ridge at theta, by the models' definitions, written out here."""
    X, y, model = problem.train.X, problem.train.y, problem.model
    T = X @ theta
    if problem.classes is None:
        slopes = T - y
    elif T.ndim == 1:
        slopes = -y / (1 + np.exp(y * T))
    else:
        P = np.exp(T - T.max(axis=1, keepdims=True))
        slopes = P / P.sum(axis=1, keepdims=True) - np.eye(T.shape[1])[y]
    ridge = model.mu * theta
    if model.fit_intercept:
        ridge = ridge * (np.arange(len(theta)) < len(theta) - 1).reshape(-1, *[1] * (T.ndim - 1))
    return X.T @ (slopes * w.reshape(-1, *[1] * (T.ndim - 1))) + ridge


@few
@given(weighted_problems())
def test_theta_of_w_satisfies_its_first_order_condition(case):
    problem, w = case
    fit = refit(problem, w)
    scale = np.abs(problem.train.X).sum()
    assert fit.converged
    assert np.linalg.norm(lower_level_gradient(problem, w, fit.theta)) <= 1e-11 * scale


@few
@given(weighted_problems())
def test_weighted_gradient_equals_finite_differences_of_losses(case):
    problem, w = case
    theta = np.random.default_rng(0).standard_normal(refit(problem, w).theta.shape)
    grad = problem.model.weighted_gradient(theta, w, problem.train)
    direction = np.random.default_rng(1).standard_normal(theta.shape)
    h = 1e-5  # central: truncation h^2 ~ 1e-10, rounding 1e-16 / h ~ 1e-11

    def F(t):
        return w @ problem.model.losses(theta + t * direction, problem.train)

    expected = (F(h) - F(-h)) / (2 * h)
    assert np.sum(grad * direction) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@few
@given(weighted_problems())
def test_bounds_on_gap_and_distance_hold(case):
    """Perturb theta(w) and compare F_w at both: the fit's own bounds are (nearly) zero."""
    problem, w = case
    fit = refit(problem, w)
    if problem.model.fit_intercept and problem.classes is not None:
        assert fit.gap == np.inf  # no strong convexity to lean on: says so
        return
    assert 0 <= fit.gap <= 1e-18 * (1 + np.abs(problem.train.X).sum()) ** 2
    assert 0 < fit.distance <= 1e-8 or not np.any(fit.theta)


def test_ridge_dual_equals_primal_and_takes_zero_weights():
    """N < p through the dual against the normal equations, with tiny and zero weights."""
    train, val = arrays(0, 5, 9, 3)
    w = np.array([0.5, 0.0, 1e-9, 0.3, 0.2])
    for mu in (1e-1, 1e-6):
        problem = bdt.Problem(bdt.Ridge(mu), train=train, val=val)
        X, y = train
        expected = np.linalg.solve(X.T @ (w[:, None] * X) + mu * np.eye(9), X.T @ (w * y))
        np.testing.assert_allclose(refit(problem, w).theta, expected, rtol=1e-6, atol=1e-9)


def test_one_sample_alone_is_fitted_to_the_stated_fraction():
    """w ||x||^2 / (w ||x||^2 + mu), theory.md: a weight matters only near or below mu / ||x||^2."""
    x, mu = np.array([[3.0, 4.0]]), 1e-3
    problem = bdt.Problem(bdt.Ridge(mu), train=(x, np.array([2.0])), val=(x, np.array([2.0])))
    for w in (1e-6, 4e-5, 1.0):
        theta = refit(problem, np.array([w])).theta
        assert (x @ theta)[0] == pytest.approx(2.0 * 25 * w / (25 * w + mu), rel=1e-12)


def test_mu_zero_takes_the_best_or_the_smallest_minimiser():
    """One training row in two dimensions: S(w) is a line; validation sees the free direction."""
    train = (np.array([[1.0, 0.0]]), np.array([1.0]))
    val = (np.array([[1.0, 1.0]]), np.array([5.0]))
    optimistic = refit(bdt.Problem(bdt.Ridge(0.0), train=train, val=val), np.ones(1))
    np.testing.assert_allclose(optimistic.theta, [1.0, 4.0], atol=1e-14)
    smallest = bdt.Ridge(0.0, tie_break="minimum-norm")
    np.testing.assert_allclose(
        refit(bdt.Problem(smallest, train=train, val=val), np.ones(1)).theta, [1.0, 0.0], atol=1e-14
    )


def test_mu_zero_loses_no_positive_weight():
    """Weights over 200 orders of magnitude: the lightest row still decides its own direction."""
    X, y = np.eye(3), np.array([1.0, 2.0, 3.0])
    problem = bdt.Problem(bdt.Ridge(0.0), train=(X, y), val=(X, 0 * y))
    theta = refit(problem, np.array([1.0, 1e-100, 1e-200])).theta
    np.testing.assert_allclose(theta, y, rtol=1e-12)
    theta = refit(problem, np.array([1.0, 1e-100, 0.0])).theta
    np.testing.assert_allclose(theta, [1.0, 2.0, 0.0], atol=1e-12)


def test_mu_zero_with_contradicting_rows_is_the_weighted_mean():
    """S(w) depends on w itself, not on its support alone, where the rows contradict each other."""
    X = np.ones((2, 1))
    problem = bdt.Problem(bdt.Ridge(0.0), train=(X, np.array([1.0, 3.0])), val=(X, np.zeros(2)))
    assert refit(problem, np.array([0.75, 0.25])).theta[0] == pytest.approx(1.5, rel=1e-14)


def test_ridge_is_the_limit_of_mu_to_zero_for_the_minimum_norm():
    train, val = arrays(4, 4, 7, 3)
    w = np.array([0.4, 0.3, 0.2, 0.1])
    model = bdt.Ridge(0.0, tie_break="minimum-norm")
    limit = refit(bdt.Problem(model, train=train, val=val), w).theta
    errors = [
        np.linalg.norm(refit(bdt.Problem(bdt.Ridge(mu), train=train, val=val), w).theta - limit)
        for mu in (1e-3, 1e-5)
    ]
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.05)  # linear in mu


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("intercept", [False, True])
def test_logistic_equals_a_general_purpose_minimiser(classes, intercept):
    train, val = arrays(2, 25, 3, 5, classes)
    problem = bdt.Problem(bdt.Logistic(0.05, intercept), train=train, val=val)
    w = np.random.default_rng(3).dirichlet(np.ones(25))
    fit = refit(problem, w)

    def objective(flat):
        theta = flat.reshape(fit.theta.shape)
        penalised = theta[:-1] if intercept else theta
        return w @ problem.model.losses(theta, problem.train) + 0.025 * np.sum(penalised**2)

    run = scipy.optimize.minimize(
        objective, np.zeros(fit.theta.size), method="BFGS", options={"gtol": 1e-7}
    )
    theta = run.x.reshape(fit.theta.shape)
    if classes > 2 and intercept:
        theta[-1] -= theta[-1].mean()  # the convention: intercepts sum to 0
        assert abs(fit.theta[-1].sum()) < 1e-12
    np.testing.assert_allclose(fit.theta, theta, atol=2e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_are_exact_in_both_tails(classes):
    """A margin of 800 has loss exp(-800) = 0 to double precision, of -800 loss 800; no overflow."""
    X = np.array([[1.0], [1.0], [1.0]])
    y = np.array([0, 1, 1]) if classes == 2 else np.array([0, 1, 2])
    problem = bdt.Problem(bdt.Logistic(1.0), train=(X, y), val=(X, y))
    if classes == 2:
        losses = problem.model.losses(np.array([30.0]), problem.train)
        assert losses[1] == pytest.approx(np.exp(-30), rel=1e-12)
        assert losses[0] == pytest.approx(30.0, rel=1e-12)
        far = problem.model.losses(np.array([800.0]), problem.train)
        np.testing.assert_array_equal(far, [800.0, 0.0, 0.0])
    else:
        losses = problem.model.losses(np.array([[30.0, 0.0, 0.0]]), problem.train)
        assert losses[0] == pytest.approx(2 * np.exp(-30), rel=1e-12)
        assert losses[1] == pytest.approx(30.0, rel=1e-12)
        far = problem.model.losses(np.array([[800.0, 0.0, 0.0]]), problem.train)
        np.testing.assert_array_equal(far, [0.0, 800.0, 800.0])


def test_separable_data_without_ridge_say_so_and_do_not_hang():
    X, y = np.array([[1.0], [2.0], [-1.0]]), np.array([1, 1, 0])
    problem = bdt.Problem(bdt.Logistic(0.0), train=(X, y), val=(X, y))
    fit = refit(problem, np.ones(3) / 3)
    assert not fit.converged and "separable" in fit.message
    selection = bdt.learn_weights(problem, bdt.Uniform())
    assert selection.status is bdt.Status.DIVERGED


def test_a_warm_start_changes_nothing_but_the_work():
    train, val = arrays(8, 60, 5, 10, 3)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)
    rng = np.random.default_rng(0)
    old, new = refit(problem, rng.dirichlet(np.ones(60))), rng.dirichlet(np.ones(60))
    np.testing.assert_allclose(
        refit(problem, new, old).theta, refit(problem, new).theta, rtol=1e-9, atol=1e-11
    )


def test_a_useless_preconditioner_is_replaced():
    """Weights that jump to other samples spoil the old factor; the safeguard factorises anew."""
    rng = np.random.default_rng(0)
    X = np.vstack([1e3 * rng.standard_normal((20, 6)), rng.standard_normal((20, 6))])
    y = np.r_[np.zeros(20), np.ones(20)].astype(int)
    problem = bdt.Problem(bdt.Logistic(1e-8), train=(X, y), val=(X, y))
    first = np.r_[np.full(20, 0.05), np.zeros(20)] + 1e-9
    second = np.r_[np.zeros(20), np.full(20, 0.05)] + 1e-9
    cold, warm = refit(problem, second), refit(problem, second, refit(problem, first))
    assert cold.converged and warm.converged
    np.testing.assert_allclose(
        problem.model.losses(warm.theta, problem.val),
        problem.model.losses(cold.theta, problem.val),
        rtol=1e-6,
        atol=1e-9,
    )


def test_conjugate_gradients_on_known_systems():
    """A = I in one step; a diagonal with exact preconditioner in one; none with a wrong sign."""
    b = np.array([1.0, -2.0, 3.0])
    run = conjugate_gradients(lambda d: d, b, preconditioner=lambda r: r, rtol=1e-12, max_steps=5)
    np.testing.assert_allclose(run.x, b)
    assert run.converged and run.steps == 1
    D = np.array([1.0, 10.0, 100.0])
    run = conjugate_gradients(
        lambda d: D * d, b, preconditioner=lambda r: r, rtol=1e-12, max_steps=5
    )
    np.testing.assert_allclose(run.x, b / D, rtol=1e-10)
    assert run.steps == 3
    bad = conjugate_gradients(lambda d: -d, b, preconditioner=lambda r: r, rtol=1e-12, max_steps=5)
    assert not bad.converged
    wrong = conjugate_gradients(
        lambda d: D * d, b, preconditioner=lambda r: -r, rtol=1e-12, max_steps=5
    )
    assert not wrong.converged


def test_factorisations_on_known_systems():
    H = np.array([[4.0, 2.0], [2.0, 3.0]])
    b = np.array([2.0, 5.0])
    np.testing.assert_allclose(solve_spd(H)(b), np.linalg.solve(H, b), rtol=1e-14)
    singular = np.array([[1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(solve_spd(singular)(np.array([2.0, 2.0])), [1.0, 1.0], rtol=1e-12)
    M = np.array([[0.0, 2.0], [1.0, 0.0]])
    np.testing.assert_allclose(solve_general(M)(b), [5.0, 1.0], rtol=1e-14)


def test_row_space_counts_small_rows_and_not_rounding():
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1e-9, 0.0], [1.0, 1e-9, 0.0]])
    space = row_space(X)
    assert space.V.shape == (3, 2) and space.Z.shape == (3, 1)
    np.testing.assert_allclose(np.abs(space.Z[:, 0]), [0, 0, 1], atol=1e-14)
    np.testing.assert_allclose(least_norm(X[:1], np.array([2.0])), [2.0, 0, 0], atol=1e-14)


@given(st.sampled_from([-1e-3, float("nan"), float("inf"), "1", None, True]))
def test_a_bad_ridge_is_refused_at_construction(mu):
    for model in (bdt.Ridge, bdt.Logistic):
        with pytest.raises(ValueError, match=r"mu is .*needed a finite number >= 0.*try"):
            model(mu)


def test_bad_options_are_refused_at_construction():
    with pytest.raises(ValueError, match="tie_break"):
        bdt.Ridge(0.0, tie_break="optimistic")
    with pytest.raises(ValueError, match="fit_intercept"):
        bdt.Logistic(0.1, fit_intercept=1)  # pyright: ignore


def test_directions_that_validation_sees_by_rounding_only_are_left_alone():
    """Training rows in the row space of X_val: theta once had norm 1e16 on one draw in eight."""
    worst = 0.0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X_val = rng.standard_normal((3, 5))
        X = rng.standard_normal((2, 3)) @ X_val
        problem = bdt.Problem(bdt.Ridge(0.0), train=(X, np.ones(2)), val=(X_val, np.zeros(3)))
        theta = refit(problem, np.ones(2) / 2).theta
        np.testing.assert_allclose(X @ theta, 1.0, rtol=1e-8)
        best = np.linalg.lstsq(np.vstack([1e6 * X, X_val]), np.r_[1e6, 1e6, 0, 0, 0], rcond=None)[0]
        loss, reference = (np.mean((X_val @ t) ** 2) for t in (theta, best))
        assert loss == pytest.approx(reference, rel=1e-4)  # the reference weights rows by 1e12
        worst = max(worst, np.linalg.norm(theta))
    assert worst < 1e4
