"""Weights under which a given theta solves the lower level: where `Implicit` starts.

The weights that make theta^ optimal form a polytope,

    {w in Delta_N : sum_i w_i grad l_i(theta^) + mu theta^ = 0},

by the first-order condition of the lower level (source: here). With theta^ the fit on validation
data its points have L_val(theta(w)) = L_val(theta^): where it is not empty, one convex problem of
the size of theta replaces the outer iteration. Where it is empty the nearest point, with the
residual r paid for by ||r||^2 / (2 rho), is still a good start. Of many points the one nearest to
closed-form weights q_i ~ exp(-l_i(theta^) / tau) is taken: wrong samples have large losses.
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace
from scipy.optimize import minimize

from ..hypergradient import fit_weighted
from ..models.fit import Fit, ridge_rows
from ..problem import Array, Problem
from ..selection import to_numpy
from ..weights import gather, softmax
from .run import as_weights, in_kind, uniform_weights

# Measured on the digits: larger rho and tau start higher, smaller ones lose the bad samples' ranks.
RHO = 0.15  # rho as a share of ||r||^2 for N random rows: entries of theta / N
TAU = 0.25  # in mean losses
LARGEST = 10.0  # losses in units of tau mean(l) that still differ: q_i >= exp(-10) of the largest
ROUGH = 1e-2  # relative error allowed for the validation fit, from which only a start is made
TOL = 1e-4  # of the residual, in the units of rho
MAX_ITERATIONS = 100


def inverse_weights(problem: Problem, theta: Array) -> np.ndarray:
    """Masses v (G,), or weights (N,) without groups, under which theta is nearly theta(w).

    Found through the dual in lam (shaped as theta):

        min over w of  KL(w, q) + ||r||^2 / (2 rho),  r = sum_i w_i a_i + mu theta
        = - min over lam of  log sum_i q_i exp(-a_i.lam) - mu theta.lam + (rho / 2) ||lam||^2

    with a_i = grad l_i(theta) and w_i ~ q_i exp(-a_i.lam); r = rho lam at the optimum. Entries of
    lam are scaled by the size of the features and of the slopes dl_i/d(x_i.theta), so that those of
    a_i have size 1, and rho and the tolerance have no units.
    """
    data, shape = problem.train, tuple(theta.shape)
    slopes = problem.model.slopes(theta, data)
    d = _scale(problem, slopes, shape)
    ridge = ridge_rows(problem.model.mu, data.X, problem.model.fit_intercept)
    pull = d * (to_numpy(ridge).reshape(-1, *[1] * (len(shape) - 1)) * to_numpy(theta))
    log_q, rho = closed_form(problem, theta), RHO * d.size / problem.N

    def masses(nu: np.ndarray) -> tuple[float, np.ndarray]:
        """(log sum q exp(-a.lam), softmax(log q - a.lam)) over groups; lam = d nu."""
        scores = data.X @ in_kind(problem, d * nu.reshape(shape))
        along = slopes * scores if len(shape) == 1 else _row_sums(slopes * scores)
        z = log_q - gather(to_numpy(along).astype(np.float64), problem.groups)
        return float(np.log(np.sum(np.exp(z - z.max()))) + z.max()), softmax(z)

    def dual(nu: np.ndarray) -> tuple[float, np.ndarray]:
        value, v = masses(nu)
        w = as_weights(problem, v)
        mean = data.X.T @ (w * slopes if len(shape) == 1 else w[:, None] * slopes)
        r = (d * to_numpy(mean) + pull).reshape(-1)
        value += float(rho / 2 * nu @ nu - pull.reshape(-1) @ nu)
        return value, rho * nu - r

    options = {"maxiter": MAX_ITERATIONS, "maxcor": 20, "gtol": TOL, "ftol": 0.0}
    run = minimize(dual, np.zeros(d.size), jac=True, method="L-BFGS-B", options=options)
    return masses(run.x)[1]


def closed_form(problem: Problem, theta: Array) -> np.ndarray:
    """log q (G,), but for a constant: -l / (tau mean(l)) at theta, of groups the mean; bounded."""
    losses = to_numpy(problem.model.losses(theta, problem.train)).astype(np.float64)
    l = gather(losses, problem.groups)
    return -np.minimum((l - l.min()) / (TAU * max(float(l.mean()), 1e-300)), LARGEST)


def inverse_start(problem: Problem) -> tuple[Array, Fit | None]:
    """Sample weights (N,) for the theta that validation data alone give, and a fit near theta(w).

    Uniform weights, and None, where the model has no `slopes` or no ridge.
    """
    if not hasattr(problem.model, "slopes") or problem.model.mu == 0.0:
        return uniform_weights(problem), None
    share = in_kind(problem, np.full(problem.m, 1.0 / problem.m))
    theta = fit_weighted(problem, share, problem.val, rtol=ROUGH).theta
    near = Fit(theta, None, gap=math.inf, distance=math.inf)
    v = inverse_weights(problem, theta)
    if not np.all(np.isfinite(v)):  # features whose squares underflow
        return uniform_weights(problem), near
    return as_weights(problem, v), near


def _scale(problem: Problem, slopes: Array, shape: tuple[int, ...]) -> np.ndarray:
    """1 over the size of the entries of grad l_i, shaped as theta.

    Validation rows stand for all features: they are fewer.
    """
    X = to_numpy(problem.val.X).astype(np.float64)
    x = np.sqrt(np.mean(X**2, axis=0))
    slope = float(array_namespace(slopes).mean(slopes**2)) ** 0.5
    d = 1.0 / np.where(x * slope > 0, x * slope, 1.0)
    return np.broadcast_to(d.reshape(-1, *[1] * (len(shape) - 1)), shape)


def _row_sums(A: Array) -> Array:
    return array_namespace(A).sum(A, axis=1)
