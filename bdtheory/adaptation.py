"""Self-refining in closed form: rounds of the linear-Gaussian generator as a linear map (C10).

A round regenerates the response to every question and adapts the model:

    theta_next = argmin of  L_val + gamma sum_i q_i (x_i.theta - y_i)^2 / 2,
    y_i ~ pi_theta(y given x_i)

With A = X_val' X_val / m, B = sum_i q_i x_i x_i' and mean responses y_i = x_i.theta this is

    theta_next = theta - G grad L_val(theta),   G = (A + gamma B)^-1,

a proximal-point step in the metric gamma B: the old model enters only through its answers.
Source: arXiv:2511.21056v1, abstract ("model adaptation"); the closed form is elementary (C10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from .models.checks import check_number
from .models.gaussian import matrix, vector
from .rowspace import least_norm, row_space


def refining_round(
    theta: Any, X: Any, q: Any, X_val: Any, y_val: Any, gamma: float, *, responses: Any = None
) -> np.ndarray:
    """theta_next = argmin of L_val + gamma sum_i q_i (x_i.theta - y_i)^2 / 2, exactly, (p,).

    Written as one Newton step from theta, with no error where theta already is the answer:

        theta_next = theta - G (grad L_val(theta) + gamma sum_i q_i (x_i.theta - y_i) x_i)

    Parameters
    ----------
    theta : the model that generates (p,).
    X, q : questions (n, p) and their shares q_i >= 0 (n,), not all zero; taken as given.
    X_val, y_val : validation data (m, p), (m,). All zero: there is no validation term.
    gamma : strength > 0 of the training term, dimensionless where sum_i q_i = 1.
    responses : y_i (n,). None: the mean responses x_i.theta. Those of an earlier model, or
        `LinearGaussian.respond`, give the other two kinds of round in C10.

    Raises
    ------
    ValueError : for arguments of the wrong shape or size, or where A + gamma B is singular: then
        some direction of theta is seen by no question and no validation sample.

    Examples
    --------
    >>> import numpy as np
    >>> X, q, y_val = np.eye(2), np.array([0.5, 0.5]), np.array([1.0])
    >>> refining_round(np.array([0.0, 7.0]), X, q, X[:1], y_val, gamma=2.0).tolist()
    [0.5, 7.0]
    """
    X, q, X_val, y_val = _checked(X, q, X_val, y_val, gamma)
    theta = vector(theta, "theta", X.shape[1])
    grad = X_val.T @ (X_val @ theta - y_val) / len(y_val)
    if responses is not None:
        y = vector(responses, "responses", len(X))
        grad = grad + gamma * (X.T @ (q * (X @ theta - y)))
    return theta - np.linalg.solve(_hessian(X, q, X_val, gamma), grad)


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What rounds of self-refining do, in closed form: made by `adaptation`.

    For every theta* in S_val, theta_next - theta* = M (theta - theta*) with mean responses.

    Attributes
    ----------
    G : (A + gamma B)^-1, (p, p).
    M : G gamma B, (p, p), eigenvalues in [0, 1]; 1 exactly on null(A).
    P0 : projector on null(A), orthogonal in the metric B, (p, p): the part of an error that
        validation cannot see, and that no round corrects. P0 M = M P0 = P0.
    rate : the largest eigenvalue of M below 1 (0 where A = 0): L_val - L_val* falls at least by
        the factor rate^2 per round.
    theta_val : the point of S_val of least norm, (p,).
    noise : gamma^2 G (sum_i q_i^2 x_i x_i') G, (p, p): the covariance that sampled responses add
        to theta in each round is C = s^2 noise, and tr(P0 C P0') is the mean square per round of
        the random walk in null(A).
    """

    G: np.ndarray
    M: np.ndarray
    P0: np.ndarray
    rate: float
    theta_val: np.ndarray
    noise: np.ndarray

    def limit(self, theta_0: Any) -> np.ndarray:
        """The point of S_val nearest theta_0 in the metric B, (p,), whatever gamma > 0 was.

        Of the models that fit validation best, the one that changes the answers to the training
        questions least: theta_val + P0 (theta_0 - theta_val).
        """
        theta_0 = vector(theta_0, "theta_0", len(self.theta_val))
        return self.theta_val + self.P0 @ (theta_0 - self.theta_val)


def adaptation(X: Any, q: Any, X_val: Any, y_val: Any, gamma: float) -> Adaptation:
    """The linear map behind rounds of self-refining, its fixed points and its rate (C10).

    M = (A + gamma B)^-1 gamma B is symmetric in the inner product A + gamma B, so its eigenvalues
    solve gamma B v = lambda (A + gamma B) v. Arguments and errors as for `refining_round`.

    Examples
    --------
    >>> import numpy as np
    >>> X, q, y_val = np.eye(2), np.array([0.5, 0.5]), np.array([1.0])
    >>> found = adaptation(X, q, X[:1], y_val, gamma=2.0)
    >>> round(found.rate, 12), found.limit([0.0, 7.0]).tolist()
    (0.5, [1.0, 7.0])
    """
    X, q, X_val, y_val = _checked(X, q, X_val, y_val, gamma)
    H, B = _hessian(X, q, X_val, gamma), X.T @ (q[:, None] * X)
    G = np.linalg.inv(H)
    Z = row_space(X_val).Z  # (p, d), a basis of null(A)
    P0 = Z @ np.linalg.solve(Z.T @ B @ Z, Z.T @ B)
    eigenvalues = scipy.linalg.eigh(gamma * B, H, eigvals_only=True)  # ascending
    visible = X.shape[1] - Z.shape[1]
    return Adaptation(
        G=G,
        M=G @ (gamma * B),
        P0=P0,
        rate=float(np.clip(eigenvalues[visible - 1], 0.0, 1.0)) if visible else 0.0,
        theta_val=least_norm(X_val, y_val),
        noise=gamma**2 * G @ (X.T @ (q[:, None] ** 2 * X)) @ G,
    )


def _hessian(X: np.ndarray, q: np.ndarray, X_val: np.ndarray, gamma: float) -> np.ndarray:
    """A + gamma B (p, p), positive definite."""
    H = X_val.T @ X_val / len(X_val) + gamma * (X.T @ (q[:, None] * X))
    eigenvalues = np.linalg.eigvalsh(H)
    if not eigenvalues[0] > len(H) * np.finfo(np.float64).eps * eigenvalues[-1]:
        raise ValueError(
            f"A + gamma B has eigenvalues from {eigenvalues[0]:.1e} to {eigenvalues[-1]:.1e}; "
            "needed a positive definite matrix: every direction of theta seen by a question with "
            "q_i > 0 or by validation; try more questions, or features without duplicates"
        )
    return H


def _checked(X: Any, q: Any, X_val: Any, y_val: Any, gamma: float):
    """X (n, p), q (n,), X_val (m, p), y_val (m,) in float64."""
    check_number(gamma, "gamma", least=0.0, strict=True, try_="gamma=1.0")
    X, X_val = matrix(X, "X"), matrix(X_val, "X_val")
    if X.shape[1] != X_val.shape[1]:
        raise ValueError(
            f"X_val has {X_val.shape[1]} features; needed {X.shape[1]}, as in X; "
            "try the same columns in the same order"
        )
    q = vector(q, "q", len(X))
    if np.any(q < 0) or not np.any(q > 0):
        raise ValueError(
            f"q has entries from {q.min():g} to {q.max():g}; needed shares >= 0, at least one > 0; "
            "try numpy.full(n, 1 / n)"
        )
    return X, q, X_val, vector(y_val, "y_val", len(X_val))
