"""C15: interpolation makes weights inert.

Claim: (here) Squared loss, rows that can be fitted together (A2, independent rows, p >= N): for
    every w > 0, with theta* the minimum-norm interpolator of all rows and sigma the least non-zero
    singular value of X, norm(theta_mu(w) - theta*) <= norm(theta*) mu / (mu + min w sigma^2). Why:
    theta* - theta_mu(w) = mu (X'WX + mu I)^-1 theta*, and X'WX >= min w sigma^2 on the row space.
    So selection acts only at the boundary of the simplex, and the gradient in omega is O(mu).
Assumptions: A2 with independent rows; all w_i > 0; mu > 0.
Check: the package's distance over the bound for random w and mu = 1 .. 1e-8, theta* by NumPy; its
    tight case theta* = the least singular direction, w uniform, where both are equal; the distance
    to NumPy's re-fit; the power of mu in the distance and in the gradient w * (g - w.g).
Control: A2 dropped by equal rows with different labels: theta = (.5, 0, 0) at w = (.5, .5) and
    (.1, 0, 0) at (.9, .1) whatever mu. w_i = 0 for some i: theta tends to the interpolator of the
    others, at a distance from theta* that does not depend on mu.
Not covered: where a search ends that is trapped by this (figure trap, with an instance in which
    weights of small L_val are known to exist: for theta0 in general position a large L_val at
    mu > 0 can come from the minimum-norm re-fit of the useful rows, and says nothing of a search);
    how small min w has to be for weights to matter on other data.
Runtime: about 0.1 s a seed.
"""

from __future__ import annotations

import numpy as np

from bdtheory import Ridge, hypergradient
from bdtheory.hypergradient import refit
from bdtheory.tasks import Task

from .claim import Band, Claim, Expect
from .reference import least_squares

CLAIM = Claim("C15", "Interpolation makes weights inert", "here", figure="trap")
MUS = 10.0 ** -np.arange(9)  # 1 .. 1e-8
LARGE, SMALL = 1e-6, 1e-8  # between which the power of mu is taken
# 1 - O(mu / (min w sigma^2)), with min w > 1/160 and sigma^2 > .1: below 2e-3 at mu = 1e-6, and
# a power loses a fifth of it.
LINEAR = Band.around(1.0, 1e-3)
ONE = Band.around(1.0, 1e-6)  # two exact formulas, condition numbers up to 1e4
BOUNDED = Band(0.0, 1.0 + 1e-6)
NEAR = Band.around(1.0, 1e-3)  # the first order in mu / (min w sigma^2), below 1e-4 at mu = 1e-8
EXACT = Band.around(0.0, 1e-9)


def make_instance(rng: np.random.Generator, *, A2: bool = True, tight: bool = False) -> Task:
    """N = 8 rows in p = 20 dimensions, X, y, X_val ~ N(0, 1).

    tight: y = sigma u for the last left singular vector u, so that theta* is the last right one.
    Without A2: N = 2 equal rows of length 1 in p = 3, with the labels 0 and 1, in random
    coordinates.
    """
    N, p, m = (8, 20, 10) if A2 else (2, 3, 5)
    X, y = rng.standard_normal((N, p)), rng.standard_normal(N)
    if tight:
        U, sigma, _ = np.linalg.svd(X, full_matrices=False)
        y = sigma[-1] * U[:, -1]
    if not A2:
        X, y = np.tile(X[0] / np.linalg.norm(X[0]), (2, 1)), np.array([0.0, 1.0])
    val = rng.standard_normal((m, p)), rng.standard_normal(m)
    return Task("interpolated", (X, y), val, mu=0.0)


def some_weights(rng: np.random.Generator, N: int, *, positive: bool = True) -> np.ndarray:
    """(6, N): uniform, then random with min w > .05 / N; without `positive` the first weight is 0.

    (Before they are divided by their sum, 1.1, the random ones are at least .1 / N.)
    """
    w = np.vstack([np.ones(N), rng.dirichlet(np.ones(N), size=5) + 0.1 / N])
    if not positive:
        w[:, 0] = 0.0
    return w / w.sum(axis=1, keepdims=True)


def measure(task: Task, weights: np.ndarray) -> dict[str, float]:
    """Distances from theta*, (mus, weights), over the bound and as powers of mu."""
    (X, y), star = task.train, least_squares(*task.train)
    thetas = np.array([[refit(task.problem(Ridge(mu)), w).theta for w in weights] for mu in MUS])
    by_numpy = np.array([[reference(X, y, w, mu) for w in weights] for mu in MUS])
    distance = np.linalg.norm(thetas - star, axis=-1)
    sigma = np.linalg.svd(X, compute_uv=False)
    low = weights.min(axis=1) * sigma[sigma > 1e-10 * sigma[0]][-1] ** 2
    over = distance / (np.linalg.norm(star) * MUS[:, None] / (MUS[:, None] + low))
    return {
        "over bound": float(over.max()),
        "uniform over bound, least": float(over[:, 0].min()),
        "error": float(np.abs(thetas - by_numpy).max() / np.linalg.norm(star)),
        "power": power(distance[-3].max(), distance[-1].max()),
        "power of gradient": power(*(movement(task, mu, weights) for mu in (LARGE, SMALL))),
        "distance": float(distance[-1].max() / np.linalg.norm(star)),
        "first fit": float(X[0] @ thetas[-1, 0]),
        "second fit": float(X[0] @ thetas[-1, 1]),
    }


def reference(X: np.ndarray, y: np.ndarray, w: np.ndarray, mu: float) -> np.ndarray:
    """theta_mu(w) by NumPy, least squares on the rows sqrt(w_i) x_i and sqrt(mu) I, (p,)."""
    p = X.shape[1]
    rows = np.vstack([np.sqrt(w)[:, None] * X, np.sqrt(mu) * np.eye(p)])
    return np.linalg.lstsq(rows, np.append(np.sqrt(w) * y, np.zeros(p)), rcond=None)[0]


def movement(task: Task, mu: float, weights: np.ndarray) -> float:
    """The largest entry of the gradient in omega, w * (g - w.g), over the weights."""
    problem = task.problem(Ridge(mu))
    slopes = [hypergradient(problem, w)[1] for w in weights]
    return float(max(np.abs(w * (g - w @ g)).max() for w, g in zip(weights, slopes, strict=True)))


def power(large: float, small: float) -> float:
    """The power of mu in a quantity, from its values at LARGE and SMALL."""
    return float(np.log(large / small) / np.log(LARGE / SMALL))


def expect_inert(numbers: dict[str, float], expect: Expect) -> None:
    """What the claim says of any instance with its assumptions."""
    expect("distance from theta* over its bound, largest", numbers["over bound"], BOUNDED)
    expect("distance from NumPy's re-fit, relative", numbers["error"], EXACT)
    expect("power of mu in the distance", numbers["power"], LINEAR)
    expect("power of mu in the gradient in omega", numbers["power of gradient"], LINEAR)


def test_holds(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed)
    expect_inert(measure(make_instance(rng), some_weights(rng, 8)), expect)


def test_holds_with_equality(seed: int, expect: Expect) -> None:
    """theta* along the least singular direction, w uniform: the bound is the distance."""
    rng = CLAIM.rng(seed)
    numbers = measure(make_instance(rng, tight=True), some_weights(rng, 8))
    expect("distance over bound, largest of all w", numbers["over bound"], ONE)
    # 1 - O(rounding / mu) at the least mu, 1e-8.
    expect("the same for uniform w, least", numbers["uniform over bound, least"], ONE)


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    weights = np.array([[0.5, 0.5], [0.9, 0.1]])
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A2=False), weights)
    expect("x.theta at w = (.5, .5)", numbers["first fit"], Band.around(0.5, 1e-7))
    expect("x.theta at w = (.9, .1)", numbers["second fit"], Band.around(0.1, 1e-7))
    # (.5 - .1) / .5; theta* is the least-squares solution, .5 x.
    expect("distance from theta*, relative, mu = 1e-8", numbers["distance"], Band.around(0.8, 1e-6))
    expect("power of mu in the distance", numbers["power"], Band.around(0.0, 1e-6))


def test_fails_without_positive_weights(seed: int, expect: Expect) -> None:
    """Sample 1 at weight 0: the limit is the interpolator of the others, at any mu."""
    rng = CLAIM.rng(seed, 1)
    task = make_instance(rng)
    numbers = measure(task, some_weights(rng, 8, positive=False))
    (X, y), star = task.train, least_squares(*task.train)
    predicted = np.linalg.norm(least_squares(X[1:], y[1:]) - star) / np.linalg.norm(star)
    expect("distance over NumPy's limit, mu = 1e-8", numbers["distance"] / predicted, NEAR)
    expect("power of mu in the distance", numbers["power"], Band.around(0.0, 1e-3))


def test_recovers(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed, 1)
    expect_inert(measure(make_instance(rng), some_weights(rng, 8)), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """The bound is used to a good part, and at mu = 1 weights matter."""
    rng = CLAIM.rng(seed)
    task, weights = make_instance(rng), some_weights(rng, 8)
    used = measure(task, weights)["over bound"]
    expect("distance over bound, largest", used, Band(0.1, 1.1))
    thetas = np.array([refit(task.problem(Ridge(1.0)), w).theta for w in weights])
    spread = np.linalg.norm(thetas - thetas[0], axis=1).max() / np.linalg.norm(thetas[0])
    expect("spread of theta over w, mu = 1", spread, Band(0.1, 10.0))
