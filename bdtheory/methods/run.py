"""What every method shares: the record of a run, and the honest ending."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..hypergradient import mean_loss, refit, value_and_gradient
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection, Status, as_text, to_numpy
from ..weights import drop_negligible, gather, spread
from .certify import certificate

Callback = Callable[[int, Array], Any]


class Trace:
    """History of a run and the best weights seen, judged by the re-fitted validation loss."""

    def __init__(self, callback: Callback | None):
        self.start, self.callback = time.process_time(), callback
        self.seconds: list[float] = []
        self.val_loss: list[float] = []
        self.best: tuple[float, Array | None] = (math.inf, None)

    def record(self, w: Array, val_loss: float) -> bool:
        """Note one outer step; True when the user's callback asks to stop."""
        self.seconds.append(time.process_time() - self.start)
        self.val_loss.append(float(val_loss))
        if val_loss < self.best[0]:
            self.best = (float(val_loss), w)
        if self.callback is None:
            return False
        copy = array_namespace(w).asarray(w, copy=True)  # the user's to change
        return bool(self.callback(len(self.val_loss) - 1, copy))

    def history(self) -> dict[str, np.ndarray]:
        """Equal-length arrays `iteration`, `seconds` (CPU), `val_loss`."""
        return {
            "iteration": np.arange(len(self.val_loss)),
            "seconds": np.array(self.seconds),
            "val_loss": np.array(self.val_loss),
        }


class Stopped(Exception):
    """The user's callback returned True."""


def uniform_weights(problem: Problem) -> Array:
    """w_i = 1/N, or with groups an equal mass for every group."""
    G = problem.N if problem.group_names is None else len(problem.group_names)
    return as_weights(problem, np.full(G, 1.0 / G))


def as_weights(problem: Problem, v: np.ndarray) -> Array:
    """Sample weights (N,) in the problem's array kind from NumPy group masses (or weights) v."""
    return in_kind(problem, np.asarray(spread(v, problem.groups)))


def in_kind(problem: Problem, w: np.ndarray) -> Array:
    """Sample weights (N,) from NumPy as the kind of array that the user's data were."""
    like = problem.train.like
    return array_namespace(like).asarray(w, dtype=like.dtype, device=device(like))


def finish(
    problem: Problem,
    method: Any,
    w: Array,
    trace: Trace,
    *,
    tol: float | None,
    failure: str = "",
) -> Selection:
    """The selection for weights w: negligible weights dropped, theta re-fitted, and a status.

    `tol` is the relative tolerance of the outer first-order condition, None where nothing was
    learned. `failure` says what went wrong before.
    """
    if not bool(array_namespace(w).all(array_namespace(w).isfinite(w))):
        w, failure = uniform_weights(problem), "the weights are not finite"
    w = drop_negligible(w)
    fit = refit(problem, w)
    val_loss = mean_loss(problem, fit.theta, problem.val)
    evidence = certificate(problem, w, fit, method.eps) if fit.converged else {}
    status, message = Status.STATIONARY, "the outer first-order condition holds"
    if getattr(problem.model, "mu", None) == 0.0:
        message += " on this face of the simplex; at mu = 0 L_val jumps between faces"
    if failure or not fit.converged or not math.isfinite(val_loss):
        status, message = Status.DIVERGED, failure or fit.message or "the loss is not finite"
    elif evidence and evidence["upper_bound"] - evidence["lower_bound"] <= evidence["eps"]:
        status, message = Status.CERTIFIED, "within eps of the optimal value, by a lower bound"
    elif tol is None:
        message = "theta(w) at fixed weights; nothing was learned"
    elif reason := _not_stationary(problem, w, fit, tol * val_loss):
        status, message = Status.MAX_ITERATIONS, reason
    return Selection(
        weights=w,
        theta=fit.theta,
        val_loss=val_loss,
        test_loss=loss_on_test(problem, fit.theta),
        status=status,
        history=trace.history(),
        method=as_text(method),
        message=message,
        certificate=evidence,
    )


def loss_on_test(problem: Problem, theta: Any) -> float | None:
    """Mean loss on the test data, None without."""
    return None if problem.test is None else mean_loss(problem, theta, problem.test)


def _not_stationary(problem: Problem, w: Array, fit: Fit, tol: float) -> str:
    """Why STATIONARY may not be said of these weights; "" where it may."""
    if fit.vjp is None:
        return "no derivative of theta(w): nothing is known"
    return still_promised(descent_left(problem, w, fit), tol)


def still_promised(promise: float, tol: float) -> str:
    """Why a descent that is promised is too much for STATIONARY; "" where it is not."""
    if math.isnan(promise):
        return "the hypergradient overflows: nothing is known of a descent"
    if promise > tol:
        return f"a shift of mass still promises {promise:.1e} > tol * L_val = {tol:.1e}"
    return ""


def descent_left(problem: Problem, w: Array, fit: Fit) -> float:
    """w.g - min_i g_i >= 0 with g the hypergradient: 0 exactly where no shift of mass descends.

    The first-order condition on the simplex, in units of L_val (the gap of Frank and Wolfe). With
    groups the gradient is that of the group masses. NaN where it overflows.
    """
    grad = to_numpy(value_and_gradient(problem, fit)[1]).astype(np.float64)
    w_g = float(to_numpy(w).astype(np.float64) @ grad)
    return w_g - float(np.min(gather(grad, problem.groups)))


def masses(problem: Problem, w: Array) -> np.ndarray:
    """Group masses (G,), or the weights themselves without groups, as float64 NumPy."""
    v = to_numpy(w).astype(np.float64)
    return v if problem.groups is None else np.bincount(problem.groups, weights=v)
