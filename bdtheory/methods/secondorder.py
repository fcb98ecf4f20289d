"""Second-order steps on the masses of a few groups: where `Implicit` starts when there are some.

With J = dtheta/dv = -H^-1 A, A the mean gradient of each group and H the lower-level Hessian,

    d2 L_val(theta(v)) / dv2 = J' H_val J + (terms in the second derivative of theta(v)).

The first term (Gauss and Newton) takes one pass over the data and G products with the factor that
the fit has left behind; the rest is learned from the gradients seen so far by BFGS updates
(a structured secant method: Dennis and Schnabel 1996, section 10.3). The quadratic model is
minimised over the simplex, exact zeros included, and theta + J dv starts the next fit.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from array_api_compat import array_namespace, device
from scipy.optimize import nnls

from ..hypergradient import mean_loss, refit, value_and_gradient
from ..linalg import row_blocks
from ..models.curves import curvature, curve
from ..models.fit import Fit
from ..models.logistic import Logistic
from ..models.newton import price
from ..problem import Array, Problem
from ..selection import to_numpy
from ..weights import drop_negligible, gather
from .outer import FLAT, MEMORY
from .run import Stopped, Trace, as_weights, masses

RTOL = 1e-5  # of a hypergradient along the way; the end is re-fitted exactly
FEW = 64  # groups: the model's minimum then takes less than a fit
CHEAP = 8.0  # steps of conjugate gradients, the price of a factor: less than it then saves
DAMPING = 1e-6  # added to the model's curvature, as a share of its mean
LEAST = 1e-4  # of 1/G: the least mass with which L-BFGS starts
SHARES = (1.0, 0.5, 0.25)  # of a step that are tried
ENOUGH = 1e-4  # of the descent that the gradient promises: less, and the model is not trusted


class Point(NamedTuple):
    """Masses v (G,) as weights w (N,), their fit, and its L_val."""

    v: np.ndarray
    w: Array
    fit: Fit
    value: float


def few_groups(problem: Problem) -> bool:
    """Whether steps of second order are known and cheap: logistic, mu > 0, at most `FEW` groups."""
    model, names = problem.model, problem.group_names
    return isinstance(model, Logistic) and model.mu > 0 and names is not None and len(names) <= FEW


def minimise_masses(
    problem: Problem, w: Array, fit: Fit, trace: Trace, *, max_iterations: int
) -> tuple[Point, bool]:
    """From weights w (N,), equal within groups, with their fit; every step goes to the trace.

    Returns the last point, and False where no part of a step lowers the re-fitted L_val as the
    gradient says: there a line search has to go on. Raises `Stopped` when the user's callback asks
    to, and FloatingPointError where `fit` has failed.
    """
    if not fit.converged:
        raise FloatingPointError(fit.message)
    at = Point(masses(problem, w), w, fit, mean_loss(problem, fit.theta, problem.val))
    _record(trace, at)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(max_iterations):
        g = _gradient(problem, at.fit)
        seen = [*seen, (at.v, g)][-MEMORY:]
        J = sensitivity(problem, at.fit)
        new = least_on_simplex(secant(gauss_newton(problem, at.fit.theta, J), seen), g, at.v)
        if new is None:
            return at, False
        d = new - at.v
        slope = float(g @ d)
        if -slope <= FLAT * at.value:
            return at, True
        lower = _lower(problem, at, d, slope, _along(J, d))
        if lower is None:
            return at, False
        at = lower
        _record(trace, at)
    return at, True


def _lower(problem: Problem, at: Point, d: np.ndarray, slope: float, moved: Array) -> Point | None:
    """The first of some shares t of the step d (G,) with a lower L_val; None where none has.

    slope: g.d < 0. moved: J d; theta + t J d starts the fit, and where that fails t is too long.
    """
    for t in SHARES:
        v = drop_negligible(at.v + t * d)
        w = as_weights(problem, v)
        near = replace(at.fit, theta=at.fit.theta + t * moved)
        fit = refit(problem, w, near, rtol=RTOL)
        value = mean_loss(problem, fit.theta, problem.val)
        if fit.converged and value <= at.value + ENOUGH * t * slope:
            return Point(v, w, fit, value)
    return None


def _gradient(problem: Problem, fit: Fit) -> np.ndarray:
    """dL_val/dv (G,); leaves a factor made at this fit, where that is cheap.

    The gradient itself, J and the next fit are then had with fewer steps.
    """
    if price(problem.train.X.shape, fit.theta.shape) <= CHEAP:
        fit.factor.debt = math.inf
    grad = value_and_gradient(problem, fit)[1]
    return gather(to_numpy(grad).astype(np.float64), problem.groups)


def sensitivity(problem: Problem, fit: Fit) -> Array:
    """J = -H^-1 A, dtheta/dv at a fit: (p, G), or (K, p, G) with a class in each first row.

    H^-1 is the factor that the gradient has left, exact to about a digit where it is an old one:
    enough for a model that is checked by a re-fit.
    """
    A = group_gradients(problem, fit.theta)
    xp = array_namespace(A)
    columns = [-fit.factor.solve(A[..., g]) for g in range(A.shape[-1])]
    return xp.stack(columns, axis=-1)


def group_gradients(problem: Problem, theta: Array) -> Array:
    """A, the mean of grad l_i(theta) over each group, float64: (p, G), or (K, p, G)."""
    X, groups = problem.train.X, problem.groups
    xp, counts = array_namespace(X), np.bincount(np.asarray(groups))
    codes = xp.asarray(groups, device=device(X))
    slopes = _turned(problem.model.slopes(theta, problem.train))  # (N,) or (K, N)
    total: Any = 0.0
    for b in row_blocks(X):
        own = codes[b][:, None] == xp.arange(len(counts), device=device(X))
        spread = xp.where(own, slopes[..., b][..., None], xp.zeros_like(X[:1, :1]))
        total = total + xp.astype(X[b, :].T @ spread, xp.float64, copy=False)
    return total / xp.asarray(counts, dtype=xp.float64, device=device(X))


def gauss_newton(problem: Problem, theta: Array, J: Array) -> np.ndarray:
    """J' H_val J (G, G), H_val the Hessian of L_val at theta."""
    X, y, m = problem.val.X, problem.val.y, problem.m
    xp = array_namespace(X)
    S = X @ xp.astype(J, X.dtype, copy=False)  # (m, G) or (K, m, G): how scores move with v
    P = curve(_turned(theta) @ X.T, y).P[..., None]
    flat = (*S.shape[:-2], -1)
    bent = curvature(xp.reshape(xp.broadcast_to(P, S.shape), flat), xp.reshape(S, flat))
    S, bent = (to_numpy(xp.reshape(a, (-1, S.shape[-1]))).astype(np.float64) for a in (S, bent))
    return S.T @ bent / m


def secant(B: np.ndarray, seen: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """B (G, G) positive semi-definite, damped, after BFGS updates by the points (v, g) in turn.

    Nocedal and Wright 2006, eq. 6.19. Pairs without positive curvature are left out.
    """
    G = len(B)
    B = B + DAMPING * np.trace(B) / G * np.eye(G)
    for (v, g), (v_next, g_next) in pairwise(seen):
        s, y = v_next - v, g_next - g
        Bs = B @ s
        if s @ y > 0 and s @ Bs > 0:
            B = B + np.outer(y, y) / (s @ y) - np.outer(Bs, Bs) / (s @ Bs)
    return B


def least_on_simplex(B: np.ndarray, g: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    """The x on the simplex that minimises g.(x - v) + (x - v)' B (x - v) / 2, B positive definite.

    None where B is not, to rounding. On the simplex the model is x'Qx / 2 and a constant, with
    Q = B + c 1' + 1 c' + k 1 1' and c = g - B v. For k > c' B^-1 c, Q = R'R is positive definite,
    and x = z / sum(z) with z >= 0 the minimiser of z'Qz / 2 - sum(z) = ||R z - R'^-1 1||^2 / 2 - ..
    (the conditions of both problems are the same up to scale), by non-negative least squares.

    Examples
    --------
    >>> import numpy as np
    >>> v = np.array([0.25, 0.25, 0.5])
    >>> least_on_simplex(np.eye(3), np.array([0.0, 0.0, 9.0]), v).round(9).tolist()
    [0.5, 0.5, 0.0]
    """
    ones = np.ones_like(g)
    try:
        factor = scipy.linalg.cho_factor(B)
        c = g - B @ v
        Bc, B1 = scipy.linalg.cho_solve(factor, np.array([c, ones]).T).T
        shift = (ones @ Bc) / (ones @ B1)  # a constant added to c moves nothing; this one: least k
        c, least = c - shift, c @ Bc - shift * (ones @ Bc)
        Q = B + np.add.outer(c, c) + 2.0 * max(least, 0.0) + 1.0 / (ones @ B1)
        R = scipy.linalg.cholesky(Q)
        z, _ = nnls(R, scipy.linalg.solve_triangular(R, ones, trans=1))
    except (np.linalg.LinAlgError, RuntimeError, ValueError):  # RuntimeError: too many exchanges
        return None
    return z / np.sum(z) if np.sum(z) > 0 else None


def revived(v: np.ndarray) -> np.ndarray:
    """Masses v (G,) with zeros raised to `LEAST` / G: `squares` keeps an exact zero for ever."""
    v = np.maximum(v, LEAST / len(v))
    return v / np.sum(v)


def _along(J: Array, d: np.ndarray) -> Array:
    """J d, shaped as theta."""
    xp = array_namespace(J)
    return _turned(J @ xp.asarray(d, dtype=J.dtype, device=device(J)))


def _turned(a: Array) -> Array:
    """(p, K) to (K, p) and back; (p,) as it is."""
    return a if a.ndim == 1 else a.T


def _record(trace: Trace, at: Point) -> None:
    if trace.record(at.w, at.value):
        raise Stopped
