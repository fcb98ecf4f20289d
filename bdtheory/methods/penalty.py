"""Gradient-based BDS: the penalty problem P_gamma, one level instead of two."""

from __future__ import annotations

from dataclasses import dataclass

from ..hypergradient import mean_loss, refit
from ..linalg import dot, norm
from ..models.checks import check_count, check_flag, check_number
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection
from .bmo import fit_jointly
from .online import Round
from .outer import logits, minimise_weights
from .run import Callback, Stopped, Trace, finish, masses, uniform_weights
from .selectors import Mirror

GAMMA, GAMMA_TRAINED = 1e3, 1.0  # see Penalty


@dataclass(frozen=True)
class Penalty:
    """Minimise P_gamma(theta, w) = L_val + gamma (F_w(theta) - v(w)) over theta and w.

    For a fixed w the best theta is theta_gamma(w), one fit of the joined data; the gradient in w is
    then gamma (l_i(theta_gamma) - l_i(theta(w))), which tends to the hypergradient like 1/gamma
    (C06). gamma grows tenfold from 1: at small gamma theta_gamma still listens to the validation
    data, so that the start is not trapped where weights are inert (C15).

    Parameters
    ----------
    gamma : final penalty strength > 0, dimensionless; 1e3 by default where the model is solved,
        1 where it is trained, since there theta must hear the validation data at every step.
    value_function : keep v(w), the infimum of F_w (True, the default where the model is solved), or
        drop it (False, the default where it is trained: to keep it means to train a second copy).
        Dropped, the problem still has the right minimisers under A3 (C06(a)), but is concave in w:
        weights collapse on few samples in the end. The weights returned are the best along the way
        by validation loss.
    max_iterations : outer steps for each value of gamma.
    tol : relative tolerance of the first-order condition; see `Implicit`.
    eps : relative tolerance of a certificate.

    Raises ValueError for values out of range.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])                # the last target is wrong
    >>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2]))
    >>> bool(bdt.learn_weights(problem, Penalty()).weights[2] < 1e-4)
    True
    """

    gamma: float | None = None
    value_function: bool | None = None
    max_iterations: int = 50
    tol: float = 1e-3
    eps: float = 1e-6

    def __post_init__(self):
        if self.gamma is not None:
            check_number(self.gamma, "gamma", least=0.0, strict=True, try_="gamma=1e3")
        if self.value_function is not None:
            check_flag(self.value_function, "value_function")
        check_count(self.max_iterations, "max_iterations", try_=50)
        check_number(self.tol, "tol", least=0.0, strict=True, try_="tol=1e-3")
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        trace, w, failure = Trace(callback), uniform_weights(problem), ""
        try:
            if trace.record(w, mean_loss(problem, refit(problem, w).theta, problem.val)):
                raise Stopped
            v = masses(problem, w)
            for gamma in self._schedule():
                objective = _Objective(problem, gamma, self.value_function is not False)
                v = minimise_weights(
                    problem, objective, logits(v), trace, max_iterations=self.max_iterations
                )
        except Stopped:
            pass
        except FloatingPointError as error:
            failure = str(error)
        best = trace.best[1]
        return finish(
            problem, self, w if best is None else best, trace, tol=self.tol, failure=failure
        )

    def selector(self, problem: Problem) -> Mirror:
        """Mirror descent on w beside theta, for models that are trained."""
        gamma = GAMMA_TRAINED if self.gamma is None else self.gamma
        rate = problem.model.training.selector_rate
        return Mirror(problem, gamma, rate, self.value_function is True)

    def online(self, problem: Problem, given: Round, level: str) -> Mirror:
        """A learned selector for a round of `refine`, from the round's base weights."""
        gamma = GAMMA_TRAINED if self.gamma is None else self.gamma
        rate = problem.model.training.selector_rate
        kept = self.value_function is True
        return Mirror(problem, gamma, rate, kept, base=given.base, codes=given.codes(level))

    def _schedule(self) -> list[float]:
        """1, 10, 100, ... and at last gamma itself."""
        gamma = GAMMA if self.gamma is None else self.gamma
        return [*(10.0**k for k in range(30) if 10.0**k < gamma), gamma]


class _Objective:
    """w -> (min over theta of P_gamma, its gradient in w, the re-fitted validation loss)."""

    def __init__(self, problem: Problem, gamma: float, value_function: bool):
        self.problem, self.gamma, self.value_function = problem, gamma, value_function
        self.joint: Fit | None = None
        self.inner: Fit | None = None

    def __call__(self, w: Array) -> tuple[float, Array, float]:
        problem, model, gamma = self.problem, self.problem.model, self.gamma
        self.inner = refit(problem, w, self.inner)
        self.joint = fit_jointly(problem, w, gamma, self.joint)
        for fit in (self.inner, self.joint):
            if not fit.converged:
                raise FloatingPointError(fit.message)
        theta, phi = self.joint.theta, self.inner.theta
        losses = model.losses(theta, problem.train)
        penalty = dot(w, losses) + self._ridge(theta)
        if self.value_function:
            at_phi = model.losses(phi, problem.train)
            penalty -= dot(w, at_phi) + self._ridge(phi)
            losses = losses - at_phi
        value = mean_loss(problem, theta, problem.val) + gamma * penalty
        return value, gamma * losses, mean_loss(problem, phi, problem.val)

    def _ridge(self, theta: Array) -> float:
        """(mu/2) ||theta||^2 without the intercept's row."""
        model = self.problem.model
        rows = theta[:-1, ...] if getattr(model, "fit_intercept", False) else theta
        size = norm(rows)  # its square may be beyond float32
        return 0.5 * getattr(model, "mu", 0.0) * size * size
