"""Regression with the truth known: exact instances for the claims, noisy ones for the methods."""

from __future__ import annotations

import numpy as np

from ..models.checks import check_choice, check_count, check_number, check_ridge
from ..rowspace import row_space
from .absolute import LeastAbsolute
from .parts import check_kept, check_seed, check_share, sources, split
from .task import Task


def linear(
    seed: int = 0,
    *,
    p: int = 20,
    m: int = 30,
    n_useful: int = 9,
    n_useless: int = 6,
    A1: bool = True,
    A2: bool = True,
    A3: bool = True,
    A4: bool = True,
    A5: bool = True,
) -> Task:
    """A squared-loss instance with mu = 0 in which one keyword drops one assumption, A1 to A5.

        y_val = X_val theta0,   y_i = x_i.theta0 + s_i,   theta0, X_val, x_i ~ N(0, I)
        s_i = 0 for the first n_useful rows, random sign times uniform in [1, 3] for the others

    Rows with s_i != 0 are projected on the row space of X_val (all of R^p for m >= p), where the
    validation data contradict them. For m < p S_val is more than a point.

    Parameters
    ----------
    seed : whole number >= 0. All random numbers are drawn before any assumption is dropped, so two
        instances that differ in a keyword differ only where its line says so.
    p, m : parameters, validation samples. N = n_useful + n_useless training samples.
    n_useful, n_useless : counts >= 1. A2 needs N <= p and n_useless <= m.
    A1 : False: the last row is x_i = 0 with y_i = s_i, which no theta fits. The other assumptions
        stay; by the letter of the definition that row is useful (every theta minimises its loss).
    A2 : False: the second useless row repeats the first with the opposite s_i. The others stay.
    A3 : False: s_i != 0 everywhere. The others stay; A2 then needs N <= m.
    A4 : False: s_i = 0 everywhere, so that the whole set is jointly useful. The others stay.
    A5 : False: the model is `LeastAbsolute()`. The data, hence A1 to A4, stay.

    Returns
    -------
    Task with X (N, p), X_val (m, p), noise-free y_val, `clean` = (s_i = 0), `theta0` (p,), mu = 0,
    no test data. Without A1 the last row is not clean.

    Raises
    ------
    ValueError : for counts that leave no room for an assumption, and for A3 with A4, or A2 with A4,
        dropped together.

    Source: theory.md, "Instance with A1-A5 and S_val a point" (p=20, m=30), and C05 (m=8).

    Examples
    --------
    >>> task = linear(seed=0)
    >>> task
    Task('linear', N=15, p=20, m=30, clean=9, mu=0)
    >>> X, y = task.train
    >>> (abs(X @ task.theta0 - y) < 1e-9).tolist() == task.clean.tolist()
    True
    """
    check_seed(seed)
    for name, value in {"p": p, "m": m, "n_useful": n_useful, "n_useless": n_useless}.items():
        check_count(value, name, try_=10)
    kept = {"A1": A1, "A2": A2, "A3": A3, "A4": A4, "A5": A5}
    _check_room(kept, p, m, n_useful, n_useless)
    rng = np.random.default_rng([seed, 4])
    N = n_useful + n_useless
    theta0 = rng.standard_normal(p)
    X_val = rng.standard_normal((m, p))
    X = rng.standard_normal((N, p))
    s = rng.choice([-1.0, 1.0], N) * rng.uniform(1.0, 3.0, N)
    if A3:
        s[:n_useful] = 0.0
    X[s != 0] = _project(X[s != 0], X_val)
    if not A4:
        s[: N if A1 else N - 1] = 0.0
    if not A2:
        X[n_useful + 1], s[n_useful + 1] = X[n_useful], -s[n_useful]
    if not A1:
        X[-1] = 0.0
    return Task(
        "linear",
        train=(X, X @ theta0 + s),
        val=(X_val, X_val @ theta0),
        mu=0.0,
        clean=s == 0,
        theta0=theta0,
        model=None if A5 else LeastAbsolute(),
    )


def _check_room(kept: dict, p: int, m: int, n_useful: int, n_useless: int) -> None:
    """No contradiction between the dropped assumptions, and rows enough for the kept ones."""
    conflicts = {
        ("A1", "A3"): "a row x_i = 0 is useful by the letter of the definition",
        ("A3", "A4"): "every sample is useful or useless",
        ("A2", "A4"): "a set without useless samples is made jointly useful here",
    }
    check_kept(kept, conflicts)
    least = 1 + (not kept["A1"]) + (not kept["A2"])  # rows used up, and one useless row to stay
    if kept["A4"] and n_useless < least:
        raise ValueError(
            f"n_useless is {n_useless}; needed at least {least} without the dropped assumptions; "
            f"try n_useless={least}"
        )
    # Independent rows can be fitted together whatever their targets; those with s_i != 0 lie in the
    # row space of X_val, of dimension min(m, p).
    N, r = n_useful + n_useless, min(m, p)
    shifted = n_useless if kept["A3"] else N
    if kept["A2"] and kept["A4"] and (p < N or r < shifted):
        raise ValueError(
            f"{N} training rows, {shifted} of them shifted, with p = {p}, m = {m}; needed at most "
            "p in all and min(m, p) shifted for A2; try fewer rows, a larger m and p, or A2=False"
        )


def _project(X: np.ndarray, X_val: np.ndarray) -> np.ndarray:
    """The rows of X (n, p) projected on the row space of X_val (m, p); unchanged for m >= p."""
    if len(X_val) >= X.shape[1]:  # Gaussian rows: the row space is all of R^p
        return X
    V = row_space(X_val).V
    return (X @ V) @ V.T


def noisy_regression(
    seed: int = 0,
    *,
    N: int = 2000,
    p: int = 50,
    m: int = 500,
    n_test: int = 5000,
    corrupt: float = 0.4,
    kind: str = "noise",
    n_groups: int = 20,
    noise: float = 0.1,
    mu: float = 1e-2,
) -> Task:
    """A ridge regression in which a share of the training targets says something else.

        y = X theta0 + noise e,   theta0 ~ N(0, I/p),   rows of X ~ N(0, I),   e ~ N(0, 1)

    Parameters
    ----------
    seed : whole number >= 0.
    N, p, m, n_test : training samples, parameters, validation and test samples (n_test may be 0).
    corrupt : share of bad training samples; for kind="groups" the share of bad sources.
    kind : what a bad target is. "noise": 2 e' + 1, e' ~ N(0, 1). "systematic": x_i.theta1
        + noise e' with one wrong theta1 ~ N(0, I/p). "groups": as "noise", for all samples of a
        bad source.
    n_groups : number of sources for kind="groups": sample i is from source i mod n_groups.
    noise : standard deviation of the noise on the targets, in their units.
    mu : ridge, in units of squared features.

    Returns
    -------
    Task with `clean` (False for bad targets), `theta0` (p,), and `groups` for kind="groups".

    Raises ValueError for an argument out of range.

    Source: the kind "noise" with its defaults is problem P1 of the benchmarks.

    Examples
    --------
    >>> noisy_regression(N=100, m=20, n_test=0, corrupt=0.25, kind="groups")
    Task('noisy_regression', N=100, p=50, m=20, clean=75, mu=0.01)
    """
    check_seed(seed)
    for name, value in {"N": N, "p": p, "m": m, "n_groups": n_groups}.items():
        check_count(value, name, try_=20)
    check_count(n_test, "n_test", least=0, try_=1000)
    check_share(corrupt, "corrupt")
    check_choice(kind, "kind", ("noise", "systematic", "groups"))
    check_number(noise, "noise", least=0.0, try_="noise=0.1")
    check_ridge(mu)
    rng = np.random.default_rng([seed, 1])
    theta0 = rng.standard_normal(p) / np.sqrt(p)
    X = rng.standard_normal((N + m + n_test, p))
    y = X @ theta0 + noise * rng.standard_normal(len(X))
    bad, groups = rng.random(N) < corrupt, None
    if kind == "groups":
        groups, bad = sources(rng, N, n_groups, corrupt)
    rows = np.flatnonzero(bad)
    if kind == "systematic":
        theta1 = rng.standard_normal(p) / np.sqrt(p)
        y[rows] = X[rows] @ theta1 + noise * rng.standard_normal(len(rows))
    else:
        y[rows] = 2.0 * rng.standard_normal(len(rows)) + 1.0
    train, val, test = split(X, y, N, m)
    return Task("noisy_regression", train, val, mu, test, ~bad, groups, theta0)
