"""What one writes by hand to be fast: `plain` with the old Hessian factor as a preconditioner.

Each Newton system is solved by conjugate gradients preconditioned with the last Cholesky factor,
which is made anew when `PATIENCE` steps do not suffice. No other safeguard.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .exchange import Arrays, Clock, Run, minimise_logits, weights
from .plain import (
    STEPS,
    TOL,
    Curve,
    Solve,
    descend,
    factor,
    hypergradient,
    in_logits,
    value_and_gradient,
)

PATIENCE = 15
LOOSE, TIGHT = 1e-2, 1e-9  # relative residual of a Newton system, and of the hypergradient's own


def product(arrays: Arrays, w: np.ndarray, P: np.ndarray) -> Solve:
    """D -> H D for directions D shaped like theta, without H."""

    def multiply(D: np.ndarray) -> np.ndarray:
        S = arrays.X @ D
        if arrays.kind == "multinomial":
            S = w[:, None] * P * (S - np.sum(P * S, axis=1, keepdims=True))
        else:
            S = w * S if arrays.kind == "squared" else w * P * (1.0 - P) * S
        return arrays.X.T @ S + arrays.mu * D

    return multiply


def conjugate_gradients(
    H: Callable[[np.ndarray], np.ndarray], b: np.ndarray, precondition: Solve, rtol: float
) -> np.ndarray | None:
    """x with ||b - H x|| <= rtol ||b||, or None after `PATIENCE` steps (Hestenes, Stiefel 1952)."""
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    d, rz = z, float(np.vdot(r, z))
    target = rtol * np.linalg.norm(b)
    for _ in range(PATIENCE):
        Hd = H(d)
        alpha = rz / float(np.vdot(d, Hd))
        x, r = x + alpha * d, r - alpha * Hd
        if np.linalg.norm(r) <= target:
            return x
        z = precondition(r)
        rz, old = float(np.vdot(r, z)), rz
        d = z + (rz / old) * d
    return None


class Newton:
    """theta(w) and its derivative, with the factor kept from one w to the next."""

    def __init__(self, arrays: Arrays):
        self.arrays, self.theta = arrays, np.zeros(arrays.shape)
        self.kept: Solve | None = None

    def system(self, w: np.ndarray, at: Curve, b: np.ndarray, rtol: float) -> np.ndarray:
        """H^-1 b to the relative residual, with the old factor or a new one."""
        if self.kept is not None:
            x = conjugate_gradients(product(self.arrays, w, at.P), b, self.kept, rtol)
            if x is not None:
                return x
        self.kept = factor(self.arrays, w, at.P)
        return self.kept(b)

    def fit(self, w: np.ndarray) -> Curve:
        """Moves theta to theta(w)."""
        value, g, at = value_and_gradient(self.arrays, w, self.theta)
        for _ in range(STEPS):
            if np.linalg.norm(g) <= TOL:
                return at
            step = self.system(w, at, g, LOOSE)
            self.theta, value, g, at = descend(self.arrays, w, self.theta, value, step)
        raise FloatingPointError(f"{STEPS} Newton steps left a gradient of {np.linalg.norm(g):.1e}")


def build(arrays: Arrays, settings: dict) -> Run:
    """The run; there is nothing to set."""

    def run(clock: Clock) -> None:
        newton = Newton(arrays)

        def objective(omega: np.ndarray) -> tuple[float, np.ndarray]:
            w = weights(arrays, omega)
            at = newton.fit(w)
            solve: Solve = lambda g: newton.system(w, at, g, TIGHT)  # noqa: E731
            value, grad = hypergradient(arrays, at, newton.theta, solve)
            return value, in_logits(arrays, omega, grad)

        minimise_logits(objective, arrays, clock)

    return run
