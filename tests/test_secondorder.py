"""Second-order steps on group masses: the model's parts, the steps, and the way back to L-BFGS."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bdtheory as bdt
from bdtheory.hypergradient import mean_gradient, mean_loss, refit
from bdtheory.methods import secondorder
from bdtheory.methods.inverse import inverse_start
from bdtheory.methods.run import Trace, as_weights, descent_left, masses, uniform_weights
from bdtheory.methods.secondorder import (
    few_groups,
    gauss_newton,
    group_gradients,
    least_on_simplex,
    minimise_masses,
    secant,
    sensitivity,
)


def sources(K=2, seed=0, *, N=1200, m=100, p=20, G=10, mu=1e-2, like=np.asarray, intercept=False):
    """K classes; in 4 of G groups 80% of the labels are drawn at random."""
    rng = np.random.default_rng(seed)
    X, truth = rng.standard_normal((N + m, p)), rng.standard_normal((p, K))
    y = np.argmax(X @ truth + rng.gumbel(size=(N + m, K)), axis=1)
    groups = rng.integers(0, G, N)
    bad = rng.random(N) < np.where(groups < 4, 0.8, 0.0)
    y[:N][bad] = rng.integers(0, K, bad.sum())
    train, val = (like(X[:N]), like(y[:N])), (like(X[N:]), like(y[N:]))
    return bdt.Problem(bdt.Logistic(mu, fit_intercept=intercept), train, val, groups=groups)


def at_random(problem, seed=1):
    """(v, fit) at masses from the Dirichlet distribution, the factor made at the fit."""
    v = np.random.default_rng(seed).dirichlet(np.ones(len(problem.group_names)))
    fit = refit(problem, as_weights(problem, v))
    secondorder._gradient(problem, fit)
    return v, fit


def steps(problem, **changes):
    """(the last point, whether it is done, L_val at every point) from uniform weights."""
    w, trace = uniform_weights(problem), Trace(None)
    options = {"max_iterations": 100} | changes
    at, done = minimise_masses(problem, w, refit(problem, w), trace, **options)
    return at, done, np.array(trace.val_loss)


CASES = [(2, False), (3, False), (2, True), (3, True)]


@pytest.mark.parametrize(("K", "intercept"), CASES)
def test_sensitivity_is_the_derivative_of_theta(K, intercept):
    problem = sources(K, intercept=intercept)
    v, fit = at_random(problem)
    J = sensitivity(problem, fit)
    for g, e in enumerate(np.eye(len(v))):
        ends = [refit(problem, as_weights(problem, v + h * e)).theta for h in (1e-5, -1e-5)]
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(J[..., g].T, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("K", [2, 3])
def test_group_gradients_are_means(K, monkeypatch):
    problem = sources(K)
    theta = at_random(problem)[1].theta
    slopes = problem.model.slopes(theta, problem.train).reshape(problem.N, -1)
    each = slopes[:, :, None] * problem.train.X[:, None, :]
    expected = np.array([each[problem.groups == g].mean(0) for g in range(10)])
    monkeypatch.setattr("bdtheory.linalg.ENTRIES", 2_000)  # several blocks of rows
    A = group_gradients(problem, theta)
    np.testing.assert_allclose(A.reshape(-1, 20, 10), np.moveaxis(expected, 0, -1), atol=1e-13)


@pytest.mark.parametrize("K", [2, 3])
def test_gauss_newton_is_the_curvature_of_the_validation_loss_along_j(K):
    problem = sources(K)
    _, fit = at_random(problem)
    J = sensitivity(problem, fit)
    change = []
    for g in range(J.shape[-1]):
        ends = [
            mean_gradient(problem, fit.theta + h * J[..., g].T, problem.val) for h in (1e-6, -1e-6)
        ]
        change.append(((ends[0] - ends[1]) / 2e-6).T.reshape(-1))
    expected = np.array(change) @ J.reshape(-1, J.shape[-1])
    B = gauss_newton(problem, fit.theta, J)
    np.testing.assert_allclose(B, expected, atol=1e-6 * np.abs(B).max())
    np.testing.assert_allclose(B, B.T, atol=1e-14 * np.abs(B).max())


def test_the_model_knows_the_last_change_of_the_gradient_and_stays_convex():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 6))
    C = root @ root.T
    points = rng.dirichlet(np.ones(6), size=4)
    seen = [(v, C @ v) for v in points]
    B = secant(np.eye(6), seen)
    last = points[3] - points[2]
    np.testing.assert_allclose(B @ last, C @ last, rtol=1e-9)
    assert np.linalg.eigvalsh(B).min() > 0
    before = secant(np.eye(6), seen[:3])
    assert not np.allclose(B, before)
    bent_down = [*seen[:3], (points[3], seen[2][1] - C @ last)]  # s.y < 0: nothing to learn
    np.testing.assert_array_equal(secant(np.eye(6), bent_down), before)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(-6, 6))
def test_least_on_simplex_meets_the_first_order_conditions(seed, G, size):
    """q = g + B (x - v) is least, and the same, where x > 0. The answer keeps g's constant out."""
    rng = np.random.default_rng(seed)
    root, v = rng.standard_normal((G, G + 2)), rng.dirichlet(np.ones(G))
    B, g = 10.0**size * root @ root.T, 10.0**size * 3 * rng.standard_normal(G)
    x = least_on_simplex(B, g, v)
    assert x is not None and x.min() >= 0 and x.sum() == pytest.approx(1.0)
    q = g + B @ (x - v)
    scale = np.abs(g).max() + np.abs(B).max()
    assert q.min() >= x @ q - 1e-9 * scale
    assert x @ q <= q.min() + 1e-9 * scale
    other = least_on_simplex(B, g + 10.0**size, v)
    assert other is not None and np.abs(other - x).max() < 1e-7


def test_the_unit_of_the_loss_does_not_move_the_minimum():
    rng = np.random.default_rng(0)
    root, g, v = rng.standard_normal((5, 7)), rng.standard_normal(5), rng.dirichlet(np.ones(5))
    x = least_on_simplex(root @ root.T, g, v)
    assert x is not None and 0 < x.max() < 0.9 and np.sum(x > 0) > 1
    for unit in (1e-100, 1e-24, 1e-12, 1e12, 1e24, 1e100):
        other = least_on_simplex(unit * root @ root.T, unit * g, v)
        assert other is not None
        np.testing.assert_allclose(other, x, atol=1e-9)


def test_the_model_is_damped_and_ignores_what_has_no_curvature():
    B = np.array([[3.0, 1.0], [1.0, 1.0]])
    damped = secant(B, [])
    np.testing.assert_allclose(damped - B, secondorder.DAMPING * 2.0 * np.eye(2), rtol=1e-6)
    v, w, g = np.array([0.5, 0.5]), np.array([0.4, 0.6]), np.array([1.0, 2.0])
    for seen in ([(v, g), (v, g)], [(v, g), (w, g)], [(v, g), (v, 2 * g)]):
        np.testing.assert_array_equal(secant(B, seen), damped)
    convex = [(v, g), (w, g + w - v)]
    np.testing.assert_array_equal(secant(np.zeros((2, 2)), convex), np.zeros((2, 2)))
    assert np.abs(secant(B, convex) - damped).max() > 0.1


def test_the_model_learns_from_the_points_seen_last(monkeypatch):
    seen = []
    monkeypatch.setattr(secondorder, "MEMORY", 3)
    monkeypatch.setattr(secondorder, "secant", lambda B, points: seen.append(points) or B)
    trace = Trace(None)
    problem = sources()
    w = uniform_weights(problem)
    visited = [masses(problem, w)]
    trace.record = lambda w, value: visited.append(masses(problem, w))
    minimise_masses(problem, w, refit(problem, w), trace, max_iterations=5)
    assert [len(points) for points in seen] == [1, 2, 3, 3, 3]
    for k, points in enumerate(seen):
        expected = visited[1:][: k + 1][-3:]
        np.testing.assert_allclose([v for v, _ in points], expected, atol=1e-15)


def test_a_model_without_a_minimum_gives_none():
    v = np.full(3, 1 / 3)
    assert least_on_simplex(np.diag([1.0, -1.0, 1.0]), np.arange(3.0), v) is None
    assert least_on_simplex(np.zeros((3, 3)), np.arange(3.0), v) is None
    assert least_on_simplex(np.full((3, 3), np.nan), np.arange(3.0), v) is None


@pytest.mark.parametrize("K", [2, 3])
def test_steps_end_where_no_shift_of_mass_descends_in_few_fits(K):
    problem = sources(K)
    at, done, losses = steps(problem)
    exact = refit(problem, at.w)
    assert done and len(losses) <= 20
    assert (np.diff(losses) < 0).all()
    assert 0 <= descent_left(problem, at.w, exact) <= 1e-5 * at.value
    assert (
        at.value
        == losses[-1]
        == pytest.approx(mean_loss(problem, exact.theta, problem.val), rel=1e-7)
    )
    assert (at.v[:4] == 0).all() and at.v.min() == 0 and at.v.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(masses(problem, at.w), at.v)
    gap = losses[0] - losses[-1]
    assert losses[3] - losses[-1] < 0.01 * gap


@pytest.mark.parametrize("K", [2, 3])
def test_the_first_step_starts_its_fit_close_to_its_end(K, monkeypatch):
    """theta + J d is nearer to theta(v + d) than theta is, by an order of d."""
    problem, starts = sources(K), []

    def spy(problem, w, warm_start, *, rtol):
        fit = refit(problem, w, warm_start, rtol=rtol)
        starts.append((warm_start.theta, fit.theta))
        return fit

    monkeypatch.setattr(secondorder, "refit", spy)
    steps(problem, max_iterations=6)
    far = [np.linalg.norm(end - start) for start, end in starts]
    moved = [np.linalg.norm(b - a) for (_, a), (_, b) in pairwise(starts)]
    assert all(f < 0.5 * s for f, s in zip(far[1:], moved, strict=True))


def test_torch_gives_what_numpy_gives():
    for K in (2, 3):
        at = steps(sources(K))[0]
        other = steps(sources(K, like=torch.as_tensor))[0]
        assert isinstance(other.w, torch.Tensor)
        np.testing.assert_allclose(other.v, at.v, atol=1e-5)
        assert other.value == pytest.approx(at.value, rel=1e-9)


def test_single_precision_is_enough_for_the_same_weights():
    single = steps(sources(3, like=lambda a: a.astype("f4") if a.dtype.kind == "f" else a))[0]
    assert single.w.dtype == np.float32
    assert single.value == pytest.approx(steps(sources(3))[0].value, rel=1e-4)


# Safeguards --------------------------------------------------------------------------------------


def promising(problem):
    """The group to which the gradient at uniform weights promises most: d = e_g - v."""
    fit = refit(problem, uniform_weights(problem))
    return np.eye(10)[np.argmin(secondorder._gradient(problem, fit))]


def test_a_step_that_ascends_is_not_taken_and_lbfgs_goes_on(monkeypatch):
    """A model that sees its minimum at a single group of a few samples, which fits badly."""
    problem = sources(N=200)
    good, vertex, asked = bdt.learn_weights(problem, bdt.Implicit()), promising(problem), []
    uniform = bdt.learn_weights(problem, bdt.Uniform()).val_loss
    there = refit(problem, as_weights(problem, vertex)).theta
    assert mean_loss(problem, there, problem.val) > uniform

    def wrong(B, g, v):
        asked.append(v)
        return vertex

    monkeypatch.setattr(secondorder, "least_on_simplex", wrong)
    monkeypatch.setattr(secondorder, "SHARES", (1.0,))
    at, done, losses = steps(problem)
    assert not done and losses == pytest.approx([uniform]) and len(asked) == 1
    np.testing.assert_allclose(at.v, 0.1)
    fit = bdt.learn_weights(problem, bdt.Implicit())
    assert len(asked) == 3  # once above, once from each of the two starts
    assert fit.val_loss == pytest.approx(good.val_loss, rel=1e-6)


def test_a_step_that_ascends_by_little_is_not_taken(monkeypatch):
    """On the way to a vertex that fits badly L_val falls, and rises again; just behind its value
    at the start the rise is far less than the gradient promised of a descent."""
    problem = sources(N=200)
    v, vertex = np.full(10, 0.1), promising(problem)

    def value(t):
        theta = refit(problem, as_weights(problem, v + t * (vertex - v))).theta
        return mean_loss(problem, theta, problem.val)

    low, high = 0.01, 1.0
    assert value(low) < value(0.0) < value(high)
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if value(middle) < value(0.0) else (low, middle)
    monkeypatch.setattr(secondorder, "SHARES", (1.0,))
    for t, taken in ((0.99 * low, True), (1.01 * high, False)):
        end = v + t * (vertex - v)
        monkeypatch.setattr(secondorder, "least_on_simplex", lambda B, g, v, end=end: end)
        at = steps(problem, max_iterations=1)[0]
        np.testing.assert_allclose(at.v, end if taken else v, atol=1e-12)


def test_without_a_step_lbfgs_does_the_work(monkeypatch):
    problem = sources(3)
    good = bdt.learn_weights(problem, bdt.Implicit())
    monkeypatch.setattr(secondorder, "least_on_simplex", lambda B, g, v: None)
    assert not steps(problem)[1]
    fit = bdt.learn_weights(problem, bdt.Implicit())
    assert fit.status is bdt.Status.STATIONARY
    assert fit.val_loss == pytest.approx(good.val_loss, rel=1e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_of_a_step_too_long_a_part_is_taken(count, monkeypatch):
    """What is asked of a step lies between what two of its parts give of their promise."""
    problem = sources()
    v, w = np.full(10, 0.1), uniform_weights(problem)
    g = secondorder._gradient(problem, refit(problem, w))
    d = steps(problem, max_iterations=1)[0].v - v

    def given(t):
        theta = refit(problem, as_weights(problem, v + t * d)).theta
        start = refit(problem, w).theta
        gain = mean_loss(problem, start, problem.val) - mean_loss(problem, theta, problem.val)
        return gain / (-t * g @ d)

    share = secondorder.SHARES[count - 1]
    monkeypatch.setattr(secondorder, "ENOUGH", 0.5 * (given(share) + given(2 * share)))
    at, _, losses = steps(problem, max_iterations=1)
    np.testing.assert_allclose(at.v, v + share * d, atol=1e-6)
    assert losses[0] - losses[1] == pytest.approx(given(share) * share * -(g @ d), rel=1e-5)


@pytest.mark.parametrize("failing", [1, 3])
def test_a_step_whose_fit_fails_counts_as_too_long(failing, monkeypatch):
    problem, asked = sources(), []
    full = steps(problem, max_iterations=1)[0].v - 0.1

    def fails(problem, w, warm_start, *, rtol):
        asked.append(w)
        fit = refit(problem, w, warm_start, rtol=rtol)
        return replace(fit, converged=len(asked) > failing)

    monkeypatch.setattr(secondorder, "refit", fails)
    at, done, losses = steps(problem, max_iterations=1)
    assert (done, len(losses)) == ((True, 2) if failing == 1 else (False, 1))
    np.testing.assert_allclose(at.v, 0.1 + (0.5 * full if failing == 1 else 0.0), atol=1e-9)


def test_a_start_without_a_fit_says_so():
    problem = sources()
    w = uniform_weights(problem)
    broken = replace(refit(problem, w), converged=False, message="no fit")
    with pytest.raises(FloatingPointError, match="no fit"):
        minimise_masses(problem, w, broken, Trace(None), max_iterations=1)


def test_zeros_come_back_for_lbfgs():
    v = secondorder.revived(np.array([0.0, 0.25, 0.75, 0.0]))
    assert v.sum() == pytest.approx(1.0)
    assert v[0] == v[3] == pytest.approx(secondorder.LEAST / 4, rel=1e-3)
    assert v[2] / v[1] == pytest.approx(3.0)


def test_both_starts_are_tried_uniform_weights_first():
    problem, seen = sources(), []
    bdt.learn_weights(problem, bdt.Implicit(), callback=lambda k, w: seen.append(w))
    np.testing.assert_allclose(masses(problem, seen[0]), 0.1)
    inverse = inverse_start(problem)[0]
    assert sum(np.array_equal(w, inverse) for w in seen) == 1


def test_the_callback_can_stop_the_steps():
    problem, seen = sources(), []
    fit = bdt.learn_weights(
        problem, bdt.Implicit(), callback=lambda k, w: seen.append(w) or len(seen) == 3
    )
    assert len(seen) == 3 == len(fit.history["val_loss"])
    np.testing.assert_allclose(fit.weights, seen[-1])


def test_where_steps_of_second_order_are_used():
    assert few_groups(sources()) and few_groups(sources(3, G=64))
    assert not few_groups(sources(G=65))
    assert not few_groups(sources(mu=0.0))
    X, y = np.eye(4), np.array([0, 1, 0, 1])
    assert not few_groups(bdt.Problem(bdt.Logistic(0.1), (X, y), (X, y)))
    ridge = bdt.Problem(bdt.Ridge(0.1), (X, 1.0 * y), (X, 1.0 * y), groups=y)
    assert not few_groups(ridge)


def test_the_regularised_problem_keeps_to_first_order(monkeypatch):
    """Steps of second order know nothing of tau."""
    monkeypatch.setattr(secondorder, "least_on_simplex", lambda B, g, v: pytest.fail("called"))
    fit = bdt.learn_weights(sources(), bdt.Implicit(tau=0.1))
    assert fit.status is bdt.Status.STATIONARY and fit.weights.min() > 0
