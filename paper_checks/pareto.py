"""Weakly Pareto points of (l_1..l_N): a hull test with certificates, the Pareto gap, two wells.

Losses here are functions of one residual: l_i = f(x_i.theta - y_i), grad l_i = f' x_i, with
f = r^2 / 2 (`Ridge`) or f = 1 - exp(-r^2) (`Wells`); logistic, l_i = log(1 + exp(-z_i.theta)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize, nnls

from bdtheory import Logistic, Problem, Ridge
from bdtheory.hypergradient import refit
from bdtheory.models import Data, Fit
from bdtheory.models.tabular import prepare

from .claim import Band

# What two wells come to (C01, C02), as stated: three digits.
WELLS_GAP = Band.around(0.142, 5e-4)
WELLS_VALUE = Band.around(0.458, 5e-4)
# Where w = (1/2, 1/2) puts theta: .458 = theta^2 / 2 with its rounding.
WELLS_THETA = Band(math.sqrt(2 * 0.4575), math.sqrt(2 * 0.4585))


# Losses without the package ----------------------------------------------------------------------


def losses(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """l_i(theta) (N,), by NumPy."""
    X, y = problem.train.X, problem.train.y
    if isinstance(problem.model, Logistic):
        return np.logaddexp(0.0, -y * (X @ theta))
    r = X @ theta - y
    return -np.expm1(-(r**2)) if isinstance(problem.model, Wells) else r**2 / 2


def gradients(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """grad l_i(theta) as rows, (N, p), by NumPy."""
    X, y = problem.train.X, problem.train.y
    if isinstance(problem.model, Logistic):
        return -(y * np.exp(-np.logaddexp(0.0, y * (X @ theta))))[:, None] * X
    r = X @ theta - y
    return (2 * r * np.exp(-(r**2)) if isinstance(problem.model, Wells) else r)[:, None] * X


def validation_loss(problem: Problem, theta: np.ndarray) -> float:
    """L_val for validation rows with the squared loss, by NumPy."""
    return float(np.mean((problem.val.X @ theta - problem.val.y) ** 2) / 2)


# Hull test ---------------------------------------------------------------------------------------

ZERO = 1e-9  # a distance from the hull, and a gradient's share of the largest, that count as 0


@dataclass(frozen=True, eq=False)
class Hull:
    """The answer for rows G (N, p): exactly one of these two is not None, and certifies it.

    `weights` (N,): w >= 0, sum w = 1, G'w = 0, at most p + 1 entries > 0: 0 is in the hull.
    `direction` (p,), of length 1: G d < 0 in every row, so it is not.
    """

    weights: np.ndarray | None
    direction: np.ndarray | None


def hull_test(G: np.ndarray) -> Hull:
    """Whether 0 is in the convex hull of the rows of G, with a certificate (Gordan).

    U has the rows of G with length 1. q = (U'w, 1'w - 1) with w >= 0 and ||q|| least (non-negative
    least squares, a finite active-set method) decides: q = 0 gives the weights; else the optimality
    conditions are U q_p + q_0 >= 0 and q_0 = -||q||^2, so that d = -q_p descends everywhere. The
    columns with w_i > 0 are independent in R^(p+1): a vertex. A row that is 0 is an answer itself.
    """
    size = np.linalg.norm(G, axis=1)
    if size.min() <= ZERO * size.max():
        return Hull(np.eye(len(G))[np.argmin(size)], None)
    U = G / size[:, None]
    A, b = np.vstack([U.T, np.ones(len(G))]), np.append(np.zeros(G.shape[1]), 1.0)
    w, distance = nnls(A, b)
    if distance > ZERO:
        d = -(A @ w - b)[:-1]
        return Hull(None, d / np.linalg.norm(d))
    w = w / size
    return Hull(w / w.sum(), None)


def certificate_error(G: np.ndarray, hull: Hull) -> float:
    """How far the certificate is from exact when multiplied out; 0 for a strict descent direction.

    Weights: the largest of ||G'w|| / sum_i w_i ||G_i|| and the violations of the simplex.
    """
    if hull.weights is None:
        return max(0.0, float(np.max(G @ hull.direction)))
    w = hull.weights
    balance = np.linalg.norm(G.T @ w) / max(w @ np.linalg.norm(G, axis=1), 1e-300)
    single = np.count_nonzero(w) == 1  # a gradient that is 0 up to rounding: nothing to balance
    return float(max(0.0 if single else balance, -w.min(), abs(w.sum() - 1)))


# The Pareto gap ----------------------------------------------------------------------------------


def pareto_gap(problem: Problem, theta: np.ndarray) -> tuple[float, np.ndarray]:
    """G(theta) = sup over theta' of min_i (l_i(theta) - l_i(theta')), and its theta'; by SciPy.

    maximise t subject to l_i(theta') + t <= l_i(theta), a smooth convex programme where the l_i
    are convex (SLSQP from theta; losses in units of their mean, for the sake of its tolerances).
    Two wells are not convex: it then starts from points across both as well.
    """
    before, last = losses(problem, theta), np.eye(len(theta) + 1)[-1]
    unit, ones = float(before.mean()), np.ones((len(before), 1))
    starts = [theta]
    if isinstance(problem.model, Wells):
        X, y = problem.train.X, problem.train.y
        starts += [np.array([c]) for c in np.linspace(min(y / X[:, 0]), max(y / X[:, 0]), 9)]
    best, where = 0.0, theta  # theta' = theta
    for start in starts:
        run = minimize(
            lambda z: -z[-1],
            np.append(start, 0.0),
            jac=lambda z: -last,
            method="SLSQP",
            constraints={
                "type": "ineq",
                "fun": lambda z: (before - losses(problem, z[:-1])) / unit - z[-1],
                "jac": lambda z: -np.hstack([gradients(problem, z[:-1]) / unit, ones]),
            },
            options={"ftol": 1e-15, "maxiter": 200},
        )
        value = float(np.min(before - losses(problem, run.x[:-1])))
        best, where = (value, run.x[:-1]) if value > best else (best, where)
    return best, where


def multipliers(problem: Problem, theta: np.ndarray, best: np.ndarray) -> np.ndarray:
    """w on the simplex (N,) with sum_i w_i grad l_i(theta') = 0 on the samples that limit t.

    The optimality conditions of `pareto_gap` at its theta' = `best`; F_w(theta) - v(w) for this w
    is then G(theta) where the l_i are convex, and an upper bound on min_w of it in any case.
    """
    fall = losses(problem, theta) - losses(problem, best)
    # Falls that limit t agree to 1e-9 or better; those that do not are seen above 1e-6.
    active = fall <= fall.min() + 1e-7 * losses(problem, theta).max()
    G = gradients(problem, best)[active]
    size = np.linalg.norm(G) or 1.0
    A, b = np.vstack([G.T / size, np.ones(len(G))]), np.append(0.0 * best, 1.0)
    w = np.zeros(len(fall))
    w[active] = nnls(A, b)[0]
    return w / w.sum()


def inner_gap(problem: Problem, theta: np.ndarray, w: np.ndarray) -> float:
    """F_w(theta) - v(w), with v(w) from the package's re-fit."""
    model, data = problem.model, problem.train
    return float(w @ (model.losses(theta, data) - model.losses(refit(problem, w).theta, data)))


# Instances ---------------------------------------------------------------------------------------


def contradictory(rng: np.random.Generator, *, p: int, N: int, m: int = 8) -> Problem:
    """Squared loss, mu = 0: all features and targets N(0, 1), so that no theta fits p + 1 samples.

    A1, A5 hold, A2 for N <= p only; A3 where S_val meets some S_i, for m >= p with probability 0.
    """
    X, y = rng.standard_normal((N, p)), rng.standard_normal(N)
    return Problem(Ridge(0.0), (X, y), (rng.standard_normal((m, p)), rng.standard_normal(m)))


def two_wells(rng: np.random.Generator, *, A5: bool = False) -> Problem:
    """l = 1 - exp(-(u -+ 1)^2) and L_val = u^2 / 2, for u = b theta - c with random b and c.

    With A5 the wells are replaced by squares of the same minimisers, (u -+ 1)^2 / 2.
    """
    b, c = rng.uniform(0.5, 2.0), rng.uniform(-3.0, 3.0)
    train = np.array([[b], [b]]), np.array([c + 1.0, c - 1.0])
    return Problem(Ridge(0.0) if A5 else Wells(), train, (np.array([[b]]), np.array([c])))


def midpoint(problem: Problem) -> np.ndarray:
    """u = 0, theta = c / b, (1,)."""
    return problem.val.y / problem.val.X[:, 0]


@dataclass(frozen=True)
class Validation(Data):
    """Validation rows of `Wells`: their loss is squared."""


@dataclass(frozen=True)
class Wells:
    """l_i = 1 - exp(-(x_i theta - y_i)^2), p = 1; validation loss (x theta - y)^2 / 2. Not convex.

    theta(w) is the global minimiser of F_w; of several the one with the least L_val.
    """

    mu: ClassVar[float] = 0.0
    fit_intercept: ClassVar[bool] = False

    def prepare(self, train: Any, val: Any, test: Any):
        train, val, test, classes = prepare(train, val, test, fit_intercept=False)
        return train, Validation(val.X, val.y), test, classes

    def losses(self, theta: np.ndarray, data: Data) -> np.ndarray:
        r = data.X @ theta - data.y
        return r**2 / 2 if isinstance(data, Validation) else -np.expm1(-(r**2))

    def weighted_gradient(self, theta: np.ndarray, w: np.ndarray, data: Data) -> np.ndarray:
        r = data.X @ theta - data.y
        slope = r if isinstance(data, Validation) else 2 * r * np.exp(-(r**2))
        return (w * slope) @ data.X

    def fit(
        self,
        w: np.ndarray,
        data: Data,
        warm_start: Fit | None = None,
        *,
        val: Data | None = None,
    ) -> Fit:
        """The least of the local minima that Newton's method finds from 41 points.

        Every minimiser lies between the centres y_i / x_i, since all slopes agree outside.
        """
        x, y = data.X[:, 0], data.y
        theta = np.linspace(np.min(y / x), np.max(y / x), 41)[:, None]
        for _ in range(25):
            r = x * theta - y
            e = w * np.exp(-(r**2))
            slope, curve = (2 * r * x * e).sum(1), ((2 - 4 * r**2) * x**2 * e).sum(1)
            # |curve|: downhill also where F_w is concave; short steps, to stay in one valley.
            step = np.clip(slope / np.maximum(np.abs(curve), 1e-3 * x @ x), -0.1, 0.1)
            theta = theta - step[:, None]
        values = -np.expm1(-((x * theta - y) ** 2)) @ w
        good = theta[values <= values.min() + 1e-12]
        L_val = [0.0 if val is None else float(np.mean(self.losses(t, val))) for t in good]
        return Fit(good[int(np.argmin(L_val))], None, math.inf, math.inf)
