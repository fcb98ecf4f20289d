"""Newton's method for the weighted logistic loss, and its linear systems with an old factor.

    F_w(theta) = sum_i w_i l_i(theta) + sum_j ridge_j ||theta_j||^2 / 2

theta is (p,), or (K, p) here with one row for each class (see `curves`). Along a path of weights
most of the work is in systems H x = g: they are solved by conjugate gradients, preconditioned with
the inverse of a Hessian from some steps ago.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from array_api_compat import array_namespace, device

from ..linalg import (
    ENTRIES,
    Solve,
    add_to_diagonal,
    conjugate_gradients,
    dot,
    gram,
    inverse_spd,
    norm,
    row_blocks,
    solve_spd,
)
from ..problem import Array
from .curves import curvature, curve, margins
from .tabular import Data

MAX_NEWTON = 100
FORCING = 0.03  # the largest relative residual of a Newton system
EXACT = 1e-12  # the relative residual of a system that is to be solved exactly
# How much less a flop of a factorisation in float32 takes than one in a product with X, which reads
# X from memory. The cost of a path is flat within a factor of two around this.
GEMM = 6.0


class Point(NamedTuple):
    """theta, F_w and its gradient there, and the probabilities of `curves`, (n,) or (K, n)."""

    theta: Array
    value: float
    grad: Array
    P: Array


class LowerLevel:
    """F_w with its derivatives, in passes over blocks of rows.

    theta, gradients and sums over samples are float64; what has N entries has the dtype of X.

    A softmax does not change when all its scores move together, so the Hessian is singular along
    equal shifts of unpenalised rows. `shift` adds a term (sum_k theta_kj)^2 / 2 for those: its
    minimum, sum 0, costs nothing, and is the convention for multinomial intercepts.
    """

    def __init__(self, w: Array, data: Data, ridge: Array):
        self.xp = xp = array_namespace(data.X)
        self.w, self.data = _active(w, data)
        self.ridge = xp.astype(ridge, xp.float64)
        self.shift = xp.astype(ridge == 0, xp.float64) * float(xp.sum(w))
        # ||grad|| <= sum_i w_i ||x_i|| (sqrt(2) times it for softmax): what a gradient is small to.
        self.scale = float(xp.sum(w * data.lengths))
        self.blocks = row_blocks(self.data.X)

    def at(self, theta: Array) -> Point:
        """F_w, its gradient, and the probabilities at theta."""
        xp, X = self.xp, self.data.X
        small = xp.astype(theta, X.dtype, copy=False)
        P = xp.empty((*theta.shape[:-1], X.shape[0]), dtype=X.dtype, device=device(X))
        value, grad = 0.5 * dot(self.ridge * theta, theta), self.ridge * theta
        if theta.ndim == 2:
            total = xp.sum(theta, axis=0)
            value, grad = value + 0.5 * dot(self.shift, total**2), grad + self.shift * total
        for b in self.blocks:
            here = curve(small @ X[b, :].T, self.data.y[b])
            value += dot(self.w[b], here.losses)
            grad = grad + xp.astype((self.w[b] * here.slopes) @ X[b, :], xp.float64, copy=False)
            P[..., b] = here.P
        return Point(theta, value, grad, P)

    def product(self, P: Array, D: Array) -> Array:
        """H D for a direction D shaped like theta: each block of X is read once."""
        xp, X = self.xp, self.data.X
        small = xp.astype(D, X.dtype, copy=False)
        HD = self.ridge * D
        if D.ndim == 2:
            HD = HD + self.shift * xp.sum(D, axis=0)
        for b in self.blocks:
            bent = self.w[b] * curvature(P[..., b], small @ X[b, :].T)
            HD = HD + xp.astype(bent @ X[b, :], xp.float64, copy=False)
        return HD

    def largest_score(self, D: Array) -> float:
        """max_ik |x_i.D_k|: how far a step D moves any score."""
        xp, X = self.xp, self.data.X
        small = xp.astype(D, X.dtype, copy=False)
        return max(float(xp.max(xp.abs(small @ X[b, :].T))) for b in self.blocks)

    def separated(self, theta: Array) -> bool:
        """Whether theta predicts every sample."""
        X, y = self.data.X, self.data.y
        small = self.xp.astype(theta, X.dtype, copy=False)
        return all(bool(self.xp.all(margins(small @ X[b, :].T, y[b]) > 0)) for b in self.blocks)

    def fits_float32(self) -> bool:
        """Whether no entry of the Hessian can overflow there."""
        xp = self.xp
        size = float(xp.sum(self.w)) * float(xp.max(self.data.lengths)) ** 2
        return max(size, float(xp.max(self.ridge)), float(xp.max(self.shift))) < 1e30

    def hessian(self, P: Array, dtype: object) -> Array:
        """H of size (p, p) or (K p, K p), class by class.

        Blocks H_kl = X' diag(w P_k (1_kl - P_l)) X + 1_kl ridge + shift, as sum_k (block k)
        X' diag(w P_k) X - U' diag(w) U with U = [P_1 X, ..., P_K X], (n, K p): a few rows of U at a
        time, and half the work of the separate blocks.
        """
        xp, X, w = self.xp, self.data.X, self.w
        ridge = xp.astype(self.ridge, dtype)
        if P.ndim == 1:
            return add_to_diagonal(gram(X, w * P * (1 - P), dtype), ridge)
        K, p = P.shape[0], X.shape[1]
        H = xp.zeros((K * p, K * p), dtype=dtype, device=device(X))
        for b in row_blocks(X, width=K * p):
            R = xp.astype(xp.sqrt(w[b])[:, None] * X[b, :], dtype, copy=False)
            U = xp.reshape(xp.astype(P[:, b].T, dtype)[:, :, None] * R[:, None, :], (-1, K * p))
            H -= U.T @ U
        shift = add_to_diagonal(xp.zeros_like(H[:p, :p]), xp.astype(self.shift, dtype))
        H += xp.tile(shift, (K, K))
        for k in range(K):
            block = slice(k * p, (k + 1) * p)
            H[block, block] = add_to_diagonal(H[block, block] + gram(X, w * P[k, :], dtype), ridge)
        return H


def _active(w: Array, data: Data) -> tuple[Array, Data]:
    """Weights and samples without those of weight 0, where a copy of the rest is small."""
    xp = array_namespace(w)
    on = w > 0
    count, (n, p) = int(xp.sum(xp.astype(on, xp.int64))), data.X.shape
    if count < 0.9 * n and count * p <= max(ENTRIES, n * p // 4):
        return w[on], data.take(on)
    return w, data


class Factor:
    """The inverse of an earlier Hessian, and when it is worth a new one.

    A factor is good while every step of conjugate gradients gains a digit. `debt` counts the steps
    beyond that since it was made; once they have cost as much as a new factor would, a new one is
    made. That costs at most twice the best policy in hindsight (the "ski rental" argument). A new
    factor is first made in float32; where that does not do, in float64 and without an inverse.
    """

    def __init__(self):
        self.solve: Solve = lambda g: g
        self.debt = math.inf  # there is none yet
        self.precise = False

    def __call__(self, lower: LowerLevel, P: Array, g: Array, rtol: float) -> Array:
        """H^-1 g at probabilities P, to a relative residual of rtol."""
        size = float(lower.xp.max(lower.xp.abs(g)))
        return size * self._solve(lower, P, g / size, rtol) if size > 0 else g

    def _solve(self, lower: LowerLevel, P: Array, g: Array, rtol: float) -> Array:
        """The same for g of size 1, which float32 can hold."""
        digits = -math.log10(rtol)
        patience = price(lower.data.X.shape, g.shape)
        if self.debt < patience:
            x, steps = self._conjugate_gradients(lower, P, g, rtol, patience - self.debt + digits)
            self.debt += max(0.0, steps - digits)
            if x is not None:
                return x
        while True:
            self._renew(lower, P)
            x, _ = self._conjugate_gradients(lower, P, g, rtol, patience + digits)
            if x is not None:
                return x
            if self.precise:
                return self.solve(g)  # H is singular to rounding: its pseudo-inverse
            self.precise = True

    def _conjugate_gradients(
        self, lower: LowerLevel, P: Array, g: Array, rtol: float, most: float
    ) -> tuple[Array | None, int]:
        run = conjugate_gradients(
            lambda D: lower.product(P, D),
            g,
            preconditioner=self.solve,
            rtol=rtol,
            max_steps=math.ceil(most),
        )
        return (run.x if run.converged else None), run.steps

    def _renew(self, lower: LowerLevel, P: Array) -> None:
        xp = lower.xp
        single = not self.precise and lower.fits_float32()
        inverse = inverse_spd(lower.hessian(P, xp.float32)) if single else None
        self.debt = 0.0
        # 1e25 times a residual of conjugate gradients, at most GROWN, is still below 3e38.
        if inverse is not None and float(xp.max(xp.abs(inverse))) < 1e25:
            self.solve = lambda g: _apply(inverse, g)
            return
        self.precise = True
        solve = solve_spd(lower.hessian(P, xp.float64))
        self.solve = lambda g: xp.reshape(solve(xp.reshape(g, (-1,))), g.shape)


def _apply(inverse: Array, g: Array) -> Array:
    """inverse @ g, in float32."""
    xp = array_namespace(g)
    product = inverse @ xp.astype(xp.reshape(g, (-1,)), xp.float32)
    return xp.astype(xp.reshape(product, g.shape), xp.float64)


def price(X: tuple[int, ...], theta: tuple[int, ...]) -> float:
    """What a new factor costs, in steps of conjugate gradients; at least 4.

    With q = K p entries of theta: n q^2 flops for the Hessian, q^3 for its inverse, against 4 n q
    for a product with X and one with X', and 2 q^2 for the preconditioner.
    """
    n, q = X[0], math.prod(theta)
    return max(4.0, (n * q**2 + q**3) / (4.0 * n * q + 2.0 * q**2) / GEMM)


def newton(
    lower: LowerLevel,
    theta: Array,
    factor: Factor,
    close: Callable[[Array, Array, float, float], bool],
) -> tuple[Point, bool, str]:
    """(the last point, whether it is a minimiser, why not): Newton steps with a line search.

    `close(old, new, moved, error)` may accept the point `new` early: the step from `old` moved the
    scores by `moved` at most, and `new` is off by about `error`. A step solved to a relative
    residual of eta leaves eta * moved; Newton's own error is moved^2 at most (losses are
    self-concordant in the scores). So eta follows moved: nothing is solved better than it is worth
    (Dembo, Eisenstat and Steihaug 1982).

    Differences from the textbook: (1) near the optimum, where F differs by rounding only, a full
    step is taken on the gradient norm instead; (2) with mu = 0, a separating theta ends the search:
    F then has no minimiser.
    """
    xp = lower.xp
    tol = 10 * float(xp.finfo(lower.data.X.dtype).eps) * max(lower.scale, 1e-300)
    no_ridge = not bool(xp.any(lower.ridge > 0))
    point, error = lower.at(theta), 1.0
    for _ in range(MAX_NEWTON):
        size = norm(point.grad)
        if not math.isfinite(size):
            return point, False, "the lower-level gradient is not finite"
        if size <= tol:
            return point, True, ""
        if no_ridge and (
            point.value <= 1e-9 * float(xp.sum(lower.w)) or lower.separated(point.theta)
        ):
            why = "the weighted data are separable and mu = 0: no minimiser; try mu > 0"
            return point, False, why
        eta = max(min(FORCING, error), 1e-6)
        step = factor(lower, point.P, point.grad, eta)
        new, t = _line_search(lower, point, step)
        if new is None:
            # No descent to rounding: as good as it gets, and good if the gradient is small.
            good = size <= 1e5 * tol
            return point, good, "" if good else f"no descent at a gradient of {size:.1e}"
        moved = lower.largest_score(step)
        error = moved * (eta + moved) if t == 1.0 else math.inf
        if close(point.theta, new.theta, moved, error):
            return new, True, ""
        point = new
    return point, False, f"{MAX_NEWTON} Newton steps did not reach a gradient of {tol:.1e}"


def _line_search(lower: LowerLevel, at: Point, step: Array) -> tuple[Point | None, float]:
    """The first of the steps t = 1, 1/2, 1/4, ... that lowers F enough; None where none does."""
    eps = float(lower.xp.finfo(lower.data.X.dtype).eps)
    slope = dot(at.grad, step)
    t = 1.0
    while slope > 0 and t > 1e-8:
        new = lower.at(at.theta - t * step)
        flat = abs(new.value - at.value) <= 10 * eps * abs(at.value)
        if new.value <= at.value - 1e-4 * t * slope and not flat:
            return new, t
        if flat and norm(new.grad) <= 0.5 * norm(at.grad):
            return new, t
        t *= 0.5
    return None, t
