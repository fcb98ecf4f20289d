"""Logistic regression, binary and multinomial: theta(w) by a safeguarded Newton method.

Binary       l_i = log(1 + exp(-z_i.theta)), z_i = y_i x_i, theta (p,)
Multinomial  l_i = log sum_k exp(x_i.theta_k) - x_i.theta_{y_i}, theta (p, K)

Both are written once, through the scores T = X theta and three functions of them: the losses, the
slopes dl_i/dT_i, and the curvature product (d2 l_i/dT_i^2) D_i for a direction D.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device

from ..linalg import Solve, add_to_diagonal, conjugate_gradients, dot, norm, solve_spd
from ..problem import Array
from .checks import check_flag, check_ridge
from .fit import Fit, ridge_rows
from .tabular import Data, prepare_labels

# A Newton system that needs more conjugate-gradient steps than this with an old factor is cheaper
# with a new one. Seen on the digits: 6 to 15 take about the same time, 30 twice as long.
PATIENCE = 10
MAX_NEWTON = 100
ROWS = 2048  # rows of U at a time: tens of megabytes for ten classes and a hundred features


@dataclass(frozen=True)
class Logistic:
    """Cross-entropy with ridge: binary for two classes, multinomial (one column each) for more.

    Parameters
    ----------
    mu : ridge >= 0, in units of squared features. With mu = 0 separable data have no minimiser:
        the fit says so (`Fit.converged` False, a selection's status DIVERGED).
    fit_intercept : a last, unpenalised row of theta; multinomial intercepts sum to 0.

    Raises ValueError for a negative or non-finite mu.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[1.0], [1.0], [1.0]]), np.array(["yes", "yes", "no"])
    >>> problem = bdt.Problem(bdt.Logistic(mu=0.0), train=(X, y), val=(X, y))
    >>> fit = problem.model.fit(np.ones(3) / 3, problem.train)   # odds 2 : 1
    >>> round(float(np.exp(fit.theta[0])), 9)
    2.0
    """

    mu: float
    fit_intercept: bool = False

    def __post_init__(self):
        check_ridge(self.mu)
        check_flag(self.fit_intercept, "fit_intercept")

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets with encoded labels, and the sorted classes; see `Problem`."""
        return prepare_labels(train, val, test, fit_intercept=self.fit_intercept)

    def losses(self, theta: Array, data: Data) -> Array:
        """l_i(theta), shape (n,); >= 0."""
        return _curve(data.X @ theta, data.y).losses

    def slopes(self, theta: Array, data: Data) -> Array:
        """dl_i/d(x_i'theta), shape (n,) or (n, K): grad l_i(theta) = x_i times this."""
        return _curve(data.X @ theta, data.y).slopes

    def weighted_gradient(self, theta: Array, w: Array, data: Data) -> Array:
        """Gradient of sum_i w_i l_i at theta, shaped like theta."""
        return data.X.T @ _scale(w, _curve(data.X @ theta, data.y).slopes)

    def fit(
        self, w: Array, data: Data, warm_start: Fit | None = None, *, val: Data | None = None
    ) -> Fit:
        """theta(w) for weights w (n,) >= 0. A previous fit as `warm_start` saves most of the work.

        Newton's method; each system is solved by conjugate gradients preconditioned with the last
        Hessian factor, which is made anew when it no longer helps. `val` is not needed: the
        minimiser is unique for mu > 0.
        """
        lower = _LowerLevel(w, data, ridge_rows(self.mu, data.X, self.fit_intercept))
        theta = _zero_theta(data) if warm_start is None else warm_start.theta
        return _newton(lower, theta, None if warm_start is None else warm_start.factor)


class _Curve(NamedTuple):
    """Losses (n,), slopes (n,) or (n, K), and the curvature product, at given scores."""

    losses: Array
    slopes: Array
    curvature: Callable[[Array], Array]
    probabilities: Array  # s_i (n,) for two classes, P (n, K) for more
    margin: Array  # (n,): positive exactly where the sample is classified correctly


def _curve(T: Array, y: Array) -> _Curve:
    """l_i, dl_i/dT_i and D -> (d2l_i/dT_i^2) D_i at the scores T, (n,) or (n, K)."""
    xp = array_namespace(T)
    if T.ndim == 1:
        margin = y * T
        losses = xp.logaddexp(xp.zeros_like(T), -margin)
        s = xp.exp(
            -xp.logaddexp(xp.zeros_like(T), margin)
        )  # sigmoid(-z.theta), exact in both tails
        return _Curve(losses, -y * s, lambda D: s * (1 - s) * D, s, margin)
    onehot = y[:, None] == xp.arange(T.shape[1], device=device(T))
    e = xp.exp(T - xp.max(T, axis=1, keepdims=True))
    P = e / xp.sum(e, axis=1, keepdims=True)
    # l_i = log(1 + sum_{k != y} exp(T_k - T_y)): exact where the loss is tiny, unlike lse - T_y.
    others = xp.where(onehot, xp.full_like(T, -math.inf), T)
    rival = xp.max(others, axis=1)
    margin = xp.sum(xp.where(onehot, T, xp.zeros_like(T)), axis=1) - rival
    rivals = xp.log(xp.sum(xp.exp(others - rival[:, None]), axis=1))
    return _Curve(
        xp.logaddexp(xp.zeros_like(margin), rivals - margin),
        P - xp.astype(onehot, T.dtype),
        lambda D: P * (D - xp.sum(P * D, axis=1, keepdims=True)),
        P,
        margin,
    )


class _LowerLevel:
    """F_w(theta) = sum_i w_i l_i + sum_j ridge_j ||theta_j||^2 / 2 with its Newton systems.

    A softmax does not change when all its scores move together, so the Hessian is singular along
    equal shifts of unpenalised rows. `shift` adds a term (sum_k theta_jk)^2 / 2 for those rows: its
    minimum, sum 0, costs nothing, and is the convention for multinomial intercepts.
    """

    def __init__(self, w: Array, data: Data, ridge: Array):
        xp = array_namespace(data.X)
        on = w > 0
        if int(xp.sum(xp.astype(on, xp.int64))) < 0.9 * len(data):  # an active set pays then
            self.w, self.data = w[on], data.take(on)
        else:
            self.w, self.data = w, data
        self.all, self.xp, self.ridge = data, xp, ridge
        self.shift = xp.astype(ridge == 0, ridge.dtype) * xp.sum(w)
        # ||grad|| <= sum_i w_i ||x_i||: the scale against which a gradient is small.
        self.scale = float(xp.sum(self.w * xp.sqrt(xp.sum(self.data.X**2, axis=1))))

    def at(self, theta: Array) -> tuple[float, Array, _Curve]:
        """F_w, its gradient, and the curve at theta."""
        curve = _curve(self.data.X @ theta, self.data.y)
        value = dot(self.w, curve.losses) + 0.5 * dot(_scale(self.ridge, theta), theta)
        grad = self.data.X.T @ _scale(self.w, curve.slopes) + _scale(self.ridge, theta)
        if theta.ndim == 2:
            total = self.xp.sum(theta, axis=1)
            value += 0.5 * dot(self.shift, total**2)
            grad = grad + (self.shift * total)[:, None]
        return value, grad, curve

    def product(self, curve: _Curve, D: Array) -> Array:
        """H D for a direction D shaped like theta."""
        HD = self.data.X.T @ _scale(self.w, curve.curvature(self.data.X @ D))
        HD = HD + _scale(self.ridge, D)
        if D.ndim == 2:
            HD = HD + (self.shift * self.xp.sum(D, axis=1))[:, None]
        return HD

    def factor(self, curve: _Curve) -> Solve:
        """g -> H^-1 g by a Cholesky factor of the full Hessian, (p, p) or (pK, pK)."""
        X, P = self.data.X, curve.probabilities
        if P.ndim == 1:
            A = self.xp.sqrt(self.w * P * (1 - P))[:, None] * X
            return solve_spd(add_to_diagonal(A.T @ A, self.ridge))
        solve = solve_spd(self._multinomial_hessian(P))

        def by_class(G: Array) -> Array:  # (p, K) -> (K p,), class by class, and back
            p, K = G.shape
            return self.xp.reshape(solve(self.xp.reshape(G.T, (p * K,))), (K, p)).T

        return by_class

    def _multinomial_hessian(self, P: Array) -> Array:
        """Blocks H_kl = X' diag(w P_k (1_kl - P_l)) X + 1_kl ridge + shift, (K p, K p).

        H = sum_k (block k) X' diag(w P_k) X - U' diag(w) U with U = [P_1 X, ..., P_K X], (n, K p),
        a few rows at a time so that U stays small.
        """
        xp, X, w = self.xp, self.data.X, self.w
        (n, p), K = X.shape, P.shape[1]
        H = xp.zeros((K * p, K * p), dtype=X.dtype, device=device(X))
        for i in range(0, n, ROWS):
            rows = slice(i, i + ROWS)
            R = xp.sqrt(w[rows])[:, None] * X[rows, :]
            U = xp.reshape(P[rows, :, None] * R[:, None, :], (R.shape[0], K * p))
            H = H - U.T @ U
        for k in range(K):
            A = xp.sqrt(w * P[:, k])[:, None] * X
            block = slice(k * p, (k + 1) * p)
            H[block, block] = add_to_diagonal(H[block, block] + A.T @ A, self.ridge)
        shift = add_to_diagonal(xp.zeros_like(H[:p, :p]), self.shift)
        return H + xp.tile(shift, (K, K))


def _newton(lower: _LowerLevel, theta: Array, factor: Solve | None) -> Fit:
    """Newton's method with an Armijo line search; Newton systems inexactly, see `_solve`.

    Differences from the textbook: (1) near the optimum, where F differs by rounding only, a full
    step is taken on the gradient norm instead; (2) with mu = 0, a separating theta ends the search:
    F then has no minimiser.
    """
    xp = lower.xp
    eps = float(xp.finfo(lower.data.X.dtype).eps)
    tol = 100 * eps * max(lower.scale, 1e-300)
    no_ridge = not bool(xp.any(lower.ridge > 0))
    value, grad, curve = lower.at(theta)
    message = f"{MAX_NEWTON} Newton steps did not reach a gradient of {tol:.1e}"
    converged = False
    for _ in range(MAX_NEWTON):
        size = norm(grad)
        if not math.isfinite(size):
            message = "the lower-level gradient is not finite"
            break
        if size <= tol:
            converged, message = True, ""
            break
        if no_ridge and (bool(xp.all(curve.margin > 0)) or value <= 1e-9 * float(xp.sum(lower.w))):
            message = "the weighted data are separable and mu = 0: no minimiser; try mu > 0"
            break
        # Forcing term of Eisenstat and Walker: few CG steps far away, superlinear close by.
        rtol = max(min(0.1, (size / lower.scale) ** 0.5), 1e-4)
        step, factor = _solve(lower, curve, grad, factor, rtol)
        taken = _line_search(lower, theta, value, grad, step, eps)
        if taken is None:
            # No descent to rounding: as good as it gets, and good if the gradient is small.
            converged = size <= 1e4 * tol
            message = "" if converged else f"no descent at a gradient of {size:.1e}"
            break
        theta, value, grad, curve = taken
    return _as_fit(lower, theta, norm(grad), curve, factor, converged, message)


def _solve(
    lower: _LowerLevel, curve: _Curve, g: Array, factor: Solve | None, rtol: float
) -> tuple[Array, Solve]:
    """(H^-1 g, factor): conjugate gradients with the old factor, or a new one when that fails."""

    def product(D: Array) -> Array:
        return lower.product(curve, D)

    if factor is not None:
        run = conjugate_gradients(product, g, preconditioner=factor, rtol=rtol, max_steps=PATIENCE)
        if run.converged:
            return run.x, factor
    factor = lower.factor(curve)
    run = conjugate_gradients(product, g, preconditioner=factor, rtol=rtol, max_steps=PATIENCE)
    return run.x if run.converged else factor(g), factor


def _line_search(
    lower: _LowerLevel, theta: Array, value: float, grad: Array, step: Array, eps: float
) -> tuple[Array, float, Array, _Curve] | None:
    """The first of the steps 1, 1/2, 1/4, ... that lowers F enough; None where none does."""
    slope = dot(grad, step)
    if not slope > 0:
        return None
    t = 1.0
    while t > 1e-8:
        new = theta - t * step
        new_value, new_grad, new_curve = lower.at(new)
        flat = abs(new_value - value) <= 10 * eps * abs(value)
        if new_value <= value - 1e-4 * t * slope and not flat:
            return new, new_value, new_grad, new_curve
        if flat and norm(new_grad) <= 0.5 * norm(grad):
            return new, new_value, new_grad, new_curve
        t *= 0.5
    return None


def _as_fit(
    lower: _LowerLevel,
    theta: Array,
    size: float,
    curve: _Curve,
    factor: Solve | None,
    converged: bool,
    message: str,
) -> Fit:
    """The fit with its derivative: dtheta/dw_i . g = -grad l_i . H^-1 g."""
    mu = float(lower.xp.min(lower.ridge))  # 0 with an intercept: no strong convexity to lean on
    distance = size / mu if mu > 0 else math.inf
    old = {"factor": factor}

    def vjp(g: Array) -> Array:
        h, old["factor"] = _solve(lower, curve, g, old["factor"], 1e-10)
        slopes = _curve(lower.all.X @ theta, lower.all.y).slopes
        per_score = slopes * (lower.all.X @ h)
        return -(per_score if per_score.ndim == 1 else lower.xp.sum(per_score, axis=1))

    gap = 0.5 * size * distance if mu > 0 else math.inf
    return Fit(theta, vjp, gap, distance, converged, message, factor)


def _scale(a: Array, T: Array) -> Array:
    """diag(a) T for T of shape (n,) or (n, K)."""
    return a * T if T.ndim == 1 else a[:, None] * T


def _zero_theta(data: Data) -> Array:
    shape = (data.X.shape[1],) if data.K == 1 else (data.X.shape[1], data.K)
    return array_namespace(data.X).zeros(shape, dtype=data.X.dtype, device=device(data.X))
