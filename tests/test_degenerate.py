"""Degenerate data: every outcome is a correct result, or a documented status or error.

Not allowed: a warning that leaks, a number that is not finite in a result that does not say
DIVERGED, a loss that is not the model's own at theta, a hang. `make soak` draws 20,000 of each.
"""

from __future__ import annotations

import contextlib
import math
import signal
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bdtheory as bdt
from bdtheory.hypergradient import refit
from bdtheory.methods import OverfitWarning

LIMIT = 30  # seconds for one example
METHODS = [
    bdt.Uniform(),
    bdt.ValidationOnly(),
    bdt.DirectMixing(ratio=0.5),
    bdt.BMO(steps=12),
    bdt.Penalty(max_iterations=10),
    bdt.Implicit(max_iterations=15, restarts=1),
    bdt.Implicit(max_iterations=15, restarts=1, tau=0.1),
    bdt.Auto(folds=2),
    bdt.Auto(folds=2, refit="weights"),
]
FLAWS = ["copies", "equal columns", "collinear", "constant", "zero column"]
FLAWS += ["scales", "huge", "tiny"]


def flawed(rng: np.random.Generator, X: np.ndarray, V: np.ndarray, flaws: set[str]) -> None:
    """Spoil training and validation features in place, alike."""
    p = X.shape[1]
    for A in (X, V):
        if "copies" in flaws:
            A[:] = A[np.arange(len(A)) // 2]
        if "equal columns" in flaws:
            A[:, -1] = A[:, 0]
        if "collinear" in flaws:
            A[:, -1] = A[:, :-1].sum(axis=1) if p > 1 else A[:, -1]
        if "constant" in flaws:
            A[:, 0] = 1.0
        if "zero column" in flaws:
            A[:, p // 2] = 0.0
    sizes = 10.0 ** rng.uniform(-8, 8, p) if "scales" in flaws else np.ones(p)
    sizes *= 1e8 if "huge" in flaws else 1e-8 if "tiny" in flaws else 1.0
    for A in (X, V):
        A *= sizes


@st.composite
def degenerate(draw) -> Callable[[], bdt.Problem]:
    """What makes a problem with flaws; N, m from 1, N < p and N > p, float64 and float32."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = draw(st.sampled_from([0, 0, 2, 3]))
    N, m = draw(st.integers(max(1, classes), 9)), draw(st.integers(1, 6))
    p = draw(st.integers(1, 12))
    X, V = rng.standard_normal((N, p)), rng.standard_normal((m, p))
    flaws = draw(st.sets(st.sampled_from(FLAWS), max_size=4))
    flawed(rng, X, V, flaws)
    mu = draw(st.sampled_from([0.0, 1e-8, 1e-2, 1.0])) if not classes else 1e-2
    dtype = draw(st.sampled_from([np.float64, np.float64, np.float32]))
    if classes:
        y, v = rng.integers(0, classes, N), rng.integers(0, classes, m)
        y[:classes] = np.arange(classes)
        if draw(st.booleans()):  # separable: the label is written in a column
            X[:, 0], V[:, 0] = y, v
        model = bdt.Logistic(draw(st.sampled_from([1e-6, 1e-2, 1.0])), draw(st.booleans()))
    else:
        size = 10.0 ** draw(st.sampled_from([-8, 0, 0, 8]))
        y, v = size * rng.standard_normal(N), size * rng.standard_normal(m)
        model = bdt.Ridge(mu, draw(st.booleans()))
    return lambda: bdt.Problem(model, train=(X.astype(dtype), y), val=(V.astype(dtype), v))


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """A TimeoutError after LIMIT seconds: no example hangs."""

    def end(*_: object) -> None:
        raise TimeoutError(f"one example took {LIMIT} s")

    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


@contextlib.contextmanager
def documented() -> Iterator[None]:
    """Errors of bad input are fine where they say the three things."""
    try:
        with in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore", OverfitWarning)  # documented, and meant for users
            yield
    except (ValueError, RuntimeError) as error:  # the latter: no exact certificate could be had
        text = str(error)
        assert "; needed" in text and "; try" in text, text


@given(make=degenerate(), method=st.sampled_from(METHODS))
def test_a_method_ends_well_or_says_how_it_ended(make, method):
    with documented():
        problem = make()
        fit = bdt.learn_weights(problem, method)
        w = np.asarray(fit.weights, dtype=np.float64)
        assert np.all(np.isfinite(w)) and np.all(w >= 0)
        assert w.sum() == pytest.approx(1.0, abs=1e-5 if fit.weights.dtype == np.float32 else 1e-9)
        assert fit.weights.dtype == problem.train.X.dtype
        if fit.status is bdt.Status.DIVERGED:
            return
        assert np.all(np.isfinite(fit.theta)) and math.isfinite(fit.val_loss)
        own = float(np.mean(np.asarray(problem.model.losses(fit.theta, problem.val), np.float64)))
        least = float(np.finfo(fit.weights.dtype).smallest_normal)  # below, digits are lost
        assert fit.val_loss == pytest.approx(own, rel=1e-5, abs=least)
        assert fit.message


@given(make=degenerate(), seed=st.integers(0, 2**32 - 1))
def test_hypergradients_at_weights_of_all_sizes(make, seed):
    """Weights with 300 orders of magnitude between them, some of them 0."""
    rng = np.random.default_rng(seed)
    with documented():
        problem = make()
        w = 10.0 ** rng.uniform(-300, 0, problem.N)
        w[rng.random(problem.N) < 0.2] = 0.0
        w[0] = 1.0  # a weight of all below float32 would be refused
        w = w.astype(problem.train.X.dtype)
        value, gradient = bdt.hypergradient(problem, w)
        found = refit(problem, w)
        if not found.converged:
            return
        assert math.isfinite(value) and gradient.shape == w.shape
        assert np.all(np.isfinite(gradient))


@given(make=degenerate())
def test_usefulness_decides_or_says_why_not(make):
    with documented():
        problem = make()
        found = bdt.usefulness(problem)
        assert found.useful.shape == (problem.N,) and found.useful.dtype == bool
