"""Least absolute deviations, l_i = |x_i.theta - y_i|: convex, not differentiable (A5 dropped)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from ..models import Data, Fit
from ..models.tabular import prepare
from ..problem import Array
from ..selection import to_numpy

# HiGHS solves to this absolute accuracy, the tightest it takes. Weights below this share of the
# largest one are beyond it, and a dual value this close to its bound counts as being there.
TOLERANCE = 1e-10


@dataclass(frozen=True)
class LeastAbsolute:
    """Absolute loss l_i = |x_i.theta - y_i| without ridge: theta(w) by two linear programs.

    The control that drops A5: at a kink the loss has no gradient, and direct mixing can then have
    L_val = L_val* at a positive ratio. Re-fits are optimistic: of the minimisers of F_w one with
    the least L_val.

    `mu` is 0 and `fit_intercept` is False, always. Weights below 1e-10 of the largest are beyond
    the accuracy of the programs and count as 0.

    Source: theory.md, C04 (control); the linear program is Charnes, Cooper and Ferguson (1955).

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> train = np.ones((3, 1)), np.array([0.0, 1.0, 5.0])
    >>> problem = bdt.Problem(LeastAbsolute(), train=train, val=(np.ones((1, 1)), np.zeros(1)))
    >>> problem.model.fit(np.full(3, 1 / 3), problem.train).theta.tolist()      # the median
    [1.0]
    """

    mu: ClassVar[float] = 0.0
    fit_intercept: ClassVar[bool] = False

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets; see `Problem`."""
        return prepare(train, val, test, fit_intercept=False)

    def losses(self, theta: Array, data: Data) -> Array:
        """l_i(theta) = |x_i.theta - y_i|, shape (n,)."""
        return array_namespace(data.X).abs(data.X @ theta - data.y)

    def weighted_gradient(self, theta: Array, w: Array, data: Data) -> Array:
        """A subgradient of sum_i w_i l_i at theta, (p,): 0 stands for the slope at a kink."""
        return (w * array_namespace(data.X).sign(data.X @ theta - data.y)) @ data.X

    def fit(
        self, w: Array, data: Data, warm_start: Fit | None = None, *, val: Data | None = None
    ) -> Fit:
        """theta(w) for weights w (n,) >= 0, exactly; with `val` the minimiser of least L_val.

        The first program gives v(w) and dual values u (n,), |u_i| <= w_i. By complementary
        slackness every minimiser, and no other theta, has x_i.theta = y_i where |u_i| < w_i, and a
        residual y_i - x_i.theta of the sign of u_i (or 0) where |u_i| = w_i. The second program
        minimises L_val over those. `Fit.gap` is the duality gap, to rounding. `warm_start` is not
        needed.
        """
        xp, dev = array_namespace(data.X), device(data.X)
        X, y, weights = (to_numpy(a).astype(np.float64) for a in (data.X, data.y, w))
        scale = weights.max()
        on = weights > TOLERANCE * scale
        X, y, share = X[on], y[on], weights[on] / scale
        lower = _solve(X, y, share)
        best = lower
        if val is not None and lower.solved:
            best = _among_minimisers(X, y, share, lower.u, val)
        theta = best.theta if best.solved else lower.theta
        gap = scale * abs(share @ np.abs(X @ theta - y) - lower.u @ y)
        return Fit(
            theta=xp.asarray(theta, dtype=data.X.dtype, device=dev),
            vjp=None,  # the loss is not differentiable
            gap=float(gap),
            distance=math.inf,  # several minimisers can be far apart
            converged=best.solved,
            message=best.message,
        )


class _Answer(NamedTuple):
    """A minimiser (p,), the dual values of its rows (n,), and whether the program was solved."""

    theta: np.ndarray
    u: np.ndarray
    solved: bool
    message: str


def _solve(
    X: np.ndarray, y: np.ndarray, w: np.ndarray, equal: Any = None, below: Any = None
) -> _Answer:
    """Minimise sum_i w_i (a_i + b_i) over theta and a, b >= 0 with X theta + a - b = y.

    Then a_i + b_i = |x_i.theta - y_i|. Further rows, as pairs (matrix, right-hand side):
    equal: C theta = d; below: C theta <= d.
    """
    from scipy.optimize import linprog
    from scipy.sparse import block_array, csr_array, eye_array

    n, p = X.shape
    C_eq, d_eq = equal or (np.zeros((0, p)), np.zeros(0))
    C_ub, d_ub = below or (np.zeros((0, p)), np.zeros(0))
    nothing = csr_array((len(C_ub), 2 * n))
    result = linprog(
        np.concatenate([np.zeros(p), w, w]),
        A_eq=block_array([[X, eye_array(n), -eye_array(n)], [C_eq, None, None]], format="csr"),
        b_eq=np.concatenate([y, d_eq]),
        A_ub=block_array([[csr_array(C_ub), nothing]], format="csr"),
        b_ub=d_ub,
        bounds=[(None, None)] * p + [(0, None)] * (2 * n),
        method="highs-ds",  # the simplex method: a vertex, and dual values exactly at their bounds
        options={
            "primal_feasibility_tolerance": TOLERANCE,
            "dual_feasibility_tolerance": TOLERANCE,
        },
    )
    if result.status != 0:
        return _Answer(np.zeros(p), np.zeros(n), False, f"linear program: {result.message}")
    return _Answer(result.x[:p], result.eqlin.marginals[:n], True, "")


def _among_minimisers(
    X: np.ndarray, y: np.ndarray, w: np.ndarray, u: np.ndarray, val: Data
) -> _Answer:
    """The minimiser of sum_i w_i l_i with the least L_val; u is any dual solution, (n,)."""
    free = np.abs(u) < w * (1 - TOLERANCE)
    sign = np.sign(u[~free])  # of y_i - x_i.theta, or that is 0
    X_val, y_val = to_numpy(val.X).astype(np.float64), to_numpy(val.y).astype(np.float64)
    return _solve(
        X_val,
        y_val,
        np.full(len(y_val), 1.0 / len(y_val)),
        equal=(X[free], y[free]),
        below=(sign[:, None] * X[~free], sign * y[~free]),
    )
