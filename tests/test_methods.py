"""Methods: what they return is what they say, and never looks better than it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import arrays, examples, problems, raw, rebuilt

import bdtheory as bdt
from bdtheory.hypergradient import refit, value_and_gradient
from bdtheory.methods.bmo import closed_form_weights, fit_jointly
from bdtheory.methods.certify import lower_bound
from bdtheory.methods.implicit import _Trace, divergence, regularised_descent_left, slope
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
    assert 0 <= regularised_descent_left(problem, fit.weights, tau) < 1e-8


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


def test_a_lower_level_without_minimiser_is_diverged_not_success():
    X, y = np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1, 1, 0, 0])
    problem = bdt.Problem(bdt.Logistic(0.0), train=(X, y), val=(X, y))
    for method in (bdt.Implicit(), bdt.Uniform(), bdt.DirectMixing(1.0), bdt.BMO(), bdt.Penalty()):
        fit = bdt.learn_weights(problem, method)
        assert fit.status is bdt.Status.DIVERGED, method
        assert "separable" in fit.message
