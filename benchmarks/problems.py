"""Four data-cleaning problems with the truth known, on which solvers are compared.

    from benchmarks.problems import make, problem_of
    problem = problem_of(make("P2", seed=0))

P1  ridge, y = X theta + .1 noise, theta ~ N(0, I/p); 40% of the training targets replaced by
    2 noise + 1.
P2  binary logistic, y = +-1 with P(+1) = sigmoid(X theta), theta ~ 3 N(0, I/p); 40% of the training
    labels flipped.
P3  multinomial logistic on scikit-learn's digits, scaled to [0, 1], a constant column added; half
    of the training labels redrawn uniformly.
P4  as P2 with 20 sources of equal size as groups: in 8 of them 60% of the labels are flipped, in
    the others 5%. The 8 are drawn by the seed.

P1 to P3 give the same numbers, bit for bit, as the script on which other libraries were measured
first (a generator for each problem and seed; the order of the draws is part of the definition).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import bdtheory as bdt

NAMES = ("P1", "P2", "P3", "P4")
TEST = 5_000  # test samples, except for P3: what is left of the digits
SOURCES, BAD_SOURCES = 20, 8  # of P4


class Instance(NamedTuple):
    """X (N, p), y (N,), the same for validation and test, and the truth.

    clean (N,): False where the training target differs from the one drawn. mu: the ridge of the
    lower level. groups (N,): the source of each training sample, or None.
    """

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    clean: np.ndarray
    mu: float
    groups: np.ndarray | None = None


def make(name: str, seed: int = 0) -> Instance:
    """The problem of that name, "P1" to "P4". ValueError for another name.

    Examples
    --------
    >>> make("P1").X.shape, round(float(make("P1").clean.mean()), 2)
    ((2000, 50), 0.6)
    """
    if name not in NAMES:
        raise ValueError(f"got {name!r}; needed one of {', '.join(NAMES)}; try make('P1')")
    rng = np.random.default_rng([seed, 1 + NAMES.index(name)])
    return {"P1": _ridge, "P2": _binary, "P3": _digits, "P4": _sources}[name](rng)


def problem_of(instance: Instance) -> bdt.Problem:
    """The instance as a `Problem`, with `Ridge` for real-valued targets, else `Logistic`."""
    few = len(np.unique(instance.y)) <= 20
    return bdt.Problem(
        bdt.Logistic(instance.mu) if few else bdt.Ridge(instance.mu),
        train=(instance.X, instance.y),
        val=(instance.X_val, instance.y_val),
        test=(instance.X_test, instance.y_test),
        groups=instance.groups,
    )


def _ridge(rng: np.random.Generator) -> Instance:
    N, p, m = 2_000, 50, 500
    theta = rng.standard_normal(p) / np.sqrt(p)
    X = rng.standard_normal((N + m + TEST, p))
    y = X @ theta + 0.1 * rng.standard_normal(len(X))
    bad = rng.random(N) < 0.4
    y[:N][bad] = 2.0 * rng.standard_normal(bad.sum()) + 1.0
    return _split(X, y, N, m, bad, 1e-2)


def _binary(rng: np.random.Generator) -> Instance:
    N, m = 5_000, 1_000
    X, y = _labelled(rng, N + m + TEST, 100)
    bad = rng.random(N) < 0.4
    y[:N][bad] *= -1
    return _split(X, y, N, m, bad, 1e-3)


def _digits(rng: np.random.Generator) -> Instance:
    from sklearn.datasets import load_digits  # only here: the digits come with scikit-learn

    N, m = 1_000, 400
    X, y = (np.asarray(a) for a in load_digits(return_X_y=True))
    order = rng.permutation(len(y))
    X, y = np.hstack([X[order] / 16.0, np.ones((len(y), 1))]), y[order].copy()
    redrawn = rng.random(N) < 0.5
    labels = y[:N].copy()
    labels[redrawn] = rng.integers(0, 10, redrawn.sum())
    bad = labels != y[:N]
    y[:N] = labels
    return _split(X, y, N, m, bad, 1e-3)


def _sources(rng: np.random.Generator) -> Instance:
    N, m = 2_000, 200
    X, y = _labelled(rng, N + m + TEST, 50)
    groups = np.arange(N) % SOURCES
    share = np.full(SOURCES, 0.05)
    share[rng.permutation(SOURCES)[:BAD_SOURCES]] = 0.6
    bad = rng.random(N) < share[groups]
    y[:N][bad] *= -1
    return _split(X, y, N, m, bad, 1e-3)._replace(groups=groups)


def _labelled(rng: np.random.Generator, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """X (n, p) and y = +-1 with P(+1) = sigmoid(X theta), theta ~ 3 N(0, I/p)."""
    theta = 3.0 * rng.standard_normal(p) / np.sqrt(p)
    X = rng.standard_normal((n, p))
    return X, np.where(rng.random(n) < 1 / (1 + np.exp(-X @ theta)), 1.0, -1.0)


def _split(X: np.ndarray, y: np.ndarray, N: int, m: int, bad: np.ndarray, mu: float) -> Instance:
    """N rows for training, m for validation, the rest for test."""
    at = (slice(N), slice(N, N + m), slice(N + m, None))
    parts = [a[rows] for rows in at for a in (X, y)]
    return Instance(*parts, clean=~bad, mu=mu)
