"""C14: learned weights overfit validation.

Claim: (here) mu > 0, theta(w) independent of the validation draw: for the weights w^ of least L_val
    E[min_w L_val] <= min_w L_test <= E[L_test(theta(w^))], so that the mean test-minus-validation
    gap of learned weights is >= 0; it falls like 1/m. Why: L_val(theta(w)) has the mean
    L_test(theta(w)) for each fixed w, and a minimum of means is above the mean of the minima. To
    first order in 1/m the gap is k sigma^2 / m for k free weights, where the model is right at the
    best w and the noise has variance sigma^2.
Assumptions: theta(w) does not depend on the validation draw, which is what mu > 0 ensures; for the
    rate 1/m: a best w inside the simplex, smooth theta(w).
Check: weights learned on independent validation draws, m = 20 .. 320, L_test exact; the gap less
    that of the best fixed w, whose mean is 0: its slope in m over its decades, and its size at
    m = 320 over k sigma^2 / m; the same gap as it is, in standard errors. The two inequalities on
    a finite set of weights.
Control: w fixed instead of learned: mean gap 0 in standard errors, mean absolute gap of slope -1/2.
    mu = 0, where the optimistic re-fit of a *fixed* w follows the validation draw: mean gap
    s^2/2 (q/m + q/(m-q-1)), with q = p - N directions left open and s^2 the residual variance.
Not covered: heavy tails; weights at the boundary of the simplex, where k is smaller; early stopping
    and other ways to fit validation less, of which `Auto` is one (figure weight_overfitting).
Runtime: about 0.9 s a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bdtheory import Implicit, Problem, Ridge, hypergradient, learn_weights, softmax
from bdtheory.hypergradient import mean_loss, refit

from .claim import Band, Claim, Expect

CLAIM = Claim("C14", "Learned weights overfit validation", "here", figure="weight_overfitting")
SIZES = (20, 40, 80, 160, 320)  # m
SIGMA, MU = 0.02, 0.3


@dataclass(frozen=True)
class Instance:
    """Training data and the law of the validation draws: x ~ N(0, I), y = x.theta0 + SIGMA e.

    theta0 = theta(best) at the ridge MU. `learned`: whether w is learned, or `best` itself;
    `draws` validation sets for each m, which `rng` makes.
    """

    X: np.ndarray
    y: np.ndarray
    mu: float
    theta0: np.ndarray
    best: np.ndarray
    learned: bool
    draws: int
    rng: np.random.Generator

    def draw(self, m: int) -> Problem:
        """The problem with a validation set of m samples."""
        X_val = self.rng.standard_normal((m, len(self.theta0)))
        val = X_val, X_val @ self.theta0 + SIGMA * self.rng.standard_normal(m)
        return Problem(Ridge(self.mu), (self.X, self.y), val)

    def test_loss(self, theta: np.ndarray) -> float:
        """E of (x.theta - y)^2 / 2, exactly."""
        return float(np.sum((theta - self.theta0) ** 2) + SIGMA**2) / 2


def make_instance(
    rng: np.random.Generator, *, learned: bool = True, mu_positive: bool = True
) -> Instance:
    """N = 6 training samples, p = 8; y about 4 or -4, so that weights move theta by 1, not SIGMA.

    Fixed weights cost one re-fit a draw and not 6, and have more draws.
    """
    N, p = 6, 8
    X, y = rng.standard_normal((N, p)), rng.choice([-1.0, 1.0], N) * rng.uniform(3, 5, N)
    best = rng.dirichlet(np.full(N, 8.0))
    theta0 = np.linalg.solve((X.T * best) @ X + MU * np.eye(p), X.T @ (best * y))
    mu, draws = MU if mu_positive else 0.0, 25 if learned else 100
    return Instance(X, y, mu, theta0, best, learned, draws, rng)


def measure(instance: Instance) -> dict[str, np.ndarray]:
    """Over the sizes m, (5,) each: means of the gap, its absolute value, its standard error, and of
    the gap less that of `best`, whose mean is 0 where mu > 0."""
    B = whitened(instance)
    rows = []
    for m in SIZES:
        found = np.array([gaps(instance, instance.draw(m), B) for _ in range(instance.draws)])
        gap, known = found.T
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        rows.append((gap.mean(), np.abs(gap).mean(), error, (gap - known).mean()))
    return dict(zip(("gap", "absolute", "error", "less known"), np.array(rows).T, strict=True))


def gaps(instance: Instance, problem: Problem, B: np.ndarray) -> tuple[float, float]:
    """L_test - L_val at the weights that were learned, or at `best`; and the same at theta0."""
    w = learn(instance, problem, B) if instance.learned else instance.best
    found, known = refit(problem, w).theta, instance.theta0
    return gap_at(instance, problem, found), gap_at(instance, problem, known)


def gap_at(instance: Instance, problem: Problem, theta: np.ndarray) -> float:
    """L_test - L_val at theta."""
    return instance.test_loss(theta) - mean_loss(problem, theta, problem.val)


def learn(instance: Instance, problem: Problem, B: np.ndarray) -> np.ndarray:
    """argmin of L_val(theta(w)) from `best`, by its exact gradient, w = softmax(log best + B z).

    The Hessian in z is about I: a gradient of 3e-3 leaves 5e-6 sigma^2, 1e-3 of the gap at m = 320.
    """

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        w = softmax(np.log(instance.best) + B @ z)
        value, g = hypergradient(problem, w)
        return value / SIGMA**2, (w * (g - w @ g)) @ B / SIGMA**2

    z = minimize(objective, np.zeros(B.shape[1]), jac=True, method="BFGS", options={"gtol": 3e-3}).x
    return softmax(np.log(instance.best) + B @ z)


def whitened(instance: Instance) -> np.ndarray:
    """B (N, N - 1) with theta(softmax(log best + B z)) = theta0 + SIGMA U z + O(z^2), U'U = I.

    Coordinates in which the Hessian of L_test is the identity: BFGS then takes few steps.
    """
    X, w, N = instance.X, instance.best, len(instance.best)
    H = (X.T * w) @ X + MU * np.eye(X.shape[1])
    slope = -np.linalg.solve(H, X.T * (X @ instance.theta0 - instance.y))  # d theta / d w
    _, s, Vt = np.linalg.svd(slope @ (np.diag(w) - np.outer(w, w)), full_matrices=False)
    return SIGMA * Vt[: N - 1].T / s[: N - 1]


def slope_in_m(values: np.ndarray) -> float:
    """The slope of log values against log m."""
    return float(np.polyfit(np.log(SIZES), np.log(values), 1)[0])


def least_squares_gap(k: int, variance: float) -> np.ndarray:
    """The mean gap of least squares with k parameters, x ~ N(0, I), over SIZES, (5,).

    variance / 2 (k / m + k / (m - k - 1)): E L_val = (1 - k/m) variance / 2, and E L_test - the
    same for the trace k / (m - k - 1) of the mean inverse Wishart matrix.
    """
    m = np.array(SIZES)
    return variance / 2 * (k / m + k / (m - k - 1))


# For k = 5: a draw's gap less the known part is about chi^2_5 sigma^2 / m, with the relative
# deviation sqrt(2/5) = .63; of 25 draws .13. Hence standard errors of .06 for the slope (.13 / 2.2,
# with 2.2 the root of the sum of squares of log m about its mean) and for the mean ratio of five
# sizes (.13 / sqrt(5)). The bands have four of them. -1.05 is the slope of 1/m + 1/(m - 6).
SLOPE, RATIO = Band.around(-1.05, 0.24), Band.around(1.0, 0.24)
FOUR = Band.around(0.0, 4.0)  # standard errors: 1 in 16,000 by chance


def expect_overfitting(instance: Instance, expect: Expect) -> None:
    """What the claim says of any instance with its assumptions."""
    numbers, k = measure(instance), len(instance.y) - 1
    expect("slope in m of the mean gap", slope_in_m(numbers["less known"]), SLOPE)
    ratio = np.mean(numbers["less known"] / least_squares_gap(k, SIGMA**2))
    expect("mean gap over that of k = 5 parameters", ratio, RATIO)
    off = (numbers["gap"] - numbers["less known"]) / numbers["error"]
    expect("the gap as it is, in standard errors", off.sum() / 5**0.5, FOUR)


def test_holds(seed: int, expect: Expect) -> None:
    expect_overfitting(make_instance(CLAIM.rng(seed)), expect)


def test_holds_on_a_finite_set(seed: int, expect: Expect) -> None:
    """The two inequalities, for 20 weights and 1000 draws of m = 40, in units of sigma^2 / 2.

    theta(w) - theta0 is about .3 sigma in each of 5 directions; validation sees sigma / sqrt(40).
    """
    instance = make_instance(CLAIM.rng(seed))
    rng, unit = instance.rng, SIGMA**2 / 2
    z = 0.3 * rng.standard_normal((5, 20)) * (np.arange(20) > 0)
    weights = [softmax(np.log(instance.best) + move) for move in (whitened(instance) @ z).T]
    problem = instance.draw(1)
    thetas = np.array([refit(problem, w).theta for w in weights])
    test = np.array([instance.test_loss(theta) for theta in thetas]) / unit
    X_val, e = rng.standard_normal((1000, 40, 8)), SIGMA * rng.standard_normal((1000, 40, 1))
    val = np.mean((X_val @ (thetas - instance.theta0).T - e) ** 2, axis=1) / 2 / unit
    lower = test.min() - val.min(axis=1).mean()
    upper = test[val.argmin(axis=1)].mean() - test.min()
    expect("min L_test - E min L_val", lower, Band(0.0, 1.0))
    expect("E L_test(w^) - min L_test, share of the range", upper / np.ptp(test), Band(0.0, 1.0))
    centred = (val - test).mean(axis=0) / (val.std(axis=0) / 1000**0.5)
    expect("E L_val - L_test of a w, standard errors", centred[0], FOUR)


def test_fails_without_learning(seed: int, expect: Expect) -> None:
    """w fixed: L_val is a mean of m independent losses, and its mean is L_test."""
    numbers = measure(make_instance(CLAIM.rng(seed, 1), learned=False))
    off = numbers["gap"] / numbers["error"]
    expect("mean gap in standard errors, five sizes", off.sum() / 5**0.5, FOUR)
    # 100 draws: .76 / sqrt(100) / 2.2 = .035, the deviation of abs(gap) being .76 of its mean.
    slope = slope_in_m(numbers["absolute"])
    expect("slope in m of the mean absolute gap", slope, Band.around(-0.5, 0.14))


def test_fails_without_mu(seed: int, expect: Expect) -> None:
    """mu = 0: w is fixed, and yet theta(w) follows the validation draw, in q = 2 directions."""
    instance = make_instance(CLAIM.rng(seed, 1), learned=False, mu_positive=False)
    X, y, theta0 = instance.X, instance.y, instance.theta0
    missed = np.linalg.lstsq(X, y - X @ theta0, rcond=None)[0]  # X'X^+ (theta(w) - theta0)
    variance, q = float(SIGMA**2 + missed @ missed), X.shape[1] - len(y)
    numbers = measure(instance)
    expected = least_squares_gap(q, variance)
    off = (numbers["gap"] - expected) / numbers["error"]
    expect("mean gap less q = 2's, in standard errors", off.sum() / 5**0.5, FOUR)
    # .109 s^2 over .165 s^2 / sqrt(100), give or take four.
    first = numbers["gap"][0] / numbers["error"][0]
    expect("mean gap in standard errors, m = 20", first, Band.around(6.6, 4.0))


def test_recovers(seed: int, expect: Expect) -> None:
    expect_overfitting(make_instance(CLAIM.rng(seed, 1)), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """The learned weights differ from the best ones, and a method of the package finds them."""
    instance = make_instance(CLAIM.rng(seed))
    problem = instance.draw(SIZES[0])
    w = learn(instance, problem, whitened(instance))
    moved = np.linalg.norm(refit(problem, w).theta - instance.theta0) / SIGMA
    expect("norm(theta(w^) - theta0) / sigma, m = 20", moved, Band(0.05, 3.0))  # sqrt(5 / 20) = .5
    found = learn_weights(problem, Implicit(restarts=0)).val_loss
    expect(
        "L_val over that of Implicit", hypergradient(problem, w)[0] / found, Band.around(1.0, 0.01)
    )
