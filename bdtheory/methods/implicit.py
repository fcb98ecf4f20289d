"""BDS by exact hypergradients: quasi-Newton steps on the selector, every value a re-fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from ..hypergradient import mean_loss, refit, value_and_gradient
from ..models.checks import check_count, check_number
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection
from ..weights import drop_negligible
from .bmo import BMO
from .certify import lower_bound
from .inverse import inverse_start
from .outer import Coordinates, minimise_weights, simplex, squares
from .penalty import Penalty
from .run import (
    Callback,
    Stopped,
    Trace,
    as_weights,
    finish,
    masses,
    uniform_weights,
)

# Below this share of the losses at theta = 0 the uniform fit interpolates: C15's trap is near.
INTERPOLATES = 0.02
RTOL = 1e-7  # of a hypergradient along the way; the end is re-fitted exactly
SMALL = 4_000  # entries of X times columns of theta


@dataclass(frozen=True)
class Implicit:
    """Minimise L_val(theta(w)) over the simplex by its exact gradient in w.

    L-BFGS on square roots of the weights, from those under which the validation fit itself nearly
    solves the lower level (`inverse_weights`); each value and gradient comes from an exact re-fit.
    No step size is to be chosen. Where uniform weights turn out to be better, it starts from them
    too. Where the training data can be (nearly) interpolated, weights are inert inside the simplex
    (C15, C19) and such a start is trapped. There, unless the result is optimal by its lower bound,
    it starts again from closed-form weights with annealed temperature (`BMO`) and from the penalty
    problem with growing gamma (`Penalty`); on small problems also from random weights, in
    coordinates that reach exact zeros. The best of all is returned.

    Parameters
    ----------
    max_iterations : outer steps for each start.
    restarts : random starts on small problems, drawn by the seed; 0 or more.
    tol : relative tolerance of the first-order condition, dimensionless: STATIONARY means that
        w.g - min_i g_i <= tol * L_val, with g the hypergradient: no shift of mass promises more.
    eps : relative tolerance of a certificate (theory.md, "What a certificate is").
    """

    max_iterations: int = 100
    restarts: int = 4
    tol: float = 1e-3
    eps: float = 1e-6

    def __post_init__(self):
        check_count(self.max_iterations, "max_iterations", try_=100)
        check_count(self.restarts, "restarts", least=0, try_=4)
        check_number(self.tol, "tol", least=0.0, strict=True, try_="tol=1e-3")
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. The seed draws the restarts."""
        trace, failure = Trace(callback), ""
        try:
            w, near = inverse_start(problem)
            self._descend(problem, squares(masses(problem, w)), trace, near)
            uniform = refit(problem, uniform_weights(problem))
            if mean_loss(problem, uniform.theta, problem.val) < trace.best[0]:
                start = masses(problem, uniform_weights(problem))
                self._descend(problem, squares(start), trace, uniform)
            if start_again(problem, uniform) and not self._optimal(problem, trace.best[0]):
                self._descend_from_elsewhere(problem, seed, trace)
        except Stopped:
            pass
        except FloatingPointError as error:
            failure = str(error)
        w = uniform_weights(problem) if trace.best[1] is None else trace.best[1]
        return finish(problem, self, w, trace, tol=self.tol, failure=failure)

    def _optimal(self, problem: Problem, val_loss: float) -> bool:
        """Whether the lower bound on V_BDS leaves nothing to gain."""
        lower, infimum = lower_bound(problem)
        return val_loss - lower <= self.eps * max(1.0, infimum)

    def _descend_from_elsewhere(self, problem: Problem, seed: int, trace: Trace) -> None:
        for other in (BMO(), Penalty()):
            w = other.run(problem, seed, None).weights
            self._descend(problem, squares(masses(problem, w)), trace)
        if small(problem):
            best = masses(problem, trace.best[1])
            for v in (best, *random_masses(len(best), self.restarts, seed)):
                self._descend(problem, simplex(v), trace)

    def _descend(
        self, problem: Problem, coordinates: Coordinates, trace: Trace, near: Fit | None = None
    ) -> None:
        """L-BFGS from the start of these coordinates; the trace keeps the best weights.

        `near` is a fit that is close to the one there.
        """
        state: dict[str, Fit | None] = {"fit": near}

        def objective(w: Array) -> tuple[float, Array, float]:
            fit = state["fit"] = refit(problem, w, state["fit"], rtol=RTOL)
            if not fit.converged:
                raise FloatingPointError(fit.message)
            value, grad = value_and_gradient(problem, fit)
            return float(value), grad, float(value)

        w = as_weights(problem, drop_negligible(coordinates.masses(coordinates.start)))
        if trace.record(w, objective(w)[2]):
            raise Stopped
        minimise_weights(problem, objective, coordinates, trace, max_iterations=self.max_iterations)


def start_again(problem: Problem, uniform: Fit) -> bool:
    """Whether further starts are cheap (a small problem) or C15's trap is near.

    It is near where samples are few for the parameters, or where the re-fit interpolates.
    """
    X = problem.train.X
    if small(problem) or 2 * X.shape[1] > len(X):
        return True
    xp = array_namespace(X)
    fitted = problem.model.losses(uniform.theta, problem.train)
    nothing = problem.model.losses(xp.zeros_like(uniform.theta), problem.train)
    return float(xp.mean(fitted)) <= INTERPOLATES * float(xp.mean(nothing))


def small(problem: Problem) -> bool:
    """Whether all starts together take about a second."""
    return problem.size * problem.train.K <= SMALL


def random_masses(G: int, count: int, seed: int) -> np.ndarray:
    """`count` points of the simplex (count, G), Dirichlet(1/2): most mass on a few entries."""
    return np.random.default_rng(seed).dirichlet(np.full(G, 0.5), size=count)
