"""BDS by exact hypergradients: quasi-Newton steps on the selector, every value a re-fit."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from ..hypergradient import mean_loss, refit, value_and_gradient
from ..models.checks import check_count, check_number
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection
from ..weights import drop_negligible
from .bmo import BMO
from .penalty import Penalty
from .run import (
    Callback,
    Stopped,
    Trace,
    as_weights,
    finish,
    masses,
    minimise_logits,
    uniform_weights,
)

# Below this share of the losses at theta = 0 the uniform fit interpolates: C15's trap is near.
INTERPOLATES = 0.02


@dataclass(frozen=True)
class Implicit:
    """Minimise L_val(theta(w)) over the simplex by its exact gradient in the selector logits.

    L-BFGS on omega from uniform weights; each value and gradient comes from an exact re-fit. Where
    the training data can be (nearly) interpolated, weights are inert inside the simplex (C15, C19)
    and this start is trapped. Then it starts again twice, from closed-form weights with annealed
    temperature (`BMO`) and from the penalty problem with growing gamma (`Penalty`); the best counts.

    Parameters
    ----------
    max_iterations : outer steps for each start.
    tol : relative tolerance of the first-order condition, dimensionless: STATIONARY means that
        w.g - min_i g_i <= tol * L_val, with g the hypergradient: no shift of mass promises more.
    eps : relative tolerance of a certificate (theory.md, "What a certificate is").
    """

    max_iterations: int = 100
    tol: float = 1e-3
    eps: float = 1e-6

    def __post_init__(self):
        check_count(self.max_iterations, "max_iterations", try_=100)
        check_number(self.tol, "tol", least=0.0, strict=True, try_="tol=1e-3")
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        trace = Trace(callback)
        failure = ""
        try:
            start = uniform_weights(problem)
            self._descend(problem, start, trace)
            if weights_may_be_inert(problem, start):
                for other in (BMO(), Penalty()):
                    self._descend(problem, other.run(problem, seed, None).weights, trace)
        except Stopped:
            pass
        except FloatingPointError as error:
            failure = str(error)
        w = uniform_weights(problem) if trace.best[1] is None else trace.best[1]
        return finish(problem, self, w, trace, tol=self.tol, failure=failure)

    def _descend(self, problem: Problem, w: Array, trace: Trace) -> None:
        """L-BFGS on the logits of the masses that w has; the trace keeps the best weights."""
        state: dict[str, Fit | None] = {"fit": None}

        def objective(w: Array) -> tuple[float, Array, float]:
            fit = state["fit"] = refit(problem, w, state["fit"])
            if not fit.converged:
                raise FloatingPointError(fit.message)
            value, grad = value_and_gradient(problem, fit)
            return float(value), grad, float(value)

        v = drop_negligible(masses(problem, w))
        first = as_weights(problem, v)
        fit = refit(problem, first)
        if not fit.converged:
            raise FloatingPointError(fit.message)
        if trace.record(first, mean_loss(problem, fit.theta, problem.val)):
            raise Stopped
        minimise_logits(problem, objective, v, trace, max_iterations=self.max_iterations)


def weights_may_be_inert(problem: Problem, w: Array) -> bool:
    """Whether C15's trap is near: few samples for the parameters, or a re-fit that interpolates."""
    X = problem.train.X
    if 2 * X.shape[1] > problem.N:
        return True
    xp = array_namespace(X)
    theta = refit(problem, w).theta
    fitted = problem.model.losses(theta, problem.train)
    nothing = problem.model.losses(xp.zeros_like(theta), problem.train)
    return float(xp.mean(fitted)) <= INTERPOLATES * float(xp.mean(nothing))
