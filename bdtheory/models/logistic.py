"""Logistic regression, binary and multinomial: theta(w) by a safeguarded Newton method.

Binary       l_i = log(1 + exp(-z_i.theta)), z_i = y_i x_i, theta (p,)
Multinomial  l_i = log sum_k exp(x_i.theta_k) - x_i.theta_{y_i}, theta (p, K)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace, device

from ..linalg import norm, row_blocks
from ..problem import Array
from .checks import check_flag, check_number, check_ridge
from .curves import curve
from .fit import Fit, ridge_rows
from .newton import EXACT, Factor, LowerLevel, Point, newton
from .tabular import Data, prepare_labels


@dataclass(frozen=True)
class Logistic:
    """Cross-entropy with ridge: binary for two classes, multinomial (one column each) for more.

    Parameters
    ----------
    mu : ridge >= 0, in units of squared features. With mu = 0 separable data have no minimiser:
        the fit says so (`Fit.converged` False, a selection's status DIVERGED).
    fit_intercept : a last, unpenalised row of theta; multinomial intercepts sum to 0. It copies X.

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
        X, y, rows = data.X, data.y, _rows(theta)
        parts = [curve(rows @ X[b, :].T, y[b]).losses for b in row_blocks(X)]
        return parts[0] if len(parts) == 1 else array_namespace(X).concat(parts)

    def slopes(self, theta: Array, data: Data) -> Array:
        """dl_i/d(x_i'theta), shape (n,) or (n, K): grad l_i(theta) = x_i times this."""
        return _rows(curve(_rows(theta) @ data.X.T, data.y).slopes)

    def weighted_gradient(self, theta: Array, w: Array, data: Data) -> Array:
        """Gradient of sum_i w_i l_i at theta, shaped like theta."""
        xp, X, y = array_namespace(data.X), data.X, data.y
        rows, total = xp.astype(_rows(theta), X.dtype, copy=False), 0.0
        for b in row_blocks(X):
            slopes = curve(rows @ X[b, :].T, y[b]).slopes
            total = total + xp.astype((w[b] * slopes) @ X[b, :], xp.float64, copy=False)
        return _rows(xp.astype(total, theta.dtype, copy=False))

    def fit(
        self,
        w: Array,
        data: Data,
        warm_start: Fit | None = None,
        *,
        val: Data | None = None,
        rtol: float = 0.0,
    ) -> Fit:
        """theta(w) for weights w (n,) >= 0. A previous fit as `warm_start` saves most of the work.

        Newton's method; each system is solved by conjugate gradients preconditioned with an old
        Hessian factor, which is made anew when that costs less. By default both theta and the
        derivative are as exact as rounding allows. With `rtol` > 0 the hypergradient is exact to
        about rtol of its norm, for less: see `_enough`, which looks at the gradient of L_val where
        `val` is given. The minimiser is unique for mu > 0: `val` changes nothing else.
        """
        check_number(rtol, "rtol", least=0.0, try_="rtol=1e-6")
        rtol = min(float(rtol), 1.0)
        lower = LowerLevel(w, data, ridge_rows(self.mu, data.X, self.fit_intercept))
        if warm_start is None:
            theta, factor = _zero_theta(data), Factor()
        else:
            xp = array_namespace(data.X)
            theta = xp.astype(_rows(warm_start.theta), xp.float64)
            factor = warm_start.factor or Factor()
        ending = newton(lower, theta, factor, self._enough(val, rtol))
        if warm_start is not None and not ending[1]:  # far out all losses are flat
            return self.fit(w, data, val=val, rtol=rtol)
        return _as_fit(lower, data, factor, *ending, rtol=0.1 * rtol or EXACT)

    def _enough(self, val: Data | None, rtol: float) -> Callable[..., bool]:
        """Whether theta is close enough to theta(w) for a hypergradient to a relative rtol.

        dL_val/dw_i = -grad l_i.H^-1 g. A shift of the scores by `error` changes grad l_i and H by
        at most about that share (self-concordance), and g = grad L_val by about error / moved of
        what the last step changed it: all of g where the validation fit is nearly optimal.
        """

        def close(old: Array, new: Array, moved: float, error: float) -> bool:
            if not error <= 0.03 * rtol:
                return False
            if val is None:
                return True
            share = _mean_share(val)
            before, after = (self.weighted_gradient(_rows(t), share, val) for t in (old, new))
            return error * norm(after - before) <= 0.03 * rtol * moved * norm(after)

        return close


def _as_fit(
    lower: LowerLevel,
    data: Data,
    factor: Factor,
    point: Point,
    converged: bool,
    message: str,
    *,
    rtol: float,
) -> Fit:
    """The fit with its derivative: dtheta/dw_i . g = -grad l_i . H^-1 g."""
    xp, X = lower.xp, data.X
    theta = xp.astype(point.theta, X.dtype, copy=False)
    rounding = norm(point.theta - xp.astype(theta, xp.float64, copy=False))  # 0 but for float32
    mu = float(xp.min(lower.ridge))  # 0 with an intercept: no strong convexity to lean on
    size = norm(point.grad) + mu * rounding
    distance = size / mu if mu > 0 else math.inf

    def vjp(g: Array) -> Array:
        h = factor(lower, point.P, xp.astype(_rows(g), xp.float64), rtol)
        h = xp.astype(h, X.dtype, copy=False)
        out = xp.empty((len(data),), dtype=X.dtype, device=device(X))
        for b in row_blocks(X):
            along = curve(theta @ X[b, :].T, data.y[b]).slopes * (h @ X[b, :].T)
            out[b] = -along if along.ndim == 1 else -xp.sum(along, axis=0)
        return out

    gap = 0.5 * size * distance if mu > 0 else math.inf
    return Fit(_rows(theta), vjp, gap, distance, converged, message, factor)


def _rows(theta: Array) -> Array:
    """(p, K) to one row for each class, (K, p), and back; (p,) as it is."""
    return theta if theta.ndim == 1 else theta.T


def _zero_theta(data: Data) -> Array:
    xp, p = array_namespace(data.X), data.X.shape[1]
    return xp.zeros((p,) if data.K == 1 else (data.K, p), dtype=xp.float64, device=device(data.X))


def _mean_share(data: Data) -> Array:
    """1/n for each sample."""
    xp, n = array_namespace(data.X), len(data)
    return xp.full((n,), 1.0 / n, dtype=data.X.dtype, device=device(data.X))
