"""Routes to the package's numbers that use NumPy only, and never the package.

l_i = (x_i.theta - y_i)^2 / 2 for the squared loss, l_i = log(1 + exp(-z_i.theta)) for the logistic.
"""

from __future__ import annotations

import numpy as np


def row_and_null_space(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases (p, r) and (p, p - r) of the row space of X (n, p) and its complement."""
    _, s, Vt = np.linalg.svd(X, full_matrices=True)
    rank = int(np.sum(s > 1e-10 * s[0]))  # the instances have singular values above 1e-6 s[0]
    return Vt[:rank].T, Vt[rank:].T


def squared_loss(X: np.ndarray, y: np.ndarray, theta: np.ndarray) -> float:
    """The mean of (x_i.theta - y_i)^2 / 2."""
    return float(np.mean((X @ theta - y) ** 2) / 2)


def least_squares(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The minimiser of ||X theta - y|| of least norm, (p,)."""
    return np.linalg.lstsq(X, y, rcond=1e-10)[0]


def best_for(X: np.ndarray, y: np.ndarray, X_2: np.ndarray, y_2: np.ndarray) -> np.ndarray:
    """Of the minimisers of the first mean squared loss the one, least in norm, best for the second.

    With training rows first this is the optimistic re-fit; with validation rows first the point of
    S_val that training prefers.
    """
    theta, Z = least_squares(X, y), row_and_null_space(X)[1]
    if not Z.shape[1]:
        return theta
    return theta + Z @ least_squares(X_2 @ Z, y_2 - X_2 @ theta)


def logistic_loss(Z: np.ndarray, theta: np.ndarray) -> float:
    """The mean of log(1 + exp(-z_i.theta))."""
    return float(np.mean(np.logaddexp(0.0, -Z @ theta)))


def logistic_minimiser(Z: np.ndarray, w: np.ndarray, mu: float) -> np.ndarray:
    """The minimiser of sum_i w_i log(1 + exp(-z_i.theta)) + (mu/2) ||theta||^2, mu > 0, (p,).

    Newton's method; a step is halved until the objective falls. Where rounding hides any further
    fall, one last full step is taken: theta is then exact to rounding, not to its square root.
    """

    def value(theta: np.ndarray) -> float:
        return float(w @ np.logaddexp(0.0, -Z @ theta) + mu / 2 * theta @ theta)

    theta, F = np.zeros(Z.shape[1]), value(np.zeros(Z.shape[1]))
    for _ in range(200):
        s = np.exp(-np.logaddexp(0.0, Z @ theta))  # sigmoid(-z_i.theta)
        H = (Z.T * (w * s * (1 - s))) @ Z + mu * np.eye(len(theta))
        step = np.linalg.solve(H, mu * theta - Z.T @ (w * s))
        t = 1.0
        while t > 1e-6 and value(theta - t * step) >= F:
            t /= 2
        if t <= 1e-6:
            return theta - step
        theta = theta - t * step
        F = value(theta)
    raise RuntimeError("Newton's method did not end in 200 steps; needed mu > 0; try a larger mu")
