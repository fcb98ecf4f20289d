"""The generic core keeps to the array API standard: array-api-strict in, array-api-strict out.

That library refuses whatever the standard does not promise, so what runs here runs on every library
that keeps to it. Values are NumPy's to rounding: the same sums, but plain solves for LAPACK's.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory import linalg, ratios, weights
from bdtheory.hypergradient import refit
from bdtheory.methods import Given
from bdtheory.models import LinearGaussian
from bdtheory.tasks import LeastAbsolute

xs = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")

EPS = np.finfo(np.float64).eps
N, P, M = 12, 3, 8
RNG = np.random.default_rng(0)
X, V = RNG.standard_normal((N, P)), RNG.standard_normal((M, P))
Y, Y_VAL = X @ np.ones(P) + RNG.standard_normal(N), V @ np.ones(P)
W = RNG.dirichlet(np.ones(N))
GROUPS = np.arange(N) % 3 * (np.arange(N) > 4)  # of 7, 2 and 3 samples
TARGETS = {"real": (Y, Y_VAL), "two": (Y > 0, Y_VAL > 0), "three": (np.arange(N) % 3, GROUPS[:M])}
MODELS = {
    "ridge": (bdt.Ridge(0.1), "real"),
    "ridge, intercept": (bdt.Ridge(0.1, fit_intercept=True), "real"),
    "ridge, mu = 0": (bdt.Ridge(0.0), "real"),
    "Gaussian": (LinearGaussian(0.1), "real"),
    "logistic": (bdt.Logistic(0.1), "two"),
    "logistic, intercept": (bdt.Logistic(0.1, fit_intercept=True), "two"),
    "multinomial": (bdt.Logistic(0.1), "three"),
    "multinomial, intercept": (bdt.Logistic(0.1, fit_intercept=True), "three"),
}


def is_close(got, expected, ulps):
    """`got` is a strict array of NumPy's dtype and shape, and at most `ulps` of the largest off."""
    expected = np.asarray(expected)
    assert type(got).__module__.startswith("array_api_strict"), type(got)
    assert got.dtype == getattr(xs, expected.dtype.name) and got.shape == expected.shape
    unit = np.finfo(expected.dtype).eps * np.max(np.abs(expected))
    off = np.max(np.abs(np.asarray(got) - expected)) / unit
    assert off <= ulps, f"{off} ulps"


def twins(name, dtype=np.float64, rows=N, columns=P, groups=None):
    """The same problem of NumPy arrays and of strict ones."""
    model, kind = MODELS[name]
    y, y_val = TARGETS[kind]
    wide = np.random.default_rng(1).standard_normal((N + M, columns)).astype(dtype)
    X_, V_ = (X.astype(dtype), V.astype(dtype)) if columns == P else (wide[:N], wide[N:])
    if kind == "real":
        y, y_val = y.astype(dtype), y_val.astype(dtype)
    train, val = (X_[:rows], y[:rows]), (V_, y_val)
    return tuple(
        bdt.Problem(model, train=tuple(map(a, train)), val=tuple(map(a, val)), groups=groups)
        for a in (np.asarray, xs.asarray)
    )


WEIGHTS = {
    "softmax": lambda a: weights.softmax(a(Y)),
    "softmax, groups": lambda a: weights.softmax(a(Y[:3]), a(GROUPS)),
    "sigmoid": lambda a: weights.sigmoid(a(Y)),
    "sigmoid, groups": lambda a: weights.sigmoid(a(Y[:3]), a(GROUPS)),
    "spread": lambda a: weights.spread(a(W[:3]), a(GROUPS)),
    "drop_negligible": lambda a: weights.drop_negligible(a(np.where(W > 0.1, W, 1e-14))),
    "top_k": lambda a: weights.top_k(a(W), 5),
}
RATIOS = {
    "plain": {},
    "tempered": {"tau": 2.0},
    "clipped": {"clip": 1.5},
    "in groups": {"groups": GROUPS},
    "all": {"tau": 0.5, "clip": 3.0, "groups": GROUPS},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name, dtype):
    def a(of, values):
        values = np.asarray(values)
        return of(values.astype(dtype) if values.dtype.kind == "f" else values)

    got, expected = (WEIGHTS[name](lambda v, of=of: a(of, v)) for of in (xs.asarray, np.asarray))
    is_close(got, expected, 2)
    assert name == "top_k" or len(np.unique(expected)) > 1


def test_numbers_of_weights():
    for of in (weights.effective_sample_size, weights.entropy):
        assert type(of(xs.asarray(W))) is float
        assert of(xs.asarray(W)) == pytest.approx(of(W), rel=4 * EPS)
    assert isinstance(weights.top_scores(xs.asarray(W), 5), np.ndarray)  # as documented
    np.testing.assert_array_equal(weights.top_scores(xs.asarray(W), 5), weights.top_k(W, 5))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("setting", RATIOS)
def test_importance_weights(setting, dtype):
    log_pi, log_old = np.log(W).astype(dtype), (np.log(W) + Y).astype(dtype)
    expected = ratios.importance_weights(log_pi, log_old, **RATIOS[setting])
    got = ratios.importance_weights(xs.asarray(log_pi), xs.asarray(log_old), **RATIOS[setting])
    is_close(got.weights, expected.weights, 4)
    assert got.ess == pytest.approx(expected.ess, rel=8 * float(np.finfo(dtype).eps))
    assert got.clipped_share == expected.clipped_share


@pytest.mark.parametrize("f", [Y, X])
def test_reweighted_mean(f):
    args = f, np.log(W), np.log(W) + Y / 3
    expected, got = ratios.reweighted_mean(*args), ratios.reweighted_mean(*map(xs.asarray, args))
    is_close(got.value, expected.value, 4)
    is_close(got.standard_error, expected.standard_error, 4)


def test_linear_algebra():
    """A well-conditioned H: what another factorisation differs by is a few times its condition."""
    H, b = X.T @ X + np.eye(P), Y[:P]
    condition = np.linalg.cond(H)
    assert condition < 10
    strict_H, strict_b = xs.asarray(H), xs.asarray(b)
    is_close(linalg.inverse_spd(strict_H), linalg.inverse_spd(H), 4 * condition)
    is_close(linalg.solve_spd(strict_H)(strict_b), linalg.solve_spd(H)(b), 4 * condition)
    columns = linalg.solve_spd(strict_H)(xs.asarray(X[:5].T))
    is_close(columns, linalg.solve_spd(H)(X[:5].T), 4 * condition)
    is_close(linalg.solve_general(strict_H)(strict_b), linalg.solve_general(H)(b), 4 * condition)
    is_close(linalg.gram(xs.asarray(X), xs.asarray(W)), linalg.gram(X, W), 4)
    is_close(linalg.weighted_rows(xs.asarray(W), xs.asarray(X)), linalg.weighted_rows(W, X), 4)
    is_close(linalg.add_to_diagonal(strict_H, strict_b), linalg.add_to_diagonal(H, b), 0)
    assert linalg.norm(xs.asarray(X) * 1e200) == pytest.approx(linalg.norm(X * 1e200), rel=4 * EPS)
    assert math.isfinite(linalg.norm(X * 1e200))


def test_a_singular_system_has_the_minimum_norm_solution():
    A = X @ np.diag([1.0, 1.0, 0.0])
    H, b = A.T @ A, A.T @ Y
    got, expected = linalg.solve_spd(xs.asarray(H))(xs.asarray(b)), linalg.solve_spd(H)(b)
    is_close(got, expected, 64)
    assert float(got[2]) == 0.0
    assert linalg.inverse_spd(xs.asarray(-np.eye(2))) is linalg.inverse_spd(-np.eye(2)) is None
    got, expected = linalg.solve_general(xs.asarray(H))(xs.asarray(b)), linalg.solve_general(H)(b)
    is_close(got, expected, 64)


# Problems, their losses and re-fits. A ridge re-fit is as exact as its solves, condition numbers
# here are below 100; a logistic one solves its systems to a relative residual of 1e-12.


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_of_a_model(name):
    plain, strict = twins(name)
    theta = refit(plain, W).theta
    at = xs.asarray(theta)
    model = plain.model
    is_close(model.losses(at, strict.val), model.losses(theta, plain.val), 8)
    got = model.weighted_gradient(at, xs.asarray(W), strict.train)
    is_close(got, model.weighted_gradient(theta, W, plain.train), 16)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("name", MODELS)
def test_hypergradient(name, groups, dtype):
    plain, strict = twins(name, dtype, groups=groups)
    w = W.astype(dtype)
    ulps = 200 if MODELS[name][1] == "real" or dtype is np.float32 else 1e-12 / EPS
    value, grad = bdt.hypergradient(plain, w)
    got_value, got = bdt.hypergradient(strict, xs.asarray(w))
    assert type(got_value) is float
    assert got_value == pytest.approx(value, rel=200 * float(np.finfo(dtype).eps))
    is_close(got, grad, ulps)
    is_close(refit(strict, xs.asarray(w)).theta, refit(plain, w).theta, 200)
    assert np.max(np.abs(grad)) > 0.1


@pytest.mark.parametrize("name", ["ridge", "ridge, intercept"])
def test_the_dual_form(name):
    """N < p: another branch of the re-fit."""
    plain, strict = twins(name, rows=5, columns=9)
    w = W[:5] / W[:5].sum()
    is_close(bdt.hypergradient(strict, xs.asarray(w))[1], bdt.hypergradient(plain, w)[1], 1000)


def test_a_model_without_derivative_re_fits():
    args = {"train": (X, Y), "val": (V, Y_VAL)}
    strict = {name: tuple(map(xs.asarray, pair)) for name, pair in args.items()}
    plain, strict = (bdt.Problem(LeastAbsolute(), **a) for a in (args, strict))
    is_close(refit(strict, xs.asarray(W)).theta, refit(plain, W).theta, 4)


# Methods: the same steps, so the same weights but for what rounding grows to on the way. Few steps
# of `Implicit`, which is slow on an array library that checks every call.

METHODS = {
    "Uniform": bdt.Uniform(),
    "ValidationOnly": bdt.ValidationOnly(),
    "DirectMixing": bdt.DirectMixing(ratio=0.5),
    "Given": Given(W),
    "Implicit": bdt.Implicit(max_iterations=10, restarts=1),
    "Implicit, tau": bdt.Implicit(max_iterations=10, restarts=1, tau=0.1),
    "Penalty": bdt.Penalty(),
    "BMO": bdt.BMO(),
    "Auto": bdt.Auto(),
}


@pytest.mark.filterwarnings("ignore::bdtheory.methods.OverfitWarning")  # with 12 samples it is
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "name, groups",
    [("ridge", None), ("ridge", GROUPS), ("logistic, intercept", None), ("multinomial", GROUPS)],
)
def test_learned_weights(name, groups, method):
    plain, strict = twins(name, groups=groups)
    expected, got = (bdt.learn_weights(p, METHODS[method]) for p in (plain, strict))
    # A line search compares values: where they are flat it sees a minimiser to the square root of
    # their rounding only, gamma eps for the P_gamma of `Penalty`, gamma = 1e3.
    room = 10 * math.sqrt(1e3 * EPS) if method == "Penalty" else 1e-6
    is_close(got.weights, expected.weights, room / EPS)
    is_close(got.theta, expected.theta, room / EPS)
    assert got.val_loss == pytest.approx(expected.val_loss, rel=1e-6)
    assert got.status is expected.status and set(got.certificate) == set(expected.certificate)


def test_a_saved_selection_comes_back_as_numpy(tmp_path):
    fit = bdt.learn_weights(twins("ridge")[1], bdt.Implicit())
    loaded = bdt.Selection.load(fit.save(tmp_path / "run"))
    assert type(loaded.weights) is type(loaded.theta) is np.ndarray
    np.testing.assert_array_equal(loaded.weights, np.asarray(fit.weights))


# Decisions are taken in NumPy, on purpose (SciPy's linear programs): they read any library.


def test_usefulness():
    plain, strict = twins("logistic")
    expected, got = bdt.usefulness(plain), bdt.usefulness(strict)
    assert isinstance(got.useful, np.ndarray) and expected.useful.any()
    np.testing.assert_array_equal(got.useful, expected.useful)
    rows = np.flatnonzero(expected.useful)[:2]
    assert bdt.jointly_useful(strict, rows).holds == bdt.jointly_useful(plain, rows).holds
    theta = refit(plain, W).theta
    share = bdt.coverage(plain, theta, 0.5)
    assert bdt.coverage(strict, xs.asarray(theta), 0.5) == share and 0 < share <= 1
    is_close(bdt.maximum_entropy_weights(strict), bdt.maximum_entropy_weights(plain), 4)


@pytest.mark.parametrize("strict", ["train", "val"])
def test_libraries_are_not_mixed(strict):
    sets = {"train": (X, Y), "val": (V, Y_VAL)}
    sets[strict] = tuple(map(xs.asarray, sets[strict]))
    with pytest.raises(ValueError, match=r"the features of val have array type .*; needed .*; try"):
        bdt.Problem(bdt.Ridge(0.1), **sets)


@pytest.mark.parametrize(
    "bad, message",
    [
        ((X, np.where(Y > 0, np.nan, Y)), "targets of train have nan"),
        ((np.where(X > 1, np.inf, X), Y), "have inf at row"),
        ((X[:, 0], Y), r"shape \(12,\)"),
        ((X, Y[:3]), r"shape \(3,\)"),
        ((X + 0j, Y), "complex128"),
    ],
)
def test_bad_arrays_are_refused_as_those_of_numpy_are(bad, message):
    for of in (xs.asarray, np.asarray):
        train, val = tuple(map(of, bad)), tuple(map(of, (V, Y_VAL)))
        with pytest.raises(ValueError, match=message):
            bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
