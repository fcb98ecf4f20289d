"""The outer minimiser: L-BFGS over the weights, in one of three coordinate systems.

`logits`: w = softmax(omega). Every weight stays positive; smooth; but a sample near weight 0 hardly
moves again, since the gradient in omega is w * (g - w.g) (theory.md, "closed form").
`squares`: w = s^2 / sum(s^2). The gradient in s is 2 s (g - w.g) / sum(s^2): a small weight moves
like its square root, in both directions. On the digits this ends lower than logits in fewer steps.
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
MEMORY = 20  # pairs kept by L-BFGS; more than the usual 10 pays where one evaluation is a re-fit

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
    """v = s^2 / sum(s^2); entries that are 0 stay 0. Starts at sum(s^2) = G."""
    return Coordinates(
        start=np.sqrt(len(v) * v),
        masses=lambda s: s * s / (s @ s),
        pull_back=lambda s, at, g: 2.0 * s * (g - at @ g) / (s @ s),
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

    `objective(w)` gives (value, gradient in w, re-fitted validation loss). Raises `Stopped` when
    the user's callback asks to, and FloatingPointError for a non-finite value.
    """
    latest: dict[bytes, tuple[Array, float]] = {}

    def fun(z: np.ndarray) -> tuple[float, np.ndarray]:
        at = drop_negligible(coordinates.masses(z))  # as it would be reported; no denormals either
        w = as_weights(problem, at)
        value, grad, val_loss = objective(w)
        g = gather(to_numpy(grad).astype(np.float64), problem.groups)
        if not (math.isfinite(value) and np.all(np.isfinite(g))):
            raise FloatingPointError(f"the objective is {value}, or its gradient is not finite")
        latest[z.tobytes()] = (w, val_loss)
        return value, coordinates.pull_back(z, at, g)

    def step(intermediate_result: Any) -> None:
        w, val_loss = latest[intermediate_result.x.tobytes()]
        latest.clear()
        if trace.record(w, val_loss):
            raise Stopped

    options = {"maxiter": max_iterations, "maxcor": MEMORY, "ftol": FLAT, "gtol": 0.0}
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
