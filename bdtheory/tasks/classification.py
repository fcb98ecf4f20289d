"""Classification with the truth known: noisy labels, an exact separable instance, the digits."""

from __future__ import annotations

import numpy as np

from ..models.checks import check_choice, check_count, check_number, check_ridge
from .parts import check_kept, check_seed, check_share, sources, split
from .task import Pair, Task


def label_noise(
    seed: int = 0,
    *,
    N: int = 5000,
    p: int = 100,
    m: int = 1000,
    n_test: int = 5000,
    corrupt: float = 0.4,
    kind: str = "flip",
    n_groups: int = 20,
    mu: float = 1e-3,
) -> Task:
    """A binary classification in which a share of the training labels is not the one drawn.

        y = +1 with probability 1 / (1 + exp(-x.theta0)), else -1
        theta0 ~ 3 N(0, I/p),   rows of X ~ N(0, I)

    Parameters
    ----------
    seed : whole number >= 0.
    N, p, m, n_test : training samples, parameters, validation and test samples (n_test may be 0).
    corrupt : share of bad training samples; for kind="groups" the share of bad sources.
    kind : what a bad label is. "flip": the other label. "systematic": drawn as above from one
        wrong theta1 ~ 3 N(0, I/p), about half of them by chance the label drawn first. "groups":
        the other label, for all samples of a bad source.
    n_groups : number of sources for kind="groups": sample i is from source i mod n_groups.
    mu : ridge, in units of squared features.

    Returns
    -------
    Task with labels -1.0 and 1.0, `clean` (the label is the one drawn), `theta0` (p,), and `groups`
    for kind="groups".

    Raises ValueError for an argument out of range.

    Source: the kind "flip" with its defaults is problem P2 of the benchmarks.

    Examples
    --------
    >>> label_noise(N=100, m=20, n_test=0, corrupt=0.25, kind="groups")
    Task('label_noise', N=100, p=100, m=20, clean=75, mu=0.001)
    """
    check_seed(seed)
    for name, value in {"N": N, "p": p, "m": m, "n_groups": n_groups}.items():
        check_count(value, name, try_=20)
    check_count(n_test, "n_test", least=0, try_=1000)
    check_share(corrupt, "corrupt")
    check_choice(kind, "kind", ("flip", "systematic", "groups"))
    check_ridge(mu)
    rng = np.random.default_rng([seed, 2])
    theta0 = 3.0 * rng.standard_normal(p) / np.sqrt(p)
    X = rng.standard_normal((N + m + n_test, p))
    y = _draw_labels(rng, X, theta0)
    bad, groups = rng.random(N) < corrupt, None
    if kind == "groups":
        groups, bad = sources(rng, N, n_groups, corrupt)
    drawn, rows = y[:N].copy(), np.flatnonzero(bad)
    if kind == "systematic":
        y[rows] = _draw_labels(rng, X[rows], 3.0 * rng.standard_normal(p) / np.sqrt(p))
    else:
        y[rows] *= -1.0
    train, val, test = split(X, y, N, m)
    return Task("label_noise", train, val, mu, test, y[:N] == drawn, groups, theta0)


def _draw_labels(rng: np.random.Generator, X: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """+1.0 with probability sigmoid(x_i.theta), else -1.0, (n,)."""
    return np.where(rng.random(len(X)) < 1 / (1 + np.exp(-X @ theta)), 1.0, -1.0)


def separable(
    seed: int = 0,
    *,
    p: int = 5,
    m: int = 200,
    N: int = 40,
    corrupt: float = 0.4,
    margin: float = 0.3,
    mu: float = 1e-3,
    A1: bool = True,
    A2: bool = True,
    A3: bool = True,
    A4: bool = True,
    separable_val: bool = True,
) -> Task:
    """A binary logistic instance with separable validation data; one keyword, one assumption.

        y_val = sign(X_val theta0),   y = sign(X theta1),   norm(theta0) = norm(theta1) = 1,
        angle(theta0, theta1) = pi corrupt,   x ~ N(0, I) moved off both hyperplanes by `margin`

    A row is clean where both signs agree; clean rows are useful. Most of the others are useless for
    m >> p, but not all: at the default sizes 14.6 of 17.1 on average over 20 seeds, for p = 10 half
    of them. The first row repeats a validation row, the last one a validation row with the
    wrong label, so that A3 and A4 hold for certain.

    Parameters
    ----------
    seed : whole number >= 0.
    p, m, N : parameters >= 2, validation samples >= 3, training samples >= 4.
    corrupt : expected share of training rows that are not clean, in (0, 1).
    margin : least distance of a row from the hyperplane that labels it, in units of the features.
    mu : ridge, in units of squared features; the claims about this instance hold for every mu >= 0.
    A1 : False: the second row is x_i = 0. The others stay.
    A2 : False: y = sign(X theta0), with the last round(corrupt N) labels flipped; the last row is
        the first with the other label, so no theta fits both. The others stay.
    A3 : False: z_i = -(z~_j + z~_k) / sqrt(2) for random j, k: all are useless. The others stay.
    A4 : False: y = sign(X theta0), every row is clean and useful. The others stay.
    separable_val : False: the last two validation rows are some q, orthogonal to theta0, with both
        labels, and the last rows of the training set (a share `corrupt`, an even number) are q with
        both labels in turn: useless, though their pulls cancel. A1, A3, A4 stay. A2 goes: with it,
        claim C03 holds by its part (a) whether or not validation data are separable.

    Returns
    -------
    Task with labels -1.0 and 1.0, `clean` (N,), `theta0` (p,) of length 1, no test data. The row
    x_i = 0 and the rows q are not clean.

    Raises
    ------
    ValueError : for an argument out of range, too few validation rows to contradict anything, or
        assumptions dropped together that exclude one another.

    Source: theory.md, C03(b) and C04(b), with their controls.

    Examples
    --------
    >>> task = separable(seed=0)
    >>> X_val, y_val = task.val
    >>> bool((y_val * (X_val @ task.theta0)).min() > 0.29)
    True
    """
    _check_separable(seed, p, m, N, corrupt, margin, mu)
    conflicts = {
        ("A1", "A3"): "a row x_i = 0 is useful by the letter of the definition",
        ("A3", "A4"): "every sample is useful or useless",
        ("A2", "A4"): "samples with the labels of theta0 are fitted by theta0",
        ("A2", "A3"): "samples that are all useless are fitted by -theta0",
        ("A3", "separable_val"): "the rows without A3 are made from separable validation data",
    }
    kept = {"A1": A1, "A2": A2, "A3": A3, "A4": A4, "separable_val": separable_val}
    check_kept(kept, conflicts)
    rng = np.random.default_rng([seed, 5])
    theta0, theta1, q = _directions(rng, p, corrupt)
    X = _off_hyperplanes(rng.standard_normal((N + m, p)), np.stack([theta0, theta1]), margin)
    pairs = rng.integers(m, size=(N, 2))
    X, X_val = X[:N], X[N:]
    y, y_val = np.sign(X @ theta0), np.sign(X_val @ theta0)
    clean = np.ones(N, dtype=bool)
    if not separable_val:
        X_val[-2:], y_val[-2:] = q, (1.0, -1.0)
        if A4:
            _ask_both_ways(X, y, clean, q, corrupt)
    elif not A3:
        Z_val = y_val[:, None] * X_val
        X, clean = -y[:, None] * Z_val[pairs].sum(axis=1) / np.sqrt(2.0), ~clean
    elif A4:
        _relabel(X, y, clean, X_val, y_val, theta1, None if A2 else round(corrupt * N))
    if not A1:
        X[1], clean[1] = 0.0, False
    return Task("separable", (X, y), (X_val, y_val), mu, clean=clean, theta0=theta0)


def _check_separable(seed, p, m, N, corrupt, margin, mu) -> None:
    """Each argument of `separable` within its range."""
    check_seed(seed)
    check_count(p, "p", least=2, try_=5)
    check_count(m, "m", least=3, try_=200)
    check_count(N, "N", least=4, try_=40)
    check_share(corrupt, "corrupt", strict=True)
    check_number(margin, "margin", least=0.0, strict=True, try_="margin=0.3")
    check_ridge(mu)


def _directions(rng: np.random.Generator, p: int, corrupt: float) -> tuple[np.ndarray, ...]:
    """theta0, theta1 of length 1 at the angle pi corrupt, and q orthogonal to theta0, (p,) each.

    A random direction separates differently from theta0 with probability angle / pi = corrupt.
    """
    theta0, v, q = rng.standard_normal((3, p))
    theta0 /= np.linalg.norm(theta0)
    v -= (v @ theta0) * theta0
    theta1 = np.cos(np.pi * corrupt) * theta0 + np.sin(np.pi * corrupt) * v / np.linalg.norm(v)
    return theta0, theta1, q - (q @ theta0) * theta0


def _off_hyperplanes(X: np.ndarray, T: np.ndarray, margin: float) -> np.ndarray:
    """Rows of X (n, p) moved in the span of those of T (k, p): X T' grows by margin sign(X T')."""
    return X + margin * np.sign(X @ T.T) @ np.linalg.pinv(T).T


def _relabel(X, y, clean, X_val, y_val, theta1, flips: int | None) -> None:
    """Wrong labels where theta1 disagrees, or `flips` of them at the end, in place.

    The first row becomes a validation row, the last one a validation row with the wrong label.
    """
    N = len(y)
    agree = y_val * (X_val @ theta1)
    right, wrong = int(np.argmax(agree)), int(np.argmin(agree))
    if flips is None:
        if not agree[wrong] < 0 < agree[right]:
            raise ValueError(
                f"{len(y_val)} validation rows on which both labellings "
                f"{'agree' if agree[wrong] > 0 else 'differ'}; needed rows of either kind; "
                "try a larger m or another seed"
            )
        clean[:] = y == np.sign(X @ theta1)
    else:
        wrong = right
        clean[-min(max(flips, 1), N - 2) :] = False
    y[~clean] *= -1.0
    X[0], y[0], clean[0] = X_val[right], y_val[right], True
    X[-1], y[-1], clean[-1] = X_val[wrong], -y_val[wrong], False


def _ask_both_ways(X, y, clean, q, corrupt: float) -> None:
    """The last rows become (q, +1), (q, -1), ..., a pair or more, in place; the first two stay."""
    N = len(y)
    n = 2 * min(max(round(corrupt * N / 2), 1), (N - 2) // 2)
    X[N - n :], y[N - n :], clean[N - n :] = q, np.tile([1.0, -1.0], n // 2), False


def digits(
    seed: int = 0, *, corrupt: float = 0.5, N: int = 1000, m: int = 400, mu: float = 1e-2
) -> Task:
    """Handwritten digits, a share of whose training labels has been redrawn.

        x = (64 grey values / 16, 1),   y = the digit, or uniform on 0..9 with probability `corrupt`

    Parameters
    ----------
    seed : whole number >= 0.
    corrupt : share of training labels that are redrawn, in [0, 1]; a redrawn label is by chance the
        old one with probability 1/10.
    N, m : training and validation samples, N + m <= 1797; the rest is test.
    mu : ridge, dimensionless (the features are).

    Returns
    -------
    Task with X (N, 65), the last column 1, integer labels 0..9, `clean` (label unchanged).

    Raises
    ------
    ImportError : without scikit-learn, which brings the images.
    ValueError : for an argument out of range.

    Source: E. Alpaydin and C. Kaynak (1998), UCI "Optical Recognition of Handwritten Digits", the
    copy in scikit-learn. With mu=1e-3 it is problem P3 of the benchmarks.

    Examples
    --------
    >>> digits(N=100, m=50, corrupt=0.0)
    Task('digits', N=100, p=65, m=50, clean=100, mu=0.01)
    """
    check_seed(seed)
    check_share(corrupt, "corrupt")
    check_count(N, "N", try_=1000)
    check_count(m, "m", try_=400)
    check_ridge(mu)
    X, y = _load_digits()
    if N + m > len(y):
        raise ValueError(
            f"N + m is {N + m}; needed at most {len(y)}, the number of images; try N=1000, m=400"
        )
    rng = np.random.default_rng([seed, 3])
    order = rng.permutation(len(y))
    X, y = np.hstack([X[order] / 16.0, np.ones((len(y), 1))]), y[order]
    drawn = y[:N].copy()
    redrawn = np.flatnonzero(rng.random(N) < corrupt)
    y[redrawn] = rng.integers(0, 10, len(redrawn))
    train, val, test = split(X, y, N, m)
    return Task("digits", train, val, mu, test, clean=y[:N] == drawn)


def _load_digits() -> Pair:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            f"the digits come with scikit-learn, which is not here ({error}); "
            'try pip install "bdtheory[sklearn]"'
        ) from None
    X, y = load_digits(return_X_y=True)
    return np.asarray(X), np.asarray(y)
