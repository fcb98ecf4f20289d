"""Hypothesis strategies and small helpers that several test modules share."""

from __future__ import annotations

import numpy as np
import soaking
from hypothesis import settings
from hypothesis import strategies as st

import bdtheory as bdt


def examples(few: int, *, whole_runs: bool = False) -> settings:
    """Settings of a property of which `make test` draws few examples; `make soak` draws all.

    whole_runs : an example is a whole run of a method, and `make soak` draws fewer of them.
    """
    if soaking.ON:
        few = soaking.EXAMPLES // (soaking.RUN_SHARE if whole_runs else 1)
    return settings(max_examples=max(1, few))


def arrays(seed: int, N: int, p: int, m: int, classes: int = 0):
    """((X, y), (X_val, y_val)) drawn from `seed`; real targets, or all of `classes` labels."""
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((N, p)), rng.standard_normal((m, p))
    if not classes:
        return (X, rng.standard_normal(N)), (X_val, rng.standard_normal(m))
    y = rng.integers(0, classes, N)
    y[:classes] = np.arange(classes)
    return (X, y), (X_val, rng.integers(0, classes, m))


@st.composite
def problems(draw, *, least_N: int = 4):
    """A `Problem` with mu > 0: ridge, binary or multinomial; N < p and N > p; with and without
    an intercept."""
    classes = draw(st.sampled_from([0, 2, 3]))
    N = draw(st.integers(max(least_N, classes + 1), 14))
    p, m = draw(st.integers(1, 10)), draw(st.integers(1, 8))
    mu, intercept = draw(st.sampled_from([1e-2, 0.3])), draw(st.booleans())
    train, val = arrays(draw(st.integers(0, 10**6)), N, p, m, classes)
    model = bdt.Logistic(mu, intercept) if classes else bdt.Ridge(mu, intercept)
    return bdt.Problem(model, train=train, val=val)


@st.composite
def weighted_problems(draw, **kwargs):
    """(problem, weights (N,) on the simplex, all positive)."""
    problem = draw(problems(**kwargs))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    w = rng.random(problem.N) + 0.05
    return problem, w / w.sum()


def raw(problem):
    """(X, y) of the training data as the user gave them, and the same for validation."""

    def undo(data):
        X = data.X[:, :-1] if problem.model.fit_intercept else data.X
        if problem.classes is None:
            return X, data.y
        code = (data.y > 0).astype(int) if data.K == 1 else data.y
        return X, np.asarray(problem.classes)[code]

    return undo(problem.train), undo(problem.val)


def rebuilt(problem, X, y):
    """The same problem with other training rows."""
    return bdt.Problem(problem.model, train=(X, y), val=raw(problem)[1])
