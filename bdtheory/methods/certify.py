"""When a small L_val proves something: an inner gap, a lower bound on V_BDS, and their difference.

"A small L_val proves nothing unless theta is in S(w)" (theory.md, "What a certificate is").
"""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from array_api_compat import array_namespace

from ..hypergradient import mean_gradient
from ..models import Data, Logistic, Ridge
from ..models.fit import Fit
from ..problem import Array, Problem
from ..rowspace import column_scale, least_norm, row_space
from ..selection import to_numpy

# F_w(theta) - v(w) may be this share of the mean squared target at mu = 0, where S(w) is reached
# to rounding only.
INNER = 1e-12
# The ridge that makes the validation fit behind the dual bound unique; the bound holds for any.
DUAL_RIDGE = 1e-9


def certificate(problem: Problem, w: Array, fit: Fit, eps: float) -> dict[str, float]:
    """`upper_bound` on V_BDS at w, `lower_bound`, `inner_gap`, and the absolute tolerance `eps`.

    Empty where one of the three is not known: a model other than `Ridge` or `Logistic`, or an
    inner problem without a bound on its gap (an unpenalised intercept in `Logistic`).
    """
    if not isinstance(problem.model, Ridge | Logistic):
        return {}
    upper = _upper_bound(problem, w, fit)
    if not math.isfinite(upper):
        return {}
    lower, infimum = lower_bound(problem)
    return {
        "upper_bound": upper,
        "lower_bound": lower,
        "inner_gap": fit.gap,
        "eps": eps * max(1.0, infimum),
    }


_known: WeakKeyDictionary[Problem, tuple[float, float]] = WeakKeyDictionary()


def lower_bound(problem: Problem) -> tuple[float, float]:
    """(a lower bound on V_BDS, a lower bound on inf L_val), computed once for each problem.

    V_BDS >= inf L_val always. Ridge, mu = 0, under A2 (the training samples can all be fitted
    together): V_BDS = min over i of min over S_i of L_val, exactly (C16).
    """
    if problem not in _known:
        _known[problem] = _lower_bound(problem)
    return _known[problem]


def _lower_bound(problem: Problem) -> tuple[float, float]:
    if isinstance(problem.model, Logistic):
        infimum = _logistic_infimum(problem.val)
        return infimum, infimum
    # Columns of size 1: no bound here depends on the units of a feature.
    d = column_scale(to_numpy(problem.val.X), to_numpy(problem.train.X))
    val = _numpy(problem.val, d)
    theta_v = least_norm(val.X, val.y)
    infimum = 0.5 * float(np.mean((val.X @ theta_v - val.y) ** 2))
    if problem.model.mu > 0.0 or problem.model.tie_break != "validation":
        return infimum, infimum
    train = _numpy(problem.train, d)
    if not _can_all_be_fitted(train):
        return infimum, infimum
    return infimum + float(np.min(_price_of_fitting(train, val, theta_v))), infimum


def _upper_bound(problem: Problem, w: Array, fit: Fit) -> float:
    """L_val at the exact theta(w), bounded through the distance of the computed theta from it.

    mu > 0: |L_val(theta) - L_val(theta(w))| <= ||grad L_val|| d + L d^2 / 2 with d = ||theta -
    theta(w)|| and L = mean ||x_j||^2 >= the largest eigenvalue of the validation Hessian A.
    mu = 0: the computed theta itself, if its inner gap is at rounding level.
    """
    model, val = problem.model, problem.val
    xp = array_namespace(val.X)
    value = float(xp.mean(model.losses(fit.theta, val)))
    if model.mu == 0.0:
        size = float(xp.mean(problem.train.y**2)) if isinstance(model, Ridge) else 0.0
        return value if fit.gap <= INNER * size else math.inf
    g = to_numpy(mean_gradient(problem, fit.theta, val))
    L = float(xp.mean(xp.sum(val.X**2, axis=1)))
    d = fit.distance
    return value + float(np.linalg.norm(g)) * d + 0.5 * L * d * d  # inf, not OverflowError


def _can_all_be_fitted(train: Data) -> bool:
    """A2 for the squared loss: X theta = y is consistent."""
    theta = least_norm(train.X, train.y)
    scale = np.linalg.norm(train.X, axis=1) * np.linalg.norm(theta) + np.abs(train.y)
    return bool(np.all(np.abs(train.X @ theta - train.y) <= 1e-9 * scale))


def _price_of_fitting(train: Data, val: Data, theta_v: np.ndarray) -> np.ndarray:
    """min over S_i of L_val, minus L_val*, for every i, (N,).

    0 where x_i leaves the row space of X_val (a direction that validation cannot see fits it),
    else (x_i.theta_v - y_i)^2 / (2 x_i' A^+ x_i) with A = X_val' X_val / m.
    """
    V = row_space(val.X).V
    inside = train.X @ V
    outside = np.linalg.norm(train.X - inside @ V.T, axis=1)
    visible = outside <= 1e-9 * np.linalg.norm(train.X, axis=1)
    A = (val.X @ V).T @ (val.X @ V) / len(val)
    lever = np.sum(inside * np.linalg.solve(A, inside.T).T, axis=1)
    residual = train.X @ theta_v - train.y
    price = residual**2 / (2.0 * np.where(lever > 0, lever, 1.0))
    return np.where(visible & (lever > 0), price, 0.0)


def _logistic_infimum(val: Any) -> float:
    """A lower bound on inf L_val by weak duality; 0 where validation is (nearly) separable.

    For any probabilities q_j (K,) with sum_j x_j (q_j - onehot(y_j))' = 0,
    inf L_val >= (1/m) sum_j entropy(q_j). The probabilities of an almost optimal theta, moved along
    the Newton step so that the constraint holds exactly, are such a point if they stay >= 0.
    """
    data = _numpy(val)
    fit = Logistic(DUAL_RIDGE).fit(np.full(len(data), 1.0 / len(data)), data)
    T = data.X @ fit.theta
    if data.K == 1:  # two classes: scores (0, y-signed score) as two columns
        T = np.stack([-T / 2, T / 2], axis=1)
        y = (data.y > 0).astype(int)
    else:
        y = data.y
    P = np.exp(T - T.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    Q = P - _least_change(data.X, P, P - np.eye(P.shape[1])[y])
    if not np.all(np.isfinite(Q)) or Q.min() < 0.0:
        return 0.0
    return float(-np.sum(np.where(Q > 0, Q * np.log(np.where(Q > 0, Q, 1.0)), 0.0)) / len(data))


def _least_change(X: np.ndarray, P: np.ndarray, R: np.ndarray) -> np.ndarray:
    """D (m, K) with X'D = X'R and rows C_j B'x_j, C_j = diag(P_j) - P_j P_j', which sum to 0."""
    p, K = X.shape[1], P.shape[1]
    C = np.einsum("jk,kl->jkl", P, np.eye(K)) - P[:, :, None] * P[:, None, :]
    H = np.einsum("ja,jkl,jb->akbl", X, C, X, optimize=True).reshape(p * K, p * K)
    B = np.linalg.lstsq(H, (X.T @ R).reshape(-1), rcond=None)[0].reshape(p, K)
    return np.einsum("jkl,jl->jk", C, X @ B)


def _numpy(data: Data, d: Any = 1.0) -> Data:
    """The data in float64 NumPy, columns over d: bounds are computed once, in full precision."""
    y = to_numpy(data.y)
    y = y if y.dtype.kind == "i" else y.astype(np.float64)
    return Data(to_numpy(data.X).astype(np.float64) / d, y, data.K)
