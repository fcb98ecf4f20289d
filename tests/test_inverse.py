"""Weights under which a given theta solves the lower level, and where `Implicit` starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.methods import inverse
from bdtheory.methods.inverse import inverse_start, inverse_weights
from bdtheory.methods.run import as_weights


def noisy(kind: str, seed: int = 0, *, N=400, m=80, p=4, groups=None, like=np.asarray, unit=1.0):
    """40% of the training targets are wrong. `kind`: ridge, binary or multinomial."""
    rng = np.random.default_rng(seed)
    X, Xv = rng.standard_normal((N, p)), rng.standard_normal((m, p))
    K = {"ridge": 1, "binary": 1, "multinomial": 3}[kind]
    truth = rng.standard_normal((p, K))
    bad = rng.random(N) < 0.4

    def targets(X):
        T = X @ truth
        if kind == "ridge":
            return T[:, 0] + 0.1 * rng.standard_normal(len(X))
        if kind == "binary":
            return np.where(rng.random(len(X)) < 1 / (1 + np.exp(-T[:, 0])), 1.0, -1.0)
        P = np.exp(T) / np.exp(T).sum(1, keepdims=True)
        return np.array([rng.choice(3, p=row) for row in P])

    y, yv = targets(X), targets(Xv)
    y[bad] = rng.permutation(y[bad])
    mu = 1e-2 * unit**2
    model = bdt.Ridge(mu) if kind == "ridge" else bdt.Logistic(mu)
    sets = [(like(unit * X), like(y)), (like(unit * Xv), like(yv))]
    return bdt.Problem(model, train=sets[0], val=sets[1], groups=groups)


def target(problem):
    """theta of validation data alone."""
    return bdt.learn_weights(problem, bdt.ValidationOnly()).theta


KINDS = ("ridge", "binary", "multinomial")


@pytest.mark.parametrize("kind", KINDS)
def test_theta_solves_the_lower_level_of_its_weights(kind, monkeypatch):
    """As the residual's price rises, theta(w) tends to theta, first order in rho."""
    problem = noisy(kind)
    theta, far = target(problem), []
    uniform = refit(problem, np.full(problem.N, 1 / problem.N)).theta
    monkeypatch.setattr(inverse, "TOL", 1e-10)
    monkeypatch.setattr(inverse, "MAX_ITERATIONS", 1000)
    for rho in (1e-3, 1e-4):
        monkeypatch.setattr(inverse, "RHO", rho)
        w = inverse_weights(problem, theta)
        assert w.min() > 0 and w.sum() == pytest.approx(1.0)
        far.append(np.linalg.norm(refit(problem, w).theta - theta))
    assert far[1] == pytest.approx(far[0] / 10, rel=0.2)
    assert 0 < far[0] < 0.05 * np.linalg.norm(uniform - theta)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_the_form_of_the_dual(kind, monkeypatch):
    """log w_i - log q_i = const - a_i.lam with r = rho lam: what makes them the nearest to q."""
    problem = noisy(kind, N=60)
    theta = target(problem)
    monkeypatch.setattr(inverse, "RHO", 3.0)  # lam = r / rho: rounding in r is not to be magnified
    monkeypatch.setattr(inverse, "TOL", 1e-12)
    monkeypatch.setattr(inverse, "MAX_ITERATIONS", 1000)
    w = inverse_weights(problem, theta)
    model, X = problem.model, problem.train.X
    slopes = model.slopes(theta, problem.train).reshape(problem.N, -1)
    r = X.T @ (w[:, None] * slopes) + model.mu * theta.reshape(X.shape[1], -1)
    d = inverse._scale(problem, model.slopes(theta, problem.train), theta.shape).reshape(r.shape)
    rho = inverse.RHO * r.size / problem.N
    lam = d**2 * r / rho  # r = rho lam in the scaled units, d r = rho lam / d
    z = -np.sum(slopes * (X @ lam), axis=1)
    change = np.log(w) - inverse.closed_form(problem, theta)
    np.testing.assert_allclose(change - change.mean(), z - z.mean(), atol=1e-6)
    assert np.ptp(z) > 0.1


def test_closed_form_weights_fall_with_the_loss_but_not_to_nothing():
    problem = noisy("ridge", N=50)
    theta = target(problem)
    l = problem.model.losses(theta, problem.train)
    log_q = inverse.closed_form(problem, theta)
    assert (np.argsort(log_q) == np.argsort(-l)).sum() > 30
    near = l < 2 * l.mean()
    slope = np.polyfit(l[near], log_q[near], 1)[0]
    assert slope == pytest.approx(-1 / (inverse.TAU * l.mean()), rel=1e-9)
    assert (log_q.max(), log_q.min()) == (0.0, -inverse.LARGEST)


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_does_not_depend_on_units(kind):
    w = inverse_start(noisy(kind))[0]
    scaled = inverse_start(noisy(kind, unit=1e3))[0]
    np.testing.assert_allclose(scaled, w, rtol=1e-3, atol=1e-7)


def test_samples_of_a_group_share_their_weight():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 400)
    problem = noisy("ridge", groups=groups)
    w = inverse_start(problem)[0]
    for g in range(12):
        assert np.ptp(w[groups == g]) < 1e-15
    v = inverse_weights(problem, target(problem))
    assert v.shape == (12,)
    np.testing.assert_allclose(as_weights(problem, v), w)
    assert np.ptp(v) > 1e-3


def test_torch_gives_what_numpy_gives():
    w = inverse_start(noisy("multinomial"))[0]
    other = inverse_start(noisy("multinomial", like=torch.as_tensor))[0]
    assert isinstance(other, torch.Tensor)
    np.testing.assert_allclose(other.numpy(), w, rtol=1e-6)


def test_without_a_solution_the_weights_are_still_a_start():
    """One sample, far from what validation says: no weights make theta optimal."""
    X, y = np.array([[1.0], [1.0]]), np.array([5.0, 6.0])
    problem = bdt.Problem(bdt.Ridge(0.1), train=(X, y), val=(X[:1], np.zeros(1)))
    w, near = inverse_start(problem)
    assert np.isfinite(w).all() and w.sum() == pytest.approx(1.0)
    assert 0.9 < w[0] < 1  # the target 5 is the nearer one
    assert near is not None and abs(float(near.theta[0])) < 1e-12
    fit = bdt.learn_weights(problem, bdt.Implicit())
    assert fit.val_loss == pytest.approx(0.5 * (5.0 / 1.1) ** 2, rel=1e-6)


def test_without_a_ridge_the_start_is_uniform():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
    problem = bdt.Problem(bdt.Ridge(0.0), train=(X, y), val=(X[:2], y[:2]))
    w, near = inverse_start(problem)
    assert near is None and (w == 1 / 6).all()


def test_a_start_worse_than_uniform_weights_is_not_the_only_one(monkeypatch):
    """All of the start's mass is on a bad sample; uniform weights are there to fall back on."""
    from bdtheory.methods import implicit

    problem = noisy("ridge", p=2)
    bad = np.argmax((problem.train.y - problem.train.X @ target(problem)) ** 2)
    w = np.full(problem.N, 1e-9)
    w[bad] = 1.0
    monkeypatch.setattr(implicit, "inverse_start", lambda problem: (w / w.sum(), None))
    seen = []
    fit = bdt.learn_weights(
        problem, bdt.Implicit(max_iterations=1), callback=lambda k, w: seen.append(w)
    )
    uniform = bdt.learn_weights(problem, bdt.Uniform())
    assert any(np.ptp(w) == 0 for w in seen)
    assert fit.val_loss <= uniform.val_loss
    own = mean_loss(problem, refit(problem, seen[0]).theta, problem.val)
    assert own > uniform.val_loss


@pytest.mark.parametrize("kind", ["ridge", "binary"])
def test_an_intercept_pulls_on_nothing(kind, monkeypatch):
    """As above with an unpenalised row: a ridge on it would leave theta(w) at a distance."""
    plain, far = noisy(kind), []
    y, y_val = plain.train.y, plain.val.y
    if kind == "ridge":
        y, y_val = y + 5.0, y_val + 5.0
    model = type(plain.model)(plain.model.mu, fit_intercept=True)
    problem = bdt.Problem(model, train=(plain.train.X, y), val=(plain.val.X, y_val))
    theta = target(problem)
    monkeypatch.setattr(inverse, "TOL", 1e-10)
    monkeypatch.setattr(inverse, "MAX_ITERATIONS", 1000)
    for rho in (1e-3, 1e-4):
        monkeypatch.setattr(inverse, "RHO", rho)
        w = inverse_weights(problem, theta)
        far.append(np.linalg.norm(refit(problem, w).theta - theta))
    assert abs(theta[-1]) > 0.01 and far[1] == pytest.approx(far[0] / 10, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_is_solved_within_its_iterations(kind, monkeypatch):
    """The gradient of the dual ends below TOL, in its own units, before MAX_ITERATIONS."""
    runs, minimize = [], inverse.minimize
    monkeypatch.setattr(
        inverse, "minimize", lambda *a, **k: runs.append(minimize(*a, **k)) or runs[-1]
    )
    inverse_start(noisy(kind))
    assert len(runs) == 1 and np.abs(runs[0].jac).max() <= inverse.TOL
    assert 0 < runs[0].nit < inverse.MAX_ITERATIONS


@pytest.mark.parametrize("kind", ["binary", "multinomial"])
def test_the_start_is_made_from_nearly_the_validation_fit(kind):
    problem = noisy(kind)
    exact, near = target(problem), inverse_start(problem)[1]
    assert near is not None
    off = np.linalg.norm(near.theta - exact) / np.linalg.norm(exact)
    assert off <= inverse.ROUGH <= 0.1  # nearly


def test_closed_form_weights_of_groups_are_of_mean_losses():
    groups = np.repeat([0, 1, 2], [50, 150, 200])
    problem = noisy("ridge", groups=groups)
    theta = target(problem)
    losses = problem.model.losses(theta, problem.train)
    l = np.array([losses[groups == g].mean() for g in range(3)])
    expected = -np.minimum((l - l.min()) / (inverse.TAU * l.mean()), inverse.LARGEST)
    np.testing.assert_allclose(inverse.closed_form(problem, theta), expected, rtol=1e-12)
    assert np.ptp(expected) > 0.01


def test_losses_that_are_all_zero_leave_the_closed_form_uniform():
    X = np.eye(3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=(X, np.zeros(3)), val=(X, np.zeros(3)))
    assert (inverse.closed_form(problem, np.zeros(3)) == 0).all()
    np.testing.assert_allclose(inverse_start(problem)[0], 1 / 3, rtol=1e-12)


def test_a_feature_that_validation_data_do_not_have_is_no_division_by_zero():
    plain = noisy("ridge")
    X_val = plain.val.X.copy()
    X_val[:, 0] = 0.0
    problem = bdt.Problem(
        plain.model, train=(plain.train.X, plain.train.y), val=(X_val, plain.val.y)
    )
    w = inverse_start(problem)[0]
    assert np.isfinite(w).all() and w.sum() == pytest.approx(1.0) and np.ptp(w) > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_have_entries_of_size_1_in_the_units_of_the_dual(kind):
    """d times grad l_i, with features as validation rows have them; 1 where these have none."""
    problem = noisy(kind, unit=7.0)
    problem.val.X[:, 0] = 0.0
    theta = target(problem)
    slopes = problem.model.slopes(theta, problem.train)
    d = inverse._scale(problem, slopes, theta.shape)
    size = np.sqrt(np.mean(problem.val.X**2, axis=0) * np.mean(slopes**2))
    assert d.shape == theta.shape and size[0] == 0 and np.all(d[0] == 1.0)
    np.testing.assert_allclose((d.T * size)[..., 1:], 1.0, rtol=1e-12)
