"""The three coordinate systems of the outer minimiser, and the exactness of graded weights."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays

import bdtheory as bdt
from bdtheory.hypergradient import refit, value_and_gradient
from bdtheory.methods import outer
from bdtheory.methods.certify import lower_bound
from bdtheory.methods.outer import logits, minimise_weights, simplex, squares
from bdtheory.methods.run import Stopped, Trace
from bdtheory.rowspace import weighted_least_squares


@given(st.integers(0, 10**6), st.sampled_from([logits, squares, simplex]))
def test_pull_back_is_the_derivative_of_the_objective(seed, coordinates):
    """d f(v(z)) / dz for f(v) = a.v + |v|^2 / 2, by central differences."""
    rng = np.random.default_rng(seed)
    a, v = rng.standard_normal(5), rng.dirichlet(np.ones(5))
    system = coordinates(v)
    np.testing.assert_allclose(system.masses(system.start), v, rtol=1e-12)
    z = system.start + 0.1 * rng.random(5)

    def f(z):
        at = system.masses(z)
        return a @ at + 0.5 * at @ at

    at = system.masses(z)
    grad = system.pull_back(z, at, a + at)
    for k in range(5):
        h = 1e-6 * np.eye(5)[k]
        assert grad[k] == pytest.approx((f(z + h) - f(z - h)) / 2e-6, rel=1e-6, abs=1e-9)


def test_logits_and_squares_keep_exact_zeros_and_the_simplex_brings_them_back():
    v = np.array([0.5, 0.0, 0.5])
    assert logits(v).start.shape == (2,)
    assert logits(v).masses(np.array([0.0, np.log(3.0)])).tolist() == pytest.approx([0.25, 0, 0.75])
    assert squares(v).masses(np.array([3.0, 9.0, 4.0])).tolist() == pytest.approx([0.36, 0, 0.64])
    start = squares(v).start
    assert squares(v).pull_back(start, v, np.arange(3.0))[1] == 0.0
    assert simplex(v).masses(np.array([1.0, 1.0, 0.0])).tolist() == [0.5, 0.5, 0.0]
    np.testing.assert_allclose(simplex(v).masses(np.zeros(3)), 1 / 3)  # no 0 / 0


def test_small_weights_start_where_steps_move_them_less():
    """a = sqrt(G v), so v = a s^2 / G starts at s = (G v)^(1/4); a is bounded below, s is not."""
    v = np.array([0.5, 0.3, 0.2 - 1e-9, 1e-9])
    start = squares(v).start
    np.testing.assert_allclose(start[:3], (4 * v[:3]) ** 0.25, rtol=1e-12)
    assert start[3] == pytest.approx((4 * 1e-9 / np.sqrt(outer.SMALLEST)) ** 0.5, rel=1e-12)


def seen_by_the_minimiser(problem, objective, coordinates, monkeypatch):
    """(fun, options) as they reach L-BFGS-B."""
    seen = {}

    def spy(fun, start, **given):
        seen.update(given, fun=fun)
        return type("Result", (), {"x": start})

    monkeypatch.setattr(outer, "minimize", spy)
    minimise_weights(problem, objective, coordinates, Trace(None), max_iterations=7)
    return seen["fun"], seen["options"]


@pytest.mark.parametrize("coordinates", [logits, squares, simplex])
@pytest.mark.parametrize("groups", [None, np.repeat([0, 1, 2, 3], [2, 3, 5, 10])])
def test_the_minimiser_sees_a_value_and_its_own_derivative(coordinates, groups, monkeypatch):
    train, val = arrays(3, 20, 3, 9, 2)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val, groups=groups)

    def objective(w):
        value, grad = value_and_gradient(problem, refit(problem, w))
        return float(value), grad, float(value)

    G = 20 if groups is None else 4
    system = coordinates(np.random.default_rng(0).dirichlet(np.ones(G)))
    fun, options = seen_by_the_minimiser(problem, objective, system, monkeypatch)
    z = system.start + 0.05
    fun(system.start + 0.5)  # the unit of all values is the first, and not the last
    grad = fun(z)[1]
    for k in range(4):
        h = 1e-5 * np.eye(G)[k]
        slope = (fun(z + h)[0] - fun(z - h)[0]) / 2e-5
        assert grad[k] == pytest.approx(slope, rel=1e-4, abs=1e-8)
    assert np.abs(grad[:4]).max() > 1e-4 and options["maxiter"] == 7


def test_fewer_pairs_are_kept_of_many_weights(monkeypatch):
    train, val = arrays(3, 20, 3, 9, 2)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)
    system = squares(np.full(20, 0.05))
    kept = []
    for many in (20, 19):
        monkeypatch.setattr(outer, "MANY", many)
        options = seen_by_the_minimiser(problem, None, system, monkeypatch)[1]
        kept.append(options["maxcor"])
    assert kept == [outer.MEMORY, outer.LITTLE] == [20, 5]


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6])
@pytest.mark.parametrize("coordinates", [logits, squares, simplex])
def test_the_minimum_of_a_known_objective_in_any_unit(coordinates, unit):
    """c (a.w + |w|^2 / 2) on the simplex: w is the projection of -a, which has one zero."""
    train, val = arrays(3, 4, 2, 3)
    problem = bdt.Problem(bdt.Ridge(1e-2), train=train, val=val)
    a, expected = np.array([0.0, 0.2, 0.5, 3.0]), np.array([17.0, 11.0, 2.0, 0.0]) / 30

    def objective(w):
        value = unit * (a @ w + 0.5 * w @ w)
        return value, unit * (a + w), value

    trace = Trace(None)
    start = coordinates(np.array([0.1, 0.2, 0.3, 0.4]))
    v = minimise_weights(problem, objective, start, trace, max_iterations=200)
    np.testing.assert_allclose(v, expected, atol=2e-4)
    assert v[3] == 0.0 or coordinates is not simplex
    assert trace.best[0] == pytest.approx(unit * (a @ expected + 0.5 * expected @ expected))
    assert len(trace.val_loss) > 3 and (np.diff(trace.val_loss) <= 0).all()


def test_an_objective_of_zero_is_divided_by_nothing():
    train, val = arrays(3, 4, 2, 3)
    problem = bdt.Problem(bdt.Ridge(1e-2), train=train, val=val)
    start, v, asked = squares(np.full(4, 0.25)), np.full(4, 0.25), []

    def objective(w):
        asked.append(w)
        return 0.0, np.zeros(4), 0.0

    found = minimise_weights(problem, objective, start, Trace(None), max_iterations=5)
    np.testing.assert_allclose(found, v, rtol=1e-12)
    assert len(asked) == 1  # where the derivative is 0 there is nothing to do


def test_iterations_and_evaluations_are_limited():
    """A callback that asks to stop ends the run; else the number of steps is what was asked for."""
    train, val = arrays(3, 20, 3, 9, 2)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)

    def objective(w):
        value, grad = value_and_gradient(problem, refit(problem, w))
        return float(value), grad, float(value)

    for most in (1, 4):
        trace = Trace(None)
        start = squares(np.full(20, 0.05))
        minimise_weights(problem, objective, start, trace, max_iterations=most)
        assert len(trace.val_loss) == most
    trace = Trace(lambda k, w: k == 1)
    start = squares(np.full(20, 0.05))
    with pytest.raises(Stopped):
        minimise_weights(problem, objective, start, trace, max_iterations=9)
    assert len(trace.val_loss) == 2


def test_an_iteration_may_take_three_fits_and_the_first_line_search_twenty(monkeypatch):
    train, val = arrays(3, 4, 2, 3)
    problem = bdt.Problem(bdt.Ridge(1e-2), train=train, val=val)
    options = seen_by_the_minimiser(problem, None, squares(np.full(4, 0.25)), monkeypatch)[1]
    assert (options["maxiter"], options["maxfun"]) == (7, 3 * 7 + 20)


def test_the_simplex_pulls_back_from_close_to_its_corner():
    """dv/ds = (1 - v) / sum(s), also where sum(s) is small; and there is a number at s = 0."""
    system, g = simplex(np.array([0.25, 0.75])), np.array([1.0, 3.0])
    for size in (1e-6, 4.0):
        s = size * np.array([0.25, 0.75])
        expected = (g - (0.25 + 2.25)) / size
        np.testing.assert_allclose(system.pull_back(s, s / size, g), expected, rtol=1e-12)
    assert np.isfinite(system.pull_back(np.zeros(2), np.full(2, 0.5), g)).all()


@pytest.mark.parametrize("value, slope", [(np.nan, 0.0), (np.inf, 0.0), (1.0, np.nan)])
def test_an_objective_that_is_not_finite_is_an_error(value, slope):
    train, val = arrays(3, 20, 3, 9, 2)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)
    objective = lambda w: (value, np.full(20, slope), value)  # noqa: E731
    system = squares(np.full(20, 0.05))
    with pytest.raises(FloatingPointError, match=r"the objective is .*not finite"):
        minimise_weights(problem, objective, system, Trace(None), max_iterations=5)


def exact_least_squares(X, y, w):
    """(X' W X)^-1 X' W y in rational arithmetic, then rounded once."""
    p = X.shape[1]
    rows = [[Fraction(float(x)) for x in row] for row in X]
    weights, targets = [Fraction(float(v)) for v in w], [Fraction(float(t)) for t in y]
    M = [
        [sum(c * r[i] * r[j] for c, r in zip(weights, rows, strict=True)) for j in range(p)]
        + [sum(c * r[i] * t for c, r, t in zip(weights, rows, targets, strict=True))]
        for i in range(p)
    ]
    for i in range(p):
        pivot = next(k for k in range(i, p) if M[k][i] != 0)
        M[i], M[pivot] = M[pivot], M[i]
        M[i] = [x / M[i][i] for x in M[i]]
        for k in range(p):
            if k != i:
                M[k] = [a - M[k][i] * b for a, b in zip(M[k], M[i], strict=True)]
    return np.array([float(M[i][p]) for i in range(p)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("heavy_last", [False, True])
def test_graded_weights_against_rational_arithmetic(seed, heavy_last):
    """Contradicting rows, weights from 1 to 1e-24, two heavy rows for three unknowns.

    Without sorting by size the light rows, which decide the third unknown, drown in the rounding of
    the heavy ones.
    """
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
    w = np.array([1.0, 1e-3, 1e-18, 1e-20, 1e-22, 1e-24])
    if heavy_last:
        w = w[::-1].copy()
    c, space, _ = weighted_least_squares(X, y, w)
    np.testing.assert_allclose(space.V @ c, exact_least_squares(X, y, w), rtol=1e-9)


def test_the_bound_is_zero_and_not_above_for_separable_validation():
    """Farther out than any minimiser the dual point leaves the simplex: the bound is then 0."""
    X = np.array([[1.0], [2.0], [-1.0]])
    labels = np.array([1, 1, 0])
    problem = bdt.Problem(bdt.Logistic(0.1), train=(X, labels), val=(X, labels))
    assert 0.0 <= lower_bound(problem)[0] <= 1e-6


def test_the_bound_never_exceeds_a_loss_that_is_reached():
    for seed in range(20):
        train, val = arrays(seed, 12, 3, 9, 3 if seed % 2 else 2)
        problem = bdt.Problem(bdt.Logistic(1e-6), train=val if seed % 4 else train, val=val)
        reached = bdt.learn_weights(problem, bdt.ValidationOnly()).val_loss
        assert lower_bound(problem)[0] <= reached + 1e-12


def test_a_dual_point_outside_the_simplex_is_not_used(monkeypatch):
    from bdtheory.methods import certify

    monkeypatch.setattr(certify, "_least_change", lambda X, P, R: 1.5 * P)
    train, val = arrays(1, 20, 3, 60, 2)
    problem = bdt.Problem(bdt.Logistic(1e-2), train=train, val=val)
    assert certify.lower_bound(problem) == (0.0, 0.0)  # a new problem: nothing is known of it yet
