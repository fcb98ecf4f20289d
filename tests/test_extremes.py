"""Inputs that once gave a wrong answer that looked right, or an error that said nothing."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import arrays

import bdtheory as bdt
from bdtheory.hypergradient import refit
from bdtheory.methods import implicit, run


def outliers(scale, seed=0):
    """Noise-free rows with a few shifted targets; `scale` multiplies the columns."""
    rng = np.random.default_rng(seed)
    X, X_val, theta0 = (
        rng.normal(size=(40, 3)),
        rng.normal(size=(12, 3)),
        np.array([1.0, -2.0, 0.5]),
    )
    y = X @ theta0
    y[:10] += 3.0
    return (X * scale, y), (X_val * scale, X_val @ theta0)


@pytest.mark.parametrize("small", [1.0, 1e-14, 1e-16, 1e-30])
def test_no_false_certificate_where_columns_differ_in_units(small):
    """A column of size 1e-16 once counted as rounding: certified at .165 where 2e-13 is reached."""
    train, val = outliers(np.array([1.0, 1.0, small]))
    fit = bdt.learn_weights(bdt.Problem(bdt.Ridge(0.0), train=train, val=val), bdt.BMO())
    assert fit.val_loss < 1e-9


@pytest.mark.parametrize("factor", [1e-17, 1e15])
def test_an_intercept_counts_whatever_the_features_units(factor):
    train, val = outliers(np.ones(3))
    problem, scaled = (
        bdt.Problem(
            bdt.Ridge(0.0, fit_intercept=True),
            train=(train[0] * c, train[1] + 1),
            val=(val[0] * c, val[1] + 1),
        )
        for c in (1.0, factor)
    )
    value = bdt.learn_weights(problem, bdt.Uniform()).val_loss
    assert bdt.learn_weights(scaled, bdt.Uniform()).val_loss == pytest.approx(value, rel=1e-6)
    assert value > 1e-3


@pytest.mark.parametrize("dtype, size", [(np.float64, 1e160), (np.float32, 1e20)])
def test_sizes_whose_squares_overflow_are_refused(dtype, size):
    """Once: theta = 0 with status STATIONARY, or nan weights with status CERTIFIED."""
    train, val = outliers(np.ones(3))
    X, X_val = ((a * np.float64(size)).astype(dtype) for a in (train[0], val[0]))
    with pytest.raises(ValueError, match="so that squares stay finite; try other units"):
        bdt.Problem(bdt.Ridge(0.1), train=(X, train[1]), val=(X_val, val[1]))
    with pytest.raises(ValueError, match="needed at most 1e75"):
        bdt.Ridge(1e300)


def test_weights_that_are_not_finite_are_diverged_never_certified(monkeypatch):
    from bdtheory.methods import bmo

    train, val = outliers(np.ones(3))
    problem = bdt.Problem(bdt.Ridge(0.0), train=train, val=val)
    monkeypatch.setattr(bmo, "closed_form_weights", lambda *_: np.full(40, np.nan))
    monkeypatch.setattr(bmo, "fit_jointly", lambda *_: bmo.refit(problem, np.full(40, 1 / 40)))
    fit = bdt.learn_weights(problem, bdt.BMO(steps=1))
    assert np.all(np.isfinite(fit.weights))  # the best along the way were uniform
    assert fit.weights == pytest.approx(1 / 40)
    assert fit.status is not bdt.Status.CERTIFIED


def test_a_ridge_near_zero_is_no_overflow_error():
    X, y = np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1, 1, 0, 0])
    problem = bdt.Problem(bdt.Logistic(1e-300), train=(X, y), val=(X, y))
    assert bdt.learn_weights(problem, bdt.Uniform()).status is not bdt.Status.CERTIFIED


def test_masked_entries_are_refused():
    train, val = outliers(np.ones(3))
    masked = np.ma.masked_less(train[0], -2.0)
    with pytest.raises(ValueError, match=r"masked entries; needed .* try"):
        bdt.Problem(bdt.Ridge(0.1), train=(masked, train[1]), val=val)


@pytest.mark.parametrize("seed", ["a", -1, 1.5])
def test_a_bad_seed_is_refused_before_anything_runs(seed):
    train, val = arrays(0, 6, 2, 3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
    with pytest.raises(ValueError, match=r"seed is .*; needed a whole number >= 0; try seed=0"):
        bdt.learn_weights(problem, bdt.Uniform(), seed=seed)


def test_a_callback_may_change_the_weights_it_is_given():
    train, val = arrays(0, 12, 2, 6)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)

    def spoil(iteration, weights):
        weights *= 0

    clean = bdt.learn_weights(problem, bdt.Implicit(max_iterations=5))
    assert bdt.learn_weights(problem, bdt.Implicit(max_iterations=5), callback=spoil).weights == (
        pytest.approx(clean.weights)
    )


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04broken"])
def test_a_damaged_archive_is_one_clear_error(tmp_path, damage):
    train, val = arrays(0, 6, 2, 3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
    folder = bdt.learn_weights(problem, bdt.Uniform()).save(tmp_path / "run")
    (folder / "arrays.npz").write_bytes(damage)
    with pytest.raises(ValueError, match="not a saved selection"):
        bdt.Selection.load(folder)


def test_saving_never_removes_a_file_of_somebody_else(tmp_path, monkeypatch):
    train, val = arrays(0, 6, 2, 3)
    fit = bdt.learn_weights(bdt.Problem(bdt.Ridge(0.1), train=train, val=val), bdt.Uniform())
    folder = fit.save(tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="needed an empty or new folder"):
        fit.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    monkeypatch.chdir(folder)
    with pytest.raises(FileExistsError, match="in use"):
        fit.save(".")
    assert bdt.Selection.load(folder) == fit
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="needed an empty or new folder"):
        fit.save(tmp_path / "file")


def test_bounds_that_overflow_are_no_bounds_and_no_warning():
    """float32: residuals of 1e8 over features of 1e-8, at weights 37 orders of magnitude apart."""
    rng = np.random.default_rng(6)
    X = (1e-8 * rng.standard_normal((3, 3))).astype(np.float32)
    y = (1e8 * rng.standard_normal(3)).astype(np.float32)
    problem = bdt.Problem(bdt.Ridge(0.0), train=(X, y), val=(X, y))
    fit = refit(problem, np.array([1.0, 1e-37, 0.0], dtype=np.float32))
    assert fit.gap == np.inf and not np.isnan(fit.distance)


@pytest.mark.parametrize("size, says", [(np.inf, "overflows"), (1e3, "promises"), (1e-9, "holds")])
def test_a_hypergradient_that_overflows_is_not_stationary(monkeypatch, size, says):
    train, val = arrays(0, 6, 2, 3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=train, val=val)
    grad = size * np.array([1.0, -1.0, 0.5, 0.5, 0.5, 0.5])
    w = np.array([0.5, 0.0, 0.5, 0.0, 0.0, 0.0])

    def derivative(*_):
        return np.float64(1.0), grad

    for module in (run, implicit):
        monkeypatch.setattr(module, "value_and_gradient", derivative)
    with np.errstate(invalid="ignore"):  # as in learn_weights
        found = run.finish(problem, bdt.Penalty(), w, run.Trace(None), tol=1e-3)
        promise = run.descent_left(problem, w, refit(problem, w))
        regularised = implicit.regularised_descent_left(problem, w, 1e-9)
    assert says in found.message
    assert (found.status is bdt.Status.STATIONARY) == (says == "holds")
    if size == np.inf:
        assert np.isnan(promise) and np.isnan(regularised)
    else:
        assert promise == pytest.approx(1.75 * size)  # w.g = 0.75 size, the least is -size
        assert regularised == pytest.approx(1.75 * size, abs=1e-7)


@pytest.mark.parametrize("value_function", [True, False])
def test_parameters_whose_squares_float32_cannot_hold(value_function):
    """theta = 1e24, (mu/2) ||theta||^2 = 0; the loss as in units where theta is 1."""
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((6, 1)), rng.standard_normal((4, 1))
    y, v = X[:, 0] + rng.standard_normal(6), V[:, 0]
    method = bdt.Penalty(value_function=value_function)
    losses = []
    for x, t in ((1e-16, 1e8), (1.0, 1.0)):
        train, val = (((x * a).astype(np.float32), t * b) for a, b in ((X, y), (V, v)))
        found = bdt.learn_weights(bdt.Problem(bdt.Ridge(0.0), train=train, val=val), method)
        assert found.status is not bdt.Status.DIVERGED and np.all(np.isfinite(found.theta))
        losses.append(found.val_loss / t**2)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-8)
