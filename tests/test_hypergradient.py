"""The hypergradient against finite differences, against other routes, and under symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, examples, raw, rebuilt, weighted_problems

import bdtheory as bdt
from bdtheory.hypergradient import refit, value_and_gradient
from bdtheory.models.newton import LowerLevel

few = examples(40)


def central_differences(problem, w, relative_step=1e-4):
    """dL_val/dw_i by fourth-order central differences.

    Steps of 1e-4 w_i: truncation ~ step^4 of a smooth curve, rounding ~ 1e-14 / step, both below
    the 1e-6 asked for.
    """
    grad = np.empty(problem.N)
    for i in range(problem.N):
        h = relative_step * w[i]

        def value(k, i=i, h=h):
            moved = w.copy()
            moved[i] += k * h
            return bdt.hypergradient(problem, moved)[0]

        grad[i] = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * h)
    return grad


@few
@given(weighted_problems())
def test_equals_central_differences(case):
    problem, w = case
    _, grad = bdt.hypergradient(problem, w)
    reference = central_differences(problem, w)
    floor = 1e-7 * bdt.hypergradient(problem, w)[0] / w.min()  # where all derivatives vanish
    assert np.linalg.norm(grad - reference) <= 1e-6 * np.linalg.norm(reference) + 1e-3 * floor


@pytest.mark.parametrize("N, p", [(12, 4), (4, 12)])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_relative_error_is_below_1e_6_where_the_gradient_is_not_small(N, p, classes):
    train, val = arrays(7, N, p, 6, classes)
    model = bdt.Logistic(0.05) if classes else bdt.Ridge(0.05)
    problem = bdt.Problem(model, train=train, val=val)
    w = np.random.default_rng(1).dirichlet(np.ones(N))
    _, grad = bdt.hypergradient(problem, w)
    reference = central_differences(problem, w)
    assert np.linalg.norm(reference) > 1e-2  # not vacuous
    assert np.linalg.norm(grad - reference) <= 1e-6 * np.linalg.norm(reference)


@examples(60)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 5]), st.sampled_from([1e-2, 1e-4, 1e-6, 1e-8]))
def test_a_tolerance_is_kept_along_a_path_of_weights(seed, classes, rtol):
    """To its order of magnitude, as it is an estimate: one of 20,000 draws was off by 2.4 rtol."""
    assert max(errors_along_a_path(seed, classes, rtol)) <= 10 * rtol


def test_a_tolerance_is_kept_with_room_on_most_paths():
    errors = [max(errors_along_a_path(seed, 2 + seed % 3, 1e-4)) for seed in range(100)]
    assert max(errors) <= 1e-4 and np.quantile(errors, 0.9) <= 1e-5
    assert np.median(errors) > 0  # the tolerance is used


def errors_along_a_path(seed, classes, rtol):
    """Of the hypergradient, relative in norm, at four weights, each fit from the one before it."""
    rng = np.random.default_rng(seed)
    N, p, m = (int(rng.integers(*ends)) for ends in ((10, 80), (1, 12), (1, 20)))
    model = bdt.Logistic(10 ** rng.uniform(-5, 0), bool(rng.integers(2)))
    train, val = arrays(seed, N, p, m, classes)
    problem = bdt.Problem(model, train=train, val=val)
    w, fit, errors = rng.dirichlet(np.ones(N)), None, []
    for _ in range(4):
        w = w * np.exp(rng.choice([0.01, 0.3, 2.0]) * rng.standard_normal(N))
        w /= w.sum()
        fit = refit(problem, w, fit, rtol=rtol)
        grad = value_and_gradient(problem, fit)[1]
        reference = bdt.hypergradient(problem, w)[1]
        assert fit.converged
        errors.append(np.linalg.norm(grad - reference) / np.linalg.norm(reference))
    return errors


@pytest.mark.parametrize("rtol", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_tolerance_bounds_the_scores_where_no_validation_data_are_given(classes, rtol):
    """No score x_i.theta is off by more than a tenth of rtol, from several starts."""
    train, val = arrays(1, 100, 6, 10, classes)
    problem = bdt.Problem(bdt.Logistic(1e-3), train=train, val=val)
    rng, off = np.random.default_rng(0), []
    for _ in range(20):
        w, other = rng.dirichlet(np.full(100, 0.3), 2)
        start = refit(problem, other)
        fit = problem.model.fit(w, problem.train, start, rtol=rtol)
        off.append(np.abs(problem.train.X @ (fit.theta - refit(problem, w).theta)).max())
    assert max(off) <= 0.1 * rtol


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("rtol", [1e-2, 1e-4])
def test_a_tolerance_is_kept_where_the_validation_gradient_vanishes(classes, rtol):
    """Training data are the validation data: grad L_val(theta(1/N)) = -mu theta is tiny, and an
    error of theta that would be small elsewhere is all of it."""
    train, _ = arrays(1, 100, 6, 10, classes)
    problem = bdt.Problem(bdt.Logistic(1e-7), train=train, val=train)
    rng = np.random.default_rng(0)
    w = np.full(100, 0.01)
    for moved in (0.5, 0.1, 0.03):
        start = refit(problem, w * (1 + moved * rng.random(100)))
        grad = value_and_gradient(problem, refit(problem, w, start, rtol=rtol))[1]
        reference = bdt.hypergradient(problem, w)[1]
        assert np.linalg.norm(reference) < 1e-3
        assert np.linalg.norm(grad - reference) <= rtol * np.linalg.norm(reference)


def test_a_tolerance_saves_work(monkeypatch):
    """Products with the Hessian along the same path of weights: fewer for a larger rtol."""
    train, val = arrays(0, 200, 10, 50, 4)
    problem = bdt.Problem(bdt.Logistic(1e-3), train=train, val=val)
    product, count = LowerLevel.product, []
    monkeypatch.setattr(
        LowerLevel, "product", lambda *args: count.append(1) or product(*args), raising=True
    )

    def products(rtol):
        rng, fit = np.random.default_rng(0), None
        count.clear()
        for _ in range(10):
            fit = refit(problem, rng.dirichlet(np.full(200, 5.0)), fit, rtol=rtol)
            value_and_gradient(problem, fit)
        return len(count)

    exact, some, few_digits = products(0.0), products(1e-6), products(1e-2)
    assert few_digits < 0.7 * exact and few_digits < some < exact


@few
@given(weighted_problems())
def test_three_routes_agree_closed_form_generic_and_autograd(case):
    """-grad l_i' H^-1 grad L_val with gradients and Hessian from torch's autograd at theta(w)."""
    problem, w = case
    model, (n, p) = problem.model, problem.train.X.shape
    fit = model.fit(w, problem.train)
    value, grad = bdt.hypergradient(problem, w)
    shape = fit.theta.shape
    as_torch = [
        type(d)(torch.from_numpy(d.X), torch.from_numpy(d.y), d.K)
        for d in (problem.train, problem.val)
    ]
    wt = torch.from_numpy(w)
    ridge = np.full(p, model.mu)
    ridge[-1] = 0.0 if model.fit_intercept else model.mu
    rows = torch.from_numpy(ridge).reshape((p,) + (1,) * (len(shape) - 1))

    def lower(flat):
        theta = flat.reshape(shape)
        return wt @ model.losses(theta, as_torch[0]) + 0.5 * (rows * theta**2).sum()

    def upper(flat):
        return model.losses(flat.reshape(shape), as_torch[1]).mean()

    flat = torch.from_numpy(fit.theta.reshape(-1).copy())
    H = torch.autograd.functional.hessian(lower, flat)
    g = torch.autograd.functional.jacobian(upper, flat)
    J = torch.autograd.functional.jacobian(
        lambda t: model.losses(t.reshape(shape), as_torch[0]), flat
    )
    reference = -(J @ torch.linalg.pinv(H, hermitian=True) @ g).numpy()
    assert value == pytest.approx(float(upper(flat)), rel=1e-12)
    np.testing.assert_allclose(grad, reference, rtol=1e-6, atol=1e-8 * (1 + np.abs(grad).max()))
    assert n == problem.N


@few
@given(weighted_problems(), st.randoms(use_true_random=False))
def test_permuting_samples_permutes_the_result(case, random):
    problem, w = case
    (X, y), _ = raw(problem)
    order = list(range(problem.N))
    random.shuffle(order)
    value, grad = bdt.hypergradient(problem, w)
    value_2, grad_2 = bdt.hypergradient(rebuilt(problem, X[order], y[order]), w[order])
    assert value_2 == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(grad_2, grad[order], rtol=1e-7, atol=1e-9)


@few
@given(weighted_problems(), st.integers(2, 4))
def test_an_integer_weight_equals_repeated_rows(case, k):
    problem, w = case
    (X, y), _ = raw(problem)
    heavier = w.copy()
    heavier[0] *= k
    value, grad = bdt.hypergradient(problem, heavier)
    rows = np.r_[np.zeros(k - 1, dtype=int), np.arange(problem.N)]
    value_2, grad_2 = bdt.hypergradient(rebuilt(problem, X[rows], y[rows]), w[rows])
    assert value_2 == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(grad_2[k - 1 :], grad, rtol=1e-7, atol=1e-9)


@few
@given(weighted_problems(least_N=6))
def test_a_zero_weight_equals_a_removed_row(case):
    problem, w = case
    (X, y), _ = raw(problem)
    last = problem.N - 1
    if problem.classes is not None and y[last] not in y[:last]:
        return  # removing it would remove its class
    w[last] = 0.0
    value, grad = bdt.hypergradient(problem, w)
    value_2, grad_2 = bdt.hypergradient(rebuilt(problem, X[:last], y[:last]), w[:last])
    assert value_2 == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(grad_2, grad[:last], rtol=1e-7, atol=1e-9)


@few
@given(weighted_problems(), st.floats(0.1, 0.9))
def test_splitting_a_weight_over_copies_changes_nothing(case, share):
    problem, w = case
    (X, y), _ = raw(problem)
    rows = np.r_[np.arange(problem.N), 0]
    split = np.r_[w, (1 - share) * w[0]]
    split[0] = share * w[0]
    value, grad = bdt.hypergradient(problem, w)
    value_2, grad_2 = bdt.hypergradient(rebuilt(problem, X[rows], y[rows]), split)
    assert value_2 == pytest.approx(value, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(grad_2, grad[rows], rtol=1e-7, atol=1e-9)


@few
@given(weighted_problems(), st.sampled_from([1e-3, 0.1, 30.0]))
def test_scaling_features_with_the_ridge_rescaled_leaves_predictions(case, c):
    """x -> c x with mu -> c^2 mu: theta -> theta / c, so losses and hypergradient stay."""
    problem, w = case
    (X, y), (X_val, y_val) = raw(problem)
    model = type(problem.model)(problem.model.mu * c**2, problem.model.fit_intercept)
    scaled = bdt.Problem(model, train=(c * X, y), val=(c * X_val, y_val))
    value, grad = bdt.hypergradient(problem, w)
    value_2, grad_2 = bdt.hypergradient(scaled, w)
    assert value_2 == pytest.approx(value, rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(grad_2, grad, rtol=1e-6, atol=1e-8)


@few
@given(weighted_problems())
def test_numpy_and_torch_agree(case):
    problem, w = case
    (X, y), (X_val, y_val) = raw(problem)
    tensors = bdt.Problem(
        problem.model,
        train=(torch.tensor(X), torch.tensor(y)),
        val=(torch.tensor(X_val), torch.tensor(y_val)),
    )
    value, grad = bdt.hypergradient(problem, w)
    value_t, grad_t = bdt.hypergradient(tensors, torch.tensor(w))
    assert isinstance(value, float)
    assert isinstance(value_t, torch.Tensor) and value_t.ndim == 0
    assert float(value_t) == pytest.approx(value, rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(grad_t.numpy(), grad, rtol=1e-8, atol=1e-10)


def test_known_answer_on_one_feature():
    """theta = 2 w_2 / (w_1 + w_2 + mu): value and derivative by hand."""
    X, y = np.ones((2, 1)), np.array([0.0, 2.0])
    problem = bdt.Problem(bdt.Ridge(mu=1.0), train=(X, y), val=(X[:1], y[:1]))
    value, grad = bdt.hypergradient(problem, np.array([3.0, 1.0]))  # not normalised
    theta = 2 / 5
    assert value == pytest.approx(theta**2 / 2, rel=1e-14)
    np.testing.assert_allclose(grad, theta * np.array([-2 / 25, 8 / 25]), rtol=1e-13)


def test_at_mu_zero_the_optimistic_derivative_ignores_what_validation_cannot_see():
    """Duplicated column, mu = 0 (C06's control): -(x_i.theta - y_i) x_i' H^+ grad L_val."""
    rng = np.random.default_rng(3)
    x, x_val = rng.standard_normal((8, 1)), rng.standard_normal((5, 1))
    X, X_val = np.hstack([x, x]), np.hstack([x_val, x_val])
    y, y_val = rng.standard_normal(8), rng.standard_normal(5)
    problem = bdt.Problem(bdt.Ridge(mu=0.0), train=(X, y), val=(X_val, y_val))
    single = bdt.Problem(bdt.Ridge(mu=0.0), train=(x, y), val=(x_val, y_val))
    w = rng.dirichlet(np.ones(8))
    value, grad = bdt.hypergradient(problem, w)
    value_1, grad_1 = bdt.hypergradient(single, w)
    assert value == pytest.approx(value_1, rel=1e-10)
    np.testing.assert_allclose(grad, grad_1, rtol=1e-9)
    assert np.linalg.norm(grad_1) > 1e-3


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 2e-4)])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_dtype_is_kept(dtype, tolerance, classes):
    train, val = arrays(5, 12, 4, 6, classes)
    exact = bdt.Problem(bdt.Logistic(0.1) if classes else bdt.Ridge(0.1), train=train, val=val)
    cast = bdt.Problem(
        exact.model, train=(train[0].astype(dtype), train[1]), val=(val[0].astype(dtype), val[1])
    )
    w = np.random.default_rng(0).dirichlet(np.ones(12))
    value, grad = bdt.hypergradient(cast, w.astype(dtype))
    reference, reference_grad = bdt.hypergradient(exact, w)
    assert grad.dtype == dtype
    assert value == pytest.approx(reference, rel=tolerance)
    np.testing.assert_allclose(grad, reference_grad, atol=tolerance * np.abs(reference_grad).max())


@pytest.mark.parametrize(
    "weights, part",
    [
        (np.zeros(5), "all zero"),
        (np.array([1.0, -0.1, 0, 0, 0]), "-0.1 at row 1"),
        (np.array([1.0, np.nan, 0, 0, 0]), "nan at row 1"),
        (np.array([1.0, np.inf, 0, 0, 0]), "inf at row 1"),
        (np.ones(4), "shape (4,)"),
        (np.ones((5, 1)), "shape (5, 1)"),
        (np.ma.masked_equal(np.arange(5.0), 4), "masked entries"),
    ],
)
def test_bad_weights(weights, part):
    train, val = arrays(0, 5, 2, 3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
    with pytest.raises(ValueError) as error:
        bdt.hypergradient(problem, weights)
    message = str(error.value)
    assert part in message and "needed" in message and "try" in message and "\n" not in message


def test_separable_data_without_ridge_have_no_hypergradient():
    X, y = np.array([[1.0], [-1.0]]), np.array([1, 0])
    problem = bdt.Problem(bdt.Logistic(mu=0.0), train=(X, y), val=(X, y))
    with pytest.raises(ValueError, match="separable and mu = 0"):
        bdt.hypergradient(problem, np.array([0.5, 0.5]))
