"""Methods: what they return is what they say, and never looks better than it is."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import arrays, examples, problems, raw, rebuilt

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit, value_and_gradient
from bdtheory.methods import Given, implicit, penalty
from bdtheory.methods.bmo import closed_form_weights, fit_jointly
from bdtheory.methods.certify import lower_bound
from bdtheory.methods.implicit import (
    _Trace,
    divergence,
    random_masses,
    regularised_descent_left,
    slope,
    small,
    start_again,
)
from bdtheory.methods.online import Round
from bdtheory.methods.penalty import _Objective
from bdtheory.methods.run import descent_left
from bdtheory.weights import auc, gather, spread

LEARNERS = [
    bdt.Implicit(max_iterations=20, restarts=1),
    bdt.Penalty(max_iterations=10),
    bdt.Penalty(max_iterations=10, value_function=False),
    bdt.BMO(steps=20),
]
BASELINES = [bdt.Uniform(), bdt.ValidationOnly(), bdt.DirectMixing(ratio=0.3)]


def noisy(seed=0, N=80, p=4, m=40, corrupt=0.4, **kwargs):
    """Ridge data of which the first rows are clean: (problem, clean)."""
    rng = np.random.default_rng(seed)
    theta0 = rng.standard_normal(p)
    X = rng.standard_normal((N + 2 * m, p))
    y = X @ theta0 + 0.1 * rng.standard_normal(len(X))
    clean = np.arange(N) >= corrupt * N
    y[:N][~clean] = 2 * rng.standard_normal((~clean).sum()) + 1
    data = {"train": (X[:N], y[:N]), "val": (X[N : N + m], y[N : N + m])}
    return bdt.Problem(bdt.Ridge(1e-2), **data, test=(X[N + m :], y[N + m :]), **kwargs), clean


def interpolating(seed=0, p=20, m=30, useful=9, useless=6, mu=0.0):
    """theory.md's instance with A1-A5 and S_val a point; the first rows are useful."""
    rng = np.random.default_rng(seed)
    theta0, X_val = rng.standard_normal(p), rng.standard_normal((m, p))
    X = rng.standard_normal((useful + useless, p))
    y = X @ theta0
    y[useful:] += 1 + rng.random(useless)
    problem = bdt.Problem(bdt.Ridge(mu), train=(X, y), val=(X_val, X_val @ theta0))
    return problem, np.arange(useful + useless) < useful


@pytest.mark.parametrize("method", LEARNERS + BASELINES, ids=repr)
@examples(6, whole_runs=True)
@given(problem=problems(least_N=5))
def test_what_is_returned_is_what_it_says(method, problem):
    fit = bdt.learn_weights(problem, method)
    assert fit.weights.shape == (problem.N,) and np.all(fit.weights >= 0)
    assert fit.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert isinstance(fit.val_loss, float) and fit.test_loss is None
    assert fit.val_loss == pytest.approx(
        float(np.mean(problem.model.losses(fit.theta, problem.val))), rel=1e-12
    )
    assert fit.status in (bdt.Status.CERTIFIED, bdt.Status.STATIONARY, bdt.Status.MAX_ITERATIONS)
    lengths = {len(fit.history[k]) for k in ("iteration", "seconds", "val_loss")}
    assert len(lengths) == 1 and lengths.pop() >= 1
    assert np.all(np.diff(fit.history["seconds"]) >= 0)
    if not isinstance(method, bdt.DirectMixing | bdt.ValidationOnly):
        exact = refit(problem, fit.weights)
        np.testing.assert_allclose(fit.theta, exact.theta, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", LEARNERS, ids=repr)
@examples(6, whole_runs=True)
@given(problem=problems(least_N=5))
def test_never_worse_than_uniform_weights_on_validation(method, problem):
    uniform = bdt.learn_weights(problem, bdt.Uniform()).val_loss
    assert bdt.learn_weights(problem, method).val_loss <= uniform * (1 + 1e-9)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 5.0])
@examples(10)
@given(problem=problems())
def test_direct_mixing_is_stationary_in_its_own_objective(ratio, problem):
    """grad L_val + (lam/N) sum grad l_i + mu theta = 0 (intercept without mu)."""
    theta = bdt.learn_weights(problem, bdt.DirectMixing(ratio=ratio)).theta
    model, ones = problem.model, np.ones
    grad = model.weighted_gradient(theta, ones(problem.m) / problem.m, problem.val)
    grad = grad + model.weighted_gradient(theta, ratio * ones(problem.N) / problem.N, problem.train)
    ridge = model.mu * theta
    if model.fit_intercept:
        ridge[-1] = 0
    assert np.abs(grad + ridge).max() <= 1e-10 * (1 + np.abs(problem.train.X).sum())
    if ratio == 0.0:
        only = bdt.learn_weights(problem, bdt.ValidationOnly())
        np.testing.assert_array_equal(only.theta, theta)


def permuted(problem, X, y, rng):
    rows = rng.permutation(problem.N)
    return X[rows], y[rows]


def with_copies(problem, X, y, rng):
    rows = np.r_[np.arange(problem.N), rng.integers(0, problem.N, 5)]
    return X[rows], y[rows]


@pytest.mark.parametrize("change", [permuted, with_copies])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_learned_validation_loss_does_not_depend_on_order_or_copies(change, classes):
    """Learned weights are not unique, the value is: to 1e-6 (overdetermined, N >> p)."""
    train, val = arrays(3, 60, 3, 25, classes)
    model = bdt.Logistic(1e-2) if classes else bdt.Ridge(1e-2)
    problem = bdt.Problem(model, train=train, val=val)
    X, y = change(problem, *raw(problem)[0], np.random.default_rng(0))
    one = bdt.learn_weights(problem, bdt.Implicit())
    other = bdt.learn_weights(rebuilt(problem, X, y), bdt.Implicit())
    assert other.val_loss == pytest.approx(one.val_loss, abs=1e-6)
    assert one.val_loss < bdt.learn_weights(problem, bdt.Uniform()).val_loss - 1e-3


def test_learners_find_the_bad_samples_and_the_baselines_do_not():
    problem, clean = noisy()
    for method in LEARNERS:
        fit = bdt.learn_weights(problem, method)
        assert auc(fit.weights, clean) > 0.6, method  # optimal weights are far from unique
        assert fit.test_loss < 0.01 < 0.03 < bdt.learn_weights(problem, bdt.Uniform()).test_loss
    assert auc(bdt.learn_weights(problem, bdt.DirectMixing(1.0)).weights, clean) == 0.5


@pytest.mark.parametrize("method", [bdt.Implicit(), bdt.BMO(), bdt.Penalty()], ids=repr)
def test_without_ridge_useless_samples_get_exactly_zero_and_a_certificate(method):
    problem, useful = interpolating()
    fit = bdt.learn_weights(problem, method)
    assert fit.status is bdt.Status.CERTIFIED
    assert fit.val_loss < 1e-20
    np.testing.assert_array_equal(fit.weights[~useful], 0.0)
    mixed = bdt.learn_weights(problem, bdt.DirectMixing(ratio=1e-3)).val_loss
    assert mixed > 1e-8  # direct mixing is biased at every ratio


def trap(mu):
    """C15: N = 30 samples, p = 60; interior weights interpolate whatever they are."""
    rng = np.random.default_rng(1)
    p, N, m = 60, 30, 10
    theta0, X = rng.standard_normal(p) / np.sqrt(p), rng.standard_normal((N, p))
    X_val = rng.standard_normal((m, p))
    y = X @ theta0
    y[15:] += 2 * rng.standard_normal(15)
    return bdt.Problem(bdt.Ridge(mu), train=(X, y), val=(X_val, X_val @ theta0))


@pytest.mark.parametrize("mu", [1e-2, 1e-4, 1e-6])
def test_the_trap_of_inert_weights_is_escaped(mu):
    uniform = bdt.learn_weights(trap(mu), bdt.Uniform()).val_loss
    assert bdt.learn_weights(trap(mu), bdt.Implicit()).val_loss < 0.1 * uniform


def test_stationary_means_that_no_shift_of_mass_descends():
    problem, _ = noisy(N=40, p=3, m=6, corrupt=0.8)
    fit = bdt.learn_weights(problem, bdt.Implicit(max_iterations=300))
    assert fit.status in (bdt.Status.STATIONARY, bdt.Status.CERTIFIED)
    train, val = arrays(1, 60, 40, 100)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
    short = bdt.learn_weights(problem, bdt.Penalty(max_iterations=1))
    assert short.status is bdt.Status.MAX_ITERATIONS
    g = bdt.hypergradient(problem, short.weights)[1]
    promise = short.weights @ g - g.min()
    exact = refit(problem, short.weights)
    assert descent_left(problem, short.weights, exact) == pytest.approx(promise, rel=1e-12)
    assert promise > 1e-3 * short.val_loss
    assert f"{promise:.1e}" in short.message


@examples(25)
@given(problem=problems())
def test_no_weights_go_below_the_lower_bound(problem):
    rng = np.random.default_rng(0)
    lower, infimum = lower_bound(problem)
    assert infimum <= lower + 1e-12
    for w in rng.dirichlet(np.full(problem.N, 0.3), size=5):
        w = np.maximum(w, 1e-9)
        value = float(np.mean(problem.model.losses(refit(problem, w).theta, problem.val)))
        assert value >= lower - 1e-10


def test_the_dual_bound_is_tight_where_validation_is_not_separable():
    train, val = arrays(1, 20, 3, 60, 2)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)
    free = bdt.Problem(bdt.Logistic(0.0), train=val, val=val)
    best = bdt.learn_weights(free, bdt.Uniform()).val_loss
    assert lower_bound(problem)[0] == pytest.approx(best, rel=1e-9)
    assert lower_bound(problem)[0] <= best


def test_a_small_loss_without_a_bound_is_not_certified():
    """theory.md: training target 1, validation target 0: V_BDS = .5 although inf L_val = 0."""
    one = np.ones((1, 1))
    problem = bdt.Problem(bdt.Ridge(0.0), train=(one, np.ones(1)), val=(one, np.zeros(1)))
    lower, infimum = lower_bound(problem)
    assert infimum == 0.0 and lower == pytest.approx(0.5, rel=1e-14)
    fit = bdt.learn_weights(problem, bdt.Implicit())
    assert fit.status is bdt.Status.CERTIFIED and fit.val_loss == pytest.approx(0.5, rel=1e-14)


def test_the_exact_bound_under_a2_against_single_samples():
    """V_BDS = min over i of min over S_i of L_val (C16), each by an optimistic re-fit alone."""
    problem, _ = interpolating(m=8, useful=0, useless=6)
    singles = [
        float(np.mean(problem.model.losses(refit(problem, e).theta, problem.val)))
        for e in np.eye(problem.N)
    ]
    lower, infimum = lower_bound(problem)
    assert lower == pytest.approx(min(singles), rel=1e-8, abs=1e-14)
    assert infimum <= lower


@pytest.mark.parametrize("classes", [0, 2])
def test_penalty_gradient_equals_differences_and_tends_to_the_hypergradient(classes):
    """C06(b): gamma (l_i(theta_gamma) - l_i(theta(w))) -> dL_val/dw_i with error ~ 1/gamma."""
    train, val = arrays(5, 12, 4, 6, classes)
    model = bdt.Logistic(0.1) if classes else bdt.Ridge(0.1)
    problem = bdt.Problem(model, train=train, val=val)
    w = np.random.default_rng(0).dirichlet(np.ones(12))
    objective = _Objective(problem, 10.0, True)
    _, grad, _ = objective(w)
    for i in (0, 5):
        h = 1e-5 * np.eye(12)[i]
        slope = (objective(w + h)[0] - objective(w - h)[0]) / 2e-5
        assert grad[i] == pytest.approx(slope, rel=1e-5, abs=1e-8)
    exact = value_and_gradient(problem, refit(problem, w))[1]
    errors = [
        np.linalg.norm(_Objective(problem, gamma, True)(w)[1] - exact) for gamma in (1e2, 1e3, 1e4)
    ]
    assert np.linalg.norm(exact) > 1e-3
    np.testing.assert_allclose(np.array(errors[1:]) / errors[:-1], 0.1, rtol=0.15)


def test_without_the_value_function_the_gradient_is_the_loss():
    train, val = arrays(5, 12, 4, 6)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
    w = np.full(12, 1 / 12)
    _, grad, _ = _Objective(problem, 7.0, False)(w)
    theta = fit_jointly(problem, w, 7.0, None).theta
    np.testing.assert_allclose(grad, 7.0 * problem.model.losses(theta, problem.train), rtol=1e-12)


def test_closed_form_weights_minimise_their_objective():
    """softmax(-l / tau) has a lower F_w + tau KL(w, uniform) than any other weights (C08)."""
    problem, _ = noisy()
    theta, tau = np.zeros(4), 0.7
    losses = problem.model.losses(theta, problem.train)

    def objective(w):
        return w @ losses + tau * np.sum(w * np.log(w * problem.N))

    w = closed_form_weights(problem, theta, tau)
    smin = -tau * np.log(np.mean(np.exp(-losses / tau)))
    assert objective(w) == pytest.approx(smin, rel=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = w * np.exp(0.1 * rng.standard_normal(problem.N))
        assert objective(other / other.sum()) > smin


@pytest.mark.parametrize("method", LEARNERS, ids=repr)
def test_groups_share_one_weight_and_the_bad_source_loses(method):
    problem, clean = noisy()
    groups = np.where(clean, "good", "bad").astype(object)
    groups[:4] = "mixed"
    (X, y), val = raw(problem)
    grouped = bdt.Problem(problem.model, train=(X, y), val=val, groups=groups)
    fit = bdt.learn_weights(grouped, method)
    mass = {g: fit.weights[groups == g] for g in ("good", "bad", "mixed")}
    for w in mass.values():
        assert np.ptp(w) <= 1e-15
    assert fit.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert mass["good"].mean() > mass["bad"].mean()


# Implicit(tau): L_val + tau KL(w, uniform) --------------------------------------------------------

UNEVEN = np.repeat([0, 1, 2, 3], [5, 15, 20, 40])  # groups of different sizes, for `noisy`


def regularised(problem, w, tau):
    """L_val(theta(w)) + tau sum_i w_i log(N w_i), written out."""
    value = float(np.mean(problem.model.losses(refit(problem, w).theta, problem.val)))
    return value + tau * float(np.sum(w[w > 0] * np.log(problem.N * w[w > 0])))


@pytest.mark.parametrize("groups", [None, UNEVEN])
def test_the_regularised_optimum_satisfies_its_first_order_condition(groups):
    """g_i + tau log w_i is the same for all i; with groups, mean g + tau log(v_g / n_g).

    The minimiser ends where a step gains 1e-10, and r_i off the mean promise sum w_i r_i^2 / 2 tau.
    """
    (problem, _), tau = noisy(groups=groups), 0.02
    fit = bdt.learn_weights(problem, bdt.Implicit(tau=tau, max_iterations=2000))
    g = gather(bdt.hypergradient(problem, fit.weights)[1], groups)
    log_w = gather(np.log(fit.weights), groups)  # of a group: that of each of its samples
    assert np.ptp(g + tau * log_w) < 5e-3 * np.ptp(g)
    assert np.ptp(g) > 0.01 and np.ptp(log_w) > 0.5
    assert fit.status is bdt.Status.STATIONARY and not fit.certificate
    assert -1e-15 < regularised_descent_left(problem, fit.weights, tau) < 1e-8  # 0 to rounding


def test_the_regularised_optimum_is_lower_than_what_is_around_it():
    (problem, _), tau, rng = noisy(groups=UNEVEN), 0.02, np.random.default_rng(0)
    w = bdt.learn_weights(problem, bdt.Implicit(tau=tau, max_iterations=2000)).weights
    least = regularised(problem, w, tau)
    for _ in range(20):
        other = w * np.exp(0.05 * rng.standard_normal(4))[UNEVEN]
        assert 0 < regularised(problem, other / other.sum(), tau) - least < 1e-3
    for tau_0 in (0.0, 0.2):  # the optimum of another temperature is another one
        other = bdt.learn_weights(problem, bdt.Implicit(tau=tau_0)).weights
        assert regularised(problem, other, tau) > least + 1e-4


@pytest.mark.parametrize("groups", [None, UNEVEN])
def test_a_large_tau_gives_uniform_samples_and_a_first_order_expansion(groups):
    """w_i = (1/N) (1 - (g_i - mean g) / tau + O(tau^-2)), g at uniform weights, of groups means."""
    problem, _ = noisy(groups=groups)
    uniform = np.full(problem.N, 1 / problem.N)
    g = bdt.hypergradient(problem, uniform)[1]
    g = g if groups is None else gather(g, groups)[groups]
    first, errors = -(g - g.mean()) / problem.N, []
    for tau in (30.0, 300.0):
        fit = bdt.learn_weights(problem, bdt.Implicit(tau=tau, max_iterations=2000))
        errors.append(np.linalg.norm(tau * (fit.weights - uniform) - first) / np.linalg.norm(first))
    assert 1e-5 < errors[1] < 0.2 * errors[0] < 0.02
    assert np.abs(fit.weights * problem.N - 1).max() > 1e-4


def test_samples_that_are_all_equal_get_equal_weights_whatever_their_groups():
    one = np.ones((9, 2))
    problem = bdt.Problem(
        bdt.Ridge(0.1), (one, one[:, 0]), (one, one[:, 0]), groups=[0, 0, 0, 0, 0, 0, 1, 1, 2]
    )
    fit = bdt.learn_weights(problem, bdt.Implicit(tau=0.1))
    np.testing.assert_allclose(fit.weights, 1 / 9, rtol=1e-6)
    assert fit.status is bdt.Status.STATIONARY


def test_a_group_is_its_samples_weighted_alike():
    """Copies of four rows as four groups, and the rows with those masses and that divergence."""
    problem, _ = noisy(N=4)
    (X, y), val = raw(problem)
    codes, tau = np.repeat(np.arange(4), [1, 2, 4, 1]), 0.05
    grouped = bdt.Problem(problem.model, train=(X[codes], y[codes]), val=val, groups=codes)
    free = bdt.Problem(problem.model, train=(X[codes], y[codes]), val=val)
    one, other = (
        bdt.learn_weights(p, bdt.Implicit(tau=tau, max_iterations=2000)) for p in (grouped, free)
    )
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-5)
    assert one.val_loss == pytest.approx(other.val_loss, rel=1e-5)
    assert np.ptp(one.weights) > 0.05


@pytest.mark.parametrize("groups", [None, UNEVEN])
def test_divergence_and_its_slope(groups):
    """sum_g v_g log(v_g N / n_g), and its derivative in v_g by central differences; 0 log 0 = 0."""
    G = 80 if groups is None else 4
    v = np.random.default_rng(0).dirichlet(np.ones(G))
    n = np.ones(G) if groups is None else np.bincount(groups)
    assert divergence(spread(v, groups)) == pytest.approx(np.sum(v * np.log(v * 80 / n)), rel=1e-12)
    assert divergence(np.full(80, 1 / 80)) == pytest.approx(0.0, abs=1e-14)
    assert divergence(np.eye(80)[3]) == pytest.approx(np.log(80), rel=1e-14)

    def unnormalised(v):  # for masses of any sum
        w = spread(v, groups)
        return np.sum(w * np.log(80 * w))

    got = gather(slope(spread(v, groups)), groups)
    for k in range(4):
        h = 1e-6 * v[k] * np.eye(G)[k]
        expected = (unnormalised(v + h) - unnormalised(v - h)) / (2e-6 * v[k])
        assert got[k] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert np.isfinite(slope(np.array([0.0, 1.0]))).all() and slope(np.array([0.0, 1.0]))[0] < -100


@pytest.mark.parametrize("groups", [None, UNEVEN])
def test_what_a_linear_loss_still_promises(groups):
    """The least of w'.g + tau KL(w') found by search among softmaxes; tau -> 0: w.g - min g."""
    (problem, _), rng = noisy(groups=groups), np.random.default_rng(0)
    G = 80 if groups is None else 4
    w = spread(rng.dirichlet(np.ones(G)), groups)
    g = bdt.hypergradient(problem, w)[1]
    tau = 0.5 * np.ptp(gather(g, groups))
    there = np.exp(-gather(g, groups) / tau) * (1 if groups is None else np.bincount(groups))
    there = spread(there / there.sum(), groups)
    promise = regularised_descent_left(problem, w, tau)
    assert promise == pytest.approx(tau * np.sum(w * np.log(w / there)), rel=1e-10)
    assert promise == pytest.approx(
        (w - there) @ g + tau * (divergence(w) - divergence(there)), rel=1e-10
    )
    cold = regularised_descent_left(problem, w, 1e-9)
    assert cold == pytest.approx(descent_left(problem, w, refit(problem, w)), rel=1e-5)


def test_the_best_of_the_path_is_that_of_the_regularised_loss():
    problem, _ = noisy()
    far, near = np.eye(80)[0], np.full(80, 1 / 80)
    for tau, best, value in ((0.0, far, 1.0), (0.1, far, 1.0 + 0.1 * np.log(80)), (1.0, near, 2.0)):
        trace = _Trace(None, tau)
        for w, val_loss in ((far, 1.0), (near, 2.0)):
            trace.record(w, val_loss)
        assert trace.best[1] is best and trace.best[0] == pytest.approx(value, rel=1e-14)
        assert trace.history()["val_loss"].tolist() == [1.0, 2.0]
    seen = []
    fit = bdt.learn_weights(problem, bdt.Implicit(tau=0.1), callback=lambda i, w: seen.append(w))
    values = [regularised(problem, w, 0.1) for w in seen]
    assert regularised(problem, fit.weights, 0.1) == pytest.approx(min(values), rel=1e-6)
    assert fit.val_loss > fit.history["val_loss"].min() * 1.01  # of which the best is another one


# Where Implicit starts ----------------------------------------------------------------------------


def test_implicit_draws_starts_with_most_mass_on_few_entries():
    """Dirichlet(1/2) in G = 5: means 1/G, variances (1 - 1/G) / (G (G/2 + 1))."""
    v = random_masses(5, 20_000, seed=3)
    assert v.shape == (20_000, 5) and v.min() >= 0
    np.testing.assert_allclose(v.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(v.mean(axis=0), 0.2, atol=0.007)  # 5 standard errors
    np.testing.assert_allclose(v.var(axis=0), 0.8 / (5 * 3.5), rtol=0.06)
    np.testing.assert_array_equal(random_masses(5, 20_000, 3), v)
    assert np.abs(random_masses(5, 20_000, 4) - v).max() > 0.5


def tall(N, p, noise=1.0, classes=0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, p))
    y = X @ np.ones(p) + noise * rng.standard_normal(N)
    y = y if not classes else np.arange(N) % classes
    model = bdt.Logistic(1e-2) if classes else bdt.Ridge(1e-9)
    return bdt.Problem(model, train=(X, y), val=(X[:20], y[:20]))


def test_implicit_starts_again_where_it_is_cheap_or_weights_may_be_inert():
    def again(problem):
        w = np.full(problem.N, 1 / problem.N)
        return start_again(problem, refit(problem, w))

    assert small(tall(1000, 4)) and not small(tall(1001, 4))
    assert small(tall(1000, 2, classes=2)) and not small(tall(1000, 2, classes=3))
    assert again(tall(1000, 4)) and not again(tall(1001, 4))  # a small problem
    assert again(tall(99, 50, 9.0)) and not again(tall(101, 50, 9.0))  # few for the parameters
    assert not again(tall(100, 50, 9.0))
    # What the uniform fit leaves, noise^2 of (noise^2 + p): it interpolates below 2%.
    for share, interpolates in ((0.01, True), (0.019, True), (0.021, False), (0.5, False)):
        problem = tall(1001, 4, noise=0.0)
        y = problem.train.y + np.sqrt(share / (1 - share)) * rest(problem)
        problem = bdt.Problem(problem.model, (problem.train.X, y), (problem.val.X, problem.val.y))
        assert again(problem) is interpolates


def rest(problem):
    """Noise that no theta fits, of the size of the targets."""
    X, y = problem.train.X, problem.train.y
    e = np.random.default_rng(1).standard_normal(len(y))
    e -= X @ np.linalg.lstsq(X, e)[0]
    return e * np.linalg.norm(y) / np.linalg.norm(e)


def test_implicit_lifts_starts_off_zero_only_where_weights_are_regularised_and_mu_positive():
    groups = np.repeat([0, 1], [20, 60])
    v = np.array([1.0, 0.0])
    for tau, mu in ((0.0, 1e-2), (0.1, 0.0), (0.1, 1e-2), (1.0, 1e-2)):
        lifted = 1e-3 if tau * mu > 0 else 0.0
        plain, _ = noisy()
        problem = bdt.Problem(bdt.Ridge(mu), *raw(plain), groups=groups)
        found = bdt.Implicit(tau=tau)._inside(problem, v)
        uniform = np.array([0.25, 0.75])  # by samples: that is where the divergence is from
        np.testing.assert_allclose(found, (1 - lifted) * v + lifted * uniform, rtol=1e-12)
    without = SimpleNamespace(model=SimpleNamespace())  # a model that says nothing of a mu
    assert bdt.Implicit(tau=0.1)._inside(without, v) is v


@pytest.mark.parametrize("near_a_trap", [False, True])
@pytest.mark.parametrize("optimal", [False, True])
def test_implicit_goes_elsewhere_where_there_may_be_better(near_a_trap, optimal, monkeypatch):
    elsewhere = []
    monkeypatch.setattr(implicit, "start_again", lambda problem, uniform: near_a_trap)
    monkeypatch.setattr(bdt.Implicit, "_optimal", lambda *_: optimal)
    monkeypatch.setattr(bdt.Implicit, "_descend_from_elsewhere", lambda *_: elsewhere.append(1))
    bdt.learn_weights(noisy()[0], bdt.Implicit(max_iterations=1))
    assert len(elsewhere) == (near_a_trap and not optimal)


def test_implicit_with_tau_is_stationary_where_a_shift_promises_at_most_tol_of_the_loss():
    problem, _ = noisy()
    w = np.random.default_rng(0).dirichlet(np.full(problem.N, 5.0))
    found = bdt.learn_weights(problem, Given(w))
    share = regularised_descent_left(problem, found.weights, 0.1) / found.val_loss
    assert found.val_loss < 0.5 and share > 0.1  # so that a product is no quotient
    for tol, status in ((1.01, bdt.Status.STATIONARY), (0.99, bdt.Status.MAX_ITERATIONS)):
        judged = bdt.Implicit(tau=0.1, tol=tol * share)._judged(problem, found)
        assert judged.status is status
        np.testing.assert_array_equal(judged.weights, found.weights)


def test_implicit_is_done_within_eps_of_the_lower_bound():
    problem, _ = noisy()
    lower, infimum = lower_bound(problem)
    for factor in (1.0, 100.0):
        scaled = bdt.Problem(
            problem.model,
            (problem.train.X, factor * problem.train.y),
            (problem.val.X, factor * problem.val.y + 3.0 * (factor > 1)),
        )
        lower, infimum = lower_bound(scaled)
        room = 0.01 * max(1.0, infimum)
        method = bdt.Implicit(eps=0.01)
        assert (infimum > 1.0) is (factor > 1)
        assert method._optimal(scaled, lower + 0.99 * room)
        assert not method._optimal(scaled, lower + 1.01 * room)


def test_more_tau_spreads_weights_at_the_price_of_validation_loss():
    problem, _ = noisy()
    fits = [bdt.learn_weights(problem, bdt.Implicit(tau=tau)) for tau in (0.01, 0.1, 1.0)]
    for less, more in pairwise(fits):
        assert divergence(more.weights) < 0.8 * divergence(less.weights)
        assert more.val_loss > 1.01 * less.val_loss
    assert all(fit.weights.min() > 0 for fit in fits)


def test_starts_at_zero_weights_are_left_where_tau_is_positive():
    """Where weights are nearly inert it starts from sparse ones too; none may stay at 0."""
    problem, tau = trap(1e-2), 0.1
    fit = bdt.learn_weights(problem, bdt.Implicit(tau=tau))
    assert fit.status is bdt.Status.STATIONARY
    sparse = bdt.learn_weights(problem, bdt.BMO()).weights
    v = bdt.Implicit(tau=tau)._inside(problem, sparse)
    assert sparse.min() == 0 < v.min() and v.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(v, sparse, atol=2e-3)
    assert bdt.Implicit(tau=tau)._inside(trap(0.0), sparse).min() == 0  # faces matter at mu = 0
    uniform = np.full(30, 1 / 30)
    assert regularised(problem, fit.weights, tau) < 0.1 * regularised(problem, uniform, tau)
    short = bdt.learn_weights(problem, bdt.Implicit(tau=1e-3, max_iterations=1, restarts=0))
    assert short.status is bdt.Status.MAX_ITERATIONS and "still promises" in short.message


def test_without_minimiser_tau_does_not_hide_it():
    X, y = np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1, 1, 0, 0])
    problem = bdt.Problem(bdt.Logistic(0.0), train=(X, y), val=(X, y))
    assert bdt.learn_weights(problem, bdt.Implicit(tau=0.1)).status is bdt.Status.DIVERGED


@pytest.mark.parametrize("method", [*LEARNERS, bdt.Implicit(tau=0.01)], ids=repr)
def test_torch_in_torch_out_with_the_same_values(method):
    problem, _ = noisy(N=30)
    (X, y), (X_val, y_val) = raw(problem)
    tensors = bdt.Problem(
        problem.model,
        train=(torch.tensor(X), torch.tensor(y)),
        val=(torch.tensor(X_val), torch.tensor(y_val)),
    )
    fit, same = bdt.learn_weights(problem, method), bdt.learn_weights(tensors, method)
    assert isinstance(same.weights, torch.Tensor) and isinstance(same.theta, torch.Tensor)
    assert same.weights.dtype == torch.float64
    assert same.val_loss == pytest.approx(fit.val_loss, abs=1e-8)


def test_float32_stays_float32_and_close():
    problem, _ = noisy()
    (X, y), (X_val, y_val) = raw(problem)
    f4 = np.float32
    single = bdt.Problem(
        problem.model, train=(X.astype(f4), y.astype(f4)), val=(X_val.astype(f4), y_val.astype(f4))
    )
    fit = bdt.learn_weights(single, bdt.Implicit(max_iterations=20))
    assert fit.weights.dtype == f4 and fit.theta.dtype == f4
    reference = bdt.learn_weights(problem, bdt.Implicit(max_iterations=20)).val_loss
    assert fit.val_loss == pytest.approx(reference, rel=1e-2)


@pytest.mark.parametrize("method", LEARNERS, ids=repr)
def test_a_callback_sees_every_step_and_can_stop(method):
    problem, _ = noisy()
    seen = []

    def callback(iteration, weights):
        seen.append((iteration, weights.sum()))
        return iteration == 2

    fit = bdt.learn_weights(problem, method, callback=callback)
    assert [i for i, _ in seen] == [0, 1, 2] == fit.history["iteration"].tolist()
    assert all(s == pytest.approx(1.0) for _, s in seen)
    assert fit.val_loss <= fit.history["val_loss"].min() * (1 + 1e-9)


def test_the_same_seed_gives_the_same_bytes():
    train, val = arrays(3, 6, 9, 4)
    problem = bdt.Problem(bdt.Ridge(1e-3), train=train, val=val)
    one = bdt.learn_weights(problem, bdt.Implicit(max_iterations=15), seed=5)
    other = bdt.learn_weights(problem, bdt.Implicit(max_iterations=15), seed=5)
    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.theta.tobytes() == other.theta.tobytes()


class GradientsOnly:
    """Squared loss with nothing but losses and gradients: no `fit`, so nothing exact."""

    prepare, losses = bdt.Ridge(0.0).prepare, bdt.Ridge(0.0).losses
    weighted_gradient = bdt.Ridge(0.0).weighted_gradient

    def initial_theta(self, data):
        return np.zeros(data.X.shape[1])


@pytest.mark.parametrize("method", LEARNERS[1:], ids=repr)
def test_losses_and_gradients_are_enough_for_penalty_and_bmo(method):
    problem, clean = noisy()
    (X, y), val = raw(problem)
    bare = bdt.Problem(GradientsOnly(), train=(X, y), val=val)
    fit = bdt.learn_weights(bare, method)
    assert fit.status is bdt.Status.MAX_ITERATIONS and not fit.certificate
    assert auc(fit.weights, clean) > 0.6
    exact = bdt.Problem(bdt.Ridge(0.0), train=(X, y), val=val)
    np.testing.assert_allclose(fit.theta, refit(exact, fit.weights).theta, atol=1e-4)


def test_implicit_needs_an_exact_refit_and_says_so():
    problem, _ = noisy()
    bare = bdt.Problem(GradientsOnly(), *raw(problem))
    for call in (
        lambda: bdt.learn_weights(bare, bdt.Implicit()),
        lambda: bdt.hypergradient(bare, np.ones(80)),
    ):
        with pytest.raises(TypeError, match=r"no derivative of theta\(w\); needed .* try"):
            call()


BAD_ARGUMENTS = [
    lambda: bdt.Implicit(max_iterations=0),
    lambda: bdt.Implicit(max_iterations=2.5),
    lambda: bdt.Implicit(restarts=-1),
    lambda: bdt.Implicit(tol=0.0),
    lambda: bdt.Implicit(eps=-1.0),
    lambda: bdt.Implicit(tau=-0.1),
    lambda: bdt.Implicit(tau=float("inf")),
    lambda: bdt.Penalty(gamma=0.0),
    lambda: bdt.Penalty(value_function="yes"),
    lambda: bdt.BMO(gamma=float("nan")),
    lambda: bdt.BMO(steps=0),
    lambda: bdt.BMO(hot=1.0, cold=2.0),
    lambda: bdt.DirectMixing(ratio=-0.1),
    lambda: bdt.DirectMixing(ratio="1"),
    lambda: bdt.Uniform(eps=0.0),
    lambda: bdt.learn_weights(noisy()[0], "implicit"),
    lambda: bdt.learn_weights(noisy()[0], bdt.Implicit),
    lambda: bdt.learn_weights("problem", bdt.Implicit()),
]


@pytest.mark.parametrize("case", range(len(BAD_ARGUMENTS)))
def test_bad_arguments_are_refused_in_one_sentence(case):
    with pytest.raises(ValueError) as error:
        BAD_ARGUMENTS[case]()
    message = str(error.value)
    assert "needed" in message and "try" in message and "\n" not in message


POSITIVE = [
    *((bdt.Implicit, name) for name in ("tol", "eps")),
    *((bdt.Penalty, name) for name in ("gamma", "tol", "eps")),
    *((bdt.BMO, name) for name in ("gamma", "cold", "tol", "eps", "tau", "clip")),
    (bdt.Uniform, "eps"),
]


@pytest.mark.parametrize("method, name", POSITIVE)
def test_arguments_of_any_positive_size_and_no_other(method, name):
    for value in (1e-300, 0.5, 2.0):
        assert getattr(method(**{name: value}), name) == value
    for value in (0.0, -0.5, -2.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"{name} is {value}; needed a finite number > 0; try"):
            method(**{name: value})


def test_arguments_at_the_ends_of_their_ranges():
    assert bdt.Implicit(tau=0.0, restarts=0, max_iterations=1).restarts == 0
    assert bdt.DirectMixing(ratio=0.0).ratio == 0.0 and bdt.DirectMixing(0.5).ratio == 0.5
    assert bdt.Penalty(max_iterations=1).max_iterations == bdt.BMO(steps=1).steps == 1
    assert bdt.BMO(hot=0.11).hot == 0.11 and bdt.BMO(clip=None).clip is None
    assert bdt.BMO(hot=2.0, cold=1.9).cold == 1.9
    for hot, cold in (
        (0.1, None),
        (1.9, 1.9),
    ):  # hot > cold, whose default of a trained model is .1
        with pytest.raises(ValueError, match=f"hot is {hot}; needed a finite number > {hot}"):
            bdt.BMO(hot=hot, cold=cold)


def test_default_arguments_are_part_of_what_a_name_says():
    """A file of results says "BMO()": with another default that would be another method."""
    said = {
        bdt.Implicit: "max_iterations=100, restarts=4, tol=0.001, eps=1e-06, tau=0.0",
        bdt.Penalty: "gamma=None, value_function=None, max_iterations=50, tol=0.001, eps=1e-06",
        bdt.BMO: "gamma=1.0, steps=60, hot=10.0, cold=None, tol=0.001, eps=1e-06, tau=1.0, "
        "clip=10.0, grouped=False",
        bdt.Uniform: "eps=1e-06",
    }
    for method, arguments in said.items():
        assert repr(method()) == f"{method.__name__}({arguments})"


def test_methods_of_equal_arguments_are_equal_and_keep_them():
    for method in (*LEARNERS, *BASELINES):
        assert {method: 1}[replace(method)] == 1
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'eps'"):
            method.eps = 0.5
    assert bdt.BMO(steps=3) != bdt.BMO(steps=4) and bdt.Uniform() != bdt.ValidationOnly()


@pytest.mark.parametrize("refine", [False, True])
def test_arguments_reach_what_trains_a_model(refine):
    """The selectors of the single loop, from `learn_weights` and from `refine`."""
    model = SimpleNamespace(training=SimpleNamespace(selector_rate=0.3))
    task = SimpleNamespace(N=4, groups=None, group_names=None, model=model)
    base, log_pi = np.array([0.1, 0.2, 0.3, 0.4]), np.array([np.nan, np.nan, -1.0, -2.0])
    given_ = Round(base, np.array([0, 1, 0, 1]), log_pi)

    def selector(method):
        return method.online(task, given_, "question") if refine else method.selector(task)

    for method, shares in [
        (bdt.Penalty(), (0.5, 0.5)),
        (bdt.Penalty(gamma=3.0), (0.25, 0.75)),
        (bdt.BMO(), (0.5, 0.5)),
        (bdt.BMO(gamma=3.0), (0.25, 0.75)),
        (bdt.DirectMixing(3.0), (0.25, 0.75)),
        (bdt.ValidationOnly(), (1.0, 0.0)),
        (bdt.Uniform(), (0.0, 1.0)),
    ]:
        made = selector(method)
        assert made.shares(1.0) == pytest.approx(shares)
        np.testing.assert_allclose(made.weights, base if refine else 0.25, rtol=1e-12)
    for value_function, kept in ((None, False), (False, False), (True, True)):
        made = selector(bdt.Penalty(value_function=value_function))
        assert made.value_function is kept and not made.follows
    losses = np.array([1.0, 2.0, 3.0, 5.0])
    made = selector(bdt.Penalty(gamma=2.0))  # a step of mirror descent, rate .3 times gamma
    made.update(1.0, np.arange(4), losses)
    v = np.exp(-0.6 * losses) if not refine else base * np.exp(-0.6 * np.array([2, 3.5, 2, 3.5]))
    np.testing.assert_allclose(made.weights, v / v.sum(), rtol=1e-12)
    if refine:
        return
    for arguments, taus in (({}, (10.0, 0.1)), ({"hot": 4.0, "cold": 2.0}, (4.0, 2.0))):
        made = bdt.BMO(**arguments).selector(task)
        for progress, tau in zip((0.0, 1.0), taus, strict=True):
            made.update(progress, np.arange(4), losses)
            e = np.exp(-losses / (tau * losses.mean()))
            np.testing.assert_allclose(made.weights, e / e.sum(), rtol=1e-12)


def test_direct_mixing_says_whose_weights_these_are():
    problem, _ = noisy()
    for method, said in (
        (bdt.DirectMixing(0.5), "its weights select nothing"),
        (Given(np.ones(problem.N), ratio=0.5), "at weights that were given"),
    ):
        fit = bdt.learn_weights(problem, method)
        assert fit.message == f"theta minimises the mixed loss; {said}"


# The path of BMO, and the schedule of Penalty ----------------------------------------------------


def path(method, problem):
    """(weights at every step, the selection)."""
    seen = []
    fit = bdt.learn_weights(problem, method, callback=lambda k, w: seen.append(np.asarray(w)))
    return seen, fit


@pytest.mark.parametrize("classes", [0, 2])
def test_bmo_alternates_the_two_exact_minimisations_at_the_stated_temperatures(classes):
    train, val = arrays(5, 12, 4, 6, classes)
    model = bdt.Logistic(0.1) if classes else bdt.Ridge(0.1)
    problem = bdt.Problem(model, train=train, val=val)
    seen, fit = path(bdt.BMO(gamma=2.0, steps=3, hot=4.0, cold=1.0), problem)

    def fitted(w):
        return fit_jointly(problem, w, 2.0, None).theta

    w = np.full(12, 1 / 12)
    theta = fitted(w)
    mean = np.mean(model.losses(theta, problem.train))
    for k, tau in enumerate((None, 4.0, 2.0, 1.0)):
        if tau is not None:
            w = np.exp(-model.losses(theta, problem.train) / (tau * mean))
            w, theta = w / w.sum(), fitted(w / w.sum())
        np.testing.assert_allclose(seen[k], w, rtol=1e-6)
    assert len(seen) == 4 and np.ptp(w) > 0.05
    best = int(np.argmin(fit.history["val_loss"]))
    np.testing.assert_allclose(fit.weights, seen[best], rtol=1e-9)


def test_bmo_ends_when_one_sample_is_left_and_not_before():
    X = np.ones((3, 1))
    for y, left, early in (([0.0, 0.0, 3.0], 2.0, False), ([0.0, 0.1, 3.0], 1.0, True)):
        problem = bdt.Problem(bdt.Ridge(1e-2), train=(X, y), val=(X[:1], [0.0]))
        seen, _ = path(bdt.BMO(), problem)
        assert (len(seen) < 61) is early
        sizes = [1 / np.sum(w**2) for w in seen]
        assert sizes[-1] == pytest.approx(left, abs=1e-3) and sizes[0] == pytest.approx(3.0)
        if early:
            assert sizes[-1] < 1.001 <= sizes[-2]


def test_bmo_has_nothing_to_anneal_where_all_losses_are_zero():
    X = np.eye(3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=(X, np.zeros(3)), val=(X, np.zeros(3)))
    seen, fit = path(bdt.BMO(), problem)
    assert len(seen) == 1 and fit.val_loss == 0.0
    np.testing.assert_allclose(fit.weights, 1 / 3, rtol=1e-12)


@pytest.mark.parametrize("value_function", [None, False, True])
@pytest.mark.parametrize(
    "gamma, steps",
    [(None, [1, 10, 100, 1e3]), (0.5, [0.5]), (10.0, [1, 10]), (10.5, [1, 10, 10.5])],
)
def test_penalty_grows_tenfold_to_gamma(gamma, steps, value_function, monkeypatch):
    made = []

    class Noted(_Objective):
        def __init__(self, problem, gamma, value_function):
            super().__init__(problem, gamma, value_function)
            made.append((gamma, value_function))

    monkeypatch.setattr(penalty, "_Objective", Noted)
    method = bdt.Penalty(gamma=gamma, value_function=value_function, max_iterations=1)
    bdt.learn_weights(noisy()[0], method)
    assert made == [(pytest.approx(step), value_function is not False) for step in steps]


@pytest.mark.parametrize("model", [bdt.Ridge(0.3), bdt.Ridge(0.3, fit_intercept=True)], ids=repr)
def test_penalty_value_is_that_of_its_definition(model):
    """L_val + gamma (F_w - v(w)) with both ridge terms, an intercept without; and without v(w)."""
    train, val = arrays(5, 12, 4, 6)
    train = (train[0], train[1] + 3.0)
    problem = bdt.Problem(model, train=train, val=val)
    w, gamma = np.random.default_rng(0).dirichlet(np.ones(12)), 5.0
    theta, phi = fit_jointly(problem, w, gamma, None).theta, refit(problem, w).theta

    def lower(t):
        return w @ model.losses(t, problem.train) + 0.15 * np.sum(t[:4] ** 2)

    base = np.mean(model.losses(theta, problem.val))
    for kept in (False, True):
        value = _Objective(problem, gamma, kept)(w)[0]
        expected = base + gamma * (lower(theta) - (lower(phi) if kept else 0.0))
        assert value == pytest.approx(expected, rel=1e-9)
    assert abs(theta[-1]) > 0.1 and lower(theta) > lower(phi) > 0.1


@pytest.mark.parametrize("mu", [None, 0.3])
def test_penalty_adds_the_ridge_that_a_model_of_the_user_has(mu):
    """All rows of theta where nothing is said of an intercept; none without a mu."""
    problem, _ = noisy()
    model = GradientsOnly()
    if mu is not None:
        model.mu = mu
    bare = bdt.Problem(model, *raw(problem))
    w = np.full(problem.N, 1 / problem.N)
    theta = fit_jointly(bare, w, 2.0, None).theta
    value = _Objective(bare, 2.0, False)(w)[0]
    lower = w @ bare.model.losses(theta, bare.train) + 0.5 * (mu or 0.0) * theta @ theta
    assert value == pytest.approx(mean_loss(bare, theta, bare.val) + 2.0 * lower, rel=1e-12)


def test_a_lower_level_without_minimiser_is_diverged_not_success():
    X, y = np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1, 1, 0, 0])
    problem = bdt.Problem(bdt.Logistic(0.0), train=(X, y), val=(X, y))
    for method in (bdt.Implicit(), bdt.Uniform(), bdt.DirectMixing(1.0), bdt.BMO(), bdt.Penalty()):
        fit = bdt.learn_weights(problem, method)
        assert fit.status is bdt.Status.DIVERGED, method
        assert "separable" in fit.message
