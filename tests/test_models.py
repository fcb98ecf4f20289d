"""Ridge and logistic re-fits against known answers, and their statuses where there is none."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, examples, weighted_problems

import bdtheory as bdt
from bdtheory import linalg
from bdtheory.hypergradient import fit_weighted, mean_loss, refit, value_and_gradient
from bdtheory.linalg import (
    conjugate_gradients,
    inverse_spd,
    solve_general,
    solve_spd,
)
from bdtheory.models import newton
from bdtheory.models.curves import curve
from bdtheory.models.fit import Fit
from bdtheory.models.newton import Factor, price
from bdtheory.rowspace import least_norm, row_space

few = examples(40)


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
    assert 0 < fit.distance <= 1e-8 or fit.distance == fit.gap == 0  # solved to the last digit


def test_ridge_dual_equals_primal_and_takes_zero_weights():
    """N < p through the dual against the normal equations, with tiny and zero weights."""
    train, val = arrays(0, 5, 9, 3)
    w = np.array([0.5, 0.0, 1e-9, 0.3, 0.2])
    for mu in (1e-1, 1e-6):
        problem = bdt.Problem(bdt.Ridge(mu), train=train, val=val)
        X, y = train
        expected = np.linalg.solve(X.T @ (w[:, None] * X) + mu * np.eye(9), X.T @ (w * y))
        np.testing.assert_allclose(refit(problem, w).theta, expected, rtol=1e-6, atol=1e-9)


class Off(bdt.Ridge):
    """A ridge whose gradient is off by `error`: what is then said of theta must allow for it."""

    error: np.ndarray

    def weighted_gradient(self, theta, w, data):
        return super().weighted_gradient(theta, w, data) + self.error


@pytest.mark.parametrize("intercept", [False, True])
def test_gap_and_distance_of_the_dual_allow_for_a_gradient_that_is_not_zero(intercept):
    """||H^-1 e|| <= distance for a gradient e, and as much where the bound is tight."""
    (X, y), val = arrays(0, 5, 9, 3)
    X, w, mu = X + 1.0, np.array([0.5, 0.1, 0.2, 0.1, 0.6]), 0.3
    model = Off(mu, intercept)
    problem = bdt.Problem(model, train=(X, y), val=val)
    X = problem.train.X
    ridge = mu * (np.arange(X.shape[1]) < 9)
    H, x_bar = X.T @ (w[:, None] * X) + np.diag(ridge), w @ X[:, :9] / w.sum()
    rng = np.random.default_rng(0)
    free = np.linalg.svd(X[:, :9])[2][-1]  # no row has a part along it
    errors = [*rng.standard_normal((20, X.shape[1])), np.r_[free, [0.0] * intercept]]
    if intercept:
        errors.append(2.0 * np.r_[x_bar, 1.0])  # H times the last unit vector, times 2 / sum w
    for k, error in enumerate(errors):
        object.__setattr__(model, "error", error)
        fit = refit(problem, w)
        true = np.linalg.norm(np.linalg.solve(H, error))
        assert true <= fit.distance * (1 + 1e-9)
        assert fit.gap >= 0.5 * error @ np.linalg.solve(H, error) * (1 - 1e-9)
        assert fit.gap == pytest.approx(0.5 * np.linalg.norm(error) * fit.distance, rel=1e-6)
        if k == 20:
            slack = 1 + np.linalg.norm(x_bar) if intercept else 1.0
            assert fit.distance == pytest.approx(slack / mu, rel=1e-9)
        if k == 21:
            assert fit.distance == pytest.approx(2.0 / w.sum(), rel=1e-6)


@pytest.mark.parametrize("mu, intercept", [(1e-2, False), (1e-2, True), (0.0, False)])
def test_gap_and_distance_of_ridge_in_single_precision_are_the_true_ones(mu, intercept):
    """Within a factor of two of what the same numbers in float64 say, on average over 20 draws."""
    shares = []
    for seed in range(20):
        train, val = arrays(seed, 30, 5, 6)
        w = np.random.default_rng(seed).dirichlet(np.ones(30)).astype("f4")
        sets = [[a.astype("f4") * np.float32(10.0) for a in pair] for pair in (train, val)]
        model = bdt.Ridge(mu, intercept)
        exact = bdt.Problem(model, *([a.astype("f8") for a in pair] for pair in sets))
        fit = refit(bdt.Problem(model, *sets), w)
        best = refit(exact, w.astype("f8")).theta
        off = fit.theta.astype("f8") - best
        X, ridge = exact.train.X, mu * (np.arange(len(best)) < 5)
        gap = 0.5 * off @ (X.T @ (w.astype("f8")[:, None] * X) + np.diag(ridge)) @ off
        shares.append([fit.distance / np.linalg.norm(off), fit.gap / gap])
    assert np.abs(np.mean(np.log2(shares), axis=0)).max() < 1.0


@pytest.mark.parametrize(
    "N, p, mu, intercept",
    [(5, 9, 0.3, False), (5, 9, 0.3, True), (8, 3, 0.3, True), (8, 3, 0.0, False)],
)
def test_ridge_derivatives_at_weights_of_any_sum(N, p, mu, intercept):
    """Against central differences of L_val(theta(w)); at mu = 0 the rows contradict each other."""
    train, val = arrays(0, N, p, 6)
    train[1][0] = 0.0
    problem = bdt.Problem(bdt.Ridge(mu, intercept), train=train, val=val)
    w = 2.3 * np.random.default_rng(1).dirichlet(np.ones(N))

    def value(w):
        return mean_loss(problem, refit(problem, w).theta, problem.val)

    grad = value_and_gradient(problem, refit(problem, w))[1]
    slopes = [(value(w + h) - value(w - h)) / 2e-5 for h in 1e-5 * np.eye(N)]
    np.testing.assert_allclose(grad, slopes, rtol=1e-5, atol=1e-8)
    assert np.abs(grad).min() > 1e-4


@pytest.mark.parametrize("sizes, scaled", [((1, 1e3), False), ((10, 2e6), False), ((1, 1e7), True)])
def test_columns_of_very_different_size_are_scaled_at_mu_zero(sizes, scaled):
    """The tie that x.theta = y leaves open goes to the least norm, there in the columns' units,

    to a power of two: each column then has about half of y, and not all by the larger one.
    """
    X, y, sizes = np.array([sizes]), np.array([2.0]), np.array(sizes)
    fit = refit(bdt.Problem(bdt.Ridge(0.0), train=(X, y), val=(X, y)), np.ones(1))
    share = fit.theta * sizes / 2.0
    expected = np.full(2, 0.5) if scaled else sizes**2 / (sizes @ sizes)
    np.testing.assert_allclose(share, expected, rtol=0.5 if scaled else 1e-9)
    assert share.sum() == pytest.approx(1.0, rel=1e-12)
    assert fit.distance <= 1e-9


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_slopes_make_the_gradient_of_a_loss_from_its_features(classes):
    train, val = arrays(0, 7, 3, 6, classes)
    model = bdt.Logistic(0.1) if classes else bdt.Ridge(0.1)
    problem = bdt.Problem(model, train=train, val=val)
    theta = np.random.default_rng(0).standard_normal((3, 3) if classes == 3 else 3)
    slopes = model.slopes(theta, problem.train)
    for i, e in enumerate(np.eye(7)):
        expected = model.weighted_gradient(theta, e, problem.train)
        grad = np.multiply.outer(problem.train.X[i], slopes[i])
        np.testing.assert_allclose(grad, expected, rtol=1e-10, atol=1e-14)


def test_models_of_equal_arguments_are_equal_and_keep_them():
    for model in (bdt.Ridge(0.5, True), bdt.Logistic(0.5, True)):
        assert {model: 1}[replace(model)] == 1 and replace(model, mu=0.25) != model
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'mu'"):
            model.mu = 0.25  # pyright: ignore[reportAttributeAccessIssue]
        assert type(model)(0.5).fit_intercept is False and repr(model).count("0.5") == 1


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
        assert losses[1] == pytest.approx(np.exp(-30), rel=1e-12, abs=0)
        assert losses[0] == pytest.approx(30.0, rel=1e-12)
        far = problem.model.losses(np.array([800.0]), problem.train)
        np.testing.assert_array_equal(far, [800.0, 0.0, 0.0])
    else:
        losses = problem.model.losses(np.array([[30.0, 0.0, 0.0]]), problem.train)
        assert losses[0] == pytest.approx(2 * np.exp(-30), rel=1e-12, abs=0)
        assert losses[1] == pytest.approx(30.0, rel=1e-12)
        far = problem.model.losses(np.array([[800.0, 0.0, 0.0]]), problem.train)
        np.testing.assert_array_equal(far, [0.0, 800.0, 800.0])


def test_slopes_are_exact_in_both_tails():
    """dl/dT at a margin of 30: -exp(-30) times the number of rivals, not a difference of ones."""
    two = curve(np.array([30.0, -30.0, 800.0, -800.0]), np.ones(4))
    tiny = np.exp(-30) / (1 + np.exp(-30))
    np.testing.assert_allclose(two.slopes, [-tiny, -1 + tiny, 0, -1], rtol=1e-14, atol=0)
    three = curve(np.array([[30.0, -30.0], [0, 0], [0, 0]]), np.zeros(2, dtype=int))
    own = np.array([-2 * np.exp(-30) / (1 + 2 * np.exp(-30)), -1 + np.exp(-30) / 2])
    np.testing.assert_allclose(three.slopes[0], own, rtol=1e-12, atol=0)
    np.testing.assert_allclose(three.slopes.sum(axis=0), 0, atol=1e-16)


@pytest.mark.parametrize("classes", [2, 3])
def test_blocks_of_rows_give_what_all_rows_at_once_give(classes, monkeypatch):
    train, val = arrays(2, 61, 3, 5, classes)
    problem = bdt.Problem(bdt.Logistic(0.05), train=train, val=val)
    w = np.random.default_rng(3).dirichlet(np.ones(61))
    theta = np.random.default_rng(4).standard_normal(refit(problem, w).theta.shape)

    def everything():
        fit, model = refit(problem, w), problem.model
        assert fit.vjp is not None
        losses = model.losses(theta, problem.train)
        return losses, model.weighted_gradient(theta, w, problem.train), fit.theta, fit.vjp(theta)

    whole = everything()
    monkeypatch.setattr(linalg, "ENTRIES", 30)
    assert len(linalg.row_blocks(problem.train.X)) > 3
    for a, b in zip(everything(), whole, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_fits_are_exact_by_default_also_from_a_start_nearby(classes):
    train, val = arrays(2, 60, 3, 5, classes)
    problem = bdt.Problem(bdt.Logistic(0.05), train=train, val=val)
    w, rng = np.full(60, 1 / 60), np.random.default_rng(0)
    near = refit(problem, w * (1 + 1e-3 * rng.standard_normal(60)))
    for fit in (fit_weighted(problem, w, problem.train, near), refit(problem, w, near)):
        assert np.linalg.norm(lower_level_gradient(problem, w, fit.theta)) <= 1e-13
    loose = refit(problem, w, near, rtol=1.0).theta
    assert np.linalg.norm(lower_level_gradient(problem, w, loose)) > 1e-9


@pytest.mark.parametrize("classes", [2, 3])
def test_gap_and_distance_of_a_logistic_fit_that_stops_early(classes):
    """||grad|| / mu and ||grad||^2 / (2 mu), which bound the true ones; without mu nothing does."""
    train, val = arrays(2, 60, 3, 5, classes)
    mu, w = 0.05, np.random.default_rng(3).dirichlet(np.ones(60))
    problem = bdt.Problem(bdt.Logistic(mu), train=train, val=val)
    start, exact = refit(problem, np.full(60, 1 / 60)), refit(problem, w)
    fit = refit(problem, w, start, rtol=0.3)
    size = np.linalg.norm(lower_level_gradient(problem, w, fit.theta))
    assert size > 1e-6 and fit.distance == pytest.approx(size / mu, rel=1e-6)
    assert fit.gap == pytest.approx(0.5 * size**2 / mu, rel=1e-6)
    off = np.linalg.norm(fit.theta - exact.theta)
    assert exact.distance < 1e-9 < 0.01 * fit.distance < off <= fit.distance
    X, y = np.ones((4, 1)), np.array([0, 1, 0, 1])
    free = bdt.Problem(bdt.Logistic(0.0), train=(X, y), val=(X, y))
    fit = refit(free, np.full(4, 0.25))  # theta = 0, without any error
    assert fit.converged and fit.theta[0] == 0.0
    assert fit.gap == fit.distance == np.inf


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


def logistic_problem(classes=3, p=5):
    train, val = arrays(8, 60, p, 10, classes)
    return bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "broken",
    [
        lambda g: -g,  # negative definite
        lambda g: g * (-1.0) ** np.arange(g.size).reshape(g.shape),  # indefinite
        lambda g: 0 * g,
        lambda g: np.nan * g,
        lambda g: g * 10.0 ** (6 * (np.arange(g.size) % 3)).reshape(g.shape),  # hopeless: stalls
        lambda g: 1e-12 * g,  # positive, and 12 orders too small
    ],
)
def test_a_broken_preconditioner_costs_time_only(classes, broken):
    """Indefinite, singular, not finite, or stalled: a new factor is made, and the answer stays."""
    problem = logistic_problem(classes, p=30)
    rng = np.random.default_rng(0)
    w, start = rng.dirichlet(np.ones(60)), refit(problem, rng.dirichlet(np.ones(60)))
    for rtol in (0.0, 1e-6):
        factor = Factor()
        factor.solve, factor.debt = broken, 0.0
        fit = refit(problem, w, replace(start, factor=factor), rtol=rtol)
        assert fit.converged and fit.message == "" and fit.vjp is not None
        assert factor.solve is not broken
        grad = value_and_gradient(problem, fit)[1]
        reference = bdt.hypergradient(problem, w)[1]
        error = np.linalg.norm(grad - reference) / np.linalg.norm(reference)
        assert error <= max(1e-9, rtol)


def test_a_factor_is_kept_while_it_is_good_and_renewed_once_its_debt_equals_its_price():
    """The price of a Hessian of 5 parameters is the least, 4 steps beyond one step for a digit."""
    problem = logistic_problem(2)
    rng = np.random.default_rng(1)
    w = rng.dirichlet(np.ones(60))
    fit = refit(problem, w)
    first = fit.factor.solve
    for _ in range(3):
        fit = refit(problem, w * (1 + 1e-3 * rng.random(60)), fit)
    assert fit.factor.solve is first
    assert price((60, 5), (5,)) == 4.0
    fit.factor.debt = 4.0
    fit = refit(problem, rng.dirichlet(np.ones(60)), fit)
    assert fit.factor.solve is not first and fit.factor.debt < 4.0


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_products_with_the_hessian_are_differences_of_gradients(shape):
    """Also along equal shifts of an unpenalised row, where only the convention has curvature."""
    problem = logistic_problem(max(2, len(shape) * 3 - 3))
    lower = newton.LowerLevel(np.full(60, 1 / 60), problem.train, np.array([0.1] * 4 + [0.0]))
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(shape)
    P = lower.at(theta).P
    H = lower.hessian(P, np.float64)
    for D in (rng.standard_normal(shape), np.ones(shape)):
        ends = [lower.at(theta + h * D).grad for h in (1e-5, -1e-5)]
        HD = lower.product(P, D)
        np.testing.assert_allclose(HD, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(H @ D.reshape(-1), HD.reshape(-1), rtol=1e-10, atol=1e-12)


def test_a_mediocre_factor_runs_up_debt_over_many_solves():
    """Three steps or so where one is meant: every solve adds the difference, none ends it alone."""
    problem = logistic_problem(2)
    lower = newton.LowerLevel(np.full(60, 1 / 60), problem.train, np.full(5, 1e-2))
    P = lower.at(np.zeros(5)).P
    rng, factor, calls = np.random.default_rng(0), Factor(), 0
    old = factor.solve
    factor.debt, debts = 0.0, [0.0]
    while factor.debt < price((60, 5), (5,)) and calls < 20:
        g = rng.standard_normal(5)
        error = lower.product(P, factor(lower, P, g, 0.1)) - g
        assert np.linalg.norm(error) <= 0.1 * np.linalg.norm(g) and factor.solve is old
        debts.append(factor.debt)
        calls += 1
    assert 2 <= calls < 20 and np.all(np.diff(debts) == np.round(np.diff(debts)))
    factor(lower, P, np.ones(5), 0.1)
    assert factor.solve is not old and factor.debt == 0.0


def test_a_factor_in_debt_is_renewed_even_where_it_would_still_do():
    """What is owed was spent: the old inverse is exact here, and no longer asked."""
    problem = logistic_problem(2)
    lower = newton.LowerLevel(np.full(60, 1 / 60), problem.train, np.full(5, 1e-2))
    P, factor, asked = lower.at(np.zeros(5)).P, Factor(), []
    exact = np.linalg.inv(lower.hessian(P, np.float64))
    factor.solve, factor.debt = lambda g: asked.append(g) or exact @ g, 3.9
    factor(lower, P, np.ones(5), 0.1)
    assert len(asked) == 2 and factor.debt < 4.0  # the first step, and its residual
    factor.debt = 4.0
    factor(lower, P, np.ones(5), 0.1)
    assert len(asked) == 2 and factor.debt == 0.0


@pytest.mark.parametrize("classes", [2, 3])
def test_the_size_of_a_right_hand_side_is_no_matter_for_float32(classes):
    problem = logistic_problem(classes)
    lower = newton.LowerLevel(np.full(60, 1 / 60), problem.train, np.full(5, 1e-2))
    shape = (classes, 5) if classes > 2 else (5,)
    P, factor = lower.at(np.zeros(shape)).P, Factor()
    g = np.random.default_rng(0).standard_normal(shape)
    x = factor(lower, P, g, 1e-10)
    for size in (1e-60, 1e60):
        np.testing.assert_allclose(factor(lower, P, size * g, 1e-10) / size, x, rtol=1e-7)
    assert not factor.precise and np.abs(lower.product(P, x) - g).max() < 1e-8


def test_columns_beyond_float32_are_no_overflow():
    """Warnings are errors in this suite; the answer is that of the column in other units."""
    train, val = arrays(8, 60, 5, 10, 2)
    units, w = np.array([1e60, 1, 1, 1, 1]), np.full(60, 1 / 60)
    one, other = (
        refit(bdt.Problem(bdt.Logistic(1e-2), train=(s * train[0], train[1]), val=val), w)
        for s in (units, np.array([1e12, 1, 1, 1, 1]))
    )
    np.testing.assert_allclose(one.theta[1:], other.theta[1:], rtol=1e-6)
    assert one.theta[0] * 1e60 == pytest.approx(other.theta[0] * 1e12, rel=1e-6)


def test_a_step_that_overshoots_is_halved_and_not_taken_for_the_end():
    """From a score of 8 the curvature is e^-8: the full step goes far beyond the minimum."""
    problem = logistic_problem(2)
    lower = newton.LowerLevel(np.full(60, 1 / 60), problem.train, np.full(5, 1e-6))
    start, errors = 4.0 * np.ones(5), []

    def close(old, new, moved, error):
        errors.append(error)
        assert lower.at(new).value < lower.at(old).value
        return error <= 1e-6

    point, converged, _ = newton.newton(lower, start, Factor(), close)
    full = lower.at(start - np.linalg.solve(lower.hessian(lower.at(start).P, np.float64),
                                            lower.at(start).grad))  # fmt: skip
    assert full.value > lower.at(start).value and errors[0] == np.inf
    assert converged and np.linalg.norm(point.grad) < 1e-6 and np.isfinite(errors[-1])


def test_a_direction_of_ascent_is_no_minimum():
    problem = logistic_problem()
    lower = newton.LowerLevel(np.full(60, 1 / 60), problem.train, np.full(5, 1e-2))
    uphill = lambda lower, P, g, rtol: -g  # noqa: E731
    never = lambda *sizes: False  # noqa: E731
    point, converged, why = newton.newton(lower, np.zeros((3, 5)), uphill, never)
    assert not converged and why.startswith("no descent at a gradient of")
    assert not point.theta.any()


@few
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.floats(0.0, 1.0))
def test_the_estimated_error_of_a_newton_step_bounds_the_true_one(seed, classes, level):
    """In the largest score, to its order of magnitude, at every full step to theta(w)."""
    assert max(true_over_estimated(seed, classes, level)) <= 10


def test_the_estimated_error_of_a_newton_step_is_seldom_too_small():
    ratios = [max(true_over_estimated(seed, 2 + seed % 2, 0.01 * seed)) for seed in range(100)]
    assert max(ratios) <= 2 and np.quantile(ratios, 0.9) <= 1 and np.median(ratios) > 1e-3


def true_over_estimated(seed, classes, level):
    """Of the errors in the largest score, at every full step from theta(w') to theta(w)."""
    train, val = arrays(seed, 40, 4, 5, classes)
    problem = bdt.Problem(bdt.Logistic(10 ** (-3 * level)), train=train, val=val)
    rng, steps = np.random.default_rng(seed), []
    w, other = rng.dirichlet(np.ones(40), 2)
    exact, start = refit(problem, w), refit(problem, 5 * other)
    lower = newton.LowerLevel(w, problem.train, np.full(4, problem.model.mu))
    newton.newton(
        lower, start.theta.T, Factor(), lambda old, new, *sizes: bool(steps.append((new, *sizes)))
    )
    assert len(steps) >= 2 and all(moved >= 0 for _, moved, _ in steps)
    true = [lower.largest_score(new - exact.theta.T) for new, _, _ in steps]
    return [max(t - 1e-10, 0.0) / error for t, (_, _, error) in zip(true, steps, strict=True)]


@pytest.mark.parametrize("classes", [2, 3])
def test_an_inverse_that_is_wrong_in_float32_is_replaced_by_a_float64_factor(classes, monkeypatch):
    problem = logistic_problem(classes, p=30)
    w = np.random.default_rng(0).dirichlet(np.ones(60))
    value, grad = bdt.hypergradient(problem, w)
    monkeypatch.setattr(newton, "inverse_spd", lambda H: -np.eye(len(H), dtype=H.dtype))
    assert refit(problem, w).factor.precise
    value_2, grad_2 = bdt.hypergradient(problem, w)
    assert value_2 == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(grad_2, grad, rtol=1e-9, atol=1e-12)


def test_a_factor_is_made_in_float64_where_float32_does_not_do():
    """Columns of size 1e-8 beside columns of size 1: singular in float32 with a ridge of 1e-12."""
    rng = np.random.default_rng(0)
    X = np.hstack([rng.standard_normal((50, 2)), 1e-5 * rng.standard_normal((50, 2))])
    X = np.hstack([X, X[:, :1] + 1e-5 * rng.standard_normal((50, 1))])
    y = rng.integers(0, 2, 50)
    problem = bdt.Problem(bdt.Logistic(1e-12), train=(X, y), val=(X, y))
    fit = refit(problem, np.full(50, 0.02))
    assert fit.converged and fit.factor.precise
    assert not refit(logistic_problem(), np.full(60, 1 / 60)).factor.precise


def test_an_older_fit_keeps_its_derivative_after_a_newer_one_took_its_factor():
    problem, rng = logistic_problem(), np.random.default_rng(2)
    one, other = rng.dirichlet(np.ones(60), 2)
    old = refit(problem, one)
    refit(problem, other, old)
    old.factor.debt = np.inf
    refit(problem, other, old)
    got, needed = value_and_gradient(problem, old)[1], bdt.hypergradient(problem, one)[1]
    np.testing.assert_allclose(got, needed, rtol=1e-8, atol=1e-10)


def test_a_stalled_inner_solve_is_not_called_converged(monkeypatch):
    """Too few Newton steps: the fit says so, with and without rtol, and so does the selection."""
    problem, w = logistic_problem(), np.full(60, 1 / 60)
    monkeypatch.setattr(newton, "MAX_NEWTON", 1)
    for rtol in (0.0, 1e-6):
        fit = refit(problem, w, rtol=rtol)
        assert not fit.converged and "1 Newton steps did not reach a gradient" in fit.message
    with pytest.raises(ValueError, match=r"no exact solution .*1 Newton steps"):
        bdt.hypergradient(problem, w)
    for method in (bdt.Uniform(), bdt.Implicit(max_iterations=2)):
        selection = bdt.learn_weights(problem, method)
        assert selection.status is bdt.Status.DIVERGED
        assert "Newton steps" in selection.message


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("rtol", [0.0, 1e-6])
def test_all_weights_zero_but_one(classes, rtol):
    """theta(e_i) is the fit of sample i alone; at mu = 0 one sample is separable."""
    train, val = arrays(8, 12, 5, 10, classes)
    model = bdt.Logistic(1e-2) if classes else bdt.Ridge(1e-2)
    problem = bdt.Problem(model, train=train, val=val)
    start = refit(problem, np.full(12, 1 / 12))
    for i in (0, 11):
        fit = refit(problem, np.eye(12)[i], start, rtol=rtol)
        assert fit.converged
        alone = model.fit(np.ones(1), problem.train.take(np.array([i])))
        np.testing.assert_allclose(fit.theta, alone.theta, rtol=1e-7, atol=1e-9)
        grad = value_and_gradient(problem, fit)[1]
        assert np.all(np.isfinite(grad)) and np.linalg.norm(grad) > 0
    if classes:
        flat = bdt.Problem(bdt.Logistic(0.0), train=train, val=val)
        fit = refit(flat, np.eye(12)[0], rtol=rtol)
        assert not fit.converged and "separable" in fit.message


EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize(
    "value, slope, values, shrunk, t",
    [
        (0.0, 1.0, [-1e-4], 1.0, 1.0),  # at the condition of Armijo
        (0.0, 1.0, [-0.9e-4, -0.6e-4], 1.0, 0.5),  # 1e-4 t slope is asked for at each t
        (1.0, 1e-16, [1 - 9.5 * EPS, 1 - 10.5 * EPS], 1.0, 0.5),  # flat to 10 eps of the value,
        (1.0, 1e-16, [1 - 9.5 * EPS], 0.5, 1.0),  # where half the gradient is asked for
        (4.0, 1e-16, [4 - 16 * EPS, 3.0], 0.6, 0.5),
        (1.0, -0.5, [], 1.0, None),  # no descent, and nothing is tried
        (1.0, 0.0, [], 1.0, None),
        (1.0, 1.0, [2.0] * 27, 1.0, None),  # down to 1e-8
    ],
)
def test_the_line_search_takes_the_first_step_that_lowers_F_enough(value, slope, values, shrunk, t):
    """With made-up values, and gradients `shrunk` as much, at t = 1, 1/2, ..."""
    tried, left = [], iter(values)

    def at(theta):
        tried.append(float(-theta[0]))
        return newton.Point(theta, next(left), np.array([shrunk]), theta)

    X = SimpleNamespace(dtype=np.float64)
    lower: Any = SimpleNamespace(xp=np, data=SimpleNamespace(X=X), at=at)
    start = newton.Point(np.zeros(1), value, np.array([1.0]), np.zeros(1))
    step = np.array([slope])
    tried_at = [abs(slope) * 0.5**k for k in range(len(values))]
    new, size = newton._line_search(lower, start, step)
    assert tried == pytest.approx(tried_at, rel=1e-15)
    assert (new is None) == (t is None)
    if t is not None:
        assert size == t and new.value == values[-1]


def test_conjugate_gradients_stop_before_a_residual_leaves_float32():
    """H is indefinite, though not along b: the first step makes a residual of 1e20."""
    H, asked = np.array([[1.0, 1e15], [1e15, 1e-5]]), []

    def preconditioner(r):
        asked.append(float(np.max(np.abs(r))))
        return r

    run = conjugate_gradients(
        lambda d: H @ d, np.array([0.0, 1.0]), preconditioner=preconditioner, rtol=0.1, max_steps=9
    )
    assert not run.converged and asked == [1.0]


def test_an_infinite_matrix_gives_no_finite_solution_and_no_foreign_error():
    H = np.array([[1.0, np.inf], [np.inf, 1.0]])
    with np.errstate(invalid="ignore"):
        assert np.all(np.isnan(solve_spd(H)(np.ones(2))))


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
    indefinite = np.array([1.0, -1.0, 1.0])
    bad = conjugate_gradients(
        lambda d: D * d, b, preconditioner=lambda r: indefinite * r, rtol=1e-12, max_steps=50
    )
    assert not bad.converged
    still = conjugate_gradients(lambda d: d, 0 * b, preconditioner=lambda r: r, rtol=1, max_steps=1)
    assert still.converged and still.steps == 0 and not still.x.any()
    wrong = conjugate_gradients(
        lambda d: D * d, b, preconditioner=lambda r: -r, rtol=1e-12, max_steps=5
    )
    assert not wrong.converged


def test_blocks_of_rows_cover_all_and_follow_the_wider_array(monkeypatch):
    monkeypatch.setattr(linalg, "ENTRIES", 12)
    X = np.empty((10, 2))
    ends = {w: [(b.start, b.stop) for b in linalg.row_blocks(X, width=w)] for w in (0, 1, 4, 99)}
    assert ends[0] == ends[1] == [(0, 6), (6, 10)]
    assert ends[4] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert ends[99] == [(i, i + 1) for i in range(10)]
    monkeypatch.setattr(linalg, "ROWS", 4)
    assert [b.stop for b in linalg.row_blocks(X)] == [4, 8, 10]


@pytest.mark.parametrize("K", [0, 3])
def test_sums_over_blocks_of_float32_are_float64(K, monkeypatch):
    """A small row after 2^24 would be lost in a running sum of float32."""
    monkeypatch.setattr(linalg, "ROWS", 1)
    X = np.array([[2.0**24], [1.0], [1.0]], dtype=np.float32)
    u = np.ones((K, 3) if K else 3, dtype=np.float32)
    total = linalg.weighted_rows(u, X)
    assert total.dtype == np.float64 and (total == 2.0**24 + 2).all()


def test_factorisations_on_known_systems():
    H = np.array([[4.0, 2.0], [2.0, 3.0]])
    for A in (H, torch.tensor(H)):
        np.testing.assert_allclose(inverse_spd(A), [[0.375, -0.25], [-0.25, 0.5]], rtol=1e-14)
        assert inverse_spd(A - 5 * A) is None
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


@pytest.mark.parametrize("rtol", [-1e-6, float("nan"), "1", None, True])
def test_a_bad_tolerance_is_refused(rtol):
    problem = logistic_problem()
    with pytest.raises(ValueError, match=r"rtol is .*needed a finite number >= 0.*try"):
        refit(problem, np.full(60, 1 / 60), rtol=rtol)


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


@pytest.mark.parametrize("classes", [2, 3])
def test_a_start_far_out_where_all_losses_are_flat_is_left(classes):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), np.arange(60) % classes
    problem = bdt.Problem(bdt.Logistic(1e-2, fit_intercept=True), train=(X, y), val=(X, y))
    w = np.full(60, 1 / 60)
    cold = refit(problem, w)
    theta = np.zeros_like(cold.theta)
    theta[-1] = 40.0 if classes == 2 else [40.0, -20.0, -20.0]
    far = refit(problem, w, Fit(theta, None, np.inf, np.inf))
    assert far.converged
    np.testing.assert_allclose(far.theta, cold.theta, rtol=1e-8, atol=1e-10)


def test_units_of_one_column_change_no_multinomial_loss():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), np.arange(60) % 3
    losses = []
    for unit in (1e6, 1e12):
        s = X * np.array([unit, 1, 1, 1])
        problem = bdt.Problem(bdt.Logistic(1e-2), train=(s, y), val=(s, y))
        losses.append(bdt.learn_weights(problem, bdt.ValidationOnly()).val_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_targets_beyond_float32_are_refused_where_the_features_are_float32():
    X = np.ones((3, 1), dtype=np.float32)
    with pytest.raises(ValueError, match=r"targets of train reach 1\.0e\+60"):
        bdt.Problem(bdt.Ridge(1e-2), train=(X, [1e60, 0.0, 0.0]), val=(X, np.zeros(3)))


def test_tensors_that_require_gradients_give_plain_results():
    X = torch.ones((3, 1), dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    problem = bdt.Problem(bdt.Ridge(1e-2), train=(X, y), val=(X, y))
    assert not bdt.learn_weights(problem, bdt.Uniform()).theta.requires_grad


@pytest.mark.parametrize("unit", [1.0, 1e6, 1e12])
def test_a_singular_system_is_solved_in_any_units_of_one_entry(unit):
    H = np.array([[unit**2, unit, 0.0], [unit, 3.0, 2.0], [0.0, 2.0, 2.0]])  # rank 2
    x = np.array([2.0 / unit, -1.0, 3.0])
    solution = linalg._solve_semidefinite(H)(H @ x)
    np.testing.assert_allclose(H @ solution, H @ x, rtol=1e-8)
    assert np.linalg.matrix_rank(H / np.outer([unit, 1, 1], [unit, 1, 1])) == 2


@pytest.mark.parametrize("classes", [2, 3])
def test_separated_means_every_margin_above_zero(classes):
    """The line search looks at it where a loss is flat to rounding."""
    train, val = arrays(4, 9, 3, 4, classes)
    problem = bdt.Problem(bdt.Logistic(1e-2, False), train=train, val=val)
    lower = newton.LowerLevel(np.full(9, 1 / 9), problem.train, np.full(3, 1e-2))
    X, y = problem.train.X, train[1]
    one_hot = (y[:, None] == np.arange(classes)) * 1.0
    theta = (np.linalg.pinv(X) @ one_hot).T / 2  # half of least squares: some rows are right
    right = (X @ theta.T).argmax(axis=1) == y
    if classes == 2:
        theta = theta[1] - theta[0]
    assert 0 < right.sum() < 9 and np.abs(X @ theta.T).max() < 1
    fitted = newton.LowerLevel(
        np.full(right.sum(), 0.1), problem.train.take(np.flatnonzero(right)), np.full(3, 1e-2)
    )
    assert not lower.separated(theta) and fitted.separated(theta)


def test_the_price_of_a_hessian_is_a_ratio_of_flops():
    """n = 100, q = 300: (n q^2 + q^3) / (4 n q + 2 q^2) = 3.6e7 / 3e5 = 120, over GEMM = 6."""
    assert price((100, 100), (3, 100)) == pytest.approx(20.0)
    assert price((100, 300), (300,)) == pytest.approx(20.0)


def lower_level(n=40, p=3, K=3, w=None, ridge=None, scale=1.0, seed=5):
    """A weighted logistic loss with an intercept's column, in three classes."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, p - 1)), np.ones(n)]) * scale
    data = newton.Data(X, rng.integers(0, K, n), K)
    w = rng.uniform(0.005, 0.02, n) if w is None else w
    return newton.LowerLevel(w, data, np.array([0.1] * (p - 1) + [0.0]) if ridge is None else ridge)


def test_a_ridge_and_the_sum_of_free_rows_are_in_the_loss():
    """F = sum w l + sum ridge theta^2 / 2 + (sum w) (sum_k theta_kj)^2 / 2 for a free column j."""
    lower, rng = lower_level(), np.random.default_rng(6)
    theta, w, X, y = rng.standard_normal((3, 3)), lower.w, lower.data.X, lower.data.y
    scores = X @ theta.T
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(40), y]
    expected = w @ losses + 0.1 * (theta[:, :2] ** 2).sum() / 2
    expected += w.sum() * theta[:, 2].sum() ** 2 / 2
    assert lower.at(theta).value == pytest.approx(expected, rel=1e-12)
    assert lower.scale == pytest.approx(w @ np.linalg.norm(X, axis=1), rel=1e-12)


@pytest.mark.parametrize(
    ("entries", "zeros", "rows"),
    [(2**19, 0, 40), (2**19, 4, 40), (2**19, 5, 35), (0, 29, 40), (0, 30, 10)],
    ids=["all", "a tenth is 0", "more", "too large a copy", "a quarter is copied"],
)
def test_rows_of_weight_0_are_left_out_where_that_saves_work(entries, zeros, rows, monkeypatch):
    monkeypatch.setattr(newton, "ENTRIES", entries)
    w = np.full(40, 0.01)
    w[:zeros] = 0.0
    lower = lower_level(w=w)
    assert len(lower.data.X) == len(lower.w) == rows
    assert lower.w.sum() == pytest.approx(0.01 * (40 - zeros))


@pytest.mark.parametrize(("scale", "fits"), [(1e14, True), (1e16, False)])
def test_a_hessian_that_float32_cannot_hold(scale, fits):
    assert lower_level(scale=scale).fits_float32() is fits


def test_without_a_ridge_overlapping_classes_have_a_minimiser():
    """mu = 0: the gradient vanishes; only separable data have none."""
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((60, 2)), rng.integers(0, 2, 60)
    problem = bdt.Problem(bdt.Logistic(0.0, False), train=(X, y), val=(X[:5], y[:5]))
    fit = problem.model.fit(np.full(60, 1 / 60), problem.train)
    assert fit.converged
    s = 1 / (1 + np.exp(-(X @ fit.theta)))
    np.testing.assert_allclose(X.T @ (s - y) / 60, 0.0, atol=1e-12)
    assert np.linalg.norm(fit.theta) > 0.05


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_fit_does_not_depend_on_the_unit_of_features(scale):
    """theta(w) for (c X, c^2 mu) is theta(w) / c for (X, mu)."""
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((50, 3)), rng.integers(0, 2, 50)
    w = rng.uniform(0.5, 1.5, 50) / 50

    def fitted(c):
        model = bdt.Logistic(1e-2 * c**2, False)
        problem = bdt.Problem(model, train=(c * X, y), val=(c * X[:5], y[:5]))
        return c * problem.model.fit(w, problem.train).theta

    np.testing.assert_allclose(fitted(scale), fitted(1.0), rtol=1e-9)


LARGE = 2**53  # float64 holds it and the next whole number as one
KINDS = [np.uint64, np.int64, object, list, torch.int64]


def as_kind(values, kind):
    if kind is list:
        return list(values)
    return torch.tensor(values) if kind is torch.int64 else np.array(values, dtype=kind)


@pytest.mark.parametrize("train_kind", KINDS)
@pytest.mark.parametrize("val_kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_whole_labels_beyond_float64_are_told_apart(train_kind, val_kind, classes):
    X = np.random.default_rng(0).standard_normal((12, 2))
    small = np.arange(12) % classes
    large = [LARGE + int(k) for k in small]
    expected = bdt.Problem(bdt.Logistic(0.1), train=(X, small), val=(X[:5], small[:5]))
    problem = bdt.Problem(
        bdt.Logistic(0.1),
        train=(X, as_kind(large, train_kind)),
        val=(X[:5], as_kind(large[:5], val_kind)),
    )
    np.testing.assert_array_equal(problem.train.y, expected.train.y)
    np.testing.assert_array_equal(problem.val.y, expected.val.y)
    assert problem.classes == [LARGE + k for k in range(classes)]


def test_labels_of_several_types_are_compared_exactly():
    X = np.eye(3)
    with pytest.raises(ValueError, match=rf"the label {float(LARGE)!r} at row 1 .*; needed one of"):
        bdt.Problem(
            bdt.Logistic(0.1),
            train=(X, np.array([1, LARGE + 1, 1])),
            val=(X, np.array([1.0, LARGE + 1, 1.0])),  # which float64 rounds to LARGE
        )
    with pytest.raises(ValueError, match=f"the label {LARGE} at row 0"):
        bdt.Problem(
            bdt.Logistic(0.1),
            train=(X, np.array([LARGE + 1, -1, -1])),
            val=(X, np.array([LARGE, LARGE, LARGE], dtype=np.uint64)),
        )
    y = [2**63, 2**63 + 1, -1]  # a list that NumPy would make float64 of
    problem = bdt.Problem(bdt.Logistic(0.1), train=(X, y), val=(X, y))
    assert problem.classes == [-1, 2**63, 2**63 + 1] and problem.val.y.tolist() == [1, 2, 0]


@pytest.mark.parametrize("one", [int, float, bool, np.uint8, np.float32, np.float16, object])
@pytest.mark.parametrize("other", [int, float, bool, np.int16, np.float32, object])
def test_ordinary_labels_may_differ_in_type(one, other):
    X, y = np.eye(3), np.array([0, 1, 1])
    problem = bdt.Problem(bdt.Logistic(0.1), train=(X, y.astype(one)), val=(X, y.astype(other)))
    assert problem.train.y.tolist() == problem.val.y.tolist() == [-1.0, 1.0, 1.0]


@pytest.mark.parametrize("labels", [["0", "1", "1"], [0, np.nan, 1], [0, 1, 2]])
def test_labels_that_training_lacks_are_named(labels):
    X = np.eye(3)
    with pytest.raises(ValueError, match=r"have (the label .* at row \d|nan at row 1).*; needed"):
        bdt.Problem(bdt.Logistic(0.1), train=(X, [0, 1, 1]), val=(X, labels))
