"""Exact hypergradients without any refinement: what `Implicit` is compared with first.

Newton's method with a new exact Hessian factor at every step, started from the previous theta, and
SciPy's L-BFGS-B on the softmax logits from uniform weights.

    H = sum_i w_i Hess l_i + mu I,    dL_val/dw_i = -grad l_i . H^-1 grad L_val

with H at theta(w), and for the logits of groups v * (g - v.g), g_g = mean of dL_val/dw_i over the
group's samples. Source: theory.md, "The models in closed form".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .exchange import Arrays, Clock, Run, minimise_logits, softmax, weights

# Norm of the gradient of F_w at which theta counts as exact: with mu >= 1e-3 theta is then within
# 1e-7, and Newton's last step usually goes much further.
TOL = 1e-10
STEPS = 50
ROUNDING = 1e-12  # of F_w, a sum of thousands of terms

Solve = Callable[[np.ndarray], np.ndarray]


class Curve(NamedTuple):
    """Losses (n,), slopes dl_i/dT_i and probabilities, (n,) or (n, K), at scores T = X theta."""

    losses: np.ndarray
    slopes: np.ndarray
    P: np.ndarray


def curve(kind: str, T: np.ndarray, y: np.ndarray) -> Curve:
    """The per-sample losses and their first derivative in the scores."""
    if kind == "squared":
        return Curve(0.5 * (T - y) ** 2, T - y, np.ones_like(T))
    if kind == "binary":
        s = np.exp(-np.logaddexp(0.0, y * T))
        return Curve(np.logaddexp(0.0, -y * T), -y * s, s)
    P = softmax(T)
    rows = np.arange(len(y))
    top = T.max(axis=1)
    losses = top + np.log(np.exp(T - top[:, None]).sum(axis=1)) - T[rows, y]
    slopes = P.copy()
    slopes[rows, y] -= 1.0
    return Curve(losses, slopes, P)


def value_and_gradient(
    arrays: Arrays, w: np.ndarray, theta: np.ndarray
) -> tuple[float, np.ndarray, Curve]:
    """F_w(theta), its gradient shaped like theta, and the curve."""
    at = curve(arrays.kind, arrays.X @ theta, arrays.y)
    value = float(w @ at.losses + 0.5 * arrays.mu * np.sum(theta**2))
    return value, arrays.X.T @ (at.slopes.T * w).T + arrays.mu * theta, at


def hessian(arrays: Arrays, w: np.ndarray, P: np.ndarray) -> np.ndarray:
    """H (p, p), or (K p, K p) class by class with blocks X' diag(w P_k (1_kl - P_l)) X."""
    X, p = arrays.X, arrays.X.shape[1]
    if P.ndim == 1:
        d = w if arrays.kind == "squared" else w * P * (1.0 - P)
        A = np.sqrt(d)[:, None] * X
        return A.T @ A + arrays.mu * np.eye(p)
    R = np.sqrt(w)[:, None] * X
    U = (P[:, :, None] * R[:, None, :]).reshape(len(X), -1)
    H = arrays.mu * np.eye(U.shape[1]) - U.T @ U
    for k in range(P.shape[1]):
        A, block = np.sqrt(P[:, k])[:, None] * R, slice(k * p, (k + 1) * p)
        H[block, block] += A.T @ A
    return H


def factor(arrays: Arrays, w: np.ndarray, P: np.ndarray) -> Solve:
    """g -> H^-1 g for g shaped like theta, by Cholesky."""
    cholesky = cho_factor(hessian(arrays, w, P), lower=True, overwrite_a=True, check_finite=False)

    def solve(g: np.ndarray) -> np.ndarray:
        flat = cho_solve(cholesky, g.T.reshape(-1), check_finite=False)
        return flat.reshape(g.T.shape).T

    return solve


def fit(arrays: Arrays, w: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, Curve, Solve]:
    """theta(w), the curve and the Hessian solve there; halved steps until F_w falls."""
    value, g, at = value_and_gradient(arrays, w, theta)
    for _ in range(STEPS):
        solve = factor(arrays, w, at.P)
        if np.linalg.norm(g) <= TOL:
            return theta, at, solve
        theta, value, g, at = descend(arrays, w, theta, value, solve(g))
    raise FloatingPointError(f"{STEPS} Newton steps left a gradient of {np.linalg.norm(g):.1e}")


def descend(
    arrays: Arrays, w: np.ndarray, theta: np.ndarray, value: float, step: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray, Curve]:
    """The first of the steps 1, 1/2, 1/4, ... that does not raise F_w by more than rounding."""
    for halvings in range(30):
        new = theta - 0.5**halvings * step
        new_value, g, at = value_and_gradient(arrays, w, new)
        if new_value <= value + ROUNDING * abs(value):
            return new, new_value, g, at
    raise FloatingPointError("no step along Newton's direction descends")


def hypergradient(arrays: Arrays, at: Curve, theta: np.ndarray, solve: Solve):
    """(L_val, dL_val/dw (N,)) at theta = theta(w), with `solve` the product with H^-1 there."""
    val = curve(arrays.kind, arrays.X_val @ theta, arrays.y_val)
    g_val = arrays.X_val.T @ val.slopes / len(arrays.y_val)
    per_score = at.slopes * (arrays.X @ solve(g_val))
    return float(val.losses.mean()), -per_score.reshape(len(arrays.X), -1).sum(axis=1)


def in_logits(arrays: Arrays, omega: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """The gradient in omega (G,) from that in the weights (N,): v * (g - v.g)."""
    v = softmax(omega)
    g = np.bincount(arrays.codes, weights=grad) / arrays.counts
    return v * (g - v @ g)


def build(arrays: Arrays, settings: dict) -> Run:
    """The run; there is nothing to set."""

    def run(clock: Clock) -> None:
        theta = np.zeros(arrays.shape)

        def objective(omega: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal theta
            theta, at, solve = fit(arrays, weights(arrays, omega), theta)
            value, grad = hypergradient(arrays, at, theta, solve)
            return value, in_logits(arrays, omega, grad)

        minimise_logits(objective, arrays, clock)

    return run
