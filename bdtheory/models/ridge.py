"""Ridge regression, l_i = (x_i.theta - y_i)^2 / 2: theta(w) and its derivative in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..linalg import add_to_diagonal, gram, norm, solve_general, solve_spd, weighted_rows
from ..problem import Array
from ..rowspace import column_scale, least_norm_beyond, weighted_least_squares
from ..selection import to_numpy
from .checks import check_choice, check_flag, check_ridge
from .fit import Fit, ridge_rows
from .tabular import Data, prepare

# At mu = 0 columns that differ by more than this in size are scaled first, so that none is taken
# for rounding; ties that validation leaves open are then broken in scaled units.
UNITS = 1e6


@dataclass(frozen=True)
class Ridge:
    """Squared loss with ridge: theta(w) = H^-1 X' W y, H = X' W X + mu I.

    Parameters
    ----------
    mu : ridge >= 0, in units of squared features. With mu = 0 theta(w) need not be unique:
    tie_break : which minimiser counts at mu = 0. "validation": the one with the least L_val (the
        optimistic re-fit; among those the one of least norm). "minimum-norm": the smallest one.
    fit_intercept : a last, unpenalised row of theta for a constant column; copies X once.

    Raises ValueError for a negative or non-finite mu.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.eye(2), np.array([1.0, 2.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.5), train=(X, y), val=(X, y))
    >>> bdt.Ridge(mu=0.5).fit(np.array([0.5, 0.5]), problem.train).theta.tolist()
    [0.5, 1.0]
    """

    mu: float
    fit_intercept: bool = False
    tie_break: str = "validation"

    def __post_init__(self):
        check_ridge(self.mu)
        check_flag(self.fit_intercept, "fit_intercept")
        check_choice(self.tie_break, "tie_break", ("validation", "minimum-norm"))

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets; see `Problem`."""
        return prepare(train, val, test, fit_intercept=self.fit_intercept)

    def losses(self, theta: Array, data: Data) -> Array:
        """l_i(theta) = (x_i.theta - y_i)^2 / 2, shape (n,)."""
        return 0.5 * (data.X @ theta - data.y) ** 2

    def slopes(self, theta: Array, data: Data) -> Array:
        """dl_i/d(x_i.theta) = x_i.theta - y_i, shape (n,): grad l_i(theta) = x_i times this."""
        return data.X @ theta - data.y

    def weighted_gradient(self, theta: Array, w: Array, data: Data) -> Array:
        """Gradient of sum_i w_i l_i at theta, X' W (X theta - y), shape (p,)."""
        total = weighted_rows(w * (data.X @ theta - data.y), data.X)
        return array_namespace(theta).astype(total, theta.dtype)

    def fit(
        self, w: Array, data: Data, warm_start: Fit | None = None, *, val: Data | None = None
    ) -> Fit:
        """theta(w) for weights w (n,) >= 0, exactly; `val` decides ties at mu = 0.

        Primal, (p, p), for n >= p; dual, (n, n), for n < p. `warm_start` is not needed here.
        """
        if self.mu == 0.0:
            return self._fit_without_ridge(w, data, val if self.tie_break == "validation" else None)
        n, p = data.X.shape
        return self._fit_primal(w, data) if n >= p else self._fit_dual(w, data)

    def _fit_primal(self, w: Array, data: Data) -> Fit:
        """H theta = X' W y with H = X' W X + mu D; D = I, except 0 for the intercept.

        Sums over samples, and all that is (p,) or (p, p), in float64, whatever X has.
        """
        xp, X = array_namespace(data.X), data.X
        ridge = xp.astype(ridge_rows(self.mu, X, self.fit_intercept), xp.float64)
        solve = solve_spd(add_to_diagonal(gram(X, w), ridge))
        theta = xp.astype(solve(weighted_rows(w * data.y, X)), X.dtype)
        r = X @ theta - data.y
        grad = weighted_rows(w * r, X) + ridge * xp.astype(theta, xp.float64)
        step = solve(grad)

        def vjp(g: Array) -> Array:
            return -r * (X @ xp.astype(solve(xp.astype(g, xp.float64)), X.dtype))

        return Fit(theta, vjp, gap=0.5 * float(xp.sum(grad * step)), distance=norm(step))

    def _fit_dual(self, w: Array, data: Data) -> Fit:
        """The dual form of theory.md, with M = K W + mu I, K = X X', so that any w_i may be 0.

        X H^-1 = M^-1 X (push-through), hence theta = X' W a with M a = y, and Xtheta - y = -mu a
        without cancellation. An intercept is eliminated by centring at the weighted mean x_bar:
        H^-1 (g, g_0) seen by row i is (x_i - x_bar).h + g_0 / sum w, h from g - x_bar g_0.
        """
        xp, y = array_namespace(data.X), data.y
        total = xp.sum(w)
        X = data.X[:, :-1] if self.fit_intercept else data.X
        x_bar = (w @ X) / total if self.fit_intercept else xp.zeros_like(X[0, :])
        y_bar = xp.sum(w * y) / total if self.fit_intercept else 0.0 * y[0]
        X = X - x_bar
        solve = solve_general(add_to_diagonal((X @ X.T) * w, self.mu * xp.ones_like(w)))
        a = solve(y - y_bar)
        theta = (w * a) @ X
        r = -self.mu * a

        def vjp(g: Array) -> Array:
            if not self.fit_intercept:
                return -r * solve(X @ g)
            u = solve(X @ (g[:-1] - x_bar * g[-1]))
            return -r * (u + g[-1] / total)

        if self.fit_intercept:
            theta = xp.concat([theta, xp.reshape(y_bar - xp.sum(x_bar * theta), (1,))])
        ridge = ridge_rows(self.mu, data.X, self.fit_intercept)
        grad = self.weighted_gradient(theta, w, data) + ridge * theta
        distance = norm(grad) / self.mu  # H >= mu I
        if self.fit_intercept:  # ||H^-1 grad|| through the same elimination
            h = norm(grad[:-1] - x_bar * grad[-1]) / self.mu
            distance = h * (1.0 + norm(x_bar)) + abs(float(grad[-1] / total))
        return Fit(theta, vjp, gap=0.5 * norm(grad) * distance, distance=distance)

    def _fit_without_ridge(self, w: Array, data: Data, val: Data | None) -> Fit:
        """mu = 0: S(w) = theta_0 + range(Z), Z the null space of the rows with w_i > 0.

        With `val` the point of S(w) that minimises L_val, an equality-constrained least-squares
        problem solved in the coordinates of Z. vjp(g) = -r_i x_i' H^+ g (theory.md, C06): the
        derivative within the open face of the simplex that w lies in; across faces L_val jumps.
        Small and dense, so torch tensors take the NumPy route and come back.
        """
        xp, dev = array_namespace(data.X), device(data.X)
        X, y, weights = (to_numpy(a) for a in (data.X, data.y, w))
        d = np.ones(X.shape[1], dtype=X.dtype)
        if val is not None:
            d = column_scale(X, to_numpy(val.X))
            d = d if d.max() > UNITS * d.min() else np.ones_like(d)
        X, on = X / d, weights > 0
        c, space, gram_solve = weighted_least_squares(X[on], y[on], weights[on])
        theta = space.V @ c
        if val is not None and space.Z.shape[1]:
            X_val = to_numpy(val.X) / d
            rest = to_numpy(val.y) - X_val @ theta
            theta = theta + space.Z @ least_norm_beyond(space, X_val, rest)
        r = X @ theta - y
        grad = space.V.T @ (X[on].T @ (weights[on] * r[on]))
        step = gram_solve(grad)

        def vjp(g: Array) -> Array:
            # Weights near the smallest numbers: what overflows is looked at by the caller.
            with np.errstate(over="ignore", invalid="ignore"):
                h = space.V @ gram_solve(space.V.T @ (to_numpy(g) / d))
                return xp.asarray(-r * (X @ h), device=dev)

        return Fit(
            theta=xp.asarray(theta / d, device=dev),
            vjp=vjp,
            gap=0.5 * float(grad @ step),
            distance=norm(space.V @ step / d),
        )
