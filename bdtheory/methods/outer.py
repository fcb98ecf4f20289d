"""The outer minimiser: L-BFGS over the weights, in one of three coordinate systems.

`logits`: w = softmax(omega). Every weight stays positive; smooth; but a sample near weight 0 hardly
moves again, since the gradient in omega is w * (g - w.g) (theory.md, "closed form").
`squares`: w = a s^2 / sum(a s^2), a fixed. The gradient in s is 2 a s (g - w.g) / sum(a s^2): a
small weight moves like its square root. On the digits this ends lower than logits, in fewer steps.
`simplex`: w = s / sum(s) with s >= 0. Weights reach exact zeros and can come back; the gradient in
s is (g - w.g) / sum(s).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from ..problem import Array, Problem
from ..selection import to_numpy
from ..weights import drop_negligible, gather, softmax
from .run import Stopped, Trace, as_weights

# A difference of the objective below this share of its size is rounding to an outer line search.
FLAT = 1e-10
SMALLEST = 1e-3  # weights below this share of 1/G are scaled as if they had it
# Pairs kept by L-BFGS: more than the usual 10 pays where one evaluation is a re-fit. Of many
# weights fewer are kept: a pair takes as much memory as two columns of X.
MEMORY, LITTLE = 20, 5
MANY = 100_000

Objective = Callable[[Array], tuple[float, Array, float]]


class Coordinates(NamedTuple):
    """Start z, z -> masses v (G,), (z, v, g) -> gradient in z, and bounds on z."""

    start: np.ndarray
    masses: Callable[[np.ndarray], np.ndarray]
    pull_back: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    bounds: list[tuple[float, None]] | None


def logits(v: np.ndarray) -> Coordinates:
    """v = softmax(omega) on the face where v > 0; entries that are 0 stay 0."""
    face = np.flatnonzero(v > 0)

    def masses(omega: np.ndarray) -> np.ndarray:
        full = np.zeros_like(v)
        full[face] = softmax(omega)
        return full

    return Coordinates(
        start=np.log(v[face]),
        masses=masses,
        pull_back=lambda omega, at, g: (at * (g - at @ g))[face],
        bounds=None,
    )


def squares(v: np.ndarray) -> Coordinates:
    """v' = a s^2 / sum(a s^2) from v' = v, with a = sqrt(G v); entries that are 0 stay 0.

    The scale a lets weights that start small move less.
    """
    G, positive = len(v), v > 0
    a = np.where(positive, np.sqrt(G * np.maximum(v, SMALLEST / G)), 0.0)
    return Coordinates(
        start=np.sqrt(G * v / np.where(positive, a, 1.0)),
        masses=lambda s: a * s * s / (a * s @ s),
        pull_back=lambda s, at, g: 2.0 * a * s * (g - at @ g) / (a * s @ s),
        bounds=None,
    )


def simplex(v: np.ndarray) -> Coordinates:
    """v = s / sum(s), s >= 0. Starts at s = G v, so that a uniform start has s = 1."""
    return Coordinates(
        start=len(v) * v,
        masses=lambda s: s / np.sum(s) if np.any(s > 0) else np.full_like(s, 1.0 / len(s)),
        pull_back=lambda s, at, g: (g - at @ g) / max(float(np.sum(s)), 1e-300),
        bounds=[(0.0, None)] * len(v),
    )


def minimise_weights(
    problem: Problem,
    objective: Objective,
    coordinates: Coordinates,
    trace: Trace,
    *,
    max_iterations: int,
) -> np.ndarray:
    """Masses (G,), or weights without groups, after L-BFGS-B; every step goes to the trace.

    `objective(w)` gives (value, gradient in w, re-fitted validation loss). An iteration may take
    three re-fits on average, the first line search twenty. Raises `Stopped` when the user's
    callback asks to, and FloatingPointError for a non-finite value.
    """
    latest: dict[bytes, tuple[Array, float]] = {}
    unit: list[float] = []  # the first value: below 1 the `ftol` of L-BFGS-B is absolute

    def fun(z: np.ndarray) -> tuple[float, np.ndarray]:
        at = drop_negligible(coordinates.masses(z))  # as it would be reported; no denormals either
        w = as_weights(problem, at)
        value, grad, val_loss = objective(w)
        g = gather(to_numpy(grad).astype(np.float64), problem.groups)
        if not (math.isfinite(value) and np.all(np.isfinite(g))):
            raise FloatingPointError(f"the objective is {value}, or its gradient is not finite")
        latest[z.tobytes()] = (w, val_loss)
        unit.append(abs(value) or 1.0)
        return value / unit[0], coordinates.pull_back(z, at, g / unit[0])

    def step(intermediate_result: Any) -> None:
        w, val_loss = latest[intermediate_result.x.tobytes()]
        latest.clear()
        if trace.record(w, val_loss):
            raise Stopped

    memory = MEMORY if len(coordinates.start) <= MANY else LITTLE
    options = {"maxiter": max_iterations, "maxcor": memory, "ftol": FLAT, "gtol": 0.0}
    options["maxfun"] = 3 * max_iterations + 20
    run = minimize(
        fun,
        coordinates.start,
        jac=True,
        method="L-BFGS-B",
        bounds=coordinates.bounds,
        callback=step,
        options=options,
    )
    return coordinates.masses(run.x)
